//! Sets: replies and propagation as Valkey 9.1.2 was seen to give them, and the forms of a set.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{SET_COMPACT_MAX_MEMBERS, SET_INTEGERS_MAX_MEMBERS, Set, SetEncoding};
use super::*;

#[test]
fn members_are_added_and_removed_once() {
    session(
        "sadd s b a b           => :2 | sadd s b a b
         sadd s a               => :0
         sadd s                 => -ERR wrong number of arguments for 'sadd' command
         scard s                => :2
         smembers s             => <b a>
         sismember s a          => :1
         sismember s x          => :0
         smismember s a x b     => [:1 :0 :1]
         srem s x               => :0
         srem s x a             => :1 | srem s x a
         srem s b               => :1 | srem s b
         exists s               => :0
         srem s b               => :0
         smembers s             => <>
         scard s                => :0
         sismember s a          => :0
         smismember s a         => [:0]
         sadd n 3 1 02 2        => :4 | sadd n 3 1 02 2
         set k v                => OK | set k v
         sadd k a               => -WRONGTYPE Operation against a key holding the wrong kind of value
         srem k a               => -WRONGTYPE Operation against a key holding the wrong kind of value
         scard k                => -WRONGTYPE Operation against a key holding the wrong kind of value
         smembers k             => -WRONGTYPE Operation against a key holding the wrong kind of value
         sismember k a          => -WRONGTYPE Operation against a key holding the wrong kind of value
         smismember k a         => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn smove_moves_what_is_there() {
    session(
        "smove s d m            => :0
         sadd s m n             => :2 | sadd s m n
         smove s d x            => :0
         smove s s m            => :1
         smove s s x            => :0
         smove s d m            => :1 | smove s d m
         smembers d             => <m>
         sadd s m               => :1 | sadd s m
         smove s d m            => :1 | smove s d m
         smove s d n            => :1 | smove s d n
         exists s               => :0
         set k v                => OK | set k v
         smove k d m            => -WRONGTYPE Operation against a key holding the wrong kind of value
         smove d k m            => -WRONGTYPE Operation against a key holding the wrong kind of value
         smove d k nope         => -WRONGTYPE Operation against a key holding the wrong kind of value
         smove nope k m         => :0",
    );
}

#[test]
fn sets_are_combined() {
    session(
        "sadd a 1 2 3 4         => :4 | sadd a 1 2 3 4
         sadd b 3 4 5           => :3 | sadd b 3 4 5
         sadd c 4 x             => :2 | sadd c 4 x
         sinter a b             => <3 4>
         sinter a b c           => <4>
         sinter a nope          => <>
         sinter a a             => <1 2 3 4>
         sunion a c nope        => <1 2 3 4 x>
         sdiff a b              => <1 2>
         sdiff a nope           => <1 2 3 4>
         sdiff nope a           => <>
         sdiff a a              => <>
         sdiff a b a            => <>
         sintercard 2 a b       => :2
         sintercard 2 a b limit 1 => :1
         sintercard 2 a b LIMIT 0 => :2
         sintercard 1 nope      => :0
         sintercard 0 a         => -ERR numkeys should be greater than 0
         sintercard x a         => -ERR numkeys should be greater than 0
         sintercard 2 a         => -ERR Number of keys can't be greater than number of args
         sintercard 1 a limit   => -ERR syntax error
         sintercard 1 a foo 1   => -ERR syntax error
         sintercard 1 a limit -1 => -ERR LIMIT can't be negative
         sintercard 1 a limit x => -ERR LIMIT can't be negative
         set k v                => OK | set k v
         sinter a k             => -WRONGTYPE Operation against a key holding the wrong kind of value
         sinter nope k          => -WRONGTYPE Operation against a key holding the wrong kind of value
         sunion a k             => -WRONGTYPE Operation against a key holding the wrong kind of value
         sdiff nope k           => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn a_combination_is_stored_or_deletes_its_destination() {
    session(
        "sadd a 1 2 3           => :3 | sadd a 1 2 3
         sadd b 3 4             => :2 | sadd b 3 4
         sinterstore d a nope   => :0
         sinterstore d a b      => :1 | sinterstore d a b
         smembers d             => <3>
         sinterstore d a nope   => :0 | sinterstore d a nope
         exists d               => :0
         sunionstore d a b      => :4 | sunionstore d a b
         sdiffstore d d a       => :1 | sdiffstore d d a
         smembers d             => <4>
         sdiffstore d d d       => :0 | sdiffstore d d d
         sdiffstore d d d       => :0
         set k v ex 100         => OK | set k v PXAT 101000
         sunionstore k a        => :3 | sunionstore k a
         ttl k                  => :-1
         set k v                => OK | set k v
         sunionstore a k        => -WRONGTYPE Operation against a key holding the wrong kind of value
         scard a                => :3",
    );
}

#[test]
fn expired_sources_are_deleted_before_they_are_looked_at() {
    session(
        "sadd a 1 2             => :2 | sadd a 1 2
         sadd b 2               => :1 | sadd b 2
         sadd d 9               => :1 | sadd d 9
         pexpire b 10           => :1 | PEXPIREAT b 1010
         pexpire d 10           => :1 | PEXPIREAT d 1010
         @2000
         sdiffstore d a b       => :2 | {UNLINK b; UNLINK d; sdiffstore d a b}
         ttl d                  => :-1",
    );
}

#[test]
fn what_spop_took_is_propagated() {
    session(
        "spop s                 => nil
         spop s 1               => <>
         spop s x               => -ERR value is out of range, must be positive
         spop s -1              => -ERR value is out of range, must be positive
         spop s 1 2             => -ERR syntax error
         sadd s a               => :1 | sadd s a
         spop s 0               => <>
         spop s                 => a  | SREM s a
         exists s               => :0
         sadd s a               => :1 | sadd s a
         spop s 1               => <a> | UNLINK s
         sadd s a b             => :2 | sadd s a b
         spop s 9               => <a b> | UNLINK s
         set k v                => OK | set k v
         spop k                 => -WRONGTYPE Operation against a key holding the wrong kind of value
         spop k 0               => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn popping_part_of_a_set_names_the_members_that_are_gone() {
    for (size, count) in [(5usize, 2usize), (600, 599), (3000, 2500), (3000, 1025)] {
        let mut server = Server::new();
        let members: BTreeSet<String> = (0..size).map(|n| format!("m{n}")).collect();
        server.run(&format!("sadd s {}", members.iter().cloned().collect::<Vec<_>>().join(" ")));
        server.take_published();
        let Reply::Set(popped) = server.run(&format!("spop s {count}")) else { panic!("a set") };
        let popped: Vec<String> = popped.iter().map(text).collect();
        let published = server.take_published();
        let srems: Vec<&str> = published.trim_matches(['{', '}']).split("; ").collect();
        let named: Vec<&str> = srems
            .iter()
            .flat_map(|srem| srem.strip_prefix("SREM s ").expect("a removal").split(' '))
            .collect();
        assert_eq!(named, popped, "in the order of the reply");
        assert_eq!(srems.len(), count.div_ceil(1024));
        assert_eq!(published.starts_with('{'), srems.len() > 1, "several are one unit");
        let Reply::Set(rest) = server.run("smembers s") else { panic!("a set") };
        let mut all: BTreeSet<String> = rest.iter().map(text).collect();
        assert_eq!((all.len(), popped.len()), (size - count, count));
        all.extend(popped);
        assert_eq!(all, members);
    }
}

#[test]
fn every_member_can_be_drawn() {
    let mut server = Server::new();
    server.run("sadd s a b c");
    let mut drawn = BTreeSet::new();
    while drawn.len() < 3 {
        drawn.insert(text(&server.run("srandmember s")));
    }
    assert_eq!(drawn, ["a", "b", "c"].map(str::to_owned).into());
    let sizes = [("srandmember s 0", 0), ("srandmember s 2", 2), ("srandmember s 9", 3)];
    for (command, size) in sizes {
        let Reply::Array(drawn) = server.run(command) else { panic!("an array") };
        let different: BTreeSet<String> = drawn.iter().map(text).collect();
        assert_eq!((drawn.len(), different.len()), (size, size), "{command}");
    }
    let Reply::Array(drawn) = server.run("srandmember s -50") else { panic!("an array") };
    assert_eq!(drawn.len(), 50);
    session(
        "srandmember s          => nil
         srandmember s 3        => []
         srandmember s x        => -ERR value is not an integer or out of range
         srandmember s 1 2      => -ERR syntax error
         srandmember s -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         srandmember s -9999999999 => []
         sadd t m               => :1 | sadd t m
         srandmember t -9999999999 => -ERR value is out of range
         set k v                => OK | set k v
         srandmember k          => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

fn set_of(members: impl IntoIterator<Item = String>) -> Set {
    let mut set = Set::new();
    members.into_iter().for_each(|member| _ = set.insert(member.as_bytes()));
    set
}

#[test]
fn the_form_follows_the_members() {
    let integers = |count| set_of((0..count).map(|n: usize| n.to_string()));
    assert_eq!(integers(SET_INTEGERS_MAX_MEMBERS).encoding(), SetEncoding::Intset);
    assert_eq!(integers(SET_INTEGERS_MAX_MEMBERS + 1).encoding(), SetEncoding::Hashtable);
    let words = |count| set_of((0..count).map(|n: usize| format!("w{n}")));
    assert_eq!(words(SET_COMPACT_MAX_MEMBERS).encoding(), SetEncoding::Listpack);
    assert_eq!(words(SET_COMPACT_MAX_MEMBERS + 1).encoding(), SetEncoding::Hashtable);
    assert_eq!(set_of(["x".repeat(64)]).encoding(), SetEncoding::Listpack);
    assert_eq!(set_of(["x".repeat(65)]).encoding(), SetEncoding::Hashtable);

    let mut few = integers(SET_COMPACT_MAX_MEMBERS - 1);
    assert!(few.insert(b"x"));
    assert_eq!(few.encoding(), SetEncoding::Listpack);
    let mut many = integers(SET_COMPACT_MAX_MEMBERS);
    assert!(many.insert(b"x"));
    assert_eq!(many.encoding(), SetEncoding::Hashtable);
    for n in 0..SET_COMPACT_MAX_MEMBERS {
        assert!(many.remove(n.to_string().as_bytes()));
    }
    assert_eq!((many.len(), many.encoding()), (1, SetEncoding::Hashtable), "there is no way back");
}

#[test]
fn a_table_that_loses_nearly_all_members_at_once_is_stored_anew() {
    let mut set = set_of((0..600).map(|n: usize| n.to_string()));
    set.take((0..499).collect());
    assert_eq!((set.len(), set.encoding()), (101, SetEncoding::Hashtable));
    let mut set = set_of((0..600).map(|n: usize| n.to_string()));
    set.take((0..500).collect());
    assert_eq!((set.len(), set.encoding()), (100, SetEncoding::Listpack));
}

#[test]
fn what_happens_to_a_set_is_told_in_order() {
    let mut recorder = Recorder::new();
    let mut events = |command: &str| recorder.run(command);
    assert_eq!(events("sadd s a b c"), "sadd s");
    assert_eq!(events("sadd s a"), "");
    assert_eq!(events("srem s a x"), "srem s");
    assert_eq!(events("smove s d b"), "srem s, sadd d");
    assert_eq!(events("smove s d c"), "srem s, del s, sadd d");
    assert_eq!(events("sadd s b"), "sadd s");
    assert_eq!(events("smove s d b"), "srem s, del s");
    assert_eq!(events("smove d d b"), "");
    assert_eq!(events("spop d 1"), "spop d");
    assert_eq!(events("spop d 0"), "");
    assert_eq!(events("spop d"), "spop d, del d");
    assert_eq!(events("sadd s 1 2"), "sadd s");
    assert_eq!(events("sunionstore d s"), "sunionstore d");
    assert_eq!(events("sdiffstore d s nope"), "sdiffstore d");
    assert_eq!(events("sinterstore d s s"), "sinterstore d");
    assert_eq!(events("sinterstore d s nope"), "del d");
    assert_eq!(events("sinterstore d s nope"), "");
    assert_eq!(events("spop s 2"), "spop s, del s");
    assert_eq!(events("sadd s 1"), "sadd s");
    assert_eq!(events("srem s 1"), "srem s, del s");
}

#[test]
fn a_large_set_is_scanned_in_pages_and_a_small_one_at_once() {
    session(
        "sscan s 0              => [0 []]
         sscan s x              => -ERR invalid cursor
         sscan s 0 foo          => [0 []]
         sadd s a b             => :2 | sadd s a b
         sscan s 0 count 1      => [0 [a b]]
         sscan s 0 match a      => [0 [a]]
         sscan s 0 type set     => -ERR syntax error
         sscan s 0 novalues     => -ERR NOVALUES option can only be used in HSCAN
         sscan s 0 count 0      => -ERR syntax error
         set k v                => OK | set k v
         sscan k 0              => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
    let mut server = Server::new();
    for n in 0..600 {
        server.run(&format!("sadd s {n}"));
    }
    let (mut cursor, mut seen, mut pages) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let Reply::Array(page) = server.run(&format!("sscan s {cursor} count 50")) else { panic!("a page") };
        let [next, Reply::Array(found)] = &page[..] else { panic!("a page: {page:?}") };
        seen.extend(found.iter().map(text));
        cursor = text(next);
        pages += 1;
        if cursor == "0" {
            break;
        }
    }
    let different: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((pages, seen.len(), different.len()), (12, 600, 600));
}

#[derive(Clone, Debug)]
enum Step {
    Add(String),
    Remove(String),
    Take(Vec<prop::sample::Index>),
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (-300i64..300).prop_map(|n| n.to_string()),
        2 => (0..40u8).prop_map(|n| format!("w{n}")),
        1 => Just("007".to_owned()),
        1 => Just("x".repeat(65)),
    ]
}

proptest! {
    #[test]
    fn a_set_is_what_a_sorted_set_of_strings_is(
        first in prop::collection::vec(-300i64..300, 0..600),
        steps in prop::collection::vec(prop_oneof![
            6 => member().prop_map(Step::Add),
            3 => member().prop_map(Step::Remove),
            1 => prop::collection::vec(any::<prop::sample::Index>(), 1..30).prop_map(Step::Take),
        ], 1..200),
    ) {
        let mut model: BTreeSet<String> = first.iter().map(i64::to_string).collect();
        let mut set = set_of(first.iter().map(i64::to_string));
        for step in steps {
            match step {
                Step::Add(member) => {
                    prop_assert_eq!(set.insert(member.as_bytes()), model.insert(member.clone()));
                    prop_assert!(set.contains(member.as_bytes()));
                }
                Step::Remove(member) => {
                    prop_assert_eq!(set.remove(member.as_bytes()), model.remove(&member));
                    prop_assert!(!set.contains(member.as_bytes()));
                }
                Step::Take(indices) if !model.is_empty() => {
                    let indices: BTreeSet<usize> = indices.iter().map(|at| at.index(model.len())).collect();
                    let expected: Vec<_> = indices.iter().map(|&at| set.get_index(at)).collect();
                    let taken: Vec<_> = set.take(indices.into_iter().collect()).into_iter().map(Some).collect();
                    prop_assert_eq!(&taken, &expected);
                    for member in taken.into_iter().flatten() {
                        prop_assert!(model.remove(std::str::from_utf8(&member).unwrap_or_default()));
                    }
                }
                Step::Take(_) => {}
            }
            prop_assert_eq!(set.len(), model.len());
        }
        let members: BTreeSet<String> =
            set.iter().map(|member| String::from_utf8_lossy(&member).into_owned()).collect();
        prop_assert_eq!(&members, &model);
        prop_assert_eq!(set.iter().len(), model.len());
        if set.encoding() == SetEncoding::Intset {
            prop_assert!(model.iter().all(|member| member.parse::<i64>().is_ok() && member != "007"));
        }
    }
}
