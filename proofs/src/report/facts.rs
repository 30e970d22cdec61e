//! What a report rests on: the tools, the machine, and what is trusted.

use std::hash::Hasher;
use std::io::Read;
use std::path::Path;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The lock file of this build: which versions of the checkers are in it.
const LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock"));

/// Packages whose versions a report gives: the checkers, and what stands in the trusted base.
const TOOLS: [&str; 6] = ["loom", "stateright", "proptest", "crossbeam-epoch", "arc-swap", "bytes"];

/// What is believed and not proven, each with the reason.
const TRUSTED: [&str; 7] = [
    "loom explores by a reduction that misses interleavings (tokio-rs/loom#166, #392); a shadow word beside each atomic, \
     touched before each access, makes every pair of accesses visible to it, and the self-test fails without it",
    "loom explores no load buffering, treats SeqCst accesses as AcqRel (the buffer has none; its fences are modelled), and \
     keeps the seven newest stores of an atomic",
    "crossbeam-epoch keeps its contract: in the models an adversary stands in for it, which frees at the first moment that \
     the contract allows and orders nothing that the contract does not; few and small ones run on the real one too",
    "arc-swap (the list of eras, the inside of the shared history) and bytes (the counts of shared payload) are invisible to loom",
    "a model has two to four threads with one or two operations each; larger ones are sampled",
    "the proof without bounds is about a transition system written beside the code, under sequential consistency; z3 and cvc5 \
     have to agree on it, and nothing yet checks that the shipped code takes its steps alone",
    "the compiler translates the Rust memory model as it says",
];

/// What a report rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// When the run began: RFC 3339, UTC.
    pub date: String,
    /// The tier, or what was asked for instead.
    pub tier: String,
    /// The command line, without the program.
    pub arguments: Vec<String>,
    /// The compiler.
    pub rustc: String,
    /// Names and versions of the checkers and of what is trusted.
    pub tools: Vec<Tool>,
    /// Cores that the machine gives.
    pub cores: usize,
    /// The system and the processor's kind.
    pub system: String,
    /// Names the build: two programs with the same number are the same program.
    pub build: String,
    /// What is believed and not proven.
    pub trusted: Vec<String>,
}

/// A package and its version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The package.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Facts {
    /// Those of this build and machine, now.
    ///
    /// # Errors
    /// If the program cannot read itself.
    pub fn gather(tier: &str) -> Result<Self, String> {
        let date = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now());
        Ok(Self {
            date: date.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            tier: tier.to_owned(),
            arguments: std::env::args().skip(1).collect(),
            rustc: env!("PROVE_RUSTC").to_owned(),
            tools: TOOLS.iter().filter_map(|name| tool(name)).collect(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            build: build_of_this_program()?,
            trusted: TRUSTED.iter().map(ToString::to_string).collect(),
        })
    }
}

/// The version of a package in the lock file.
fn tool(name: &str) -> Option<Tool> {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let at = LOCK.find(&entry)? + entry.len();
    let version = LOCK[at..].split('"').next()?;
    Some(Tool { name: name.to_owned(), version: version.to_owned() })
}

/// A number of the running program: its bytes, hashed.
///
/// # Errors
/// If the program cannot read itself.
pub fn build_of_this_program() -> Result<String, String> {
    // Once: the file may be built anew while the program runs.
    static BUILD: OnceLock<Result<String, String>> = OnceLock::new();
    let build = BUILD.get_or_init(|| {
        let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
        build_of(&program)
    });
    build.clone()
}

fn build_of(program: &Path) -> Result<String, String> {
    let name = program.display();
    let mut file = std::fs::File::open(program).map_err(|error| format!("{name}: {error}"))?;
    let mut hasher = std::hash::DefaultHasher::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk).map_err(|error| format!("{name}: {error}"))? {
            0 => return Ok(format!("{:016x}", hasher.finish())),
            len => hasher.write(&chunk[..len]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_are_those_of_the_lock_file() {
        for name in TOOLS {
            let tool = tool(name).unwrap_or_else(|| panic!("{name} is in no lock file"));
            assert!(tool.version.starts_with(|first: char| first.is_ascii_digit()), "{tool:?}");
        }
        assert_eq!(tool("no-such-package"), None);
    }

    #[test]
    fn a_build_is_known_by_its_bytes() {
        let files = [("one", "abc"), ("same", "abc"), ("other", "abd")].map(|(name, text)| {
            let file = std::env::temp_dir().join(format!("replcore-build-{}-{name}", std::process::id()));
            std::fs::write(&file, text).expect("a temporary file");
            file
        });
        let [one, same, other] = [0, 1, 2].map(|at| build_of(&files[at]).expect("readable"));
        assert_eq!(one, same);
        assert_ne!(one, other);
        for file in files {
            std::fs::remove_file(file).expect("it was made above");
        }
    }
}
