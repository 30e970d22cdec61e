//! Strings.

use super::super::string::{self, *};
use super::*;

fn check(words: &str, rewrite: impl Fn(&[Bytes]) -> Rewritten) -> String {
    sent(words, rewrite(&argv(words)))
}

fn refused(words: &str, rewrite: impl Fn(&[Bytes]) -> Rewritten) -> bool {
    matches!(rewrite(&argv(words)), Err(Mismatch::Outcome { .. }))
}

fn set_sent(words: &str, outcome: SetOutcome) -> String {
    sent(words, string::set(&argv(words), outcome, DeletionVerb::Unlink))
}

const SET: SetOutcome = SetOutcome::Stored { deadline_ms: None };
const SET_AT_7: SetOutcome = SetOutcome::Stored { deadline_ms: Some(7) };

#[test]
fn a_relative_expiry_alone_is_replaced_in_place() {
    assert_eq!(set_sent("set k v ex 10", SET_AT_7), "set k v PXAT 7");
    assert_eq!(set_sent("SeT k v EXAT 10", SET_AT_7), "SeT k v PXAT 7");
}

#[test]
fn a_relative_expiry_among_options_leaves_only_the_deadline() {
    assert_eq!(set_sent("set k v ex 10 nx", SET_AT_7), "SET k v PXAT 7");
    assert_eq!(set_sent("set k v get ex 10", SET_AT_7), "SET k v PXAT 7");
    assert_eq!(set_sent("set k v ifeq ex px 10", SET_AT_7), "SET k v PXAT 7");
}

#[test]
fn an_absolute_deadline_in_milliseconds_goes_out_as_sent() {
    assert_eq!(set_sent("set k v xx pxat 7 get", SET_AT_7), "set k v xx pxat 7 get");
    assert_eq!(set_sent("set k v pxat 7", SET_AT_7), "set k v pxat 7");
}

#[test]
fn every_get_is_dropped_and_nothing_else() {
    assert_eq!(set_sent("set k v GET keepttl get", SET), "set k v keepttl");
    assert_eq!(set_sent("set get get xx get", SET), "set get get xx");
}

#[test]
fn a_comparison_is_dropped_with_its_argument_because_redis_does_not_know_it() {
    assert_eq!(set_sent("set k v ifeq w", SET), "set k v");
    assert_eq!(set_sent("set k v ifeq w keepttl", SET), "set k v keepttl");
    assert_eq!(set_sent("set k v ifeq get get", SET), "set k v");
    assert_eq!(set_sent("set k v ifeq get", SET), "set k v");
    assert_eq!(set_sent("set k v get ifeq ifeq", SET), "set k v");
    assert_eq!(set_sent("set k ifeq keepttl", SET), "set k ifeq keepttl");
    assert_eq!(set_sent("set k v ifeq w pxat 7", SET_AT_7), "SET k v PXAT 7");
}

#[test]
fn a_set_in_the_past_deletes_what_was_there() {
    assert_eq!(set_sent("set k v exat 1", SetOutcome::Past { existed: true }), "UNLINK k");
    assert_eq!(set_sent("set k v exat 1", SetOutcome::Past { existed: false }), "");
    assert_eq!(set_sent("set k v nx", SetOutcome::NotMet), "");
    let deleted = SetOutcome::Past { existed: true };
    let del = string::set(&argv("set k v exat 1"), deleted, DeletionVerb::Del);
    assert_eq!(sent("set k v exat 1", del), "DEL k");
}

#[test]
fn getex_propagates_what_it_did_to_the_deadline() {
    let getex = |words, outcome| sent(words, string::getex(&argv(words), outcome, DeletionVerb::Unlink));
    assert_eq!(getex("getex k", GetExOutcome::Unchanged), "");
    assert_eq!(getex("getex k ex 1", GetExOutcome::Deadline(7)), "PEXPIREAT k 7");
    assert_eq!(getex("getex k exat 1", GetExOutcome::Deleted), "UNLINK k");
    assert_eq!(getex("getex k persist", GetExOutcome::Persisted), "PERSIST k");
}

