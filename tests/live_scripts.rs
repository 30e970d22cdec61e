//! Lua scripts: the same ones to this server and to a real Valkey 9.1.2. What they answer, what they propagate,
//! what others are told meanwhile; and a real replica stays equal, whatever scripts do with time and chance.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use replcore::resp::Reply;

use support::client::{Argv, argv};
use support::keyspace::assert_converged;
use support::stream::Recorder;
use support::{Client, Program, Scratch, Server, attach, note, seed, wait_caught_up, wait_until};

/// No reply takes longer.
const SOON: Duration = Duration::from_secs(20);

/// One script a line.
const ANSWERS: &str = include_str!("scripts/answers.lua");

fn scripts() -> impl Iterator<Item = String> {
    let lines = ANSWERS.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.map(|line| line.replace("\\~", "\n"))
}

/// The words of a line; those in quotes with escapes.
fn words(line: &str) -> Argv {
    let mut words = Argv::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let word;
        (word, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(Bytes::from(word.replace("\\n", "\n")));
        rest = rest.trim_start();
    }
    words
}

/// This server and Valkey.
struct Pair {
    servers: [Server; 2],
    clients: [Client; 2],
    differences: String,
}

impl Pair {
    fn start(scratch: &Scratch) -> Pair {
        let servers = [Program::primary(), Program::Valkey]
            .map(|program| Server::start(program, &format!("{program:?}"), scratch));
        let clients = servers.each_ref().map(Server::client);
        Pair { servers, clients, differences: String::new() }
    }

    /// Runs a command at both and notes a difference between the replies.
    fn compare(&mut self, argv: &Argv) {
        let [ours, theirs] = self.clients.each_mut().map(|client| client.try_call(argv).expect("an answer"));
        self.note(argv, &format!("{ours:?}"), &format!("{theirs:?}"));
    }

    fn note(&mut self, what: &Argv, ours: &str, theirs: &str) {
        if ours != theirs {
            let what: Vec<_> = what.iter().map(|word| String::from_utf8_lossy(word)).collect();
            self.differences.push_str(&format!("{}\n    {ours}\n    {theirs}   <- Valkey\n", what.join(" ")));
        }
    }

    #[track_caller]
    fn assert_equal(&self) {
        assert!(self.differences.is_empty(), "{}", self.differences);
    }
}

#[test]
fn scripts_answer_what_valkeys_answer() {
    let scratch = Scratch::new("scripts");
    let mut pair = Pair::start(&scratch);
    let mut count = 0;
    for protocol in ["2", "3"] {
        pair.clients.iter_mut().for_each(|client| {
            client.try_call(&argv!["HELLO", protocol]).expect("an answer");
            client.call(argv!["FLUSHALL"]);
        });
        for script in scripts() {
            pair.compare(&argv!["EVAL", script, 0]);
            count += 1;
        }
    }
    note!("{count} scripts compared");
    pair.assert_equal();
}

