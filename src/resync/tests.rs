//! Each rule of the module against an independent statement of it, at its boundaries.

use proptest::prelude::*;

use super::*;

fn id(byte: u8) -> ReplicationId {
    ReplicationId::from_random([byte; 20])
}

fn psync(id: RequestedId, wanted: i64) -> PsyncRequest {
    PsyncRequest { id, wanted, failover: false }
}

fn request(text: &str, wanted: i64) -> PsyncRequest {
    psync(RequestedId::parse(text.as_bytes()), wanted)
}

mod replication_id {
    use super::*;

    #[test]
    fn digits_are_the_bits_in_order() {
        let mut bits = [0; 20];
        bits[0] = 0x1f;
        bits[19] = 0xa0;
        assert_eq!(ReplicationId::from_random(bits).as_str(), format!("1f{}a0", "00".repeat(18)));
    }

    #[test]
    fn text_of_another_length_or_with_another_character_is_refused() {
        assert_eq!(ReplicationId::parse(&[b'a'; 39]), Err(ParseReplicationIdError::Length { length: 39 }));
        assert_eq!(ReplicationId::parse(&[b'a'; 41]), Err(ParseReplicationIdError::Length { length: 41 }));
        let mut text = [b'0'; 40];
        text[17] = b'g';
        assert_eq!(ReplicationId::parse(&text), Err(ParseReplicationIdError::Digit { position: 17 }));
    }

    proptest! {
        #[test]
        fn either_case_names_the_same_id(bits: [u8; 20]) {
            let id = ReplicationId::from_random(bits);
            prop_assert_eq!(ReplicationId::parse(id.as_str().to_uppercase().as_bytes()), Ok(id));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert!(id.as_str().bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        }
    }
}

mod history {
    use super::*;

    #[test]
    fn a_shift_keeps_the_old_id_up_to_the_byte_after_its_end() {
        let history = History::new(id(1)).shifted(id(2), 500);
        assert_eq!(
            history,
            History { replid: id(2), previous: Some(Previous { replid: id(1), second_offset: 501 }) }
        );
        // Only one past is kept.
        let later = history.shifted(id(3), 900);
        assert_eq!(later.previous, Some(Previous { replid: id(2), second_offset: 901 }));
    }

    #[test]
    fn a_reset_forgets_the_past() {
        let shared = SharedHistory::new(History::new(id(1)));
        shared.shift(id(2), 10);
        shared.reset(id(3));
        assert_eq!(*shared.load(), History::new(id(3)));
    }

    /// Each shift stores the current id's byte and the offset in agreement; a reader that ever sees them
    /// disagree has seen half a change.
    #[test]
    fn readers_never_see_half_a_shift() {
        let shared = SharedHistory::new(History::new(id(0)).shifted(id(1), 0));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let history = shared.load();
                            let previous = history.previous.expect("every history here has a past");
                            let generation = previous.second_offset;
                            assert_eq!(history.replid, id(generation as u8));
                            assert_eq!(previous.replid, id(generation as u8 - 1));
                            if generation == 200 {
                                return;
                            }
                        }
                    })
                })
                .collect();
            for generation in 2..=200_u8 {
                shared.shift(id(generation), u64::from(generation) - 1);
            }
            for reader in readers {
                reader.join().expect("the reader saw whole histories only");
            }
        });
    }
}

mod decisions {
    use super::*;

    fn attached(history: &History, retained: Retained, request: &PsyncRequest) -> Option<u64> {
        match decide(history, retained, request) {
            Decision::Partial { attach_offset } => Some(attach_offset),
            Decision::Full { .. } => None,
        }
    }

