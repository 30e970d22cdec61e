//! Streams: entries, consumer groups, and what was delivered to whom.
//!
//! | client | happened | propagated |
//! |---|---|---|
//! | `XADD` | added under an ID of the primary's making (`*`, `ms-*`) | the client's bytes with the ID in place |
//! | `XADD` with `~` | added | besides: `MAXLEN = length` or `MINID = first ID` as they are now, a `LIMIT` kept |
//! | `XADD` otherwise | added / `NOMKSTREAM` and no stream | verbatim / nothing |
//! | `XTRIM` | entries removed; exact / with `~` | verbatim / the same replacement |
//! | `XREADGROUP`, new entries | delivered | per entry `XCLAIM k g c 0 id TIME ms RETRYCOUNT 1 FORCE JUSTID LASTID id`, per stream `XGROUP SETID k g last ENTRIESREAD n` |
//! | the same with `NOACK` | delivered | per stream `XGROUP SETID k g last ENTRIESREAD n`; ahead of it `XGROUP CREATECONSUMER k g c` for a new consumer |
//! | `XREADGROUP`, pending entries again | delivered | per entry `XCLAIM k g c 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID last` |
//! | `XCLAIM`, `XAUTOCLAIM` | claimed | the same per entry |
//! | the same | dropped, because the entry is deleted from the stream | the same per entry, with the consumer that it was pending for |
//! | `XCLAIM` with `LASTID` | nothing claimed, the group moved on | `XGROUP SETID k g last ENTRIESREAD n` |
//! | any of these | the consumer is new and nothing was delivered to it | `XGROUP CREATECONSUMER k g c` |
//! | `XACK`, `XDEL` | at least one | verbatim, the whole list |
//! | `XSETID`, `XGROUP CREATE`, `SETID` | done | verbatim |
//! | `XGROUP CREATECONSUMER`, `DELCONSUMER`, `DESTROY` | created / deleted / destroyed | verbatim |
//!
//! `LIMIT` beside `=` is a syntax error for a client; a replica ignores it in what comes from its primary.
//! `$` in `XGROUP` stays: the replica's last ID is the primary's.
//!
//! A delivery time is the primary's. A replica whose clock is behind it takes its own time instead (it does
//! so for every `TIME` that lies ahead), and no form of `XCLAIM` prevents that: idle times may differ by the
//! skew of the clocks. When a consumer was last seen is not replicated at all.
//!
//! # Exceptions
//!
//! | sequence | Valkey sends | what diverges | sent here |
//! |---|---|---|---|
//! | `XREADGROUP GROUP g new STREAMS k >` with nothing to deliver; `XREADGROUP GROUP g new STREAMS k 0`; `XCLAIM k g new …` and `XAUTOCLAIM k g new …` that claim nothing | nothing | the replica has no consumer `new` | `XGROUP CREATECONSUMER k g new` |
//! | `XREADGROUP GROUP g c STREAMS k 0` with pending entries | nothing | the replica counts fewer deliveries, and an earlier last one | `XCLAIM k g c 0 id TIME ms RETRYCOUNT n FORCE JUSTID LASTID last` |

use std::fmt::{self, Write as _};

use bytes::{Bytes, BytesMut};

use super::{Argv, Mismatch, Propagation, Rewritten, decimal, identify, word};

/// The ID of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, usually.
    pub ms: u64,
    /// Counts the entries of one millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The greatest ID: a stream trimmed to it is empty.
    pub const MAX: StreamId = StreamId { ms: u64::MAX, seq: u64::MAX };

    fn to_bytes(self) -> Bytes {
        let mut text = BytesMut::with_capacity(24);
        // Writing to memory does not fail.
        let _ = write!(text, "{self}");
        text.freeze()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// What a stream holds after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The number of entries.
    pub entries: u64,
    /// The first entry, if there is one; or a smaller ID, if no entry was ever left between the two. (Valkey
    /// names the first ID of the first node that it keeps, which may be that of a deleted entry.)
    pub first: Option<StreamId>,
}

/// What an `XADD` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XAddOutcome {
    /// There was no stream, and `NOMKSTREAM` said not to make one.
    NotAdded,
    /// Added, and trimmed if it said so.
    Added {
        /// The new entry's ID.
        id: StreamId,
        /// What the stream holds now.
        extent: Extent,
    },
}

