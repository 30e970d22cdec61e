//! `cargo prove`: runs the proofs of the replication core and says what they showed.
//!
//! The models run the shipped code under loom, so this program is built with
//! `--cfg replcore_loom`, in a target directory of its own; the alias `cargo prove` does both.

#[cfg(replcore_loom)]
mod check;
#[cfg(replcore_loom)]
mod explore;
#[cfg(replcore_loom)]
mod model;
#[cfg(replcore_loom)]
mod models;
#[cfg(replcore_loom)]
mod protocol;
#[cfg(replcore_loom)]
mod prove;

#[cfg(replcore_loom)]
fn main() -> std::process::ExitCode {
    prove::main()
}

#[cfg(not(replcore_loom))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "prove: this program was built without `--cfg replcore_loom`, so there is nothing to prove with.\n\
         Run it as `cargo prove`; if RUSTFLAGS is set, add `--cfg replcore_loom` to it or unset it."
    );
    std::process::ExitCode::from(2)
}
