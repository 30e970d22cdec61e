//! Steps with a column for each thread, one line each, the place in the source at the right.
//!
//! Most steps of an execution matter to nobody but their thread. What is left out: what the first thread does
//! before there is another; words that one thread alone touches or that nobody changes, and looks that find
//! what the last look found; plain memory that no two threads fight for; guards under which nothing is
//! retired. How many steps were left out stands where they were. What is always there: fences, frees, the
//! steps of a weakened ordering, and the last steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Recorded, Step, Touch};

/// The last steps, which are always drawn.
const LAST: usize = 8;
/// Lines of a drawing; if there are more, those in the beginning go first.
const LINES: usize = 60;
/// So few steps are left out without a line that says so.
const FEW: usize = 10;
/// The narrowest column.
const NARROWEST: usize = 12;
/// What a line that goes on is moved in by.
const INDENT: &str = "  ";

/// A line of the drawing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// The step of this number.
    Step(usize),
    /// So many steps that matter little.
    Left(usize),
}

/// Draws the steps. The name of the ordering that was weakened is shown as what it was weakened to.
pub fn draw(recorded: &Recorded, mutation: Option<&str>, width: usize, all_steps: bool) -> String {
    let steps = &recorded.steps;
    if steps.is_empty() {
        return "  (no step was recorded)\n".to_owned();
    }
    let lines = if all_steps { (0..steps.len()).map(Line::Step).collect() } else { choose(steps, mutation) };
    let threads: BTreeSet<usize> =
        lines.iter().filter_map(|line| line.step(steps)).map(|step| step.thread).collect();
    let threads: Vec<_> = threads.into_iter().collect();
    let number_width = steps.len().to_string().len().max(2);
    let place_width =
        lines.iter().filter_map(|line| line.step(steps)?.place.as_deref()).map(str::len).max().unwrap_or(0);
    let between = 3 * threads.len() + 5;
    let left = width.saturating_sub(number_width + place_width + between);
    let wanted = wanted_widths(recorded, &lines, &threads, mutation);
    let widths = share(&wanted, left);

    let mut text = String::new();
    let heads: Vec<_> = threads.iter().map(|number| head(*number, recorded)).collect();
    row(&mut text, "", number_width, &heads, &widths, "");
    let rules: Vec<_> = widths.iter().map(|width| "─".repeat(*width)).collect();
    row(&mut text, "", number_width, &rules, &widths, "");
    for line in &lines {
        match line {
            // The numbers say it.
            Line::Left(..FEW) => {}
            Line::Left(count) => {
                let said = format!("({count} steps that change nothing here)");
                row(&mut text, "…", number_width, &note(&threads, &said), &widths, "");
            }
            Line::Step(at) => {
                let step = &steps[*at];
                let cells: Vec<_> = threads
                    .iter()
                    .map(|number| if *number == step.thread { say(step, mutation) } else { String::new() })
                    .collect();
                let number = (at + 1).to_string();
                row(
                    &mut text,
                    &number,
                    number_width,
                    &cells,
                    &widths,
                    step.place.as_deref().unwrap_or_default(),
                );
            }
        }
    }
    let drawn = lines.iter().filter(|line| line.step(steps).is_some()).count();
    if drawn < steps.len() {
        let _ = writeln!(
            text,
            "  {drawn} of {} steps are drawn; --replay with --all-steps draws the others.",
            steps.len()
        );
    }
    let last = &recorded.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let who = recorded.thread.map_or_else(String::new, |number| format!("{}: ", recorded.called(number)));
    let place = recorded.place.as_deref().map_or_else(String::new, |place| format!("  ({place})"));
    let _ = writeln!(text, "  ✗ {who}{}{place}", last.trim());
    text
}

impl Line {
    fn step(self, steps: &[Step]) -> Option<&Step> {
        match self {
            Self::Step(at) => steps.get(at),
            Self::Left(_) => None,
        }
    }
}

/// A step in its column: the named ordering, and what was done.
fn say(step: &Step, mutation: Option<&str>) -> String {
    match &step.name {
        Some(name) => {
            let weakened = mutation.filter(|mutation| mutation.split('=').next() == Some(name));
            format!("{} {}", weakened.unwrap_or(name), step.did)
        }
        None => step.did.clone(),
    }
}

