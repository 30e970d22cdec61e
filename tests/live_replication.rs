//! Real replicas under real load: whatever happens to their links, they end in the primary's state.
#![cfg(feature = "server")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use support::keyspace::{Contents, Entry, Value, assert_converged, compare};
use support::load::{Brake, Load, populate};
use support::{Link, Scratch, Server, attach_replicas, note, seed, wait_caught_up, wait_link_up, wait_until};

const WRITERS: u64 = 4;
const CUTS: usize = 20;
const BACKLOG_BYTES: u64 = 32 << 20;
/// The writers are held while a replica is further behind than this, so that what it missed stays in the
/// backlog.
const BRAKE_BYTES: u64 = BACKLOG_BYTES / 2;
/// A link that is cut passes up to this many bytes before, and stays closed for up to this many.
const CUT_WITHIN_BYTES: u64 = 200_000;
const CLOSED_FOR_BYTES: u64 = BACKLOG_BYTES / 8;
/// What a primary says to a returning replica before the stream is longer than this, with every kind of
/// replica.
const HANDSHAKE_BYTES: u64 = 60;
const RECONNECT: Duration = Duration::from_secs(30);

#[test]
fn replicas_cut_off_again_and_again_resync_partially_and_converge() {
    let started = Instant::now();
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let scratch = Scratch::new("cuts");
    let primary = Server::primary(&scratch);
    primary.configure(&[("repl-backlog-size", &BACKLOG_BYTES.to_string())]);
    let load = Load::start(primary.address(), WRITERS, seed, 0);
    let (replicas, links) = attach_replicas(&primary, &scratch);
    let before = primary.info();

    let done = AtomicBool::new(false);
    let broken_handshakes = AtomicU64::new(0);
    thread::scope(|scope| {
        let brake = scope.spawn(|| hold_within_backlog(&primary, &replicas, &load.brake, &done));
        let cutters: Vec<_> = replicas
            .iter()
            .zip(&links)
            .enumerate()
            .map(|(index, (replica, link))| {
                let rng = StdRng::seed_from_u64(seed ^ (index as u64 + 1) << 32);
                let (primary, brake, broken_handshakes) = (&primary, &load.brake, &broken_handshakes);
                scope.spawn(move || {
                    let broken = cut_again_and_again(primary, replica, link, brake, rng);
                    broken_handshakes.fetch_add(broken, Ordering::Relaxed);
                })
            })
            .collect();
        let failed = cutters.into_iter().any(|cutter| cutter.join().is_err());
        done.store(true, Ordering::Relaxed);
        brake.join().expect("the primary and the replicas answered INFO");
        assert!(!failed, "a replica did not come back as it should");
    });
    let commands = load.commands();
    let longest = load.stop();
    let keys = assert_converged(&primary, &replicas);
    wait_until("the primary sees both online and at its end", RECONNECT, || {
        let info = primary.info();
        let at_end = format!("offset={},", info.number("master_repl_offset"));
        let seen = [info.text("slave0"), info.text("slave1")];
        let done = seen.iter().all(|line| line.contains("state=online,") && line.contains(&at_end));
        if done { Ok(()) } else { Err(format!("{seen:?}, not {at_end}")) }
    });

    let info = primary.info();
    let since = |field: &str| info.number(field) - before.number(field);
    assert_eq!(
        info.number("connected_slaves"),
        replicas.len() as u64,
        "no link that was cut is still listed"
    );
    assert_eq!(info.number("sync_full"), replicas.len() as u64, "one full resync each, when they first came");
    assert_eq!(since("sync_partial_err"), 0, "no request for a partial resync was refused");
    // The primary may have accepted a replica that never read the answer, because the link broke under it.
    let accepted = since("sync_partial_ok");
    let completed = (replicas.len() * CUTS) as u64;
    let broken_handshakes = broken_handshakes.into_inner();
    assert!(
        (completed..=completed + broken_handshakes).contains(&accepted),
        "sync_partial_ok is {accepted}, the replicas completed {completed} and broke off {broken_handshakes}"
    );
    for replica in &replicas {
        assert_eq!(replica.full_resyncs_logged(), 1, "{}", replica.name());
        assert_eq!(replica.partial_resyncs_logged(), CUTS, "{}", replica.name());
        assert_eq!(replica.info().text("master_link_status"), "up");
    }
    note!(
        "{commands} commands, {} bytes of stream, {CUTS} cuts each, {accepted} partial resyncs ({broken_handshakes} \
         handshakes cut), {keys} keys equal, longest pipeline {longest:?}, {:?} in all",
        info.number("master_repl_offset"),
        started.elapsed()
    );
}

