/* replcore: a formally checked replication core for Redis- and Valkey-compatible servers.
 *
 * Pointers: one that the caller hands in is used during the call only, and stays the caller's. Null is allowed where it says
 * so, for no bytes of length 0, and for every `error`; elsewhere it gives REPLCORE_STATUS_NULL. A handle belongs to the caller until its
 * `_free` function returned OK, and is not used after that; to free null does nothing. Results are written on success only.
 *
 * Threads: a buffer and acknowledgements are used by any number of threads at a time; a writer, a cursor and a unit by one, and others
 * get REPLCORE_STATUS_BUSY. Handles may be freed in any order.
 *
 * Every function returns a status; no function ends the process. What went wrong is in the status, and with its numbers
 * in the `error` that was handed in.
 *
 * Made by cbindgen of src/capi: do not edit. */


#ifndef REPLCORE_H
#define REPLCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>


// The version of this interface. It changes when a program compiled against an older header would break.
#define REPLCORE_ABI 1

// What an acknowledgement does not say.
#define REPLCORE_UNKNOWN_OFFSET -1

// A term that can be sealed last: with it the stream ends.
#define REPLCORE_LAST_TERM UINT64_MAX

// Room for the text in an error, its terminating zero included, in bytes.
#define REPLCORE_MESSAGE_BYTES 256

// Random bytes that an ID is made of.
#define REPLCORE_ID_RANDOM_BYTES 20

// Room for an ID: 40 digits and the terminating zero.
#define REPLCORE_ID_BYTES 41

// Room for a line that answers PSYNC, its terminating zero included.
#define REPLCORE_LINE_BYTES 96

// Room for a reason, its terminating zero included.
#define REPLCORE_REASON_BYTES 192

// Room for an announced address, its terminating zero included.
#define REPLCORE_ADDRESS_BYTES 256

// How a call went. Statuses may be added; their numbers stay.
enum replcore_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It was done.
    REPLCORE_STATUS_OK = 0,
    // Nothing to read yet: wait for the descriptor or the callback. Not an error.
    REPLCORE_STATUS_AGAIN = 1,
    // Everything was read, and nothing can follow. `last`: where the stream ended.
    REPLCORE_STATUS_ENDED = 2,
    // The cursor was too slow and lost its place. `given`: where it stood; `last`: the end of the stream.
    REPLCORE_STATUS_EVICTED = 3,
    // The offset cannot be attached. `given`: it; `first`, `last`: what can be.
    REPLCORE_STATUS_NOT_RETAINED = 4,
    // As many cursors as allowed are attached. `last`: how many that is.
    REPLCORE_STATUS_TOO_MANY_CURSORS = 5,
    // The writer's term is sealed. `given`: its term; `last`: the term up to which all are sealed.
    REPLCORE_STATUS_FENCED = 6,
    // The frame is too long. `given`: its bytes; `last`: the limit.
    REPLCORE_STATUS_FRAME_TOO_LARGE = 7,
    // The stream would pass its last offset. `given`: the frame's bytes; `first`: where it would have started; `last`: the last offset.
    REPLCORE_STATUS_OFFSETS_EXHAUSTED = 8,
    // A number is out of its bounds. `given`: it; `first`, `last`: the bounds.
    REPLCORE_STATUS_OUT_OF_BOUNDS = 9,
    // A command of a replica cannot be obeyed. The message is the line to answer with, without dash and line end.
    REPLCORE_STATUS_HANDSHAKE = 10,
    // Text that is not a replication ID.
    REPLCORE_STATUS_MALFORMED = 11,
    // An outcome that is not one of the command.
    REPLCORE_STATUS_MISMATCH = 12,
    // A pointer is null that may not be.
    REPLCORE_STATUS_NULL = 20,
    // The handle is in use: by another thread, or by the call that this one came out of.
    REPLCORE_STATUS_BUSY = 21,
    // A frame is being staged where none may be, or none is where one has to be.
    REPLCORE_STATUS_FRAME_STATE = 22,
    // The operating system refused. `given`: its `errno`.
    REPLCORE_STATUS_SYSTEM = 23,
    // A defect of this library. The handles of the call are not usable any more, and are not freed.
    REPLCORE_STATUS_PANICKED = 24,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum replcore_status replcore_status;
