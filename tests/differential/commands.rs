//! The table of commands: how each is made, how often, and how its replies are compared.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::arguments::{Arguments, NEAR_MS};
use super::grammar::Node;
use crate::support::Program;
use crate::support::client::Argv;

/// How the replies of two servers to one command are compared. Errors are always compared exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Equal.
    Exact,
    /// Aggregates with the same elements in any order.
    Multiset,
    /// Fields with values in any order.
    Pairs,
    /// A point in time or a duration in milliseconds that depends on the moment of a command.
    Milliseconds,
    /// The same in seconds.
    Seconds,
    /// Equal types: the value is the server's own business.
    Shape,
    /// Equal, but for encodings that depend in Valkey on how a value came to be: of sorted sets that were
    /// once sorted.
    Encoding,
    /// A cursor and a page: followed to its end on both servers, all elements compared as a multiset.
    Sweep,
    /// Random elements: as many on both, all of them there, different ones where they have to be.
    Draw,
    /// Elements taken at random: checked as [`Check::Draw`] and against the stream, then taken from the other
    /// server too.
    Pop,
    /// A random key that exists.
    RandomKey,
    /// A serialised value: each server restores the other's.
    Dump,
    /// Both servers reclaim what is dead, and nothing else.
    Reclaim,
    /// Equal; and what Valkey makes of a hash whose fields are all dead, an empty hash, is deleted there.
    Copy,
}

impl Check {
    /// Whether the command is sent alone, because more has to be done about it than compare a reply.
    pub fn is_alone(self) -> bool {
        matches!(
            self,
            Check::Sweep
                | Check::Draw
                | Check::Pop
                | Check::RandomKey
                | Check::Dump
                | Check::Reclaim
                | Check::Copy
        )
    }
}

/// Which commands are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// All, but no field ever gets a deadline: a replica that knows of no such thing (Redis 7.0) can follow.
    Timeless,
    /// All, mostly those about hashes, whose fields get deadlines.
    Volatile,
}

/// Which arguments may be a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Times {
    None,
    /// Any number.
    Anywhere,
    /// The one after the key.
    Second,
    /// Those that follow one of the words in [`TIME_WORDS`].
    AfterWord,
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    weight: u32,
    pub check: Check,
    times: Times,
    /// Whether it may wait: its timeouts are short.
    pub waits: bool,
    lines: &'static [&'static str],
    /// Of [`Family::Volatile`]: how often, how replies are compared if not as usual, and lines that others
    /// cannot have.
    volatile_weight: u32,
    volatile_check: Option<Check>,
    volatile_lines: &'static [&'static str],
}

const fn entry(name: &'static str, weight: u32, lines: &'static [&'static str]) -> Entry {
    Entry {
        name,
        weight,
        check: Check::Exact,
        times: Times::None,
        waits: false,
        lines,
        volatile_weight: 1,
        volatile_check: None,
        volatile_lines: &[],
    }
}

impl Entry {
    const fn check(mut self, check: Check) -> Entry {
        self.check = check;
        self
    }

    const fn timed(mut self) -> Entry {
        self.times = Times::Anywhere;
        self
    }

    const fn timed_at(mut self, times: Times) -> Entry {
        self.times = times;
        self
    }

    /// What [`Family::Volatile`] makes of it.
    const fn volatile(mut self, weight: u32, lines: &'static [&'static str]) -> Entry {
        self.volatile_weight = weight;
        self.volatile_lines = lines;
        self
    }

    const fn volatile_check(mut self, check: Check) -> Entry {
        self.volatile_check = Some(check);
        self
    }

    /// As the family has it, with its lines.
    fn of(self, family: Family) -> (Entry, Vec<&'static str>) {
        match family {
            Family::Timeless => (self, self.lines.to_vec()),
            Family::Volatile => {
                let check = self.volatile_check.unwrap_or(self.check);
                let lines = [self.lines, self.volatile_lines].concat();
                (Entry { weight: self.volatile_weight, check, ..self }, lines)
            }
        }
    }

    const fn waits(mut self) -> Entry {
        self.waits = true;
        self
    }
}

