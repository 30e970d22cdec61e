//! `cargo fuzz-schedules`
#[cfg(replcore_fuzz)]
fn main() {
    let start = std::time::Instant::now();
    for shown in replcore_proofs::schedules::litmus::self_test() {
        println!("{} {:?} {} {:?} {:?}", shown.is_right(), start.elapsed(), shown.executions, shown.name, shown.seen);
    }
}
#[cfg(not(replcore_fuzz))]
fn main() {}
