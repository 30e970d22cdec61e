//! What the buffer does, one sentence a test. Races are the models' business (`proofs/`).

use std::io::IoSlice;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::*;

fn small() -> Builder {
    ReplicationBuffer::builder()
        .block_bytes(64)
        .segment_frames(4)
        .segment_bytes(100)
        .backlog_bytes(0)
        .cursor_limits(CursorLimits::UNLIMITED)
}

fn read_all(cursor: &mut Cursor) -> Vec<u8> {
    let mut bytes = Vec::new();
    while cursor.refresh().expect("not evicted") > 0 {
        bytes.extend_from_slice(cursor.chunk());
        cursor.advance(cursor.chunk().len());
    }
    bytes
}

#[test]
fn frames_come_out_as_they_went_in_across_blocks_and_segments() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    let mut expected = Vec::new();
    for n in 0..500_usize {
        let frame = vec![n as u8; n % 90];
        let start = expected.len() as u64;
        expected.extend_from_slice(&frame);
        assert_eq!(writer.append(&frame), Ok(start..expected.len() as u64), "I1");
    }
    assert_eq!(read_all(&mut cursor), expected, "I3, I5");
    assert_eq!(cursor.offset(), buffer.end_offset());
    assert_eq!(buffer.stats().publications, (0..500).filter(|n| n % 90 > 0).count() as u64);
}

#[test]
fn a_frame_longer_than_a_block_is_one_frame() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    let mut frame = writer.frame();
    let mut expected = Vec::new();
    for n in 0..100_u8 {
        frame.put_slice(&[n; 7]);
        expected.extend_from_slice(&[n; 7]);
        if n % 10 == 0 {
            let large = Bytes::from(vec![n; 1000]);
            frame.put_bytes(large.clone());
            expected.extend_from_slice(&large);
        }
    }
    frame.publish().expect("within the limit");
    cursor.refresh().expect("not evicted");
    let (range, bytes) = cursor.next_frame().expect("published");
    assert_eq!((range, &bytes[..]), (0..expected.len() as u64, &expected[..]));
}

#[test]
fn shared_bytes_are_not_copied() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let shared = Bytes::from(vec![7; 4096]);
    buffer.writer().append_bytes(shared.clone()).expect("appended");
    cursor.refresh().expect("not evicted");
    assert_eq!(cursor.chunk().as_ptr(), shared.as_ptr());
}

#[test]
fn consecutive_small_frames_of_one_writer_are_one_run() {
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    for _ in 0..100 {
        writer.append(b"0123456789").expect("appended");
    }
    cursor.refresh().expect("not evicted");
    assert_eq!(cursor.chunk().len(), 1000);
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(cursor.chunks_vectored(&mut slices), 1);
}

#[test]
fn a_batch_is_published_at_once_and_read_frame_by_frame() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    let mut batch = writer.frame();
    for part in ["one", "three", "", "five!"] {
        batch.put_slice(part.as_bytes());
        batch.end_frame();
    }
    assert_eq!(batch.publish(), Ok(0..13));
    assert_eq!(buffer.stats().publications, 1);
    cursor.refresh().expect("not evicted");
    let frames: Vec<_> = std::iter::from_fn(|| cursor.next_frame()).collect();
    let expected = [(0..3, "one"), (3..8, "three"), (8..13, "five!")];
    assert_eq!(frames, expected.map(|(range, text)| (range, Bytes::from(text))));
}

#[test]
fn a_conditional_part_follows_the_context() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    let mut write = |context: Option<u64>, text: &str| {
        let mut frame = writer.frame();
        frame.put_slice(b"<");
        if let Some(context) = context {
            frame.select_context(context, format!("[{context}]").as_bytes());
        }
        frame.put_slice(text.as_bytes());
        frame.publish().expect("appended");
    };
    write(Some(0), "a");
    write(Some(0), "b");
    write(None, "c");
    write(Some(3), "d");
    write(Some(0), "e");
    let mut marker = writer.frame();
    marker.set_context(None);
    assert_eq!(marker.publish(), Ok(19..19));
    let mut frame = writer.frame();
    frame.select_context(0, b"[0]");
    frame.put_slice(b"f");
    frame.select_context(0, b"[0]");
    frame.select_context(5, b"[5]");
    frame.put_slice(b"g");
    frame.publish().expect("appended");
    let text = String::from_utf8(read_all(&mut cursor)).expect("text");
    assert_eq!(text, "<[0]a<b<c<[3]d<[0]e[0]f[5]g");
}

