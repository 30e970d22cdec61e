//! INFO: the state of the server under Valkey's field names.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::super::dispatch::{Flow, Run};
use super::super::pubsub::Kind;
use super::super::replication::Following;
use super::super::session::Session;
use super::super::state::{Shared, unix_ms};
use super::connection::COMPATIBLE_VERSION;
use crate::keyspace::batch::Overview;
use crate::resp::Reply;
use crate::resync::replica::Phase;

type Section = (&'static str, fn(&Shared, &mut dyn Overview, &mut String));

const SECTIONS: &[Section] = &[
    ("server", server),
    ("clients", clients),
    ("memory", memory),
    ("persistence", persistence),
    ("stats", stats),
    ("replication", replication),
    ("cluster", cluster),
    ("replcore", replcore),
    ("keyspace", keyspace),
];

/// Sections that look at every shard.
const ABOUT_KEYS: &[&str] = &["clients", "stats", "keyspace"];

pub(super) const RUN: Run =
    Run::Overview { asks: |argv| ABOUT_KEYS.iter().any(|section| is_asked(argv, section)), run: info };

/// Whether the arguments ask for a section.
fn is_asked(argv: &[Bytes], section: &str) -> bool {
    let names = [section, "all", "default", "everything"];
    let is_named = |arg: &Bytes| names.iter().any(|name| arg.eq_ignore_ascii_case(name.as_bytes()));
    argv.len() <= 1 || argv[1..].iter().any(is_named)
}

fn info(session: &mut Session, argv: &[Bytes], keyspace: &mut dyn Overview) -> Flow {
    let mut text = String::with_capacity(4096);
    for (name, write) in SECTIONS {
        if is_asked(argv, name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let (first, rest) = name.split_at(1);
            // Writing to a String cannot fail, here and below.
            let _ = write!(text, "# {}{rest}\r\n", first.to_ascii_uppercase());
            write(&session.shared, keyspace, &mut text);
        }
    }
    Reply::Verbatim(Bytes::from(text)).into()
}

macro_rules! fields {
    ($out:expr, $($name:literal = $value:expr),+ $(,)?) => {
        $( let _ = write!($out, concat!($name, ":{}\r\n"), $value); )+
    };
}

fn server(shared: &Shared, _: &mut dyn Overview, out: &mut String) {
    let uptime_s = shared.mono_ms() / 1000;
    let config = shared.config.load();
    fields!(
        out,
        "redis_version" = COMPATIBLE_VERSION,
        "server_name" = "replcore",
        "replcore_version" = env!("CARGO_PKG_VERSION"),
        "server_mode" = "standalone",
        "os" = std::env::consts::OS,
        "arch_bits" = usize::BITS,
        "process_id" = std::process::id(),
        "run_id" = shared.run_id,
        "tcp_port" = shared.port,
        "server_time_usec" = unix_ms() * 1000,
        "uptime_in_seconds" = uptime_s,
        "uptime_in_days" = uptime_s / 86_400,
        "hz" = config.hz,
        "configured_hz" = config.hz,
        "shards" = config.shards,
    );
    if let Some(left_ms) = shared.stopping_ms() {
        fields!(out, "shutdown_in_milliseconds" = left_ms);
    }
}

fn clients(shared: &Shared, keyspace: &mut dyn Overview, out: &mut String) {
    let (reason, paused, left_ms) = shared.pause.describe(shared.mono_ms());
    let replicas = shared.replication.replicas().len();
    let list = shared.clients.list();
    let watching = list.iter().filter(|client| client.profile.lock().watching > 0).count();
    fields!(
        out,
        "connected_clients" = list.len().saturating_sub(replicas),
        "maxclients" = shared.config.load().maxclients,
        "blocked_clients" = shared.blocked_clients.load(Ordering::Relaxed),
        "pubsub_clients" = list.iter().filter(|client| client.profile.lock().is_subscriber()).count(),
        "watching_clients" = watching,
        "total_blocking_keys" = keyspace.waiting_keys(),
        "paused_reason" = reason,
        "paused_actions" = paused.name(),
        "paused_timeout_milliseconds" = left_ms,
    );
}

/// What is counted: the data, and the replication buffer, which `maxmemory` is not about. What the operating
/// system says, without it zero.
fn memory(shared: &Shared, _: &mut dyn Overview, out: &mut String) {
    let rss_bytes = resident_bytes().unwrap_or(0);
    let buffer = shared.replication.stream().buffer.stats();
    let limits = shared.config.load().memory;
    let scripts = &shared.scripting.figures;
    let dataset_bytes = shared.keyspace.used_bytes();
    let used_bytes = dataset_bytes + buffer.retained_bytes;
    fields!(
        out,
        "used_memory" = used_bytes,
        "used_memory_rss" = rss_bytes,
        "used_memory_dataset" = dataset_bytes,
        "used_memory_vm_eval" = scripts.interpreter_bytes(),
        "used_memory_scripts_eval" = scripts.cached_bytes(),
        "number_of_cached_scripts" = scripts.cached(),
        "used_memory_vm_total" = scripts.interpreter_bytes(),
        "used_memory_scripts" = scripts.interpreter_bytes() + scripts.cached_bytes(),
        "maxmemory" = limits.max_bytes,
        "maxmemory_policy" = limits.policy.name(),
        "mem_fragmentation_ratio" = format_args!("{:.2}", rss_bytes as f64 / used_bytes.max(1) as f64),
        "mem_fragmentation_bytes" = i128::from(rss_bytes) - i128::from(used_bytes),
        "mem_not_counted_for_evict" = buffer.retained_bytes,
        "mem_replication_backlog" = buffer.retained_bytes,
        "mem_total_replication_buffers" = buffer.retained_bytes,
    );
}

/// Resident memory from `/proc/self/statm`, in 4 KiB pages.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(4096)
}

