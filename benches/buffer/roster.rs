//! The product and its peers, as the loads run them.

use super::latency::{self, Delays, Manner};
use super::peers::{
    AsyncBroadcast, ChannelEach, Chute, Disruptor, Kind, LockedDeque, Multiqueue, Product, ReserveAndFill,
    Shape, Stream, TokioBroadcast,
};
use super::throughput::{self, Rates, Work};

/// One of those that are compared, and the loads on it.
pub struct Peer {
    pub name: &'static str,
    pub kind: Kind,
    pub keeps_unread: bool,
    pub run: fn(&Shape, &Work) -> Rates,
    pub read: fn(&Shape, usize) -> f64,
    pub delays: fn(&Shape, &latency::Load, Manner) -> Delays,
}

const fn peer<S: Stream>() -> Peer {
    Peer {
        name: S::NAME,
        kind: S::KIND,
        keeps_unread: S::KEEPS_UNREAD,
        run: throughput::run::<S>,
        read: throughput::read_rate::<S>,
        delays: latency::delays::<S>,
    }
}

static ROSTER: &[Peer] = &[
    peer::<Product>(),
    peer::<LockedDeque>(),
    peer::<TokioBroadcast>(),
    peer::<AsyncBroadcast>(),
    peer::<Disruptor>(),
    peer::<Multiqueue>(),
    peer::<ChannelEach>(),
    peer::<Chute>(),
    peer::<ReserveAndFill>(),
    #[cfg(replcore_sketch)]
    Peer { kind: Kind::Sketch, keeps_unread: true, ..peer::<super::peers::Sketch>() },
];

pub fn all() -> Vec<&'static Peer> {
    ROSTER.iter().collect()
}

/// Those that keep frames without readers.
pub fn without_readers() -> Vec<&'static Peer> {
    ROSTER.iter().filter(|peer| peer.keeps_unread || peer.kind == Kind::Product).collect()
}