/// Every data command. The replicas of this server apply what each propagates, Redis 7.0 included: what that
/// would not know (`MSETEX`, a payload of Valkey's version) goes out in words that it knows.
static TABLE: &[Entry] = &[
    // Strings
    entry("set", 50, &[
        "SET (string|number|key) value",
        "SET (string|number|key) value (NX|XX|GET|IFEQ value|EX secs|PX ms|EXAT unixsecs|PXAT unixms|KEEPTTL)*1-3",
        "SET (string|number|key) value PX ms",
        "SET conditional few",
        "SET conditional few IFEQ few",
            "SET conditional few (IFEQ few|GET|EX secs|PX ms|KEEPTTL)*1-2",
    ]).timed()
        .volatile(6, &["SET hash value [KEEPTTL]"]),
    entry("get", 14, &["GET (string|key)"]),
    entry("getdel", 8, &["GETDEL string"]),
    entry("getex", 14, &[
        "GETEX string [EX secs|PX ms|EXAT unixsecs|PXAT unixms|PERSIST]",
        "GETEX string (EX secs|PX ms|EXAT unixsecs|PXAT unixms|PERSIST)*2",
    ]).timed(),
    entry("getrange", 6, &["GETRANGE string index index"]),
    entry("substr", 3, &["SUBSTR string index index"]),
    entry("getset", 6, &["GETSET string value"]),
    entry("mget", 6, &["MGET (string|key)*1-4"]),
    entry("mset", 6, &["MSET ((string|key) value)*1-3"]),
    entry("msetnx", 5, &["MSETNX ((string|key) value)*1-3"]),
    entry("msetex", 10, &[
        "MSETEX counted{(string|key) value} [NX|XX] [EX secs|PX ms|EXAT unixsecs|PXAT unixms|KEEPTTL]",
        "MSETEX counted{string value} (NX|XX|EX secs|PX ms|EXAT unixsecs|PXAT unixms|KEEPTTL)*2-3",
    ]).timed(),
    entry("psetex", 6, &["PSETEX string ms value"]).timed(),
    entry("setex", 6, &["SETEX string secs value"]).timed(),
    entry("setnx", 5, &["SETNX string value"]),
    entry("setrange", 6, &["SETRANGE string offset value"]),
    entry("strlen", 4, &["STRLEN string"]),
    entry("append", 8, &["APPEND string value"]),
    entry("delifeq", 8, &["DELIFEQ (string|key) value", "DELIFEQ conditional few"]),
    entry("lcs", 6, &["LCS string string (LEN|IDX|MINMATCHLEN count|WITHMATCHLEN)*0-3"]),
    // Numbers
    entry("incr", 8, &["INCR number"]),
    entry("decr", 6, &["DECR number"]),
    entry("incrby", 8, &["INCRBY number int"]),
    entry("decrby", 8, &["DECRBY number int"]),
    entry("incrbyfloat", 10, &["INCRBYFLOAT number float"]),
    // Bits
    entry("setbit", 8, &["SETBIT bits bitoffset bit"]),
    entry("getbit", 5, &["GETBIT bits bitoffset"]),
    entry("bitcount", 6, &["BITCOUNT bits [index index [BYTE|BIT]]"]),
    entry("bitpos", 6, &["BITPOS bits bit [index [index [BYTE|BIT]]]"]),
    entry("bitop", 10, &["BITOP (AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE) bits bits*1-3", "BITOP NOT bits bits"]),
    entry("bitfield", 10, &["BITFIELD bits OVERFLOW FAIL INCRBY narrow bitoffset 9", 
        "BITFIELD bits (GET bittype bitfieldoffset|SET bittype bitfieldoffset int|INCRBY bittype bitfieldoffset int|OVERFLOW (WRAP|SAT|FAIL|NO))*0-4",
    ]),
    entry("bitfield_ro", 5, &["BITFIELD_RO bits (GET bittype bitfieldoffset)*0-3", "BITFIELD_RO bits SET bittype bitfieldoffset int"]),
    // Keys
    entry("copy", 10, &["COPY key key (DB db|REPLACE)*0-2"])
        .volatile_check(Check::Copy)
        .volatile(14, &["COPY hash hash", "COPY (hash|odd) (hash|odd) (DB db|REPLACE)*0-2"]),
    entry("dbsize", 3, &["DBSIZE"]),
    entry("del", 12, &["DEL key*1-4"])
        .volatile(6, &["DEL hash"]),
    entry("unlink", 6, &["UNLINK key*1-4"])
        .volatile(4, &["UNLINK hash"]),
    entry("exists", 6, &["EXISTS key*1-4"])
        .volatile(4, &["EXISTS hash*1-3"]),
    entry("touch", 5, &["TOUCH key*1-4"]),
    entry("type", 6, &["TYPE key"])
        .volatile(3, &["TYPE hash"]),
    entry("rename", 10, &["RENAME key key"])
        .volatile(10, &["RENAME (hash|odd) (hash|odd)"]),
    entry("renamenx", 8, &["RENAMENX key key"])
        .volatile(8, &["RENAMENX (hash|odd) (hash|odd)"]),
    entry("move", 10, &["MOVE key db"])
        .volatile(10, &["MOVE (hash|odd) db"]),
    entry("swapdb", 3, &["SWAPDB db db"])
        .volatile(2, &[]),
    entry("flushdb", 1, &["FLUSHDB [SYNC|ASYNC]", "FLUSHDB NOW"]),
    entry("flushall", 1, &["FLUSHALL [SYNC|ASYNC]", "FLUSHALL NOW"]),
    entry("keys", 4, &["KEYS pattern"]).check(Check::Multiset),
    entry("scan", 10, &["SCAN 0 (MATCH pattern|COUNT positive|TYPE type)*0-2"]).check(Check::Sweep)
        .volatile(3, &["SCAN 0 TYPE hash"]),
    entry("randomkey", 4, &["RANDOMKEY"]).check(Check::RandomKey),
    entry("dump", 8, &["DUMP key"]).check(Check::Dump)
        .volatile(14, &["DUMP (hash|odd)"]),
    entry("restore", 14, &["RESTORE key (0|ms) payload (REPLACE|ABSTTL|IDLETIME count|FREQ count)*0-2", "RESTORE key unixms payload ABSTTL [REPLACE]"])
        .timed()
        .volatile(14, &["RESTORE (hash|odd) 0 payload [REPLACE]"]),
    entry("object", 8, &["OBJECT (ENCODING|REFCOUNT|FREQ) key", "OBJECT (HELP|ENCODING|NONE)"]).check(Check::Encoding)
        .volatile(8, &["OBJECT ENCODING (hash|odd)"]),
    entry("memory", 2, &["MEMORY USAGE key [SAMPLES count]"]).check(Check::Shape)
        .volatile(2, &["MEMORY USAGE hash"]),
    // Not by weights and alphabetically: elements of equal weight are in no order that Valkey promises.
    entry("sort", 12, &[
        "SORT (list|set|zset|key) [BY sortby|ALPHA] [LIMIT index index] (GET sortget)*0-2 [ASC|DESC]",
        "SORT (list|set|zset) [ALPHA|BY sortby] [LIMIT index index] (GET sortget)*0-1 STORE (list|key)",
    ])
        .volatile(12, &["SORT list BY fieldpattern GET # GET fieldpattern", "SORT (list|set) BY NOSORT GET fieldpattern STORE list"]),
    entry("sort_ro", 6, &["SORT_RO (list|set|zset|key) [BY sortby|ALPHA] [LIMIT index index] (GET sortget)*0-2 [ASC|DESC]"])
        .volatile(5, &["SORT_RO list BY fieldpattern GET # GET fieldpattern"]),
    entry("publish", 3, &["PUBLISH value value"]),
    entry("spublish", 3, &["SPUBLISH value value"]),
    // Deadlines
    entry("expire", 12, &["EXPIRE key secs", "EXPIRE key secs (NX|XX|GT|LT)*1-2"]).timed()
        .volatile(5, &["EXPIRE hash secs"]),
    entry("pexpire", 14, &["PEXPIRE key ms", "PEXPIRE key ms (NX|XX|GT|LT)*1-2"]).timed()
        .volatile(8, &["PEXPIRE hash ms"]),
    entry("expireat", 8, &["EXPIREAT key unixsecs", "EXPIREAT key unixsecs (NX|XX|GT|LT)*1-2"]),
    entry("pexpireat", 8, &["PEXPIREAT key unixms", "PEXPIREAT key unixms (NX|XX|GT|LT)*1-2"]),
    entry("persist", 8, &["PERSIST key"])
        .volatile(4, &["PERSIST hash"]),
    entry("ttl", 5, &["TTL key"]).check(Check::Seconds),
    entry("pttl", 5, &["PTTL key"]).check(Check::Milliseconds),
    entry("expiretime", 5, &["EXPIRETIME key"]).check(Check::Seconds),
    entry("pexpiretime", 5, &["PEXPIRETIME key"]).check(Check::Milliseconds)
        .volatile(3, &["PEXPIRETIME hash"]),
    // Hashes. `HSETEX` and `HGETEX` of a key called `fields` are left out: Valkey misreads it, and refuses
    // what is executed here. So is `HSETEX k FIELDS -9223372036854775808` without fields: twice as many are
    // none in 64 bits, which Valkey accepts.
    entry("hset", 30, &["HSET hash (field value)*1-3"]).volatile(50, &["HSET odd (field value)*1-3"]),
    entry("hmset", 5, &["HMSET hash (field value)*1-3"]).volatile(6, &[]),
    entry("hsetnx", 6, &["HSETNX hash field value"]).volatile(14, &[]),
    entry("hdel", 10, &["HDEL hash field*1-3"]).volatile(18, &["HDEL odd field*1-4"]),
    entry("hget", 6, &["HGET hash field"]).volatile(8, &[]),
    entry("hmget", 5, &["HMGET hash field*1-3"]).volatile(8, &[]),
    entry("hexists", 4, &["HEXISTS hash field"]).volatile(6, &[]),
    entry("hstrlen", 4, &["HSTRLEN hash field"]).volatile(6, &[]),
    entry("hlen", 4, &["HLEN hash"]).volatile(10, &[]),
    entry("hgetall", 6, &["HGETALL hash"]).check(Check::Pairs).volatile(8, &[]),
    entry("hkeys", 4, &["HKEYS hash"]).check(Check::Multiset).volatile(6, &[]),
    entry("hvals", 4, &["HVALS hash"]).check(Check::Multiset).volatile(6, &[]),
    entry("hincrby", 8, &["HINCRBY hash field int"]).volatile(22, &["HINCRBY hash numeric int"]),
    entry("hincrbyfloat", 8, &["HINCRBYFLOAT hash field float"]).volatile(22, &["HINCRBYFLOAT hash numeric float"]),
    entry("hrandfield", 8, &["HRANDFIELD hash [draw [WITHVALUES]]"]).check(Check::Draw).volatile(14, &[]),
    entry("hscan", 6, &["HSCAN hash 0 (MATCH pattern|COUNT positive|NOVALUES)*0-2"]).check(Check::Sweep).volatile(10, &[]),
    // Deadlines of fields. Of a hash without any, all but the first four go out in words that every replica
    // knows.
    entry("hexpire", 0, &[]).timed_at(Times::Second).volatile(20, &[
        "HEXPIRE (hash|key|odd) secs FIELDS counted{field}",
        "HEXPIRE hash secs (NX|XX|GT|LT)*1-2 FIELDS counted{field}",
    ]),
    entry("hpexpire", 0, &[]).timed_at(Times::Second).volatile(50, &[
        "HPEXPIRE hash fieldms FIELDS counted{field}",
        "HPEXPIRE hash fieldms FIELDS counted{field}",
        "HPEXPIRE (key|odd) fieldms FIELDS counted{field}",
        "HPEXPIRE hash fieldms (NX|XX|GT|LT)*1-2 FIELDS counted{field}",
        "HPEXPIRE hash fieldms FIELDS count field*0-3",
        "HPEXPIRE hash fieldms [NX|ZZ] [FIELDS] [counted{field}]",
    ]),
    entry("hexpireat", 0, &[]).volatile(16, &[
        "HEXPIREAT hash unixsecs FIELDS counted{field}",
        "HEXPIREAT hash unixsecs (NX|XX|GT|LT)*1-2 FIELDS counted{field}",
    ]),
    entry("hpexpireat", 0, &[]).volatile(20, &[
        "HPEXPIREAT (hash|odd) unixms FIELDS counted{field}",
        "HPEXPIREAT hash unixms (NX|XX|GT|LT)*1-2 FIELDS counted{field}",
    ]),
    entry("hpersist", 4, &["HPERSIST hash FIELDS counted{field}", "HPERSIST (key|odd) FIELDS count field*0-3"]).volatile(20, &[]),
    entry("httl", 2, &["HTTL hash FIELDS counted{field}", "HTTL (key|odd) FIELDS count field*0-3"]).check(Check::Seconds).volatile(8, &[]),
    entry("hpttl", 2, &["HPTTL hash FIELDS counted{field}", "HPTTL (key|odd) FIELDS count field*0-3"]).check(Check::Milliseconds).volatile(8, &[]),
    entry("hexpiretime", 2, &["HEXPIRETIME hash FIELDS counted{field}", "HEXPIRETIME (key|odd) FIELDS count field*0-3"])
        .check(Check::Seconds)
        .volatile(8, &[]),
    entry("hpexpiretime", 2, &["HPEXPIRETIME hash FIELDS counted{field}", "HPEXPIRETIME (key|odd) FIELDS count field*0-3"])
        .check(Check::Milliseconds)
        .volatile(10, &[]),
    entry("hgetex", 6, &["HGETEX hash [PERSIST] FIELDS counted{field}", "HGETEX (key|odd) FIELDS count field*0-3"])
        .timed_at(Times::AfterWord)
        .volatile(40, &[
            "HGETEX hash (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|PERSIST) FIELDS counted{field}",
            "HGETEX hash (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|PERSIST) FIELDS counted{field}",
            "HGETEX (hash|key|odd) (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|PERSIST|KEEPTTL|NX)*0-2 FIELDS counted{field}",
            "HGETEX hash (PX fieldms|EXAT unixsecs) FIELDS count field*0-3",
        ]),
    entry("hsetex", 8, &[
        "HSETEX hash (FNX|FXX|NX|XX|KEEPTTL)*0-2 FIELDS counted{field value}",
        "HSETEX (key|odd) FIELDS count field*0-5",
    ])
    .timed_at(Times::AfterWord)
    .volatile(90, &[
        "HSETEX (hash|odd) (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|KEEPTTL) FIELDS counted{field value}",
        "HSETEX (hash|odd) (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|KEEPTTL) FIELDS counted{field value}",
        "HSETEX (hash|odd) [FNX|FXX|NX|XX] (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|KEEPTTL) FIELDS counted{numeric value}",
        "HSETEX (hash|odd) (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|KEEPTTL) [FNX|FXX|NX|XX] FIELDS counted{field value}",
        "HSETEX (hash|key|odd) (EX secs|PX fieldms|EXAT unixsecs|PXAT unixms|KEEPTTL|FNX|FXX|NX|XX|PERSIST)*0-3 FIELDS counted{field value}",
        "HSETEX hash (PX fieldms|KEEPTTL) FIELDS count field*0-5",
    ]),
    entry("hgetdel", 8, &["HGETDEL hash FIELDS counted{field}", "HGETDEL (key|odd) FIELDS count field*0-3"])
        .volatile(24, &[]),
    // Lists
    entry("lpush", 16, &["LPUSH list value*1-4"]),
    entry("rpush", 16, &["RPUSH list value*1-4"])
        .volatile(8, &["RPUSH list (1|2|3)*1-3"]),
    entry("lpushx", 5, &["LPUSHX list value*1-3"]),
    entry("rpushx", 5, &["RPUSHX list value*1-3"]),
    entry("lpop", 10, &["LPOP list [count]"]),
    entry("rpop", 10, &["RPOP list [count]"]),
    entry("llen", 4, &["LLEN list"]),
    entry("lindex", 5, &["LINDEX list index"]),
    entry("lrange", 8, &["LRANGE list index index"]),
    // Valkey cuts the index to 32 bits: `LSET l 9223372036854775807 v` writes the last element there, and is
    // refused here.
    entry("lset", 6, &["LSET list place value"]),
    entry("linsert", 7, &["LINSERT list (BEFORE|AFTER|ASIDE) value value"]),
    entry("lrem", 8, &["LREM list index value"]),
    entry("ltrim", 6, &["LTRIM list index index"]),
    entry("lpos", 8, &["LPOS list value (RANK index|COUNT count|MAXLEN count)*0-3"]),
    entry("lmove", 8, &["LMOVE list list (LEFT|RIGHT) (LEFT|RIGHT)"]),
    entry("rpoplpush", 7, &["RPOPLPUSH list list"]),
    entry("lmpop", 8, &["LMPOP counted{list} (LEFT|RIGHT) [COUNT positive]"]),
    entry("blpop", 12, &["BLPOP list*1-2 timeout", "BLPOP timeout"]).waits(),
    entry("brpop", 12, &["BRPOP list*1-2 timeout", "BRPOP timeout"]).waits(),
    entry("blmove", 12, &["BLMOVE list list (LEFT|RIGHT) (LEFT|RIGHT|UP) timeout", "BLMOVE list list timeout"]).waits(),
    entry("brpoplpush", 12, &["BRPOPLPUSH list list timeout"]).waits(),
    entry("blmpop", 12, &["BLMPOP timeout counted{list} (LEFT|RIGHT) [COUNT positive]", "BLMPOP timeout 0 LEFT"]).waits(),
    // Sets
    entry("sadd", 20, &["SADD set member*1-5"])
        .volatile(4, &["SADD set (1|2|3)*1-3"]),
    entry("srem", 8, &["SREM set member*1-3"]),
    entry("smembers", 5, &["SMEMBERS set"]).check(Check::Multiset),
    entry("sismember", 4, &["SISMEMBER set member"]),
    entry("smismember", 4, &["SMISMEMBER set member*1-3"]),
    entry("scard", 4, &["SCARD set"]),
    entry("smove", 8, &["SMOVE set set member"]),
    entry("spop", 10, &["SPOP set [count]"]).check(Check::Pop),
    entry("srandmember", 6, &["SRANDMEMBER set [draw]"]).check(Check::Draw),
    entry("sinter", 5, &["SINTER set*1-3"]).check(Check::Multiset),
    entry("sunion", 5, &["SUNION set*1-3"]).check(Check::Multiset),
    entry("sdiff", 5, &["SDIFF set*1-3"]).check(Check::Multiset),
    entry("sintercard", 5, &["SINTERCARD counted{set} [LIMIT count]"]),
    entry("sinterstore", 7, &["SINTERSTORE set set*1-3"]),
    entry("sunionstore", 7, &["SUNIONSTORE (set|key) set*1-3"])
        .volatile(3, &["SUNIONSTORE hash set*1-2"]),
    entry("sdiffstore", 7, &["SDIFFSTORE set set*1-3"]),
    entry("sscan", 6, &["SSCAN set 0 (MATCH pattern|COUNT positive)*0-2"]).check(Check::Sweep),
    // Sorted sets
    entry("zadd", 36, &["ZADD zset (score member)*1-4", "ZADD lexset (0 member)*1-4", "ZADD zset (NX|XX|GT|LT|CH|INCR)*1-3 (score member)*1-2"]),
    entry("zincrby", 8, &["ZINCRBY zset score member"]),
    entry("zrem", 8, &["ZREM zset member*1-3"]),
    entry("zcard", 4, &["ZCARD zset"]),
    entry("zscore", 5, &["ZSCORE zset member"]),
    entry("zmscore", 4, &["ZMSCORE zset member*1-3"]),
    entry("zrank", 5, &["ZRANK zset member [WITHSCORE]"]),
    entry("zrevrank", 5, &["ZREVRANK zset member [WITHSCORE]"]),
    entry("zcount", 5, &["ZCOUNT zset scorebound scorebound"]),
    entry("zlexcount", 5, &["ZLEXCOUNT lexset lexbound lexbound"]),
    entry("zrange", 12, &[
        "ZRANGE zset index index [REV] [WITHSCORES]",
        "ZRANGE zset scorebound scorebound BYSCORE [REV] [LIMIT skip index] [WITHSCORES]",
        "ZRANGE lexset lexbound lexbound BYLEX [REV] [LIMIT skip index]",
    ]),
    entry("zrevrange", 5, &["ZREVRANGE zset index index [WITHSCORES]"]),
    entry("zrangebyscore", 6, &["ZRANGEBYSCORE zset scorebound scorebound [WITHSCORES] [LIMIT skip index]"]),
    entry("zrevrangebyscore", 6, &["ZREVRANGEBYSCORE zset scorebound scorebound [WITHSCORES] [LIMIT skip index]"]),
    entry("zrangebylex", 5, &["ZRANGEBYLEX lexset lexbound lexbound [LIMIT skip index]"]),
    entry("zrevrangebylex", 5, &["ZREVRANGEBYLEX lexset lexbound lexbound [LIMIT skip index]"]),
    entry("zrangestore", 7, &[
        "ZRANGESTORE zset zset index index [REV]",
        "ZRANGESTORE (zset|key) zset scorebound scorebound BYSCORE [REV] [LIMIT skip index]",
        "ZRANGESTORE zset lexset lexbound lexbound BYLEX [REV] [LIMIT skip index]",
    ]),
    entry("zremrangebyrank", 5, &["ZREMRANGEBYRANK zset index index"]),
    entry("zremrangebyscore", 5, &["ZREMRANGEBYSCORE zset scorebound scorebound"]),
    entry("zremrangebylex", 5, &["ZREMRANGEBYLEX lexset lexbound lexbound"]),
    entry("zpopmin", 7, &["ZPOPMIN zset [count]"]),
    entry("zpopmax", 7, &["ZPOPMAX zset [count]"]),
    entry("zmpop", 7, &["ZMPOP counted{zset} (MIN|MAX) [COUNT positive]"]),
    entry("bzpopmin", 12, &["BZPOPMIN zset*1-2 timeout", "BZPOPMIN timeout"]).waits(),
    entry("bzpopmax", 12, &["BZPOPMAX zset*1-2 timeout", "BZPOPMAX timeout"]).waits(),
    entry("bzmpop", 12, &["BZMPOP timeout counted{zset} (MIN|MAX) [COUNT positive]", "BZMPOP timeout 0 MIN"]).waits(),
    entry("zrandmember", 6, &["ZRANDMEMBER zset [draw [WITHSCORES]]"]).check(Check::Draw),
    entry("zunion", 5, &["ZUNION counted{(zset|set)} (WEIGHTS score score|WEIGHTS score|AGGREGATE (SUM|MIN|MAX)|WITHSCORES)*0-2"]),
    entry("zinter", 5, &["ZINTER counted{(zset|set)} (WEIGHTS score score|WEIGHTS score|AGGREGATE (SUM|MIN|MAX)|WITHSCORES)*0-2"]),
    entry("zdiff", 5, &["ZDIFF counted{(zset|set)} [WITHSCORES]"]),
    entry("zunionstore", 7, &["ZUNIONSTORE zset 3 zset zset zset WEIGHTS 0.1 0.7 0.3", "ZUNIONSTORE (zset|key) counted{(zset|set)} (WEIGHTS score score|WEIGHTS score|AGGREGATE (SUM|MIN|MAX))*0-2"]),
    entry("zinterstore", 7, &["ZINTERSTORE zset counted{(zset|set)} (WEIGHTS score score|WEIGHTS score|AGGREGATE (SUM|MIN|MAX))*0-2"]),
    entry("zdiffstore", 7, &["ZDIFFSTORE zset counted{(zset|set)}"]),
    entry("zintercard", 5, &["ZINTERCARD counted{(zset|set)} [LIMIT count]"]),
    entry("zscan", 6, &["ZSCAN zset 0 (MATCH pattern|COUNT positive)*0-2"]).check(Check::Sweep),
];