#[test]
fn values_are_propagated_as_results() {
    let value = Bytes::from("v");
    assert_eq!(check("setex k 1 v", |argv| string::setex(argv, 7)), "SET k v PXAT 7");
    assert_eq!(check("getset k v", string::getset), "SET k v");
    assert_eq!(check("incrbyfloat k 1", |argv| string::incrbyfloat(argv, &value)), "SET k v KEEPTTL");
    assert_eq!(check("getdel k", |argv| string::getdel(argv, true)), "DEL k");
}

#[test]
fn an_outcome_of_another_command_is_refused() {
    let set = |words, outcome| string::set(&argv(words), outcome, DeletionVerb::Unlink);
    assert!(matches!(set("get k", SET), Err(Mismatch::Command { .. })));
    assert!(matches!(set("", SET), Err(Mismatch::Command { .. })));
    assert!(matches!(set("set k", SET), Err(Mismatch::Arguments { command: "set", needed: 3, given: 2 })));
    assert!(matches!(set("set k v", SetOutcome::NotMet), Err(Mismatch::Outcome { .. })));
    assert!(matches!(set("set k v", SET_AT_7), Err(Mismatch::Outcome { .. })));
    assert!(matches!(set("set k v ex 1", SET), Err(Mismatch::Outcome { .. })));
}

#[test]
fn what_every_replica_computes_alike_goes_out_as_sent() {
    for words in ["incr k", "Decr k", "incrby k 5", "decrby k -5"] {
        assert_eq!(check(words, incr), words);
    }
    assert_eq!(check("mset a 1 b 2", mset), "mset a 1 b 2");
    assert_eq!(check("append k x", append), "append k x");
    assert!(matches!(incr(&argv("incrbyfloat k 1")), Err(Mismatch::Command { .. })));
}

#[test]
fn outcomes_that_the_options_rule_out_are_refused() {
    for (words, outcome) in [
        ("getex k", GetExOutcome::Persisted),
        ("getex k ex 1", GetExOutcome::Persisted),
        ("getex k persist", GetExOutcome::Deadline(7)),
        ("getex k persist", GetExOutcome::Deleted),
    ] {
        assert!(
            refused(words, |argv| string::getex(argv, outcome, DeletionVerb::Unlink)),
            "{words}: {outcome:?}"
        );
    }
    assert!(refused("mset a 1 b", mset));
    assert!(refused("msetnx a 1 b", |argv| setnx(argv, true)));
}

#[test]
fn a_conditional_store_goes_out_if_it_stored() {
    for words in ["setnx k v", "msetnx a 1 b 2"] {
        assert_eq!(check(words, |argv| setnx(argv, true)), words);
        assert_eq!(check(words, |argv| setnx(argv, false)), "");
    }
}

#[test]
fn an_empty_patch_changes_nothing() {
    let empty = [Bytes::from("setrange"), Bytes::from("k"), Bytes::from("5"), Bytes::new()];
    assert_eq!(setrange(&empty, false), Ok(Propagation::Nothing));
    assert!(matches!(setrange(&empty, true), Err(Mismatch::Outcome { .. })));
    assert_eq!(check("setrange k 5 x", |argv| setrange(argv, true)), "setrange k 5 x");
    assert!(refused("setrange k 5 x", |argv| setrange(argv, false)));
}

#[test]
fn bits_go_out_if_one_changed_or_the_string_grew() {
    for words in ["setbit k 7 0", "bitfield k overflow fail incrby u2 0 9"] {
        assert_eq!(check(words, |argv| bits(argv, BitsOutcome::Changed)), words);
        assert_eq!(check(words, |argv| bits(argv, BitsOutcome::Grown)), words);
        assert_eq!(check(words, |argv| bits(argv, BitsOutcome::Unchanged)), "");
    }
}

#[test]
fn a_compared_deletion_is_a_plain_one() {
    assert_eq!(check("delifeq k v", |argv| delifeq(argv, true)), "DEL k");
    assert_eq!(check("delifeq k v", |argv| delifeq(argv, false)), "");
    assert_eq!(check("delex k ifeq v", |argv| delifeq(argv, true)), "DEL k");
}