#else
typedef int32_t replcore_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a REPLCONF asks for.
enum replcore_replconf_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Facts only: answer "+OK".
    REPLCORE_REPLCONF_KIND_FACTS = 0,
    // An acknowledgement: no answer, ever. `replcore_acks_acknowledge` takes it.
    REPLCORE_REPLCONF_KIND_ACK = 1,
    // GETACK, which is meant for replicas: no answer.
    REPLCORE_REPLCONF_KIND_GETACK = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum replcore_replconf_kind replcore_replconf_kind;
#else
typedef int32_t replcore_replconf_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What can be set when a buffer is made. Settings may be added; their numbers stay.
enum replcore_setting
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The offset at which the stream starts. Default 0.
    REPLCORE_SETTING_BASE_OFFSET = 0,
    // So many bytes behind the end stay attachable. Default 10 MiB.
    REPLCORE_SETTING_BACKLOG_BYTES = 1,
    // Staging memory that a writer takes at once, 64 to 65,536 bytes. Default 64 KiB.
    REPLCORE_SETTING_BLOCK_BYTES = 2,
    // Publications that a segment has room for, 1 to 2^24. Default 1024.
    REPLCORE_SETTING_SEGMENT_FRAMES = 3,
    // A segment that holds so many bytes takes no more, 1 to 2^30. Default 512 KiB.
    REPLCORE_SETTING_SEGMENT_BYTES = 4,
    // Blocks that a segment's publications can lie in, 1 to 128. Default 128.
    REPLCORE_SETTING_SEGMENT_BLOCKS = 5,
    // Contexts that can follow each other in a segment, 1 to 62. Default 62.
    REPLCORE_SETTING_SEGMENT_CONTEXTS = 6,
    // The longest publication, in bytes, at most 3 GiB. Default 512 MiB.
    REPLCORE_SETTING_MAX_FRAME_BYTES = 7,
    // The offset that the stream may not pass. Default, and greatest: 2^63 - 1.
    REPLCORE_SETTING_MAX_OFFSET = 8,
    // Cursors attached at the same time, 1 to 2^24. Default 10,000.
    REPLCORE_SETTING_MAX_CURSORS = 9,
    // So many retired bytes may wait for a stalled thread before it is passed by. Default 4 MiB.
    REPLCORE_SETTING_MAX_UNRECLAIMED_BYTES = 10,
    // A cursor that lags by more is evicted at once; 0: never. Default 256 MiB.
    REPLCORE_SETTING_CURSOR_HARD_BYTES = 11,
    // A cursor that lags by more for CURSOR_SOFT_MS milliseconds is evicted; 0: never. Default 64 MiB.
    REPLCORE_SETTING_CURSOR_SOFT_BYTES = 12,
    // In milliseconds. Default 60,000.
    REPLCORE_SETTING_CURSOR_SOFT_MS = 13,
    // Spare blocks kept for reuse. Default 64.
    REPLCORE_SETTING_POOLED_BLOCKS = 14,
    // Spare segments kept for reuse. Default 64.
    REPLCORE_SETTING_POOLED_SEGMENTS = 15,
    // Writers kept for `replcore_buffer_append`. Default 64.
    REPLCORE_SETTING_POOLED_WRITERS = 16,
    // Memory of long frames kept for reuse, in bytes. Default 8 MiB.
    REPLCORE_SETTING_POOLED_FRAME_BYTES = 17,
    // Copies of the stream that cursors make for each other. Default 16.
    REPLCORE_SETTING_SHARED_COPIES = 18,
    // The longest of them, in bytes, 1 to 16 MiB. Default 64 KiB.
    REPLCORE_SETTING_SHARED_COPY_BYTES = 19,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum replcore_setting replcore_setting;
#else
typedef int32_t replcore_setting;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a command did.
enum replcore_outcome
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing: there was no key, or a condition was not met.
    REPLCORE_OUTCOME_UNCHANGED = 0,
    // What it says, without a time: stored, deleted, added.
    REPLCORE_OUTCOME_DONE = 1,
    // What it says, with a deadline: `deadline_ms`.
    REPLCORE_OUTCOME_DEADLINE = 2,
    // The time that it names had passed already: the key, or the fields, were deleted.
    REPLCORE_OUTCOME_DELETED = 3,
    // Of SET: the time that it names had passed already, and there was no key to delete.
    REPLCORE_OUTCOME_PAST_ABSENT = 4,
    // A deadline was removed.
    REPLCORE_OUTCOME_PERSISTED = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum replcore_outcome replcore_outcome;
#else
typedef int32_t replcore_outcome;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The acknowledgements of all replicas of one primary. Used by any number of threads at a time.
//
// A replica is known by a number of the caller's (`key`). Times are milliseconds of any monotonic clock of the caller's.
typedef struct replcore_acks replcore_acks;

