//! Sorted sets: replies and propagation as Valkey 9.1.2 was seen to give them, and the container against a
//! naive one.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{
    LexBound, LexRange, ScoreRange, ZSET_COMPACT_MAX_MEMBER_BYTES, ZSET_COMPACT_MAX_MEMBERS, ZSet,
    ZSetEncoding,
};
use super::*;

#[test]
fn members_are_added_under_conditions() {
    session(
        "zadd z 1 a 2 b             => :2 | zadd z 1 a 2 b
         zadd z 1 a                 => :0
         zadd z 3 a 1 c             => :1 | zadd z 3 a 1 c
         zadd z ch 4 a 1 c          => :1 | zadd z ch 4 a 1 c
         zadd z nx 9 a              => :0
         zadd z nx ch 9 a 0 d       => :1 | zadd z nx ch 9 a 0 d
         zadd z xx 9 e              => :0
         zadd z XX 5 a              => :0 | zadd z XX 5 a
         zadd z gt 4 a              => :0
         zadd z gt ch 6 a           => :1 | zadd z gt ch 6 a
         zadd z lt ch 7 a           => :0
         zadd z lt ch 5 a           => :1 | zadd z lt ch 5 a
         zadd z gt xx ch 9 f        => :0
         zrange z 0 -1 withscores   => [d ,0 c ,1 b ,2 a ,5]
         zadd z incr 1.5 a          => ,6.5 | zadd z incr 1.5 a
         zadd z incr 0 a            => ,6.5
         zadd z nx incr 1 a         => nil
         zadd z gt incr -1 a        => nil
         zadd z xx incr 1 nope      => nil
         zadd nope xx 1 a           => :0
         zadd nope xx incr 1 a      => nil
         zadd z 1 x 2 x             => :1 | zadd z 1 x 2 x
         zscore z x                 => ,2
         zadd z 1                   => -ERR wrong number of arguments for 'zadd' command
         zadd z 1 a 2               => -ERR syntax error
         zadd z nx 1                => -ERR syntax error
         zadd z nx xx 1 a           => -ERR XX and NX options at the same time are not compatible
         zadd z gt nx 1 a           => -ERR GT, LT, and/or NX options at the same time are not compatible
         zadd z gt lt 1 a           => -ERR GT, LT, and/or NX options at the same time are not compatible
         zadd z incr 1 a 2 b        => -ERR INCR option supports a single increment-element pair
         set k v                    => OK | set k v
         zadd k 1 a                 => -WRONGTYPE Operation against a key holding the wrong kind of value
         zadd k x a                 => -ERR value is not a valid float",
    );
}

#[test]
fn scores_are_read_as_strictly_as_valkey_reads_them() {
    for (text, score) in [
        ("5", "5"),
        ("+5", "5"),
        ("5.", "5"),
        (".5", "0.5"),
        ("1e5", "100000"),
        ("1e+20", "1e+20"),
        ("inf", "inf"),
        ("+inf", "inf"),
        ("-Infinity", "-inf"),
        ("-0", "0"),
        ("0e5", "0"),
        ("5e-324", "5e-324"),
        ("00012", "12"),
    ] {
        let mut server = Server::new();
        assert_eq!(text_of(&mut server, &format!("zadd z {text} m")), ":1", "{text}");
        assert_eq!(text_of(&mut server, "zscore z m"), format!(",{score}"), "{text}");
    }
    for bad in [
        "\"\"", "x", "nan", "-nan", "0x10", "1e400", "-1e400", "1e-400", "1_0", "5e", "+", ".", "1.5.5",
        "infin",
    ] {
        let mut server = Server::new();
        let refused = text_of(&mut server, &format!("zadd z 1 a {bad} m"));
        assert_eq!(refused, "-ERR value is not a valid float", "{bad}");
        assert_eq!(text_of(&mut server, "exists z"), ":0", "all or nothing");
    }
}

fn text_of(server: &mut Server, command: &str) -> String {
    text(&server.run(command))
}

