//! Keys with a deadline.

use super::*;

#[test]
fn deadlines_are_set_under_conditions() {
    session(
        "@1000
         expire k 10            => :0
         set k v                => OK | set k v
         expire k 10 xx         => :0
         expire k 10 gt         => :0
         expire k 10 nx         => :1 | PEXPIREAT k 11000 nx
         expire k 20 nx         => :0
         expire k 10 GT         => :0
         expire k 20 GT XX      => :1 | PEXPIREAT k 21000 GT XX
         pexpire k 20000 lt     => :0
         pexpire k 19999 lt     => :1 | PEXPIREAT k 20999 lt
         ttl k                  => :20
         pttl k                 => :19999
         expiretime k           => :21
         pexpiretime k          => :20999
         expireat k 30          => :1 | PEXPIREAT k 30000
         pExpireAt k 30001 gt   => :1 | pExpireAt k 30001 gt
         persist k              => :1 | persist k
         persist k              => :0
         expire k 10 lt         => :1 | PEXPIREAT k 11000 lt
         expire k 10 nx gt      => -ERR NX and XX, GT or LT options at the same time are not compatible
         expire k 10 gt lt      => -ERR GT and LT options at the same time are not compatible
         expire k 10 soon       => -ERR Unsupported option soon
         expire k x             => -ERR value is not an integer or out of range
         expire k 9223372036854775807   => -ERR invalid expire time in 'expire' command
         pexpire k 9223372036854775807  => -ERR invalid expire time in 'pexpire' command
         expireat k -9223372036854775808 => -ERR invalid expire time in 'expireat' command
         pexpireat k -5         => :1 | UNLINK k
         pexpireat k -5         => :0
         ttl k                  => :-2
         set k v                => OK | set k v
         ttl k                  => :-1
         pexpire k 0            => :1 | UNLINK k",
    );
}

#[test]
fn a_key_lives_through_the_millisecond_of_its_deadline() {
    session(
        "set k v pxat 2000      => OK | set k v pxat 2000
         @2000
         get k                  => v
         pttl k                 => :0
         @2001
         get k                  => nil | UNLINK k
         get k                  => nil",
    );
}

#[test]
fn an_expired_key_is_deleted_in_the_stream_before_it_is_used() {
    session(
        "@1000
         mset a 1 b 1 c 1 d 1 e 1 f 1 => OK | mset a 1 b 1 c 1 d 1 e 1 f 1
         pexpireat a 1001       => :1 | pexpireat a 1001
         pexpireat b 1001       => :1 | pexpireat b 1001
         pexpireat c 1001       => :1 | pexpireat c 1001
         pexpireat d 1001       => :1 | pexpireat d 1001
         pexpireat e 1001       => :1 | pexpireat e 1001
         pexpireat f 1001       => :1 | pexpireat f 1001
         @1500
         dbsize                 => :6
         keys *                 => []
         set a 2                => OK | {UNLINK a; set a 2}
         set b 2 xx             => nil | UNLINK b
         del c a                => :1 | {UNLINK c; del c a}
         incr d                 => :1 | {UNLINK d; incr d}
         rename e x             => -ERR no such key | UNLINK e
         hset f g h             => :1 | {UNLINK f; hset f g h}
         set k v pxat 1600      => OK | set k v pxat 1600
         @1700
         set k w exat 1         => OK | UNLINK k",
    );
}

#[test]
fn random_and_scanned_expired_keys_are_deleted_each_on_its_own() {
    let mut server = Server::new();
    server.run("mset a 1 b 1");
    server.run_all(&["pexpireat a 1001", "pexpireat b 1001"]);
    server.now_ms = 2000;
    server.take_published();
    assert_eq!(text(&server.run("randomkey")), "nil");
    let published = server.take_published();
    assert!(["UNLINK a; UNLINK b", "UNLINK b; UNLINK a"].contains(&&*published), "{published}");

    server.run_all(&["set a 1 pxat 2001", "set b 1 pxat 2001"]);
    server.now_ms = 3000;
    server.take_published();
    assert_eq!(text(&server.run("scan 0 match nothing count 100")), "[0 []]");
    assert_eq!(server.take_published(), "", "what the pattern leaves out is not looked at");
    assert_eq!(text(&server.run("scan 0 count 100")), "[0 []]");
    let published = server.take_published();
    assert!(published.contains("UNLINK a") && published.contains("UNLINK b"), "{published}");
    assert!(!published.contains('{'), "{published}");
    assert_eq!(server.keyspace.stats().expired_keys, 4);
}

#[test]
fn inside_exec_the_deletions_of_a_scan_are_wrapped() {
    let mut server = Server::new();
    server.run_all(&["set a 1 pxat 1001", "set b 1 pxat 1001"]);
    server.now_ms = 2000;
    server.take_published();
    server.run_all(&["scan 0 count 100", "get x"]);
    assert!(server.take_published().starts_with('{'));

    for command in ["scan 0 count 100", "randomkey"] {
        server.now_ms = 1000;
        server.run_all(&["set a 1 pxat 1001", "set b 1 pxat 1001"]);
        let mut published = String::new();
        let mut publish = |effects: &Effects<'_>| published = unit_text(effects);
        let calls = [server.call(command)];
        let replies = server.keyspace.execute_watched(&WatchSet::new(), &calls, 2000, &mut publish);
        assert!(replies.is_some() && published.starts_with('{'), "{command}: {published}");
    }
}

#[test]
fn a_replica_hides_and_its_link_ignores_what_a_primary_would_delete() {
    let mut server = Server::new();
    server.run("set k v pxat 1001");
    server.now_ms = 2000;
    let under = |policy, words: &str| {
        let mut published = String::new();
        let mut publish = |effects: &Effects<'_>| published = unit_text(effects);
        let reply = server.keyspace.execute_under(policy, &[server.call(words)], 2000, &mut publish);
        (text(&reply[0]), published)
    };
    assert_eq!(under(ExpiryPolicy::Hide, "get k"), ("nil".to_owned(), String::new()));
    assert_eq!(under(ExpiryPolicy::Hide, "keys *"), ("[]".to_owned(), String::new()));
    assert_eq!(under(ExpiryPolicy::Hide, "scan 0 count 99"), ("[0 []]".to_owned(), String::new()));
    assert_eq!(under(ExpiryPolicy::Hide, "dbsize"), (":1".to_owned(), String::new()));
    assert_eq!(under(ExpiryPolicy::Hide, "randomkey"), ("k".to_owned(), String::new()));
    assert_eq!(under(ExpiryPolicy::Ignore, "get k").0, "v");
    assert_eq!(under(ExpiryPolicy::Ignore, "scan 0 count 99").0, "[0 [k]]");
    assert_eq!(under(ExpiryPolicy::Ignore, "append k w").0, ":2");
    assert_eq!(under(ExpiryPolicy::Ignore, "pexpireat k 1").0, ":1");
    assert_eq!(under(ExpiryPolicy::Ignore, "pexpiretime k").0, ":1");
    assert_eq!(under(ExpiryPolicy::Reclaim, "get k"), ("nil".to_owned(), "UNLINK k".to_owned()));
}

#[test]
fn deletions_are_spelled_as_the_options_say() {
    let options = Options { deletion_verb: DeletionVerb::Del, ..Options::default() };
    let mut server = Server { keyspace: Arc::new(Keyspace::new(options)), ..Server::new() };
    server.run("set k v pxat 1001");
    server.take_published();
    server.now_ms = 2000;
    server.run("get k");
    assert_eq!(server.take_published(), "DEL k");
}
