//! A hunt in text for people, or as one JSON object a line for machines.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Counts, Event, Finding, KeyStates, PlayedStep, Summary};

/// Writes events to `out`; progress goes to standard error if that is a terminal.
pub struct Reporter<W> {
    out: W,
    json: bool,
    shows_progress: bool,
}

impl<W: Write> Reporter<W> {
    /// A reporter in one of the two forms.
    pub fn new(out: W, json: bool) -> Reporter<W> {
        Reporter { out, json, shows_progress: !json && std::io::stderr().is_terminal() }
    }

    /// Writes what happened. A reader that went away is no reason to stop the hunt: what cannot be written is
    /// lost.
    pub fn tell(&mut self, event: &Event<'_>) {
        let written = if self.json { self.machine(event) } else { self.human(event) };
        let _ = written.and_then(|()| self.out.flush());
    }

    fn machine(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        let object = match event {
            Event::Started(notes) => json!({ "event": "started", "notes": notes }),
            Event::Progress(counts, elapsed) => {
                json!({ "event": "progress", "elapsed_s": elapsed.as_secs(), "counts": counts_json(counts) })
            }
            Event::Suspected { sequence, steps, text } => {
                json!({ "event": "suspected", "sequence": sequence, "steps": steps, "difference": text })
            }
            Event::Found(finding) => finding_json(finding),
            Event::Ended(summary) => json!({
                "event": "ended",
                "seed": summary.seed,
                "sequences": summary.sequences,
                "elapsed_s": summary.elapsed.as_secs_f64(),
                "counts": counts_json(&summary.counts),
                "classes": summary.classes,
            }),
        };
        writeln!(self.out, "{object}")
    }

    fn human(&mut self, event: &Event<'_>) -> std::io::Result<()> {
        match event {
            Event::Started(notes) => notes.iter().try_for_each(|note| writeln!(self.out, "{note}")),
            Event::Progress(counts, elapsed) if self.shows_progress => {
                eprintln!("  {}: {}", in_words(*elapsed), counts_text(counts));
                Ok(())
            }
            Event::Progress(..) => Ok(()),
            Event::Suspected { sequence, steps, text } => {
                writeln!(self.out, "\nsequence {sequence} ({steps} steps): {text}; shrinking it")
            }
            Event::Found(finding) => self.finding(finding),
            Event::Ended(summary) => self.summary(summary),
        }
    }

    fn finding(&mut self, finding: &Finding) -> std::io::Result<()> {
        let (shown, replays) = finding.confirmed;
        writeln!(self.out, "\nDIVERGENCE  {}", finding.class())?;
        writeln!(self.out, "  {}", finding.text)?;
        if shown < replays {
            writeln!(
                self.out,
                "  not every replay shows it: it is a race, and the sequence may not be minimal"
            )?;
        }
        let minimal = if finding.is_confirmed() { "minimal sequence" } else { "sequence" };
        writeln!(self.out, "\n  {minimal} (shows it in {shown} of {replays} replays):")?;
        for (index, step) in finding.steps.iter().enumerate() {
            self.step(index + 1, step, finding.unrecorded.is_none())?;
        }
        if !finding.is_shown {
            writeln!(self.out, "  (this replay, slowed down by being watched, did not show it)")?;
        }
        if let Some(reason) = &finding.unrecorded {
            writeln!(self.out, "  (what was propagated is not shown: {reason})")?;
        }
        writeln!(self.out, "\n  in the end, at the same offset:")?;
        finding.keys.iter().try_for_each(|states| self.states("    ", states))
    }

