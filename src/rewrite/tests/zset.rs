//! Sorted sets.

use super::super::store::StoreOutcome;
use super::super::zset::{
    LexRemovalOutcome, MEMBERS_PER_COMMAND, ZPopOutcome, ZSetEnd, ZStoreOutcome, zpop, zremrangebylex, zstore,
};
use super::*;

fn popped(words: &str, key: &str, end: ZSetEnd, count: u64) -> Rewritten {
    let key = Bytes::copy_from_slice(key.as_bytes());
    zpop(&argv(words), ZPopOutcome::Popped { key: &key, end, count })
}

fn pop(words: &str, key: &str, end: ZSetEnd, count: u64) -> String {
    sent(words, popped(words, key, end, count))
}

#[test]
fn a_pop_names_the_key_it_used_and_how_many_it_took() {
    assert_eq!(pop("ZPopMin k 9", "k", ZSetEnd::Min, 2), "ZPopMin k 9");
    assert_eq!(pop("bzpopmin a b 0", "b", ZSetEnd::Min, 1), "ZPOPMIN b");
    assert_eq!(pop("bzpopmax a b 0", "a", ZSetEnd::Max, 1), "ZPOPMAX a");
    assert_eq!(pop("zmpop 2 a b max count 9", "b", ZSetEnd::Max, 3), "ZPOPMAX b 3");
    assert_eq!(pop("bzmpop 0 1 a min", "a", ZSetEnd::Min, 1), "ZPOPMIN a 1");
    assert_eq!(sent("zpopmin k", zpop(&argv("zpopmin k"), ZPopOutcome::Nothing)), "");
}

#[test]
fn pops_that_cannot_have_happened_are_refused() {
    for (words, key, end, count) in [
        ("zpopmin k", "j", ZSetEnd::Min, 1),
        ("zpopmin k", "k", ZSetEnd::Max, 1),
        ("zpopmax k", "k", ZSetEnd::Min, 1),
        ("bzpopmax k 0", "k", ZSetEnd::Min, 1),
        ("bzpopmin k 0", "k", ZSetEnd::Min, 2),
        ("zmpop 1 k min", "k", ZSetEnd::Min, 0),
        ("zmpop 1 k min", "1", ZSetEnd::Min, 1),
        ("zmpop 1 k min", "k", ZSetEnd::Max, 1),
        ("zmpop 1 k min count 2", "k", ZSetEnd::Min, 3),
        ("bzmpop 0 2 k min", "k", ZSetEnd::Min, 1),
        ("bzpopmin k 0", "0", ZSetEnd::Min, 1),
        ("zpopmin k", "k", ZSetEnd::Min, 2),
        ("zpopmin k 1", "k", ZSetEnd::Min, 2),
        ("zpopmin k 0", "k", ZSetEnd::Min, 1),
    ] {
        let refused = popped(words, key, end, count);
        assert!(matches!(refused, Err(Mismatch::Outcome { .. })), "{words}: {refused:?}");
    }
    assert!(matches!(popped("lpop k", "k", ZSetEnd::Min, 1), Err(Mismatch::Command { .. })));
}

#[test]
fn removing_a_range_of_bytes_names_the_members_if_scores_differ() {
    let removal =
        |outcome| sent("zremrangebylex k - +", zremrangebylex(&argv("zremrangebylex k - +"), outcome));
    assert_eq!(removal(LexRemovalOutcome::Unchanged), "");
    assert_eq!(removal(LexRemovalOutcome::OneScore), "zremrangebylex k - +");
    assert_eq!(removal(LexRemovalOutcome::SeveralScores(argv("b a"))), "ZREM k b a");
    let many = vec![Bytes::from("m"); MEMBERS_PER_COMMAND + 1];
    assert!(removal(LexRemovalOutcome::SeveralScores(many)).ends_with("m; ZREM k m"));
    let none = zremrangebylex(&argv("zremrangebylex k - +"), LexRemovalOutcome::SeveralScores(Vec::new()));
    assert!(matches!(none, Err(Mismatch::Outcome { .. })));
}

#[test]
fn a_determined_result_goes_out_as_sent_and_another_as_what_it_is() {
    let command = "ZUnionStore d 2 a b";
    let stored = |outcome| sent(command, zstore(&argv(command), outcome, DeletionVerb::Unlink));
    assert_eq!(stored(ZStoreOutcome::Determined(StoreOutcome::Stored)), command);
    assert_eq!(stored(ZStoreOutcome::Determined(StoreOutcome::Deleted)), command);
    assert_eq!(stored(ZStoreOutcome::Determined(StoreOutcome::Unchanged)), "");
    let computed = |members, existed| stored(ZStoreOutcome::Computed { members, existed });
    let members = vec![(Bytes::from("m"), 0.1 + 0.2), (Bytes::from("n"), f64::INFINITY)];
    assert_eq!(computed(members.clone(), false), "ZADD d 0.30000000000000004 m inf n");
    assert_eq!(computed(members, true), "UNLINK d; ZADD d 0.30000000000000004 m inf n");
    assert_eq!(computed(Vec::new(), true), "UNLINK d");
    assert_eq!(computed(Vec::new(), false), "");
    let many = vec![(Bytes::from("m"), -0.0); MEMBERS_PER_COMMAND + 1];
    assert!(computed(many, false).ends_with(" -0 m; ZADD d -0 m"));
}

#[test]
fn a_difference_is_never_sent_as_its_result() {
    let outcome = ZStoreOutcome::Computed { members: Vec::new(), existed: true };
    let refused = zstore(&argv("zdiffstore d 1 a"), outcome, DeletionVerb::Del);
    assert!(matches!(refused, Err(Mismatch::Outcome { .. })));
}
