//! `EXEC`: what was queued, in one pass and in the client's order.
//!
//! Data commands and server commands run one after the other on one thread, under the locks of all data
//! commands, which are taken before the first and released after the last (see
//! [`keyspace::batch`](crate::keyspace::batch)). So a command sees what those before it did, whichever kind
//! they are: an event is published if the `CONFIG SET` that asks for it stands before the write, a client
//! that was unblocked is not served by the push that follows, the `INFO` before a write does not count it.
//!
//! What the data commands propagate is published as one unit when the last has run; until then the offset of
//! the stream stands still, as it does in Valkey.

use std::time::Duration;

use bytes::Bytes;

use super::commandlog::{self, Stopwatch};
use super::dispatch::{
    Command, Flow, HEAVY_PARTS, OUT_OF_MEMORY, READ_ONLY, Run, ServerCommand, beside_the_runtime, error,
};
use super::monitor::Ran;
use super::session::{Queued, Session, Transaction};
use super::state::unix_ms;
use crate::keyspace::batch::{Batch, NotRun, Reach};
use crate::keyspace::{Call, Room};
use crate::resp::{Protocol, Reply};
use crate::rewrite::Effects;

/// What the commands of a transaction answered.
#[derive(Debug, Default)]
pub(super) struct Executed {
    /// The elements of the array, each in the protocol that was spoken when its command ran.
    pub replies: Vec<(Protocol, Reply)>,
    /// Confirmations of subscriptions beyond the first of a command: they follow the array.
    pub confirmations: Vec<Reply>,
    /// So many of the pushes that waited when it began go before the array.
    pub pushes_before: usize,
}

/// A command of a transaction, in its turn.
enum Step {
    /// The data command of this number.
    Data(usize),
    Server(&'static ServerCommand, Vec<Bytes>),
}

impl Queued {
    fn asks_for_everything(&self) -> bool {
        matches!(self.command, Command::Server(command) if command.asks_for_everything(&self.argv))
    }
}

impl Session {
    /// `EXEC`.
    pub fn exec(&mut self, argv: &[Bytes]) -> Flow {
        let ran = self.exec_queue(argv);
        self.unwatch();
        self.settle();
        ran.map_or_else(
            |refusal| {
                self.record(argv);
                refusal.into()
            },
            Flow::Executed,
        )
    }

    /// Runs what is queued, or says why nothing was run.
    fn exec_queue(&mut self, argv: &[Bytes]) -> Result<Executed, Reply> {
        let transaction = self.transaction.take().ok_or_else(|| error("ERR EXEC without MULTI"))?;
        if transaction.refused {
            return Err(error("EXECABORT Transaction discarded because of previous errors."));
        }
        let needs_memory = transaction.queue.iter().any(|queued| queued.command.needs_memory());
        self.out_of_memory = self.shared.make_room() == Room::None;
        if self.out_of_memory && needs_memory {
            return Err(error(format!("EXECABORT Transaction discarded because of: {OUT_OF_MEMORY}")));
        }
        let writes = transaction.queue.iter().any(|queued| queued.command.is_write());
        if writes && let Some(refusal) = self.shared.write_refusal() {
            return Err(error(format!("EXECABORT Transaction discarded because of: {refusal}")));
        }
        self.run_transaction(transaction, argv).map_err(|reason| match reason {
            NotRun::Watched => Reply::NullArray,
            NotRun::ReadOnly => error(format!("EXECABORT Transaction discarded because of: {READ_ONLY}")),
        })
    }

    /// Runs the commands, if they may run.
    fn run_transaction(&mut self, transaction: Transaction, exec: &[Bytes]) -> Result<Executed, NotRun> {
        let queue = &transaction.queue;
        let heavy = queue.len() >= HEAVY_PARTS || queue.iter().any(Queued::is_heavy);
        let everything = queue.iter().any(Queued::asks_for_everything);
        let reach = if everything { Reach::Everything } else { Reach::Commands };
        let (mut calls, mut steps) = (Vec::new(), Vec::with_capacity(transaction.queue.len()));
        for queued in transaction.queue {
            steps.push(match queued.command {
                Command::Data(_) => {
                    calls.push(Call { db: self.db, argv: queued.argv });
                    Step::Data(calls.len() - 1)
                }
                Command::Server(command) => Step::Server(command, queued.argv),
            });
        }

        let shared = std::sync::Arc::clone(&self.shared);
        // None of the commands finds a key watched; those of this client are unwatched afterwards.
        let mut watch = std::mem::take(&mut self.watch);
        self.watching = 0;
        let mut end = self.last_write_offset;
        let mut publish = |effects: &Effects<'_>| end = shared.publish(effects).unwrap_or(end);
        let executed = beside_the_runtime(heavy, || {
            let body = |batch: &mut Batch<'_, '_>| self.run_steps(&calls, &steps, exec, batch);
            shared.keyspace.execute_batch(&watch, &calls, reach, unix_ms(), &mut publish, body)
        });
        shared.keyspace.unwatch(&mut watch);
        self.last_write_offset = end;
        executed
    }

