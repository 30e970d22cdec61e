/* Uses of the C interface that no primary makes: misuse, wake-ups between threads, ends and evictions, shared memory, effects.
 * It ends with 0 and prints "done", or says which line failed. */
#define _POSIX_C_SOURCE 200809L
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replcore.h"

#define CHECK(truth) \
    do { \
        if (!(truth)) { \
            fprintf(stderr, "%s:%d: not true: %s (last status: %d %s)\n", __FILE__, __LINE__, #truth, error.status, error.message); \
            exit(1); \
        } \
    } while (0)
#define OK(call) CHECK((call) == REPLCORE_STATUS_OK)
#define GIVES(wanted, call) CHECK((call) == REPLCORE_STATUS_##wanted && error.status == REPLCORE_STATUS_##wanted)

enum { WAIT_MS = 60000 };

/* Frames that a thread writes: the first argument, or this. Under valgrind a thread that spins costs a time slice. */
static size_t frames_written = 100000;

static _Thread_local replcore_error error;

static replcore_buffer *make(replcore_setting_value setting) {
    replcore_buffer *buffer;
    OK(replcore_buffer_new(&setting, 1, &buffer, &error));
    return buffer;
}

static struct iovec text(const char *word) {
    return (struct iovec){(void *)(uintptr_t)word, strlen(word)};
}

static void nulls_and_numbers(void) {
    replcore_buffer *buffer = NULL;
    replcore_setting_value unknown = {99, 1}, small = {REPLCORE_SETTING_BLOCK_BYTES, 1};
    replcore_range range;
    CHECK(replcore_abi() == REPLCORE_ABI && strcmp(replcore_version(), "") != 0);
    CHECK(strcmp(replcore_strerror(12345), "no such status") == 0);
    GIVES(NULL, replcore_buffer_new(NULL, 0, NULL, &error));
    GIVES(NULL, replcore_buffer_new(NULL, 1, &buffer, &error));
    GIVES(OUT_OF_BOUNDS, replcore_buffer_new(&unknown, 1, &buffer, &error));
    GIVES(OUT_OF_BOUNDS, replcore_buffer_new(&small, 1, &buffer, &error));
    CHECK(error.given == 1 && error.first == 64 && error.last == 65536 && strstr(error.message, "block_bytes") && !buffer);
    GIVES(NULL, replcore_buffer_append(NULL, "x", 1, NULL, &error));
    GIVES(NULL, replcore_writer_append(NULL, "x", 1, NULL, &error));
    GIVES(NULL, replcore_cursor_poll(NULL, NULL, &error));
    GIVES(NULL, replcore_acks_insert(NULL, 1, 1, &error));
    CHECK(replcore_buffer_append(NULL, "x", 1, NULL, NULL) == REPLCORE_STATUS_NULL);
    OK(replcore_buffer_free(NULL));
    OK(replcore_writer_free(NULL));
    OK(replcore_cursor_free(NULL));
    buffer = make((replcore_setting_value){REPLCORE_SETTING_BASE_OFFSET, 100});
    GIVES(NULL, replcore_buffer_append(buffer, NULL, 1, NULL, &error));
    GIVES(OUT_OF_BOUNDS, replcore_buffer_append(buffer, "x", SIZE_MAX, NULL, &error));
    OK(replcore_buffer_append(buffer, NULL, 0, NULL, NULL));
    OK(replcore_buffer_append(buffer, "four", 4, &range, &error));
    CHECK(range.start == 100 && range.end == 104);
    replcore_stats stats = {.sealed_term = 7};
    OK(replcore_buffer_stats(buffer, &stats, offsetof(replcore_stats, sealed_term), &error));
    CHECK(stats.end_offset == 104 && stats.sealed_term == 7);
    OK(replcore_buffer_free(buffer));
}

static void released(void *count) {
    ++*(int *)count;
}

static void frames(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_MAX_FRAME_BYTES, 100});
    replcore_writer *writer;
    replcore_cursor *cursor;
    replcore_range range;
    char long_text[200] = {0}, read[64];
    size_t readable, copied, used;
    int releases = 0;
    struct iovec parts[] = {text("a"), text("bc")}, vectors[4];
    OK(replcore_writer_new(buffer, &writer, &error));
    OK(replcore_cursor_attach(buffer, 0, &cursor, &error));
    OK(replcore_writer_append_parts(writer, parts, 2, &range, &error));
    GIVES(FRAME_STATE, replcore_frame_put(writer, "x", 1, &error));
    OK(replcore_frame_begin(writer, &error));
    GIVES(FRAME_STATE, replcore_frame_begin(writer, &error));
    GIVES(FRAME_STATE, replcore_writer_append(writer, "x", 1, NULL, &error));
    OK(replcore_frame_put_shared(writer, "gone", 4, released, &releases, &error));
    OK(replcore_frame_abort(writer, &error));
    CHECK(releases == 1);
    for (int i = 0; i < 2; i++) { /* the second one is in the context already */
        OK(replcore_frame_begin(writer, &error));
        OK(replcore_frame_select(writer, 7, "[7]", 3, &error));
        OK(replcore_frame_put_shared(writer, "kept", 4, released, &releases, &error));
        OK(replcore_frame_publish(writer, NULL, &error));
    }
    OK(replcore_frame_begin(writer, &error));
    OK(replcore_frame_put(writer, long_text, sizeof long_text, &error));
    GIVES(FRAME_TOO_LARGE, replcore_frame_publish(writer, NULL, &error));
    CHECK(error.given == 200 && error.last == 100);
    OK(replcore_cursor_poll(cursor, &readable, &error));
    CHECK(readable == 14);
    OK(replcore_cursor_vectors(cursor, vectors, 4, &used, &error));
    CHECK(used > 0 && memcmp(vectors[0].iov_base, "abc", 3) == 0);
    GIVES(OUT_OF_BOUNDS, replcore_cursor_advance(cursor, 15, &error));
    OK(replcore_cursor_advance(cursor, 3, &error));
    OK(replcore_cursor_copy(cursor, read, sizeof read, &copied, &error));
    CHECK(copied == 11 && memcmp(read, "[7]keptkept", 11) == 0);
    GIVES(AGAIN, replcore_cursor_poll(cursor, &readable, &error));
    GIVES(NOT_RETAINED, replcore_cursor_attach(buffer, 15, &cursor, &error));
    CHECK(error.given == 15 && error.first == 0 && error.last == 14);
    OK(replcore_frame_begin(writer, &error)); /* a staged frame goes with its writer */
    OK(replcore_frame_put_shared(writer, "gone", 4, released, &releases, &error));
    OK(replcore_writer_free(writer));
    CHECK(releases == 2);
    OK(replcore_cursor_free(cursor));
    OK(replcore_buffer_free(buffer));
    CHECK(releases == 4);
}

