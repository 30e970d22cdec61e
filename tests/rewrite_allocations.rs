//! What goes out as the client sent it costs no memory: a command that is propagated verbatim is
//! rewritten and encoded without an allocation, and what is rewritten copies no argument.
#![cfg(not(replcore_loom))]
#![allow(missing_docs)]

#[path = "support/allocations.rs"]
mod allocations;

use bytes::Bytes;
use replcore::buffer::ReplicationBuffer;
use replcore::rewrite::frame::{self, FrameSink};
use replcore::rewrite::generic::{self, ExpireOutcome};
use replcore::rewrite::hash::{self, DeadlineBefore, FieldEffect, HSetExOutcome, HSetNxOutcome, Touched};
use replcore::rewrite::store::{self, StoreOutcome};
use replcore::rewrite::string::{self, SetOutcome};
use replcore::rewrite::{DeletionVerb, Effects, Propagation, Rewritten};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Counts bytes, keeps none.
#[derive(Default)]
struct Counted(usize);

impl FrameSink for Counted {
    fn put_slice(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
    fn put_bytes(&mut self, bytes: &Bytes) {
        self.0 += bytes.len();
    }
    fn select(&mut self, _: u16, select: &[u8]) {
        self.0 += select.len();
    }
    fn set_context(&mut self, _: u16) {}
}

fn argv(command: &str) -> Vec<Bytes> {
    command.split(' ').map(|arg| Bytes::copy_from_slice(arg.as_bytes())).collect()
}

/// A command, and the function that says what it propagates.
type Case = (&'static str, fn(&[Bytes]) -> Rewritten);

const VERBATIM: &[Case] = &[
    ("SET k v", |argv| string::set(argv, SetOutcome::Stored { deadline_ms: None }, DeletionVerb::Unlink)),
    ("SET k v NX PXAT 100", |argv| {
        string::set(argv, SetOutcome::Stored { deadline_ms: Some(100) }, DeletionVerb::Unlink)
    }),
    ("INCR k", |_| Ok(Propagation::Verbatim)),
    ("PEXPIREAT k 100", |argv| generic::expire(argv, ExpireOutcome::Deadline(100), DeletionVerb::Unlink)),
    ("SINTERSTORE d a b", |argv| store::store(argv, StoreOutcome::Stored)),
    ("HSET k f v", hash::hset),
    ("HSETNX k f v", |argv| hash::hsetnx(argv, HSetNxOutcome::Set { volatile: false })),
    ("HINCRBY k f 1", |argv| hash::hincrby(argv, 1, DeadlineBefore::NotVolatile)),
    ("HDEL k f g", |argv| hash::hdel(argv, Touched::live(&[2, 3]))),
    ("HPEXPIREAT k 100 FIELDS 1 f", |argv| {
        hash::hexpire(argv, Touched::live(&[5]), FieldEffect::Deadline(100))
    }),
    ("HPERSIST k FIELDS 1 f", |argv| hash::hpersist(argv, Touched::live(&[4]))),
    ("HSETEX k PXAT 100 FIELDS 1 f v", |argv| {
        hash::hsetex(argv, HSetExOutcome::Stored { deadline_ms: Some(100) })
    }),
];

#[test]
fn a_command_that_goes_out_verbatim_allocates_nothing_until_it_is_encoded() {
    for (command, rewrite) in VERBATIM {
        let argv = argv(command);
        let mut sink = Counted::default();
        let (allocations, bytes) = allocations::during(|| {
            let mut effects = Effects::new();
            effects.push(3, &argv, rewrite(&argv).expect("the outcome is one of the command"));
            frame::write(&effects, &mut sink);
        });
        let encoded = replcore::resp::encoded_len(&argv) + "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n".len();
        assert_eq!(sink.0, encoded, "{command} goes out as it came");
        assert_eq!((allocations, bytes), (0, 0), "{command}");
    }
}

/// Warm, a publication takes what is left of the writer's block, so that only a new block costs memory.
#[test]
fn a_verbatim_command_is_published_without_an_allocation_of_its_own() {
    let stream = ReplicationBuffer::builder().build().expect("the defaults are valid");
    let argv = argv("SET some-key some-value");
    let mut writer = stream.writer();
    let mut publish = || {
        let mut effects = Effects::new();
        effects.push(0, &argv, Propagation::Verbatim);
        let mut staged = writer.frame();
        frame::write(&effects, &mut staged);
        staged.publish().expect("the stream takes it");
    };
    publish();
    let of_each: Vec<u64> = (0..100).map(|_| allocations::during(&mut publish).0).collect();
    let without = of_each.iter().filter(|allocations| **allocations == 0).count();
    assert!(without >= 95, "{of_each:?}");
}

#[test]
fn a_rewritten_command_shares_the_arguments_of_the_client() {
    let value = Bytes::from(vec![b'x'; 1 << 20]);
    let argv: Vec<Bytes> = vec!["SET".into(), "k".into(), value.clone(), "EX".into(), "100".into()];
    let mut sink = Counted::default();
    let (allocations, bytes) = allocations::during(|| {
        let stored = SetOutcome::Stored { deadline_ms: Some(1_000_000) };
        let mut effects = Effects::new();
        effects.push(0, &argv, string::set(&argv, stored, DeletionVerb::Unlink).expect("it names a time"));
        frame::write(&effects, &mut sink);
    });
    assert!(sink.0 > value.len());
    assert!(bytes < 1024, "{allocations} allocations of {bytes} bytes");
    assert!(allocations > 0, "the counters count");
}
