//! Waiting for keys: who is served, when, in which order, and what is published.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::*;
use crate::keyspace::blocking::{Executed, Served, Waiting};

impl Server {
    /// Runs a command that has to wait.
    pub(super) fn wait(&mut self, words: &str) -> Waiting {
        match self.run_or_wait(words) {
            Executed::Waiting(waiting) => waiting,
            Executed::Done(reply) => panic!("{words} did not wait but answered {reply:?}"),
        }
    }

    fn run_or_wait(&mut self, words: &str) -> Executed {
        let (call, published) = (self.call(words), &mut self.published);
        let mut publish = |effects: &Effects<'_>| published.push(unit_text(effects));
        self.keyspace.execute_or_wait(&call, self.now_ms, &mut publish, None, &Arc::default())
    }
}

/// What the waiter got so far.
fn got(waiting: &mut Waiting) -> String {
    waiting.try_end().map_or_else(|| "waits".to_owned(), |served| text(&served.reply))
}

#[test]
fn a_push_serves_the_waiter_in_a_unit_of_its_own_that_follows() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop a b 0");
    assert_eq!((waiting.timeout(), got(&mut waiting).as_str()), (None, "waits"));
    assert_eq!(text(&server.run("rpush b x y")), ":2");
    assert_eq!(got(&mut waiting), "[b x]");
    assert_eq!(server.take_published(), "rpush b x y || LPOP b");
    assert_eq!(text(&server.run("lrange b 0 -1")), "[y]");
}

#[test]
fn every_blocking_list_command_is_served_and_rewritten() {
    for (words, reply, published, left) in [
        ("blpop k 1", "[k x]", "LPOP k", "[y z]"),
        ("BRPOP k 1", "[k z]", "RPOP k", "[x y]"),
        ("blmove k d right left 1", "z", "LMOVE k d right left", "[x y]"),
        ("brpoplpush k d 1", "z", "RPOPLPUSH k d", "[x y]"),
        ("blmpop 1 1 k left count 2", "[k [x y]]", "LPOP k 2", "[z]"),
        ("blmpop 1 2 k d right count 9", "[k [z y x]]", "RPOP k 3", "[]"),
    ] {
        let mut server = Server::new();
        let mut waiting = server.wait(words);
        assert_eq!(waiting.timeout(), Some(Duration::from_secs(1)));
        server.run("rpush k x y z");
        assert_eq!(got(&mut waiting), reply, "{words}");
        assert_eq!(server.take_published(), format!("rpush k x y z || {published}"), "{words}");
        assert_eq!(text(&server.run("lrange k 0 -1")), left, "{words}");
    }
}

#[test]
fn a_waiter_that_was_ended_is_passed_over() {
    let mut server = Server::new();
    let gone = Arc::new(AtomicBool::new(false));
    let call = server.call("blpop k 0");
    let Executed::Waiting(mut ended) = server.keyspace.execute_or_wait(&call, 0, &mut |_| (), None, &gone)
    else {
        panic!("it waits");
    };
    let mut next = server.wait("blpop k 0");
    gone.store(true, Ordering::Release);
    server.run("rpush k x y");
    assert_eq!([got(&mut ended), got(&mut next)], ["waits", "[k x]"]);
    assert_eq!(text(&server.run("lrange k 0 -1")), "[y]");
    assert_eq!(ended.time_out().took, None);
    assert_eq!(server.keyspace.waiting_keys(), 0);
}

/// Were it by the square, this would take minutes and gigabytes.
#[test]
fn a_waiter_costs_in_proportion_to_its_keys() {
    const KEYS: usize = 5000;
    let started = Instant::now();
    let mut server = Server::new();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    let mut waiting = server.wait(&format!("blpop {} 0", keys.join(" ")));
    assert_eq!(server.keyspace.waiting_keys(), KEYS);
    let mut second = server.wait("blmove k7 k4999 left left 0");
    server.run("rpush k7 x y");
    assert_eq!([got(&mut waiting), got(&mut second)], ["[k7 x]", "y"]);
    assert_eq!(server.keyspace.waiting_keys(), 0);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_began_to_wait() {
    let mut server = Server::new();
    let mut first = server.wait("blpop k 0");
    let mut second = server.wait("brpop other k 0");
    let mut third = server.wait("blpop k 0");
    let mut fourth = server.wait("blpop k 0");
    server.run("rpush k 1 2 3");
    let replies = [&mut first, &mut second, &mut third, &mut fourth].map(got);
    assert_eq!(replies, ["[k 1]", "[k 3]", "[k 2]", "waits"]);
    assert_eq!(server.take_published(), "rpush k 1 2 3 || LPOP k || RPOP k || LPOP k");
    assert_eq!(text(&server.run("exists k")), ":0");
}

#[test]
fn a_waiter_of_several_keys_is_served_once() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop a b a c 0");
    server.run_all(&["rpush c 1", "rpush b 1", "rpush a 1"]);
    assert_eq!(got(&mut waiting), "[a 1]");
    assert_eq!(server.take_published(), "{rpush c 1; rpush b 1; rpush a 1} || LPOP a");
    for key in ["a", "b", "c"] {
        server.run(&format!("rpush {key} 2"));
    }
    assert_eq!(server.take_published(), "rpush a 2 || rpush b 2 || rpush c 2");
}

