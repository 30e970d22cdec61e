//! One rule after another, at its boundaries. The whole is searched by `tests/replica_link.rs`.

use super::*;
use crate::resp::encode_command;
use crate::resync::{Framing, History, Previous, ReplicationId, ServerVersion};

const MARK: &str = "0123456789abcdef0123456789abcdef01234567";

fn id(byte: u8) -> ReplicationId {
    ReplicationId::from_random([byte; 20])
}

fn position(byte: u8, offset: u64, db: Option<u32>) -> Position {
    Position { id: id(byte), offset, db }
}

fn frames(commands: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for command in commands {
        encode_command(&command.split(' ').collect::<Vec<_>>(), &mut bytes);
    }
    bytes
}

/// A session, its clock, and everything that came out.
struct Led {
    session: ReplicaSession,
    now_ms: u64,
    sent: Vec<u8>,
}

impl Led {
    fn new(builder: Builder) -> Led {
        Led { session: builder.build(), now_ms: 0, sent: Vec::new() }
    }

    fn events(&mut self) -> Vec<Event> {
        let events = std::iter::from_fn(|| self.session.next_event(self.now_ms)).collect();
        self.sent.extend_from_slice(&self.session.take_output());
        events
    }

    /// Waits until the next attempt is due, and connects.
    fn connect(&mut self) {
        self.now_ms = self.session.next_deadline_ms().unwrap_or(0).max(self.now_ms);
        assert_eq!(self.events(), [Event::Connect]);
        self.sent.clear();
        self.session.connected();
        assert_eq!(self.events(), []);
        assert_eq!(self.take_sent(), frames(&["PING"]));
    }

