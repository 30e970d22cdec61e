//! A few short fields in one piece of memory.
//!
//! # Layout
//!
//! Records one after the other, in the order of insertion: the length of the name in a byte, whose highest
//! bit says that there is a deadline; the length of the value in a byte; the name; the value; the deadline in
//! 8 bytes. So a field costs 2 bytes beside its contents, and 8 more if it has a deadline.
//!
//! # Cost
//!
//! Everything walks the records: O(fields), of which there are at most [`HASH_COMPACT_MAX_FIELDS`]. The
//! earliest deadline is kept and looked for anew when it goes. Memory is allocated as it is needed, without
//! reserve, as in a listpack.

use bytes::Bytes;
use smallvec::SmallVec;

use super::field::{Field, Item};
use super::{HASH_COMPACT_MAX_FIELDS, HASH_COMPACT_MAX_ITEM_BYTES};

const HAS_DEADLINE: u8 = 1 << 7;
const LENGTHS_BYTES: usize = 2;
const DEADLINE_BYTES: usize = size_of::<u64>();
/// Enough for any record.
const RECORD_MAX_BYTES: usize = 256;
const _: () = assert!(LENGTHS_BYTES + 2 * HASH_COMPACT_MAX_ITEM_BYTES + DEADLINE_BYTES <= RECORD_MAX_BYTES);
const _: () = assert!(HASH_COMPACT_MAX_ITEM_BYTES < HAS_DEADLINE as usize);
const _: () = assert!(HASH_COMPACT_MAX_FIELDS <= u8::MAX as usize);

/// Memory that is unused is given back if it is more than what is used and this.
const SPARE_MAX_BYTES: usize = 64;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Compact {
    records: Vec<u8>,
    /// Exactly; `u64::MAX` without a deadline.
    earliest_ms: u64,
    len: u8,
    deadline_count: u8,
    pub has_outgrown_listpack: bool,
}

impl Default for Compact {
    fn default() -> Self {
        Compact {
            records: Vec::new(),
            earliest_ms: u64::MAX,
            len: 0,
            deadline_count: 0,
            has_outgrown_listpack: false,
        }
    }
}

#[derive(Clone, Copy)]
struct Record {
    at: usize,
    name_bytes: usize,
    value_bytes: usize,
    has_deadline: bool,
}

impl Record {
    fn name_at(&self) -> usize {
        self.at + LENGTHS_BYTES
    }

    fn value_at(&self) -> usize {
        self.name_at() + self.name_bytes
    }

    fn deadline_at(&self) -> usize {
        self.value_at() + self.value_bytes
    }

    fn end(&self) -> usize {
        self.deadline_at() + if self.has_deadline { DEADLINE_BYTES } else { 0 }
    }
}

/// Whether both can be in a compact hash.
pub(super) fn fits(name: &[u8], value: &[u8]) -> bool {
    name.len().max(value.len()) <= HASH_COMPACT_MAX_ITEM_BYTES
}

impl Compact {
    pub fn len(&self) -> usize {
        self.len.into()
    }

    pub fn deadline_count(&self) -> usize {
        self.deadline_count.into()
    }

    pub fn earliest_ms(&self) -> Option<u64> {
        (self.deadline_count > 0).then_some(self.earliest_ms)
    }

    pub fn heap_bytes(&self) -> usize {
        self.records.capacity()
    }

    fn record_at(&self, at: usize) -> Option<Record> {
        let (&name, &value) = (self.records.get(at)?, self.records.get(at + 1)?);
        Some(Record {
            at,
            name_bytes: (name & !HAS_DEADLINE).into(),
            value_bytes: value.into(),
            has_deadline: name & HAS_DEADLINE != 0,
        })
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        std::iter::successors(self.record_at(0), |record| self.record_at(record.end()))
    }

    fn deadline_of(&self, record: Record) -> Option<u64> {
        let bytes = record.has_deadline.then(|| &self.records[record.deadline_at()..record.end()])?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    fn field_of(&self, record: Record) -> Field<'_> {
        Field {
            name: Item::packed(&self.records[record.name_at()..record.value_at()]),
            value: Item::packed(&self.records[record.value_at()..record.deadline_at()]),
            deadline_ms: self.deadline_of(record),
        }
    }

    fn find(&self, name: &[u8]) -> Option<Record> {
        // Names often begin alike and rarely end alike.
        let last = name.last();
        self.records().find(|record| {
            record.name_bytes == name.len() && {
                let stored = &self.records[record.name_at()..record.value_at()];
                stored.last() == last && stored == name
            }
        })
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        self.find(name).map(|record| self.field_of(record))
    }

