//! Bits, and the rest of what is done with strings, as Valkey 9.1.2 was seen to do it.

use super::*;

#[test]
fn a_bit_is_set_and_the_string_grows_to_it() {
    session(
        r#"set a abc          => OK | set a abc
           setbit a 0 0       => :0 |
           setbit a 0 1       => :0 | setbit a 0 1
           getbit a 0         => :1
           setbit a 0 1       => :1 |
           setbit a 100 0     => :0 | setbit a 100 0
           strlen a           => :13
           setbit new 0 0     => :0 | setbit new 0 0
           setbit new 0 0     => :0 |
           getbit new 4194303 => :0
           getbit none 5      => :0
           setbit a -1 0      => -ERR bit offset is not an integer or out of range
           setbit a x 0       => -ERR bit offset is not an integer or out of range
           setbit a 8388608 2 => -ERR bit offset is not an integer or out of range
           setbit a 8388607 2 => -ERR bit is not an integer or out of range
           getbit a 8388608   => -ERR bit offset is not an integer or out of range
           hset h f v         => :1 | hset h f v
           setbit h 0 0       => -WRONGTYPE Operation against a key holding the wrong kind of value
           getbit h 0         => -WRONGTYPE Operation against a key holding the wrong kind of value
           set k v px 100     => OK | set k v PXAT 1100
           setbit k 3 0       => :1 | setbit k 3 0
           pttl k             => :100"#,
    );
}

#[test]
fn bits_are_counted_in_ranges_of_bytes_and_bits() {
    session(
        r#"set a abc             => OK | set a abc
           bitcount a            => :10
           bitcount a 1          => :7
           bitcount a 0 -1       => :10
           bitcount a 5 12 bit   => :3
           bitcount a -8 -1 BIT  => :4
           bitcount a 8 15 bit   => :3
           bitcount a 9 9 bit    => :1
           bitcount a 1 1 BYTE   => :3
           bitcount a -1 -3      => :0
           bitcount a 2 1        => :0
           bitcount a -100 -50   => :3
           bitcount a 0 100      => :10
           bitcount a 0 -1 foo   => -ERR syntax error
           bitcount a 0 -1 bit 1 => -ERR syntax error
           bitcount none x y     => -ERR value is not an integer or out of range
           bitcount none 0 -1 foo => -ERR syntax error
           bitcount none         => :0"#,
    );
}

#[test]
fn the_first_bit_of_a_kind_is_found() {
    session(
        r#"bitpos none 0           => :0
           bitpos none 1           => :-1
           bitpos none 2           => -ERR The bit argument must be 1 or 0.
           bitpos none 0 0 -1 foo  => -ERR syntax error
           bitpos none 1 0 bit     => -ERR value is not an integer or out of range
           bitfield f set u24 0 16777215 => [:0] | bitfield f set u24 0 16777215
           bitpos f 0              => :24
           bitpos f 0 0            => :24
           bitpos f 0 0 -1         => :-1
           bitpos f 0 0 -1 bit     => :-1
           bitpos f 0 5            => :-1
           bitpos f 1 2 1          => :-1
           bitpos f 1 2            => :16
           bitpos f 1 3 9 bit      => :3
           bitfield z set u24 0 65520 => [:0] | bitfield z set u24 0 65520
           bitpos z 1 7 15 bit     => :8
           bitpos z 1 -100 -1      => :8
           bitpos z 0 8 -1 bit     => :20
           bitpos z 0 1 1          => :-1
           bitpos z 0 9 19 bit     => :-1
           append e ""             => :0 | append e ""
           bitpos e 0              => :-1"#,
    );
}

