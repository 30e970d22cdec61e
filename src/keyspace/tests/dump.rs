//! `DUMP` and `RESTORE`. The payloads in hexadecimal come from Valkey 9.1.2 (version 80) and Redis 7.0
//! (version 10), but for those that are made here with a checksum of their own.

use crc::{CRC_64_REDIS, Crc};
use proptest::prelude::*;

use super::*;

static CRC: Crc<u64> = Crc::<u64>::new(&CRC_64_REDIS);

/// A payload with a correct footer.
fn payload(body: &[u8], version: u16) -> Bytes {
    let mut payload = body.to_vec();
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = CRC.checksum(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload.into()
}

fn unhex(text: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("two digits");
    (0..text.len()).step_by(2).map(digit).collect::<Vec<_>>().into()
}

/// `RESTORE key ttl payload` and more words.
fn restore(server: &mut Server, key: &str, ttl: &str, payload: &Bytes, options: &str) -> String {
    let mut call = server.call(&format!("restore {key} {ttl}"));
    call.argv.push(payload.clone());
    call.argv.extend(argv(options));
    let published = &mut server.published;
    let mut publish = |effects: &Effects<'_>| {
        let shown = |arg: &Bytes| {
            if arg.len() > 16 { "PAYLOAD".to_owned() } else { String::from_utf8_lossy(arg).into_owned() }
        };
        let op = |op: &crate::rewrite::Op<'_>| op.argv.iter().map(shown).collect::<Vec<_>>().join(" ");
        published.push(effects.ops.iter().map(op).collect::<Vec<_>>().join("; "));
    };
    text(&server.keyspace.execute(&[call], server.now_ms, &mut publish).remove(0))
}

fn dump(server: &mut Server, key: &str) -> Bytes {
    match server.run(&format!("dump {key}")) {
        Reply::Bulk(payload) => payload,
        other => panic!("no payload: {other:?}"),
    }
}

/// The keyspace's own value under a key.
fn value(server: &Server, key: &str) -> Option<Value> {
    let shard = server.keyspace.lock_shard(server.keyspace.shard_of(key.as_bytes()));
    shard.get(0, key.as_bytes()).map(|entry| entry.value.clone())
}

fn string_payload() -> Bytes {
    payload(b"\0\x0bhello world", 10)
}

const WRONG: &str = "-ERR DUMP payload version or checksum are wrong";
const BAD: &str = "-ERR Bad data format";

#[test]
fn a_payload_is_restored_under_its_conditions() {
    let mut server = Server::new();
    let hello = string_payload();
    let mut check = |key: &str, ttl: &str, payload: &Bytes, options: &str, reply: &str, published: &str| {
        assert_eq!(restore(&mut server, key, ttl, payload, options), reply, "restore {key} {ttl} {options}");
        assert_eq!(server.take_published(), published, "restore {key} {ttl} {options}");
    };
    check("a", "0", &hello, "", "OK", "restore a 0 PAYLOAD");
    check("a", "0", &hello, "", "-BUSYKEY Target key name already exists.", "");
    check("a", "x", &Bytes::new(), "", "-BUSYKEY Target key name already exists.", "");
    check("a", "0", &hello, "replace", "OK", "restore a 0 PAYLOAD replace");
    check("b", "500", &hello, "", "OK", "restore b 1500 PAYLOAD ABSTTL");
    check("c", "500", &hello, "Replace idletime 3", "OK", "restore c 1500 PAYLOAD Replace idletime 3 ABSTTL");
    check("d", "9999", &hello, "absttl freq 255", "OK", "restore d 9999 PAYLOAD absttl freq 255");
    check("e", "1000", &hello, "absttl", "OK", "");
    check("a", "1000", &hello, "absttl replace", "OK", "UNLINK a");
    check("a", "1000", &hello, "absttl replace", "OK", "");
    check("d", "9223372036854775807", &hello, "replace", "OK", "UNLINK d");
    check("z", "x", &hello, "", "-ERR value is not an integer or out of range", "");
    check("z", "-1", &Bytes::new(), "", "-ERR Invalid TTL value, must be >= 0", "");
    check("z", "0", &hello, "idletime -1", "-ERR Invalid IDLETIME value, must be >= 0", "");
    check("z", "0", &hello, "idletime x", "-ERR value is not an integer or out of range", "");
    check("z", "0", &hello, "freq 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255", "");
    check("z", "0", &hello, "freq -1", "-ERR Invalid FREQ value, must be >= 0 and <= 255", "");
    for syntax in ["foo", "idletime", "freq", "idletime 1 freq 1", "freq 1 idletime 1"] {
        check("z", "0", &hello, syntax, "-ERR syntax error", "");
    }
    assert_eq!(text(&server.run("pexpiretime b")), ":1500");
    assert_eq!(text(&server.run("get b")), "hello world");
    assert_eq!(text(&server.run("dump nothing")), "nil");
}

