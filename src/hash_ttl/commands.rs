//! What the commands on hashes do, for any server.
//!
//! # Promise
//!
//! * Each function here is one command's effect on one hash at one [`Moment`]; no key, no lock, no clock.
//!   What it did comes back in the form that [`rewrite::hash`](crate::rewrite::hash) takes, with what the
//!   client is answered. Nothing that was changed, overwritten while it was dead, or skipped goes
//!   unmentioned.
//! * **A dead field is absent and stays stored** ([`Leftovers::Kept`]). Reading it, deleting it, giving it a
//!   deadline or taking that away does nothing to it. Only what stores something in its place removes it
//!   (`HSET`, `HSETNX`, `HINCRBY`, `HINCRBYFLOAT`, `HSETEX`): then the field counts as created, and is
//!   reported as overwritten.
//! * **A deadline that has passed when it is set deletes at once**, on a primary. Under
//!   [`ExpiryPolicy::Ignore`](super::ExpiryPolicy) nothing has ever passed: whatever is stored is there, and
//!   a past deadline is stored like any other.
//! * A field that is named more than once is met more than once, in order: the second deletion of it finds
//!   nothing, the second value replaces the first.
//!
//! # Who does what
//!
//! | question | answered by |
//! |---|---|
//! | where the fields stand, what the options say, which error comes first | [`arguments`](super::arguments) |
//! | what happens to the fields, what the reply is | here |
//! | what is propagated | [`rewrite::hash`](crate::rewrite::hash) |
//! | the key: does it exist, is it a hash, does it go with its last field; events; statistics | the server |
//!
//! A hash that is left without fields is no hash: the server removes its key, and the replicas do so
//! themselves. A command that reports no change and nothing overwritten has changed nothing: nothing is
//! propagated, and whoever watches the key is not told.
//!
//! # Cost
//!
//! One or two look-ups per field that is named; no command looks at fields that are not.
//!
//! # A server of one's own
//!
//! Three commands of a server with one hash, and what its replicas are sent.
//!
//! ```
//! use bytes::{Buf, Bytes, BytesMut};
//! use replcore::buffer::ReplicationBuffer;
//! use replcore::hash_ttl::arguments::{self, HExpire, HSetEx, TimeForm};
//! use replcore::hash_ttl::{Hash, Moment, commands};
//! use replcore::resp::{CommandParser, Limits};
//! use replcore::rewrite::hash::{self, HSetExOutcome};
//! use replcore::rewrite::{Effects, frame};
//!
//! type Error = Box<dyn std::error::Error>;
//!
//! fn execute(h: &mut Hash, argv: &[Bytes], now_ms: u64, stream: &ReplicationBuffer) -> Result<(), Error> {
//!     let (moment, mut effects) = (Moment::primary(now_ms), Effects::new());
//!     let rewritten = match &argv[0][..] {
//!         b"HSETEX" => {
//!             let call = HSetEx::parse(argv)?;
//!             if call.allows(!h.is_empty()) {
//!                 let deadline = call.deadline(now_ms)?;
//!                 let done = commands::set_ex(h, call.pairs, call.condition, deadline, moment);
//!                 hash::hsetex(argv, done.outcome()) // the reply: 0 if it is `NotMet`, else 1
//!             } else {
//!                 hash::hsetex(argv, HSetExOutcome::NotMet)
//!             }
//!         }
//!         b"HEXPIRE" => {
//!             let call = HExpire::parse(argv, TimeForm::Seconds, now_ms)?;
//!             let done = commands::expire(h, call.fields, call.deadline_ms, &call.conditions, moment);
//!             hash::hexpire(argv, done.met.touched(), done.effect) // the reply: `done.replies`
//!         }
//!         _ => {
//!             let done = commands::persist(h, arguments::fields(argv)?, moment);
//!             hash::hpersist(argv, done.met.touched())
//!         }
//!     };
//!     effects.push_rewritten(0, argv, rewritten);
//!     stream.append_with(|staged| frame::write(&effects, staged))?;
//!     Ok(())
//! }
//!
//! let stream = ReplicationBuffer::builder().build()?;
//! let mut cursor = stream.attach_at_end()?;
//! let mut h = Hash::new();
//! let mut run = |now_ms, command: &str| {
//!     let argv: Vec<Bytes> = command.split(' ').map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect();
//!     execute(&mut h, &argv, now_ms, &stream)
//! };
//! run(1_000, "HSETEX h PX 500 FIELDS 2 a 1 b 2")?;
//! run(1_400, "HPERSIST h FIELDS 1 a")?;
//! run(2_000, "HEXPIRE h 10 FIELDS 2 a b")?; // `b` is dead by now, and no replica judges that
//! run(2_000, "HEXPIRE h 0 FIELDS 2 a b")?;
//! assert_eq!(h.len(), 1); // `b` stays until it is reclaimed
//!
//! cursor.refresh()?;
//! let mut sent = BytesMut::from(&cursor.copy_to_bytes(cursor.remaining())[..]);
//! let (mut parser, mut seen) = (CommandParser::new(Limits::default()), vec![]);
//! while let Some(argv) = parser.next(&mut sent)? {
//!     seen.push(argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect::<Vec<_>>().join(" "));
//! }
//! assert_eq!(seen, [
//!     "SELECT 0",
//!     "HSETEX h PXAT 1500 FIELDS 2 a 1 b 2",
//!     "HPERSIST h FIELDS 1 a",
//!     "HPEXPIREAT h 12000 FIELDS 1 a",
//!     "HDEL h a",
//! ]);
//! # Ok::<(), Error>(())
//! ```