#[test]
fn strings_are_combined_bit_by_bit() {
    session(
        r#"set a abc              => OK | set a abc
           set b bb               => OK | set b bb
           bitop and d a b        => :3 | bitop and d a b
           bitcount d             => :5
           bitop or d a b none    => :3 | bitop or d a b none
           get d                  => cbc
           bitop xor d a a        => :3 | bitop xor d a a
           bitcount d             => :0
           bitop not d a          => :3 | bitop not d a
           bitcount d             => :14
           bitop not d a b        => -ERR BITOP NOT must be called with a single source key.
           bitop diff d a b       => -ERR syntax error
           hset h f v             => :1 | hset h f v
           bitop and d h a        => -WRONGTYPE Operation against a key holding the wrong kind of value
           bitop and h a b        => :3 | bitop and h a b
           type h                 => string
           bitop and d none       => :0 | bitop and d none
           exists d               => :0
           bitop and d none       => :0 |
           set x v px 1           => OK | set x v PXAT 1001
           set y v ex 9           => OK | set y v PXAT 10000
           @2000
           bitop or y x a         => :3 | {UNLINK x; bitop or y x a}
           ttl y                  => :-1"#,
    );
}

#[test]
fn fields_of_bits_are_read_written_and_added_to() {
    session(
        r#"bitfield b get u8 0              => [:0] |
           bitfield b                       => [] |
           exists b                         => :0
           bitfield b set u8 0 255 get u8 0 => [:0 :255] | bitfield b set u8 0 255 get u8 0
           bitfield b set u8 0 255          => [:255] |
           bitfield b incrby u8 0 10        => [:9] | bitfield b incrby u8 0 10
           bitfield b overflow sat incrby u8 0 1000 overflow fail incrby u8 0 10 => [:255 nil] | bitfield b overflow sat incrby u8 0 1000 overflow fail incrby u8 0 10
           bitfield b overflow fail incrby u8 0 10 => [nil] |
           bitfield b get i4 0 get u4 0     => [:-1 :15] |
           bitfield b set i8 0 200          => [:-1] | bitfield b set i8 0 200
           bitfield b incrby i8 0 100       => [:44] | bitfield b incrby i8 0 100
           bitfield b overflow sat incrby i8 0 -1000 => [:-128] | bitfield b overflow sat incrby i8 0 -1000
           bitfield b overflow sat set u8 0 -1 => [:128] | bitfield b overflow sat set u8 0 -1
           bitfield b set i64 0 -9223372036854775808 => [:-72057594037927936] | bitfield b set i64 0 -9223372036854775808
           bitfield b incrby i64 0 -1       => [:9223372036854775807] | bitfield b incrby i64 0 -1
           bitfield b overflow sat incrby i64 0 1 => [:9223372036854775807] |
           bitfield b incrby u63 1 1        => [:0] | bitfield b incrby u63 1 1
           bitfield b set u13 3 8191 get u13 3 get u5 7 get u8 #1 => [:0 :8191 :31 :255] | bitfield b set u13 3 8191 get u13 3 get u5 7 get u8 #1
           bitfield b incrby u3 5 1 incrby u3 5 -1 => [:0 :7] | bitfield b incrby u3 5 1 incrby u3 5 -1
           bitfield_ro b get u3 5           => [:7]
           bitfield_ro b overflow sat       => []
           bitfield_ro b set u8 0 1         => -ERR BITFIELD_RO only supports the GET subcommand
           bitfield b overflow foo incrby u2 0 1 => -ERR Invalid OVERFLOW type specified
           bitfield b overflow              => -ERR syntax error
           bitfield b set u8 0              => -ERR syntax error
           bitfield b get u64 0             => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
           bitfield b get i0 0              => -ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.
           bitfield b get u8 #x             => -ERR bit offset is not an integer or out of range
           bitfield b get u8 #1048576       => -ERR bit offset is not an integer or out of range
           bitfield b set u8 0 x            => -ERR value is not an integer or out of range
           hset h f v                       => :1 | hset h f v
           bitfield h                       => -WRONGTYPE Operation against a key holding the wrong kind of value"#,
    );
}