#[test]
fn a_replaced_key_is_not_judged_and_one_in_the_way_is() {
    let mut server = Server::new();
    server.run("set k v px 5");
    server.now_ms = 2000;
    server.take_published();
    assert_eq!(restore(&mut server, "k", "0", &string_payload(), "replace"), "OK");
    assert_eq!(server.take_published(), "restore k 0 PAYLOAD replace");
    server.run("set k v px 5");
    server.now_ms = 3000;
    server.take_published();
    assert_eq!(restore(&mut server, "k", "0", &string_payload(), ""), "OK");
    assert_eq!(server.take_published(), "UNLINK k; restore k 0 PAYLOAD");
}

#[test]
fn a_replica_takes_a_deadline_that_has_passed() {
    let server = Server::new();
    let call = Call { db: 0, argv: [argv("restore k 5"), vec![string_payload()], argv("ABSTTL")].concat() };
    let replies = server.keyspace.execute_under(ExpiryPolicy::Ignore, &[call], 1000, &mut |_| {});
    assert_eq!(text(&replies[0]), "OK");
    assert!(value(&server, "k").is_some());
}

#[test]
fn only_known_versions_with_a_correct_checksum_are_read() {
    let mut server = Server::new();
    let body = b"\0\x05hello";
    for version in [1, 9, 10, 11, 80] {
        assert_eq!(restore(&mut server, "k", "0", &payload(body, version), "replace"), "OK", "{version}");
    }
    for version in [0, 12, 13, 79, 81, u16::MAX] {
        assert_eq!(restore(&mut server, "k", "0", &payload(body, version), "replace"), WRONG, "{version}");
    }
    let good = payload(body, 10);
    for at in 0..good.len() {
        let mut flipped = good.to_vec();
        flipped[at] ^= 1;
        assert_eq!(restore(&mut server, "k", "0", &flipped.into(), "replace"), WRONG, "bit flipped in {at}");
        assert_eq!(restore(&mut server, "k", "0", &good.slice(..at), "replace"), WRONG, "cut at {at}");
    }
}

#[test]
fn what_no_server_dumps_is_refused_and_leaves_the_key_alone() {
    let mut server = Server::new();
    server.run("set k v");
    let one = 1f64.to_le_bytes();
    let bad: &[&[u8]] = &[
        b"",
        b"\0",
        b"\0\x05hell",
        b"\x63\x05hello",
        b"\x01\0",
        b"\x02\0",
        b"\x04\0",
        b"\x05\0",
        b"\x02\x02\x01a\x01a",
        b"\x04\x02\x01a\x01b\x01a\x01c",
        &[b"\x05\x02\x01a".as_slice(), &one, b"\x01a", &one].concat(),
        &[b"\x05\x01\x01a".as_slice(), &f64::NAN.to_le_bytes()].concat(),
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x05\0\x03\0",
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x03\0\x03\0",
        b"\x0b\x08\x02\0\0\0\0\0\0\0",
        b"\x14\x0d\x0d\0\0\0\x02\0\x81a\x02\x81a\x02\xff",
        b"\x12\0",
        b"\x15\0",
        b"\x18\0\0\0\0\0\0\0\0\x01\0\x01a\x01b",
        b"\xff\0",
        // Lengths that nothing backs.
        b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x02\x80\xff\xff\xff\xff",
        b"\0\xc3\x01\x80\xff\xff\xff\xff\0",
    ];
    for body in bad {
        for version in [10, 80] {
            let reply = restore(&mut server, "k", "0", &payload(body, version), "replace");
            assert!(reply.starts_with(BAD), "{body:?}: {reply}");
        }
    }
    assert_eq!(server.take_published(), "set k v");
    assert_eq!(text(&server.run("get k")), "v");
}