/// What stands around the scripts: arguments, the cache, first lines, transactions, settings.
const COMMANDS: &str = r##"
EVAL "return 1" x
EVAL "return 1" -1
EVAL "return 1" 1
EVAL "return 1"
EVAL "return {KEYS,ARGV,#KEYS,#ARGV}" 2 a b c
EVALSHA x 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff x
EVAL "return 1" 0
EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0
EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0
SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db E0E1F9FABFC9D4800C877A703B823AC0578FF8DB x
SCRIPT EXISTS
SCRIPT SHOW e0e1f9fabfc9d4800c877a703b823ac0578ff8db
SCRIPT SHOW x
SCRIPT LOAD "return 5"
SCRIPT LOAD "return 5"
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc379801 0
SCRIPT LOAD "return ("
SCRIPT LOAD
SCRIPT LOAD "#!foo\nx"
SCRIPT KILL
SCRIPT NOPE
SCRIPT FLUSH x
SCRIPT FLUSH sync x
SCRIPT FLUSH SYNC
SCRIPT EXISTS 4ca238f611c9d0ae4e9a75a5dbac22aedc379801
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc379801 0
SCRIPT FLUSH ASYNC
EVAL "#!lua\nreturn 1" 0
EVAL "#!LUA\nreturn 1" 0
EVAL "#!lua" 0
EVAL "#!\nreturn 1" 0
EVAL "#!js\nreturn 1" 0
EVAL "#!lua flags=foo\nx" 0
EVAL "#!lua foo=1\nx" 0
EVAL "#!lua flags=\nreturn 1" 0
EVAL "#!lua flags=no-writes,allow-stale\nreturn 1" 0
EVAL "#!lua\n\nreturn x" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('set','a','b')" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('get','a')" 0
EVAL_RO "return redis.call('set','a','b')" 0
EVAL_RO "return redis.call('publish','a','b')" 0
EVAL_RO "return redis.call('get','a')" 0
EVAL_RO "#!lua\nreturn 1" 0
EVAL_RO "#!lua flags=no-writes\nreturn 1" 0
EVAL_RO "#!lua flags=no-writes\nreturn redis.pcall('set','a','b')" 0
MULTI
EVAL "redis.call('set','k','v') return redis.call('get','k')" 0
GET k
EVAL "return redis.call('incr','k')" 0
EVAL "return redis.call('select',3)" 0
SET k2 v
SCRIPT EXISTS x
EXEC
GET k2
MULTI
EVAL "x" nokeys
EVAL
EXEC
EVAL "redis.call('select',3) redis.call('set','there','v') return redis.call('get','there')" 0
EXISTS there
SELECT 3
EXISTS there
SELECT 0
WATCH w
EVAL "return redis.call('set','w','v')" 0
MULTI
GET w
EXEC
CONFIG GET busy-reply-threshold
CONFIG GET lua-time-limit
CONFIG SET maxmemory 1
CONFIG SET maxmemory-policy noeviction
EVAL "return redis.call('set','m','v')" 0
EVAL "redis.call('del','m') return redis.call('set','m','v')" 0
EVAL "#!lua\nreturn 1" 0
EVAL "#!lua flags=allow-oom\nreturn redis.call('set','m','v')" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('get','m')" 0
EVAL "return redis.pcall('set','m','v')" 0
MULTI
EVAL "return redis.call('set','m','v')" 0
EXEC
CONFIG SET maxmemory 0
CONFIG SET min-replicas-to-write 1
EVAL "return redis.call('set','m','v')" 0
EVAL "return redis.call('get','m')" 0
EVAL "#!lua\nreturn 1" 0
EVAL "#!lua flags=no-writes\nreturn 1" 0
CONFIG SET min-replicas-to-write 0
EVAL "redis.call('rpush','l','a') return redis.call('blpop','l',0)" 0
EVAL "return redis.call('blpop','l',0)" 0
EVAL "return redis.call('wait',0,0)" 0
"##;

#[test]
fn the_commands_around_scripts_answer_what_valkeys_answer() {
    let scratch = Scratch::new("commands");
    let mut pair = Pair::start(&scratch);
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        pair.compare(&words(line));
    }
    for at in 0..600 {
        pair.compare(&argv!["EVAL", format!("return {at}"), 0]);
    }
    pair.compare(&argv!["SCRIPT", "EXISTS", "1fa00e76656cc152ad327c13fe365858fd7be306"]);
    let cached = pair.servers.each_ref().map(|server| server.info().number("number_of_cached_scripts"));
    let evicted = pair.servers.each_ref().map(|server| server.info().number("evicted_scripts"));
    pair.note(&argv!["cached"], &cached[0].to_string(), &cached[1].to_string());
    pair.note(&argv!["evicted"], &evicted[0].to_string(), &evicted[1].to_string());
    pair.assert_equal();
}

/// Scripts whose effects have the same form here as at Valkey's.
const EFFECTS: &[&str] = &[
    "return 1",
    "return redis.call('get','nothing')",
    "return redis.call('set','k','v')",
    "redis.call('set','k','v') redis.call('set','k2','v')",
    "redis.call('set','k','v') error('after')",
    "redis.pcall('lpush','k','v') redis.call('rpush','l','a','b') return redis.pcall('incr','l')",
    "redis.call('set','f','1') return redis.call('incrbyfloat','f',0.5)",
    "redis.call('sadd','s','a') return redis.call('spop','s')",
    "redis.call('select',2) redis.call('set','k','v') redis.call('select',0) return redis.call('del','k')",
    "redis.call('select',2) return redis.call('del','k')",
    "return redis.call('publish','c','m')",
    "redis.call('set','k',1.5) redis.call('set','k',100000000000000000)",
    "redis.call('rpush','l2','a') return redis.call('blpop','l2',0)",
    "for i=1,3 do redis.call('rpush','l3',i) end return redis.call('lrange','l3',0,-1)",
    "redis.call('hset','h','f','v') return redis.call('hincrbyfloat','h','n','0.1')",
    "redis.call('zadd','z',1.5,'a') return redis.call('zincrby','z',1,'a')",
    "redis.call('set','e','v') return redis.call('pexpireat','e',4000000000000)",
    "redis.call('set','e','v') return redis.call('pexpireat','e',1)",
    "redis.call('setrange','bin',3,'\\255\\0') return redis.call('flushall')",
];

