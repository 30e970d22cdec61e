//! Whatever a function is handed, it returns: no arguments and no outcome make it panic, however little they
//! have to do with each other. What it does return is a frame, and a command of too few words is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::{generic, geo, hash, hyperloglog, list, pubsub, set, sort, store, stream, string, zset};
use super::*;

/// The commands of all families, and one that none has.
const COMMANDS: &[&str] = &[
    "append",
    "bitfield",
    "bitop",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "brpoplpush",
    "bzmpop",
    "bzpopmax",
    "bzpopmin",
    "cluster",
    "copy",
    "decr",
    "decrby",
    "del",
    "delex",
    "delifeq",
    "expire",
    "expireat",
    "flushall",
    "flushdb",
    "function",
    "geoadd",
    "georadius",
    "georadiusbymember",
    "geosearchstore",
    "getdel",
    "getex",
    "getset",
    "hdel",
    "hexpire",
    "hexpireat",
    "hgetdel",
    "hgetex",
    "hincrby",
    "hincrbyfloat",
    "hmset",
    "hpersist",
    "hpexpire",
    "hpexpireat",
    "hset",
    "hsetex",
    "hsetnx",
    "incr",
    "incrby",
    "incrbyfloat",
    "increx",
    "linsert",
    "lmove",
    "lmpop",
    "lpop",
    "lpush",
    "lpushx",
    "lrem",
    "lset",
    "ltrim",
    "migrate",
    "move",
    "mset",
    "msetex",
    "msetnx",
    "nothing",
    "persist",
    "pexpire",
    "pexpireat",
    "pfadd",
    "pfcount",
    "pfmerge",
    "psetex",
    "publish",
    "rename",
    "renamenx",
    "restore",
    "restore-asking",
    "rpop",
    "rpoplpush",
    "rpush",
    "rpushx",
    "sdiffstore",
    "set",
    "setbit",
    "setex",
    "setnx",
    "setrange",
    "sinterstore",
    "sort",
    "spop",
    "spublish",
    "sunionstore",
    "swapdb",
    "unlink",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xgroup",
    "xreadgroup",
    "xsetid",
    "xtrim",
    "zdiffstore",
    "zinterstore",
    "zmpop",
    "zpopmax",
    "zpopmin",
    "zrangestore",
    "zremrangebylex",
    "zunionstore",
];

/// Words that some command reads, and numbers at the edges of what can be counted.
const WORDS: &[&str] = &[
    "",
    "*",
    "-*",
    "5-*",
    "0",
    "1",
    "2",
    "3",
    "7",
    "-1",
    "+1",
    "01",
    "1.5",
    "18446744073709551615",
    "9223372036854775807",
    "4611686018427387904",
    "NX",
    "XX",
    "GT",
    "LT",
    "CH",
    "INCR",
    "GET",
    "IFEQ",
    "IFNE",
    "EX",
    "PX",
    "EXAT",
    "PXAT",
    "KEEPTTL",
    "PERSIST",
    "FNX",
    "FXX",
    "FIELDS",
    "fields",
    "REPLACE",
    "ABSTTL",
    "IDLETIME",
    "FREQ",
    "COPY",
    "KEYS",
    "AUTH",
    "AUTH2",
    "SETSLOT",
    "LOAD",
    "CREATE",
    "DESTROY",
    "CREATECONSUMER",
    "DELCONSUMER",
    "STORE",
    "STOREDIST",
    "BYPOLYGON",
    "BYBOX",
    "FROMMEMBER",
    "COUNT",
    "count",
    "LEFT",
    "RIGHT",
    "MIN",
    "MAX",
    "BY",
    "ALPHA",
    "LIMIT",
    "w_*",
    "h_*->f",
    "nosort",
    "GROUP",
    "STREAMS",
    "NOACK",
    "BLOCK",
    "MAXLEN",
    "MINID",
    "~",
    "=",
    "NOMKSTREAM",
    "k",
    "j",
];

fn word() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => select(WORDS).prop_map(|word| Bytes::from_static(word.as_bytes())),
        1 => vec(any::<u8>(), 0..8).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![b'x'; ZERO_COPY_MIN_BYTES])),
    ]
}

fn words() -> impl Strategy<Value = Argv> {
    let name = prop_oneof![
        30 => select(COMMANDS).prop_map(|name| Bytes::from_static(name.as_bytes())),
        1 => word(),
    ];
    prop_oneof![
        1 => Just(Argv::new()),
        60 => (name, vec(word(), 0..12)).prop_map(|(name, rest)| [vec![name], rest].concat()),
    ]
}

