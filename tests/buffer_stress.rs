//! Many threads at once; afterwards the merged history is judged.
//!
//! Writers publish frames and batches that say who wrote them and in which order, under which context
//! and in which term. Cursors read all of it, or pieces; one thread resizes, trims and looks, one seals
//! terms. When all is over, [`History::judge`] holds what the writers were told, and when, against what the
//! cursors read: I1 to I5 and I10, and the conditional parts exactly where the context changes. The
//! bounds of the backlog (I7) are looked at while it runs, and everything has to be released in the
//! end (I6).
//!
//! The work is bounded, not the time. Nobody sleeps. That the judge can find fault is tested on
//! corrupted copies of a real history.
#![cfg(not(replcore_loom))]

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use replcore::buffer::{AppendError, AttachError, Cursor, CursorLimits, ReplicationBuffer, Writer};
use replcore::testing::history::{Append, History, Look, Read, Seal, Violation};
use replcore::testing::publication::{Part, Publication};

const BASE_OFFSET: u64 = 1_000_003;
/// What the resizing thread never goes below.
const LEAST_BACKLOG_BYTES: u64 = 4 << 10;
const BACKLOGS_BYTES: [u64; 4] = [LEAST_BACKLOG_BYTES, 24 << 10, 100 << 10, LEAST_BACKLOG_BYTES];
/// A cursor that lags more is evicted.
const HARD_BYTES: u64 = 400 << 10;
/// Writers wait for the witnesses, which read everything, when these lag more: with one publication
/// of each writer on top it is still below the hard limit.
const WITNESS_LAG_BYTES: u64 = 100 << 10;
const SMALL_BYTES: usize = 120;
const LARGE_BYTES: usize = 12 << 10;
const TABLE_BYTES: usize = 64 << 10;
/// What a cursor that reads pieces reads of each at most.
const PIECE_BYTES: u64 = 16 << 10;

struct Load {
    writers: u64,
    publications: u32,
    /// A seal each so many bytes.
    seal_bytes: u64,
}

/// Who reads, and who rings the bell.
const WITNESS: u64 = 1;
const FRAME_WITNESS: u64 = 2;
const LAGGARD: u64 = 3;
const RESIZER: u64 = 4;
/// The first writer that looks.
const AUTHORS: u64 = 100;
const BELL_RINGER: u64 = u64::MAX;
/// The last append: it wakes who waits for the end.
const BELL: &[u8] = b"bell";

/// What came of a load.
struct Outcome {
    history: History<Instant>,
    evictions: u64,
    fenced: u64,
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The bytes of a context's conditional part.
fn select(context: u64) -> Bytes {
    Bytes::from(format!("S{context:04}"))
}

/// A few frames of one or two items each, and the number of items. An item says whose it is, and has a
/// context.
fn compose(seed: u64, writer: u64, first: u64, table: &Bytes) -> (Publication, u64) {
    let mut random = Random(seed);
    let (mut parts, mut items) = (Vec::new(), 0);
    let frames = if random.one_in(3) { 2 + random.below(3) } else { 1 };
    for _ in 0..frames {
        let several = random.one_in(5);
        for _ in 0..1 + u64::from(several) {
            compose_item(&mut parts, &mut random, (writer, first + items), table);
            items += 1;
        }
        if frames > 1 {
            parts.push(Part::EndFrame);
        }
    }
    (parts.into_iter().collect(), items)
}

fn compose_item(parts: &mut Vec<Part>, random: &mut Random, (writer, number): (u64, u64), table: &Bytes) {
    let bound = if random.one_in(60) { LARGE_BYTES } else { SMALL_BYTES };
    let len = random.below(bound as u64) as usize;
    let at = random.below((TABLE_BYTES - len) as u64) as usize;
    let payload = table.slice(at..at + len);
    if !random.one_in(3) {
        let context = random.below(3);
        parts.push(Part::Select { context, bytes: select(context) });
    }
    let mut header = BytesMut::new();
    header.put_u8(b'F');
    header.put_u64_le(writer);
    header.put_u64_le(number);
    parts.push(Part::Copied(header.freeze()));
    parts.push(if random.one_in(4) { Part::Shared(payload) } else { Part::Copied(payload) });
    if random.one_in(20) {
        parts.push(Part::SetContext(None));
    }
}

/// A writing thread's state.
struct Author<'a> {
    buffer: &'a ReplicationBuffer,
    id: u64,
    writer: Writer,
    next_item: u64,
    random: Random,
    table: &'a Bytes,
    looks: Vec<Look<Instant>>,
    fenced: u64,
}

