//! Units: what a command, or a transaction, did, as the commands to propagate.
//!
//! In Rust each family of commands has an outcome of its own. What a few numbers can say is one flat [`replcore_outcome_detail`] here,
//! and [`replcore_unit_rewrite`] tells by the command's name which of it counts; all else is a [`Mismatch`].

use std::ffi::c_void;

use bytes::Bytes;

use super::error::{Failure, Outcome, guard, replcore_error, replcore_status};
use super::handle::{Exclusive, args, borrow, bytes, free_exclusive, give, place, put, slice};
use super::writer::replcore_writer;
use super::{iovec, replcore_range};
use crate::rewrite::generic::{self, ExpireOutcome};
use crate::rewrite::hash::{self, FieldEffect, Leftovers, Touched};
use crate::rewrite::string::{self, GetExOutcome, SetOutcome};
use crate::rewrite::{Argv, DeletionVerb, Effects, Mismatch, Propagation, Rewritten, frame};

/// The commands that one atomic unit propagates, in order: of a command, or of everything in an EXEC. Used by one thread at a time.
pub struct replcore_unit(Exclusive<Effects<'static>>);

/// What a command did.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum replcore_outcome {
    /// Nothing: there was no key, or a condition was not met.
    Unchanged = 0,
    /// What it says, without a time: stored, deleted, added.
    Done = 1,
    /// What it says, with a deadline: `deadline_ms`.
    Deadline = 2,
    /// The time that it names had passed already: the key, or the fields, were deleted.
    Deleted = 3,
    /// Of SET: the time that it names had passed already, and there was no key to delete.
    PastAbsent = 4,
    /// A deadline was removed.
    Persisted = 5,
}

/// What a command did, with numbers. Begin with all zero; the command says which of it counts.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_outcome_detail {
    /// A `replcore_outcome`.
    pub kind: i32,
    /// The absolute deadline that was set, in milliseconds since the Unix epoch.
    pub deadline_ms: u64,
    /// DEL, UNLINK: how many keys were deleted, those apart that had expired.
    pub deleted: usize,
    /// INCRBYFLOAT: the value that the key has now, as it is stored.
    pub value: iovec,
    /// Fields of a hash: the places in argv, ascending, of those that were really changed or deleted.
    pub changed: *const usize,
    /// How many those are.
    pub changed_count: usize,
    /// The places in argv, ascending, of those whose deadline had passed before.
    pub dead: *const usize,
    /// How many those are.
    pub dead_count: usize,
    /// Whether the command removed the dead ones; else they stay stored until they are reclaimed.
    pub dead_reclaimed: bool,
    /// Keys are deleted by DEL, as Redis does, and not by UNLINK, as Valkey does.
    pub delete_by_del: bool,
}

/// Makes an empty unit. `unit`: receives the handle, to be freed by `replcore_unit_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_new(
    unit: *mut *mut replcore_unit,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(unit, "unit")?;
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_unit(Exclusive::new(Effects::new())))) };
        Ok(())
    })
}

/// Frees a unit. `unit`: may be null. Fails with BUSY, and frees nothing then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_free(unit: *mut replcore_unit) -> replcore_status {
    // SAFETY: rule 3.
    guard(std::ptr::null_mut(), || unsafe { free_exclusive(unit, |unit| &unit.0) })
}

/// Forgets what is in a unit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_clear(
    unit: *mut replcore_unit,
    error: *mut replcore_error,
) -> replcore_status {
    let clear = |effects: &mut Effects<'static>| {
        *effects = Effects::new();
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_unit(unit, error, clear) }
}

/// Enters a unit for one call.
///
/// # Safety
/// Rule 3.
unsafe fn with_unit(
    unit: *mut replcore_unit,
    error: *mut replcore_error,
    act: impl FnOnce(&mut Effects<'static>) -> Outcome,
) -> replcore_status {
    guard(error, || {
        // SAFETY: the caller's contract.
        let mut entered = unsafe { borrow(unit, "unit") }?.0.enter()?;
        act(&mut entered)
    })
}

/// The arguments of a command, copied.
///
/// # Safety
/// Rule 1.
unsafe fn command(argv: *const iovec, argc: usize) -> Outcome<Argv> {
    // SAFETY: the caller's contract.
    let args = unsafe { args(argv, argc) }?;
    if args.is_empty() {
        return Err(Failure::out_of_bounds("argc", 0, 1, u64::MAX));
    }
    Ok(args.into_iter().map(Bytes::copy_from_slice).collect())
}

/// Adds a command that is finished: as it is to be applied, whatever the time and the replica's state.
///
/// `db`: the database it applies to. `argv`: `argc` arguments, at least the name, which are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_push(
    unit: *mut replcore_unit,
    db: u16,
    argv: *const iovec,
    argc: usize,
    error: *mut replcore_error,
) -> replcore_status {
    let push = |effects: &mut Effects<'static>| {
        // SAFETY: rule 1.
        effects.push_command(db, unsafe { command(argv, argc) }?);
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_unit(unit, error, push) }
}

