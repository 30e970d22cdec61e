//! From a sequence that shows a difference to a minimal one: delta debugging over the steps, then within each
//! step.

use super::command::Step;

/// The shortest sequence found for which `fails` holds, as it holds for `steps`: no single step can be left
/// out, no field and no command of a transaction. Deadlines are made long enough to play the same each time,
/// if that does as well. `None` from `fails` ends the search with the best so far.
pub(super) fn shrink(steps: &[Step], mut fails: impl FnMut(&[Step]) -> Option<bool>) -> Vec<Step> {
    let mut best = steps.to_vec();
    let with_room: Vec<Step> = steps.iter().map(Step::with_room).collect();
    if with_room != best {
        match fails(&with_room) {
            Some(true) => best = with_room,
            Some(false) => {}
            None => return best,
        }
    }
    // An `Err` carries nothing: the search was ended.
    let _ = leave_out(&mut best, &mut fails).and_then(|()| simplify(&mut best, &mut fails));
    best
}

/// Ever smaller pieces, until no single step can go.
fn leave_out(best: &mut Vec<Step>, fails: &mut impl FnMut(&[Step]) -> Option<bool>) -> Result<(), ()> {
    let mut piece = best.len().div_ceil(2);
    while piece > 0 {
        let mut removed = false;
        // From the end: what comes after the culprit goes first.
        let mut end = best.len();
        while end > 0 {
            let start = end.saturating_sub(piece);
            let mut shorter = best[..start].to_vec();
            shorter.extend_from_slice(&best[end..]);
            if !shorter.is_empty() && fails(&shorter).ok_or(())? {
                *best = shorter;
                removed = true;
            }
            end = start;
        }
        // Single steps again while that helps: an early one may have needed a later one.
        piece = if piece == 1 && removed { 1 } else { piece / 2 };
    }
    Ok(())
}

/// What is simpler in place of each step, as long as something does.
fn simplify(best: &mut Vec<Step>, fails: &mut impl FnMut(&[Step]) -> Option<bool>) -> Result<(), ()> {
    let mut at = 0;
    while at < best.len() {
        let mut found = None;
        for simpler in best[at].simpler() {
            let mut candidate = best.clone();
            candidate.splice(at..=at, simpler);
            if fails(&candidate).ok_or(())? {
                found = Some(candidate);
                break;
            }
        }
        match found {
            // The same place again: each is simpler than the one before, so this ends.
            Some(candidate) => *best = candidate,
            None => at += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::command::{Command, Word};
    use super::*;

    fn hdel(fields: &[&str]) -> Command {
        let word = |text: &str| Word::Text(Bytes::copy_from_slice(text.as_bytes()));
        let fields = fields.iter().map(|field| (Bytes::copy_from_slice(field.as_bytes()), None)).collect();
        Command { words: vec![word("HDEL"), word("k")], counted: false, fields }
    }

    fn names(steps: &[Step], field: &str) -> bool {
        let mut fields = steps.iter().flat_map(Step::commands).flat_map(|command| &command.fields);
        fields.any(|(name, _)| name == field)
    }

    #[test]
    fn only_what_is_needed_is_left() {
        let mut steps = vec![Step::Pause(1); 30];
        steps[7] = Step::Run(vec![hdel(&["a", "b", "c"]), hdel(&["d"])]);
        steps[21] = Step::Run(vec![hdel(&["x"]), hdel(&["y"]), hdel(&["z", "w"])]);
        steps[25] = Step::Outlive;
        let fails =
            |steps: &[Step]| Some(names(steps, "b") && names(steps, "w") && steps.contains(&Step::Outlive));
        let minimal = shrink(&steps, fails);
        assert_eq!(minimal, [Step::Run(vec![hdel(&["b"])]), Step::Run(vec![hdel(&["w"])]), Step::Outlive]);
    }

    #[test]
    fn the_best_so_far_is_kept_when_the_search_is_ended() {
        let steps = vec![Step::Pause(1); 16];
        let mut left = 1;
        let minimal = shrink(&steps, |_| {
            left -= 1;
            (left >= 0).then_some(true)
        });
        assert_eq!(minimal.len(), 8);
    }

    #[test]
    fn a_step_that_fails_alone_is_left_alone() {
        let minimal =
            shrink(&[Step::Cut, Step::Promote, Step::Hold], |steps| Some(steps.contains(&Step::Promote)));
        assert_eq!(minimal, [Step::Promote]);
    }
}
