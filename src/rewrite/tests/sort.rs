//! `SORT … STORE`.

use super::super::sort::*;
use super::*;

fn elements(words: &str) -> Vec<Bytes> {
    argv(words)
}

fn stored(words: &str, result: &str, existed: bool) -> String {
    let result = elements(result);
    sent(words, sort(&argv(words), SortOutcome::Stored { result: &result, existed }, DeletionVerb::Unlink))
}

#[test]
fn a_total_order_goes_out_as_sent() {
    let all = [
        "sort k store d",
        "Sort k by nosort get # store d",
        "sort k by w_* get v_* store d",
        "sort k alpha desc limit 0 5 store d",
        "sort k get alpha store d by w_*",
    ];
    for words in all {
        assert_eq!(stored(words, "a b", true), words);
        assert_eq!(stored(words, "a", false), words);
        assert_eq!(stored(words, "", true), words);
        assert_eq!(stored(words, "", false), "");
    }
}

#[test]
fn an_order_that_another_server_may_not_have_goes_out_as_its_result() {
    for words in
        ["sort k by w_* alpha store d", "sort k get h_*->f store d", "sort k by h_*->f store x store d"]
    {
        assert_eq!(stored(words, "a b", true), "UNLINK d; RPUSH d a b");
        assert_eq!(stored(words, "a b", false), "RPUSH d a b");
        assert_eq!(stored(words, "", true), "UNLINK d");
        assert_eq!(stored(words, "", false), "");
    }
}

#[test]
fn a_result_of_numbers_that_not_every_server_takes_goes_out_itself() {
    let result = elements("1e-310 5");
    let computed = |words: &str, existed| {
        sort(&argv(words), SortOutcome::Computed { result: &result, existed }, DeletionVerb::Unlink)
    };
    let words = "sort k store d";
    assert_eq!(sent(words, computed(words, true)), "UNLINK d; RPUSH d 1e-310 5");
    assert_eq!(sent(words, computed(words, false)), "RPUSH d 1e-310 5");
    for words in ["sort k", "sort k alpha store d"] {
        assert!(matches!(computed(words, false), Err(Mismatch::Outcome { .. })), "{words}");
    }
}

#[test]
fn a_long_result_goes_out_in_batches() {
    let result = vec![Bytes::from("x"); RESULT_BATCH_ELEMENTS + 1];
    let words = argv("sort k by w_* alpha store d");
    let outcome = SortOutcome::Stored { result: &result, existed: true };
    let Ok(Propagation::Commands(commands)) = sort(&words, outcome, DeletionVerb::Del) else {
        panic!("several commands");
    };
    assert_eq!(commands.iter().map(Vec::len).collect::<Vec<_>>(), [2, RESULT_BATCH_ELEMENTS + 2, 3]);
}

#[test]
fn an_answer_is_not_propagated_and_impossible_outcomes_are_refused() {
    assert_eq!(sent("sort k", sort(&argv("sort k"), SortOutcome::Answered, DeletionVerb::Del)), "");
    let refused = |words: &str, outcome| {
        matches!(sort(&argv(words), outcome, DeletionVerb::Del), Err(Mismatch::Outcome { .. }))
    };
    assert!(refused("sort k store d", SortOutcome::Answered));
    assert!(refused("sort k get store", SortOutcome::Stored { result: &[], existed: false }));
    assert!(matches!(
        sort(&argv("sort_ro k"), SortOutcome::Answered, DeletionVerb::Del),
        Err(Mismatch::Command { .. })
    ));
}
