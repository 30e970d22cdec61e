//! What is left of a server's data when it is back: saved by an orderly end or on demand, loaded at the start,
//! by replcore and by the real ones; and what becomes of a file that cannot be written or read.
#![cfg(feature = "server")]

mod support;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;
use rustix::process::Signal;

use support::client::{Argv, argv};
use support::encodings::fill;
use support::keyspace::{Contents, assert_converged, compare, read};
use support::{Launch, Link, Program, Scratch, Server, note, wait_caught_up, wait_link_up, wait_until};

/// Time for a server to end, or for anything to come about.
const SOON: Duration = Duration::from_secs(20);
const FAR_MS: u64 = 9_000_000_000_000;
const SAVED: &str = "dump.rdb";

fn port_of(server: &Server) -> u16 {
    server.address().port()
}

#[track_caller]
fn assert_same(expected: &Contents, got: &Contents) {
    let differences = compare(expected, got);
    for difference in differences.iter().take(10) {
        note!("{difference}");
    }
    assert!(differences.is_empty(), "{} of {} keys differ", differences.len(), expected.len());
}

/// Every type, in several databases, with deadlines of keys and fields.
fn write_all_types(server: &Server) {
    let mut client = server.client();
    let mut commands: Vec<Argv> = (0..400)
        .flat_map(|n| {
            let in_database = argv!["SELECT", n % 5];
            let key = |kind: &str| format!("{kind} {n}");
            let writes = [
                argv!["SET", key("s"), "v".repeat(n), "PXAT", FAR_MS + n as u64],
                argv!["RPUSH", key("l"), n, "x", n * n],
                argv!["SADD", key("t"), n, "x"],
                argv!["ZADD", key("z"), n, "x", n * n, "y"],
                argv!["HSET", key("h"), n, "x"],
            ];
            std::iter::once(in_database).chain(writes.into_iter().take(n % 6))
        })
        .collect();
    commands.extend([
        argv!["SELECT", 0],
        argv!["SET", "string", "a\0b\r\n"],
        argv!["SET", "with a deadline", "v", "PXAT", FAR_MS],
        argv!["RPUSH", "list", "a", "", "17"],
        argv!["SADD", "integers", 1, 2, 3],
        argv!["SADD", "set", "a", "", "17"],
        argv!["ZADD", "zset", 1.5, "a", "-inf", "b", "3.0000000000000004", "c"],
        argv!["HSET", "hash", "f", "v", "", "17"],
        argv!["HSETEX", "hash with deadlines", "PXAT", FAR_MS, "FIELDS", 1, "far", "v"],
        argv!["SELECT", 9],
        argv!["SET", "elsewhere", "x".repeat(100_000)],
    ]);
    for reply in client.pipeline(&commands).expect("the server answers") {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    }
}

#[track_caller]
fn end(server: &mut Server, signal: Signal) {
    server.signal(signal);
    let status = server.wait_exit(SOON);
    assert_eq!(status.code(), Some(0), "{status}");
}

#[test]
fn a_replica_continues_where_an_orderly_end_was_saved() {
    let scratch = Scratch::new("restart");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let mut primary = launch.start("primary");
    write_all_types(&primary);
    let replica = Server::start(Program::Valkey, "replica", &scratch);
    let link = Link::to(primary.address());
    replica.replicate(&link);
    wait_link_up(&replica, SOON);
    // A ping would come after what is compared.
    primary.configure(&[("repl-ping-replica-period", "3600")]);
    primary.client().call(argv!["SET", "last", "write"]);
    let saved_at = wait_caught_up(&primary, &replica, SOON);
    let expected = read(&primary);
    let replid = primary.info().text("master_replid").to_owned();

    end(&mut primary, Signal::TERM);
    let primary = launch.start_at("primary", port_of(&primary));
    assert_same(&expected, &read(&primary));
    let info = primary.info();
    assert_eq!(info.text("master_replid2"), replid);
    assert_eq!(info.number("second_repl_offset"), saved_at + 1);
    wait_link_up(&replica, SOON);
    // In another database than the last write, and than the first.
    let mut client = primary.client();
    client.call(argv!["SELECT", 3]);
    client.call(argv!["SET", "after", "the restart"]);
    wait_caught_up(&primary, &replica, SOON);
    let info = primary.info();
    assert_eq!((info.number("sync_partial_ok"), info.number("sync_full")), (1, 0));
    assert_eq!((replica.full_resyncs_logged(), replica.partial_resyncs_logged()), (1, 1));
    assert_converged(&primary, &[replica]);
}

