/* A primary in C: strings with deadlines, full and partial resync of Valkey's replicas, acknowledgements.
 *
 *   cargo rustc --release --lib --crate-type staticlib --no-default-features --features capi
 *   cc -std=c11 -Iinclude examples/primary.c target/release/libreplcore.a -lpthread -ldl -lm -o primary
 *
 * It prints "port N" and takes a command a line from its standard input, answering each with a line:
 *
 *   SET key value [PX milliseconds]    DEL key...    the offset behind it
 *   acked     the number of replicas that have applied everything
 *   cut       closes every replica's connection
 *   quit      ends it, as does the end of the input
 */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "replcore.h"

enum { KEYS = 64, REPLICAS = 8, ARGS = 16, INPUT_BYTES = 4096, VECTORS = 16 };

/* One key and its value; free if there is no key. */
static struct { char *key, *value; uint64_t deadline_ms; } store[KEYS];
/* One replica; free if its socket is -1. Its cursor is null until it is attached. */
static struct replica {
    int socket, wake, stalled; /* stalled: the socket takes no more, so room is waited for and not data */
    replcore_cursor *cursor;
    replcore_replica said;
    char input[INPUT_BYTES + 1];
    size_t held;
} replicas[REPLICAS];
static replcore_buffer *buffer;
static replcore_writer *writer;
static replcore_unit *unit;
static replcore_acks *acks;
static replcore_history history;
static replcore_error error;

/* What cannot fail here, unless the program is wrong. */
static void must(replcore_status status, const char *what) {
    if (status == REPLCORE_STATUS_OK) return;
    fprintf(stderr, "%s: %s (%s)\n", what, error.message, replcore_strerror(status));
    exit(1);
}
#define MUST(call) must(call, #call)

static uint64_t now_ms(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int is(struct iovec word, const char *text) {
    return word.iov_len == strlen(text) && strncasecmp(word.iov_base, text, word.iov_len) == 0;
}

static void close_replica(struct replica *r) {
    if (r->socket < 0) return;
    close(r->socket);
    MUST(replcore_acks_remove(acks, (uint64_t)(r - replicas), &error));
    MUST(replcore_cursor_free(r->cursor));
    memset(r, 0, sizeof *r);
    r->socket = r->wake = -1;
}

/* Answers are short, and so is this snapshot: a server would not wait here. */
static int answer(struct replica *r, const void *bytes, size_t len) {
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(r->socket, (const char *)bytes + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0) return -1;
        sent += (size_t)n;
    }
    return 0;
}

static size_t put_string(unsigned char *to, const char *text) {
    size_t len = strlen(text);
    for (int i = 0; i < 4; i++) to[1 + i] = (unsigned char)(len >> (24 - 8 * i));
    to[0] = 0x80; /* a length of 32 bits follows */
    memcpy(to + 5, text, len);
    return 5 + len;
}

/* The store as an RDB file of version 10, behind its length; the checksum 0 is none. */
static int send_snapshot(struct replica *r) {
    static unsigned char rdb[32 + KEYS * (2 * INPUT_BYTES + 32)] = "REDIS0010\xfe"; /* then database 0 */
    size_t len = 11;
    for (int i = 0; i < KEYS; i++) {
        if (!store[i].key) continue;
        if (store[i].deadline_ms) {
            rdb[len++] = 0xfc;
            for (int b = 0; b < 8; b++) rdb[len++] = (unsigned char)(store[i].deadline_ms >> (8 * b));
        }
        rdb[len++] = 0; /* a string */
        len += put_string(rdb + len, store[i].key);
        len += put_string(rdb + len, store[i].value);
    }
    rdb[len++] = 0xff;
    memset(rdb + len, 0, 8);
    char head[32];
    int head_len = snprintf(head, sizeof head, "$%zu\r\n", len + 8);
    return answer(r, head, (size_t)head_len) || answer(r, rdb, len + 8) ? -1 : 0;
}

/* Puts a replica on the stream: where it was, or behind a snapshot that is cut here and now, between two commands. */
static int psync(struct replica *r, struct iovec *argv, size_t argc) {
    replcore_psync_answer decided;
    replcore_range range;
    char line[REPLCORE_LINE_BYTES];
    size_t len;
    MUST(replcore_buffer_range(buffer, &range, &error));
    if (replcore_psync(&history, range.start, range.end, r->said.psync2, argv, argc, &decided, &error)) return -1;
    if (decided.partial && !replcore_cursor_attach(buffer, decided.attach_offset, &r->cursor, &error)) {
        if (answer(r, decided.line, decided.line_bytes)) return -1;
    } else {
        MUST(replcore_cursor_attach_at_end(buffer, &r->cursor, &error));
        MUST(replcore_cursor_position(r->cursor, &range.end, NULL, &error));
        MUST(replcore_full_resync_line(&history, range.end, line, &len, &error));
        if (answer(r, line, len) || send_snapshot(r)) return -1;
        MUST(replcore_frame_begin(writer, &error)); /* whoever loads a snapshot has selected nothing */
        MUST(replcore_frame_forget_context(writer, &error));
        MUST(replcore_frame_publish(writer, NULL, &error));
    }
    MUST(replcore_cursor_descriptor(r->cursor, &r->wake, &error));
    MUST(replcore_acks_set_online(acks, (uint64_t)(r - replicas), now_ms(CLOCK_MONOTONIC), &error));
    return 0;
}

