//! The two shows of an exception.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use replcore::rdb::SnapshotFormat;
use replcore::resp::Reply;
use replcore::rewrite::Rewritten;

use crate::support::client::{Argv, argv};
use crate::support::feed::{Feed, Wire, snapshot};
use crate::support::stored::{self, Stream};
use crate::support::stream::Recorder;
use crate::support::{
    Client, Link, Program, Scratch, Server, note, wait_caught_up, wait_link_up, wait_until,
};

const STEP: Duration = Duration::from_secs(30);

/// How what is propagated here comes about.
#[derive(Clone, Copy)]
pub enum Ours {
    /// The embedded server executes the sequence.
    Embedded,
    /// `rewrite` is told what the command did. (The client is one of the Valkey that executed it.)
    Told(fn(&[Bytes], &mut Client) -> Rewritten),
}

/// An exception.
pub struct Exception<'a> {
    /// What is there before.
    pub setup: &'a [&'a str],
    /// A field that has to have expired then.
    pub expired: Option<(&'a str, &'a str)>,
    /// What Valkey has to answer then; it is set up anew until it does.
    pub chance: Option<(&'a str, i64)>,
    /// The command.
    pub command: Argv,
    /// Who is the replica.
    pub replica: Program,
    /// How it is propagated here.
    pub ours: Ours,
}

/// A command, its words parted by spaces.
pub fn words(command: &str) -> Argv {
    command.split(' ').map(|word| Bytes::from(word.to_owned())).collect()
}

impl Exception<'_> {
    /// Shows it.
    #[track_caller]
    pub fn show(&self) {
        let name = String::from_utf8_lossy(&self.command[0]).to_lowercase();
        let scratch = Scratch::new(&format!("exception-{name}"));
        let primary = Server::start(Program::Valkey, "the Valkey primary", &scratch);
        let replica = Server::start(self.replica, "the replica", &scratch);
        let mut client = primary.client();
        client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        let mut recorder = Recorder::attach(primary.address());
        self.set_up(&mut client);
        if let Some((question, answer)) = self.chance {
            wait_until("chance has it so", STEP, || match client.call_integer(words(question)) {
                seen if seen == answer => Ok(()),
                seen => {
                    client.call(argv!["FLUSHALL"]);
                    self.set_up(&mut client);
                    Err(seen.to_string())
                }
            });
        }
        let setup = recorder.take();

        // Valkey's form.
        let fed = match self.replica {
            Program::Redis => {
                let mut feed = Feed::attach(&replica, &snapshot(SnapshotFormat::Redis10, |_| {}));
                feed.as_they_are(&setup);
                Some(feed)
            }
            _ => {
                replica.client().call(argv!["REPLICAOF", "127.0.0.1", primary.address().port()]);
                wait_link_up(&replica, STEP);
                None
            }
        };
        let same = contents(&mut client);
        assert_eq!(same, contents(&mut replica.client()), "before the command both are the same");
        let reply = client.try_call(&self.command).expect("Valkey answers");
        assert!(!matches!(reply, Reply::Error(_)), "{:?}: {reply:?}", self.command);
        let sent = recorder.take();
        match fed {
            Some(mut feed) => feed.as_they_are(&sent),
            None => drop(wait_caught_up(&primary, &replica, STEP)),
        }
        let expected = contents(&mut client);
        let diverged = contents(&mut replica.client());
        note!("{:?}: Valkey sends {sent:?}", self.command);
        assert_ne!(expected, diverged, "{:?} with {sent:?} does not diverge", self.command);

        // Ours.
        match self.ours {
            Ours::Embedded => self.embedded(&replica, &scratch),
            Ours::Told(tell) => {
                let propagation = tell(&self.command, &mut client).expect("an outcome of the command");
                let mut wire = Wire::default();
                wire.propagation(&self.command, propagation.clone());
                note!("{:?}: here {:?}", self.command, wire.commands());
                assert_ne!(wire.commands(), sent, "this is no exception");
                let mut feed = Feed::attach(&replica, &snapshot(SnapshotFormat::Redis10, |_| {}));
                feed.as_they_are(&setup);
                assert_eq!(same, contents(&mut replica.client()), "it starts where the first show started");
                feed.propagation(&self.command, propagation);
                assert_eq!(expected, contents(&mut replica.client()), "{:?}", self.command);
            }
        }
    }

    fn set_up(&self, client: &mut Client) {
        for command in self.setup {
            client.call(words(command));
        }
        if let Some((key, field)) = self.expired {
            wait_until("a field expires", STEP, || match client.call(argv!["HEXISTS", key, field]) {
                Reply::Integer(0) => Ok(()),
                other => Err(format!("{other:?}")),
            });
        }
    }

    /// The embedded server executes the same, with the same replica.
    fn embedded(&self, replica: &Server, scratch: &Scratch) {
        let primary = Server::start(Program::Replcore, "the embedded primary", scratch);
        let mut client = primary.client();
        client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", "0"]);
        self.set_up(&mut client);
        let link = Link::to(primary.address());
        replica.replicate(&link);
        wait_link_up(replica, STEP);
        assert_eq!(
            contents(&mut client),
            contents(&mut replica.client()),
            "before the command both are the same"
        );
        client.call(self.command.clone());
        wait_caught_up(&primary, replica, STEP);
        assert_eq!(contents(&mut client), contents(&mut replica.client()), "{:?}", self.command);
    }
}

fn keys(client: &mut Client) -> Vec<Bytes> {
    let mut keys: Vec<Bytes> =
        stored::items(&client.call(argv!["KEYS", "*"])).iter().map(stored::text).collect();
    keys.sort();
    keys
}

fn kind(client: &mut Client, key: &Bytes) -> String {
    let kind = client.call(argv!["TYPE", key]);
    String::from_utf8_lossy(&stored::text(&kind)).into_owned()
}

/// All that clients can see, and the fields that are stored, with their deadlines.
pub fn contents(client: &mut Client) -> BTreeMap<Bytes, String> {
    let mut contents = BTreeMap::new();
    for key in keys(client) {
        let kind = kind(client, &key);
        let asked = match &kind[..] {
            "string" => argv!["GET", &key],
            "hash" => argv!["HGETALL", &key],
            "list" => argv!["LRANGE", &key, "0", "-1"],
            "set" => argv!["SMEMBERS", &key],
            "zset" => argv!["ZRANGE", &key, "0", "-1", "WITHSCORES"],
            "stream" => argv!["XINFO", "STREAM", &key, "FULL", "COUNT", "0"],
            other => panic!("{key:?} is a {other}"),
        };
        let answer = client.call(asked);
        let mut seen = match &kind[..] {
            "stream" => format!("{:?}", Stream::read(&answer)),
            "hash" => pairs(&answer, 2),
            "set" => pairs(&answer, 1),
            _ => format!("{answer:?}"),
        };
        // A copy of nothing that is alive can be an empty hash, and be dumped as nothing that can be read.
        if kind == "hash" && client.call_integer(argv!["HLEN", &key]) > 0 {
            seen.push_str(&format!(", stored {:?}", stored::fields(&client.call(argv!["DUMP", &key]))));
        }
        seen.push_str(&format!(", until {:?}", client.call(argv!["PEXPIRETIME", &key])));
        contents.insert(key, seen);
    }
    contents
}

/// Items in no order, `size` by `size`.
fn pairs(reply: &Reply, size: usize) -> String {
    let mut pairs: Vec<String> = stored::items(reply).chunks(size).map(|pair| format!("{pair:?}")).collect();
    pairs.sort();
    pairs.concat()
}
