//! Lists: replies, propagation and events, as Valkey 9.1.2 was seen to give them.

use proptest::prelude::*;

use super::events::EventClass;
use super::*;

const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn elements_are_pushed_and_popped_at_both_ends() {
    session(
        "lpush l a b                => :2      | lpush l a b
         rpush l c                  => :3      | rpush l c
         lrange l 0 -1              => [b a c]
         lpushx no x                => :0
         rpushx no x                => :0
         lpushx l x y               => :5      | lpushx l x y
         RPUSHX l z                 => :6      | RPUSHX l z
         llen l                     => :6
         lpop l                     => y       | lpop l
         rpop l                     => z       | rpop l
         rpop l 2                   => [c a]   | rpop l 2
         lpop l 0                   => []
         lpop l 99                  => [x b]   | lpop l 99
         exists l                   => :0
         llen l                     => :0
         lpop l                     => nil
         lpop l 0                   => nothing
         rpop l 1                   => nothing
         lpop l x                   => -ERR value is out of range, must be positive
         lpop l -1                  => -ERR value is out of range, must be positive
         lpop l 1 2                 => -ERR wrong number of arguments for 'lpop' command
         rpop l 1 2                 => -ERR wrong number of arguments for 'rpop' command",
    );
}

#[test]
fn elements_are_reached_by_index() {
    session(
        "lindex no x                => nil
         rpush l a b c              => :3      | rpush l a b c
         lindex l 0                 => a
         lindex l -1                => c
         lindex l 3                 => nil
         lindex l -4                => nil
         lindex l -9223372036854775808 => nil
         lindex l x                 => -ERR value is not an integer or out of range
         lset l 1 x                 => OK      | lset l 1 x
         lset l -3 y                => OK      | lset l -3 y
         lrange l 0 -1              => [y x c]
         lset l 3 z                 => -ERR index out of range
         lset l -4 z                => -ERR index out of range
         lset l x z                 => -ERR value is not an integer or out of range
         lset no x z                => -ERR no such key
         lrange l -2 -1             => [x c]
         lrange l -99 99            => [y x c]
         lrange l 2 1               => []
         lrange l 3 9               => []
         lrange l 0 -9223372036854775808 => []
         lrange l 9223372036854775807 9223372036854775807 => []
         lrange no 0 -1             => []
         lrange no x 1              => -ERR value is not an integer or out of range",
    );
}

#[test]
fn elements_are_inserted_removed_and_trimmed() {
    session(
        "linsert no before a b      => :0
         linsert no foo a b         => -ERR syntax error
         rpush l a b a              => :3      | rpush l a b a
         linsert l before a x       => :4      | linsert l before a x
         linsert l AFTER b y        => :5      | linsert l AFTER b y
         linsert l after no y       => :-1
         lrange l 0 -1              => [x a b y a]
         lrem l 1 no                => :0
         lrem l -1 a                => :1      | lrem l -1 a
         lrange l 0 -1              => [x a b y]
         rpush l a a b              => :7      | rpush l a a b
         lrem l 2 a                 => :2      | lrem l 2 a
         lrange l 0 -1              => [x b y a b]
         lrem l 0 b                 => :2      | lrem l 0 b
         lrem l x a                 => -ERR value is not an integer or out of range
         lrem l -9223372036854775808 a => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         lrem no 0 a                => :0
         ltrim l 0 -1               => OK
         ltrim l 1 -2               => OK      | ltrim l 1 -2
         lrange l 0 -1              => [y]
         lrem l 0 y                 => :1      | lrem l 0 y
         exists l                   => :0
         rpush l a b                => :2      | rpush l a b
         ltrim l 5 9                => OK      | ltrim l 5 9
         exists l                   => :0
         ltrim l 0 1                => OK
         ltrim l x 1                => -ERR value is not an integer or out of range",
    );
}

#[test]
fn matches_are_found_from_both_ends() {
    session(
        "rpush l a b c a b c a      => :7      | rpush l a b c a b c a
         lpos l a                   => :0
         lpos l a rank 2            => :3
         lpos l a rank -1           => :6
         lpos l a rank 4            => nil
         lpos l a count 0           => [:0 :3 :6]
         lpos l a count 2 rank -2   => [:3 :0]
         lpos l a count 0 maxlen 4  => [:0 :3]
         lpos l a rank -1 count 0 maxlen 4 => [:6 :3]
         lpos l a maxlen 0 rank 3   => :6
         lpos l z                   => nil
         lpos l z count 1           => []
         lpos no a                  => nil
         lpos no a count 0          => []
         lpos no a rank 0           => -ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
         lpos l a rank -9223372036854775808 => -ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807
         lpos l a rank x            => -ERR value is not an integer or out of range
         lpos l a count -1          => -ERR COUNT can't be negative
         lpos l a count x           => -ERR COUNT can't be negative
         lpos l a maxlen -1         => -ERR MAXLEN can't be negative
         lpos l a rank              => -ERR syntax error
         lpos l a foo 1             => -ERR syntax error",
    );
}

