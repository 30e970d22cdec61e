//! The table of parameters: the names, what they accept, and how they are shown.
//!
//! Memory sizes are shown in bytes and accepted with Valkey's units (`k` = 1000, `kb` = 1024, …).
//! Reasons for a refusal are worded as Valkey words them.

use super::config::{
    Config, ConfigError, EvictionPolicy, FieldDeadlinesPolicy, LoadPolicy, MAX_HZ, MIN_BACKLOG_BYTES, MIN_HZ,
    MIN_LUA_MEMORY_BYTES, OutputLimit, SavePoint, UnsupportedDataPolicy,
};
use super::notifications::Notifications;

type Get = fn(&Config) -> String;
type Set = fn(&mut Config, &str) -> Result<(), String>;

/// One configurable value.
pub(super) struct Parameter {
    pub name: &'static str,
    /// The older name, shown and accepted as well.
    pub alias: Option<&'static str>,
    /// Whether `CONFIG SET` may change it while the server runs.
    pub live: bool,
    get: Get,
    set: Set,
}

impl Parameter {
    pub fn get(&self, config: &Config) -> String {
        (self.get)(config)
    }

    pub fn set(&self, config: &mut Config, value: &str) -> Result<(), ConfigError> {
        (self.set)(config, value).map_err(|reason| ConfigError::Value { name: self.name, reason })
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.alias)
    }
}

/// The parameter of this name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.names().any(|own| own.eq_ignore_ascii_case(name)))
}

const fn live(name: &'static str, get: Get, set: Set) -> Parameter {
    Parameter { name, alias: None, live: true, get, set }
}

const fn fixed(name: &'static str, get: Get, set: Set) -> Parameter {
    Parameter { name, alias: None, live: false, get, set }
}

const fn renamed(name: &'static str, alias: &'static str, get: Get, set: Set) -> Parameter {
    Parameter { name, alias: Some(alias), live: true, get, set }
}

