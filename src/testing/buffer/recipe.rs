//! How publications are made up: strategies, and the bytes that they are cut from.

use bytes::Bytes;
use proptest::prelude::*;

use crate::testing::publication::{Part, Publication};

/// Bytes that payloads are cut from.
const TABLE_BYTES: usize = 8192;
/// The longest payload there is.
const LONGEST_BYTES: usize = 1024;

/// A step of staging a publication, the bytes left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// So many bytes, copied.
    Copied(usize),
    /// So many, in two chunks.
    Chained(usize),
    /// So many, shared.
    Shared(usize),
    /// A conditional part: it selects a context.
    Select(u64),
    /// Says what context is in force.
    SetContext(Option<u64>),
    /// The end of a frame.
    EndFrame,
}

/// What kinds of publications a log takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Several frames are published together.
    pub batches: bool,
    /// Parts depend on the context.
    pub contexts: bool,
}

fn len() -> impl Strategy<Value = usize> + Clone {
    prop_oneof![1 => Just(0), 5 => 1..20_usize, 3 => 20..90_usize, 2 => 90..500_usize]
}

fn context() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![6 => 0..3_u64, 1 => Just(u64::MAX)]
}

fn element(shape: Shape) -> impl Strategy<Value = Element> + Clone {
    let (batches, contexts) = (u32::from(shape.batches), u32::from(shape.contexts));
    let bytes = prop_oneof![
        5 => len().prop_map(Element::Copied),
        1 => len().prop_map(Element::Chained),
        2 => len().prop_map(Element::Shared),
    ];
    let context = prop_oneof![
        3 => context().prop_map(Element::Select),
        1 => proptest::option::of(context()).prop_map(Element::SetContext),
    ];
    // proptest takes no weight of zero.
    let mut kinds = vec![(8, bytes.boxed())];
    kinds.extend((contexts > 0).then(|| (4, context.boxed())));
    kinds.extend((batches > 0).then(|| (3, Just(Element::EndFrame).boxed())));
    proptest::strategy::Union::new_weighted(kinds)
}

/// Publications of a shape: short ones and long ones, and some without a byte.
pub fn elements(shape: Shape) -> impl Strategy<Value = Vec<Element>> + Clone {
    prop_oneof![
        4 => len().prop_map(|len| vec![Element::Copied(len)]),
        1 => len().prop_map(|len| vec![Element::Shared(len)]),
        1 => prop::collection::vec(len().prop_map(Element::Copied), 2..5),
        5 => prop::collection::vec(element(shape), 0..9),
    ]
    .boxed()
}

/// The bytes of a context's conditional part.
fn select_bytes(context: u64) -> Vec<u8> {
    format!("<select {context}>").into_bytes()
}

/// A table of bytes in which no two places look alike, and where the next payload is cut from.
#[derive(Clone, Debug)]
pub struct Payloads {
    table: Bytes,
    turn: usize,
}

impl Default for Payloads {
    fn default() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        Self { table: (0..TABLE_BYTES).map(|_| random()).collect(), turn: 0 }
    }
}

impl Payloads {
    /// The next `len` bytes, at most 1024.
    pub fn cut(&mut self, len: usize) -> Bytes {
        let len = len.min(LONGEST_BYTES);
        self.turn = (self.turn * 31 + len + 17) % (TABLE_BYTES - LONGEST_BYTES);
        self.table.slice(self.turn..self.turn + len)
    }

    /// A publication of these elements.
    pub fn publication(&mut self, elements: &[Element]) -> Publication {
        let part = |element: &Element| match *element {
            Element::Copied(len) => Part::Copied(self.cut(len)),
            Element::Chained(len) => Part::Chained(self.cut(len)),
            Element::Shared(len) => Part::Shared(self.cut(len)),
            Element::Select(context) => Part::Select { context, bytes: select_bytes(context).into() },
            Element::SetContext(context) => Part::SetContext(context),
            Element::EndFrame => Part::EndFrame,
        };
        elements.iter().map(part).collect()
    }

    /// Whether nobody holds on to a byte that was cut (I6).
    #[must_use]
    pub fn are_released(&self) -> bool {
        self.table.is_unique()
    }
}