#[test]
fn the_conditional_part_of_a_batch_lengthens_its_own_frame() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    let mut batch = writer.frame();
    batch.put_slice(b"ping");
    batch.end_frame();
    batch.select_context(2, b"[2]");
    batch.put_slice(b"set");
    batch.end_frame();
    batch.put_slice(b"get");
    batch.publish().expect("appended");
    cursor.refresh().expect("not evicted");
    let frames: Vec<_> = std::iter::from_fn(|| cursor.next_frame().map(|(range, _)| range)).collect();
    assert_eq!(frames, [0..4, 4..10, 10..13]);
}

#[test]
fn the_backlog_stays_attachable_and_little_more() {
    let buffer = small().backlog_bytes(1000).build().expect("valid");
    let mut writer = buffer.writer();
    for _ in 0..10_000 {
        writer.append(b"0123456789").expect("appended");
        let first = buffer.first_offset();
        let kept = buffer.end_offset() - first;
        assert!(first == 0 || kept >= 1000, "I7: {kept}");
        assert!(kept <= 1000 + 2 * 100, "I11: {kept}");
    }
    let (first, end) = (buffer.first_offset(), buffer.end_offset());
    assert_eq!(buffer.attach(first).expect("first").offset(), first);
    assert_eq!(buffer.attach(end).expect("end").offset(), end);
    for requested in [0, first - 1, end + 1, u64::MAX] {
        let error = buffer.attach(requested).expect_err("outside");
        assert_eq!(error, AttachError::OffsetNotRetained { requested, first, end });
    }
}

#[test]
fn every_retained_offset_can_be_attached() {
    let buffer = small().backlog_bytes(500).build().expect("valid");
    let mut writer = buffer.writer();
    let text: Vec<u8> = (0..5000_usize).map(|n| (n % 251) as u8).collect();
    for piece in text.chunks(13) {
        writer.append(piece).expect("appended");
    }
    for offset in buffer.first_offset()..=buffer.end_offset() {
        let mut cursor = buffer.attach(offset).expect("retained");
        assert_eq!(cursor.offset(), offset);
        assert_eq!(read_all(&mut cursor), text[offset as usize..]);
    }
}

#[test]
fn a_cursor_keeps_what_it_has_not_read_and_lets_it_go() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    for n in 0..1000_u32 {
        writer.append(&n.to_le_bytes()).expect("appended");
    }
    assert_eq!(buffer.stats().retained_bytes, 4000);
    let bytes = read_all(&mut cursor);
    assert!(bytes.chunks(4).enumerate().all(|(n, chunk)| chunk == (n as u32).to_le_bytes()));
    assert!(buffer.stats().retained_bytes <= 100, "I11");
    drop(cursor);
    writer.append(b"more").expect("appended");
    assert!(buffer.stats().segments_live < 20, "{:?}", buffer.stats());
}

#[test]
fn a_slow_cursor_is_evicted_at_the_hard_limit_and_keeps_only_its_window() {
    let limits = CursorLimits { hard_bytes: 2000, soft_bytes: 0, soft_ms: 0 };
    let buffer = small().cursor_limits(limits).build().expect("valid");
    let mut slow = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    writer.append(b"held").expect("appended");
    slow.refresh().expect("not evicted");
    for _ in 0..1000 {
        writer.append(&[1; 50]).expect("appended");
    }
    let stats = buffer.stats();
    assert_eq!((stats.evictions, stats.cursors), (1, 0));
    assert!(stats.retained_bytes <= 200, "I11: {stats:?}");
    assert_eq!(slow.chunk(), b"held", "borrowed bytes outlive the eviction");
    assert!(matches!(slow.refresh(), Err(CursorError::Evicted { offset: 0, lag_bytes: 50_004 })));
}

#[test]
fn the_soft_limit_takes_its_time() {
    let limits = CursorLimits { hard_bytes: 0, soft_bytes: 100, soft_ms: 50 };
    let buffer = small().cursor_limits(limits).build().expect("valid");
    let cursor = buffer.attach(0).expect("at the base");
    buffer.append(&[1; 500]).expect("appended");
    assert_eq!(buffer.log.enforce(1000), 0);
    assert_eq!(buffer.log.enforce(1049), 0);
    assert_eq!(buffer.log.enforce(1050), 1);
    assert!(cursor.slot_is_evicted());
}

