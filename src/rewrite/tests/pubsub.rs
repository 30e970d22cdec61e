//! Messages.

use super::*;
use crate::rewrite::{Mismatch, pubsub};

#[test]
fn a_message_goes_out_as_the_client_sent_it() {
    for line in ["PUBLISH c m", "PuBlish c m", "spublish c m"] {
        assert_eq!(pubsub::publish(&argv(line)), Ok(Propagation::Verbatim), "{line}");
    }
}

#[test]
fn a_message_in_a_transaction_is_in_one_unit_with_its_writes() {
    let (set, publish) = (argv("SET k v"), argv("publish c m"));
    let mut effects = Effects::new();
    effects.push(3, &set, Propagation::Verbatim);
    effects.push(3, &publish, pubsub::publish(&publish).expect("a message"));
    assert_eq!(effects.ops.len(), 2);
    assert_eq!(effects.wrap, Wrap::IfSeveral);
}

#[test]
fn what_is_no_message_is_refused() {
    let other = pubsub::publish(&argv("SUBSCRIBE c"));
    assert!(matches!(other, Err(Mismatch::Command { .. })), "{other:?}");
    let short = pubsub::publish(&argv("PUBLISH c"));
    assert_eq!(short, Err(Mismatch::Arguments { command: "publish", needed: 3, given: 2 }));
}