static replcore_cursor *in_use;
static atomic_int calls;

static void comes_back(void *context) {
    (void)context;
    calls++;
    replcore_status status = replcore_writer_free(context);
    CHECK(status == REPLCORE_STATUS_BUSY); /* the writer is in the append that calls this */
}

static void busy_ended_evicted(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_BACKLOG_BYTES, 0});
    replcore_writer *writer;
    replcore_cursor *other;
    uint64_t offset, lag;
    size_t evicted;
    int releases = 0;
    OK(replcore_writer_new(buffer, &writer, &error));
    OK(replcore_cursor_attach_at_end(buffer, &in_use, &error));
    OK(replcore_cursor_attach_at_end(buffer, &other, &error));
    OK(replcore_cursor_set_wake(in_use, comes_back, NULL, writer, &error));
    OK(replcore_cursor_set_wake(other, NULL, released, &releases, &error));
    GIVES(AGAIN, replcore_cursor_poll(in_use, NULL, &error));
    OK(replcore_writer_append(writer, "once", 4, NULL, &error));
    CHECK(calls == 1);
    OK(replcore_writer_append(writer, "twice", 5, NULL, &error)); /* nobody waits */
    CHECK(calls == 1);
    OK(replcore_cursor_position(in_use, &offset, &lag, &error));
    CHECK(offset == 0 && lag == 9);
    char *large = calloc(1, 4 << 20);
    OK(replcore_buffer_set_cursor_limits(buffer, 1 << 20, 0, 0, &error));
    for (int i = 0; i < 3; i++) OK(replcore_writer_append(writer, large, 4 << 20, NULL, &error));
    free(large);
    OK(replcore_buffer_enforce_limits(buffer, &evicted, &error));
    GIVES(EVICTED, replcore_cursor_poll(other, NULL, &error));
    CHECK(error.given == 0 && error.last > 4 << 20);
    OK(replcore_cursor_free(in_use));
    OK(replcore_cursor_free(other));
    OK(replcore_cursor_attach_at_end(buffer, &other, &error));
    OK(replcore_buffer_seal(buffer, REPLCORE_LAST_TERM, &offset, &error));
    GIVES(FENCED, replcore_buffer_seal(buffer, 3, NULL, &error));
    GIVES(FENCED, replcore_writer_append(writer, "late", 4, NULL, &error));
    CHECK(error.given == 1 && error.last == REPLCORE_LAST_TERM);
    GIVES(ENDED, replcore_cursor_poll(other, NULL, &error));
    CHECK(error.last == offset);
    OK(replcore_writer_free(writer));
    OK(replcore_buffer_free(buffer));
    OK(replcore_cursor_free(other));
    CHECK(releases == 1);
}