fn note(threads: &[usize], said: &str) -> Vec<String> {
    threads.iter().enumerate().map(|(at, _)| if at == 0 { said.to_owned() } else { String::new() }).collect()
}

/// Whether a step is one of a kind.
type Does = fn(&Step) -> bool;

/// What a thread is called, and what it does in this execution.
fn head(number: usize, recorded: &Recorded) -> String {
    let roles: [(&str, Does); 6] = [
        ("attaches", |step| step.is_named(&["SLOT_CLAIM", "SLOTS_PUSH"])),
        ("appends", |step| step.is_named(&["CELL_PUBLISH"]) && step.touch == Touch::Write),
        ("trims", |step| step.is_named(&["FLOOR_RAISE"])),
        ("evicts", |step| step.is_named(&["SLOT_EVICT"]) && step.touch == Touch::Write),
        ("waits", |step| step.is_named(&["PARK"])),
        ("frees", |step| step.touch == Touch::Free),
    ];
    let own = || recorded.steps.iter().filter(|step| step.thread == number);
    let does: Vec<_> = roles.iter().filter(|(_, does)| own().any(does)).map(|(role, _)| *role).collect();
    let called = recorded.called(number);
    if does.is_empty() { called } else { format!("{called} ({})", does.join(", ")) }
}

impl Step {
    fn is_named(&self, names: &[&str]) -> bool {
        self.name.as_deref().is_some_and(|name| names.contains(&name))
    }
}

/// Which steps are drawn.
fn choose(steps: &[Step], mutation: Option<&str>) -> Vec<Line> {
    let mut matter = matter(steps);
    let weakened = mutation.and_then(|mutation| mutation.split('=').next());
    let is_weakened = |step: &Step| step.name.is_some() && step.name.as_deref() == weakened;
    // If there is too much, what comes first goes first.
    let begin = begin(steps);
    let mut drawn = 0;
    for (at, matters) in matter.iter_mut().enumerate().rev() {
        let kept = at >= begin && is_weakened(&steps[at]);
        *matters = kept || (*matters && drawn < LINES);
        drawn += usize::from(*matters);
    }
    let mut lines = Vec::new();
    for (at, matters) in matter.into_iter().enumerate() {
        match (matters, lines.last_mut()) {
            (true, _) => lines.push(Line::Step(at)),
            (false, Some(Line::Left(count))) => *count += 1,
            (false, _) => lines.push(Line::Left(1)),
        }
    }
    lines
}

/// The first step of a thread that is not the first.
fn begin(steps: &[Step]) -> usize {
    steps.iter().position(|step| step.thread != 0).unwrap_or(0)
}

fn matter(steps: &[Step]) -> Vec<bool> {
    let begin = begin(steps);
    // Who touches what, once there are others; and whether anybody changes it.
    let mut touched: BTreeMap<&str, (BTreeSet<usize>, bool)> = BTreeMap::new();
    for step in &steps[begin..] {
        if let Some(thing) = step.touches.as_deref() {
            let entry = touched.entry(thing).or_default();
            entry.0.insert(step.thread);
            entry.1 |= matches!(step.touch, Touch::Write | Touch::PlainWrite | Touch::Free);
        }
    }
    let shared = |step: &Step| {
        let known = step.touches.as_deref().and_then(|thing| touched.get(thing));
        known.is_some_and(|(threads, changed)| threads.len() > 1 && *changed)
    };
    let freed: BTreeSet<_> =
        steps.iter().filter(|step| step.touch == Touch::Free).map(|step| &step.touches).collect();
    // Of the uses of what is freed, each thread's last before another thread does something.
    let last_use = |at: usize, step: &Step| {
        freed.contains(&step.touches) && steps.get(at + 1).is_none_or(|next| next.thread != step.thread)
    };
    let guards = guards(steps);
    let mut looked: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    let mut matter = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let thing = step.touches.as_deref().unwrap_or_default();
        let before = looked.insert((step.thread, thing), &step.did);
        let nothing_new = step.touch == Touch::Read && before == Some(step.did.as_str());
        let says_something = at >= begin
            && match step.touch {
                Touch::Guard => guards.contains(&at),
                Touch::Order | Touch::Free => true,
                Touch::Read | Touch::Write | Touch::PlainWrite => shared(step) && !nothing_new,
                Touch::Use => last_use(at, step),
                Touch::PlainRead => false,
            };
        matter.push(says_something || at + LAST >= steps.len());
    }
    matter
}

