//! What a proof is: a closure that loom runs in every interleaving, the outcomes it must have
//! seen, and the mutations of the shipped code under which it must fail.

use std::sync::atomic::{AtomicU64, Ordering};

/// How far a model is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Every interleaving.
    None,
    /// Every interleaving with at most so many preemptions.
    Preemptions(usize),
}

impl Bound {
    /// As loom wants it.
    pub fn preemptions(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Preemptions(n) => Some(n),
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.pad("none"),
            Self::Preemptions(n) => f.pad(&n.to_string()),
        }
    }
}

/// A proof by exploration.
#[derive(Debug)]
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// The invariants it checks.
    pub invariants: &'static str,
    /// What happens in it, in a sentence.
    pub about: &'static str,
    /// Threads, the one that sets up and checks included.
    pub threads: usize,
    /// How far the quick tier explores it.
    pub quick: Bound,
    /// How far the full tier explores it.
    pub full: Bound,
    /// Whether atomics have shadow words: without them loom misses interleavings, and the run is
    /// a fast first look.
    pub shadow: bool,
    /// Its threads are stopped in turn even in an ordinary run.
    pub stalls: bool,
    /// Why none of its threads is stopped in a stall run, if so.
    pub no_stalls: Option<&'static str>,
    /// Outcomes that must occur in some execution. A proof that never saw one is vacuous.
    pub outcomes: &'static [&'static str],
    /// Mutations of the shipped code that it must catch: `ORDERING=Weaker` or a fault's name.
    pub controls: &'static [&'static str],
    /// One execution.
    pub body: fn(&'static Seen),
}

/// What most models have in common: three threads, and shadow words.
pub const BASE: Model = Model {
    name: "",
    invariants: "-",
    about: "",
    threads: 3,
    quick: Bound::None,
    full: Bound::None,
    shadow: true,
    stalls: false,
    no_stalls: None,
    outcomes: &["done"],
    controls: &[],
    body: |_| {},
};

/// Counts the outcomes that occurred. Plain atomics: loom does not see them.
#[derive(Debug)]
pub struct Seen {
    names: &'static [&'static str],
    counts: Vec<AtomicU64>,
    executions: AtomicU64,
}

impl Seen {
    /// A counter for each name.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            counts: names.iter().map(|_| AtomicU64::new(0)).collect(),
            executions: AtomicU64::new(0),
        }
    }

    /// Counts an outcome, which the model has to list.
    pub fn mark(&self, name: &str) {
        let index = self.names.iter().position(|known| *known == name);
        let index = index.unwrap_or_else(|| panic!("the model does not list the outcome {name:?}"));
        self.counts[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an outcome if the model lists it; for bodies that several models share.
    pub fn note(&self, name: &str) {
        if self.names.contains(&name) {
            self.mark(name);
        }
    }

    /// Counts an execution.
    pub fn begin_execution(&self) {
        self.executions.fetch_add(1, Ordering::Relaxed);
    }

    /// Goes on from what an interrupted exploration had seen.
    pub fn restore(&self, executions: u64, outcomes: &[(String, u64)]) {
        self.executions.fetch_add(executions, Ordering::Relaxed);
        for (name, count) in outcomes {
            if let Some(index) = self.names.iter().position(|known| known == name) {
                self.counts[index].fetch_add(*count, Ordering::Relaxed);
            }
        }
    }

    /// Executions so far.
    pub fn executions(&self) -> u64 {
        self.executions.load(Ordering::Relaxed)
    }

    /// The outcomes that did not occur.
    #[cfg(any(replcore_fuzz, crossbeam_loom))]
    pub fn unseen(&self) -> Vec<&'static str> {
        let counted = self.names.iter().zip(&self.counts);
        counted.filter(|(_, count)| count.load(Ordering::Relaxed) == 0).map(|(name, _)| *name).collect()
    }

    /// Each outcome, and how often it occurred.
    pub fn outcomes(&self) -> Vec<(String, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        self.names.iter().map(ToString::to_string).zip(counts).collect()
    }
}

/// Switches `ROW=Weaker`, or a fault, on for the whole process.
///
/// # Errors
/// If there is none of that name.
pub fn mutate(mutation: &str) -> Result<(), String> {
    use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

    use replcore::buffer::model;

    let known = match mutation.split_once('=') {
        Some((row, weaker)) => {
            let weaker = match weaker {
                "Relaxed" => Relaxed,
                "Acquire" => Acquire,
                "Release" => Release,
                "AcqRel" => AcqRel,
                _ => return Err(format!("{weaker} is not an ordering to weaken to")),
            };
            model::weaken(row, weaker)
        }
        None => model::inject(mutation),
    };
    if known { Ok(()) } else { Err(format!("there is no ordering or fault named {mutation}")) }
}
