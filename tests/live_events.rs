//! Keyspace events, command by command, as a real Valkey has them: the same commands run against it and
//! against us, and subscribers of `__key*` are told the same in the same order.
//!
//! To cover a command, add lines to [`SCRIPT`]; a command of the keyspace that is in no line fails the test.
//! Every line is sent in order over one connection, in a keyspace that is flushed before each part.
#![cfg(feature = "server")]

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use replcore::keyspace;
use replcore::resp::Reply;

use support::client::{Argv, Client, argv};
use support::{Program, Scratch, Server, wait_until};

/// The line that waits until what was set to expire in a millisecond has expired.
const EXPIRE: &str = "~";
/// Begins a line that waits until so many more fields have expired by themselves or otherwise.
const EXPIRED_FIELDS: &str = "*";

/// Families of commands, and lines for each.
const SCRIPT: &[(&str, &[&str])] = &[
    (
        "keys that are not there",
        &[
            "get n",
            "mget n m",
            "exists n m",
            "type n",
            "ttl n",
            "pttl n",
            "expiretime n",
            "pexpiretime n",
            "strlen n",
            "getrange n 0 1",
            "substr n 0 1",
            "touch n",
            "getdel n",
            "getex n EX 10",
            "hget n a",
            "hmget n a b",
            "hgetall n",
            "hexists n a",
            "hlen n",
            "hkeys n",
            "hvals n",
            "hstrlen n a",
            "hrandfield n",
            "hrandfield n 2",
            "hscan n 0",
            "lrange n 0 1",
            "llen n",
            "lindex n 0",
            "lpos n a",
            "lpop n",
            "rpop n",
            "lpop n 2",
            "lset n 0 a",
            "linsert n before a b",
            "lrem n 0 a",
            "ltrim n 0 1",
            "lmove n m left right",
            "rpoplpush n m",
            "lmpop 1 n left",
            "lpushx n a",
            "rpushx n a",
            "smembers n",
            "scard n",
            "sismember n a",
            "smismember n a b",
            "srandmember n",
            "srandmember n 2",
            "sscan n 0",
            "spop n",
            "spop n 2",
            "srem n a",
            "smove n m a",
            "sinter n m",
            "sunion n m",
            "sdiff n m",
            "sintercard 2 n m",
            "sinterstore d n m",
            "sunionstore d n m",
            "sdiffstore d n m",
            "zscore n a",
            "zmscore n a b",
            "zcard n",
            "zrange n 0 1",
            "zrevrange n 0 1",
            "zrangebyscore n 0 1",
            "zrevrangebyscore n 1 0",
            "zrangebylex n - +",
            "zrevrangebylex n + -",
            "zcount n 0 1",
            "zlexcount n - +",
            "zrank n a",
            "zrevrank n a",
            "zscan n 0",
            "zrandmember n",
            "zrandmember n 2",
            "zpopmin n",
            "zpopmax n",
            "zmpop 1 n min",
            "zrem n a",
            "zremrangebyrank n 0 1",
            "zremrangebyscore n 0 1",
            "zremrangebylex n - +",
            "zunion 2 n m",
            "zinter 2 n m",
            "zdiff 2 n m",
            "zintercard 2 n m",
            "zunionstore d 2 n m",
            "zinterstore d 2 n m",
            "zdiffstore d 2 n m",
            "zrangestore d n 0 1",
            "getbit n 0",
            "bitcount n",
            "bitpos n 1",
            "bitfield n get u8 0",
            "bitfield_ro n get u8 0",
            "bitop or d n m",
            "lcs n m",
            "dump n",
            "sort n",
            "sort_ro n",
            "sort n store d",
            "object encoding n",
            "object freq n",
            "object idletime n",
            "object refcount n",
            "memory usage n",
            "expire n 10",
            "persist n",
            "del n",
            "unlink n",
            "rename n m",
            "renamenx n m",
            "copy n m",
            "move n 1",
            "setrange n 0 ",
            "delifeq n a",
            "scan 0",
            "keys *",
            "dbsize",
            "randomkey",
        ],
    ),
    (
        "strings",
        &[
            "set k v",
            "set k v2",
            "get k",
            "set k v EX 100",
            "set k v NX",
            "set k v KEEPTTL",
            "set k w XX GET",
            "set n v NX GET",
            "set n2 v XX GET",
            "set n2 v XX",
            "set n2 v IFEQ w",
            "set n2 v IFEQ w GET",
            "set k v IFEQ w",
            "set k v IFEQ x",
            "set k v EX 10 IFEQ v",
            "set p v PXAT 1",
            "set k v PXAT 1",
            "setex k 100 v",
            "psetex k 10000 v",
            "setnx k v",
            "setnx k3 v",
            "mset k 1 m1 2 m1 3",
            "msetnx k 1 z 2",
            "msetnx z1 1 z2 2",
            "msetex 2 k 1 x1 2 EX 100",
            "msetex 1 k 1",
            "msetex 1 k 1 NX",
            "msetex 2 k 1 x2 2 KEEPTTL",
            "msetex 1 k 1 PXAT 1",
            "get k",
            "getset z1 5",
            "getset z9 5",
            "getdel z1",
            "getex z2",
            "getex z2 EX 100",
            "getex z2 PERSIST",
            "getex z2 PERSIST",
            "getex z2 PXAT 1",
            "append z2 abc",
            "append z2 d",
            "append z2 ",
            "append z3 ",
            "setrange z2 1 x",
            "setrange z4 1 x",
            "setrange z2 0 ",
            "incr c",
            "incr c",
            "decr c",
            "incrby c 5",
            "decrby c 2",
            "incrbyfloat c 1.5",
            "incrbyfloat f 1.5",
            "delifeq c x",
            "delifeq c 5.5",
            "lcs z2 z4",
            "substr z2 0 1",
            "strlen z2",
            "hset h a 1",
            "get h",
            "append h x",
            "set h v",
        ],
    ),
    (
        "bits",
        &[
            "setbit b 7 1",
            "setbit b 7 1",
            "setbit b 7 0",
            "setbit b2 100 0",
            "getbit b 7",
            "bitcount b",
            "bitpos b 1",
            "bitfield b get u8 0",
            "bitfield b set u8 0 255",
            "bitfield b set u8 0 255",
            "bitfield b3 incrby u8 0 1",
            "bitfield b overflow fail incrby u8 0 1",
            "bitfield b set u8 0 1 set u8 8 2",
            "bitfield_ro b get u8 0",
            "bitop and d b b2",
            "bitop or d b b2",
            "bitop not d b",
            "bitop xor d nope nope2",
            "bitop xor d nope nope2",
        ],
    ),
    (
        "keys of any type",
        &[
            "set k v",
            "set k2 v",
            "set k3 v",
            "expire k 100",
            "expire k 50 GT",
            "pexpire k 100000",
            "expireat k 9999999999",
            "pexpireat k 9999999999999",
            "ttl k",
            "persist k",
            "persist k",
            "expire k -1",
            "expire k2 0",
            "rename k3 k4",
            "rename k4 k4",
            "set k5 v",
            "rename k4 k5",
            "renamenx k5 k6",
            "set k7 1",
            "renamenx k6 k7",
            "copy k6 k8",
            "copy k6 k8",
            "copy k6 k8 REPLACE",
            "copy k6 k8 DB 1",
            "copy k6 k8 DB 1 REPLACE",
            "move k6 2",
            "set k6 1",
            "move k6 2",
            "touch k6 k8",
            "swapdb 0 1",
            "swapdb 0 1",
            "del k6 k7 nope k6",
            "set a 1",
            "set b 1",
            "unlink a b nope",
            "publish c m",
            "spublish c m",
            "set g v",
            "flushdb",
            "get g",
            "flushall",
            "get g",
        ],
    ),
    (
        "dump and restore",
        &[
            "set k v",
            "dump k",
            "RESTORE r 0",
            "RESTORE r 0 REPLACE",
            "RESTORE r2 100000",
            "RESTORE r 1 REPLACE ABSTTL",
            "RESTORE r 1 REPLACE ABSTTL",
            "restore r 0 garbage",
        ],
    ),
    (
        "sort",
        &[
            "rpush l 3 1 2",
            "sort l",
            "sort_ro l",
            "sort l store d",
            "sort l limit 0 0 store d",
            "sort l limit 0 0 store d",
            "sort nope store d",
            "set w_1 x",
            "sort l by w_* get # store d2",
            "sort l by w_* get w_* store l",
        ],
    ),
    (
        "hashes",
        &[
            "hset h a 1 b 2",
            "hset h a 1",
            "hmset h a 2 c 3",
            "hsetnx h a 1",
            "hsetnx h z 1",
            "hsetnx h2 z 1",
            "hget h a",
            "hget h nope",
            "hdel h a nope",
            "hdel h nope",
            "hincrby h q 1",
            "hincrbyfloat h q 1.5",
            "hincrby h3 q 1",
            "hincrbyfloat h4 q 1",
            "hdel h3 q",
            "hdel h b c z q",
            "hset h a 1",
            "hgetall h",
            "hgetdel h fields 1 a",
            "set s v",
            "hset s a 1",
            "hdel s a",
            "hincrby h2 z x",
        ],
    ),
    (
        "deadlines of fields",
        &[
            "debug set-active-expire 0",
            "hexpire n 10 fields 1 a",
            "hpersist n fields 1 a",
            "httl n fields 1 a",
            "hpttl n fields 1 a",
            "hexpiretime n fields 1 a",
            "hpexpiretime n fields 1 a",
            "hgetex n ex 10 fields 1 a",
            "hgetex n fields 1 a",
            "hgetdel n fields 1 a",
            "hsetex n fxx ex 10 fields 1 a b",
            "hsetex n xx ex 10 fields 1 a b",
            "hset h a 1 b 2 c 3 d 4",
            "hexpire h 100 fields 2 a b",
            "hexpire h 100 nx fields 2 a b",
            "hpexpire h 200000 gt fields 2 a nope",
            "hexpireat h 9999999999 fields 1 a",
            "hpexpireat h 9999999999999 fields 2 a a",
            "hpersist h fields 2 a d",
            "hpersist h fields 1 d",
            "hgetex h ex 100 fields 2 a nope",
            "hgetex h px 100000 fields 1 nope",
            "hgetex h persist fields 2 a b",
            "hgetex h persist fields 2 a b",
            "hgetex h fields 1 a",
            "hsetex h ex 100 fields 2 a 1 e 5",
            "hsetex h fields 1 a 1",
            "hsetex h keepttl fields 2 e 6 f 7",
            "hsetex h fnx px 1000 fields 1 a 1",
            "hsetex h fnx keepttl fields 1 g 1",
            "hsetex h nx ex 100 fields 1 g 1",
            "hsetex h xx ex 100 fields 1 g 1",
            "hsetex new nx ex 100 fields 1 g 1",
            "hincrby h g 1",
            "hincrbyfloat h g 1",
            "hset h e 1",
            "hsetnx h e 1",
            "hdel h a e",
            "hgetdel h fields 3 b c nope",
            "hgetdel h fields 1 nope",
            // The time has passed.
            "hset p a 1 b 2 c 3 d 4 e 5 f 6",
            "hexpire p 0 fields 2 a nope",
            "hexpireat p 1 fields 2 b b",
            "hpexpireat p 1 xx fields 1 c",
            "hgetex p pxat 1 fields 2 c nope",
            "hgetex p exat 1 fields 1 nope",
            "hsetex p pxat 1 fields 2 d 1 z 1",
            "hsetex p pxat 1 fields 1 z 1",
            "hsetex p exat 1 fields 2 e 1 f 1",
            "hsetex none pxat 1 fields 1 a 1",
            "hset p a 1",
            "hexpire p 0 fields 1 a",
            "hset p a 1",
            "hgetex p exat 1 fields 1 a",
            "hset p a 1",
            "hsetex p pxat 1 fields 1 a 2",
            "hset p a 1",
            "hgetdel p fields 1 a",
            // Dead and still stored.
            "hset q live 1 timed 1",
            "hexpire q 100 fields 1 timed",
            "hsetex q px 1 fields 6 a 1 b 2 c 3 d 4 e 5 f 6",
            "~",
            "hget q a",
            "hmget q a live",
            "hlen q",
            "hexists q a",
            "hrandfield q 2",
            "hdel q a",
            "hdel q a live",
            "hgetdel q fields 2 a timed",
            "hgetex q fields 1 a",
            "hgetex q ex 100 fields 1 a",
            "hgetex q pxat 1 fields 1 a",
            "hexpire q 100 fields 1 a",
            "hexpire q 0 fields 1 a",
            "hpersist q fields 1 a",
            "hset q a 1",
            "hset q b 1 new 1",
            "hsetnx q c 1",
            "hincrby q d 1",
            "hincrbyfloat q e 1",
            "hmset q f 1",
            "hlen q",
            "hsetex q px 1 fields 4 a 1 b 2 c 3 d 4",
            "~",
            "hsetex q fields 1 a 1",
            "hsetex q ex 100 fields 2 b 1 new 1",
            "hsetex q keepttl fields 2 c 1 new 1",
            "hsetex q pxat 1 fields 1 d 1",
            "hsetex q px 1 fields 2 c 1 d 1",
            "~",
            "hsetex q fnx fields 2 c 1 d 1",
            "hsetex q px 1 fields 2 c 1 d 1",
            "~",
            "hsetex q fxx fields 1 c 1",
            // Nothing but dead fields.
            "hsetex r px 1 fields 2 a 1 b 2",
            "~",
            "exists r",
            "hgetall r",
            "hget r a",
            "hlen r",
            "hdel r a",
            "type r",
            "copy q r2",
            "rename r s",
            "hset s live 1",
            "move s 1",
            "set t v",
            "hsetex t ex 100 fields 1 a b",
            "hexpire t 100 fields 1 a",
            "hgetdel t fields 1 a",
            "del q",
        ],
    ),
    (
        "fields reclaimed by themselves",
        &[
            "debug set-active-expire 0",
            "hset one live 1",
            "hsetex one px 1 fields 1 a 1",
            "~",
            "debug set-active-expire 1",
            "* 1",
            "debug set-active-expire 0",
            "hsetex one px 1 fields 3 a 1 b 2 c 3",
            "~",
            "debug set-active-expire 1",
            "* 3",
            "debug set-active-expire 0",
            "hsetex all px 1 fields 2 a 1 b 2",
            "~",
            "debug set-active-expire 1",
            "* 2",
            "exists all",
        ],
    ),
    (
        "lists",
        &[
            "lpush l a b",
            "rpush l c",
            "rpushx l d",
            "lpushx l e",
            "lset l 0 x",
            "lset l 100 x",
            "linsert l before x y",
            "linsert l after nope y",
            "lrem l 0 y",
            "lrem l 0 nope",
            "lpop l",
            "rpop l",
            "lpop l 0",
            "lpop l 2",
            "rpop l 100",
            "rpush l a b c d e f",
            "ltrim l 1 4",
            "ltrim l 0 -1",
            "ltrim l 5 10",
            "rpush l a b c",
            "lmove l m left right",
            "lmove l l left right",
            "rpoplpush l m",
            "rpoplpush l m",
            "lmpop 2 l m left",
            "lmpop 2 l m right count 10",
            "rpush l a b c d",
            "blpop l 0",
            "brpop nope l 0",
            "blmove l m left left 0",
            "brpoplpush l m 0",
            "blmpop 0 2 l m left count 5",
            "lrange m 0 -1",
            "llen m",
            "lindex m 0",
            "lpos m a",
            "set s v",
            "lpush s a",
            "lmove m s left left",
            "rpush one a",
            "lrem one 0 a",
            "rpush one a",
            "lpop one",
            "rpush one a",
            "rpoplpush one one",
            "rpoplpush one two",
        ],
    ),
    (
        "sets",
        &[
            "sadd s a b c d",
            "sadd s a",
            "sadd t c d e",
            "srem s nope",
            "srem s a",
            "smove s t nope",
            "smove s t b",
            "smove s t c",
            "smove t t c",
            "spop t",
            "spop t 2",
            "spop t 100",
            "sadd u a",
            "spop u",
            "sadd u a",
            "srem u a",
            "sadd u a b",
            "spop u 2",
            "sadd u a b",
            "spop u 0",
            "sadd v b c",
            "sinterstore d u v",
            "sunionstore d u v",
            "sdiffstore d u v",
            "sinterstore d u nope",
            "sinterstore d u nope",
            "sdiffstore d u u",
            "sunionstore u u v",
            "smembers u",
            "scard u",
            "sismember u a",
            "srandmember u",
            "sscan u 0",
            "sintercard 2 u v",
            "set str v",
            "sadd str a",
            "sunionstore str u v",
            "sadd one a",
            "smove one u a",
            "sadd one z",
            "smove one new z",
        ],
    ),
    (
        "sorted sets",
        &[
            "zadd z 1 a 2 b 3 c",
            "zadd z 1 a",
            "zadd z 5 a",
            "zadd z nx 7 a",
            "zadd z xx 7 nope",
            "zadd z ch 8 a",
            "zadd z gt 1 a",
            "zadd z incr 1 a",
            "zadd z nx incr 1 a",
            "zincrby z 1 a",
            "zincrby z 0 a",
            "zincrby new 1 a",
            "zrem z nope",
            "zrem z a",
            "zrem new a",
            "zpopmin z",
            "zpopmax z 5",
            "zadd z 1 a 2 b 3 c 4 d 5 e",
            "zremrangebyrank z 0 0",
            "zremrangebyrank z 100 200",
            "zremrangebyscore z 2 2",
            "zremrangebylex z [c [c",
            "zpopmin z 0",
            "zmpop 2 nope z min",
            "zmpop 2 nope z max count 10",
            "zadd z 1 a 2 b 3 c",
            "zadd y 1 b 2 c 3 d",
            "zunionstore d 2 z y",
            "zinterstore d 2 z y",
            "zdiffstore d 2 z y",
            "zinterstore d 2 z nope",
            "zinterstore d 2 z nope",
            "zrangestore d z 0 -1",
            "zrangestore d z 5 6",
            "zrangestore d nope 0 1",
            "bzpopmin z 0",
            "bzpopmax z 0",
            "bzmpop 0 1 y min count 2",
            "zadd one 1 a",
            "zremrangebyrank one 0 -1",
            "zadd one 1 a",
            "zremrangebyscore one -inf +inf",
            "zadd one 1 a",
            "zpopmin one",
            "zcard y",
            "zscore y a",
            "zrange y 0 -1",
            "zrank y a",
            "zcount y 0 1",
            "zscan y 0",
            "zunion 2 y z",
            "set str v",
            "zadd str 1 a",
            "zunionstore str 1 y",
        ],
    ),
    (
        "keys that have expired",
        &[
            "set e v PX 1",
            "~",
            "get e",
            "set e v PX 1",
            "~",
            "set e w",
            "persist e",
            "pexpire e 1",
            "~",
            "del e",
            "set e v PX 1",
            "~",
            "incr e",
            "pexpire e 1",
            "~",
            "exists e",
            "set e v PX 1",
            "~",
            "setnx e v",
            "pexpire e 1",
            "~",
            "append e v",
            "pexpire e 1",
            "~",
            "mset e v",
            "pexpire e 1",
            "~",
            "persist e",
            "set e v PX 1",
            "~",
            "expire e 10",
            "set e v PX 1",
            "~",
            "getset e 10",
            "pexpire e 1",
            "~",
            "getdel e",
            "set e v PX 1",
            "~",
            "getex e",
            "set e v PX 1",
            "~",
            "set e v PXAT 1",
            "set e v PX 1",
            "~",
            "set e v XX",
            "set e v PX 1",
            "~",
            "set e v GET",
            "getex e PX 1",
            "~",
            "type e",
            "set e v PX 1",
            "~",
            "touch e",
            "set e v PX 1",
            "~",
            "mget e e",
            "set e v PX 1",
            "~",
            "hset e a b",
            "pexpire e 1",
            "~",
            "hset e a b",
            "pexpire e 1",
            "~",
            "hget e a",
            "set e v PX 1",
            "set f v",
            "~",
            "rename f e",
            "pexpire e 1",
            "~",
            "rename e f",
            "set e v PX 1",
            "set f v",
            "~",
            "copy f e",
            "pexpire e 1",
            "~",
            "copy e f",
            "set e v PX 1",
            "~",
            "move e 2",
            "set e v PX 1",
            "~",
            "rpush e a",
            "pexpire e 1",
            "~",
            "lpop e",
            "rpush e a",
            "pexpire e 1",
            "~",
            "sadd e a",
            "pexpire e 1",
            "~",
            "spop e",
            "sadd e a",
            "pexpire e 1",
            "~",
            "zadd e 1 a",
            "pexpire e 1",
            "~",
            "zpopmin e",
            "setbit e 1 1",
            "pexpire e 1",
            "~",
            "setbit e 1 1",
            "pexpire e 1",
            "~",
            "sinterstore d e e",
            "rpush e a",
            "pexpire e 1",
            "~",
            "rpoplpush e d",
            "sort e store d",
            "set e v PX 1",
            "~",
            "scan 0 COUNT 1000",
        ],
    ),
    (
        "transactions",
        &[
            "multi",
            "set t 1",
            "incr t",
            "hset h a 1",
            "select 3",
            "set t 2",
            "del t",
            "select 0",
            "publish c m",
            "exec",
            "multi",
            "set x 1",
            "discard",
            "watch t",
            "unwatch",
            "multi",
            "get t",
            "exec",
        ],
    ),
];

