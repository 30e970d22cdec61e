//! What a replica says about itself: the arguments of `PSYNC` and `REPLCONF`.
//!
//! The errors are worded as Valkey 9.1.2 words them; [`HandshakeError`] displays the line after
//! the dash (`ERR …`). Valkey applies the options of one `REPLCONF` in order and stops at the first
//! bad one, so the options before it have taken effect: so it is here.
//!
//! # Which snapshot a replica can read
//!
//! Redis 7.0 accepts at most version 10 and never announces itself; Valkey 8 announces `8.x` and
//! accepts at most 11; Valkey 9 accepts its own 80. So version 10 goes to everyone who did not
//! announce at least 9.0.0 ([`ReplicaFacts::snapshot_format`]).
//!
//! Version 10 has no field deadlines, and who reads only that does not know the commands that set them
//! ([`ReplicaFacts::holds_field_deadlines`]). Redis 7.4 and later have deadlines and commands of their own
//! under the same names, but announce nothing: they count as those that have none.

use std::fmt;

use super::ReplicationId;

/// Longest accepted `REPLCONF ip-address` (Valkey's `NET_HOST_STR_LEN` less its terminator).
pub const MAX_ADDRESS_BYTES: usize = 255;

/// Bytes of a malformed id that are kept, for the log.
const MALFORMED_ID_BYTES: usize = 64;

/// The replication ID in a `PSYNC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedId {
    /// `?`: the replica has no history.
    Any,
    /// A well-formed id.
    Known(ReplicationId),
    /// Anything else (shortened): it can match nothing.
    Malformed(String),
}

impl RequestedId {
    /// Reads the first argument of `PSYNC`. Never fails: an id nobody has leads to a full resync.
    pub fn parse(text: &[u8]) -> Self {
        if text.first() == Some(&b'?') {
            return RequestedId::Any;
        }
        ReplicationId::parse(text).map_or_else(
            |_| {
                let shown = &text[..text.len().min(MALFORMED_ID_BYTES)];
                RequestedId::Malformed(shown.escape_ascii().to_string())
            },
            RequestedId::Known,
        )
    }
}

impl fmt::Display for RequestedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestedId::Any => f.write_str("?"),
            RequestedId::Known(id) => id.fmt(f),
            RequestedId::Malformed(text) => write!(f, "'{text}'"),
        }
    }
}

/// `PSYNC <replication-id> <offset> [FAILOVER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PsyncRequest {
    /// The history to continue.
    pub id: RequestedId,
    /// The first byte wanted: one more than the bytes already applied.
    pub wanted: i64,
    /// The sender wants this server to take over first.
    pub failover: bool,
}

/// A handshake command that cannot be obeyed, as Valkey words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// An option without a value.
    #[error("ERR syntax error")]
    Syntax,
    /// Not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// An integer outside its range.
    #[error("ERR value is out of range, value must between {min} and {max}")]
    OutOfRange {
        /// Smallest accepted.
        min: i64,
        /// Greatest accepted.
        max: i64,
    },
    /// `ip-address` longer than [`MAX_ADDRESS_BYTES`].
    #[error("ERR REPLCONF ip-address provided by replica instance is too long: {length} bytes")]
    AddressTooLong {
        /// Bytes given.
        length: usize,
    },
    /// `version` that is not `x.y.z`.
    #[error("ERR Unrecognized version format: {given}")]
    Version {
        /// What was given.
        given: String,
    },
    /// `rdb-filter-only` with unbalanced quotes.
    #[error("ERR Missing rdb-filter-only values")]
    FilterValues,
    /// `rdb-filter-only` with a filter nobody knows.
    #[error("ERR Unsupported rdb-filter-only option: {given}")]
    Filter {
        /// What was given.
        given: String,
    },
    /// `set-rdb-client-id` for a snapshot connection that does not exist.
    #[error("ERR Unrecognized RDB client id {id}")]
    SnapshotClient {
        /// What was given.
        id: i64,
    },
    /// `set-cluster-node-id` outside a cluster.
    #[error("ERR This instance has cluster support disabled")]
    NoCluster,
    /// An option nobody knows.
    #[error("ERR Unrecognized REPLCONF option: {option}")]
    UnknownOption {
        /// What was given.
        option: String,
    },
}

