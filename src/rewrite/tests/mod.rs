mod arbitrary;
mod generic;
mod geo;
mod hash;
mod hyperloglog;
mod list;
mod pubsub;
mod set;
mod sort;
mod store;
mod stream;
mod string;
mod zset;

use super::frame::{self, FrameSink, ZERO_COPY_MIN_BYTES};
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

#[test]
fn a_unit_that_cannot_be_told_is_not_an_empty_one() {
    let client = argv("set k v");
    let mut effects = Effects::new();
    effects.push_rewritten(
        0,
        &client,
        super::string::set(&client, super::string::SetOutcome::NotMet, DeletionVerb::Unlink),
    );
    assert!(effects.ops.is_empty() && effects.failure.is_some() && !effects.is_empty());
    effects.push_rewritten(
        0,
        &client,
        super::string::set(
            &client,
            super::string::SetOutcome::Stored { deadline_ms: None },
            DeletionVerb::Unlink,
        ),
    );
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
    assert!(frame_of(Wrap::IfSeveral, &[(0, "DEL a"), (0, "DEL b")]).text.starts_with("*1\r\n$5\r\nMULTI"));
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
    assert!(frame_of(Wrap::IfSeveral, &[(0, &format!("SET k {short}"))]).shared.is_empty());
    assert_eq!(frame_of(Wrap::IfSeveral, &[(0, &format!("SET k {long}"))]).shared, [ZERO_COPY_MIN_BYTES]);
}

#[test]
fn a_verbatim_operation_borrows_the_clients_arguments() {
    let client = argv("set k v");
    let mut effects = Effects::new();
    effects.push(0, &client, Propagation::Verbatim);
    assert!(matches!(effects.ops[0].argv, Cow::Borrowed(borrowed) if std::ptr::eq(borrowed, &*client)));
}