/// Commands that no subscriber is told of, whatever they find.
const WITHOUT_EVENTS: &[&str] = &[];

fn words(line: &str) -> Argv {
    line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
}

/// Commands that a server has to know of itself, not the keyspace.
const OF_THE_SERVER: &[&str] = &["debug", "multi", "exec", "discard", "watch", "unwatch", "select"];

fn is_known(line: &str) -> bool {
    let name = line.split(' ').next().unwrap_or_default();
    line == EXPIRE
        || name == EXPIRED_FIELDS
        || OF_THE_SERVER.contains(&name)
        || keyspace::lookup(name.as_bytes()).is_some()
}

/// One that runs the script and is told what happens.
struct Listening {
    client: Client,
    subscriber: Client,
    dump: Bytes,
}

/// A line, and an event that came after it.
type Told = (String, String);

impl Listening {
    fn to(address: SocketAddr) -> Listening {
        let mut client = Client::connect(address).expect("a connection");
        client.call(argv!["CONFIG", "SET", "notify-keyspace-events", "KEAnm"]);
        let mut subscriber = Client::connect(address).expect("a connection");
        subscriber.call(argv!["PSUBSCRIBE", "__key*"]);
        client.call(argv!["SET", "to-dump", "v"]);
        let dump = match client.try_call(&argv!["DUMP", "to-dump"]).expect("an answer") {
            Reply::Bulk(dump) => dump,
            _ => Bytes::new(),
        };
        let mut listening = Listening { client, subscriber, dump };
        listening.client.call(argv!["FLUSHALL"]);
        listening.told();
        listening
    }