#[test]
fn keys_become_ready_in_the_order_in_which_they_came_into_being() {
    for (commands, published) in [
        (["rpush a 1", "rpush b 1"], "{rpush a 1; rpush b 1} || LPOP a || LPOP b"),
        (["rpush b 1", "rpush a 1"], "{rpush b 1; rpush a 1} || LPOP b || LPOP a"),
    ] {
        let mut server = Server::with_shards(64);
        let _waiting = [server.wait("blpop a 0"), server.wait("blpop b 0")];
        server.run_all(&commands);
        assert_eq!(server.take_published(), published);
    }
}

#[test]
fn what_a_served_move_pushes_serves_the_next_waiters() {
    let mut server = Server::with_shards(64);
    let mut end = server.wait("blpop d 0");
    let mut third = server.wait("blmove c d left left 0");
    let mut second = server.wait("blmove b c left left 0");
    let mut first = server.wait("brpoplpush a b 0");
    server.run("rpush a x");
    assert_eq!([&mut first, &mut second, &mut third, &mut end].map(got), ["x", "x", "x", "[d x]"]);
    assert_eq!(
        server.take_published(),
        "rpush a x || RPOPLPUSH a b || LMOVE b c left left || LMOVE c d left left || LPOP d"
    );
}

#[test]
fn moves_in_a_circle_end_when_nobody_waits() {
    let mut server = Server::with_shards(64);
    let mut there = server.wait("blmove a b left left 0");
    let mut back = server.wait("blmove b a left left 0");
    server.run("rpush a x");
    assert_eq!([&mut there, &mut back].map(got), ["x", "x"]);
    assert_eq!(server.take_published(), "rpush a x || LMOVE a b left left || LMOVE b a left left");
    assert_eq!(text(&server.run("lrange a 0 -1")), "[x]");
}

#[test]
fn a_waiter_of_another_type_or_database_is_passed_over() {
    let mut server = Server::new();
    let mut lists = server.wait("blpop k 0");
    server.db = 1;
    let mut elsewhere = server.wait("blpop k 0");
    server.db = 0;
    server.run("set k v");
    server.run("hset h f v");
    server.run("rename h k");
    assert_eq!([&mut lists, &mut elsewhere].map(got), ["waits", "waits"]);
    server.run("del k");
    server.take_published();
    server.run("rpush k a b");
    assert_eq!([&mut lists, &mut elsewhere].map(got), ["[k a]", "waits"]);
    assert_eq!(server.take_published(), "rpush k a b || LPOP k");
}

#[test]
fn a_waiter_whose_command_fails_gets_the_error_and_the_next_gets_the_element() {
    let mut server = Server::new();
    server.run("set string v");
    let mut fails = server.wait("blmove k string left left 0");
    let mut next = server.wait("blpop k 0");
    server.take_published();
    server.run("rpush k a");
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!([&mut fails, &mut next].map(got), [wrong_type, "[k a]"]);
    assert_eq!(server.take_published(), "rpush k a || LPOP k");
}

#[test]
fn whatever_makes_the_key_serves_the_waiter() {
    let makers: [(&str, &[&str], &str); 6] = [
        ("rename l k", &["rpush l x"], "rename l k || LPOP k"),
        ("renamenx l k", &["rpush l x"], "renamenx l k || LPOP k"),
        ("copy l k", &["rpush l x"], "copy l k || LPOP k"),
        ("lmove l k left left", &["rpush l x"], "lmove l k left left || LPOP k"),
        ("rpoplpush l k", &["rpush l x"], "rpoplpush l k || LPOP k"),
        ("blmove l k left left 0", &["rpush l x"], "LMOVE l k left left || LPOP k"),
    ];
    for (maker, before, published) in makers {
        let mut server = Server::with_shards(64);
        let mut waiting = server.wait("blpop k 0");
        before.iter().for_each(|words| drop(server.run(words)));
        server.take_published();
        server.run(maker);
        assert_eq!(got(&mut waiting), "[k x]", "{maker}");
        assert_eq!(server.take_published(), published, "{maker}");
    }
}

