//! One unbounded `crossbeam-channel` for each reader, and a lock around sending: without it each reader would
//! see an order of its own.
//!
//! It has no backlog. `flume` and `kanal` would be used the same way and have a lock inside as well, which
//! this one has not: it stands for all of them.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};

use super::{Append, Kind, Read, Shape, Stream, fill, lock};

pub struct ChannelEach {
    senders: Mutex<Vec<Sender<Bytes>>>,
}

impl Stream for ChannelEach {
    const NAME: &'static str = "crossbeam channel each";
    const KIND: Kind = Kind::Released;
    type Writer<'s> = &'s ChannelEach;
    type Reader = ChannelReader;

    fn open(shape: &Shape) -> (Self, Vec<ChannelReader>) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..shape.readers).map(|_| crossbeam_channel::unbounded()).unzip();
        let readers =
            receivers.into_iter().map(|receiver| ChannelReader { receiver, taken: VecDeque::new() });
        (Self { senders: Mutex::new(senders) }, readers.collect())
    }

    fn writer(&self) -> &ChannelEach {
        self
    }
}

impl Append for &ChannelEach {
    fn append(&mut self, frame: &[u8]) -> u64 {
        let frame = Bytes::copy_from_slice(frame);
        for sender in &*lock(&self.senders) {
            // A reader that is done does not mind.
            let _ = sender.send(frame.clone());
        }
        0
    }

    /// What was sent can be received, once the sender of the slot before it is done; the lock sees
    /// to that.
    fn is_readable(&mut self, _position: u64) -> bool {
        true
    }
}

pub struct ChannelReader {
    receiver: Receiver<Bytes>,
    taken: VecDeque<Bytes>,
}

impl Read for ChannelReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let receiver = &self.receiver;
        fill(target, &mut self.taken, || receiver.try_recv().ok())
    }
}