impl Author<'_> {
    /// Looks how far the stream reaches.
    fn look(&mut self) {
        let started = Instant::now();
        let end = self.buffer.end_offset();
        self.looks.push(Look { reader: AUTHORS + self.id, end, started, returned: Instant::now() });
    }

    /// Publishes once, by whichever way, in whichever term it takes. Returns the seed of what it published:
    /// the bytes themselves would hold on to the table.
    fn publish(&mut self) -> (u64, Append<Instant>) {
        let seed = self.random.next();
        let pooled = self.random.one_in(4);
        let (publication, items) = compose(seed, self.id, self.next_item, self.table);
        loop {
            let term = (!pooled).then(|| self.writer.term());
            let started = Instant::now();
            let published = if pooled {
                self.buffer.append_with(|frame| publication.stage(frame))
            } else {
                let mut frame = self.writer.frame();
                publication.stage(&mut frame);
                frame.publish()
            };
            match published {
                Ok(range) => {
                    let returned = Instant::now();
                    let number = self.next_item;
                    self.next_item += items;
                    let publication = Publication::default();
                    let writer = self.id;
                    return (seed, Append { writer, number, term, range, publication, started, returned });
                }
                Err(AppendError::Fenced { .. }) => {
                    self.fenced += 1;
                    self.writer = self.buffer.writer();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The threads wait for each other, so one that fails would leave the rest waiting: it ends the program.
/// Standard error is written to directly, for what a test prints is lost then.
fn end_with_any_thread() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let _ = writeln!(std::io::stderr(), "{panic}");
            std::process::exit(101);
        }));
    });
}

/// What the threads share.
struct Stage {
    buffer: ReplicationBuffer,
    /// How far the witnesses have read.
    witnessed: [AtomicU64; 2],
    /// The offset of the last seal, and how many bytes after it the next one is due.
    sealed_at: AtomicU64,
    seal_bytes: u64,
    /// The writers are done.
    written: AtomicBool,
    /// Where the stream ends, once that is known.
    final_end: AtomicU64,
}

impl Stage {
    fn over(&self) -> bool {
        self.final_end.load(SeqCst) != u64::MAX
    }

    fn seal_is_due(&self, after: u64) -> bool {
        self.buffer.end_offset()
            >= self.sealed_at.load(SeqCst).saturating_add(self.seal_bytes).saturating_add(after)
    }

    /// Waits for the witnesses and the sealer, when they are far behind.
    fn await_others(&self) {
        let slower = || self.witnessed.iter().map(|at| at.load(SeqCst)).min().unwrap_or(0);
        while self.buffer.end_offset().saturating_sub(slower()) > WITNESS_LAG_BYTES
            || self.seal_is_due(self.seal_bytes)
        {
            thread::yield_now();
        }
    }

    /// Reads the whole stream, in chunks, parked in between.
    fn witness(&self, mut cursor: Cursor) -> Read {
        let mut stream = Vec::new();
        while cursor.offset() < self.final_end.load(SeqCst) {
            cursor.wait().expect("the witnesses keep to the limits");
            while cursor.has_remaining() {
                let len = cursor.chunk().len();
                stream.extend_from_slice(cursor.chunk());
                cursor.advance(len);
            }
            self.witnessed[0].store(cursor.offset(), SeqCst);
        }
        Read { reader: WITNESS, from: BASE_OFFSET, bytes: stream, frames: None, to_end: true }
    }

    /// Reads the whole stream, frame by frame, busily.
    fn witness_frames(&self, mut cursor: Cursor) -> Read {
        let (mut frames, mut stream) = (Vec::new(), Vec::new());
        while cursor.offset() < self.final_end.load(SeqCst) {
            if cursor.refresh().expect("the witnesses keep to the limits") == 0 {
                thread::yield_now();
            }
            while let Some((range, bytes)) = cursor.next_frame() {
                assert_eq!(bytes.len() as u64, range.end - range.start);
                frames.push(range);
                stream.extend_from_slice(&bytes);
            }
            self.witnessed[1].store(cursor.offset(), SeqCst);
        }
        Read { reader: FRAME_WITNESS, from: BASE_OFFSET, bytes: stream, frames: Some(frames), to_end: true }
    }

    /// Attaches anywhere, reads a piece, drops the cursor; again and again.
    fn read_pieces(&self, seed: u64) -> Vec<Read> {
        let (mut random, mut pieces) = (Random(seed), Vec::new());
        while !self.over() {
            let (first, end) = (self.buffer.first_offset(), self.buffer.end_offset());
            let wanted = first + random.below(end - first + 1);
            match self.buffer.attach(wanted) {
                Ok(mut cursor) => {
                    assert_eq!(cursor.offset(), wanted);
                    pieces.push(self.read_piece(seed, &mut cursor, &mut random));
                }
                // The backlog moved on meanwhile, not back.
                Err(AttachError::OffsetNotRetained { requested, first: now, end }) => {
                    assert!(
                        requested == wanted && wanted < now && now <= end,
                        "I7: {wanted} in {now}..={end}"
                    );
                }
                Err(error) => panic!("{error}"),
            }
        }
        pieces
    }

