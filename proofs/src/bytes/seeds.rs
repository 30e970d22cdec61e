//! What a fuzzer starts with: inputs of every form, and words worth inserting.

use bytes::Bytes;
use replcore::rdb::{Header, Kind, PayloadWriter, ReplicationAux, SnapshotFormat, Writer};
use replcore::resp::{Protocol, Reply, encode_command};
use replcore::resync::ReplicationId;

use super::input::{Cuts, Steering};

/// The protocol's words, and the commands that frame a stream.
pub const RESP_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*1\r\n",
    b"*2\r\n",
    b"*3\r\n",
    b"$0\r\n\r\n",
    b"$1\r\nk\r\n",
    b"$-1\r\n",
    b"$2147483647\r\n",
    b"$536870912\r\n",
    b"$536870913\r\n",
    b"*2147483647\r\n",
    b"*2147483648\r\n",
    b"$16384\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n",
    b"\"",
    b"'",
    b"\\x41",
    b"\\",
    b"+OK\r\n",
    b"-ERR x\r\n",
    b":1\r\n",
    b"%1\r\n",
    b"~1\r\n",
    b">2\r\n",
    b"|1\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"!5\r\nERR x\r\n",
    b"(1234567890123456789012\r\n",
    b",1.5\r\n",
    b",nan\r\n",
    b"#t\r\n",
    b"_\r\n",
    b"9223372036854775807",
    b"-9223372036854775808",
];

/// Opcodes, types, magics, and lengths in every form.
pub const RDB_WORDS: &[&[u8]] = &[
    b"REDIS0010",
    b"REDIS0012",
    b"REDIS0003",
    b"VALKEY080",
    b"\xFA",
    b"\xFB",
    b"\xFC",
    b"\xFD",
    b"\xFE\x00",
    b"\xFF",
    b"\xF3",
    b"\xF4",
    b"\xF5",
    b"\xF7",
    b"\xF8\x01",
    b"\xF9\x05",
    b"\xFF\0\0\0\0\0\0\0\0",
    b"\x07",
    b"\x09",
    b"\x0F",
    b"\x13",
    b"\x15",
    b"\x0A",
    b"\x0B",
    b"\x0C",
    b"\x0D",
    b"\x0E",
    b"\x10",
    b"\x11",
    b"\x12",
    b"\x14",
    b"\x16",
    b"\x18",
    b"\x19",
    b"\xC0\x05",
    b"\xC1\x00\x80",
    b"\xC2\x00\x00\x00\x80",
    b"\xC3",
    b"\xC3\x03\x08\x00a\xE0\x00\x00",
    b"\x80\x00\x00\x00\x03abc",
    b"\x80\xFF\xFF\xFF\xFF",
    b"\x81\x00\x00\x00\x00\x00\x00\x00\x02",
    b"\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    b"\x40\x40",
    b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F",
    b"\x02\x00\x00\x00",
    b"\x08\x00\x00\x00",
    b"\x07\x00\x00\x00\x00\x00\xFF",
    b"\x0B\x00\x00\x00\x0A\x00\x00\x00\x00\x00\xFF",
    b"\xF1\x00\x80",
    b"\xF4",
    b"\xE0",
    b"\xFE\xFF\xFF\xFF\xFF",
    b"\xFD",
    b"repl-offset",
];

/// Options, flags and values of the handshake.
pub const PSYNC_WORDS: &[&[u8]] = &[
    b"PSYNC",
    b"REPLCONF",
    b"?",
    b"-1",
    b"0",
    b"1",
    b"FAILOVER",
    b"ACK",
    b"FACK",
    b"GETACK",
    b"*",
    b"listening-port",
    b"ip-address",
    b"capa",
    b"eof",
    b"psync2",
    b"dual-channel",
    b"version",
    b"9.0.0",
    b"8.1.255",
    b"9.1.256",
    b"rdb-only",
    b"rdb-channel",
    b"rdb-filter-only",
    b"functions",
    b"\"\"",
    b"\"functions\" functions",
    b"set-rdb-client-id",
    b"set-cluster-node-id",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-0",
    b"+1",
    b"007",
    b"\r\n",
    b"abababababababababababababababababababab",
    b"CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD",
];

