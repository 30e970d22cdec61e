//! Settings of a session: every limit by name, with its default.

use std::fmt;

use super::super::ServerVersion;
use super::{Position, ReplicaSession};
use crate::resp::Limits;

/// Default of [`Builder::timeout_ms`]: Valkey's `repl-timeout`.
pub const DEFAULT_TIMEOUT_MS: u64 = 60_000;
/// Default of [`Builder::ack_interval_ms`]: as Valkey does.
pub const DEFAULT_ACK_INTERVAL_MS: u64 = 1_000;
/// Default of [`Builder::max_line_bytes`].
pub const DEFAULT_MAX_LINE_BYTES: usize = 4 << 10;
/// Default of [`Builder::max_argument_bytes`]: Valkey's `proto-max-bulk-len`.
pub const DEFAULT_MAX_ARGUMENT_BYTES: u64 = 512 << 20;
/// Default of [`Builder::max_arguments`]: as many as Valkey takes.
pub const DEFAULT_MAX_ARGUMENTS: usize = i32::MAX as usize;
/// Default of [`Builder::max_command_bytes`]: Valkey's `client-query-buffer-limit`.
pub const DEFAULT_MAX_COMMAND_BYTES: u64 = 1 << 30;
/// Default of [`Builder::backoff_base_ms`].
pub const DEFAULT_BACKOFF_BASE_MS: u64 = 250;
/// Default of [`Builder::backoff_max_ms`].
pub const DEFAULT_BACKOFF_MAX_MS: u64 = 10_000;
/// Default of [`Builder::backoff_jitter_percent`].
pub const DEFAULT_BACKOFF_JITTER_PERCENT: u32 = 50;
/// Default of [`Builder::stable_ms`].
pub const DEFAULT_STABLE_MS: u64 = 5_000;

/// Who a replica is to its primary.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub user: Option<String>,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub timeout_ms: u64,
    pub ack_interval_ms: u64,
    pub max_line_bytes: usize,
    pub max_argument_bytes: u64,
    pub max_arguments: usize,
    pub max_command_bytes: u64,
    pub backoff_base_ms: u64,
    pub backoff_max_ms: u64,
    pub backoff_jitter_percent: u32,
    pub stable_ms: u64,
    pub raw_bytes: bool,
    pub failover: bool,
    pub acknowledge_confirmed: bool,
    pub seed: u64,
    pub credentials: Option<Credentials>,
    pub listening_port: Option<u16>,
    pub address: Option<String>,
    pub version: Option<ServerVersion>,
    pub resume: Option<Position>,
}

impl Settings {
    /// What a command of the stream may be.
    pub(super) fn stream_limits(&self) -> Limits {
        Limits {
            max_bulk_bytes: self.max_argument_bytes,
            max_multibulk_args: self.max_arguments,
            max_inline_bytes: self.max_line_bytes,
            ..Limits::default()
        }
    }
}

/// Builds a [`ReplicaSession`].
///
/// ```
/// use replcore::resync::replica::{Event, ReplicaSession};
///
/// let mut session = ReplicaSession::builder().password("secret").timeout_ms(10_000).build();
/// assert_eq!(session.next_event(0), Some(Event::Connect));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder(Settings);

impl Default for Builder {
    fn default() -> Self {
        Builder(Settings {
            timeout_ms: DEFAULT_TIMEOUT_MS,
            ack_interval_ms: DEFAULT_ACK_INTERVAL_MS,
            max_line_bytes: DEFAULT_MAX_LINE_BYTES,
            max_argument_bytes: DEFAULT_MAX_ARGUMENT_BYTES,
            max_arguments: DEFAULT_MAX_ARGUMENTS,
            max_command_bytes: DEFAULT_MAX_COMMAND_BYTES,
            backoff_base_ms: DEFAULT_BACKOFF_BASE_MS,
            backoff_max_ms: DEFAULT_BACKOFF_MAX_MS,
            backoff_jitter_percent: DEFAULT_BACKOFF_JITTER_PERCENT,
            stable_ms: DEFAULT_STABLE_MS,
            raw_bytes: true,
            failover: false,
            acknowledge_confirmed: false,
            seed: 0,
            credentials: None,
            listening_port: None,
            address: None,
            version: None,
            resume: None,
        })
    }
}

