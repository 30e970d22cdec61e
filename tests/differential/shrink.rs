//! From a sequence that shows a difference to the shortest part of it that does.

use std::time::{Duration, Instant};

/// When to be content with what was found.
const PATIENCE: Duration = Duration::from_secs(90);

/// Removes what is not needed to make `fails` true: ever smaller pieces, until no single item can be left out
/// (delta debugging). `fails` must be true of `items`.
pub fn shrink<T: Clone>(items: &[T], mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let start = Instant::now();
    let mut items = items.to_vec();
    let mut piece = items.len().div_ceil(2);
    while piece > 0 && start.elapsed() < PATIENCE {
        let mut removed = false;
        let mut at = 0;
        while at < items.len() && start.elapsed() < PATIENCE {
            let mut without = items[..at].to_vec();
            without.extend_from_slice(&items[(at + piece).min(items.len())..]);
            if !without.is_empty() && fails(&without) {
                items = without;
                removed = true;
            } else {
                at += piece;
            }
        }
        // One more round of single items while they help: an early one may have needed a later one.
        piece = if piece == 1 && removed { 1 } else { piece / 2 };
    }
    items
}
