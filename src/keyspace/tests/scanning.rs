//! `SCAN`, `HSCAN`, `KEYS` and their patterns.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::glob;
use super::*;

/// One page: the next cursor and the elements.
fn page(reply: Reply) -> (String, Vec<String>) {
    let Reply::Array(parts) = reply else { panic!("a page: {reply:?}") };
    let [cursor, Reply::Array(found)] = &parts[..] else { panic!("a page: {parts:?}") };
    (text(cursor), found.iter().map(text).collect())
}

fn scan_all(server: &mut Server, options: &str) -> Vec<String> {
    let (mut cursor, mut all) = ("0".to_owned(), Vec::new());
    loop {
        let (next, found) = page(server.run(&format!("scan {cursor} {options}")));
        all.extend(found);
        if next == "0" {
            return all;
        }
        cursor = next;
    }
}

#[test]
fn a_quiet_keyspace_is_scanned_exactly_once() {
    let mut server = Server::new();
    let keys: BTreeSet<String> = (0..300).map(|n| format!("k{n}")).collect();
    for key in &keys {
        server.run(&format!("set {key} v"));
    }
    for count in ["", "count 1", "count 7", "count 1000"] {
        let found = scan_all(&mut server, count);
        assert_eq!((found.len(), found.into_iter().collect()), (300, keys.clone()), "{count}");
    }
    assert_eq!(page(server.run("scan 0 count 1000")).0, "0");
    assert_eq!(scan_all(&mut server, "match k1?").len(), 10);
    assert_eq!(scan_all(&mut server, "type hash").len(), 0);
    assert_eq!(scan_all(&mut server, "type STRING").len(), 300);
    assert_eq!(scan_all(&mut server, "match nope match k*").len(), 300);
    let Reply::Array(all) = server.run("keys *") else { panic!("an array") };
    assert_eq!(all.len(), 300);
    assert_eq!(text(&server.run("keys k299")), "[k299]");
}

#[test]
fn bad_scans_are_refused_and_strange_cursors_are_not() {
    session(
        "scan x                 => -ERR invalid cursor
         scan -1                => -ERR invalid cursor
         scan 99999999999999999999 => -ERR invalid cursor
         scan 18446744073709551615 => [0 []]
         scan 0 count 0         => -ERR syntax error
         scan 0 count x         => -ERR value is not an integer or out of range
         scan 0 match           => -ERR syntax error
         scan 0 type foo        => -ERR unknown type name 'foo'
         scan 0 novalues        => -ERR NOVALUES option can only be used in HSCAN
         hscan h 0              => [0 []]
         hset h f v g w         => :2 | hset h f v g w
         hscan h 0 count 1      => [0 [f v g w]]
         hscan h 7              => [0 [f v g w]]
         hscan h 0 novalues     => [0 [f g]]
         hscan h 0 match g      => [0 [g w]]
         hscan h 0 type hash    => -ERR syntax error
         hscan h x              => -ERR invalid cursor",
    );
}

#[test]
fn a_large_hash_is_scanned_in_pages() {
    let mut server = Server::new();
    for n in 0..500 {
        server.run(&format!("hset h f{n} v"));
    }
    let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
    loop {
        let (next, found) = page(server.run(&format!("hscan h {cursor} novalues count 50")));
        assert!(found.len() <= 50);
        seen.extend(found);
        // Fields that are removed and added meanwhile do not hide the others.
        server.run(&format!("hset h new{cursor} v"));
        server.run("hdel h f0 f250 f499");
        if next == "0" {
            break;
        }
        cursor = next;
    }
    let stable = (1..499).filter(|n| *n != 250).map(|n| format!("f{n}"));
    assert!(stable.into_iter().all(|field| seen.contains(&field)));
}

