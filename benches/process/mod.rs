//! What the system knows of a server's process.

// Every benchmark uses its part of this.
#![allow(dead_code)]

use std::time::Duration;

use crate::support::Server;

/// A server's process.
pub struct Process(u64);

impl Process {
    pub fn of(server: &Server) -> Process {
        Process(server.info().number("process_id"))
    }

    /// Time on a core, of all its threads, in user mode and in the system.
    pub fn cpu(&self) -> Duration {
        let stat = self.read("stat");
        // The name in parentheses may contain spaces.
        let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
        let ticks = |index: usize| fields.split_whitespace().nth(index).and_then(|text| text.parse().ok());
        let ticks: u64 = [11, 12].into_iter().map(|index| ticks(index).unwrap_or(0)).sum();
        Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Memory that is in use by it at the moment, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let pages = self.read("statm").split_whitespace().nth(1).and_then(|text| text.parse().ok());
        pages.unwrap_or(0) * rustix::param::page_size() as u64
    }

    /// The most memory that was ever in use by it, in bytes.
    pub fn peak_resident_bytes(&self) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }

    fn read(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.0);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}
