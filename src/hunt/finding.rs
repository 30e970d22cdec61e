//! What was found, in full: the minimal sequence as it was played, with replies, propagated commands and both
//! sides' states.

use std::io;

use bytes::Bytes;

use super::client::show_reply;
use super::command::{Step, show, show_word};
use super::error::HuntError;
use super::generate;
use super::recorder::Recorder;
use super::stage::Stage;
use super::state::{Difference, Kind, State, visible};

/// How often the minimal sequence is replayed to see that it is no accident.
const CONFIRMATIONS: u32 = 3;
/// How often it may fail to show the difference while it is watched.
const ATTEMPTS: usize = 4;

/// A divergence.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The command that it is about, in its family's name, `promotion`, or `unexplained` if few replays
    /// showed it.
    pub culprit: String,
    /// In what way the replica differs.
    pub kind: Kind,
    /// Where, and what both sides have.
    pub text: String,
    /// In which random sequence it was seen, from 1 on.
    pub sequence: u64,
    /// In how many of how many replays the minimal sequence showed it.
    pub confirmed: (u32, u32),
    /// Whether the replay that is told below showed it: watching takes time, which a race may not leave.
    pub is_shown: bool,
    /// The minimal sequence, as it was played.
    pub steps: Vec<PlayedStep>,
    /// Both sides' states in the end, key by key.
    pub keys: Vec<KeyStates>,
    /// Why the stream is not shown, if it is not.
    pub unrecorded: Option<String>,
}

/// A step of the minimal sequence, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct PlayedStep {
    /// The step in words; commands as they were sent.
    pub step: String,
    /// What was sent and what was answered.
    pub replies: Vec<(String, String)>,
    /// What the primary propagated.
    pub propagated: Vec<String>,
    /// Both sides' states after the step, if the replica could follow.
    pub keys: Vec<KeyStates>,
}

/// What both sides have under a key, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStates {
    /// The key.
    pub key: String,
    /// What the primary has stored.
    pub primary: String,
    /// What the replica has stored.
    pub replica: String,
    /// What clients see on the primary and on the replica; read in the end only.
    pub visible: Option<(String, String)>,
}

impl Finding {
    /// How findings are told apart.
    pub fn class(&self) -> String {
        format!("{}: {}", self.culprit, self.kind)
    }

    /// Whether most replays showed it. Where the primary reclaims meanwhile, not all have to.
    pub fn is_confirmed(&self) -> bool {
        is_most(self.confirmed)
    }

    /// Replays `steps`, which show a difference like `seen`, and writes down what happens.
    pub(super) fn investigate(
        stage: &mut Stage,
        steps: &[Step],
        seen: &Difference,
        sequence: u64,
        password: Option<&str>,
    ) -> Result<Finding, HuntError> {
        let mut confirmed = 0;
        for _ in 0..CONFIRMATIONS {
            confirmed += u32::from(stage.run(steps)?.is_some());
        }
        let mut last = Account::default();
        for attempt in 0..ATTEMPTS {
            // Reading the states takes time, which the difference may not leave.
            let with_states = attempt + 1 < ATTEMPTS;
            last = Account::of(stage, steps, with_states, password)?;
            if last.difference.is_some() {
                break;
            }
        }
        let difference = last.difference.as_ref().unwrap_or(seen);
        let mut keys = states(&difference.primary, &difference.replica);
        if !difference.kind.is_of_promotion() && last.difference.is_some() {
            for states in &mut keys {
                let key = Bytes::from(states.key.clone());
                let (primary, replica) =
                    (visible(&mut stage.primary, &key)?, visible(&mut stage.replica, &key)?);
                states.visible = Some((show_reply(&primary), show_reply(&replica)));
            }
        }
        Ok(Finding {
            culprit: if is_most((confirmed, CONFIRMATIONS)) {
                culprit(steps, difference.kind)
            } else {
                "unexplained".to_owned()
            },
            kind: difference.kind,
            text: difference.text.clone(),
            sequence,
            confirmed: (confirmed, CONFIRMATIONS),
            is_shown: last.difference.is_some(),
            steps: last.steps,
            keys,
            unrecorded: last.unrecorded,
        })
    }
}

