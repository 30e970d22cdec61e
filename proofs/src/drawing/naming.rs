//! Names for what an execution touches.
//!
//! Addresses differ from run to run and say nothing. An object is called by its type and numbered as it was
//! first seen; an atomic by the named orderings it is accessed with, after the object it stands in, if one is
//! known to be there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Step, Touch};

/// A step as the shim tells it.
#[derive(Clone, Debug)]
pub struct Raw {
    /// The thread.
    pub thread: usize,
    /// The named orderings, the successful one first.
    pub names: Vec<String>,
    /// The place in the source.
    pub place: Option<String>,
    /// What was done: the method of an atomic, or one of `fence`, `read`, `write`, `use`, `free`, `pin`,
    /// `unpin`, `retire`, `run retired`.
    pub verb: String,
    /// What it was done to.
    pub thing: Option<Thing>,
    /// With which values.
    pub arguments: Vec<Value>,
    /// What came of it.
    pub result: Value,
}

/// Something in memory.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Where it is.
    pub address: usize,
    /// Counts what was made.
    pub birth: usize,
    /// The file in which it was made, without its ending.
    pub made_in: String,
}

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A flag.
    Flag(bool),
    /// A pointer to a type of so many bytes.
    Pointer {
        /// Where to.
        address: usize,
        /// The type, with its path.
        type_name: String,
        /// Its size.
        size: usize,
    },
    /// A memory ordering.
    Order(String),
    /// An exchange that was done, and what it found.
    Done(Box<Value>),
    /// An exchange that found something else.
    Refused(Box<Value>),
    /// None.
    Nothing,
}

/// What is accessed with an ordering that says no more than that.
const FIELD: &str = "field";
/// Numbers from here on are packed or biased, and shown as such.
const PACKED: u64 = 1 << 24;
/// Pointers below this are marks.
const MARKS: usize = 16;

/// Names the steps of an execution.
pub fn name(raw: &[Raw]) -> Vec<Step> {
    let names = Names::gather(raw);
    // What was written last, by birth: a load may return something older, and that is often the point.
    let mut newest: BTreeMap<usize, Newest> = BTreeMap::new();
    let mut steps = Vec::with_capacity(raw.len());
    for raw in raw {
        let mut step = names.step(raw);
        if let Some(thing) = &raw.thing {
            let found = plain(&raw.result);
            let latest = newest.get(&thing.birth).cloned();
            match latest {
                Some(latest) if raw.verb == "load" && !latest.is(found) => {
                    step.did += &format!(" (older: {} is written)", names.value(&latest.0));
                }
                _ => {}
            }
            if let Some(written) = written(raw) {
                newest.insert(thing.birth, Newest(written));
            }
        }
        steps.push(step);
    }
    steps
}

/// What was written last.
#[derive(Clone, Debug)]
struct Newest(Value);

impl Newest {
    fn is(&self, other: &Value) -> bool {
        match (&self.0, other) {
            (Value::Number(one), Value::Number(other)) => one == other,
            (Value::Flag(one), Value::Flag(other)) => one == other,
            (Value::Pointer { address: one, .. }, Value::Pointer { address: other, .. }) => one == other,
            _ => false,
        }
    }
}

fn plain(value: &Value) -> &Value {
    match value {
        Value::Done(value) | Value::Refused(value) => plain(value),
        value => value,
    }
}

/// What a step leaves in an atomic, if it writes it.
fn written(raw: &Raw) -> Option<Value> {
    let number = |value: &Value| if let Value::Number(number) = value { Some(*number) } else { None };
    let calculate = |with: fn(u64, u64) -> u64| {
        let (argument, before) = (number(raw.arguments.first()?)?, number(&raw.result)?);
        Some(Value::Number(with(before, argument)))
    };
    match raw.verb.as_str() {
        "store" | "swap" => raw.arguments.first().cloned(),
        "compare_exchange" if matches!(raw.result, Value::Done(_)) => raw.arguments.get(1).cloned(),
        "fetch_add" => calculate(u64::wrapping_add),
        "fetch_sub" => calculate(u64::wrapping_sub),
        "fetch_max" => calculate(u64::max),
        _ => None,
    }
}

