//! Replies and propagation, command by command, as Valkey 9.1.2 was seen to give them.

use super::*;

#[test]
fn set_stores_under_its_conditions() {
    session(
        "set k v                => OK  | set k v
         set k w nx             => nil |
         set k w xx             => OK  | set k w xx
         set k x ifeq v         => nil |
         set k x ifeq w         => OK  | set k x
         set n x ifeq w         => nil |
         set k y nx get         => x   |
         set k y get            => x   | set k y
         set n 1 get GET        => nil | set n 1
         set k z ifeq y get     => y   | set k z
         set n 2 nx xx          => -ERR syntax error
         set n 2 ifeq 1 nx      => -ERR syntax error
         set n 2 ifeq           => -ERR syntax error
         set n 2 ifeq 1 ifeq 1  => -ERR syntax error
         set n 2 foo            => -ERR syntax error
         set n                  => -ERR wrong number of arguments for 'set' command
         hset h f v             => :1  | hset h f v
         set h 1 get            => -WRONGTYPE Operation against a key holding the wrong kind of value
         set h 1 ifeq v         => -WRONGTYPE Operation against a key holding the wrong kind of value
         set h 1                => OK  | set h 1",
    );
}

#[test]
fn set_takes_deadlines_in_four_forms() {
    session(
        "@1000
         set k v ex 10          => OK | set k v PXAT 11000
         pexpiretime k          => :11000
         set k v px 10 xx       => OK | SET k v PXAT 1010
         set k v exat 5         => OK | set k v PXAT 5000
         set k v pxat 6000 xx   => OK | set k v pxat 6000 xx
         set k v keepttl        => OK | set k v keepttl
         pexpiretime k          => :6000
         set k v                => OK | set k v
         pexpiretime k          => :-1
         set k v exat 1         => OK | UNLINK k
         set k v exat 1         => OK |
         exists k               => :0
         set k v ex 10 ex 20    => OK | SET k v PXAT 21000
         set k v ex 10 px 20    => -ERR syntax error
         set k v ex 10 keepttl  => -ERR syntax error
         set k v keepttl ex 10  => -ERR syntax error
         set k v ex 0           => -ERR invalid expire time in 'set' command
         set k v px -1          => -ERR invalid expire time in 'set' command
         set k v ex 9223372036854775807   => -ERR invalid expire time in 'set' command
         set k v px 9223372036854775807   => -ERR invalid expire time in 'set' command
         set k v pxat 9223372036854775807 => OK | set k v pxat 9223372036854775807
         set k v ex x           => -ERR value is not an integer or out of range
         setex k 10 w           => OK | SET k w PXAT 11000
         psetex k 10 w          => OK | SET k w PXAT 1010
         setex k 0 w            => -ERR invalid expire time in 'setex' command
         psetex k -1 w          => -ERR invalid expire time in 'psetex' command",
    );
}

