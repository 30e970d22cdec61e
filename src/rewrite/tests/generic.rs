//! Keys of any type, and what concerns no key.

use super::super::generic::{self, *};
use super::*;

fn check(words: &str, rewrite: impl Fn(&[Bytes]) -> Rewritten) -> String {
    sent(words, rewrite(&argv(words)))
}

fn refused(words: &str, rewrite: impl Fn(&[Bytes]) -> Rewritten) -> bool {
    matches!(rewrite(&argv(words)), Err(Mismatch::Outcome { .. }))
}

#[test]
fn expire_becomes_an_absolute_deadline_and_keeps_its_conditions() {
    let expire = |words, outcome| sent(words, generic::expire(&argv(words), outcome, DeletionVerb::Unlink));
    assert_eq!(expire("expire k 10 xx Gt", ExpireOutcome::Deadline(7)), "PEXPIREAT k 7 xx Gt");
    assert_eq!(expire("pExpireAt k 7 lt", ExpireOutcome::Deadline(7)), "pExpireAt k 7 lt");
    assert_eq!(expire("pexpireat k 1", ExpireOutcome::Deleted), "UNLINK k");
    assert_eq!(expire("expire k 10 nx", ExpireOutcome::Unchanged), "");
}

#[test]
fn a_deletion_goes_out_with_its_whole_list_if_a_key_was_deleted() {
    assert_eq!(check("del a b c", |argv| del(argv, 1)), "del a b c");
    assert_eq!(check("Unlink a", |argv| del(argv, 1)), "Unlink a");
    assert_eq!(check("unlink a b", |argv| del(argv, 0)), "");
    assert!(refused("del a b", |argv| del(argv, 3)), "three keys of two");
}

#[test]
fn what_was_moved_goes_out_as_sent() {
    for words in ["rename a b", "renamenx a b", "move a 3"] {
        assert_eq!(check(words, |argv| relocate(argv, RelocateOutcome::of(true))), words);
        assert_eq!(check(words, |argv| relocate(argv, RelocateOutcome::of(false))), "");
    }
    for words in ["swapdb 0 1", "flushall", "FlushDB ASYNC"] {
        assert_eq!(check(words, databases), words);
    }
    assert_eq!(check("persist k", |argv| persist(argv, true)), "persist k");
    assert_eq!(check("persist k", |argv| persist(argv, false)), "");
}

#[test]
fn a_copy_is_followed_by_the_deletion_of_what_only_the_replica_copies() {
    let dead = [Bytes::from("x"), Bytes::from("y")];
    let copied = |words, outcome| {
        let (argv, verb) = (argv(words), DeletionVerb::Unlink);
        let copied = copy(&argv, outcome, verb).expect("an outcome of COPY");
        let text = |propagation| sent(words, Ok(propagation));
        (text(copied.at_source), text(copied.at_destination))
    };
    let both = |source: &str, destination: &str| (source.to_owned(), destination.to_owned());
    let words = "COPY a b DB 2 REPLACE";
    assert_eq!(copied(words, CopyOutcome::Done), both(words, ""));
    assert_eq!(copied(words, CopyOutcome::Unchanged), both("", ""));
    assert_eq!(copied("copy a b", CopyOutcome::LiveFields { dead: &dead }), both("copy a b", "HDEL b x y"));
    assert_eq!(copied(words, CopyOutcome::NothingLive { existed: true }), both("", "UNLINK b"));
    assert_eq!(copied("copy a b", CopyOutcome::NothingLive { existed: false }), both("", ""));
    let nothing_live = CopyOutcome::NothingLive { existed: true };
    assert!(copy(&argv("copy a b"), nothing_live, DeletionVerb::Del).is_err(), "it does not replace");
}

fn stored(deadline_ms: Option<u64>) -> RestoreOutcome {
    RestoreOutcome::Stored { deadline_ms, payload: RestorePayload::AsSent }
}

fn encoded(deadline_ms: Option<u64>) -> RestoreOutcome {
    RestoreOutcome::Stored { deadline_ms, payload: RestorePayload::Encoded(Bytes::from("plain")) }
}

fn restored(words: &str, outcome: RestoreOutcome) -> String {
    check(words, |argv| restore(argv, outcome.clone(), DeletionVerb::Unlink))
}

