//! Acknowledgements: how far each replica has come.

use super::error::{guard, replcore_error, replcore_status};
use super::handle::{borrow, free, give, place, put};
use crate::resync::SharedAcks;

/// The acknowledgements of all replicas of one primary. Used by any number of threads at a time.
///
/// A replica is known by a number of the caller's (`key`). Times are milliseconds of any monotonic clock of the caller's.
pub struct replcore_acks(SharedAcks);

/// What an acknowledgement does not say.
pub const REPLCORE_UNKNOWN_OFFSET: i64 = -1;

/// Makes an empty table. `acks`: receives the handle, to be freed by `replcore_acks_free`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_new(
    acks: *mut *mut replcore_acks,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(acks, "acks")?;
        // SAFETY: rule 1.
        unsafe { put(place, give(replcore_acks(SharedAcks::default()))) };
        Ok(())
    })
}

/// Frees a table. No other thread may be using it. `acks`: may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_free(acks: *mut replcore_acks) -> replcore_status {
    guard(std::ptr::null_mut(), || {
        // SAFETY: rule 3.
        unsafe { free(acks) };
        Ok(())
    })
}

/// Adds a replica that is not online yet, which has acknowledged nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_insert(
    acks: *mut replcore_acks,
    key: u64,
    now_ms: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        unsafe { borrow(acks, "acks") }?.0.insert(key, now_ms);
        Ok(())
    })
}

/// Forgets a replica, if it is there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_remove(
    acks: *mut replcore_acks,
    key: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        unsafe { borrow(acks, "acks") }?.0.remove(key);
        Ok(())
    })
}

/// The replica receives the stream from now on, and counts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_set_online(
    acks: *mut replcore_acks,
    key: u64,
    now_ms: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 3.
        unsafe { borrow(acks, "acks") }?.0.set_online(key, now_ms);
        Ok(())
    })
}

/// Records what a replica reported, as `replcore_replconf` read it: its offset never falls, and is never beyond the stream's end.
///
/// `applied`, `fsynced`: offsets, or `REPLCORE_UNKNOWN_OFFSET`. `end_offset`: the end of the stream. `rose`: receives whether the
/// acknowledged offset rose, the moment at which a client in WAIT may go on; may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_acknowledge(
    acks: *mut replcore_acks,
    key: u64,
    applied: i64,
    fsynced: i64,
    end_offset: u64,
    now_ms: u64,
    rose: *mut bool,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let (applied, fsynced) = (u64::try_from(applied).unwrap_or(0), u64::try_from(fsynced).ok());
        // SAFETY: rule 3.
        let higher =
            unsafe { borrow(acks, "acks") }?.0.acknowledge(key, applied, fsynced, end_offset, now_ms);
        // SAFETY: rule 1.
        unsafe { put(rose, higher) };
        Ok(())
    })
}

/// What is known of one replica.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct replcore_ack {
    /// Whether it is in the table; all else is 0 if it is not.
    pub known: bool,
    /// Whether it receives the stream.
    pub online: bool,
    /// Stream bytes that it has applied.
    pub acked_offset: u64,
    /// Stream bytes that its append-only file has made durable, as far as it said.
    pub fsynced_offset: u64,
    /// When it last reported, or was put online.
    pub last_ack_ms: u64,
}

/// Looks at one replica. `ack`: receives what is known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_get(
    acks: *const replcore_acks,
    key: u64,
    ack: *mut replcore_ack,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(ack, "ack")?;
        // SAFETY: rule 3.
        let entry = unsafe { borrow(acks, "acks") }?.0.look(|table| table.get(key).copied());
        let ack = entry.map_or_else(replcore_ack::default, |entry| replcore_ack {
            known: true,
            online: entry.online,
            acked_offset: entry.acked_offset,
            fsynced_offset: entry.fsynced_offset,
            last_ack_ms: entry.last_ack_ms,
        });
        // SAFETY: rule 1.
        unsafe { put(place, ack) };
        Ok(())
    })
}

/// Counts the online replicas that have applied at least `offset` bytes: what WAIT answers. `count`: receives the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_count(
    acks: *const replcore_acks,
    offset: u64,
    count: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(count, "count")?;
        // SAFETY: rule 3.
        let acked = unsafe { borrow(acks, "acks") }?.0.count_acked(offset);
        // SAFETY: rule 1.
        unsafe { put(place, acked) };
        Ok(())
    })
}

/// Counts the online replicas that reported within the last `max_lag_ms`: what min-replicas-to-write asks for. `count`: receives
/// the number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_acks_count_good(
    acks: *const replcore_acks,
    now_ms: u64,
    max_lag_ms: u64,
    count: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(count, "count")?;
        // SAFETY: rule 3.
        let good = unsafe { borrow(acks, "acks") }?.0.look(|table| table.count_good(now_ms, max_lag_ms));
        // SAFETY: rule 1.
        unsafe { put(place, good) };
        Ok(())
    })
}
