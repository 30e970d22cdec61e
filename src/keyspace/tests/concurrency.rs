//! Several threads at once: stream order is apply order, and units are isolated.

use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::*;

const THREADS: usize = 4;
const ROUNDS: usize = 400;

/// Effects are published before anybody else can see or change the keys they are about.
#[test]
fn effects_are_published_under_the_locks_of_their_keys() {
    let server = Server::new();
    let keyspace = &server.keyspace;
    let mut published = 0;
    let mut publish = |effects: &Effects<'_>| {
        for op in &effects.ops {
            let key = &op.argv[1];
            assert!(keyspace.shards[keyspace.shard_of(key)].try_lock().is_none(), "{key:?} is free");
            published += 1;
        }
    };
    let calls = |words: &[&str]| -> Vec<Call> { words.iter().map(|words| server.call(words)).collect() };
    keyspace.execute(&calls(&["set a 1 pxat 1001", "set b 1 pxat 1001"]), 1000, &mut publish);
    keyspace.execute(&calls(&["set c 1 pxat 1001"]), 1000, &mut publish);
    keyspace.execute_watched(&WatchSet::new(), &calls(&["get a", "set d 1 pxat 1001"]), 1000, &mut publish);
    keyspace.execute(&calls(&["get a"]), 2000, &mut publish);
    keyspace.expire_cycle(2000, Duration::ZERO, &mut publish);
    keyspace.execute(&calls(&["scan 0 count 1000"]), 2000, &mut publish);
    assert_eq!((published, keyspace.key_count(0)), (8, (0, 0)));
}

/// What has been published, a unit each.
#[derive(Default)]
struct Published(Mutex<Vec<Vec<Call>>>);

impl Published {
    fn publish(&self, effects: &Effects<'_>) {
        let call = |op: &crate::rewrite::Op<'_>| Call { db: op.db, argv: op.argv.to_vec() };
        self.0.lock().push(effects.ops.iter().map(call).collect());
    }

    /// A replica that applies it all ends in the primary's state.
    fn assert_replayed(self, primary: &Arc<Keyspace>) {
        let replica = Arc::new(Keyspace::new(primary.options.clone()));
        for calls in self.0.into_inner() {
            for reply in replica.execute_under(ExpiryPolicy::Ignore, &calls, 0, &mut |_| {}) {
                assert!(!matches!(reply, Reply::Error(_)), "{reply:?} to {calls:?}");
            }
        }
        let contents = |keyspace: &Arc<Keyspace>| {
            let ((), snapshot) = keyspace.cut(|| ());
            let mut entries: Vec<_> = snapshot.flatten().collect();
            entries.sort_by(|a, b| (a.db, &a.key).cmp(&(b.db, &b.key)));
            entries
        };
        let (replayed, original) = (contents(&replica), contents(primary));
        assert!(!original.is_empty());
        assert_eq!(replayed, original);
    }
}

/// A replica that applies the published units in their order ends in the primary's state, although
/// the primary ran them on several threads.
#[test]
fn the_stream_replayed_gives_the_same_state() {
    let server = Server::new();
    let stream = Published::default();
    let publish = |effects: &Effects<'_>| stream.publish(effects);
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (keyspace, start, publish) = (&server.keyspace, &start, &publish);
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    let key = (round * 7 + n * 3) % 11;
                    let command = match round % 7 {
                        0 => format!("append k{key} {n}{round}"),
                        1 => format!("set k{key} {n}{round}"),
                        2 => format!("rename k{key} k{}", (key + n) % 11),
                        3 => format!("mset k{key} {round} k{} {n} k5 {round}", (key + 5) % 11),
                        4 => format!("hset h{key} f{n} {round}"),
                        5 => format!("del k{key} h{}", (key + 1) % 11),
                        _ => "swapdb 0 1".to_owned(),
                    };
                    let call = Call { db: (round % 2) as u16, argv: argv(&command) };
                    keyspace.execute(&[call], 1000, &mut |effects| publish(effects));
                }
            });
        }
    });
    stream.assert_replayed(&server.keyspace);
}