/// The commands of the connection itself: they steer where and when the others run.
static AROUND: &[Entry] = &[
    entry("select", 10, &["SELECT db"]).volatile(6, &[]),
    entry("watch", 6, &["WATCH key*1-2"]).volatile(5, &["WATCH hash"]),
    entry("unwatch", 2, &["UNWATCH"]),
    entry("ping", 2, &["PING value*0-2"]),
    entry("echo", 2, &["ECHO value"]),
    entry("hello", 4, &["HELLO", "HELLO (2|3)", "HELLO (2|3) SETNAME key"]).check(Check::Shape),
    entry(
        "client",
        4,
        &[
            "CLIENT (GETNAME|NO-TOUCH ON|NO-TOUCH OFF|NO-EVICT ON|NO-EVICT OFF)",
            "CLIENT SETNAME key",
            "CLIENT UNBLOCK count (TIMEOUT|ERROR)",
        ],
    ),
    entry("config", 3, &["CONFIG (RESETSTAT|SET MAXMEMORY-SAMPLES 5|SET MAXMEMORY-SAMPLES 7)"]),
    entry("time", 2, &["TIME"]).check(Check::Shape),
    entry("nosuchcommand", 2, &["NOSUCHCOMMAND value*0-3"]),
    entry("debug", 4, &["DEBUG SET-ACTIVE-EXPIRE 1"]).check(Check::Reclaim).volatile(4, &[]),
];