/// Cuts `link` at random bytes and sees `replica` return each time. Returns how many handshakes were cut as
/// well.
fn cut_again_and_again(
    primary: &Server,
    replica: &Server,
    link: &Link,
    brake: &Brake,
    mut rng: StdRng,
) -> u64 {
    let mut broken_handshakes = 0;
    for cut in 1..=CUTS {
        link.close_after(rng.random_range(0..CUT_WITHIN_BYTES));
        link.wait_closed(RECONNECT);
        if rng.random_ratio(1, 2) {
            wait_stream_moved(primary, brake, rng.random_range(0..CLOSED_FOR_BYTES));
        }
        if rng.random_ratio(1, 5) {
            broken_handshakes += 1;
            link.close_after(rng.random_range(1..=HANDSHAKE_BYTES));
            link.open();
            link.wait_closed(RECONNECT);
        }
        link.open();
        wait_until(&format!("{} resyncs after cut {cut}", replica.name()), RECONNECT, || {
            assert_eq!(replica.full_resyncs_logged(), 1, "{} lost its place after cut {cut}", replica.name());
            match replica.partial_resyncs_logged() {
                resyncs if resyncs == cut => Ok(()),
                resyncs => Err(format!("{resyncs} partial resyncs")),
            }
        });
        wait_link_up(replica, RECONNECT);
    }
    broken_handshakes
}

/// Waits until the stream is `bytes` longer, or as long as the backlog allows.
fn wait_stream_moved(primary: &Server, brake: &Brake, bytes: u64) {
    let mut client = primary.client();
    let mut end = || client.info_section("replication").number("master_repl_offset");
    let goal = end() + bytes;
    wait_until("the writers write on", RECONNECT, || match end() {
        end if end >= goal || brake.is_on() => Ok(()),
        end => Err(format!("offset {end}, waiting for {goal}")),
    });
}

/// Holds the writers whenever a replica is too far behind to be sure of a partial resync.
fn hold_within_backlog(primary: &Server, replicas: &[Server], brake: &Brake, done: &AtomicBool) {
    let mut primary = primary.client();
    let mut replicas: Vec<_> = replicas.iter().map(Server::client).collect();
    while !done.load(Ordering::Relaxed) {
        let applied = replicas
            .iter_mut()
            .map(|replica| replica.info_section("replication").number("slave_repl_offset"));
        let slowest = applied.min().unwrap_or(u64::MAX);
        let end = primary.info_section("replication").number("master_repl_offset");
        brake.set(end.saturating_sub(slowest) > BRAKE_BYTES);
        thread::sleep(Duration::from_millis(5));
    }
    brake.set(false);
}

#[test]
fn a_full_resync_of_a_large_keyspace_under_load_gives_the_same_keyspace() {
    const POPULATION: u32 = 200_000;
    let started = Instant::now();
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let scratch = Scratch::new("full");
    let primary = Server::primary(&scratch);
    populate(primary.address(), POPULATION, seed);
    note!("populated after {:?}", started.elapsed());

    let load = Load::start(primary.address(), WRITERS, seed, POPULATION);
    let attaching = Instant::now();
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let attached = attaching.elapsed();
    // All writers were at work during the whole of both transfers.
    let commands = load.commands();
    let longest = load.stop();
    for replica in &replicas {
        wait_caught_up(&primary, replica, RECONNECT);
    }
    let keys = assert_converged(&primary, &replicas);
    let info = primary.info();
    assert_eq!(info.number("sync_full"), replicas.len() as u64);
    assert!(keys as u32 > POPULATION / 2, "only {keys} keys were left to compare");
    note!(
        "{commands} commands during full resyncs of {attached:?}, longest pipeline {longest:?}, {keys} keys equal, \
         {:?} in all",
        started.elapsed()
    );
}

#[test]
fn a_comparison_finds_every_kind_of_difference() {
    let entry =
        |text: &'static str, deadline_ms| Entry { value: Value::Text(Bytes::from(text)), deadline_ms };
    let base: Contents =
        [((0, Bytes::from("a")), entry("1", -1)), ((3, Bytes::from("b")), entry("2", 7))].into();
    assert!(compare(&base, &base.clone()).is_empty());
    let mut other = base.clone();
    other.insert((0, Bytes::from("a")), entry("2", -1));
    assert_eq!(compare(&base, &other).len(), 1, "value");
    let mut other = base.clone();
    other.insert((3, Bytes::from("b")), entry("2", 8));
    assert_eq!(compare(&base, &other).len(), 1, "deadline");
    let mut other = base.clone();
    other.insert((4, Bytes::from("b")), entry("2", 7));
    assert_eq!(compare(&base, &other).len(), 1, "surplus");
    other.remove(&(3, Bytes::from("b")));
    assert_eq!(compare(&base, &other).len(), 2, "other database");
}
