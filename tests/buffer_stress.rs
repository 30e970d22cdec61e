//! Many threads at once; afterwards the merged history is judged.
//!
//! Writers publish frames and batches that say who wrote them, in which order, under which context
//! and in which term. Cursors read all of it, or pieces; one thread resizes and trims, one seals
//! terms. When all is over, [`judge`] holds what the writers were told, and when, against what the
//! cursors read: I1 to I5 and I10, and the conditional parts exactly where the context changes. The
//! bounds of the backlog (I7) are looked at while it runs, and everything has to be released in the
//! end (I6).
//!
//! The work is bounded, not the time. Nobody sleeps. That the judge can find fault is tested on
//! corrupted copies of a real history.
#![cfg(not(replcore_loom))]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use replcore::buffer::{
    AppendError, AttachError, Cursor, CursorLimits, ReplicationBuffer, StagedFrame, Writer,
};

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
    writers: u16,
    publications: u32,
    /// A seal each so many bytes.
    seal_bytes: u64,
}

/// A publication as its writer knows it.
#[derive(Clone, Debug)]
struct Publication {
    writer: u16,
    /// The number of its first item, and of the item after its last.
    items: Range<u32>,
    range: Range<u64>,
    started: Instant,
    returned: Instant,
}

#[derive(Clone, Debug)]
struct Seal {
    term: u32,
    offset: u64,
    started: Instant,
    returned: Instant,
}

/// What a cursor has read, from where.
#[derive(Clone, Debug)]
struct Piece {
    from: u64,
    bytes: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct History {
    publications: Vec<Publication>,
    seals: Vec<Seal>,
    /// The whole stream, as one witness read it.
    stream: Vec<u8>,
    /// The frames' bounds, as the other did.
    frames: Vec<Range<u64>>,
    pieces: Vec<Piece>,
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

/// What the writers write: an item. A frame is one or more of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    writer: u16,
    number: u32,
    /// 0 if the writer does not know.
    term: u32,
    /// The context it asks for, or none.
    context: Option<u32>,
    leaves_unknown: bool,
    /// The next item is of the same frame.
    continues: bool,
    payload_bytes: u32,
    checksum: u64,
}

const ITEM_TAG: u8 = b'F';
const SELECT_TAG: u8 = b'S';
const ITEM_BYTES: usize = 28;
const SELECT_BYTES: usize = 5;

fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn select(context: u32) -> [u8; SELECT_BYTES] {
    let mut bytes = [SELECT_TAG; SELECT_BYTES];
    bytes[1..].copy_from_slice(&context.to_le_bytes());
    bytes
}

impl Item {
    fn header(&self) -> [u8; ITEM_BYTES] {
        let flags = u8::from(self.leaves_unknown) | u8::from(self.continues) << 1;
        let mut bytes = Vec::with_capacity(ITEM_BYTES);
        bytes.push(ITEM_TAG);
        bytes.extend(self.writer.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.term.to_le_bytes());
        bytes.extend(self.context.unwrap_or(u32::MAX).to_le_bytes());
        bytes.push(flags);
        bytes.extend(self.payload_bytes.to_le_bytes());
        bytes.extend(self.checksum.to_le_bytes());
        bytes.try_into().expect("the fields above are as long as ITEM_BYTES says")
    }

    /// Reads a header and its payload off the front of `stream`.
    fn parse(stream: &mut &[u8]) -> Result<Self, String> {
        if stream.len() < ITEM_BYTES || stream[0] != ITEM_TAG {
            return Err(format!("no item: {:?}", &stream[..stream.len().min(ITEM_BYTES)]));
        }
        stream.advance(1);
        let (writer, number, term) = (stream.get_u16_le(), stream.get_u32_le(), stream.get_u32_le());
        let (context, flags) = (stream.get_u32_le(), stream.get_u8());
        let (payload_bytes, sum) = (stream.get_u32_le(), stream.get_u64_le());
        let Some(payload) = stream.get(..payload_bytes as usize) else {
            return Err(format!("item {number} of writer {writer} is cut off"));
        };
        if checksum(payload) != sum {
            return Err(format!("I5: item {number} of writer {writer} is damaged"));
        }
        stream.advance(payload_bytes as usize);
        Ok(Self {
            writer,
            number,
            term,
            context: (context != u32::MAX).then_some(context),
            leaves_unknown: flags & 1 != 0,
            continues: flags & 2 != 0,
            payload_bytes,
            checksum: sum,
        })
    }
}

/// A writing thread's state.
struct Author<'a> {
    buffer: &'a ReplicationBuffer,
    id: u16,
    writer: Writer,
    next_item: u32,
    random: Random,
    table: &'a Bytes,
    fenced: u64,
}

