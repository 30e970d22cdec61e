//! Active expiry: its settings, its switch and what is told of it.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn its_settings_are_checked_as_valkey_checks_them() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let failed = |name: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
    };
    let out_of_range = failed("active-expire-effort", "argument must be between 1 and 10 inclusive");
    for (line, expected) in [
        ("CONFIG GET active-expire-effort", "[active-expire-effort, 1]".to_owned()),
        ("CONFIG SET active-expire-effort 0", out_of_range.clone()),
        ("CONFIG SET active-expire-effort 11", out_of_range.clone()),
        ("CONFIG SET active-expire-effort -1", out_of_range),
        (
            "CONFIG SET active-expire-effort 1.5",
            failed("active-expire-effort", "argument couldn't be parsed into an integer"),
        ),
        ("CONFIG SET active-expire-effort 10", "OK".to_owned()),
        ("CONFIG GET active-expire-effort", "[active-expire-effort, 10]".to_owned()),
        // What is out of bounds becomes the nearer bound.
        ("CONFIG SET hz 0", "OK".to_owned()),
        ("CONFIG GET hz", "[hz, 1]".to_owned()),
        ("CONFIG SET hz 501", "OK".to_owned()),
        ("CONFIG GET hz", "[hz, 500]".to_owned()),
        ("CONFIG SET hz -1", failed("hz", "argument must be between 0 and 2147483647 inclusive")),
        ("CONFIG SET hz x", failed("hz", "argument couldn't be parsed into an integer")),
        ("DEBUG SET-ACTIVE-EXPIRE 0", "OK".to_owned()),
        ("DEBUG SET-ACTIVE-EXPIRE x", "OK".to_owned()),
        ("DEBUG SET-ACTIVE-EXPIRE 2", "OK".to_owned()),
    ] {
        assert_eq!(client.says(line).await, expected, "{line}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_does_is_told_and_counted_anew_after_a_reset() {
    let server = Running::start(&[("hz", "100")]).await;
    let mut client = server.client().await;
    let expired = ["DEBUG SET-ACTIVE-EXPIRE 0", "SET k v PX 1", "SET other v"];
    for line in expired {
        assert_eq!(client.says(line).await, "OK", "{line}");
    }
    assert_eq!(client.info("expired_keys").await, Some(0));
    let keyspace = client.says("INFO keyspace").await;
    assert!(keyspace.contains("db0:keys=2,expires=1,avg_ttl=0,keys_with_volatile_items=0"), "{keyspace}");
    assert_eq!(client.says("DEBUG SET-ACTIVE-EXPIRE 1").await, "OK");
    client.until_info("expired_keys", |keys| keys == 1).await;
    let stats = client.says("INFO stats").await;
    for field in [
        "expired_fields:0",
        "expired_stale_perc:",
        "expired_keys_with_volatile_items_stale_perc:0.00",
        "expired_time_cap_reached_count:",
        "expire_cycle_cpu_milliseconds:",
    ] {
        assert!(stats.contains(&format!("\n{field}")), "{field}: {stats}");
    }
    assert!(client.info("expire_lag_ms").await.is_some());
    assert_eq!(client.says("CONFIG RESETSTAT").await, "OK");
    assert_eq!(client.info("expired_keys").await, Some(0));
    server.stop().await;
}
