//! What can be asked of `cargo prove`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report::Kind;

/// Proves the replication core: runs its models and shows what they saw.
///
/// Exit status: 0 if everything is as it should be, 1 if something is not, 2 if the program could not do what
/// was asked.
#[derive(Debug, Parser)]
#[command(name = "prove", bin_name = "cargo prove", args_conflicts_with_subcommands = true)]
pub struct Options {
    /// A part of the proofs, instead of all.
    #[command(subcommand)]
    pub command: Option<Part>,
    /// Only proofs whose name contains this.
    pub filter: Vec<String>,
    /// What a whole run and its parts have in common.
    #[command(flatten)]
    pub common: Common,
    /// Only proofs of this kind; may be given more than once.
    #[arg(long, value_name = "KIND")]
    pub kind: Vec<Kind>,
    /// Lists the proofs, their bounds and their controls, and runs none.
    #[arg(long)]
    pub list: bool,
    /// Skips what has to be caught: mutations, and the museum.
    #[arg(long)]
    pub no_controls: bool,
    /// Runs the chosen models with this mutation (ORDERING=Weaker, or a fault) and expects nothing.
    #[arg(long, value_name = "MUTATION")]
    pub mutate: Option<String>,
    /// Preemption bound for all, instead of each model's own; `none` explores everything.
    #[arg(long, value_name = "N")]
    pub bound: Option<Preemptions>,
    /// Runs the execution in this file again, exactly, and draws it: exit status 1 if it breaks again, 0 if
    /// not.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Draws every step of a replay, also those that matter little.
    #[arg(long, requires = "replay")]
    pub all_steps: bool,
    /// How the program calls itself.
    #[command(flatten)]
    pub worker: WorkerOptions,
}

/// What a whole run and its parts have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// How far to go: quick takes minutes, full up to an hour, deep has no end and goes on where it was
    /// stopped.
    #[arg(long, value_enum, default_value_t = Tier::Quick)]
    pub tier: Tier,
    /// Proofs that run at the same time [default: one for each core].
    #[arg(long, short)]
    pub jobs: Option<usize>,
    /// Seconds for each proof, at most.
    #[arg(long, value_name = "SECONDS")]
    pub max_seconds: Option<u64>,
    /// Stops at the first proof that is not as it should be.
    #[arg(long)]
    pub fail_fast: bool,
    /// Where reports are written, beside the table.
    #[command(flatten)]
    pub outputs: Outputs,
}

/// Where reports are written, beside the table.
#[derive(Debug, Args)]
pub struct Outputs {
    /// Writes the report as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes it as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Writes it as one page of HTML.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Writes it as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// How the program calls itself.
#[derive(Debug, Args)]
pub struct WorkerOptions {
    /// Explores one model in this process.
    #[arg(long, hide = true)]
    pub worker: Option<String>,
    /// Stops each thread at each of its steps.
    #[arg(long, hide = true)]
    pub stall: bool,
    /// Where to keep how far it has come.
    #[arg(long, hide = true, requires = "purpose")]
    pub keep: Option<PathBuf>,
    /// What it is kept for.
    #[arg(long, hide = true)]
    pub purpose: Option<Purpose>,
}

/// A part of the proofs on its own.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Weakens every named ordering in turn and shows the model that catches it.
    Orderings(Filtered),
    /// Switches every structural fault on in turn and shows the model that catches it.
    Faults(Filtered),
    /// Stops every thread of every model at each of its steps in turn.
    Stalls(Filtered),
    /// Proves the buffer's algorithm for any number of writers, cursors, segments and appends, by two solvers
    /// (z3 and cvc5 have to be installed), and that the proof needs what it says.
    Unbounded(Filtered),
    /// Searches the protocol: every order of writes, deadlines, broken links, resyncs and promotions, within
    /// a budget.
    Protocol(Filtered),
    /// Puts each known bug into the protocol and shows the shortest way to what it breaks.
    Museum(Filtered),
    /// Serves a scenario of the protocol to a browser, state by state.
    Explore {
        /// The scenario.
        scenario: String,
        /// A bug of the museum to put in.
        #[arg(long)]
        bug: Option<String>,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Shows a report that was written with --json, and writes it in other forms.
    Report {
        /// The report.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Where to write it.
        #[command(flatten)]
        outputs: Outputs,
    },
}

/// A part that runs proofs.
#[derive(Debug, Args)]
pub struct Filtered {
    /// Only those whose name contains this.
    pub filter: Vec<String>,
    /// Lists them and runs none.
    #[arg(long)]
    pub list: bool,
    /// As in a whole run.
    #[command(flatten)]
    pub common: Common,
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Minutes.
    Quick,
    /// Up to an hour.
    Full,
    /// Without bounds, without end; goes on where it was stopped.
    Deep,
}

impl Tier {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Deep => "deep",
        }
    }

    /// Seconds for a proof; none is for ever.
    pub fn max_seconds(self) -> Option<u64> {
        match self {
            Self::Quick => Some(300),
            Self::Full => Some(1800),
            Self::Deep => None,
        }
    }

    /// Cases that a property is tested with.
    pub fn cases(self) -> u32 {
        match self {
            Self::Quick => 256,
            Self::Full | Self::Deep => 2_048,
        }
    }
}

