//! Promotion: at any frame boundary a replica becomes the primary, with a clock of its own.
//!
//! Until then it applied what came and hid from its readers what was dead by its clock; from then on it
//! reclaims. Nothing else happens to it, and that is the law:
//!
//! * what its readers saw the moment before, its clients see the moment after, no key and no field more or
//!   less;
//! * what is dead at that moment is reclaimed by active expiry, each field by name in the new stream, and
//!   nothing else is;
//! * whoever follows the new stream ends in the new primary's state: another replica, which stood where the
//!   promoted one stood; and the old primary, which had gone on, after a full copy. Then nothing dead is left
//!   anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index;
use replcore::keyspace::ExpiryPolicy;
use replcore::resp::{CommandParser, Limits, Reply};
use replcore::rewrite::{Argv, Effects};

use super::keyspace::{Follower, Leader, State, Store, Stored};
use super::museum::Exhibit;
use super::stream::{Apply, Differ, Primary, Replica, Stream, follow};
use super::{History, Law, START_MS, Sent, Step, Timed, argv, clock_ms, histories, shown};

/// What happens under the old primary and under the new one.
#[derive(Clone)]
pub struct Promotion {
    before: History,
    /// How many of the last frames those who stay with the new primary have not read.
    unread: Index,
    /// What the candidate's clock shows when it is promoted.
    clock_ms: u64,
    /// Whether active expiry is the first thing that the new primary does.
    reclaims_first: bool,
    after: History,
}

impl fmt::Debug for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock_ms = i128::from(self.clock_ms) - i128::from(START_MS);
        let reclaims = if self.reclaims_first { ", active expiry" } else { "" };
        write!(f, "{:?}\n    -- promotion, unread frames {:?}, ", self.before, self.unread)?;
        write!(f, "its clock at {clock_ms:+} ms{reclaims}{:?}", self.after)
    }
}

/// Promotions between histories of commands like these.
pub fn promotions(command: BoxedStrategy<Argv>, most: usize) -> impl Strategy<Value = Promotion> {
    let history = || histories(command.clone(), most);
    (history(), any::<Index>(), clock_ms(), any::<bool>(), history()).prop_map(
        |(before, unread, clock_ms, reclaims_first, after)| Promotion {
            before,
            unread,
            clock_ms,
            reclaims_first,
            after,
        },
    )
}

/// By command, what clients are answered.
type View = BTreeMap<String, String>;

