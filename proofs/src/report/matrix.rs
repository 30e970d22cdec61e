//! Invariants against proofs: who stands for what.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Report, Row};

/// A name that is in some row, sorted as a person would: `I2` before `I10`, invariants before properties.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(bool, usize, String);

impl Name {
    fn new(name: &str) -> Self {
        let number = name.strip_prefix('I').and_then(|number| number.parse().ok());
        Self(number.is_none(), number.unwrap_or(0), name.to_owned())
    }
}

/// The invariants and properties that some row is about, in order.
pub(super) fn invariants(report: &Report) -> Vec<String> {
    let names: BTreeSet<_> =
        report.rows.iter().flat_map(|row| &row.invariants).map(|name| Name::new(name)).collect();
    names.into_iter().map(|name| name.2).collect()
}

/// What proves something by itself, rather than by being caught.
pub(super) fn proofs(report: &Report) -> Vec<&Row> {
    let proves = |row: &&Row| {
        let by_itself = matches!(
            row.kind,
            Kind::Model | Kind::Stall | Kind::Unbounded | Kind::Protocol | Kind::Refinement
        );
        by_itself && !row.invariants.is_empty()
    };
    report.rows.iter().filter(proves).collect()
}

/// How many mutations of a model were caught, and how many there were.
pub(super) fn caught(report: &Report) -> BTreeMap<&str, (usize, usize)> {
    let mut caught: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for row in report.of(Kind::Mutation) {
        let (good, all) = caught.entry(&row.subject).or_default();
        *good += usize::from(row.is_good());
        *all += 1;
    }
    caught
}
