//! Replication IDs, histories, and the decision about a `PSYNC`: plain values and pure functions.

use std::ffi::{c_char, c_void};

use super::error::{Failure, Outcome, copy_text, guard, replcore_error, replcore_status};
use super::handle::{args, borrow, borrow_mut, bytes, place, put};
use super::{REPLCORE_UNKNOWN_OFFSET, iovec};
use crate::resync::{
    Capabilities, Decision, History, MAX_ADDRESS_BYTES, Previous, REPLICATION_ID_LEN, ReplconfOutcome,
    ReplicaFacts, ReplicationId, Retained, ServerVersion, SnapshotFormat, SnapshotScope, decide, parse_psync,
    parse_replconf,
};

/// Random bytes that an ID is made of.
pub const REPLCORE_ID_RANDOM_BYTES: usize = 20;
/// Room for an ID: 40 digits and the terminating zero.
pub const REPLCORE_ID_BYTES: usize = 41;
/// Room for a line that answers PSYNC, its terminating zero included.
pub const REPLCORE_LINE_BYTES: usize = 96;
/// Room for a reason, its terminating zero included.
pub const REPLCORE_REASON_BYTES: usize = 192;
/// Room for an announced address, its terminating zero included.
pub const REPLCORE_ADDRESS_BYTES: usize = 256;

const _: () = assert!(REPLCORE_ID_BYTES == REPLICATION_ID_LEN + 1);
const _: () = assert!(REPLCORE_ID_RANDOM_BYTES == REPLICATION_ID_LEN / 2);
const _: () = assert!(REPLCORE_ADDRESS_BYTES == MAX_ADDRESS_BYTES + 1);
/// "+FULLRESYNC ", an id, a blank, at most 20 digits, CRLF, zero.
const _: () = assert!(REPLCORE_LINE_BYTES > 12 + REPLICATION_ID_LEN + 1 + 20 + 2);

/// The name of one history of writes: 40 lower-case hexadecimal digits, zero-terminated. All zero: none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_id {
    /// The digits.
    pub text: [c_char; REPLCORE_ID_BYTES],
}

impl replcore_id {
    const NONE: Self = Self { text: [0; REPLCORE_ID_BYTES] };

    fn read(&self) -> Outcome<ReplicationId> {
        let mut digits = [0; REPLICATION_ID_LEN];
        digits.iter_mut().zip(self.text).for_each(|(digit, c)| *digit = c.cast_unsigned());
        Ok(ReplicationId::parse(&digits)?)
    }
}

impl From<ReplicationId> for replcore_id {
    fn from(id: ReplicationId) -> Self {
        let mut text = [0; REPLCORE_ID_BYTES];
        copy_text(id.as_str(), &mut text);
        Self { text }
    }
}

/// Makes an ID of random bits, which come from the caller: getrandom(2), say.
///
/// `random`: `REPLCORE_ID_RANDOM_BYTES` bytes. `id`: receives the ID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_id_from_random(
    random: *const u8,
    id: *mut replcore_id,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(id, "id")?;
        // SAFETY: rule 1.
        let random = unsafe { borrow(random.cast::<[u8; REPLCORE_ID_RANDOM_BYTES]>(), "random") }?;
        // SAFETY: rule 1.
        unsafe { put(place, ReplicationId::from_random(*random).into()) };
        Ok(())
    })
}

/// Reads an ID, in either case.
///
/// `text`: `len` bytes, which need no terminating zero. `id`: receives the ID. Fails with MALFORMED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_id_parse(
    text: *const c_void,
    len: usize,
    id: *mut replcore_id,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(id, "id")?;
        // SAFETY: rule 1.
        let parsed = ReplicationId::parse(unsafe { bytes(text, len, "text") }?)?;
        // SAFETY: rule 1.
        unsafe { put(place, parsed.into()) };
        Ok(())
    })
}

/// The history that a server's stream continues. A plain value: where threads share one, the caller replaces it in one step.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_history {
    /// The current ID (master_replid).
    pub replid: replcore_id,
    /// The one before it (master_replid2), or none.
    pub replid2: replcore_id,
    /// The greatest first byte wanted with which a replica of `replid2` may continue (second_repl_offset). 0 without one.
    pub second_offset: u64,
}

impl replcore_history {
    fn read(&self) -> Outcome<History> {
        let previous = if self.replid2.text[0] == 0 {
            None
        } else {
            Some(Previous { replid: self.replid2.read()?, second_offset: self.second_offset })
        };
        Ok(History { replid: self.replid.read()?, previous })
    }
}

impl From<History> for replcore_history {
    fn from(history: History) -> Self {
        let replid2 = history.previous.map_or(replcore_id::NONE, |previous| previous.replid.into());
        let second_offset = history.previous.map_or(0, |previous| previous.second_offset);
        Self { replid: history.replid.into(), replid2, second_offset }
    }
}

