//! Keys with every encoding that a real server has.

use bytes::Bytes;

use super::client::{Argv, argv};
use super::stored::text;
use super::{Program, Server};

/// A deadline that does not come.
pub const FAR_MS: u64 = 9_000_000_000_000;
/// So many elements are too many for a compact encoding, once the thresholds say so.
const MANY: usize = 20;

/// A key, the encoding that the server says it has, and the type that it has in a file.
pub struct Kept {
    /// The key.
    pub key: &'static str,
    /// As `OBJECT ENCODING` names it.
    pub encoding: &'static str,
    /// The type.
    pub value_type: u8,
}

fn kept(key: &'static str, encoding: &'static str, value_type: u8) -> Kept {
    Kept { key, encoding, value_type }
}

/// Settings under which both compact and other encodings come with few elements.
const THRESHOLDS: &[(&str, &str)] = &[
    ("set-max-intset-entries", "8"),
    ("zset-max-listpack-entries", "8"),
    ("zset-max-listpack-value", "300"),
    ("hash-max-listpack-entries", "8"),
    ("hash-max-listpack-value", "300"),
    ("list-max-listpack-size", "4"),
    ("list-compress-depth", "1"),
    ("stream-node-max-entries", "3"),
];

/// Sets them.
pub fn set_thresholds(server: &Server) {
    server.configure(THRESHOLDS);
    if server.program != Program::Redis {
        // Redis 7.0 keeps no set in a listpack.
        server.configure(&[("set-max-listpack-entries", "8")]);
    }
}

fn many(command: &str, key: &str, item: impl Fn(usize) -> Vec<String>) -> Argv {
    let mut argv = argv![command, key];
    argv.extend((0..MANY).flat_map(item).map(Bytes::from));
    argv
}

/// Fills a server with every encoding, and says what it kept.
pub fn fill(server: &Server) -> Vec<Kept> {
    set_thresholds(server);
    let mut client = server.client();
    let valkey = server.program != Program::Redis;
    let packed = "so long that it is packed ".repeat(8);
    let mut commands = vec![
        argv!["SET", "text", "hello"],
        argv!["SET", "integer", -70_000],
        argv!["SET", "packed", &packed],
        argv!["SET", "with a deadline", "v", "PXAT", FAR_MS],
        argv!["SADD", "integers 16", 1, -5, 300],
        argv!["SADD", "integers 32", 1, -70_000],
        argv!["SADD", "integers 64", 1, 1_234_567_890_123_u64],
        argv!["SADD", "short set", "a", "", "17"],
        many("SADD", "set", |n| vec![format!("member {n}")]),
        argv!["ZADD", "short zset", 1.5, "a", "-inf", "b", "inf", "c", 3.0000000000000004, "17"],
        many("ZADD", "zset", |n| vec![n.to_string(), format!("member {n}")]),
        argv!["HSET", "short hash", "f", "v", "", 17, "g", &packed],
        many("HSET", "hash", |n| vec![format!("field {n}"), n.to_string()]),
        argv!["RPUSH", "short list", "a", "", 1, -70_000],
        many("RPUSH", "list", |n| vec![format!("{packed} {n}")]),
        argv!["DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b"],
        argv!["RPUSH", "plain list", "x".repeat(150), "y", "y", "y", "y", "y"],
        argv!["FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)"],
    ];
    commands.extend(streams());
    if valkey {
        commands.push(argv!["HSET", "hash with deadlines", "none", 1, "far", 2]);
        commands.push(argv!["HPEXPIREAT", "hash with deadlines", FAR_MS, "FIELDS", 1, "far"]);
    }
    commands.into_iter().for_each(|command| drop(client.call(command)));
    let mut all = vec![
        kept("text", "embstr", 0),
        kept("integer", "int", 0),
        kept("packed", "raw", 0),
        kept("with a deadline", "embstr", 0),
        kept("integers 16", "intset", 11),
        kept("integers 32", "intset", 11),
        kept("integers 64", "intset", 11),
        kept("set", "hashtable", 2),
        kept("short zset", "listpack", 17),
        kept("zset", "skiplist", 5),
        kept("short hash", "listpack", 16),
        kept("hash", "hashtable", 4),
        kept("list", "quicklist", 18),
        kept("plain list", "quicklist", 18),
    ];
    let stream = if valkey { 21 } else { 19 };
    all.extend(["events", "empty", "without groups"].map(|key| kept(key, "stream", stream)));
    if valkey {
        all.push(kept("short set", "listpack", 20));
        all.push(kept("short list", "listpack", 18));
        all.push(kept("hash with deadlines", "hashtable", 22));
    } else {
        all.push(kept("short set", "hashtable", 2));
        all.push(kept("short list", "quicklist", 18));
    }
    for it in &all {
        let encoding = text(&client.call(argv!["OBJECT", "ENCODING", it.key]));
        assert_eq!(encoding, it.encoding, "{:?}: {}", server.program, it.key);
    }
    assert_eq!(client.call_integer(argv!["DBSIZE"]), all.len() as i64);
    all
}

/// Streams of several nodes, with deleted entries, groups, consumers, and entries pending for them.
fn streams() -> Vec<Argv> {
    let mut commands: Vec<Argv> = (1..=9)
        .map(|n| {
            argv![
                "XADD",
                "events",
                format!("{}-{n}", 1_700_000_000_000_u64 + n),
                "n",
                n,
                "s",
                "x".repeat(n as usize * 9)
            ]
        })
        .collect();
    commands.extend([
        argv!["XDEL", "events", "1700000000002-2"],
        argv!["XGROUP", "CREATE", "events", "readers", 0],
        argv!["XGROUP", "CREATE", "events", "idle", "$"],
        argv!["XREADGROUP", "GROUP", "readers", "alice", "COUNT", 3, "STREAMS", "events", ">"],
        argv!["XREADGROUP", "GROUP", "readers", "bob", "COUNT", 2, "STREAMS", "events", ">"],
        argv!["XGROUP", "CREATECONSUMER", "events", "readers", "carol"],
        argv!["XACK", "events", "readers", "1700000000001-1"],
        argv!["XCLAIM", "events", "readers", "bob", 0, "1700000000003-3"],
        argv!["XADD", "empty", "5-0", "f", "v"],
        argv!["XDEL", "empty", "5-0"],
        argv!["XADD", "without groups", "18446744073709551615-18446744073709551615", "f", ""],
    ]);
    commands
}