    #[test]
    fn both_bounds_of_the_backlog_are_inclusive() {
        let history = History::new(id(1));
        let retained = Retained { first: 100, end: 200 };
        let ask = |wanted| decide(&history, retained, &psync(RequestedId::Known(id(1)), wanted));
        assert_eq!(ask(101), Decision::Partial { attach_offset: 100 });
        assert_eq!(ask(201), Decision::Partial { attach_offset: 200 });
        let before = FullReason::BeforeBacklog { wanted: 100, first_byte: 101 };
        assert_eq!(ask(100), Decision::Full { reason: before });
        assert_eq!(ask(202), Decision::Full { reason: FullReason::AfterEnd { wanted: 202, end: 200 } });
    }

    #[test]
    fn an_empty_stream_is_continued_from_its_first_byte() {
        let history = History::new(id(1));
        let retained = Retained { first: 0, end: 0 };
        assert_eq!(attached(&history, retained, &psync(RequestedId::Known(id(1)), 1)), Some(0));
        for wanted in [i64::MIN, -1, 0, 2, i64::MAX] {
            assert_eq!(
                attached(&history, retained, &psync(RequestedId::Known(id(1)), wanted)),
                None,
                "{wanted}"
            );
        }
    }

    #[test]
    fn the_previous_history_is_shared_up_to_its_second_offset() {
        let history = History::new(id(1)).shifted(id(2), 150);
        let retained = Retained { first: 100, end: 200 };
        let ask = |wanted| decide(&history, retained, &psync(RequestedId::Known(id(1)), wanted));
        assert_eq!(ask(151), Decision::Partial { attach_offset: 150 });
        let diverged = FullReason::Diverged { wanted: 152, replid2: id(1), second_offset: 151 };
        assert_eq!(ask(152), Decision::Full { reason: diverged });
        // The current id is not bound by it.
        assert_eq!(attached(&history, retained, &psync(RequestedId::Known(id(2)), 152)), Some(151));
    }

    #[test]
    fn ids_are_compared_without_case() {
        let history = History::new(id(0xab));
        let upper = request(&"AB".repeat(20), 1);
        assert_eq!(attached(&history, Retained { first: 0, end: 0 }, &upper), Some(0));
    }

    #[test]
    fn asking_for_a_full_resync_is_no_failed_attempt() {
        let history = History::new(id(1));
        let retained = Retained { first: 0, end: 10 };
        let Decision::Full { reason } = decide(&history, retained, &request("?", -1)) else {
            panic!("partial")
        };
        assert_eq!(reason, FullReason::Requested);
        assert!(!reason.is_failed_attempt());
        let Decision::Full { reason } = decide(&history, retained, &request("nonsense", 5)) else {
            panic!("partial")
        };
        assert!(matches!(reason, FullReason::UnknownHistory { .. }));
        assert!(reason.is_failed_attempt());
    }

    #[test]
    fn the_zero_id_is_not_the_absent_previous_history() {
        let history = History::new(id(1));
        let zeros = request(&"0".repeat(40), 5);
        assert_eq!(attached(&history, Retained { first: 0, end: 10 }, &zeros), None);
    }

    /// The table of the facts, in Valkey's own variables and arithmetic.
    fn oracle(
        replid: &str,
        replid2: &str,
        second: i128,
        backlog_offset: i128,
        histlen: i128,
        id: &str,
        off: i128,
    ) -> Option<i128> {
        let known = id.eq_ignore_ascii_case(replid) || (id.eq_ignore_ascii_case(replid2) && off <= second);
        (known && off >= backlog_offset && off <= backlog_offset + histlen).then_some(off)
    }

    fn near(values: Vec<u64>) -> impl Strategy<Value = i64> {
        let around = (proptest::sample::select(values), -2_i64..=2)
            .prop_map(|(value, delta)| i64::try_from(value).unwrap_or(i64::MAX).saturating_add(delta));
        prop_oneof![8 => around, 1 => any::<i64>()]
    }