impl Common {
    /// Proofs at the same time.
    pub fn threads(&self) -> usize {
        self.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)).max(1)
    }

    /// Seconds for a proof; none is for ever.
    pub fn seconds(&self) -> Option<u64> {
        self.max_seconds.or(self.tier.max_seconds())
    }
}

/// A bound for preemptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preemptions {
    /// As many as there can be.
    Any,
    /// So many.
    AtMost(usize),
}

impl std::str::FromStr for Preemptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Any),
            n => n.parse().map(Self::AtMost).map_err(|_| format!("{n} is not a preemption bound")),
        }
    }
}

/// What an exploration keeps on disk, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Purpose {
    /// To find what broke later.
    Explore,
    /// To find it now: writes down each execution before it runs.
    Find,
    /// To run the one that was found, recorded.
    Draw,
    /// To go on where the last run was stopped.
    Resume,
}

impl Purpose {
    /// As on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Explore => "explore",
            Self::Find => "find",
            Self::Draw => "draw",
            Self::Resume => "resume",
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Options, clap::Error> {
        Options::try_parse_from(std::iter::once("prove").chain(line.split_whitespace()))
    }

    fn parsed(line: &str) -> Options {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn names_filter_and_a_part_is_no_name() {
        let options = parsed("trim-attach wake --tier full --jobs 3 --kind model --kind self-test");
        assert_eq!(options.filter, ["trim-attach", "wake"]);
        assert_eq!((options.common.tier, options.common.threads()), (Tier::Full, 3));
        assert_eq!(options.kind, [Kind::Model, Kind::SelfTest]);
        let options = parsed("orderings CELL --fail-fast");
        let Some(Part::Orderings(asked)) = options.command else { panic!("{options:?}") };
        assert_eq!(asked.filter, ["CELL"]);
        assert!(asked.common.fail_fast);
    }

    #[test]
    fn seconds_are_the_tiers_unless_given() {
        assert_eq!(parsed("").common.seconds(), Some(300));
        assert_eq!(parsed("--tier deep").common.seconds(), None);
        assert_eq!(parsed("--tier deep --max-seconds 5").common.seconds(), Some(5));
    }

    #[test]
    fn a_bound_is_a_number_or_none() {
        assert_eq!(parsed("--bound none").bound, Some(Preemptions::Any));
        assert_eq!(parsed("--bound 2").bound, Some(Preemptions::AtMost(2)));
        assert!(parse("--bound two").is_err());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in
            ["--kind nonsense", "--tier slow", "--all-steps", "report", "--worker x --keep /tmp", "-j many"]
        {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_purpose_is_called_what_it_is_parsed_from() {
        for purpose in Purpose::value_variants() {
            assert_eq!(Purpose::from_str(purpose.word(), false).as_ref(), Ok(purpose));
        }
    }
}