// A replication stream in memory: see `replcore_buffer_new`. Used by any number of threads at a time.
typedef struct replcore_buffer replcore_buffer;

// A reader of the stream. Used by one thread at a time.
typedef struct replcore_cursor replcore_cursor;

// The commands that one atomic unit propagates, in order: of a command, or of everything in an EXEC. Used by one thread at a time.
typedef struct replcore_unit replcore_unit;

// Appends frames of one term to a buffer. Used by one thread at a time.
typedef struct replcore_writer replcore_writer;

// What went wrong, with its numbers. The caller's memory; it needs no initialisation, and holds nothing that would have
// to be freed. After success only `status` is written.
typedef struct {
    // The same as was returned.
    replcore_status status;
    // What was given or asked for: see the status. Else 0.
    uint64_t given;
    // The least that would do.
    uint64_t first;
    // The most that would do.
    uint64_t last;
    // The error in a line of English, zero-terminated, cut if it is long.
    char message[REPLCORE_MESSAGE_BYTES];
} replcore_error;

// What is known of one replica.
typedef struct {
    // Whether it is in the table; all else is 0 if it is not.
    bool known;
    // Whether it receives the stream.
    bool online;
    // Stream bytes that it has applied.
    uint64_t acked_offset;
    // Stream bytes that its append-only file has made durable, as far as it said.
    uint64_t fsynced_offset;
    // When it last reported, or was put online.
    uint64_t last_ack_ms;
} replcore_ack;

// A setting.
typedef struct {
    // A `replcore_setting`.
    int32_t name;
    // Its value.
    uint64_t value;
} replcore_setting_value;

// Offsets of the stream: it stands at `start` before the first byte of what was appended, and at `end` behind the last.
typedef struct {
    // The first offset.
    uint64_t start;
    // The offset behind it.
    uint64_t end;
} replcore_range;

// Numbers of a buffer; each is right for some moment of the call. Later versions may add some at the end.
typedef struct {
    // The first offset that can be attached.
    uint64_t first_offset;
    // The end of the stream.
    uint64_t end_offset;
    // Publications so far: frames, batches, markers.
    uint64_t publications;
    // Bytes in memory, for the backlog or for cursors.
    uint64_t retained_bytes;
    // Segments in use.
    uint64_t segments_live;
    // Spare segments.
    uint64_t segments_pooled;
    // Blocks in use.
    uint64_t blocks_live;
    // Spare blocks.
    uint64_t blocks_pooled;
    // Objects retired and not yet released.
    uint64_t retired;
    // Their bytes.
    uint64_t retired_bytes;
    // Eras begun because of a stalled thread.
    uint64_t eras_begun;
    // Cursors attached and not evicted.
    uint64_t cursors;
    // Cursors evicted by a limit.
    uint64_t evictions;
    // Publications that lost a race and were tried again.
    uint64_t publish_retries;
    // The highest term sealed; 0: none.
    uint64_t sealed_term;
} replcore_stats;

// Called when a cursor that waits has something to read, the stream has ended, or the cursor was evicted. From the thread that
// appends, seals, evicts or frees: it should only tell another one, must not block, and gets BUSY from the handle that is in use.
typedef void (*replcore_wake_fn)(void *context);

// Told that memory, or a context, is not used any more. Called exactly once, from whichever thread lets go of it last;
// it must not block, nor call this library with a handle that is in use.
typedef void (*replcore_release_fn)(void *context);

// The name of one history of writes: 40 lower-case hexadecimal digits, zero-terminated. All zero: none.
typedef struct {
    // The digits.
    char text[REPLCORE_ID_BYTES];
} replcore_id;

// The history that a server's stream continues. A plain value: where threads share one, the caller replaces it in one step.
typedef struct {
    // The current ID (master_replid).
    replcore_id replid;
    // The one before it (master_replid2), or none.
    replcore_id replid2;
    // The greatest first byte wanted with which a replica of `replid2` may continue (second_repl_offset). 0 without one.
    uint64_t second_offset;
} replcore_history;

// The answer to a PSYNC.
typedef struct {
    // Whether the stream continues. If not, a snapshot is sent first, behind the line of `replcore_full_resync_line`.
    bool partial;
    // Where to attach a cursor, if it continues.
    uint64_t attach_offset;
    // Whether the replica tried to continue, in vain (sync_partial_err).
    bool failed_attempt;
    // Whether it asked with FAILOVER.
    bool failover;
    // The line to send if it continues, CRLF included, zero-terminated; else empty.
    char line[REPLCORE_LINE_BYTES];
    // The bytes of `line`, without the zero.
    size_t line_bytes;
    // Why it does not continue, in a line of English, zero-terminated; empty if it does.
    char reason[REPLCORE_REASON_BYTES];
} replcore_psync_answer;