/// What primaries answer, and the headers of snapshots.
pub const REPLICA_WORDS: &[&[u8]] = &[
    b"+PONG\r\n",
    b"+OK\r\n",
    b"+FULLRESYNC abababababababababababababababababababab 100\r\n",
    b"+CONTINUE\r\n",
    b"+CONTINUE cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd\r\n",
    b"-NOMASTERLINK Can't SYNC\r\n",
    b"-LOADING\r\n",
    b"-NOAUTH Authentication required.\r\n",
    b"-ERR\r\n",
    b"\n",
    b"$EOF:0123456789abcdef0123456789abcdef0123456z\r\n",
    b"0123456789abcdef0123456789abcdef0123456z",
    b"$3\r\n",
    b"$9223372036854775807\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*1\r\n$7\r\nDISCARD\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n",
    b"*0\r\n",
    b"PING\r\n",
];

/// Ways to cut that every seed is given in turn.
const CUTS: [u16; 6] = [0, 1, 2, 7, 300, 40_000];

/// Gives each of `bodies`, which are in `form`, some steering.
fn steered(form: u8, bodies: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let steer = |(index, body): (usize, Vec<u8>)| {
        let cuts = Cuts(CUTS[index % CUTS.len()]);
        // Odd, so that every combination of switches comes up.
        let limits = (index * 37) as u8;
        let steering = Steering { form, limits, cuts, at: (index * 37) as u16 };
        steering.join(&body)
    };
    bodies.into_iter().enumerate().map(steer).collect()
}

/// Choices: bytes without a pattern, in several lengths. Always the same ones.
fn choices(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|index| (0..24 << (index % 6)).map(|_| byte()).collect()).collect()
}

fn commands(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut bytes);
    }
    bytes
}

/// Seeds of [`resp()`](super::resp()).
pub fn resp() -> Vec<Vec<u8>> {
    let mut large = Vec::new();
    encode_command(&["SET", "k", &"v".repeat(300)], &mut large);
    let streams = [
        commands(&["PING", "SET k v EX 10", "MSET a 1 b 2 c 3"]),
        b"\r\n*0\r\n*-1\r\nPING\r\nECHO \"a\\x41\\n\" 'b\\'c' d\n*1\r\n$4\r\nPING\r\n".to_vec(),
        b"*2\r\n$4\r\nECHO\r\n$536870912\r\nabc".to_vec(),
        b"*1\r\n$4\r\nPINGxx".to_vec(),
        b"GET k\r\n12345678901\r\n".to_vec(),
        large,
    ];
    // Inline lines as long as the four small limits, byte by byte.
    let at_limit = [(2, 2), (3, 0x42), (10, 0x82), (64, 0xC2)].map(|(len, limits)| {
        let line = [&b"a".repeat(len)[..], b"\r\n"].concat();
        Steering { form: 0, limits, cuts: Cuts(1), at: 0 }.join(&line)
    });
    let claims = [&b"*2147483647\r\n$3\r\nabc\r\n"[..], b"*1\r\n$536870912\r\nabc"]
        .map(|claim| Steering { form: 0, limits: 0, cuts: Cuts::NONE, at: 0 }.join(claim));
    [
        steered(0, streams),
        claims.to_vec(),
        at_limit.to_vec(),
        steered(1, replies()),
        steered(2, choices(24)),
        steered(3, choices(24)),
    ]
    .concat()
}

fn replies() -> Vec<Vec<u8>> {
    let bulk = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
    let all = vec![
        Reply::Simple("OK"),
        Reply::Error("ERR no".into()),
        Reply::Integer(-1),
        bulk("value"),
        Reply::Null,
        Reply::NullArray,
        Reply::Map(vec![(bulk("k"), Reply::Double(1.5))]),
        Reply::Set(vec![Reply::Boolean(true)]),
        Reply::Push(vec![bulk("message")]),
        Reply::pairs([(bulk("m"), Reply::Double(f64::INFINITY))]),
        Reply::Verbatim(Bytes::from_static(b"text")),
    ];
    let whole = Reply::Array(all.clone());
    let written = |reply: &Reply| {
        [Protocol::Resp2, Protocol::Resp3].map(|protocol| {
            let mut bytes = bytes::BytesMut::new();
            reply.encode(protocol, &mut bytes);
            bytes.to_vec()
        })
    };
    let foreign = b"|1\r\n+ttl\r\n:1\r\n*2\r\n(123\r\n!3\r\nERR\r\n".to_vec();
    let deep = b"*1\r\n%1\r\n+k\r\n>1\r\n~1\r\n:1\r\n".to_vec();
    all.iter().chain([&whole]).flat_map(written).chain([foreign, deep.clone(), deep]).collect()
}