    fn receive(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Event> {
        self.session.receive(bytes.as_ref());
        self.events()
    }

    fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// Up to the answer to `PSYNC`; returns the request.
    fn ask(&mut self) -> String {
        self.connect();
        assert_eq!(self.receive("+PONG\r\n"), []);
        let answers = self.take_sent().iter().filter(|byte| **byte == b'*').count();
        assert_eq!(self.receive("+OK\r\n".repeat(answers)), []);
        String::from_utf8(self.take_sent()).unwrap()
    }

    fn continued(builder: Builder, from: Position) -> Led {
        let mut led = Led::new(builder.resume(from));
        led.ask();
        assert_eq!(led.receive("+CONTINUE\r\n"), [Event::Continue { position: from, previous: None }]);
        assert_eq!(led.take_sent(), frames(&[&format!("REPLCONF ACK {}", from.offset)]));
        led
    }

    fn link_down(&mut self) -> LinkDown {
        // The next attempt may be due at once.
        match self.session.next_event(self.now_ms) {
            Some(Event::LinkDown(down)) => down,
            other => panic!("{other:?}"),
        }
    }

    fn disconnect(&mut self) -> LinkDown {
        self.session.disconnected(self.now_ms);
        self.link_down()
    }
}

fn commands(events: Vec<Event>) -> Vec<Command> {
    let command = |event| match event {
        Event::Command(command) => command,
        other => panic!("{other:?}"),
    };
    events.into_iter().map(command).collect()
}

fn errors(events: Vec<Event>) -> Vec<LinkError> {
    let error = |event| match event {
        Event::LinkDown(down) => Some(down.error),
        _ => None,
    };
    events.into_iter().filter_map(error).collect()
}

#[test]
fn it_introduces_itself_in_valkeys_order_and_asks_for_the_byte_after_its_position() {
    let mut led = Led::new(
        ReplicaSession::builder()
            .user("alice", "secret")
            .listening_port(6380)
            .announced_address("10.0.0.7")
            .version(ServerVersion { major: 9, minor: 1, patch: 2 })
            .resume(position(1, 41, Some(3))),
    );
    led.connect();
    led.receive("+PONG\r\n");
    let introduction = [
        "AUTH alice secret",
        "REPLCONF listening-port 6380",
        "REPLCONF ip-address 10.0.0.7",
        "REPLCONF capa eof capa psync2",
        "REPLCONF version 9.1.2",
    ];
    assert_eq!(led.take_sent(), frames(&introduction));
    led.receive("\n+OK\r\n+OK\r\n-ERR unknown\r\n+OK\r\n");
    assert_eq!(led.take_sent(), b"", "the answer to version is missing");
    led.receive("-ERR Unrecognized REPLCONF option: version\r\n");
    assert_eq!(led.take_sent(), frames(&[&format!("PSYNC {} 42", id(1))]));

    let mut led = Led::new(ReplicaSession::builder().password("secret"));
    led.connect();
    led.receive("-NOAUTH Authentication required.\r\n");
    assert_eq!(led.take_sent(), frames(&["AUTH secret", "REPLCONF capa eof capa psync2"]));
    led.receive("+OK\r\n+OK\r\n");
    assert_eq!(led.take_sent(), frames(&["PSYNC ? -1"]));
}

#[test]
fn no_password_is_shown() {
    let builder = ReplicaSession::builder().user("alice", "hidden");
    assert!(!format!("{builder:?}").contains("hidden"));
    let mut led = Led::new(builder);
    led.connect();
    led.session.receive(b"+PONG\r\n");
    assert_eq!(led.session.next_event(0), None);
    assert!(!format!("{:?}", led.session).contains("hidden"));
    led.events();
    assert!(String::from_utf8(led.take_sent()).unwrap().contains("hidden"));
}

#[test]
fn each_answer_means_what_it_means_after_its_question() {
    let not_now = |step, reply: &str| Some((LinkError::NotNow { step, reply: reply.to_owned() }, true));
    let refused = |step, reply: &str| Some((LinkError::Refused { step, reply: reply.to_owned() }, false));
    let unexpected =
        |step, reply: &str| Some((LinkError::UnexpectedReply { step, reply: reply.to_owned() }, true));
    let full = format!("+FULLRESYNC {} 100", id(2));
    let malformed = format!("+FULLRESYNC {} -1", id(2));
    let other = format!("+CONTINUE {}x", id(2));
    let none = |step, line: &'static str| (step, line.to_owned(), None);
    use Step as S;
    for (step, line, expected) in [
        none(S::Ping, "+PONG"),
        none(S::Ping, "-NOAUTH Authentication required."),
        none(S::Ping, "-NOPERM no"),
        none(S::Ping, "-ERR operation not permitted"),
        (S::Ping, "-LOADING dataset".into(), not_now(S::Ping, "-LOADING dataset")),
        (S::Ping, "-ERR max number of clients".into(), not_now(S::Ping, "-ERR max number of clients")),
        (S::Ping, "HTTP/1.1 400".into(), unexpected(S::Ping, "HTTP/1.1 400")),
        none(S::Auth, "+OK"),
        (S::Auth, "-WRONGPASS no".into(), refused(S::Auth, "-WRONGPASS no")),
        (S::Auth, "-BUSY script".into(), not_now(S::Auth, "-BUSY script")),
        none(S::Capabilities, "-ERR what"),
        (S::Capabilities, ":1".into(), unexpected(S::Capabilities, ":1")),
        (S::Psync, "-NOMASTERLINK no".into(), not_now(S::Psync, "-NOMASTERLINK no")),
        (S::Psync, "-LOADING no".into(), not_now(S::Psync, "-LOADING no")),
        (S::Psync, "-ERR unknown command".into(), refused(S::Psync, "-ERR unknown command")),
        (S::Psync, "+DUALCHANNELSYNC".into(), unexpected(S::Psync, "+DUALCHANNELSYNC")),
        (S::Psync, "+CONTINUE".into(), unexpected(S::Psync, "+CONTINUE")),
        (S::Psync, other.clone(), unexpected(S::Psync, &other)),
        (S::Psync, malformed.clone(), unexpected(S::Psync, &malformed)),
        none(S::Snapshot, "$12"),
        (S::Snapshot, "-ERR fork".into(), not_now(S::Snapshot, "-ERR fork")),
        (S::Snapshot, "$-1".into(), unexpected(S::Snapshot, "$-1")),
        (S::Snapshot, "$EOF:short".into(), unexpected(S::Snapshot, "$EOF:short")),
        (S::Snapshot, "+OK".into(), unexpected(S::Snapshot, "+OK")),
    ] {
        let mut led = Led::new(ReplicaSession::builder().password("secret"));
        led.connect();
        for (before, answer) in
            [(S::Ping, "+PONG"), (S::Auth, "+OK"), (S::Capabilities, "+OK"), (S::Psync, &full)]
        {
            if before == step {
                break;
            }
            led.receive(format!("{answer}\r\n"));
        }
        let errors = errors(led.receive(format!("{line}\r\n")));
        let (expected, phase) = match expected {
            None => (None, led.session.phase()),
            Some((error, true)) => (Some(error), Phase::Waiting),
            Some((error, false)) => (Some(error), Phase::Stopped),
        };
        assert_eq!(errors.first(), expected.as_ref(), "{line:?} after {step}");
        assert_eq!(led.session.phase(), phase, "{line:?} after {step}");
    }
}

#[test]
fn a_session_that_stopped_goes_on_when_it_is_told_to() {
    let mut led = Led::new(ReplicaSession::builder().password("old"));
    led.connect();
    assert_eq!(led.receive("+PONG\r\n-WRONGPASS no\r\n").len(), 1);
    assert_eq!(led.session.next_deadline_ms(), None);
    led.now_ms += 1_000_000;
    assert_eq!(led.events(), []);
    led.session.restart(led.now_ms);
    led.connect();
}

#[test]
fn a_snapshot_in_either_framing_is_whole_wherever_it_is_cut() {
    let body =
        [&b"REDIS0010"[..], &MARK.as_bytes()[..39], b"x", MARK.as_bytes().split_at(20).0, b"end"].concat();
    let by_length = [format!("${}\r\n", body.len()).as_bytes(), &body].concat();
    let by_mark = [format!("$EOF:{MARK}\r\n").as_bytes(), &body, MARK.as_bytes()].concat();
    let stream = frames(&["SELECT 4", "SET k v"]);
    for (transfer, framing) in [(by_length, Framing::Length), (by_mark, Framing::EndMark)] {
        let all = [&transfer[..], &stream].concat();
        for size in 1..=all.len() {
            let mut led = Led::new(ReplicaSession::builder());
            assert!(led.ask().contains("PSYNC"));
            let full = Event::FullResync { id: id(2), offset: 100 };
            assert_eq!(led.receive(format!("+FULLRESYNC {} 100\r\n\n\n", id(2))), [full]);
            let (mut snapshot, mut begun, mut ended, mut rest) = (Vec::new(), 0, 0, Vec::new());
            for piece in all.chunks(size) {
                for event in led.receive(piece) {
                    match event {
                        Event::SnapshotBegin { framing: given, length } => {
                            assert_eq!(given, framing);
                            assert_eq!(length, (framing == Framing::Length).then_some(body.len() as u64));
                            begun += 1;
                        }
                        Event::Snapshot(bytes) => snapshot.extend_from_slice(&bytes),
                        Event::SnapshotEnd => ended += 1,
                        other => panic!("{other:?}"),
                    }
                }
            }
            assert_eq!((begun, ended, &snapshot), (1, 1, &body), "cut every {size} bytes");
            assert_eq!((led.session.phase(), led.session.wants_input()), (Phase::Loading, false));
            assert_eq!((led.session.position(), led.take_sent()), (None, vec![]));
            // While it loads it shows that it lives.
            led.now_ms += 3_000;
            assert_eq!((led.events(), led.take_sent()), (vec![], b"\n".to_vec()));
            led.session.snapshot_applied(Some(9), led.now_ms);
            assert_eq!(led.session.position(), Some(position(2, 100, Some(9))));
            rest.extend(commands(led.events()));
            assert_eq!(rest.iter().map(|command| command.db).collect::<Vec<_>>(), [Some(4), Some(4)]);
            assert_eq!(rest[1].end, 100 + stream.len() as u64);
            assert_eq!(led.take_sent(), frames(&[&format!("REPLCONF ACK {}", rest[1].end)]));
        }
    }
}

#[test]
fn an_embedder_that_takes_a_snapshot_slowly_shows_that_it_lives() {
    let mut led = Led::new(ReplicaSession::builder());
    led.ask();
    led.receive(format!("+FULLRESYNC {} 100\r\n$4\r\n", id(2)));
    assert_eq!(led.session.next_deadline_ms(), Some(1_000));
    led.session.receive(b"RE");
    led.now_ms = 5 * DEFAULT_TIMEOUT_MS;
    assert_eq!(led.events(), [Event::Snapshot(bytes::Bytes::from_static(b"RE"))]);
    assert_eq!(led.take_sent(), b"\n");
}

#[test]
fn a_changed_id_is_taken_over_with_the_old_one_as_the_past() {
    let mut led = Led::new(ReplicaSession::builder().resume(position(1, 500, None)));
    led.ask();
    let previous = Previous { replid: id(1), second_offset: 501 };
    let continued = Event::Continue { position: position(2, 500, None), previous: Some(previous) };
    assert_eq!(led.receive(format!("+CONTINUE {}\r\n", id(2))), [continued]);
    assert_eq!(led.session.history(), Some(History { replid: id(2), previous: Some(previous) }));
    led.disconnect();
    assert_eq!(led.ask().as_bytes(), frames(&[&format!("PSYNC {} 501", id(2))]));
}

#[test]
fn commands_tile_the_stream_and_carry_its_bytes() {
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 1_000, Some(0)));
    let stream = [b"\n".to_vec(), frames(&["PING"]), b"\r\n*0\r\n".to_vec(), frames(&["set k v"])].concat();
    let commands = commands(led.receive(&stream));
    assert_eq!(commands[0].argv, ["PING"]);
    assert_eq!((commands[0].start, commands[0].end), (1_000, 1_015));
    assert_eq!((commands[1].start, commands[1].end), (1_015, 1_000 + stream.len() as u64));
    assert!(commands[1].is("SET") && !commands[1].is_administrative() && commands[0].is_administrative());
    assert_eq!([&commands[0].raw[..], &commands[1].raw].concat(), stream);
    assert_eq!(led.session.read_offset(), Some(1_000 + stream.len() as u64));
    assert_eq!(led.session.held_bytes(), 0);
}

