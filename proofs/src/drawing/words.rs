//! A checker's message as a sentence: what broke, and the two sides of it.

use std::fmt::Write as _;

use super::{Recorded, Step, Touch};

/// What broke, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The invariants, `I1` to `I11`.
    pub invariants: Vec<String>,
    /// In a sentence.
    pub sentence: String,
    /// The two sides that do not go together, each with what it is.
    pub sides: Vec<(String, String)>,
    /// The message itself.
    pub original: String,
}

/// The invariants, in a phrase each.
const INVARIANTS: [(&str, &str); 11] = [
    ("I1", "gapless: every frame starts where its predecessor ends"),
    ("I2", "prefix: if a frame is visible, so is every frame before it, complete"),
    ("I3", "one order: every cursor reads a piece of the same stream"),
    ("I4", "linearizable: appends take effect in an order that respects real time"),
    ("I5", "integrity: the bytes read are the bytes appended"),
    ("I6", "memory: everything is freed once, after its last user"),
    ("I7", "retention: what is in the backlog can be attached"),
    ("I8", "stall tolerance: a stopped thread keeps nobody from finishing"),
    ("I9", "wake-up: a parked cursor is woken by the first append after it looked"),
    ("I10", "fence: nothing of a sealed term is published after its seal"),
    ("I11", "bound: what is retained stays within the limits"),
];

/// The invariant in a phrase.
pub fn invariant(name: &str) -> Option<&'static str> {
    INVARIANTS.iter().find(|(known, _)| *known == name).map(|(_, phrase)| *phrase)
}

/// What broke, in a line, from what a process wrote as it failed.
pub fn what_broke(stderr: &str) -> String {
    let message = message(stderr);
    if message.is_empty() {
        return "it ended without a word".to_owned();
    }
    let explained = explain(&message);
    let invariants = explained.invariants.join(", ");
    if invariants.is_empty() { explained.sentence } else { format!("{invariants}: {}", explained.sentence) }
}