/// All parameters, in the order in which they are shown.
pub(super) static PARAMETERS: &[Parameter] = &[
    live(
        "active-expire-effort",
        |c| c.active_expire_effort.to_string(),
        |c, v| integer(v, 1, 10).map(|n| c.active_expire_effort = n),
    ),
    live("appendonly", |_| "no".to_owned(), |_, v| only(v, "no")),
    fixed(
        "bind",
        |c| c.bind.clone(),
        |c, v| {
            v.clone_into(&mut c.bind);
            Ok(())
        },
    ),
    renamed(
        "busy-reply-threshold",
        "lua-time-limit",
        |c| c.busy_reply_threshold_ms.to_string(),
        |c, v| integer(v, 0, i64::MAX as u64).map(|n| c.busy_reply_threshold_ms = n),
    ),
    live("client-output-buffer-limit", output_limits, set_output_limits),
    live(
        "client-query-buffer-limit",
        |c| c.query_buffer_bytes.to_string(),
        |c, v| memory(v, 1 << 20, i64::MAX as u64).map(|bytes| c.query_buffer_bytes = bytes),
    ),
    live(
        "commandlog-large-reply-max-len",
        |c| c.large_reply_log.max_len.to_string(),
        |c, v| integer(v, 0, i64::MAX as u64).map(|n| c.large_reply_log.max_len = n),
    ),
    live(
        "commandlog-large-request-max-len",
        |c| c.large_request_log.max_len.to_string(),
        |c, v| integer(v, 0, i64::MAX as u64).map(|n| c.large_request_log.max_len = n),
    ),
    live(
        "commandlog-reply-larger-than",
        |c| show_threshold(c.large_reply_log.threshold),
        |c, v| threshold(v).map(|n| c.large_reply_log.threshold = n),
    ),
    live(
        "commandlog-request-larger-than",
        |c| show_threshold(c.large_request_log.threshold),
        |c, v| threshold(v).map(|n| c.large_request_log.threshold = n),
    ),
    fixed(
        "databases",
        |c| c.databases.to_string(),
        |c, v| integer(v, 1, u64::from(u16::MAX)).map(|n| c.databases = u16::try_from(n).unwrap_or(u16::MAX)),
    ),
    fixed(
        "dbfilename",
        |c| c.dbfilename.clone(),
        |c, v| match v {
            "" | "." | ".." => Err("dbfilename can't be empty or a directory".to_owned()),
            _ if v.contains(['/', '\\', '\0']) => {
                Err("dbfilename can't be a path, just a filename".to_owned())
            }
            _ => {
                v.clone_into(&mut c.dbfilename);
                Ok(())
            }
        },
    ),
    fixed(
        "dir",
        |c| c.dir.clone(),
        |c, v| {
            v.clone_into(&mut c.dir);
            Ok(())
        },
    ),
    live(
        "hz",
        |c| c.hz.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.hz = n.clamp(MIN_HZ, MAX_HZ)),
    ),
    live(
        "lfu-decay-time",
        |c| c.memory.lfu_decay_min.to_string(),
        |c, v| {
            integer(v, 0, i32::MAX as u64)
                .map(|n| c.memory.lfu_decay_min = u32::try_from(n).unwrap_or(u32::MAX))
        },
    ),
    live(
        "lfu-log-factor",
        |c| c.memory.lfu_log_factor.to_string(),
        |c, v| {
            integer(v, 0, i32::MAX as u64)
                .map(|n| c.memory.lfu_log_factor = u32::try_from(n).unwrap_or(u32::MAX))
        },
    ),
    live(
        "lua-memory-limit",
        |c| c.lua_memory_bytes.to_string(),
        |c, v| memory(v, MIN_LUA_MEMORY_BYTES, i64::MAX as u64).map(|bytes| c.lua_memory_bytes = bytes),
    ),
    live(
        "maxclients",
        |c| c.maxclients.to_string(),
        |c, v| integer(v, 1, u64::from(u32::MAX)).map(|n| c.maxclients = n),
    ),
    live(
        "maxmemory",
        |c| c.memory.max_bytes.to_string(),
        |c, v| memory(v, 0, u64::MAX).map(|bytes| c.memory.max_bytes = bytes),
    ),
    live(
        "maxmemory-eviction-tenacity",
        |c| c.memory.tenacity.to_string(),
        |c, v| integer(v, 0, 100).map(|n| c.memory.tenacity = u32::try_from(n).unwrap_or(100)),
    ),
    live(
        "maxmemory-policy",
        |c| c.memory.policy.name().to_owned(),
        |c, v| one_of(v, EvictionPolicy::ALL, EvictionPolicy::name).map(|policy| c.memory.policy = policy),
    ),
    live(
        "maxmemory-samples",
        |c| c.memory.samples.to_string(),
        |c, v| integer(v, 1, 64).map(|n| c.memory.samples = usize::try_from(n).unwrap_or(64)),
    ),
    renamed(
        "min-replicas-max-lag",
        "min-slaves-max-lag",
        |c| c.min_replicas_max_lag_s.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.min_replicas_max_lag_s = n),
    ),
    renamed(
        "min-replicas-to-write",
        "min-slaves-to-write",
        |c| c.min_replicas_to_write.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.min_replicas_to_write = n),
    ),
    live(
        "notify-keyspace-events",
        |c| c.notifications.to_string(),
        |c, v| {
            c.notifications = Notifications::parse(v)
                .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".to_owned())?;
            Ok(())
        },
    ),
    fixed(
        "port",
        |c| c.port.to_string(),
        |c, v| integer(v, 0, u64::from(u16::MAX)).map(|n| c.port = u16::try_from(n).unwrap_or_default()),
    ),
    renamed("primaryauth", "masterauth", |c| c.primary_auth.clone(), |c, v| text(v, &mut c.primary_auth)),
    renamed("primaryuser", "masteruser", |c| c.primary_user.clone(), |c, v| text(v, &mut c.primary_user)),
    live(
        "proto-max-bulk-len",
        |c| c.max_bulk_bytes.to_string(),
        |c, v| memory(v, 1 << 20, i64::MAX as u64).map(|bytes| c.max_bulk_bytes = bytes),
    ),
    live(
        "repl-backlog-size",
        |c| c.backlog_bytes.to_string(),
        |c, v| memory(v, 1, i64::MAX as u64).map(|bytes| c.backlog_bytes = bytes.max(MIN_BACKLOG_BYTES)),
    ),
    live(
        "repl-diskless-load",
        |c| c.diskless_load.name().to_owned(),
        |c, v| one_of(v, LoadPolicy::ALL, LoadPolicy::name).map(|policy| c.diskless_load = policy),
    ),
    live(
        "repl-diskless-sync",
        |c| yes_no(c.diskless_sync),
        |c, v| boolean(v).map(|flag| c.diskless_sync = flag),
    ),
    live(
        "repl-field-deadlines-policy",
        |c| c.field_deadlines_policy.name().to_owned(),
        |c, v| {
            let policy = one_of(v, FieldDeadlinesPolicy::ALL, FieldDeadlinesPolicy::name);
            policy.map(|policy| c.field_deadlines_policy = policy)
        },
    ),
    renamed(
        "repl-ping-replica-period",
        "repl-ping-slave-period",
        |c| c.repl_ping_period_s.to_string(),
        |c, v| integer(v, 1, i32::MAX as u64).map(|n| c.repl_ping_period_s = n),
    ),
    live(
        "repl-timeout",
        |c| c.repl_timeout_s.to_string(),
        |c, v| integer(v, 1, i32::MAX as u64).map(|n| c.repl_timeout_s = n),
    ),
    renamed(
        "replica-announce-ip",
        "slave-announce-ip",
        |c| c.replica_announce_ip.clone(),
        |c, v| text(v, &mut c.replica_announce_ip),
    ),
    renamed(
        "replica-announce-port",
        "slave-announce-port",
        |c| c.replica_announce_port.to_string(),
        |c, v| {
            integer(v, 0, u64::from(u16::MAX))
                .map(|n| c.replica_announce_port = u16::try_from(n).unwrap_or(u16::MAX))
        },
    ),
    renamed(
        "replica-priority",
        "slave-priority",
        |c| c.replica_priority.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.replica_priority = n),
    ),
    renamed("replica-read-only", "slave-read-only", |_| "yes".to_owned(), |_, v| only(v, "yes")),
    renamed(
        "replica-serve-stale-data",
        "slave-serve-stale-data",
        |c| yes_no(c.replica_serve_stale_data),
        |c, v| boolean(v).map(|flag| c.replica_serve_stale_data = flag),
    ),
    Parameter { live: false, ..renamed("replicaof", "slaveof", replicaof, set_replicaof) },
    live(
        "requirepass",
        |c| c.requirepass.clone(),
        |c, v| {
            v.clone_into(&mut c.requirepass);
            Ok(())
        },
    ),
    live("save", show_save_points, |c, v| save_points(v).map(|points| c.save = Some(points))),
    fixed(
        "shards",
        |c| c.shards.to_string(),
        |c, v| integer(v, 1, 1 << 16).map(|n| c.shards = usize::try_from(n).unwrap_or(1)),
    ),
    live(
        "shutdown-timeout",
        |c| c.shutdown_timeout_s.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.shutdown_timeout_s = n),
    ),
    renamed(
        "slowlog-log-slower-than",
        "commandlog-execution-slower-than",
        |c| show_threshold(c.slow_log.threshold),
        |c, v| threshold(v).map(|n| c.slow_log.threshold = n),
    ),
    renamed(
        "slowlog-max-len",
        "commandlog-slow-execution-max-len",
        |c| c.slow_log.max_len.to_string(),
        |c, v| integer(v, 0, i64::MAX as u64).map(|n| c.slow_log.max_len = n),
    ),
    live(
        "stop-writes-on-bgsave-error",
        |c| yes_no(c.stop_writes_on_save_error),
        |c, v| boolean(v).map(|flag| c.stop_writes_on_save_error = flag),
    ),
    live(
        "tcp-keepalive",
        |c| c.tcp_keepalive_s.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.tcp_keepalive_s = n),
    ),
    fixed(
        "threads",
        |c| c.threads.to_string(),
        |c, v| integer(v, 0, 1 << 12).map(|n| c.threads = usize::try_from(n).unwrap_or(0)),
    ),
    live(
        "timeout",
        |c| c.timeout_s.to_string(),
        |c, v| integer(v, 0, i32::MAX as u64).map(|n| c.timeout_s = n),
    ),
    live(
        "unsupported-data-policy",
        |c| c.unsupported_data_policy.name().to_owned(),
        |c, v| {
            let policy = one_of(v, UnsupportedDataPolicy::ALL, UnsupportedDataPolicy::name);
            policy.map(|policy| c.unsupported_data_policy = policy)
        },
    ),
];