    fn situation() -> impl Strategy<Value = (u64, u64, Option<u64>, i64, String)> {
        (0..1_000_u64, 0..1_000_u64, proptest::option::of(0..2_100_u64)).prop_flat_map(
            |(first, len, second)| {
                let marks = vec![0, first, first + len, second.unwrap_or(0)];
                let ids = proptest::sample::select(vec![
                    id(1).to_string(),
                    id(1).to_string().to_uppercase(),
                    id(2).to_string(),
                    id(3).to_string(),
                    "0".repeat(40),
                    "?".to_owned(),
                    String::new(),
                ]);
                (Just(first), Just(len), Just(second), near(marks), ids)
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn every_decision_is_the_tables((first, len, second, wanted, name) in situation()) {
            let previous = second.map(|second_offset| Previous { replid: id(2), second_offset });
            let history = History { replid: id(1), previous };
            let retained = Retained { first, end: first + len };
            let (replid2, second) = match second {
                Some(second) => (id(2).to_string(), i128::from(second)),
                None => ("0".repeat(40), -1),
            };
            let expected = oracle(
                id(1).as_str(), &replid2, second, i128::from(first) + 1, i128::from(len), &name, i128::from(wanted),
            );
            let got = attached(&history, retained, &request(&name, wanted));
            prop_assert_eq!(got.map(|attach| i128::from(attach) + 1), expected);
        }
    }
}

mod handshake {
    use super::*;

    fn replconf(line: &str) -> (Result<ReplconfOutcome, HandshakeError>, ReplicaFacts) {
        let mut facts = ReplicaFacts::default();
        let args: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        (parse_replconf(&args, &mut facts), facts)
    }

    fn error(line: &str) -> String {
        replconf(line).0.expect_err("an error").to_string()
    }

    #[test]
    fn the_options_of_a_real_handshake_become_facts() {
        let mut facts = ReplicaFacts::default();
        for line in
            ["listening-port 6380", "ip-address 10.0.0.9", "capa eof capa psync2 capa lz4", "version 9.1.2"]
        {
            let args: Vec<&str> = line.split(' ').collect();
            assert_eq!(parse_replconf(&args, &mut facts), Ok(ReplconfOutcome::Ok), "{line}");
        }
        let expected = ReplicaFacts {
            listening_port: 6380,
            announced_address: Some("10.0.0.9".to_owned()),
            capabilities: Capabilities { eof: true, psync2: true },
            version: Some(ServerVersion { major: 9, minor: 1, patch: 2 }),
            rdb_only: false,
            scope: SnapshotScope::Everything,
        };
        assert_eq!(facts, expected);
    }

    #[test]
    fn errors_are_worded_as_valkey_words_them() {
        assert_eq!(error("a"), "ERR syntax error");
        assert_eq!(error("foo bar"), "ERR Unrecognized REPLCONF option: foo");
        assert_eq!(error("listening-port x"), "ERR value is not an integer or out of range");
        assert_eq!(error("rdb-only 2"), "ERR value is out of range, value must between 0 and 1");
        assert_eq!(error("rdb-only x"), "ERR value is not an integer or out of range");
        assert_eq!(error("rdb-channel 5"), "ERR value is out of range, value must between 0 and 1");
        assert_eq!(error("rdb-filter-only foo"), "ERR Unsupported rdb-filter-only option: foo");
        assert_eq!(error("rdb-filter-only \"a"), "ERR Missing rdb-filter-only values");
        assert_eq!(error("set-rdb-client-id 5"), "ERR Unrecognized RDB client id 5");
        assert_eq!(error("set-cluster-node-id x"), "ERR This instance has cluster support disabled");
        for version in ["abc", "9.1", "9.1.2.3", "999.1.2", "-1.2.3", "9..2", "+9.1.2", "256.0.0"] {
            assert_eq!(
                error(&format!("version {version}")),
                format!("ERR Unrecognized version format: {version}")
            );
        }
        let long = "a".repeat(MAX_ADDRESS_BYTES + 1);
        let expected = "ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes";
        assert_eq!(error(&format!("ip-address {long}")), expected);
        assert_eq!(replconf(&format!("ip-address {}", &long[1..])).0, Ok(ReplconfOutcome::Ok));
    }

    #[test]
    fn options_before_a_bad_one_have_taken_effect() {
        let (result, facts) = replconf("capa eof foo bar capa psync2");
        assert!(result.is_err());
        assert_eq!(facts.capabilities, Capabilities { eof: true, psync2: false });
    }

    #[test]
    fn an_acknowledgement_is_read_with_and_without_its_durable_part() {
        let ack = |line| replconf(line).0;
        assert_eq!(ack("ACK 100"), Ok(ReplconfOutcome::Ack { applied: Some(100), fsynced: None }));
        assert_eq!(
            ack("ack 100 FACK 90"),
            Ok(ReplconfOutcome::Ack { applied: Some(100), fsynced: Some(90) })
        );
        assert_eq!(ack("ack x"), Ok(ReplconfOutcome::Ack { applied: None, fsynced: None }));
        assert_eq!(
            ack("capa eof ack 7 fack 5"),
            Ok(ReplconfOutcome::Ack { applied: Some(7), fsynced: Some(5) })
        );
        assert_eq!(ack("getack *"), Ok(ReplconfOutcome::GetAck));
    }

    #[test]
    fn any_filter_leaves_the_keys_out() {
        let mut facts = ReplicaFacts::default();
        assert_eq!(parse_replconf(&["rdb-filter-only", ""], &mut facts), Ok(ReplconfOutcome::Ok));
        assert_eq!(facts.scope, SnapshotScope::WithoutKeys);
        assert_eq!(replconf("rdb-filter-only functions").1.scope, SnapshotScope::WithoutKeys);
    }

    #[test]
    fn a_psync_offset_is_a_strict_integer() {
        let wanted = |offset: &str| parse_psync(&["?", offset]).map(|request| request.wanted);
        assert_eq!(wanted("-1"), Ok(-1));
        assert_eq!(wanted("0"), Ok(0));
        assert_eq!(wanted("9223372036854775807"), Ok(i64::MAX));
        assert_eq!(wanted("-9223372036854775808"), Ok(i64::MIN));
        for bad in ["", "-", "-0", "01", "+1", " 1", "1 ", "9223372036854775808", "x", "1e3", "\u{661}"] {
            assert_eq!(wanted(bad), Err(HandshakeError::NotAnInteger), "{bad:?}");
        }
        assert_eq!(parse_psync(&["?"]), Err(HandshakeError::Syntax));
        assert!(parse_psync(&["?", "-1", "FailOver"]).is_ok_and(|request| request.failover));
    }

    #[test]
    fn only_a_replica_that_announced_9_gets_the_valkey_format() {
        let format = |version: Option<&str>| {
            let version = version.map(|text| ServerVersion::parse(text.as_bytes()).expect("a version"));
            ReplicaFacts { version, ..ReplicaFacts::default() }.snapshot_format()
        };
        assert_eq!(format(None), SnapshotFormat::Redis10);
        assert_eq!(format(Some("7.2.9")), SnapshotFormat::Redis10);
        assert_eq!(format(Some("8.255.255")), SnapshotFormat::Redis10);
        assert_eq!(format(Some("9.0.0")), SnapshotFormat::Valkey80);
        assert_eq!(format(Some("10.0.0")), SnapshotFormat::Valkey80);
    }

    proptest! {
        #[test]
        fn no_argument_is_too_strange(args in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..7)) {
            let mut facts = ReplicaFacts::default();
            for line in [parse_replconf(&args, &mut facts).err(), parse_psync(&args).err()].into_iter().flatten() {
                prop_assert!(!line.to_string().contains(['\r', '\n']), "an error is one line: {line}");
            }
        }

        #[test]
        fn integers_are_read_as_written(value: i64) {
            prop_assert_eq!(parse_psync(&["?", &value.to_string()]).map(|r| r.wanted), Ok(value));
        }
    }
}

mod acks {
    use std::collections::HashMap;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        Online(u64),
        Ack(u64, u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u64).prop_map(Step::Insert),
            (0..4_u64).prop_map(Step::Remove),
            (0..4_u64).prop_map(Step::Online),
            (0..4_u64, 0..60_u64, 0..60_u64).prop_map(|(key, applied, end)| Step::Ack(key, applied, end)),
        ]
    }

    proptest! {
        /// The oracle keeps every report and answers from the whole list.
        #[test]
        fn counts_agree_with_the_list_of_all_reports(steps in proptest::collection::vec(step(), 0..60)) {
            let mut table = AckTable::default();
            let mut reports: HashMap<u64, (bool, Vec<u64>, u64)> = HashMap::new();
            for (now_ms, step) in (1_u64..).zip(&steps) {
                match *step {
                    Step::Insert(key) => {
                        table.insert(key, now_ms);
                        reports.insert(key, (false, vec![0], now_ms));
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(table.remove(key).is_some(), reports.remove(&key).is_some());
                    }
                    Step::Online(key) => {
                        table.set_online(key, now_ms);
                        if let Some(replica) = reports.get_mut(&key) {
                            (replica.0, replica.2) = (true, now_ms);
                        }
                    }
                    Step::Ack(key, applied, end) => {
                        let rose = table.acknowledge(key, applied, None, end, now_ms);
                        let before = reports.get(&key).and_then(|replica| replica.1.iter().max().copied());
                        prop_assert_eq!(rose, before.is_some_and(|before| applied.min(end) > before));
                        if let Some(replica) = reports.get_mut(&key) {
                            replica.1.push(applied.min(end));
                            replica.2 = now_ms;
                        }
                    }
                }
                for offset in [0, 1, 30, 59] {
                    let expected = reports.values().filter(|r| r.0 && r.1.iter().any(|o| *o >= offset)).count();
                    prop_assert_eq!(table.count_acked(offset), expected);
                }
                for lag_ms in [0, 1, 5] {
                    let expected = reports.values().filter(|r| r.0 && now_ms - r.2 <= lag_ms).count();
                    prop_assert_eq!(table.count_good(now_ms, lag_ms), expected);
                }
            }
            prop_assert_eq!(table.len(), reports.len());
        }
    }

    #[test]
    fn the_lag_bound_is_inclusive() {
        let mut acks = AckTable::default();
        acks.insert(1, 0);
        acks.set_online(1, 1_000);
        assert_eq!(acks.count_good(11_000, 10_000), 1);
        assert_eq!(acks.count_good(11_001, 10_000), 0);
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn poll(reached: &mut Pin<Box<Reached<'_>>>, woken: &Arc<Woken>) -> Poll<usize> {
        reached.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
    }

    #[test]
    fn who_waits_is_woken_by_what_counts_and_leaves_nothing_behind() {
        let acks = SharedAcks::default();
        let woken = Arc::<Woken>::default();
        let mut reached = Box::pin(acks.reached(10, 1));
        assert_eq!(poll(&mut reached, &woken), Poll::Pending);
        assert_eq!(poll(&mut reached, &woken), Poll::Pending);
        assert_eq!(acks.waiting(), 1, "polled twice, it waits once");
        acks.insert(1, 0);
        assert!(!acks.acknowledge(2, 10, None, 10, 0), "nobody of that name");
        assert_eq!(woken.0.load(Relaxed), 0);
        assert!(acks.acknowledge(1, 10, None, 10, 0));
        assert_eq!(poll(&mut reached, &woken), Poll::Pending, "not online");
        acks.set_online(1, 0);
        assert_eq!(woken.0.load(Relaxed), 2);
        assert_eq!(poll(&mut reached, &woken), Poll::Ready(1));
        let mut more = Box::pin(acks.reached(11, 1));
        assert_eq!(poll(&mut more, &woken), Poll::Pending);
        assert_eq!(acks.waiting(), 1);
        drop(more);
        assert_eq!(acks.waiting(), 0, "who gives up waits no more");
        acks.remove(1);
        assert_eq!(acks.count_acked(0), 0);
        assert_eq!(
            poll(&mut Box::pin(acks.reached(u64::MAX, 0)), &woken),
            Poll::Ready(0),
            "none are always there"
        );
    }

    #[test]
    fn a_report_from_beyond_the_end_satisfies_no_later_write() {
        let mut acks = AckTable::default();
        acks.insert(1, 0);
        acks.set_online(1, 0);
        acks.acknowledge(1, u64::MAX, Some(u64::MAX), 500, 0);
        assert_eq!(acks.get(1).map(|entry| (entry.acked_offset, entry.fsynced_offset)), Some((500, 500)));
        assert_eq!(acks.count_acked(501), 0);
    }
}

