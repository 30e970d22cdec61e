//! Contents that are put in place.

use proptest::prelude::*;

use super::memory::assert_totals;
use super::snapshots::{State, assert_nothing_is_left, collected, state_of};
use super::*;
use crate::rdb::{self, HashField};

fn bytes(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

fn entry(key: &str, value: rdb::Value) -> rdb::Entry {
    rdb::Entry { key: bytes(key), value, deadline_ms: None, idle_s: None, frequency: None }
}

fn string(text: &str) -> rdb::Value {
    rdb::Value::String(bytes(text))
}

fn list(items: &[&str]) -> rdb::Value {
    rdb::Value::List(items.iter().map(|item| bytes(*item)).collect())
}

/// Puts these keys of database 0 in place.
fn replace(server: &mut Server, entries: impl IntoIterator<Item = rdb::Entry>) {
    let mut draft = server.keyspace.draft();
    entries.into_iter().for_each(|entry| draft.insert(0, entry, server.now_ms).expect("a new key"));
    let published = &mut server.published;
    let mut publish = |effects: &Effects<'_>| published.push(unit_text(effects));
    draft.put_in_place(ExpiryPolicy::Reclaim, server.now_ms, &mut publish, &mut || ());
}

#[test]
fn a_draft_is_put_in_place_whole_while_all_is_locked() {
    let mut server = Server::new();
    server.run_all(&["set old 1", "set both old"]);
    server.db = 3;
    server.run("set other db");
    let mut draft = server.keyspace.draft();
    for (key, value) in [("both", string("new")), ("l", list(&["a", "b"]))] {
        draft.insert(0, entry(key, value), 0).expect("a new key");
    }
    let field = |field: &str, deadline_ms| HashField { field: bytes(field), value: bytes("v"), deadline_ms };
    let hash = rdb::Value::Hash(vec![field("dead", Some(1)), field("alive", None)]);
    draft.insert(2, rdb::Entry { deadline_ms: Some(5), ..entry("h", hash) }, 0).expect("a new key");
    assert_eq!((draft.len(), draft.is_empty()), (3, false));
    let bytes = draft.used_bytes();
    assert_eq!(text(&server.run("get other")), "db", "nobody sees a draft");
    let keyspace = Arc::clone(&server.keyspace);
    let mut locked = 0;
    draft.put_in_place(ExpiryPolicy::Ignore, 0, &mut |_| unreachable!("nothing is published"), &mut || {
        locked += (0..keyspace.options.shards).filter(|&n| keyspace.shards[n].try_lock().is_none()).count();
    });
    assert_eq!(locked, keyspace.options.shards);
    assert_eq!(text(&server.run("get other")), "nil");
    server.db = 0;
    assert_eq!(text(&server.run("mget old both")), "[nil new]");
    assert_eq!(text(&server.run("lrange l 0 -1")), "[a b]");
    assert_eq!((server.keyspace.key_count(2), server.keyspace.volatile_hash_count(2)), ((1, 1), 1));
    assert_eq!(server.keyspace.used_bytes(), bytes);
    server.take_published();
    // Nothing was judged; the cycles find what is due.
    server.expire_cycle(Duration::from_secs(60));
    assert_eq!(server.take_published(), "2:UNLINK h");
    assert_totals(&server.keyspace);
}

#[test]
fn clearing_leaves_nothing_and_says_nothing() {
    let mut server = Server::new();
    server.run_all(&["set a 1", "hset h f v", "swapdb 0 1", "set b 2"]);
    let mut settled = 0;
    server.keyspace.clear(0, &mut || settled += 1);
    assert_eq!((settled, server.keyspace.used_bytes(), state_of(&server.keyspace)), (1, 0, State::new()));
}

#[test]
fn what_no_server_has_is_refused() {
    let server = Server::new();
    let mut draft = server.keyspace.draft();
    draft.insert(3, entry("k", string("v")), 0).expect("the last database");
    let twice = rdb::Value::Set(vec![bytes("m"), bytes("m")]);
    for (db, key, value, expected) in [
        (4, "k", string("v"), DraftError::Database { db: 4, databases: 4 }),
        (3, "k", list(&["v"]), DraftError::DuplicateKey),
        (0, "s", twice, DraftError::Value),
        (0, "l", list(&[]), DraftError::Value),
    ] {
        assert_eq!(draft.insert(db, entry(key, value), 0), Err(expected), "{key}");
    }
    assert_eq!(draft.len(), 1);
}

#[test]
fn watched_keys_that_existed_or_exist_are_modified() {
    for (watched, passes) in [("old", false), ("new", false), ("both", false), ("none", true)] {
        let mut server = Server::new();
        server.run_all(&["set old 1", "set both 1"]);
        let mut set = WatchSet::new();
        server.keyspace.watch(&mut set, 0, &argv(watched), server.now_ms);
        replace(&mut server, ["new", "both"].map(|key| entry(key, string("1"))));
        let ran = server.keyspace.execute_watched(&set, &[], server.now_ms, &mut |_| {});
        assert_eq!(ran.is_some(), passes, "{watched}");
    }
}

#[test]
fn who_waits_for_a_key_that_is_there_now_is_served() {
    let mut server = Server::new();
    let mut first = server.wait("blpop l 0");
    let mut second = server.wait("blmove l d left left 0");
    let mut other = server.wait("blpop none 0");
    replace(&mut server, [entry("l", list(&["a", "b", "c"]))]);
    let got = |waiting: &mut crate::keyspace::blocking::Waiting| {
        waiting.try_end().map(|served| text(&served.reply))
    };
    assert_eq!([got(&mut first), got(&mut second)], [Some("[l a]".to_owned()), Some("b".to_owned())]);
    assert_eq!(got(&mut other), None);
    assert_eq!(server.take_published(), "LPOP l || LMOVE l d left left");
    assert_eq!(text(&server.run("lrange l 0 -1")), "[c]");
}

#[test]
fn a_replica_serves_nobody() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop l 0");
    let mut draft = server.keyspace.draft();
    draft.insert(0, entry("l", list(&["a"])), 0).expect("a new key");
    draft.put_in_place(ExpiryPolicy::Hide, 0, &mut |_| unreachable!("nothing is published"), &mut || ());
    assert_eq!(waiting.try_end(), None);
    assert_eq!(text(&server.run("lrange l 0 -1")), "[a]");
}