// What a replica said about itself in REPLCONF. Begin with all zero. A plain value.
typedef struct {
    // `listening-port`: any integer.
    int64_t listening_port;
    // `ip-address`, zero-terminated; empty if it announced none.
    char address[REPLCORE_ADDRESS_BYTES];
    // `capa eof`: it reads a snapshot framed by an end mark.
    bool eof;
    // `capa psync2`: it understands "+CONTINUE id".
    bool psync2;
    // `rdb-only 1`: it wants the snapshot and no stream.
    bool rdb_only;
    // `rdb-filter-only`: it wants no keys.
    bool without_keys;
    // `version`: whether it said one.
    bool has_version;
    // Its version: major, minor, patch.
    uint8_t version[3];
    // The newest snapshot format it is known to read, set by `replcore_replconf`: 10 (REDIS0010), or 80 (VALKEY080), with which come
    // deadlines of hash fields.
    uint32_t snapshot_version;
} replcore_replica;

// What a REPLCONF said.
typedef struct {
    // What it asks for.
    replcore_replconf_kind kind;
    // Of an acknowledgement: stream bytes applied; else, or if it was not a number, `REPLCORE_UNKNOWN_OFFSET`.
    int64_t applied;
    // Likewise: stream bytes made durable.
    int64_t fsynced;
} replcore_replconf_outcome;

// What a command did, with numbers. Begin with all zero; the command says which of it counts.
typedef struct {
    // A `replcore_outcome`.
    int32_t kind;
    // The absolute deadline that was set, in milliseconds since the Unix epoch.
    uint64_t deadline_ms;
    // DEL, UNLINK: how many keys were deleted, those apart that had expired.
    size_t deleted;
    // INCRBYFLOAT: the value that the key has now, as it is stored.
    struct iovec value;
    // Fields of a hash: the places in argv, ascending, of those that were really changed or deleted.
    const size_t *changed;
    // How many those are.
    size_t changed_count;
    // The places in argv, ascending, of those whose deadline had passed before.
    const size_t *dead;
    // How many those are.
    size_t dead_count;
    // Whether the command removed the dead ones; else they stay stored until they are reclaimed.
    bool dead_reclaimed;
    // Keys are deleted by DEL, as Redis does, and not by UNLINK, as Valkey does.
    bool delete_by_del;
} replcore_outcome_detail;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The `REPLCORE_ABI` that the library was built with: compare it with the header's.
uint32_t replcore_abi(void);

// The version of the library, as "0.1.0". Never null; it lives as long as the process.
const char *replcore_version(void);

// Makes an empty table. `acks`: receives the handle, to be freed by `replcore_acks_free`.
replcore_status replcore_acks_new(replcore_acks **acks, replcore_error *error);

// Frees a table. No other thread may be using it. `acks`: may be null.
replcore_status replcore_acks_free(replcore_acks *acks);

// Adds a replica that is not online yet, which has acknowledged nothing.
replcore_status replcore_acks_insert(replcore_acks *acks,
                                     uint64_t key,
                                     uint64_t now_ms,
                                     replcore_error *error);

// Forgets a replica, if it is there.
replcore_status replcore_acks_remove(replcore_acks *acks, uint64_t key, replcore_error *error);

// The replica receives the stream from now on, and counts.
replcore_status replcore_acks_set_online(replcore_acks *acks,
                                         uint64_t key,
                                         uint64_t now_ms,
                                         replcore_error *error);

// Records what a replica reported, as `replcore_replconf` read it: its offset never falls, and is never beyond the stream's end.
//
// `applied`, `fsynced`: offsets, or `REPLCORE_UNKNOWN_OFFSET`. `end_offset`: the end of the stream. `rose`: receives whether the
// acknowledged offset rose, the moment at which a client in WAIT may go on; may be null.
replcore_status replcore_acks_acknowledge(replcore_acks *acks,
                                          uint64_t key,
                                          int64_t applied,
                                          int64_t fsynced,
                                          uint64_t end_offset,
                                          uint64_t now_ms,
                                          bool *rose,
                                          replcore_error *error);