#[test]
fn nothing_is_applied_inside_a_transaction_and_a_cut_takes_it_back() {
    use TransactionPart::{Begin, End, Inside, Outside};
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 0, Some(2)));
    let lines =
        ["SET a 1", "MULTI", "SELECT 7", "multi", "SET b 2", "EXEC", "EXEC", "MULTI", "SELECT 1", "SET c 3"];
    let seen = commands(led.receive(frames(&lines)));
    let parts: Vec<_> = seen.iter().map(|command| command.part).collect();
    assert_eq!(parts, [Outside, Begin, Inside, Inside, Inside, End, Outside, Begin, Inside, Inside]);
    let applied: Vec<_> = seen.iter().map(|command| command.applied).collect();
    let (first, unit, last) = (seen[0].end, seen[5].end, seen[6].end);
    assert_eq!(applied, [first, first, first, first, first, unit, last, last, last, last]);
    assert_eq!(led.take_sent(), b"");
    led.now_ms += DEFAULT_ACK_INTERVAL_MS;
    led.events();
    assert_eq!(led.take_sent(), frames(&[&format!("REPLCONF ACK {last}")]));

    let down = led.disconnect();
    assert_eq!(down.rolled_back_to, Some(last));
    assert_eq!(down.resume, Some(position(1, last, Some(7))), "the database goes back with the transaction");
    assert_eq!(led.ask().as_bytes(), frames(&[&format!("PSYNC {} {}", id(1), last + 1)]));
    led.receive("+CONTINUE\r\n");
    let again = commands(led.receive(frames(&lines[7..8])));
    assert_eq!((again[0].start, again[0].part, again[0].db), (last, Begin, Some(7)));
}

