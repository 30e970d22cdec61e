//! Field deadlines on their way to replicas: those that can hold them and those that cannot.

use super::replication::{entries, full, greeted, wire};
use super::*;
use crate::rdb::{Kind, PayloadWriter};

/// `RESTORE` of a hash with a deadline long past, one at the end of time, and a field without.
async fn restore_hash(client: &mut TestClient, key: &str) {
    let mut payload = PayloadWriter::collection(Kind::HashWithDeadlines, 3).expect("three fields");
    for (field, deadline_ms) in [("dead", Some(1)), ("late", Some(i64::MAX as u64)), ("none", None)] {
        payload.field(field.as_bytes(), b"v", deadline_ms).expect("a field");
    }
    let payload = payload.finish().expect("three fields");
    let mut command = BytesMut::new();
    encode_command(&[b"RESTORE".as_slice(), key.as_bytes(), b"0", &payload], &mut command);
    client.write(&command).await;
    assert_eq!(client.reply().await, Reply::Status("OK".to_owned()));
}

/// Dead fields stay until they are asked for.
async fn start(settings: &[(&str, &str)]) -> (Running, TestClient) {
    let server = Running::start(settings).await;
    let mut client = server.client().await;
    assert_eq!(client.says("DEBUG SET-ACTIVE-EXPIRE 0").await, "OK");
    (server, client)
}

async fn announced(server: &Running, version: Option<&str>) -> TestClient {
    let mut replica = greeted(server, false).await;
    if let Some(version) = version {
        assert_eq!(replica.says(&format!("REPLCONF version {version}")).await, "OK");
    }
    replica
}

async fn text_info(client: &mut TestClient, field: &str) -> String {
    let info = client.says("INFO replcore").await;
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("INFO has no {field}: {info}")).to_owned()
}