macro_rules! setters {
    ($($(#[doc = $doc:literal])* $name:ident: $type:ty;)*) => {
        impl Builder {
            $($(#[doc = $doc])*
            pub fn $name(mut self, $name: $type) -> Self {
                self.0.$name = $name;
                self
            })*
        }
    };
}

setters! {
    /// A primary that sends nothing for so long is given up, in milliseconds. Default 60 s; 0 never gives up.
    /// A primary that has nothing to send pings every `repl-ping-replica-period` (10 s), and sends a line
    /// feed each second while it makes a snapshot.
    timeout_ms: u64;
    /// How often to acknowledge what was applied, and to send a line feed while a snapshot comes and is
    /// loaded, in milliseconds. Default 1 s, at least 1. The primary asks for more when somebody waits
    /// (`REPLCONF GETACK`). After a snapshot with an end mark it begins the stream at the first
    /// acknowledgement that comes once its child process is gone.
    ack_interval_ms: u64;
    /// The longest line: an answer of the handshake, the header of a snapshot, a length in the stream;
    /// without its end. Default 4 KiB.
    max_line_bytes: usize;
    /// The largest argument of a command, in bytes. Default 512 MiB. A larger one counts as a stream out of
    /// step; a primary whose `proto-max-bulk-len` is greater needs more here.
    max_argument_bytes: u64;
    /// The most arguments of a command. Default 2^31 - 1. Each takes 32 bytes beside its own.
    max_arguments: usize;
    /// The longest command, in bytes of the stream: what bounds the memory that a session holds. Default 1
    /// GiB.
    max_command_bytes: u64;
    /// The delay after the first failure, in milliseconds; each that follows is twice as long. Default 250
    /// ms.
    backoff_base_ms: u64;
    /// The longest delay, in milliseconds. Default 10 s.
    backoff_max_ms: u64;
    /// By how much a delay may be shorter, in percent of it, 0 to 100. Default 50.
    backoff_jitter_percent: u32;
    /// A link that has streamed for so long was no failure, in milliseconds: when it is lost, the next
    /// attempt is made at once. Default 5 s.
    stable_ms: u64;
    /// Whether each command carries its bytes as they came, which takes a copy of them. Default yes.
    raw_bytes: bool;
    /// Whether to ask the other end to become a primary before it grants the first link (`PSYNC … FAILOVER`). It
    /// has to be a replica of the history that is resumed. Default no.
    failover: bool;
    /// Whether only what was [confirmed](ReplicaSession::confirm) is acknowledged, so that `WAIT` on the
    /// primary means what the embedder means by it: written to a disk, say. Default no: what was delivered is
    /// acknowledged.
    acknowledge_confirmed: bool;
    /// Where the shortening of delays begins: any number that differs between replicas. Default 0.
    seed: u64;
}

impl Builder {
    /// The password of the default user. None by default.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.0.credentials = Some(Credentials { user: None, password: password.into() });
        self
    }

    /// A user and the password. None by default.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.0.credentials = Some(Credentials { user: Some(user.into()), password: password.into() });
        self
    }

    /// The port to announce. None by default: the primary shows 0.
    pub fn listening_port(mut self, port: u16) -> Self {
        self.0.listening_port = Some(port);
        self
    }

    /// The address to announce, where it is not the connection's. None by default.
    pub fn announced_address(mut self, address: impl Into<String>) -> Self {
        self.0.address = Some(address.into());
        self
    }

    /// The version to announce: it tells a primary which snapshots can be read, and whether fields with
    /// deadlines can be held. None by default, which Valkey 9.1 takes for RDB 11 at most. Redis answers that
    /// it does not know the option, which does no harm.
    pub fn version(mut self, version: ServerVersion) -> Self {
        self.0.version = Some(version);
        self
    }

    /// Where to resume. By default nothing is there, and a full copy is asked for.
    pub fn resume(mut self, position: Position) -> Self {
        self.0.resume = Some(position);
        self
    }

    /// The session. Its first event is [`Event::Connect`](super::Event::Connect).
    pub fn build(self) -> ReplicaSession {
        ReplicaSession::new(self.0)
    }
}
