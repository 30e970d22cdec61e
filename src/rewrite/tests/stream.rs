use super::{argv, sent};
use crate::rewrite::Mismatch;
use crate::rewrite::stream::*;
use bytes::Bytes;

const fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

const EXTENT: Extent = Extent { entries: 3, first: Some(id(2, 1)) };
const EMPTY: Extent = Extent { entries: 0, first: None };
const GROUP: GroupPosition = GroupPosition { last_id: id(4, 1), entries_read: Some(4) };
const PENDING: [Pending; 2] = [
    Pending { id: id(3, 1), delivered_ms: 70, deliveries: 2 },
    Pending { id: id(4, 1), delivered_ms: 71, deliveries: 5 },
];

fn xadd_sent(words: &str, extent: Extent) -> String {
    sent(words, xadd(&argv(words), XAddOutcome::Added { id: id(9, 8), extent }))
}

fn read_sent(words: &str, reads: &[GroupRead<'_>]) -> String {
    sent(words, xreadgroup(&argv(words), reads))
}

fn claim_sent(words: &str, outcome: ClaimOutcome<'_>) -> String {
    sent(words, xclaim(&argv(words), outcome))
}

fn read<'o>(key: usize, consumer_created: bool, delivered: Delivered<'o>) -> GroupRead<'o> {
    GroupRead { key, consumer_created, delivered, group: GROUP }
}

const NEW: Delivered<'static> = Delivered::New { ids: &[id(3, 1), id(4, 1)], delivered_ms: 70 };

#[test]
fn an_id_of_the_primarys_making_is_sent() {
    assert_eq!(xadd_sent("xadd s * f v", EXTENT), "xadd s 9-8 f v");
    assert_eq!(xadd_sent("xadd s 9-* f v", EXTENT), "xadd s 9-8 f v");
    assert_eq!(xadd_sent("xadd s NOMKSTREAM MAXLEN 3 * f v", EXTENT), "xadd s NOMKSTREAM MAXLEN 3 9-8 f v");
    assert_eq!(xadd_sent("xadd s 9 f v", EXTENT), "xadd s 9 f v");
    assert_eq!(xadd_sent("xadd s 9-8 f *", EXTENT), "xadd s 9-8 f *");
    let words = "xadd s nomkstream * f v";
    assert_eq!(sent(words, xadd(&argv(words), XAddOutcome::NotAdded)), "");
}

#[test]
fn an_approximate_trim_is_sent_as_what_it_came_to() {
    assert_eq!(xadd_sent("xadd s maxlen ~ 2 9-8 f v", EXTENT), "xadd s maxlen = 3 9-8 f v");
    assert_eq!(xadd_sent("xadd s MAXLEN ~ 2 LIMIT 10 * f ~", EXTENT), "xadd s MAXLEN = 3 LIMIT 10 9-8 f ~");
    assert_eq!(xadd_sent("xadd s LIMIT 10 MINID ~ 2 * f v", EXTENT), "xadd s LIMIT 10 MINID = 2-1 9-8 f v");
    let greatest = "18446744073709551615-18446744073709551615";
    assert_eq!(xadd_sent("xadd s MINID ~ 99 9-8 f v", EMPTY), format!("xadd s MINID = {greatest} 9-8 f v"));
    assert_eq!(xadd_sent("xadd s MAXLEN = 2 9-8 f v", EXTENT), "xadd s MAXLEN = 2 9-8 f v");
    let trim = |words, removed, extent| sent(words, xtrim(&argv(words), removed, extent));
    assert_eq!(trim("xtrim s MAXLEN ~ 2", 5, EXTENT), "xtrim s MAXLEN = 3");
    assert_eq!(trim("xtrim s MINID ~ 2 LIMIT 9", 5, EXTENT), "xtrim s MINID = 2-1 LIMIT 9");
    assert_eq!(trim("xtrim s MINID ~ 2", 0, EXTENT), "");
    assert_eq!(trim("xtrim s MINID 2", 5, EXTENT), "xtrim s MINID 2");
    assert_eq!(trim("xtrim s maxlen = 2", 0, EXTENT), "");
}