static int is_raised(int descriptor) {
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    return poll(&wait, 1, 0);
}

/* The descriptor says what the last poll did, and the end of the stream. */
static void levels(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_BACKLOG_BYTES, 1000});
    replcore_cursor *cursor;
    char read[8];
    size_t copied;
    int descriptor, same;
    OK(replcore_cursor_attach_at_end(buffer, &cursor, &error));
    GIVES(AGAIN, replcore_cursor_poll(cursor, NULL, &error));
    OK(replcore_cursor_descriptor(cursor, &descriptor, &error));
    OK(replcore_cursor_descriptor(cursor, &same, &error));
    CHECK(descriptor == same && is_raised(descriptor)); /* before the first poll with it */
    for (int i = 0; i < 3; i++) {
        GIVES(AGAIN, replcore_cursor_poll(cursor, NULL, &error));
        CHECK(!is_raised(descriptor));
        OK(replcore_buffer_append(buffer, "ab", 2, NULL, &error));
        CHECK(is_raised(descriptor));
        OK(replcore_cursor_poll(cursor, NULL, &error));
        OK(replcore_cursor_copy(cursor, read, 1, &copied, &error));
        CHECK(is_raised(descriptor)); /* a byte is left */
        OK(replcore_cursor_copy(cursor, read, sizeof read, &copied, &error));
        CHECK(copied == 1 && is_raised(descriptor)); /* nobody has looked since */
    }
    GIVES(AGAIN, replcore_cursor_poll(cursor, NULL, &error));
    OK(replcore_buffer_free(buffer));
    CHECK(is_raised(descriptor));
    GIVES(ENDED, replcore_cursor_poll(cursor, NULL, &error));
    CHECK(is_raised(descriptor));
    OK(replcore_cursor_free(cursor));
}

static replcore_cursor *second;

static void polls_the_second(void *woken) {
    CHECK(replcore_cursor_poll(second, NULL, &error) == REPLCORE_STATUS_OK);
    ++*(int *)woken;
}