#[test]
fn elements_move_between_lists_and_within_one() {
    session(
        "rpush l a b c              => :3      | rpush l a b c
         lmove l d left right       => a       | lmove l d left right
         lmove l d RIGHT LEFT       => c       | lmove l d RIGHT LEFT
         lrange d 0 -1              => [c a]
         rpoplpush l d              => b       | rpoplpush l d
         exists l                   => :0
         lmove d d left right       => b       | lmove d d left right
         lrange d 0 -1              => [c a b]
         rpoplpush d d              => b       | rpoplpush d d
         lrange d 0 -1              => [b c a]
         lmove no d left left       => nil
         rpoplpush no d             => nil
         lmove d d up left          => -ERR syntax error
         lmove d d left up          => -ERR syntax error",
    );
}

#[test]
fn a_list_of_one_element_that_is_moved_onto_itself_keeps_its_deadline() {
    session(
        "rpush l a                  => :1      | rpush l a
         pexpireat l 5000           => :1      | pexpireat l 5000
         lmove l l left right       => a       | lmove l l left right
         pexpiretime l              => :5000",
    );
}

#[test]
fn a_pop_from_several_keys_takes_the_first_that_is_there() {
    session(
        "rpush b 1 2 3 4            => :4      | rpush b 1 2 3 4
         lmpop 2 a b left           => [b [1]] | LPOP b 1
         LMPOP 2 a b right count 2  => [b [4 3]] | RPOP b 2
         lmpop 1 b left count 10    => [b [2]] | LPOP b 1
         lmpop 1 b left             => nothing
         lmpop 0 b left             => -ERR numkeys should be greater than 0
         lmpop x b left             => -ERR numkeys should be greater than 0
         lmpop 2 b left             => -ERR syntax error
         lmpop 9223372036854775807 b left => -ERR syntax error
         lmpop 1 b up               => -ERR syntax error
         lmpop 1 b left count       => -ERR syntax error
         lmpop 1 b left count 0     => -ERR count should be greater than 0
         lmpop 1 b left count x     => -ERR count should be greater than 0
         lmpop 1 b left count 1 count 2 => -ERR syntax error
         lmpop 1 b left foo 1       => -ERR syntax error",
    );
}

#[test]
fn a_blocking_command_that_finds_something_propagates_the_plain_one() {
    session(
        "rpush l a b c d e f g      => :7      | rpush l a b c d e f g
         blpop no l 0               => [l a]   | LPOP l
         brpop l 1.5                => [l g]   | RPOP l
         blmove l d left right 0    => b       | LMOVE l d left right
         brpoplpush l d 0           => f       | RPOPLPUSH l d
         blmpop 0 2 no l right count 2 => [l [e d]] | RPOP l 2
         blmpop 0 1 l left count 9  => [l [c]] | LPOP l 1
         exists l                   => :0
         lrange d 0 -1              => [f b]",
    );
}

#[test]
fn a_blocking_command_that_may_not_wait_answers_at_once() {
    session(
        "blpop no 0                 => nothing
         brpop no 0                 => nothing
         blmove no d left left 0    => nil
         brpoplpush no d 0          => nil
         blmpop 0 1 no left         => nothing",
    );
}

#[test]
fn timeouts_are_read_as_strictly_as_in_valkey() {
    session(
        "blpop no x                 => -ERR timeout is not a float or out of range
         blpop no nan               => -ERR timeout is not a float or out of range
         blpop no \"\"              => -ERR timeout is not a float or out of range
         blpop no -1                => -ERR timeout is negative
         blpop no -inf              => -ERR timeout is negative
         blpop no -1e300            => -ERR timeout is negative
         blpop no -0.0011           => -ERR timeout is negative
         blpop no -0.001            => nothing
         blpop no inf               => -ERR timeout is out of range
         blpop no 1e300             => -ERR timeout is out of range
         blpop no 9223372036854775  => -ERR timeout is out of range
         blpop no 9223372036854774  => nothing
         blpop no 0x1p3             => nothing
         rpush l a                  => :1 | rpush l a
         blpop l x                  => -ERR timeout is not a float or out of range
         blmove no d up left x      => -ERR syntax error
         blmove no d left left x    => -ERR timeout is not a float or out of range
         brpoplpush no d x          => -ERR timeout is not a float or out of range
         blmpop x 0 l left          => -ERR numkeys should be greater than 0
         blmpop x 1 l left count 0  => -ERR count should be greater than 0
         blmpop x 1 l left          => -ERR timeout is not a float or out of range",
    );
}