/// The steps of the guards under which another thread retires or frees something.
fn guards(steps: &[Step]) -> BTreeSet<usize> {
    let mut open: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
    let mut guards = BTreeSet::new();
    for (at, step) in steps.iter().enumerate() {
        match (step.touch, open.remove(&step.thread)) {
            (Touch::Guard, None) => {
                open.insert(step.thread, (at, false));
            }
            (Touch::Guard, Some((pinned, true))) => guards.extend([pinned, at]),
            (Touch::Guard, Some((_, false))) => {}
            (_, Some(guard)) => {
                open.insert(step.thread, guard);
            }
            (_, None) => {}
        }
        if step.touch == Touch::Free || step.did.starts_with("retire") {
            for (_, (_, matters)) in open.iter_mut().filter(|(thread, _)| **thread != step.thread) {
                *matters = true;
            }
        }
    }
    guards.extend(open.into_values().filter(|(_, matters)| *matters).map(|(pinned, _)| pinned));
    guards
}

fn wanted_widths(
    recorded: &Recorded,
    lines: &[Line],
    threads: &[usize],
    mutation: Option<&str>,
) -> Vec<usize> {
    let steps = &recorded.steps;
    let wanted = |number: &usize| {
        let said = lines.iter().filter_map(|line| line.step(steps)).filter(|step| step.thread == *number);
        let longest = said.map(|step| say(step, mutation).chars().count()).max().unwrap_or(0);
        longest.max(head(*number, recorded).chars().count().min(2 * NARROWEST))
    };
    threads.iter().map(wanted).collect()
}

/// Shares the columns of a line: who wants less than its part gets what it wants.
fn share(wanted: &[usize], total: usize) -> Vec<usize> {
    let mut widths = wanted.to_vec();
    let mut left = total;
    let mut open: Vec<_> = (0..wanted.len()).collect();
    while !open.is_empty() {
        let part = (left / open.len()).max(NARROWEST);
        let content: Vec<_> = open.iter().copied().filter(|at| wanted[*at] <= part).collect();
        if content.is_empty() {
            for at in open {
                widths[at] = part;
            }
            return widths;
        }
        for at in content {
            left = left.saturating_sub(wanted[at]);
            open.retain(|other| *other != at);
        }
    }
    widths
}

