mod geo;
mod hash;
mod hyperloglog;
mod pubsub;
mod set;
mod store;
mod stream;
mod zset;

use super::frame::{self, FrameSink, ZERO_COPY_MIN_BYTES};
use super::generic::ExpireOutcome;
use super::string::{GetExOutcome, SetOutcome};
use super::*;

fn argv(words: &str) -> Argv {
    words.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// What the propagation puts on the wire for the command `words`, as words.
fn sent(words: &str, rewritten: Rewritten) -> String {
    let propagation = rewritten.expect("an outcome of this command");
    let client = argv(words);
    let mut effects = Effects::new();
    effects.push(0, &client, propagation);
    let join =
        |op: &Op<'_>| op.argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" ");
    effects.ops.iter().map(join).collect::<Vec<_>>().join("; ")
}

fn set(words: &str, outcome: SetOutcome) -> String {
    sent(words, string::set(&argv(words), outcome, DeletionVerb::Unlink))
}

const STORED: SetOutcome = SetOutcome::Stored { deadline_ms: None };
const AT_7: SetOutcome = SetOutcome::Stored { deadline_ms: Some(7) };

#[test]
fn a_relative_expiry_alone_is_replaced_in_place() {
    assert_eq!(set("set k v ex 10", AT_7), "set k v PXAT 7");
    assert_eq!(set("SeT k v EXAT 10", AT_7), "SeT k v PXAT 7");
}

#[test]
fn a_relative_expiry_among_options_leaves_only_the_deadline() {
    assert_eq!(set("set k v ex 10 nx", AT_7), "SET k v PXAT 7");
    assert_eq!(set("set k v get ex 10", AT_7), "SET k v PXAT 7");
    assert_eq!(set("set k v ifeq ex px 10", AT_7), "SET k v PXAT 7");
}

#[test]
fn an_absolute_deadline_in_milliseconds_goes_out_as_sent() {
    assert_eq!(set("set k v xx pxat 7 get", AT_7), "set k v xx pxat 7 get");
    assert_eq!(set("set k v pxat 7", AT_7), "set k v pxat 7");
}

#[test]
fn every_get_is_dropped_and_nothing_else() {
    assert_eq!(set("set k v GET keepttl get", STORED), "set k v keepttl");
    assert_eq!(set("set get get xx get", STORED), "set get get xx");
}

#[test]
fn a_comparison_is_dropped_with_its_argument_because_redis_does_not_know_it() {
    assert_eq!(set("set k v ifeq w", STORED), "set k v");
    assert_eq!(set("set k v ifeq w keepttl", STORED), "set k v keepttl");
    assert_eq!(set("set k v ifeq get get", STORED), "set k v");
    assert_eq!(set("set k v ifeq get", STORED), "set k v");
    assert_eq!(set("set k v get ifeq ifeq", STORED), "set k v");
    assert_eq!(set("set k ifeq keepttl", STORED), "set k ifeq keepttl");
    assert_eq!(set("set k v ifeq w pxat 7", AT_7), "SET k v PXAT 7");
}

#[test]
fn a_set_in_the_past_deletes_what_was_there() {
    assert_eq!(set("set k v exat 1", SetOutcome::Past { existed: true }), "UNLINK k");
    assert_eq!(set("set k v exat 1", SetOutcome::Past { existed: false }), "");
    assert_eq!(set("set k v nx", SetOutcome::NotMet), "");
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
    let check = |words: &str, rewrite: &dyn Fn(&[Bytes]) -> Rewritten| sent(words, rewrite(&argv(words)));
    assert_eq!(check("setex k 1 v", &|argv| string::setex(argv, 7)), "SET k v PXAT 7");
    assert_eq!(check("getset k v", &string::getset), "SET k v");
    assert_eq!(check("incrbyfloat k 1", &|argv| string::incrbyfloat(argv, &value)), "SET k v KEEPTTL");
    assert_eq!(check("getdel k", &|argv| string::getdel(argv, true)), "DEL k");
}

#[test]
fn an_outcome_of_another_command_is_refused() {
    let set = |words, outcome| string::set(&argv(words), outcome, DeletionVerb::Unlink);
    assert!(matches!(set("get k", STORED), Err(Mismatch::Command { .. })));
    assert!(matches!(set("", STORED), Err(Mismatch::Command { .. })));
    assert!(matches!(set("set k", STORED), Err(Mismatch::Arguments { command: "set", needed: 3, given: 2 })));
    assert!(matches!(set("set k v", SetOutcome::NotMet), Err(Mismatch::Outcome { .. })));
    assert!(matches!(set("set k v", AT_7), Err(Mismatch::Outcome { .. })));
    assert!(matches!(set("set k v ex 1", STORED), Err(Mismatch::Outcome { .. })));
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
fn a_unit_that_cannot_be_told_is_not_an_empty_one() {
    let client = argv("set k v");
    let mut effects = Effects::new();
    effects.push_rewritten(0, &client, string::set(&client, SetOutcome::NotMet, DeletionVerb::Unlink));
    assert!(effects.ops.is_empty() && effects.failure.is_some() && !effects.is_empty());
    effects.push_rewritten(0, &client, string::set(&client, STORED, DeletionVerb::Unlink));
    assert!(effects.ops.len() == 1 && effects.failure.is_some());
}

/// Writes down the pieces; the conditional `SELECT` between angle brackets.
#[derive(Default)]
struct Pieces {
    text: String,
    shared: Vec<usize>,
    context: Option<u16>,
}

impl FrameSink for Pieces {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.text.push_str(&String::from_utf8_lossy(bytes));
    }
    fn put_bytes(&mut self, bytes: &Bytes) {
        self.shared.push(bytes.len());
        self.put_slice(bytes);
    }
    fn select(&mut self, db: u16, select: &[u8]) {
        self.text.push('<');
        self.put_slice(select);
        self.text.push('>');
        self.context = Some(db);
    }
    fn set_context(&mut self, db: u16) {
        self.context = Some(db);
    }
}

fn frame_of(wrap: Wrap, ops: &[(u16, &str)]) -> Pieces {
    let mut effects = Effects { wrap, ..Effects::new() };
    for (db, words) in ops {
        effects.push_command(*db, argv(words));
    }
    let mut pieces = Pieces::default();
    frame::write(&effects, &mut pieces);
    let marks = pieces.text.matches(['<', '>']).count();
    assert_eq!(frame::max_len(&effects), (pieces.text.len() - marks) as u64);
    pieces
}

#[test]
fn a_unit_without_effects_is_no_frame() {
    assert_eq!(frame_of(Wrap::IfSeveral, &[]).text, "");
}

#[test]
fn one_operation_is_bare() {
    let pieces = frame_of(Wrap::IfSeveral, &[(11, "PERSIST k")]);
    let expected = "<*2\r\n$6\r\nSELECT\r\n$2\r\n11\r\n>*2\r\n$7\r\nPERSIST\r\n$1\r\nk\r\n";
    assert_eq!((pieces.text.as_str(), pieces.context), (expected, Some(11)));
}

#[test]
fn several_operations_are_wrapped_and_select_lands_inside() {
    let pieces = frame_of(Wrap::IfSeveral, &[(0, "DEL a"), (0, "DEL b"), (3, "DEL c")]);
    let expected = "*1\r\n$5\r\nMULTI\r\n<*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n>\
                    *2\r\n$3\r\nDEL\r\n$1\r\na\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n\
                    *2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$3\r\nDEL\r\n$1\r\nc\r\n*1\r\n$4\r\nEXEC\r\n";
    assert_eq!((pieces.text.as_str(), pieces.context), (expected, Some(3)));
}

#[test]
fn unrelated_operations_are_not_wrapped() {
    let pieces = frame_of(Wrap::Never, &[(0, "DEL a"), (0, "DEL b")]);
    assert!(!pieces.text.contains("MULTI") && !pieces.text.contains("EXEC"));
}

#[test]
fn the_largest_database_number_fits() {
    assert!(frame_of(Wrap::IfSeveral, &[(u16::MAX, "DEL a")]).text.contains("$5\r\n65535\r\n"));
}

#[test]
fn long_arguments_are_shared_and_short_ones_copied() {
    let [short, long] = [ZERO_COPY_MIN_BYTES - 1, ZERO_COPY_MIN_BYTES].map(|len| "x".repeat(len));
    assert_eq!(frame_of(Wrap::IfSeveral, &[(0, &format!("SET k {short}"))]).shared, []);
    assert_eq!(frame_of(Wrap::IfSeveral, &[(0, &format!("SET k {long}"))]).shared, [ZERO_COPY_MIN_BYTES]);
}

#[test]
fn a_verbatim_operation_borrows_the_clients_arguments() {
    let client = argv("set k v");
    let mut effects = Effects::new();
    effects.push(0, &client, Propagation::Verbatim);
    assert!(matches!(effects.ops[0].argv, Cow::Borrowed(borrowed) if std::ptr::eq(borrowed, &*client)));
}