/* A cursor that finds something before it was woken is not woken any more: its descriptor is raised all the same. */
static void found_before_woken(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_BACKLOG_BYTES, 1000});
    replcore_cursor *first;
    int woken = 0, descriptor;
    OK(replcore_cursor_attach_at_end(buffer, &second, &error));
    OK(replcore_cursor_attach_at_end(buffer, &first, &error)); /* the last one attached is woken first */
    OK(replcore_cursor_set_wake(first, polls_the_second, NULL, &woken, &error));
    OK(replcore_cursor_descriptor(second, &descriptor, &error));
    GIVES(AGAIN, replcore_cursor_poll(second, NULL, &error));
    GIVES(AGAIN, replcore_cursor_poll(first, NULL, &error));
    CHECK(!is_raised(descriptor));
    OK(replcore_buffer_append(buffer, "ab", 2, NULL, &error));
    CHECK(woken == 1 && is_raised(descriptor));
    OK(replcore_cursor_free(first));
    OK(replcore_cursor_free(second));
    OK(replcore_buffer_free(buffer));
}

static atomic_size_t total;

/* Appends as soon as everything before was read: the reader is just about to go to sleep then. */
static void *write_frames(void *buffer) {
    replcore_writer *writer;
    replcore_range range;
    OK(replcore_writer_new(buffer, &writer, &error));
    for (size_t i = 0; i < frames_written; i++) {
        OK(replcore_writer_append(writer, "0123456789", 10, &range, &error));
        for (int spins = 0; atomic_load(&total) < range.end; spins++) {
            if (spins > 10000) sched_yield();
        }
        for (volatile size_t pause = i % 200 * 4; pause > 0; pause--) {} /* so that each step of its is met */
    }
    OK(replcore_writer_free(writer));
    return NULL;
}

static void count(void *context) {
    atomic_fetch_add((atomic_int *)context, 1);
}

/* Reads everything that another thread writes, asleep whenever there is nothing: a wake-up that is lost ends in a time-out. */
static void wake_ups(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_SEGMENT_FRAMES, 8});
    replcore_cursor *cursor;
    pthread_t thread;
    atomic_int woken = 0;
    size_t readable, all = frames_written * 10;
    int descriptor;
    OK(replcore_cursor_attach_at_end(buffer, &cursor, &error));
    OK(replcore_cursor_set_wake(cursor, count, NULL, &woken, &error));
    OK(replcore_cursor_descriptor(cursor, &descriptor, &error));
    GIVES(AGAIN, replcore_cursor_poll(cursor, NULL, &error));
    CHECK(pthread_create(&thread, NULL, write_frames, buffer) == 0);
    while (atomic_load(&total) < all) {
        replcore_status status = replcore_cursor_poll(cursor, &readable, &error);
        if (status == REPLCORE_STATUS_AGAIN) {
            struct pollfd wait = {.fd = descriptor, .events = POLLIN};
            CHECK(poll(&wait, 1, WAIT_MS) == 1);
            continue;
        }
        CHECK(status == REPLCORE_STATUS_OK);
        OK(replcore_cursor_advance(cursor, readable, &error));
        atomic_fetch_add(&total, readable);
    }
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(woken > 0 && atomic_load(&total) == all);
    OK(replcore_cursor_free(cursor));
    OK(replcore_buffer_free(buffer));
}

