//! What was measured: a cell for each load, a line in it for each peer.

use super::peers::Kind;
use super::roster::Peer;
use super::rounds::Spread;

/// What a cell measures. Each has its unit, and a direction in which it is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Append,
    AppendBeside,
    Delivery,
    Read,
    /// Append over the lengths of frames.
    Lengths,
    /// From the call of the append until a reader could read the frame.
    Readable,
    /// From the return of the append until then.
    Hidden,
    /// From the return of the append until a reading thread, which yields as all do, had read it.
    ReadBack,
    /// As the first two, while one writer stands still.
    ReadableStopped,
    HiddenStopped,
}

impl Metric {
    pub const ALL: [Metric; 10] = [
        Metric::Append,
        Metric::AppendBeside,
        Metric::Delivery,
        Metric::Read,
        Metric::Lengths,
        Metric::Readable,
        Metric::Hidden,
        Metric::ReadBack,
        Metric::ReadableStopped,
        Metric::HiddenStopped,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Metric::Append => "append, no reader",
            Metric::AppendBeside => "append beside readers",
            Metric::Delivery => "delivery to all readers together",
            Metric::Read => "read by one of what was written in turn before",
            Metric::Lengths => "append beside a reader, over lengths",
            Metric::Readable => "call of the append to readable",
            Metric::Hidden => "hidden after the append returned",
            Metric::ReadBack => "append returned to read by the reader's thread, all yielding",
            Metric::ReadableStopped => {
                "call of the append to readable, one writer at a time stopped for 10 ms"
            }
            Metric::HiddenStopped => {
                "hidden after the append returned, one writer at a time stopped for 10 ms"
            }
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Metric::Append | Metric::AppendBeside => "million frames/s",
            Metric::Delivery | Metric::Read | Metric::Lengths => "GB/s",
            _ => "microseconds, 99.9 % within",
        }
    }

    pub fn is_rate(self) -> bool {
        matches!(
            self,
            Metric::Append | Metric::AppendBeside | Metric::Delivery | Metric::Read | Metric::Lengths
        )
    }
}

/// Of all rounds together, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Percentiles {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
}

#[derive(Debug)]
pub struct Line {
    pub peer: &'static str,
    pub kind: Kind,
    /// Over the rounds: of rates, or of 99.9th percentiles.
    pub spread: Spread,
    pub percentiles: Option<Percentiles>,
}

#[derive(Debug)]
pub struct Cell {
    pub metric: Metric,
    pub frame_bytes: usize,
    pub writers: usize,
    pub readers: usize,
    pub lines: Vec<Line>,
}

impl Cell {
    pub fn of_rates(
        metric: Metric,
        (frame_bytes, writers, readers): (usize, usize, usize),
        peers: &[&Peer],
        measured: Vec<Vec<f64>>,
    ) -> Self {
        let lines = peers.iter().zip(measured).map(|(peer, values)| Line {
            peer: peer.name,
            kind: peer.kind,
            spread: Spread::of(values),
            percentiles: None,
        });
        Self { metric, frame_bytes, writers, readers, lines: lines.collect() }
    }

    pub fn load(&self) -> String {
        let threads = format!("{} writers, {} readers", self.writers, self.readers);
        format!("{}, {}, {threads}", self.metric.title(), bytes_name(self.frame_bytes))
    }

    pub fn product(&self) -> Option<&Line> {
        self.lines.iter().find(|line| line.kind == Kind::Product)
    }

    /// How much better the product is than that: above 1 better, below 1 worse.
    pub fn ratio(&self, line: &Line) -> f64 {
        let (product, peer) =
            (self.product().map_or(f64::NAN, |product| product.spread.median), line.spread.median);
        match self.metric.is_rate() {
            true => product / peer,
            // Both never: as good.
            false if product == 0.0 && peer == 0.0 => 1.0,
            false => peer / product,
        }
    }
}

pub fn bytes_name(bytes: usize) -> String {
    if bytes < 1024 { format!("{bytes} B") } else { format!("{} KiB", bytes / 1024) }
}
