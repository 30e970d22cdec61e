use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;

fn parse_all(bytes: &[u8]) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    parse_cut(bytes, &[], true)
}

/// Feeds `bytes` in pieces of the given sizes, in turn, and collects what comes out.
fn parse_cut(bytes: &[u8], sizes: &[usize], authenticated: bool) -> (Vec<Vec<Bytes>>, Option<ProtocolError>) {
    let mut parser = CommandParser::new(Limits::default());
    parser.set_authenticated(authenticated);
    let (mut input, mut commands, mut rest, mut turn) = (BytesMut::new(), Vec::new(), bytes, 0);
    while !rest.is_empty() {
        let size = if sizes.is_empty() { rest.len() } else { sizes[turn % sizes.len()].clamp(1, rest.len()) };
        turn += 1;
        input.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        loop {
            match parser.next(&mut input) {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.next(&mut input), Err(error), "an error is final");
                    return (commands, Some(error));
                }
            }
        }
    }
    (commands, None)
}

fn words(line: &str) -> Vec<Bytes> {
    let (mut commands, error) = parse_all(format!("{line}\r\n").as_bytes());
    assert_eq!((commands.len(), error), (1, None), "{line}");
    commands.remove(0)
}

fn error_text(bytes: &[u8]) -> String {
    parse_all(bytes).1.map_or_else(|| "no error".into(), |error| error.to_string())
}

// Every row of the next three tests was tried against Valkey 9.1.2.