/// What a replica announced it can do (`REPLCONF capa`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Reads a snapshot framed by `$EOF:<mark>`.
    pub eof: bool,
    /// Understands `+CONTINUE <replid>`.
    pub psync2: bool,
}

/// What of the snapshot a replica wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotScope {
    /// Keys and functions.
    #[default]
    Everything,
    /// No keys (`rdb-filter-only "functions"` or an empty filter).
    WithoutKeys,
}

/// The version a Valkey replica announced (`REPLCONF version x.y.z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerVersion {
    /// x
    pub major: u8,
    /// y
    pub minor: u8,
    /// z
    pub patch: u8,
}

impl ServerVersion {
    /// Reads `x.y.z`, each 0 to 255.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.split(|byte| *byte == b'.').map(decimal_u8);
        let version = ServerVersion { major: parts.next()??, minor: parts.next()??, patch: parts.next()?? };
        parts.next().is_none().then_some(version)
    }
}

fn decimal_u8(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The snapshot formats this project writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotFormat {
    /// `REDIS0010`: plain encodings, no field deadlines. Everyone reads it.
    Redis10,
    /// `VALKEY080`: Valkey 9.0 and later.
    Valkey80,
}

/// Everything a replica said about itself before `PSYNC`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// `listening-port`; Valkey stores any integer, so does this.
    pub listening_port: i64,
    /// `ip-address`, when the replica announces another one than its socket's.
    pub announced_address: Option<String>,
    /// `capa`.
    pub capabilities: Capabilities,
    /// `version`; Redis never sends it.
    pub version: Option<ServerVersion>,
    /// `rdb-only 1`: wants the snapshot and no stream.
    pub rdb_only: bool,
    /// `rdb-filter-only`.
    pub scope: SnapshotScope,
}

impl ReplicaFacts {
    /// Whether the replica is known to hold deadlines of hash fields, and to know the commands that set them.
    pub fn holds_field_deadlines(&self) -> bool {
        self.snapshot_format() == SnapshotFormat::Valkey80
    }

    /// The newest snapshot format the replica is known to read.
    pub fn snapshot_format(&self) -> SnapshotFormat {
        const FIRST_WITH_80: ServerVersion = ServerVersion { major: 9, minor: 0, patch: 0 };
        match self.version {
            Some(version) if version >= FIRST_WITH_80 => SnapshotFormat::Valkey80,
            _ => SnapshotFormat::Redis10,
        }
    }
}

/// What a `REPLCONF` asks for beyond its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the replica may wait for an answer"]
pub enum ReplconfOutcome {
    /// Facts only: answer `+OK`.
    Ok,
    /// `ACK <offset> [FACK <offset>]`: no answer, ever.
    Ack {
        /// Bytes applied; `None` when it was not a number (ignored, as Valkey does).
        applied: Option<i64>,
        /// Bytes made durable by the replica's append-only file.
        fsynced: Option<i64>,
    },
    /// `GETACK`: meant for replicas; a primary does not answer.
    GetAck,
}

/// Reads the arguments of `PSYNC` (without the command's name).
///
/// # Errors
/// [`HandshakeError::Syntax`] for fewer than two arguments, [`HandshakeError::NotAnInteger`] for an
/// offset that is not a 64-bit integer.
pub fn parse_psync<A: AsRef<[u8]>>(args: &[A]) -> Result<PsyncRequest, HandshakeError> {
    let [id, wanted, rest @ ..] = args else { return Err(HandshakeError::Syntax) };
    let failover = rest.first().is_some_and(|flag| flag.as_ref().eq_ignore_ascii_case(b"failover"));
    Ok(PsyncRequest { id: RequestedId::parse(id.as_ref()), wanted: integer(wanted.as_ref())?, failover })
}