/// Seeds of [`rdb()`](super::rdb()).
pub fn rdb() -> Vec<Vec<u8>> {
    let real = [
        include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15.rdb").to_vec(),
        include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2.rdb").to_vec(),
        include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-lfu.rdb").to_vec(),
        include_bytes!("../../../tests/fixtures/rdb/redis-7.0.15-streams.rdb").to_vec(),
        include_bytes!("../../../tests/fixtures/rdb/valkey-9.1.2-streams.rdb").to_vec(),
    ];
    let written = [snapshot(SnapshotFormat::Redis10), snapshot(SnapshotFormat::Valkey80)];
    let files = written.into_iter().chain(real);
    let claims = claims().map(|body| [b"REDIS0010", &body[..1], b"\x01k", &body[1..]].concat());
    [
        steered(0, files),
        steered(0, claims),
        steered(1, choices(24)),
        steered(2, choices(24)),
        steered(0x82, choices(24)),
    ]
    .concat()
}

/// A snapshot with every type that is written.
fn snapshot(version: SnapshotFormat) -> Vec<u8> {
    let id = ReplicationId::from_random([0xab; 20]).to_string();
    let replication = Some(ReplicationAux { stream_db: 1, replication_id: &id, offset: 1234 });
    let header = Header { server_version: "9.1.2", created_s: 1, used_memory_bytes: 1 << 20, replication };
    let fill = |writer: &mut Writer| {
        writer.header(&header)?;
        writer.select_db(1)?;
        writer.resize_db(6, 1)?;
        writer.string(b"s", Some(33_333_333_333_333), b"text")?;
        writer.string(b"n", None, b"-1234")?;
        writer.begin(b"l", None, Kind::List, 2)?;
        ["a", "7"].iter().try_for_each(|item| writer.element(item.as_bytes()))?;
        writer.begin(b"t", None, Kind::Set, 1)?;
        writer.element(b"m")?;
        writer.begin(b"z", None, Kind::SortedSet, 1)?;
        writer.member(b"m", -0.5)?;
        let deadlines = writer.holds_field_deadlines();
        writer.begin(b"h", None, Kind::hash(deadlines), 2)?;
        writer.field(b"f", b"v", None)?;
        writer.field(b"g", b"w", deadlines.then_some(33_333_333_333_333))
    };
    let mut writer = Writer::new(version);
    fill(&mut writer).expect("the values are well formed");
    writer.finish().expect("the values are whole").to_vec()
}

/// Seeds of [`dump()`](super::dump()).
pub fn dump() -> Vec<Vec<u8>> {
    let mut list = PayloadWriter::collection(Kind::List, 2).expect("two are not none");
    ["a", "7"].iter().try_for_each(|item| list.element(item.as_bytes())).expect("a list takes elements");
    let mut hash = PayloadWriter::collection(Kind::HashWithDeadlines, 1).expect("one is not none");
    hash.field(b"f", b"v", Some(33_333_333_333_333)).expect("a hash takes fields");
    let payloads = [PayloadWriter::string(b"text"), PayloadWriter::string(b"-1234"), list, hash]
        .map(|writer| writer.finish().expect("the value is whole").to_vec());
    let bodies = payloads.clone().map(|payload| payload[..payload.len() - 10].to_vec());
    [
        steered(0, bodies.into_iter().chain(compact())),
        steered(0, claims()),
        steered(1, payloads),
        steered(2, choices(150)),
        steered(3, choices(30)),
    ]
    .concat()
}

/// Bodies that claim more than they have: bytes, bytes to unpack, elements. Twice, for one of two limits is
/// small.
fn claims() -> [Vec<u8>; 8] {
    let text = b"\0\x80\xFF\xFF\xFF\xFFabc".to_vec();
    let packed = b"\0\xC3\x03\x80\xFF\xFF\xFF\xFF\0a\xE0".to_vec();
    let elements = b"\x02\x80\xFF\xFF\xFF\xFF\x01a".to_vec();
    let nodes = b"\x12\x80\xFF\xFF\xFF\xFF\x01\x01a".to_vec();
    [text.clone(), elements.clone(), text, elements, packed.clone(), nodes.clone(), packed, nodes]
}

/// Bodies in compact encodings: an intset, a listpack, a ziplist, nodes of both, a compressed string.
fn compact() -> [Vec<u8>; 6] {
    [
        b"\x0B\x0C\x02\0\0\0\x02\0\0\0\xFD\xFF\x01\0".to_vec(),
        b"\x14\x0C\x0C\0\0\0\x02\0\x81a\x02\x05\x01\xFF".to_vec(),
        b"\x0A\x10\x10\0\0\0\x0D\0\0\0\x02\0\0\x01a\x03\xF6\xFF".to_vec(),
        b"\x12\x02\x01\x03abc\x02\x09\x09\0\0\0\x01\0\x05\x01\xFF".to_vec(),
        b"\x0E\x01\x0D\x0D\0\0\0\x0A\0\0\0\x01\0\0\xF6\xFF".to_vec(),
        b"\0\xC3\x05\x0B\0a\xE0\x01\0".to_vec(),
    ]
}