mod links {
    use super::*;

    fn facts(eof: bool, rdb_only: bool) -> ReplicaFacts {
        ReplicaFacts { capabilities: Capabilities { eof, psync2: true }, rdb_only, ..ReplicaFacts::default() }
    }

    fn run(link: &mut Link, events: &[LinkEvent]) -> Vec<LinkAction> {
        events.iter().map(|event| link.on(*event, 0).expect("a legal event")).collect()
    }

    const FULL: [LinkEvent; 3] = [LinkEvent::FullAccepted, LinkEvent::SnapshotReady, LinkEvent::RdbSent];

    #[test]
    fn with_an_end_mark_the_stream_waits_for_the_first_acknowledgement() {
        let mut link = Link::new(&facts(true, false), true, true, 0);
        let actions = run(&mut link, &FULL);
        assert_eq!(
            actions,
            [LinkAction::KeepAlive, LinkAction::SendSnapshot(Framing::EndMark), LinkAction::None]
        );
        assert_eq!(link.state(), LinkState::AwaitingFirstAck);
        assert_eq!(link.on(LinkEvent::Acked, 0), Ok(LinkAction::StartStream));
        assert_eq!(link.on(LinkEvent::Acked, 0), Ok(LinkAction::None));
    }

    #[test]
    fn a_replica_that_can_read_an_end_mark_is_not_owed_one() {
        let mut link = Link::new(&facts(true, false), true, false, 0);
        assert_eq!(link.framing(), Framing::Length);
        assert_eq!(run(&mut link, &FULL).last(), Some(&LinkAction::StartStream));
    }

