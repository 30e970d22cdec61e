//! Many fields, or long ones.
//!
//! # Structure
//!
//! | part | per field |
//! |---|---|
//! | *entries*, in an order: where the record is, and 32 bits of the name's hash | 10 bytes |
//! | *index*: from a name's hash to the entry's number | 5 bytes a place, 7/16 to 7/8 of the places used |
//! | *records* in an [arena](super::arena): both lengths, name, value | 2 bytes for items of at most 63 bytes |
//! | *deadlines*: deadline and links in the [wheel](super::wheel), by the entry's number, in pages that are there only where a field has a deadline | 16 bytes |
//!
//! The entries' array grows by an eighth, and the arena by an eighth or a chunk. An item longer than
//! [`PACKED_MAX_BYTES`] is not in its record but in memory of its own, shared with whoever was given it, and
//! the record has its number. In place of a long name it has the bits of the name's hash that the entry has:
//! moving a record never reads a long name.
//!
//! # Order
//!
//! A new field is the last. A removal moves the last field to the removed one's place, and nothing else.
//!
//! # Cost
//!
//! Everything but the growth of the arrays is O(1) amortised; a name is compared only if 32 bits of its hash
//! are equal. The index doubles by the stored hashes, without touching a record. A record whose length
//! changes is written anew; the arena's garbage is bounded as its essay says, and to move what lives in a
//! chunk, each record in it is looked up by its name. A reclaim unlinks what the wheel says is due: O(1)
//! each, no scan. The records that it has to look up count as its steps.
//!
//! A clone copies entries, index and deadlines as arrays and shares the chunks and the long items.
//!
//! When few of the places are in use, the arrays shrink. The memory of long items is given back at once, the
//! places of their handles and the headers of empty chunks only with the table.

use std::hash::BuildHasher;

use bytes::Bytes;
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::arena::{Address, Arena};
use super::field::{Field, Item};
use super::wheel::{Link, Links, THINGS_MAX, Wheel};
use super::{HASH_MAX_FIELDS, HashFull};

/// Seeded per process against chosen collisions.
type Hasher = foldhash::fast::RandomState;

/// A longer name or value has memory of its own.
pub(super) const PACKED_MAX_BYTES: usize = 256;

/// What a record takes in most cases.
const RECORD_USUAL_BYTES: usize = 128;

/// Arrays with room for more fields than this give memory back when an eighth of it is used.
const SHRINK_MIN_FIELDS: usize = 1024;
const SHRINK_DIVISOR: usize = 8;
const GROWTH_DIVISOR: usize = 8;
const GROWTH_MIN_FIELDS: usize = 16;

const PAGE_LINKS: usize = 32;

const _: () = assert!(HASH_MAX_FIELDS <= THINGS_MAX as usize);

/// A field's place in the order. Packed, because there is one for each.
#[derive(Clone, Copy, Debug)]
struct Entry([u16; 5]);

impl Entry {
    fn new(hash: u32, address: Address) -> Entry {
        let (hash, chunk) =
            ([hash as u16, (hash >> 16) as u16], [address.chunk as u16, (address.chunk >> 16) as u16]);
        Entry([hash[0], hash[1], chunk[0], chunk[1], address.offset])
    }

    fn hash(self) -> u32 {
        u32::from(self.0[0]) | u32::from(self.0[1]) << 16
    }

    fn address(self) -> Address {
        Address { chunk: u32::from(self.0[2]) | u32::from(self.0[3]) << 16, offset: self.0[4] }
    }
}

/// The hash by which the index has an entry: it needs the highest bits too. Different for different 32 bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A name or value as its record has it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// That many bytes in the record.
    Packed(usize),
    /// The number of a long item.
    Long(usize),
}

impl Part {
    /// How the record says it: in groups of 7 bits, the lowest first, the highest bit set in all but the
    /// last.
    fn encode(self, to: &mut SmallVec<[u8; RECORD_USUAL_BYTES]>) {
        let mut number = match self {
            Part::Packed(bytes) => bytes << 1,
            Part::Long(number) => number << 1 | 1,
        };
        while number >= 1 << 7 {
            to.push(number as u8 | 1 << 7);
            number >>= 7;
        }
        to.push(number as u8);
    }

