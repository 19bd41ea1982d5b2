// The cheap backend behind the proxies of the router benchmark: answers /N with N bytes, swallows bodies of requests,
// echoes after an Upgrade. `backend PORT...` prints "ready" and ends with its signal.
#include "wire.h"

static bool receive_head(Connection *c, const char *head) {
    const char *length = field(head, "content-length:");
    c->body = length ? strtoul(length, NULL, 10) : 0;
    if (field(head, "transfer-encoding:")) return false;  // nothing here needs it
    const char *target = strchr(head, '/');
    c->answer = 0;
    c->echoes = field(head, "upgrade:") != NULL;
    if (c->echoes) {
        c->head = (size_t)sprintf(c->out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                          "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
        return true;
    }
    c->answer = target ? strtoul(target + 1, NULL, 10) : 0;
    const char *tag = target ? strstr(target, "?id=") : NULL;
    int size = tag ? (int)strcspn(tag + 4, " \r") : 0;
    c->head = (size_t)snprintf(c->out, sizeof c->out,
                               "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                               "Content-Type: text/plain\r\nContent-Length: %zu\r\n%s%.*s%sConnection: keep-alive\r\n\r\n",
                               c->answer, size ? "ETag: \"" : "", size < 64 ? size : 64, size ? tag + 4 : "",
                               size ? "\"\r\n" : "");
    return true;
}

static bool received(Connection *c) {
    c->sent = 0;
    c->filler = c->answer;
    return push(c);
}

static void listen_on(int port) {
    Connection *c = calloc(1, sizeof *c);
    int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->listens = true;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(c->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(c->fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(c->fd, 4096) < 0) fail("listen");
    watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void accept_all(const Connection *listener) {
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        Connection *c = calloc(1, sizeof *c);
        c->busy = true;
        c->fd = fd;
        no_delay(fd);
        watch(c, EPOLL_CTL_ADD, EPOLLIN);
    }
}

int main(int count, char **ports) {
    start();
    for (int i = 1; i < count; i++) listen_on(atoi(ports[i]));
    puts("ready");
    fflush(stdout);
    struct epoll_event events[EVENTS];
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            Connection *c = events[i].data.ptr;
            if (c->listens) {
                accept_all(c);
            } else if (!handle(c, events[i].events)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