/// Of [`Family::Volatile`], what is made so often is sure to be met.
const USUAL_WEIGHT: u32 = 6;
/// One command in this many is damaged: an argument too many, too few, or out of place.
const DAMAGED: u32 = 14;
/// One command in this many is only its name.
const BARE: u32 = 30;
/// A damaged command could name a time of this many units, which is neither near nor far: it is left as it
/// was.
const AMBIGUOUS: std::ops::RangeInclusive<i64> = 1..=60_000;
/// No server is asked for more random elements than this: some answer as many as they are asked for.
const MOST_DRAWN: i64 = 1_000;

/// The commands that a run makes, ready to be expanded.
pub struct Commands {
    family: Family,
    entries: Vec<(Entry, Vec<Node>)>,
    total_weight: u32,
}

impl Commands {
    /// Those of a family that this server executes. Fails for one that it executes and is not in the table.
    pub fn of(family: Family) -> Result<Commands, String> {
        let executed = replcore::keyspace::commands().map(|spec| spec.name);
        let exist: Vec<&str> = match Program::primary() {
            Program::Replcore => executed.collect(),
            // A Valkey in its place executes all.
            _ => TABLE.iter().map(|entry| entry.name).collect(),
        };
        let table: BTreeMap<&str, &Entry> = TABLE.iter().map(|entry| (entry.name, entry)).collect();
        let mut entries: Vec<&Entry> = AROUND.iter().collect();
        let mut missing = Vec::new();
        for name in exist {
            match table.get(name) {
                Some(entry) => entries.push(entry),
                None => missing.push(name),
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            return Err(format!("commands that nothing generates: {}", missing.join(", ")));
        }
        entries.sort_by_key(|entry| entry.name);
        let read = |entry: &Entry| {
            let (entry, lines) = entry.of(family);
            let nodes: Vec<Node> = lines.into_iter().map(Node::parse).collect();
            (!nodes.is_empty()).then_some((entry, nodes))
        };
        let entries: Vec<(Entry, Vec<Node>)> = entries.into_iter().filter_map(read).collect();
        let total_weight = entries.iter().map(|(entry, _)| entry.weight).sum();
        Ok(Commands { family, entries, total_weight })
    }

    /// The names of those that are made often.
    pub fn usual(&self) -> impl Iterator<Item = &'static str> {
        let usual = |entry: &Entry| match self.family {
            Family::Timeless => true,
            Family::Volatile => entry.volatile_weight >= USUAL_WEIGHT,
        };
        let counted = move |(entry, _): &&(Entry, _)| usual(entry) && entry.check != Check::Reclaim;
        self.entries.iter().filter(counted).map(|(entry, _)| entry.name)
    }