    fn of(number: usize) -> Part {
        if number & 1 == 0 { Part::Packed(number >> 1) } else { Part::Long(number >> 1) }
    }

    /// And how many bytes said it.
    #[inline]
    fn decode(from: &[u8]) -> (Part, usize) {
        // Most items are short.
        match from.first() {
            Some(&byte) if byte < 1 << 7 => (Part::of(byte.into()), 1),
            _ => Part::decode_any(from),
        }
    }

    #[cold]
    fn decode_any(from: &[u8]) -> (Part, usize) {
        let (mut number, mut length) = (0, 0);
        for &byte in from {
            number |= usize::from(byte & !(1 << 7)) << (7 * length);
            length += 1;
            if byte < 1 << 7 {
                break;
            }
        }
        (Part::of(number), length)
    }
}

/// In place of a long name, a record has the stored bits of its hash: whoever moves the record need not read
/// the name.
const HASH_BYTES: usize = size_of::<u32>();

/// What a record begins with.
#[derive(Clone, Copy)]
struct Record {
    name: Part,
    value: Part,
    name_at: usize,
}

impl Record {
    #[inline]
    fn read(bytes: &[u8]) -> Record {
        let (name, name_length) = Part::decode(bytes);
        let (value, value_length) = Part::decode(&bytes[name_length..]);
        Record { name, value, name_at: name_length + value_length }
    }

    #[inline]
    fn value_at(&self) -> usize {
        self.name_at
            + match self.name {
                Part::Packed(bytes) => bytes,
                Part::Long(_) => HASH_BYTES,
            }
    }

    fn len(&self) -> usize {
        self.value_at()
            + match self.value {
                Part::Packed(bytes) => bytes,
                Part::Long(_) => 0,
            }
    }
}

/// Items that are too long for a record.
#[derive(Clone, Debug, Default)]
struct LongItems {
    items: Vec<Bytes>,
    free: Vec<usize>,
    bytes: usize,
}

impl LongItems {
    fn insert(&mut self, item: &[u8]) -> Part {
        self.bytes += item.len();
        let item = Bytes::copy_from_slice(item);
        Part::Long(match self.free.pop() {
            Some(number) => {
                self.items[number] = item;
                number
            }
            None => {
                reserve(&mut self.items);
                self.items.push(item);
                self.items.len() - 1
            }
        })
    }

    fn replace(&mut self, number: usize, item: &[u8]) {
        self.bytes = self.bytes + item.len() - self.items[number].len();
        self.items[number] = Bytes::copy_from_slice(item);
    }

    fn remove(&mut self, part: Part) {
        let Part::Long(number) = part else { return };
        self.bytes -= std::mem::take(&mut self.items[number]).len();
        reserve(&mut self.free);
        self.free.push(number);
        if self.free.len() == self.items.len() {
            *self = LongItems::default();
        }
    }

    fn heap_bytes(&self) -> usize {
        self.bytes + self.items.capacity() * size_of::<Bytes>() + self.free.capacity() * size_of::<usize>()
    }
}

/// Makes room for one more, and for an eighth.
fn reserve<T>(items: &mut Vec<T>) {
    if items.len() == items.capacity() {
        items.reserve_exact((items.len() / GROWTH_DIVISOR).max(GROWTH_MIN_FIELDS));
    }
}

#[derive(Clone, Debug)]
struct Page {
    linked: u32,
    links: [Link; PAGE_LINKS],
}

/// The links of the fields that have a deadline, by the number of their entry.
#[derive(Clone, Debug, Default)]
struct Pages {
    pages: Vec<Option<Box<Page>>>,
    page_count: usize,
}

impl Pages {
    fn page(number: u32) -> (usize, usize) {
        (number as usize / PAGE_LINKS, number as usize % PAGE_LINKS)
    }

    #[inline]
    fn deadline_ms(&self, number: u32) -> Option<u64> {
        let (page, at) = Pages::page(number);
        let link = &self.pages.get(page)?.as_ref()?.links[at];
        link.is_linked().then_some(link.deadline_ms)
    }