/// The same while fields die, are overwritten when they are dead, and are reclaimed by the expiry cycle, all
/// on the same keys and with a clock that goes on.
#[test]
fn the_stream_replayed_gives_the_same_fields_while_they_expire() {
    const WRITERS: usize = 3;
    const FIELD_ROUNDS: usize = 2500;
    /// More than the expiry cycle reclaims of a hash at a time.
    const MANY: usize = 200;
    let server = Server::with_shards(2);
    let keyspace = &server.keyspace;
    let stream = Published::default();
    let clock_ms = AtomicU64::new(1000);
    let (start, writing) = (Barrier::new(WRITERS + 2), AtomicUsize::new(WRITERS));
    let reclaimed = thread::scope(|scope| {
        for n in 0..WRITERS {
            let (stream, start, writing, clock_ms) = (&stream, &start, &writing, &clock_ms);
            scope.spawn(move || {
                start.wait();
                for round in 0..FIELD_ROUNDS {
                    let now_ms = clock_ms.fetch_add((round % 3) as u64, Ordering::Relaxed);
                    let (key, field) = ((round * 7 + n * 3) % 5, (round * 5 + n) % 4);
                    let command = match round % 19 {
                        0 | 1 => format!("hsetex h{key} px 2 fields 2 f{field} {round} g{n} {n}"),
                        2 => format!("hsetex h{key} px 40 fields 1 f{field} {round}"),
                        3 => format!("hset h{key} f{field} {round} g {n}"),
                        4 => format!("hsetex h{key} keepttl fields 2 f{field} 1 g{n} 2"),
                        5 => format!("hpexpire h{key} {} fields 2 f{field} g", round % 9),
                        6 => format!("hpersist h{key} fields 2 f{field} g{n}"),
                        7 => format!("hdel h{key} f{field} g{n}"),
                        8 => format!("hgetdel h{key} fields 2 f{field} g"),
                        9 => format!("hincrby h{key} f{field} 1"),
                        10 => format!("hsetnx h{key} f{field} {round}"),
                        11 => format!("hgetex h{key} px 3 fields 2 f{field} g{n}"),
                        12 => format!("rename h{key} h{}", (key + n) % 5),
                        13 => format!("copy h{key} h{} replace", (key + 1) % 5),
                        14 => format!("pexpire h{key} {}", 1 + round % 30),
                        15 => format!("del h{key}"),
                        16 => "swapdb 0 1".to_owned(),
                        17 => {
                            let pairs: Vec<String> = (0..MANY).map(|m| format!("m{m} {n}")).collect();
                            format!("hsetex h{key} px 1 fields {MANY} {}", pairs.join(" "))
                        }
                        _ => format!("hgetall h{key}"),
                    };
                    let call = Call { db: (round % 2) as u16, argv: argv(&command) };
                    keyspace.execute(&[call], now_ms, &mut |effects| stream.publish(effects));
                }
                writing.fetch_sub(1, Ordering::Release);
            });
        }
        let cycles = [0, 1].map(|_| {
            scope.spawn(|| {
                start.wait();
                let mut reclaimed = 0;
                while writing.load(Ordering::Acquire) > 0 {
                    let now_ms = clock_ms.load(Ordering::Relaxed);
                    let mut publish = |effects: &Effects<'_>| stream.publish(effects);
                    reclaimed += keyspace.expire_cycle(now_ms, Duration::ZERO, &mut publish).fields;
                }
                reclaimed
            })
        });
        cycles.into_iter().map(|cycle| cycle.join().expect("the cycle finishes")).sum::<u64>()
    });
    assert!(reclaimed > 0, "the cycle met what was due");
    stream.assert_replayed(keyspace);
}

/// Nobody sees half a transfer: neither a unit on all keys nor a snapshot.
#[test]
fn units_and_snapshots_see_whole_units_only() {
    const ACCOUNTS: usize = 8;
    let mut server = Server::new();
    for n in 0..ACCOUNTS {
        server.run(&format!("set account{n} 100"));
    }
    let keyspace = &server.keyspace;
    let finished = AtomicBool::new(false);
    let total = |replies: &[Reply]| -> i64 {
        let amount = |reply: &Reply| text(reply).parse::<i64>().expect("an amount");
        replies.iter().map(amount).sum()
    };
    thread::scope(|scope| {
        let transfers: Vec<_> = (0..2)
            .map(|n| {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let [from, to] = [(round + n) % ACCOUNTS, (round * 3 + n + 1) % ACCOUNTS];
                        let calls = [format!("decrby account{from} 1"), format!("incrby account{to} 1")];
                        let calls = calls.map(|words| Call { db: 0, argv: argv(&words) });
                        keyspace.execute(&calls, 1000, &mut |_| {});
                    }
                })
            })
            .collect();
        let observer = scope.spawn(|| {
            let keys: Vec<String> = (0..ACCOUNTS).map(|n| format!("account{n}")).collect();
            let call = Call { db: 0, argv: argv(&format!("mget {}", keys.join(" "))) };
            let mut looks = 0;
            while looks == 0 || !finished.load(Ordering::Acquire) {
                let replies = keyspace.execute(std::slice::from_ref(&call), 1000, &mut |_| {});
                let Reply::Array(amounts) = &replies[0] else { panic!("an array") };
                assert_eq!(total(amounts), 100 * ACCOUNTS as i64);
                let ((), snapshot) = keyspace.cut(|| ());
                let amounts: Vec<Reply> = snapshot
                    .flatten()
                    .map(|entry| match entry.value {
                        Value::String(amount) => Reply::Bulk(amount),
                        _ => panic!("a string"),
                    })
                    .collect();
                assert_eq!((amounts.len(), total(&amounts)), (ACCOUNTS, 100 * ACCOUNTS as i64));
                looks += 1;
            }
        });
        for transfer in transfers {
            transfer.join().expect("the transfers finish");
        }
        finished.store(true, Ordering::Release);
        observer.join().expect("the observer finishes");
    });
}

/// Of all `EXEC`s that watched the same value, exactly one increments it: no update is lost.
#[test]
fn optimistic_increments_are_never_lost() {
    let server = Server::new();
    let keyspace = &server.keyspace;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut set = WatchSet::new();
                let mut done = 0;
                while done < 100 {
                    keyspace.watch(&mut set, 0, &argv("counter"), 1000);
                    let get = Call { db: 0, argv: argv("get counter") };
                    let old = text(&keyspace.execute(&[get], 1000, &mut |_| {})[0]);
                    let new = old.parse().unwrap_or(0) + 1;
                    let put = Call { db: 0, argv: argv(&format!("set counter {new}")) };
                    done += i32::from(keyspace.execute_watched(&set, &[put], 1000, &mut |_| {}).is_some());
                    keyspace.unwatch(&mut set);
                }
            });
        }
    });
    let get = Call { db: 0, argv: argv("get counter") };
    assert_eq!(text(&keyspace.execute(&[get], 1000, &mut |_| {})[0]), (THREADS * 100).to_string());
}