#[test]
fn reading_and_deleting_variants_of_get_propagate_their_effects() {
    session(
        "getex k                => nil
         set k v                => OK  | set k v
         getex k                => v
         getex k persist        => v
         getex k ex 10          => v   | PEXPIREAT k 11000
         getex k persist        => v   | PERSIST k
         getex k pxat 1         => v   | UNLINK k
         getset k a             => nil | SET k a
         getset k b             => a   | SET k b
         getdel k               => b   | DEL k
         getdel k               => nil
         set k v                => OK  | set k v
         getex k ex 10 px 20    => -ERR syntax error
         getex k ex 10 persist  => -ERR syntax error
         getex k ex             => -ERR syntax error
         getex k ex 0           => -ERR invalid expire time in 'getex' command
         getex k foo            => -ERR syntax error
         getex nope ex x        => -ERR value is not an integer or out of range
         hset h f v             => :1  | hset h f v
         get h                  => -WRONGTYPE Operation against a key holding the wrong kind of value
         getdel h               => -WRONGTYPE Operation against a key holding the wrong kind of value
         getset h v             => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn several_keys_are_stored_at_once() {
    session(
        "mset a 1 b 2           => OK | mset a 1 b 2
         mget a nope b          => [1 nil 2]
         mset a 1 b             => -ERR wrong number of arguments for 'mset' command
         msetnx c 1 a 2         => :0
         exists c               => :0
         msetnx c 1 d 2         => :1 | msetnx c 1 d 2
         msetnx c 1 d           => -ERR wrong number of arguments for 'msetnx' command
         setnx a 9              => :0
         setnx e 9              => :1 | setnx e 9
         hset h f v             => :1 | hset h f v
         mget a h               => [1 nil]
         exists a a h nope      => :3
         touch a nope           => :1
         del a a nope           => :1 | del a a nope
         unlink a               => :0
         unlink b c d e h       => :5 | unlink b c d e h",
    );
}

#[test]
fn strings_are_edited_in_place() {
    session(
        "append k abc           => :3 | append k abc
         append k \"\"          => :3 | append k \"\"
         strlen k               => :3
         setrange k 5 x         => :6 | setrange k 5 x
         getrange k 0 2         => abc
         getrange k -1 -1       => x
         getrange k -2 -4       => \"\"
         getrange k 4 2         => \"\"
         getrange k 9 12        => \"\"
         getrange k -9223372036854775808 9223372036854775807 => abc\0\0x
         setrange k 0 \"\"      => :6
         setrange n 3 \"\"      => :0
         exists n               => :0
         setrange k -1 x        => -ERR offset is out of range
         setrange k x x         => -ERR value is not an integer or out of range
         setrange k 1048576 x   => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         setrange k 9223372036854775807 x => -ERR string exceeds maximum allowed size (proto-max-bulk-len)
         append new \"\"        => :0 | append new \"\"
         exists new             => :1",
    );
}

#[test]
fn a_shared_string_is_not_edited_under_its_reader() {
    let mut server = Server::new();
    server.run("set k abc");
    let Reply::Bulk(read) = server.run("get k") else { panic!("a string") };
    server.run("setrange k 0 xyz");
    assert_eq!((&read[..], text(&server.run("get k"))), (&b"abc"[..], "xyz".to_owned()));
}

#[test]
fn integers_are_counted_without_overflow() {
    session(
        "incr n                 => :1  | incr n
         incrby n 10            => :11 | incrby n 10
         decr n                 => :10 | decr n
         decrby n 20            => :-10 | decrby n 20
         incrby n 01            => -ERR value is not an integer or out of range
         incrby n +1            => -ERR value is not an integer or out of range
         incrby n -0            => -ERR value is not an integer or out of range
         decrby n -9223372036854775808 => -ERR decrement would overflow
         incrby n -9223372036854775808 => -ERR increment or decrement would overflow
         set s abc              => OK  | set s abc
         incr s                 => -ERR value is not an integer or out of range
         set s 1 ex 10          => OK  | set s 1 PXAT 11000
         incr s                 => :2  | incr s
         pexpiretime s          => :11000
         incrbyfloat s 0.5      => 2.5 | SET s 2.5 KEEPTTL
         pexpiretime s          => :11000
         incrbyfloat s x        => -ERR value is not a valid float
         incrbyfloat s inf      => -ERR increment would produce NaN or Infinity
         hset h f v             => :1  | hset h f v
         incr h                 => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn keys_are_renamed_copied_and_moved() {
    session(
        "rename a b             => -ERR no such key
         set a 1 ex 10          => OK | set a 1 PXAT 11000
         set b 2                => OK | set b 2
         renamenx a b           => :0
         rename a a             => OK
         renamenx a a           => :0
         rename a b             => OK | rename a b
         pexpiretime b          => :11000
         get b                  => 1
         exists a               => :0
         copy b b               => -ERR source and destination objects are the same
         copy b c               => :1 | copy b c
         copy b c               => :0
         copy b c replace       => :1 | copy b c replace
         copy b b db 1          => :1 | copy b b db 1
         copy b c db 4          => -ERR DB index is out of range
         copy b c db x          => -ERR value is not an integer or out of range
         copy b c foo           => -ERR syntax error
         copy nope c            => :0
         pexpiretime c          => :11000
         move b 0               => -ERR source and destination objects are the same
         move b 1               => :0
         move c 1               => :1 | move c 1
         move c 1               => :0
         move c 9               => -ERR DB index is out of range
         select 1
         get c                  => 1
         swapdb 0 1             => OK | 1:swapdb 0 1
         exists c               => :0
         swapdb x 1             => -ERR invalid first DB index
         swapdb 1 x             => -ERR invalid second DB index
         swapdb 1 9             => -ERR DB index is out of range
         select 0
         exists b c             => :2",
    );
}

#[test]
fn databases_are_counted_and_flushed() {
    session(
        "set a 1                => OK | set a 1
         type a                 => string
         type b                 => none
         randomkey              => a
         select 1
         hset h f v             => :1 | 1:hset h f v
         type h                 => hash
         dbsize                 => :1
         flushdb async          => OK | 1:flushdb async
         dbsize                 => :0
         randomkey              => nil
         flushdb                => OK | 1:flushdb
         flushdb now            => -ERR syntax error
         flushall sync sync     => -ERR syntax error
         select 0
         dbsize                 => :1
         flushall               => OK | flushall
         dbsize                 => :0",
    );
}

#[test]
fn hashes_hold_fields() {
    session(
        "hset h a 1 b 2         => :2 | hset h a 1 b 2
         hset h a 1 c 3         => :1 | hset h a 1 c 3
         hmset h d 4            => OK | hmset h d 4
         hsetnx h a 9           => :0
         hsetnx h e 5           => :1 | hsetnx h e 5
         hget h a               => 1
         hget h x               => nil
         hget x a               => nil
         hmget h a x b          => [1 nil 2]
         hmget x a              => [nil]
         hgetall h              => {a=1 b=2 c=3 d=4 e=5}
         hgetall x              => {}
         hkeys h                => [a b c d e]
         hvals h                => [1 2 3 4 5]
         hlen h                 => :5
         hstrlen h a            => :1
         hexists h a            => :1
         hexists h x            => :0
         hdel h x y             => :0
         hdel h a a x           => :1 | hdel h a a x
         hdel h b c d e         => :4 | hdel h b c d e
         exists h               => :0
         hset h a               => -ERR wrong number of arguments for 'hset' command
         hset h a 1 b           => -ERR wrong number of arguments for 'hset' command
         hmset h a 1 b          => -ERR wrong number of arguments for 'hmset' command
         set s v                => OK | set s v
         hset s a 1             => -WRONGTYPE Operation against a key holding the wrong kind of value
         hdel s a               => -WRONGTYPE Operation against a key holding the wrong kind of value
         hgetall s              => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn fields_are_counted() {
    session(
        "hincrby h n 5          => :5   | hincrby h n 5
         hincrby h n -6         => :-1  | hincrby h n -6
         hincrby h n -9223372036854775808 => -ERR increment or decrement would overflow
         hincrby h n x          => -ERR value is not an integer or out of range
         hincrbyfloat h n 1.5   => 0.5  | HSET h n 0.5
         hincrby h n 1          => -ERR hash value is not an integer
         hincrbyfloat h n x     => -ERR value is not a valid float
         hincrbyfloat h n inf   => -ERR value is NaN or Infinity
         hset h s x             => :1   | hset h s x
         hincrbyfloat h s 1     => -ERR hash value is not a float
         hincrbyfloat n f 3     => 3    | HSET n f 3",
    );
}

#[test]
fn random_fields_are_fields() {
    let mut server = Server::new();
    assert_eq!(text(&server.run("hrandfield h")), "nil");
    assert_eq!(text(&server.run("hrandfield h 2")), "[]");
    server.run("hset h a 1 b 2 c 3");
    assert_eq!(text(&server.run("hrandfield h 9 withvalues")), "[a 1 b 2 c 3]");
    assert_eq!(text(&server.run("hrandfield h 0")), "[]");
    for _ in 0..50 {
        let Reply::Array(pair) = server.run("hrandfield h 2") else { panic!("an array") };
        assert!(pair.len() == 2 && pair[0] != pair[1], "{pair:?}");
        let Reply::Array(five) = server.run("hrandfield h -5") else { panic!("an array") };
        assert_eq!(five.len(), 5);
        assert!(["a", "b", "c"].contains(&text(&server.run("hrandfield h")).as_str()));
    }
    let too_many = server.run("hrandfield h -9223372036854775807");
    assert_eq!(text(&too_many), "-ERR value is out of range");
}

#[test]
fn a_hash_grows_into_a_table_and_keeps_its_contents() {
    let mut hash = Hash::new();
    for n in 0..HASH_COMPACT_MAX_FIELDS {
        assert_eq!(hash.insert(format!("f{n}").as_bytes(), b"v", None), None);
    }
    assert!(hash.is_compact());
    let before = hash.clone();
    hash.insert(b"one more", b"v", None);
    assert!(!hash.is_compact());
    hash.remove(b"one more");
    assert_eq!(hash, before);

    let mut short = Hash::new();
    short.insert(b"f", b"v", None);
    let long = Bytes::from(vec![b'x'; HASH_COMPACT_MAX_ITEM_BYTES + 1]);
    assert_eq!(short.insert(b"f", &long, None), Some(None));
    assert!(!short.is_compact());
    assert_eq!((short.len(), short.stored(b"f").unwrap().value.to_bytes()), (1, long));
}

#[test]
fn a_unit_answers_every_call_and_propagates_as_one() {
    let mut server = Server::new();
    let replies = server.run_all(&["set a 1 ex 10", "incr a x", "nosuch a b", "hset a f v", "incr a"]);
    let replies: Vec<_> = replies.iter().map(text).collect();
    let expected = [
        "OK",
        "-ERR wrong number of arguments for 'incr' command",
        "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' ",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ":2",
    ];
    assert_eq!(replies, expected);
    assert_eq!(server.take_published(), "{set a 1 PXAT 11000; incr a}");
    server.run_all(&["get a", "incr a"]);
    assert_eq!(server.take_published(), "incr a");
    server.run_all(&["get a", "scan 0", "dbsize"]);
    assert_eq!(server.take_published(), "");
}

#[test]
fn a_keyspace_has_at_least_one_shard_and_database() {
    let keyspace = Keyspace::new(Options { shards: 0, databases: 0, ..Options::default() });
    let call = Call { db: 0, argv: argv("incr a") };
    assert_eq!(keyspace.execute(&[call], 0, &mut |_| {}), [Reply::Integer(1)]);
}

#[test]
fn nothing_is_an_unknown_command() {
    let keyspace = Keyspace::new(Options::default());
    let replies = keyspace.execute(&[Call { db: 0, argv: Vec::new() }], 0, &mut |_| {});
    assert!(matches!(&replies[..], [Reply::Error(error)] if error.starts_with("ERR unknown command ''")));
    assert_eq!(keyspace.execute(&[], 0, &mut |_| {}), []);
}

#[test]
fn a_database_that_does_not_exist_is_an_error() {
    let mut server = Server::new();
    server.db = 4;
    for command in ["get a", "scan 0", "flushdb", "dbsize"] {
        assert_eq!(text(&server.run(command)), "-ERR DB index is out of range");
    }
    assert_eq!(server.keyspace.key_count(4), (0, 0));
}

#[test]
fn every_command_has_one_name_and_is_found_in_any_case() {
    let names: std::collections::HashSet<_> = commands().map(|spec| spec.name).collect();
    assert_eq!(names.len(), commands().count());
    for spec in commands() {
        let upper = spec.name.to_ascii_uppercase();
        assert!(std::ptr::eq(lookup(upper.as_bytes()).expect(spec.name), spec));
        // A container's key follows the subcommand, and some subcommands have none.
        let has_subcommands = ["memory", "object"].contains(&spec.name);
        let in_all_forms = has_subcommands || spec.arity.unsigned_abs() as i32 > spec.first_key;
        assert!(spec.first_key == 0 || in_all_forms, "{}", spec.name);
    }
    assert!(lookup(b"").is_none() && lookup(b"nosuch").is_none() && lookup(&[b'x'; 1000]).is_none());
}

#[test]
fn keys_are_found_among_arguments() {
    let keys = |words: &str| {
        let argv = argv(words);
        let spec = lookup(&argv[0]).expect("a command");
        spec.keys(&argv).map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(keys("mset a 1 b 2"), "a b");
    assert_eq!(keys("mset a 1 b"), "a b");
    assert_eq!(keys("del a b c"), "a b c");
    assert_eq!(keys("rename a b"), "a b");
    assert_eq!(keys("set a b"), "a");
    assert_eq!(keys("get"), "");
    assert_eq!(keys("scan 0"), "");
}

#[test]
fn hits_and_misses_are_counted_for_reads() {
    let mut server = Server::new();
    for command in ["set a 1", "get a", "get b", "exists a a b", "incr a"] {
        server.run(command);
    }
    let stats = server.keyspace.stats();
    assert_eq!((stats.keyspace_hits, stats.keyspace_misses), (3, 2));
}