#[test]
fn a_type_that_is_not_kept_is_refused_with_the_key_and_the_type() {
    let mut server = Server::new();
    for (body, value_type) in
        [(b"\x15\0", "21 (stream)"), (b"\x07\0", "7 (module)"), (b"\x63\0", "99 (unknown)")]
    {
        let expected = format!("{BAD}: 'k' would be of type {value_type}, which is not kept here");
        assert_eq!(restore(&mut server, "k", "0", &payload(body, 80), ""), expected);
    }
    let key = "k".repeat(1000);
    let reply = restore(&mut server, &key, "0", &payload(b"\x15\0", 80), "");
    assert!(reply.contains("kkk...' would be") && reply.len() < 150, "{reply}");
}

/// A hash as Valkey writes it when a field has a deadline: field, value, deadline or -1.
fn hash_body(fields: &[(&str, &str, i64)]) -> Vec<u8> {
    let mut body = vec![0x16, fields.len() as u8];
    for (field, value, deadline) in fields {
        for text in [field, value] {
            body.push(text.len() as u8);
            body.extend_from_slice(text.as_bytes());
        }
        body.extend_from_slice(&deadline.to_le_bytes());
    }
    body
}

fn hash(server: &Server, key: &str) -> Hash {
    match value(server, key) {
        Some(Value::Hash(hash)) => Hash::clone(&hash),
        other => panic!("no hash: {other:?}"),
    }
}

#[test]
fn field_deadlines_are_restored_as_they_are_whatever_the_clock_says() {
    let fields =
        [("none", "a", -1), ("past", "b", 1), ("zero", "c", 0), ("now", "d", 1000), ("last", "e", i64::MAX)];
    let mut expected = Hash::new();
    for (field, value, deadline) in fields {
        expected.insert(field.as_bytes(), value.as_bytes(), u64::try_from(deadline).ok());
    }
    for policy in [ExpiryPolicy::Reclaim, ExpiryPolicy::Hide, ExpiryPolicy::Ignore] {
        for version in [1, 10, 11, 80] {
            let server = Server::new();
            let call = Call {
                db: 0,
                argv: [argv("restore h 0"), vec![payload(&hash_body(&fields), version)]].concat(),
            };
            let replies = server.keyspace.execute_under(policy, &[call], 1000, &mut |_| {});
            assert_eq!(text(&replies[0]), "OK");
            assert_eq!(hash(&server, "h"), expected, "{policy:?}, version {version}");
        }
    }
    // A hash of nothing but dead fields is one too, and the field that is named twice none.
    let mut server = Server::new();
    assert_eq!(restore(&mut server, "h", "0", &payload(&hash_body(&[("f", "v", 1)]), 80), ""), "OK");
    assert_eq!((hash(&server, "h").len(), text(&server.run("exists h"))), (1, ":1".to_owned()));
    let twice = payload(&hash_body(&[("f", "v", 1), ("f", "w", -1)]), 80);
    assert_eq!(restore(&mut server, "h", "0", &twice, "replace"), BAD);
    for before_the_epoch in [-2, i64::MIN] {
        let body = hash_body(&[("f", "v", before_the_epoch)]);
        assert_eq!(restore(&mut server, "h", "0", &payload(&body, 80), "replace"), BAD);
    }
    // Redis 7.4's own form comes in a version that Valkey refuses, and is no type of Valkey's.
    let redis = [b"\x18".as_slice(), &5000u64.to_le_bytes(), b"\x01\x01\x01f\x01v"].concat();
    assert_eq!(restore(&mut server, "h", "0", &payload(&redis, 12), "replace"), WRONG);
    assert!(restore(&mut server, "h", "0", &payload(&redis, 11), "replace").starts_with(BAD));
    assert!(restore(&mut server, "h", "0", &payload(&redis, 80), "replace").starts_with(BAD));
}