#[test]
fn the_soft_limit_is_counted_from_when_the_lag_was_first_seen_and_anew_when_it_was_gone() {
    let limits = CursorLimits { hard_bytes: 0, soft_bytes: 100, soft_ms: 50 };
    let buffer = small().cursor_limits(limits).build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    buffer.append(&[1; 500]).expect("appended");
    // A clock may begin at 0.
    assert_eq!([0, 49].map(|now_ms| buffer.log.enforce(now_ms)), [0, 0]);
    // It catches up: what was counted is forgotten.
    assert_eq!(cursor.refresh(), Ok(500));
    cursor.advance(400);
    assert_eq!(buffer.log.enforce(60), 0, "100 bytes are not more than 100");
    buffer.append(&[1; 1]).expect("appended");
    assert_eq!([61, 110].map(|now_ms| buffer.log.enforce(now_ms)), [0, 0]);
    // A clock that went back counts nothing.
    assert_eq!(buffer.log.enforce(5), 0);
    assert_eq!(buffer.log.enforce(111), 1);
    // The next one in its slot begins anew, whenever that is.
    drop(cursor);
    let next = buffer.attach(buffer.first_offset()).expect("the first offset");
    buffer.append(&[1; 500]).expect("appended");
    assert_eq!([200, 249].map(|now_ms| buffer.log.enforce(now_ms)), [0, 0]);
    assert_eq!(buffer.log.enforce(250), 1);
    assert!(next.slot_is_evicted());
}

#[test]
fn a_retired_segment_counts_with_its_cells_its_tables_and_its_payload() {
    let buffer = small().segment_frames(2).build().expect("valid");
    let pin = buffer.log.domain.pin();
    let footprint = buffer.log.domain.pinned(|pin| Ok(buffer.log.frontier(pin)?.0.footprint()));
    // Two of 10 bytes to a segment: the third append links, and trims the first.
    let mut writer = buffer.writer();
    for n in 1..=9_u64 {
        writer.append(&[1; 10]).expect("appended");
        let (retired, stats) = ((n - 1) / 2, buffer.stats());
        assert_eq!((stats.retired, stats.retired_bytes), (retired, retired * (footprint + 20)), "after {n}");
    }
    drop(pin);
    for _ in 0..8 {
        buffer.log.domain.pump();
    }
    assert_eq!((buffer.stats().retired, buffer.stats().retired_bytes), (0, 0));
}

#[test]
fn writers_that_idle_keep_cells_and_their_block_and_nothing_of_the_stream() {
    let buffer = ReplicationBuffer::builder()
        .backlog_bytes(0)
        .pooled_segments(0)
        .pooled_blocks(0)
        .cursor_limits(CursorLimits::UNLIMITED)
        .build()
        .expect("valid");
    // Each stands in a segment of its own, which holds a value that the caller shares.
    let idle: Vec<_> = (0..16)
        .map(|_| {
            let mut writer = buffer.writer();
            writer.append(b"small").expect("appended");
            let shared = Bytes::from(vec![7; 1 << 20]);
            writer.append_bytes(shared.clone()).expect("appended");
            (writer, shared)
        })
        .collect();
    buffer.append(b"on").expect("appended");
    for _ in 0..8 {
        buffer.log.domain.pump();
    }
    let stats = buffer.stats();
    assert_eq!(stats.retired, 0, "{stats:?}");
    assert!(stats.segments_live <= 16 + 2, "I8, I11: an array of cells each: {stats:?}");
    assert!(stats.blocks_live <= 16 + 2, "I8, I11: a block each: {stats:?}");
    let held = idle.iter().filter(|(_, shared)| !shared.is_unique()).count();
    assert!(held <= 1, "I11: the payload of {held} segments is kept for writers that idle");
}

#[test]
fn a_sealed_term_is_fenced() {
    let buffer = small().build().expect("valid");
    let mut old = buffer.writer();
    old.append(b"old").expect("not sealed yet");
    assert_eq!(buffer.seal(1), Ok(3));
    assert_eq!(buffer.seal(1), Err(SealError::AlreadySealed { term: 1, sealed_term: 1 }));
    assert_eq!(old.append(b"late"), Err(AppendError::Fenced { term: 1, sealed_term: 1 }));
    assert!(buffer.append(b"late").is_err());
    buffer.begin_term(2);
    assert_eq!(buffer.append(b"new"), Ok(3..6));
}