#[test]
fn increments_add_doubles() {
    session(
        "zincrby z 0.1 m            => ,0.1 | zincrby z 0.1 m
         zincrby z 0.2 m            => ,0.30000000000000004 | zincrby z 0.2 m
         zincrby z 0 m              => ,0.30000000000000004
         zincrby z inf m            => ,inf | zincrby z inf m
         zincrby z -inf m           => -ERR resulting score is not a number (NaN)
         zscore z m                 => ,inf
         zincrby z nan m            => -ERR value is not a valid float
         zincrby z nx m             => -ERR syntax error",
    );
}

#[test]
fn members_are_looked_up_and_removed() {
    session(
        "zadd z 1 a 2 b 3 c         => :3 | zadd z 1 a 2 b 3 c
         zcard z                    => :3
         zscore z nope              => nil
         zmscore z a nope c         => [,1 nil ,3]
         zmscore nope a             => [nil]
         zrank z a                  => :0
         zrank z c WithScore        => [:2 ,3]
         zrevrank z c               => :0
         zrevrank z a withscore     => [:2 ,1]
         zrank z nope               => nil
         zrank z nope withscore     => nothing
         zrank nope a withscore     => nothing
         zrank z a foo              => -ERR syntax error
         zrank z a withscore x      => -ERR wrong number of arguments for 'zrank' command
         zrem z nope                => :0
         zrem z nope a a            => :1 | zrem z nope a a
         zrem z b c                 => :2 | zrem z b c
         exists z                   => :0
         zcard z                    => :0",
    );
}

