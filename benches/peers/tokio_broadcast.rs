//! `tokio::sync::broadcast`, with room for the backlog twice over: it drops what does not fit, and the
//! benchmark sees to it that all does. It needs no runtime as long as nobody waits in it.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::{Append, Read, Shape, Stream, fill};

pub struct TokioBroadcast {
    sender: Sender<Bytes>,
    /// A channel without receivers refuses to send.
    _idle: Receiver<Bytes>,
}

impl Stream for TokioBroadcast {
    const NAME: &'static str = "tokio broadcast";
    const KEEPS_UNREAD: bool = true;
    type Writer<'s> = &'s TokioBroadcast;
    type Reader = BroadcastReader;

    fn open(shape: &Shape) -> (Self, Vec<BroadcastReader>) {
        let capacity = (2 * shape.backlog_bytes / shape.frame_bytes).clamp(16, shape.frames.max(16));
        let (sender, idle) = channel(capacity);
        let reader = |_| BroadcastReader { receiver: sender.subscribe(), taken: VecDeque::new() };
        let readers = (0..shape.readers).map(reader).collect();
        (Self { sender, _idle: idle }, readers)
    }

    fn writer(&self) -> &TokioBroadcast {
        self
    }
}

impl Append for &TokioBroadcast {
    fn append(&mut self, frame: &[u8]) -> u64 {
        self.sender.send(Bytes::copy_from_slice(frame)).expect("there is a receiver");
        0
    }

    /// What was sent can be received: a slot has a lock of its own, and receiving takes no other.
    fn is_readable(&mut self, _position: u64) -> bool {
        true
    }
}

pub struct BroadcastReader {
    receiver: Receiver<Bytes>,
    taken: VecDeque<Bytes>,
}

impl Read for BroadcastReader {
    fn read(&mut self, target: &mut [u8]) -> usize {
        let receiver = &mut self.receiver;
        fill(target, &mut self.taken, || match receiver.try_recv() {
            Ok(frame) => Some(frame),
            Err(TryRecvError::Lagged(lost)) => panic!("{lost} frames were lost: the capacity is too small"),
            Err(_) => None,
        })
    }
}