use bytes::Bytes;
use smallvec::SmallVec;

use super::arguments::{Conditions, DeadlineChange, FieldCondition, Named, NewDeadline, TimeForm};
use super::{ExpiryPolicy, Field, HASH_MAX_FIELDS, Hash, HashFull, Moment};
use crate::rewrite::hash::{DeadlineBefore, FieldEffect, HSetExOutcome, HSetNxOutcome, Leftovers, Touched};

/// Positions in a command's argv, ascending.
pub type Positions = SmallVec<[usize; 4]>;

/// What a command that deletes fields or changes their deadlines met, as positions in its argv.
///
/// A deletion that is not propagated stays alive on every replica, so dropping what it met is a warning:
///
/// ```compile_fail
/// #![deny(unused_must_use)]
/// # use replcore::hash_ttl::{Hash, Moment, arguments::Named, commands};
/// fn hdel(hash: &mut Hash, fields: Named<'_>, moment: Moment) {
///     commands::delete(hash, fields, moment);
/// }
/// ```
///
/// ```
/// #![deny(unused_must_use)]
/// # use replcore::hash_ttl::{Hash, Moment, arguments::Named, commands};
/// fn hdel(hash: &mut Hash, fields: Named<'_>, moment: Moment) -> bool {
///     commands::delete(hash, fields, moment).has_changed()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was done to the hash has to be propagated"]
pub struct Met {
    /// The fields that it changed or deleted.
    pub changed: Positions,
    /// The fields that were dead; they still are.
    pub dead: Positions,
}

impl Met {
    /// In the form that [`rewrite::hash`](crate::rewrite::hash) takes.
    pub fn touched(&self) -> Touched<'_> {
        Touched { changed: &self.changed, dead: &self.dead, leftovers: Leftovers::Kept }
    }

    /// Whether it changed anything.
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }
}

/// What a command did that answers something for each field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what was done to the hash has to be propagated"]
pub struct Answered<T> {
    /// What is answered, as many as fields are named.
    pub replies: Vec<T>,
    /// What it met.
    pub met: Met,
    /// What it did to those that it changed.
    pub effect: FieldEffect,
}

/// What a command answers about one field, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum FieldCode {
    /// There is no such field.
    NoField = -2,
    /// The field has no deadline.
    NoDeadline = -1,
    /// A condition was not met.
    NotMet = 0,
    /// Done.
    Done = 1,
    /// The deadline had passed already: the field was deleted.
    Deleted = 2,
}

impl FieldCode {
    /// The number in the reply.
    pub fn as_i64(self) -> i64 {
        self as i64
    }
}

/// What became of the fields that were stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was done to the hash has to be propagated"]
pub struct Stored {
    /// How many are new, those that were dead among them.
    pub created: usize,
    /// The positions of those that were dead, each once.
    pub dead: Positions,
    /// The deadline that each pair's field now has; only if they were to be kept.
    kept_ms: SmallVec<[Option<u64>; 4]>,
}

/// Whether a hash takes the named fields, those among them that it does not have as new ones: to be asked
/// before anything is stored, by whoever may have a hash of [`HASH_MAX_FIELDS`] fields. What is below stores
/// no more than fits, and does not tell.
pub fn room(hash: Option<&Hash>, named: Named<'_>) -> Result<(), HashFull> {
    room_within(hash, named, HASH_MAX_FIELDS)
}

