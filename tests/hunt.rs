//! The program that looks for divergences: it finds those that Valkey has, none in replcore, and refuses what
//! it cannot hunt.
#![cfg(feature = "server")]

mod support;

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;

use support::client::argv;
use support::{Program, Scratch, Server, peers};

fn hunt(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replcore"));
    command.arg("hunt").args(args).output().expect("the program runs")
}

/// What a hunt of started servers told, event by event, and its exit code.
fn hunt_started(primary: &str, replica: &str, args: &[&str]) -> (Vec<Value>, Option<i32>) {
    let targets = ["--json", "--primary", primary, "--replica", replica];
    let output = hunt(&[&targets, args].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    (text.lines().map(parse).collect(), output.status.code())
}

fn valkey() -> String {
    format!("valkey:{}", peers::valkey().display())
}

fn events<'a>(told: &'a [Value], event: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
    told.iter().filter(move |value| value["event"] == event)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Valkey is found guilty of `culprit`, and the account of it is complete.
#[track_caller]
fn assert_valkey_is_found_guilty(culprit: &str, commands: &str, kind: &str) {
    let args = ["--seed", "1", "--duration", "120", "--commands", commands];
    let (told, code) = hunt_started(&valkey(), &valkey(), &args);
    assert_eq!(code, Some(1));
    let [finding] = events(&told, "found").collect::<Vec<_>>()[..] else { panic!("one finding: {told:#?}") };
    assert_eq!(finding["culprit"], culprit, "{finding:#}");
    assert_eq!(finding["kind"], kind, "{finding:#}");
    assert!(finding["confirmed"].as_u64() >= Some(2), "the minimal sequence replays: {finding:#}");
    assert_eq!(finding["shown"], true, "{finding:#}");

    // At least one command that stores, the wait, and the culprit in the end; few enough to read.
    let steps = finding["steps"].as_array().expect("steps");
    assert!((3..=8).contains(&steps.len()), "{finding:#}");
    let last = steps.last().expect("a step");
    let sent = last["replies"][0]["sent"].as_str().expect("the culprit was sent");
    assert!(sent.contains(culprit) || culprit == "HEXPIRE" && sent.contains("EXPIRE"), "{finding:#}");
    assert!(!texts(&last["propagated"]).is_empty(), "the primary propagated it: {finding:#}");
    let differs = |states: &Value| states["primary"] != states["replica"];
    assert!(finding["keys"].as_array().expect("states").iter().any(differs), "{finding:#}");
    let ended = events(&told, "ended").next().expect("a summary");
    assert!(ended["counts"]["commands"].as_u64() > Some(0), "{ended:#}");
}

#[test]
fn valkeys_hexpire_over_dead_fields_is_found() {
    assert_valkey_is_found_guilty("HEXPIRE", "HSETEX,HSET,HEXPIRE,HPEXPIRE", "different field deadline");
}

#[test]
fn valkeys_hpersist_over_dead_fields_is_found() {
    assert_valkey_is_found_guilty("HPERSIST", "HSETEX,HSET,HPERSIST", "different field deadline");
}

#[test]
fn valkeys_hdel_over_dead_fields_is_found() {
    assert_valkey_is_found_guilty("HDEL", "HSETEX,HSET,HDEL", "key missing on the replica");
}

#[test]
fn valkeys_hgetdel_over_dead_fields_is_found() {
    assert_valkey_is_found_guilty("HGETDEL", "HSETEX,HSET,HGETDEL", "key missing on the replica");
}

#[test]
fn a_key_named_like_an_option_is_a_class_of_its_own() {
    let args = ["--seed", "5", "--iterations", "30", "--classes", "--odd-keys", "--commands", "HSETEX,HSET"];
    let (told, code) = hunt_started(&valkey(), &valkey(), &args);
    assert_eq!(code, Some(1));
    let culprits: Vec<&str> = events(&told, "found").filter_map(|found| found["culprit"].as_str()).collect();
    assert!(culprits.contains(&"HSETEX on a key named fnx"), "{culprits:?}");
    assert!(culprits.iter().all(|culprit| culprit.contains("on a key named")), "{culprits:?}");
}

#[test]
fn replcore_has_no_divergence_in_a_short_hunt() {
    // As the primary of a real replica, and as a replica of itself. (A real primary has divergences of its own.)
    for replica in [&valkey(), "self"] {
        let (told, code) = hunt_started("self", replica, &["--seed", "5", "--duration", "10", "--classes"]);
        let found: Vec<&Value> = events(&told, "found").collect();
        assert!(found.is_empty(), "{replica}: {found:#?}");
        assert_eq!(code, Some(0), "{replica}");
        let counts = &events(&told, "ended").next().expect("a summary")["counts"];
        for done in ["commands", "comparisons", "holds", "cuts", "stops"] {
            assert!(counts[done].as_u64() > Some(2), "{replica}: {done}: {counts:#}");
        }
    }
}

#[test]
fn a_library_that_makes_no_clock_wrong_is_left_out_and_said() {
    let args = [
        "--seed",
        "1",
        "--iterations",
        "5",
        "--commands",
        "HSET",
        "--faketime",
        "/nonexistent/libfaketime.so",
    ];
    let (told, code) = hunt_started(&valkey(), "self", &args);
    assert_eq!(code, Some(0), "{told:#?}");
    let notes = texts(&events(&told, "started").next().expect("a start")["notes"]);
    for side in ["primary", "replica"] {
        let said = format!(
            "no wrong clock of the {side}: /nonexistent/libfaketime.so: the clock stays right with it"
        );
        assert!(notes.iter().any(|note| *note == said), "{notes:?}");
    }
    let counts = &events(&told, "ended").next().expect("a summary")["counts"];
    assert!(counts["skews"].as_u64().unwrap_or(0) == 0, "{counts:#}");
}

#[test]
fn what_a_server_does_not_know_is_left_out_and_said() {
    let redis = format!("redis:{}", peers::redis().display());
    let (told, code) = hunt_started(&redis, &redis, &["--seed", "1", "--iterations", "20"]);
    let notes = texts(&events(&told, "started").next().expect("a start")["notes"]);
    let left_out = notes.iter().find(|note| note.contains("does not know")).expect("a note");
    assert!(left_out.contains("HSETEX") && !left_out.contains("HINCRBY"), "{left_out}");
    assert_eq!(code, Some(0), "{told:#?}");
}

#[test]
fn running_servers_with_data_are_left_alone() {
    let scratch = Scratch::new("hunt-running");
    let primary = Server::start(Program::Valkey, "primary", &scratch);
    let replica = Server::start(Program::Valkey, "replica", &scratch);
    let mut client = primary.client();
    client.call(argv!["SELECT", 3]);
    client.call(argv!["SET", "precious", "data"]);
    let (primary, replica) = (primary.address().to_string(), replica.address().to_string());
    let targets = ["--primary", &primary, "--replica", &replica, "--iterations", "3", "--commands", "HSET"];
    let refused = hunt(&targets);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("holds 1 keys") && error.contains("--flush"), "{error}");
    assert_eq!(client.call_integer(argv!["EXISTS", "precious"]), 1);

    let permitted = hunt(&[&targets[..], &["--flush"]].concat());
    let said = String::from_utf8_lossy(&permitted.stdout);
    assert_eq!(permitted.status.code(), Some(0), "{said}");
    assert!(said.contains("--replica-pid"), "what cannot be tried is said: {said}");
    assert_eq!(client.call_integer(argv!["DBSIZE"]), 0);
}

#[test]
fn what_is_no_target_is_a_clear_error() {
    let babbler = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    let address = babbler.local_addr().expect("a bound socket has an address").to_string();
    thread::spawn(move || {
        for mut client in babbler.incoming().flatten() {
            let _ = client.write_all(b"220 mail.example.org ESMTP\r\n");
        }
    });
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    let nobody = closed.local_addr().expect("a bound socket has an address").to_string();
    drop(closed);
    let valkey = valkey();
    let cases = [
        (address.as_str(), valkey.as_str(), "is no Valkey or Redis"),
        (nobody.as_str(), valkey.as_str(), "Connection refused"),
        ("valkey:/nonexistent/valkey-server", valkey.as_str(), "No such file"),
        ("valkey:/bin/false", valkey.as_str(), "does not run"),
        ("sevral:words", valkey.as_str(), "is no target"),
        ("no.such.host.invalid:6379", valkey.as_str(), "no.such.host.invalid"),
    ];
    for (primary, replica, reason) in cases {
        let output = hunt(&["--primary", primary, "--replica", replica, "--iterations", "1"]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{primary}: {error}");
        assert!(error.contains(reason), "{primary}: {error}");
        assert!(!error.contains("panicked"), "{primary}: {error}");
    }
}
