//! What the servers have stored, and how it differs.
//!
//! Readers never see a dead field, so what is compared is what `DUMP` answers: it contains dead fields, with
//! their deadlines. A dead *key* cannot be seen: a primary deletes it when it is asked for, a replica says
//! nothing. Therefore `DBSIZE`, which counts dead keys, is compared as well.
//!
//! Both states belong to one offset of the stream (see [`stage`](super::stage)), so a deletion that is on its
//! way is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;

use super::command::show_word;
use super::error::HuntError;
use super::target::Node;
use crate::rdb::{Limits, Value, read_payload};
use crate::resp::Reply;

/// The fields of a hash: value and deadline.
pub(super) type Fields = BTreeMap<Bytes, (Bytes, Option<u64>)>;

/// A value, with what has no order ordered.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    Hash(Fields),
    Set(BTreeSet<Bytes>),
    Other(Value),
}

impl Content {
    fn new(value: Value) -> Content {
        match value {
            Value::Hash(fields) => Content::Hash(
                fields.into_iter().map(|field| (field.field, (field.value, field.deadline_ms))).collect(),
            ),
            Value::Set(members) => Content::Set(members.into_iter().collect()),
            value => Content::Other(value),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Content::Hash(_) => "hash",
            Content::Set(_) => "set",
            Content::Other(Value::String(_)) => "string",
            Content::Other(Value::List(_)) => "list",
            Content::Other(_) => "sorted set",
        }
    }
}

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub content: Content,
    pub deadline_ms: Option<u64>,
}

/// What a server has stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct State {
    pub keys: BTreeMap<Bytes, Stored>,
    /// What DBSIZE says: dead keys count.
    pub key_count: i64,
    /// The server's clock when the reading began and when it was done.
    pub read_ms: (u64, u64),
}

impl State {
    /// Reads everything under `names`.
    pub fn read(node: &mut Node, names: &[Bytes]) -> Result<State, HuntError> {
        let began_ms = node.time_ms()?;
        let asked: Vec<Vec<Bytes>> = names
            .iter()
            .flat_map(|key| {
                [
                    vec![Bytes::from_static(b"DUMP"), key.clone()],
                    vec![Bytes::from_static(b"PEXPIRETIME"), key.clone()],
                ]
            })
            .collect();
        let replies = node.client.calls(&asked)?;
        let mut keys = BTreeMap::new();
        for (key, pair) in names.iter().zip(replies.chunks_exact(2)) {
            if let Some(stored) = stored(node, key, &pair[0], &pair[1])? {
                keys.insert(key.clone(), stored);
            }
        }
        Ok(State { keys, key_count: node.key_count()?, read_ms: (began_ms, node.time_ms()?) })
    }

    /// The hash under `key`.
    fn fields(&self, key: &[u8]) -> Option<&Fields> {
        match &self.keys.get(key)?.content {
            Content::Hash(fields) => Some(fields),
            _ => None,
        }
    }
}

fn stored(node: &Node, key: &Bytes, dump: &Reply, deadline: &Reply) -> Result<Option<Stored>, HuntError> {
    let dump = match dump {
        Reply::Bulk(dump) => dump,
        Reply::Null => return Ok(None),
        Reply::Error(error) => return Err(node.client.refused("DUMP", error.clone())),
        other => return Err(node.client.unexpected("DUMP", other)),
    };
    let payload = read_payload(dump, Limits::default()).map_err(|source| HuntError::Dump {
        side: node.side,
        key: show_word(key),
        source,
    })?;
    let deadline_ms = match deadline {
        Reply::Integer(deadline) => u64::try_from(*deadline).ok(),
        other => return Err(node.client.unexpected("PEXPIRETIME", other)),
    };
    Ok(Some(Stored { content: Content::new(payload.value), deadline_ms }))
}

/// In what way the replica differs: what classes of findings are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A key that the primary has is missing.
    KeyMissing,
    /// A key is there that the primary has not.
    KeyExtra,
    /// A key holds another type.
    Type,
    /// A key has another deadline.
    KeyDeadline,
    /// A field that the primary has stored is missing.
    FieldMissing,
    /// A field is there that the primary has not stored.
    FieldExtra,
    /// A field has another deadline.
    FieldDeadline,
    /// A field, string, list or set has another value.
    Value,
    /// More or fewer keys are stored than can be seen: dead ones.
    HiddenKeys,
    /// After a promotion something is missing that was alive.
    LostByPromotion,
    /// After a promotion something is there that was dead, deleted or different.
    RevivedByPromotion,
}