    fn read_piece(&self, reader: u64, cursor: &mut Cursor, random: &mut Random) -> Read {
        let mut left = random.below(PIECE_BYTES);
        let mut piece = Read { reader, from: cursor.offset(), ..Read::default() };
        while left > 0 && !self.over() {
            match cursor.refresh() {
                Ok(0) => thread::yield_now(),
                Ok(_) => {}
                Err(_) => break,
            }
            let portion = (1 + random.below(3000)).min(left).min(cursor.remaining() as u64);
            let from = piece.bytes.len();
            piece.bytes.resize(from + portion as usize, 0);
            cursor.copy_to_slice(&mut piece.bytes[from..]);
            left -= portion;
        }
        piece
    }

    /// Lags until it is evicted, and begins anew.
    fn lag(&self) -> Vec<Read> {
        let mut pieces = Vec::new();
        while !self.over() {
            let mut cursor = self.buffer.attach_at_end().expect("there is room");
            let mut piece = Read { reader: LAGGARD, from: cursor.offset(), ..Read::default() };
            let mut read_at = piece.from;
            while !self.over() {
                // A little, whenever a lot was written.
                if self.buffer.end_offset() < read_at + 2000 {
                    thread::yield_now();
                    continue;
                }
                read_at = self.buffer.end_offset();
                if cursor.refresh().is_err() {
                    break;
                }
                let mut bytes = vec![0; cursor.remaining().min(70)];
                cursor.copy_to_slice(&mut bytes);
                piece.bytes.extend(bytes);
            }
            // Evicted: what it had in view is still readable, and still right.
            let mut bytes = vec![0; cursor.remaining()];
            cursor.copy_to_slice(&mut bytes);
            piece.bytes.extend(bytes);
            pieces.push(piece);
        }
        pieces
    }

    /// Resizes, trims and looks.
    fn resize(&self) -> Vec<Look<Instant>> {
        let mut looks = Vec::new();
        for turn in 0.. {
            if self.over() {
                break;
            }
            self.buffer.set_backlog_bytes(BACKLOGS_BYTES[turn % BACKLOGS_BYTES.len()]);
            self.buffer.enforce_limits();
            // First, then end: the end only grows.
            let first = self.buffer.first_offset();
            let started = Instant::now();
            let end = self.buffer.end_offset();
            looks.push(Look { reader: RESIZER, end, started, returned: Instant::now() });
            assert!(first == BASE_OFFSET || end - first >= LEAST_BACKLOG_BYTES, "I7: {first}..{end}");
            thread::yield_now();
        }
        looks
    }

    /// Seals a term whenever that is due, as long as somebody writes.
    fn seal_terms(&self) -> Vec<Seal<Instant>> {
        let mut sealed = Vec::new();
        for term in 1.. {
            while !self.seal_is_due(0) {
                if self.written.load(SeqCst) {
                    return sealed;
                }
                thread::yield_now();
            }
            self.buffer.begin_term(term + 1);
            let started = Instant::now();
            let offset = self.buffer.seal(term).expect("only this thread seals");
            sealed.push(Seal { term, offset, started, returned: Instant::now() });
            self.sealed_at.store(offset, SeqCst);
        }
        sealed
    }

    /// The last append. Where it ends is known before it is made: nobody else writes any more.
    fn ring_bell(&self) -> Append<Instant> {
        self.final_end.store(self.buffer.end_offset() + BELL.len() as u64, SeqCst);
        let started = Instant::now();
        let range = self.buffer.append(BELL).expect("appended");
        let returned = Instant::now();
        let publication = Publication::of(BELL);
        Append { writer: BELL_RINGER, number: 0, term: None, range, publication, started, returned }
    }
}