#[test]
fn inline_words_are_split_as_valkey_splits_them() {
    assert_eq!(words("echo 'ab'c"), ["echo", "abc"]);
    assert_eq!(words("echo \"ab\"'c'd"), ["echo", "abcd"]);
    assert_eq!(words(r#"echo "a\x41\n""#), ["echo", "aA\n"]);
    assert_eq!(words(r"echo 'a\'b\n'"), ["echo", r"a'b\n"]);
    assert_eq!(words(r"echo 'a\'"), ["echo", r"a\"]);
    assert_eq!(words(r"echo 'abc\'\'"), ["echo", r"abc'\"]);
    assert_eq!(words(r#"echo "a\""#), ["echo", r"a\"]);
    assert_eq!(words(r#"echo "\xZZ\q""#), ["echo", "xZZq"]);
    assert_eq!(words("echo a'b c'd\"e f\"g"), ["echo", "ab cde fg"]);
    assert_eq!(words("echo a\x0bb"), ["echo", "a\x0bb"]);
    assert_eq!(words("\x0becho \x0b b\r"), ["echo", "b"]);
    assert_eq!(words("echo \"a\rb\""), ["echo", "a\rb"]);
    assert_eq!(words("echo a\rb"), ["echo", "a", "b"]);
    assert_eq!(words("echo \"\""), ["echo", ""]);
    assert_eq!(words("\"\""), [""]);
    for line in ["\"abc", "'abc", "a\\\"b", r"'a\' b", r#""a\" "#, "\"a\\", r#""a\x4"#] {
        assert_eq!(
            error_text(format!("echo {line}\r\n").as_bytes()),
            "Protocol error: unbalanced quotes in request",
            "{line}"
        );
    }
}

#[test]
fn empty_commands_are_skipped() {
    let ping = vec![Bytes::from("PING")];
    for bytes in
        ["PING\nPING\n", "*-5\r\nPING\r\n*0\r\nPING\r\n", "*1\r\n$4\r\nPING\r\n\r\n  \t\r\n\nPING\r\n"]
    {
        assert_eq!(parse_all(bytes.as_bytes()), (vec![ping.clone(), ping.clone()], None), "{bytes:?}");
    }
}

#[test]
fn protocol_errors_are_worded_as_in_valkey() {
    for (bytes, text) in [
        ("*2147483648\r\n", "invalid multibulk length"),
        ("*01\r\n", "invalid multibulk length"),
        ("*+1\r\n", "invalid multibulk length"),
        ("*-0\r\n", "invalid multibulk length"),
        ("*\r\n", "invalid multibulk length"),
        ("*-99999999999999999999\r\n", "invalid multibulk length"),
        ("*1\0\r\n", "invalid multibulk length"),
        ("*1\r\nx4\r\n", "expected '$', got 'x'"),
        ("*1\r\n\r\n", "expected '$', got ' '"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$536870913\r\n", "invalid bulk length"),
        ("*1\r\n$\r\n", "invalid bulk length"),
        ("*1\rX", "invalid CRLF in request"),
        ("*x\rY", "invalid CRLF in request"),
        ("*1\r\n$4\rY", "invalid CRLF in request"),
        ("*2\r\n$4\r\nPINGZZ", "invalid CRLF in request"),
        ("*1\r\n$4\r\nPING\rZ", "invalid CRLF in request"),
    ] {
        assert_eq!(error_text(bytes.as_bytes()), format!("Protocol error: {text}"), "{bytes:?}");
    }
    for open in
        ["*2147483647\r\n", "*1\r\n$536870912\r\n", "*1\r\nx\r", "*1\r\nx", "*\n", "*1\r\n$4\r\nPINGZ"]
    {
        assert_eq!(parse_all(open.as_bytes()), (vec![], None), "{open:?} waits for more");
    }
}

#[test]
fn lines_are_bounded() {
    let limit = Limits::default().max_inline_bytes;
    let line = |start: &str, len: usize| format!("{start}{}", "1".repeat(len));
    assert_eq!(error_text(line("", limit).as_bytes()), "no error");
    assert_eq!(error_text(line("", limit + 1).as_bytes()), "Protocol error: too big inline request");
    assert_eq!(
        error_text((line("", limit + 1) + "\r\n").as_bytes()),
        "Protocol error: too big inline request"
    );
    assert_eq!(error_text(line("*", limit - 1).as_bytes()), "no error");
    assert_eq!(error_text(line("*", limit).as_bytes()), "Protocol error: too big mbulk count string");
    assert_eq!(error_text(line("*1\r\n$", limit - 1).as_bytes()), "no error");
    assert_eq!(error_text(line("*1\r\n$", limit).as_bytes()), "Protocol error: too big bulk count string");
}

#[test]
fn the_end_of_an_inline_line_does_not_count_however_it_is_cut() {
    let limit = Limits::default().max_inline_bytes;
    let line = "1".repeat(limit);
    // The second read brings the LF alone.
    for (end, at) in [("\r\n", limit + 1), ("\n", limit)] {
        let (commands, error) = parse_cut((line.clone() + end).as_bytes(), &[at, 1], true);
        assert_eq!((commands.len(), error), (1, None), "{end:?}");
    }
    let (_, error) = parse_cut((line + "\r1").as_bytes(), &[limit + 1, 1], true);
    assert_eq!(error, Some(ProtocolError::InlineTooBig), "the CR was a byte like any other");
}

#[test]
fn before_authentication_the_limits_are_low() {
    for (bytes, text) in [
        ("*10\r\n", "no error"),
        ("*11\r\n", "Protocol error: unauthenticated multibulk length"),
        ("*1\r\n$16384\r\n", "no error"),
        ("*1\r\n$16385\r\n", "Protocol error: unauthenticated bulk length"),
    ] {
        let error = parse_cut(bytes.as_bytes(), &[], false).1;
        assert_eq!(error.map_or("no error".into(), |error| error.to_string()), text, "{bytes:?}");
        assert_eq!(parse_all(bytes.as_bytes()).1, None);
    }
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut parser = CommandParser::new(Limits::default());
    let mut input = BytesMut::from("*2147483647\r\n$536870912\r\nx");
    assert_eq!(parser.next(&mut input), Ok(None));
    assert_eq!(parser.missing_bytes(&input), (512 << 20) + 1);
    assert!(input.capacity() < 1024 && parser.args_capacity() <= 64);
    assert!(!parser.is_idle());
}

#[test]
fn arguments_are_slices_of_the_input() {
    let mut input = BytesMut::from("*2\r\n$3\r\nSET\r\n$1\r\nk\r\n");
    let memory = input.as_ptr_range();
    let command = CommandParser::new(Limits::default()).next(&mut input).unwrap().unwrap();
    assert!(command.iter().all(|arg| memory.contains(&arg.as_ptr())));
}

#[test]
fn consumed_bytes_add_up_to_the_stream() {
    let bytes = b"\r\n*0\r\n*1\r\n$4\r\nPING\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n";
    let (mut parser, mut input) = (CommandParser::new(Limits::default()), BytesMut::from(&bytes[..]));
    let mut taken = Vec::new();
    while parser.next(&mut input).unwrap().is_some() {
        taken.push(parser.last_command_bytes());
    }
    assert_eq!(taken, [20, 6, 21]);
}

#[test]
fn doubles_print_as_in_valkey() {
    // Measured with ZADD and ZSCORE on Valkey 9.1.2.
    for (value, text) in [
        (1.5, "1.5"),
        (1e21, "1e+21"),
        (1e-5, "0.00001"),
        (1e-7, "1e-7"),
        (1e17, "100000000000000000"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e+308"),
        (f64::INFINITY, "inf"),
        (f64::NEG_INFINITY, "-inf"),
        (f64::NAN, "nan"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e22, "1e+22"),
        (12345678e15, "1.2345678e+22"),
        (1.234e-6, "1.234e-6"),
        (4611686018427386880.0, "4611686018427386880"),
        (4611686018427387904.0, "4611686018427387904"),
        (-4611686018427387904.0, "-4611686018427387904"),
        (4611686018427388928.0, "4611686018427389000"),
        (-4611686018427388928.0, "-4611686018427389000"),
        (6.1e18, "6.1e+18"),
        (9223372036854775808.0, "9223372036854776000"),
        (-2.63817797701641e18, "-2638177977016410112"),
        (-0.0, "-0"),
        (-123.456, "-123.456"),
    ] {
        let mut out = Vec::new();
        write_double(value, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn replies_in_both_protocols() {
    use Reply::*;
    let pair = || vec![(Bulk("k".into()), Integer(1))];
    for (reply, resp2, resp3) in [
        (Simple("OK"), "+OK\r\n", "+OK\r\n"),
        (Status("a\r\nb".into()), "+a  b\r\n", "+a  b\r\n"),
        (Error("ERR x\n".into()), "-ERR x \r\n", "-ERR x \r\n"),
        (Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
        (Bulk("a\r\n".into()), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
        (Null, "$-1\r\n", "_\r\n"),
        (NullArray, "*-1\r\n", "_\r\n"),
        (Array(vec![Null, Integer(2)]), "*2\r\n$-1\r\n:2\r\n", "*2\r\n_\r\n:2\r\n"),
        (Map(pair()), "*2\r\n$1\r\nk\r\n:1\r\n", "%1\r\n$1\r\nk\r\n:1\r\n"),
        (Set(vec![Integer(1)]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
        (Push(vec![Integer(1)]), "*1\r\n:1\r\n", ">1\r\n:1\r\n"),
        (Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
        (Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
        (Boolean(true), ":1\r\n", "#t\r\n"),
        (Boolean(false), ":0\r\n", "#f\r\n"),
        (Verbatim("abc".into()), "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n"),
    ] {
        for (protocol, text) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
            let mut out = BytesMut::new();
            reply.encode(protocol, &mut out);
            assert_eq!(out, text, "{reply:?} {protocol:?}");
        }
    }
}

#[test]
fn foreign_reply_types_are_mapped() {
    let mut parser = ReplyParser::new(ReplyLimits::default());
    let mut input = BytesMut::from(
        "|1\r\n+ttl\r\n*1\r\n:3\r\n(123456789012345678901234567890\r\n!5\r\nERR x\r\n*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n|1\r\n+b\r\n+c\r\n+d\r\n:2\r\n*0\r\n",
    );
    let mut replies = Vec::new();
    while let Some(reply) = parser.next(&mut input).unwrap() {
        replies.push(reply);
    }
    use Reply::*;
    assert_eq!(
        replies,
        [
            Bulk("123456789012345678901234567890".into()),
            Error("ERR x".into()),
            Array(vec![Integer(1), Integer(2)]),
            Array(vec![]),
        ]
    );
}

#[test]
fn malformed_replies_are_typed_errors() {
    let error = |bytes: &[u8]| {
        let limits =
            ReplyLimits { max_depth: 2, max_line_bytes: 16, max_elements: 100, ..ReplyLimits::default() };
        ReplyParser::new(limits).next(&mut BytesMut::from(bytes)).unwrap_err()
    };
    assert_eq!(error(b"?"), ReplyError::UnknownType { got: b'?' });
    assert_eq!(error(b":x\r\n"), ReplyError::Malformed { kind: b':' });
    assert_eq!(error(b"$?\r\n"), ReplyError::Malformed { kind: b'$' });
    assert_eq!(error(b"*-2\r\n"), ReplyError::Malformed { kind: b'*' });
    assert_eq!(error(b"=3\r\ntxt\r\n"), ReplyError::Malformed { kind: b'=' });
    assert_eq!(error(b"#x\r\n"), ReplyError::Malformed { kind: b'#' });
    assert_eq!(error(b":1\rx"), ReplyError::InvalidCrlf { kind: b':' });
    assert_eq!(error(b"$1\r\naXX"), ReplyError::InvalidCrlf { kind: b'$' });
    assert_eq!(error(b"+aaaaaaaaaaaaaaaaaaaaaaa"), ReplyError::LineTooBig { limit: 16 });
    assert_eq!(error(b"*101\r\n"), ReplyError::LengthTooBig { claimed: 101, limit: 100 });
    assert_eq!(error(b"%51\r\n"), ReplyError::LengthTooBig { claimed: 51, limit: 50 });
    assert_eq!(error(b"*1\r\n*1\r\n*1\r\n"), ReplyError::TooDeep { limit: 2 });
}

fn argument() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(prop::sample::select(b"\r\n$*\"' \\".to_vec()), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..3000),
    ]
}

/// Bytes that look like the protocol, so that the search gets beyond the first byte.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        prop::sample::select(
            &[
                "*",
                "$",
                "\r\n",
                "\r",
                "\n",
                "-1",
                "2",
                "0",
                "99",
                "9223372036854775807",
                ":",
                "%1",
                "|1",
                "~2",
                "=5"
            ][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::sample::select(
            &["*1\r\n", "$3\r\nabc\r\n", "txt:a", "\"", "'", "\\", " ", "a", ">1\r\n", "(1\r\n", "_\r\n"][..]
        )
        .prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        "[^\r\n]{0,12}".prop_map(Reply::Status),
        // Without the characters that stand for bytes, which are sent as those.
        "[^\r\n\u{10FF00}-\u{10FFFF}]{0,12}".prop_map(Reply::Error),
        any::<i64>().prop_map(Reply::Integer),
        argument().prop_map(|bytes| Reply::Bulk(bytes.into())),
        argument().prop_map(|bytes| Reply::Verbatim(bytes.into())),
        prop::num::f64::ANY
            .prop_filter("nan is not equal to itself", |d| !d.is_nan())
            .prop_map(Reply::Double),
        any::<bool>().prop_map(Reply::Boolean),
        Just(Reply::Null),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            items.clone().prop_map(Reply::Array),
            items.clone().prop_map(Reply::Set),
            items.prop_map(Reply::Push),
            prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(Reply::pairs),
            prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
        ]
    })
}

/// What a RESP3 client sees of a reply: rows are arrays like others.
fn as_resp3(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(as_resp3).collect();
    match reply {
        Reply::Array(items) | Reply::Rows(items) => Reply::Array(all(items)),
        Reply::Set(items) => Reply::Set(all(items)),
        Reply::Push(items) => Reply::Push(all(items)),
        Reply::Map(pairs) => Reply::Map(pairs.into_iter().map(|(k, v)| (as_resp3(k), as_resp3(v))).collect()),
        other => other,
    }
}

/// What a RESP2 client sees of a reply: the types RESP2 lacks, replaced.
fn as_resp2(reply: Reply) -> Reply {
    let all = |items: Vec<Reply>| items.into_iter().map(as_resp2).collect();
    match reply {
        Reply::Simple(text) => Reply::Status(text.into()),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => Reply::Array(all(items)),
        Reply::Map(pairs) => {
            Reply::Array(pairs.into_iter().flat_map(|(k, v)| [as_resp2(k), as_resp2(v)]).collect())
        }
        Reply::Rows(rows) => Reply::Array(
            rows.iter().flat_map(|row| row.children(Protocol::Resp2)).cloned().map(as_resp2).collect(),
        ),
        Reply::Boolean(value) => Reply::Integer(value.into()),
        Reply::Verbatim(bytes) => Reply::Bulk(bytes),
        Reply::Double(value) => {
            let mut text = Vec::new();
            write_double(value, &mut text);
            Reply::Bulk(text.into())
        }
        other => other,
    }
}

proptest! {
    #[test]
    fn commands_survive_any_cutting(
        commands in prop::collection::vec(prop::collection::vec(argument(), 1..6), 0..6),
        sizes in prop::collection::vec(1usize..50, 0..8),
    ) {
        let mut bytes = Vec::new();
        for command in &commands {
            let before = bytes.len();
            encode_command(command, &mut bytes);
            prop_assert_eq!(bytes.len() - before, encoded_len(command));
        }
        let (parsed, error) = parse_cut(&bytes, &sizes, true);
        prop_assert_eq!(error, None);
        prop_assert_eq!(parsed, commands);
    }

    #[test]
    fn the_answer_does_not_depend_on_the_cutting(bytes in hostile(), sizes in prop::collection::vec(1usize..9, 1..5)) {
        prop_assert_eq!(parse_cut(&bytes, &sizes, true), parse_all(&bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        parse_all(&bytes);
        let mut input = BytesMut::from(&bytes[..]);
        let mut parser = ReplyParser::new(ReplyLimits::default());
        while let Ok(Some(_)) = parser.next(&mut input) {}
    }

    #[test]
    fn hostile_replies_do_not_depend_on_the_cutting(bytes in hostile(), step in 1usize..5) {
        let whole = replies_of(&bytes, bytes.len().max(1));
        prop_assert_eq!(replies_of(&bytes, step), whole);
    }

    #[test]
    fn replies_survive_any_cutting(reply in reply(), step in 1usize..50) {
        for (protocol, expected) in [(Protocol::Resp3, as_resp3(reply.clone())), (Protocol::Resp2, as_resp2(reply.clone()))] {
            let mut bytes = BytesMut::new();
            reply.encode(protocol, &mut bytes);
            prop_assert_eq!(replies_of(&bytes, step), (vec![format!("{expected:?}")], None));
        }
    }

    #[test]
    fn doubles_read_back_as_themselves(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        let mut text = Vec::new();
        write_double(value, &mut text);
        let back: f64 = std::str::from_utf8(&text).unwrap().parse().unwrap();
        prop_assert!(back.to_bits() == bits || (back.is_nan() && value.is_nan()));
    }

    #[test]
    fn integers_are_canonical_or_refused(value in any::<i64>(), text in "[-+0-9]{0,21}") {
        prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        let expected = text.parse::<i64>().ok().filter(|value| value.to_string() == text);
        prop_assert_eq!(parse_integer(text.as_bytes()), expected);
    }
}

/// Whole numbers about the ends of the range and about the powers of ten, in and out of it.
#[test]
fn integers_about_every_edge_are_read_or_refused() {
    let powers = (0..21).flat_map(|digits| [10i128.pow(digits), -10i128.pow(digits)]);
    for edge in powers.chain([i128::from(i64::MIN), i128::from(i64::MAX), i128::from(u64::MAX)]) {
        for value in edge - 2..=edge + 2 {
            assert_eq!(parse_integer(value.to_string().as_bytes()), i64::try_from(value).ok(), "{value}");
        }
    }
}

#[test]
fn what_stands_for_a_byte_in_an_error_is_not_taken_from_elsewhere() {
    let (replies, error) = replies_of("-ERR \u{10FF0A}x\r\n".as_bytes(), 1);
    assert_eq!((replies, error), (vec![format!("{:?}", Reply::Error("ERR \u{FFFD}x".into()))], None));
}

/// Replies as text (in which nan equals nan), fed in steps.
fn replies_of(bytes: &[u8], step: usize) -> (Vec<String>, Option<ReplyError>) {
    let (mut parser, mut input, mut replies) =
        (ReplyParser::new(ReplyLimits::default()), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match parser.next(&mut input) {
                Ok(Some(reply)) => replies.push(format!("{reply:?}")),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

#[test]
fn where_only_multibulk_is_taken_a_line_of_words_is_refused_however_it_is_cut() {
    let refused = |got| Some(ProtocolError::ExpectedMultibulk { got });
    for (bytes, commands, error) in [
        (&b"\n\r\n*1\r\n$4\r\nPING\r\n\n"[..], 1, None),
        (b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", 1, None),
        (b"*1\r\n$4\r\nPING\r\nPING\r\n", 1, refused(b'P')),
        (b"*0\r\n PING\r\n", 0, refused(b' ')),
        (b"\n\r\r\n", 0, refused(b'\r')),
        (b"+", 0, refused(b'+')),
    ] {
        for size in 1..=bytes.len() {
            let mut parser = CommandParser::new(Limits::default());
            parser.set_multibulk_only(true);
            let (mut input, mut count, mut failure) = (BytesMut::new(), 0, None);
            for piece in bytes.chunks(size) {
                input.extend_from_slice(piece);
                while failure.is_none() {
                    match parser.next(&mut input) {
                        Ok(Some(_)) => count += 1,
                        Ok(None) => break,
                        Err(error) => failure = Some(error),
                    }
                }
            }
            assert_eq!(
                (count, failure),
                (commands, error),
                "{:?} by {size}",
                bytes.escape_ascii().to_string()
            );
        }
    }
}
