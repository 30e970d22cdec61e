//! The link between the two servers, in the hunt's hands.
//!
//! A [`Link`] listens on a port of its own, which the replica is told to be its primary's, and passes bytes
//! on in both directions. What goes to the replica can be held back, delivered late, or lost with its
//! connection. What comes from the replica (acknowledgements) always passes. Held bytes wait where they are,
//! so the primary sees a slow replica and nothing else.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::error::HuntError;

const CHUNK_BYTES: usize = 16 << 10;

/// A proxy that can hold, delay and cut.
pub(super) struct Link {
    address: SocketAddr,
    control: Arc<Control>,
}

struct Control {
    upstream: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    held: bool,
    delay_ms: u16,
    /// Both ends of every connection.
    sockets: Vec<TcpStream>,
}

impl Link {
    /// A link to `upstream` that listens on `host`, on a port of the system's choice.
    pub fn to(upstream: SocketAddr, host: &str) -> Result<Link, HuntError> {
        let failed = |source| HuntError::Link { host: host.to_owned(), source };
        let listener = TcpListener::bind((host, 0)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let control = Arc::new(Control {
            upstream,
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        let acceptor = Arc::clone(&control);
        thread::spawn(move || acceptor.accept(&listener));
        Ok(Link { address, control })
    }

    /// The port that stands for the primary.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Holds back what goes to the replica, or lets it go.
    pub fn hold(&self, held: bool) {
        self.control.state.lock().held = held;
        self.control.changed.notify_all();
    }

    /// Delivers each piece up to `delay_ms` late.
    pub fn delay(&self, delay_ms: u16) {
        self.control.state.lock().delay_ms = delay_ms;
        self.control.changed.notify_all();
    }

    /// Breaks every connection; what was held is lost.
    pub fn cut(&self) {
        for socket in self.control.state.lock().sockets.drain(..) {
            // Fails if the peer was faster.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.control.changed.notify_all();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.control.ended.store(true, Ordering::Release);
        self.hold(false);
        self.cut();
        // Wakes the acceptor.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Control {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for (connection, replica) in listener.incoming().enumerate() {
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            // A connection that fails here is one that the replica sees fail, and tries again.
            if let Ok(replica) = replica {
                let _ = self.connect(replica, connection as u64);
            }
        }
    }

    fn connect(self: &Arc<Self>, replica: TcpStream, connection: u64) -> io::Result<()> {
        let primary = TcpStream::connect(self.upstream)?;
        primary.set_nodelay(true)?;
        replica.set_nodelay(true)?;
        self.state.lock().sockets.extend([replica.try_clone()?, primary.try_clone()?]);
        let (from_primary, to_replica) = (primary.try_clone()?, replica.try_clone()?);
        let control = Arc::clone(self);
        thread::spawn(move || {
            let _ = control.pump(&from_primary, &to_replica, connection);
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

    fn pump(&self, mut primary: &TcpStream, mut replica: &TcpStream, connection: u64) -> io::Result<()> {
        let mut lateness = StdRng::seed_from_u64(connection);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let len = primary.read(&mut chunk)?;
            if len == 0 {
                return Ok(());
            }
            self.wait_to_deliver(&mut lateness);
            replica.write_all(&chunk[..len])?;
        }
    }

    fn wait_to_deliver(&self, lateness: &mut StdRng) {
        let mut state = self.state.lock();
        if state.delay_ms > 0 {
            let until =
                Instant::now() + Duration::from_millis(lateness.random_range(0..=state.delay_ms).into());
            while state.delay_ms > 0 && !self.changed.wait_until(&mut state, until).timed_out() {}
        }
        while state.held && !self.ended.load(Ordering::Acquire) {
            self.changed.wait(&mut state);
        }
    }
}
