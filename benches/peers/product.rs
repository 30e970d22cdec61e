//! The product, with its default settings but for the backlog and the limits of cursors: no peer evicts
//! readers.

use bytes::Buf;
use replcore::buffer::{Cursor, CursorLimits, ReplicationBuffer};

use super::{Append, Kind, Read, Shape, Stream};

pub struct Product(ReplicationBuffer);

impl Stream for Product {
    const NAME: &'static str = "replcore";
    const KIND: Kind = Kind::Product;
    const KEEPS_UNREAD: bool = true;
    type Writer<'s> = ProductWriter;
    type Reader = Cursor;

    fn open(shape: &Shape) -> (Self, Vec<Cursor>) {
        let buffer = ReplicationBuffer::builder()
            .backlog_bytes(shape.backlog_bytes as u64)
            .cursor_limits(CursorLimits::UNLIMITED)
            .build()
            .expect("valid");
        let readers = (0..shape.readers).map(|_| buffer.attach(0).expect("at the base")).collect();
        (Self(buffer), readers)
    }

    fn writer(&self) -> ProductWriter {
        ProductWriter { writer: self.0.writer(), buffer: self.0.clone() }
    }
}

pub struct ProductWriter {
    writer: replcore::buffer::Writer,
    buffer: ReplicationBuffer,
}

impl Append for ProductWriter {
    fn append(&mut self, frame: &[u8]) -> u64 {
        self.writer.append(frame).expect("within the limits").end
    }

    fn is_readable(&mut self, position: u64) -> bool {
        self.buffer.end_offset() >= position
    }
}

impl Read for Cursor {
    /// The way for a user who wants the bytes in memory of their own.
    fn read(&mut self, target: &mut [u8]) -> usize {
        let visible = self.refresh().expect("without limits there is no eviction");
        let len = visible.min(target.len());
        self.copy_to_slice(&mut target[..len]);
        len
    }
}