/// Adds the deletion of a key that had expired and that a command met: before what that command did.
///
/// `key`: `len` bytes, null if that is 0. `by_del`: by DEL, as Redis does, and not by UNLINK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_delete(
    unit: *mut replcore_unit,
    db: u16,
    key: *const c_void,
    len: usize,
    by_del: bool,
    error: *mut replcore_error,
) -> replcore_status {
    let delete = |effects: &mut Effects<'static>| {
        // SAFETY: rule 1.
        let key = Bytes::copy_from_slice(unsafe { bytes(key, len, "key") }?);
        effects.push_command(db, verb(by_del).command(&key));
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_unit(unit, error, delete) }
}

fn verb(by_del: bool) -> DeletionVerb {
    if by_del { DeletionVerb::Del } else { DeletionVerb::Unlink }
}

/// Adds what a command did, rewritten so that it means the same at any time and on any clock. Of these commands, and with what
/// counts of the outcome:
///
/// - SET: UNCHANGED, DONE, DEADLINE, DELETED, PAST_ABSENT;
/// - SETEX, PSETEX: DEADLINE;
/// - GETSET, INCR, DECR, INCRBY, DECRBY, MSET, APPEND, HSET, HMSET: DONE;
/// - INCRBYFLOAT: DONE and `value`;
/// - GETEX: UNCHANGED, DEADLINE, DELETED, PERSISTED;
/// - GETDEL, SETNX, MSETNX: UNCHANGED, DONE;
/// - EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: UNCHANGED, DEADLINE, DELETED;
/// - PERSIST: UNCHANGED, PERSISTED;
/// - DEL, UNLINK: DONE and `deleted`;
/// - HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT: DEADLINE, DELETED, and fields;
/// - HGETEX: DEADLINE, DELETED, PERSISTED, and fields;
/// - HPERSIST, HDEL, HGETDEL: DONE, and fields.
///
/// `argv`: `argc` arguments as the client sent them, which are copied. `outcome`: what happened.
/// Fails with MISMATCH if that cannot have happened; nothing is added then, and if it happened all the same, the server has to begin
/// a new history, for the stream does not tell of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_rewrite(
    unit: *mut replcore_unit,
    db: u16,
    argv: *const iovec,
    argc: usize,
    outcome: *const replcore_outcome_detail,
    error: *mut replcore_error,
) -> replcore_status {
    let rewrite = |effects: &mut Effects<'static>| {
        // SAFETY: rule 1, for the outcome and what it points to.
        let (argv, outcome) = unsafe { (command(argv, argc)?, Happened::read(outcome)?) };
        match outcome.rewrite(&argv)? {
            Propagation::Nothing => {}
            Propagation::Verbatim => effects.push_command(db, argv),
            Propagation::Command(argv) => effects.push_command(db, argv),
            Propagation::Commands(commands) => {
                commands.into_iter().for_each(|argv| effects.push_command(db, argv));
            }
        }
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_unit(unit, error, rewrite) }
}

/// An outcome whose pointers were looked at.
struct Happened<'a> {
    kind: replcore_outcome,
    deadline_ms: u64,
    deleted: usize,
    value: &'a [u8],
    fields: Touched<'a>,
    verb: DeletionVerb,
}

impl<'a> Happened<'a> {
    /// # Safety
    /// Rule 1, for the outcome and what it points to.
    unsafe fn read(outcome: *const replcore_outcome_detail) -> Outcome<Self> {
        // SAFETY: the caller's contract.
        unsafe {
            let outcome = borrow::<replcore_outcome_detail>(outcome, "outcome")?;
            Ok(Self {
                kind: kind_of(outcome.kind)?,
                deadline_ms: outcome.deadline_ms,
                deleted: outcome.deleted,
                value: bytes(outcome.value.iov_base, outcome.value.iov_len, "value")?,
                fields: Touched {
                    changed: slice(outcome.changed, outcome.changed_count, "changed")?,
                    dead: slice(outcome.dead, outcome.dead_count, "dead")?,
                    leftovers: if outcome.dead_reclaimed { Leftovers::Reclaimed } else { Leftovers::Kept },
                },
                verb: verb(outcome.delete_by_del),
            })
        }
    }

    fn rewrite(&self, argv: &[Bytes]) -> Rewritten {
        let name = argv.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        if name.first() == Some(&b'h') {
            self.rewrite_hash(&name, argv)
        } else {
            self.rewrite_key(&name, argv)
        }
    }

