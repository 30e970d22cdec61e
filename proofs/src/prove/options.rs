//! What can be asked of the program.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use replcore_proofs::report::Kind;

use super::keep::Purpose;
use crate::model::{Bound, Model};
use crate::protocol::Reach;

/// Proves the replication core: runs its models and shows what they saw.
///
/// Exit status: 0 if everything is as it should be, 1 if something is not, 2 if the program could not do what was asked.
#[derive(Debug, Parser)]
#[command(name = "prove", bin_name = "cargo prove", args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    pub command: Option<Part>,
    /// Only proofs whose name contains this.
    pub filter: Vec<String>,
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
    #[arg(long, value_name = "N", value_parser = bound)]
    pub bound: Option<Bound>,
    /// Runs the execution in this file again, exactly, and draws it: exit status 1 if it breaks again, 0 if not.
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Draws every step of a replay, also those that matter little.
    #[arg(long, requires = "replay")]
    pub all_steps: bool,
    #[command(flatten)]
    pub worker: WorkerOptions,
}

/// What a whole run and its parts have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// How far to go: quick takes minutes, full up to an hour, deep has no end and goes on where it was stopped.
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
    /// Searches the protocol: every order of writes, deadlines, broken links, resyncs and promotions, within a budget.
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
    #[command(flatten)]
    pub common: Common,
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Minutes.
    Quick,
    /// An hour at most.
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

    /// How far it explores a model.
    pub fn bound(self, model: &Model) -> Bound {
        match self {
            Self::Quick => model.quick,
            Self::Full => model.full,
            Self::Deep => Bound::None,
        }
    }

    /// How far it searches the protocol.
    pub fn reach(self) -> Reach {
        match self {
            Self::Quick => Reach::Quick,
            Self::Full | Self::Deep => Reach::Full,
        }
    }

    /// Seconds for a proof; none is for ever.
    pub fn max_seconds(self) -> Option<u64> {
        match self {
            Self::Quick => Some(120),
            Self::Full => Some(1800),
            Self::Deep => None,
        }
    }

    /// Cases that a property is tested with.
    pub fn cases(self) -> u32 {
        match self {
            Self::Quick => 256,
            Self::Full | Self::Deep => 4_096,
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

fn bound(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound::None),
        n => n.parse().map(Bound::Preemptions).map_err(|_| format!("{n} is not a preemption bound")),
    }
}