#[test]
fn scripts_propagate_what_valkeys_propagate() {
    let scratch = Scratch::new("effects");
    let mut pair = Pair::start(&scratch);
    let mut recorders = pair.servers.each_ref().map(|server| Recorder::attach(server.address()));
    let mut compare = |pair: &mut Pair, commands: &[Argv]| {
        commands.iter().for_each(|argv| pair.compare(argv));
        let [ours, theirs] = recorders.each_mut().map(|recorder| format!("{:?}", recorder.take()));
        pair.note(commands.last().expect("a command"), &ours, &theirs);
    };
    for script in EFFECTS {
        compare(&mut pair, &[argv!["EVAL", *script, 0]]);
    }
    for script in EFFECTS {
        let transaction = [
            argv!["MULTI"],
            argv!["SET", "before", "v"],
            argv!["EVAL", *script, 0],
            argv!["SET", "after", "v"],
            argv!["EXEC"],
        ];
        compare(&mut pair, &transaction);
    }
    compare(&mut pair, &[argv!["SCRIPT", "LOAD", "return redis.call('set',KEYS[1],ARGV[1])"]]);
    let digest = "d8f2fad9f8e86a53d2a6ebd960b33c4972cacc37";
    compare(&mut pair, &[argv!["EVALSHA", digest, 1, "k", "v"]]);
    pair.assert_equal();
}

/// A statement of a random program. The numbers of keys are few, so that statements meet.
fn statement(rng: &mut StdRng) -> String {
    const STATEMENTS: &[&str] = &[
        "redis.call('set','s{n}','{n}')",
        "redis.call('set','s{n}','v','PX',{ms})",
        "redis.call('set','s{n}',redis.call('time')[2],'KEEPTTL')",
        "redis.pcall('incr','s{n}')",
        "redis.pcall('incrbyfloat','s{n}','0.1')",
        "redis.pcall('append','s{n}',math.random(9))",
        "redis.pcall('getex','s{n}','PX',{ms})",
        "redis.call('get','s{n}')",
        "if redis.call('exists','s{n}')==1 then redis.call('rename','s{n}','s{n}') end",
        "redis.call('pexpire','{t}{n}',{ms})",
        "redis.call('persist','{t}{n}')",
        "redis.call('del','{t}{n}')",
        "redis.pcall('lpush','l{n}',math.random(99),'x')",
        "redis.pcall('lmove','l{n}','l{n}','LEFT','RIGHT')",
        "redis.pcall('blpop','l{n}',0)",
        "redis.pcall('sadd','t{n}',math.random(9),math.random(9))",
        "redis.pcall('spop','t{n}',2)",
        "redis.pcall('sunionstore','t{n}','t{n}','t{n}')",
        "redis.pcall('hset','h{n}','f{n}',math.random())",
        "redis.pcall('hpexpire','h{n}',{ms},'FIELDS',1,'f{n}')",
        "redis.pcall('hsetex','h{n}','PX',{ms},'FIELDS',1,'f{n}','v')",
        "redis.pcall('hgetdel','h{n}','FIELDS',1,'f{n}')",
        "redis.pcall('hgetall','h{n}')",
        "redis.pcall('zadd','z{n}',math.random(),'m{n}')",
        "redis.pcall('zpopmin','z{n}')",
        "redis.call('select',{n})",
        "redis.call('randomkey')",
        "for _,k in ipairs(redis.call('keys','*')) do redis.call('touch',k) end",
        "pcall(function() redis.call('set','s{n}','x') error('x') end)",
        "do local u=os.clock()+0.002 while os.clock()<u do end end",
        "if math.random(4)==1 then error('halfway') end",
        "redis.pcall('nosuch')",
        "redis.call('flushdb')",
    ];
    // Emptying a database is rare.
    let last = STATEMENTS.len() - usize::from(!rng.random_ratio(1, 20));
    let mut text = STATEMENTS[rng.random_range(0..last)].to_owned();
    while let Some(at) = text.find("{n}") {
        text.replace_range(at..at + 3, &rng.random_range(0..3).to_string());
    }
    let kind = ["s", "l", "t", "h", "z"][rng.random_range(0..5)];
    text.replace("{t}", kind).replace("{ms}", &rng.random_range(1..20).to_string())
}

