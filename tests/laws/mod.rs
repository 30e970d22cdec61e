//! What the laws stand on.

pub mod commands;
pub mod fields;
pub mod keyspace;
pub mod lockstep;
pub mod museum;
pub mod promotion;
pub mod stream;

use std::fmt;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use replcore::rewrite::Argv;

/// The primary's clock at the start, in milliseconds since the Unix epoch.
pub const START_MS: u64 = 1_700_000_000_000;
/// Databases.
pub const DATABASES: u16 = 3;

/// A law was broken, and how.
pub type Law<T = ()> = Result<T, String>;

/// A command of a client, in its database.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    pub db: u16,
    pub argv: Argv,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[db {}] {}", self.db, shown(&self.argv))
    }
}

/// An argument list as a client would type it.
pub fn shown(argv: &[Bytes]) -> String {
    argv.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

/// Words as an argument list.
pub fn argv<W: AsRef<[u8]>>(words: impl IntoIterator<Item = W>) -> Argv {
    words.into_iter().map(|word| Bytes::copy_from_slice(word.as_ref())).collect()
}

/// What happens on the primary.
#[derive(Clone, Debug)]
pub enum Step {
    /// One unit: a command, or the commands of an `EXEC`.
    Unit(Vec<Sent>),
    /// Active expiry, of everything that is due or of some of it.
    Reclaim(Index),
    /// A snapshot is taken, and one more replica starts from it.
    Snapshot,
}

/// A step, and how far the primary's clock moves before it.
#[derive(Clone, Debug)]
pub struct Timed {
    pub advance_ms: i64,
    pub step: Step,
}

/// What happened to a primary, and what the clocks of its replicas showed.
#[derive(Clone)]
pub struct History {
    pub steps: Vec<Timed>,
    /// Readings of the replicas' clocks, one per frame and replica, over and over.
    pub clocks_ms: Vec<u64>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut now_ms = START_MS;
        for Timed { advance_ms, step } in &self.steps {
            now_ms = now_ms.saturating_add_signed(*advance_ms);
            write!(f, "\n    {:>+7} ms  ", now_ms as i64 - START_MS as i64)?;
            match step {
                Step::Unit(sent) => write!(f, "{sent:?}")?,
                Step::Reclaim(_) => write!(f, "(active expiry)")?,
                Step::Snapshot => write!(f, "(a snapshot)")?,
            }
        }
        let relative = self.clocks_ms.iter().map(|ms| *ms as i128 - i128::from(START_MS));
        write!(f, "\n    the replicas' clocks: {:?} ms", relative.collect::<Vec<_>>())
    }
}

/// Deadlines come and go within a few steps, so that commands meet them alive, dead and stored, and
/// reclaimed.
fn advance_ms() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 4 => 1..60_i64, 3 => 400..1600_i64, 2 => 2000..5000_i64, 1 => -700..0_i64]
}

/// Right, late, early, or nowhere near.
pub fn clock_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        3 => (-6000..12_000_i64).prop_map(|off| START_MS.saturating_add_signed(off)),
        1 => Just(0),
        1 => Just(START_MS * 2),
    ]
}

/// Histories of up to `most` steps whose commands are drawn from `command`.
pub fn histories(command: BoxedStrategy<Argv>, most: usize) -> impl Strategy<Value = History> {
    let db = prop_oneof![3 => Just(0), 2 => 0..DATABASES];
    let sent = (db, command).prop_map(|(db, argv)| Sent { db, argv }).boxed();
    let step = prop_oneof![
        12 => sent.clone().prop_map(|sent| Step::Unit(vec![sent])),
        3 => prop::collection::vec(sent, 2..5).prop_map(Step::Unit),
        2 => any::<Index>().prop_map(Step::Reclaim),
        1 => Just(Step::Snapshot),
    ];
    timed(step, most)
}

/// Histories of single commands in one database, and active expiry: short to read.
pub fn plain_histories(command: BoxedStrategy<Argv>, most: usize) -> impl Strategy<Value = History> {
    let step = prop_oneof![
        12 => command.prop_map(|argv| Step::Unit(vec![Sent { db: 0, argv }])),
        1 => any::<Index>().prop_map(Step::Reclaim),
    ];
    timed(step, most)
}

fn timed(step: impl Strategy<Value = Step>, most: usize) -> impl Strategy<Value = History> {
    let timed = (advance_ms(), step).prop_map(|(advance_ms, step)| Timed { advance_ms, step });
    (prop::collection::vec(timed, 1..most), prop::collection::vec(clock_ms(), 1..5))
        .prop_map(|(steps, clocks_ms)| History { steps, clocks_ms })
}
