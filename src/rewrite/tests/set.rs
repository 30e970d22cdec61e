//! Sets.

use super::super::set::{MEMBERS_PER_SREM, SpopOutcome, spop};
use super::*;

fn popped(members: &str) -> SpopOutcome {
    SpopOutcome::Popped(argv(members))
}

#[test]
fn popped_members_are_named() {
    let unlink = DeletionVerb::Unlink;
    assert_eq!(sent("spop k", spop(&argv("spop k"), popped("m"), unlink)), "SREM k m");
    assert_eq!(sent("spop k 2", spop(&argv("spop k 2"), popped("n m"), unlink)), "SREM k n m");
    assert_eq!(sent("spop k 2", spop(&argv("spop k 2"), SpopOutcome::Nothing, unlink)), "");
}

#[test]
fn a_set_popped_as_a_whole_is_deleted_with_the_configured_verb() {
    let command = argv("SPOP k 9");
    assert_eq!(sent("SPOP k 9", spop(&command, SpopOutcome::Whole, DeletionVerb::Unlink)), "UNLINK k");
    assert_eq!(sent("SPOP k 9", spop(&command, SpopOutcome::Whole, DeletionVerb::Del)), "DEL k");
}

#[test]
fn no_srem_names_more_than_1024_members() {
    let command = argv("spop k 2050");
    let members = |count: usize| (0..count).map(|n| Bytes::from(n.to_string())).collect::<Vec<_>>();
    let sizes = |count| match spop(&command, SpopOutcome::Popped(members(count)), DeletionVerb::Unlink) {
        Ok(Propagation::Command(srem)) => vec![srem.len() - 2],
        Ok(Propagation::Commands(srems)) => {
            let all: Argv = srems.iter().flat_map(|srem| srem[2..].to_vec()).collect();
            assert_eq!(all, members(count));
            srems.iter().map(|srem| srem.len() - 2).collect()
        }
        other => panic!("one or more commands: {other:?}"),
    };
    assert_eq!(sizes(MEMBERS_PER_SREM), [1024]);
    assert_eq!(sizes(MEMBERS_PER_SREM + 1), [1024, 1]);
    assert_eq!(sizes(2 * MEMBERS_PER_SREM + 2), [1024, 1024, 2]);
}

#[test]
fn outcomes_that_spop_cannot_have_are_refused() {
    let verb = DeletionVerb::Unlink;
    let impossible = [
        ("spop k", SpopOutcome::Whole),
        ("spop k", popped("a b")),
        ("spop k 1", popped("")),
        ("spop k 1", popped("a b")),
        ("spop k 0", popped("a")),
        ("spop k 0", SpopOutcome::Whole),
        ("spop k x", SpopOutcome::Nothing),
    ];
    for (command, outcome) in impossible {
        let refused = spop(&argv(command), outcome, verb);
        assert!(matches!(refused, Err(Mismatch::Outcome { .. })), "{command}: {refused:?}");
    }
    assert!(matches!(spop(&argv("srem k m"), popped("m"), verb), Err(Mismatch::Command { .. })));
}
