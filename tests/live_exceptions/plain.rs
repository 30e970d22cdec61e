//! Strings and keys of any type.

use replcore::resp::Reply;
use replcore::rewrite::DeletionVerb;
use replcore::rewrite::geo::{self, GeoStoreOutcome};
use replcore::rewrite::string::{self, IncrExOutcome};

use crate::stage::{Exception, Ours, words};
use crate::support::client::{Argv, argv};
use crate::support::feed::{Feed, snapshot};
use crate::support::stored;
use crate::support::{Program, Scratch, Server};
use replcore::rdb::SnapshotFormat;

#[track_caller]
fn embedded(setup: &[&str], command: Argv, replica: Program) {
    Exception { setup, expired: None, chance: None, command, replica, ours: Ours::Embedded }.show();
}

#[test]
fn set_ifeq_is_unknown_to_redis() {
    embedded(&["SET k w"], words("SET k v IFEQ w"), Program::Redis);
}

#[test]
fn set_ifeq_with_an_argument_called_get_is_cut_by_valkey() {
    embedded(&["SET k get"], words("SET k v IFEQ get GET"), Program::Valkey);
}

#[test]
fn a_bitfield_that_only_makes_room_is_kept_back_by_valkey() {
    embedded(&["SET other 1"], words("BITFIELD k OVERFLOW FAIL INCRBY u2 0 9"), Program::Valkey);
    embedded(&["SET k 1"], words("BITFIELD k OVERFLOW FAIL SET u8 1000 256"), Program::Valkey);
}

#[test]
fn msetex_with_two_times_is_broken_by_valkey() {
    embedded(&["SET k w"], words("MSETEX 1 k v EX 5000 EX 6000"), Program::Valkey);
}

#[test]
fn msetex_is_unknown_to_redis() {
    embedded(&["SET k w"], words("MSETEX 1 k v"), Program::Redis);
    embedded(&["SET k w"], words("MSETEX 1 k v EX 5000"), Program::Redis);
}

#[test]
fn a_payload_of_valkeys_own_version_is_refused_by_redis() {
    let scratch = Scratch::new("exception-payload");
    let maker = Server::start(Program::Valkey, "the Valkey that dumps", &scratch);
    let mut client = maker.client();
    client.call(argv!["RPUSH", "l", "a", "b"]);
    let payload = stored::text(&client.call(argv!["DUMP", "l"]));
    embedded(&["SET other 1"], argv!["RESTORE", "k", "0", payload], Program::Redis);
}

/// No server that is tested with executes `INCREX`; the ones that do not know it can be replicas of one that
/// does.
#[test]
fn increx_is_unknown_to_replicas_before_valkey_9_2() {
    for (program, version) in
        [(Program::Valkey, SnapshotFormat::Valkey80), (Program::Redis, SnapshotFormat::Redis10)]
    {
        let scratch = Scratch::new("exception-increx");
        let replica = Server::start(program, "the replica", &scratch);
        let start = snapshot(version, |writer| writer.string(b"k", None, b"1").expect("a snapshot has room"));
        let command = words("INCREX k BYINT 2");
        let mut feed = Feed::attach(&replica, &start);
        feed.as_they_are(std::slice::from_ref(&command));
        let mut client = replica.client();
        assert_eq!(client.call(argv!["GET", "k"]), Reply::Bulk("1".into()), "the primary has 3");
        let result = "3".into();
        let outcome = IncrExOutcome::Stored { result: &result, deadline_ms: None };
        feed.propagation(&command, string::increx(&command, outcome).expect("an outcome of it"));
        assert_eq!(client.call(argv!["GET", "k"]), Reply::Bulk("3".into()));
    }
}

#[test]
fn a_search_by_polygon_is_unknown_to_redis() {
    Exception {
        setup: &["GEOADD g 13.361389 38.115556 inside 80 80 outside", "ZADD d 1 old"],
        expired: None,
        chance: None,
        command: words("GEOSEARCHSTORE d g BYPOLYGON 4 0 0 40 0 40 60 0 60"),
        replica: Program::Redis,
        ours: Ours::Told(|argv, client| {
            let found = client.call(argv!["ZRANGE", "d", "0", "-1", "WITHSCORES"]);
            let number =
                |reply: &Reply| String::from_utf8_lossy(&stored::text(reply)).parse().expect("a score");
            let members: Vec<_> = stored::items(&found)
                .chunks_exact(2)
                .map(|pair| (stored::text(&pair[0]), number(&pair[1])))
                .collect();
            geo::geostore(argv, GeoStoreOutcome::Stored(&members), DeletionVerb::Unlink)
        }),
    }
    .show();
}