#[test]
fn a_restored_key_gets_an_absolute_deadline() {
    assert_eq!(restored("restore k 0 p", stored(None)), "restore k 0 p");
    assert_eq!(restored("restore k 0 p absttl", stored(None)), "restore k 0 p absttl");
    assert_eq!(restored("restore k 10 p", stored(Some(7))), "restore k 7 p ABSTTL");
    assert_eq!(
        restored("Restore k 10 p replace idletime 3", stored(Some(7))),
        "Restore k 7 p replace idletime 3 ABSTTL"
    );
    assert_eq!(restored("restore k 7 p AbsTTL freq 3", stored(Some(7))), "restore k 7 p AbsTTL freq 3");
    // The argument of an option may spell anything.
    assert_eq!(
        restored("restore k 10 p idletime absttl", stored(Some(7))),
        "restore k 7 p idletime absttl ABSTTL"
    );
}

#[test]
fn a_payload_that_not_every_replica_reads_is_encoded_anew() {
    assert_eq!(restored("restore k 0 p replace", encoded(None)), "restore k 0 plain replace");
    assert_eq!(restored("restore k 10 p", encoded(Some(7))), "restore k 7 plain ABSTTL");
    assert_eq!(restored("restore k 7 p absttl", encoded(Some(7))), "restore k 7 plain absttl");
}

#[test]
fn a_restore_in_the_past_deletes_what_it_replaced() {
    assert_eq!(restored("restore k 1 p absttl replace", RestoreOutcome::Past { existed: true }), "UNLINK k");
    assert_eq!(restored("restore k 1 p absttl replace", RestoreOutcome::Past { existed: false }), "");
    let refused = |words, outcome: RestoreOutcome| {
        refused(words, |argv| restore(argv, outcome.clone(), DeletionVerb::Del))
    };
    assert!(refused("restore k 1 p absttl", RestoreOutcome::Past { existed: true }), "it does not replace");
    assert!(refused("restore k 0 p", RestoreOutcome::Past { existed: false }), "no time");
    assert!(refused("restore k 0 p", stored(Some(7))), "no time");
    assert!(refused("restore k 5 p", stored(None)), "a deadline is missing");
}

#[test]
fn a_migration_deletes_what_the_target_acknowledged() {
    let moved = [Bytes::from("a"), Bytes::from("b")];
    let migrated = |words: &str, moved: &[Bytes]| check(words, |argv| migrate(argv, moved));
    assert_eq!(migrated("migrate h 1 k 0 5", &[Bytes::from("k")]), "DEL k");
    assert_eq!(migrated("migrate h 1 k 0 5 COPY", &[]), "");
    assert_eq!(migrated("migrate h 1 k 0 5 auth copy keys a b copy", &moved), "DEL a b");
    assert!(refused("migrate h 1 k 0 5 copy", |argv| migrate(argv, &moved)));
}

#[test]
fn libraries_and_slots_go_out_as_sent() {
    assert_eq!(check("function load x", |argv| function(argv, true)), "function load x");
    assert_eq!(check("function list", |argv| function(argv, false)), "");
    assert!(refused("function list", |argv| function(argv, true)));
    assert_eq!(
        check("cluster setslot 1 stable", |argv| cluster_setslot(argv, true)),
        "cluster setslot 1 stable"
    );
    assert!(refused("cluster addslots 1 2", |argv| cluster_setslot(argv, true)));
}

#[test]
fn readers_never_propagate_and_writers_are_not_listed() {
    assert!(NEVER_PROPAGATED.is_sorted());
    for name in ["get", "TOUCH", "Eval", "exec", "script", "sort_ro", "zrange"] {
        assert!(is_never_propagated(name.as_bytes()), "{name}");
    }
    for name in ["set", "getex", "pfcount", "publish", "spublish", "function", "cluster", "", "ge", "getx"] {
        assert!(!is_never_propagated(name.as_bytes()), "{name}");
    }
}

#[cfg(feature = "server")]
#[test]
fn the_keyspace_agrees_about_what_is_never_propagated() {
    for spec in crate::keyspace::commands() {
        let propagates = spec.is_write() || ["publish", "spublish"].contains(&spec.name);
        assert_eq!(is_never_propagated(spec.name.as_bytes()), !propagates, "{}", spec.name);
    }
}
