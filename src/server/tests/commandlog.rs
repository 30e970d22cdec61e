//! SLOWLOG and COMMANDLOG. What is expected was measured on Valkey 9.1.2.

use super::*;

/// The commands in a log, the newest first.
async fn logged(client: &mut TestClient, question: &str) -> Vec<String> {
    let Reply::Array(entries) = client.call(question).await else { panic!("an array of entries") };
    let command = |entry: &Reply| match entry {
        Reply::Array(parts) if parts.len() == 6 => shown(&parts[3]),
        other => panic!("an entry has six parts: {other:?}"),
    };
    entries.iter().map(command).collect()
}

const EVERYTHING: &[(&str, &str)] = &[("slowlog-log-slower-than", "0")];

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_what_the_client_sent_and_not_what_was_propagated() {
    let server = Running::start(EVERYTHING).await;
    let mut client = server.client().await;
    for line in ["client setname bob", "set k v EX 100", "incrbyfloat f 1.5", "get", "nosuch"] {
        client.call(line).await;
    }
    let expected = ["[incrbyfloat, f, 1.5]", "[set, k, v, EX, 100]", "[client, setname, bob]"];
    assert_eq!(logged(&mut client, "slowlog get").await, expected);
    let Reply::Array(entries) = client.call("slowlog get 1").await else { panic!("an array of entries") };
    let [Reply::Array(entry)] = &entries[..] else { panic!("one entry") };
    let [id, unix_s, us, _, addr, name] = &entry[..] else { panic!("six parts") };
    assert_eq!((shown(id), shown(name)), ("3".to_owned(), "bob".to_owned()));
    assert!(matches!(unix_s, Reply::Integer(1_700_000_000..)), "{unix_s:?}");
    assert!(matches!(us, Reply::Integer(0..10_000_000)), "{us:?}");
    assert_eq!(shown(addr), client.socket.local_addr().expect("an address").to_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_logged_command_by_command_without_its_exec() {
    let server = Running::start(EVERYTHING).await;
    let mut client = server.client().await;
    for line in ["multi", "set a 1", "ping", "incr a", "exec"] {
        client.call(line).await;
    }
    let mut inner = logged(&mut client, "slowlog get").await;
    assert_eq!(inner.pop().as_deref(), Some("[multi]"));
    inner.sort_unstable();
    assert_eq!(inner, ["[incr, a]", "[ping]", "[set, a, 1]"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_commands_are_shortened_and_passwords_are_blanked() {
    let server = Running::start(EVERYTHING).await;
    let mut client = server.client().await;
    let many: Vec<String> = (0..39).map(|n| n.to_string()).collect();
    client.call(&format!("del {}", many.join(" "))).await;
    client.call(&format!("set x {}", "y".repeat(200))).await;
    client.call("auth secret").await;
    client.call("config set requirepass secret").await;
    client.call("hello 3 auth default secret").await;
    let log = logged(&mut client, "slowlog get -1").await;
    assert!(log.iter().all(|command| !command.contains("secret")), "{log:?}");
    assert_eq!(log[0], "[hello, 3, auth, (redacted), (redacted)]");
    assert_eq!(log[1], "[config, set, requirepass, (redacted)]");
    assert_eq!(log[2], "[auth, (redacted)]");
    assert_eq!(log[3], format!("[set, x, {}... (72 more bytes)]", "y".repeat(128)));
    assert_eq!(log[4], format!("[del, {}, ... (9 more arguments)]", many[..30].join(", ")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_and_lengths_hold_when_they_are_set() {
    let server = Running::start(&[("slowlog-log-slower-than", "-1")]).await;
    let mut client = server.client().await;
    client.call("set k v").await;
    assert_eq!(client.says("slowlog len").await, "0");
    client.call("config set commandlog-request-larger-than 100 commandlog-reply-larger-than 150").await;
    client.call(&format!("set x {}", "y".repeat(200))).await;
    client.call("get x").await;
    client.call("set small 1").await;
    let config =
        "[config, set, commandlog-request-larger-than, 100, commandlog-reply-larger-than, 150]".to_owned();
    let request = format!("[set, x, {}... (72 more bytes)]", "y".repeat(128));
    assert_eq!(logged(&mut client, "commandlog get -1 large-request").await, [request.as_str(), &config]);
    let answers = logged(&mut client, "commandlog get -1 LARGE-REPLY").await;
    assert_eq!(answers, ["[commandlog, get, -1, large-request]", "[get, x]"]);
    client.call("config set slowlog-max-len 2 commandlog-execution-slower-than 0").await;
    for line in ["ping a", "ping b", "ping c"] {
        client.call(line).await;
    }
    assert_eq!(logged(&mut client, "slowlog get -1").await, ["[ping, c]", "[ping, b]"]);
    assert_eq!(logged(&mut client, "slowlog get 1").await, ["[slowlog, get, -1]"]);
    client.call("config set slowlog-log-slower-than -1").await;
    assert_eq!(client.says("slowlog reset").await, "OK");
    assert_eq!(client.says("commandlog len slow").await, "0");
    assert_eq!(client.says("commandlog len large-request").await, "3");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_in_valkeys_words() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    let set = "-ERR CONFIG SET failed (possibly related to argument 'slowlog-log-slower-than') - argument";
    for (line, expected) in [
        ("slowlog", "-ERR wrong number of arguments for 'slowlog' command"),
        ("slowlog foo", "-ERR unknown subcommand 'foo'. Try SLOWLOG HELP."),
        ("slowlog get -2", "-ERR count should be greater than or equal to -1"),
        ("slowlog get x", "-ERR count should be greater than or equal to -1"),
        (
            "slowlog get 1 2",
            "-ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.",
        ),
        ("commandlog get 1", "-ERR wrong number of arguments for 'commandlog|get' command"),
        (
            "commandlog get 1 foo",
            "-ERR type should be one of the following: slow, large-request, large-reply",
        ),
        ("commandlog len foo", "-ERR type should be one of the following: slow, large-request, large-reply"),
        ("commandlog get x slow", "-ERR count should be greater than or equal to -1"),
        (
            "config set slowlog-log-slower-than -2",
            &format!("{set} must be between -1 and 9223372036854775807 inclusive"),
        ),
        ("config set slowlog-log-slower-than x", &format!("{set} couldn't be parsed into an integer")),
    ] {
        assert_eq!(client.says(line).await, expected, "{line}");
    }
    server.stop().await;
}