#[test]
fn a_key_that_comes_from_another_database_serves_the_waiter() {
    for (maker, published) in [
        ("move k 0", "1:move k 0 || LPOP k"),
        ("copy k k db 0", "1:copy k k db 0 || LPOP k"),
        ("swapdb 0 1", "1:swapdb 0 1 || LPOP k"),
        ("swapdb 1 0", "1:swapdb 1 0 || LPOP k"),
    ] {
        let mut server = Server::with_shards(64);
        let mut waiting = server.wait("blpop no k 0");
        server.db = 1;
        server.run("rpush k x");
        server.take_published();
        server.run(maker);
        assert_eq!(got(&mut waiting), "[k x]", "{maker}");
        assert_eq!(server.take_published(), published, "{maker}");
    }
}

#[test]
fn a_swap_of_databases_serves_no_one_elses_waiters() {
    let mut server = Server::new();
    server.db = 2;
    let mut waiting = server.wait("blpop k 0");
    server.run_all(&["swapdb 0 1"]);
    server.db = 1;
    server.run("rpush k x");
    server.run("swapdb 0 1");
    assert_eq!(got(&mut waiting), "waits");
}

#[test]
fn a_transaction_that_takes_back_what_it_pushed_serves_nobody() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop k 0");
    server.run_all(&["rpush k a", "lpop k"]);
    server.run_all(&["rpush k a", "del k", "set k string", "del k"]);
    assert_eq!(got(&mut waiting), "waits");
    server.take_published();
    let replies = server.run_all(&["rpush k a b", "lpop k", "blpop k 0", "blpop k 0", "rpush k c"]);
    let replies: Vec<String> = replies.iter().map(text).collect();
    assert_eq!(replies, [":2", "a", "[k b]", "nothing", ":1"]);
    assert_eq!(got(&mut waiting), "[k c]");
    assert_eq!(server.take_published(), "{rpush k a b; lpop k; LPOP k; rpush k c} || LPOP k");
}

#[test]
fn a_watched_exec_serves_waiters_and_its_failure_does_not() {
    let mut server = Server::with_shards(64);
    let mut waiting = server.wait("blmove k d left left 0");
    let mut set = WatchSet::new();
    let keyspace = Arc::clone(&server.keyspace);
    keyspace.watch(&mut set, 0, &argv("w"), server.now_ms);
    server.run("set w 1");
    let calls = [server.call("rpush k x")];
    assert_eq!(keyspace.execute_watched(&set, &calls, 1000, &mut |_| panic!("nothing to publish")), None);
    assert_eq!(got(&mut waiting), "waits");
    keyspace.unwatch(&mut set);
    let mut published = Vec::new();
    keyspace.execute_watched(&set, &calls, 1000, &mut |effects| published.push(unit_text(effects)));
    assert_eq!(published, ["rpush k x", "LMOVE k d left left"]);
    assert_eq!(got(&mut waiting), "x");
}

#[test]
fn being_served_counts_as_a_modification_of_the_keys() {
    let mut server = Server::new();
    let _waiting = server.wait("blmove k d left left 0");
    let mut set = WatchSet::new();
    server.keyspace.watch(&mut set, 0, &argv("d"), server.now_ms);
    server.run("rpush k x");
    assert!(set.is_touched());
}

#[test]
fn an_expired_list_is_no_reason_to_be_served_and_its_deletion_goes_first() {
    let mut server = Server::new();
    server.run("rpush k old");
    server.run("pexpireat k 2000");
    server.now_ms = 3000;
    server.take_published();
    let mut waiting = server.wait("blpop k 0");
    assert_eq!(server.take_published(), "UNLINK k");
    server.run("rpush k new");
    assert_eq!(got(&mut waiting), "[k new]");
    assert_eq!(server.take_published(), "rpush k new || LPOP k");
}

