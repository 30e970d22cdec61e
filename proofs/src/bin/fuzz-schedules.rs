//! `cargo fuzz-schedules`
#[cfg(replcore_fuzz)]
fn main() {
    use replcore_proofs::schedules::*;
    let args: Vec<String> = std::env::args().collect();
    let seed: u64 = args[1].parse().unwrap();
    let n: u64 = args[2].parse().unwrap();
    if let Some(m) = args.get(3) {
        match m.split_once('=') {
            Some((r, o)) => assert!(replcore::buffer::model::weaken(
                r,
                match o {
                    "Relaxed" => std::sync::atomic::Ordering::Relaxed,
                    "AcqRel" => std::sync::atomic::Ordering::AcqRel,
                    _ => panic!(),
                }
            )),
            None => assert!(replcore::buffer::model::inject(m)),
        }
    }
    let start = std::time::Instant::now();
    let o = campaign::campaign(
        Box::new(strategy::Random::new(seed)),
        generate::Size { threads: 4, operations: 40 },
        seed,
        campaign::Limits { executions: Some(n), duration: None },
        |_| (),
    );
    println!("{:?} {:?}", start.elapsed(), o.counts);
    if let Some(f) = o.finding {
        println!("{:?}\n{:?}", f.failure, f.program);
    }
}
#[cfg(not(replcore_fuzz))]
fn main() {}