fn room_within(hash: Option<&Hash>, named: Named<'_>, max_fields: usize) -> Result<(), HashFull> {
    let has_field = |name: &Bytes| hash.is_some_and(|hash| hash.stored(name).is_some());
    let left = max_fields.saturating_sub(hash.map_or(0, Hash::len));
    // No name is looked up for it but beside the limit.
    let fits = named.len() <= left || named.iter().filter(|(_, name)| !has_field(name)).count() <= left;
    if fits { Ok(()) } else { Err(HashFull) }
}

/// `HSET`, `HMSET`: stores every pair.
pub fn set(hash: &mut Hash, pairs: Named<'_>, deadline: NewDeadline, moment: Moment) -> Stored {
    let mut stored = Stored::default();
    for (at, name) in pairs.iter() {
        let deadline_ms = match deadline {
            NewDeadline::None => None,
            NewDeadline::Set(deadline_ms) => Some(deadline_ms),
            NewDeadline::Keep => hash.get(name, moment).and_then(|field| field.deadline_ms),
        };
        if deadline == NewDeadline::Keep {
            stored.kept_ms.push(deadline_ms);
        }
        let old = hash.insert(name, pairs.value(at), deadline_ms);
        let was_dead = old.is_some_and(|old_ms| moment.hides(old_ms));
        stored.created += usize::from(was_dead || old.is_none());
        stored.dead.extend(was_dead.then_some(at));
    }
    stored
}

/// What an `HSETNX` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what was done to the hash has to be propagated"]
pub struct SetAbsent {
    /// In the form that [`rewrite::hash`](crate::rewrite::hash) takes.
    pub outcome: HSetNxOutcome,
    /// Whether the field was dead.
    pub overwrote_dead: bool,
}

/// `HSETNX`: stores one field, unless it is there.
pub fn set_absent(hash: &mut Hash, name: &[u8], value: &[u8], moment: Moment) -> SetAbsent {
    let volatile = hash.is_volatile();
    let old = hash.stored(name).map(|field| field.deadline_ms);
    if old.is_some_and(|old_ms| !moment.hides(old_ms)) {
        return SetAbsent { outcome: HSetNxOutcome::Unchanged, overwrote_dead: false };
    }
    hash.insert(name, value, None);
    SetAbsent { outcome: HSetNxOutcome::Set { volatile }, overwrote_dead: old.is_some() }
}

/// What an increment starts from.
#[derive(Clone, Copy, Debug)]
pub struct Base<'h> {
    /// The field, if it is there; if not, the increment starts from zero.
    pub field: Option<Field<'h>>,
    /// The deadlines before, in the form that [`rewrite::hash`](crate::rewrite::hash) takes.
    pub before: DeadlineBefore,
    /// Whether the field is dead.
    pub is_dead: bool,
}

/// `HINCRBY`, `HINCRBYFLOAT`, first half: what there is. [`store_sum`] is the second.
pub fn base<'h>(hash: Option<&'h Hash>, name: &[u8], moment: Moment) -> Base<'h> {
    let stored = hash.and_then(|hash| hash.stored(name));
    let is_dead = stored.is_some_and(|field| moment.hides(field.deadline_ms));
    let field = stored.filter(|_| !is_dead);
    let before = match field.and_then(|field| field.deadline_ms) {
        Some(deadline_ms) => DeadlineBefore::Live(deadline_ms),
        None if hash.is_some_and(Hash::is_volatile) => DeadlineBefore::Volatile,
        None => DeadlineBefore::NotVolatile,
    };
    Base { field, before, is_dead }
}

/// `HINCRBY`, `HINCRBYFLOAT`, second half: stores the sum. The deadline of a field that was there stays.
pub fn store_sum(hash: &mut Hash, name: &[u8], sum: &[u8], before: DeadlineBefore) {
    let deadline_ms = match before {
        DeadlineBefore::Live(deadline_ms) => Some(deadline_ms),
        DeadlineBefore::NotVolatile | DeadlineBefore::Volatile => None,
    };
    hash.insert(name, sum, deadline_ms);
}

/// What a look at a named field finds.
enum Found<T> {
    Absent,
    Dead,
    Alive(T),
}

fn find<'h>(hash: &'h Hash, name: &[u8], moment: Moment) -> Found<Field<'h>> {
    match hash.stored(name) {
        None => Found::Absent,
        Some(field) if moment.hides(field.deadline_ms) => Found::Dead,
        Some(field) => Found::Alive(field),
    }
}