/// Seeds of [`psync()`](super::psync()).
pub fn psync() -> Vec<Vec<u8>> {
    let known = ReplicationId::from_random([0xab; 20]);
    let previous = ReplicationId::from_random([0xcd; 20]).to_string();
    let lines = [
        "PSYNC ? -1\nPSYNC ? 007\nPSYNC ? -0\nPSYNC ?".to_owned(),
        format!("PSYNC {known} 1\nPSYNC {known} 38 FAILOVER\nPSYNC {known} 39 failover\nPSYNC {known} 40"),
        format!("psync {} 20", previous.to_uppercase()),
        "REPLCONF listening-port 6380 ip-address 127.0.0.1\nREPLCONF capa eof capa psync2".to_owned(),
        "REPLCONF version 9.1.2 version 8.1.0\nREPLCONF version 9.1".to_owned(),
        "REPLCONF rdb-only 1 rdb-filter-only functions rdb-channel 0\nREPLCONF rdb-only 2".to_owned(),
        "REPLCONF ACK 100 FACK 90\nREPLCONF GETACK *\nREPLCONF set-rdb-client-id 7".to_owned(),
    ];
    let streams = lines.map(|lines| commands(&lines.lines().collect::<Vec<_>>()));
    // A stream of 38 bytes, all kept, of which the previous history has the first 19.
    let promoted = [19, 20, 21].map(|wanted| {
        let request = commands(&[&format!("PSYNC {previous} {wanted}")]);
        Steering { form: 2 * 38, limits: 1 | 20 << 1, cuts: Cuts::NONE, at: 38 }.join(&request)
    });
    // What an error quotes.
    let mut lines = Vec::new();
    encode_command(&["REPLCONF", "a\r\nb", "1"], &mut lines);
    encode_command(&["REPLCONF", "version", "9\n"], &mut lines);
    [
        steered(0, streams.clone()),
        steered(0, [lines]),
        steered(60, streams),
        promoted.to_vec(),
        steered(1, choices(40)),
    ]
    .concat()
}

/// Seeds of [`stream()`](super::stream()).
pub fn stream() -> Vec<Vec<u8>> {
    let streams = [
        commands(&["SELECT 0", "SET k v", "PING", "MULTI", "SET a 1", "SELECT 3", "DEL b", "EXEC", "INCR c"]),
        [b"\n\n".to_vec(), commands(&["SELECT 2", "SET k v"]), b"\r\n".to_vec(), commands(&["PING"])]
            .concat(),
        commands(&["MULTI", "SET k v"]),
    ];
    [steered(0, streams), steered(1, choices(40))].concat()
}

/// Seeds of [`replica()`](super::replica()).
pub fn replica() -> Vec<Vec<u8>> {
    let lines = [
        "SELECT 0",
        "SET k v",
        "PING",
        "MULTI",
        "SET a 1",
        "SELECT 3",
        "EXEC",
        "REPLCONF GETACK *",
        "MULTI",
        "DEL b",
    ];
    let stream = [b"\n", &commands(&lines)[..]].concat();
    let mark = super::replica::MARK;
    let id = ReplicationId::from_random([0xcd; 20]);
    let by_length = [b"\n$9\r\nREDIS0010", &stream[..]].concat();
    let by_mark = [&mark.as_bytes()[..39], mark.as_bytes(), &stream].concat();
    let continued = [format!("+PONG\r\n+OK\r\n+CONTINUE {id}\r\n").as_bytes(), &stream].concat();
    let full = [format!("-NOAUTH x\r\n-ERR x\r\n+FULLRESYNC {id} 7\r\n").as_bytes(), &by_length].concat();
    let refused = ["-LOADING x\r\n", "+PONG\r\n-ERR x\r\n-NOMASTERLINK x\r\n", "+PONG\r\n+OK\r\n-ERR x\r\n"];
    [
        steered(0, [continued, full].into_iter().chain(refused.map(|line| line.as_bytes().to_vec()))),
        steered(2, [stream.clone(), [&stream[..], b"GET k\r\n"].concat(), stream]),
        steered(4, [by_length, b"-ERR x\r\n".to_vec()]),
        steered(6, [by_mark.clone(), by_mark]),
        steered(1, choices(60)),
    ]
    .concat()
}