    /// Makes room for a link.
    fn open(&mut self, number: u32) {
        let (page, _) = Pages::page(number);
        while self.pages.len() <= page {
            reserve(&mut self.pages);
            self.pages.push(None);
        }
        let page = self.pages[page].get_or_insert_with(|| {
            self.page_count += 1;
            Box::new(Page { linked: 0, links: [Link::UNLINKED; PAGE_LINKS] })
        });
        page.linked += 1;
    }

    /// A link is not in use any more.
    fn close(&mut self, number: u32) {
        let (at, _) = Pages::page(number);
        if let Some(Some(page)) = self.pages.get_mut(at) {
            page.linked -= 1;
            if page.linked == 0 {
                self.pages[at] = None;
                self.page_count -= 1;
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.pages.capacity() * size_of::<Option<Box<Page>>>() + self.page_count * size_of::<Page>()
    }
}

impl Links for Pages {
    fn link(&self, thing: u32) -> &Link {
        let (page, at) = Pages::page(thing);
        // The wheel asks only for what is linked, and its page is open.
        &self.pages[page].as_ref().expect("an open page").links[at]
    }

    fn link_mut(&mut self, thing: u32) -> &mut Link {
        let (page, at) = Pages::page(thing);
        // As above.
        &mut self.pages[page].as_mut().expect("an open page").links[at]
    }
}

#[derive(Clone, Debug, Default)]
struct Deadlines {
    pages: Pages,
    wheel: Wheel,
}

impl Deadlines {
    fn set(&mut self, number: u32, old_ms: Option<u64>, new_ms: Option<u64>) {
        match (old_ms, new_ms) {
            (None, None) => {}
            (None, Some(new_ms)) => {
                self.pages.open(number);
                self.wheel.insert(&mut self.pages, number, new_ms);
            }
            (Some(_), Some(new_ms)) => self.wheel.set(&mut self.pages, number, new_ms),
            (Some(_), None) => {
                self.wheel.remove(&mut self.pages, number);
                self.pages.close(number);
                if self.wheel.len() == 0 {
                    *self = Deadlines::default();
                }
            }
        }
    }

    /// The field `from` has got the number `to`.
    fn renumber(&mut self, from: u32, to: u32) {
        if self.pages.deadline_ms(from).is_some() {
            self.pages.open(to);
            self.wheel.rename(&mut self.pages, from, to);
            self.pages.close(from);
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    entries: Vec<Entry>,
    index: HashTable<u32>,
    hasher: Hasher,
    arena: Arena,
    long: LongItems,
    deadlines: Deadlines,
    pub has_outgrown_listpack: bool,
}

impl Table {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn deadline_count(&self) -> usize {
        self.deadlines.wheel.len()
    }

    pub fn earliest_ms(&self) -> Option<u64> {
        self.deadlines.wheel.earliest_ms()
    }

    pub fn heap_bytes(&self) -> usize {
        size_of::<Table>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.index.allocation_size()
            + self.arena.heap_bytes()
            + self.long.heap_bytes()
            + self.deadlines.pages.heap_bytes()
            + self.deadlines.wheel.heap_bytes()
    }

    fn hash(&self, name: &[u8]) -> u32 {
        let hash = self.hasher.hash_one(name);
        (hash ^ hash >> 32) as u32
    }

    /// An item of the record that begins `bytes`.
    #[inline]
    fn item<'a>(&'a self, part: Part, at: usize, bytes: &'a [u8]) -> Item<'a> {
        match part {
            Part::Packed(length) => Item::packed(&bytes[at..at + length]),
            Part::Long(number) => Item::own(&self.long.items[number]),
        }
    }

    fn find(&self, hash: u32, name: &[u8]) -> Option<u32> {
        self.find_record(hash, name).map(|(number, ..)| number)
    }

    /// The number of a field, and where its record is.
    fn find_record(&self, hash: u32, name: &[u8]) -> Option<(u32, Record, &[u8])> {
        let mut found = None;
        self.index.find(spread(hash), |&number| {
            let entry = self.entries[number as usize];
            if entry.hash() != hash {
                return false;
            }
            let bytes = self.arena.from(entry.address());
            let record = Record::read(bytes);
            let is_it = *self.item(record.name, record.name_at, bytes) == *name;
            found = is_it.then_some((number, record, bytes));
            is_it
        });
        found
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'_>> {
        let (number, record, bytes) = self.find_record(self.hash(name), name)?;
        Some(self.field_of(number, record, bytes))
    }

    pub fn get_index(&self, index: usize) -> Option<Field<'_>> {
        let bytes = self.arena.from(self.entries.get(index)?.address());
        Some(self.field_of(index as u32, Record::read(bytes), bytes))
    }

    #[inline]
    fn field_of<'a>(&'a self, number: u32, record: Record, bytes: &'a [u8]) -> Field<'a> {
        Field {
            name: self.item(record.name, record.name_at, bytes),
            value: self.item(record.value, record.value_at(), bytes),
            deadline_ms: self.deadlines.pages.deadline_ms(number),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + '_ {
        (0..self.len()).filter_map(|index| self.get_index(index))
    }

    /// Stores a field. Returns the deadline that the old one had. Changes nothing if a new one would be more
    /// than `max_fields`.
    pub fn insert(
        &mut self,
        name: &[u8],
        value: &[u8],
        deadline_ms: Option<u64>,
        max_fields: usize,
    ) -> Result<Option<Option<u64>>, HashFull> {
        let hash = self.hash(name);
        if let Some(number) = self.find(hash, name) {
            let old_ms = self.deadlines.pages.deadline_ms(number);
            self.replace_value(number, name, value);
            self.deadlines.set(number, old_ms, deadline_ms);
            return Ok(Some(old_ms));
        }
        if self.entries.len() >= max_fields {
            return Err(HashFull);
        }
        let name_part = self.part(name);
        let value_part = self.part(value);
        let address = self.append(hash, [name_part, value_part], name, value);
        let number = self.entries.len() as u32;
        reserve(&mut self.entries);
        self.entries.push(Entry::new(hash, address));
        let entries = &self.entries;
        self.index.insert_unique(spread(hash), number, |&number| spread(entries[number as usize].hash()));
        self.deadlines.set(number, None, deadline_ms);
        Ok(None)
    }

    /// How an item is to be stored.
    fn part(&mut self, item: &[u8]) -> Part {
        if item.len() <= PACKED_MAX_BYTES { Part::Packed(item.len()) } else { self.long.insert(item) }
    }

    fn append(
        &mut self,
        hash: u32,
        [name_part, value_part]: [Part; 2],
        name: &[u8],
        value: &[u8],
    ) -> Address {
        let mut record = SmallVec::new();
        name_part.encode(&mut record);
        value_part.encode(&mut record);
        match name_part {
            Part::Packed(_) => record.extend_from_slice(name),
            Part::Long(_) => record.extend_from_slice(&hash.to_le_bytes()),
        }
        if let Part::Packed(_) = value_part {
            record.extend_from_slice(value);
        }
        self.arena.append(&record)
    }

    fn replace_value(&mut self, number: u32, name: &[u8], value: &[u8]) {
        let entry = self.entries[number as usize];
        let record = Record::read(self.arena.from(entry.address()));
        match record.value {
            Part::Long(long) if value.len() > PACKED_MAX_BYTES => self.long.replace(long, value),
            Part::Packed(length) if length == value.len() => {
                self.arena.overwrite(entry.address(), record.value_at(), value);
            }
            old => {
                self.long.remove(old);
                let value_part = self.part(value);
                let address = self.append(entry.hash(), [record.name, value_part], name, value);
                self.entries[number as usize] = Entry::new(entry.hash(), address);
                self.release(entry.address(), record.len());
            }
        }
    }

    /// A record is not needed any more, and no entry has its address. Returns how many others had to be
    /// looked up.
    fn release(&mut self, address: Address, record_bytes: usize) -> usize {
        if self.arena.release(address, record_bytes) { self.take_out(address.chunk) } else { 0 }
    }

    /// Appends what lives in a chunk again, and gives the chunk back. Returns how many records were in it.
    fn take_out(&mut self, chunk: u32) -> usize {
        let bytes = self.arena.take(chunk);
        let (mut at, mut records) = (0, 0);
        while at < bytes.len() {
            let record = Record::read(&bytes[at..]);
            let end = at + record.len();
            let name = &bytes[at..][record.name_at..record.value_at()];
            let hash = match (record.name, name.try_into()) {
                (Part::Long(_), Ok(hash)) => u32::from_le_bytes(hash),
                _ => self.hash(name),
            };
            // A record begins within the chunk.
            let address = Address { chunk, offset: at as u16 };
            let owner = self.index.find(spread(hash), |&number| {
                let entry = self.entries[number as usize];
                entry.hash() == hash && entry.address() == address
            });
            if let Some(&number) = owner {
                let address = self.arena.append(&bytes[at..end]);
                self.entries[number as usize] = Entry::new(hash, address);
            }
            at = end;
            records += 1;
        }
        records
    }

    pub fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) -> Option<Option<u64>> {
        let number = self.find(self.hash(name), name)?;
        let old_ms = self.deadlines.pages.deadline_ms(number);
        self.deadlines.set(number, old_ms, deadline_ms);
        Some(old_ms)
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Option<u64>> {
        let number = self.find(self.hash(name), name)?;
        let old_ms = self.deadlines.pages.deadline_ms(number);
        self.remove_number(number);
        Some(old_ms)
    }

    /// Returns how many records had to be looked up for it.
    fn remove_number(&mut self, number: u32) -> usize {
        let old_ms = self.deadlines.pages.deadline_ms(number);
        self.deadlines.set(number, old_ms, None);
        let last = (self.entries.len() - 1) as u32;
        let entry = self.entries.swap_remove(number as usize);
        if let Ok(place) = self.index.find_entry(spread(entry.hash()), |&it| it == number) {
            place.remove();
        }
        if number != last {
            let moved = self.entries[number as usize];
            if let Some(place) = self.index.find_mut(spread(moved.hash()), |&it| it == last) {
                *place = number;
            }
            self.deadlines.renumber(last, number);
        }
        let record = Record::read(self.arena.from(entry.address()));
        self.long.remove(record.name);
        self.long.remove(record.value);
        self.shrink();
        self.release(entry.address(), record.len())
    }

    /// Gives memory back when most of it is unused; the order stays as it is.
    fn shrink(&mut self) {
        let (len, capacity) = (self.entries.len(), self.entries.capacity());
        if capacity > SHRINK_MIN_FIELDS && len < capacity / SHRINK_DIVISOR {
            let entries = &mut self.entries;
            entries.shrink_to(len * 2);
            self.index.shrink_to(len * 2, |&number| spread(entries[number as usize].hash()));
            let pages = &mut self.deadlines.pages.pages;
            pages.truncate(len.div_ceil(PAGE_LINKS));
            pages.shrink_to(2 * pages.len());
        }
    }

    pub fn reclaim(&mut self, now_ms: u64, steps: &mut usize, reclaimed: &mut Vec<Bytes>) {
        loop {
            let Deadlines { pages, wheel } = &mut self.deadlines;
            let Some(number) = wheel.first_due(pages, now_ms, steps) else { return };
            reclaimed.extend(self.get_index(number as usize).map(|field| field.name.to_bytes()));
            *steps = steps.saturating_sub(self.remove_number(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a long name costs is paid by who says it, not by whoever closes a gap beside its record.
    #[test]
    fn records_of_long_names_are_moved_without_hashing_the_names() {
        let mut table = Table::default();
        let name = |number: u8| vec![number; PACKED_MAX_BYTES + 1];
        for number in 0..20 {
            _ = table.insert(&name(number), &[number], None, HASH_MAX_FIELDS);
        }
        for number in (0..20).step_by(2) {
            _ = table.insert(&name(number), b"another length", None, HASH_MAX_FIELDS);
        }
        // By this hasher, no name would be found.
        let hasher = std::mem::take(&mut table.hasher);
        assert_eq!(table.take_out(0), 30);
        table.hasher = hasher;
        for number in 0..20 {
            let field = table.get(&name(number)).expect("it was inserted");
            let value: &[u8] = if number % 2 == 0 { b"another length" } else { &[number] };
            assert_eq!(&*field.value, value);
        }
    }
}
