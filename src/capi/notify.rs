//! What a waiting cursor wakes: a descriptor, a callback of the caller's, or both.
//!
//! A waker is shared by the cursor and by whoever is just waking it; nobody waits for the other (I8). So descriptor and
//! context outlive a cursor that was freed while it was being woken, until the waker is gone; `release` tells of that.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::Wake;

use super::replcore_release_fn;

/// Called when a cursor that waits has something to read, the stream has ended, or the cursor was evicted. From the thread that
/// appends, seals, evicts or frees: it should only tell another one, must not block, and gets BUSY from the handle that is in use.
pub type replcore_wake_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// The two ends of a descriptor that can be raised.
#[derive(Debug)]
pub(super) struct Signal {
    read: OwnedFd,
    /// The same as `read`, for an eventfd.
    write: Option<OwnedFd>,
}

impl Signal {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn new() -> io::Result<Self> {
        use rustix::event::{EventfdFlags, eventfd};
        Ok(Self { read: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?, write: None })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        rustix::io::ioctl_fionbio(&read, true)?;
        rustix::io::ioctl_fionbio(&write, true)?;
        Ok(Self { read: read.into(), write: Some(write.into()) })
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Makes it readable. If it is full it is that already.
    pub(super) fn raise(&self) {
        let one = 1_u64.to_ne_bytes();
        let _ = retry(|| rustix::io::write(self.write.as_ref().unwrap_or(&self.read).as_fd(), &one));
    }

    /// Makes it unreadable: an eventfd is empty after one read, a pipe when a read finds less than it has room for.
    pub(super) fn lower(&self) {
        let mut read = [0; 512];
        while retry(|| rustix::io::read(&self.read, &mut read)).is_ok_and(|len| len == read.len()) {}
    }
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> rustix::io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The caller's function and what it is called with.
#[derive(Debug)]
pub(super) struct Callback {
    pub(super) wake: replcore_wake_fn,
    pub(super) release: replcore_release_fn,
    pub(super) context: *mut c_void,
}

// SAFETY: who hands in a callback promises that both functions may be called with the context from any thread.
unsafe impl Send for Callback {}
// SAFETY: as above, and at the same time.
unsafe impl Sync for Callback {}

impl Drop for Callback {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the caller's function with the caller's context, called once, when nobody has it any more.
            unsafe { release(self.context) };
        }
    }
}

/// What is woken.
#[derive(Clone, Debug, Default)]
pub(super) struct Notify {
    pub(super) signal: Option<Arc<Signal>>,
    pub(super) callback: Option<Arc<Callback>>,
}

impl Wake for Notify {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(signal) = &self.signal {
            signal.raise();
        }
        if let Some(callback) = &self.callback
            && let Some(wake) = callback.wake
        {
            // SAFETY: the caller's function with the caller's context, which is not released yet: the reference says so.
            unsafe { wake(callback.context) };
        }
    }
}