    /// How the replies to `argv` are compared.
    pub fn check(&self, argv: &[Bytes]) -> Check {
        self.find(argv).map_or(Check::Exact, |entry| entry.check)
    }

    /// Whether a transaction cannot have this: what it takes or meets is a matter of chance, or is put right
    /// afterwards.
    pub fn is_by_chance(&self, argv: &[Bytes]) -> bool {
        matches!(self.check(argv), Check::Pop | Check::RandomKey | Check::Reclaim | Check::Copy)
            || argv[0].eq_ignore_ascii_case(b"SCAN")
    }

    fn find(&self, argv: &[Bytes]) -> Option<&Entry> {
        let name = String::from_utf8_lossy(argv.first()?).to_lowercase();
        let at = self.entries.binary_search_by_key(&&*name, |(entry, _)| entry.name).ok()?;
        Some(&self.entries[at].0)
    }

    /// The name of `argv`'s command in the table.
    pub fn name(&self, argv: &[Bytes]) -> Option<&'static str> {
        self.find(argv).map(|entry| entry.name)
    }

    /// Whether `argv` may set a deadline that passes at once.
    pub fn is_near(&self, argv: &[Bytes]) -> bool {
        let near = *NEAR_MS.start() as i64..=*NEAR_MS.end() as i64;
        self.find(argv).is_some_and(|entry| times(entry, argv).any(|number| near.contains(&number)))
    }

    /// A random command.
    pub fn random(&self, arguments: &mut Arguments, suits: impl Fn(&Entry) -> bool) -> Argv {
        loop {
            let mut point = arguments.below(self.total_weight as usize) as u32;
            let Some((entry, lines)) = self.entries.iter().find(|(entry, _)| {
                let found = point < entry.weight;
                point = point.wrapping_sub(entry.weight);
                found
            }) else {
                continue;
            };
            if !suits(entry) {
                continue;
            }
            let mut argv = Argv::new();
            lines[arguments.below(lines.len())].expand(arguments, &mut argv);
            if is_misread(&argv) {
                continue;
            }
            if entry.check == Check::Reclaim {
                return argv;
            }
            if arguments.one_in(BARE) {
                argv.truncate(1);
                return argv;
            }
            if !arguments.one_in(DAMAGED) {
                return argv;
            }
            let mut damaged = argv.clone();
            damage(&mut damaged, arguments);
            return if is_harmless(entry, &damaged) { damaged } else { argv };
        }
    }
}

