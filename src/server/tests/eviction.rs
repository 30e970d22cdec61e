//! `maxmemory` as clients see it. What is expected was measured on Valkey 9.1.2.

use super::*;

const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.";

/// A client of a server that holds more than it may.
async fn full(policy: &str) -> (Running, TestClient) {
    let server = Running::start(&[("maxmemory-policy", policy)]).await;
    let mut client = server.client().await;
    for n in 0..200 {
        client.call(&format!("set k{n} {}", "v".repeat(1000))).await;
    }
    assert_eq!(client.says("config set maxmemory 100000").await, "OK");
    (server, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_only_commands_that_need_memory_are_refused() {
    let (server, mut client) = full("noeviction").await;
    for (command, reply) in [
        ("set a 1", OOM),
        ("hset h a b", OOM),
        ("append k1 x", OOM),
        ("set", "-ERR wrong number of arguments for 'set' command"),
        ("get a", "nil"),
        ("del nokey", "0"),
        ("expire a 10", "0"),
        ("ping", "PONG"),
    ] {
        assert_eq!(client.says(command).await, reply, "{command}");
    }
    assert_eq!(client.says("dbsize").await, "200");
    for n in 0..150 {
        client.call(&format!("unlink k{n}")).await;
    }
    assert_eq!(client.says("set a 1").await, "OK", "there is room again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_refused_as_a_whole() {
    let (server, mut client) = full("noeviction").await;
    for (command, reply) in [
        ("multi", "OK"),
        ("get a", "QUEUED"),
        ("set a 1", OOM),
        ("get a", "QUEUED"),
        ("exec", "-EXECABORT Transaction discarded because of previous errors."),
        ("multi", "OK"),
        ("get a", "QUEUED"),
        ("exec", "[nil]"),
        ("config set maxmemory 0", "OK"),
        ("multi", "OK"),
        ("set a 1", "QUEUED"),
    ] {
        assert_eq!(client.says(command).await, reply, "{command}");
    }
    let mut other = server.client().await;
    assert_eq!(other.says("config set maxmemory 100000").await, "OK");
    let refused = format!("-EXECABORT Transaction discarded because of: {}", &OOM[1..]);
    assert_eq!(client.says("exec").await, refused);
    assert_eq!(client.says("get a").await, "nil");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_is_reached_without_any_command() {
    let (server, mut client) = full("allkeys-lru").await;
    // INFO evicts nothing.
    let bytes = client.until_info("used_memory_dataset", |bytes| bytes <= 100_000).await;
    assert!(bytes > 90_000, "no more is evicted than is needed, {bytes} bytes are left");
    let evicted = client.info("evicted_keys").await.expect("a counter");
    assert_eq!(client.says("dbsize").await, (200 - evicted).to_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_keep_the_data_within_its_limit() {
    let server = Running::start(&[("maxmemory", "100000"), ("maxmemory-policy", "allkeys-random")]).await;
    let writers = (0..4).map(|writer| {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut client = TestClient::connect(addr).await;
            for n in 0..300 {
                assert_eq!(client.says(&format!("set {writer}-{n} {}", "v".repeat(500))).await, "OK");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("no write was refused");
    }
    let mut client = server.client().await;
    client.call("get a").await;
    let bytes = client.until_info("used_memory_dataset", |bytes| bytes <= 100_000).await;
    assert!(bytes > 50_000, "{bytes}");
    assert!(client.info("evicted_keys").await.expect("a counter") > 900);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_are_those_of_valkey() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let failed = |name: &str, reason: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    for (name, default) in [
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory-samples", "5"),
        ("maxmemory-eviction-tenacity", "10"),
        ("lfu-log-factor", "10"),
        ("lfu-decay-time", "1"),
    ] {
        let Reply::Array(pair) = client.call(&format!("config get {name}")).await else { panic!("a pair") };
        assert_eq!(shown(&pair[1]), default, "{name}");
    }
    for (name, value, reason) in [
        ("maxmemory", "-1", "argument must be a memory value"),
        ("maxmemory", "abc", "argument must be a memory value"),
        ("maxmemory-samples", "0", "argument must be between 1 and 64 inclusive"),
        ("maxmemory-samples", "65", "argument must be between 1 and 64 inclusive"),
        ("maxmemory-eviction-tenacity", "101", "argument must be between 0 and 100 inclusive"),
        (
            "maxmemory-policy",
            "foo",
            "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
             allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
        ),
    ] {
        assert_eq!(client.says(&format!("config set {name} {value}")).await, failed(name, reason));
    }
    assert_eq!(client.says("config set maxmemory 100mb maxmemory-policy allkeys-lfu").await, "OK");
    assert_eq!(client.info("maxmemory").await, Some(100 << 20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asked_for_it_leaves_no_trace() {
    let server = Running::start(&[("maxmemory-policy", "allkeys-lfu")]).await;
    let mut client = server.client().await;
    client.call("set a 1").await;
    client.call("client no-touch on").await;
    for line in ["get a", "multi", "get a", "get a", "exec"].repeat(20) {
        client.call(line).await;
    }
    assert_eq!(client.says("object freq a").await, "5", "as often as when it was new");
    client.call("reset").await;
    for _ in 0..20 {
        client.call("get a").await;
    }
    assert_ne!(client.says("object freq a").await, "5");
    server.stop().await;
}