#[test]
fn a_hash_is_dumped_with_its_dead_fields_if_one_has_a_deadline() {
    let mut server = Server::new();
    // What Valkey 9.1.2 dumped.
    let valkeys = payload(&unhex("16020161c0013fe95d0ba20100000162c002ffffffffffffffff"), 80);
    assert_eq!(restore(&mut server, "h", "0", &valkeys, ""), "OK");
    assert_eq!(dump(&mut server, "h"), valkeys);
    let dead = payload(&hash_body(&[("f", "v", 1), ("g", "w", 2)]), 80);
    assert_eq!(restore(&mut server, "dead", "0", &dead, ""), "OK");
    assert_eq!(dump(&mut server, "dead"), dead);
    // Without a deadline it is what every server reads.
    assert_eq!(restore(&mut server, "plain", "0", &payload(&hash_body(&[("f", "v", -1)]), 80), ""), "OK");
    assert_eq!(dump(&mut server, "plain"), payload(b"\x04\x01\x01f\x01v", 10));
}

#[test]
fn payloads_of_valkey_and_redis_are_read() {
    let long = "x".repeat(60);
    let payloads = [
        ("120102111100000003008161020101f290eefe04ff5000d76b47c75e123e70", "list"),
        ("120102111100000003008161020101f290eefe04ff0a0018418e56c0405984", "list"),
        ("0b0c0200000002000000030005005000cc7a871235cb69ed", "<3 5>"),
        ("0b0c0200000002000000030005000a0003504e83ab990e19", "<3 5>"),
        ("140d0d0000000200816102816202ff5000ac197e562a6e5829", "<a b>"),
        ("0202016101620a00fe642125eb033d0d", "<a b>"),
        ("1118180000000400816202842d696e660581610283312e3504ff5000ada975f3e59b2075", "zset"),
        ("1118180000000400816202842d696e660581610283312e3504ff0a006283bc627bc94781", "zset"),
        ("10121200000004008166028176028167020101ff5000eceb6c72c3a88fe8", "{f=v g=1}"),
        ("10121200000004008166028176028167020101ff0a0023c1a5e35dfae81c", "{f=v g=1}"),
        ("00c3093c017878e02f000178785000dc40824782e7605a", &long),
        ("00c3093c017878e02f000178780a00136a4bd61cb507ae", &long),
        ("00c13930500052be23b60dae6f4d", "12345"),
        ("00c139300a009d94ea2793fc08b9", "12345"),
    ];
    for (hexadecimal, expected) in payloads {
        let mut server = Server::new();
        assert_eq!(restore(&mut server, "k", "0", &unhex(hexadecimal), ""), "OK", "{hexadecimal}");
        let read = match value(&server, "k").expect("a value") {
            Value::String(_) => text(&server.run("get k")),
            Value::Set(_) => text(&server.run("smembers k")),
            Value::Hash(_) => text(&server.run("hgetall k")),
            Value::List(list) => {
                assert_eq!(
                    list.iter().map(|it| it.to_vec()).collect::<Vec<_>>(),
                    [&b"a"[..], b"1", b"-70000"]
                );
                "list".to_owned()
            }
            Value::ZSet(zset) => {
                let mut scores: Vec<_> =
                    zset.iter().map(|(member, score)| (member.to_vec(), score)).collect();
                scores.sort_by(|a, b| a.1.total_cmp(&b.1));
                assert_eq!(scores, [(b"b".to_vec(), f64::NEG_INFINITY), (b"a".to_vec(), 1.5)]);
                "zset".to_owned()
            }
        };
        assert_eq!(read, expected, "{hexadecimal}");
    }
}