/// Keys of both contents, and how many entries of a snapshot are read before and after the exchange.
type Exchange = (Vec<u8>, Vec<u8>, usize, usize, Vec<u8>);

fn exchange() -> impl Strategy<Value = Exchange> {
    let keys = || prop::collection::btree_set(0u8..40, 0..40).prop_map(|keys| keys.into_iter().collect());
    (keys(), keys(), 0usize..8, 0usize..8, prop::collection::vec(0u8..40, 0..20))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Before, between and after two exchanges: each snapshot is the state at its cut, and the totals are
    /// those of a recount.
    #[test]
    fn snapshots_of_both_contents_are_those_of_their_cuts(
        (old, new, before, after, changed) in exchange(),
        emptied in any::<bool>(),
    ) {
        let mut server = Server::with_shards(2);
        for key in &old {
            server.run(&format!("set k{key} old"));
        }
        let ((), mut of_old) = server.keyspace.cut(|| ());
        let old_state = state_of(&server.keyspace);
        let mut old_entries = Vec::new();
        (0..before).for_each(|_| old_entries.extend(of_old.next_limited(3).unwrap_or_default()));
        if emptied {
            // The walks have not come to their ends, and the tables are empty.
            old.iter().for_each(|key| drop(server.run(&format!("del k{key}"))));
        }
        replace(&mut server, new.iter().map(|key| entry(&format!("k{key}"), string("new"))));
        assert_totals(&server.keyspace);
        let ((), mut of_new) = server.keyspace.cut(|| ());
        let new_state = state_of(&server.keyspace);
        prop_assert_eq!(new_state.len(), new.len());
        let mut new_entries = Vec::new();
        for key in changed {
            new_entries.extend(of_new.next_limited(1).unwrap_or_default());
            server.run(&format!("{} k{key}", if key % 2 == 0 { "append x" } else { "del" }));
            server.run(&format!("set k{key} later"));
        }
        (0..after).for_each(|_| old_entries.extend(of_old.next_limited(3).unwrap_or_default()));
        server.keyspace.clear(0, &mut || ());
        server.run("set k1 last");
        while let Some(batch) = of_old.next_limited(5) {
            old_entries.extend(batch);
        }
        while let Some(batch) = of_new.next_limited(5) {
            new_entries.extend(batch);
        }
        drop((of_old, of_new));
        prop_assert_eq!(collected(&old_entries), old_state);
        prop_assert_eq!(collected(&new_entries), new_state);
        assert_totals(&server.keyspace);
        assert_nothing_is_left(&server.keyspace);
    }
}
