//! Which of the requirements on the product hold, each with the cell where it comes closest to failing or
//! fails most.

use super::cells::{Cell, Line, Metric};
use super::peers::{Kind, LockedDeque, Stream};

/// A requirement: where it applies, the product is at least so many times as good.
struct Requirement {
    name: &'static str,
    applies: fn(&Cell, &Line) -> bool,
    at_least: f64,
    /// Being as good is not enough.
    strict: bool,
}

const REQUIREMENTS: [Requirement; 12] = [
    Requirement {
        name: "a  60 B and 1 KiB: ahead of everything that bounds its memory",
        applies: |cell, line| is_small(cell) && line.kind == Kind::Bounded,
        at_least: 1.0,
        strict: true,
    },
    Requirement {
        name: "a' the same, of what frees memory behind readers without a bound",
        applies: |cell, line| is_small(cell) && line.kind == Kind::Released,
        at_least: 1.0,
        strict: true,
    },
    Requirement {
        name: "b  60 B: x2.5 over the locked deque",
        applies: |cell, line| is_throughput(cell, 60) && line.peer == LockedDeque::NAME,
        at_least: 2.5,
        strict: false,
    },
    Requirement {
        name: "b  60 B: x1.5 over everything else that bounds its memory",
        applies: |cell, line| {
            is_throughput(cell, 60) && line.kind == Kind::Bounded && line.peer != LockedDeque::NAME
        },
        at_least: 1.5,
        strict: false,
    },
    Requirement {
        name: "c  64 KiB: x0.95 of everything that bounds its memory",
        applies: |cell, line| is_throughput(cell, 64 << 10) && line.kind == Kind::Bounded,
        at_least: 0.95,
        strict: false,
    },
    Requirement {
        name: "d  one writer stopped: readable 100 times as soon, 99.9 %",
        applies: |cell, line| cell.metric == Metric::ReadableStopped && line.kind != Kind::Sketch,
        at_least: 100.0,
        strict: false,
    },
    Requirement {
        name: "e  64 KiB: the yielding reader's 99.9 % within x1.2 of the best",
        applies: |cell, line| {
            cell.metric == Metric::ReadBack && cell.frame_bytes == 64 << 10 && line.kind != Kind::Sketch
        },
        at_least: 1.0 / 1.2,
        strict: false,
    },
    Requirement {
        name: "f  reserve-and-fill, 60 B, one writer: at most twice its time",
        applies: |cell, line| is_floor(cell, line, 60) && cell.writers == 1,
        at_least: 0.5,
        strict: false,
    },
    Requirement {
        name: "f  reserve-and-fill, 60 B, two writers or more: ahead",
        applies: |cell, line| is_floor(cell, line, 60) && cell.writers > 1,
        at_least: 1.0,
        strict: true,
    },
    Requirement {
        name: "f  reserve-and-fill, 1 KiB: ahead",
        applies: |cell, line| is_floor(cell, line, 1 << 10),
        at_least: 1.0,
        strict: true,
    },
    Requirement {
        name: "g  60 B: x0.75 of the sketch, where one is compiled in",
        applies: |cell, line| is_throughput(cell, 60) && line.kind == Kind::Sketch,
        at_least: 0.75,
        strict: false,
    },
    Requirement {
        name: "g  1 KiB: the same",
        applies: |cell, line| is_throughput(cell, 1 << 10) && line.kind == Kind::Sketch,
        at_least: 0.75,
        strict: false,
    },
];

fn is_throughput(cell: &Cell, frame_bytes: usize) -> bool {
    cell.metric.is_rate() && cell.metric != Metric::Lengths && cell.frame_bytes == frame_bytes
}

fn is_small(cell: &Cell) -> bool {
    is_throughput(cell, 60) || is_throughput(cell, 1 << 10)
}

fn is_floor(cell: &Cell, line: &Line, frame_bytes: usize) -> bool {
    cell.metric == Metric::Append && cell.frame_bytes == frame_bytes && line.kind == Kind::Floor
}

/// A line for each requirement that something was measured for.
pub fn lines(cells: &[Cell]) -> Vec<String> {
    REQUIREMENTS.iter().filter_map(|requirement| line(requirement, cells)).collect()
}

fn line(requirement: &Requirement, cells: &[Cell]) -> Option<String> {
    let pairs = cells.iter().flat_map(|cell| cell.lines.iter().map(move |line| (cell, line)));
    let judged = pairs
        .filter(|(cell, line)| line.kind != Kind::Product && (requirement.applies)(cell, line))
        .map(|(cell, line)| (cell.ratio(line), cell, line));
    let mut judged: Vec<_> = judged.collect();
    judged.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (worst, cell, peer) = judged.first()?;
    let holds =
        |ratio: f64| ratio > requirement.at_least || (!requirement.strict && ratio == requirement.at_least);
    let missed = judged.iter().filter(|(ratio, ..)| !holds(*ratio)).count();
    let word = if missed == 0 {
        format!("holds in {}", judged.len())
    } else {
        format!("MISSES {missed} of {}", judged.len())
    };
    Some(format!("{:<68} {word:<18} worst x{worst:.2}: {}, {}", requirement.name, cell.load(), peer.peer))
}