/// The place of a consumer group in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPosition {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries were read up to it, if that is known.
    pub entries_read: Option<u64>,
}

/// A pending entry: delivered and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The entry.
    pub id: StreamId,
    /// When it was delivered last, in milliseconds since the Unix epoch.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// What an `XREADGROUP` did in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRead<'o> {
    /// The position of the stream's key in the command's argv.
    pub key: usize,
    /// Whether the group did not know the consumer before.
    pub consumer_created: bool,
    /// What the consumer received.
    pub delivered: Delivered<'o>,
    /// The group's place now.
    pub group: GroupPosition,
}

/// What a consumer received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered<'o> {
    /// Nothing.
    Nothing,
    /// Entries that the group had not delivered to anyone (`>`), at least one.
    New {
        /// The entries, in order.
        ids: &'o [StreamId],
        /// When, in milliseconds since the Unix epoch.
        delivered_ms: u64,
    },
    /// Entries that were pending for it, as they are pending now; those that were deleted from the stream are
    /// not among them.
    Again(&'o [Pending]),
}

/// A pending entry that an `XCLAIM` or `XAUTOCLAIM` met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met<'o> {
    /// Claimed; as it is pending now.
    Claimed(Pending),
    /// Not pending any more, because the entry is deleted from the stream.
    Dropped {
        /// As it was pending before.
        pending: Pending,
        /// The consumer that it was pending for.
        owner: &'o Bytes,
    },
}

/// What an `XCLAIM` or `XAUTOCLAIM` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimOutcome<'o> {
    /// The entries that were claimed or dropped, in the order they were met.
    pub entries: &'o [Met<'o>],
    /// Whether the group did not know the consumer before.
    pub consumer_created: bool,
    /// Whether the command moved the group's last delivered ID (`LASTID`).
    pub group_moved: bool,
    /// The group's place now.
    pub group: GroupPosition,
}

/// The propagation of
/// `XADD key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] <*|id> field value [field value …]`.
pub fn xadd(argv: &[Bytes], outcome: XAddOutcome) -> Rewritten {
    let command = identify(argv, &[("xadd", 5)], "XADD")?;
    let options = Options::read(argv, IdFollows::Yes);
    let XAddOutcome::Added { id, extent } = outcome else {
        return if options.no_make {
            Ok(Propagation::Nothing)
        } else {
            Err(Mismatch::outcome(command, "it does not say NOMKSTREAM"))
        };
    };
    let Some(given) = argv.get(options.end) else {
        return Err(Mismatch::outcome(command, "its arguments name no ID"));
    };
    let made = &given[..] == b"*" || given.ends_with(b"-*");
    if !made && !options.is_approximate(argv) {
        return Ok(Propagation::Verbatim);
    }
    let mut rewritten = argv.to_vec();
    if made {
        rewritten[options.end] = id.to_bytes();
    }
    options.make_exact(&mut rewritten, extent);
    Ok(Propagation::Command(rewritten))
}

/// The propagation of `XTRIM key MAXLEN|MINID [=|~] threshold [LIMIT count]` that removed so many entries;
/// `extent` is what the stream holds after it.
pub fn xtrim(argv: &[Bytes], removed: u64, extent: Extent) -> Rewritten {
    identify(argv, &[("xtrim", 4)], "XTRIM")?;
    let options = Options::read(argv, IdFollows::No);
    if removed == 0 || !options.is_approximate(argv) {
        return Ok(Propagation::verbatim_if(removed > 0));
    }
    let mut rewritten = argv.to_vec();
    options.make_exact(&mut rewritten, extent);
    Ok(Propagation::Command(rewritten))
}

