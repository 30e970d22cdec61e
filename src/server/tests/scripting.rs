//! Scripts that take too much: of time, of memory, of threads.

use super::*;

/// The bytes of `EVAL`.
fn eval(script: &str) -> BytesMut {
    let mut sent = BytesMut::new();
    encode_command(&["EVAL", script, "0"], &mut sent);
    sent
}

async fn evaluated(client: &mut TestClient, script: &str) -> String {
    client.write(&eval(script)).await;
    shown(&client.reply().await)
}

/// One worker: whoever keeps its thread keeps everybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_script_that_does_not_end_keeps_no_connection_from_being_served() {
    let server = Running::start(&[("busy-reply-threshold", "0")]).await;
    let mut runner = server.client().await;
    let mut waiting = server.client().await;
    let mut client = server.client().await;
    assert_eq!(client.says("SET k v").await, "OK");
    runner.write(&eval("while true do end")).await;
    // It is not known when it begins; from then on those wait that need the data, and others do not.
    while client.says("SCRIPT KILL").await != "OK" {}
    assert!(shown(&runner.reply().await).starts_with("-ERR Script killed by user with SCRIPT KILL."));

    runner.write(&eval("while true do redis.call('get','k') end")).await;
    waiting.write(&eval("return redis.call('get','k')")).await;
    assert_eq!(client.says("PING").await, "PONG");
    while client.says("SCRIPT KILL").await != "OK" {}
    assert!(shown(&runner.reply().await).starts_with("-ERR Script killed by user with SCRIPT KILL."));
    assert_eq!(shown(&waiting.reply().await), "v");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_ends_ends_a_script_that_has_written() {
    let server = Running::start(&[]).await;
    let mut runner = server.client().await;
    let mut client = server.client().await;
    runner.write(&eval("redis.call('set','k','v') while true do end")).await;
    while !client.says("SCRIPT KILL").await.starts_with("-UNKILLABLE") {}
    soon("the end of the server", server.stop()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_no_more_memory_than_it_may_have() {
    let server = Running::start(&[("lua-memory-limit", "8mb")]).await;
    let mut client = server.client().await;
    for script in [
        "local t={} while true do t[#t+1]=string.rep('x',100000)..#t end",
        "local s='x' while true do s=s..s end",
        "return string.rep('x',100000000)",
        "local t={} for i=1,1e9 do t[i]={} end",
        "return cjson.encode({string.rep('x',5000000)})..string.rep('y',5000000)",
    ] {
        let answer = evaluated(&mut client, script).await;
        assert!(answer.starts_with("-ERR") && answer.contains("memory"), "{script}: {answer}");
        assert_eq!(evaluated(&mut client, "return string.rep('x',3)").await, "xxx");
    }
    assert!(client.info("used_memory_vm_eval").await.is_some_and(|bytes| bytes < 8 << 20));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_leaves_nothing_behind_for_the_next() {
    let server = Running::start(&[]).await;
    let mut client = server.client().await;
    for script in [
        "table.insert(redis, 'left') return 1",
        "table.insert(_G, 'left') return 1",
        "pcall(rawset, string, 'left', 1) return 1",
        "redis.setresp(3) return 1",
        "getmetatable('').left = 1",
        "pcall(setmetatable, math, {}) return 1",
    ] {
        evaluated(&mut client, script).await;
        let look = "return {#redis, #_G, tostring(rawget(string, 'left')), \
                    tostring(pcall(function() return (''):left() end)), type(redis.call('get', 'nothing'))}";
        assert_eq!(evaluated(&mut client, look).await, "[0, 0, nil, false, boolean]", "{script}");
    }
    // Compiled code is not looked at, whichever way it comes.
    for script in [
        "return tostring(loadstring(string.dump(function() end)))",
        "local d=string.dump(function() end) local i=0 return tostring(load(function() i=i+1 return d:sub(i,i) end))",
    ] {
        assert_eq!(evaluated(&mut client, script).await, "nil", "{script}");
    }
    for (script, expected) in [
        (
            "return string.rep('a', 300000):find(string.rep('a?', 300000)..'b')",
            "-ERR user_script:1: pattern too complex",
        ),
        ("return {string.rep('?', 5000):find(string.rep('?', 5000), 1, true)}", "[1, 5000]"),
        ("return ('key'):gsub('[', '')", "-ERR user_script:1: malformed pattern (missing ']')"),
        ("local function f() return pcall(f) end return f()", "1"),
        ("local function f() string.gsub('a', 'a', f) end f()", "-ERR C stack overflow"),
        ("local function f() coroutine.wrap(f)() end f()", "-ERR user_script:1:"),
    ] {
        let answer = evaluated(&mut client, script).await;
        assert!(answer.starts_with(expected), "{script}: {answer}");
    }
    let deep = "local t={} for i=1,5000 do t={t} end return t";
    client.write(&eval(deep)).await;
    client.write(b"QUIT\r\n").await;
    let answer = client.rest().await;
    assert!(
        answer.starts_with("*1\r\n*1\r\n") && answer.contains("-ERR reached lua stack limit"),
        "{answer}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_watch_see_a_script_before_its_commands() {
    let server = Running::start(&[]).await;
    let mut watcher = server.client().await;
    let mut client = server.client().await;
    assert_eq!(watcher.says("MONITOR").await, "OK");
    evaluated(&mut client, "return redis.call('set','k','v')").await;
    let first = shown(&watcher.reply().await);
    let second = shown(&watcher.reply().await);
    assert!(first.contains("\"EVAL\"") && first.contains("[0 127.0.0.1"), "{first}");
    assert!(second.ends_with("[0 lua] \"set\" \"k\" \"v\""), "{second}");
    server.stop().await;
}
