#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| replcore_proofs::bytes::replica(data));