    #[test]
    fn with_a_length_the_stream_follows_at_once() {
        let mut link = Link::new(&facts(false, false), true, true, 0);
        let actions = run(&mut link, &FULL);
        let expected =
            [LinkAction::KeepAlive, LinkAction::SendSnapshot(Framing::Length), LinkAction::StartStream];
        assert_eq!(actions, expected);
        assert_eq!(link.state(), LinkState::Online);
    }

    #[test]
    fn an_acknowledgement_during_the_transfer_does_not_start_the_stream() {
        let mut link = Link::new(&facts(true, false), true, true, 0);
        run(&mut link, &FULL[..2]);
        assert_eq!(link.on(LinkEvent::Acked, 0), Ok(LinkAction::None));
        assert_eq!(link.on(LinkEvent::RdbSent, 0), Ok(LinkAction::None));
        assert_eq!(link.state(), LinkState::AwaitingFirstAck);
    }

    #[test]
    fn an_acknowledgement_counts_only_once_the_snapshot_is_complete() {
        for eof in [true, false] {
            let mut link = Link::new(&facts(eof, false), true, true, 0);
            for event in FULL {
                assert!(!link.takes_acks(), "{:?}", link.state());
                run(&mut link, &[event]);
            }
            assert!(link.takes_acks(), "{:?}", link.state());
        }
    }