/* Obeys one command of a replica. */
static int obey(struct replica *r, struct iovec *argv, size_t argc) {
    replcore_replconf_outcome said;
    replcore_range range;
    if (is(argv[0], "PING")) return answer(r, "+PONG\r\n", 7);
    if (is(argv[0], "PSYNC") && !r->cursor) return psync(r, argv + 1, argc - 1);
    if (!is(argv[0], "REPLCONF")) return -1;
    if (replcore_replconf(&r->said, argv + 1, argc - 1, &said, &error)) {
        char line[REPLCORE_MESSAGE_BYTES + 4];
        return answer(r, line, (size_t)snprintf(line, sizeof line, "-%s\r\n", error.message));
    }
    if (said.kind == REPLCORE_REPLCONF_KIND_FACTS) return answer(r, "+OK\r\n", 5);
    MUST(replcore_buffer_range(buffer, &range, &error));
    MUST(replcore_acks_acknowledge(acks, (uint64_t)(r - replicas), said.applied, said.fsynced, range.end,
                                   now_ms(CLOCK_MONOTONIC), NULL, &error));
    return 0;
}

/* A number after `kind`, up to CRLF; null if it is not whole. */
static char *number(char *at, char *end, char kind, size_t *value) {
    char *line = memchr(at, '\n', (size_t)(end - at));
    if (!line || *at != kind) return NULL;
    *value = strtoul(at + 1, NULL, 10);
    return line + 1;
}

/* Reads what a replica says, and obeys each command that is whole: "*2 $4 PING ..." with CRLF between. */
static int hear(struct replica *r) {
    ssize_t n = recv(r->socket, r->input + r->held, INPUT_BYTES - r->held, 0);
    if (n <= 0) return -1;
    r->held += (size_t)n;
    for (;;) {
        struct iovec argv[ARGS];
        size_t argc, len;
        char *end = r->input + r->held, *at = r->held ? number(r->input, end, '*', &argc) : NULL;
        if (at && (argc < 1 || argc > ARGS)) return -1;
        for (size_t i = 0; at && i < argc; i++) {
            at = at < end ? number(at, end, '$', &len) : NULL;
            if (!at || len > INPUT_BYTES || (size_t)(end - at) < len + 2) at = NULL;
            else argv[i] = (struct iovec){at, len}, at += len + 2;
        }
        if (!at) return r->held < INPUT_BYTES ? 0 : -1;
        if (obey(r, argv, argc)) return -1;
        memmove(r->input, at, (size_t)(end - at));
        r->held = (size_t)(end - at);
    }
}

/* Sends the stream from where its bytes are, until there is no more of it or no more room. */
static int feed(struct replica *r) {
    replcore_status status;
    r->stalled = 0;
    while ((status = replcore_cursor_poll(r->cursor, NULL, &error)) == REPLCORE_STATUS_OK) {
        struct iovec vectors[VECTORS];
        struct msghdr message = {.msg_iov = vectors};
        size_t used;
        MUST(replcore_cursor_vectors(r->cursor, vectors, VECTORS, &used, &error));
        message.msg_iovlen = used;
        ssize_t n = sendmsg(r->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            r->stalled = 1;
            return 0;
        }
        if (n < 0) return -1;
        MUST(replcore_cursor_advance(r->cursor, (size_t)n, &error));
    }
    return status == REPLCORE_STATUS_AGAIN ? 0 : -1; /* evicted: it comes back for a snapshot */
}

/* The place of a key; a free one if it is not there, and KEYS if there is none. */
static int find(const char *key) {
    int at = KEYS;
    for (int i = 0; i < KEYS; i++) {
        if (store[i].key && !strcmp(store[i].key, key)) return i;
        if (!store[i].key) at = i;
    }
    return at;
}

static int forget(int at) {
    if (at == KEYS || !store[at].key) return 0;
    free(store[at].key), free(store[at].value);
    memset(&store[at], 0, sizeof store[at]);
    return 1;
}

/* Executes a command, says what it did, and publishes that. Single-threaded, so nothing comes between. */
static void execute(char **words, struct iovec *argv, size_t argc) {
    replcore_outcome_detail did = {.kind = REPLCORE_OUTCOME_DONE};
    replcore_range range;
    if (is(argv[0], "SET") && (argc == 3 || (argc == 5 && is(argv[3], "PX")))) {
        int at = (forget(find(words[1])), find(words[1]));
        if (at == KEYS) {
            puts("error: full");
            return;
        }
        store[at].key = strdup(words[1]), store[at].value = strdup(words[2]);
        if (argc == 5) {
            did.kind = REPLCORE_OUTCOME_DEADLINE;
            did.deadline_ms = store[at].deadline_ms = now_ms(CLOCK_REALTIME) + strtoull(words[4], NULL, 10);
        }
    } else if (is(argv[0], "DEL") && argc > 1) {
        for (size_t i = 1; i < argc; i++) did.deleted += (size_t)forget(find(words[i]));
    } else {
        puts("error: SET key value [PX ms], DEL key..., acked, cut, quit");
        return;
    }
    MUST(replcore_unit_rewrite(unit, 0, argv, argc, &did, &error)); /* PX becomes PXAT */
    MUST(replcore_unit_publish(unit, writer, &range, &error));
    printf("%" PRIu64 "\n", range.end);
}

