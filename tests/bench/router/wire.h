// What the benchmark's load generator and its backend share: connections that send a head and filler, and read heads
// and bodies. Included once by each of the two programs, which say what a head and a whole message mean to them.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 4096, FILLER_BYTES = 1 << 20, EVENTS = 256 };

typedef struct {
    int fd;
    bool listens;        // backend: accepts others
    bool echoes;         // upgraded: bytes come back as they went
    bool wants_out;      // EPOLLOUT is asked for
    bool busy;           // bytes may come: always at the backend, while a request is on its way at the generator
    bool closes;         // generator: the answer said that the connection ends
    uint64_t since;      // generator: when the request should have been sent, ns
    size_t answer;       // backend: bytes to answer with
    size_t body;         // bytes of the incoming body that are still to come
    size_t head, sent;   // outgoing head: length, how much of it went
    size_t filler;       // outgoing bytes after the head
    size_t have;         // incoming bytes in `in`
    char out[1024];
    char in[HEAD_BYTES];
} Connection;

static char filler[FILLER_BYTES];
static int poller;

static void fail(const char *what) {
    perror(what);
    exit(2);
}

// The generator and the backend share a core. In turns of the usual length, milliseconds, each would often keep the other
// waiting, and requests would arrive in bursts that the proxy has no part in. Linux 6.12; sched_setattr(2).
static void take_short_turns(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } turns = {.size = 48, .runtime = 100000};
    syscall(SYS_sched_setattr, 0, &turns, 0);  // without it the bench is only noisier
}

// To be called first: as many descriptors as may be, something to send, a poller.
static void start(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    memset(filler, 'x', sizeof filler);
    take_short_turns();
    if ((poller = epoll_create1(0)) < 0) fail("epoll_create1");
}

static void watch(Connection *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, operation, c->fd, &event) < 0) fail("epoll_ctl");
}

static void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// Send what is left of head and filler; the rest when there is room. False when the peer is gone.
static bool push(Connection *c) {
    while (c->sent < c->head || c->filler) {
        struct iovec parts[2] = {
            {c->out + c->sent, c->head - c->sent},
            {filler, c->filler < FILLER_BYTES ? c->filler : FILLER_BYTES},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = c->filler ? 2 : 1};
        ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return false;
        if (n < 0) {
            if (!c->wants_out) watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->wants_out = true;
            return true;
        }
        size_t of_head = (size_t)n < c->head - c->sent ? (size_t)n : c->head - c->sent;
        c->sent += of_head;
        c->filler -= (size_t)n - of_head;
    }
    if (c->wants_out) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    c->wants_out = false;
    return true;
}

// The value of a field in the head at `at`, which ends with an empty line; NULL when it has none.
static const char *field(const char *at, const char *name) {
    size_t length = strlen(name);
    while ((at = strchr(at, '\n')) != NULL && at[1] != '\r') {
        at++;
        if ((*at | 32) == *name && !strncasecmp(at, name, length)) {
            for (at += length; *at == ' '; at++) {}
            return at;
        }
    }
    return NULL;
}

// What each program defines; false when the connection is of no use any more.
static bool receive_head(Connection *c, const char *head);  // sets `body`
static bool received(Connection *c);                        // a message is whole

// Read until a message is whole or nothing more is there. False as above.
static bool pull(Connection *c) {
    for (;;) {
        if (c->body) {
            ssize_t n = recv(c->fd, NULL, c->body, MSG_TRUNC);  // TCP throws these bytes away without a copy
            if (n <= 0) return n < 0 && errno == EAGAIN;
            if ((c->body -= (size_t)n) == 0) return received(c);
            continue;
        }
        ssize_t n = recv(c->fd, c->in + c->have, sizeof c->in - 1 - c->have, 0);
        if (n <= 0) return n < 0 && errno == EAGAIN;
        if (!c->busy) return false;  // unasked
        if (c->echoes) return send(c->fd, c->in, (size_t)n, MSG_NOSIGNAL) == n;
        c->have += (size_t)n;
        c->in[c->have] = 0;
        char *end = memmem(c->in, c->have, "\r\n\r\n", 4);
        if (end == NULL && c->have == sizeof c->in - 1) return false;
        if (end == NULL) continue;
        if (!receive_head(c, c->in)) return false;
        size_t rest = c->have - (size_t)(end + 4 - c->in);
        if (rest > c->body) return false;  // nobody here sends ahead
        c->have = 0;
        if ((c->body -= rest) == 0) return received(c);
    }
}

// What an event on a connection does. False as above.
static bool handle(Connection *c, uint32_t events) {
    if (events & EPOLLOUT && !push(c)) return false;
    return !(events & ~(uint32_t)EPOLLOUT) || pull(c);
}