/// Begins a history without a past. `id`: its name. `history`: receives it. Fails with MALFORMED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_history_new(
    id: *const replcore_id,
    history: *mut replcore_history,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(history, "history")?;
        // SAFETY: rule 1.
        let replid = unsafe { borrow(id, "id") }?.read()?;
        // SAFETY: rule 1.
        unsafe { put(place, History::new(replid).into()) };
        Ok(())
    })
}

/// The history after a promotion: what was current becomes the previous one.
///
/// `history`: is replaced. `id`: the new name. `end_offset`: what `replcore_buffer_seal` of the old term gave. Fails with MALFORMED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_history_shift(
    history: *mut replcore_history,
    id: *const replcore_id,
    end_offset: u64,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        // SAFETY: rule 1.
        let (history, id) = unsafe { (borrow_mut(history, "history")?, borrow(id, "id")?) };
        *history = history.read()?.shifted(id.read()?, end_offset).into();
        Ok(())
    })
}

/// The answer to a PSYNC.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct replcore_psync_answer {
    /// Whether the stream continues. If not, a snapshot is sent first, behind the line of `replcore_full_resync_line`.
    pub partial: bool,
    /// Where to attach a cursor, if it continues.
    pub attach_offset: u64,
    /// Whether the replica tried to continue, in vain (sync_partial_err).
    pub failed_attempt: bool,
    /// Whether it asked with FAILOVER.
    pub failover: bool,
    /// The line to send if it continues, CRLF included, zero-terminated; else empty.
    pub line: [c_char; REPLCORE_LINE_BYTES],
    /// The bytes of `line`, without the zero.
    pub line_bytes: usize,
    /// Why it does not continue, in a line of English, zero-terminated; empty if it does.
    pub reason: [c_char; REPLCORE_REASON_BYTES],
}

/// Decides a PSYNC: a pure function.
///
/// The range may move on before the cursor is attached: NOT_RETAINED then means a full resync.
///
/// `history`: as it is now. `first`, `end`: from `replcore_buffer_range`, read before the history if that may change meanwhile.
/// `psync2`: whether the replica said so (`replcore_replica`). `argv`: `argc` arguments, without the command's name. `answer`: receives
/// the decision. Fails with HANDSHAKE, whose message is the error to answer with, and MALFORMED, for a history that is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_psync(
    history: *const replcore_history,
    first: u64,
    end: u64,
    psync2: bool,
    argv: *const iovec,
    argc: usize,
    answer: *mut replcore_psync_answer,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(answer, "answer")?;
        // SAFETY: rule 1.
        let (history, args) = unsafe { (borrow(history, "history")?, args(argv, argc)?) };
        let (history, request) = (history.read()?, parse_psync(&args)?);
        let decision = decide(&history, Retained { first, end }, &request);
        let answer = answer_of(&history, &decision, psync2, request.failover);
        // SAFETY: rule 1.
        unsafe { put(place, answer) };
        Ok(())
    })
}

fn answer_of(history: &History, decision: &Decision, psync2: bool, failover: bool) -> replcore_psync_answer {
    let mut answer = replcore_psync_answer {
        partial: false,
        attach_offset: 0,
        failed_attempt: false,
        failover,
        line: [0; REPLCORE_LINE_BYTES],
        line_bytes: 0,
        reason: [0; REPLCORE_REASON_BYTES],
    };
    match decision {
        Decision::Partial { attach_offset } => {
            let line =
                if psync2 { format!("+CONTINUE {}\r\n", history.replid) } else { "+CONTINUE\r\n".to_owned() };
            answer.partial = true;
            answer.attach_offset = *attach_offset;
            answer.line_bytes = copy_text(&line, &mut answer.line);
        }
        Decision::Full { reason } => {
            answer.failed_attempt = reason.is_failed_attempt();
            copy_text(&reason.to_string(), &mut answer.reason);
        }
    }
    answer
}

/// Writes the line that goes ahead of a snapshot: "+FULLRESYNC id offset" and CRLF, zero-terminated.
///
/// `offset`: the offset at which the snapshot was cut, where the replica's cursor is attached. `line`: room for
/// `REPLCORE_LINE_BYTES` bytes. `line_bytes`: receives its bytes, without the zero; may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_full_resync_line(
    history: *const replcore_history,
    offset: u64,
    line: *mut c_char,
    line_bytes: *mut usize,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(line, "line")?;
        // SAFETY: rule 1.
        let history = unsafe { borrow(history, "history") }?.read()?;
        let mut line = [0; REPLCORE_LINE_BYTES];
        let len = copy_text(&format!("+FULLRESYNC {} {offset}\r\n", history.replid), &mut line);
        // SAFETY: rule 1.
        unsafe {
            put(place.cast(), line);
            put(line_bytes, len);
        }
        Ok(())
    })
}