/// Reads the arguments of `REPLCONF` (without the command's name) into `facts`.
///
/// # Errors
/// As Valkey words them. Options before the bad one have been applied.
pub fn parse_replconf<A: AsRef<[u8]>>(
    args: &[A],
    facts: &mut ReplicaFacts,
) -> Result<ReplconfOutcome, HandshakeError> {
    if !args.len().is_multiple_of(2) {
        return Err(HandshakeError::Syntax);
    }
    for (index, pair) in args.chunks_exact(2).enumerate() {
        let (option, value) = (pair[0].as_ref(), pair[1].as_ref());
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("ack") {
            return Ok(acknowledgement(value, args.get(2 * index + 2..).unwrap_or_default()));
        } else if is("getack") {
            return Ok(ReplconfOutcome::GetAck);
        } else if is("listening-port") {
            facts.listening_port = integer(value)?;
        } else if is("ip-address") {
            facts.announced_address = announced_address(value)?;
        } else if is("capa") {
            facts.capabilities.eof |= value.eq_ignore_ascii_case(b"eof");
            facts.capabilities.psync2 |= value.eq_ignore_ascii_case(b"psync2");
        } else if is("version") {
            let version =
                ServerVersion::parse(value).ok_or_else(|| HandshakeError::Version { given: shown(value) })?;
            facts.version = Some(version);
        } else if is("rdb-only") {
            facts.rdb_only = boolean(value)?;
        } else if is("rdb-filter-only") {
            facts.scope = snapshot_scope(value)?;
        } else if is("rdb-channel") {
            // Dual-channel resync is not offered (`+DUALCHANNELSYNC` is never sent); the flag alone changes
            // nothing.
            boolean(value)?;
        } else if is("set-rdb-client-id") {
            return Err(HandshakeError::SnapshotClient { id: integer(value)? });
        } else if is("set-cluster-node-id") {
            return Err(HandshakeError::NoCluster);
        } else {
            return Err(HandshakeError::UnknownOption { option: shown(option) });
        }
    }
    Ok(ReplconfOutcome::Ok)
}

fn acknowledgement<A: AsRef<[u8]>>(applied: &[u8], rest: &[A]) -> ReplconfOutcome {
    let fsynced = match rest {
        [name, value, ..] if name.as_ref().eq_ignore_ascii_case(b"fack") => integer(value.as_ref()).ok(),
        _ => None,
    };
    ReplconfOutcome::Ack { applied: integer(applied).ok(), fsynced }
}

fn announced_address(value: &[u8]) -> Result<Option<String>, HandshakeError> {
    if value.len() > MAX_ADDRESS_BYTES {
        return Err(HandshakeError::AddressTooLong { length: value.len() });
    }
    Ok((!value.is_empty()).then(|| shown(value)))
}

/// A list of filters separated by blanks, quotes allowed. Keys are never among them: a filter, even
/// an empty one, leaves the keys out.
fn snapshot_scope(value: &[u8]) -> Result<SnapshotScope, HandshakeError> {
    if value.iter().filter(|byte| **byte == b'"').count() % 2 != 0 {
        return Err(HandshakeError::FilterValues);
    }
    for filter in value.split(|byte| byte.is_ascii_whitespace()) {
        let filter = filter.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(filter);
        if !filter.is_empty() && !filter.eq_ignore_ascii_case(b"functions") {
            return Err(HandshakeError::Filter { given: shown(filter) });
        }
    }
    Ok(SnapshotScope::WithoutKeys)
}

/// Text as it may stand in an error line: no line breaks, nothing unprintable.
pub(super) fn shown(text: &[u8]) -> String {
    let clean = String::from_utf8_lossy(text);
    clean.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn integer(text: &[u8]) -> Result<i64, HandshakeError> {
    // Valkey's string2ll is strict: no plus sign, no leading zeros, no "-0".
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !canonical {
        return Err(HandshakeError::NotAnInteger);
    }
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(HandshakeError::NotAnInteger)
}

fn boolean(text: &[u8]) -> Result<bool, HandshakeError> {
    match integer(text)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(HandshakeError::OutOfRange { min: 0, max: 1 }),
    }
}