/// What outcomes are made of.
#[derive(Clone, Debug)]
struct Parts {
    numbers: [u64; 4],
    flags: [bool; 4],
    positions: [Vec<usize>; 2],
    names: Vec<Bytes>,
    scores: Vec<f64>,
    choice: u8,
}

fn parts() -> impl Strategy<Value = Parts> {
    let number = || prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..9_u64, any::<u64>()];
    let position = prop_oneof![9 => 0..14_usize, 1 => Just(usize::MAX)];
    let numbers = [number(), number(), number(), number()];
    let positions = [vec(position.clone(), 0..4), vec(position, 0..4)];
    (numbers, any::<[bool; 4]>(), positions, vec(word(), 0..4), vec(any::<f64>(), 4), 0..12_u8).prop_map(
        |(numbers, flags, positions, names, scores, choice)| Parts {
            numbers,
            flags,
            positions,
            names,
            scores,
            choice,
        },
    )
}

impl Parts {
    /// One of `all`.
    fn one<T: Clone>(&self, all: &[T]) -> T {
        all[usize::from(self.choice) % all.len()].clone()
    }

    fn name(&self) -> Bytes {
        self.names.first().cloned().unwrap_or_default()
    }

    fn deadline(&self) -> Option<u64> {
        self.flags[0].then_some(self.numbers[0])
    }
}

fn of_strings(argv: &[Bytes], parts: &Parts, verb: DeletionVerb) -> Vec<Rewritten> {
    use string::*;
    let [first, second, ..] = parts.flags;
    let ([ms, ..], result, deadline_ms) = (parts.numbers, parts.name(), parts.deadline());
    let set_outcome = parts.one(&[
        SetOutcome::NotMet,
        SetOutcome::Stored { deadline_ms },
        SetOutcome::Past { existed: second },
    ]);
    let getex_outcome = parts.one(&[
        GetExOutcome::Unchanged,
        GetExOutcome::Deadline(ms),
        GetExOutcome::Deleted,
        GetExOutcome::Persisted,
    ]);
    let increx_outcome =
        parts.one(&[IncrExOutcome::Unchanged, IncrExOutcome::Stored { result: &result, deadline_ms }]);
    let msetex_outcome = parts.one(&[MSetExOutcome::NotMet, MSetExOutcome::Stored { deadline_ms }]);
    let form = if second { MSetExForm::InPlace } else { MSetExForm::AsSets };
    vec![
        set(argv, set_outcome, verb),
        setex(argv, ms),
        getset(argv),
        incrbyfloat(argv, &result),
        getex(argv, getex_outcome, verb),
        getdel(argv, first),
        incr(argv),
        increx(argv, increx_outcome),
        setnx(argv, first),
        mset(argv),
        append(argv),
        setrange(argv, first),
        bits(argv, parts.one(&[BitsOutcome::Unchanged, BitsOutcome::Grown, BitsOutcome::Changed])),
        delifeq(argv, first),
        msetex(argv, msetex_outcome, form),
    ]
}

fn of_keys(argv: &[Bytes], parts: &Parts, verb: DeletionVerb) -> Vec<Rewritten> {
    use generic::*;
    let (flags, [ms, number, ..]) = (parts.flags, parts.numbers);
    let expire_outcome =
        parts.one(&[ExpireOutcome::Unchanged, ExpireOutcome::Deadline(ms), ExpireOutcome::Deleted]);
    let payload = if flags[1] { RestorePayload::AsSent } else { RestorePayload::Encoded(parts.name()) };
    let restore_outcome = parts.one(&[
        RestoreOutcome::Stored { deadline_ms: parts.deadline(), payload },
        RestoreOutcome::Past { existed: flags[2] },
    ]);
    let copy_outcome = parts.one(&[
        CopyOutcome::Unchanged,
        CopyOutcome::Done,
        CopyOutcome::LiveFields { dead: &parts.names },
        CopyOutcome::NothingLive { existed: flags[2] },
    ]);
    let copied = copy(argv, copy_outcome, verb);
    vec![
        copied.map(|copied| if flags[3] { copied.at_source } else { copied.at_destination }),
        expire(argv, expire_outcome, verb),
        persist(argv, flags[0]),
        del(argv, number as usize),
        relocate(argv, RelocateOutcome::of(flags[0])),
        databases(argv),
        restore(argv, restore_outcome, verb),
        migrate(argv, &parts.names),
        function(argv, flags[0]),
        cluster_setslot(argv, flags[0]),
        pubsub::publish(argv),
        hyperloglog::pfadd(argv, flags[0]),
        hyperloglog::pfmerge(argv),
        hyperloglog::pfcount(argv, flags[0]),
    ]
}