/// A line of the drawing; text that is too long for its column goes on below.
fn row(
    text: &mut String,
    number: &str,
    number_width: usize,
    cells: &[String],
    widths: &[usize],
    place: &str,
) {
    let wrapped: Vec<Vec<String>> =
        cells.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(1).max(1);
    for at in 0..height {
        let number = if at == 0 { number } else { "" };
        let mut line = format!("  {number:>number_width$}");
        for (column, width) in wrapped.iter().zip(widths) {
            let part = column.get(at).map_or("", String::as_str);
            let _ = write!(line, " │ {part:<width$}");
        }
        if at == 0 && !place.is_empty() {
            let _ = write!(line, "   {place}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Breaks a text between words, and a word that is longer than a line wherever the line ends.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut letters: Vec<char> = word.chars().collect();
        while !letters.is_empty() {
            let first = lines.len() == 1;
            let Some(line) = lines.last_mut() else { return lines };
            let begun = line.trim_start().chars().count() > 0;
            let room = width.saturating_sub(line.chars().count() + usize::from(begun));
            if begun && letters.len() > room {
                lines.push(INDENT.to_owned());
                continue;
            }
            let taken: String = letters.drain(..letters.len().min(room.max(1))).collect();
            if begun && (first || line.len() > INDENT.len()) {
                line.push(' ');
            }
            line.push_str(&taken);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(thread: usize, name: &str, did: &str, touches: &str, touch: Touch) -> Step {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Step {
            thread,
            name: some(name),
            did: did.to_owned(),
            touches: some(touches),
            touch,
            place: some("segment.rs:7"),
        }
    }

    fn execution() -> Recorded {
        let mut steps: Vec<_> =
            (0..30).map(|_| step(0, "HINT_LOAD", "load hint -> 0", "hint", Touch::Read)).collect();
        steps.push(step(1, "CELL_PUBLISH", "cas cell1: empty -> record1  ok", "cell1", Touch::Write));
        steps.extend((0..5).map(|_| step(1, "COUNTER", "add 1 to counter", "counter", Touch::Write)));
        steps.push(step(2, "CELL_LOAD", "load cell1 -> record1", "cell1", Touch::Read));
        steps.extend((0..LAST).map(|_| step(2, "FLOOR_LOAD", "load floor -> 3", "floor", Touch::Read)));
        Recorded {
            message: "I6: used after it was freed".to_owned(),
            place: Some("model.rs:266".to_owned()),
            thread: Some(2),
            steps,
            ..Recorded::default()
        }
    }

    #[test]
    fn each_thread_has_its_column_and_each_step_its_line() {
        let drawn = draw(&execution(), None, 140, false);
        let lines: Vec<_> = drawn.lines().collect();
        assert!(lines[0].contains("thread 1 (appends)") && lines[0].contains("thread 2"), "{drawn}");
        let cas = lines.iter().find(|line| line.contains("CELL_PUBLISH cas cell1")).expect(&drawn);
        let load = lines.iter().find(|line| line.contains("CELL_LOAD load cell1")).expect(&drawn);
        assert!(cas.find("CELL_PUBLISH") < load.find("CELL_LOAD"), "{drawn}");
        assert!(cas.trim_start().starts_with("31 ") && cas.ends_with("segment.rs:7"), "{drawn}");
        assert!(drawn.ends_with("  ✗ thread 2: I6: used after it was freed  (model.rs:266)\n"), "{drawn}");
    }

    #[test]
    fn what_matters_to_no_other_is_counted_and_left_out() {
        let drawn = draw(&execution(), None, 140, false);
        assert!(drawn.contains("(30 steps that change nothing here)"), "{drawn}");
        assert!(drawn.contains(" 10 of 45 steps are drawn"), "{drawn}");
        assert!(!drawn.contains("COUNTER"), "{drawn}");
        let all = draw(&execution(), None, 140, true);
        assert_eq!(all.matches("COUNTER").count(), 5, "{all}");
        assert!(!all.contains('…') && !all.contains("are drawn"), "{all}");
    }

    #[test]
    fn a_drawing_fits_its_width() {
        for width in [80, 100, 140] {
            let drawn = draw(&execution(), None, width, true);
            let widest = drawn.lines().map(|line| line.chars().count()).max().unwrap_or(0);
            assert!(widest <= width, "{widest} > {width}\n{drawn}");
        }
    }

    #[test]
    fn a_text_is_broken_between_words_and_never_wider_than_its_column() {
        assert_eq!(wrap("load cell1 -> record1", 30), ["load cell1 -> record1"]);
        assert_eq!(wrap("load cell1 -> record1", 12), ["load cell1", "  -> record1"]);
        for width in 12..30 {
            let lines = wrap("SLOT_RELEASE_STORE_AND_MORE store slot1.word <- 0xfffffffffffd", width);
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:?}");
            let whole: String = lines.concat().replace(' ', "");
            assert_eq!(whole, "SLOT_RELEASE_STORE_AND_MOREstoreslot1.word<-0xfffffffffffd");
        }
    }

    #[test]
    fn a_weakened_ordering_is_shown_as_what_it_was_weakened_to() {
        let drawn = draw(&execution(), Some("CELL_LOAD=Relaxed"), 140, false);
        assert!(drawn.contains("CELL_LOAD=Relaxed load cell1"), "{drawn}");
        assert!(drawn.contains("CELL_PUBLISH cas"), "{drawn}");
    }
}