fn persistence(shared: &Shared, _: &mut dyn Overview, out: &mut String) {
    let (view, loading) = (shared.save_view(), &shared.persistence.loading);
    let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let status = |failed: bool| if failed { "err" } else { "ok" };
    let seconds = |seconds: Option<u64>| seconds.and_then(|s| i64::try_from(s).ok()).unwrap_or(-1);
    let sends_snapshot = shared.replication.snapshots_running() > 0;
    fields!(
        out,
        "loading" = u8::from(loading.is_active()),
        "async_loading" = 0,
        "rdb_changes_since_last_save" = view.changes,
        "rdb_bgsave_in_progress" = u8::from(view.is_running || sends_snapshot),
        "rdb_last_save_time" = view.last_save_s,
        "rdb_last_bgsave_status" = status(view.last_failed),
        "rdb_last_bgsave_time_sec" = seconds(view.last_took_s),
        "rdb_current_bgsave_time_sec" = seconds(view.running_s),
        "rdb_saves" = view.saves,
        "rdb_save_failures" = view.failures,
        "rdb_last_load_keys_expired" = get(&loading.keys_expired),
        "rdb_last_load_keys_loaded" = get(&loading.keys_loaded),
        "aof_enabled" = 0,
        "aof_rewrite_in_progress" = 0,
    );
    if loading.is_active() {
        let (total, loaded) = (get(&loading.total_bytes), get(&loading.loaded_bytes));
        fields!(
            out,
            "loading_start_time" = get(&loading.since_s),
            "loading_total_bytes" = total,
            "loading_loaded_bytes" = loaded,
            "loading_loaded_perc" = format_args!("{:.2}", loaded as f64 * 100.0 / total.max(1) as f64),
        );
    }
}

