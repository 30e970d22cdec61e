//! Waiting for another thread: a lock, a future. Who waits is not among those that can go
//! on, so a wake-up that is lost shows as a deadlock; who is woken is after whoever woke.

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, LockResult, PoisonError};
use std::task::{Context, Wake, Waker};

use shuttle::sync;

use super::cell::HandedOn;
use super::execution::try_with;

/// As `std::sync::Mutex`.
#[derive(Debug)]
pub struct Mutex<T> {
    lock: sync::Mutex<T>,
    handed_on: HandedOn,
}

impl<T> Mutex<T> {
    /// Makes one that is free.
    pub fn new(value: T) -> Self {
        Self { lock: sync::Mutex::new(value), handed_on: HandedOn::default() }
    }

    /// Waits until it is free.
    ///
    /// # Errors
    /// Never: a panic has ended the execution.
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inner = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.handed_on.take();
        Ok(MutexGuard { inner: Some(inner), mutex: self })
    }
}

/// As `std::sync::MutexGuard`.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    /// There until it is dropped.
    inner: Option<sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("the guard is there")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("the guard is there")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.handed_on.give();
        drop(self.inner.take());
        // Who waited for it can go on.
        try_with(|state| state.can_run.forget());
    }
}

/// Wakes a thread that waits for a future.
struct Alarm {
    thread: Waker,
    handed_on: HandedOn,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.handed_on.give();
        self.thread.wake_by_ref();
        try_with(|state| state.can_run.forget());
    }
}

/// Waits for a future; it is polled when its waker was used, and not before.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut alarm = None;
    shuttle::future::block_on(poll_fn(|context| {
        let alarm = alarm.get_or_insert_with(|| {
            Arc::new(Alarm { thread: context.waker().clone(), handed_on: HandedOn::default() })
        });
        alarm.handed_on.take();
        future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(alarm))))
    }))
}
