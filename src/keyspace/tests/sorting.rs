//! `SORT`, as Valkey 9.1.2 was seen to do it.

use super::*;

const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";

#[test]
fn numbers_and_texts_are_sorted() {
    session(
        r#"rpush l 3 1 2                  => :3 | rpush l 3 1 2
           sort l                         => [1 2 3]
           sort l desc asc                => [1 2 3]
           sort l Desc                    => [3 2 1]
           rpush t b a C A 10 9           => :6 | rpush t b a C A 10 9
           sort t                         => -ERR One or more scores can't be converted into double
           sort t alpha                   => [10 9 A C a b]
           sort t alpha desc              => [b a C A 9 10]
           sort t alpha limit 0 2         => [10 9]
           sort t alpha limit -1 2        => [10 9]
           sort t alpha limit 2 -1        => [A C a b]
           sort t alpha limit 10 1        => []
           sort t alpha limit 0 0         => []
           sort t alpha limit 1 9223372036854775807 => [9 A C a b]
           sort t alpha limit x 1         => -ERR value is not an integer or out of range
           sort t alpha limit 1           => -ERR syntax error
           sort t foo                     => -ERR syntax error
           sort t by                      => -ERR syntax error
           sort none                      => []
           sort l by nosort               => [3 1 2]
           sort l by nosort desc          => [2 1 3]
           sort l by nosort desc limit 0 2 => [2 1]
           sort l by nosort by w_* alpha  => [3 1 2]
           sort_ro l                      => [1 2 3]
           sort_ro l store d              => -ERR syntax error
           rpush n 1 -0 0 +0 .5 5. 1E1 -inf Infinity => :9 | rpush n 1 -0 0 +0 .5 5. 1E1 -inf Infinity
           sort n                         => [-inf +0 -0 0 .5 1 5. 1E1 Infinity]
           set s 1                        => OK | set s 1
           sort s                         => -WRONGTYPE Operation against a key holding the wrong kind of value
           sort s foo                     => -ERR syntax error"#,
    );
}

#[test]
fn what_is_no_number_is_no_weight() {
    for text in ["0x10", "nan", "1e400", "1e-400", "1_0", "-", "5x"] {
        let mut server = Server::new();
        server.run(&format!("rpush l {text}"));
        assert_eq!(super::text(&server.run("sort l")), NOT_NUMBERS, "{text}");
        server.run("set d old");
        assert_eq!(super::text(&server.run("sort l store d")), NOT_NUMBERS, "{text}");
        assert_eq!(super::text(&server.run("get d")), "old");
    }
    let mut server = Server::new();
    server.run("rpush l 4.9e-324 0e9 0.0");
    assert_eq!(super::text(&server.run("sort l")), "[0.0 0e9 4.9e-324]");
}

#[test]
fn a_sorted_set_keeps_its_own_order_if_it_is_not_to_be_sorted() {
    session(
        r#"zadd z 1 c 2 b 3 a 4 d            => :4 | zadd z 1 c 2 b 3 a 4 d
           sort z by nosort                  => [c b a d]
           sort z by nosort desc             => [d a b c]
           sort z by nosort desc limit 1 2   => [a b]
           sort z by nosort limit -1 2       => [c b]
           sort z by nosort limit 5 2        => []
           sort z alpha                      => [a b c d]
           sort z                            => -ERR One or more scores can't be converted into double
           sort z by nosort desc limit 2 -1 store z => :2 | sort z by nosort desc limit 2 -1 store z
           lrange z 0 -1                     => [b c]"#,
    );
}

#[test]
fn patterns_name_weights_and_results() {
    session(
        r#"rpush l 3 1 2             => :3 | rpush l 3 1 2
           mset w_1 3 w_2 2 w_3 1    => OK | mset w_1 3 w_2 2 w_3 1
           sort l by w_*             => [3 2 1]
           sort l by w_* desc        => [1 2 3]
           sort l by w_* get # get w_* => [3 1 2 2 1 3]
           sort l by w_* get none_*  => [nil nil nil]
           sort l by none_*          => [1 2 3]
           hset h_1 f 9 g x          => :2 | hset h_1 f 9 g x
           hset h_2 f 8              => :1 | hset h_2 f 8
           sort l by h_*->f get h_*->g get # => [nil 3 nil 2 x 1]
           sort l by h_*->           => [1 2 3]
           sort l by h_*->f alpha    => [3 2 1]
           sort l get w_*->f         => [nil nil nil]
           sort l get h_*            => [nil nil nil]
           sort l get w_1            => [nil nil nil]
           sort l get ""             => [nil nil nil]
           set w_1 abc               => OK | set w_1 abc
           sort l by w_*             => -ERR One or more scores can't be converted into double
           sort l by w_* alpha       => [3 2 1]
           set w_1 1 px 1            => OK | set w_1 1 PXAT 1001
           @2000
           sort l by w_* get w_*     => [nil 1 2] | UNLINK w_1
           set w_1 1 px 1            => OK | set w_1 1 PXAT 2001
           @3000
           sort_ro l by w_* get w_*  => [nil 1 2] | UNLINK w_1"#,
    );
}