// Looks at one replica. `ack`: receives what is known.
replcore_status replcore_acks_get(const replcore_acks *acks,
                                  uint64_t key,
                                  replcore_ack *ack,
                                  replcore_error *error);

// Counts the online replicas that have applied at least `offset` bytes: what WAIT answers. `count`: receives the number.
replcore_status replcore_acks_count(const replcore_acks *acks,
                                    uint64_t offset,
                                    size_t *count,
                                    replcore_error *error);

// Counts the online replicas that reported within the last `max_lag_ms`: what min-replicas-to-write asks for. `count`: receives
// the number.
replcore_status replcore_acks_count_good(const replcore_acks *acks,
                                         uint64_t now_ms,
                                         uint64_t max_lag_ms,
                                         size_t *count,
                                         replcore_error *error);

// Makes a buffer.
//
// `settings`: `count` of them, in any order; what is not among them has its default. Null if `count` is 0.
// `buffer`: receives the handle, to be freed by `replcore_buffer_free`.
// Fails with OUT_OF_BOUNDS.
replcore_status replcore_buffer_new(const replcore_setting_value *settings,
                                    size_t count,
                                    replcore_buffer **buffer,
                                    replcore_error *error);

// Frees a buffer. The stream goes on as long as there are writers of it, and its cursors may read the rest; then it ends.
// No other thread may be using the handle. `buffer`: may be null.
replcore_status replcore_buffer_free(replcore_buffer *buffer);

// Appends bytes, copied, as one frame of the current term. From any thread, with a writer that is borrowed for it; a thread
// that appends often has one of its own (`replcore_writer_new`), which is faster.
//
// `data`: `len` bytes, null if that is 0. `range`: receives the frame's offsets, may be null.
// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED; nothing is appended then.
replcore_status replcore_buffer_append(replcore_buffer *buffer,
                                       const void *data,
                                       size_t len,
                                       replcore_range *range,
                                       replcore_error *error);

// What can be attached: from `start` to `end`, both included. `end` is the end of the stream. Where histories change while
// replicas ask, it is read before the history (`replcore_psync`).
//
// `range`: receives it.
replcore_status replcore_buffer_range(const replcore_buffer *buffer,
                                      replcore_range *range,
                                      replcore_error *error);

// Changes the backlog size, at once; a larger one fills as the stream goes on.
replcore_status replcore_buffer_set_backlog_bytes(replcore_buffer *buffer,
                                                  uint64_t bytes,
                                                  replcore_error *error);

// Changes when cursors are evicted: at once beyond `hard_bytes`, or beyond `soft_bytes` for `soft_ms` milliseconds; 0 switches
// a limit off.
replcore_status replcore_buffer_set_cursor_limits(replcore_buffer *buffer,
                                                  uint64_t hard_bytes,
                                                  uint64_t soft_bytes,
                                                  uint64_t soft_ms,
                                                  replcore_error *error);

// Evicts the cursors that are over a limit. Appends do so whenever a segment is full; call it once a second for a stream that pauses.
//
// `evicted`: receives how many were, may be null.
replcore_status replcore_buffer_enforce_limits(replcore_buffer *buffer,
                                               size_t *evicted,
                                               replcore_error *error);

// Makes `term` the one of writers made from now on, unless a later one is. The first term is 1.
replcore_status replcore_buffer_begin_term(replcore_buffer *buffer, uint64_t term, replcore_error *error);

// Seals `term`: no frame of it, or of an older one, is published after this. The seal of `REPLCORE_LAST_TERM` ends the stream.
//
// `offset`: receives where the stream stood then (the point for `replcore_history_shift`), may be null.
// Fails with FENCED if that term, or a later one, is sealed.
replcore_status replcore_buffer_seal(replcore_buffer *buffer,
                                     uint64_t term,
                                     uint64_t *offset,
                                     replcore_error *error);

// Looks at the numbers of a buffer.
//
// `stats`: receives as much as fits in `size` bytes, which is `sizeof(replcore_stats)` of the header compiled against.
replcore_status replcore_buffer_stats(const replcore_buffer *buffer,
                                      replcore_stats *stats,
                                      size_t size,
                                      replcore_error *error);

// Attaches a cursor whose next byte is the one after the first `offset` bytes of the stream: what `replcore_psync` says.
//
// `cursor`: receives the handle, to be freed by `replcore_cursor_free`. It may outlive the buffer's.
// Fails with NOT_RETAINED, which says what could be attached, and TOO_MANY_CURSORS.
replcore_status replcore_cursor_attach(replcore_buffer *buffer,
                                       uint64_t offset,
                                       replcore_cursor **cursor,
                                       replcore_error *error);

