//! Streams: consumers that Valkey's replica does not learn of, and deliveries that it does not count.

use bytes::Bytes;
use replcore::rewrite::Rewritten;
use replcore::rewrite::stream::{self, ClaimOutcome, Delivered, GroupRead, Pending, StreamId};

use crate::stage::{Exception, Ours, words};
use crate::support::client::argv;
use crate::support::stored::{Group, Stream};
use crate::support::{Client, Program};

const SETUP: &[&str] = &["XADD s 1-1 a 1", "XGROUP CREATE s g 0", "XREADGROUP GROUP g old STREAMS s >"];

fn group(client: &mut Client) -> Group {
    let info = client.call(argv!["XINFO", "STREAM", "s", "FULL", "COUNT", "0"]);
    Stream::read(&info).expect("a stream").groups["g".as_bytes()].clone()
}

#[track_caller]
fn show(command: &str, ours: fn(&[Bytes], &mut Client) -> Rewritten) {
    let command = words(command);
    Exception {
        setup: SETUP,
        expired: None,
        chance: None,
        command,
        replica: Program::Valkey,
        ours: Ours::Told(ours),
    }
    .show();
}

fn new_reader(argv: &[Bytes], client: &mut Client) -> Rewritten {
    let group = group(client).position;
    stream::xreadgroup(
        argv,
        &[GroupRead { key: 5, consumer_created: true, delivered: Delivered::Nothing, group }],
    )
}

fn new_claimer(argv: &[Bytes], client: &mut Client) -> Rewritten {
    let group = group(client).position;
    stream::xclaim(argv, ClaimOutcome { entries: &[], consumer_created: true, group_moved: false, group })
}

#[test]
fn a_new_consumer_that_gets_nothing_is_unknown_to_valkeys_replica() {
    show("XREADGROUP GROUP g new STREAMS s >", new_reader);
    show("XREADGROUP GROUP g new STREAMS s 0", new_reader);
    show("XCLAIM s g new 1000000 1-1", new_claimer);
    show("XAUTOCLAIM s g new 1000000 0", new_claimer);
}

#[test]
fn deliveries_of_pending_entries_are_not_counted_by_valkeys_replica() {
    show("XREADGROUP GROUP g old STREAMS s 0", |argv, client| {
        let group = group(client);
        let entries: Vec<Pending> = group.pending.values().map(|(_, pending)| *pending).collect();
        assert_eq!((entries.len(), entries[0].deliveries, entries[0].id), (1, 2, StreamId { ms: 1, seq: 1 }));
        let delivered = Delivered::Again(&entries);
        stream::xreadgroup(
            argv,
            &[GroupRead { key: 5, consumer_created: false, delivered, group: group.position }],
        )
    });
}