    pub fn get_index(&self, index: usize) -> Option<Field<'_>> {
        self.records().nth(index).map(|record| self.field_of(record))
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + '_ {
        self.records().map(|record| self.field_of(record))
    }

    /// Whether the field can be stored in this form.
    pub fn has_room_for(&self, name: &[u8], value: &[u8]) -> bool {
        fits(name, value) && (self.len() < HASH_COMPACT_MAX_FIELDS || self.find(name).is_some())
    }

    /// Stores a field that [has room](Self::has_room_for). Returns the deadline that the old one had.
    pub fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let mut bytes = SmallVec::<[u8; RECORD_MAX_BYTES]>::new();
        let has_deadline = if deadline_ms.is_some() { HAS_DEADLINE } else { 0 };
        bytes.extend_from_slice(&[name.len() as u8 | has_deadline, value.len() as u8]);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(value);
        if let Some(deadline_ms) = deadline_ms {
            bytes.extend_from_slice(&deadline_ms.to_le_bytes());
        }
        let old = self.find(name);
        let old_ms = old.map(|record| self.deadline_of(record));
        match old {
            Some(record) => self.splice(record.at, record.end() - record.at, &bytes),
            None => {
                self.splice(self.records.len(), 0, &bytes);
                self.len += 1;
            }
        }
        self.note_deadline(old_ms.flatten(), deadline_ms);
        old_ms
    }

    /// Replaces some bytes.
    fn splice(&mut self, at: usize, removed: usize, added: &[u8]) {
        self.records.reserve_exact(added.len().saturating_sub(removed));
        if removed == added.len() {
            self.records[at..at + removed].copy_from_slice(added);
        } else {
            self.records.splice(at..at + removed, added.iter().copied());
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        if self.records.capacity() > 2 * self.records.len() + SPARE_MAX_BYTES {
            self.records.shrink_to_fit();
        }
    }

    fn note_deadline(&mut self, old_ms: Option<u64>, new_ms: Option<u64>) {
        self.deadline_count += u8::from(new_ms.is_some());
        self.deadline_count -= u8::from(old_ms.is_some());
        self.earliest_ms = self.earliest_ms.min(new_ms.unwrap_or(u64::MAX));
        if old_ms == Some(self.earliest_ms) && new_ms != old_ms {
            self.look_for_earliest();
        }
    }

    fn look_for_earliest(&mut self) {
        let deadlines = self.records().filter_map(|record| self.deadline_of(record));
        self.earliest_ms = deadlines.min().unwrap_or(u64::MAX);
    }

    pub fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let record = self.find(name)?;
        let old_ms = self.deadline_of(record);
        let new = deadline_ms.map(u64::to_le_bytes);
        let new = new.as_ref().map_or(&[][..], |bytes| bytes);
        self.splice(record.deadline_at(), record.end() - record.deadline_at(), new);
        let name_byte = &mut self.records[record.at];
        *name_byte = *name_byte & !HAS_DEADLINE | if deadline_ms.is_some() { HAS_DEADLINE } else { 0 };
        self.note_deadline(old_ms, deadline_ms);
        Some(old_ms)
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Option<u64>> {
        let record = self.find(name)?;
        let old_ms = self.deadline_of(record);
        self.splice(record.at, record.end() - record.at, &[]);
        self.len -= 1;
        self.note_deadline(old_ms, None);
        Some(old_ms)
    }

    /// One pass, whatever is due.
    pub fn reclaim(&mut self, now_ms: u64, steps: &mut usize, reclaimed: &mut Vec<Bytes>) {
        if *steps == 0 || self.earliest_ms().is_none_or(|earliest_ms| now_ms <= earliest_ms) {
            return;
        }
        let (mut read_at, mut kept_bytes) = (0, 0);
        while let Some(record) = self.record_at(read_at) {
            read_at = record.end();
            if *steps > 0 && self.deadline_of(record).is_some_and(|deadline_ms| deadline_ms < now_ms) {
                *steps -= 1;
                reclaimed.push(self.field_of(record).name.to_bytes());
                self.len -= 1;
                self.deadline_count -= 1;
            } else {
                self.records.copy_within(record.at..record.end(), kept_bytes);
                kept_bytes += record.end() - record.at;
            }
        }
        self.records.truncate(kept_bytes);
        self.give_back();
        self.look_for_earliest();
    }
}