/// The message of the first panic in what a process wrote.
pub fn message(stderr: &str) -> String {
    let mut lines = stderr.lines().skip_while(|line| !line.contains(" panicked at "));
    if lines.next().is_none() {
        return stderr.trim().to_owned();
    }
    let lines = lines.take_while(|line| !line.starts_with("note: ") && !line.starts_with("thread '"));
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// A recorded execution's message and what its steps add to it.
pub fn explained(recorded: &Recorded) -> Explained {
    let mut explained = explain(&recorded.message);
    let Some((last, before)) = recorded.steps.split_last() else { return explained };
    let is_race = recorded.message.contains("Causality violation")
        || recorded.message.contains("currently writing")
        || recorded.message.contains("currently reading");
    let is_dead = recorded.message.contains("after it was freed") || recorded.message.contains("freed twice");
    let Some(thing) = last.touches.as_deref().filter(|_| is_race || is_dead) else { return explained };
    let other = before.iter().enumerate().rev().find(|(_, step)| {
        let conflicts = if is_dead { step.touch == Touch::Free } else { writes(step) || writes(last) };
        let other_thread = step.thread != last.thread || is_dead;
        conflicts && other_thread && step.touches.as_deref() == Some(thing) && is_plain(step)
    });
    let freed = last.touch == Touch::Free || other.is_some_and(|(_, step)| step.touch == Touch::Free);
    explained.sentence = match (is_dead, freed) {
        (true, _) if last.touch == Touch::Free => format!("{thing} is freed twice"),
        (true, _) => format!("{thing} is used after it was freed"),
        (false, true) => format!(
            "{thing} is freed by one thread and used by another, and nothing puts one before the other"
        ),
        (false, false) => {
            format!(
                "{thing} is written by one thread and accessed by another, and nothing puts one before the other"
            )
        }
    };
    if freed && explained.invariants.is_empty() {
        explained.invariants.push("I6".to_owned());
    }
    if let Some((at, step)) = other {
        explained.sides = vec![side(recorded, at, step), side(recorded, before.len(), last)];
    }
    explained
}

fn side(recorded: &Recorded, at: usize, step: &Step) -> (String, String) {
    let place = step.place.as_deref().map_or_else(String::new, |place| format!(" at {place}"));
    (format!("{}, step {}", recorded.called(step.thread), at + 1), format!("{}{place}", step.did))
}

fn writes(step: &Step) -> bool {
    matches!(step.touch, Touch::PlainWrite | Touch::Free)
}

fn is_plain(step: &Step) -> bool {
    matches!(step.touch, Touch::PlainRead | Touch::PlainWrite | Touch::Use | Touch::Free)
}

impl Recorded {
    /// What a thread is called.
    pub fn called(&self, number: usize) -> String {
        match self.threads.get(&number) {
            Some(name) => name.clone(),
            None if number == 0 => "main".to_owned(),
            None => format!("thread {number}"),
        }
    }
}

/// What loom says, what it means, and the invariants of it.
const KNOWN: [(&str, &str, &[&str]); 9] = [
    (
        "Causality violation",
        "two threads touch the same memory, one of them writes or frees it, and nothing puts one before the other",
        &["I5", "I6"],
    ),
    (
        "currently writing to cell",
        "two threads are in the same memory at once, and one of them writes",
        &["I5", "I6"],
    ),
    (
        "currently reading from cell",
        "two threads are in the same memory at once, and one of them writes",
        &["I5", "I6"],
    ),
    ("deadlock", "every thread that is left waits, and nobody is left who would wake it", &["I8", "I9"]),
    (
        "exceeded maximum number of branches",
        "a thread goes round and round: it waits for another to do something, or forever",
        &["I8"],
    ),
    ("Allocation leaked", "an object was never freed", &["I6"]),
    ("Arc leaked", "something shared was never given back", &["I6"]),
    (
        "unexpected exploration state",
        "this program does not take the path that was saved: the code has changed, or it depends on more than its schedule",
        &[],
    ),
    ("loom internal bug", "the checker itself broke", &[]),
];

/// A message as a sentence.
pub fn explain(message: &str) -> Explained {
    let original = message.trim().to_owned();
    let known = KNOWN.iter().find(|(part, _, _)| original.contains(part));
    if let Some((_, sentence, invariants)) = known {
        let invariants = invariants.iter().map(ToString::to_string).collect();
        return Explained { invariants, sentence: (*sentence).to_owned(), sides: Vec::new(), original };
    }
    let first = original.lines().next().unwrap_or_default();
    let (said, is_comparison) = match first.strip_prefix("assertion `left == right` failed") {
        Some(rest) => (rest.trim_start_matches(':').trim(), true),
        None => (first.strip_prefix("assertion failed: ").unwrap_or(first), false),
    };
    let (invariants, rest) = split_invariants(said);
    let side = |key: &str| original.lines().find_map(|line| line.trim_start().strip_prefix(key));
    let sides = match (side("left: "), side("right: ")) {
        (Some(left), Some(right)) => {
            vec![("found".to_owned(), readable(left)), ("has to be".to_owned(), readable(right))]
        }
        _ => Vec::new(),
    };
    let sentence = match (rest, is_comparison, invariants.first().and_then(|name| invariant(name))) {
        ("", _, Some(phrase)) => format!("this does not hold: {phrase}"),
        ("", true, None) => "two values differ that have to be equal".to_owned(),
        ("", false, None) => "it ended without a word".to_owned(),
        (rest, _, _) => rest.to_owned(),
    };
    Explained { invariants, sentence, sides, original }
}

/// `I3, I5: text` apart.
fn split_invariants(text: &str) -> (Vec<String>, &str) {
    let mut invariants = Vec::new();
    let mut rest = text;
    loop {
        let word = rest.split([',', ':', ' ']).next().unwrap_or_default();
        if invariant(word).is_none() {
            return (invariants, rest.trim());
        }
        invariants.push(word.to_owned());
        rest = rest[word.len()..].trim_start_matches([',', ':', ' ']);
    }
}

/// `[97, 98, 99]` as `"abc"`; anything else as it is.
fn readable(value: &str) -> String {
    let inside = value.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let bytes: Option<Vec<u8>> = inside
        .filter(|inside| !inside.is_empty())
        .and_then(|inside| inside.split(", ").map(|number| number.parse().ok()).collect());
    let is_text = |byte: &u8| (b' '..=b'~').contains(byte);
    match bytes {
        Some(bytes) if bytes.iter().all(is_text) => format!("{:?}", String::from_utf8_lossy(&bytes)),
        _ => value.trim().to_owned(),
    }
}

impl Explained {
    /// The sentence, the invariants in words, the sides, and the message as it was where that says more.
    pub fn render(&self) -> String {
        let mut text = format!("  {}\n", self.sentence);
        let width = self.sides.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, value) in &self.sides {
            let _ = writeln!(text, "    {what:<width$}  {value}");
        }
        for name in &self.invariants {
            if let Some(phrase) = invariant(name) {
                let _ = writeln!(text, "  {name} {phrase}");
            }
        }
        let translated = KNOWN.iter().any(|(part, _, _)| self.original.contains(part));
        if translated {
            let _ = writeln!(text, "  loom's own words:");
            for line in self.original.lines().filter(|line| !line.trim().is_empty()) {
                let _ = writeln!(text, "    {}", line.trim());
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str = "\nthread 'main' (13147) panicked at proofs/checkers/src/model.rs:266:37:\n\
        I6: used after it was freed\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n";

    #[test]
    fn the_message_is_what_stands_below_the_place() {
        assert_eq!(message(WORKER), "I6: used after it was freed");
        assert_eq!(what_broke(WORKER), "I6: used after it was freed");
        assert_eq!(message("Segmentation fault"), "Segmentation fault");
        assert_eq!(what_broke(""), "it ended without a word");
    }

    #[test]
    fn a_comparison_has_two_sides_and_bytes_are_text() {
        let explained =
            explain("assertion `left == right` failed: I3, I5\n  left: [100, 101]\n right: [97, 98, 99]");
        assert_eq!(explained.invariants, ["I3", "I5"]);
        assert_eq!(explained.sides[0], ("found".to_owned(), "\"de\"".to_owned()));
        assert_eq!(explained.sides[1], ("has to be".to_owned(), "\"abc\"".to_owned()));
        assert!(explained.sentence.contains("one order"), "{}", explained.sentence);
    }

    #[test]
    fn what_loom_says_is_said_plainly_and_kept() {
        let said = [
            "Causality violation: Concurrent write accesses to `UnsafeCell`",
            "deadlock; threads = [(Id(0), Blocked)]",
            "Model exceeded maximum number of branches. This is often caused by",
            "Allocation leaked.\n  Index: 3",
        ];
        for original in said {
            let explained = explain(original);
            assert!(!explained.invariants.is_empty(), "{original}");
            assert!(!explained.sentence.contains("loom"), "{}", explained.sentence);
            let shown = explained.render();
            assert!(shown.contains(original.lines().next().unwrap_or_default()), "{shown}");
        }
    }

    fn step(thread: usize, did: &str, touch: Touch) -> Step {
        Step {
            thread,
            name: None,
            did: did.to_owned(),
            touches: Some("segment1".to_owned()),
            touch,
            place: Some("segment.rs:9".to_owned()),
        }
    }

    #[test]
    fn a_late_use_names_who_freed_it() {
        let recorded = Recorded {
            message: "I6: used after it was freed".to_owned(),
            steps: vec![
                step(1, "use segment1", Touch::Use),
                step(1, "FREE segment1", Touch::Free),
                step(2, "use segment1", Touch::Use),
            ],
            ..Recorded::default()
        };
        let explained = explained(&recorded);
        assert_eq!(explained.sentence, "segment1 is used after it was freed");
        assert_eq!(explained.sides[0].0, "thread 1, step 2");
        assert_eq!(explained.sides[1].0, "thread 2, step 3");
    }
}