impl Kind {
    /// Whether it was seen at a promotion.
    pub fn is_of_promotion(self) -> bool {
        matches!(self, Kind::LostByPromotion | Kind::RevivedByPromotion)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::KeyMissing => "key missing on the replica",
            Kind::KeyExtra => "extra key on the replica",
            Kind::Type => "different type",
            Kind::KeyDeadline => "different key deadline",
            Kind::FieldMissing => "field missing on the replica",
            Kind::FieldExtra => "extra field on the replica",
            Kind::FieldDeadline => "different field deadline",
            Kind::Value => "different value",
            Kind::HiddenKeys => "different number of stored keys",
            Kind::LostByPromotion => "lost by promotion",
            Kind::RevivedByPromotion => "revived by promotion",
        })
    }
}

/// A difference between the two servers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    pub kind: Kind,
    /// Where, and what both sides have.
    pub text: String,
    /// What the primary has stored (at a promotion: had, at the replica's offset).
    pub primary: State,
    /// What the replica has stored.
    pub replica: State,
}

/// What differs between a primary's state and its replica's at the same offset. The first one found counts.
pub(super) fn compare(primary: State, replica: State) -> Option<Difference> {
    let (kind, text) = find(&primary, &replica)?;
    Some(Difference { kind, text, primary, replica })
}

fn find(primary: &State, replica: &State) -> Option<(Kind, String)> {
    let names: BTreeSet<&Bytes> = primary.keys.keys().chain(replica.keys.keys()).collect();
    for key in names {
        let name = show_word(key);
        match (primary.keys.get(key), replica.keys.get(key)) {
            (Some(ours), Some(theirs)) => {
                if let Some((kind, text)) = find_in_key(ours, theirs) {
                    return Some((kind, format!("{name}: {text}")));
                }
            }
            // Whether the replica has it cannot be seen if it is dead by the replica's clock; DBSIZE tells.
            (Some(ours), None) if is_past(ours.deadline_ms, replica.read_ms.1) => {}
            (Some(_), None) => return Some((Kind::KeyMissing, format!("the replica has no {name}"))),
            (None, _) => {
                return Some((Kind::KeyExtra, format!("the replica has {name}, the primary has not")));
            }
        }
    }
    if primary.key_count == replica.key_count {
        return None;
    }
    let text = format!("the primary counts {} keys, the replica {}", primary.key_count, replica.key_count);
    Some((Kind::HiddenKeys, text))
}

fn is_past(deadline_ms: Option<u64>, now_ms: u64) -> bool {
    deadline_ms.is_some_and(|deadline_ms| deadline_ms <= now_ms)
}

fn find_in_key(ours: &Stored, theirs: &Stored) -> Option<(Kind, String)> {
    let different = |kind, what: &str, ours: String, theirs: String| {
        Some((kind, format!("{what} on the primary {ours}, on the replica {theirs}")))
    };
    if ours.content.kind() != theirs.content.kind() {
        let (ours, theirs) = (ours.content.kind(), theirs.content.kind());
        return different(Kind::Type, "type", ours.to_owned(), theirs.to_owned());
    }
    if ours.deadline_ms != theirs.deadline_ms {
        let (ours, theirs) = (show_deadline(ours.deadline_ms), show_deadline(theirs.deadline_ms));
        return different(Kind::KeyDeadline, "deadline", ours, theirs);
    }
    match (&ours.content, &theirs.content) {
        (Content::Hash(ours), Content::Hash(theirs)) => find_in_hash(ours, theirs),
        (ours, theirs) if ours == theirs => None,
        (ours, theirs) => different(Kind::Value, "value", format!("{ours:?}"), format!("{theirs:?}")),
    }
}

fn find_in_hash(ours: &Fields, theirs: &Fields) -> Option<(Kind, String)> {
    for (field, (value, deadline_ms)) in ours {
        let name = show_word(field);
        let Some((their_value, their_deadline_ms)) = theirs.get(field) else {
            return Some((Kind::FieldMissing, format!("the replica has no field {name}")));
        };
        if deadline_ms != their_deadline_ms {
            let (ours, theirs) = (show_deadline(*deadline_ms), show_deadline(*their_deadline_ms));
            let text = format!("deadline of field {name}: on the primary {ours}, on the replica {theirs}");
            return Some((Kind::FieldDeadline, text));
        }
        if value != their_value {
            let (ours, theirs) = (show_word(value), show_word(their_value));
            let text = format!("field {name}: on the primary {ours}, on the replica {theirs}");
            return Some((Kind::Value, text));
        }
    }
    let extra = theirs.keys().find(|field| !ours.contains_key(*field))?;
    Some((Kind::FieldExtra, format!("the replica has a field {}, the primary has not", show_word(extra))))
}

