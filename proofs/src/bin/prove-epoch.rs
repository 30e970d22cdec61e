//! `cargo prove-epoch`: the retire path on the real `crossbeam-epoch`.
//!
//! Built with `--cfg replcore_loom --cfg crossbeam_loom`, in a target directory of its own; the alias does
//! it.

#[cfg(all(replcore_loom, crossbeam_loom))]
fn main() -> std::process::ExitCode {
    replcore_proofs::real_epoch::main()
}

#[cfg(not(all(replcore_loom, crossbeam_loom)))]
fn main() -> std::process::ExitCode {
    eprintln!(
        "prove-epoch: this program was built without `--cfg replcore_loom --cfg crossbeam_loom`, so there is nothing \
         to prove with.\nRun it as `cargo prove-epoch`; if RUSTFLAGS is set, add them to it or unset it."
    );
    std::process::ExitCode::from(2)
}