    /// Everything that the subscriber was told until now.
    fn told(&mut self) -> Vec<String> {
        // Sent as a message: a marker in the order of the events.
        self.client.send(&argv!["PUBLISH", "__key_marker", ""]).expect("sent");
        let mut events = Vec::new();
        loop {
            let Ok(Reply::Array(parts)) = self.subscriber.receive() else { panic!("messages are arrays") };
            let [_, _, Reply::Bulk(channel), Reply::Bulk(payload)] = &parts[..] else {
                panic!("{parts:?} is no message")
            };
            if &channel[..] == b"__key_marker" {
                let _receivers = self.client.receive().expect("an answer");
                return events;
            }
            events.push(format!("{} {}", String::from_utf8_lossy(channel), String::from_utf8_lossy(payload)));
        }
    }

    fn now_ms(&mut self) -> u64 {
        let Reply::Array(parts) = self.client.call(argv!["TIME"]) else { panic!("TIME answers an array") };
        let number = |part: &Reply| match part {
            Reply::Bulk(digits) => String::from_utf8_lossy(digits).parse::<u64>().expect("a number"),
            other => panic!("{other:?} is no number"),
        };
        number(&parts[0]) * 1000 + number(&parts[1]) / 1000
    }

    fn expired_fields(&mut self) -> u64 {
        self.client.info_section("stats").number("expired_fields")
    }