#[test]
fn what_was_answered_before_shutdown_is_in_the_file() {
    let scratch = Scratch::new("restart-writes");
    let launch = Launch::new(Program::Replcore, scratch.directory("data")).with(&["--config", "save="]);
    let mut server = launch.start("server");
    // Writers that go on until they are cut off: what they were answered is to be there.
    let address = server.address();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            std::thread::spawn(move || {
                let mut client = support::Client::connect(address).expect("the server runs");
                let mut answered = 0_u64;
                while let Ok(Reply::Status(_)) =
                    client.try_call(&argv!["SET", format!("writer:{writer}"), answered + 1])
                {
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    let mut client = server.client();
    wait_until("writes are under way", SOON, || match server.info().number("rdb_changes_since_last_save") {
        ..1000 => Err("few writes".to_owned()),
        _ => Ok(()),
    });
    client.send(&argv!["SHUTDOWN", "SAVE"]).expect("the server reads");
    assert_eq!(server.wait_exit(SOON).code(), Some(0));
    let answered: Vec<u64> = writers.into_iter().map(|it| it.join().expect("no panic")).collect();
    let server = launch.start("server");
    let mut client = server.client();
    for (writer, answered) in answered.iter().enumerate() {
        let stored = client.call(argv!["GET", format!("writer:{writer}")]);
        let Reply::Bulk(stored) = stored else { panic!("{stored:?}") };
        let stored: u64 = String::from_utf8_lossy(&stored).parse().expect("a number");
        // The answer to one write may have been lost with the connection.
        assert!((*answered..=answered + 1).contains(&stored), "{stored} of {answered} is there");
    }
}

#[test]
fn a_kill_between_saves_leaves_the_previous_file() {
    let scratch = Scratch::new("restart-kill");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let server = launch.start("server");
    let mut client = server.client();
    client.call(argv!["SET", "k", "saved"]);
    assert_eq!(client.call(argv!["SAVE"]), Reply::Status("OK".into()));
    let info = server.info();
    assert_eq!((info.number("rdb_changes_since_last_save"), info.number("rdb_saves")), (0, 1));
    let file = fs::read(launch.dir.join(SAVED)).expect("it was saved");
    client.call(argv!["SET", "k", "not saved"]);
    // As a crash in the middle of a save leaves it.
    fs::write(launch.dir.join("temp-dump.rdb"), &file[..file.len() / 2]).expect("written");
    drop(server);
    assert_eq!(fs::read(launch.dir.join(SAVED)).expect("it is there"), file);
    let server = launch.start("server");
    let mut client = server.client();
    assert_eq!(client.call(argv!["GET", "k"]), Reply::Bulk(Bytes::from("saved")));
}

#[test]
fn nosave_saves_nothing_and_save_points_save_by_themselves() {
    let scratch = Scratch::new("restart-points");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let mut server = launch.start("server");
    let mut client = server.client();
    client.call(argv!["SET", "k", "v"]);
    client.send(&argv!["SHUTDOWN", "NOSAVE"]).expect("the server reads");
    assert_eq!(server.wait_exit(SOON).code(), Some(0));
    assert!(!launch.dir.join(SAVED).exists());

    let server = launch.with(&["--config", "save=1 2"]).start("server");
    let mut client = server.client();
    client.call(argv!["SET", "k", "v"]);
    client.call(argv!["SET", "k", "w"]);
    wait_until("the save point is reached", SOON, || match server.info().number("rdb_saves") {
        0 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    client.call(argv!["SET", "k", "x"]);
    assert_eq!(server.info().number("rdb_changes_since_last_save"), 1);
}

#[test]
fn without_a_directory_saving_is_refused() {
    let scratch = Scratch::new("restart-nowhere");
    let server = Server::start(Program::Replcore, "server", &scratch);
    let mut client = server.client();
    for command in [argv!["SAVE"], argv!["BGSAVE"], argv!["SHUTDOWN", "SAVE"]] {
        let Reply::Error(refusal) = client.try_call(&command).expect("an answer") else {
            panic!("{command:?} is not refused")
        };
        assert!(refusal.contains("--dir"), "{refusal}");
    }
}

#[test]
fn a_save_that_fails_keeps_the_file_the_server_and_refuses_writes() {
    let scratch = Scratch::new("restart-full");
    let mut launch = Launch::new(Program::Replcore, scratch.directory("data"));
    launch.max_file_kib = Some(256);
    let mut server = launch.start("server");
    let mut client = server.client();
    client.call(argv!["SET", "small", "value"]);
    client.call(argv!["SAVE"]);
    let file = fs::read(launch.dir.join(SAVED)).expect("it was saved");
    client.call(argv!["SET", "large", "x".repeat(600_000)]);
    assert!(matches!(client.try_call(&argv!["SAVE"]), Ok(Reply::Error(_))));
    let info = server.info();
    assert_eq!((info.text("rdb_last_bgsave_status"), info.number("rdb_save_failures")), ("err", 1));
    let refused = client.try_call(&argv!["SET", "k", "v"]);
    assert!(matches!(&refused, Ok(Reply::Error(text)) if text.starts_with("MISCONF ")), "{refused:?}");
    client.call(argv!["MULTI"]);
    let queued = client.try_call(&argv!["SET", "k", "v"]);
    assert!(matches!(&queued, Ok(Reply::Error(text)) if text.starts_with("MISCONF ")), "{queued:?}");
    let ran = client.try_call(&argv!["EXEC"]);
    assert!(matches!(&ran, Ok(Reply::Error(text)) if text.starts_with("EXECABORT ")), "{ran:?}");
    assert_eq!(client.call(argv!["GET", "small"]), Reply::Bulk(Bytes::from("value")));
    // It does not end without its data, by whatever it is asked.
    assert!(matches!(client.try_call(&argv!["SHUTDOWN"]), Ok(Reply::Error(_))));
    server.signal(Signal::TERM);
    wait_until("the signal has failed too", SOON, || match server.info().number("rdb_save_failures") {
        ..3 => Err("not yet".to_owned()),
        _ => Ok(()),
    });
    assert!(server.is_running());
    assert_eq!(fs::read(launch.dir.join(SAVED)).expect("it is there"), file);
    assert!(!launch.dir.join("temp-dump.rdb").exists());
    // What makes room makes writes possible again.
    client.call(argv!["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    client.call(argv!["DEL", "large"]);
    client.call(argv!["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]);
    client.call(argv!["SAVE"]);
    client.call(argv!["SET", "large", "x".repeat(600_000)]);
    client.send(&argv!["SHUTDOWN", "FORCE"]).expect("the server reads");
    assert_eq!(server.wait_exit(SOON).code(), Some(0));
    let server = launch.start("server");
    assert_eq!(server.client().call_integer(argv!["EXISTS", "small", "large"]), 1);
}

#[test]
fn valkey_loads_what_was_saved() {
    let scratch = Scratch::new("restart-to-valkey");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let mut server = launch.start("server");
    write_all_types(&server);
    let expected = read(&server);
    let info = server.info();
    end(&mut server, Signal::INT);
    let valkey = Launch::new(Program::Valkey, launch.dir).start("valkey");
    assert_same(&expected, &read(&valkey));
    // It takes over the stream as well, as replcore does.
    let taken = valkey.info();
    assert_eq!(taken.text("master_replid2"), info.text("master_replid"));
    assert_eq!(taken.number("second_repl_offset"), info.number("master_repl_offset") + 1);
}

#[test]
fn files_of_real_servers_are_loaded_and_what_cannot_be_held_is_named() {
    for program in [Program::Valkey, Program::Redis] {
        let scratch = Scratch::new("restart-from-real");
        let dir = scratch.directory("data");
        let real = Launch::new(program, dir.clone()).start("real");
        fill(&real);
        let mut client = real.client();
        client.call(argv!["SAVE"]);
        for stream in ["events", "empty", "without groups"] {
            client.call(argv!["DEL", stream]);
        }
        let expected = read(&real);
        drop(real);
        let file = fs::read(dir.join(SAVED)).expect("the real server has saved");

        let launch = Launch::new(Program::Replcore, dir.clone());
        let mut refusing = launch.spawn("refusing");
        assert_eq!(refusing.wait_exit(SOON).code(), Some(1));
        let log = refusing.log();
        assert!(log.contains("events") && log.contains("1 function libraries"), "{log}");
        assert_eq!(fs::read(dir.join(SAVED)).expect("it is there"), file);
        let server = launch.with(&["--config", "unsupported-data-policy=skip"]).start("server");
        assert_same(&expected, &read(&server));
        note!("{program:?}: {} keys", expected.len());
    }
}

#[test]
fn a_torn_or_garbled_file_is_refused_with_the_place_and_kept() {
    let scratch = Scratch::new("restart-garbled");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let mut server = launch.start("server");
    let mut client = server.client();
    for n in 0..200 {
        client.call(argv!["HSET", format!("hash {n}"), "field", n]);
    }
    end(&mut server, Signal::TERM);
    let path = launch.dir.join(SAVED);
    let file = fs::read(&path).expect("it was saved");
    let mut garbled = file.clone();
    garbled[file.len() / 2] ^= 0x55;
    let mut longer = file.clone();
    longer.extend_from_slice(b"more");
    for (wrong, what) in [
        (file[..file.len() / 3].to_vec(), "byte"),
        (file[..5].to_vec(), "byte"),
        (Vec::new(), "byte 0"),
        (garbled, ""),
        (longer, "4 bytes stand behind its end"),
        (b"not a snapshot at all".to_vec(), "not an RDB file"),
    ] {
        fs::write(&path, &wrong).expect("written");
        let mut server = launch.spawn("refusing");
        assert_eq!(server.wait_exit(SOON).code(), Some(1), "{what}");
        let log = server.log();
        assert!(log.contains("cannot load") && log.contains(what), "{what}: {log}");
        assert_eq!(fs::read(&path).expect("it is there"), wrong, "{what}");
    }
}

/// A pipe in place of a file: whoever opens it to write waits for a reader, whoever reads waits for a writer.
fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo can be run");
    assert!(made.success(), "mkfifo: {made}");
}

/// The saved file of a server with this data.
fn saved_file(writes: &[Argv]) -> Vec<u8> {
    let scratch = Scratch::new("restart-file");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let mut server = launch.start("saved");
    server.client().pipeline(writes).expect("the server answers");
    end(&mut server, Signal::TERM);
    fs::read(launch.dir.join(SAVED)).expect("it was saved")
}

#[test]
fn clients_are_told_that_the_data_is_being_loaded() {
    let scratch = Scratch::new("restart-loading");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let file = saved_file(&[argv!["SET", "k", "v"]]);
    let pipe = launch.dir.join(SAVED);
    make_pipe(&pipe);
    // A writer that stays: nobody comes to an end.
    let mut writer = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    for ends_early in [true, false] {
        let mut server = launch.spawn("server");
        // It looks for the stream first. Then it begins anew, and has to wait.
        writer.write_all(&file).expect("there is room");
        let mut client = wait_until("it listens", SOON, || {
            support::Client::connect(server.address()).map_err(|error| error.to_string())
        });
        for command in [argv!["PING"], argv!["GET", "k"], argv!["PSYNC", "?", -1], argv!["SAVE"]] {
            let reply = client.try_call(&command);
            assert!(matches!(&reply, Ok(Reply::Error(text)) if text.starts_with("LOADING ")), "{reply:?}");
        }
        assert_eq!(client.info().number("loading"), 1);
        if ends_early {
            // In order, and nothing is saved over what is not loaded: that would be a file.
            end(&mut server, Signal::TERM);
            assert!(!fs::metadata(&pipe).expect("it is there").is_file());
            continue;
        }
        writer.write_all(&file).expect("there is room");
        wait_until("it is loaded", SOON, || match client.info().number("loading") {
            0 => Ok(()),
            _ => Err("not yet".to_owned()),
        });
        assert_eq!(client.call(argv!["GET", "k"]), Reply::Bulk(Bytes::from("v")));
        assert_eq!(server.info().number("rdb_last_load_keys_loaded"), 1);
    }
}

#[test]
fn a_background_save_is_as_of_its_answer_and_can_be_cancelled() {
    let scratch = Scratch::new("restart-background");
    let launch = Launch::new(Program::Replcore, scratch.directory("data"));
    let server = launch.start("server");
    let mut client = server.client();
    // No save goes on before somebody reads.
    let pipe = launch.dir.join("temp-dump.rdb");
    make_pipe(&pipe);
    let begun = client.pipeline(&[
        argv!["SET", "k", "before"],
        argv!["BGSAVE"],
        argv!["BGSAVE"],
        argv!["SAVE"],
        argv!["SET", "k", "after"],
        argv!["BGSAVE", "CANCEL"],
    ]);
    let text = |reply: Reply| match reply {
        Reply::Status(text) | Reply::Error(text) => text,
        other => panic!("{other:?}"),
    };
    let busy = "ERR Background save already in progress";
    assert_eq!(
        begun.expect("answers").into_iter().map(text).collect::<Vec<_>>(),
        ["OK", "Background saving started", busy, busy, "OK", "Background saving cancelled"]
    );
    assert_eq!(server.info().number("rdb_bgsave_in_progress"), 1);
    drop(fs::File::open(&pipe).expect("the save goes on"));
    wait_until("the save has ended", SOON, || match client.info().number("rdb_bgsave_in_progress") {
        0 => Ok(()),
        _ => Err("not yet".to_owned()),
    });
    // Cancelled is not failed.
    assert_eq!(server.info().text("rdb_last_bgsave_status"), "ok");
    assert!(!pipe.exists() && !launch.dir.join(SAVED).exists());

    let replies = client.pipeline(&[argv!["BGSAVE"], argv!["SET", "k", "after the cut"]]);
    replies.expect("answers");
    wait_until("it is saved", SOON, || match client.info().number("rdb_saves") {
        1 => Ok(()),
        saves => Err(format!("{saves} saves")),
    });
    assert_eq!(client.info().number("rdb_changes_since_last_save"), 1);
    drop(server);
    let server = launch.start("server");
    assert_eq!(server.client().call(argv!["GET", "k"]), Reply::Bulk(Bytes::from("after")));
}

#[test]
fn a_directory_that_is_not_there_is_an_error() {
    let scratch = Scratch::new("restart-no-directory");
    let mut launch = Launch::new(Program::Replcore, scratch.directory("data"));
    launch.args = vec!["--dir".to_owned(), launch.dir.join("nowhere").display().to_string()];
    let mut server = launch.spawn("refusing");
    assert_eq!(server.wait_exit(SOON).code(), Some(1));
    assert!(server.log().contains("no such directory"), "{}", server.log());
}

#[test]
fn signals_that_are_for_others_do_not_end_it() {
    let scratch = Scratch::new("restart-signals");
    let mut server = Server::start(Program::Replcore, "server", &scratch);
    for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::USR1, "SIGUSR1")] {
        server.signal(signal);
        wait_until(&format!("{name} has arrived"), SOON, || match server.log_count(name) {
            0 => Err("not in the log".to_owned()),
            _ => Ok(()),
        });
    }
    assert!(server.is_running());
    assert!(matches!(server.client().call(argv!["PING"]), Reply::Status(_)));
}
