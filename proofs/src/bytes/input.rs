//! What the bytes of an input decide.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;

/// So many bytes at the front of an input steer.
pub const STEERING_BYTES: usize = 6;

/// The front of an input: choices that every target has. Each is taken modulo what there is to choose from.
#[derive(Clone, Copy, Debug)]
pub struct Steering {
    /// What the rest of the input is.
    pub form: u8,
    /// Which limits are in force, and other switches.
    pub limits: u8,
    /// How the bytes are cut into reads.
    pub cuts: Cuts,
    /// A place: of a flipped bit, of an end that comes too early.
    pub at: u16,
}

impl Steering {
    /// The choices, and the rest of the input. An input too short to steer is none.
    pub fn split(data: &[u8]) -> Option<(Steering, &[u8])> {
        let (&[form, limits, c0, c1, a0, a1], rest) = data.split_first_chunk::<STEERING_BYTES>()?;
        let cuts = Cuts(u16::from_le_bytes([c0, c1]));
        Some((Steering { form, limits, cuts, at: u16::from_le_bytes([a0, a1]) }, rest))
    }

    /// An input that begins with these choices.
    pub fn join(self, rest: &[u8]) -> Vec<u8> {
        let ([c0, c1], [a0, a1]) = (self.cuts.0.to_le_bytes(), self.at.to_le_bytes());
        [&[self.form, self.limits, c0, c1, a0, a1], rest].concat()
    }
}

/// How bytes are cut: 0 not at all, up to 255 into pieces of that length, above that into pieces of many
/// lengths.
#[derive(Clone, Copy, Debug)]
pub struct Cuts(pub u16);

impl Cuts {
    /// One piece.
    pub const NONE: Cuts = Cuts(0);

    /// The lengths of the pieces, without end.
    pub fn lengths(self) -> impl Iterator<Item = usize> {
        let mut state = u32::from(self.0);
        std::iter::from_fn(move || {
            Some(match self.0 {
                0 => usize::MAX,
                1..=255 => usize::from(self.0),
                _ => {
                    // Xorshift, which never leaves zero and never reaches it from elsewhere.
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    // Mostly short, for a cut is only of interest where something begins or ends.
                    let most = if state & 3 == 0 { 200 } else { 6 };
                    1 + (state >> 8) as usize % most
                }
            })
        })
    }

    /// `bytes`, piece by piece.
    pub fn pieces(self, bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut rest = bytes;
        self.lengths().map_while(move |length| {
            let (piece, tail) = rest.split_at(length.min(rest.len()));
            rest = tail;
            (!piece.is_empty()).then_some(piece)
        })
    }
}

/// Text as keys, elements and arguments are: short bytes, numbers of every width, sometimes long.
pub fn text(u: &mut Unstructured<'_>) -> Result<Bytes> {
    Ok(match u.int_in_range(0..=9)? {
        0 => Bytes::new(),
        1..=4 => {
            let len = u.int_in_range(0..=20)?;
            Bytes::copy_from_slice(u.bytes(len.min(u.len()))?)
        }
        5..=7 => integer(u)?.to_string().into(),
        8 => {
            // Around the lengths at which encodings change.
            let len = *u.choose(&[31, 32, 33, 63, 64, 127, 128, 255, 264, 300, 4095, 4096, 5000, 16_378])?;
            let pattern: [u8; 3] = u.arbitrary()?;
            let period = u.int_in_range(1..=3)?;
            pattern[..period].iter().copied().cycle().take(len).collect()
        }
        _ => Bytes::from_static(b"\r\n*1\r\n$0\r\n\r\n"),
    })
}

/// An integer, often at the end of the range of an encoding.
pub fn integer(u: &mut Unstructured<'_>) -> Result<i64> {
    if u.ratio(1, 4)? {
        return u.arbitrary();
    }
    let width = u.int_in_range(0..=63)?;
    let edge = (1_i64 << width).wrapping_add(u.int_in_range(-2..=2)?);
    Ok(if u.arbitrary()? { edge.wrapping_neg() } else { edge })
}

/// As many things as the bytes last for, at most `most`.
pub fn several<T>(
    u: &mut Unstructured<'_>,
    most: usize,
    mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let wanted = u.int_in_range(0..=most)?;
    let mut all = Vec::new();
    while all.len() < wanted && !u.is_empty() {
        all.push(one(u)?);
    }
    Ok(all)
}
