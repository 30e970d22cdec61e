//! Valkey's patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! Every element but `*` consumes exactly one byte, so after a failure it is enough to let the
//! *last* `*` swallow one byte more: an earlier one could only reach positions that this one reaches
//! too. The cost is bounded by pattern length × text length, where backtracking over every `*` is
//! exponential.
//!
//! Kept from Valkey: an unterminated class ends with the pattern, a reversed range is turned round,
//! a backslash at the very end stands for itself, and an empty text is matched by an empty pattern
//! alone.

/// Whether `text` matches `pattern`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut p, mut t) = (0, 0);
    // Where the pattern goes on after the last `*`, and how far that `*` has swallowed.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            while pattern.get(p) == Some(&b'*') {
                p += 1;
            }
            if p == pattern.len() {
                return true;
            }
            star = Some((p, t));
        } else if let Some(len) = element(&pattern[p..], text[t]) {
            p += len;
            t += 1;
        } else if let Some((after, swallowed)) = star {
            star = Some((after, swallowed + 1));
            (p, t) = (after, swallowed + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// The length of the pattern's first element if it matches `c`; `None` if it does not or there is none.
fn element(pattern: &[u8], c: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, c),
        [b'\\', escaped, ..] => (escaped == c).then_some(2),
        [literal, ..] => (literal == c).then_some(1),
    }
}

/// The same for a class.
fn class(pattern: &[u8], c: u8) -> Option<usize> {
    let mut i = 1;
    let negated = pattern.get(i) == Some(&b'^');
    i += usize::from(negated);
    let mut found = false;
    loop {
        match pattern[i..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == c;
                i += 2;
            }
            [b']', ..] => {
                i += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= (from.min(to)..=from.max(to)).contains(&c);
                i += 3;
            }
            [literal, ..] => {
                found |= literal == c;
                i += 1;
            }
        }
    }
    (found != negated).then_some(i)
}
