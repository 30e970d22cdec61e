//! The same history on the shipped keyspace and on the reference of hashes whose fields expire: after every
//! command the same reply, and the same fields, values and deadlines stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use replcore::resp::Reply;
use replcore::rewrite::hash::Leftovers;

use super::fields::{Field, Hashes, Refused, Server, reclaim_all};
use super::keyspace::{State, Store, Stored};
use super::stream::Differ;
use super::{History, Law, START_MS, Step, Timed};

/// What the reference stores, in the keyspace's form.
fn state(hashes: &Hashes) -> State {
    let field = |(name, field): (&Bytes, &Field)| (name.clone(), (field.value.clone(), field.deadline_ms));
    let stored = |hash: &BTreeMap<Bytes, Field>| Stored::Hash(hash.iter().map(field).collect());
    hashes.iter().map(|(at, hash)| (at.clone(), (stored(hash), None))).collect()
}

/// Errors are compared as such: their texts are the shipped keyspace's own affair.
fn agree(shipped: &Reply, reference: &Result<Reply, Refused>) -> bool {
    match reference {
        Ok(reply) => shipped == reply,
        Err(_) => matches!(shipped, Reply::Error(_)),
    }
}

/// Runs the history's commands and active expiry; its snapshots are left out.
pub fn check(history: &History) -> Law {
    let shipped = Store::new();
    let mut reference = Server::primary(Leftovers::Kept, None);
    let mut now_ms = START_MS;
    for Timed { advance_ms, step } in &history.steps {
        now_ms = now_ms.saturating_add_signed(*advance_ms);
        match step {
            Step::Unit(unit) => {
                let replies = shipped.execute(unit, now_ms, &mut |_| ());
                for (sent, shipped) in unit.iter().zip(&replies) {
                    let reference = reference.run(sent, now_ms).map(|(reply, _)| reply);
                    if !agree(shipped, &reference) {
                        return Err(format!("{sent:?} is answered {shipped:?}, should be {reference:?}"));
                    }
                }
            }
            Step::Reclaim(_) => {
                shipped.reclaim(now_ms, &mut |_| ());
                reclaim_all(&mut reference.hashes, now_ms);
            }
            Step::Snapshot => {}
        }
        if let Some(difference) = shipped.state().difference(&state(&reference.hashes)) {
            return Err(format!("after {step:?}: {difference}"));
        }
    }
    Ok(())
}