#[test]
fn limits_of_frames_and_offsets_are_errors_and_lose_nothing() {
    let buffer = small().max_frame_bytes(200).base_offset(1000).max_offset(1100).build().expect("valid");
    let mut writer = buffer.writer();
    let error = writer.append(&[0; 201]).expect_err("too large");
    assert_eq!(error, AppendError::FrameTooLarge { bytes: 201, limit_bytes: 200 });
    assert_eq!(writer.append(&[0; 60]), Ok(1000..1060));
    let error = writer.append(&[0; 41]).expect_err("no offsets left");
    assert_eq!(error, AppendError::OffsetsExhausted { offset: 1060, bytes: 41, max_offset: 1100 });
    assert_eq!(writer.append(&[1; 40]), Ok(1060..1100));
    assert!(small().base_offset(5).max_offset(4).build().is_err());
    assert!(small().block_bytes(1).build().is_err());
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waiting_cursor_is_woken_by_the_next_append_and_by_its_eviction() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let count = std::sync::Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    for n in 1..20 {
        assert_eq!(cursor.poll_readable(&mut context), Poll::Pending);
        buffer.append(b"frame").expect("appended");
        assert_eq!(count.0.load(Ordering::SeqCst), n, "I9");
        assert_eq!(cursor.poll_readable(&mut context), Poll::Ready(Ok(())));
        buffer.append(b"frame").expect("appended");
        assert_eq!(count.0.load(Ordering::SeqCst), n, "nobody waits: nobody is woken");
        read_all(&mut cursor);
    }
    assert_eq!(cursor.poll_readable(&mut context), Poll::Pending);
    buffer.set_cursor_limits(CursorLimits { hard_bytes: 1, soft_bytes: 0, soft_ms: 0 });
    let before = count.0.load(Ordering::SeqCst);
    for _ in 0..10 {
        buffer.append(&[0; 50]).expect("appended");
    }
    assert_eq!(buffer.stats().evictions, 1);
    assert!(count.0.load(Ordering::SeqCst) > before);
    assert!(matches!(cursor.poll_readable(&mut context), Poll::Ready(Err(CursorError::Evicted { .. }))));
}

#[test]
fn every_kind_of_waiter_learns_that_the_stream_ended() {
    let buffer = ReplicationBuffer::builder().base_offset(7).build().expect("valid");
    let mut writer = buffer.writer();
    let mut waiting: Vec<_> = (0..3).map(|_| buffer.attach(7).expect("at the base")).collect();
    let mut polling = waiting.pop().expect("three");
    let woken = std::sync::Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    assert!(polling.poll_readable(&mut Context::from_waker(&waker)).is_pending());
    let read_to_the_end = |mut cursor: Cursor, wait: fn(&mut Cursor) -> Result<(), CursorError>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            loop {
                if let Err(error) = wait(&mut cursor) {
                    return (bytes, error);
                }
                bytes.extend(cursor.copy_to_bytes(cursor.remaining()));
            }
        })
    };
    let blocked = [
        read_to_the_end(waiting.remove(0), Cursor::wait),
        read_to_the_end(waiting.remove(0), |cursor| cursor.wait_timeout(Duration::from_secs(60)).map(|_| ())),
    ];
    // A writer is a handle as well.
    drop(buffer);
    writer.append(b"last").expect("not fenced");
    assert_eq!(polling.refresh(), Ok(4));
    drop(writer);
    let ended = CursorError::Ended { offset: 11 };
    for blocked in blocked {
        assert_eq!(blocked.join().expect("no panic"), (b"last".to_vec(), ended.clone()));
    }
    assert_eq!(polling.refresh(), Ok(4), "what there is can be read");
    polling.advance(4);
    assert_eq!(polling.refresh(), Err(ended.clone()));
    assert_eq!(
        polling.poll_readable(&mut Context::from_waker(&waker)),
        Poll::Ready(Err(ended)),
        "asked twice"
    );
}

#[test]
fn a_buffer_is_shown_in_a_line() {
    let buffer = ReplicationBuffer::builder().base_offset(7).build().expect("valid");
    buffer.append(b"frame").expect("not fenced");
    let shown = "ReplicationBuffer { offsets: 7..12, sealed_term: 0, cursors: 0, .. }";
    assert_eq!(format!("{buffer:?}"), shown);
}

