//! `multiqueue2`: a bounded ring that broadcasts to streams, each read by one thread.
//!
//! The receivers are the ones for a single thread, which look at a value where it is and copy its bytes
//! straight out. A full ring is answered by a yield and another try. Without a receiver it keeps nothing.

use std::sync::Mutex;
use std::thread;

use bytes::{Buf, Bytes};
use multiqueue2::wait::YieldingWait;
use multiqueue2::{BroadcastSender, BroadcastUniReceiver, broadcast_queue_with};

use super::{Append, Read, Shape, Stream, lock, number, slots};

pub struct Multiqueue {
    sender: Mutex<BroadcastSender<Bytes>>,
    watches: Mutex<Vec<BroadcastUniReceiver<Bytes>>>,
}

impl Stream for Multiqueue {
    const NAME: &'static str = "multiqueue2";
    type Writer<'s> = MultiqueueWriter;
    type Reader = MultiqueueReader;

    fn open(shape: &Shape) -> (Self, Vec<MultiqueueReader>) {
        let (sender, first) = broadcast_queue_with(slots(shape) as u64, YieldingWait::new());
        let mut streams: Vec<_> = (0..shape.readers + shape.watching_writers)
            .map(|_| first.add_stream().into_single().unwrap_or_else(|_| panic!("a stream of one receiver")))
            .collect();
        first.unsubscribe();
        let watches = Mutex::new(streams.split_off(shape.readers));
        let readers =
            streams.into_iter().map(|receiver| MultiqueueReader { receiver, taken: Bytes::new() }).collect();
        (Self { sender: Mutex::new(sender), watches }, readers)
    }

    fn writer(&self) -> MultiqueueWriter {
        let sender = lock(&self.sender).clone();
        MultiqueueWriter { sender, watch: lock(&self.watches).pop() }
    }
}

pub struct MultiqueueWriter {
    sender: BroadcastSender<Bytes>,
    watch: Option<BroadcastUniReceiver<Bytes>>,
}

impl Append for MultiqueueWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        use std::sync::mpsc::TrySendError;
        let mut sent = Bytes::copy_from_slice(frame);
        loop {
            match self.sender.try_send(sent) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return number(frame),
                Err(TrySendError::Full(back)) => sent = back,
            }
            self.rest();
            thread::yield_now();
        }
    }

    /// Looks for the frame of that number, which is this writer's own.
    fn is_readable(&mut self, position: u64) -> bool {
        let Some(watch) = &self.watch else { return true };
        while let Ok(seen) = watch.try_recv_view(|frame| number(frame)) {
            if seen == position {
                return true;
            }
        }
        false
    }

    fn rest(&mut self) {
        if let Some(watch) = &self.watch {
            while watch.try_recv_view(|_| ()).is_ok() {}
        }
    }
}

pub struct MultiqueueReader {
    receiver: BroadcastUniReceiver<Bytes>,
    /// What is left of a frame that did not fit.
    taken: Bytes,
}

impl Read for MultiqueueReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let mut filled = self.taken.len().min(target.len());
        self.taken.copy_to_slice(&mut target[..filled]);
        while filled < target.len() {
            let room = &mut target[filled..];
            let taken = &mut self.taken;
            let copied = self.receiver.try_recv_view(|frame| {
                let len = frame.len().min(room.len());
                room[..len].copy_from_slice(&frame[..len]);
                if len < frame.len() {
                    *taken = frame.slice(len..);
                }
                len
            });
            match copied {
                Ok(len) => filled += len,
                Err(_) => break,
            }
        }
        filled
    }
}