fn show_deadline(deadline_ms: Option<u64>) -> String {
    deadline_ms.map_or_else(|| "none".to_owned(), |deadline_ms| deadline_ms.to_string())
}

/// What a promoted replica has, against what the primary had at the offset of the promotion: everything alive
/// has to be there as it was, and nothing else; what was dead may have been reclaimed.
pub(super) fn compare_promoted(before: State, promoted: State) -> Option<Difference> {
    let (kind, text) = find_promoted(&before, &promoted)?;
    Some(Difference { kind, text, primary: before, replica: promoted })
}

fn find_promoted(before: &State, promoted: &State) -> Option<(Kind, String)> {
    let now_ms = promoted.read_ms.1;
    for (key, stored) in &before.keys {
        let name = show_word(key);
        let Some(found) = promoted.keys.get(key) else {
            let all_dead =
                before.fields(key).is_some_and(|fields| fields.values().all(|(_, d)| is_past(*d, now_ms)));
            if all_dead || is_past(stored.deadline_ms, now_ms) {
                continue;
            }
            return Some((Kind::LostByPromotion, format!("{name} was alive and is gone")));
        };
        let (Some(fields), Some(found_fields)) = (before.fields(key), promoted.fields(key)) else {
            if stored != found {
                return Some((Kind::RevivedByPromotion, format!("{name} is not what it was")));
            }
            continue;
        };
        if stored.deadline_ms != found.deadline_ms {
            return Some((Kind::RevivedByPromotion, format!("{name} has another deadline")));
        }
        if let Some((kind, text)) = find_promoted_field(fields, found_fields, now_ms) {
            return Some((kind, format!("{name}: {text}")));
        }
    }
    let extra = promoted.keys.keys().find(|key| !before.keys.contains_key(*key))?;
    Some((Kind::RevivedByPromotion, format!("{} was not there", show_word(extra))))
}

fn find_promoted_field(before: &Fields, found: &Fields, now_ms: u64) -> Option<(Kind, String)> {
    for (field, stored) in before {
        let name = show_word(field);
        match found.get(field) {
            Some(found) if found == stored => {}
            Some(_) => return Some((Kind::RevivedByPromotion, format!("field {name} is not what it was"))),
            None if is_past(stored.1, now_ms) => {}
            None => return Some((Kind::LostByPromotion, format!("field {name} was alive and is gone"))),
        }
    }
    let extra = found.keys().find(|field| !before.contains_key(*field))?;
    Some((Kind::RevivedByPromotion, format!("field {} was not there", show_word(extra))))
}

/// What a client sees of one key: the reply to the reading command of its type.
pub(super) fn visible(node: &mut Node, key: &Bytes) -> Result<Reply, HuntError> {
    let kind = match node.client.demand(&[Bytes::from_static(b"TYPE"), key.clone()])? {
        Reply::Status(kind) => kind,
        other => return Err(node.client.unexpected("TYPE", &other)),
    };
    let name = match &*kind {
        "hash" => "HGETALL",
        "set" => "SMEMBERS",
        "string" => "GET",
        "list" => {
            return node.client.call(&[
                Bytes::from_static(b"LRANGE"),
                key.clone(),
                Bytes::from_static(b"0"),
                Bytes::from_static(b"-1"),
            ]);
        }
        "none" => return Ok(Reply::Null),
        other => return Ok(Reply::Status(other.to_owned())),
    };
    node.client.call(&[Bytes::from_static(name.as_bytes()), key.clone()])
}

impl Stored {
    /// In words; deadlines are relative to `now_ms`.
    pub fn describe(&self, now_ms: u64) -> String {
        let mut text = self.content.kind().to_owned();
        match &self.content {
            Content::Hash(fields) => {
                for (at, (field, (value, deadline_ms))) in fields.iter().enumerate() {
                    let comma = if at > 0 { "," } else { "" };
                    text += &format!("{comma} {}={}", show_word(field), show_word(value));
                    text += &lifetime(*deadline_ms, now_ms);
                }
            }
            Content::Set(members) => {
                members.iter().for_each(|member| text += &format!(" {}", show_word(member)))
            }
            Content::Other(Value::String(string)) => text += &format!(" {}", show_word(string)),
            Content::Other(Value::List(items)) => {
                items.iter().for_each(|item| text += &format!(" {}", show_word(item)))
            }
            Content::Other(other) => text += &format!(" {other:?}"),
        }
        if self.deadline_ms.is_some() {
            text += &format!("; the key{}", lifetime(self.deadline_ms, now_ms));
        }
        text
    }
}