#[test]
fn a_sealed_last_term_ends_the_stream_while_handles_are_left() {
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    buffer.append(b"last").expect("not fenced");
    assert_eq!(buffer.seal(LAST_TERM - 1), Ok(4));
    assert_eq!(read_all(&mut cursor), b"last");
    let woken = std::sync::Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    assert!(cursor.poll_readable(&mut Context::from_waker(&waker)).is_pending(), "a later term may follow");
    assert_eq!(buffer.seal(LAST_TERM), Ok(4));
    assert!(woken.0.load(Ordering::SeqCst) > 0, "I9");
    assert_eq!(cursor.refresh(), Err(CursorError::Ended { offset: 4 }));
    // One who comes later learns it too.
    assert_eq!(buffer.attach(4).expect("retained").refresh(), Err(CursorError::Ended { offset: 4 }));
    assert!(buffer.writer_of_term(LAST_TERM).append(b"more").is_err(), "I10");
}

#[test]
fn a_blocked_thread_is_woken() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    assert_eq!(cursor.wait_timeout(Duration::from_millis(1)), Ok(false));
    let (ready, readied) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        ready.send(()).expect("the test waits");
        cursor.wait().expect("not evicted");
        cursor.next_frame()
    });
    readied.recv().expect("the reader runs");
    buffer.append(b"frame").expect("appended");
    assert_eq!(reader.join().expect("no panic"), Some((0..5, Bytes::from_static(b"frame"))));
}

#[test]
fn a_pinned_thread_holds_back_a_bounded_amount() {
    let buffer = small().max_unreclaimed_bytes(10_000).build().expect("valid");
    let log = Arc::clone(&buffer.log);
    let (stalled, stop) = (AtomicBool::new(false), std::sync::mpsc::channel::<()>());
    std::thread::scope(|scope| {
        let (stalled, stopped) = (&stalled, stop.1);
        scope.spawn(move || {
            let pin = log.domain.pin();
            stalled.store(true, Ordering::SeqCst);
            // Stalled inside a pin until the test lets go.
            let _ = stopped.recv();
            drop(pin);
        });
        while !stalled.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        let mut writer = buffer.writer();
        for _ in 0..20_000 {
            writer.append(&[1; 50]).expect("appended");
        }
        let stats = buffer.stats();
        drop(stop.0);
        assert!(stats.retired_bytes < 30_000, "I8, I11: 1 MB went through: {stats:?}");
        assert!(stats.eras_begun >= 1, "{stats:?}");
    });
    let mut writer = buffer.writer();
    for _ in 0..2000 {
        writer.append(&[1; 50]).expect("appended");
    }
    assert!(buffer.stats().retired_bytes < 10_000, "all is released after the stall: {:?}", buffer.stats());
}

#[test]
fn everything_is_released() {
    let shared = Bytes::from(vec![1_u8; 100_000]);
    let probe = shared.clone();
    {
        let buffer = small().pooled_blocks(2).pooled_segments(2).build().expect("valid");
        let kept = buffer.attach(0).expect("at the base");
        let mut writer = buffer.writer();
        for _ in 0..100 {
            writer.append_bytes(shared.clone()).expect("appended");
            buffer.append(b"small").expect("appended");
        }
        drop(kept);
        writer.append(b"trims").expect("appended");
    }
    drop(shared);
    assert!(probe.is_unique(), "I6: nothing holds on to the bytes");
}

#[test]
fn dropping_a_long_chain_does_not_recurse() {
    let buffer = small().segment_frames(1).build().expect("valid");
    let cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    for _ in 0..200_000 {
        writer.append(b"x").expect("appended");
    }
    drop((writer, buffer));
    std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || drop(cursor))
        .expect("spawned")
        .join()
        .expect("no overflow");
}

#[test]
fn there_are_as_many_cursors_as_allowed() {
    let buffer = small().max_cursors(2).build().expect("valid");
    let first = buffer.attach(0).expect("free");
    let _second = buffer.attach_at_end().expect("free");
    assert_eq!(buffer.attach(0).expect_err("full"), AttachError::TooManyCursors { limit: 2 });
    drop(first);
    assert!(buffer.attach(0).is_ok());
}

