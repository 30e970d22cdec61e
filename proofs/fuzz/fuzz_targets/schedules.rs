#![no_main]

#[cfg(replcore_fuzz)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| replcore_proofs::schedules::run_bytes(data));

// The atomics that keep a history of stores are there with their flag alone.
#[cfg(not(replcore_fuzz))]
libfuzzer_sys::fuzz_target!(|_data: &[u8]| {
    eprintln!("schedules: this target was built without `--cfg replcore_fuzz`; set RUSTFLAGS='--cfg replcore_fuzz'.");
    std::process::exit(2);
});