const OLD: [Option<&str>; 3] = [None, Some("7.2.4"), Some("8.1.5")];

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_can_hold_them_gets_every_stored_field_and_its_deadline() {
    let (server, mut client) = start(&[]).await;
    restore_hash(&mut client, "h").await;
    client.call("HSET plain f v").await;
    for version in ["9.0.0", "9.1.2", "10.0.0"] {
        let mut replica = announced(&server, Some(version)).await;
        replica.send("PSYNC ? -1").await;
        let full = full(&mut replica).await;
        assert!(full.rdb.starts_with(b"VALKEY080"), "{version}");
        let found = entries(&full.rdb);
        assert_eq!(found.len(), 2, "{found:?}");
        for field in [
            "field: b\"dead\", value: b\"v\", deadline_ms: Some(1)",
            "field: b\"late\", value: b\"v\", deadline_ms: Some(9223372036854775807)",
            "field: b\"none\", value: b\"v\", deadline_ms: None",
        ] {
            assert!(found[0].contains(field), "{field} in {found:?}");
        }
    }
    assert_eq!(client.info("replicas_refused").await, Some(0));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_hold_them_is_refused_before_anything_else() {
    let (server, mut client) = start(&[]).await;
    restore_hash(&mut client, "h").await;
    let end = client.info("master_repl_offset").await;
    for (refused, version) in (1..).zip(OLD) {
        let mut replica = announced(&server, version).await;
        replica.send("PSYNC ? -1").await;
        let announced = version.unwrap_or("no version");
        let error = format!(
            "hashes with field deadlines: 1; the replica announced {announced} and has to be Valkey 9.0.0 or \
             later to hold them (repl-field-deadlines-policy)"
        );
        assert_eq!(replica.line().await, format!("-ERR {error}"));
        assert_eq!(client.info("replicas_refused").await, Some(refused));
        assert_eq!(text_info(&mut client, "last_refused_replica").await, "127.0.0.1:7000");
        assert_eq!(text_info(&mut client, "last_refusal_reason").await, error);
        // What the replica then asks for is refused as well, and that is all it gets.
        replica.write(b"SYNC\r\n").await;
        assert_eq!(replica.rest().await, format!("-ERR {error}\r\n"));
    }
    let mut tool = server.client().await;
    tool.write(b"SYNC\r\n").await;
    assert!(tool.rest().await.starts_with("-ERR hashes with field deadlines: 1; "));
    assert_eq!(client.info("sync_full").await, Some(0));
    assert_eq!(client.info("master_repl_offset").await, end, "a refusal leaves no trace in the stream");
    // Without them it is welcome.
    client.call("DEL h").await;
    client.call("HSET plain f v").await;
    let mut replica = announced(&server, None).await;
    replica.send("PSYNC ? -1").await;
    let full = full(&mut replica).await;
    assert!(full.rdb.starts_with(b"REDIS0010"));
    assert_eq!(entries(&full.rdb).len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_before_the_first_command_that_the_replica_does_not_know() {
    let (server, mut client) = start(&[]).await;
    for version in OLD {
        let mut replica = announced(&server, version).await;
        replica.send("PSYNC ? -1").await;
        let full = full(&mut replica).await;
        client.call("SET k v").await;
        let expected = [wire("SELECT 0"), wire("SET k v")].concat();
        assert_eq!(replica.bytes(expected.len()).await, expected);
        restore_hash(&mut client, "h").await;
        client.call("SET k w").await;
        assert_eq!(replica.rest().await, "", "{version:?}");
        let reason = text_info(&mut client, "last_refusal_reason").await;
        assert!(reason.starts_with("a command in the stream needs field deadlines; "), "{reason}");

        // It cannot go on from where it was, nor get a snapshot; who can hold them can.
        let wanted = full.offset + expected.len() as u64 + 1;
        let mut again = announced(&server, version).await;
        again.send(&format!("PSYNC {} {wanted}", full.replid)).await;
        assert!(again.line().await.starts_with("-ERR hashes with field deadlines: 1; "));
        let mut modern = announced(&server, Some("9.0.0")).await;
        modern.send(&format!("PSYNC {} {wanted}", full.replid)).await;
        assert_eq!(modern.line().await, format!("+CONTINUE {}", full.replid));

        // The hash is gone, what made it is not: only a snapshot leads past it.
        client.call("DEL h").await;
        let mut again = announced(&server, version).await;
        again.send(&format!("PSYNC {} {wanted}", full.replid)).await;
        let line = again.line().await;
        let clean = line.rsplit(' ').next().and_then(|offset| offset.parse::<u64>().ok());
        let clean = clean.unwrap_or_else(|| panic!("{line}"));
        assert!(line.starts_with("+FULLRESYNC"));
        // From there on it can continue, and not from before.
        for (offset, answer) in [(clean, "+CONTINUE"), (clean - 1, "+FULLRESYNC")] {
            let mut again = announced(&server, version).await;
            again.send(&format!("PSYNC {} {}", full.replid, offset + 1)).await;
            assert!(again.line().await.starts_with(answer), "from {offset}, clean from {clean}");
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_loading_is_told_before_it_has_loaded_in_vain() {
    let (server, mut client) = start(&[]).await;
    let mut replica = greeted(&server, true).await;
    replica.send("PSYNC ? -1").await;
    full(&mut replica).await;
    restore_hash(&mut client, "h").await;
    // It never acknowledges.
    assert_eq!(replica.rest().await, "");
    assert_eq!(client.info("replicas_refused").await, Some(1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_have_the_deadlines_stripped() {
    let (server, mut client) = start(&[("repl-field-deadlines-policy", "strip")]).await;
    restore_hash(&mut client, "h").await;
    let mut replica = announced(&server, None).await;
    replica.send("PSYNC ? -1").await;
    let full = full(&mut replica).await;
    assert!(full.rdb.starts_with(b"REDIS0010"));
    let found = entries(&full.rdb);
    for field in ["dead", "late", "none"] {
        let field = format!("field: b\"{field}\", value: b\"v\", deadline_ms: None");
        assert!(found[0].contains(&field), "{field} in {found:?}");
    }
    // The stream goes out as it is.
    client.call("SET k v").await;
    restore_hash(&mut client, "i").await;
    let expected =
        [wire("SELECT 0"), wire("SET k v"), b"*4\r\n$7\r\nRESTORE\r\n$1\r\ni\r\n".to_vec()].concat();
    assert_eq!(replica.bytes(expected.len()).await, expected);
    assert_eq!(client.info("replicas_refused").await, Some(0));
    // Until the operator thinks better of it.
    assert_eq!(
        client.says("CONFIG SET repl-field-deadlines-policy no").await.split(' ').next(),
        Some("-ERR")
    );
    assert_eq!(client.says("CONFIG SET repl-field-deadlines-policy refuse").await, "OK");
    client.call("SET k w").await;
    replica.rest().await;
    assert_eq!(client.info("replicas_refused").await, Some(1));
    server.stop().await;
}
