//! SAVE, BGSAVE, LASTSAVE, SHUTDOWN.

use bytes::Bytes;

use super::super::dispatch::{Flow, error};
use super::super::persistence::{NO_DIRECTORY, SaveError, Stage};
use super::super::session::Session;
use super::super::state::Ending;
use crate::resp::Reply;

fn begin(session: &Session, stage: Stage) -> Flow {
    match session.shared.begin_save(stage) {
        Ok(saving) => Flow::Saving(saving),
        Err(SaveError::Busy) => error("ERR Background save already in progress").into(),
        Err(refusal) => error(format!("ERR {refusal}")).into(),
    }
}

/// `SAVE`: answered when the data is saved. Nobody else waits.
pub(super) fn save(session: &mut Session, _: &[Bytes]) -> Flow {
    begin(session, Stage::End)
}

/// `BGSAVE [SCHEDULE|CANCEL]`: answered when it is settled what is saved. Nothing else that runs can be in the
/// way, so there is nothing to schedule.
pub(super) fn bgsave(session: &mut Session, argv: &[Bytes]) -> Flow {
    match argv {
        [_] => begin(session, Stage::Cut),
        [_, option] if option.eq_ignore_ascii_case(b"schedule") => begin(session, Stage::Cut),
        [_, option] if option.eq_ignore_ascii_case(b"cancel") => match session.shared.persistence.cancel() {
            true => Reply::Simple("Background saving cancelled").into(),
            false => error("ERR Background saving is currently not in progress or scheduled").into(),
        },
        _ => error("ERR syntax error").into(),
    }
}

pub(super) fn lastsave(session: &mut Session, _: &[Bytes]) -> Flow {
    Reply::Integer(i64::try_from(session.shared.persistence.last_save_s()).unwrap_or(i64::MAX)).into()
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT]`: the connection ends without an answer, as in Valkey, unless
/// what it waits for fails or is aborted. `NOW` does not wait for replicas; `FORCE` ends without the save that
/// failed.
pub(super) fn shutdown(session: &mut Session, argv: &[Bytes]) -> Flow {
    let (mut abort, mut save, mut nosave, mut now, mut force) = (false, false, false, false, false);
    for option in argv.iter().skip(1) {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" => nosave = true,
            b"save" => save = true,
            b"now" => now = true,
            b"force" => force = true,
            b"abort" => abort = true,
            _ => return error("ERR syntax error").into(),
        }
    }
    if (save && nosave) || (abort && argv.len() > 2) {
        return error("ERR syntax error").into();
    }
    let shared = &session.shared;
    if abort {
        return match shared.abort_stop() {
            true => Reply::Simple("OK").into(),
            false => error("ERR No shutdown in progress.").into(),
        };
    }
    if save && shared.config.load().dir.is_empty() {
        return error(format!("ERR {NO_DIRECTORY}")).into();
    }
    let usual = shared.usual_ending();
    let ending = Ending { saves: save || (usual.saves && !nosave), forced: force };
    tracing::info!(client = session.client.id, ?ending, "shutting down at a client's request");
    if shared.stop(!now, ending) {
        return Flow::Stopping;
    }
    session.closing = true;
    Flow::Silent
}