    /// Runs lines and returns what was told of them.
    fn run(&mut self, lines: &[&str]) -> Vec<Told> {
        let mut told = Vec::new();
        let mut in_transaction = false;
        let mut expired_fields = 0;
        self.client.call(argv!["SELECT", 0]);
        self.client.call(argv!["DEBUG", "SET-ACTIVE-EXPIRE", 1]);
        self.client.call(argv!["FLUSHALL"]);
        // What expired by itself until now belongs to no line.
        self.told();
        for line in lines.iter().copied().filter(|line| is_known(line)) {
            if line == EXPIRE {
                let deadline_ms = self.now_ms() + 2;
                wait_until("the deadline to pass", Duration::from_secs(10), || {
                    let now_ms = self.now_ms();
                    if now_ms > deadline_ms { Ok(()) } else { Err(format!("{now_ms}")) }
                });
                continue;
            }
            if let Some(more) = line.strip_prefix(EXPIRED_FIELDS) {
                expired_fields += more.trim().parse::<u64>().expect("a number");
                wait_until("fields to expire", Duration::from_secs(10), || match self.expired_fields() {
                    seen if seen == expired_fields => Ok(()),
                    seen => Err(format!("{seen} of {expired_fields}")),
                });
                told.extend(self.told().into_iter().map(|event| (line.to_owned(), event)));
                continue;
            }
            let mut argv = words(line);
            // The letter case says that the dump goes here.
            if &argv[0][..] == b"RESTORE" {
                argv.insert(3, self.dump.clone());
            }
            if line.starts_with("debug") {
                expired_fields = self.expired_fields();
            }
            self.client.try_call(&argv).expect("an answer");
            in_transaction = (in_transaction || line == "multi") && !["exec", "discard"].contains(&line);
            if !in_transaction {
                told.extend(self.told().into_iter().map(|event| (line.to_owned(), event)));
            }
        }
        told
    }
}

