//! `WATCH`.

use super::*;

struct Watching {
    server: Server,
    set: WatchSet,
}

impl Watching {
    fn new() -> Watching {
        Watching { server: Server::new(), set: WatchSet::new() }
    }

    fn watch(&mut self, keys: &str) {
        self.server.keyspace.watch(&mut self.set, self.server.db, &argv(keys), self.server.now_ms);
    }

    /// Whether an `EXEC` goes through.
    fn exec(&mut self) -> bool {
        let Server { keyspace, now_ms, .. } = &self.server;
        let calls = [self.server.call("set executed 1")];
        let replies = keyspace.execute_watched(&self.set, &calls, *now_ms, &mut |_| {});
        keyspace.unwatch(&mut self.set);
        replies.is_some()
    }
}

#[test]
fn exec_runs_when_nothing_watched_was_modified() {
    let mut watching = Watching::new();
    watching.server.run("set a 1");
    watching.watch("a b");
    for command in ["get a", "set c 1", "del b", "hdel a f", "set a 2 nx", "expire b 10", "persist a"] {
        watching.server.run(command);
    }
    watching.server.db = 1;
    watching.server.run("set a other");
    watching.server.db = 0;
    assert!(watching.exec());
    assert_eq!(text(&watching.server.run("get executed")), "1");
}

#[test]
fn exec_is_refused_after_any_modification() {
    let modifications = [
        "set a 2",
        "set a 1",
        "del a",
        "expire a 10",
        "append a x",
        "incr a",
        "rename a z",
        "rename b a",
        "copy b a replace",
        "move a 1",
        "flushdb",
        "flushall",
        "swapdb 0 1",
        "getdel a",
        "mset z 1 a 2",
        "getex a ex 5",
    ];
    for modification in modifications {
        let mut watching = Watching::new();
        watching.server.run_all(&["set a 1", "set b 1"]);
        watching.watch("a");
        watching.server.run(modification);
        assert!(!watching.exec(), "{modification}");
        assert_eq!(text(&watching.server.run("get executed")), "nil");
        assert!(watching.exec(), "{modification}: EXEC has unwatched");
    }
}

#[test]
fn an_absent_key_is_watched_too() {
    let mut watching = Watching::new();
    watching.watch("a");
    watching.server.run("flushall");
    assert!(!watching.set.is_touched(), "nothing was flushed");
    watching.server.run("hset a f v");
    assert!(!watching.exec());
}

#[test]
fn a_key_that_expires_while_watched_refuses_exec_deleted_or_not() {
    for reclaimed in [false, true] {
        let mut watching = Watching::new();
        watching.server.run("set a 1 pxat 1500");
        watching.watch("a");
        watching.server.now_ms = 2000;
        if reclaimed {
            watching.server.expire_cycle(Duration::from_secs(60));
        }
        assert!(!watching.exec());
    }
}

#[test]
fn a_key_that_had_expired_before_may_be_deleted_but_not_written() {
    for (command, goes_through) in [("get a", true), ("set a 2", false), ("dbsize", true)] {
        let mut watching = Watching::new();
        watching.server.run("set a 1 pxat 1500");
        watching.server.now_ms = 2000;
        watching.watch("a");
        watching.server.run(command);
        assert_eq!(watching.exec(), goes_through, "{command}");
    }
}

#[test]
fn unwatch_forgets_and_a_dropped_set_leaves_nothing_behind() {
    let mut watching = Watching::new();
    watching.watch("a b");
    watching.server.keyspace.unwatch(&mut watching.set);
    assert!(watching.set.is_empty());
    watching.server.run("set a 1");
    assert!(watching.exec());

    watching.watch("a");
    watching.set = WatchSet::new();
    watching.watch("a");
    watching.server.run("set a 2");
    assert!(!watching.exec());
}

#[test]
fn many_keys_are_watched_once_each() {
    let mut watching = Watching::new();
    let keys = (0..100_000).map(|number| (number % 50_000).to_string()).collect::<Vec<_>>().join(" ");
    watching.watch(&keys);
    assert_eq!(watching.set.keys.len(), 50_000);
    assert!(watching.exec());
    assert!(watching.set.is_empty());
}
