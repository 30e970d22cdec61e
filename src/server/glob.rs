//! Glob patterns as `CONFIG GET` and `COMMAND LIST` use them.
//!
//! `*` any run, `?` any byte, `[abc]`, `[a-c]`, `[^a]`, `\x` literally. Runs in O(pattern × text):
//! only the last star is ever returned to.

/// Whether the whole of `text` matches `pattern`, letters without case.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, t));
            p += 1;
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = one(pattern, p, text[t]) {
            (p, t) = (next, t + 1);
            continue;
        }
        // A mismatch: let the last star take one byte more.
        let Some((after, taken)) = star else { return false };
        star = Some((after, taken + 1));
        (p, t) = (after, taken + 1);
    }
}

/// Matches one byte at `p`; the position after the element, or `None`.
fn one(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => class(pattern, p + 1, byte),
        b'\\' if p + 1 < pattern.len() => pattern[p + 1].eq_ignore_ascii_case(&byte).then_some(p + 2),
        literal => literal.eq_ignore_ascii_case(&byte).then_some(p + 1),
    }
}

/// Matches the class that begins after its bracket; an unclosed one ends with the pattern.
fn class(pattern: &[u8], mut p: usize, byte: u8) -> Option<usize> {
    let byte = byte.to_ascii_lowercase();
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    while let Some(&first) = pattern.get(p) {
        if first == b']' {
            p += 1;
            break;
        }
        let escaped = first == b'\\' && p + 1 < pattern.len();
        let low = pattern[p + usize::from(escaped)].to_ascii_lowercase();
        p += 1 + usize::from(escaped);
        if pattern.get(p) == Some(&b'-') && pattern.get(p + 1).is_some_and(|end| *end != b']') {
            let high = pattern[p + 1].to_ascii_lowercase();
            found |= (low.min(high)..=low.max(high)).contains(&byte);
            p += 2;
        } else {
            found |= low == byte;
        }
    }
    (found != negated).then_some(p)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_valkey() {
        let yes = [("*", ""), ("repl*", "repl-timeout"), ("*a*b", "xaxbxb"), ("h?z", "haz")];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("[a-c]x", "bx"), ("[^a]", "b"), ("\\*", "*"), ("HZ", "hz"), ("[a", "a"), ("**", "x")]
        {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a", ""), ("?", ""), ("*a*b", "ba"), ("[^a]", "a"), ("\\*", "a"), ("[b-d]", "a")]
        {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }
}
