//! What the mutations of a run say of every ordering and every fault.

use std::collections::BTreeMap;

use replcore::buffer::model::FAULTS;
use replcore_proofs::report::{Kind, Row, Verdict};

use super::weaker;

/// A row for each weaker ordering and each fault: the quickest that caught it, or that nobody did.
pub fn up(rows: &[Row]) -> Vec<Row> {
    let mut by_mutation: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.kind == Kind::Mutation) {
        if let Some(mutation) = &row.mutation {
            by_mutation.entry(mutation).or_default().push(row);
        }
    }
    let found = |mutation: &str| by_mutation.get(mutation).map_or(&[][..], Vec::as_slice);
    let orderings = weaker::all().into_iter().map(|weaker| {
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
