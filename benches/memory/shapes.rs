//! The data that servers are filled with.

use crate::support::client::{Argv, argv};

/// A number of like keys.
pub struct Shape {
    pub name: &'static str,
    pub keys: usize,
    value: Kind,
}

enum Kind {
    Strings { len: usize, has_ttl: bool },
    Hashes { fields: usize },
    Lists { elements: usize },
    SortedSets { members: usize },
    IntegerSets { members: usize },
}

const fn strings(name: &'static str, len: usize, has_ttl: bool) -> Shape {
    Shape { name, keys: 1_000_000, value: Kind::Strings { len, has_ttl } }
}

pub const SHAPES: [Shape; 10] = [
    strings("1 M strings of 8 B", 8, false),
    strings("1 M strings of 8 B with a TTL", 8, true),
    strings("1 M strings of 64 B", 64, false),
    strings("1 M strings of 64 B with a TTL", 64, true),
    strings("1 M strings of 512 B", 512, false),
    strings("1 M strings of 512 B with a TTL", 512, true),
    Shape { name: "100 k hashes of 10 fields", keys: 100_000, value: Kind::Hashes { fields: 10 } },
    Shape { name: "10 k lists of 100", keys: 10_000, value: Kind::Lists { elements: 100 } },
    Shape { name: "10 k sorted sets of 100", keys: 10_000, value: Kind::SortedSets { members: 100 } },
    Shape { name: "1 k sets of 1,000 integers", keys: 1_000, value: Kind::IntegerSets { members: 1_000 } },
];

/// Elements that a command adds at the most.
const ELEMENTS_OF_COMMAND: usize = 10;

impl Shape {
    /// A key of 12 bytes.
    pub fn key(&self, number: usize) -> String {
        format!("key:{number:08}")
    }

    /// Shows the commands that make `keys` keys. Collections grow in turn, as those of a server do.
    pub fn each_command(&self, keys: usize, mut show: impl FnMut(Argv)) {
        match self.value {
            Kind::Strings { len, has_ttl } => {
                (0..keys).for_each(|key| show(string(self.key(key), len, has_ttl)))
            }
            Kind::Hashes { fields } => self.in_turn(keys, fields, "HSET", show, |command, _, field| {
                command.extend(argv![format!("field:{field:02}"), format!("value:{field:06}")]);
            }),
            Kind::Lists { elements } => {
                self.in_turn(keys, elements, "RPUSH", show, |command, key, element| {
                    command.extend(argv![format!("element:{key:04}:{element:03}")]);
                })
            }
            Kind::SortedSets { members } => {
                self.in_turn(keys, members, "ZADD", show, |command, key, member| {
                    let score = (key + member * 7919) % 10_000;
                    command.extend(argv![score, format!("member:{member:06}")]);
                });
            }
            Kind::IntegerSets { members } => {
                self.in_turn(keys, members, "SADD", show, |command, key, member| {
                    command.extend(argv![(key + member) * 7919]);
                });
            }
        }
    }

    /// Commands that add the elements of all keys, [some](ELEMENTS_OF_COMMAND) at once to each key in turn.
    fn in_turn(
        &self,
        keys: usize,
        elements: usize,
        verb: &'static str,
        mut show: impl FnMut(Argv),
        add: impl Fn(&mut Argv, usize, usize),
    ) {
        for first in (0..elements).step_by(ELEMENTS_OF_COMMAND) {
            for key in 0..keys {
                let mut command = argv![verb, self.key(key)];
                let last = (first + ELEMENTS_OF_COMMAND).min(elements);
                (first..last).for_each(|element| add(&mut command, key, element));
                show(command);
            }
        }
    }
}

fn string(key: String, len: usize, has_ttl: bool) -> Argv {
    const DAY_S: u64 = 86_400;
    let mut command = argv!["SET", key, "v".repeat(len)];
    if has_ttl {
        command.extend(argv!["EX", DAY_S]);
    }
    command
}