    fn rewrite_key(&self, name: &[u8], argv: &[Bytes]) -> Rewritten {
        use replcore_outcome::{Deadline, Deleted, Done, PastAbsent, Persisted, Unchanged};
        let ms = self.deadline_ms;
        let set = |outcome| string::set(argv, outcome, self.verb);
        let getex = |outcome| string::getex(argv, outcome, self.verb);
        let expire = |outcome| generic::expire(argv, outcome, self.verb);
        match (name, self.kind) {
            (b"set", Unchanged) => set(SetOutcome::NotMet),
            (b"set", Done) => set(SetOutcome::Stored { deadline_ms: None }),
            (b"set", Deadline) => set(SetOutcome::Stored { deadline_ms: Some(ms) }),
            (b"set", Deleted) => set(SetOutcome::Past { existed: true }),
            (b"set", PastAbsent) => set(SetOutcome::Past { existed: false }),
            (b"setex" | b"psetex", Deadline) => string::setex(argv, ms),
            (b"getset", Done) => string::getset(argv),
            (b"incrbyfloat", Done) => string::incrbyfloat(argv, &Bytes::copy_from_slice(self.value)),
            (b"getex", Unchanged) => getex(GetExOutcome::Unchanged),
            (b"getex", Deadline) => getex(GetExOutcome::Deadline(ms)),
            (b"getex", Deleted) => getex(GetExOutcome::Deleted),
            (b"getex", Persisted) => getex(GetExOutcome::Persisted),
            (b"getdel", Unchanged | Done) => string::getdel(argv, self.kind == Done),
            (b"setnx" | b"msetnx", Unchanged | Done) => string::setnx(argv, self.kind == Done),
            (b"incr" | b"decr" | b"incrby" | b"decrby", Done) => string::incr(argv),
            (b"mset", Done) => string::mset(argv),
            (b"append", Done) => string::append(argv),
            (b"expire" | b"pexpire" | b"expireat" | b"pexpireat", Unchanged) => {
                expire(ExpireOutcome::Unchanged)
            }
            (b"expire" | b"pexpire" | b"expireat" | b"pexpireat", Deadline) => {
                expire(ExpireOutcome::Deadline(ms))
            }
            (b"expire" | b"pexpire" | b"expireat" | b"pexpireat", Deleted) => expire(ExpireOutcome::Deleted),
            (b"persist", Unchanged | Persisted) => generic::persist(argv, self.kind == Persisted),
            (b"del" | b"unlink", Done) => generic::del(argv, self.deleted),
            _ => Err(unknown(name)),
        }
    }

    fn rewrite_hash(&self, name: &[u8], argv: &[Bytes]) -> Rewritten {
        use replcore_outcome::{Deadline, Deleted, Done, Persisted};
        let effect = match self.kind {
            Deleted => FieldEffect::Deleted,
            Persisted => FieldEffect::Persisted,
            _ => FieldEffect::Deadline(self.deadline_ms),
        };
        match (name, self.kind) {
            (b"hset" | b"hmset", Done) => hash::hset(argv),
            (b"hexpire" | b"hpexpire" | b"hexpireat" | b"hpexpireat", Deadline | Deleted) => {
                hash::hexpire(argv, self.fields, effect)
            }
            (b"hgetex", Deadline | Deleted | Persisted) => hash::hgetex(argv, self.fields, effect),
            (b"hpersist", Done) => hash::hpersist(argv, self.fields),
            (b"hdel", Done) => hash::hdel(argv, self.fields),
            (b"hgetdel", Done) => hash::hgetdel(argv, self.fields),
            _ => Err(unknown(name)),
        }
    }
}

fn kind_of(kind: i32) -> Outcome<replcore_outcome> {
    use replcore_outcome::{Deadline, Deleted, Done, PastAbsent, Persisted, Unchanged};
    let known = [Unchanged, Done, Deadline, Deleted, PastAbsent, Persisted];
    known.into_iter().find(|known| *known as i32 == kind).ok_or_else(|| {
        let given = u64::try_from(kind).unwrap_or(u64::MAX);
        Failure::out_of_bounds("the kind of an outcome", given, 0, known.len() as u64 - 1)
    })
}

fn unknown(name: &[u8]) -> Mismatch {
    const SHOWN_BYTES: usize = 64;
    let given = String::from_utf8_lossy(&name[..name.len().min(SHOWN_BYTES)]).into_owned();
    Mismatch::Command { given, expected: "see replcore_unit_rewrite" }
}

/// Publishes a unit as one frame, with MULTI and EXEC around it if it has several commands, and with SELECT where the frame before
/// has another database. The unit is empty after that, and can be used again. An empty one is not published.
///
/// `writer`: stages no frame. `range`: receives the frame's offsets, may be null.
/// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED, FRAME_STATE; nothing is published then, and the unit is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_unit_publish(
    unit: *mut replcore_unit,
    writer: *mut replcore_writer,
    range: *mut replcore_range,
    error: *mut replcore_error,
) -> replcore_status {
    let publish = |effects: &mut Effects<'static>| {
        // SAFETY: rule 3.
        let mut entered = unsafe { borrow(writer, "writer") }?.enter()?;
        let mut staged = entered.writer()?.frame();
        frame::write(effects, &mut staged);
        let published = staged.publish()?;
        *effects = Effects::new();
        // SAFETY: rule 1.
        unsafe { put(range, published.into()) };
        Ok(())
    };
    // SAFETY: rule 3.
    unsafe { with_unit(unit, error, publish) }
}