#[test]
fn a_marker_that_changes_nothing_takes_no_place() {
    let buffer = small().build().expect("valid");
    for _ in 0..1000 {
        assert_eq!(buffer.append(b""), Ok(0..0));
        let forget = buffer.append_with(|marker| marker.set_context(None));
        assert_eq!(forget, Ok(0..0));
    }
    assert_eq!(buffer.stats().segments_live, 1, "I11");
}

#[test]
fn a_cursor_within_what_is_retained_is_not_over_the_hard_limit() {
    let limits = CursorLimits { hard_bytes: 1, soft_bytes: 0, soft_ms: 0 };
    let buffer = small().backlog_bytes(1000).cursor_limits(limits).build().expect("valid");
    let mut writer = buffer.writer();
    (0..100).for_each(|_| drop(writer.append(&[1; 45])));
    let mut cursor = buffer.attach(buffer.first_offset()).expect("I7");
    assert_eq!(buffer.enforce_limits(), 0);
    assert!(cursor.refresh().is_ok());
}

#[test]
fn a_window_is_bounded_by_bytes() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    (0..16).for_each(|_| drop(writer.append(&vec![1; 1 << 20])));
    let visible = cursor.refresh().expect("not evicted");
    assert!((4 << 20..=5 << 20).contains(&visible), "{visible}");
    assert_eq!(read_all(&mut cursor).len(), 16 << 20);
}

#[test]
fn segments_of_markers_alone_do_not_confuse_anyone() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let mut writer = buffer.writer();
    for round in 0..50_u8 {
        for context in 0..9 {
            let mut marker = writer.frame();
            marker.set_context(Some(context));
            marker.publish().expect("a marker");
        }
        writer.append(&[round]).expect("appended");
        let late = buffer.attach(u64::from(round)).map(|mut cursor| read_all(&mut cursor));
        assert!(late.is_err() || late == Ok(vec![round]));
    }
    assert_eq!(read_all(&mut cursor), (0..50).collect::<Vec<_>>());
}

#[test]
fn writers_that_come_and_go_share_a_block() {
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    for _ in 0..500 {
        buffer.writer().append(b"0123456789").expect("appended");
        buffer.append(b"0123456789").expect("appended");
    }
    assert!(buffer.stats().blocks_live <= 2, "I11: a block for ten bytes: {:?}", buffer.stats());
    for term in 1..100 {
        buffer.seal(term).expect("not sealed");
    }
    assert!(buffer.stats().blocks_live <= 2, "I11: a block for no bytes: {:?}", buffer.stats());
}

#[test]
fn waves_of_writers_take_the_blocks_of_one_wave() {
    const WAVE: usize = 300;
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    for _ in 0..50 {
        let mut writers: Vec<_> = (0..WAVE).map(|_| buffer.writer()).collect();
        for writer in &mut writers {
            writer.append(b"one command").expect("appended");
        }
    }
    let stats = buffer.stats();
    assert!(stats.blocks_live <= WAVE as u64, "I11: {stats:?}");
    // What they left unfinished goes once nothing that is retained lies in it.
    buffer.set_backlog_bytes(0);
    let mut writer = buffer.writer();
    for _ in 0..200 {
        writer.append_bytes(Bytes::from(vec![0; 64 << 10])).expect("appended");
    }
    let stats = buffer.stats();
    // Those of the writers that are kept, and a block of each segment not yet released.
    assert!(stats.blocks_live < 64 + 16, "I11: {stats:?}");
}

#[test]
fn a_panic_while_staging_loses_no_block() {
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    for _ in 0..10 {
        let staging = std::panic::AssertUnwindSafe(|| {
            buffer.append_with(|frame| {
                frame.put_slice(b"half a fra");
                panic!("the caller's");
            })
        });
        assert!(std::panic::catch_unwind(staging).is_err());
    }
    assert_eq!(buffer.append(b"whole"), Ok(0..5), "nothing staged before is left");
    assert_eq!(buffer.stats().blocks_live, 1, "I6");
}

/// Appends to a buffer when dropped.
struct AppendOnDrop(ReplicationBuffer);

impl AsRef<[u8]> for AppendOnDrop {
    fn as_ref(&self) -> &[u8] {
        b"owned by the caller"
    }
}

impl Drop for AppendOnDrop {
    fn drop(&mut self) {
        self.0.append(b"released").expect("not fenced");
    }
}

