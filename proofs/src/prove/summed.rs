//! What the mutations of a run say of every ordering and every fault.
//!
//! An ordering is summed up by the least that it can be weakened. A weaker one allows every execution that
//! the least weak one allows, the broken one among them; `cargo prove orderings`, and the full tier, run them
//! all the same.

use std::collections::BTreeMap;

use replcore::buffer::model::FAULTS;
use replcore_proofs::report::{Kind, Row, Verdict};

use super::weaker;

/// A row for each least weakening, unless orderings were run by themselves, and for each fault: the quickest
/// that caught it, or that nobody did.
pub fn up(rows: &[Row]) -> Vec<Row> {
    let were_run = rows.iter().any(|row| row.kind == Kind::Ordering);
    let mut by_mutation: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Mutation) {
        if let Some(mutation) = &row.mutation {
            by_mutation.entry(mutation).or_default().push(row);
        }
    }
    let found = |mutation: &str| by_mutation.get(mutation).map_or(&[][..], Vec::as_slice);
    let least = weaker::all().into_iter().filter(|weaker| weaker.is_least() && !were_run);
    let orderings = least.map(|weaker| {
        let mutation = weaker.mutation();
        let mut row = sum(Kind::Ordering, &mutation, found(&mutation), weaker.excuse());
        row.about = weaker.row.reason.trim().to_owned();
        row.bound = format!("{:?}", weaker.row.ordering);
        row
    });
    let faults = FAULTS.iter().map(|(_, name, about)| {
        let mut row = sum(Kind::Fault, name, found(name), None);
        row.about = about.trim().to_owned();
        row
    });
    orderings.chain(faults).collect()
}

fn sum(kind: Kind, mutation: &str, tried: &[&Row], excuse: Option<String>) -> Row {
    let mut row = Row::new(kind, mutation);
    row.mutation = Some(mutation.to_owned());
    let caught = tried.iter().filter(|row| row.verdict == Verdict::Caught);
    let quickest = caught.min_by(|one, other| one.seconds.total_cmp(&other.seconds));
    match (quickest, excuse) {
        (Some(quickest), _) => {
            row.verdict = Verdict::Caught;
            row.catcher = Some(quickest.subject.clone());
            row.found.clone_from(&quickest.found);
            row.invariants.clone_from(&quickest.invariants);
            row.seconds = quickest.seconds;
            row.explored = quickest.explored;
        }
        (None, Some(excuse)) => {
            row.verdict = Verdict::Excused;
            row.found = Some(excuse);
        }
        (None, None) => {
            row.verdict = Verdict::Missed;
            row.found = Some("no model catches it".to_owned());
        }
    }
    row
}