/// Goes through the named fields: `act` gets each that is there with its deadline, says whether it changed or
/// deleted it, and what is answered; `absent` is what is answered for the others.
fn visit<T: Clone>(
    hash: &mut Hash,
    fields: Named<'_>,
    moment: Moment,
    absent: &T,
    mut act: impl FnMut(&mut Hash, &[u8], Option<u64>) -> (T, bool),
) -> (Vec<T>, Met) {
    let (mut replies, mut met) = (Vec::with_capacity(fields.len()), Met::default());
    for (at, name) in fields.iter() {
        let reply = match find(hash, name, moment) {
            Found::Absent => absent.clone(),
            Found::Dead => {
                met.dead.push(at);
                absent.clone()
            }
            Found::Alive(Field { deadline_ms, .. }) => {
                let (reply, has_changed) = act(hash, name, deadline_ms);
                met.changed.extend(has_changed.then_some(at));
                reply
            }
        };
        replies.push(reply);
    }
    (replies, met)
}

/// `HDEL`: removes the fields that are there. It answers how many those were.
pub fn delete(hash: &mut Hash, fields: Named<'_>, moment: Moment) -> Met {
    let remove = |hash: &mut Hash, name: &[u8], _| ((), hash.remove(name).is_some());
    visit(hash, fields, moment, &(), remove).1
}

/// `HGETDEL`: removes the fields that are there and answers their values.
pub fn take(hash: &mut Hash, fields: Named<'_>, moment: Moment) -> Answered<Option<Bytes>> {
    let (replies, met) = visit(hash, fields, moment, &None, |hash, name, _| {
        let value = value_of(hash, name);
        hash.remove(name);
        (value, true)
    });
    Answered { replies, met, effect: FieldEffect::Deleted }
}

fn value_of(hash: &Hash, name: &[u8]) -> Option<Bytes> {
    hash.stored(name).map(|field| field.value.to_bytes())
}

/// Gives a field a deadline, or removes it if the deadline has passed.
fn put_deadline(hash: &mut Hash, name: &[u8], deadline_ms: u64, effect: FieldEffect) {
    if effect == FieldEffect::Deleted {
        hash.remove(name);
    } else {
        hash.set_deadline(name, Some(deadline_ms));
    }
}

/// What setting this deadline does.
fn effect_of(deadline_ms: u64, moment: Moment) -> FieldEffect {
    if moment.is_past(deadline_ms) { FieldEffect::Deleted } else { FieldEffect::Deadline(deadline_ms) }
}

/// `HEXPIRE` and its relatives: gives a deadline to the fields that are there and meet the conditions, or
/// deletes those if it has passed.
pub fn expire(
    hash: &mut Hash,
    fields: Named<'_>,
    deadline_ms: u64,
    conditions: &Conditions,
    moment: Moment,
) -> Answered<FieldCode> {
    let effect = effect_of(deadline_ms, moment);
    let done = if effect == FieldEffect::Deleted { FieldCode::Deleted } else { FieldCode::Done };
    let (replies, met) = visit(hash, fields, moment, &FieldCode::NoField, |hash, name, old_ms| {
        if !conditions.met(old_ms, deadline_ms) {
            return (FieldCode::NotMet, false);
        }
        put_deadline(hash, name, deadline_ms, effect);
        (done, true)
    });
    Answered { replies, met, effect }
}

/// `HPERSIST`: takes the deadlines away.
pub fn persist(hash: &mut Hash, fields: Named<'_>, moment: Moment) -> Answered<FieldCode> {
    let (replies, met) = visit(hash, fields, moment, &FieldCode::NoField, |hash, name, old_ms| {
        if old_ms.is_none() {
            return (FieldCode::NoDeadline, false);
        }
        hash.set_deadline(name, None);
        (FieldCode::Done, true)
    });
    Answered { replies, met, effect: FieldEffect::Persisted }
}

/// `HGETEX`: answers the values of the fields that are there, and changes their deadlines.
pub fn get_ex(
    hash: &mut Hash,
    fields: Named<'_>,
    change: DeadlineChange,
    moment: Moment,
) -> Answered<Option<Bytes>> {
    let effect = match change {
        DeadlineChange::None | DeadlineChange::Persist => FieldEffect::Persisted,
        DeadlineChange::Set(deadline_ms) => effect_of(deadline_ms, moment),
    };
    let (replies, met) = visit(hash, fields, moment, &None, |hash, name, old_ms| {
        let value = value_of(hash, name);
        let has_changed = match change {
            DeadlineChange::None => false,
            DeadlineChange::Persist => old_ms.is_some() && hash.set_deadline(name, None).is_some(),
            DeadlineChange::Set(deadline_ms) => {
                put_deadline(hash, name, deadline_ms, effect);
                true
            }
        };
        (value, has_changed)
    });
    Answered { replies, met, effect }
}