proptest! {
    /// Whatever is added and removed between the pages, a key that stays is returned.
    #[test]
    fn a_key_that_stays_is_returned(
        stay in 1usize..60,
        changes in prop::collection::vec((any::<bool>(), 0u8..80), 0..200),
        count in 1usize..9,
    ) {
        let mut server = Server::with_shards(3);
        // Those that go are interleaved with those that stay.
        for n in 0..80 {
            server.run(&format!("set go{n} v"));
            if n < stay {
                server.run(&format!("set stay{n} v"));
            }
        }
        let (mut cursor, mut seen, mut changes) = ("0".to_owned(), BTreeSet::new(), changes.into_iter());
        loop {
            let (next, found) = page(server.run(&format!("scan {cursor} count {count}")));
            seen.extend(found);
            if next == "0" {
                break;
            }
            cursor = next;
            for (add, n) in changes.by_ref().take(6) {
                server.run(&if add { format!("set go{n} v") } else { format!("del go{n}") });
            }
        }
        for n in 0..stay {
            prop_assert!(seen.contains(&format!("stay{n}")), "stay{} is missing", n);
        }
    }

    /// The iterative matcher agrees with plain recursion.
    #[test]
    fn patterns_match_as_by_recursion(pattern in r"[ab*?\[\]^\\-]{0,9}", text in "[ab-]{0,7}") {
        let (p, t) = (pattern.as_bytes(), text.as_bytes());
        prop_assert_eq!(glob::matches(p, t), recursive(p, t));
    }
}

/// Valkey's matcher, as it is written: recursion at every star.
fn recursive(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (pattern, text);
    while !p.is_empty() && !t.is_empty() {
        match p[0] {
            b'*' => {
                while p.len() > 1 && p[1] == b'*' {
                    p = &p[1..];
                }
                return p.len() == 1 || (0..t.len()).any(|skip| recursive(&p[1..], &t[skip..]));
            }
            b'?' => {}
            b'[' => {
                p = &p[1..];
                let negated = p.first() == Some(&b'^');
                if negated {
                    p = &p[1..];
                }
                let mut found = false;
                loop {
                    if p.len() >= 2 && p[0] == b'\\' {
                        p = &p[1..];
                        found |= p[0] == t[0];
                    } else if p.is_empty() || p[0] == b']' {
                        break;
                    } else if p.len() >= 3 && p[1] == b'-' {
                        found |= (p[0].min(p[2])..=p[0].max(p[2])).contains(&t[0]);
                        p = &p[2..];
                    } else {
                        found |= p[0] == t[0];
                    }
                    p = &p[1..];
                }
                if found == negated {
                    return false;
                }
            }
            c => {
                let escaped = c == b'\\' && p.len() >= 2;
                if escaped {
                    p = &p[1..];
                }
                if p[0] != t[0] {
                    return false;
                }
            }
        }
        p = p.get(1..).unwrap_or(&[]);
        t = &t[1..];
        if t.is_empty() {
            while p.first() == Some(&b'*') {
                p = &p[1..];
            }
        }
    }
    p.is_empty() && t.is_empty()
}

#[test]
fn patterns_match_as_documented() {
    let cases: &[(&str, &str, bool)] = &[
        ("h?llo", "hello", true),
        ("h*llo", "heeeello", true),
        ("h[ae]llo", "hillo", false),
        ("h[^e]llo", "hallo", true),
        ("h[^e]llo", "hello", false),
        ("h[a-b]llo", "hbllo", true),
        ("h[b-a]llo", "hallo", true),
        (r"h\*llo", "h*llo", true),
        (r"h\*llo", "hello", false),
        (r"[\]]", "]", true),
        ("[abc", "b", true),
        (r"abc\", r"abc\", true),
        ("*", "", false),
        ("", "", true),
        ("a*", "a", true),
        ("*a*b*c", "xxaxxbxxc", true),
        ("*a*b*c", "xxaxxcxxb", false),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(glob::matches(pattern.as_bytes(), text.as_bytes()), *expected, "{pattern} on {text}");
    }
}

#[test]
fn a_hostile_pattern_takes_no_exponential_time() {
    // By recursion this takes longer than the age of the universe.
    let pattern = "a*".repeat(40) + "b";
    assert!(!glob::matches(pattern.as_bytes(), "a".repeat(4000).as_bytes()));
}