#[test]
fn what_is_asked_for_after_a_cut_depends_on_where_it_was() {
    let old = position(1, 50, Some(0));
    let full = format!("+FULLRESYNC {} 100\r\n", id(2));
    let begun = "$4\r\nRE";
    for (script, expected) in [
        (String::new(), Some(old)),
        (full.clone(), Some(old)),
        (format!("{full}\n"), Some(old)),
        (format!("{full}{begun}"), None),
        (format!("{full}{begun}DI"), Some(position(2, 100, None))),
    ] {
        let mut led = Led::new(ReplicaSession::builder().resume(old));
        led.ask();
        led.receive(&script);
        let is_loading = led.session.phase() == Phase::Loading;
        let down = led.disconnect();
        assert_eq!((down.resume, down.rolled_back_to), (expected, None), "{script:?}");
        if is_loading {
            // Not before the data is there.
            assert_eq!((down.retry_at_ms, led.session.next_deadline_ms()), (None, None));
            led.session.snapshot_applied(None, led.now_ms);
        }
        let request = match expected {
            Some(position) => format!("PSYNC {} {}", position.id, position.offset + 1),
            None => "PSYNC ? -1".to_owned(),
        };
        assert_eq!(led.ask().as_bytes(), frames(&[&request]), "{script:?}");
    }
}