fn numbers(argv: &[Bytes]) -> impl Iterator<Item = i64> {
    argv.iter().skip(1).filter_map(number)
}

fn number(arg: &Bytes) -> Option<i64> {
    std::str::from_utf8(arg).ok()?.parse().ok()
}

/// What comes before a time.
const TIME_WORDS: &[&str] = &["EX", "PX", "EXAT", "PXAT"];

/// The numbers that may be times.
fn times<'a>(entry: &Entry, argv: &'a [Bytes]) -> impl Iterator<Item = i64> + use<'a> {
    let kind = entry.times;
    let is_time = move |at: usize| match kind {
        Times::None => false,
        Times::Anywhere => true,
        Times::Second => at == 2,
        Times::AfterWord => TIME_WORDS.iter().any(|word| argv[at - 1].eq_ignore_ascii_case(word.as_bytes())),
    };
    (1..argv.len()).filter(move |at| is_time(*at)).filter_map(|at| number(&argv[at]))
}

/// A known difference in what is executed, see the table.
fn is_misread(argv: &[Bytes]) -> bool {
    let is =
        |at: usize, word: &str| argv.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let doubled = argv.last().is_some_and(|count| count == i64::MIN.to_string().as_str());
    ((is(0, "HSETEX") || is(0, "HGETEX")) && is(1, "fields")) || (is(0, "HSETEX") && doubled)
}

fn is_harmless(entry: &Entry, argv: &[Bytes]) -> bool {
    let drawn = matches!(entry.check, Check::Draw | Check::Pop);
    let ambiguous = times(entry, argv).any(|number| AMBIGUOUS.contains(&number));
    let endless = drawn && numbers(argv).any(|number| number < -MOST_DRAWN && number > i64::MIN);
    // See the table: what Valkey does with an index of more than 32 bits is not repeated.
    let cut = entry.name == "lset" && numbers(argv).any(|number| i32::try_from(number).is_err());
    !(entry.waits || ambiguous || endless || cut || is_misread(argv))
}

fn damage(argv: &mut Argv, arguments: &mut Arguments) {
    let at = arguments.below(argv.len());
    match arguments.below(6) {
        0 if at > 0 => {
            argv.remove(at);
        }
        1 if at > 0 => argv[at] = arguments.junk(),
        2 if at > 0 => argv.insert(at, argv[at].clone()),
        3 if at > 0 => {
            let other = arguments.below(argv.len() - 1) + 1;
            argv.swap(at, other);
        }
        4 => argv.push(arguments.junk()),
        _ => {
            let junk = arguments.junk();
            argv.insert(at + 1, junk);
        }
    }
}