/// What an `HSETEX` did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "what was done to the hash has to be propagated"]
pub enum SetEx {
    /// The condition was not met.
    NotMet,
    /// Stored, with this deadline.
    Stored(Stored, NewDeadline),
    /// The deadline had passed: the fields are gone. The positions of those that were stored, dead ones
    /// included, each once.
    Past(Positions),
}

impl SetEx {
    /// In the form that [`rewrite::hash`](crate::rewrite::hash) takes.
    pub fn outcome(&self) -> HSetExOutcome<'_> {
        match self {
            SetEx::NotMet => HSetExOutcome::NotMet,
            SetEx::Stored(_, NewDeadline::None) => HSetExOutcome::Stored { deadline_ms: None },
            SetEx::Stored(_, NewDeadline::Set(ms)) => HSetExOutcome::Stored { deadline_ms: Some(*ms) },
            SetEx::Stored(stored, NewDeadline::Keep) => {
                HSetExOutcome::Kept { deadlines_ms: &stored.kept_ms, dead: &stored.dead }
            }
            SetEx::Past(stored) => HSetExOutcome::Past { stored },
        }
    }

    /// Whether it changed anything.
    pub fn has_changed(&self) -> bool {
        match self {
            SetEx::NotMet => false,
            SetEx::Stored(..) => true,
            SetEx::Past(stored) => !stored.is_empty(),
        }
    }
}

/// `HSETEX`: stores every pair if the condition is met, or deletes their fields if the deadline has passed. A
/// dead field counts as absent, and goes.
pub fn set_ex(
    hash: &mut Hash,
    pairs: Named<'_>,
    condition: FieldCondition,
    deadline: NewDeadline,
    moment: Moment,
) -> SetEx {
    let is_alive = |(_, name): (usize, &Bytes)| hash.get(name, moment).is_some();
    let is_met = match condition {
        FieldCondition::Any => true,
        FieldCondition::Absent => !pairs.iter().any(is_alive),
        FieldCondition::Present => pairs.iter().all(is_alive),
    };
    if !is_met {
        return SetEx::NotMet;
    }
    match deadline {
        NewDeadline::Set(deadline_ms) if moment.is_past(deadline_ms) => {
            let removed = pairs.iter().filter(|(_, name)| hash.remove(name).is_some());
            SetEx::Past(removed.map(|(at, _)| at).collect())
        }
        _ => SetEx::Stored(set(hash, pairs, deadline, moment), deadline),
    }
}

/// `HTTL` and its relatives: what they answer for one field, a time in this form or a [`FieldCode`].
pub fn time_left(hash: Option<&Hash>, name: &[u8], form: TimeForm, moment: Moment) -> i64 {
    match hash.and_then(|hash| hash.get(name, moment)).map(|field| field.deadline_ms) {
        None => FieldCode::NoField.as_i64(),
        Some(None) => FieldCode::NoDeadline.as_i64(),
        Some(Some(deadline_ms)) => form.report(deadline_ms, moment.now_ms),
    }
}

/// Whether some field may be dead; O(1). If not, what is stored is what is there.
pub fn may_have_dead(hash: &Hash, moment: Moment) -> bool {
    moment.hides(hash.earliest_ms())
}

/// `COPY`: makes a copy of what is there out of a copy of what is stored. The names of the fields that were
/// dead come back: who applies the stream copies them too, and has to be told.
pub fn leave_out_dead(copy: &mut Hash, moment: Moment) -> Vec<Bytes> {
    let mut dead = Vec::new();
    if moment.policy != ExpiryPolicy::Ignore {
        copy.reclaim(moment.now_ms, &mut { usize::MAX }, &mut dead);
    }
    dead
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_hash_has_room_for_the_fields_that_it_has() {
        let argv: Vec<Bytes> = ["a", "1", "b", "2", "c", "3"].map(Bytes::from).to_vec();
        let first = |pairs: usize| Named::pairs(&argv[..2 * pairs], 0);
        let mut hash = Hash::new();
        let _ = set(&mut hash, first(2), NewDeadline::None, Moment::STORED);
        assert_eq!(room_within(Some(&hash), first(3), 3), Ok(()));
        assert_eq!(room_within(Some(&hash), first(2), 2), Ok(()));
        assert_eq!(room_within(Some(&hash), first(3), 2), Err(HashFull));
        assert_eq!(room_within(None, first(3), 3), Ok(()));
        assert_eq!(room_within(None, first(3), 2), Err(HashFull));
        assert_eq!(room(Some(&hash), first(3)), Ok(()));
    }
}