#[test]
fn a_result_is_stored() {
    session(
        r#"rpush l 3 1 2                => :3 | rpush l 3 1 2
           set d 1 ex 9                 => OK | set d 1 PXAT 10000
           sort l store d               => :3 | sort l store d
           lrange d 0 -1                => [1 2 3]
           ttl d                        => :-1
           sort l get none_* store d    => :3 | sort l get none_* store d
           lrange d 0 -1                => ["" "" ""]
           sort none store d            => :0 | sort none store d
           exists d                     => :0
           sort none store d            => :0 |
           sort l limit 5 1 store d     => :0 |
           sort l store a store b       => :3 | sort l store a store b
           exists a                     => :0
           sort l store store           => :3 | sort l store store
           sort l store x get store     => :3 | sort l store x get store
           lrange store 0 -1            => [1 2 3]
           sadd s d b a c               => :4 | sadd s d b a c
           sort s by nosort store d     => :4 | sort s by nosort store d
           lrange d 0 -1                => [a b c d]
           sort s by nosort desc limit 0 2 store s => :2 | sort s by nosort desc limit 0 2 store s
           lrange s 0 -1                => [d c]
           set w_1 1 px 1               => OK | set w_1 1 PXAT 1001
           @2000
           sort l by w_* get w_* store d => :3 | {UNLINK w_1; sort l by w_* get w_* store d}"#,
    );
}

/// Valkey sends these as they are, and its replicas make other lists of them.
#[test]
fn a_result_that_another_server_may_not_find_is_sent_itself() {
    session(
        r#"rpush l 3 1 2                  => :3 | rpush l 3 1 2
           set w_1 a                      => OK | set w_1 a
           sort l by w_* alpha store d    => :3 | RPUSH d 3 2 1
           sort l by w_* alpha store d    => :3 | {UNLINK d; RPUSH d 3 2 1}
           hset h_1 f x                   => :1 | hset h_1 f x
           sort l get h_*->f store d      => :3 | {UNLINK d; RPUSH d x "" ""}
           sort none get h_*->f store d   => :0 | UNLINK d
           sort none get h_*->f store d   => :0 |"#,
    );
}

#[test]
fn a_stored_result_is_told() {
    let mut recorder = Recorder::new();
    recorder.run("rpush l 2 1");
    assert_eq!(recorder.run("sort l store d"), "sortstore d");
    assert_eq!(recorder.run("sort none store d"), "del d");
    assert_eq!(recorder.run("sort none store d"), "");
}

/// Redis 7.0 takes a number below the smallest normal double for an error, and would keep what `d` was.
#[test]
fn numbers_that_not_every_server_takes_are_stored_as_their_result() {
    session(
        r#"rpush l 5 1e-310 -0               => :3 | rpush l 5 1e-310 -0
           sort l                           => [-0 1e-310 5]
           sort l store d                   => :3 | RPUSH d -0 1e-310 5
           sort l desc limit 0 1 store d    => :1 | {UNLINK d; RPUSH d 5}
           sort l alpha store d             => :3 | sort l alpha store d
           sort l by nosort store d         => :3 | sort l by nosort store d
           set w_5 -2.2250738585072014e-308 => OK | set w_5 -2.2250738585072014e-308
           sort l by w_* get # store d      => :3 | {UNLINK d; RPUSH d 5 -0 1e-310}
           set w_5 2.3e-308                 => OK | set w_5 2.3e-308
           sort l by w_* store d            => :3 | sort l by w_* store d"#,
    );
}

#[test]
fn a_weight_ends_at_a_zero_byte() {
    let mut server = Server::new();
    for line in ["rpush l 1 2 3", "set w_1 5", "set w_2 -1", "setrange w_2 4 x", "set w_3 0"] {
        server.run(line);
    }
    assert_eq!(text(&server.run("sort l by w_*")), "[2 3 1]");
    server.run("set w_3 x");
    server.run("setbit w_3 16 0");
    assert_eq!(text(&server.run("sort l by w_*")), NOT_NUMBERS);
}