/// The events from the first difference on, with the lines that they came after.
fn around(told: &[Told], at: usize) -> String {
    let from = at.saturating_sub(4);
    let lines = told.iter().enumerate().skip(from).take(10);
    lines
        .map(|(index, (line, event))| format!("{} {line:28} {event}\n", if index == at { '>' } else { ' ' }))
        .collect()
}

#[test]
fn events_are_those_of_valkey_in_its_order() {
    let scratch = Scratch::new("events");
    let valkey = Server::start(Program::Valkey, "valkey", &scratch);
    let own = Server::start(Program::Replcore, "replcore", &scratch);
    let mut theirs = Listening::to(valkey.address());
    let mut ours = Listening::to(own.address());
    let mut events = 0;
    let mut differences = String::new();
    for (family, lines) in SCRIPT {
        let (expected, told) = (theirs.run(lines), ours.run(lines));
        events += expected.len();
        // A key may expire by itself as well as by the next command on it: only the order counts.
        let same =
            |at: usize| expected.get(at).map(|(_, event)| event) == told.get(at).map(|(_, event)| event);
        if let Some(at) = (0..expected.len().max(told.len())).find(|at| !same(*at)) {
            differences +=
                &format!("{family}, Valkey:\n{}ours:\n{}\n", around(&expected, at), around(&told, at));
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
    assert!(events > 300, "only {events} events were compared");
}

#[test]
fn every_command_of_the_keyspace_is_in_the_script() {
    let lines = SCRIPT.iter().flat_map(|(_, lines)| lines.iter());
    let covered: BTreeSet<String> =
        lines.filter_map(|line| line.split(' ').next()).map(str::to_lowercase).collect();
    let missing: Vec<&str> = keyspace::commands()
        .map(|spec| spec.name)
        .filter(|name| !covered.contains(*name) && !WITHOUT_EVENTS.contains(name))
        .collect();
    assert!(missing.is_empty(), "no line of the script runs {missing:?}");
}
#[test]
fn a_served_client_causes_the_events_of_valkey() {
    let scratch = Scratch::new("events-blocked");
    let valkey = Server::start(Program::Valkey, "valkey", &scratch);
    let own = Server::start(Program::Replcore, "replcore", &scratch);
    let mut seen = Vec::new();
    for server in [&valkey, &own] {
        let mut listening = Listening::to(server.address());
        let mut told = Vec::new();
        for (waits, serves) in [
            ("blpop l 0", "rpush l a"),
            ("blpop l 0", "rpush l a b"),
            ("blmove l m left right 0", "rpush l a"),
            ("brpoplpush l m 0", "lpush l a"),
            ("blmpop 0 1 l left count 5", "rpush l a b"),
            ("bzpopmin z 0", "zadd z 1 a"),
            ("bzmpop 0 1 z max", "zadd z 1 a 2 b"),
        ] {
            if !is_known(waits) || !is_known(serves) {
                continue;
            }
            // Nothing is left for the next to be served at once.
            listening.client.call(argv!["FLUSHALL"]);
            let mut waiting = server.client();
            waiting.send(&words(waits)).expect("sent");
            wait_until("a blocked client", Duration::from_secs(20), || {
                let blocked = listening.client.info_section("clients").number("blocked_clients");
                if blocked == 1 { Ok(()) } else { Err(format!("{blocked}")) }
            });
            listening.client.call(words(serves));
            waiting.receive().expect("an answer");
            told.extend(listening.told().into_iter().map(|event| format!("{waits}, {serves}: {event}")));
        }
        seen.push(told);
    }
    assert_eq!(seen[1], seen[0]);
}