// Attaches a cursor that reads what is appended from now on: see `replcore_cursor_attach`. Fails with TOO_MANY_CURSORS.
replcore_status replcore_cursor_attach_at_end(replcore_buffer *buffer,
                                              replcore_cursor **cursor,
                                              replcore_error *error);

// Frees a cursor, and what it kept. `cursor`: may be null. Fails with BUSY, and frees nothing then.
//
// Its descriptor is taken out of every epoll set before: it may be closed a little later than this, by a thread that was just raising it.
replcore_status replcore_cursor_free(replcore_cursor *cursor);

// Gives the cursor's descriptor, and makes it at the first call. It is readable unless the last `replcore_cursor_poll` said
// AGAIN and nothing has happened since.
//
// `descriptor`: receives it. It belongs to the cursor: it is waited for by poll(2) and its kind, and neither read, written nor closed.
// Fails with SYSTEM.
replcore_status replcore_cursor_descriptor(replcore_cursor *cursor,
                                           int *descriptor,
                                           replcore_error *error);

// Sets what is called when `replcore_cursor_poll` said AGAIN and something has happened since: at least once then, and possibly
// without a reason. It takes the place of the callback before, and applies from the next poll on.
//
// `wake`: null for none. `context`: handed to both functions, may be null. `release`: called when neither will be called any more, at
// any time after the cursor was freed or has another callback, and before the last handle of the stream is freed; may be null. If this
// call fails, it is not called.
replcore_status replcore_cursor_set_wake(replcore_cursor *cursor,
                                         replcore_wake_fn wake,
                                         replcore_release_fn release,
                                         void *context,
                                         replcore_error *error);

// Makes what is published visible to the cursor.
//
// `readable`: receives how many bytes it can read now, at least 1; may be null.
// Fails with AGAIN if there is nothing yet, and leaves the wake-up; with ENDED; with EVICTED.
replcore_status replcore_cursor_poll(replcore_cursor *cursor, size_t *readable, replcore_error *error);

// Says where the bytes are that the last `replcore_cursor_poll` made visible, for writev(2): nothing is copied. They stay
// until the next call with this cursor that polls, advances, copies or frees.
//
// `vectors`: `count` of them (not all need be initialised), null if that is 0. `used`: receives how many were filled.
replcore_status replcore_cursor_vectors(replcore_cursor *cursor,
                                        struct iovec *vectors,
                                        size_t count,
                                        size_t *used,
                                        replcore_error *error);

// Passes `len` visible bytes: what was sent. Fails with OUT_OF_BOUNDS beyond what is visible, and passes nothing then.
replcore_status replcore_cursor_advance(replcore_cursor *cursor,
                                        size_t len,
                                        replcore_error *error);

// Copies visible bytes, and passes them: better than vectors for many short frames.
//
// `target`: room for `room` bytes, null if that is 0. `copied`: receives how many were copied: all that are visible, or as many as
// there is room for.
replcore_status replcore_cursor_copy(replcore_cursor *cursor,
                                     void *target,
                                     size_t room,
                                     size_t *copied,
                                     replcore_error *error);

// Where the cursor stands: so many bytes of the stream are before its next one. `offset`: receives it. `lag_bytes`: receives how many
// bytes are published and not read, visible or not. Either may be null.
replcore_status replcore_cursor_position(replcore_cursor *cursor,
                                         uint64_t *offset,
                                         uint64_t *lag_bytes,
                                         replcore_error *error);

// What a status means in general, as English text. Never null, for no number; it lives as long as the process.
const char *replcore_strerror(int32_t status);

// Makes an ID of random bits, which come from the caller: getrandom(2), say.
//
// `random`: `REPLCORE_ID_RANDOM_BYTES` bytes. `id`: receives the ID.
replcore_status replcore_id_from_random(const uint8_t *random, replcore_id *id, replcore_error *error);

// Reads an ID, in either case.
//
// `text`: `len` bytes, which need no terminating zero. `id`: receives the ID. Fails with MALFORMED.
replcore_status replcore_id_parse(const void *text, size_t len, replcore_id *id, replcore_error *error);

// Begins a history without a past. `id`: its name. `history`: receives it. Fails with MALFORMED.
replcore_status replcore_history_new(const replcore_id *id, replcore_history *history, replcore_error *error);