    #[test]
    fn a_snapshot_alone_is_never_followed_by_the_stream() {
        let mut link = Link::new(&facts(true, true), false, true, 0);
        assert_eq!(run(&mut link, &FULL).last(), Some(&LinkAction::Close));
        assert_eq!(link.on(LinkEvent::Acked, 0), Ok(LinkAction::None));
        assert_eq!(link.state(), LinkState::Finished);
    }

    #[test]
    fn a_partial_resync_is_online_at_once_and_takes_no_snapshot() {
        let mut link = Link::new(&facts(true, false), true, true, 0);
        assert_eq!(link.on(LinkEvent::PartialAccepted, 0), Ok(LinkAction::StartStream));
        let (state, event) = (LinkState::Online, LinkEvent::RdbSent);
        assert_eq!(link.on(event, 0), Err(IllegalTransition { state, event }));
        assert_eq!(link.state(), LinkState::Online);
    }

    #[test]
    fn silence_counts_from_the_start_of_the_stream_and_the_bound_is_inclusive() {
        let mut link = Link::new(&facts(false, false), true, true, 0);
        link.on(LinkEvent::PartialAccepted, 5_000).expect("legal");
        assert_eq!(link.check_timeout(65_000, 60_000), None);
        let silent = LinkTimeout::Silent { silent_ms: 60_001, timeout_ms: 60_000 };
        assert_eq!(link.check_timeout(65_001, 60_000), Some(silent));
        link.heard(65_001);
        assert_eq!(link.check_timeout(65_001, 60_000), None);
    }