    fn step(&mut self, number: usize, step: &PlayedStep, recorded: bool) -> std::io::Result<()> {
        if step.replies.is_empty() {
            writeln!(self.out, "  {number:>2}. {}", step.step)?;
        }
        for (index, (sent, reply)) in step.replies.iter().enumerate() {
            let label = if index == 0 { format!("{number:>2}.") } else { "   ".to_owned() };
            writeln!(self.out, "  {label} {sent}\n        reply       {reply}")?;
        }
        for command in &step.propagated {
            writeln!(self.out, "        propagated  {command}")?;
        }
        if recorded && step.propagated.is_empty() && !step.replies.is_empty() {
            writeln!(self.out, "        propagated  nothing")?;
        }
        step.keys.iter().try_for_each(|states| self.states("        ", states))
    }

    fn states(&mut self, indent: &str, states: &KeyStates) -> std::io::Result<()> {
        let KeyStates { key, primary, replica, visible } = states;
        if primary == replica && visible.as_ref().is_none_or(|(ours, theirs)| ours == theirs) {
            return writeln!(self.out, "{indent}{key}: both       {primary}");
        }
        writeln!(self.out, "{indent}{key}: primary    {primary}")?;
        writeln!(self.out, "{indent}{key}: replica    {replica}")?;
        if let Some((ours, theirs)) = visible {
            writeln!(self.out, "{indent}{key}: clients see {ours} on the primary, {theirs} on the replica")?;
        }
        Ok(())
    }

    fn summary(&mut self, summary: &Summary) -> std::io::Result<()> {
        let Summary { seed, sequences, elapsed, counts, classes } = summary;
        writeln!(self.out, "\n{sequences} random sequences in {}, seed {seed}", in_words(*elapsed))?;
        writeln!(self.out, "{}", counts_text(counts))?;
        if classes.is_empty() {
            return writeln!(self.out, "no divergence found");
        }
        writeln!(self.out, "{} classes of divergence:", classes.len())?;
        classes.iter().try_for_each(|(class, times)| match times {
            1 => writeln!(self.out, "  {class}"),
            times => writeln!(self.out, "  {class} ({times} times)"),
        })
    }
}

fn in_words(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..60 => format!("{:.1} s", elapsed.as_secs_f64()),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

fn counts_text(counts: &Counts) -> String {
    let Counts { sequences, commands, comparisons, holds, cuts, delays, stops, skews, promotions } = counts;
    format!(
        "{sequences} sequences with replays, {commands} commands, {comparisons} comparisons; link held {holds}, cut {cuts}, \
         slow {delays} times; replica stopped {stops}, promoted {promotions} times; clocks wrong {skews} times"
    )
}

fn counts_json(counts: &Counts) -> Value {
    let Counts { sequences, commands, comparisons, holds, cuts, delays, stops, skews, promotions } = counts;
    json!({
        "sequences": sequences, "commands": commands, "comparisons": comparisons, "holds": holds, "cuts": cuts,
        "delays": delays, "stops": stops, "skews": skews, "promotions": promotions,
    })
}

fn finding_json(finding: &Finding) -> Value {
    let step = |step: &PlayedStep| {
        let replies: Vec<Value> =
            step.replies.iter().map(|(sent, reply)| json!({ "sent": sent, "reply": reply })).collect();
        json!({
            "step": step.step, "replies": replies, "propagated": step.propagated,
            "keys": step.keys.iter().map(key_json).collect::<Vec<_>>(),
        })
    };
    json!({
        "event": "found",
        "class": finding.class(),
        "culprit": finding.culprit,
        "kind": finding.kind.to_string(),
        "difference": finding.text,
        "sequence": finding.sequence,
        "confirmed": finding.confirmed.0,
        "replays": finding.confirmed.1,
        "shown": finding.is_shown,
        "steps": finding.steps.iter().map(step).collect::<Vec<_>>(),
        "keys": finding.keys.iter().map(key_json).collect::<Vec<_>>(),
        "unrecorded": finding.unrecorded,
    })
}

fn key_json(states: &KeyStates) -> Value {
    let visible =
        states.visible.as_ref().map(|(primary, replica)| json!({ "primary": primary, "replica": replica }));
    json!({ "key": states.key, "primary": states.primary, "replica": states.replica, "visible": visible })
}
