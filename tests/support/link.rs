//! The network between a replica and its primary, in the test's hands.
//!
//! A [`Link`] listens on a port of its own and passes bytes on to the primary and back. It can be closed at
//! once, or armed to close after an exact number of bytes towards the replica, in the middle of whatever is
//! being sent. A closed link refuses connections until it is opened.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CHUNK_BYTES: usize = 16 << 10;

/// A link that can be cut.
pub struct Link {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    cut: Condvar,
    ending: AtomicBool,
    downstream_bytes: AtomicU64,
}

struct State {
    open: bool,
    cuts: u64,
    /// Bytes that may still go to the replica before the link closes.
    budget: Option<u64>,
    sockets: Vec<TcpStream>,
}

impl Link {
    /// An open link to `upstream`.
    pub fn to(upstream: SocketAddr) -> Link {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::new(State { open: true, cuts: 0, budget: None, sockets: Vec::new() }),
            cut: Condvar::new(),
            ending: AtomicBool::new(false),
            downstream_bytes: AtomicU64::new(0),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.accept(&listener))
        };
        Link { port, shared, acceptor: Some(acceptor) }
    }

    /// Where the replica finds its primary.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes the link now.
    pub fn close(&self) {
        self.shared.close(&mut self.shared.lock());
    }

    /// Closes the link once exactly `bytes` more have gone to the replica.
    pub fn close_after(&self, bytes: u64) {
        self.shared.lock().budget = Some(bytes);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.shared.lock().open = true;
    }

    /// How often the link was closed.
    pub fn cuts(&self) -> u64 {
        self.shared.lock().cuts
    }

    /// Bytes that went to the replica.
    pub fn downstream_bytes(&self) -> u64 {
        self.shared.downstream_bytes.load(Ordering::Relaxed)
    }

    /// Waits until the link is closed.
    #[track_caller]
    pub fn wait_closed(&self, within: Duration) {
        let (state, timeout) = self
            .shared
            .cut
            .wait_timeout_while(self.shared.lock(), within, |state| state.open)
            .expect("no user of the lock panics");
        assert!(
            !timeout.timed_out(),
            "the link was not cut within {within:?}; {:?} bytes to go",
            state.budget
        );
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        self.close();
        // Wakes the acceptor.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no user of the lock panics")
    }

    fn close(&self, state: &mut State) {
        state.open = false;
        state.budget = None;
        state.cuts += 1;
        for socket in state.sockets.drain(..) {
            // Fails if the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.cut.notify_all();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for replica in listener.incoming() {
            if self.ending.load(Ordering::Acquire) {
                return;
            }
            // A connection that fails here is one that the replica sees fail.
            if let Ok(replica) = replica {
                let _ = self.connect(replica);
            }
        }
    }

    fn connect(self: &Arc<Self>, replica: TcpStream) -> io::Result<()> {
        let mut state = self.lock();
        if !state.open {
            return Ok(());
        }
        let primary = TcpStream::connect(self.upstream)?;
        primary.set_nodelay(true)?;
        replica.set_nodelay(true)?;
        state.sockets.extend([replica.try_clone()?, primary.try_clone()?]);
        let (from_primary, to_replica) = (primary.try_clone()?, replica.try_clone()?);
        let shared = Arc::clone(self);
        thread::spawn(move || {
            let _ = shared.pump_downstream(&from_primary, &to_replica);
            let _ = from_primary.shutdown(Shutdown::Both);
            let _ = to_replica.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            let _ = io::copy(&mut &replica, &mut &primary);
            let _ = primary.shutdown(Shutdown::Both);
            let _ = replica.shutdown(Shutdown::Both);
        });
        Ok(())
    }

    fn pump_downstream(&self, mut primary: &TcpStream, mut replica: &TcpStream) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let len = primary.read(&mut chunk)?;
            if len == 0 {
                return Ok(());
            }
            let budget = self.lock().budget;
            let pass = budget.map_or(len, |budget| len.min(usize::try_from(budget).unwrap_or(usize::MAX)));
            replica.write_all(&chunk[..pass])?;
            self.downstream_bytes.fetch_add(pass as u64, Ordering::Relaxed);
            let mut state = self.lock();
            if let Some(budget) = budget {
                let left = budget - pass as u64;
                state.budget = Some(left);
                if left == 0 {
                    self.close(&mut state);
                    return Ok(());
                }
            }
        }
    }
}