#[test]
fn another_type_is_refused_in_valkeys_order_of_checks() {
    let mut server = Server::new();
    server.run("set s v");
    server.run("rpush l a");
    let refused = [
        "lpush s a",
        "rpushx s a",
        "lpop s 0",
        "llen s",
        "lindex s x",
        "lrange s 0 1",
        "lset s x y",
        "linsert s before a b",
        "lrem s 0 a",
        "ltrim s 0 1",
        "lpos s a",
        "lmove s l left left",
        "lmove l s left left",
        "rpoplpush l s",
        "lmpop 2 s l left",
        "blpop no s l 0",
        "blmove s no left left 0",
        "blmove l s left left 0",
        "brpoplpush l s 0",
        "blmpop 0 1 s left",
    ];
    server.take_published();
    for command in refused {
        assert_eq!(text(&server.run(command)), WRONGTYPE, "{command}");
    }
    let otherwise = [
        ("lpop s x", "-ERR value is out of range, must be positive"),
        ("linsert s foo a b", "-ERR syntax error"),
        ("lrange s x 1", "-ERR value is not an integer or out of range"),
        ("lrem s x a", "-ERR value is not an integer or out of range"),
        ("lmove s l foo left", "-ERR syntax error"),
        ("lmove no s left left", "nil"),
        ("rpoplpush no s", "nil"),
        ("blmove no s left left 0", "nil"),
        ("lmpop 1 s up", "-ERR syntax error"),
        ("brpoplpush s l x", "-ERR timeout is not a float or out of range"),
    ];
    for (command, reply) in otherwise {
        assert_eq!(text(&server.run(command)), reply, "{command}");
    }
    assert_eq!(server.take_published(), "");
    assert_eq!(text(&server.run("lrange l 0 -1")), "[a]");
}

#[test]
fn a_snapshot_keeps_the_list_it_was_cut_with() {
    let mut server = Server::new();
    server.run("rpush l a b c");
    let ((), snapshot) = server.keyspace.cut(|| ());
    for command in ["lpop l", "lset l 0 x", "linsert l before x y", "lrem l 0 c", "ltrim l 1 1", "rpush l z"]
    {
        server.run(command);
    }
    let entries: Vec<_> = snapshot.flatten().collect();
    let list: List = ["a", "b", "c"].into_iter().fold(List::new(), |mut list, element| {
        list.push_back(element.as_bytes());
        list
    });
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].value, Value::List(Arc::new(list)));
    assert_eq!(text(&server.run("lrange l 0 -1")), "[x z]");
}

/// Writes down the events, `event key` each.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl EventSink for Recorder {
    fn key_event(&self, event: &events::KeyEvent<'_>) {
        self.0.lock().push(format!("{} {}", event.name, String::from_utf8_lossy(event.key)));
    }

    fn message(&self, _: events::MessageKind, _: &Bytes, _: &Bytes) -> u64 {
        0
    }
}

#[test]
fn events_come_in_valkeys_words_and_order() {
    let recorder = Arc::new(Recorder::default());
    let sink: Arc<dyn EventSink> = Arc::clone(&recorder) as _;
    let keyspace = Keyspace::with_events(Options::default(), Some(sink));
    keyspace.set_event_classes(EventClass::List as u32 | EventClass::Generic as u32);
    let expected = [
        ("lpush l a b c d", "lpush l"),
        ("rpush l e", "rpush l"),
        ("lpushx no a", ""),
        ("lset l 0 x", "lset l"),
        ("linsert l before x y", "linsert l"),
        ("linsert l before no y", ""),
        ("lrem l 0 no", ""),
        ("lrem l 0 y", "lrem l"),
        ("ltrim l 0 -1", "ltrim l"),
        ("lpop l 0", ""),
        ("lpop l 2", "lpop l"),
        ("lmove l l left right", "rpush l, lpop l"),
        ("lmove l d right left", "lpush d, rpop l"),
        ("blmove l d left right 0", "rpush d, lpop l"),
        ("rpoplpush l d", "lpush d, rpop l, del l"),
        ("blmpop 0 1 d left", "lpop d"),
        ("brpop d 0", "rpop d"),
        ("lmpop 1 d left count 9", "lpop d, del d"),
        ("rpush l a", "rpush l"),
        ("ltrim l 1 0", "ltrim l, del l"),
        ("rpush l a", "rpush l"),
        ("lrem l 0 a", "lrem l, del l"),
    ];
    for (words, events) in expected {
        keyspace.execute(&[Call { db: 0, argv: argv(words) }], 0, &mut |_| ());
        assert_eq!(std::mem::take(&mut *recorder.0.lock()).join(", "), events, "{words}");
    }
}