/// The primary, as `replicaof` has it: host and port.
fn replicaof(config: &Config) -> String {
    config.replicaof.as_ref().map_or_else(String::new, |(host, port)| format!("{host} {port}"))
}

/// Host and port, separated by a blank or by the last colon; nothing, or `no one`, is none.
fn set_replicaof(config: &mut Config, value: &str) -> Result<(), String> {
    let value = value.trim();
    if value.is_empty() || value.eq_ignore_ascii_case("no one") {
        config.replicaof = None;
        return Ok(());
    }
    let parts = value.split_once(char::is_whitespace).or_else(|| value.rsplit_once(':'));
    let parsed = parts.and_then(|(host, port)| Some((host, port.trim().parse::<u16>().ok()?)));
    let (host, port) = parsed
        .filter(|(host, port)| !host.is_empty() && *port > 0)
        .ok_or_else(|| "argument must be a host and a port, as in '127.0.0.1 6379'".to_owned())?;
    config.replicaof = Some((host.trim_matches(['[', ']']).to_owned(), port));
    Ok(())
}

fn text(value: &str, place: &mut String) -> Result<(), String> {
    value.clone_into(place);
    Ok(())
}

fn only(value: &str, accepted: &str) -> Result<(), String> {
    if value == accepted { Ok(()) } else { Err(format!("this build supports only '{accepted}'")) }
}

