//! Kinds of proofs, and what a proof can show.

use serde::{Deserialize, Serialize};

/// What kind of proof a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A program whose outcomes are known: the checker has to find exactly those.
    SelfTest,
    /// The shipped code under loom.
    Model,
    /// A model with a mutation of the shipped code that it has to catch.
    Mutation,
    /// A weaker ordering in the place of a named one: some model has to catch it.
    Ordering,
    /// A structural fault switched on: some model has to catch it.
    Fault,
    /// A model in which a thread is stopped for good, at each of its steps in turn.
    Stall,
    /// The algorithm with any number of everything, by solvers.
    Unbounded,
    /// The protocol, explored.
    Protocol,
    /// The protocol with a known bug that the search has to find.
    Museum,
    /// The normal build against reference models, by random operations or schedules.
    Refinement,
}

impl Kind {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::SelfTest,
        Self::Model,
        Self::Mutation,
        Self::Ordering,
        Self::Fault,
        Self::Stall,
        Self::Unbounded,
        Self::Protocol,
        Self::Museum,
        Self::Refinement,
    ];

    /// The word, as in JSON and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::SelfTest => "self-test",
            Self::Model => "model",
            Self::Mutation => "mutation",
            Self::Ordering => "ordering",
            Self::Fault => "fault",
            Self::Stall => "stall",
            Self::Unbounded => "unbounded",
            Self::Protocol => "protocol",
            Self::Museum => "museum",
            Self::Refinement => "refinement",
        }
    }

    /// What such proofs are, for a heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::SelfTest => "Self-test: what the checker has to find, exactly",
            Self::Model => "Models: the shipped code, explored",
            Self::Mutation => "Mutations: each model has to catch these",
            Self::Ordering => "Orderings: every weaker one has to be caught",
            Self::Fault => "Faults: every one has to be caught",
            Self::Stall => "Stall points: a thread stops for good at each of its steps",
            Self::Unbounded => "Unbounded: any number of writers, cursors, segments and appends",
            Self::Protocol => "Protocol: what a few servers can do to each other",
            Self::Museum => "Museum: known bugs that the search has to find",
            Self::Refinement => "Refinement: the normal build against its reference",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.word() == word);
        known.ok_or_else(|| {
            let words: Vec<_> = Self::ALL.iter().map(|kind| kind.word()).collect();
            format!("no kind of proof is called {word}; there are {}", words.join(", "))
        })
    }
}

/// What a proof showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A self-test: the known outcomes occurred, and no others.
    Exact,
    /// A solver showed it, for any number of everything.
    Proven,
    /// Every execution was run.
    Exhausted,
    /// Every execution within the bound was run.
    Bounded,
    /// Some were run, drawn at random.
    Sampled,
    /// A mutation was found, as it has to be.
    Caught,
    /// Wherever a thread stopped, the others finished and saw what they have to see.
    Tolerated,
    /// A mutation that the checker cannot see; the report says why the code needs what it undoes.
    Excused,
    /// The time was up first. What was run passed.
    Unfinished,
    /// An outcome that has to occur never did.
    Vacuous,
    /// A mutation was not found.
    Missed,
    /// A self-test: the checker found other outcomes than the known ones.
    Inexact,
    /// An invariant broke.
    Failed,
}

impl Verdict {
    /// Whether that is as it should be.
    pub fn is_good(self) -> bool {
        match self {
            Self::Exact
            | Self::Proven
            | Self::Exhausted
            | Self::Bounded
            | Self::Sampled
            | Self::Caught
            | Self::Tolerated
            | Self::Excused => true,
            Self::Unfinished | Self::Vacuous | Self::Missed | Self::Inexact | Self::Failed => false,
        }
    }