/// The propagation of
/// `XREADGROUP GROUP group consumer [COUNT n] [BLOCK ms] [NOACK] STREAMS key [key …] id [id …]`; `reads` are
/// the streams that it looked at, in order.
pub fn xreadgroup(argv: &[Bytes], reads: &[GroupRead<'_>]) -> Rewritten {
    let command = identify(argv, &[("xreadgroup", 7)], "XREADGROUP")?;
    let options = ReadOptions::read(command, argv)?;
    let mut commands = Vec::new();
    for read in reads {
        if !options.keys.contains(&read.key) {
            return Err(Mismatch::outcome(command, "a position is not that of a key"));
        }
        let target = Target { key: &argv[read.key], group: options.group, consumer: options.consumer };
        let delivered_pending = !options.no_ack && matches!(read.delivered, Delivered::New { .. });
        if read.consumer_created && !delivered_pending {
            commands.push(target.create_consumer());
        }
        match read.delivered {
            Delivered::Nothing => {}
            Delivered::New { ids: [], .. } => {
                return Err(Mismatch::outcome(command, "new entries were delivered, and none was named"));
            }
            Delivered::New { ids, delivered_ms } => {
                if delivered_pending {
                    let first = |&id| target.claim(&Pending { id, delivered_ms, deliveries: 1 }, id);
                    commands.extend(ids.iter().map(first));
                }
                commands.push(target.set_id(read.group));
            }
            Delivered::Again(entries) => {
                commands.extend(entries.iter().map(|entry| target.claim(entry, read.group.last_id)));
            }
        }
    }
    Ok(Propagation::of(commands))
}

/// The propagation of `XCLAIM key group consumer min-idle id [id …] [options]` and of
/// `XAUTOCLAIM key group consumer min-idle start [options]`.
pub fn xclaim(argv: &[Bytes], outcome: ClaimOutcome<'_>) -> Rewritten {
    let command = identify(argv, &[("xclaim", 6), ("xautoclaim", 6)], "XCLAIM, XAUTOCLAIM")?;
    if command == "xautoclaim" && outcome.group_moved {
        return Err(Mismatch::outcome(command, "it does not move the group"));
    }
    let target = Target { key: &argv[1], group: &argv[2], consumer: &argv[3] };
    let last_id = outcome.group.last_id;
    let mut commands = Vec::new();
    let claimed = outcome.entries.iter().any(|entry| matches!(entry, Met::Claimed(_)));
    if outcome.consumer_created && !claimed {
        commands.push(target.create_consumer());
    }
    commands.extend(outcome.entries.iter().map(|entry| match entry {
        Met::Claimed(pending) => target.claim(pending, last_id),
        Met::Dropped { pending, owner } => Target { consumer: owner, ..target }.claim(pending, last_id),
    }));
    if outcome.group_moved && outcome.entries.is_empty() {
        commands.push(target.set_id(outcome.group));
    }
    Ok(Propagation::of(commands))
}

/// The propagation of `XACK key group id [id …]` that acknowledged so many entries.
pub fn xack(argv: &[Bytes], acknowledged: u64) -> Rewritten {
    identify(argv, &[("xack", 4)], "XACK")?;
    Ok(Propagation::verbatim_if(acknowledged > 0))
}

/// The propagation of `XDEL key id [id …]` that deleted so many entries.
pub fn xdel(argv: &[Bytes], deleted: u64) -> Rewritten {
    identify(argv, &[("xdel", 3)], "XDEL")?;
    Ok(Propagation::verbatim_if(deleted > 0))
}

/// The propagation of `XSETID key id [ENTRIESADDED n] [MAXDELETEDID id]` that was not refused.
pub fn xsetid(argv: &[Bytes]) -> Rewritten {
    identify(argv, &[("xsetid", 3)], "XSETID")?;
    Ok(Propagation::Verbatim)
}

/// What an `XGROUP` that was not refused did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XGroupOutcome {
    /// What it said.
    Done,
    /// The consumer to create was there already; the group to destroy, or the consumer to delete, was not.
    AlreadySo,
}

/// The propagation of `XGROUP CREATE|SETID|DESTROY|CREATECONSUMER|DELCONSUMER key group …`.
pub fn xgroup(argv: &[Bytes], outcome: XGroupOutcome) -> Rewritten {
    let command = identify(argv, &[("xgroup", 4)], "XGROUP")?;
    let is = |name: &str| argv[1].eq_ignore_ascii_case(name.as_bytes());
    match outcome {
        XGroupOutcome::AlreadySo if is("CREATECONSUMER") || is("DELCONSUMER") || is("DESTROY") => {
            Ok(Propagation::Nothing)
        }
        XGroupOutcome::AlreadySo => Err(Mismatch::outcome(command, "it succeeds by a change, or is refused")),
        XGroupOutcome::Done => Ok(Propagation::Verbatim),
    }
}

/// A consumer of a group of a stream.
#[derive(Clone, Copy)]
struct Target<'a> {
    key: &'a Bytes,
    group: &'a Bytes,
    consumer: &'a Bytes,
}