fn lifetime(deadline_ms: Option<u64>, now_ms: u64) -> String {
    match deadline_ms {
        None => String::new(),
        Some(deadline_ms) if deadline_ms < now_ms => format!(" (dead for {} ms)", now_ms - deadline_ms),
        Some(deadline_ms) => format!(" ({} ms to live)", deadline_ms - now_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_000;
    const PAST_MS: u64 = 900;
    const FUTURE_MS: u64 = 5_000;

    fn hash(fields: &[(&'static str, &'static str, Option<u64>)]) -> Stored {
        let field = |(name, value, deadline_ms): &(&'static str, &'static str, Option<u64>)| {
            (Bytes::from_static(name.as_bytes()), (Bytes::from_static(value.as_bytes()), *deadline_ms))
        };
        Stored { content: Content::Hash(fields.iter().map(field).collect()), deadline_ms: None }
    }

    fn string(deadline_ms: Option<u64>) -> Stored {
        Stored { content: Content::Other(Value::String(Bytes::from_static(b"v"))), deadline_ms }
    }

    fn state(stored: &[Stored]) -> State {
        let names = ["k1", "k2", "k3"].map(|name| Bytes::from_static(name.as_bytes()));
        State {
            keys: names.into_iter().zip(stored.iter().cloned()).collect(),
            key_count: stored.len() as i64,
            read_ms: (NOW_MS, NOW_MS),
        }
    }

    fn kind_of(difference: Option<Difference>) -> Option<Kind> {
        difference.map(|difference| difference.kind)
    }

    #[test]
    fn dead_fields_count_like_any_others_at_rest() {
        let full = state(&[hash(&[("a", "1", None), ("b", "2", Some(PAST_MS))])]);
        let cases = [
            (hash(&[("a", "1", None), ("b", "2", Some(PAST_MS))]), None),
            (hash(&[("a", "1", None)]), Some(Kind::FieldMissing)),
            (hash(&[("a", "1", None), ("b", "2", Some(FUTURE_MS))]), Some(Kind::FieldDeadline)),
            (hash(&[("a", "1", None), ("b", "2", None)]), Some(Kind::FieldDeadline)),
            (hash(&[("a", "1", None), ("b", "3", Some(PAST_MS))]), Some(Kind::Value)),
            (hash(&[("a", "1", None), ("b", "2", Some(PAST_MS)), ("c", "", None)]), Some(Kind::FieldExtra)),
            (string(None), Some(Kind::Type)),
        ];
        for (stored, expected) in cases {
            assert_eq!(
                kind_of(compare(full.clone(), state(std::slice::from_ref(&stored)))),
                expected,
                "{stored:?}"
            );
        }
    }

    #[test]
    fn keys_are_compared_by_presence_deadline_and_number() {
        let full = state(&[string(Some(FUTURE_MS)), string(None)]);
        assert_eq!(kind_of(compare(full.clone(), state(&[string(Some(FUTURE_MS))]))), Some(Kind::KeyMissing));
        assert_eq!(kind_of(compare(state(&[]), full.clone())), Some(Kind::KeyExtra));
        assert_eq!(kind_of(compare(full, state(&[string(None), string(None)]))), Some(Kind::KeyDeadline));

        // A key that the replica hides is not missing, as long as the replica counts it.
        let mut hidden = state(&[]);
        hidden.key_count = 1;
        let due = state(&[string(Some(PAST_MS))]);
        assert_eq!(kind_of(compare(due.clone(), hidden)), None);
        assert_eq!(kind_of(compare(due, state(&[]))), Some(Kind::HiddenKeys));
    }

    #[test]
    fn a_promotion_may_reclaim_what_is_dead_and_nothing_else() {
        let before =
            state(&[hash(&[("a", "1", Some(FUTURE_MS)), ("b", "2", Some(PAST_MS))]), string(Some(PAST_MS))]);
        let cases = [
            (
                vec![hash(&[("a", "1", Some(FUTURE_MS)), ("b", "2", Some(PAST_MS))]), string(Some(PAST_MS))],
                None,
            ),
            (vec![hash(&[("a", "1", Some(FUTURE_MS))])], None),
            (vec![hash(&[("b", "2", Some(PAST_MS))])], Some(Kind::LostByPromotion)),
            (vec![], Some(Kind::LostByPromotion)),
            (vec![hash(&[("a", "1", None)])], Some(Kind::RevivedByPromotion)),
            (vec![hash(&[("a", "1", Some(FUTURE_MS)), ("b", "2", None)])], Some(Kind::RevivedByPromotion)),
            (vec![hash(&[("a", "1", Some(FUTURE_MS)), ("c", "", None)])], Some(Kind::RevivedByPromotion)),
        ];
        for (promoted, expected) in cases {
            assert_eq!(kind_of(compare_promoted(before.clone(), state(&promoted))), expected, "{promoted:?}");
        }
    }
}