#[test]
fn a_stream_out_of_step_is_an_error_at_its_offset_and_ends_in_a_full_copy() {
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 10, None));
    let events = led.receive([frames(&["PING"]), b"GET k\r\n".to_vec()].concat());
    let Some(Event::LinkDown(down)) = events.last() else { panic!("{events:?}") };
    let source = crate::resp::ProtocolError::ExpectedMultibulk { got: b'G' };
    assert_eq!(down.error, LinkError::Stream { offset: 24, source });
    assert_eq!((down.resume, led.session.position()), (None, None));
    assert_eq!(led.ask().as_bytes(), frames(&["PSYNC ? -1"]));
}

#[test]
fn a_copy_that_is_given_up_is_made_anew() {
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 10, None));
    led.session.start_over(led.now_ms);
    assert_eq!(led.link_down().error, LinkError::StartedOver);
    assert_eq!(led.ask().as_bytes(), frames(&["PSYNC ? -1"]));
}

#[test]
fn acknowledgements_are_sent_each_second_and_when_asked_for() {
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 0, None));
    assert_eq!(led.session.next_deadline_ms(), Some(1_000));
    led.now_ms = 999;
    assert_eq!((led.events(), led.take_sent()), (vec![], vec![]));
    led.now_ms = 1_000;
    led.events();
    assert_eq!(led.take_sent(), frames(&["REPLCONF ACK 0"]));
    assert_eq!(led.session.next_deadline_ms(), Some(2_000));
    let asked = frames(&["REPLCONF GETACK *", "SET k v", "replconf getack *"]);
    assert_eq!(led.receive(&asked).len(), 3);
    assert_eq!(led.take_sent(), frames(&[&format!("REPLCONF ACK {}", asked.len())]), "one answer for all");
}

#[test]
fn only_what_is_confirmed_is_acknowledged_if_so_wished() {
    let mut led = Led::continued(ReplicaSession::builder().acknowledge_confirmed(true), position(1, 0, None));
    let seen = commands(led.receive(frames(&["SET a 1", "REPLCONF GETACK *", "MULTI", "SET b 2"])));
    assert_eq!(led.take_sent(), frames(&["REPLCONF ACK 0"]));
    led.session.confirm(seen[0].end - 1);
    assert_eq!((led.events(), led.take_sent()), (vec![], vec![]));
    led.session.confirm(seen[0].end);
    led.events();
    assert_eq!(led.take_sent(), frames(&[&format!("REPLCONF ACK {}", seen[0].end)]));
    led.session.confirm(seen[3].end);
    assert_eq!(led.session.acknowledged_offset(), seen[1].end, "what is not applied is not confirmed");
    // Delivered is delivered, confirmed or not.
    assert_eq!(led.disconnect().resume, Some(position(1, seen[1].end, None)));
}

#[test]
fn a_silent_primary_is_given_up_and_a_busy_embedder_is_not() {
    let mut led = Led::continued(ReplicaSession::builder(), position(1, 0, None));
    led.session.receive(&frames(&["SET a 1", "SET b 2"]));
    assert!(led.session.next_event(led.now_ms).is_some());
    led.now_ms += 10 * DEFAULT_TIMEOUT_MS;
    assert_eq!(led.events().len(), 1, "the second command, whatever the first one took");
    led.now_ms += DEFAULT_TIMEOUT_MS - 1;
    assert_eq!(led.events(), []);
    led.receive("\n");
    led.now_ms += DEFAULT_TIMEOUT_MS;
    assert!(led.session.next_deadline_ms().is_some_and(|at_ms| at_ms <= led.now_ms));
    let (silent_ms, limit_ms) = (DEFAULT_TIMEOUT_MS, DEFAULT_TIMEOUT_MS);
    assert_eq!(led.link_down().error, LinkError::Timeout { silent_ms, limit_ms });

    // Of a connection that is not made, too.
    let mut led = Led::new(ReplicaSession::builder().timeout_ms(70));
    assert_eq!(led.events(), [Event::Connect]);
    assert_eq!(led.session.next_deadline_ms(), Some(70));
    led.now_ms = 70;
    assert!(matches!(led.link_down().error, LinkError::Timeout { .. }));
}

