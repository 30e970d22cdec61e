//! Commands that store what they computed.

use super::super::store::{StoreOutcome, store};
use super::*;

#[test]
fn a_stored_result_and_a_deleted_destination_go_out_as_sent() {
    for outcome in [StoreOutcome::Stored, StoreOutcome::Deleted] {
        let command = "SinterStore d a b";
        assert_eq!(sent(command, store(&argv(command), outcome)), command);
    }
}

#[test]
fn an_empty_result_without_a_destination_changes_nothing() {
    let command = "bitop and d a";
    assert_eq!(sent(command, store(&argv(command), StoreOutcome::Unchanged)), "");
    assert_eq!(StoreOutcome::of(true, false), StoreOutcome::Unchanged);
    assert_eq!(StoreOutcome::of(true, true), StoreOutcome::Deleted);
    assert_eq!(StoreOutcome::of(false, false), StoreOutcome::Stored);
}

#[test]
fn a_command_that_stores_nothing_is_refused() {
    assert!(matches!(store(&argv("sinter a b c"), StoreOutcome::Stored), Err(Mismatch::Command { .. })));
    assert!(matches!(store(&argv("bitop and d"), StoreOutcome::Stored), Err(Mismatch::Arguments { .. })));
}
