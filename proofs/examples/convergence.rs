//! A server of one's own, put to the test: `cargo run -p replcore-proofs --example convergence -- right`, or
//! `wrong`.
//!
//! [`Tiny`] keeps hashes whose fields expire. What a command does to a hash and what is propagated is
//! replcore's (`hash_ttl`, `rewrite`), its stream is a `ReplicationBuffer`; the rest is what any server has
//! to do itself, and can get wrong. `wrong NAME` chooses the mistake; `wrong` alone takes the first one,
//! which real servers have made.

use std::collections::BTreeMap;
use std::process::ExitCode;

use bytes::{Buf, Bytes, BytesMut};
use clap::{Parser, ValueEnum};
use replcore::buffer::ReplicationBuffer;
use replcore::hash_ttl::arguments::{self, HExpire, HSetEx, Named, NewDeadline, TimeForm};
use replcore::hash_ttl::{Hash, Moment, commands};
use replcore::resp::{CommandParser, Limits};
use replcore::resync::{Decision, FullReason, History, PsyncRequest, ReplicationId, Retained, decide};
use replcore::rewrite::hash::FieldEffect;
use replcore::rewrite::{DeletionVerb, Effects, Propagation, Wrap, frame, hash};
use replcore::testing::convergence::commands::fields_with_deadlines;
use replcore::testing::convergence::{
    Command, Convergence, Counterexample, Seen, Server, Stored, StoredValue,
};

type Error = Box<dyn std::error::Error>;

/// What somebody may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mistake {
    /// HPEXPIRE goes out with the client's whole list of fields, dead ones included.
    FullList,
    /// HSETEX goes out with the client's relative time.
    Relative,
    /// Active expiry tells nobody.
    SilentReclaim,
    /// A replica removes what is dead by its own clock.
    ReplicaExpires,
    /// A replica's offset moves on inside a transaction.
    OffsetInTransaction,
    /// A replica hands the end of each transaction on twice.
    DoubleExec,
    /// After a copy the stream does not say again which database is selected.
    SelectForgotten,
    /// A promotion keeps the replication ID.
    SameId,
    /// Every replica is copied.
    AlwaysFull,
    /// Every replica is continued.
    AlwaysPartial,
    /// Transactions go out without MULTI and EXEC.
    NoMulti,
    /// A transaction goes out without its EXEC.
    NoExec,
    /// A replica writes commands down in its own way.
    Reencodes,
    /// A replica does not know UNLINK.
    Unfinished,
}

/// Hashes, by database and key, and the stream of what happened to them.
struct Tiny {
    mistake: Option<Mistake>,
    hashes: BTreeMap<(u16, Bytes), Hash>,
    stream: ReplicationBuffer,
    history: History,
    /// What the stream that it follows has selected.
    selected: u16,
    /// A transaction that is not at its end yet.
    pending: Option<Vec<u8>>,
}

fn stream_from(base_offset: u64) -> ReplicationBuffer {
    // So small that a backlog can be trimmed.
    let builder = ReplicationBuffer::builder().base_offset(base_offset).segment_frames(1).block_bytes(64);
    builder.build().expect("these are within the bounds")
}

impl Tiny {
    fn new(replid: ReplicationId, mistake: Option<Mistake>) -> Self {
        let (hashes, stream, history) = (BTreeMap::new(), stream_from(0), History::new(replid));
        Self { mistake, hashes, stream, history, selected: 0, pending: None }
    }

    /// One command on one hash: what it does, and what is to be propagated.
    fn run(&mut self, db: u16, argv: &[Bytes], moment: Moment) -> Result<Propagation, Error> {
        let at = (db, argv.get(1).ok_or("there is no key")?.clone());
        let stored = self.hashes.entry(at.clone()).or_default();
        let propagation = match &argv[0][..] {
            b"HSET" => {
                let _ = commands::set(stored, Named::pairs(argv, 2), NewDeadline::None, moment);
                hash::hset(argv)?
            }
            b"HSETEX" => {
                let parsed = HSetEx::parse(argv)?;
                let deadline = parsed.deadline(moment.now_ms)?;
                let done = commands::set_ex(stored, parsed.pairs, parsed.condition, deadline, moment);
                match self.mistake {
                    Some(Mistake::Relative) => Propagation::verbatim_if(done.has_changed()),
                    _ => hash::hsetex(argv, done.outcome())?,
                }
            }
            name @ (b"HPEXPIRE" | b"HPEXPIREAT") => {
                let form =
                    if name == b"HPEXPIRE" { TimeForm::Milliseconds } else { TimeForm::UnixMilliseconds };
                let parsed = HExpire::parse(argv, form, moment.now_ms)?;
                let (fields, until) = (parsed.fields, parsed.deadline_ms);
                let done = commands::expire(stored, fields, until, &parsed.conditions, moment);
                match self.mistake {
                    Some(Mistake::FullList)
                        if done.effect == FieldEffect::Deadline(until) && done.met.has_changed() =>
                    {
                        let mut command = argv.to_vec();
                        (command[0], command[2]) = ("HPEXPIREAT".into(), until.to_string().into());
                        Propagation::Command(command)
                    }
                    _ => hash::hexpire(argv, done.met.touched(), done.effect)?,
                }
            }
            b"HPERSIST" => {
                let done = commands::persist(stored, arguments::fields(argv)?, moment);
                hash::hpersist(argv, done.met.touched())?
            }
            b"HDEL" => hash::hdel(argv, commands::delete(stored, Named::fields(argv, 2), moment).touched())?,
            b"UNLINK" if self.mistake != Some(Mistake::Unfinished) => {
                *stored = Hash::new();
                Propagation::Verbatim
            }
            _ => return Err("no such command".into()),
        };
        self.hashes.retain(|_, hash| !hash.is_empty());
        Ok(propagation)
    }

