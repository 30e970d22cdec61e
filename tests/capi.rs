//! The C interface, from C: `examples/primary.c` serves a real Valkey replica, `tests/capi/uses.c` does what no primary does, and
//! both do it under valgrind too, in tests of their own that a machine without valgrind leaves out and CI runs. The header is what
//! the code says.
//!
//! The static library is built as its users build it, without the embedded server, into `target/capi`.
#![cfg(all(feature = "server", unix))]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use replcore::resp::Reply;

use support::client::{Client, argv};
use support::{Program, Scratch, Server, wait_link_up, wait_until};

/// Valgrind makes a program some twenty times slower, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// What valgrind ends with if it found something.
const FOUND: &str = "99";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command that has to succeed.
#[track_caller]
fn run(command: &mut Command, missing: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}\n{missing}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// `libreplcore.a`, as `cargo cbuild` would make it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("capi");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(root()).args(["rustc", "--quiet", "--lib", "--crate-type", "staticlib"]);
        cargo.args(["--no-default-features", "--features", "capi", "--target-dir"]).arg(&target);
        run(&mut cargo, "cargo builds the library");
        target.join("debug/libreplcore.a")
    })
}

/// Compiles a program against the header and the library.
fn compile(source: &str) -> Compiled {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("capi-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut cc = Command::new("cc");
    cc.args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-std=c11", "-g", "-I"])
        .arg(root().join("include"));
    cc.arg(root().join(source)).arg(library()).args(["-lpthread", "-ldl", "-lm", "-o"]).arg(&program);
    run(
        &mut cc,
        "This test compiles C and is never skipped: it needs a C compiler named cc (Debian: gcc, libc6-dev).",
    );
    Compiled(program)
}

/// A program of ours, on its own or under valgrind. Its file goes with this.
struct Compiled(PathBuf);

impl Compiled {
    fn command(&self, valgrind: bool) -> Command {
        if !valgrind {
            return Command::new(&self.0);
        }
        let missing =
            "This test looks for errors of memory: it needs valgrind (Debian: apt-get install valgrind).";
        run(Command::new("valgrind").arg("--version"), missing);
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--leak-check=full"]).arg(format!("--error-exitcode={FOUND}"));
        // What is still reachable is the node of `arc-swap` for each thread that there was.
        command.arg("--errors-for-leak-kinds=definite,indirect,possible").arg(&self.0);
        command
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// `UPDATE_HEADER=1` writes it instead.
#[test]
fn the_header_is_what_the_code_says() {
    let config =
        cbindgen::Config::from_file(root().join("cbindgen.toml")).expect("cbindgen.toml can be read");
    let builder = cbindgen::Builder::new().with_config(config).with_src(root().join("src/capi/mod.rs"));
    let mut made = Vec::new();
    builder.generate().expect("the interface can be said in C").write(&mut made);
    let header = root().join("include/replcore.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        fs::write(&header, &made).expect("the repository can be written");
    }
    let committed = fs::read(&header).expect("include/replcore.h is there");
    let advice = "UPDATE_HEADER=1 cargo test --test capi renews it";
    assert!(committed == made, "include/replcore.h is not what src/capi says: {advice}");
}

#[test]
fn uses_and_misuses_give_what_they_should() {
    let uses = compile("tests/capi/uses.c");
    assert_eq!(run(&mut uses.command(false), ""), "done\n");
}

#[test]
#[ignore = "it needs valgrind: `.ci/run capi`"]
fn uses_and_misuses_are_clean_under_valgrind() {
    let uses = compile("tests/capi/uses.c");
    assert_eq!(run(uses.command(true).arg("200"), ""), "done\n");
}

/// `examples/primary.c`, running. Killed when dropped.
struct Primary {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
}

impl Primary {
    fn start(compiled: &Compiled, valgrind: bool) -> Primary {
        let mut command = compiled.command(valgrind);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let commands = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut primary = Primary { child, commands, answers, port: 0 };
        let line = primary.answer();
        primary.port =
            line.strip_prefix("port ").and_then(|port| port.parse().ok()).expect("it tells its port");
        primary
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.commands, "{command}").expect("it listens");
        self.answer()
    }

    /// Publishes; the answer is the offset behind it.
    #[track_caller]
    fn publish(&mut self, command: &str) -> u64 {
        let answer = self.ask(command);
        answer.parse().unwrap_or_else(|_| panic!("{command}: {answer}"))
    }

    fn quit(mut self) {
        writeln!(self.commands, "quit").expect("it listens");
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success(), "it ended with {status}: {FOUND} is what valgrind found, see above");
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        // Fails if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn wait_applied(replica: &Server, offset: u64) {
    let mut client = replica.client();
    wait_until(&format!("the replica has applied {offset} bytes"), PATIENCE, || {
        match client.info_section("replication").get("slave_repl_offset").map(str::to_owned) {
            Some(applied) if applied == offset.to_string() => Ok(()),
            seen => Err(format!("{seen:?}")),
        }
    });
}

#[track_caller]
fn assert_value(client: &mut Client, key: &str, expected: Option<&str>) {
    let expected = expected.map_or(Reply::Null, |value| Reply::Bulk(value.to_owned().into()));
    assert_eq!(client.call(argv!["GET", key]), expected, "{key}");
}

fn serve_a_valkey_replica(valgrind: bool) {
    let scratch = Scratch::new("capi");
    let compiled = compile("examples/primary.c");
    let mut primary = Primary::start(&compiled, valgrind);
    primary.publish("SET before 1");
    primary.publish("SET lasting x PX 1000000");
    let replica = Server::start(Program::Valkey, "replica", &scratch);
    let mut client = replica.client();
    client.call(argv!["REPLICAOF", "127.0.0.1", primary.port]);
    wait_link_up(&replica, PATIENCE);

    // What the snapshot brought.
    assert_value(&mut client, "before", Some("1"));
    let deadline_ms = client.call_integer(argv!["PEXPIRETIME", "lasting"]);
    assert!(deadline_ms > 0, "{deadline_ms}");

    // What the stream brings.
    primary.publish("SET during 2");
    let end = primary.publish("SET short 3 PX 2000000");
    wait_applied(&replica, end);
    assert_value(&mut client, "during", Some("2"));
    let later_ms = client.call_integer(argv!["PEXPIRETIME", "short"]);
    assert!(later_ms > deadline_ms, "{later_ms}, {deadline_ms}");

    // What was written while the replica was away, without a snapshot.
    assert_eq!(primary.ask("cut"), "cut");
    primary.publish("DEL before during");
    let end = primary.publish("SET away 4");
    wait_applied(&replica, end);
    assert_value(&mut client, "before", None);
    assert_value(&mut client, "during", None);
    assert_value(&mut client, "away", Some("4"));
    assert_eq!((replica.full_resyncs_logged(), replica.partial_resyncs_logged()), (1, 1));

    wait_until("the replica has acknowledged", PATIENCE, || match primary.ask("acked").as_str() {
        "1" => Ok(()),
        seen => Err(seen.to_owned()),
    });
    assert!(primary.ask("GET away").starts_with("error: "));
    primary.quit();
}

#[test]
fn the_example_serves_a_valkey_replica() {
    serve_a_valkey_replica(false);
}

#[test]
#[ignore = "it needs valgrind: `.ci/run capi`"]
fn the_example_serves_a_valkey_replica_under_valgrind() {
    serve_a_valkey_replica(true);
}