#[test]
fn delays_double_up_to_a_limit_and_a_stable_link_ends_them() {
    let builder = ReplicaSession::builder().backoff_base_ms(100).backoff_max_ms(700).stable_ms(5_000);
    let mut led = Led::new(builder.clone().backoff_jitter_percent(0).resume(position(1, 0, None)));
    for delay_ms in [100, 200, 400, 700, 700] {
        led.connect();
        assert_eq!(led.disconnect().retry_at_ms, Some(led.now_ms + delay_ms));
        led.now_ms += delay_ms - 1;
        assert_eq!(led.events(), []);
    }
    for (streamed_ms, delay_ms) in [(4_999, 700), (5_000, 0), (0, 100)] {
        led.ask();
        led.receive("+CONTINUE\r\n");
        led.now_ms += streamed_ms;
        assert_eq!(led.disconnect().retry_at_ms, Some(led.now_ms + delay_ms));
    }
    let delays = |seed| {
        let mut led = Led::new(builder.clone().seed(seed));
        let delay = |_| {
            led.connect();
            led.disconnect().retry_at_ms.unwrap() - led.now_ms
        };
        (0..50).map(delay).collect::<Vec<_>>()
    };
    let first = delays(1);
    assert_eq!(first, delays(1));
    assert_ne!(first, delays(2));
    assert!(first[4..].iter().all(|delay| (350..=700).contains(delay)), "{first:?}");
}

#[test]
fn limits_end_a_link_with_their_numbers() {
    let mut led = Led::new(ReplicaSession::builder().max_line_bytes(8));
    led.connect();
    assert_eq!(errors(led.receive("+234567\r\n")), []);
    let long = LinkError::LineTooLong { step: Step::Capabilities, limit: 8 };
    assert_eq!(errors(led.receive("+23456789")), [long]);

    let limit = frames(&["SET k v"]).len() as u64;
    let builder =
        || ReplicaSession::builder().max_command_bytes(limit).max_arguments(3).max_argument_bytes(5);
    for size in [1, 7, 1_000] {
        let fed = |text: &[u8]| {
            let mut led = Led::continued(builder(), position(1, 0, None));
            let found =
                text.chunks(size).map(|piece| errors(led.receive(piece))).collect::<Vec<_>>().concat();
            (found, led.session.position().map(|position| position.offset))
        };
        assert_eq!(fed(&frames(&["SET k v", "SET k v"])), (vec![], Some(2 * limit)));
        let long = LinkError::CommandTooLong { offset: limit, limit };
        assert!(!long.is_retryable());
        assert_eq!(fed(&frames(&["SET k v", "SET k vv"])), (vec![long], Some(limit)));
        for text in [frames(&["A B C D"]), b"*1\r\n$6\r\n".to_vec()] {
            let (found, offset) = fed(&text);
            assert!(matches!(found[..], [LinkError::Stream { offset: 0, .. }]), "{found:?}");
            assert_eq!(offset, None);
        }
    }
}

#[test]
fn a_position_is_read_as_it_is_written() {
    for position in [position(1, 0, None), position(2, i64::MAX as u64, Some(u32::MAX))] {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    let id = id(1);
    let parse = |text: &str| text.parse::<Position>();
    assert_eq!(parse(""), Err(ParsePositionError::Words { words: 0 }));
    assert_eq!(parse(&format!("{id} 1")), Err(ParsePositionError::Words { words: 2 }));
    assert_eq!(parse(&format!("{id} -1 0")), Err(ParsePositionError::Offset));
    assert_eq!(parse(&format!("{id} 1 x")), Err(ParsePositionError::Database));
    assert!(matches!(parse("abc 1 0"), Err(ParsePositionError::Id(_))));
}
