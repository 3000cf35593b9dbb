#include "http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REPLY_MAX = 128 << 20, PATIENCE_MS = 20000 };

int client_connect(int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

bool client_send(int fd, const void *data, size_t len)
{
    const char *p = data;
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

bool client_say(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

/* -1 when nothing came in time, 0 at the end of the stream. */
static ssize_t receive(int fd, void *data, size_t len, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return -1;
    ssize_t n = recv(fd, data, len, 0);
    return n < 0 ? 0 : n;
}

/* Looks first, so that nothing behind the head is taken. */
static bool read_head(int fd, struct reply *reply)
{
    char part[8192];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, PATIENCE_MS) > 0) {
        ssize_t n = recv(fd, part, sizeof part, MSG_PEEK);
        if (n <= 0)
            return false;
        size_t before = reply->head.len;
        dw_buf_put(&reply->head, part, (size_t)n);
        char *end = memmem(reply->head.data, reply->head.len, "\r\n\r\n", 4);
        size_t len = end ? (size_t)(end + 4 - (char *)reply->head.data) : reply->head.len;
        assert_int_equal(recv(fd, part, len - before, 0), len - before);
        reply->head.len = len;
        reply->head.data[len] = 0;
        if (end)
            return true;
    }
    return false;
}

struct reply client_read(int fd, bool to_head)
{
    struct reply reply = {0};
    dw_buf_init(&reply.head, 65536);
    dw_buf_init(&reply.body, REPLY_MAX);
    do {
        dw_buf_clear(&reply.head);
        if (!read_head(fd, &reply))
            return reply;
        reply.status = atoi(dw_buf_text(&reply.head) + strlen("HTTP/1.1 "));
    } while (reply.status == 100);
    size_t length = (size_t)atoll(reply_header(&reply, "Content-Length"));
    while (!to_head && reply.body.len < length) {
        char part[65536];
        size_t want = length - reply.body.len;
        ssize_t n = receive(fd, part, want < sizeof part ? want : sizeof part, PATIENCE_MS);
        if (n <= 0)
            break;
        dw_buf_put(&reply.body, part, (size_t)n);
    }
    return reply;
}

bool client_sees_end(int fd, int timeout_ms)
{
    char rest[4096]; /* libmicrohttpd sends the head of some refusals of its own twice */
    ssize_t n;
    while ((n = receive(fd, rest, sizeof rest, timeout_ms)) > 0)
        ;
    return n == 0;
}

struct reply client_ask(int port, const char *request)
{
    int fd = client_connect(port);
    client_say(fd, request);
    struct reply reply = client_read(fd, strncmp(request, "HEAD ", 5) == 0);
    reply.closed = client_sees_end(fd, reply.status ? 100 : 0);
    close(fd);
    return reply;
}

void reply_free(struct reply *reply)
{
    dw_buf_free(&reply->head);
    dw_buf_free(&reply->body);
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static _Thread_local char value[8192];
    size_t name_len = strlen(name), found = 0;
    const char *line = (const char *)reply->head.data;
    *value = 0;
    while (line && (line = strstr(line, "\r\n"))) {
        line += 2;
        if (strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
            continue;
        size_t len = strcspn(line, "\r");
        snprintf(value, sizeof value, "%.*s", (int)(len - name_len - 2), line + name_len + 2);
        found++;
    }
    assert_true(found <= 1);
    return value;
}