#[derive(Debug)]
struct Object {
    end: usize,
    name: String,
}

#[derive(Debug, Default)]
struct Names {
    /// By where they begin.
    objects: BTreeMap<usize, Object>,
    /// By birth.
    words: BTreeMap<usize, String>,
}

impl Names {
    fn gather(raw: &[Raw]) -> Self {
        let mut names = Self::default();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for value in raw.iter().flat_map(|raw| raw.arguments.iter().chain([&raw.result])) {
            names.see(value, &mut counts);
        }
        // The first name with which each thing is accessed says what it is.
        let mut things: BTreeMap<usize, (&Thing, String)> = BTreeMap::new();
        for raw in raw {
            let Some(thing) = &raw.thing else { continue };
            let noun = raw.names.first().map(|name| noun(name));
            let is_part = noun.is_none();
            let noun = noun.unwrap_or_else(|| part(&raw.verb).to_owned());
            let known = things.entry(thing.birth).or_insert((thing, noun.clone()));
            // The same word may be set up as a mere field.
            if (known.1.is_empty() && !is_part) || (known.1 == FIELD && noun != FIELD) {
                known.1 = noun;
            }
        }
        names.name_words(&things);
        names
    }

    /// Learns of an object that a value points to.
    fn see(&mut self, value: &Value, counts: &mut BTreeMap<String, usize>) {
        match value {
            Value::Pointer { address, type_name, size } if *address >= MARKS => {
                self.objects.entry(*address).or_insert_with(|| {
                    let kind = kind(type_name);
                    let count = counts.entry(kind.clone()).or_default();
                    *count += 1;
                    Object { end: address + size.max(&1), name: format!("{kind}{count}") }
                });
            }
            Value::Done(value) | Value::Refused(value) => self.see(value, counts),
            _ => {}
        }
    }

    fn name_words(&mut self, things: &BTreeMap<usize, (&Thing, String)>) {
        let of_same_name = |noun: &str| things.values().filter(|(_, other)| other == noun).count();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for (birth, (thing, noun)) in things {
            let owner = self.owner(thing.address);
            let mut name = match owner {
                Some(owner) if noun.is_empty() => owner.to_owned(),
                Some(owner) if owner.trim_end_matches(|digit: char| digit.is_ascii_digit()) == noun => {
                    format!("{owner}.word")
                }
                Some(owner) => format!("{owner}.{noun}"),
                None => {
                    let is_object = noun.is_empty();
                    let noun = if is_object { thing.made_in.as_str() } else { noun.as_str() };
                    let count = counts.entry(noun).or_default();
                    *count += 1;
                    match (is_object, of_same_name(noun)) {
                        // One that nobody has pointed at.
                        (true, _) => format!("{noun}#{count}"),
                        (false, 1) => noun.to_owned(),
                        (false, _) => format!("{noun}{count}"),
                    }
                }
            };
            // Two words of one object may be accessed by the same name. The object itself has one name.
            if !noun.is_empty() {
                let base = name.clone();
                let mut again = 2;
                while !taken.insert(name.clone()) {
                    name = format!("{base}'{again}");
                    again += 1;
                }
            }
            self.words.insert(*birth, name);
        }
    }

    fn owner(&self, address: usize) -> Option<&str> {
        let (_, object) = self.objects.range(..=address).next_back()?;
        (address < object.end).then_some(object.name.as_str())
    }

    fn step(&self, raw: &Raw) -> Step {
        let thing = raw.thing.as_ref().map(|thing| self.words[&thing.birth].clone());
        let name = raw.names.first().cloned();
        let (did, touch) = self.did(raw, thing.as_deref().unwrap_or_default());
        Step { thread: raw.thread, name, did, touches: thing, touch, place: raw.place.clone() }
    }

