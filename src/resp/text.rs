//! Any bytes as text, and back: what a client sent may stand in an error line, whatever its encoding.
//!
//! Text that is UTF-8 stays as it is. Each byte that is not becomes a character of Unicode's last private
//! plane, U+10FF00 plus the byte, which [`put`] turns into the byte again. Bytes that spell such a character
//! are treated as if they were no UTF-8, so that nothing is mistaken for it.

use bytes::BufMut;

/// The characters that stand for bytes.
const FIRST: u32 = 0x10_FF00;

fn stand_in(byte: u8) -> char {
    // In the range of the scalar values, all of it.
    char::from_u32(FIRST + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn byte_of(c: char) -> Option<u8> {
    u8::try_from(u32::from(c).checked_sub(FIRST)?).ok()
}

/// Whether the character stands for a byte.
pub(super) fn stands_for_a_byte(c: char) -> bool {
    byte_of(c).is_some()
}

/// Bytes as text.
pub(crate) fn from_bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if byte_of(c).is_some() {
                text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(stand_in));
            } else {
                text.push(c);
            }
        }
        text.extend(chunk.invalid().iter().copied().map(stand_in));
    }
    text
}

/// The bytes that `text` was made of.
pub(crate) fn put(text: &str, out: &mut impl BufMut) {
    let mut rest = text;
    while let Some((at, byte)) = rest.char_indices().find_map(|(at, c)| Some((at, byte_of(c)?))) {
        out.put_slice(&rest.as_bytes()[..at]);
        out.put_u8(byte);
        rest = &rest[at + stand_in(byte).len_utf8()..];
    }
    out.put_slice(rest.as_bytes());
}

/// [`put`] into bytes of its own.
#[cfg(feature = "server")]
pub(crate) fn to_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    put(text, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_as_they_were() {
        let private = stand_in(b'\n').to_string();
        let samples: [&[u8]; 6] =
            [b"plain", "ä €".as_bytes(), b"\xff\x80 \xc3", b"\xf4\x8f\xbc", private.as_bytes(), b""];
        for sample in samples {
            let mut out = Vec::new();
            put(&from_bytes(sample), &mut out);
            assert_eq!(out, sample);
        }
        assert_eq!(from_bytes("ä €".as_bytes()), "ä €");
    }
}
