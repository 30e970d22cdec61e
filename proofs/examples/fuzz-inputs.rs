//! Writes what libFuzzer starts with: `DIR/NAME/seed-N` and `DIR/NAME.dict` for each target.
//!
//! `cargo run --package replcore-proofs --example fuzz-inputs -- DIR`

use std::io::{Error, Result, Write as _};
use std::path::Path;
use std::{env, fs};

use replcore_proofs::bytes::TARGETS;

fn main() -> Result<()> {
    let usage = || Error::other("usage: fuzz-inputs DIR");
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().filter(|_| arguments.next().is_none()).ok_or_else(usage)?;
    let directory = Path::new(&directory);
    for target in TARGETS {
        let seeds = directory.join(target.name);
        fs::create_dir_all(&seeds)?;
        for (index, seed) in (target.seeds)().into_iter().enumerate() {
            fs::write(seeds.join(format!("seed-{index:03}")), seed)?;
        }
        let mut dictionary = fs::File::create(directory.join(format!("{}.dict", target.name)))?;
        for word in target.dictionary {
            let escaped: String = word.iter().map(|byte| format!("\\x{byte:02x}")).collect();
            writeln!(dictionary, "\"{escaped}\"")?;
        }
    }
    Ok(())
}
