//! How a primary ends: asked by a client, from the keyboard, by the service manager.
#![cfg(feature = "server")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use replcore::resp::Reply;
use rustix::process::Signal;

use support::client::{Argv, argv};
use support::{Scratch, Server, attach_replicas, note};

const EXIT: Duration = Duration::from_secs(20);
const LAST: usize = 20_000;

#[test]
fn shutdown_ends_with_code_0_and_the_replicas_have_every_answered_write() {
    let scratch = Scratch::new("shutdown");
    let mut primary = Server::primary(&scratch);
    let (replicas, _links) = attach_replicas(&primary, &scratch);
    let mut client = primary.client();
    let writes: Vec<Argv> = (0..=LAST).map(|n| argv!["SET", format!("key:{}", n % 1_000), n]).collect();
    client.pipeline(&writes).expect("the primary answers every write");
    client.send(&argv!["SHUTDOWN"]).expect("the primary reads");
    let ended = client.receive().expect_err("SHUTDOWN has no reply when it works");
    note!("the client sees: {ended}");
    let status = primary.wait_exit(EXIT);
    assert_eq!(status.code(), Some(0), "{status}");
    for replica in &replicas {
        let got = replica.client().call(argv!["GET", format!("key:{}", LAST % 1_000)]);
        assert_eq!(got, Reply::Bulk(Bytes::from(LAST.to_string())), "{}", replica.name());
    }
}

#[test]
fn signals_end_it_with_code_0() {
    let scratch = Scratch::new("signals");
    for signal in [Signal::INT, Signal::TERM] {
        let mut primary = Server::primary(&scratch);
        let mut client = primary.client();
        client.call(argv!["SET", "key", "value"]);
        primary.signal(signal);
        let status = primary.wait_exit(EXIT);
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
    }
}