/// What a list is: the reference.
fn naive(elements: &mut Vec<String>, command: &[String]) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let at = |index: &str, len: usize| {
        let index: i64 = index.parse().unwrap();
        if index < 0 { index + len as i64 } else { index }
    };
    let len = elements.len();
    match words[..] {
        ["lpush", _, element] => elements.insert(0, element.to_owned()),
        ["rpush", _, element] => elements.push(element.to_owned()),
        ["lpop", _, count] => drop(elements.drain(..len.min(count.parse().unwrap()))),
        ["rpop", _, count] => elements.truncate(len.saturating_sub(count.parse().unwrap())),
        ["lset", _, index, element] => {
            if let Some(place) = usize::try_from(at(index, len)).ok().and_then(|at| elements.get_mut(at)) {
                *place = element.to_owned();
            }
        }
        ["linsert", _, place, pivot, element] => {
            if let Some(index) = elements.iter().position(|it| it == pivot) {
                elements.insert(index + usize::from(place == "after"), element.to_owned());
            }
        }
        ["lrem", _, count, element] => {
            let count: i64 = count.parse().unwrap();
            let mut equal: Vec<usize> = (0..len).filter(|&index| elements[index] == element).collect();
            if count < 0 {
                equal.reverse();
            }
            equal.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
            equal.sort_unstable();
            equal.into_iter().rev().for_each(|index| drop(elements.remove(index)));
        }
        ["ltrim", _, start, stop] => {
            let (start, stop) = (at(start, len), at(stop, len));
            let mut index = -1;
            elements.retain(|_| {
                index += 1;
                (start..=stop).contains(&index)
            });
        }
        _ => unreachable!("{words:?}"),
    }
}

fn any_command() -> impl Strategy<Value = Vec<String>> {
    let element = || prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let index = || (-6_i64..=6).prop_map(|index| index.to_string());
    let count = || (0_u64..=3).prop_map(|count| count.to_string());
    let named = |name: &str| vec![name.to_owned(), "l".to_owned()];
    let (push, pop) = (named("lpush"), named("lpop"));
    let (rpush, rpop) = (named("rpush"), named("rpop"));
    let (lset, linsert, lrem, ltrim) = (named("lset"), named("linsert"), named("lrem"), named("ltrim"));
    prop_oneof![
        3 => element().prop_map(move |element| [push.clone(), vec![element]].concat()),
        3 => element().prop_map(move |element| [rpush.clone(), vec![element]].concat()),
        1 => count().prop_map(move |count| [pop.clone(), vec![count]].concat()),
        1 => count().prop_map(move |count| [rpop.clone(), vec![count]].concat()),
        1 => (index(), element()).prop_map(move |(at, element)| [lset.clone(), vec![at, element]].concat()),
        1 => (any::<bool>(), element(), element()).prop_map(move |(after, pivot, element)| {
            let place = if after { "after" } else { "before" };
            [linsert.clone(), vec![place.to_owned(), pivot, element]].concat()
        }),
        1 => (index(), element()).prop_map(move |(at, element)| [lrem.clone(), vec![at, element]].concat()),
        1 => (index(), index()).prop_map(move |(from, to)| [ltrim.clone(), vec![from, to]].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_list_is_what_the_reference_says(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut server = Server::new();
        let mut elements = Vec::new();
        for command in commands {
            naive(&mut elements, &command);
            server.run(&command.join(" "));
            prop_assert_eq!(text(&server.run("lrange l 0 -1")), format!("[{}]", elements.join(" ")));
            prop_assert_eq!(server.run("llen l"), Reply::Integer(elements.len() as i64));
        }
    }
}