// The history after a promotion: what was current becomes the previous one.
//
// `history`: is replaced. `id`: the new name. `end_offset`: what `replcore_buffer_seal` of the old term gave. Fails with MALFORMED.
replcore_status replcore_history_shift(replcore_history *history,
                                       const replcore_id *id,
                                       uint64_t end_offset,
                                       replcore_error *error);

// Decides a PSYNC: a pure function.
//
// The range may move on before the cursor is attached: NOT_RETAINED then means a full resync.
//
// `history`: as it is now. `first`, `end`: from `replcore_buffer_range`, read before the history if that may change meanwhile.
// `psync2`: whether the replica said so (`replcore_replica`). `argv`: `argc` arguments, without the command's name. `answer`: receives
// the decision. Fails with HANDSHAKE, whose message is the error to answer with, and MALFORMED, for a history that is none.
replcore_status replcore_psync(const replcore_history *history,
                               uint64_t first,
                               uint64_t end,
                               bool psync2,
                               const struct iovec *argv,
                               size_t argc,
                               replcore_psync_answer *answer,
                               replcore_error *error);

// Writes the line that goes ahead of a snapshot: "+FULLRESYNC id offset" and CRLF, zero-terminated.
//
// `offset`: the offset at which the snapshot was cut, where the replica's cursor is attached. `line`: room for
// `REPLCORE_LINE_BYTES` bytes. `line_bytes`: receives its bytes, without the zero; may be null.
replcore_status replcore_full_resync_line(const replcore_history *history,
                                          uint64_t offset,
                                          char *line,
                                          size_t *line_bytes,
                                          replcore_error *error);

// Reads a REPLCONF.
//
// `replica`: what is known so far; options before a bad one have taken effect. `argv`: `argc` arguments, without the command's
// name. `outcome`: receives what it asks for. Fails with HANDSHAKE, whose message is the error to answer with.
replcore_status replcore_replconf(replcore_replica *replica,
                                  const struct iovec *argv,
                                  size_t argc,
                                  replcore_replconf_outcome *outcome,
                                  replcore_error *error);

// Makes an empty unit. `unit`: receives the handle, to be freed by `replcore_unit_free`.
replcore_status replcore_unit_new(replcore_unit **unit, replcore_error *error);

// Frees a unit. `unit`: may be null. Fails with BUSY, and frees nothing then.
replcore_status replcore_unit_free(replcore_unit *unit);

// Forgets what is in a unit.
replcore_status replcore_unit_clear(replcore_unit *unit, replcore_error *error);

// Adds a command that is finished: as it is to be applied, whatever the time and the replica's state.
//
// `db`: the database it applies to. `argv`: `argc` arguments, at least the name, which are copied.
replcore_status replcore_unit_push(replcore_unit *unit,
                                   uint16_t db,
                                   const struct iovec *argv,
                                   size_t argc,
                                   replcore_error *error);

// Adds the deletion of a key that had expired and that a command met: before what that command did.
//
// `key`: `len` bytes, null if that is 0. `by_del`: by DEL, as Redis does, and not by UNLINK.
replcore_status replcore_unit_delete(replcore_unit *unit,
                                     uint16_t db,
                                     const void *key,
                                     size_t len,
                                     bool by_del,
                                     replcore_error *error);

// Adds what a command did, rewritten so that it means the same at any time and on any clock. Of these commands, and with what
// counts of the outcome:
//
// - SET: UNCHANGED, DONE, DEADLINE, DELETED, PAST_ABSENT;
// - SETEX, PSETEX: DEADLINE;
// - GETSET, INCR, DECR, INCRBY, DECRBY, MSET, APPEND, HSET, HMSET: DONE;
// - INCRBYFLOAT: DONE and `value`;
// - GETEX: UNCHANGED, DEADLINE, DELETED, PERSISTED;
// - GETDEL, SETNX, MSETNX: UNCHANGED, DONE;
// - EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT: UNCHANGED, DEADLINE, DELETED;
// - PERSIST: UNCHANGED, PERSISTED;
// - DEL, UNLINK: DONE and `deleted`;
// - HEXPIRE, HPEXPIRE, HEXPIREAT, HPEXPIREAT: DEADLINE, DELETED, and fields;
// - HGETEX: DEADLINE, DELETED, PERSISTED, and fields;
// - HPERSIST, HDEL, HGETDEL: DONE, and fields.
//
// `argv`: `argc` arguments as the client sent them, which are copied. `outcome`: what happened.
// Fails with MISMATCH if that cannot have happened; nothing is added then, and if it happened all the same, the server has to begin
// a new history, for the stream does not tell of it.
replcore_status replcore_unit_rewrite(replcore_unit *unit,
                                      uint16_t db,
                                      const struct iovec *argv,
                                      size_t argc,
                                      const replcore_outcome_detail *outcome,
                                      replcore_error *error);

