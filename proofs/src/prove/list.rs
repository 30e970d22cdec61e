//! Says what there is, and runs nothing.

use replcore_proofs::report::Kind;

use super::job::{Jobs, Work};

/// Lists jobs, by kind; the controls of a model stand with it.
pub fn list(jobs: &Jobs) {
    for kind in Kind::ALL {
        let mut of_kind = jobs.all().filter(|job| job.row.kind == kind).peekable();
        if kind == Kind::Mutation || of_kind.peek().is_none() {
            continue;
        }
        println!("{}", kind.heading());
        for job in of_kind {
            let row = &job.row;
            println!("  {:<28} {}", row.name, row.about);
            let mut facts = Vec::new();
            if !row.invariants.is_empty() {
                facts.push(format!("proves {}", row.invariants.join(" ")));
            }
            if let Some(threads) = row.threads {
                let who = if matches!(kind, Kind::Protocol | Kind::Museum) { "servers" } else { "threads" };
                facts.push(format!("{threads} {who}"));
            }
            match &job.work {
                Work::Explore(it) => facts.push(format!(
                    "preemptions: quick {}, full {}, deep none",
                    it.model.quick, it.model.full
                )),
                Work::Catch { candidates, .. } => {
                    let names: Vec<_> = candidates.iter().map(|candidate| candidate.model.name).collect();
                    facts.push(format!("to be caught by {}", names.join(" or ")));
                }
                Work::Search { .. } | Work::Suite { .. } if !row.bound.is_empty() => {
                    facts.push(row.bound.clone())
                }
                Work::Search { scenario, .. } => facts.push(format!("in {}", scenario.name)),
                Work::Suite { .. } | Work::Unbounded(_) => {}
            }
            println!("  {:28} {}", "", facts.join("; "));
            if let (Kind::Model, Work::Explore(it)) = (kind, &job.work)
                && !it.model.controls.is_empty()
            {
                println!("  {:28} has to catch {}", "", it.model.controls.join(", "));
            }
        }
        println!();
    }
}
