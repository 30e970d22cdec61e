//! Inline commands: a line of words, as typed into telnet.
//!
//! The quoting rules are those of Valkey 9.1.2, tried against the running server:
//! * words are separated by blanks; a word may mix bare, `"double"` and `'single'` pieces;
//! * in double quotes `\n \r \t \b \a` and `\xHH` stand for a byte, any other escaped byte for itself;
//! * in single quotes only `\'` is an escape;
//! * an escape needs a byte after it: where the line ends right behind `\"` or `\'`, that quote closes;
//! * a quote that is not closed makes the whole line an error.
//!
//! One difference: a NUL byte is a byte like any other. Valkey (whose search for the line end stops at it)
//! would wait for ever.

use bytes::Bytes;

/// The line has an opening quote without a closing one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unbalanced;

#[derive(Clone, Copy)]
enum Quote {
    Bare,
    Single,
    Double,
}

/// Splits a line (without its line end) into words. Time and memory are linear in it.
pub(super) fn split_words(line: &[u8]) -> Result<Vec<Bytes>, Unbalanced> {
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        // Between words the C locale's isspace separates; inside a bare word vertical tab and form feed do
        // not.
        while line.get(at).is_some_and(|byte| matches!(byte, b' ' | b'\t'..=b'\r')) {
            at += 1;
        }
        if at == line.len() {
            return Ok(words);
        }
        let (word, end) = next_word(line, at)?;
        words.push(word);
        at = end;
    }
}

/// The word that starts at `at`, and where it ends.
fn next_word(line: &[u8], mut at: usize) -> Result<(Bytes, usize), Unbalanced> {
    let mut word = Vec::new();
    let mut quote = Quote::Bare;
    while let Some(&byte) = line.get(at) {
        match (quote, byte) {
            (Quote::Bare, b' ' | b'\t' | b'\r' | b'\n') => break,
            (Quote::Bare, b'"') => quote = Quote::Double,
            (Quote::Bare, b'\'') => quote = Quote::Single,
            (Quote::Double, b'"') | (Quote::Single, b'\'') => quote = Quote::Bare,
            (Quote::Double, b'\\') => {
                let (unescaped, used) = unescape(&line[at..]);
                word.push(unescaped);
                at += used;
                continue;
            }
            (Quote::Single, b'\\') if line.get(at + 1) == Some(&b'\'') && at + 2 < line.len() => {
                word.push(b'\'');
                at += 2;
                continue;
            }
            _ => word.push(byte),
        }
        at += 1;
    }
    match quote {
        Quote::Bare => Ok((word.into(), at)),
        Quote::Single | Quote::Double => Err(Unbalanced),
    }
}

/// The byte that the escape at the start of `text` (a backslash) stands for, and the escape's length.
fn unescape(text: &[u8]) -> (u8, usize) {
    match text {
        [_, b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            (hex(*high) << 4 | hex(*low), 4)
        }
        [_, escaped, _, ..] => {
            let byte = match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 0x08,
                b'a' => 0x07,
                other => *other,
            };
            (byte, 2)
        }
        _ => (b'\\', 1),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