impl Target<'_> {
    fn create_consumer(&self) -> Argv {
        let [key, group, consumer] = [self.key, self.group, self.consumer].map(Bytes::clone);
        vec![word("XGROUP"), word("CREATECONSUMER"), key, group, consumer]
    }

    fn set_id(&self, position: GroupPosition) -> Argv {
        let entries_read = position.entries_read.map_or_else(|| word("-1"), decimal);
        vec![
            word("XGROUP"),
            word("SETID"),
            self.key.clone(),
            self.group.clone(),
            position.last_id.to_bytes(),
            word("ENTRIESREAD"),
            entries_read,
        ]
    }

    /// Says that `entry` is pending for the consumer. `FORCE`, because it need not have been pending for
    /// anyone before.
    fn claim(&self, entry: &Pending, last_id: StreamId) -> Argv {
        vec![
            word("XCLAIM"),
            self.key.clone(),
            self.group.clone(),
            self.consumer.clone(),
            word("0"),
            entry.id.to_bytes(),
            word("TIME"),
            decimal(entry.delivered_ms),
            word("RETRYCOUNT"),
            decimal(entry.deliveries),
            word("FORCE"),
            word("JUSTID"),
            word("LASTID"),
            last_id.to_bytes(),
        ]
    }
}

/// Whether an ID stands after the options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IdFollows {
    Yes,
    No,
}

/// The options of `XADD` and `XTRIM`, which stand between the key and the rest.
struct Options {
    no_make: bool,
    /// The position after `MAXLEN` or `MINID`: that of `=` or `~` or of the threshold.
    trim: Option<usize>,
    by_id: bool,
    /// The position after the options.
    end: usize,
}

impl Options {
    fn read(argv: &[Bytes], id: IdFollows) -> Self {
        let mut options = Options { no_make: false, trim: None, by_id: false, end: argv.len() };
        let mut at = 2;
        while let Some(option) = argv.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("MAXLEN") || is("MINID") {
                options.by_id = is("MINID");
                options.trim = Some(at + 1);
                let has_operator = argv.get(at + 1).is_some_and(|arg| matches!(&arg[..], b"=" | b"~"));
                at += if has_operator { 3 } else { 2 };
            } else if is("LIMIT") {
                at += 2;
            } else if id == IdFollows::Yes && is("NOMKSTREAM") {
                options.no_make = true;
                at += 1;
            } else {
                options.end = at;
                break;
            }
        }
        options
    }

    fn is_approximate(&self, argv: &[Bytes]) -> bool {
        self.trim.and_then(|at| argv.get(at)).is_some_and(|arg| &arg[..] == b"~")
    }

    /// Replaces `~ threshold` by `=` and what the trimming came to.
    fn make_exact(&self, argv: &mut [Bytes], extent: Extent) {
        let Some(at) = self.trim.filter(|_| self.is_approximate(argv)) else { return };
        let threshold = if self.by_id {
            extent.first.unwrap_or(StreamId::MAX).to_bytes()
        } else {
            decimal(extent.entries)
        };
        if let Some([operator, old]) = argv.get_mut(at..at + 2) {
            *operator = word("=");
            *old = threshold;
        }
    }
}

/// The options of `XREADGROUP`.
struct ReadOptions<'a> {
    group: &'a Bytes,
    consumer: &'a Bytes,
    no_ack: bool,
    keys: std::ops::Range<usize>,
}

impl<'a> ReadOptions<'a> {
    fn read(command: &'static str, argv: &'a [Bytes]) -> Result<Self, Mismatch> {
        let (mut named, mut no_ack, mut at) = (None, false, 1);
        while let Some(option) = argv.get(at) {
            let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
            if is("GROUP") {
                named = argv.get(at + 1).zip(argv.get(at + 2));
                at += 3;
            } else if is("COUNT") || is("BLOCK") {
                at += 2;
            } else if is("NOACK") {
                no_ack = true;
                at += 1;
            } else if is("STREAMS") {
                let first = at + 1;
                let keys = first..first + (argv.len() - first) / 2;
                let Some((group, consumer)) = named else { break };
                return Ok(ReadOptions { group, consumer, no_ack, keys });
            } else {
                break;
            }
        }
        Err(Mismatch::outcome(command, "its arguments name no GROUP or no STREAMS"))
    }
}
