//! Forms in which commands have been propagated, and must not be.

use bytes::Bytes;
use replcore::rewrite::{Effects, Op};

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
}

impl Exhibit {
    /// What the keyspace's `effects` of `unit` would have been.
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

    /// The form in which an unguarded search for condition words sent an `HSETEX`, the key among those searched.
    pub fn without_condition_words(finished: &[Bytes]) -> Vec<Bytes> {
        let words = argv(["FNX", "FXX", "NX", "XX"]);
        let is_condition = |arg: &Bytes| words.iter().any(|word| word.eq_ignore_ascii_case(arg));
        let fields_at = finished.iter().position(|arg| arg.eq_ignore_ascii_case(b"FIELDS")).unwrap_or(0);
        let kept = finished.iter().enumerate().filter(|(at, arg)| *at >= fields_at || !is_condition(arg));
        kept.map(|(_, arg)| arg.clone()).collect()
    }
}