/// Runs `during` while another thread stands still inside a pin.
fn with_a_stalled_pin<R>(buffer: &ReplicationBuffer, during: impl FnOnce() -> R) -> R {
    let (log, (pinned, is_pinned), (stop, stopped)) =
        (Arc::clone(&buffer.log), std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _pin = log.domain.pin();
            pinned.send(()).expect("the test waits");
            let _ = stopped.recv();
        });
        is_pinned.recv().expect("it pins");
        let result = during();
        drop(stop);
        result
    })
}

#[test]
fn what_a_release_drops_may_use_buffers() {
    let buffer = small().build().expect("valid");
    let others: Vec<_> = (0..20).map(|_| small().build().expect("valid")).collect();
    with_a_stalled_pin(&buffer, || {
        let mut writer = buffer.writer();
        for other in &others {
            writer.append_bytes(Bytes::from_owner(AppendOnDrop(other.clone()))).expect("appended");
        }
        (0..20).for_each(|_| drop(writer.append(&[1; 50])));
    });
    // A look pins, and now and then a pin releases.
    (0..4096).for_each(|_| assert!(buffer.end_offset() > 0));
    assert!(others.iter().all(|other| other.end_offset() == 8), "each was released once");
}

#[test]
fn wakers_held_back_by_a_stalled_thread_are_bounded() {
    let buffer = small().max_unreclaimed_bytes(100_000).build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let stats = with_a_stalled_pin(&buffer, || {
        // Each wait leaves a waker of its own; nothing is appended meanwhile.
        (0..2000).for_each(|_| assert_eq!(cursor.wait_timeout(Duration::ZERO), Ok(false)));
        buffer.stats()
    });
    assert!(stats.eras_begun >= 1 && stats.retired < 200, "I8: {stats:?}");
}

#[test]
fn dropping_a_buffer_releases_what_a_stall_left_behind() {
    let shared = Bytes::from(vec![1_u8; 1000]);
    let probe = shared.clone();
    let buffer = small().max_unreclaimed_bytes(u64::MAX).build().expect("valid");
    with_a_stalled_pin(&buffer, || {
        let mut writer = buffer.writer();
        (0..3000).for_each(|_| drop(writer.append_bytes(shared.clone())));
    });
    assert!(buffer.stats().retired > 2000, "the stall held it back: {:?}", buffer.stats());
    drop((shared, buffer));
    assert!(probe.is_unique(), "I6: nothing holds on to the bytes");
}