    fn did(&self, raw: &Raw, thing: &str) -> (String, Touch) {
        let is_cell = raw.names.first().is_some_and(|name| matches!(noun(name).as_str(), "cell"));
        let said = |value: &Value| if is_cell { self.cell(value) } else { self.value(value) };
        let argument = |at: usize| raw.arguments.get(at).map_or_else(String::new, said);
        let result = said(&raw.result);
        // What writes the same value again reads.
        let changing = |changed: bool| if changed { Touch::Write } else { Touch::Read };
        match raw.verb.as_str() {
            "load" => (format!("load {thing} -> {result}"), Touch::Read),
            "store" => (format!("store {thing} <- {}", argument(0)), Touch::Write),
            "swap" => (format!("swap {thing}: {result} -> {}", argument(0)), Touch::Write),
            "fetch_add" => {
                (format!("add {} to {thing}, was {result}", argument(0)), changing(argument(0) != "0"))
            }
            "fetch_sub" => (format!("take {} from {thing}, was {result}", argument(0)), Touch::Write),
            "fetch_max" => {
                let did = format!("raise {thing} to {}, was {result}", argument(0));
                (did, changing(argument(0) != result))
            }
            "compare_exchange" => {
                let tried = format!("cas {thing}: {} -> {}", argument(0), argument(1));
                match raw.result {
                    Value::Refused(_) => (format!("{tried}  no, it is {result}"), Touch::Read),
                    _ => (format!("{tried}  ok"), Touch::Write),
                }
            }
            "fence" => match argument(0).as_str() {
                "Relaxed" => ("no fence".to_owned(), Touch::Order),
                order => (format!("fence {order}"), Touch::Order),
            },
            "read" => (format!("read {thing}"), Touch::PlainRead),
            "write" => (format!("write {thing}"), Touch::PlainWrite),
            "use" => (format!("use {thing}"), Touch::Use),
            "free" => (format!("FREE {thing}"), Touch::Free),
            "pin" => ("pin: nothing retired from now on is freed".to_owned(), Touch::Guard),
            "unpin" => ("unpin".to_owned(), Touch::Guard),
            "retire" => match argument(0).as_str() {
                "0" => ("retire: nobody is pinned".to_owned(), Touch::Order),
                "1" => ("retire: waits for 1 guard".to_owned(), Touch::Order),
                guards => (format!("retire: waits for {guards} guards"), Touch::Order),
            },
            other => (format!("{other} {thing}").trim_end().to_owned(), Touch::Order),
        }
    }

    /// What a cell holds: a publication is one word, laid out as `src/buffer/word.rs` draws it.
    fn cell(&self, value: &Value) -> String {
        let Value::Number(word) = plain(value) else { return self.value(value) };
        let (end, owes) = (word >> 32, word & 4 != 0);
        let mut said = match (word & 3, owes) {
            (0, false) => return "empty".to_owned(),
            (0, true) => return "awaited".to_owned(),
            (1, _) => format!("frame to {end}"),
            (2, _) => format!("composite to {end}"),
            _ => format!("closing at {end}"),
        };
        if owes {
            said.push_str(", owes");
        }
        said
    }

    fn value(&self, value: &Value) -> String {
        match value {
            Value::Number(u64::MAX) => "max".to_owned(),
            Value::Number(number) if *number >= PACKED => format!("{number:#x}"),
            Value::Number(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Pointer { address: 0, .. } => "empty".to_owned(),
            Value::Pointer { address, .. } if *address < MARKS => "awaited".to_owned(),
            Value::Pointer { address, .. } => {
                self.objects.get(address).map_or_else(|| "?".to_owned(), |object| object.name.clone())
            }
            Value::Order(order) => order.clone(),
            Value::Done(value) | Value::Refused(value) => self.value(value),
            Value::Nothing => String::new(),
        }
    }
}

/// What is accessed with an ordering of this name.
fn noun(name: &str) -> String {
    let first = name.split('_').next().unwrap_or(name);
    match first {
        "PARK" => "cell",
        "REF" => "refs",
        "SLOTS" => "slots",
        "POOL" => "pool",
        other => return other.to_lowercase(),
    }
    .to_owned()
}

/// What a part of an object is called that no ordering names.
fn part(verb: &str) -> &'static str {
    if matches!(verb, "use" | "free") { "" } else { "data" }
}

