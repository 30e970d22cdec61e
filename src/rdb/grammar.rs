//! Of what parts everything in a snapshot consists: enough to find where it ends, without knowing what it
//! means.
//!
//! One table for each type and each opcode. [`Scan`](super::scan::Scan) follows them; the typed reader does
//! not, so that each is a check of the other.

use super::{FileVersion, ValueType, code};

/// A part.
#[derive(Debug)]
pub(super) enum Step {
    /// A length that is a number: of whatever.
    Number,
    /// A string: plain, an integer, or compressed.
    Text,
    /// So many bytes.
    Bytes(u64),
    /// A score as text: a byte that is its length or stands for a score of its own, and the text.
    Score,
    /// A number, and that many times the parts.
    Repeat(&'static [Step]),
    /// How a node of a quicklist is packed: 1 or 2.
    Node,
    /// The mark of an integer of a module: 2.
    ModuleInteger,
    /// Marked values of a module, up to the mark 0.
    Module,
    /// An opcode and what belongs to it; or a key with its attributes in front, up to its value.
    Event,
    /// A key, maybe with more attributes in front, up to its value.
    Key,
}

use Step::{Bytes, Event, Key, Module, ModuleInteger, Node, Number, Repeat, Score, Text};

/// A stream's nodes, its length and its last ID.
const STREAM_NODES: Step = Repeat(&[Text, Text]);
/// What is pending for a whole group: an ID, when it was delivered, how often.
const PENDING: Step = Repeat(&[Bytes(16), Bytes(8), Number]);
/// What of it is pending for one consumer: an ID.
const OWNED: Step = Repeat(&[Bytes(16)]);

/// Length, last ID; groups of a name, a last ID, what is pending, consumers: a name, when it was seen, what
/// it owns.
const STREAM: &[Step] = &[
    STREAM_NODES,
    Number,
    Number,
    Number,
    Repeat(&[Text, Number, Number, PENDING, Repeat(&[Text, Bytes(8), OWNED])]),
];
/// Besides: the first ID, the greatest deleted one and how many were added; how many a group has read.
const STREAM_2: &[Step] = &[
    STREAM_NODES,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Repeat(&[Text, Number, Number, Number, PENDING, Repeat(&[Text, Bytes(8), OWNED])]),
];
/// Besides: when a consumer was active.
const STREAM_3: &[Step] = &[
    STREAM_NODES,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Number,
    Repeat(&[Text, Number, Number, Number, PENDING, Repeat(&[Text, Bytes(8), Bytes(8), OWNED])]),
];

/// What a module keeps beside the keys, behind its number: when it was saved, and its values.
pub(super) const MODULE_AUX: &[Step] = &[ModuleInteger, Number, Module];
/// A function library.
pub(super) const FUNCTION: &[Step] = &[Text];
/// One event, or a key up to its value.
pub(super) const EVENT: &[Step] = &[Event];

/// The parts of a value; nothing for a type that is not known in files of this version.
pub(super) fn value(value_type: ValueType, version: FileVersion) -> Option<&'static [Step]> {
    let valkey = matches!(version, FileVersion::Valkey(_));
    Some(match value_type.0 {
        code::STRING
        | code::HASH_ZIPMAP
        | code::LIST_ZIPLIST
        | code::SET_INTSET
        | code::ZSET_ZIPLIST
        | code::HASH_ZIPLIST
        | code::HASH_LISTPACK
        | code::ZSET_LISTPACK
        | code::SET_LISTPACK => &[Text],
        code::LIST | code::SET | code::LIST_QUICKLIST => &[Repeat(&[Text])],
        code::LIST_QUICKLIST_2 => &[Repeat(&[Node, Text])],
        code::ZSET_TEXT => &[Repeat(&[Text, Score])],
        code::ZSET_BINARY => &[Repeat(&[Text, Bytes(8)])],
        code::HASH => &[Repeat(&[Text, Text])],
        code::VALKEY_HASH_DEADLINES if valkey => &[Repeat(&[Text, Text, Bytes(8)])],
        code::REDIS_HASH_DEADLINES if !valkey => &[Bytes(8), Repeat(&[Number, Text, Text])],
        code::REDIS_HASH_LISTPACK_DEADLINES if !valkey => &[Bytes(8), Text],
        code::STREAM => STREAM,
        code::STREAM_2 => STREAM_2,
        code::STREAM_3 => STREAM_3,
        code::MODULE => &[Number, Module],
        _ => return None,
    })
}

/// The parts of what begins with an opcode that is not the attribute of a key; nothing for an unknown one.
pub(super) fn opcode(opcode: u8, version: FileVersion) -> Option<&'static [Step]> {
    Some(match opcode {
        code::AUX => &[Text, Text],
        code::SELECT_DB => &[Number],
        code::RESIZE_DB => &[Number, Number],
        code::SLOT_INFO => &[Number, Number, Number],
        code::SLOT_IMPORT if matches!(version, FileVersion::Valkey(_)) => &[Text, Repeat(&[Number, Number])],
        code::FUNCTION => FUNCTION,
        code::MODULE_AUX => &[Number, ModuleInteger, Number, Module],
        code::END if version.has_checksum() => &[Bytes(8)],
        code::END => &[],
        _ => return None,
    })
}

/// The parts of one marked value of a module, and of those behind it; nothing for an unknown mark.
pub(super) fn module(mark: u64) -> Option<&'static [Step]> {
    Some(match mark {
        0 => &[],
        1 | 2 => &[Number, Module],
        3 => &[Bytes(4), Module],
        4 => &[Bytes(8), Module],
        5 => &[Text, Module],
        _ => return None,
    })
}

/// The parts of an attribute of a key, and of what follows it.
pub(super) fn attribute(opcode: u8) -> Option<&'static [Step]> {
    Some(match opcode {
        code::DEADLINE_MS => &[Bytes(8), Key],
        code::DEADLINE_S => &[Bytes(4), Key],
        code::IDLE => &[Number, Key],
        code::FREQUENCY => &[Bytes(1), Key],
        _ => return None,
    })
}
