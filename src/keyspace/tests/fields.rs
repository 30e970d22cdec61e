//! Fields with deadlines: what is answered, propagated and told, as Valkey 9.1.2 does it.
//!
//! A line is `command => reply | propagation | events`; `@n` sets the clock.

use std::collections::BTreeMap;

use super::*;

/// Plays the lines. Misses and new keys are not among the events.
fn play(script: &str) {
    play_on(&mut Recorder::new(), script);
}

fn play_on(recorder: &mut Recorder, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(now_ms) = line.strip_prefix('@') {
            recorder.server.now_ms = now_ms.parse().expect("a clock");
            continue;
        }
        let (command, expected) = line.split_once("=>").expect("a reply");
        let mut expected = expected.split('|').map(str::trim);
        let mut next = || expected.next().unwrap_or_default();
        assert_eq!(text(&recorder.server.run(command)), next(), "the reply to {command}");
        assert_eq!(recorder.server.take_published(), next(), "the propagation of {command}");
        let events = std::mem::take(&mut *recorder.events.0.lock()).join(", ");
        assert_eq!(events, next(), "the events of {command}");
    }
}

/// Plays the lines without looking, as a start.
fn prepare(recorder: &mut Recorder, commands: &[&str]) {
    for command in commands {
        let reply = recorder.server.run(command);
        assert!(!matches!(reply, Reply::Error(_)), "{command}: {reply:?}");
    }
    recorder.server.published.clear();
    recorder.events.0.lock().clear();
}

/// A hash `h` at 2000 ms: `live` has no deadline, `t` one at 101000, those of `d1`, `d2` and `d3` have
/// passed.
fn with_dead_fields() -> Recorder {
    let mut recorder = Recorder::new();
    let commands = ["hset h live 1", "hsetex h ex 100 fields 1 t 2", "hsetex h px 1 fields 3 d1 5 d2 6 d3 x"];
    prepare(&mut recorder, &commands);
    recorder.server.now_ms = 2000;
    recorder
}

#[test]
fn a_deadline_is_set_where_the_condition_is_met() {
    play(
        "hset h a 1 b 2 c 3                 => :3          | hset h a 1 b 2 c 3 | hset h
         hexpire h 100 FIELDS 2 a zz        => [:1 :-2]    | HPEXPIREAT h 101000 FIELDS 2 a zz | hexpire h
         hexpire h 100 NX FIELDS 3 a b b    => [:0 :1 :0]  | HPEXPIREAT h 101000 NX FIELDS 3 a b b | hexpire h
         hexpire h 200 GT FIELDS 2 a c      => [:1 :0]     | HPEXPIREAT h 201000 GT FIELDS 2 a c | hexpire h
         hexpire h 50 LT FIELDS 2 a c       => [:1 :1]     | HPEXPIREAT h 51000 LT FIELDS 2 a c | hexpire h
         hexpire h 50 XX FIELDS 2 b nope    => [:1 :-2]    | HPEXPIREAT h 51000 XX FIELDS 2 b nope | hexpire h
         hexpire h 99 XX GT FIELDS 1 a      => [:1]        | HPEXPIREAT h 100000 XX GT FIELDS 1 a | hexpire h
         hexpire h 99 nx nx fields 1 a      => [:0]
         hexpireat h 80 FIELDS 1 a          => [:1]        | HPEXPIREAT h 80000 FIELDS 1 a | hexpire h
         hpexpire h 5 FIELDS 1 a            => [:1]        | HPEXPIREAT h 1005 FIELDS 1 a | hexpire h
         hpexpireat h 90000 LT FIELDS 1 b   => [:0]
         hpexpireat h 50000 LT FIELDS 1 b   => [:1]        | hpexpireat h 50000 LT FIELDS 1 b | hexpire h
         hexpire nokey 100 FIELDS 2 a b     => [:-2 :-2]
         hexpire nokey 0 FIELDS 2 a b       => [:-2 :-2]
         hset fields a 1                    => :1          | hset fields a 1 | hset fields
         hexpire fields 1 FIELDS 1 a        => [:1]        | HPEXPIREAT fields 2000 FIELDS 1 a | hexpire fields",
    );
}

#[test]
fn a_deadline_that_has_passed_deletes_where_the_condition_is_met() {
    play(
        "hset h a 1 b 2 c 3                 => :3          | hset h a 1 b 2 c 3 | hset h
         hexpire h 0 FIELDS 3 a zz a        => [:2 :-2 :-2] | HDEL h a | hexpired h
         hexpireat h 1 GT FIELDS 1 b        => [:0]
         hexpireat h 1 XX FIELDS 1 b        => [:0]
         hpexpireat h 1000 LT FIELDS 1 b    => [:2]        | HDEL h b | hexpired h
         hpexpireat h 1 FIELDS 2 b b        => [:-2 :-2]
         hpexpire h 0 NX FIELDS 2 zz c      => [:-2 :2]    | HDEL h c | hexpired h, del h
         exists h                           => :0",
    );
}