    fn publish(&self, effects: &Effects<'_>) {
        if self.mistake == Some(Mistake::NoExec) && effects.ops.len() > 1 {
            return self.take_over(b"*1\r\n$5\r\nMULTI\r\n");
        }
        self.stream.append_with(|staged| frame::write(effects, staged)).expect("the stream goes on");
    }

    /// Takes over bytes of the stream that it follows. What they select is not for this buffer to know.
    fn take_over(&self, bytes: &[u8]) {
        let stage = |staged: &mut replcore::buffer::StagedFrame<'_>| {
            match self.mistake {
                Some(Mistake::Reencodes) => staged.put_slice(&bytes.to_ascii_lowercase()),
                _ => staged.put_slice(bytes),
            }
            staged.set_context(None);
        };
        self.stream.append_with(stage).expect("the stream goes on");
    }
}

impl Server for Tiny {
    type Snapshot = (BTreeMap<(u16, Bytes), Hash>, u64, ReplicationId, u16);

    fn execute(&mut self, unit: &[Command], now_ms: u64) {
        let mut effects = Effects::new();
        for Command { db, argv } in unit {
            if let Ok(propagation) = self.run(*db, argv, Moment::primary(now_ms)) {
                effects.push(*db, argv, propagation);
            }
        }
        if self.mistake == Some(Mistake::NoMulti) {
            effects.wrap = Wrap::Never;
        }
        self.publish(&effects);
    }

    fn reclaim(&mut self, now_ms: u64) {
        for ((db, key), mut hash) in std::mem::take(&mut self.hashes) {
            let (mut dead, mut effects) = (Vec::new(), Effects::new());
            hash.reclaim(now_ms, &mut usize::MAX.clone(), &mut dead);
            effects.push(db, &[], hash::reclaim(&key, &dead, hash.is_empty(), DeletionVerb::Unlink));
            if self.mistake != Some(Mistake::SilentReclaim) {
                self.publish(&effects);
            }
            if !hash.is_empty() {
                self.hashes.insert((db, key), hash);
            }
        }
    }

    fn apply(&mut self, command: &[u8], now_ms: u64) -> Result<(), Error> {
        let parse = |bytes: &mut BytesMut| CommandParser::new(Limits::default()).next(bytes);
        let argv = parse(&mut BytesMut::from(command))?.ok_or("half a command")?;
        match (&argv[0][..], &mut self.pending) {
            (b"MULTI", _) => self.pending = Some(command.to_vec()),
            (b"EXEC", Some(pending)) => {
                pending.extend(command);
                let unit = self.pending.take().unwrap_or_default();
                if self.mistake == Some(Mistake::OffsetInTransaction) {
                    self.take_over(command);
                } else {
                    self.take_over(&unit);
                }
                let mut unit = BytesMut::from(&unit[..]);
                while let Some(argv) = parse(&mut unit)? {
                    self.apply_one(&argv, now_ms)?;
                }
                if self.mistake == Some(Mistake::DoubleExec) {
                    self.take_over(command);
                }
                return Ok(());
            }
            (_, Some(pending)) => pending.extend(command),
            (_, None) => {
                self.apply_one(&argv, now_ms)?;
                self.take_over(command);
                return Ok(());
            }
        }
        if self.mistake == Some(Mistake::OffsetInTransaction) {
            self.take_over(command);
        }
        Ok(())
    }