fn is_most((shown, replays): (u32, u32)) -> bool {
    shown * 2 > replays
}

/// The last command of a minimal sequence: without it there is no difference, and nothing after it is needed.
fn culprit(steps: &[Step], kind: Kind) -> String {
    if kind.is_of_promotion() {
        return "promotion".to_owned();
    }
    let last = steps.iter().rev().flat_map(|step| step.commands().iter().rev()).next();
    last.map_or_else(|| "no command".to_owned(), generate::culprit)
}

/// One watched replay.
#[derive(Default)]
struct Account {
    steps: Vec<PlayedStep>,
    difference: Option<Difference>,
    unrecorded: Option<String>,
}

impl Account {
    fn of(
        stage: &mut Stage,
        steps: &[Step],
        with_states: bool,
        password: Option<&str>,
    ) -> Result<Account, HuntError> {
        stage.begin()?;
        let mut account = Account::default();
        let mut recorder = account.record(Recorder::attach(stage.primary.address, password));
        let mut before = Vec::new();
        account.take(&mut recorder, stage)?;
        for step in steps {
            let played = stage.step(step)?;
            let replies = played.calls.iter().map(|(argv, reply)| (show(argv), show_reply(reply))).collect();
            let propagated = account.take(&mut recorder, stage)?;
            let mut told = PlayedStep { step: step.to_string(), replies, propagated, keys: Vec::new() };
            if with_states && stage.is_flowing() && !step.commands().is_empty() {
                let (_, primary, replica) = stage.settled()?;
                let now = states(&primary, &replica);
                if changed(&before, &now) {
                    told.keys.clone_from(&now);
                }
                before = now;
            }
            account.steps.push(told);
            if played.difference.is_some() {
                account.difference = played.difference;
                return Ok(account);
            }
        }
        account.difference = stage.end()?;
        Ok(account)
    }

    /// What was propagated since the last call.
    fn take(&mut self, recorder: &mut Option<Recorder>, stage: &mut Stage) -> Result<Vec<String>, HuntError> {
        let end = stage.primary_offset()?;
        let Some(taken) = recorder.as_mut().map(|recorder| recorder.take(end)) else { return Ok(Vec::new()) };
        let Some(commands) = self.record(taken) else {
            *recorder = None;
            return Ok(Vec::new());
        };
        let is_effect = |argv: &&Vec<Bytes>| {
            let name = argv.first().map_or(&b""[..], |name| name);
            !name.eq_ignore_ascii_case(b"PING") && !name.eq_ignore_ascii_case(b"SELECT")
        };
        Ok(commands.iter().filter(is_effect).map(|argv| show(argv)).collect())
    }

    /// A recorder that fails is done without.
    fn record<T>(&mut self, result: io::Result<T>) -> Option<T> {
        result.map_err(|error| self.unrecorded = Some(error.to_string())).ok()
    }
}

/// Whether one of the states reads differently; the passing of time does not count.
fn changed(before: &[KeyStates], now: &[KeyStates]) -> bool {
    let timeless = |states: &KeyStates| {
        let digits_out = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
        (states.key.clone(), digits_out(&states.primary), digits_out(&states.replica))
    };
    before.iter().map(timeless).ne(now.iter().map(timeless)) || before.len() != now.len()
}

/// Both sides, key by key.
fn states(primary: &State, replica: &State) -> Vec<KeyStates> {
    let mut names: Vec<&Bytes> = primary.keys.keys().chain(replica.keys.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let of = |state: &State, key: &Bytes| {
        let nothing = || "nothing".to_owned();
        state.keys.get(key).map_or_else(nothing, |stored| stored.describe(primary.read_ms.1))
    };
    names
        .into_iter()
        .map(|key| KeyStates {
            key: show_word(key),
            primary: of(primary, key),
            replica: of(replica, key),
            visible: None,
        })
        .collect()
}