#[test]
fn an_expire_is_refused_as_valkey_refuses_it() {
    let wrong_count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    let not_integer = "-ERR value is not an integer or out of range";
    let with_nx = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    let table = [
        ("hexpire h 1 FIELDS 1", "-ERR wrong number of arguments for 'hexpire' command"),
        ("hexpire h 1 FIELDS 0 a", wrong_count),
        ("hexpire h 1 FIELDS 2 a", wrong_count),
        ("hexpire h 1 FIELDS 1 a b", wrong_count),
        ("hexpire h 1 FIELDS -1 a", wrong_count),
        ("hexpire h 1 FIELDS 9223372036854775807 a", wrong_count),
        ("hexpire h 1 FIELDS 9223372036854775808 a", not_integer),
        ("hexpire h 1 FIELDS 01 a", not_integer),
        ("hexpire h 1 FIELDS FIELDS 1 a", not_integer),
        ("hexpire h 1 a b c d e", wrong_count),
        ("hexpire h 1 ZZ 1 FIELDS", wrong_count),
        ("hexpire h 1 ZZ FIELDS 1", "-ERR Unsupported option ZZ"),
        ("hexpire h x ZZ FIELDS x a", "-ERR Unsupported option ZZ"),
        ("hexpire h x NX XX FIELDS 2 a", with_nx),
        ("hexpire h 1 NX GT FIELDS 1 a", with_nx),
        ("hexpire h 1 GT LT FIELDS 1 a", "-ERR GT and LT options at the same time are not compatible"),
        ("hexpire h x FIELDS 0 a", wrong_count),
        ("hexpire s x FIELDS 1 a", not_integer),
        ("hexpire s -1 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
        ("hexpire h 9223372036854775 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
        ("hexpire h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hexpire' command"),
        ("hpexpire h 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hpexpire' command"),
        ("hexpireat h 9223372036854776 FIELDS 1 a", "-ERR invalid expire time in 'hexpireat' command"),
        ("hpexpireat h -1 FIELDS 1 a", "-ERR invalid expire time in 'hpexpireat' command"),
        ("hexpire s 1 FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ];
    refused(&table);
}

/// Runs the commands beside a hash `h` and a string `s`: each is refused like this, and nothing has happened.
fn refused(table: &[(&str, &str)]) {
    let mut recorder = Recorder::new();
    prepare(&mut recorder, &["hset h a 1 b 2 c 3", "set s x"]);
    for (command, error) in table {
        assert_eq!(text(&recorder.server.run(command)), *error, "{command}");
    }
    assert_eq!(recorder.server.take_published(), "");
    assert_eq!(*recorder.events.0.lock(), Vec::<String>::new());
    assert_eq!(text(&recorder.server.run("hgetall h")), "{a=1 b=2 c=3}");
    assert_eq!(text(&recorder.server.run("hpexpiretime h FIELDS 3 a b c")), "[:-1 :-1 :-1]");
}

#[test]
fn deadlines_are_answered_in_every_form() {
    play(
        "hset h a 1 b 2                     => :2    | hset h a 1 b 2 | hset h
         hpexpire h 1499 FIELDS 1 a         => [:1]  | HPEXPIREAT h 2499 FIELDS 1 a | hexpire h
         httl h FIELDS 4 a b zz a           => [:1 :-1 :-2 :1]
         hpttl h FIELDS 1 a                 => [:1499]
         hexpiretime h FIELDS 1 a           => [:2]
         hpexpiretime h FIELDS 1 a          => [:2499]
         @2498
         hpttl h FIELDS 1 a                 => [:1]
         httl h FIELDS 1 a                  => [:0]
         @2499
         hpttl h FIELDS 1 a                 => [:0]
         @2500
         hpttl h FIELDS 1 a                 => [:-2]
         hpexpiretime h FIELDS 1 a          => [:-2]
         httl nokey FIELDS 2 a b            => [:-2 :-2]
         hpexpireat h 9223372036854775807 FIELDS 1 b => [:1] | hpexpireat h 9223372036854775807 FIELDS 1 b | hexpire h
         hpexpiretime h FIELDS 1 b          => [:9223372036854775807]
         hexpiretime h FIELDS 1 b           => [:9223372036854776]
         hpttl h FIELDS 1 b                 => [:9223372036854773307]",
    );
    let not_integer = "-ERR value is not an integer or out of range";
    let mut table = Vec::new();
    for name in ["httl", "hpttl", "hexpiretime", "hpexpiretime"] {
        for (arguments, error) in [
            ("h ZZ 1 a", "-ERR syntax error"),
            ("h FIELDS 0 a", "-ERR syntax error"),
            ("s FIELDS 2 a", "-ERR syntax error"),
            ("h FIELDS 1 a b", "-ERR syntax error"),
            ("h FIELDS x a", not_integer),
            ("s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ] {
            table.push((format!("{name} {arguments}"), error));
        }
        table.push((format!("{name} h FIELDS 1"), ""));
    }
    for (command, error) in &mut table {
        let arity =
            format!("-ERR wrong number of arguments for '{}' command", command.split(' ').next().unwrap());
        refused(&[(command, if error.is_empty() { &arity } else { error })]);
    }
}

#[test]
fn a_deadline_is_taken_away_once() {
    play(
        "hsetex h ex 9 fields 2 a 1 b 2     => :1                | hsetex h PXAT 10000 fields 2 a 1 b 2 | hset h, hexpire h
         hset h c 3                         => :1                | hset h c 3 | hset h
         hpersist h FIELDS 4 a zz a c       => [:1 :-2 :-1 :-1]  | hpersist h FIELDS 4 a zz a c | hpersist h
         hpersist h fields 1 a              => [:-1]
         hgetex h PERSIST FIELDS 3 b b zz   => [2 2 nil]         | HPERSIST h FIELDS 1 b | hpersist h
         hgetex h PERSIST PERSIST FIELDS 1 b => [2]
         hpersist nokey FIELDS 2 a b        => [:-2 :-2]",
    );
    let wrong_count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    let table = [
        ("hpersist h FIELDS 1", "-ERR wrong number of arguments for 'hpersist' command"),
        ("hpersist h ZZ FIELDS 1 a", "-ERR syntax error"),
        ("hpersist h 1 a FIELDS", "-ERR syntax error"),
        ("hpersist h FIELDS 0 a", wrong_count),
        ("hpersist s FIELDS 2 a", wrong_count),
        ("hpersist h FIELDS 1 a b", wrong_count),
        ("hpersist h FIELDS x a", "-ERR value is not an integer or out of range"),
        ("hpersist s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ];
    refused(&table);
}

#[test]
fn values_are_taken_out_once() {
    play(
        "hset h a 1 b 2 c 3                 => :3           | hset h a 1 b 2 c 3 | hset h
         hgetdel h FIELDS 3 a zz a          => [1 nil nil]  | HDEL h a | hdel h
         hgetdel h FIELDS 1 zz              => [nil]
         hgetdel h fields 2 b c             => [2 3]        | HDEL h b c | hdel h, del h
         hgetdel h FIELDS 1 b               => [nil]
         exists h                           => :0",
    );
    let wrong_count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    let table = [
        ("hgetdel h FIELDS 1", "-ERR wrong number of arguments for 'hgetdel' command"),
        ("hgetdel h ZZ FIELDS 1 a", "-ERR syntax error"),
        ("hgetdel h FIELDS 0 a", wrong_count),
        ("hgetdel s FIELDS 2 a", wrong_count),
        ("hgetdel h FIELDS x a", "-ERR value is not an integer or out of range"),
        ("hgetdel s FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ];
    refused(&table);
}

#[test]
fn a_value_is_read_and_its_deadline_changed() {
    play(
        "hset h a 1 b 2 c 3                 => :3             | hset h a 1 b 2 c 3 | hset h
         hgetex h FIELDS 3 a zz a           => [1 nil 1]
         hgetex h EX 100 FIELDS 4 a zz a b  => [1 nil 1 2]    | HPEXPIREAT h 101000 FIELDS 3 a a b | hexpire h
         hgetex h PX 100 FIELDS 1 a         => [1]            | HPEXPIREAT h 1100 FIELDS 1 a | hexpire h
         hgetex h exat 100 FIELDS 1 a       => [1]            | HPEXPIREAT h 100000 FIELDS 1 a | hexpire h
         hgetex h PXAT 7000 PXAT 8000 FIELDS 1 a => [1]       | HPEXPIREAT h 8000 FIELDS 1 a | hexpire h
         hgetex h EX x EX 1 FIELDS 1 a      => [1]            | HPEXPIREAT h 2000 FIELDS 1 a | hexpire h
         hgetex h EX 10 FIELDS 1 zz         => [nil]
         hgetex h EX 0 FIELDS 3 a a zz      => [1 nil nil]    | HDEL h a | hexpired h
         hgetex h PXAT 1 FIELDS 2 b c       => [2 3]          | HDEL h b c | hexpired h, del h
         hgetex h PXAT 1 FIELDS 1 b         => [nil]
         hset fields a 1                    => :1             | hset fields a 1 | hset fields
         hgetex fields EX 10 FIELDS 1 a     => [1]            | HPEXPIREAT fields 11000 FIELDS 1 a | hexpire fields",
    );
    let wrong_count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    let not_integer = "-ERR value is not an integer or out of range";
    let table = [
        ("hgetex h FIELDS 1", "-ERR wrong number of arguments for 'hgetex' command"),
        ("hgetex h a b c d", wrong_count),
        ("hgetex h EX 10 FIELDS", wrong_count),
        ("hgetex h EX 10 FIELDS 1", wrong_count),
        ("hgetex h FIELDS 1 a EX 10", wrong_count),
        ("hgetex h ZZ FIELDS x a", "-ERR syntax error"),
        ("hgetex h KEEPTTL FIELDS 1 a", "-ERR syntax error"),
        ("hgetex h EX FIELDS 1 a", "-ERR syntax error"),
        ("hgetex h EX 1 PX 1 FIELDS 1 a", "-ERR syntax error"),
        ("hgetex h EX 1 PERSIST FIELDS 1 a", "-ERR syntax error"),
        ("hgetex h PERSIST EX 1 FIELDS 1 a", "-ERR syntax error"),
        ("hgetex h EX x FIELDS 0 a", wrong_count),
        ("hgetex h EX x FIELDS 1 a", not_integer),
        ("hgetex nokey EX x FIELDS 1 a", not_integer),
        ("hgetex h EX -1 FIELDS 1 a", "-ERR invalid expire time in 'hgetex' command"),
        ("hgetex h PX 9223372036854775807 FIELDS 1 a", "-ERR invalid expire time in 'hgetex' command"),
        ("hgetex s EX x FIELDS 1 a", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ];
    refused(&table);
}

#[test]
fn fields_are_stored_with_a_deadline() {
    play(
        "hsetex h FIELDS 2 a 1 b 2          => :1 | HSET h a 1 b 2 | hset h
         hsetex h EX 100 FIELDS 2 a 1 d 4   => :1 | hsetex h PXAT 101000 FIELDS 2 a 1 d 4 | hset h, hexpire h
         hsetex h px 50 FIELDS 2 a 1 a 5    => :1 | hsetex h PXAT 1050 FIELDS 2 a 1 a 5 | hset h, hexpire h
         hget h a                           => 5
         hsetex h exat 9 FIELDS 1 a 6       => :1 | hsetex h PXAT 9000 FIELDS 1 a 6 | hset h, hexpire h
         hsetex h pxat 9001 FIELDS 1 a 6    => :1 | hsetex h pxat 9001 FIELDS 1 a 6 | hset h, hexpire h
         hsetex h EX 7 EX 9 FIELDS 1 a 6    => :1 | hsetex h PXAT 10000 FIELDS 1 a 6 | hset h, hexpire h
         hsetex h KEEPTTL FIELDS 3 a 7 n 8 d 9 => :1 | {HSET h n 8; HSETEX h PXAT 10000 FIELDS 1 a 7; HSETEX h PXAT 101000 FIELDS 1 d 9} | hset h
         hpexpiretime h FIELDS 4 a n d b    => [:10000 :-1 :101000 :-1]
         hsetex h keepttl FIELDS 2 n 1 b 2  => :1 | HSET h n 1 b 2 | hset h
         hsetex h FIELDS 2 a 1 d 1          => :1 | HSET h a 1 d 1 | hset h
         hpexpiretime h FIELDS 2 a d        => [:-1 :-1]
         hsetex k KEEPTTL FIELDS 1 a 1      => :1 | HSET k a 1 | hset k",
    );
}

#[test]
fn fields_are_stored_on_condition() {
    play(
        "hsetex h FXX FIELDS 1 a 1          => :0
         hsetex h XX FIELDS 1 a 1           => :0
         hsetex h XX EX x FIELDS 1 a 1      => :0
         hsetex h NX FNX EX 9 FIELDS 1 a 1  => :1 | hsetex h PXAT 10000 FIELDS 1 a 1 | hset h, hexpire h
         hsetex h NX EX 9 FIELDS 1 a 1      => :0
         hsetex h FNX FIELDS 2 b 1 a 1      => :0
         hsetex h FXX FIELDS 2 a 1 b 1      => :0
         hsetex h FNX FIELDS 2 b 1 b 2      => :1 | HSET h b 1 b 2 | hset h
         hsetex h FXX KEEPTTL XX FIELDS 2 b 3 a 3 => :1 | {HSET h b 3; HSETEX h PXAT 10000 FIELDS 1 a 3} | hset h
         hsetex h EX 9 FXX FXX FIELDS 1 b 4 => :1 | hsetex h PXAT 10000 FIELDS 1 b 4 | hset h, hexpire h
         hgetall h                          => {a=3 b=4}
         hsetex fnx EX 9 FIELDS 1 nx xx     => :1 | hsetex fnx PXAT 10000 FIELDS 1 nx xx | hset fnx, hexpire fnx
         hsetex nx FNX EX 9 FIELDS 1 xx nx  => :1 | hsetex nx PXAT 10000 FIELDS 1 xx nx | hset nx, hexpire nx
         hsetex fields EX 9 FIELDS 1 a b    => :1 | {HSET fields a b; HPEXPIREAT fields 10000 FIELDS 1 a} | hset fields, hexpire fields",
    );
    let wrong_count = "-ERR numfields should be greater than 0 and match the provided number of fields";
    let not_integer = "-ERR value is not an integer or out of range";
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    let table = [
        ("hsetex h FIELDS 1 a", "-ERR wrong number of arguments for 'hsetex' command"),
        ("hsetex h a b c d", wrong_count),
        ("hsetex h FIELDS 0 a 1", wrong_count),
        ("hsetex h FIELDS 2 a 1", wrong_count),
        ("hsetex h FIELDS 1 a 1 b", wrong_count),
        ("hsetex h FIELDS 4611686018427387905 a 1", wrong_count),
        ("hsetex h FIELDS 9223372036854775807 a 1", wrong_count),
        ("hsetex s FIELDS 2 a 1", wrong_count),
        ("hsetex h FIELDS x a 1", not_integer),
        ("hsetex h ZZ FIELDS x a 1", "-ERR syntax error"),
        ("hsetex h PERSIST FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h EX FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h EX 1 2 FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h EX 1 PXAT 2 FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h EX 1 KEEPTTL FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h KEEPTTL EX 1 FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex s NX XX FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h FXX FNX FIELDS 1 a 1", "-ERR syntax error"),
        ("hsetex h EX x FIELDS 1 a 1", not_integer),
        ("hsetex h EX KEEPTTL FIELDS 1 a 1", not_integer),
        ("hsetex h EX x FXX FIELDS 1 zz 1", not_integer),
        ("hsetex h EX -1 FXX FIELDS 1 zz 1", "-ERR invalid expire time in 'hsetex' command"),
        ("hsetex h PX 9223372036854775807 FIELDS 1 a 1", "-ERR invalid expire time in 'hsetex' command"),
        ("hsetex s EX x FIELDS 1 a 1", wrong_type),
        ("hsetex s XX FIELDS 1 a 1", wrong_type),
    ];
    refused(&table);
}

#[test]
fn fields_that_are_stored_too_late_are_gone() {
    play(
        "hset h a 1 b 2 c 3                 => :3 | hset h a 1 b 2 c 3 | hset h
         hsetex h EX 0 FIELDS 3 a 1 a 2 n 3 => :1 | HDEL h a | hset h, hexpire h, hexpired h
         hsetex h PXAT 1 FIELDS 1 n 3       => :1 |          | hset h, hexpire h, hexpired h
         hsetex h EX 0 FNX FIELDS 1 b 3     => :0
         hsetex h EX 0 FXX FIELDS 2 b 3 n 3 => :0
         hsetex h pxat 1000 FXX FIELDS 1 b 3 => :1 | HDEL h b | hset h, hexpire h, hexpired h
         hsetex h EX 0 FIELDS 1 c 3         => :1 | HDEL h c | hset h, hexpire h, hexpired h, del h
         hsetex h NX EX 0 FIELDS 2 c 3 d 4  => :1 |          | hset h, hexpire h, hexpired h, del h
         hsetex h XX EX 0 FIELDS 2 c 3 d 4  => :0
         exists h                           => :0",
    );
}

#[test]
fn an_increment_keeps_a_deadline_and_a_value_drops_it() {
    play(
        "hsetex h ex 9 fields 3 a 1 b 2 c 3 => :1 | hsetex h PXAT 10000 fields 3 a 1 b 2 c 3 | hset h, hexpire h
         hset h a 1                         => :0 | hset h a 1 | hset h
         hincrby h b 1                      => :3 | HSETEX h PXAT 10000 FIELDS 1 b 3 | hincrby h
         hincrbyfloat h c 1.5               => 4.5 | HSETEX h PXAT 10000 FIELDS 1 c 4.5 | hincrbyfloat h
         hpexpiretime h FIELDS 3 a b c      => [:-1 :10000 :10000]
         hsetnx h n 1                       => :1 | HSET h n 1 | hset h
         hsetnx h b 1                       => :0
         hincrby h m 1                      => :1 | HSET h m 1 | hincrby h
         hincrbyfloat h o 1                 => 1  | HSET h o 1 | hincrbyfloat h
         hpersist h FIELDS 2 b c            => [:1 :1] | hpersist h FIELDS 2 b c | hpersist h
         hsetnx h p 1                       => :1 | hsetnx h p 1 | hset h
         hincrby h m 1                      => :2 | hincrby h m 1 | hincrby h
         hincrbyfloat h o 1                 => 2  | HSET h o 2 | hincrbyfloat h",
    );
}

#[test]
fn a_dead_field_is_absent_and_stays() {
    let script = "
        hlen h                            => :5
        exists h                          => :1
        hgetall h                         => {live=1 t=2}
        hkeys h                           => [live t]
        hvals h                           => [1 2]
        hget h d1                         => nil
        hmget h d1 live                   => [nil 1]
        hexists h d1                      => :0
        hstrlen h d1                      => :0
        hscan h 0                         => [0 [live 1 t 2]]
        hscan h 0 match d* novalues       => [0 []]
        hrandfield h 10                   => [live t]
        httl h FIELDS 2 d1 t              => [:-2 :99]
        hdel h d1 d1 zz                   => :0
        hgetdel h FIELDS 1 d1             => [nil]
        hpersist h FIELDS 2 d1 t          => [:-2 :1]   | HPERSIST h FIELDS 1 t | hpersist h
        hpersist h FIELDS 1 d1            => [:-2]
        hexpire h 99 NX FIELDS 1 d1       => [:-2]
        hexpire h 99 NX FIELDS 3 d1 t zz  => [:-2 :1 :-2] | HPEXPIREAT h 101000 FIELDS 1 t | hexpire h
        hgetex h FIELDS 2 d1 t            => [nil 2]
        hgetex h EX 9 FIELDS 2 d1 t       => [nil 2]    | HPEXPIREAT h 11000 FIELDS 1 t | hexpire h
        hgetex h PERSIST FIELDS 2 d1 t    => [nil 2]    | HPERSIST h FIELDS 1 t | hpersist h
        hgetex h EX 0 FIELDS 1 d1         => [nil]
        hexpire h 0 FIELDS 2 d1 t         => [:-2 :2]   | HDEL h t | hexpired h
        hsetex h FXX FIELDS 1 d1 1        => :0
        hdel h d1 live                    => :1         | HDEL h live | hdel h
        hlen h                            => :3
        hgetall h                         => {}
        hrandfield h                      => nil
        hrandfield h 3                    => []
        hrandfield h -3 withvalues        => []
        hsetex h NX FIELDS 1 d1 7         => :0
        exists h                          => :1
        type h                            => hash
        del h                             => :1         | del h | del h";
    play_on(&mut with_dead_fields(), script);
}

#[test]
fn what_is_stored_in_place_of_a_dead_field_is_new() {
    let table = [
        ("hset h d1 9 d1 8 live 1", ":1 | hset h d1 9 d1 8 live 1 | hexpired h, hset h", 1),
        ("hmset h d1 9 d2 9", "OK | hmset h d1 9 d2 9 | hexpired h, hset h", 2),
        ("hsetnx h d1 9", ":1 | HSET h d1 9 | hexpired h, hset h", 1),
        ("hincrby h d1 9", ":9 | HSET h d1 9 | hexpired h, hincrby h", 1),
        ("hincrby h d3 9", ":9 | HSET h d3 9 | hexpired h, hincrby h", 1),
        ("hincrbyfloat h d3 9", "9 | HSET h d3 9 | hexpired h, hincrbyfloat h", 1),
        ("hsetex h FIELDS 3 d1 4 live 4 d1 5", ":1 | HSET h d1 4 live 4 d1 5 | hexpired h, hset h", 1),
        ("hsetex h FNX FIELDS 2 d1 4 d2 4", ":1 | HSET h d1 4 d2 4 | hexpired h, hset h", 2),
        (
            "hsetex h KEEPTTL FIELDS 3 d1 4 t 4 d1 5",
            ":1 | {HSET h d1 4 d1 5; HSETEX h PXAT 101000 FIELDS 1 t 4} | hexpired h, hset h",
            1,
        ),
        (
            "hsetex h PX 9 FIELDS 2 d1 4 d2 5",
            ":1 | hsetex h PXAT 2009 FIELDS 2 d1 4 d2 5 | hexpired h, hset h, hexpire h",
            2,
        ),
        // Valkey counts every pair that is stored too late.
        ("hsetex h EX 0 FIELDS 2 d1 4 zz 5", ":1 | HDEL h d1 | hset h, hexpire h, hexpired h", 2),
        ("hexpire h 0 FIELDS 3 live d1 t", "[:2 :-2 :2] | HDEL h live t | hexpired h", 2),
        ("hgetex h EX 0 FIELDS 2 live d1", "[1 nil] | HDEL h live | hexpired h", 1),
        // Refused, or nothing to reclaim.
        ("hincrby h d1 x", "-ERR value is not an integer or out of range", 0),
        ("hincrbyfloat h d1 x", "-ERR value is not a valid float", 0),
        ("hdel h d1", ":0", 0),
        ("copy h c", ":1 | {copy h c; HDEL c d1 d2 d3} | copy_to c", 0),
    ];
    for (command, expected, expired) in table {
        let mut recorder = with_dead_fields();
        play_on(&mut recorder, &format!("{command} => {expected}"));
        assert_eq!(recorder.server.keyspace.stats().expired_fields, expired, "{command}");
    }
}

#[test]
fn a_hash_keeps_its_dead_fields_wherever_it_goes_but_not_in_a_copy() {
    let copied = "
        copy h c                          => :1 | {copy h c; HDEL c d1 d2 d3} | copy_to c
        hlen c                            => :2
        hpexpiretime c FIELDS 2 live t    => [:-1 :101000]
        copy h c                          => :0
        copy h c db 1 replace             => :1 | {copy h c db 1 replace; 1:HDEL c d1 d2 d3} | copy_to c
        hlen h                            => :5
        rename h g                        => OK | rename h g | rename_from h, rename_to g
        hlen g                            => :5
        move g 1                          => :1 | move g 1 | move_from g, move_to g
        exists g                          => :0
        hdel c live t                     => :2 | hdel c live t | hdel c, del c";
    let mut recorder = with_dead_fields();
    play_on(&mut recorder, copied);
    recorder.server.db = 1;
    assert_eq!(text(&recorder.server.run("hlen g")), ":5");
    assert_eq!(text(&recorder.server.run("hlen c")), ":2");
}

#[test]
fn a_copy_of_nothing_alive_is_nothing() {
    let script = "
        hdel h live t                     => :2 | hdel h live t | hdel h
        copy h c                          => :1 |               | copy_to c, del c
        exists c                          => :0
        set c x                           => OK | set c x       | set c
        copy h c                          => :0
        copy h c replace                  => :1 | UNLINK c      | copy_to c, del c
        exists c                          => :0
        hlen h                            => :3";
    play_on(&mut with_dead_fields(), script);
}

#[test]
fn a_command_that_changes_nothing_is_no_modification() {
    let unchanging = [
        "hsetnx h live 2",
        "hdel h zz d1",
        "hgetdel h FIELDS 2 zz d1",
        "hexpire h 9 XX FIELDS 2 live d1",
        "hexpire h 0 FIELDS 2 zz d1",
        "hpersist h FIELDS 3 live d1 zz",
        "hgetex h FIELDS 2 t d1",
        "hgetex h PERSIST FIELDS 3 live d1 zz",
        "hgetex h EX 0 FIELDS 2 d1 zz",
        "hsetex h NX FIELDS 1 zz 1",
        "hsetex h FXX FIELDS 2 live 1 d1 1",
        "hsetex h EX 0 FIELDS 1 zz 1",
        "hsetex nokey EX 0 FIELDS 1 zz 1",
    ];
    let changing = [
        "hset h live 1",
        "hexpire h 9 FIELDS 1 live",
        "hexpire h 0 FIELDS 1 live",
        "hpersist h FIELDS 1 t",
        "hgetex h EX 9 FIELDS 1 t",
        "hgetdel h FIELDS 1 t",
        "hsetex h EX 0 FIELDS 1 d1 1",
        "hsetex h FIELDS 1 live 1",
    ];
    for (commands, modifies) in [(&unchanging[..], false), (&changing[..], true)] {
        for command in commands {
            let mut server = with_dead_fields().server;
            let mut watch = WatchSet::default();
            let keys = ["h", "nokey"].map(Bytes::from);
            server.keyspace.watch(&mut watch, 0, &keys, server.now_ms);
            assert!(!matches!(server.run(command), Reply::Error(_)), "{command}");
            assert_eq!(watch.is_touched(), modifies, "{command}");
            assert_eq!(server.take_published().is_empty(), !modifies, "{command}");
            server.keyspace.unwatch(&mut watch);
        }
    }
}

#[test]
fn a_field_that_is_there_is_not_set_again_and_a_shared_hash_stays_shared() {
    let mut server = Server::new();
    server.run("hset h f 1");
    let value = |server: &Server| {
        let shard = server.keyspace.lock_shard(server.keyspace.shard_of(b"h"));
        match &shard.get(0, b"h").expect("it was set").value {
            Value::Hash(hash) => hash.clone(),
            _ => panic!("a hash"),
        }
    };
    let shared = value(&server);
    assert_eq!(text(&server.run("hsetnx h f 2")), ":0");
    assert!(Arc::ptr_eq(&shared, &value(&server)));
    assert_eq!(text(&server.run("hsetnx h g 2")), ":1");
    assert!(!Arc::ptr_eq(&shared, &value(&server)));
}

#[test]
fn what_a_replica_applies_is_not_judged() {
    let apply = |server: &Server, command: &str| {
        let call = server.call(command);
        let (policy, calls) = (ExpiryPolicy::Ignore, [call]);
        text(&server.keyspace.execute_under(policy, &calls, server.now_ms, &mut |_| ()).remove(0))
    };
    let server = with_dead_fields().server;
    let table = [
        ("hmget h d1 t", "[5 2]"),
        ("hpexpireat h 1 FIELDS 1 live", "[:1]"),
        ("hpexpireat h 1500 GT FIELDS 2 d1 live", "[:1 :1]"),
        ("hsetex h PXAT 1 FIELDS 1 n 1", ":1"),
        ("hsetex h KEEPTTL FIELDS 1 d2 8", ":1"),
        ("hincrby h d2 1", ":9"),
        ("hgetex h PXAT 7 FIELDS 1 t", "[2]"),
        ("hpexpiretime h FIELDS 5 live n d1 d2 t", "[:1500 :1 :1500 :1001 :7]"),
        ("hsetnx h d1 1", ":0"),
        ("hpersist h FIELDS 1 d3", "[:1]"),
        ("hgetdel h FIELDS 1 d1", "[5]"),
        ("copy h c", ":1"),
        ("hlen c", ":5"),
        ("hdel h live n d2", ":3"),
    ];
    for (command, reply) in table {
        assert_eq!(apply(&server, command), reply, "{command}");
    }
    assert_eq!(server.keyspace.stats().expired_fields, 0);
}

#[test]
fn a_reader_of_a_replica_sees_what_is_alive() {
    let server = with_dead_fields().server;
    let read = |command: &str| {
        let call = server.call(command);
        let (policy, calls) = (ExpiryPolicy::Hide, [call]);
        text(&server.keyspace.execute_under(policy, &calls, server.now_ms, &mut |_| ()).remove(0))
    };
    assert_eq!(read("hgetall h"), "{live=1 t=2}");
    assert_eq!(read("hmget h d1 t"), "[nil 2]");
    assert_eq!(read("httl h FIELDS 2 d1 t"), "[:-2 :99]");
    assert_eq!(read("hlen h"), ":5");
}

#[test]
fn nothing_expires_within_a_unit() {
    let mut server = Server::new();
    let replies = server.run_all(&[
        "hsetex h PX 1 FIELDS 2 a 1 b 2",
        "hget h a",
        "hexpire h 0 FIELDS 1 a",
        "hincrby h b 1",
        "hget h a",
    ]);
    assert_eq!(replies.iter().map(text).collect::<Vec<_>>(), [":1", "1", "[:2]", ":3", "nil"]);
    let sent = "{hsetex h PXAT 1001 FIELDS 2 a 1 b 2; HDEL h a; HSETEX h PXAT 1001 FIELDS 1 b 3}";
    assert_eq!(server.take_published(), sent);
    server.now_ms = 1002;
    assert_eq!(text(&server.run("hget h b")), "nil");
}

#[test]
fn a_key_that_has_expired_takes_its_fields_with_it() {
    play(
        "hset h a 1 b 2                     => :2 | hset h a 1 b 2 | hset h
         pexpire h 5                        => :1 | PEXPIREAT h 1005 | expire h
         @1006
         hexpire h 100 FIELDS 1 a           => [:-2] | UNLINK h | expired h
         hset h a 1                         => :1 | hset h a 1 | hset h
         pexpire h 5                        => :1 | PEXPIREAT h 1011 | expire h
         @1012
         hsetex h EX 1 FIELDS 1 a 1         => :1 | {UNLINK h; hsetex h PXAT 2012 FIELDS 1 a 1} | expired h, hset h, hexpire h
         set h x                            => OK | set h x | set h
         @3000
         get h                              => x",
    );
}

#[test]
fn the_encoding_is_that_of_a_hash_which_once_had_a_deadline() {
    play(
        "hset h a 1                         => :1 | hset h a 1 | hset h
         hexpire h 0 FIELDS 1 zz            => [:-2]
         hgetex h EX 9 FIELDS 1 zz          => [nil]
         hsetex h EX 0 FIELDS 1 zz 1        => :1 |           | hset h, hexpire h, hexpired h
         hsetex h KEEPTTL FIELDS 1 a 5      => :1 | HSET h a 5 | hset h
         object encoding h                  => listpack
         hexpire h 9 FIELDS 1 a             => [:1] | HPEXPIREAT h 10000 FIELDS 1 a | hexpire h
         object encoding h                  => hashtable
         hpersist h FIELDS 1 a              => [:1] | hpersist h FIELDS 1 a | hpersist h
         object encoding h                  => hashtable
         copy h c                           => :1 | copy h c | copy_to c
         object encoding c                  => hashtable",
    );
}

#[test]
fn a_random_field_is_any_that_is_alive_and_never_a_dead_one() {
    const DRAWS: usize = 3000;
    // Few alive among many dead; half of them, in a table and in a compact hash; few dead among many alive;
    // none dead.
    for (alive, dead) in [(3, 600), (100, 100), (20, 20), (300, 3), (20, 0)] {
        let mut server = Server::new();
        for n in 0..alive.max(dead) {
            if n < alive {
                server.run(&format!("hset h live{n} v{n}"));
            }
            if n < dead {
                server.run(&format!("hsetex h PX 1 FIELDS 1 dead{n} x"));
            }
        }
        server.now_ms = 2000;
        let mut drawn = BTreeMap::new();
        for _ in 0..DRAWS {
            *drawn.entry(text(&server.run("hrandfield h"))).or_insert(0) += 1;
        }
        let Reply::Array(repeated) = server.run(&format!("hrandfield h -{DRAWS}")) else {
            panic!("an array")
        };
        assert_eq!(repeated.len(), DRAWS);
        repeated.iter().for_each(|field| *drawn.entry(text(field)).or_insert(0) += 1);
        for _ in 0..DRAWS / 2 {
            let Reply::Array(two) = server.run("hrandfield h 2") else { panic!("an array") };
            assert_eq!(two.len(), 2);
            assert_ne!(two[0], two[1]);
            two.iter().for_each(|field| *drawn.entry(text(field)).or_insert(0) += 1);
        }
        assert!(drawn.keys().all(|field| field.starts_with("live")), "{drawn:?}");
        assert_eq!(drawn.len(), alive, "each is drawn sooner or later");
        // Six standard deviations around what is expected of each.
        let expected = (3 * DRAWS / alive) as f64;
        let fair = |times: &i32| (f64::from(*times) - expected).abs() < 6.0 * expected.sqrt();
        assert!(drawn.values().all(fair), "{alive} alive, {dead} dead: {drawn:?}");
        let Reply::Array(all) = server.run("hrandfield h 10000") else { panic!("an array") };
        assert_eq!(all.len(), alive);
    }
}

#[test]
fn a_scan_meets_every_field_that_is_alive_and_no_dead_one() {
    let mut server = Server::new();
    for n in 0..500 {
        server.run(&format!("hsetex h PX 1 FIELDS 1 dead{n} x"));
        server.run(&format!("hset h live{n} v{n}"));
    }
    server.now_ms = 2000;
    let (mut cursor, mut met) = ("0".to_owned(), std::collections::BTreeSet::new());
    loop {
        let Reply::Array(page) = server.run(&format!("hscan h {cursor} count 50 novalues")) else {
            panic!("a page")
        };
        let Reply::Array(fields) = &page[1] else { panic!("fields") };
        assert!(fields.len() <= 50);
        met.extend(fields.iter().map(text));
        cursor = text(&page[0]);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(met.len(), 500);
    assert!(met.iter().all(|field| field.starts_with("live")));
}

#[test]
fn a_miss_is_told_by_those_that_read() {
    let mut recorder = Recorder::new();
    recorder
        .server
        .keyspace
        .set_event_classes(events::EventClass::Miss as u32 | events::EventClass::New as u32);
    for (command, events) in [
        ("httl n FIELDS 1 a", "keymiss n"),
        ("hpexpiretime n FIELDS 1 a", "keymiss n"),
        ("hgetex n FIELDS 1 a", "keymiss n"),
        ("hgetex n EX x FIELDS 1 a", "keymiss n"),
        ("hgetex n EX 1 FIELDS 2 a", ""),
        ("hgetdel n FIELDS 1 a", ""),
        ("hexpire n 1 FIELDS 1 a", ""),
        ("hpersist n FIELDS 1 a", ""),
        ("hsetex n EX 0 FIELDS 1 a 1", "new n"),
        ("hsetex n EX 1 FIELDS 1 a 1", "new n"),
    ] {
        assert_eq!(recorder.run(command), events, "{command}");
    }
}