fn of_collections(argv: &[Bytes], parts: &Parts, verb: DeletionVerb) -> Vec<Rewritten> {
    let (flags, [count, ..], key, names) = (parts.flags, parts.numbers, parts.name(), &parts.names);
    let edit = if flags[0] { list::EditOutcome::Changed } else { list::EditOutcome::Unchanged };
    let popped = parts.one(&[list::PopOutcome::Nothing, list::PopOutcome::Popped { key: &key, count }]);
    let spopped = parts.one(&[
        set::SpopOutcome::Nothing,
        set::SpopOutcome::Popped(names.clone()),
        set::SpopOutcome::Whole,
    ]);
    let existed = flags[1];
    let sorted = parts.one(&[
        sort::SortOutcome::Answered,
        sort::SortOutcome::Stored { result: names, existed },
        sort::SortOutcome::Computed { result: names, existed },
    ]);
    let stored = store::StoreOutcome::of(flags[0], existed);
    let members: Vec<(Bytes, f64)> = names.iter().cloned().zip(parts.scores.iter().copied()).collect();
    let end = if flags[0] { zset::ZSetEnd::Min } else { zset::ZSetEnd::Max };
    let zpopped =
        parts.one(&[zset::ZPopOutcome::Nothing, zset::ZPopOutcome::Popped { key: &key, end, count }]);
    let removed = parts.one(&[
        zset::LexRemovalOutcome::Unchanged,
        zset::LexRemovalOutcome::OneScore,
        zset::LexRemovalOutcome::SeveralScores(names.clone()),
    ]);
    let zstored = parts.one(&[
        zset::ZStoreOutcome::Determined(stored),
        zset::ZStoreOutcome::Computed { members: members.clone(), existed },
    ]);
    let placed =
        parts.one(&[geo::GeoAddOutcome::Unchanged, geo::GeoAddOutcome::Changed { scores: &parts.numbers }]);
    let geostored = parts.one(&[
        geo::GeoStoreOutcome::Stored(&members),
        geo::GeoStoreOutcome::Deleted,
        geo::GeoStoreOutcome::Unchanged,
    ]);
    vec![
        list::edit(argv, edit),
        list::blocking_pop(argv, popped),
        list::multi_pop(argv, popped),
        list::blocking_move(argv, edit),
        set::spop(argv, spopped, verb),
        sort::sort(argv, sorted, verb),
        store::store(argv, stored),
        zset::zpop(argv, zpopped),
        zset::zremrangebylex(argv, removed),
        zset::zstore(argv, zstored, verb),
        geo::geoadd(argv, placed),
        geo::geostore(argv, geostored, verb),
    ]
}

fn of_hashes(argv: &[Bytes], parts: &Parts, verb: DeletionVerb) -> Vec<Rewritten> {
    use hash::*;
    let ([ms, number, ..], flags, result) = (parts.numbers, parts.flags, parts.name());
    let [changed, dead] = &parts.positions;
    let leftovers = if flags[0] { Leftovers::Kept } else { Leftovers::Reclaimed };
    let fields = Touched { changed, dead, leftovers };
    let before =
        parts.one(&[DeadlineBefore::NotVolatile, DeadlineBefore::Volatile, DeadlineBefore::Live(ms)]);
    let set_nx = parts.one(&[HSetNxOutcome::Unchanged, HSetNxOutcome::Set { volatile: flags[1] }]);
    let effect = parts.one(&[FieldEffect::Deadline(ms), FieldEffect::Deleted, FieldEffect::Persisted]);
    let deadlines_ms: Vec<Option<u64>> =
        changed.iter().map(|at| at.is_multiple_of(2).then_some(ms)).collect();
    let set_ex = parts.one(&[
        HSetExOutcome::NotMet,
        HSetExOutcome::Stored { deadline_ms: parts.deadline() },
        HSetExOutcome::Kept { deadlines_ms: &deadlines_ms, dead },
        HSetExOutcome::Past { stored: changed },
    ]);
    vec![
        hset(argv),
        hsetnx(argv, set_nx),
        hincrby(argv, number as i64, before),
        hincrbyfloat(argv, &result, before),
        hdel(argv, fields),
        hgetdel(argv, fields),
        hexpire(argv, fields, effect),
        hpersist(argv, fields),
        hgetex(argv, fields, effect),
        hsetex(argv, set_ex),
        Ok(reclaim(&result, &parts.names, flags[2], verb)),
    ]
}