#[test]
fn a_negated_comparison_is_dropped_like_the_other() {
    assert_eq!(set_sent("set k v ifne w", SET), "set k v");
}

#[test]
fn an_increment_with_options_is_sent_as_its_result() {
    let result = Bytes::from("7");
    let sent = |deadline_ms| {
        check("increx k byint 2 ex 5", |argv| {
            increx(argv, IncrExOutcome::Stored { result: &result, deadline_ms })
        })
    };
    assert_eq!(sent(Some(9)), "SET k 7 PXAT 9");
    assert_eq!(sent(None), "SET k 7 KEEPTTL");
    assert_eq!(check("increx k", |argv| increx(argv, IncrExOutcome::Unchanged)), "");
}

const AT_7: MSetExOutcome = MSetExOutcome::Stored { deadline_ms: Some(7) };
const STORED: MSetExOutcome = MSetExOutcome::Stored { deadline_ms: None };

fn in_place(words: &str, outcome: MSetExOutcome) -> String {
    check(words, |argv| msetex(argv, outcome, MSetExForm::InPlace))
}

fn as_sets(words: &str, outcome: MSetExOutcome) -> String {
    check(words, |argv| msetex(argv, outcome, MSetExForm::AsSets))
}

#[test]
fn several_keys_get_their_deadline_in_place() {
    assert_eq!(in_place("msetex 2 a 1 b 2 ex 100", AT_7), "msetex 2 a 1 b 2 PXAT 7");
    assert_eq!(in_place("msetex 2 a 1 b 2 xx Ex 100", AT_7), "msetex 2 a 1 b 2 xx PXAT 7");
    assert_eq!(in_place("msetex 2 a 1 b 2 exat 9 NX", AT_7), "msetex 2 a 1 b 2 PXAT 7 NX");
    assert_eq!(in_place("msetex 2 a 1 b 2 nx pxat 7", AT_7), "msetex 2 a 1 b 2 nx pxat 7");
    assert_eq!(in_place("msetex 1 a 1 keepttl xx", STORED), "msetex 1 a 1 keepttl xx");
    assert_eq!(in_place("msetex 1 a 1 xx", MSetExOutcome::NotMet), "");
    // Keys and values may spell options.
    assert_eq!(in_place("msetex 1 ex ex ex 100", AT_7), "msetex 1 ex ex PXAT 7");
}

#[test]
fn of_several_times_only_the_one_that_holds_is_sent() {
    assert_eq!(in_place("msetex 1 a 1 ex 9 xx ex 10", AT_7), "msetex 1 a 1 xx PXAT 7");
    assert_eq!(in_place("msetex 1 a 1 pxat 9 pxat 7", AT_7), "msetex 1 a 1 PXAT 7");
}

#[test]
fn replicas_without_the_command_get_what_it_did() {
    assert_eq!(as_sets("msetex 2 a 1 b 2 nx", STORED), "MSET a 1 b 2");
    assert_eq!(as_sets("msetex 2 a 1 b 2 xx ex 5", AT_7), "SET a 1 PXAT 7; SET b 2 PXAT 7");
    assert_eq!(as_sets("msetex 2 a 1 b 2 keepttl", STORED), "SET a 1 KEEPTTL; SET b 2 KEEPTTL");
    assert_eq!(as_sets("msetex 1 a 1 nx", MSetExOutcome::NotMet), "");
}

#[test]
fn an_impossible_outcome_of_several_keys_is_refused() {
    let refused = |words: &str, outcome| refused(words, |argv| msetex(argv, outcome, MSetExForm::InPlace));
    assert!(refused("msetex 1 a 1", AT_7), "no time");
    assert!(refused("msetex 1 a 1 ex 5", STORED), "no deadline");
    assert!(refused("msetex 1 a 1 ex 5", MSetExOutcome::NotMet), "no condition");
    for count in ["0", "2", "x", "-1", "9223372036854775807", "18446744073709551615"] {
        let words = format!("msetex {count} a 1");
        assert!(refused(&words, STORED), "{count} keys");
    }
}