/// What goes out for a payload, byte for byte.
fn sent_payload(sent: &Bytes) -> Bytes {
    let server = Server::new();
    let call = Call { db: 0, argv: [argv("restore k 0"), vec![sent.clone()]].concat() };
    let mut out = None;
    server.keyspace.execute(&[call], 1000, &mut |effects| out = Some(effects.ops[0].argv[3].clone()));
    out.expect("something was sent")
}

#[test]
fn a_payload_that_older_replicas_cannot_read_goes_out_encoded_anew() {
    let plain = payload(b"\0\x05hello", 10);
    assert_eq!(sent_payload(&plain), plain, "a plain one goes out as sent");
    assert_eq!(sent_payload(&payload(b"\0\x05hello", 9)), payload(b"\0\x05hello", 9));
    assert_eq!(sent_payload(&payload(b"\0\x05hello", 11)), plain);
    assert_eq!(sent_payload(&payload(b"\0\x05hello", 80)), plain);
    assert_eq!(sent_payload(&payload(b"\0\x05hellotrailing", 10)), plain);
    let intset = b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x03\0\x05\0";
    assert_eq!(sent_payload(&payload(intset, 10)), payload(b"\x02\x02\xc0\x03\xc0\x05", 10));
    let hash = [b"\x16\x01\x01f\x01v".as_slice(), &(-1i64).to_le_bytes()].concat();
    assert_eq!(sent_payload(&payload(&hash, 80)), payload(b"\x04\x01\x01f\x01v", 10));
    // Who can hold field deadlines reads what Valkey writes of them.
    let body = hash_body(&[("f", "v", 1), ("g", "w", -1)]);
    assert_eq!(sent_payload(&payload(&body, 80)), payload(&body, 80));
    // A number as text: encoded anew it would be a number.
    let as_sent = payload(&hash_body(&[("f", "5", 1)]), 80);
    assert_eq!(sent_payload(&as_sent), as_sent);
    assert_eq!(sent_payload(&payload(&[&body[..], b"trailing"].concat(), 80)), payload(&body, 80));
}

#[test]
fn every_type_survives_a_round_trip() {
    let mut server = Server::new();
    let long = "x".repeat(5000);
    for command in
        ["set s hello", "set n -129", "set e \"\"", "hset h f v g 1 x -70000", &format!("set long {long}")]
    {
        server.run(command);
    }
    // One of each type by its payload, whether or not there are commands for it.
    let three = 3f64.to_le_bytes();
    let zset = [b"\x05\x02\x01a".as_slice(), &three, b"\x01b", &f64::NEG_INFINITY.to_le_bytes()].concat();
    for (key, body) in [("l", &b"\x01\x03\x01b\0\x01b"[..]), ("set", b"\x02\x02\x01b\xc0\x07"), ("z", &zset)]
    {
        assert_eq!(restore(&mut server, key, "0", &payload(body, 10), ""), "OK");
        assert_eq!(dump(&mut server, key).len(), body.len() + 10, "{key}");
    }
    for key in ["s", "n", "e", "h", "long", "l", "set", "z"] {
        let payload = dump(&mut server, key);
        assert_eq!(restore(&mut server, "copy", "0", &payload, "replace"), "OK", "{key}");
        assert_eq!(value(&server, "copy"), value(&server, key), "{key}");
        assert_eq!(server.take_published().split("; ").last().map(|op| op.contains("copy")), Some(true));
    }
}

