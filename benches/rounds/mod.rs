//! Peers in turn, and what their rounds measured.

// Every benchmark uses its part of this.
#![allow(dead_code)]

/// Runs the peers in turn, `rounds` times, and shifts the turn from round to round, so that what else the
/// machine does hits all. Returns what each measured, by peer.
pub fn in_turn<P, M>(peers: &[P], rounds: usize, mut run: impl FnMut(&P) -> M) -> Vec<Vec<M>> {
    let mut measured: Vec<Vec<M>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..peers.len() {
            let peer = (round + turn) % peers.len();
            measured[peer].push(run(&peers[peer]));
        }
    }
    measured
}

/// The middle of values in ascending order.
pub fn median(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let (below, above) = (sorted.len().saturating_sub(1) / 2, sorted.len() / 2);
    (at(below) + at(above)) / 2.0
}

/// What several rounds measured.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { median: median(&values), least: at(0), most: at(values.len().saturating_sub(1)) }
    }
}