    #[test]
    fn plain_sync_is_not_held_to_acknowledging() {
        let mut link = Link::new(&facts(false, false), false, true, 0);
        run(&mut link, &FULL);
        assert_eq!(link.check_timeout(u64::MAX, 60_000), None);
    }

    #[test]
    fn a_transfer_that_makes_no_progress_is_dropped() {
        let mut link = Link::new(&facts(true, false), true, true, 0);
        run(&mut link, &FULL[..2]);
        link.progressed(1_000);
        link.heard(30_000);
        assert_eq!(link.check_timeout(61_000, 60_000), None);
        let stalled = LinkTimeout::Stalled { stalled_ms: 60_001, timeout_ms: 60_000 };
        assert_eq!(link.check_timeout(61_001, 60_000), Some(stalled));
    }

    fn event() -> impl Strategy<Value = LinkEvent> {
        use LinkEvent as E;
        proptest::sample::select(vec![
            E::PartialAccepted,
            E::FullAccepted,
            E::SnapshotReady,
            E::RdbSent,
            E::Acked,
        ])
    }

    proptest! {
        /// Whatever is reported: the stream starts at most once, never before a snapshot that was decided on,
        /// and never for a replica that wants none.
        #[test]
        fn the_stream_starts_at_most_once(
            eof: bool, rdb_only: bool, sync: bool, events in proptest::collection::vec(event(), 0..20),
        ) {
            let mut link = Link::new(&facts(eof, rdb_only), !sync, true, 0);
            let (mut full, mut sent, mut acked_after, mut started) = (false, false, false, 0);
            for event in events {
                let before = link.state();
                match link.on(event, 0) {
                    Ok(action) => {
                        full |= event == LinkEvent::FullAccepted;
                        acked_after |= sent && event == LinkEvent::Acked;
                        sent |= event == LinkEvent::RdbSent;
                        started += u32::from(action == LinkAction::StartStream);
                        prop_assert_eq!(started == 1, link.state() == LinkState::Online);
                    }
                    Err(_) => prop_assert_eq!(link.state(), before),
                }
                if started > 0 && full {
                    prop_assert!(sent && !rdb_only && (!eof || acked_after));
                }
            }
            prop_assert!(started <= 1);
        }
    }
}