#[test]
fn new_deliveries_are_sent_as_claims_and_the_groups_place() {
    let words = "xreadgroup GROUP g c COUNT 2 STREAMS s t > >";
    let both = "XCLAIM s g c 0 3-1 TIME 70 RETRYCOUNT 1 FORCE JUSTID LASTID 3-1; \
                XCLAIM s g c 0 4-1 TIME 70 RETRYCOUNT 1 FORCE JUSTID LASTID 4-1; \
                XGROUP SETID s g 4-1 ENTRIESREAD 4";
    assert_eq!(read_sent(words, &[read(7, false, NEW), read(8, false, Delivered::Nothing)]), both);
    assert_eq!(read_sent(words, &[read(7, true, NEW)]), both);
    assert_eq!(
        read_sent(words, &[read(7, true, Delivered::Nothing), read(8, true, Delivered::Nothing)]),
        "XGROUP CREATECONSUMER s g c; XGROUP CREATECONSUMER t g c"
    );
    assert_eq!(read_sent(words, &[]), "");
    let one = Delivered::New { ids: &[id(4, 1)], delivered_ms: 70 };
    let group = GroupPosition { entries_read: None, ..GROUP };
    let unknown = GroupRead { group, ..read(7, false, one) };
    assert!(read_sent(words, &[unknown]).ends_with("XGROUP SETID s g 4-1 ENTRIESREAD -1"));
}

#[test]
fn deliveries_without_acknowledgement_are_sent_as_the_groups_place() {
    let words = "xreadgroup NOACK block 0 GROUP g c STREAMS s >";
    assert_eq!(read_sent(words, &[read(8, false, NEW)]), "XGROUP SETID s g 4-1 ENTRIESREAD 4");
    assert_eq!(
        read_sent(words, &[read(8, true, NEW)]),
        "XGROUP CREATECONSUMER s g c; XGROUP SETID s g 4-1 ENTRIESREAD 4"
    );
    assert_eq!(read_sent(words, &[read(8, true, Delivered::Nothing)]), "XGROUP CREATECONSUMER s g c");
}

#[test]
fn pending_entries_delivered_again_are_sent_with_their_counts() {
    let words = "xreadgroup GROUP g c STREAMS s 0";
    assert_eq!(
        read_sent(words, &[read(5, false, Delivered::Again(&PENDING))]),
        "XCLAIM s g c 0 3-1 TIME 70 RETRYCOUNT 2 FORCE JUSTID LASTID 4-1; \
         XCLAIM s g c 0 4-1 TIME 71 RETRYCOUNT 5 FORCE JUSTID LASTID 4-1"
    );
    assert_eq!(read_sent(words, &[read(5, true, Delivered::Again(&[]))]), "XGROUP CREATECONSUMER s g c");
    assert_eq!(read_sent(words, &[read(5, false, Delivered::Again(&[]))]), "");
}