/// The choice of this name, in any case.
fn one_of<T: Copy, const N: usize>(
    value: &str,
    choices: [T; N],
    name: fn(T) -> &'static str,
) -> Result<T, String> {
    let found = choices.into_iter().find(|choice| name(*choice).eq_ignore_ascii_case(value));
    found.ok_or_else(|| format!("argument(s) must be one of the following: {}", choices.map(name).join(", ")))
}

fn yes_no(flag: bool) -> String {
    if flag { "yes" } else { "no" }.to_owned()
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        _ if value.eq_ignore_ascii_case("yes") => Ok(true),
        _ if value.eq_ignore_ascii_case("no") => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".to_owned()),
    }
}

fn integer(value: &str, min: u64, max: u64) -> Result<u64, String> {
    let number: i128 = value.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
    let within = u64::try_from(number).ok().filter(|number| (min..=max).contains(number));
    within.ok_or_else(|| format!("argument must be between {min} and {max} inclusive"))
}

/// A threshold, or -1 for none.
fn threshold(value: &str) -> Result<Option<u64>, String> {
    match value {
        "-1" => Ok(None),
        _ => integer(value, 0, i64::MAX as u64).map(Some).map_err(|reason| {
            // -1 is the least that is accepted.
            reason.replace("between 0 ", "between -1 ")
        }),
    }
}

fn show_threshold(threshold: Option<u64>) -> String {
    threshold.map_or_else(|| "-1".to_owned(), |threshold| threshold.to_string())
}