    /// The word. What is not as it should be is in capitals.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Proven => "proven",
            Self::Exhausted => "exhausted",
            Self::Bounded => "bounded",
            Self::Sampled => "sampled",
            Self::Caught => "caught",
            Self::Tolerated => "tolerated",
            Self::Excused => "excused",
            Self::Unfinished => "UNFINISHED",
            Self::Vacuous => "VACUOUS",
            Self::Missed => "MISSED",
            Self::Inexact => "INEXACT",
            Self::Failed => "FAILED",
        }
    }

    /// What it means, for a legend.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Exact => "the checker found the known outcomes, and no others",
            Self::Proven => "a solver showed it, for any number of everything",
            Self::Exhausted => "every interleaving, and every value that a load may return, was run",
            Self::Bounded => "as exhausted, within the bound that the row says",
            Self::Sampled => "some executions were run, drawn at random",
            Self::Caught => "with the mutation on, something broke, as it has to",
            Self::Tolerated => "wherever a thread stopped, the others finished and saw what they have to see",
            Self::Excused => {
                "the checker cannot see the mutation; the row says why the code needs it all the same"
            }
            Self::Unfinished => "the time was up first: not a pass",
            Self::Vacuous => "nothing broke, but an outcome that has to occur never did: not a pass",
            Self::Missed => "with the mutation on, nothing broke: the proofs have a hole",
            Self::Inexact => "the checker does not find what is known: nothing else it says counts",
            Self::Failed => "an invariant broke",
        }
    }

    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Exact,
        Self::Proven,
        Self::Exhausted,
        Self::Bounded,
        Self::Sampled,
        Self::Caught,
        Self::Tolerated,
        Self::Excused,
        Self::Unfinished,
        Self::Vacuous,
        Self::Missed,
        Self::Inexact,
        Self::Failed,
    ];
}

/// How an exploration went, as far as the verdict depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// It came to its end.
    pub complete: bool,
    /// An outcome that has to occur did not.
    pub vacuous: bool,
    /// It was bounded.
    pub bounded: bool,
}

/// What an exploration showed; without one, something broke in it. `expects_failure` is for mutations that
/// have to be caught.
pub fn judge(kind: Kind, explored: Option<Explored>, expects_failure: bool) -> Verdict {
    let Some(explored) = explored else {
        return match (expects_failure, kind) {
            (true, _) => Verdict::Caught,
            (false, Kind::SelfTest) => Verdict::Inexact,
            (false, _) => Verdict::Failed,
        };
    };
    match (expects_failure, explored.complete, explored.vacuous) {
        // An outcome that vanished is a finding too; one that was not come to in time is none.
        (true, true, true) => Verdict::Caught,
        (true, _, _) => Verdict::Missed,
        (false, false, _) => Verdict::Unfinished,
        (false, true, true) if kind == Kind::SelfTest => Verdict::Inexact,
        (false, true, true) => Verdict::Vacuous,
        (false, true, false) => match kind {
            Kind::SelfTest if explored.bounded => Verdict::Inexact,
            Kind::SelfTest => Verdict::Exact,
            Kind::Stall => Verdict::Tolerated,
            _ if explored.bounded => Verdict::Bounded,
            _ => Verdict::Exhausted,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explored(complete: bool, vacuous: bool, bounded: bool) -> Option<Explored> {
        Some(Explored { complete, vacuous, bounded })
    }

    #[test]
    fn the_words_say_no_more_than_was_done() {
        assert_eq!(judge(Kind::Model, explored(true, false, false), false), Verdict::Exhausted);
        assert_eq!(judge(Kind::Model, explored(true, false, true), false), Verdict::Bounded);
        assert_eq!(judge(Kind::Model, explored(false, false, true), false), Verdict::Unfinished);
        assert_eq!(judge(Kind::Model, explored(true, true, true), false), Verdict::Vacuous);
        assert_eq!(judge(Kind::Model, None, false), Verdict::Failed);
        assert_eq!(judge(Kind::Stall, explored(true, false, true), false), Verdict::Tolerated);
        assert_eq!(judge(Kind::Stall, explored(false, false, true), false), Verdict::Unfinished);
    }

    #[test]
    fn a_mutation_is_caught_by_what_breaks_or_vanishes_and_not_by_the_clock() {
        assert_eq!(judge(Kind::Mutation, None, true), Verdict::Caught);
        assert_eq!(judge(Kind::Mutation, explored(true, true, true), true), Verdict::Caught);
        assert_eq!(judge(Kind::Mutation, explored(false, true, true), true), Verdict::Missed);
        assert_eq!(judge(Kind::Mutation, explored(true, false, true), true), Verdict::Missed);
    }

    #[test]
    fn a_self_test_is_exact_or_it_is_not() {
        assert_eq!(judge(Kind::SelfTest, explored(true, false, false), false), Verdict::Exact);
        assert_eq!(judge(Kind::SelfTest, explored(true, true, false), false), Verdict::Inexact);
        assert_eq!(judge(Kind::SelfTest, explored(true, false, true), false), Verdict::Inexact);
        assert_eq!(judge(Kind::SelfTest, None, false), Verdict::Inexact);
    }

    #[test]
    fn what_is_not_good_is_in_capitals() {
        for verdict in Verdict::ALL {
            let capitals = verdict.word().chars().all(|letter| letter.is_ascii_uppercase());
            assert_eq!(verdict.is_good(), !capitals, "{verdict:?}");
        }
    }
}