fn stats(shared: &Shared, keyspace: &mut dyn Overview, out: &mut String) {
    let stats = &shared.stats;
    let keyspace = keyspace.stats();
    fields!(
        out,
        "total_connections_received" = stats.connections.get(),
        "total_commands_processed" = stats.commands.get(),
        "instantaneous_ops_per_sec" = stats.ops_per_second.get(),
        "total_net_input_bytes" = stats.net_input_bytes.get(),
        // As in Valkey, what went to replicas is part of the whole.
        "total_net_output_bytes" = stats.net_output_bytes.get() + stats.net_repl_output_bytes.get(),
        "total_net_repl_output_bytes" = stats.net_repl_output_bytes.get(),
        "rejected_connections" = stats.connections_rejected.get(),
        "sync_full" = stats.sync_full.get(),
        "sync_partial_ok" = stats.sync_partial_ok.get(),
        "sync_partial_err" = stats.sync_partial_err.get(),
        "expired_keys" = keyspace.expired_keys,
        "expired_fields" = keyspace.expired_fields,
        "expired_stale_perc" = format_args!("{:.2}", stats.stale_keys_percent.get()),
        "expired_keys_with_volatile_items_stale_perc" =
            format_args!("{:.2}", stats.stale_hashes_percent.get()),
        "expired_time_cap_reached_count" = stats.expire_cycles_over_budget.get(),
        "expire_cycle_cpu_milliseconds" = stats.expire_cycles_us.get() / 1000,
        "pubsub_channels" = shared.pubsub.count_active(Kind::Channel),
        "pubsub_patterns" = shared.pubsub.count_active(Kind::Pattern),
        "pubsubshard_channels" = shared.pubsub.count_active(Kind::ShardChannel),
        "evicted_keys" = keyspace.evicted_keys,
        "evicted_scripts" = shared.scripting.figures.evicted(),
        "keyspace_hits" = keyspace.keyspace_hits,
        "keyspace_misses" = keyspace.keyspace_misses,
        "total_error_replies" = stats.error_replies.get(),
        "total_reads_processed" = stats.reads.get(),
        "total_writes_processed" = stats.writes.get(),
        "client_query_buffer_limit_disconnections" = stats.query_limit_disconnections.get(),
        "client_output_buffer_limit_disconnections" =
            stats.output_limit_disconnections.get() + stats.replicas_evicted.get(),
    );
}

fn replication(shared: &Shared, _: &mut dyn Overview, out: &mut String) {
    let replication = &shared.replication;
    let config = shared.config.load();
    let now_ms = shared.mono_ms();
    let replicas = replication.replicas();
    match replication.following() {
        None => {
            fields!(out, "role" = "master");
        }
        Some(following) => {
            fields!(out, "role" = "slave");
            primary_link(shared, &following, now_ms, out);
        }
    }
    fields!(out, "connected_slaves" = replicas.len());
    if config.min_replicas_to_write > 0 {
        fields!(
            out,
            "min_slaves_good_slaves" = replication.count_good(now_ms, config.min_replicas_max_lag_s * 1000)
        );
    }
    for (index, replica) in replicas.iter().enumerate() {
        let _ = write!(
            out,
            "slave{index}:ip={},port={},state={},offset={},lag={},type=replica\r\n",
            replica.address,
            replica.port,
            replica.state.info_name(),
            replica.acked_offset,
            now_ms.saturating_sub(replica.last_ack_ms) / 1000,
        );
    }
    let stream = replication.stream();
    let history = stream.history.load();
    let (first, end) = (stream.buffer.first_offset(), stream.buffer.end_offset());
    fields!(
        out,
        "replicas_waiting_psync" = 0,
        "master_failover_state" = replication.failover_state(),
        "master_replid" = history.replid,
        "master_replid2" =
            history.previous.map_or_else(|| "0".repeat(40), |previous| previous.replid.to_string()),
        "master_repl_offset" = end,
        "second_repl_offset" =
            history.previous.map_or_else(|| "-1".to_owned(), |p| p.second_offset.to_string()),
        "repl_backlog_active" = 1,
        "repl_backlog_size" = config.backlog_bytes,
        "repl_backlog_first_byte_offset" = first + 1,
        "repl_backlog_histlen" = end.saturating_sub(first),
    );
}

