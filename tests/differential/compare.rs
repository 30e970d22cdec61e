//! When two replies are the same.

use std::time::Duration;

use replcore::resp::Reply;

use super::commands::Check;

/// By how much two times may differ that both servers count from now: as long as the slowest batch took so
/// far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slack {
    pub ms: i64,
}

impl Default for Slack {
    fn default() -> Self {
        Slack { ms: 2 }
    }
}

impl Slack {
    /// A batch took this long.
    pub fn widen(&mut self, batch: Duration) {
        self.ms = self.ms.max(i64::try_from(batch.as_millis()).unwrap_or(i64::MAX) + 2);
    }

    /// For what is left of a time: it was set at one moment and read at another.
    fn twice(self) -> Slack {
        Slack { ms: self.ms.saturating_mul(2) }
    }

    /// Whether two times in milliseconds may be the same.
    pub fn covers(self, ours_ms: i64, theirs_ms: i64) -> bool {
        ours_ms.abs_diff(theirs_ms) <= self.ms.unsigned_abs()
    }
}

/// Whether two replies are the same, as far as `check` can tell.
pub fn same_reply(check: Check, ours: &Reply, theirs: &Reply, slack: Slack) -> bool {
    match (check, ours, theirs) {
        (_, Reply::Error(ours), Reply::Error(theirs)) => ours == theirs,
        // One of each field.
        (Check::Milliseconds | Check::Seconds, Reply::Array(ours), Reply::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_reply(check, ours, theirs, slack))
        }
        (Check::Milliseconds, Reply::Integer(ours), Reply::Integer(theirs)) if *ours >= 0 && *theirs >= 0 => {
            slack.twice().covers(*ours, *theirs)
        }
        (Check::Seconds, Reply::Integer(ours), Reply::Integer(theirs)) if *ours >= 0 && *theirs >= 0 => {
            slack.twice().covers(ours.saturating_mul(1_000), theirs.saturating_mul(1_000))
                || ours.abs_diff(*theirs) <= 1
        }
        (Check::Multiset, ours, theirs) => multiset(ours, 1) == multiset(theirs, 1),
        (Check::Pairs, ours, theirs) => multiset(ours, 2) == multiset(theirs, 2),
        (Check::Shape | Check::Draw | Check::RandomKey | Check::Pop | Check::Dump, ours, theirs) => {
            shape(ours) == shape(theirs)
        }
        (Check::Encoding, Reply::Bulk(ours), Reply::Bulk(theirs)) => {
            ours == theirs || (ours == "listpack" && theirs == "skiplist")
        }
        // References to a value: Valkey counts those of a transaction's arguments.
        (Check::Encoding, Reply::Integer(1), Reply::Integer(theirs)) if *theirs > 1 => true,
        // Pages are cut differently.
        (Check::Sweep, Reply::Array(_), Reply::Array(_)) => true,
        (_, Reply::Double(ours), Reply::Double(theirs)) => {
            ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan())
        }
        (_, ours, theirs) => ours == theirs,
    }
}

/// The types and lengths of a reply.
fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) | Reply::Set(items) => {
            let kind = if matches!(reply, Reply::Set(_)) { "set" } else { "array" };
            format!("{} {kind} of {}", items.len(), items.first().map_or_else(String::new, shape))
        }
        Reply::Map(pairs) => format!("map of {}", pairs.len()),
        Reply::Integer(_) => "integer".to_owned(),
        Reply::Double(_) => "double".to_owned(),
        Reply::Bulk(_) => "bulk".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The kind of an aggregate and its elements, `stride` at a time, in a fixed order.
fn multiset(reply: &Reply, stride: usize) -> (String, Vec<String>) {
    let (kind, mut elements): (&str, Vec<String>) = match reply {
        Reply::Array(items) => ("array", items.chunks(stride).map(|chunk| format!("{chunk:?}")).collect()),
        Reply::Set(items) => ("set", items.chunks(stride).map(|chunk| format!("{chunk:?}")).collect()),
        Reply::Map(pairs) => ("map", pairs.iter().map(|pair| format!("{pair:?}")).collect()),
        other => return (format!("{other:?}"), Vec::new()),
    };
    elements.sort_unstable();
    (kind.to_owned(), elements)
}