/// Runs the load, and returns what everybody saw.
fn run(load: &Load) -> Outcome {
    let buffer = ReplicationBuffer::builder()
        .base_offset(BASE_OFFSET)
        .backlog_bytes(LEAST_BACKLOG_BYTES)
        .block_bytes(2 << 10)
        .segment_frames(16)
        .segment_bytes(3 << 10)
        .pooled_blocks(8)
        .pooled_segments(8)
        .pooled_writers(2)
        .max_unreclaimed_bytes(64 << 10)
        .cursor_limits(CursorLimits { hard_bytes: HARD_BYTES, soft_bytes: 0, soft_ms: 0 })
        .build()
        .expect("valid");
    end_with_any_thread();
    let mut random = Random(7);
    let table: Bytes = (0..TABLE_BYTES).map(|_| random.next() as u8).collect();
    let stage = Stage {
        witnessed: [AtomicU64::new(BASE_OFFSET), AtomicU64::new(BASE_OFFSET)],
        sealed_at: AtomicU64::new(BASE_OFFSET),
        seal_bytes: load.seal_bytes,
        written: AtomicBool::new(false),
        final_end: AtomicU64::new(u64::MAX),
        buffer,
    };
    let mut history = History::new(BASE_OFFSET);
    let (mut published, mut fenced) = (Vec::new(), 0);
    thread::scope(|scope| {
        let stage = &stage;
        let at_base = || stage.buffer.attach(BASE_OFFSET).expect("nothing is trimmed yet");
        let (first, second) = (at_base(), at_base());
        let witness = scope.spawn(move || stage.witness(first));
        let witness_frames = scope.spawn(move || stage.witness_frames(second));
        let laggard = scope.spawn(|| stage.lag());
        let readers = [11, 12].map(|seed| scope.spawn(move || stage.read_pieces(seed)));
        let resizer = scope.spawn(|| stage.resize());
        let sealer = scope.spawn(move || stage.seal_terms());
        let authors: Vec<_> = (0..load.writers)
            .map(|id| {
                let table = &table;
                scope.spawn(move || {
                    let mut author = Author {
                        buffer: &stage.buffer,
                        id,
                        writer: stage.buffer.writer(),
                        next_item: 0,
                        random: Random(id << 32),
                        table,
                        looks: Vec::new(),
                        fenced: 0,
                    };
                    let publish = |_| {
                        stage.await_others();
                        let published = author.publish();
                        author.look();
                        published
                    };
                    let publications: Vec<_> = (0..load.publications).map(publish).collect();
                    (publications, author)
                })
            })
            .collect();
        for author in authors {
            let (publications, author) = author.join().expect("a writer failed");
            published.extend(publications);
            history.looks.extend(author.looks);
            fenced += author.fenced;
        }
        stage.written.store(true, SeqCst);
        history.seals = sealer.join().expect("the sealer failed");
        history.appends.push(stage.ring_bell());
        history.reads = laggard.join().expect("the laggard failed");
        for reader in readers {
            history.reads.extend(reader.join().expect("a reader failed"));
        }
        for witness in [witness, witness_frames] {
            history.reads.push(witness.join().expect("a witness failed"));
        }
        history.looks.extend(resizer.join().expect("the resizer failed"));
    });
    let evictions = stage.buffer.stats().evictions;
    drop(stage);
    // The slices that blocks and records held are gone with them.
    assert!(table.is_unique(), "I6: shared bytes are still held");
    history.appends.extend(published.into_iter().map(|(seed, mut append)| {
        append.publication = compose(seed, append.writer, append.number, &table).0;
        append
    }));
    Outcome { history, evictions, fenced }
}

fn assert_sound(history: &History<Instant>) {
    if let Err(violation) = history.judge() {
        panic!("{violation}");
    }
}

#[test]
fn the_merged_history_is_one_stream() {
    let Outcome { history, evictions, .. } =
        run(&Load { writers: 4, publications: 14_000, seal_bytes: u64::MAX });
    assert_sound(&history);
    assert!(evictions > 0, "nobody was evicted: the load is too light");
    assert!(history.reads.len() > 100, "{} pieces", history.reads.len());
}

#[test]
fn nothing_of_a_sealed_term_comes_behind_its_seal() {
    let Outcome { history, fenced, .. } = run(&Load { writers: 4, publications: 9000, seal_bytes: 20_000 });
    assert_sound(&history);
    let seals = history.seals.len();
    assert!(seals >= 50, "only {seals} seals");
    assert!(fenced >= seals as u64 / 2, "{seals} seals and only {fenced} appends that met one");
}