#[test]
fn a_waiter_that_is_dropped_takes_nothing_and_leaves_nothing_behind() {
    let mut server = Server::new();
    drop(server.wait("blpop a b 0"));
    let mut next = server.wait("blpop b 0");
    server.run("rpush a x");
    server.run("rpush b y");
    assert_eq!(got(&mut next), "[b y]");
    assert_eq!(text(&server.run("lrange a 0 -1")), "[x]");
    assert_eq!(server.take_published(), "rpush a x || rpush b y || LPOP b");
    assert_eq!(server.keyspace.waiting_keys(), 0);
}

#[test]
fn a_timeout_ends_the_wait_or_delivers_what_was_served_in_that_moment() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop k 0.5");
    assert_eq!(waiting.timeout(), Some(Duration::from_millis(500)));
    assert_eq!(waiting.time_out(), Served { reply: Reply::NullArray, took: None });
    server.run("rpush k x");
    assert_eq!(text(&server.run("lrange k 0 -1")), "[x]");
    server.run("del k");

    let mut waiting = server.wait("blpop k 0.5");
    server.run("rpush k y");
    let served = waiting.time_out();
    assert_eq!(text(&served.reply), "[k y]");
    assert!(served.took.is_some());
}

#[test]
fn a_wait_is_ended_from_elsewhere_once() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop k 0");
    let place = waiting.place();
    assert!(place.end(Reply::Error("UNBLOCKED".into())));
    assert!(!place.end(Reply::NullArray));
    assert_eq!(got(&mut waiting), "-UNBLOCKED");
    let mut waiting = server.wait("blpop k 0");
    let place = waiting.place();
    server.run("rpush k x");
    assert!(!place.end(Reply::NullArray));
    assert_eq!(got(&mut waiting), "[k x]");
}

#[test]
fn only_what_may_wait_waits() {
    let mut server = Server::new();
    for (words, reply) in [
        ("lpop k", "nil"),
        ("blpop k", "-ERR wrong number of arguments for 'blpop' command"),
        ("blpop k x", "-ERR timeout is not a float or out of range"),
        ("scan 0", "[0 []]"),
    ] {
        match server.run_or_wait(words) {
            Executed::Done(done) => assert_eq!(text(&done), reply),
            Executed::Waiting(_) => panic!("{words} waits"),
        }
    }
    server.run("rpush k x");
    assert!(matches!(server.run_or_wait("blpop k 0"), Executed::Done(Reply::Array(_))));
}

#[test]
fn applying_a_stream_serves_nobody() {
    let mut server = Server::new();
    let mut waiting = server.wait("blpop k 0");
    let calls = [server.call("rpush k x")];
    server.keyspace.execute_under(ExpiryPolicy::Ignore, &calls, 0, &mut |_| ());
    assert_eq!(got(&mut waiting), "waits");
    assert_eq!(text(&server.run("lrange k 0 -1")), "[x]");
}

/// Waits for at most `patience`; what there is to answer.
fn wait_for(waiting: Waiting, patience: Duration) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut waiting = waiting;
        match tokio::time::timeout(patience, waiting.end()).await {
            Ok(served) => served.reply,
            Err(_) => waiting.time_out().reply,
        }
    })
}

/// The calls of a published unit, to be applied elsewhere.
fn calls_of(effects: &Effects<'_>) -> Vec<Call> {
    effects.ops.iter().map(|op| Call { db: op.db, argv: op.argv.to_vec() }).collect()
}

#[test]
fn waiters_get_the_elements_in_the_order_of_the_stream_whoever_pushes() {
    const WAITERS: usize = 400;
    const PUSHERS: usize = 4;
    let keyspace = Arc::new(Keyspace::new(Options { shards: 8, ..Options::default() }));
    let enrolled = AtomicUsize::new(0);
    let pushed = Mutex::new(Vec::new());
    let call = |words: String| Call { db: 0, argv: argv(&words) };
    let mut waiting = Vec::new();
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (keyspace, enrolled, pushed) = (&keyspace, &enrolled, &pushed);
            scope.spawn(move || {
                for n in 0..WAITERS / PUSHERS {
                    // Never ahead of those who wait, so that each push meets one.
                    while enrolled.load(Ordering::Acquire) < (n + 1) * PUSHERS {
                        std::thread::yield_now();
                    }
                    let push = call(format!("rpush k {pusher}.{n}"));
                    keyspace.execute(&[push], 0, &mut |effects| {
                        let op = &effects.ops[0].argv;
                        if op[0].as_ref() == b"rpush" {
                            pushed.lock().push(op[2].clone());
                        }
                    });
                }
            });
        }
        for n in 0..WAITERS {
            let words = if n % 3 == 0 { "blpop k 0" } else { "blpop other k another 0" };
            match keyspace.execute_or_wait(&call(words.to_owned()), 0, &mut |_| (), None, &Arc::default()) {
                Executed::Waiting(it) => waiting.push(it),
                Executed::Done(reply) => panic!("no element is left over, and {reply:?} was answered"),
            }
            enrolled.store(n + 1, Ordering::Release);
        }
    });
    let pushed = pushed.into_inner();
    assert_eq!((pushed.len(), waiting.len()), (WAITERS, WAITERS));
    for (mut waiting, element) in waiting.into_iter().zip(pushed) {
        assert_eq!(got(&mut waiting), format!("[k {}]", String::from_utf8_lossy(&element)));
    }
    assert_eq!(keyspace.waiting_keys(), 0);
}