#[test]
fn a_waiting_cursor_whose_evictor_stopped_is_woken_by_the_next_append() {
    let buffer = small().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let count = std::sync::Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    assert_eq!(cursor.poll_readable(&mut Context::from_waker(&waker)), Poll::Pending);
    // An evictor that stops between its exchange and its wake-up.
    let limits = CursorLimits { hard_bytes: 1, soft_bytes: 0, soft_ms: 0 };
    buffer.log.slots.for_each_live(|slot, _| {
        assert!(slot.over_limit(&limits, 1000, 0).is_some_and(|seen| slot.evict(seen)));
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    buffer.append(b"frame").expect("appended");
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "I8, I9");
}

#[test]
fn what_lies_together_is_read_together() {
    let buffer = ReplicationBuffer::builder().build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    let (mut one, mut other) = (buffer.writer(), buffer.writer());
    let expected = b"0123456789abcdefgh.OTHERij";
    one.append(&expected[..10]).expect("published");
    one.append(&expected[10..15]).expect("published");
    // A marker between them takes nothing of the block.
    let mut marker = other.frame();
    marker.set_context(Some(3));
    marker.publish().expect("published");
    one.append(&expected[15..18]).expect("published");
    other.append(&expected[18..24]).expect("published");
    one.append(&expected[24..]).expect("published");

    assert_eq!(cursor.refresh(), Ok(expected.len()));
    assert_eq!(cursor.chunk(), &expected[..18]);
    let mut slices = [IoSlice::new(&[]); 8];
    let filled = cursor.chunks_vectored(&mut slices);
    let lengths: Vec<_> = slices[..filled].iter().map(|slice| slice.len()).collect();
    assert_eq!(lengths, [18, 6, 2]);

    let mut read = [0; 12];
    cursor.copy_to_slice(&mut read);
    assert_eq!((&read[..], cursor.chunk()), (&expected[..12], &expected[12..18]));
    let mut rest = vec![0; cursor.remaining()];
    cursor.copy_to_slice(&mut rest);
    assert_eq!(rest, &expected[12..]);
}

#[test]
fn a_copy_is_made_once_for_all_cursors_and_let_go_when_all_have_it() {
    let buffer = ReplicationBuffer::builder().shared_copies(2).shared_copy_bytes(100).build().expect("valid");
    let mut cursors: Vec<_> = (0..3).map(|_| buffer.attach(0).expect("at the base")).collect();
    let mut writers = [buffer.writer(), buffer.writer()];
    let stream: Vec<u8> = (0..250).collect();
    for (turn, frame) in stream.chunks(10).enumerate() {
        writers[turn % 2].append(frame).expect("published");
    }
    for cursor in &mut cursors {
        cursor.refresh().expect("not evicted");
    }
    let copies: Vec<_> = cursors.iter_mut().map(Cursor::next_copy).collect();
    assert!(copies.iter().all(|copy| copy[..] == stream[..100] && copy.as_ptr() == copies[0].as_ptr()));
    // All have had it: the next to come makes its own.
    let mut late = buffer.attach(0).expect("in the backlog");
    late.refresh().expect("not evicted");
    let own = late.next_copy();
    assert!(own[..] == stream[..100] && own.as_ptr() != copies[0].as_ptr());

    // From the middle of a copy, to its end; then from the middle of a stretch, to the end of that.
    let mut midway = buffer.attach(50).expect("in the backlog");
    midway.refresh().expect("not evicted");
    let half = midway.next_copy();
    assert_eq!((half.as_ptr(), half.len()), (own[50..].as_ptr(), 50));
    let mut ahead = buffer.attach(130).expect("in the backlog");
    ahead.refresh().expect("not evicted");
    assert_eq!(ahead.next_copy(), &stream[130..200]);
    // What stands at the place of another stretch, or behind where one begins, is none of theirs.
    assert_eq!(midway.next_copy(), &stream[100..200]);
    assert_eq!(midway.next_copy(), &stream[200..]);
    for cursor in &mut cursors {
        let mut read = Vec::new();
        while cursor.has_remaining() {
            read.extend_from_slice(&cursor.next_copy());
        }
        assert_eq!((read.as_slice(), cursor.offset()), (&stream[100..], 250));
        assert_eq!(cursor.next_copy(), Bytes::new());
    }
}

#[test]
fn a_copy_outlives_what_it_was_made_of() {
    let buffer = small().shared_copies(0).build().expect("valid");
    let mut cursor = buffer.attach(0).expect("at the base");
    buffer.append(&[7; 90]).expect("published");
    cursor.refresh().expect("not evicted");
    let copy = cursor.next_copy();
    drop(cursor);
    for _ in 0..100 {
        buffer.append(&[8; 90]).expect("published");
    }
    drop(buffer);
    assert_eq!(copy, &[7; 90][..]);
}

#[test]
fn parts_for_a_context_keep_to_the_limit_too() {
    let buffer = small().max_frame_bytes(100).build().expect("valid");
    let mut writer = buffer.writer();
    for contexts in [[1, 2], [1, 1]] {
        let mut frame = writer.frame();
        for context in contexts {
            frame.select_context(context, &[b'x'; 101]);
        }
        assert!(matches!(frame.publish(), Err(AppendError::FrameTooLarge { limit_bytes: 100, .. })));
    }
    assert_eq!(writer.append(b"after"), Ok(0..5));
}

#[test]
fn segments_without_bytes_are_trimmed() {
    let buffer = small().backlog_bytes(1 << 20).build().expect("valid");
    for term in 1..1000 {
        buffer.seal(term).expect("sealed once");
    }
    let stats = buffer.stats();
    assert!(stats.segments_live < 20, "{stats:?}");
    assert_eq!((stats.first_offset, stats.end_offset), (0, 0));
}

#[test]
fn what_was_retired_last_goes_with_a_look_at_the_limits() {
    let buffer = small().build().expect("valid");
    for _ in 0..10 {
        buffer.append(&[1; 90]).expect("appended");
    }
    let goes = (0..1000).any(|_| {
        buffer.enforce_limits();
        buffer.stats().retired == 0
    });
    assert!(goes, "{:?}", buffer.stats());
}