/// Payloads of many encodings: where mutation starts.
fn samples() -> Vec<Bytes> {
    let three = 3f64.to_le_bytes();
    let zset = [b"\x05\x02\x01a".as_slice(), &three, b"\x01b", &three].concat();
    let bodies: &[&[u8]] = &[
        b"\0\x05hello",
        b"\0\xc1\x39\x30",
        b"\0\xc3\x09\x3c\x01xx\xe0\x2f\0\x01xx",
        b"\x01\x03\x01b\0\x01b",
        b"\x02\x02\x01b\xc0\x07",
        b"\x03\x01\x01a\x011",
        b"\x04\x01\x01f\x01v",
        &zset,
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x03\0\x05\0",
        b"\x0e\x01\x0d\x0d\0\0\0\x0a\0\0\0\x01\0\0\xf2\xff",
        b"\x10\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff",
        b"\x11\x0d\x0d\0\0\0\x02\0\x81b\x02\x811\x02\xff",
        b"\x12\x01\x02\x0a\x0a\0\0\0\x01\0\x81a\x02\xff",
        b"\x14\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff",
        b"\x16\x01\x01f\x01v\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x16\x02\x01f\x01v\x01\0\0\0\0\0\0\0\x01g\x01w\xff\xff\xff\xff\xff\xff\xff\x7f",
    ];
    bodies.iter().map(|body| payload(body, 80)).collect()
}

#[test]
fn the_samples_are_good_payloads() {
    for sample in samples() {
        assert_eq!(restore(&mut Server::new(), "k", "0", &sample, ""), "OK", "{sample:?}");
    }
}

/// One change to a body.
#[derive(Clone, Debug)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Double(prop::sample::Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let at = any::<prop::sample::Index>;
    let byte =
        prop_oneof![any::<u8>(), prop::sample::select(vec![0, 1, 0x7f, 0x80, 0x81, 0xc3, 0xf0, 0xfe, 0xff])];
    let one = prop_oneof![
        4 => (at(), byte.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        1 => at().prop_map(Mutation::Cut),
        1 => (at(), byte).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => at().prop_map(Mutation::Double),
    ];
    prop::collection::vec(one, 1..6)
}

fn mutate(body: &mut Vec<u8>, mutation: &Mutation) {
    let at = |index: &prop::sample::Index, body: &Vec<u8>| index.index(body.len().max(1)).min(body.len());
    match mutation {
        Mutation::Set(index, byte) => {
            let at = at(index, body);
            if let Some(old) = body.get_mut(at) {
                *old = *byte;
            }
        }
        Mutation::Cut(index) => body.truncate(at(index, body)),
        Mutation::Insert(index, byte) => body.insert(at(index, body), *byte),
        Mutation::Double(index) => body.extend_from_within(at(index, body)..),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// A damaged body under a correct checksum: it is refused, or it is a value that can be dumped and
    /// restored again, and what goes out is that value. It never panics, and it never takes memory that the
    /// payload does not back.
    #[test]
    fn a_damaged_payload_is_refused_or_means_one_value(
        sample in prop::sample::select(samples()), mutations in mutations(), version in prop::sample::select(vec![10, 80]),
    ) {
        let mut body = sample[..sample.len() - 10].to_vec();
        mutations.iter().for_each(|mutation| mutate(&mut body, mutation));
        let mut server = Server::with_shards(1);
        let damaged = payload(&body, version);
        match restore(&mut server, "k", "0", &damaged, "").as_str() {
            "OK" => {
                let first = value(&server, "k");
                let again = dump(&mut server, "k");
                prop_assert_eq!(restore(&mut server, "k2", "0", &again, ""), "OK");
                prop_assert_eq!(value(&server, "k2"), first.clone());
                prop_assert_eq!(restore(&mut server, "k3", "0", &sent_payload(&damaged), ""), "OK");
                prop_assert_eq!(value(&server, "k3"), first);
            }
            reply if reply.starts_with(BAD) => {
                prop_assert!(server.published.is_empty() && value(&server, "k").is_none());
            }
            other => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn noise_is_no_payload(noise in prop::collection::vec(any::<u8>(), 0..64)) {
        let reply = restore(&mut Server::with_shards(1), "k", "0", &noise.into(), "");
        prop_assert_eq!(reply, WRONG);
    }
}
