//! The `disruptor` crate, many producers: a ring whose slots hold the bytes themselves.
//!
//! Frames up to 64 bytes lie in the slot, longer ones in memory that the slot keeps: nothing is allocated
//! after the start. Readers are its *event pollers*, each on a thread of its reader, which yields when
//! nothing is there: its managed threads either spin, which stops everything where readers outnumber cores,
//! or sleep, which costs latency. A writer that finds the ring full yields and tries again, for `publish`
//! would spin.
//!
//! Consumers have to be registered before the first event and hold the ring up until they have read: it keeps
//! nothing without one, and none can attach later.

use std::sync::Mutex;
use std::thread;

use disruptor::{
    BusySpin, EventPoller, MultiConsumerBarrier, MultiProducer, MultiProducerBarrier, Producer,
    build_multi_producer,
};
use smallvec::SmallVec;

use super::{Append, Read, Shape, Stream, lock, slots};

type Slot = SmallVec<[u8; 64]>;
type Poller = EventPoller<Slot, MultiProducerBarrier>;

pub struct Disruptor {
    producer: Mutex<MultiProducer<Slot, MultiConsumerBarrier>>,
    watches: Mutex<Vec<Poller>>,
}

impl Stream for Disruptor {
    const NAME: &'static str = "disruptor";
    type Writer<'s> = DisruptorWriter;
    type Reader = DisruptorReader;

    fn open(shape: &Shape) -> (Self, Vec<DisruptorReader>) {
        let bytes = shape.frame_bytes;
        // Zeroed, so that the memory is there.
        let slot = move || {
            let mut slot = Slot::from_elem(0, bytes);
            slot.clear();
            slot
        };
        // The strategy of managed threads, of which there are none.
        let mut builder = build_multi_producer(slots(shape), slot, BusySpin).with_multi_consumer();
        let mut pollers = Vec::new();
        for _ in 0..shape.readers + shape.watching_writers {
            let (poller, next) = builder.new_event_poller();
            pollers.push(poller);
            builder = next;
        }
        let watches = Mutex::new(pollers.split_off(shape.readers));
        let readers =
            pollers.into_iter().map(|poller| DisruptorReader { poller, frame_bytes: bytes }).collect();
        (Self { producer: Mutex::new(builder.build()), watches }, readers)
    }

    fn writer(&self) -> DisruptorWriter {
        let producer = lock(&self.producer).clone();
        DisruptorWriter { producer, watch: lock(&self.watches).pop(), seen: 0 }
    }
}

pub struct DisruptorWriter {
    producer: MultiProducer<Slot, MultiConsumerBarrier>,
    watch: Option<Poller>,
    /// So many events the watch has seen.
    seen: u64,
}

impl Append for DisruptorWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        loop {
            let published = self.producer.try_publish(|slot| {
                slot.clear();
                slot.extend_from_slice(frame);
            });
            match published {
                Ok(sequence) => return sequence as u64 + 1,
                Err(_) => {
                    self.rest();
                    thread::yield_now();
                }
            }
        }
    }

    fn is_readable(&mut self, position: u64) -> bool {
        if self.seen < position {
            self.rest();
        }
        self.seen >= position
    }

    fn rest(&mut self) {
        if let Some(mut guard) = self.watch.as_mut().and_then(|watch| watch.poll().ok()) {
            let events = &mut guard;
            self.seen += events.len() as u64;
        }
    }
}

pub struct DisruptorReader {
    poller: Poller,
    frame_bytes: usize,
}

impl Read for DisruptorReader {
    /// Whole frames, as many as fit: an event is done when the guard goes.
    fn read(&mut self, target: &mut [u8]) -> usize {
        let room = target.len() / self.frame_bytes;
        assert!(room > 0, "a reader has room for a frame");
        let Ok(mut events) = self.poller.take(room as u64) else { return 0 };
        let mut filled = 0;
        for event in &mut events {
            target[filled..filled + event.len()].copy_from_slice(event);
            filled += event.len();
        }
        filled
    }
}