/// A way to corrupt a history, and the invariants of which one is broken then.
type Corruption = (&'static str, &'static [&'static str], fn(&mut History<Instant>));

/// The read of a witness.
fn read_of(history: &mut History<Instant>, reader: u64) -> &mut Read {
    history.reads.iter_mut().find(|read| read.reader == reader).expect("a witness has read")
}

/// Exchanges what two appends were told.
fn exchange(history: &mut History<Instant>, one: usize, other: usize) {
    let range = history.appends[one].range.clone();
    history.appends[one].range = std::mem::replace(&mut history.appends[other].range, range);
}

/// Cuts the first conditional part out, and tells everybody offsets that agree with it.
fn cut_conditional_part(history: &mut History<Instant>) {
    let first = history.appends.iter().min_by_key(|append| append.range.start).expect("there is one");
    let from = first.range.start;
    let cut = select(0).len() as u64;
    let at = read_of(history, WITNESS)
        .bytes
        .windows(6)
        .position(|bytes| bytes[0] == b'S' && bytes[5] == b'F' && bytes[1..5].iter().all(u8::is_ascii_digit));
    let at = at.expect("there is one");
    let offset = from + at as u64;
    history.reads.retain(|read| [WITNESS, FRAME_WITNESS].contains(&read.reader));
    for read in &mut history.reads {
        read.bytes.drain(at..at + cut as usize);
    }
    let shift = |bound: &mut u64| *bound -= if *bound > offset { cut } else { 0 };
    let frames = history.reads.iter_mut().filter_map(|read| read.frames.as_mut()).flatten();
    for range in history.appends.iter_mut().map(|append| &mut append.range).chain(frames) {
        shift(&mut range.start);
        shift(&mut range.end);
    }
    for seal in &mut history.seals {
        shift(&mut seal.offset);
    }
    for look in &mut history.looks {
        shift(&mut look.end);
    }
}

const CORRUPTIONS: [Corruption; 16] = [
    ("a byte differs", &["I3"], |history| {
        let bytes = &mut read_of(history, WITNESS).bytes;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }),
    ("a byte differs for everybody", &["I5"], |history| {
        history.reads.retain(|read| read.reader == WITNESS);
        read_of(history, WITNESS).bytes[1000] ^= 1;
    }),
    ("the last byte is missing", &["I2"], |history| {
        read_of(history, WITNESS).bytes.pop();
    }),
    ("an append is missing", &["I1"], |history| {
        history.appends.remove(100);
    }),
    ("an append is there twice", &["I1"], |history| {
        let twice = history.appends[100].clone();
        history.appends.push(twice);
    }),
    ("two appends of a writer have each other's offsets", &["I4"], |history| exchange(history, 100, 101)),
    ("two writers' appends are exchanged", &["I4"], |history| {
        let last = history.appends.len() - 1;
        exchange(history, 1, last);
    }),
    ("an append began after a later one had returned", &["I4"], |history| {
        let long = Duration::from_secs(3600);
        history.appends.sort_by_key(|append| append.range.start);
        history.appends[50].started += long;
        history.appends[50].returned += long;
    }),
    ("two frames are read as one", &["I3"], |history| {
        let frames = read_of(history, FRAME_WITNESS).frames.as_mut().expect("it reads frames");
        let second = frames.remove(100);
        frames[99].end = second.end;
    }),
    ("a conditional part is missing", &["I5"], cut_conditional_part),
    ("a cursor reads from elsewhere", &["I3", "I5"], |history| {
        let mut pieces = history.reads.iter_mut().filter(|read| !read.to_end && read.bytes.len() > 100);
        pieces.next().expect("there is one").from += 1;
    }),
    ("a seal is a frame too early", &["I10"], |history| {
        let offset = history.seals[3].offset;
        let frames = read_of(history, FRAME_WITNESS).frames.clone().expect("it reads frames");
        let before = frames.iter().rev().find(|frame| frame.end <= offset).expect("there is one").start;
        history.seals[3].offset = before;
    }),
    ("a seal stands within a frame", &["I10"], |history| history.seals[3].offset -= 1),
    ("a term is sealed twice", &["I10"], |history| history.seals[3].term = history.seals[2].term),
    ("a reader sees half a frame", &["I2"], |history| history.looks[5].end = BASE_OFFSET + 3),
    ("a finished append is hidden", &["I4"], |history| {
        let mut late = history.looks.last().expect("there is one").clone();
        late.reader += 1;
        late.end = BASE_OFFSET;
        history.looks.push(late);
    }),
];

#[test]
fn the_judge_finds_every_kind_of_fault() {
    let Outcome { history, .. } = run(&Load { writers: 3, publications: 400, seal_bytes: 8000 });
    assert_sound(&history);
    assert!(history.seals.len() > 3, "the corruptions below need some seals");
    for (name, invariants, corrupt) in CORRUPTIONS {
        let mut corrupted = history.clone();
        corrupt(&mut corrupted);
        let found = corrupted.judge().map_err(|violation: Violation| (violation.invariant(), violation));
        let Err((invariant, violation)) = found else { panic!("not noticed: {name}") };
        assert!(invariants.contains(&invariant), "{name}: {violation}");
    }
}
