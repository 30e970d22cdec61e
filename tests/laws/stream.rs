//! From a unit's effects, through the real frame and the real buffer, to replicas that parse the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use proptest::sample::Index;
use replcore::buffer::{Cursor, ReplicationBuffer, StagedFrame};
use replcore::resp::{CommandParser, Limits};
use replcore::rewrite::frame::{self, FrameSink};
use replcore::rewrite::{Argv, Effects};

use super::{History, Law, START_MS, Sent, Step, Timed, shown};

/// The primary's end of the stream, and what replicas have not read yet.
pub struct Stream {
    buffer: ReplicationBuffer,
    cursor: Cursor,
    /// No `SELECT` goes out.
    pub loses_select: bool,
}

impl Stream {
    pub fn new() -> Stream {
        let buffer = ReplicationBuffer::builder().build().expect("the defaults are valid");
        let cursor = buffer.attach_at_end().expect("there is room for a cursor");
        Stream { buffer, cursor, loses_select: false }
    }

    /// Appends a unit as one frame.
    pub fn publish(&self, effects: &Effects<'_>) {
        let stage = |staged: &mut StagedFrame<'_>| match self.loses_select {
            false => frame::write(effects, staged),
            true => frame::write(effects, &mut WithoutSelect(staged)),
        };
        self.buffer.append_with(stage).expect("the stream takes it");
    }

    /// A replica that starts here knows no database: the next command is to be preceded by a `SELECT`.
    pub fn mark(&self) {
        self.buffer
            .append_with(|staged| StagedFrame::set_context(staged, None))
            .expect("the stream takes it");
    }

    /// The frames that have been appended since the last call.
    pub fn frames(&mut self) -> Vec<Bytes> {
        self.cursor.refresh().expect("nothing evicts the cursor");
        std::iter::from_fn(|| self.cursor.next_frame()).map(|(_, bytes)| bytes).collect()
    }
}

struct WithoutSelect<'a, 'w>(&'a mut StagedFrame<'w>);

impl FrameSink for WithoutSelect<'_, '_> {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.0.put_slice(bytes);
    }
    fn put_bytes(&mut self, bytes: &Bytes) {
        self.0.put_bytes(bytes.clone());
    }
    fn select(&mut self, _: u16, _: &[u8]) {}
    fn set_context(&mut self, _: u16) {}
}

/// What a replica keeps its data in.
pub trait Apply {
    /// Everything that is stored, expired or not.
    type State: Differ;

    /// Applies one unit, whole, with the replica's clock at `now_ms`; an error if it does not understand a
    /// command.
    fn apply(&mut self, unit: &[Sent], now_ms: u64) -> Law;

    /// Finishes what it still has to do before it can be compared.
    fn settle(&mut self) -> Law {
        Ok(())
    }

    /// What it stores now; `None` while it loads a snapshot.
    fn state(&self) -> Option<Self::State>;

    /// What a client would read, if that is more than the state says.
    fn answers(&self) -> Answers {
        Answers::new()
    }
}

/// By key, what a client reads.
pub type Answers = BTreeMap<(u16, Bytes), String>;

/// What executes clients' commands and publishes.
pub trait Primary {
    /// What its replicas are.
    type Replica: Apply;

    /// Executes one unit with the clock at `now_ms`.
    fn execute(&mut self, unit: &[Sent], now_ms: u64, stream: &Stream) -> Law;

    /// Active expiry; `share` says of how much, where there is a choice.
    fn reclaim(&mut self, share: &Index, now_ms: u64, stream: &Stream);

    /// A replica loaded from a snapshot of this moment.
    fn snapshot(&mut self, stream: &Stream) -> Self::Replica;

    /// What it stores now.
    fn state(&self) -> <Self::Replica as Apply>::State;

    /// What a client would read, if that is more than the state says.
    fn answers(&self) -> Answers {
        Answers::new()
    }

