// The router benchmark's load generator: one thread, one epoll, one request at a time on each connection.
//
//   load [options] ADDRESS PORT    prints "begin" after the warm-up, "end", and a line of JSON
//
//   -c N  connections (48)               -d S  seconds (2)            -w S  seconds of warm-up before (0.25)
//   -g N  bytes of each answer (20)      -u N  bytes of each upload   -e N  bytes of each echo, at most 4096
//   -v    browser-like heads, each request and each answer different
//   -n N  hosts to spread over: app00000.test ... instead of app.test
//   -i    idle: one request on each connection, the line of JSON, then hold them until standard input ends
//   -r N  requests per second whatever happens (open loop): time counts from when a request should have been sent
#include "wire.h"

enum { QUEUE = 1 << 20 };

static struct sockaddr_in target;
static char request[1024], *id_place, *salt_place, *host_place;
static size_t request_bytes, answer_bytes = 20, upload_bytes, echo_bytes;
static unsigned hosts, connections = 48;
static double rate;
static bool varied, uploads, measuring;

static uint64_t sequence, requests, errors, bytes, lost_connections;
static int bad_status;
static float *times;  // of each request, us
static size_t times_room;
static Connection **idle;
static size_t idle_count;
static uint64_t *due, due_first, due_end;  // open loop: when requests that wait for a connection should have gone

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void prepare(void) {
    static const char browser[] =
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0 (compatible; bench; +http://bench.test)\r\n"
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/png,*/*;q=0.8\r\n"
        "Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.7,de;q=0.3\r\n"
        "Cookie: session=0123456789abcdef0123456789abcdef; theme=light\r\nCache-Control: no-cache\r\n"
        "X-Salt: 0000000000000000\r\n";
    char length[64] = "";
    if (uploads) snprintf(length, sizeof length, "Content-Length: %zu\r\n", upload_bytes);
    request_bytes = (size_t)snprintf(
        request, sizeof request, "%s /%zu%s HTTP/1.1\r\nHost: %s\r\n%s%s%s\r\n", uploads ? "POST" : "GET", answer_bytes,
        varied ? "?id=0000000000000000" : "", hosts ? "app00000.test" : "app.test",
        varied ? browser : "User-Agent: bench\r\nAccept: */*\r\n", length,
        echo_bytes ? "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" : "");
    if (varied) id_place = strstr(request, "?id=") + 4, salt_place = strstr(request, "X-Salt: ") + 8;
    if (hosts) host_place = strstr(request, "Host: app") + 9;
}

static void write_hex(char *at, uint64_t value) {
    for (int i = 15; i >= 0; i--, value >>= 4) at[i] = "0123456789abcdef"[value & 15];
}

// The next request's own bytes, put into the one prepared text.
static void vary(void) {
    sequence++;
    if (varied) {
        write_hex(id_place, sequence);
        write_hex(salt_place, sequence * 0x9E3779B97F4A7C15u);
    }
    if (hosts) {
        unsigned host = (unsigned)(sequence * 7919 % hosts);
        for (int i = 4; i >= 0; i--, host /= 10) host_place[i] = (char)('0' + host % 10);
    }
}