/// Valkey propagates nothing for these, and a replica that knows less than the primary is the result.
#[test]
fn a_field_that_fails_but_makes_the_string_longer_is_propagated() {
    session(
        r#"bitfield k overflow fail incrby u2 0 10    => [nil] | bitfield k overflow fail incrby u2 0 10
           exists k                                   => :1
           bitfield k overflow fail incrby u2 0 10    => [nil] |
           bitfield k overflow fail set u8 1000 256   => [nil] | bitfield k overflow fail set u8 1000 256
           strlen k                                   => :126"#,
    );
}

#[test]
fn several_keys_are_stored_at_once_under_a_condition() {
    session(
        r#"msetex 2 a 1 b 2            => :1 | MSET a 1 b 2
           msetex 2 a 1 c 2 nx         => :0 |
           msetex 2 a 1 c 2 xx         => :0 |
           msetex 2 a 3 b 4 XX         => :1 | MSET a 3 b 4
           msetex 2 a 1 b 2 ex 100     => :1 | {SET a 1 PXAT 101000; SET b 2 PXAT 101000}
           msetex 1 a 5 keepttl        => :1 | SET a 5 KEEPTTL
           ttl a                       => :100
           msetex 1 a 5 ex 9 ex 10     => :1 | SET a 5 PXAT 11000
           msetex 1 p 1 exat 1         => :1 | SET p 1 PXAT 1000
           exists p                    => :1
           msetex 2 ex ex p 1 pxat 999 => :1 | {SET ex ex PXAT 999; SET p 1 PXAT 999}
           exists p                    => :0 | UNLINK p
           msetex 1 ex 2 nx            => :1 | {UNLINK ex; MSET ex 2}
           msetex 2 a 1 b 2 ex 1 px 1  => -ERR syntax error
           msetex 2 a 1 b 2 nx xx      => -ERR syntax error
           msetex 2 a 1 b 2 get        => -ERR syntax error
           msetex 2 a 1 b 2 ifeq 1     => -ERR syntax error
           msetex 2 a 1 b 2 ex         => -ERR syntax error
           msetex 2 a 1 b              => -ERR syntax error
           msetex 2147483647 a 1       => -ERR syntax error
           msetex 2147483648 a 1       => -ERR invalid numkeys value or out of range
           msetex 0 a 1                => -ERR invalid numkeys value or out of range
           msetex x a 1                => -ERR invalid numkeys value or out of range
           msetex 1 a                  => -ERR wrong number of arguments for 'msetex' command
           msetex 1 a 1 ex 0           => -ERR invalid expire time in 'msetex' command
           msetex 1 a 1 ex x           => -ERR value is not an integer or out of range
           set d v                     => OK | set d v
           delifeq d w                 => :0 |
           delifeq d v                 => :1 | DEL d
           delifeq d v                 => :0 |"#,
    );
}

#[test]
fn the_longest_common_subsequence_is_found() {
    session(
        r#"set x ohmytext                     => OK | set x ohmytext
           set y mynewtext                    => OK | set y mynewtext
           lcs x y                            => mytext
           lcs x y len                        => :6
           lcs x y idx                        => {matches=[[[:4 :7] [:5 :8]] [[:2 :3] [:0 :1]]] len=:6}
           lcs x y idx withmatchlen           => {matches=[[[:4 :7] [:5 :8] :4] [[:2 :3] [:0 :1] :2]] len=:6}
           lcs x y idx minmatchlen 4          => {matches=[[[:4 :7] [:5 :8]]] len=:6}
           lcs x y minmatchlen 4 withmatchlen => mytext
           lcs x y len idx                    => -ERR If you want both the length and indexes, please just use IDX.
           lcs x y minmatchlen                => -ERR syntax error
           lcs x y minmatchlen x              => -ERR value is not an integer or out of range
           lcs x none                         => ""
           lcs x none idx                     => {matches=[] len=:0}
           lcs x x idx                        => {matches=[[[:0 :7] [:0 :7]]] len=:8}
           hset h f v                         => :1 | hset h f v
           lcs h x foo                        => -ERR The specified keys must contain string values
           setbit x 800000 1                  => :0 | setbit x 800000 1
           lcs x x                            => -ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"#,
    );
}

