//! What a field costs: bytes that the allocator was asked for, compared with what Valkey 9.1.2 says for the
//! same contents (`MEMORY USAGE key SAMPLES 0`, names and values of 13 bytes, random deadlines). And
//! `Hash::heap_bytes` says the same as the allocator.
#![cfg(not(replcore_loom))]
#![allow(missing_docs)]

#[path = "support/allocations.rs"]
mod allocations;

use replcore::hash_ttl::{DeadlineIndex, Hash};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// What holds a hash: its two counts of references.
const HANDLE_BYTES: usize = 2 * size_of::<usize>();

/// Numbers that look random and are the same in every run.
fn scramble(number: u64) -> u64 {
    let mixed = (number ^ number >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

fn item(kind: char, number: u64) -> Vec<u8> {
    format!("{kind}{number:012}").into_bytes()
}

fn filled(fields: u64, deadline: bool) -> Hash {
    let mut hash = Hash::new();
    for number in 0..fields {
        let deadline_ms = deadline.then(|| 1_750_000_000_000 + scramble(number) % 86_400_000);
        hash.insert(&item('f', number), &item('v', number), deadline_ms);
    }
    hash
}

#[test]
fn a_field_takes_no_more_memory_than_in_valkey() {
    // Fields, and Valkey's bytes per field with and without deadlines.
    for (fields, [with_deadline, without]) in
        [(10, [89, 34]), (100, [79, 30]), (10_000, [118, 55]), (1_000_000, [93, 67])]
    {
        for (deadline, limit) in [(true, with_deadline), (false, without)] {
            let mut hash = None;
            let live_bytes = allocations::kept(|| hash = Some(filled(fields, deadline)));
            let hash = hash.expect("it was made");
            assert_eq!(hash.len() as u64, fields);
            let bytes = live_bytes as usize + size_of::<Hash>() + HANDLE_BYTES;
            let per_field = bytes as f64 / fields as f64;
            println!(
                "{fields:>8} fields, deadlines {deadline:>5}: {per_field:5.1} bytes a field; Valkey {limit}"
            );
            assert!(per_field <= f64::from(limit), "{per_field} bytes, Valkey has {limit}");
        }
    }
}

#[test]
fn the_memory_that_a_hash_reports_is_what_was_allocated_for_it() {
    let mut hash = Hash::new();
    let mut live_bytes = 0;
    for round in 0..60_000u64 {
        let draw = scramble(round);
        let name = item('f', draw % if round < 40_000 { 20_000 } else { 300 });
        live_bytes += allocations::kept(|| match draw >> 20 & 15 {
            0..=6 => {
                let value_len = if draw >> 30 & 63 == 0 { 5000 } else { (draw >> 40 & 63) as usize };
                let deadline_ms = (draw & 1 << 29 != 0).then_some(draw >> 8);
                hash.insert(&name, &vec![b'v'; value_len], deadline_ms);
            }
            7..=9 => _ = hash.set_deadline(&name, (draw & 1 << 29 != 0).then_some(draw >> 8)),
            10..=12 => _ = hash.remove(&name),
            _ if round < 30_000 => {}
            _ => {
                let mut reclaimed = Vec::new();
                hash.reclaim(round << 32 | draw >> 24, &mut 100, &mut reclaimed);
            }
        });
        let reported = hash.heap_bytes() as i64;
        assert_eq!(reported, live_bytes, "after {round} operations, {} fields", hash.len());
    }
    assert!(hash.len() > 100, "{} fields are left", hash.len());
}

#[test]
fn memory_is_given_back_when_most_fields_are_gone() {
    let mut hash = filled(100_000, true);
    let full_bytes = hash.heap_bytes();
    for number in 0..99_900 {
        hash.remove(&item('f', number));
    }
    assert_eq!(hash.len(), 100);
    assert!(hash.heap_bytes() < full_bytes / 50, "{} of {full_bytes}", hash.heap_bytes());
}

/// Garbage is bounded: whatever is overwritten by something of another length, and however often.
#[test]
fn overwriting_does_not_accumulate_garbage() {
    let mut hash = filled(10_000, false);
    let before = hash.heap_bytes();
    for round in 0..300_000u64 {
        let number = scramble(round) % 10_000;
        hash.insert(&item('f', number), &vec![b'v'; 10 + (round % 8) as usize], None);
    }
    assert!(hash.heap_bytes() < before + 10_000 * 40, "{} after {before}", hash.heap_bytes());
}

#[test]
fn one_deadline_among_many_fields_costs_little() {
    let mut hash = filled(100_000, false);
    let before = hash.heap_bytes();
    hash.set_deadline(&item('f', 77_777), Some(1_750_000_000_000));
    assert!(hash.heap_bytes() - before < 40_000, "{}", hash.heap_bytes() - before);
    hash.set_deadline(&item('f', 77_777), None);
    assert_eq!(hash.heap_bytes(), before);
}

/// Hashes that come and go leave an index that is as large as what is left, not as what there once was.
#[test]
fn an_index_gives_memory_back_while_something_is_left_in_it() {
    let (mut index, mut slots) = (DeadlineIndex::new(), Vec::with_capacity(200_000));
    let full_bytes = allocations::kept(|| {
        slots.extend((0..200_000).map(|number| index.insert(scramble(number), [number; 4])))
    });
    let freed_bytes = -allocations::kept(|| {
        for slot in slots.drain(100..) {
            index.remove(slot);
        }
    });
    assert_eq!(index.len(), 100);
    assert!(freed_bytes > full_bytes / 4 * 3, "{freed_bytes} of {full_bytes}");
    // And what comes anew takes the places that there are.
    let again_bytes =
        allocations::kept(|| slots.extend((0..199_900).map(|number| index.insert(number, [number; 4]))));
    assert_eq!(index.len(), 200_000);
    assert!(again_bytes - freed_bytes < full_bytes / 5, "{again_bytes} after {freed_bytes} of {full_bytes}");
}