fn of_streams(argv: &[Bytes], parts: &Parts) -> Vec<Rewritten> {
    use stream::*;
    let ([ms, seq, number, deliveries], flags, owner) = (parts.numbers, parts.flags, parts.name());
    let id = StreamId { ms, seq };
    let extent = Extent { entries: number, first: flags[0].then_some(id) };
    let added = parts.one(&[XAddOutcome::NotAdded, XAddOutcome::Added { id, extent }]);
    let group = GroupPosition { last_id: id, entries_read: parts.deadline() };
    let pending = Pending { id, delivered_ms: number, deliveries };
    let (ids, again) = (vec![id; parts.names.len()], vec![pending; parts.names.len()]);
    let delivered = parts.one(&[
        Delivered::Nothing,
        Delivered::New { ids: &ids, delivered_ms: number },
        Delivered::Again(&again),
    ]);
    let read = |&key: &usize| GroupRead { key, consumer_created: flags[1], delivered, group };
    let reads: Vec<GroupRead<'_>> = parts.positions[0].iter().map(read).collect();
    let met = parts.one(&[Met::Claimed(pending), Met::Dropped { pending, owner: &owner }]);
    let entries = vec![met; parts.positions[1].len()];
    let claim = ClaimOutcome { entries: &entries, consumer_created: flags[1], group_moved: flags[2], group };
    vec![
        xadd(argv, added),
        xtrim(argv, number, extent),
        xreadgroup(argv, &reads),
        xclaim(argv, claim),
        xack(argv, number),
        xdel(argv, number),
        xsetid(argv),
        xgroup(argv, if flags[0] { XGroupOutcome::Done } else { XGroupOutcome::AlreadySo }),
    ]
}

fn of_all(argv: &[Bytes], parts: &Parts) -> Vec<Rewritten> {
    let verb = if parts.flags[3] { DeletionVerb::Del } else { DeletionVerb::Unlink };
    [
        of_strings(argv, parts, verb),
        of_keys(argv, parts, verb),
        of_collections(argv, parts, verb),
        of_hashes(argv, parts, verb),
        of_streams(argv, parts),
    ]
    .concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn no_arguments_and_no_outcome_make_a_rewrite_panic(client in words(), parts in parts()) {
        let _ = generic::is_never_propagated(client.first().map_or(&[][..], |name| name));
        for rewritten in of_all(&client, &parts) {
            let mut effects = Effects::new();
            effects.push_rewritten(0, &client, rewritten);
            let mut pieces = Pieces::default();
            frame::write(&effects, &mut pieces);
            prop_assert_eq!(effects.ops.is_empty(), pieces.text.is_empty());
            for op in &effects.ops {
                prop_assert!(!op.argv.is_empty() && !op.argv[0].is_empty(), "a command without a name");
                let name = String::from_utf8_lossy(&op.argv[0]).to_ascii_lowercase();
                prop_assert!(!generic::is_never_propagated(name.as_bytes()) || name == "nothing", "{name} is sent");
            }
        }
    }

    #[test]
    fn a_command_belongs_to_one_function_and_a_bare_name_to_few(name in select(COMMANDS), parts in parts()) {
        let bare = [Bytes::from_static(name.as_bytes())];
        let strangers = |rewritten: &Rewritten| !matches!(rewritten, Err(Mismatch::Command { .. }));
        let known: Vec<Rewritten> = of_all(&bare, &parts).into_iter().filter(strangers).collect();
        // The reclaim of dead fields has no command, and the sorted sets hand on to what stores any value.
        let own = known.len() - 1;
        let expected = match name {
            "nothing" => 0..=0,
            "zrangestore" | "zunionstore" | "zinterstore" | "zdiffstore" => 2..=2,
            _ => 1..=1,
        };
        prop_assert!(expected.contains(&own), "{name}: {known:?}");
        if !matches!(name, "nothing" | "flushall" | "flushdb") {
            let refused = known.iter().filter(|it| matches!(it, Err(Mismatch::Arguments { .. }))).count();
            prop_assert_eq!(refused, own);
        }
    }
}