// Publishes a unit as one frame, with MULTI and EXEC around it if it has several commands, and with SELECT where the frame before
// has another database. The unit is empty after that, and can be used again. An empty one is not published.
//
// `writer`: stages no frame. `range`: receives the frame's offsets, may be null.
// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED, FRAME_STATE; nothing is published then, and the unit is as it was.
replcore_status replcore_unit_publish(replcore_unit *unit,
                                      replcore_writer *writer,
                                      replcore_range *range,
                                      replcore_error *error);

// Makes a writer of the buffer's current term.
//
// `writer`: receives the handle, to be freed by `replcore_writer_free`. It may outlive the buffer's.
replcore_status replcore_writer_new(replcore_buffer *buffer, replcore_writer **writer, replcore_error *error);

// Makes a writer of the given term: as `replcore_writer_new`.
replcore_status replcore_writer_new_of_term(replcore_buffer *buffer,
                                            uint64_t term,
                                            replcore_writer **writer,
                                            replcore_error *error);

// Frees a writer; a frame that it stages is not published. `writer`: may be null. Fails with BUSY, and frees nothing then.
replcore_status replcore_writer_free(replcore_writer *writer);

// Appends bytes, copied, as one frame: see `replcore_buffer_append`. Fails with FRAME_STATE too, if a frame is being staged.
replcore_status replcore_writer_append(replcore_writer *writer,
                                       const void *data,
                                       size_t len,
                                       replcore_range *range,
                                       replcore_error *error);

// Appends several parts, copied, as one frame: see `replcore_writer_append`. `parts`: `count` of them, null if that is 0.
replcore_status replcore_writer_append_parts(replcore_writer *writer,
                                             const struct iovec *parts,
                                             size_t count,
                                             replcore_range *range,
                                             replcore_error *error);

// Begins to stage a frame, in private. It ends with `replcore_frame_publish` or `replcore_frame_abort`. Fails with FRAME_STATE if
// one is being staged.
replcore_status replcore_frame_begin(replcore_writer *writer,
                                     replcore_error *error);

// Adds bytes, copied. A frame that becomes too long is refused by `replcore_frame_publish`, not here.
//
// `data`: `len` bytes, null if that is 0. Fails with FRAME_STATE.
replcore_status replcore_frame_put(replcore_writer *writer,
                                   const void *data,
                                   size_t len,
                                   replcore_error *error);

// Adds bytes, not copied: for long ones.
//
// `data`: `len` bytes, null if that is 0, which stay and do not change until `release` is called with `context`: when
// the frame was trimmed and every cursor has passed it, or when it is not published. `release`: may be null, for bytes that stay for
// ever. If this call fails, it is not called.
replcore_status replcore_frame_put_shared(replcore_writer *writer,
                                          const void *data,
                                          size_t len,
                                          replcore_release_fn release,
                                          void *context,
                                          replcore_error *error);

// From here on the stream's context is `context` (a database, say). If it is another one where this place comes to stand in the
// stream, `data` is published here (a SELECT, say), else left out; which of both, is decided at publication.
//
// `data`: `len` bytes, null if that is 0. Fails with FRAME_STATE.
replcore_status replcore_frame_select(replcore_writer *writer,
                                      uint64_t context,
                                      const void *data,
                                      size_t len,
                                      replcore_error *error);

// From here on the stream's context is unknown: the next `replcore_frame_select` publishes its bytes. A snapshot is followed by
// that, for a replica that took one has selected nothing. Fails with FRAME_STATE.
replcore_status replcore_frame_forget_context(replcore_writer *writer,
                                              replcore_error *error);

// Ends a frame of a batch: what is added next belongs to the next frame, and all are published at once. Fails with FRAME_STATE.
replcore_status replcore_frame_next(replcore_writer *writer,
                                    replcore_error *error);

// Publishes what is staged, all at once. The frame is gone after it, published or not.
//
// `range`: receives its offsets, may be null.
// Fails with FENCED, FRAME_TOO_LARGE, OFFSETS_EXHAUSTED, FRAME_STATE; nothing is published then.
replcore_status replcore_frame_publish(replcore_writer *writer, replcore_range *range, replcore_error *error);

// Drops what is staged. Fails with FRAME_STATE.
replcore_status replcore_frame_abort(replcore_writer *writer, replcore_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* REPLCORE_H */