static void resync(void) {
    unsigned char random[REPLCORE_ID_RANDOM_BYTES] = {0xab};
    replcore_id id, parsed;
    replcore_history history;
    replcore_psync_answer answer;
    replcore_replica replica = {0};
    replcore_replconf_outcome said;
    char line[REPLCORE_LINE_BYTES];
    size_t len;
    OK(replcore_id_from_random(random, &id, &error));
    CHECK(strlen(id.text) == 40 && strncmp(id.text, "ab00", 4) == 0);
    OK(replcore_id_parse("AB00000000000000000000000000000000000000", 40, &parsed, &error));
    CHECK(memcmp(&id, &parsed, sizeof id) == 0);
    GIVES(MALFORMED, replcore_id_parse("ab", 2, &parsed, &error));
    OK(replcore_history_new(&id, &history, &error));
    random[0] = 0xcd;
    OK(replcore_id_from_random(random, &parsed, &error));
    OK(replcore_history_shift(&history, &parsed, 150, &error));
    struct iovec ask[] = {text(id.text), text("151")};
    OK(replcore_psync(&history, 100, 200, true, ask, 2, &answer, &error));
    CHECK(answer.partial && answer.attach_offset == 150 && answer.line_bytes == strlen(answer.line));
    CHECK(strncmp(answer.line, "+CONTINUE cd00", 14) == 0);
    ask[1] = text("152");
    OK(replcore_psync(&history, 100, 200, false, ask, 2, &answer, &error));
    CHECK(!answer.partial && answer.failed_attempt && strstr(answer.reason, "150") == NULL && strstr(answer.reason, "151"));
    ask[1] = text("first");
    GIVES(HANDSHAKE, replcore_psync(&history, 100, 200, false, ask, 2, &answer, &error));
    CHECK(strcmp(error.message, "ERR value is not an integer or out of range") == 0);
    OK(replcore_full_resync_line(&history, UINT64_MAX, line, &len, &error));
    CHECK(len == strlen(line) && strstr(line, " 18446744073709551615\r\n"));
    struct iovec facts[] = {text("capa"), text("psync2"), text("version"), text("9.1.2"), text("ip-address"), text("replica.one")};
    OK(replcore_replconf(&replica, facts, 6, &said, &error));
    CHECK(said.kind == REPLCORE_REPLCONF_KIND_FACTS && replica.psync2 && !replica.eof && replica.snapshot_version == 80);
    CHECK(strcmp(replica.address, "replica.one") == 0);
    struct iovec ack[] = {text("ack"), text("42"), text("fack"), text("41")};
    OK(replcore_replconf(&replica, ack, 4, &said, &error));
    CHECK(said.kind == REPLCORE_REPLCONF_KIND_ACK && said.applied == 42 && said.fsynced == 41);
    CHECK(strcmp(replica.address, "replica.one") == 0 && replica.version[1] == 1);
    struct iovec bad[] = {text("capa"), text("eof"), text("colour"), text("red")};
    GIVES(HANDSHAKE, replcore_replconf(&replica, bad, 4, &said, &error));
    CHECK(replica.eof && strcmp(error.message, "ERR Unrecognized REPLCONF option: colour") == 0);
}

static void acknowledgements(void) {
    replcore_acks *acks;
    replcore_ack ack;
    bool rose;
    size_t acked;
    OK(replcore_acks_new(&acks, &error));
    OK(replcore_acks_insert(acks, 7, 1000, &error));
    OK(replcore_acks_set_online(acks, 7, 1000, &error));
    OK(replcore_acks_acknowledge(acks, 7, 500, REPLCORE_UNKNOWN_OFFSET, 300, 2000, &rose, &error));
    CHECK(rose);
    OK(replcore_acks_acknowledge(acks, 7, 200, 10, 300, 2500, &rose, &error));
    CHECK(!rose);
    OK(replcore_acks_get(acks, 7, &ack, &error));
    CHECK(ack.known && ack.online && ack.acked_offset == 300 && ack.fsynced_offset == 10 && ack.last_ack_ms == 2500);
    OK(replcore_acks_count(acks, 300, &acked, &error));
    CHECK(acked == 1);
    OK(replcore_acks_count_good(acks, 3600, 1000, &acked, &error));
    CHECK(acked == 0);
    OK(replcore_acks_remove(acks, 7, &error));
    OK(replcore_acks_get(acks, 7, &ack, &error));
    CHECK(!ack.known);
    OK(replcore_acks_free(acks));
}

/* What is in the stream after these effects, from `offset` on. */
static void expect(replcore_buffer *buffer, uint64_t offset, const char *expected) {
    replcore_cursor *cursor;
    char read[512];
    size_t copied;
    OK(replcore_cursor_attach(buffer, offset, &cursor, &error));
    OK(replcore_cursor_poll(cursor, NULL, &error));
    OK(replcore_cursor_copy(cursor, read, sizeof read - 1, &copied, &error));
    read[copied] = 0;
    if (strcmp(read, expected)) fprintf(stderr, "in the stream: %s\n", read);
    CHECK(strcmp(read, expected) == 0);
    OK(replcore_cursor_free(cursor));
}

