//! `notify-keyspace-events`: which events are delivered, and on which channels.

use crate::keyspace::events::EventClass;

/// The classes and the letters that name them, in the order in which they are shown. Events of streams (`t`)
/// and modules (`d`) can be asked for; there are none.
const CLASSES: &[(char, u32)] = &[
    ('g', EventClass::Generic as u32),
    ('$', EventClass::String as u32),
    ('l', EventClass::List as u32),
    ('s', EventClass::Set as u32),
    ('h', EventClass::Hash as u32),
    ('z', EventClass::ZSet as u32),
    ('x', EventClass::Expired as u32),
    ('e', EventClass::Evicted as u32),
    ('t', 1 << 16),
    ('d', 1 << 17),
];

const NEW: u32 = EventClass::New as u32;
const MISS: u32 = EventClass::Miss as u32;

/// What a server's clients can subscribe to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Classes, as the sum of their bits.
    classes: u32,
    /// `K`: events are published to `__keyspace@<db>__:<key>`.
    keyspace: bool,
    /// `E`: events are published to `__keyevent@<db>__:<event>`.
    keyevent: bool,
}

impl Notifications {
    /// Reads Valkey's letters; `None` when one is unknown.
    ///
    /// ```
    /// use replcore::server::Notifications;
    ///
    /// let all = Notifications::parse("KEg$lshzxetd").unwrap();
    /// assert_eq!(all.to_string(), "AKE");
    /// assert_eq!(Notifications::parse("q"), None);
    /// ```
    pub fn parse(letters: &str) -> Option<Notifications> {
        let mut parsed = Notifications::default();
        for letter in letters.chars() {
            match letter {
                'A' => parsed.classes |= all(),
                'n' => parsed.classes |= NEW,
                'm' => parsed.classes |= MISS,
                'K' => parsed.keyspace = true,
                'E' => parsed.keyevent = true,
                other => parsed.classes |= CLASSES.iter().find(|(own, _)| *own == other)?.1,
            }
        }
        Some(parsed)
    }

    /// The classes that are delivered at all: none without a kind of channel.
    pub(super) fn wanted(self) -> u32 {
        if self.keyspace || self.keyevent { self.classes } else { 0 }
    }

    /// Whether events are published under the key's name.
    pub(super) fn by_key(self) -> bool {
        self.keyspace
    }

    /// Whether events are published under their own name.
    pub(super) fn by_event(self) -> bool {
        self.keyevent
    }
}

fn all() -> u32 {
    CLASSES.iter().fold(0, |all, (_, class)| all | class)
}

/// Valkey's form: `A` for all classes but `n` and `m`; where it says `A`, it leaves `n` out.
impl std::fmt::Display for Notifications {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.classes & all() == all() {
            f.write_str("A")?;
        } else {
            for (letter, class) in CLASSES.iter().chain(&[('n', NEW)]) {
                if self.classes & class != 0 {
                    write!(f, "{letter}")?;
                }
            }
        }
        for (set, letter) in [(self.keyspace, "K"), (self.keyevent, "E"), (self.classes & MISS != 0, "m")] {
            if set {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_shown_as_valkey_shows_them() {
        for (given, shown) in [
            ("", ""),
            ("KEA", "AKE"),
            ("KE$lshzxegtdmn", "AKEm"),
            ("nmEKxg", "gxnKEm"),
            ("K", "K"),
            ("A", "A"),
            ("nm", "nm"),
            ("AKE$m", "AKEm"),
        ] {
            assert_eq!(Notifications::parse(given).map(|parsed| parsed.to_string()), Some(shown.to_owned()));
        }
        assert_eq!(Notifications::parse("Kq"), None);
    }

    #[test]
    fn nothing_is_wanted_without_a_kind_of_channel() {
        assert_eq!(Notifications::parse("Anm").expect("letters").wanted(), 0);
        let some = Notifications::parse("Kn").expect("letters");
        assert_eq!(some.wanted(), NEW);
        assert!(some.by_key() && !some.by_event());
    }
}