impl Author<'_> {
    /// Stages a few frames of one or two items each; returns the number of items.
    fn stage(
        &mut self,
        term: u32,
        seed: u64,
        target: impl FnOnce(&mut Self, &mut dyn FnMut(&mut StagedFrame<'_>)) -> Result<Range<u64>, AppendError>,
    ) -> Result<(Range<u64>, u32), AppendError> {
        let (id, first, table) = (self.id, self.next_item, self.table);
        let mut items = 0;
        let mut fill = |frame: &mut StagedFrame<'_>| {
            // The same publication again if it was fenced: all depends on the seed.
            let mut random = Random(seed);
            let frames = if random.one_in(3) { 2 + random.below(3) } else { 1 };
            items = 0;
            for _ in 0..frames {
                let continues = random.one_in(5);
                stage_item(frame, &mut random, table, (id, first + items, term), continues);
                items += 1;
                if continues {
                    stage_item(frame, &mut random, table, (id, first + items, term), false);
                    items += 1;
                }
                if frames > 1 {
                    frame.end_frame();
                }
            }
        };
        target(self, &mut fill).map(|range| (range, items))
    }

    /// Publishes once, by whichever way, in whichever term it takes.
    fn publish(&mut self) -> Publication {
        let seed = self.random.next();
        let pooled = self.random.one_in(4);
        loop {
            let term = if pooled { 0 } else { self.writer.term() as u32 };
            let started = Instant::now();
            let published = self.stage(term, seed, |author, fill| {
                if pooled {
                    return author.buffer.append_with(|frame| fill(frame));
                }
                let mut frame = author.writer.frame();
                fill(&mut frame);
                frame.publish()
            });
            match published {
                Ok((range, items)) => {
                    let returned = Instant::now();
                    let items = self.next_item..self.next_item + items;
                    self.next_item = items.end;
                    return Publication { writer: self.id, items, range, started, returned };
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

fn stage_item(
    frame: &mut StagedFrame<'_>,
    random: &mut Random,
    table: &Bytes,
    (writer, number, term): (u16, u32, u32),
    continues: bool,
) {
    let len =
        if random.one_in(60) { random.below(LARGE_BYTES as u64) } else { random.below(SMALL_BYTES as u64) };
    let at = random.below(TABLE_BYTES as u64 - len) as usize;
    let payload = table.slice(at..at + len as usize);
    let context = (!random.one_in(3)).then(|| random.below(3) as u32);
    let item = Item {
        writer,
        number,
        term,
        context,
        leaves_unknown: random.one_in(20),
        continues,
        payload_bytes: len as u32,
        checksum: checksum(&payload),
    };
    if let Some(context) = context {
        frame.select_context(u64::from(context), &select(context));
    }
    frame.put_slice(&item.header());
    if random.one_in(4) {
        frame.put_bytes(payload);
    } else {
        frame.put_slice(&payload);
    }
    if item.leaves_unknown {
        frame.set_context(None);
    }
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
    fn witness(&self, mut cursor: Cursor) -> Vec<u8> {
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
        stream.truncate((self.final_end.load(SeqCst) - BASE_OFFSET) as usize);
        stream
    }

    /// Reads the whole stream, frame by frame, busily.
    fn witness_frames(&self, mut cursor: Cursor) -> Vec<Range<u64>> {
        let mut frames = Vec::new();
        while cursor.offset() < self.final_end.load(SeqCst) {
            if cursor.refresh().expect("the witnesses keep to the limits") == 0 {
                thread::yield_now();
            }
            while let Some((range, bytes)) = cursor.next_frame() {
                assert_eq!(bytes.len() as u64, range.end - range.start);
                frames.push(range);
            }
            self.witnessed[1].store(cursor.offset(), SeqCst);
        }
        let final_end = self.final_end.load(SeqCst);
        frames.retain(|frame| frame.end <= final_end);
        frames
    }

    /// Attaches anywhere, reads a piece, drops the cursor; again and again.
    fn read_pieces(&self, seed: u64) -> Vec<Piece> {
        let (mut random, mut pieces) = (Random(seed), Vec::new());
        while !self.over() {
            let (first, end) = (self.buffer.first_offset(), self.buffer.end_offset());
            let wanted = first + random.below(end - first + 1);
            match self.buffer.attach(wanted) {
                Ok(mut cursor) => {
                    assert_eq!(cursor.offset(), wanted);
                    pieces.push(self.read_piece(&mut cursor, random.below(PIECE_BYTES), &mut random));
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

    fn read_piece(&self, cursor: &mut Cursor, mut left: u64, random: &mut Random) -> Piece {
        let mut piece = Piece { from: cursor.offset(), bytes: Vec::new() };
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
    fn lag(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !self.over() {
            let mut cursor = self.buffer.attach_at_end().expect("there is room");
            let mut piece = Piece { from: cursor.offset(), bytes: Vec::new() };
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

    fn resize(&self) {
        for turn in 0.. {
            if self.over() {
                return;
            }
            self.buffer.set_backlog_bytes(BACKLOGS_BYTES[turn % BACKLOGS_BYTES.len()]);
            self.buffer.enforce_limits();
            // First, then end: the end only grows.
            let first = self.buffer.first_offset();
            let end = self.buffer.end_offset();
            assert!(first == BASE_OFFSET || end - first >= LEAST_BACKLOG_BYTES, "I7: {first}..{end}");
            thread::yield_now();
        }
    }

    /// Seals a term whenever that is due, as long as somebody writes.
    fn seal_terms(&self) -> Vec<Seal> {
        let mut sealed = Vec::new();
        for term in 1.. {
            while !self.seal_is_due(0) {
                if self.written.load(SeqCst) {
                    return sealed;
                }
                thread::yield_now();
            }
            self.buffer.begin_term(u64::from(term) + 1);
            let started = Instant::now();
            let offset = self.buffer.seal(u64::from(term)).expect("only this thread seals");
            sealed.push(Seal { term, offset, started, returned: Instant::now() });
            self.sealed_at.store(offset, SeqCst);
        }
        sealed
    }
}

/// Runs the load, and returns what everybody saw.
fn run(load: &Load) -> History {
    let buffer = ReplicationBuffer::builder()
        .base_offset(BASE_OFFSET)
        .backlog_bytes(LEAST_BACKLOG_BYTES)
        .block_bytes(2 << 10)
        .block_records(12)
        .segment_frames(16)
        .segment_bytes(3 << 10)
        .pooled_blocks(8)
        .pooled_segments(8)
        .pooled_writers(2)
        .max_unreclaimed_bytes(64 << 10)
        .cursor_limits(CursorLimits { hard_bytes: HARD_BYTES, soft_bytes: 0, soft_ms: 0 })
        .build()
        .expect("valid");
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
    let mut history = History::default();
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
                        random: Random(u64::from(id) << 32),
                        table,
                        fenced: 0,
                    };
                    let publish = |_| {
                        stage.await_others();
                        author.publish()
                    };
                    let publications: Vec<_> = (0..load.publications).map(publish).collect();
                    (publications, author.fenced)
                })
            })
            .collect();
        for author in authors {
            let (publications, fenced) = author.join().expect("a writer failed");
            history.publications.extend(publications);
            history.fenced += fenced;
        }
        stage.written.store(true, SeqCst);
        history.seals = sealer.join().expect("the sealer failed");
        // The end is known before the bell that wakes who waits for it.
        stage.final_end.store(stage.buffer.end_offset(), SeqCst);
        stage.buffer.append(b"bell").expect("appended");
        history.stream = witness.join().expect("a witness failed");
        history.frames = witness_frames.join().expect("a witness failed");
        history.pieces = laggard.join().expect("the laggard failed");
        for reader in readers {
            history.pieces.extend(reader.join().expect("a reader failed"));
        }
        resizer.join().expect("the resizer failed");
    });
    history.evictions = stage.buffer.stats().evictions;
    drop(stage);
    // The slices that blocks and records held are gone with them.
    assert!(table.is_unique(), "I6: shared bytes are still held");
    history
}

/// Says what is wrong with a history.
fn judge(history: &History) -> Result<(), String> {
    let mut publications = history.publications.clone();
    publications.sort_by_key(|publication| publication.range.start);
    judge_offsets(&publications, &history.stream)?;
    judge_order(&publications)?;
    judge_items(&publications, history)?;
    judge_seals(&publications, &history.seals)?;
    for piece in &history.pieces {
        let at = (piece.from - BASE_OFFSET) as usize;
        // The bell behind the end is not part of the history.
        let end = (at + piece.bytes.len()).min(history.stream.len());
        let expected = history.stream.get(at..end).unwrap_or_default();
        if !piece.bytes.starts_with(expected) || piece.bytes.len() > expected.len() + 4 {
            return Err(format!("I3: a cursor read something else from {} on", piece.from));
        }
    }
    Ok(())
}

/// I1: what the writers were told leaves neither gap nor overlap.
fn judge_offsets(publications: &[Publication], stream: &[u8]) -> Result<(), String> {
    let mut end = BASE_OFFSET;
    for publication in publications {
        if publication.range.start != end {
            return Err(format!("I1: {publication:?} does not start at {end}"));
        }
        end = publication.range.end;
    }
    let read = BASE_OFFSET + stream.len() as u64;
    if read == end { Ok(()) } else { Err(format!("I2: the stream ends at {end}, {read} was read")) }
}

/// I4: program order of each writer, and real time.
fn judge_order(publications: &[Publication]) -> Result<(), String> {
    let mut next_items = std::collections::HashMap::new();
    for publication in publications {
        let next = next_items.entry(publication.writer).or_insert(0);
        if publication.items.start != *next {
            return Err(format!("I4: {publication:?} is not in the order of its writer"));
        }
        *next = publication.items.end;
    }
    let mut returned_later: Option<&Publication> = None;
    for publication in publications.iter().rev() {
        if let Some(later) = returned_later
            && later.returned < publication.started
        {
            return Err(format!("I4: {later:?} returned before {publication:?} was begun"));
        }
        if returned_later.is_none_or(|later| publication.returned < later.returned) {
            returned_later = Some(publication);
        }
    }
    Ok(())
}

/// I5: each publication's bytes are its items, whole and untorn, with the conditional parts that
/// the context asks for; frames are bounded as they were staged.
fn judge_items(publications: &[Publication], history: &History) -> Result<(), String> {
    let mut context = None;
    let mut frames = history.frames.iter();
    let mut frame_start = BASE_OFFSET;
    for publication in publications {
        let at = |offset: u64| (offset - BASE_OFFSET) as usize;
        let mut bytes = &history.stream[at(publication.range.start)..at(publication.range.end)];
        for number in publication.items.clone() {
            let mut selected = None;
            if bytes.first() == Some(&SELECT_TAG) && bytes.len() >= SELECT_BYTES {
                bytes.advance(1);
                selected = Some(bytes.get_u32_le());
            }
            let item = Item::parse(&mut bytes)?;
            if (item.writer, item.number) != (publication.writer, number) {
                return Err(format!("I5: {item:?} where item {number} of {publication:?} should be"));
            }
            let expected = item.context.filter(|wanted| context != Some(*wanted));
            if selected != expected {
                return Err(format!("context {context:?}: {selected:?} selected before {item:?}"));
            }
            context = item.context.or(context).filter(|_| !item.leaves_unknown);
            if !item.continues {
                let end = publication.range.end - bytes.len() as u64;
                if frames.next() != Some(&(frame_start..end)) {
                    return Err(format!("no frame was read from {frame_start} to {end}"));
                }
                frame_start = end;
            }
            judge_term(&item, publication, &history.seals)?;
        }
        if !bytes.is_empty() {
            return Err(format!("I5: {} bytes too many in {publication:?}", bytes.len()));
        }
    }
    if frames.next().is_none() { Ok(()) } else { Err("a frame was read that nobody wrote".into()) }
}

/// I10: nothing of a sealed term stands behind its seal.
fn judge_term(item: &Item, publication: &Publication, seals: &[Seal]) -> Result<(), String> {
    let late =
        |seal: &&Seal| item.term != 0 && item.term <= seal.term && publication.range.start >= seal.offset;
    match seals.iter().find(late) {
        Some(seal) => Err(format!("I10: {item:?} at {} is behind {seal:?}", publication.range.start)),
        None => Ok(()),
    }
}

/// I4, I10: seals keep their place in real time.
fn judge_seals(publications: &[Publication], seals: &[Seal]) -> Result<(), String> {
    for seal in seals {
        for publication in publications {
            let before = publication.range.end <= seal.offset;
            let after = publication.range.start >= seal.offset;
            let early = publication.returned < seal.started && !before;
            let late = publication.started > seal.returned && !after;
            if early || late || !(before || after) {
                return Err(format!("I10: {seal:?} and {publication:?} are out of order"));
            }
        }
    }
    Ok(())
}

#[test]
fn the_merged_history_is_one_stream() {
    let history = run(&Load { writers: 4, publications: 14_000, seal_bytes: u64::MAX });
    judge(&history).expect("I1 to I5");
    assert!(history.evictions > 0, "nobody was evicted: the load is too light");
    assert!(history.pieces.len() > 100, "{} pieces", history.pieces.len());
}

#[test]
fn nothing_of_a_sealed_term_comes_behind_its_seal() {
    let history = run(&Load { writers: 4, publications: 9000, seal_bytes: 20_000 });
    judge(&history).expect("I1 to I5, I10");
    let (seals, fenced) = (history.seals.len(), history.fenced);
    assert!(seals >= 50, "only {seals} seals");
    assert!(fenced >= seals as u64 / 2, "{seals} seals and only {fenced} appends that met one");
}

/// A way to corrupt a history.
type Corruption = fn(&mut History);

#[test]
fn the_judge_finds_every_kind_of_fault() {
    let history = run(&Load { writers: 3, publications: 400, seal_bytes: 8000 });
    judge(&history).expect("sound to begin with");
    assert!(history.seals.len() > 3, "the corruptions below need some seals");
    let corruptions: [(&str, Corruption); 12] = [
        ("a byte differs", |history| {
            let middle = history.stream.len() / 2;
            history.stream[middle] ^= 1;
        }),
        ("the last byte is missing", |history| history.stream.truncate(history.stream.len() - 1)),
        ("a publication is missing", |history| {
            history.publications.remove(100);
        }),
        ("a publication is there twice", |history| {
            let twice = history.publications[100].clone();
            history.publications.push(twice);
        }),
        ("two publications of a writer have each other's offsets", |history| {
            let range = history.publications[100].range.clone();
            history.publications[100].range = history.publications[101].range.clone();
            history.publications[101].range = range;
        }),
        ("two writers' publications are exchanged", |history| {
            let last = history.publications.len() - 1;
            let range = history.publications[0].range.clone();
            history.publications[0].range = history.publications[last].range.clone();
            history.publications[last].range = range;
        }),
        ("an append began after a later one had returned", |history| {
            let long = Duration::from_secs(3600);
            history.publications.sort_by_key(|publication| publication.range.start);
            history.publications[50].started += long;
            history.publications[50].returned += long;
        }),
        ("two frames are read as one", |history| {
            let second = history.frames.remove(100);
            history.frames[99].end = second.end;
        }),
        ("a conditional part is missing", |history| {
            // Cut the first one, and tell everybody offsets that agree with it.
            let at = history.stream.iter().position(|byte| *byte == SELECT_TAG).expect("there is one");
            assert_eq!(history.stream[at + SELECT_BYTES], ITEM_TAG);
            history.stream.drain(at..at + SELECT_BYTES);
            history.pieces.clear();
            let offset = BASE_OFFSET + at as u64;
            let shift = |bound: &mut u64| *bound -= if *bound > offset { SELECT_BYTES as u64 } else { 0 };
            for publication in &mut history.publications {
                shift(&mut publication.range.start);
                shift(&mut publication.range.end);
            }
            for frame in &mut history.frames {
                shift(&mut frame.start);
                shift(&mut frame.end);
            }
            for seal in &mut history.seals {
                shift(&mut seal.offset);
            }
        }),
        ("a cursor reads from elsewhere", |history| {
            let piece =
                history.pieces.iter_mut().find(|piece| piece.bytes.len() > 100).expect("there is one");
            piece.from += 1;
        }),
        ("a seal is a frame too early", |history| {
            let seal = &mut history.seals[3];
            let before = history.frames.iter().rev().find(|frame| frame.end <= seal.offset);
            seal.offset = before.expect("there is one").start;
        }),
        ("a seal stands within a frame", |history| {
            let seal = &mut history.seals[3];
            seal.offset -= 1;
        }),
    ];
    for (name, corrupt) in corruptions {
        let mut corrupted = history.clone();
        corrupt(&mut corrupted);
        assert!(judge(&corrupted).is_err(), "not noticed: {name}");
    }
}
