//! `async-broadcast` with overflow off, so that it loses nothing: a writer that finds it full yields and
//! tries again.
//!
//! It is used by its `try_` calls: its blocking ones allocate a listener for every wait, and a yield is as
//! good on few cores. It keeps nothing without a receiver.

use std::collections::VecDeque;
use std::thread;

use async_broadcast::{Receiver, Sender, TryRecvError, TrySendError};
use bytes::Bytes;

use super::{Append, Read, Shape, Stream, fill, slots};

pub struct AsyncBroadcast(Sender<Bytes>);

impl Stream for AsyncBroadcast {
    const NAME: &'static str = "async-broadcast";
    type Writer<'s> = &'s AsyncBroadcast;
    type Reader = AsyncReader;

    fn open(shape: &Shape) -> (Self, Vec<AsyncReader>) {
        let (mut sender, first) = async_broadcast::broadcast(slots(shape));
        sender.set_overflow(false);
        let readers = (0..shape.readers)
            .map(|_| AsyncReader { receiver: first.new_receiver(), taken: VecDeque::new() })
            .collect();
        (Self(sender), readers)
    }

    fn writer(&self) -> &AsyncBroadcast {
        self
    }
}

impl Append for &AsyncBroadcast {
    fn append(&mut self, frame: &[u8]) -> u64 {
        let mut frame = Bytes::copy_from_slice(frame);
        loop {
            match self.0.try_broadcast(frame) {
                Ok(_) => return 0,
                Err(TrySendError::Full(back)) => frame = back,
                // Every reader is done.
                Err(_) => return 0,
            }
            thread::yield_now();
        }
    }

    /// Receiving takes the one lock: so does this.
    fn is_readable(&mut self, _position: u64) -> bool {
        let _ = self.0.len();
        true
    }
}

pub struct AsyncReader {
    receiver: Receiver<Bytes>,
    taken: VecDeque<Bytes>,
}

impl Read for AsyncReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let receiver = &mut self.receiver;
        fill(target, &mut self.taken, || match receiver.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Overflowed(lost)) => panic!("{lost} frames were lost: overflow is off"),
            Err(_) => None,
        })
    }
}
