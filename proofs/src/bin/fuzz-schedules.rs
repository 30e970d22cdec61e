//! `cargo fuzz-schedules`: fuzzes the schedules of the replication buffer under weak memory.
//!
//! The shipped code runs on atomics that keep a history of stores, so this program is built with
//! `--cfg replcore_fuzz`, in a target directory of its own; the alias `cargo fuzz-schedules` does both.

#[cfg(replcore_fuzz)]
fn main() -> std::process::ExitCode {
    replcore_proofs::schedules::command::main()
}

#[cfg(not(replcore_fuzz))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "fuzz-schedules: this program was built without `--cfg replcore_fuzz`, so there is nothing to fuzz.\n\
         Run it as `cargo fuzz-schedules`; if RUSTFLAGS is set, add `--cfg replcore_fuzz` to it or unset it."
    );
    std::process::ExitCode::from(2)
}