#[test]
fn every_element_reaches_one_taker_through_moves_timeouts_and_deserters() {
    const PUSHERS: usize = 3;
    const ELEMENTS: usize = 600;
    let keyspace = Arc::new(Keyspace::new(Options { shards: 8, ..Options::default() }));
    let stream = Mutex::new(Vec::new());
    let taken = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    let call = |words: &str| Call { db: 0, argv: argv(words) };
    let publish = |effects: &Effects<'_>| stream.lock().push(calls_of(effects));
    std::thread::scope(|scope| {
        for pusher in 0..PUSHERS {
            let (keyspace, publish) = (&keyspace, &publish);
            scope.spawn(move || {
                for n in 0..ELEMENTS {
                    let key = ["a", "b", "c"][n % 3];
                    let push = call(&format!("rpush {key} {pusher}.{n}"));
                    // A transaction that pops and pushes again keeps the number of elements.
                    let rotate = call("lmove c a right left");
                    let calls = if n % 5 == 0 { vec![push, rotate] } else { vec![push] };
                    keyspace.execute(&calls, 0, &mut |effects| publish(effects));
                }
            });
        }
        // Movers: what they move is still there for the others.
        for words in ["blmove a b left right 0", "brpoplpush b c 0"] {
            let (keyspace, publish, done) = (&keyspace, &publish, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    if let Executed::Waiting(waiting) = keyspace.execute_or_wait(
                        &call(words),
                        0,
                        &mut |effects| publish(effects),
                        None,
                        &Arc::default(),
                    ) {
                        wait_for(waiting, Duration::from_micros(200));
                    }
                }
            });
        }
        // Deserters: they leave at once, and take nothing unless they were served before they left.
        let (keyspace, publish, taken, done) = (&keyspace, &publish, &taken, &done);
        let take = move |words: &str, patience: Option<Duration>| {
            let reply = match keyspace.execute_or_wait(
                &call(words),
                0,
                &mut |effects| publish(effects),
                None,
                &Arc::default(),
            ) {
                Executed::Done(reply) => reply,
                Executed::Waiting(waiting) => match patience {
                    Some(patience) => wait_for(waiting, patience),
                    None => wait_for(waiting, Duration::ZERO),
                },
            };
            if let Reply::Array(parts) = reply {
                let mut taken = taken.lock();
                taken.push(text(&parts[1]));
                done.fetch_or(taken.len() == PUSHERS * ELEMENTS, Ordering::AcqRel);
            }
        };
        scope.spawn(move || {
            while !done.load(Ordering::Acquire) {
                take("brpop c b 0", None);
            }
        });
        for words in ["blpop a b c 0", "blpop c a 0", "brpop b 0", "blpop b a c 0"] {
            scope.spawn(move || {
                while !done.load(Ordering::Acquire) {
                    take(words, Some(Duration::from_millis(1)));
                }
            });
        }
    });
    let mut taken = taken.into_inner();
    taken.sort_unstable();
    let mut pushed: Vec<String> =
        (0..PUSHERS).flat_map(|pusher| (0..ELEMENTS).map(move |n| format!("{pusher}.{n}"))).collect();
    pushed.sort_unstable();
    assert_eq!(taken, pushed);
    assert_eq!(keyspace.waiting_keys(), 0);
    // The stream, applied in its order, ends in the same state: empty. It never pops what is not there.
    let replica = Keyspace::new(Options::default());
    for calls in stream.into_inner() {
        for reply in replica.execute_under(ExpiryPolicy::Ignore, &calls, 0, &mut |_| ()) {
            assert_ne!(reply, Reply::Null, "{calls:?}");
        }
    }
    assert_eq!(replica.key_count(0), (0, 0));
    assert_eq!(keyspace.key_count(0), (0, 0));
}
