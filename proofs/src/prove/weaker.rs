//! Every ordering that a named one could be weakened to, and the models that ought to notice.

use std::sync::atomic::Ordering;

use replcore::buffer::model::{Access, ORDERINGS, Row};

use crate::model::Model;
use crate::models;

/// A named ordering with a weaker one in its place.
#[derive(Clone, Copy, Debug)]
pub struct Weaker {
    /// The named one.
    pub row: &'static Row,
    /// The weaker one.
    pub ordering: Ordering,
}

/// Every weaker ordering of every row.
pub fn all() -> Vec<Weaker> {
    let weaker = |row: &'static Row| weaker_than(row).iter().map(move |&ordering| Weaker { row, ordering });
    ORDERINGS.iter().flat_map(weaker).collect()
}

/// The orderings weaker than a row's own, the strongest first.
fn weaker_than(row: &Row) -> &'static [Ordering] {
    use Ordering::{AcqRel, Acquire, Relaxed, Release};
    match (row.ordering, row.kind) {
        (Ordering::SeqCst, Access::Load) => &[Acquire, Relaxed],
        (Ordering::SeqCst, Access::Store) => &[Release, Relaxed],
        (Ordering::SeqCst, Access::Rmw | Access::Fence) => &[AcqRel, Acquire, Release, Relaxed],
        (AcqRel, _) => &[Acquire, Release, Relaxed],
        (Acquire | Release, _) => &[Relaxed],
        _ => &[],
    }
}

/// Whether `one` orders no more than `other`.
fn is_within(one: Ordering, other: Ordering) -> bool {
    use Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
    match (one, other) {
        (Relaxed, _) | (_, SeqCst) => true,
        (one, AcqRel) => one != SeqCst,
        (Acquire, Acquire) | (Release, Release) => true,
        _ => false,
    }
}

impl Weaker {
    /// As the programs call it.
    pub fn mutation(&self) -> String {
        format!("{}={:?}", self.row.name, self.ordering)
    }

    /// Models that name it as theirs to catch, then those that catch one that is less weak.
    pub fn catchers(&self) -> Vec<&'static Model> {
        let listed = |model: &&'static Model, same: bool| {
            model.controls.iter().filter_map(|control| control.split_once('=')).any(|(row, ordering)| {
                let Some(ordering) = ordering_named(ordering).filter(|_| row == self.row.name) else {
                    return false;
                };
                if same { ordering == self.ordering } else { is_within(self.ordering, ordering) }
            })
        };
        let (exact, rest): (Vec<_>, Vec<_>) = models::all()
            .into_iter()
            .filter(|model| listed(model, false))
            .partition(|model| listed(model, true));
        exact.into_iter().chain(rest).collect()
    }

    /// Why the checker cannot see it, if it cannot.
    pub fn excuse(&self) -> Option<String> {
        self.row.excuse.map(str::to_owned)
    }
}

fn ordering_named(name: &str) -> Option<Ordering> {
    use Ordering::{AcqRel, Acquire, Relaxed, Release};
    [Relaxed, Acquire, Release, AcqRel].into_iter().find(|ordering| format!("{ordering:?}") == name)
}
