//! What happens by time: active expiry, evictions, pings in the stream, soft limits, samples.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::clients::Role;
use super::state::Shared;
use super::{expiry, monitor, persistence};

/// A client that has been idle for this long gives its buffers back.
const REST_AFTER_MS: u64 = 2_000;
/// How often the cursors' soft limits are looked at.
const LIMITS_PERIOD: Duration = Duration::from_millis(100);

/// Runs everything periodic until the server has ended (never returns by itself).
pub(super) async fn run(shared: Arc<Shared>) {
    tokio::join!(
        expiry::run(&shared),
        evict(&shared),
        ping(&shared),
        limits(&shared),
        sample(&shared),
        shared.watch_stopping(),
        persistence::save_by_points(&shared),
        persistence::save_at_end(&shared),
        shared.replication.ask_for_acks(&shared)
    );
}

/// Goes on with the evictions that a command left, or that a lower `maxmemory` asks for, in pieces as long as
/// a command may evict.
async fn evict(shared: &Arc<Shared>) {
    loop {
        shared.more_to_evict.notified().await;
        let evicting = Arc::clone(shared);
        // What is left then has notified again.
        if let Err(error) = tokio::task::spawn_blocking(move || evicting.make_room()).await {
            tracing::error!(%error, "an eviction failed");
        }
    }
}

async fn ping(shared: &Shared) {
    let mut waited_s = 0;
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        waited_s += 1;
        // Counted in ticks, so that a changed period holds at once.
        if waited_s >= shared.config.load().repl_ping_period_s {
            waited_s = 0;
            shared.ping_replicas();
        }
    }
}

async fn limits(shared: &Shared) {
    let mut tick = interval(LIMITS_PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        shared.replication.stream().buffer.enforce_limits();
    }
}

async fn sample(shared: &Shared) {
    let mut before = shared.stats.commands.get();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = shared.stats.commands.get();
        // Less than before after CONFIG RESETSTAT.
        shared.stats.ops_per_second.set(now.saturating_sub(before));
        before = now;
        check_clients(shared);
    }
}

/// The soft limits of clients, also of those for which nothing new comes; the buffers of those who are idle.
fn check_clients(shared: &Shared) {
    let config = shared.config.load();
    let now_ms = shared.mono_ms();
    for client in shared.clients.list() {
        client.rest(now_ms, REST_AFTER_MS);
        let limit = {
            let profile = client.profile.lock();
            match profile.role {
                Role::Replica => continue,
                Role::Normal if profile.is_subscriber() => config.pubsub_output,
                Role::Normal if profile.monitoring => monitor::output_limit(&config),
                Role::Normal => config.normal_output,
            }
        };
        client.check_output(limit);
    }
}