    /// Runs the commands in their order, and shows them to those who watch by `MONITOR`.
    fn run_steps(
        &mut self,
        calls: &[Call],
        steps: &[Step],
        exec: &[Bytes],
        batch: &mut Batch<'_, '_>,
    ) -> Executed {
        // What it is sent by its own commands follows the array, confirmations of the end of a subscription
        // included.
        let waiting = if self.subscriptions.is_empty() { 0 } else { self.client.outbox.waiting().0 };
        let mut executed = Executed { pushes_before: waiting, ..Executed::default() };
        self.executing = Some(steps.len());
        let mut ran = Vec::with_capacity(steps.len() + 1);
        for step in steps {
            let is_script = matches!(step, Step::Server(command, _) if command.is_script());
            if is_script && self.shared.monitors.any() {
                // A script shows itself and its commands: what ran before goes first.
                self.shared.monitors.record(self.client.addr, std::mem::take(&mut ran));
            }
            let stopwatch = Stopwatch::start(&self.shared.config.load());
            let (argv, reply) = match step {
                Step::Data(index) => (&calls[*index].argv, batch.run(*index, self.db)),
                Step::Server(command, argv) => {
                    let flow = self.run_queued(command, argv, batch);
                    batch.note_accesses(!self.no_touch);
                    (argv, executed.add(flow))
                }
            };
            commandlog::note(self, argv, stopwatch.elapsed(), Some(&reply));
            // `HELLO` itself is answered in the protocol that it chose.
            executed.replies.push((self.protocol, reply));
            if !is_script {
                ran.push(Ran { db: self.db, argv });
            }
        }
        self.executing = None;
        if self.shared.monitors.any() {
            ran.push(Ran { db: self.db, argv: exec });
            self.shared.monitors.record(self.client.addr, ran);
        }
        executed
    }

    /// A server command inside `EXEC` or a script, which must not wait for anything but what `DEBUG SLEEP` asks for.
    pub fn run_queued(&mut self, command: &ServerCommand, argv: &[Bytes], batch: &mut Batch<'_, '_>) -> Flow {
        if command.name == "monitor" {
            return error("ERR MONITOR isn't allowed for DENY BLOCKING client").into();
        }
        let flow = match command.run {
            Run::Script(run) => run(self, argv, batch).into(),
            _ => command.run(self, argv, batch),
        };
        match flow {
            Flow::Wait { offset, .. } => Reply::Integer(self.shared.replication.count_acked(offset)).into(),
            Flow::Sleep { duration, .. } => {
                sleep_in_place(duration);
                Reply::Simple("OK").into()
            }
            // The cut needs the locks: it is taken when the transaction has ended.
            Flow::Saving(_) => Reply::Simple("Background saving scheduled").into(),
            flow => flow,
        }
    }
}

/// `DEBUG SLEEP` in a transaction, which ends when the sleep ends: its keys are locked meanwhile.
fn sleep_in_place(duration: Duration) {
    std::thread::sleep(duration);
}

impl Executed {
    /// Takes what a command has to say besides its reply, which is returned.
    fn add(&mut self, flow: Flow) -> Reply {
        match flow {
            Flow::Reply(reply) => reply,
            Flow::Confirm { reply, confirmations, .. } => {
                let mut all = reply.into_iter().chain(confirmations);
                let first = all.next();
                self.confirmations.extend(all);
                first.unwrap_or(Reply::Null)
            }
            // Neither of these comes from a command that can be queued.
            Flow::Silent
            | Flow::Executed(_)
            | Flow::Block(_)
            | Flow::Sync(_)
            | Flow::Postponed { .. }
            | Flow::Stopping
            | Flow::Saving(_)
            | Flow::Wait { .. }
            | Flow::Sleep { .. } => Reply::Null,
        }
    }

    /// How many commands failed.
    pub fn errors(&self) -> u64 {
        self.replies.iter().filter(|(_, reply)| matches!(reply, Reply::Error(_))).count() as u64
    }
}