/// What a replica said about itself in REPLCONF. Begin with all zero. A plain value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_replica {
    /// `listening-port`: any integer.
    pub listening_port: i64,
    /// `ip-address`, zero-terminated; empty if it announced none.
    pub address: [c_char; REPLCORE_ADDRESS_BYTES],
    /// `capa eof`: it reads a snapshot framed by an end mark.
    pub eof: bool,
    /// `capa psync2`: it understands "+CONTINUE id".
    pub psync2: bool,
    /// `rdb-only 1`: it wants the snapshot and no stream.
    pub rdb_only: bool,
    /// `rdb-filter-only`: it wants no keys.
    pub without_keys: bool,
    /// `version`: whether it said one.
    pub has_version: bool,
    /// Its version: major, minor, patch.
    pub version: [u8; 3],
    /// The newest snapshot format it is known to read, set by `replcore_replconf`: 10 (REDIS0010), or 80 (VALKEY080), with which come
    /// deadlines of hash fields.
    pub snapshot_version: u32,
}

impl replcore_replica {
    fn read(&self) -> ReplicaFacts {
        let address: Vec<u8> =
            self.address.iter().take_while(|c| **c != 0).map(|c| c.cast_unsigned()).collect();
        let [major, minor, patch] = self.version;
        ReplicaFacts {
            listening_port: self.listening_port,
            announced_address: (!address.is_empty()).then(|| String::from_utf8_lossy(&address).into_owned()),
            capabilities: Capabilities { eof: self.eof, psync2: self.psync2 },
            version: self.has_version.then_some(ServerVersion { major, minor, patch }),
            rdb_only: self.rdb_only,
            scope: if self.without_keys { SnapshotScope::WithoutKeys } else { SnapshotScope::Everything },
        }
    }
}

impl From<ReplicaFacts> for replcore_replica {
    fn from(facts: ReplicaFacts) -> Self {
        let mut address = [0; REPLCORE_ADDRESS_BYTES];
        copy_text(facts.announced_address.as_deref().unwrap_or_default(), &mut address);
        Self {
            listening_port: facts.listening_port,
            address,
            eof: facts.capabilities.eof,
            psync2: facts.capabilities.psync2,
            rdb_only: facts.rdb_only,
            without_keys: facts.scope == SnapshotScope::WithoutKeys,
            has_version: facts.version.is_some(),
            version: facts.version.map_or([0; 3], |version| [version.major, version.minor, version.patch]),
            snapshot_version: match facts.snapshot_format() {
                SnapshotFormat::Redis10 => 10,
                SnapshotFormat::Valkey80 => 80,
            },
        }
    }
}

/// What a REPLCONF asks for.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum replcore_replconf_kind {
    /// Facts only: answer "+OK".
    Facts = 0,
    /// An acknowledgement: no answer, ever. `replcore_acks_acknowledge` takes it.
    Ack = 1,
    /// GETACK, which is meant for replicas: no answer.
    Getack = 2,
}

/// What a REPLCONF said.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct replcore_replconf_outcome {
    /// What it asks for.
    pub kind: replcore_replconf_kind,
    /// Of an acknowledgement: stream bytes applied; else, or if it was not a number, `REPLCORE_UNKNOWN_OFFSET`.
    pub applied: i64,
    /// Likewise: stream bytes made durable.
    pub fsynced: i64,
}

/// Reads a REPLCONF.
///
/// `replica`: what is known so far; options before a bad one have taken effect. `argv`: `argc` arguments, without the command's
/// name. `outcome`: receives what it asks for. Fails with HANDSHAKE, whose message is the error to answer with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn replcore_replconf(
    replica: *mut replcore_replica,
    argv: *const iovec,
    argc: usize,
    outcome: *mut replcore_replconf_outcome,
    error: *mut replcore_error,
) -> replcore_status {
    guard(error, || {
        let place = place(outcome, "outcome")?;
        // SAFETY: rule 1.
        let (replica, args) = unsafe { (borrow_mut(replica, "replica")?, args(argv, argc)?) };
        let mut facts = replica.read();
        let parsed = parse_replconf(&args, &mut facts);
        *replica = facts.into();
        let unknown = REPLCORE_UNKNOWN_OFFSET;
        let (kind, applied, fsynced) = match parsed.map_err(Failure::from)? {
            ReplconfOutcome::Ok => (replcore_replconf_kind::Facts, None, None),
            ReplconfOutcome::GetAck => (replcore_replconf_kind::Getack, None, None),
            ReplconfOutcome::Ack { applied, fsynced } => (replcore_replconf_kind::Ack, applied, fsynced),
        };
        let (applied, fsynced) = (applied.unwrap_or(unknown), fsynced.unwrap_or(unknown));
        // SAFETY: rule 1.
        unsafe { put(place, replcore_replconf_outcome { kind, applied, fsynced }) };
        Ok(())
    })
}