fn memory(value: &str, min: u64, max: u64) -> Result<u64, String> {
    let bytes = parse_memory(value).ok_or_else(|| "argument must be a memory value".to_owned())?;
    if (min..=max).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

/// Reads a size in bytes with Valkey's units; `None` when it is none, or too large.
pub(super) fn parse_memory(value: &str) -> Option<u64> {
    let unit_at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(unit_at);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn show_save_points(config: &Config) -> String {
    let points = config.save_points().iter().map(|point| format!("{} {}", point.seconds, point.changes));
    points.collect::<Vec<_>>().join(" ")
}

/// `<seconds> <changes>`, repeated; nothing is never.
fn save_points(value: &str) -> Result<Vec<SavePoint>, String> {
    let invalid = || "Invalid save parameters".to_owned();
    let numbers: Option<Vec<u64>> = value.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.len().is_multiple_of(2)).ok_or_else(invalid)?;
    let point = |pair: &[u64]| match pair {
        [seconds, changes] if *seconds > 0 => Ok(SavePoint { seconds: *seconds, changes: *changes }),
        _ => Err(invalid()),
    };
    numbers.chunks_exact(2).map(point).collect()
}

fn output_limits(config: &Config) -> String {
    let show = |class: &str, limit: OutputLimit| {
        format!("{class} {} {} {}", limit.hard_bytes, limit.soft_bytes, limit.soft_s)
    };
    [
        show("normal", config.normal_output),
        show("slave", config.replica_output),
        show("pubsub", config.pubsub_output),
    ]
    .join(" ")
}

/// `<class> <hard> <soft> <seconds>`, repeated; classes that are not named keep their limits.
fn set_output_limits(config: &mut Config, value: &str) -> Result<(), String> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
    }
    let mut changed = [config.normal_output, config.replica_output, config.pubsub_output];
    for group in words.chunks_exact(4) {
        let error =
            || "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned();
        let limit = OutputLimit {
            hard_bytes: parse_memory(group[1]).ok_or_else(error)?,
            soft_bytes: parse_memory(group[2]).ok_or_else(error)?,
            soft_s: group[3].parse().map_err(|_| error())?,
        };
        match group[0].to_ascii_lowercase().as_str() {
            "normal" => changed[0] = limit,
            "slave" | "replica" => changed[1] = limit,
            "pubsub" => changed[2] = limit,
            _ => return Err("Invalid client class specified in buffer limit configuration.".to_owned()),
        }
    }
    [config.normal_output, config.replica_output, config.pubsub_output] = changed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_valkeys_units() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1b", Some(1)),
            ("2k", Some(2_000)),
            ("2KB", Some(2_048)),
            ("3m", Some(3_000_000)),
            ("3Mb", Some(3 << 20)),
            ("1gb", Some(1 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615kb", None),
            ("", None),
            ("kb", None),
            ("-1", None),
            ("+1", None),
            ("1.5mb", None),
            ("1tb", None),
            ("1 mb", None),
        ] {
            assert_eq!(parse_memory(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn every_parameter_accepts_what_it_shows() {
        for parameter in PARAMETERS {
            let mut config = Config::default();
            let shown = parameter.get(&config);
            assert_eq!(parameter.set(&mut config, &shown), Ok(()), "{}", parameter.name);
            assert_eq!(parameter.get(&config), shown, "{}", parameter.name);
            // Without a directory there are no save points, whichever are set.
            config.save = None;
            assert_eq!(config, Config::default(), "{}", parameter.name);
        }
    }

    #[test]
    fn save_points_are_pairs_and_need_a_directory() {
        let mut config = Config::default();
        assert_eq!(config.save_points(), []);
        config.set("dir", "/somewhere").expect("any directory");
        assert_eq!(show_save_points(&config), "3600 1 300 100 60 10000");
        for (value, shown) in [("", Some("")), ("5 0", Some("5 0")), (" 1 2  3 4", Some("1 2 3 4"))]
            .into_iter()
            .chain(["5", "0 1", "-1 1", "1 x", "1 2 3"].map(|value| (value, None)))
        {
            assert_eq!(config.set("save", value).is_ok(), shown.is_some(), "{value:?}");
            if let Some(shown) = shown {
                assert_eq!(show_save_points(&config), shown, "{value:?}");
            }
        }
    }

    #[test]
    fn a_filename_is_no_path() {
        for (name, fits) in [("dump.rdb", true), ("", false), ("..", false), ("a/b", false), ("/a", false)] {
            assert_eq!(Config::default().set("dbfilename", name).is_ok(), fits, "{name:?}");
        }
    }

    #[test]
    fn no_two_parameters_share_a_name() {
        let mut names: Vec<_> = PARAMETERS.iter().flat_map(Parameter::names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn output_limits_keep_the_classes_that_are_not_named() {
        let mut config = Config::default();
        let set = |config: &mut Config, value| config.set("client-output-buffer-limit", value);
        assert_eq!(set(&mut config, "replica 1mb 2mb 3 normal 4 5 6"), Ok(()));
        assert_eq!(
            config.replica_output,
            OutputLimit { hard_bytes: 1 << 20, soft_bytes: 2 << 20, soft_s: 3 }
        );
        assert_eq!(config.normal_output, OutputLimit { hard_bytes: 4, soft_bytes: 5, soft_s: 6 });
        assert_eq!(config.pubsub_output, Config::default().pubsub_output);
        for bad in
            ["", "replica 1 2", "other 1 2 3", "replica x 2 3", "replica 1 2 -3", "replica 9 9 9 other 1 2 3"]
        {
            let before = config.clone();
            assert!(set(&mut config, bad).is_err(), "{bad:?}");
            assert_eq!(config.replica_output, before.replica_output);
        }
    }
}