static void open_client(Connection *c) {
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0) fail("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    no_delay(c->fd);
    c->echoes = c->wants_out = c->busy = c->closes = false;
    c->body = c->head = c->sent = c->filler = c->have = 0;
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void reopen(Connection *c) {
    close(c->fd);
    open_client(c);
}

static void ask(Connection *c, uint64_t since) {
    c->since = since;
    c->busy = true;
    c->sent = c->head = 0;
    if (c->echoes) {
        c->filler = c->body = echo_bytes;
    } else {
        vary();
        memcpy(c->out, request, request_bytes);
        c->head = request_bytes;
        c->filler = upload_bytes;
    }
    push(c);  // a peer that is gone is noticed when its end is read
}

// What a connection does when it has nothing to do.
static void next(Connection *c) {
    if (rate <= 0) ask(c, now());
    else if (due_first < due_end) ask(c, due[due_first++ % QUEUE]);
    else idle[idle_count++] = c;
}

static void keep_time(uint64_t since) {
    if (requests == times_room) {
        times_room = times_room ? 2 * times_room : 1 << 20;
        if ((times = realloc(times, times_room * sizeof *times)) == NULL) fail("realloc");
    }
    times[requests] = (float)(now() - since) / 1000;
}

static bool receive_head(Connection *c, const char *head) {
    if (field(head, "transfer-encoding:")) return false;  // nothing here needs it
    const char *length = field(head, "content-length:"), *end = field(head, "connection:");
    c->body = length ? strtoul(length, NULL, 10) : 0;
    c->closes = end && !strncasecmp(end, "close", 5);
    return true;
}

static bool received(Connection *c) {
    int status = c->echoes ? 200 : atoi(c->in + 9);
    if (echo_bytes && !c->echoes && status == 101) {
        c->echoes = true;
    } else if (status != 200 || c->filler) {
        errors++;
        bad_status = status;
    } else if (measuring) {
        keep_time(c->since);
        requests++;
        bytes += c->echoes ? echo_bytes : answer_bytes + upload_bytes;
    }
    c->busy = false;
    if (c->closes) reopen(c);
    next(c);
    return true;
}

static void lost(Connection *c) {
    bool was_busy = c->busy;
    errors += was_busy;
    lost_connections++;
    reopen(c);
    if (was_busy) next(c);  // else it is among the idle ones already
}

static void dispatch(const struct epoll_event *events, int count) {
    for (int i = 0; i < count; i++)
        if (!handle(events[i].data.ptr, events[i].events)) lost(events[i].data.ptr);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return requests ? (double)times[(size_t)((double)(requests - 1) * share)] : 0;
}

static void report(double seconds) {
    qsort(times, requests, sizeof *times, by_size);
    printf("{\"requests\":%llu,\"errors\":%llu,\"lost\":%llu,\"status\":%d,\"waiting\":%llu,\"seconds\":%.4f,"
           "\"rate\":%.1f,\"mb_s\":%.2f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n",
           (unsigned long long)requests, (unsigned long long)errors, (unsigned long long)lost_connections, bad_status,
           (unsigned long long)(due_end - due_first), seconds, (double)requests / seconds, (double)bytes / seconds / 1e6,
           percentile(0.5), percentile(0.99), percentile(1));
}

static void mark(const char *word) {
    puts(word);
    fflush(stdout);
}

// Give what is due to idle connections; returns nanoseconds until more is due.
static uint64_t send_due(uint64_t *next_due, uint64_t time) {
    uint64_t period = (uint64_t)(1e9 / rate);
    for (; *next_due <= time; *next_due += period) {
        if (idle_count) ask(idle[--idle_count], *next_due);
        else if (due_end - due_first < QUEUE) due[due_end++ % QUEUE] = *next_due;
    }
    return *next_due - time;
}

static int drive(double seconds, double warm_up) {
    Connection *all = calloc(connections, sizeof *all);
    idle = calloc(connections, sizeof(Connection *));
    due = calloc(QUEUE, sizeof *due);
    for (unsigned i = 0; i < connections; i++) open_client(&all[i]);
    for (unsigned i = 0; i < connections; i++) next(&all[i]);
    uint64_t begin = now() + (uint64_t)(warm_up * 1e9), end = begin + (uint64_t)(seconds * 1e9), next_due = now();
    struct epoll_event events[EVENTS];
    for (;;) {
        uint64_t time = now();
        if (!measuring && time >= begin) {
            measuring = true;
            errors = lost_connections = 0;
            mark("begin");
            begin = time;
        }
        if (time >= end) break;
        uint64_t wait = rate > 0 ? send_due(&next_due, time) : 50000000;
        struct timespec limit = {.tv_nsec = wait < 50000000 ? (long)wait : 50000000};
        int n = epoll_pwait2(poller, events, EVENTS, &limit, NULL);
        dispatch(events, n);
    }
    double measured = (double)(now() - begin) / 1e9;
    mark("end");
    report(measured);
    return 0;
}

static int hold(void) {
    Connection *all = calloc(connections, sizeof *all);
    idle = calloc(connections, sizeof(Connection *));
    due = calloc(1, sizeof *due);
    rate = 1;  // so that a connection that was answered stays idle
    measuring = true;
    struct epoll_event events[EVENTS];
    for (unsigned opened = 0; idle_count < connections;) {
        for (; opened < connections && opened - idle_count < 64; opened++) {
            open_client(&all[opened]);
            ask(&all[opened], now());
        }
        int n = epoll_wait(poller, events, EVENTS, 5000);
        if (n <= 0) break;
        dispatch(events, n);
    }
    report(1);
    fflush(stdout);
    alarm(0);
    char byte;
    while (read(0, &byte, 1) > 0) {}
    return 0;
}

int main(int count, char **words) {
    double seconds = 2, warm_up = 0.25;
    bool holds = false;
    for (int letter; (letter = getopt(count, words, "c:d:w:g:u:e:vn:ir:")) != -1;) {
        if (letter == 'c') connections = (unsigned)atoi(optarg);
        else if (letter == 'd') seconds = atof(optarg);
        else if (letter == 'w') warm_up = atof(optarg);
        else if (letter == 'g') answer_bytes = strtoul(optarg, NULL, 10);
        else if (letter == 'u') uploads = true, upload_bytes = strtoul(optarg, NULL, 10);
        else if (letter == 'e') echo_bytes = strtoul(optarg, NULL, 10);
        else if (letter == 'v') varied = true;
        else if (letter == 'n') hosts = (unsigned)atoi(optarg);
        else if (letter == 'i') holds = true;
        else if (letter == 'r') rate = atof(optarg);
        else return 2;
    }
    if (optind != count - 2) {
        fputs("usage: load [options] ADDRESS PORT\n", stderr);
        return 2;
    }
    alarm((unsigned)(seconds + warm_up) + 60);  // whatever a proxy does, this ends
    start();
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)atoi(words[count - 1]));
    inet_pton(AF_INET, words[count - 2], &target.sin_addr);
    prepare();
    return holds ? hold() : drive(seconds, warm_up);
}
