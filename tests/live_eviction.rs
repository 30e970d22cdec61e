//! A primary that is short of memory, with real replicas: what it evicts they lose as well, and nothing else.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use support::client::argv;
use support::keyspace::assert_converged;
use support::load::{Load, populate};
use support::{Scratch, Server, attach_replicas, note, seed, wait_until};

const POPULATION: u32 = 20_000;
const WRITERS: u64 = 4;
const EVICTIONS: u64 = 5_000;
const COMMANDS: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What counts towards `maxmemory`.
fn counted_bytes(primary: &Server) -> u64 {
    let info = primary.info();
    info.number("used_memory") - info.number("mem_not_counted_for_evict")
}

fn evict_under_load(policy: &str) {
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let scratch = Scratch::new(policy);
    let primary = Server::primary(&scratch);
    populate(primary.address(), POPULATION, seed);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let load = Load::start(primary.address(), WRITERS, seed, POPULATION);
    let limit_bytes = counted_bytes(&primary) * 9 / 10;
    primary.configure(&[("maxmemory-policy", policy), ("maxmemory", &limit_bytes.to_string())]);
    let before = load.commands();
    wait_until("keys are evicted while others are written", PATIENCE, || {
        match (primary.info().number("evicted_keys"), load.commands() - before) {
            (EVICTIONS.., COMMANDS..) => Ok(()),
            (evicted, commands) => Err(format!("{evicted} keys evicted, {commands} commands")),
        }
    });
    let commands = load.commands() - before;
    load.stop();
    wait_until("the data is within its limit", PATIENCE, || {
        // What the last writes added is evicted by the next command.
        primary.client().call(argv!["EXISTS", "any"]);
        match counted_bytes(&primary) {
            bytes if bytes <= limit_bytes => Ok(()),
            bytes => Err(format!("{bytes} of {limit_bytes} bytes")),
        }
    });
    let evicted = primary.info().number("evicted_keys");
    let keys = assert_converged(&primary, &replicas);
    assert!(keys > 0, "nothing is left to compare");
    for replica in &replicas {
        assert_eq!(replica.info().number("evicted_keys"), 0, "{} evicts nothing by itself", replica.name());
    }
    note!("{policy}: {commands} commands, {evicted} keys evicted, {keys} keys equal");
}

#[test]
fn replicas_lose_what_a_primary_evicts_by_recency() {
    evict_under_load("allkeys-lru");
}

#[test]
fn replicas_lose_what_a_primary_evicts_at_random() {
    evict_under_load("allkeys-random");
}
