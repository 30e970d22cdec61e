use super::*;
use crate::rewrite::list::{EditOutcome, PopOutcome, blocking_move, blocking_pop, edit, multi_pop};

const CHANGED: EditOutcome = EditOutcome::Changed;
const UNCHANGED: EditOutcome = EditOutcome::Unchanged;

fn popped(key: &'static str, count: u64) -> (Bytes, u64) {
    (Bytes::from_static(key.as_bytes()), count)
}

fn outcome((key, count): &(Bytes, u64)) -> PopOutcome<'_> {
    PopOutcome::Popped { key, count: *count }
}

#[test]
fn what_changes_a_list_goes_out_as_sent_and_nothing_else_does() {
    let commands = [
        "lPush k a b",
        "rpush k a",
        "LPUSHX k a",
        "rpushx k a",
        "lpop k",
        "rpop k 99",
        "lset k -1 a",
        "linsert k before a b",
        "lrem k 0 a",
        "ltrim k 1 2",
        "lmove a b left RIGHT",
        "rpoplpush a b",
    ];
    for words in commands {
        assert_eq!(sent(words, edit(&argv(words), CHANGED)), words);
        let unchanged = edit(&argv(words), UNCHANGED);
        if ["lPush", "rpush", "lset"].contains(&words.split(' ').next().unwrap()) {
            assert!(matches!(unchanged, Err(Mismatch::Outcome { .. })), "{words}");
        } else {
            assert_eq!(sent(words, unchanged), "", "{words}");
        }
    }
}

#[test]
fn a_blocking_pop_becomes_the_pop_of_the_key_that_was_used() {
    let check = |words, pop| sent(words, blocking_pop(&argv(words), outcome(&pop)));
    assert_eq!(check("blpop a b 0", popped("b", 1)), "LPOP b");
    assert_eq!(check("BrPop a b 1.5", popped("a", 1)), "RPOP a");
    assert_eq!(sent("blpop a 0", blocking_pop(&argv("blpop a 0"), PopOutcome::Nothing)), "");
}

#[test]
fn a_pop_from_several_keys_names_the_key_and_how_many_there_were() {
    let check = |words, pop| sent(words, multi_pop(&argv(words), outcome(&pop)));
    assert_eq!(check("lmpop 2 a b left count 10", popped("b", 3)), "LPOP b 3");
    assert_eq!(check("LMPOP 1 a RIGHT", popped("a", 1)), "RPOP a 1");
    assert_eq!(check("blmpop 0 2 a left Left COUNT 2", popped("left", 2)), "LPOP left 2");
    assert_eq!(sent("x", multi_pop(&argv("lmpop 1 a left"), PopOutcome::Nothing)), "");
}

#[test]
fn a_blocking_move_loses_its_timeout() {
    let check = |words, outcome| sent(words, blocking_move(&argv(words), outcome));
    assert_eq!(check("blmove a b left Right 0", CHANGED), "LMOVE a b left Right");
    assert_eq!(check("brpoplpush a b 3", CHANGED), "RPOPLPUSH a b");
    assert_eq!(check("brpoplpush a b 3", UNCHANGED), "");
}

#[test]
fn outcomes_that_a_list_command_cannot_have_are_refused() {
    let refused = |rewritten: Rewritten| assert!(matches!(rewritten, Err(Mismatch::Outcome { .. })));
    refused(edit(&argv("lpop k 0"), CHANGED));
    refused(blocking_pop(&argv("blpop a b 0"), outcome(&popped("c", 1))));
    refused(blocking_pop(&argv("blpop a b 0"), outcome(&popped("0", 1))));
    refused(blocking_pop(&argv("blpop a b 0"), outcome(&popped("a", 2))));
    refused(multi_pop(&argv("lmpop 1 a left count 2"), outcome(&popped("a", 3))));
    refused(multi_pop(&argv("lmpop 1 a left"), outcome(&popped("a", 0))));
    refused(multi_pop(&argv("lmpop 1 a left"), outcome(&popped("left", 1))));
    refused(multi_pop(&argv("lmpop 9 a left"), PopOutcome::Nothing));
    refused(multi_pop(&argv("lmpop 1 a up"), PopOutcome::Nothing));
    refused(multi_pop(&argv("lmpop 1 a left most 1"), PopOutcome::Nothing));
    assert!(matches!(edit(&argv("blpop a 0"), CHANGED), Err(Mismatch::Command { .. })));
    assert!(matches!(blocking_pop(&argv("lpop a 0"), PopOutcome::Nothing), Err(Mismatch::Command { .. })));
    assert!(matches!(multi_pop(&argv("lmpop 1 a"), PopOutcome::Nothing), Err(Mismatch::Arguments { .. })));
    assert!(matches!(blocking_move(&argv("blmove a b left left"), CHANGED), Err(Mismatch::Arguments { .. })));
    assert!(matches!(blocking_move(&argv("lmove a b left left"), CHANGED), Err(Mismatch::Command { .. })));
}