    /// Replicas of all kinds, empty.
    fn replicas(&self) -> Vec<(&'static str, Self::Replica)>;
}

/// States that can be held against each other.
pub trait Differ {
    /// What they disagree on first.
    fn difference(&self, primary: &Self) -> Option<String>;
}

impl<K: Ord + Debug, V: PartialEq + Debug> Differ for BTreeMap<K, V> {
    fn difference(&self, primary: &Self) -> Option<String> {
        let keys: BTreeSet<&K> = primary.keys().chain(self.keys()).collect();
        let key = keys.into_iter().find(|key| primary.get(key) != self.get(key))?;
        let shown = |value: Option<&V>| value.map_or("not there".to_owned(), |value| format!("{value:?}"));
        Some(format!("{key:?} is {}; on the primary {}", shown(self.get(key)), shown(primary.get(key))))
    }
}

/// Runs a history on a primary and on replicas of all kinds, and holds them against each other after every
/// step.
///
/// * *Clock-free*: each replica reads every frame with its clock wherever it happens to stand. That a frame
///   comes late, or after a pause, a replica knows from its clock alone.
/// * *Prefix-closed*: a replica that is loaded from a snapshot, while the primary goes on, joins the others.
///
/// In the end clients ask all of them.
pub fn check<P: Primary>(mut primary: P, mut stream: Stream, history: &History) -> Law {
    let replicas = primary.replicas().into_iter();
    let replicas = replicas.map(|(name, store)| Replica::new(name, store)).collect();
    follow(&mut primary, &mut stream, replicas, history, START_MS).map(drop)
}

/// [`check`] with these replicas, which store what the primary stores or are loading it, from a moment on.
/// Returns the moment at the end.
pub fn follow<P: Primary>(
    primary: &mut P,
    stream: &mut Stream,
    mut replicas: Vec<Replica<P::Replica>>,
    history: &History,
    mut now_ms: u64,
) -> Law<u64> {
    let start_ms = now_ms;
    let mut clocks_ms = history.clocks_ms.iter().copied().cycle();
    for Timed { advance_ms, step } in &history.steps {
        now_ms = now_ms.saturating_add_signed(*advance_ms);
        match step {
            Step::Unit(unit) => primary.execute(unit, now_ms, stream)?,
            Step::Reclaim(share) => primary.reclaim(share, now_ms, stream),
            Step::Snapshot => {
                let name = format!("a replica from the snapshot at {:+} ms", now_ms as i64 - start_ms as i64);
                replicas.push(Replica::new(name, primary.snapshot(stream)));
            }
        }
        for frame in stream.frames() {
            for replica in &mut replicas {
                replica.read(&frame, clocks_ms.next().unwrap_or(START_MS))?;
            }
        }
        compare(primary, &replicas)?;
    }
    for replica in &mut replicas {
        replica.store.settle()?;
        if let Some(difference) = replica.store.answers().difference(&primary.answers()) {
            return Err(replica.report(&difference));
        }
    }
    compare(primary, &replicas)?;
    Ok(now_ms)
}

fn compare<P: Primary>(primary: &P, replicas: &[Replica<P::Replica>]) -> Law {
    let expected = primary.state();
    for replica in replicas {
        if let Some(difference) = replica.store.state().and_then(|state| state.difference(&expected)) {
            return Err(replica.report(&difference));
        }
    }
    Ok(())
}

/// A replica: data, and its side of the link.
pub struct Replica<S> {
    /// What it is, for a report.
    pub name: String,
    pub store: S,
    selected: Option<u16>,
    /// The stream as it came, for a report.
    seen: Vec<Argv>,
}

impl<S: Apply> Replica<S> {
    /// One that attaches here; it knows no database.
    pub fn new(name: impl Into<String>, store: S) -> Self {
        Replica { name: name.into(), store, selected: None, seen: Vec::new() }
    }

    /// Applies a frame with the clock at `now_ms`.
    pub fn read(&mut self, frame: &Bytes, now_ms: u64) -> Law {
        let mut input = BytesMut::from(&frame[..]);
        let mut parser = CommandParser::new(Limits::default());
        let mut queued: Option<Vec<Sent>> = None;
        while let Some(argv) = parser.next(&mut input).map_err(|error| self.report(&error.to_string()))? {
            self.seen.push(argv.clone());
            match argv[0].to_ascii_lowercase().as_slice() {
                b"select" => {
                    let db = argv.get(1).and_then(|db| std::str::from_utf8(db).ok()?.parse().ok());
                    self.selected = Some(db.ok_or_else(|| self.report("a SELECT without a database"))?);
                }
                b"multi" if queued.is_none() => queued = Some(Vec::new()),
                b"exec" => {
                    let unit = queued.take().ok_or_else(|| self.report("an EXEC without MULTI"))?;
                    self.apply(&unit, now_ms)?;
                }
                _ => {
                    let db = self.selected.ok_or_else(|| self.report("a command for no database"))?;
                    let sent = Sent { db, argv };
                    match &mut queued {
                        Some(queued) => queued.push(sent),
                        None => self.apply(&[sent], now_ms)?,
                    }
                }
            }
        }
        if queued.is_some() || !input.is_empty() || !parser.is_idle() {
            return Err(self.report("a frame does not end where a unit ends"));
        }
        Ok(())
    }

    fn apply(&mut self, unit: &[Sent], now_ms: u64) -> Law {
        self.store.apply(unit, now_ms).map_err(|error| self.report(&error))
    }

    /// `what` happened to it, with all that it was sent.
    pub fn report(&self, what: &str) -> String {
        let seen: Vec<String> = self.seen.iter().map(|argv| format!("\n      {}", shown(argv))).collect();
        format!("{}: {what}\n    its stream:{}", self.name, seen.concat())
    }
}