#[test]
fn claims_are_sent_one_by_one() {
    let none = ClaimOutcome { entries: &[], consumer_created: false, group_moved: false, group: GROUP };
    let words = "xclaim s g c 0 3-1 4-1 LASTID 4-1";
    let claimed = [Met::Claimed(PENDING[0])];
    let some = ClaimOutcome { entries: &claimed, consumer_created: true, group_moved: true, ..none };
    assert_eq!(claim_sent(words, some), "XCLAIM s g c 0 3-1 TIME 70 RETRYCOUNT 2 FORCE JUSTID LASTID 4-1");
    let owner = Bytes::from("old");
    let dropped = Met::Dropped { pending: PENDING[1], owner: &owner };
    let drop = "XCLAIM s g old 0 4-1 TIME 71 RETRYCOUNT 5 FORCE JUSTID LASTID 4-1";
    assert_eq!(claim_sent(words, ClaimOutcome { entries: &[dropped], ..none }), drop);
    let created = ClaimOutcome { entries: &[dropped], consumer_created: true, ..none };
    assert_eq!(claim_sent(words, created), format!("XGROUP CREATECONSUMER s g c; {drop}"));
    let both = ClaimOutcome { entries: &[dropped, claimed[0]], consumer_created: true, ..none };
    assert!(claim_sent(words, both).starts_with(&format!("{drop}; XCLAIM s g c 0 3-1")));
    assert_eq!(claim_sent(words, none), "");
    let moved = ClaimOutcome { group_moved: true, ..none };
    assert_eq!(claim_sent(words, moved), "XGROUP SETID s g 4-1 ENTRIESREAD 4");
    let created = ClaimOutcome { consumer_created: true, ..none };
    assert_eq!(claim_sent("xautoclaim s g c 0 0", created), "XGROUP CREATECONSUMER s g c");
    let both = ClaimOutcome { consumer_created: true, ..moved };
    assert_eq!(claim_sent(words, both), "XGROUP CREATECONSUMER s g c; XGROUP SETID s g 4-1 ENTRIESREAD 4");
}

#[test]
fn the_rest_goes_out_as_sent_if_it_did_something() {
    let is_sent = |words: &str, rewritten| sent(words, rewritten) == words;
    assert!(is_sent("xack s g 1-1", xack(&argv("xack s g 1-1"), 1)));
    assert!(!is_sent("xack s g 1-1", xack(&argv("xack s g 1-1"), 0)));
    assert!(is_sent("xdel s 1-1", xdel(&argv("xdel s 1-1"), 1)));
    assert!(!is_sent("xdel s 1-1", xdel(&argv("xdel s 1-1"), 0)));
    assert!(is_sent("xsetid s 1-1", xsetid(&argv("xsetid s 1-1"))));
    let group = |words: &str, outcome| is_sent(words, xgroup(&argv(words), outcome));
    assert!(group("xgroup create s g $ MKSTREAM", XGroupOutcome::Done));
    assert!(group("xgroup destroy s g", XGroupOutcome::Done));
    assert!(!group("xgroup destroy s g", XGroupOutcome::AlreadySo));
    assert!(!group("xgroup createconsumer s g c", XGroupOutcome::AlreadySo));
    assert!(!group("xgroup delconsumer s g c", XGroupOutcome::AlreadySo));
    assert!(group("xgroup delconsumer s g c", XGroupOutcome::Done));
}

#[test]
fn an_outcome_that_the_arguments_cannot_have_is_refused() {
    let refused = |rewritten| assert!(matches!(rewritten, Err(Mismatch::Outcome { .. })), "{rewritten:?}");
    refused(xadd(&argv("xadd s * f v"), XAddOutcome::NotAdded));
    refused(xadd(&argv("xadd s MAXLEN 3 NOMKSTREAM"), XAddOutcome::Added { id: id(1, 1), extent: EMPTY }));
    refused(xreadgroup(&argv("xreadgroup GROUP g c STREAMS s >"), &[read(6, false, NEW)]));
    let none = Delivered::New { ids: &[], delivered_ms: 1 };
    refused(xreadgroup(&argv("xreadgroup GROUP g c STREAMS s >"), &[read(5, false, none)]));
    refused(xreadgroup(&argv("xreadgroup COUNT 1 STREAMS s t > >"), &[]));
    refused(xreadgroup(&argv("xreadgroup GROUP g c COUNT 1 STREAMS"), &[read(7, false, NEW)]));
    refused(xgroup(&argv("xgroup create s g $"), XGroupOutcome::AlreadySo));
    let moved = ClaimOutcome { entries: &[], consumer_created: false, group_moved: true, group: GROUP };
    refused(xclaim(&argv("xautoclaim s g c 0 0"), moved));
    assert!(matches!(xdel(&argv("xack s g 1"), 1), Err(Mismatch::Command { .. })));
    assert!(matches!(xadd(&argv("xadd s *"), XAddOutcome::NotAdded), Err(Mismatch::Arguments { .. })));
}
