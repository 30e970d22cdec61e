//! The hash and what a user would put together instead, behind one face.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use replcore::hash_ttl::{Hash, Moment};

use crate::indexes::Order;

/// A hash whose fields may have a deadline.
pub trait Fields {
    const NAME: &'static str;
    fn new(now_ms: u64) -> Self;
    fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>);
    fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>);
    fn remove(&mut self, name: &[u8]);
    /// The value's length, unless the field is dead.
    fn get(&self, name: &[u8], now_ms: u64) -> Option<usize>;
    /// Removes the fields with a deadline before `now_ms`. Who reclaims needs their names: returns how many
    /// bytes these had.
    fn reclaim(&mut self, now_ms: u64) -> usize;
    fn len(&self) -> usize;
}

/// The product.
pub struct Product {
    hash: Hash,
    reclaimed: Vec<Bytes>,
}

impl Fields for Product {
    const NAME: &'static str = "replcore";

    fn new(_: u64) -> Self {
        Product { hash: Hash::new(), reclaimed: Vec::new() }
    }

    fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>) {
        self.hash.insert(name, value, deadline_ms);
    }

    fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) {
        self.hash.set_deadline(name, deadline_ms);
    }

    fn remove(&mut self, name: &[u8]) {
        self.hash.remove(name);
    }

    fn get(&self, name: &[u8], now_ms: u64) -> Option<usize> {
        self.hash.get(name, Moment::primary(now_ms)).map(|field| field.value.len())
    }

    fn reclaim(&mut self, now_ms: u64) -> usize {
        let mut steps = usize::MAX;
        self.hash.reclaim(now_ms, &mut steps, &mut self.reclaimed);
        self.reclaimed.drain(..).map(|name| name.len()).sum()
    }

    fn len(&self) -> usize {
        self.hash.len()
    }
}

struct Stored {
    value: Box<[u8]>,
    deadline_ms: Option<u64>,
}

/// A `HashMap` with the hasher that the product has, and a peer's order of the names, which both share.
pub struct Mapped<I> {
    fields: HashMap<Arc<[u8]>, Stored, foldhash::fast::RandomState>,
    order: I,
}

impl<I: Order<Arc<[u8]>>> Mapped<I> {
    fn tidy(&mut self) {
        self.order.tidy(|name| self.fields.get(name).and_then(|stored| stored.deadline_ms));
    }

    fn reorder(&mut self, name: Arc<[u8]>, old_ms: Option<u64>, new_ms: Option<u64>) {
        if old_ms == new_ms {
            return;
        }
        if let Some(old_ms) = old_ms {
            self.order.remove(&name, old_ms);
        }
        if let Some(new_ms) = new_ms {
            self.order.insert(name, new_ms);
        }
        self.tidy();
    }
}

impl<I: Order<Arc<[u8]>>> Fields for Mapped<I> {
    const NAME: &'static str = I::NAME;

    fn new(now_ms: u64) -> Self {
        Mapped { fields: HashMap::default(), order: I::new(now_ms) }
    }

    fn insert(&mut self, name: &[u8], value: &[u8], deadline_ms: Option<u64>) {
        let name: Arc<[u8]> = name.into();
        let stored = Stored { value: value.into(), deadline_ms };
        let old = self.fields.insert(Arc::clone(&name), stored);
        self.reorder(name, old.and_then(|old| old.deadline_ms), deadline_ms);
    }

    fn set_deadline(&mut self, name: &[u8], deadline_ms: Option<u64>) {
        let Some((name, _)) = self.fields.get_key_value(name) else { return };
        let name = Arc::clone(name);
        let Some(stored) = self.fields.get_mut(&name) else { return };
        let old_ms = std::mem::replace(&mut stored.deadline_ms, deadline_ms);
        self.reorder(name, old_ms, deadline_ms);
    }

    fn remove(&mut self, name: &[u8]) {
        let Some((name, stored)) = self.fields.remove_entry(name) else { return };
        self.reorder(name, stored.deadline_ms, None);
    }

    fn get(&self, name: &[u8], now_ms: u64) -> Option<usize> {
        let stored = self.fields.get(name)?;
        let is_dead = stored.deadline_ms.is_some_and(|deadline_ms| now_ms > deadline_ms);
        (!is_dead).then_some(stored.value.len())
    }

    fn reclaim(&mut self, now_ms: u64) -> usize {
        let mut bytes = 0;
        while let Some((deadline_ms, name)) = self.order.pop_due(now_ms) {
            if self.fields.get(&name).is_some_and(|stored| stored.deadline_ms == Some(deadline_ms)) {
                self.fields.remove(&name);
                bytes += name.len();
            }
        }
        bytes
    }

    fn len(&self) -> usize {
        self.fields.len()
    }
}