    fn stored(&self) -> Stored {
        let mut stored = Stored::default();
        for ((db, key), hash) in &self.hashes {
            let field = |field: replcore::hash_ttl::Field<'_>| {
                (Bytes::copy_from_slice(&field.name), (field.value.to_bytes(), field.deadline_ms))
            };
            stored.put(*db, key.clone(), StoredValue::Fields(hash.iter().map(field).collect(), None));
        }
        stored
    }

    fn retained(&self) -> Retained {
        Retained { first: self.stream.first_offset(), end: self.stream.end_offset() }
    }

    fn read(&self, from: u64) -> Vec<u8> {
        let mut cursor = self.stream.attach(from).expect("it is retained");
        let mut bytes = Vec::new();
        while cursor.refresh().expect("nobody evicts it") > 0 {
            bytes.extend_from_slice(&cursor.copy_to_bytes(cursor.remaining()));
        }
        bytes
    }

    fn set_backlog_bytes(&mut self, bytes: u64) {
        self.stream.set_backlog_bytes(bytes);
    }

    fn history(&self) -> History {
        self.history
    }

    fn psync(&self, request: &PsyncRequest) -> Decision {
        match self.mistake {
            Some(Mistake::AlwaysFull) => Decision::Full { reason: FullReason::Requested },
            Some(Mistake::AlwaysPartial) => {
                Decision::Partial { attach_offset: request.wanted.unsigned_abs() - 1 }
            }
            _ => decide(&self.history, self.retained(), request),
        }
    }

    fn snapshot(&mut self) -> Self::Snapshot {
        if self.mistake != Some(Mistake::SelectForgotten) {
            // What follows the copy names its database.
            self.take_over(b"");
        }
        (self.hashes.clone(), self.stream.end_offset(), self.history.replid, self.selected)
    }

    fn load(&mut self, (hashes, end, replid, selected): Self::Snapshot) {
        (self.hashes, self.selected, self.pending) = (hashes, selected, None);
        (self.stream, self.history) = (stream_from(end), History::new(replid));
    }

    fn resume(&mut self, replid: ReplicationId) {
        self.pending = None;
        if replid != self.history.replid {
            self.history = self.history.shifted(replid, self.stream.end_offset());
        }
    }

    fn promote(&mut self, replid: ReplicationId) {
        self.pending = None;
        if self.mistake != Some(Mistake::SameId) {
            self.history = self.history.shifted(replid, self.stream.end_offset());
        }
    }
}

impl Tiny {
    /// A command of the stream: whatever time it is, for what is stored is there.
    fn apply_one(&mut self, argv: &[Bytes], now_ms: u64) -> Result<(), Error> {
        match &argv[0][..] {
            b"MULTI" | b"EXEC" => {}
            b"SELECT" => self.selected = std::str::from_utf8(argv.get(1).ok_or("no number")?)?.parse()?,
            _ => {
                let moment = match self.mistake {
                    Some(Mistake::Relative) => Moment { now_ms, ..Moment::STORED },
                    _ => Moment::STORED,
                };
                // A replica has nobody to tell.
                let _ = self.run(self.selected, argv, moment)?;
            }
        }
        if self.mistake == Some(Mistake::ReplicaExpires) {
            let ended = |hash: &mut Hash| hash.reclaim(now_ms, &mut usize::MAX.clone(), &mut Vec::new());
            self.hashes.values_mut().for_each(ended);
            self.hashes.retain(|_, hash| !hash.is_empty());
        }
        Ok(())
    }
}

fn check(mistake: Option<Mistake>, sequences: u32) -> Result<Seen, Box<Counterexample>> {
    Convergence::of(fields_with_deadlines()).sequences(sequences).check(|replid| Tiny::new(replid, mistake))
}

/// Puts a small server to the test.
#[derive(Parser)]
enum Arguments {
    /// The server as it should be.
    Right,
    /// The server with a mistake in it.
    Wrong {
        /// Which one.
        #[arg(default_value = "full-list")]
        mistake: Mistake,
    },
}

fn main() -> ExitCode {
    let mistake = match Arguments::parse() {
        Arguments::Right => None,
        Arguments::Wrong { mistake } => Some(mistake),
    };
    match check(mistake, 2000) {
        Ok(seen) => {
            println!("nothing found: {seen:#?}");
            ExitCode::SUCCESS
        }
        Err(counterexample) => {
            print!("{counterexample}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mistake, ValueEnum, check};

    #[test]
    fn the_right_server_converges() {
        let seen = check(None, 600).unwrap_or_else(|counterexample| panic!("{counterexample}"));
        let kinds = [
            seen.transactions,
            seen.reclaimed,
            seen.cuts,
            seen.partial_resyncs,
            seen.full_resyncs,
            seen.trimmed_away,
            seen.chained,
            seen.promotions,
            seen.demotions,
        ];
        assert!(kinds.iter().all(|kind| *kind >= 10), "too little happened: {seen:?}");
    }

    #[test]
    fn every_mistake_yields_a_counterexample_of_its_kind() {
        for mistake in Mistake::value_variants() {
            let property = match mistake {
                Mistake::FullList | Mistake::Relative | Mistake::ReplicaExpires => "convergence: ",
                Mistake::SelectForgotten => "convergence: ",
                Mistake::SilentReclaim => "silence: ",
                Mistake::OffsetInTransaction => "acknowledgement: ",
                Mistake::DoubleExec => "acknowledgement: ",
                Mistake::SameId | Mistake::AlwaysFull | Mistake::AlwaysPartial => "resync: ",
                Mistake::NoMulti | Mistake::NoExec => "prefix: ",
                Mistake::Reencodes => "one order: ",
                Mistake::Unfinished => "stream: ",
            };
            let counterexample = check(Some(*mistake), 2000).expect_err("it is wrong").to_string();
            assert!(
                counterexample.contains(property),
                "{mistake:?} should break {property}:\n{counterexample}"
            );
        }
    }
}