/* Does what a line says; 0 ends the program. */
static int command(char *line) {
    char *words[ARGS], *rest = NULL;
    struct iovec argv[ARGS];
    size_t argc = 0, count;
    replcore_range range;
    for (char *word = strtok_r(line, " ", &rest); word && argc < ARGS; word = strtok_r(NULL, " ", &rest))
        words[argc] = word, argv[argc++] = (struct iovec){word, strlen(word)};
    if (argc == 0) return 1;
    if (is(argv[0], "quit")) return 0;
    if (is(argv[0], "cut")) {
        for (int i = 0; i < REPLICAS; i++) close_replica(&replicas[i]);
        puts("cut");
    } else if (is(argv[0], "acked")) {
        MUST(replcore_buffer_range(buffer, &range, &error));
        MUST(replcore_acks_count(acks, range.end, &count, &error));
        printf("%zu\n", count);
    } else {
        execute(words, argv, argc);
    }
    return 1;
}

/* Reads the standard input; 0 at its end. */
static int input(void) {
    static char held[INPUT_BYTES + 1];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, held + len, INPUT_BYTES - len);
    if (n <= 0) return 0;
    len += (size_t)n;
    for (char *end; (end = memchr(held, '\n', len));) {
        *end = 0;
        if (!command(held)) return 0;
        len -= (size_t)(end + 1 - held);
        memmove(held, end + 1, len);
    }
    return len < INPUT_BYTES;
}

static void welcome(int listener) {
    int fd = accept(listener, NULL, NULL), at = 0;
    while (at < REPLICAS && replicas[at].socket >= 0) at++;
    if (fd >= 0 && at == REPLICAS) close(fd);
    if (fd < 0 || at == REPLICAS) return;
    replicas[at].socket = fd;
    MUST(replcore_acks_insert(acks, (uint64_t)at, now_ms(CLOCK_MONOTONIC), &error));
}

/* One turn for each thing that happens; nothing is asked twice, and no clock is needed. */
static void serve(int listener) {
    for (;;) {
        struct pollfd waits[2 + 2 * REPLICAS] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
        for (int i = 0; i < REPLICAS; i++) {
            struct replica *r = &replicas[i];
            waits[2 + 2 * i] = (struct pollfd){.fd = r->socket, .events = r->stalled ? POLLIN | POLLOUT : POLLIN};
            waits[3 + 2 * i] = (struct pollfd){.fd = r->stalled ? -1 : r->wake, .events = POLLIN};
        }
        if (poll(waits, 2 + 2 * REPLICAS, -1) < 0) continue; /* a signal */
        for (int i = 0; i < REPLICAS; i++) {
            struct replica *r = &replicas[i];
            short socket = waits[2 + 2 * i].revents, wake = waits[3 + 2 * i].revents;
            if ((socket & ~POLLOUT && hear(r)) || ((wake || socket & POLLOUT) && feed(r))) close_replica(r);
        }
        if (waits[1].revents) welcome(listener);
        if (waits[0].revents && !input()) return;
    }
}

int main(void) {
    unsigned char random[REPLCORE_ID_RANDOM_BYTES];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    replcore_setting_value settings[] = {{REPLCORE_SETTING_BACKLOG_BYTES, 1 << 20}};
    replcore_id id;
    int urandom = open("/dev/urandom", O_RDONLY), listener = socket(AF_INET, SOCK_STREAM, 0);
    if (read(urandom, random, sizeof random) != sizeof random || bind(listener, (void *)&address, len) ||
        listen(listener, REPLICAS) || getsockname(listener, (void *)&address, &len))
        return perror("start"), 1;
    close(urandom);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int i = 0; i < REPLICAS; i++) replicas[i].socket = replicas[i].wake = -1;
    MUST(replcore_id_from_random(random, &id, &error));
    MUST(replcore_history_new(&id, &history, &error));
    MUST(replcore_buffer_new(settings, 1, &buffer, &error));
    MUST(replcore_writer_new(buffer, &writer, &error));
    MUST(replcore_unit_new(&unit, &error));
    MUST(replcore_acks_new(&acks, &error));
    printf("port %u\n", (unsigned)ntohs(address.sin_port));
    serve(listener);
    for (int i = 0; i < REPLICAS; i++) close_replica(&replicas[i]);
    for (int i = 0; i < KEYS; i++) forget(i);
    close(listener);
    MUST(replcore_acks_free(acks));
    MUST(replcore_unit_free(unit));
    MUST(replcore_writer_free(writer));
    MUST(replcore_buffer_free(buffer));
    return 0;
}