#[test]
fn a_command_on_bits_that_changes_nothing_does_not_disturb_a_watch() {
    let mut server = Server::new();
    server.run("setbit k 0 1");
    let mut set = WatchSet::new();
    server.keyspace.watch(&mut set, 0, &argv("k"), server.now_ms);
    server.run("setbit k 0 1");
    server.run("bitfield k set u1 0 1");
    assert!(!set.is_touched());
    server.run("bitfield k set u1 0 0");
    assert!(set.is_touched());
    server.keyspace.unwatch(&mut set);
}

#[test]
fn events_name_what_was_done() {
    let mut recorder = Recorder::new();
    let mut told = |words: &str| recorder.run(words);
    assert_eq!(told("setbit k 9 0"), "setbit k");
    assert_eq!(told("setbit k 9 0"), "");
    assert_eq!(told("bitfield n overflow fail incrby u2 0 10"), "");
    assert_eq!(told("bitfield k set u1 0 1"), "setbit k");
    assert_eq!(told("bitop or d k"), "set d");
    assert_eq!(told("bitop or d none"), "del d");
    assert_eq!(told("msetex 2 a 1 b 2 ex 5"), "set a, expire a, set b, expire b");
    assert_eq!(told("delifeq a 1"), "del a");
}

#[test]
fn a_shorter_string_is_combined_as_if_zeros_followed() {
    session(
        r#"mset l ppp s p             => OK | mset l ppp s p
           bitop and d l s l          => :3 | bitop and d l s l
           bitcount d                 => :3
           bitcount d 1 2             => :0
           bitop or d s l s           => :3 | bitop or d s l s
           bitcount d                 => :9
           bitop xor d l s            => :3 | bitop xor d l s
           bitcount d                 => :6
           bitcount d 0 0             => :0"#,
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]

    /// Long runs are counted and searched word by word: the same as bit by bit.
    #[test]
    fn words_are_counted_and_searched_like_bits(
        runs in proptest::collection::vec((proptest::prelude::any::<bool>(), 0_usize..24), 0..5),
        flipped in proptest::collection::vec(0_usize..480, 0..4),
        start in 0_usize..480,
        end in 0_usize..480,
        sought in 0_usize..2,
    ) {
        let mut bits: Vec<bool> = runs.into_iter().flat_map(|(bit, bytes)| vec![bit; bytes * 8]).collect();
        for at in flipped {
            if let Some(bit) = bits.get_mut(at) {
                *bit = !*bit;
            }
        }
        let bytes: Vec<u8> =
            bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect();
        let server = Server::new();
        let run = |argv: Vec<Vec<u8>>| {
            let call = Call { db: 0, argv: argv.into_iter().map(Bytes::from).collect() };
            server.keyspace.execute(&[call], 0, &mut |_| ()).remove(0)
        };
        run(vec![b"SET".to_vec(), b"k".to_vec(), bytes]);
        let number = |n: usize| n.to_string().into_bytes();
        let range = || vec![number(start), number(end), b"BIT".to_vec()];
        let within: Vec<bool> = bits.iter().copied().take(end + 1).skip(start).collect();
        let ones = within.iter().filter(|&&bit| bit).count();
        let counted = run([vec![b"BITCOUNT".to_vec(), b"k".to_vec()], range()].concat());
        proptest::prop_assert_eq!(counted, Reply::Integer(ones as i64));
        let first = within.iter().position(|&bit| bit == (sought == 1)).map_or(-1, |at| (start + at) as i64);
        let found = run([vec![b"BITPOS".to_vec(), b"k".to_vec(), number(sought)], range()].concat());
        proptest::prop_assert_eq!(found, Reply::Integer(first));
    }
}