#[test]
fn ranges_of_ranks_scores_and_bytes_are_found() {
    session(
        "zadd z 1 a 2 b 2 c 4 d     => :4 | zadd z 1 a 2 b 2 c 4 d
         zrange z 0 -1              => [a b c d]
         zrange z 1 2               => [b c]
         zrange z -2 9              => [c d]
         zrange z 3 1               => []
         zrange z 4 9               => []
         zrange z -9 -5             => []
         zrange z 0 1 rev           => [d c]
         zrevrange z 0 0 withscores => [d ,4]
         zrange z (1 2 byscore      => [b c]
         zrange z 2 (1 byscore rev  => [c b]
         zrange z 2 -inf byscore rev limit 1 2 => [b a]
         zrangebyscore z -inf +inf limit 1 2 => [b c]
         zrangebyscore z -inf +inf limit 1 -1 => [b c d]
         zrangebyscore z -inf +inf limit 9 1 => []
         zrangebyscore z -inf +inf limit -1 1 => []
         zrevrangebyscore z +inf 2 withscores => [d ,4 c ,2 b ,2]
         zcount z 2 (4              => :2
         zcount z \"\" 1e999        => :4
         zcount z (4 4              => :0
         zadd l 0 a 0 b 0 c 0 d     => :4 | zadd l 0 a 0 b 0 c 0 d
         zrangebylex l - +          => [a b c d]
         zrangebylex l (a [c        => [b c]
         zrangebylex l [b (b        => []
         zrangebylex l + -          => []
         zrangebylex l - + limit 1 2 => [b c]
         zrange l [c - bylex rev    => [c b a]
         zrevrangebylex l (d [b     => [c b]
         zlexcount l [b +           => :3
         zrange z 0 1 xx            => -ERR syntax error
         zrange z 0 1 rev rev       => -ERR syntax error
         zrange z 0 1 bylex byscore => -ERR syntax error
         zrevrange z 0 1 rev        => -ERR syntax error
         zrangebyscore z 0 1 rev    => -ERR syntax error
         zrange z 0 1 limit 0       => -ERR syntax error
         zrange z 0 1 limit 0 -1    => [a b]
         zrange z 0 1 limit 0 1     => -ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
         zrange z - + bylex withscores => -ERR syntax error, WITHSCORES not supported in combination with BYLEX
         zrange z x 1               => -ERR value is not an integer or out of range
         zrange z x 1 byscore       => -ERR min or max is not a float
         zrange z a b bylex         => -ERR min or max not valid string range item
         zlexcount z - +x           => -ERR min or max not valid string range item
         zcount z ((1 1             => -ERR min or max is not a float
         zcount z nan 1             => -ERR min or max is not a float",
    );
}

#[test]
fn ranges_are_removed() {
    session(
        "zadd z 1 a 2 b 3 c 4 d 5 e => :5 | zadd z 1 a 2 b 3 c 4 d 5 e
         zremrangebyrank z 9 10     => :0
         zremrangebyrank z 0 0      => :1 | zremrangebyrank z 0 0
         zremrangebyscore z (2 3    => :1 | zremrangebyscore z (2 3
         zremrangebyscore z 9 10    => :0
         zrange z 0 -1              => [b d e]
         zremrangebyrank z 0 -1     => :3 | zremrangebyrank z 0 -1
         exists z                   => :0
         zadd z 0 a 0 b 0 c         => :3 | zadd z 0 a 0 b 0 c
         zremrangebylex z [b +      => :2 | zremrangebylex z [b +
         zremrangebylex z [x +      => :0
         zremrangebylex nope - +    => :0
         zremrangebyrank z x 1      => -ERR value is not an integer or out of range
         zremrangebyscore z x 1     => -ERR min or max is not a float
         zremrangebylex z x 1       => -ERR min or max not valid string range item",
    );
}

#[test]
fn a_range_of_bytes_over_several_scores_is_propagated_as_the_members_it_found() {
    session(
        "zadd z 1 c 2 a 3 b 4 d     => :4 | zadd z 1 c 2 a 3 b 4 d
         zrangestore d z [a (c bylex => :0
         zrangestore d z [c [c bylex => :3 | ZADD d 1 c 2 a 3 b
         zrangestore d z [c + bylex => :4 | {UNLINK d; ZADD d 1 c 2 a 3 b 4 d}
         zrangestore d z [x + bylex => :0 | UNLINK d
         zrangestore d z [x + bylex => :0
         zremrangebylex z [c [c     => :3 | ZREM z c a b
         zremrangebylex z - +       => :1 | zremrangebylex z - +",
    );
}

#[test]
fn pops_take_from_either_end() {
    session(
        "zpopmin z                  => []
         zpopmin z 0                => []
         zadd z 1 a 2 b 3 c 4 d 5 e => :5 | zadd z 1 a 2 b 3 c 4 d 5 e
         zpopmin z 0                => []
         zpopmin z                  => [a ,1] | zpopmin z
         zpopmax z 2                => [e ,5 d ,4] | zpopmax z 2
         zpopmax z 9                => [c ,3 b ,2] | zpopmax z 9
         exists z                   => :0
         zpopmin z x                => -ERR value is out of range, must be positive
         zpopmin z -1               => -ERR value is out of range, must be positive
         zpopmin z 1 2              => -ERR syntax error
         zadd z 1 a 2 b 3 c 4 d 5 e => :5 | zadd z 1 a 2 b 3 c 4 d 5 e
         zmpop 2 y z max            => [z [[e ,5]]] | ZPOPMAX z 1
         zmpop 1 z MIN count 2      => [z [[a ,1] [b ,2]]] | ZPOPMIN z 2
         bzpopmin y z 0             => [z c ,3] | ZPOPMIN z
         bzmpop 0 2 y z max count 9 => [z [[d ,4]]] | ZPOPMAX z 1
         zmpop 1 z min              => nothing
         zmpop 0 z min              => -ERR numkeys should be greater than 0
         zmpop 1 z foo              => -ERR syntax error
         zmpop 2 z min              => -ERR syntax error
         zmpop 1 z min count 0      => -ERR count should be greater than 0
         zmpop 1 z min count 1 count 2 => -ERR syntax error
         bzpopmin z x               => -ERR timeout is not a float or out of range
         bzpopmin z -1              => -ERR timeout is negative
         set k v                    => OK | set k v
         zmpop 2 z k min            => -WRONGTYPE Operation against a key holding the wrong kind of value
         bzpopmax z k 0             => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn sorted_sets_and_sets_are_combined() {
    session(
        "zadd a 1 x 2 y             => :2 | zadd a 1 x 2 y
         zadd b 10 y 20 z 30 w      => :3 | zadd b 10 y 20 z 30 w
         sadd s x y                 => :2 | sadd s x y
         zunion 2 a b withscores    => [x ,1 y ,12 z ,20 w ,30]
         zunion 3 a b s             => [x y z w]
         zunion 2 a s weights 2 3 withscores => [x ,5 y ,7]
         zunion 2 a b aggregate max withscores => [x ,1 y ,10 z ,20 w ,30]
         zinter 3 a b s withscores  => [y ,13]
         zinter 2 a b aggregate MIN withscores => [y ,2]
         zinter 2 a nope            => []
         zinter 2 a a withscores    => [x ,2 y ,4]
         zdiff 2 a b withscores     => [x ,1]
         zdiff 2 a a                => []
         zintercard 2 a s           => :2
         zintercard 2 a s limit 1   => :1
         zunionstore d 2 a b weights 1 2 => :4 | zunionstore d 2 a b weights 1 2
         zrange d 0 -1 withscores   => [x ,1 y ,22 z ,40 w ,60]
         zinterstore d 2 a nope     => :0 | zinterstore d 2 a nope
         zinterstore d 2 a nope     => :0
         zdiffstore d 2 a b         => :1 | zdiffstore d 2 a b
         zrangestore d a 0 0 rev    => :1 | zrangestore d a 0 0 rev
         zrange d 0 -1 withscores   => [y ,2]
         zrangestore d nope 0 0     => :0 | zrangestore d nope 0 0
         zrangestore d nope 0 0     => :0
         zunion 2 a s weights 0 inf withscores => [x ,inf y ,inf]
         zunion 0 a                 => -ERR at least 1 input key is needed for 'zunion' command
         zunionstore d 0 a          => -ERR at least 1 input key is needed for 'zunionstore' command
         zunion x a                 => -ERR value is not an integer or out of range
         zunion 2 a                 => -ERR syntax error
         zunion 1 a weights         => -ERR syntax error
         zunion 1 a weights x       => -ERR weight value is not a float
         zunion 1 a aggregate foo   => -ERR syntax error
         zunionstore d 1 a withscores => -ERR syntax error
         zdiff 1 a weights 1        => -ERR syntax error
         zintercard 1 a limit x     => -ERR LIMIT can't be negative
         zintercard 1 a weights 1   => -ERR syntax error
         set k v                    => OK | set k v
         zunion 2 a k               => -WRONGTYPE Operation against a key holding the wrong kind of value",
    );
}

#[test]
fn a_sum_that_depends_on_the_order_of_equally_large_sources_is_propagated_as_it_is() {
    session(
        "zadd a 0.1 m               => :1 | zadd a 0.1 m
         zadd b 0.2 m               => :1 | zadd b 0.2 m
         zadd c 0.3 m               => :1 | zadd c 0.3 m
         zunionstore d 3 a b c      => :1 | ZADD d 0.6000000000000001 m
         zinterstore d 3 b c a      => :1 | {UNLINK d; ZADD d 0.6 m}
         zunionstore d 2 a b        => :1 | zunionstore d 2 a b
         zunionstore d 3 a b c aggregate max => :1 | zunionstore d 3 a b c aggregate max
         zadd b 5 n                 => :1 | zadd b 5 n
         zadd c 5 n 6 o             => :2 | zadd c 5 n 6 o
         zunionstore d 3 a b c      => :3 | zunionstore d 3 a b c",
    );
}

#[test]
fn whole_numbers_are_added_by_every_server_alike() {
    session(
        "zadd a 1 m                 => :1 | zadd a 1 m
         zadd b 2 m                 => :1 | zadd b 2 m
         zadd c -3 m                => :1 | zadd c -3 m
         zunionstore d 3 a b c      => :1 | zunionstore d 3 a b c
         zadd c 9007199254740990 m  => :0 | zadd c 9007199254740990 m
         zunionstore d 3 a b c      => :1 | {UNLINK d; ZADD d 9007199254740992 m}
         zadd c inf m               => :0 | zadd c inf m
         zunionstore d 3 a b c      => :1 | {UNLINK d; ZADD d inf m}",
    );
}

#[test]
fn products_that_round_and_are_added_to_are_propagated_as_they_are() {
    // With one rounding instead of two the sum is another one.
    assert_eq!(0.1f64.mul_add(0.7, 0.1 * 0.1), 0.08);
    assert_eq!(0.1 * 0.1 + 0.1 * 0.7, 0.07999999999999999);
    session(
        "zadd a 0.1 m               => :1 | zadd a 0.1 m
         zadd b 0.1 m 0 n           => :2 | zadd b 0.1 m 0 n
         zunionstore d 2 a b weights 0.5 2 => :2 | zunionstore d 2 a b weights 0.5 2
         zinterstore d 2 a b weights 0.1 0.7 => :1 | {UNLINK d; ZADD d 0.07999999999999999 m}
         zinterstore d 2 a b weights 0.1 0.7 aggregate min => :1 | zinterstore d 2 a b weights 0.1 0.7 aggregate min
         zunionstore d 1 a weights 0.7 => :1 | zunionstore d 1 a weights 0.7",
    );
}

#[test]
fn zeros_of_both_signs_and_products_that_are_no_numbers_are_told_apart() {
    let long = "x".repeat(65);
    let mut server = Server::new();
    // A long member keeps a sorted set out of its compact form, which knows no -0.
    server.run(&format!("zadd a -0 m 1 {long}"));
    server.run(&format!("zadd b 0 m 1 {long}"));
    server.take_published();
    server.run("zunionstore d 2 a b aggregate min");
    assert_eq!(server.take_published(), format!("ZADD d -0 m 1 {long}"));
    server.run("zadd i inf m");
    server.run("zadd j 5 m");
    server.take_published();
    assert_eq!(text_of(&mut server, "zinterstore d 2 i j weights 0 1"), ":1");
    assert_eq!(server.take_published(), "{UNLINK d; ZADD d 5 m}");
}

#[test]
fn every_scored_member_can_be_drawn() {
    let mut server = Server::new();
    server.run("zadd z 1 a 2 b 3 c");
    let mut drawn = BTreeSet::new();
    while drawn.len() < 3 {
        drawn.insert(text_of(&mut server, "zrandmember z"));
    }
    assert_eq!(drawn, ["a", "b", "c"].map(str::to_owned).into());
    assert_eq!(text_of(&mut server, "zrandmember z 9 withscores").split(' ').count(), 6);
    assert_eq!(text_of(&mut server, "zrandmember z -5").split(' ').count(), 5);
    session(
        "zrandmember z              => nil
         zrandmember z 3            => []
         zrandmember z x            => -ERR value is not an integer or out of range
         zrandmember z 1 foo        => -ERR syntax error
         zrandmember z 1 withscores x => -ERR syntax error
         zrandmember z 9223372036854775807 withscores => -ERR value is out of range",
    );
}

#[test]
fn what_happens_to_a_sorted_set_is_told_in_order() {
    let mut recorder = Recorder::new();
    let mut events = |command: &str| recorder.run(command);
    assert_eq!(events("zadd z 1 a 2 b 3 c"), "zadd z");
    assert_eq!(events("zadd z 1 a"), "");
    assert_eq!(events("zadd z incr 1 a"), "zincr z");
    assert_eq!(events("zincrby z 1 a"), "zincr z");
    assert_eq!(events("zincrby z 0 a"), "");
    assert_eq!(events("zrem z a nope"), "zrem z");
    assert_eq!(events("zpopmin z"), "zpopmin z");
    assert_eq!(events("zpopmax z 0"), "");
    assert_eq!(events("bzpopmax y z 0"), "zpopmax z, del z");
    assert_eq!(events("zadd z 1 a 2 b 3 c"), "zadd z");
    assert_eq!(events("zremrangebyscore z 3 3"), "zremrangebyscore z");
    assert_eq!(events("zremrangebyrank z 1 1"), "zremrangebyrank z");
    assert_eq!(events("zunionstore d 1 z"), "zunionstore d");
    assert_eq!(events("zinterstore d 1 z"), "zinterstore d");
    assert_eq!(events("zdiffstore d 1 z"), "zdiffstore d");
    assert_eq!(events("zrangestore d z 0 -1"), "zrangestore d");
    assert_eq!(events("zrangestore d z 5 6"), "del d");
    assert_eq!(events("zrangestore d z 5 6"), "");
    assert_eq!(events("zremrangebylex z - +"), "zremrangebylex z, del z");
    assert_eq!(events("zadd z 1 a"), "zadd z");
    assert_eq!(events("zmpop 1 z min"), "zpopmin z, del z");
}

#[test]
fn a_large_sorted_set_is_scanned_in_pages_and_a_small_one_at_once() {
    session(
        "zscan z 0                  => [0 []]
         zadd z 2.35 b 1 a          => :2 | zadd z 2.35 b 1 a
         zscan z 0 count 1          => [0 [a 1 b 2.35]]
         zscan z 0 match b          => [0 [b 2.35]]
         zscan z 0 noscores         => [0 [a b]]
         zscan z 0 novalues         => -ERR NOVALUES option can only be used in HSCAN
         zscan z 0 type zset        => -ERR syntax error
         sadd s a                   => :1 | sadd s a
         sscan s 0 noscores         => -ERR NOSCORES option can only be used in ZSCAN",
    );
    let mut server = Server::new();
    for n in 0..600 {
        server.run(&format!("zadd z {n}.35 m{n}"));
    }
    let (mut cursor, mut seen, mut pages) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let Reply::Array(page) = server.run(&format!("zscan z {cursor} count 50")) else { panic!("a page") };
        let [next, Reply::Array(found)] = &page[..] else { panic!("a page: {page:?}") };
        seen.extend(found.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))));
        cursor = text(next);
        pages += 1;
        if cursor == "0" {
            break;
        }
    }
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!((pages, seen.len(), different.len()), (12, 600, 600));
    assert!(
        different.contains(&("m2".to_owned(), "2.3500000000000001".to_owned())),
        "as a skiplist prints it"
    );
}

#[test]
fn a_score_is_scanned_with_17_digits_in_the_notation_of_c() {
    for (score, expected) in [
        ("0.1", "0.10000000000000001"),
        ("1e20", "1e+20"),
        ("123456789012345678", "1.2345678901234568e+17"),
        ("12345678901234567", "12345678901234568"),
        ("0.0001", "0.0001"),
        ("0.00001", "1.0000000000000001e-05"),
        ("-1e-7", "-9.9999999999999995e-08"),
        ("5e-324", "4.9406564584124654e-324"),
        ("inf", "inf"),
        ("-0", "-0"),
        ("100", "100"),
    ] {
        let mut server = Server::new();
        let long = "x".repeat(65);
        server.run(&format!("zadd z {score} {long}"));
        assert_eq!(text_of(&mut server, "zscan z 0"), format!("[0 [{long} {expected}]]"));
    }
}

#[test]
fn a_negative_offset_counts_from_the_end_of_a_large_range() {
    let mut server = Server::new();
    for n in 1..=200 {
        server.run(&format!("zadd z {n} m{n}"));
    }
    for (command, expected) in [
        ("zrangebyscore z -inf +inf limit -1 2", "[m200]"),
        ("zrangebyscore z -inf +inf limit -3 2", "[m198 m199]"),
        ("zrangebyscore z 5 7 limit -3 9", "[m5 m6 m7]"),
        ("zrangebyscore z 5 7 limit -4 9", "[]"),
        ("zrevrangebyscore z +inf -inf limit -1 2", "[m1]"),
        ("zrevrangebyscore z +inf -inf limit -3 2", "[m3 m2]"),
    ] {
        assert_eq!(text_of(&mut server, command), expected, "{command}");
    }
    server.take_published();
    server.run("zrangestore d z 0 9 byscore limit -1 1");
    assert_eq!(server.take_published(), "ZADD d 9 m9");
}

fn words(count: usize) -> ZSet {
    let mut zset = ZSet::new();
    (0..count).for_each(|n| _ = zset.insert_copy(format!("w{n}").as_bytes(), n as f64));
    zset
}

#[test]
fn the_form_of_a_sorted_set_follows_its_members() {
    assert_eq!(words(ZSET_COMPACT_MAX_MEMBERS).encoding(), ZSetEncoding::Listpack);
    let mut large = words(ZSET_COMPACT_MAX_MEMBERS + 1);
    assert_eq!(large.encoding(), ZSetEncoding::Skiplist);
    large.remove_ranks(1..large.len());
    assert_eq!((large.len(), large.encoding()), (1, ZSetEncoding::Skiplist), "there is no way back");
    let mut short = ZSet::new();
    short.insert_copy(&[b'x'; ZSET_COMPACT_MAX_MEMBER_BYTES], 1.0);
    assert_eq!(short.encoding(), ZSetEncoding::Listpack);
    short.insert_copy(&[b'x'; ZSET_COMPACT_MAX_MEMBER_BYTES + 1], 1.0);
    assert_eq!(short.encoding(), ZSetEncoding::Skiplist);
}

/// A sorted set as a sorted list, which does everything by looking at all of it.
#[derive(Clone, Debug, Default)]
struct Naive(Vec<(f64, Bytes)>);

impl Naive {
    fn position(&self, member: &[u8]) -> Option<usize> {
        self.0.iter().position(|(_, present)| present == member)
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.position(member).map(|at| self.0.remove(at).0)
    }

    fn insert(&mut self, member: &Bytes, score: f64) -> Option<f64> {
        let old = self.remove(member);
        self.0.push((score, member.clone()));
        self.0.sort_by(|(a, a_member), (b, b_member)| a.total_cmp(b).then_with(|| a_member.cmp(b_member)));
        old
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Bytes, f64),
    Remove(Bytes),
    RemoveRanks(usize, usize),
    Rank(Bytes),
    Range(usize, usize),
    Scores(ScoreRange),
}

fn scored_member() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        9 => (0..4000u32).prop_map(|n| Bytes::from(format!("m{n}"))),
        1 => (0..3u8).prop_map(|n| Bytes::from(vec![b'0' + n; 70])),
    ]
}

/// Few different ones, so that many members share a score; no -0, which the forms tell apart differently.
fn any_score() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (-20..20i8).prop_map(|n| f64::from(n) / 2.0 + 0.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let range = (any_score(), any::<bool>(), any_score(), any::<bool>());
    prop_oneof![
        6 => (scored_member(), any_score()).prop_map(|(member, score)| Step::Insert(member, score)),
        4 => scored_member().prop_map(Step::Remove),
        1 => (0..3000usize, 0..200usize).prop_map(|(start, len)| Step::RemoveRanks(start, len)),
        2 => scored_member().prop_map(Step::Rank),
        2 => (0..3000usize, 0..3000usize).prop_map(|(start, end)| Step::Range(start, end)),
        2 => range.prop_map(|(min, min_excluded, max, max_excluded)| {
            Step::Scores(ScoreRange { min, min_excluded, max, max_excluded })
        }),
    ]
}

fn all(zset: &ZSet) -> Vec<(f64, Bytes)> {
    zset.iter().map(|(member, score)| (score, member.to_bytes())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_sorted_set_is_what_a_sorted_list_is(
        // Small sets stay compact; large ones have several leaves.
        initial in prop_oneof![Just(0u32), Just(100), Just(3000)],
        seed in any::<u32>(),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let (mut zset, mut naive) = (ZSet::new(), Naive::default());
        for n in 0..initial {
            let member = Bytes::from(format!("m{n}"));
            let score = f64::from(n.wrapping_mul(seed | 1) % 37);
            prop_assert_eq!(zset.insert(member.clone(), score), None);
            naive.0.push((score, member));
        }
        naive.0.sort_by(|a, b| a.partial_cmp(b).expect("no score is NaN"));
        for step in steps {
            match step {
                Step::Insert(member, score) => {
                    prop_assert_eq!(zset.insert_copy(&member, score), naive.insert(&member, score));
                    prop_assert_eq!(zset.score(&member), Some(score));
                }
                Step::Remove(member) => {
                    prop_assert_eq!(zset.remove(&member), naive.remove(&member));
                    prop_assert_eq!(zset.score(&member), None);
                }
                Step::RemoveRanks(start, len) => {
                    let removed = zset.remove_ranks(start..start + len);
                    let start = start.min(naive.0.len());
                    let end = (start + len).min(naive.0.len());
                    let expected: Vec<_> = naive.0.drain(start..end).map(|(score, member)| (member, score)).collect();
                    prop_assert_eq!(removed, expected);
                }
                Step::Rank(member) => prop_assert_eq!(zset.rank(&member), naive.position(&member)),
                Step::Range(start, end) => {
                    let expected = naive.0.get(start..end.min(naive.0.len())).unwrap_or_default();
                    let forward: Vec<_> = zset.range(start..end).map(|(member, score)| (score, member.to_bytes())).collect();
                    prop_assert_eq!(&forward[..], expected);
                    let mut backward: Vec<_> =
                        zset.range(start..end).rev().map(|(member, score)| (score, member.to_bytes())).collect();
                    backward.reverse();
                    prop_assert_eq!(backward, forward);
                    prop_assert_eq!(zset.get_rank(start).map(|(member, _)| member.to_bytes()), naive.0.get(start).map(|it| it.1.clone()));
                }
                Step::Scores(range) => {
                    let above = |score: f64| if range.min_excluded { score > range.min } else { score >= range.min };
                    let below = |score: f64| if range.max_excluded { score < range.max } else { score <= range.max };
                    let expected: Vec<usize> =
                        (0..naive.0.len()).filter(|&rank| above(naive.0[rank].0) && below(naive.0[rank].0)).collect();
                    prop_assert_eq!(zset.ranks_of_scores(&range).collect::<Vec<_>>(), expected);
                }
            }
            prop_assert_eq!(zset.len(), naive.0.len());
        }
        prop_assert_eq!(all(&zset), naive.0);
        let scanned: BTreeSet<Bytes> =
            (0..zset.len()).filter_map(|index| zset.get_index(index)).map(|(member, _)| member.to_bytes()).collect();
        prop_assert_eq!(scanned, zset.iter().map(|(member, _)| member.to_bytes()).collect::<BTreeSet<_>>());
    }

    #[test]
    fn members_of_one_score_are_found_by_their_bytes(
        members in prop::collection::btree_set("[a-c]{0,4}", 0..80),
        repeats in prop_oneof![Just(1usize), Just(4)],
        (min, max) in ("[a-c]{0,4}", "[a-c]{0,4}"),
        (min_excluded, max_excluded) in (any::<bool>(), any::<bool>()),
    ) {
        // Repeated with a suffix, the large ones become tables.
        let members: BTreeSet<Bytes> = members
            .iter()
            .flat_map(|member| (0..repeats).map(move |n| Bytes::from(member.clone() + &"d".repeat(n))))
            .collect();
        let mut zset = ZSet::new();
        members.iter().for_each(|member| _ = zset.insert_copy(member, 7.0));
        let bound = |text: &str, excluded| {
            let member = Bytes::copy_from_slice(text.as_bytes());
            if excluded { LexBound::Excluded(member) } else { LexBound::Included(member) }
        };
        let found = |range: LexRange| -> Vec<Bytes> {
            zset.range(zset.ranks_of_members(&range)).map(|(member, _)| member.to_bytes()).collect()
        };
        let above = |member: &[u8]| if min_excluded { member > min.as_bytes() } else { member >= min.as_bytes() };
        let below = |member: &[u8]| if max_excluded { member < max.as_bytes() } else { member <= max.as_bytes() };
        let expected = |above: &dyn Fn(&[u8]) -> bool, below: &dyn Fn(&[u8]) -> bool| -> Vec<Bytes> {
            members.iter().filter(|member| above(member) && below(member)).cloned().collect()
        };
        let (lower, upper) = (bound(&min, min_excluded), bound(&max, max_excluded));
        prop_assert_eq!(found(LexRange { min: lower.clone(), max: upper.clone() }), expected(&above, &below));
        prop_assert_eq!(found(LexRange { min: lower, max: LexBound::Highest }), expected(&above, &|_| true));
        prop_assert_eq!(found(LexRange { min: LexBound::Lowest, max: upper }), expected(&|_| true, &below));
        prop_assert_eq!(found(LexRange { min: LexBound::Highest, max: LexBound::Highest }), Vec::<Bytes>::new());
    }
}