/// What an object of this type is called.
fn kind(type_name: &str) -> String {
    let plain = type_name.split('<').next().unwrap_or(type_name);
    let last = plain.rsplit("::").next().unwrap_or(plain);
    match last {
        "CursorSlot" => "slot".to_owned(),
        "Ticket" => "waker".to_owned(),
        other => other.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(address: usize, type_name: &str) -> Value {
        Value::Pointer { address, type_name: type_name.to_owned(), size: 64 }
    }

    fn raw(
        verb: &str,
        name: &str,
        thing: Option<(usize, usize)>,
        arguments: Vec<Value>,
        result: Value,
    ) -> Raw {
        Raw {
            thread: 1,
            names: Some(name.to_owned()).into_iter().filter(|name| !name.is_empty()).collect(),
            place: None,
            verb: verb.to_owned(),
            thing: thing.map(|(address, birth)| Thing { address, birth, made_in: "segment".to_owned() }),
            arguments,
            result,
        }
    }

    fn dids(raw: &[Raw]) -> Vec<String> {
        name(raw).into_iter().map(|step| step.did).collect()
    }

    #[test]
    fn objects_are_numbered_as_they_are_seen_and_words_named_by_their_orderings() {
        let segment = "a::Segment";
        let exchange = |found: u64, ok: bool| {
            let found = Box::new(Value::Number(found));
            let result = if ok { Value::Done(found) } else { Value::Refused(found) };
            let arguments = vec![Value::Number(0), Value::Number(5 << 32 | 1)];
            raw("compare_exchange", "CELL_PUBLISH", Some((0x5000, 3)), arguments, result)
        };
        let steps = [
            raw(
                "load",
                "TAIL_LOAD",
                Some((0x100, 1)),
                vec![Value::Order("Acquire".into())],
                pointer(0x1000, segment),
            ),
            exchange(7 << 32 | 1 | 4, false),
            raw("load", "CELL_LOAD", Some((0x5008, 4)), vec![], Value::Number(4)),
            exchange(0, true),
            raw("load", "NEXT_LOAD", Some((0x1010, 2)), vec![], pointer(0, segment)),
            raw("use", "", Some((0x1020, 5)), vec![], Value::Nothing),
            raw("free", "", Some((0x7020, 6)), vec![], Value::Nothing),
        ];
        assert_eq!(
            dids(&steps),
            [
                "load tail -> segment1",
                "cas cell1: empty -> frame to 5  no, it is frame to 7, owes",
                "load cell2 -> awaited",
                "cas cell1: empty -> frame to 5  ok",
                "load segment1.next -> empty",
                "use segment1",
                "FREE segment#1",
            ]
        );
    }

    #[test]
    fn a_name_is_the_same_in_every_run() {
        let run = |base: usize| {
            [
                raw(
                    "swap",
                    "HEAD_MOVE",
                    Some((base, 1)),
                    vec![pointer(base + 0x1000, "Segment")],
                    pointer(base + 0x2000, "Segment"),
                ),
                raw("load", "FLOOR_LOAD", Some((base + 8, 2)), vec![], Value::Number(u64::MAX)),
            ]
        };
        assert_eq!(dids(&run(0x10_0000)), dids(&run(0x77_0000)));
    }

    #[test]
    fn a_load_of_something_older_says_what_is_written() {
        let load = |found| raw("load", "FLOOR_LOAD", Some((8, 1)), vec![], Value::Number(found));
        let raise = raw("fetch_max", "FLOOR_RAISE", Some((8, 1)), vec![Value::Number(3)], Value::Number(0));
        let add = raw("fetch_add", "FLOOR_RAISE", Some((8, 1)), vec![Value::Number(2)], Value::Number(3));
        let steps = [load(0), raise, load(0), load(3), add, load(5)];
        let dids = dids(&steps);
        assert_eq!(dids[2], "load floor -> 0 (older: 3 is written)");
        for at in [0, 3, 5] {
            assert!(!dids[at].contains("older"), "{}", dids[at]);
        }
    }

    #[test]
    fn a_fence_weakened_to_nothing_is_none() {
        let fence =
            |order: &str| raw("fence", "TRIM_FENCE", None, vec![Value::Order(order.into())], Value::Nothing);
        assert_eq!(dids(&[fence("SeqCst"), fence("Relaxed")]), ["fence SeqCst", "no fence"]);
    }
}