static void effects(void) {
    replcore_buffer *buffer = make((replcore_setting_value){REPLCORE_SETTING_BACKLOG_BYTES, 10000});
    replcore_writer *writer;
    replcore_unit *unit;
    replcore_range range;
    OK(replcore_writer_new(buffer, &writer, &error));
    OK(replcore_unit_new(&unit, &error));
    struct iovec set[] = {text("SET"), text("k"), text("v"), text("EX"), text("9")};
    replcore_outcome_detail did = {.kind = REPLCORE_OUTCOME_DEADLINE, .deadline_ms = 77};
    OK(replcore_unit_delete(unit, 3, "old", 3, false, &error));
    OK(replcore_unit_rewrite(unit, 3, set, 5, &did, &error));
    did.kind = REPLCORE_OUTCOME_PERSISTED;
    GIVES(MISMATCH, replcore_unit_rewrite(unit, 3, set, 5, &did, &error));
    did.kind = 6;
    GIVES(OUT_OF_BOUNDS, replcore_unit_rewrite(unit, 3, set, 5, &did, &error));
    GIVES(OUT_OF_BOUNDS, replcore_unit_push(unit, 3, set, 0, &error));
    OK(replcore_frame_begin(writer, &error));
    GIVES(FRAME_STATE, replcore_unit_publish(unit, writer, &range, &error));
    OK(replcore_frame_abort(writer, &error));
    OK(replcore_unit_publish(unit, writer, &range, &error));
    expect(buffer, range.start,
           "*1\r\n$5\r\nMULTI\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*2\r\n$6\r\nUNLINK\r\n$3\r\nold\r\n"
           "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$4\r\nPXAT\r\n$2\r\n77\r\n*1\r\n$4\r\nEXEC\r\n");
    struct iovec hexpire[] = {text("HEXPIRE"), text("h"), text("5"), text("FIELDS"), text("2"), text("live"), text("dead")};
    size_t live[] = {5}, dead[] = {6};
    did = (replcore_outcome_detail){.kind = REPLCORE_OUTCOME_DEADLINE, .deadline_ms = 88, .changed = live, .changed_count = 1};
    did.dead = dead, did.dead_count = 1;
    OK(replcore_unit_rewrite(unit, 3, hexpire, 7, &did, &error));
    OK(replcore_unit_publish(unit, writer, &range, &error));
    expect(buffer, range.start, "*6\r\n$10\r\nHPEXPIREAT\r\n$1\r\nh\r\n$2\r\n88\r\n$6\r\nFIELDS\r\n$1\r\n1\r\n$4\r\nlive\r\n");
    size_t beyond[] = {7};
    did.changed = beyond;
    GIVES(MISMATCH, replcore_unit_rewrite(unit, 3, hexpire, 7, &did, &error));
    struct iovec incr[] = {text("INCRBYFLOAT"), text("k"), text("0.5")};
    did = (replcore_outcome_detail){.kind = REPLCORE_OUTCOME_DONE, .value = text("1.5")};
    OK(replcore_unit_rewrite(unit, 3, incr, 3, &did, &error));
    OK(replcore_unit_publish(unit, writer, &range, &error));
    expect(buffer, range.start, "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n1.5\r\n$7\r\nKEEPTTL\r\n");
    OK(replcore_unit_push(unit, 3, incr, 3, &error));
    OK(replcore_unit_clear(unit, &error));
    OK(replcore_unit_publish(unit, writer, &range, &error)); /* empty: nothing is published */
    CHECK(range.start == range.end);
    OK(replcore_unit_free(unit));
    OK(replcore_writer_free(writer));
    OK(replcore_buffer_free(buffer));
}

int main(int argc, char **argv) {
    if (argc > 1) frames_written = strtoul(argv[1], NULL, 10);
    nulls_and_numbers();
    frames();
    busy_ended_evicted();
    levels();
    found_before_woken();
    wake_ups();
    resync();
    acknowledgements();
    effects();
    puts("done");
    return 0;
}
