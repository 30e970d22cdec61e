//! Forms in which commands have been propagated, and must not be.

use bytes::Bytes;
use replcore::rewrite::{Argv, Effects, Op};

use super::{Sent, argv};

/// One historical form, put in the place of the shipped one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhibit {
    // Keys.
    SetRelative,
    SetexVerbatim,
    GetexVerbatim,
    ExpireRelative,
    RestoreRelative,
    SetPastVerbatim,
    IncrbyfloatVerbatim,
    IncrbyfloatWithoutKeepttl,
    SpopVerbatim,
    LazyExpirySilent,
    ActiveExpirySilent,
    SelectLost,
    // Hash fields.
    KeepttlVerbatim,
    KeepttlOverLeftover,
    HexpireFullList,
    HexpireRelative,
    HpersistFullList,
    HdelFullList,
    HgetdelFullList,
    HincrbyVerbatim,
    HincrbyfloatPlainHset,
    HsetnxVerbatim,
    HsetexRelative,
    HsetexPastVerbatim,
    ConditionDroppedByName,
    FieldReclaimSilent,
    // Promotion.
    PromotedNeverReclaims,
    PromotedDropsSilently,
    PromotedRevives,
    PromotedStillIgnores,
}

impl Exhibit {
    /// What the `effects` of `unit` would have been.
    pub fn in_place_of<'a>(self, effects: &Effects<'a>, unit: &[Sent]) -> Effects<'a> {
        let mut historical = effects.clone();
        let is_deletion = |op: &Op<'_>| [&b"UNLINK"[..], b"DEL"].contains(&&op.argv[0][..]);
        if self == Exhibit::LazyExpirySilent {
            // A client's own deletion goes out as it was sent, in another spelling or after these.
            let by_client = |op: &Op<'_>| unit.iter().any(|sent| sent.argv[..] == op.argv[..]);
            historical.ops.retain(|op| !is_deletion(op) || by_client(op));
            return historical;
        }
        // The command's own operations are the last ones.
        let [Sent { db, argv: sent }] = unit else { return historical };
        let name = sent[0].to_ascii_lowercase();
        let Some(own) = historical.ops.last().cloned() else { return historical };
        if let Some(command) = self.of_fields(sent, &name, &own.argv) {
            // Case A was to be right about the leftovers.
            let keeps = |op: &Op<'_>| self == Exhibit::KeepttlVerbatim && op.argv[0] == b"HDEL"[..];
            historical.ops.retain(|op| is_deletion(op) || keeps(op));
            historical.push_command(*db, command);
            return historical;
        }
        let has = |option: &str| sent.iter().skip(2).any(|arg| arg.eq_ignore_ascii_case(option.as_bytes()));
        let own_is = |name: &str| own.argv[0].eq_ignore_ascii_case(name.as_bytes());
        let verbatim = match self {
            Exhibit::SetRelative => name == b"set" && own_is("SET") && (has("EX") || has("PX")),
            Exhibit::SetexVerbatim => name == b"setex" || name == b"psetex",
            Exhibit::GetexVerbatim => name == b"getex" && own_is("PEXPIREAT"),
            Exhibit::ExpireRelative => (name == b"expire" || name == b"pexpire") && own_is("PEXPIREAT"),
            Exhibit::RestoreRelative => name == b"restore" && own_is("RESTORE"),
            Exhibit::SetPastVerbatim => name == b"set" && is_deletion(&own),
            Exhibit::IncrbyfloatVerbatim => name == b"incrbyfloat",
            Exhibit::SpopVerbatim => name == b"spop" && own_is("SREM"),
            Exhibit::IncrbyfloatWithoutKeepttl => {
                if name == b"incrbyfloat" {
                    let shorter = own.argv[..3].to_vec();
                    historical.ops.pop();
                    historical.push_command(*db, shorter);
                }
                false
            }
            _ => false,
        };
        if verbatim {
            historical.ops.retain(|op| is_deletion(op) && name != b"set");
            historical.push_command(*db, sent.clone());
        }
        historical
    }

    /// What a command on fields called `name`, sent like this, would have been propagated as in the place of
    /// its `own` last operation.
    fn of_fields(self, sent: &[Bytes], name: &[u8], own: &[Bytes]) -> Option<Argv> {
        let own_is = |name: &str| own[0].eq_ignore_ascii_case(name.as_bytes());
        let has = |options: &[&str]| {
            let is_one =
                |arg: &Bytes| options.iter().any(|option| arg.eq_ignore_ascii_case(option.as_bytes()));
            sent.iter().skip(2).take_while(|arg| !arg.eq_ignore_ascii_case(b"FIELDS")).any(is_one)
        };
        let sets_deadline = name.ends_with(b"expire") || name.ends_with(b"expireat");
        let is_sent = match self {
            Exhibit::KeepttlVerbatim | Exhibit::KeepttlOverLeftover => {
                return (name == b"hsetex" && has(&["KEEPTTL"])).then(|| without_condition_words(sent, 2));
            }
            Exhibit::HexpireFullList if name.starts_with(b"h") && sets_deadline && own_is("HPEXPIREAT") => {
                let head = [argv(["HPEXPIREAT"]), vec![sent[1].clone(), own[2].clone()]].concat();
                return Some([&head[..], &sent[3..]].concat());
            }
            Exhibit::HincrbyfloatPlainHset if name == b"hincrbyfloat" && own_is("HSETEX") => {
                return Some([&argv(["HSET"])[..], &sent[1..3], &own[7..]].concat());
            }
            Exhibit::ConditionDroppedByName if own_is("HSETEX") => {
                return Some(without_condition_words(own, 0));
            }
            Exhibit::HexpireRelative => sets_deadline && own_is("HPEXPIREAT"),
            Exhibit::HpersistFullList => name == b"hpersist",
            Exhibit::HdelFullList => name == b"hdel",
            Exhibit::HgetdelFullList => name == b"hgetdel",
            Exhibit::HincrbyVerbatim => name == b"hincrby",
            Exhibit::HsetnxVerbatim => name == b"hsetnx",
            Exhibit::HsetexRelative => name == b"hsetex" && has(&["EX", "PX"]) && own_is("HSETEX"),
            Exhibit::HsetexPastVerbatim => name == b"hsetex" && !has(&["KEEPTTL"]) && own_is("HDEL"),
            _ => false,
        };
        is_sent.then(|| sent.to_vec())
    }
}

/// An `HSETEX` without the words of conditions that are found from `from` on: an unguarded search begins at
/// the command's name and meets the key.
fn without_condition_words(sent: &[Bytes], from: usize) -> Argv {
    let words = argv(["FNX", "FXX", "NX", "XX"]);
    let is_condition = |arg: &Bytes| words.iter().any(|word| word.eq_ignore_ascii_case(arg));
    let fields_at = sent.iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS")).unwrap_or(0);
    let is_kept = |(at, arg): &(usize, &Bytes)| !(from..fields_at).contains(at) || !is_condition(arg);
    sent.iter().enumerate().filter(is_kept).map(|(_, arg)| arg.clone()).collect()
}