#[test]
fn a_replica_stays_equal_whatever_scripts_do_with_time_and_chance() {
    const PROGRAMS: usize = 400;
    let seed = seed();
    note!("REPLCORE_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let scratch = Scratch::new("random_scripts");
    let primary = Server::primary(&scratch);
    let (replicas, _links) = attach(&[Program::Valkey], &primary, &scratch);
    let mut recorder = Recorder::attach(primary.address());
    let mut client = primary.client();
    let (mut failed, mut wrapped) = (0, 0);
    for _ in 0..PROGRAMS {
        let statements: Vec<String> = (0..rng.random_range(1..12)).map(|_| statement(&mut rng)).collect();
        let program = statements.join("\n");
        let reply = client.try_call(&argv!["EVAL", &program, 0]).expect("an answer");
        failed += usize::from(matches!(reply, Reply::Error(_)));
        wrapped += usize::from(check_unit(&recorder.take(), &program));
    }
    assert!(failed > 0 && wrapped > PROGRAMS / 4, "{failed} failed, {wrapped} units of several commands");
    for replica in &replicas {
        wait_caught_up(&primary, replica, SOON);
    }
    let keys = assert_converged(&primary, &replicas);
    note!(
        "{PROGRAMS} programs, {failed} failed halfway, {wrapped} units of several commands, {keys} keys equal"
    );
}

/// Checks that what a script propagated is one unit without a clock, in which active expiry may have had its
/// units before and after; whether it was one of several commands.
#[track_caller]
fn check_unit(commands: &[Argv], program: &str) -> bool {
    let is = |argv: &Argv, name: &str| argv[0].eq_ignore_ascii_case(name.as_bytes());
    // In a unit; it does more than to delete what has expired.
    let (mut open, mut does_more) = (false, false);
    let (mut units, mut wrapped) = (0, false);
    for argv in commands {
        for never in
            ["eval", "evalsha", "script", "expire", "pexpire", "hpexpire", "spop", "incrbyfloat", "getex"]
        {
            // What a script writes goes out as what it did.
            let is_count = never == "spop" && argv.len() == 2;
            assert!(is_count || !is(argv, never), "{argv:?} of\n{program}");
        }
        match (is(argv, "multi"), is(argv, "exec")) {
            (true, _) => (open, does_more) = (true, false),
            (_, true) => {
                open = false;
                units += usize::from(does_more);
                wrapped |= does_more;
            }
            _ if is(argv, "unlink") || is(argv, "hdel") || is(argv, "select") => {}
            _ if open => does_more = true,
            _ => units += 1,
        }
    }
    assert!(!open && units <= 1, "{units} units: {commands:?} of\n{program}");
    wrapped
}

/// What others are told while a script does not end, and how it is ended.
#[test]
fn a_script_that_does_not_end_is_ended_as_valkeys_is() {
    let scratch = Scratch::new("busy");
    let mut pair = Pair::start(&scratch);
    pair.servers.iter().for_each(|server| server.configure(&[("busy-reply-threshold", "50")]));
    pair.compare(&argv!["SET", "k", "v"]);
    let endless = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "local function f() while true do end end while true do coroutine.wrap(function() pcall(f) end)() end",
        "while true do redis.call('get','k') end",
    ];
    for script in endless {
        let mut runners = pair.servers.each_ref().map(Server::client);
        for runner in &mut runners {
            runner.send(&argv!["EVAL", script, 0]).expect("the server reads");
        }
        for client in &mut pair.clients {
            wait_busy(client);
        }
        for line in [
            "PING",
            "GET k",
            "EVAL \"return 1\" 0",
            "SCRIPT EXISTS x",
            "CONFIG GET maxmemory",
            "MULTI",
            "GET k",
            "EXEC",
            "SELECT 0",
            "CLIENT SETNAME x",
            "SCRIPT KILL",
        ] {
            pair.compare(&words(line));
        }
        let [ours, theirs] =
            runners.each_mut().map(|runner| format!("{:?}", runner.receive().expect("an answer")));
        pair.note(&argv!["EVAL", script, 0], &ours, &theirs);
        pair.compare(&argv!["GET", "k"]);
    }
    // One that has written is not ended, and then ends by itself.
    let script = "redis.call('set','k','w') local u=os.clock()+0.5 while os.clock()<u do end return 'done'";
    let mut runners = pair.servers.each_ref().map(Server::client);
    for runner in &mut runners {
        runner.send(&argv!["EVAL", script, 0]).expect("the server reads");
    }
    for client in &mut pair.clients {
        wait_busy(client);
    }
    pair.compare(&argv!["SCRIPT", "KILL"]);
    let [ours, theirs] =
        runners.each_mut().map(|runner| format!("{:?}", runner.receive().expect("an answer")));
    pair.note(&argv!["EVAL", script, 0], &ours, &theirs);
    pair.compare(&argv!["GET", "k"]);
    pair.assert_equal();
}

fn wait_busy(client: &mut Client) {
    wait_until("the server is busy", SOON, || match client.try_call(&argv!["PING"]) {
        Ok(Reply::Error(line)) if line.starts_with("BUSY") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}