/// What commands that read answer about all that is stored.
fn view(store: &Store, policy: ExpiryPolicy, now_ms: u64, publish: &mut dyn FnMut(&Effects<'_>)) -> View {
    let mut view = View::new();
    for ((db, key), (stored, _)) in store.state() {
        let mut ask = |words: &[&[u8]]| {
            let sent = Sent { db, argv: argv(words) };
            let replies = store.execute_under(policy, std::slice::from_ref(&sent), now_ms, publish);
            view.insert(format!("{sent:?}"), in_order(&replies[0]));
        };
        for name in [&b"EXISTS"[..], b"TYPE", b"PTTL", b"PEXPIRETIME"] {
            ask(&[name, &key]);
        }
        match stored {
            Stored::String(_) => ask(&[b"GET", &key]),
            Stored::List(_) => ask(&[b"LRANGE", &key, b"0", b"-1"]),
            Stored::Set(_) => ask(&[b"SMEMBERS", &key]),
            Stored::ZSet(_) => ask(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
            Stored::Hash(fields) => {
                for name in [&b"HGETALL"[..], b"HKEYS", b"HVALS", b"HLEN"] {
                    ask(&[name, &key]);
                }
                for field in fields.keys() {
                    ask(&[b"HGET", &key, field]);
                    ask(&[b"HEXISTS", &key, field]);
                    ask(&[b"HPTTL", &key, b"FIELDS", b"1", field]);
                    ask(&[b"HPEXPIRETIME", &key, b"FIELDS", b"1", field]);
                }
            }
        }
    }
    view
}

/// A reply whose elements have no order, in one.
fn in_order(reply: &Reply) -> String {
    let mut elements: Vec<String> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        Reply::Set(items) | Reply::Array(items) => items.iter().map(|item| format!("{item:?}")).collect(),
        reply => return format!("{reply:?}"),
    };
    elements.sort();
    elements.join(", ")
}

/// A key, or a field of one.
type Name = (u16, Bytes, Option<Bytes>);

/// What is stored and dead.
fn dead(state: &State, now_ms: u64) -> BTreeSet<Name> {
    let is_dead = |deadline_ms: &Option<u64>| deadline_ms.is_some_and(|ms| ms < now_ms);
    let mut dead = BTreeSet::new();
    for ((db, key), (stored, deadline_ms)) in state {
        if is_dead(deadline_ms) {
            dead.insert((*db, key.clone(), None));
        } else if let Stored::Hash(fields) = stored {
            let of_hash = fields.iter().filter(|(_, (_, deadline_ms))| is_dead(deadline_ms));
            dead.extend(of_hash.map(|(field, _)| (*db, key.clone(), Some(field.clone()))));
        }
    }
    dead
}

/// The state without some of it; a hash without fields is none.
fn without(state: &State, gone: &BTreeSet<Name>) -> State {
    let mut state = state.clone();
    for (db, key, field) in gone {
        let at = (*db, key.clone());
        match (state.get_mut(&at), field) {
            (Some((Stored::Hash(fields), _)), Some(field)) => {
                fields.remove(field);
                if fields.is_empty() {
                    state.remove(&at);
                }
            }
            _ => _ = state.remove(&at),
        }
    }
    state
}

/// What active expiry deletes by name in these frames; a key that goes because its hash is empty is not
/// counted.
fn deleted(frames: &[Bytes]) -> Law<BTreeSet<Name>> {
    let (mut deleted, mut db) = (BTreeSet::new(), 0);
    for frame in frames {
        let (mut parser, mut input) = (CommandParser::new(Limits::default()), BytesMut::from(&frame[..]));
        while let Ok(Some(argv)) = parser.next(&mut input) {
            match &argv[0][..] {
                b"SELECT" => db = String::from_utf8_lossy(&argv[1]).parse().expect("a database"),
                b"HDEL" => {
                    let names = argv[2..].iter().map(|field| (db, argv[1].clone(), Some(field.clone())));
                    deleted.extend(names);
                }
                b"UNLINK" => {
                    let is_of_hash =
                        |(of, key, field): &Name| (*of, key) == (db, &argv[1]) && field.is_some();
                    if !deleted.iter().any(is_of_hash) {
                        deleted.insert((db, argv[1].clone(), None));
                    }
                }
                b"MULTI" | b"EXEC" => {}
                _ => return Err(format!("active expiry published {}", shown(&argv))),
            }
        }
    }
    Ok(deleted)
}

/// What the old primary publishes.
fn frames_of(old: &mut Leader, steps: &[Timed]) -> Law<Vec<Bytes>> {
    let (mut stream, mut now_ms) = (Stream::new(), START_MS);
    for Timed { advance_ms, step } in steps {
        now_ms = now_ms.saturating_add_signed(*advance_ms);
        match step {
            Step::Unit(unit) => old.execute(unit, now_ms, &stream)?,
            Step::Reclaim(share) => old.reclaim(share, now_ms, &stream),
            Step::Snapshot => {}
        }
    }
    Ok(stream.frames())
}

/// Active expiry comes first on the new primary: it deletes what is dead of what was `stored`, and nothing
/// else.
fn reclaim_first(new: &mut Leader, stream: &mut Stream, stored: &State, now_ms: u64) -> Law<Vec<Bytes>> {
    new.reclaim_all(now_ms, stream);
    let (frames, dead) = (stream.frames(), dead(stored, now_ms));
    let deleted = deleted(&frames)?;
    if deleted != dead {
        return Err(format!("the new primary's stream deletes {deleted:?}, dead are {dead:?}"));
    }
    match new.state().difference(&without(stored, &dead)) {
        Some(difference) => Err(format!("after active expiry {difference}, dead were {dead:?}")),
        None => Ok(frames),
    }
}

/// The new primary's clients come first: they see what was seen before.
fn look_first(new: &Leader, stream: &mut Stream, seen: &View, now_ms: u64) -> Law<Vec<Bytes>> {
    let visible = view(new.store(), new.policy(), now_ms, &mut |effects| stream.publish(effects));
    match seen.iter().find(|(asked, before)| visible.get(*asked) != Some(*before)) {
        Some((asked, before)) => {
            let after = visible.get(asked).map_or("nothing", String::as_str);
            Err(format!("{asked} was answered {before} before the promotion, {after} after"))
        }
        None => Ok(stream.frames()),
    }
}

/// Runs a promotion; with an exhibit, a wrong one.
pub fn check(promotion: &Promotion, exhibit: Option<Exhibit>) -> Law {
    let mut clocks_ms = promotion.before.clocks_ms.iter().copied().cycle();
    let mut clock_ms = || clocks_ms.next().unwrap_or(START_MS);
    let mut old = Leader::new(None);
    let frames = frames_of(&mut old, &promotion.before.steps)?;
    let mut candidate = Replica::new("the candidate", Follower::new());
    let mut sibling = Replica::new("a replica that stays", Follower::new());
    for frame in &frames[..frames.len() - promotion.unread.index(frames.len() + 1)] {
        candidate.read(frame, clock_ms())?;
        sibling.read(frame, clock_ms())?;
    }

    let (store, now_ms) = (candidate.store.store, promotion.clock_ms);
    let (stored, seen) = (store.state(), view(&store, ExpiryPolicy::Hide, now_ms, &mut |_| ()));
    match exhibit {
        Some(Exhibit::PromotedDropsSilently) => store.reclaim(now_ms, &mut |_| ()),
        Some(Exhibit::PromotedRevives) => revive(&store, &dead(&stored, now_ms)),
        _ => {}
    }
    let (mut new, mut stream) = (Leader::promoted(store, exhibit), Stream::new());
    let frames = match promotion.reclaims_first {
        true => reclaim_first(&mut new, &mut stream, &stored, now_ms)?,
        false => look_first(&new, &mut stream, &seen, now_ms)?,
    };
    for frame in frames {
        sibling.read(&frame, clock_ms())?;
    }
    if let Some(difference) = sibling.store.state().and_then(|state| state.difference(&new.state())) {
        return Err(sibling.report(&difference));
    }

    let demoted = new.copied_into(old.store().clone(), &stream);
    let replicas = vec![sibling, Replica::new("the old primary", demoted)];
    let mut after = promotion.after.clone();
    // A keyspace reclaims everything, whatever the share.
    after.steps.push(Timed { advance_ms: 0, step: Step::Reclaim(promotion.unread) });
    let now_ms = follow(&mut new, &mut stream, replicas, &after, now_ms)?;
    match dead(&new.state(), now_ms) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("dead and left after active expiry: {left:?}")),
    }
}

/// Takes their deadlines away from fields that are dead.
fn revive(store: &Store, dead: &BTreeSet<Name>) {
    for (db, key, field) in dead {
        if let Some(field) = field {
            store.ask(ExpiryPolicy::Ignore, *db, &[b"HPERSIST", key, b"FIELDS", b"1", field], 0);
        }
    }
}