/// The link to the primary that is followed.
fn primary_link(shared: &Shared, following: &Following, now_ms: u64, out: &mut String) {
    let view = following.view();
    let config = shared.config.load();
    let copying = matches!(view.phase, Phase::AwaitingSnapshot | Phase::Snapshot | Phase::Loading);
    let ago_s = |at_ms: u64| i64::try_from(now_ms.saturating_sub(at_ms) / 1000).unwrap_or(i64::MAX);
    fields!(
        out,
        "master_host" = following.host,
        "master_port" = following.port,
        "master_link_status" = if view.is_up() { "up" } else { "down" },
        "master_last_io_seconds_ago" = view.last_io_ms.filter(|_| view.is_up()).map_or(-1, ago_s),
        "master_sync_in_progress" = u8::from(copying),
        "slave_read_repl_offset" = view.read_offset,
        "slave_repl_offset" = shared.replication.end_offset(),
    );
    if copying {
        let total = view.snapshot_length.unwrap_or(0);
        fields!(
            out,
            "master_sync_total_bytes" = total,
            "master_sync_read_bytes" = view.snapshot_bytes,
            "master_sync_left_bytes" = total.saturating_sub(view.snapshot_bytes),
            "master_sync_last_io_seconds_ago" = view.last_io_ms.map_or(-1, ago_s),
        );
    }
    if !view.is_up() {
        fields!(out, "master_link_down_since_seconds" = ago_s(view.down_since_ms));
        if let Some(error) = &view.error {
            fields!(out, "master_link_error" = error.replace(['\r', '\n'], " "));
        }
    }
    fields!(out, "slave_priority" = config.replica_priority, "slave_read_only" = 1, "replica_announced" = 1,);
}

fn cluster(_: &Shared, _: &mut dyn Overview, out: &mut String) {
    fields!(out, "cluster_enabled" = 0);
}

/// What this server counts beyond Valkey.
fn replcore(shared: &Shared, _: &mut dyn Overview, out: &mut String) {
    let stats = &shared.stats;
    fields!(
        out,
        "replicas_evicted" = stats.replicas_evicted.get(),
        "replicas_timed_out" = stats.replicas_timed_out.get(),
        "replicas_refused" = stats.replicas_refused.get(),
        "history_breaks" = stats.history_breaks.get(),
        "protocol_errors" = stats.protocol_errors.get(),
        "expire_cycles_completed" = stats.expire_cycles_completed.get(),
        "expire_longest_hold_us" = stats.expire_longest_hold_us.get(),
        "expire_lag_ms" = stats.expire_lag_ms.get(),
        "snapshots_running" = shared.replication.snapshots_running(),
    );
    if let Some(refusal) = shared.replication.last_refusal() {
        fields!(out, "last_refused_replica" = refusal.replica, "last_refusal_reason" = refusal.reason);
    }
    let buffer = shared.replication.stream().buffer.stats();
    fields!(
        out,
        "buffer_publications" = buffer.publications,
        "buffer_retained_bytes" = buffer.retained_bytes,
        "buffer_segments_live" = buffer.segments_live,
        "buffer_segments_pooled" = buffer.segments_pooled,
        "buffer_blocks_live" = buffer.blocks_live,
        "buffer_blocks_pooled" = buffer.blocks_pooled,
        "buffer_retired" = buffer.retired,
        "buffer_retired_bytes" = buffer.retired_bytes,
        "buffer_eras_begun" = buffer.eras_begun,
        "buffer_cursors" = buffer.cursors,
        "buffer_evictions" = buffer.evictions,
        "buffer_publish_retries" = buffer.publish_retries,
        "buffer_sealed_term" = buffer.sealed_term,
    );
}

fn keyspace(shared: &Shared, keyspace: &mut dyn Overview, out: &mut String) {
    for db in 0..shared.config.load().databases {
        let (keys, expires) = keyspace.key_count(db);
        if keys > 0 {
            let volatile = keyspace.volatile_hash_count(db);
            let _ = write!(
                out,
                "db{db}:keys={keys},expires={expires},avg_ttl=0,keys_with_volatile_items={volatile}\r\n"
            );
        }
    }
}
