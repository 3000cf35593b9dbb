#include "curve.h"

#include "rate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MORE = 1, /* of what is in a box */
    COMMAND = 2,
    LARGE = 2, /* of a frame of ZMTP */
    COMMAND_FRAME = 4,
    GREETING = 64,
    MAC = crypto_box_MACBYTES,
    NONCE = crypto_box_NONCEBYTES,
    MESSAGE = 8 + 8, /* "\7MESSAGE" and a short nonce */
};

/* ---- boxes ---- */

static void nonce_of(uint8_t out[NONCE], const char *prefix, const void *rest, size_t rest_len)
{
    memcpy(out, prefix, NONCE - rest_len);
    memcpy(out + NONCE - rest_len, rest, rest_len);
}

static void next_number(struct curve *c, uint8_t out[8])
{
    c->number++;
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(c->number >> (56 - 8 * i));
}

static size_t put_head(uint8_t *out, uint8_t flags, size_t len)
{
    if (len < 256) {
        out[0] = flags;
        out[1] = (uint8_t)len;
        return 2;
    }
    out[0] = flags | LARGE;
    for (int i = 0; i < 8; i++)
        out[1 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    return 9;
}

/* ---- the socket ---- */

static void write_all(struct curve *c, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            rate_fail("send");
        if (n < 0)
            poll(&(struct pollfd){.fd = c->fd, .events = POLLOUT}, 1, -1);
        else
            data += n, len -= (size_t)n;
    }
}

static void read_all(struct curve *c, uint8_t *out, size_t len)
{
    while (len) {
        ssize_t n = recv(c->fd, out, len, 0);
        if (n <= 0)
            rate_fail("the broker does not want us");
        out += n, len -= (size_t)n;
    }
}

static size_t read_frame(struct curve *c, uint8_t *out, size_t room)
{
    uint8_t head[2];
    read_all(c, head, 2);
    if (head[0] & LARGE || head[1] > room)
        rate_fail("a long frame in the handshake");
    read_all(c, out, head[1]);
    return head[1];
}

static void write_frame(struct curve *c, const uint8_t *body, size_t len)
{
    uint8_t head[9];
    write_all(c, head, put_head(head, COMMAND_FRAME, len));
    write_all(c, body, len);
}

static int connect_to(const char *endpoint)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[64];
    unsigned port;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (sscanf(endpoint, "tcp://%63[0-9.]:%u", host, &port) != 2 ||
        inet_pton(AF_INET, host, &to.sin_addr) != 1)
        rate_fail("an endpoint is tcp://ADDRESS:PORT");
    to.sin_port = htons((uint16_t)port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        rate_fail(endpoint);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* ---- hands are shaken, as RFC 26 has it ---- */

static void greet(struct curve *c)
{
    uint8_t ours[GREETING] = {[0] = 0xff, [9] = 0x7f, [10] = 3, [11] = 0}, theirs[GREETING];
    memcpy(ours + 12, "CURVE", 5);
    write_all(c, ours, sizeof ours);
    read_all(c, theirs, sizeof theirs);
}

struct hands {
    uint8_t public[32], secret[32]; /* of this connection alone */
    uint8_t theirs[32], cookie[96];
};

static void say_hello(struct curve *c, struct hands *h, const uint8_t server[32])
{
    static const uint8_t zeros[64];
    uint8_t hello[200] = "\5HELLO\1", nonce[NONCE];
    uint8_t *at = hello + 8 + 72;
    crypto_box_keypair(h->public, h->secret);
    memcpy(at, h->public, 32);
    next_number(c, at + 32);
    nonce_of(nonce, "CurveZMQHELLO---", at + 32, 8);
    if (crypto_box_easy(at + 40, zeros, sizeof zeros, nonce, server, h->secret) != 0)
        rate_fail("hello");
    write_frame(c, hello, sizeof hello);
}

static void hear_welcome(struct curve *c, struct hands *h, const uint8_t server[32])
{
    uint8_t welcome[255], nonce[NONCE], opened[128];
    size_t len = read_frame(c, welcome, sizeof welcome);
    if (len != 8 + 16 + sizeof opened + MAC || memcmp(welcome, "\7WELCOME", 8) != 0)
        rate_fail("no welcome");
    nonce_of(nonce, "WELCOME-", welcome + 8, 16);
    if (crypto_box_open_easy(opened, welcome + 24, len - 24, nonce, server, h->secret) != 0)
        rate_fail("welcome");
    memcpy(h->theirs, opened, 32);
    memcpy(h->cookie, opened + 32, 96);
}

static void say_who(struct curve *c, struct hands *h, const struct dw_broker_address *to,
                    const struct dw_curve *own)
{
    static const char about[] = "\x0bSocket-Type\0\0\0\6DEALER\x08Identity\0\0\0"; /* and a zero */
    uint8_t inner[32 + 16 + 80 + sizeof about], vouch[64], nonce[NONCE];
    uint8_t out[9 + 96 + 8 + sizeof inner + MAC];
    memcpy(inner, own->public, 32);
    randombytes_buf(inner + 32, 16);
    nonce_of(nonce, "VOUCH---", inner + 32, 16);
    memcpy(vouch, h->public, 32);
    memcpy(vouch + 32, to->key, 32);
    if (crypto_box_easy(inner + 48, vouch, sizeof vouch, nonce, h->theirs, own->secret) != 0)
        rate_fail("vouch");
    memcpy(inner + 128, about, sizeof about);
    memcpy(out, "\x08INITIATE", 9);
    memcpy(out + 9, h->cookie, 96);
    next_number(c, out + 105);
    nonce_of(nonce, "CurveZMQINITIATE", out + 105, 8);
    if (crypto_box_beforenm(c->key, h->theirs, h->secret) != 0 ||
        crypto_box_easy_afternm(out + 113, inner, sizeof inner, nonce, c->key) != 0)
        rate_fail("initiate");
    write_frame(c, out, sizeof out);
}

struct curve *curve_open(const struct dw_broker_address *to, const struct dw_curve *own)
{
    struct hands hands;
    uint8_t ready[255];
    struct curve *c = dw_alloc(sizeof *c);
    c->fd = connect_to(to->endpoint);
    greet(c);
    say_hello(c, &hands, to->key);
    hear_welcome(c, &hands, to->key);
    say_who(c, &hands, to, own);
    if (read_frame(c, ready, sizeof ready) < 6 || memcmp(ready, "\5READY", 6) != 0)
        rate_fail("not let in");
    return c;
}

void curve_close(struct curve *c)
{
    close(c->fd);
    dw_free(c);
}

/* ---- messages ---- */

static size_t put_box(struct curve *c, uint8_t *out, uint8_t flags, const void *data, size_t len)
{
    static uint8_t plain[CURVE_BYTES_MAX];
    uint8_t nonce[NONCE];
    size_t head = put_head(out, 0, MESSAGE + 1 + len + MAC);
    uint8_t *at = out + head;
    memcpy(at, "\7MESSAGE", 8);
    next_number(c, at + 8);
    nonce_of(nonce, "CurveZMQMESSAGEC", at + 8, 8);
    plain[0] = flags;
    memcpy(plain + 1, data, len);
    if (crypto_box_easy_afternm(at + MESSAGE, plain, 1 + len, nonce, c->key) != 0)
        rate_fail("box");
    return head + MESSAGE + 1 + len + MAC;
}

void curve_send(struct curve *c, const struct dw_slice *frames, size_t count)
{
    static uint8_t out[CURVE_BYTES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += put_box(c, out + len, i + 1 < count ? MORE : 0, frames[i].data, frames[i].len);
    write_all(c, out, len);
}

bool curve_read(struct curve *c)
{
    if (c->whole || !c->frames_count) { /* else what is opened stays where it is */
        memmove(c->in, c->in + c->at, c->in_len - c->at);
        c->in_len -= c->at;
        c->at = c->frames_count = 0;
    }
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
    if (n > 0)
        c->in_len += (size_t)n;
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* The next frame of ZMTP behind `at`; false when it is not here as a whole. */
static bool next_frame(const struct curve *c, size_t at, uint8_t **body, size_t *len)
{
    const uint8_t *in = c->in + at;
    size_t have = c->in_len - at, head = have && (in[0] & LARGE) ? 9 : 2;
    if (have < head)
        return false;
    *len = 0;
    for (size_t i = 1; i < head; i++)
        *len = *len << 8 | in[i];
    *body = (uint8_t *)(in + head);
    return have - head >= *len;
}

/* "\4PING" ttl(2) context: whoever does not answer is taken for gone. */
static void answer_command(struct curve *c, const uint8_t *body, size_t len)
{
    static uint8_t out[64 + MESSAGE + 9 + MAC];
    uint8_t pong[32] = "\4PONG";
    if (len < 7 || len > 7 + 16 || memcmp(body, "\4PING", 5) != 0)
        return;
    memcpy(pong + 5, body + 7, len - 7);
    write_all(c, out, put_box(c, out, COMMAND, pong, 5 + len - 7));
}

/* Opened where it lies: the text is shorter than its box. */
static struct dw_slice open_box(struct curve *c, uint8_t *body, size_t len)
{
    uint8_t nonce[NONCE];
    if (len < MESSAGE + MAC + 1 || memcmp(body, "\7MESSAGE", 8) != 0)
        rate_fail("what came is no message");
    nonce_of(nonce, "CurveZMQMESSAGES", body + 8, 8);
    if (crypto_box_open_easy_afternm(body + MESSAGE, body + MESSAGE, len - MESSAGE, nonce, c->key) != 0)
        rate_fail("a box does not open");
    return DW_SLICE(body + MESSAGE, len - MESSAGE - MAC);
}

bool curve_next(struct curve *c)
{
    uint8_t *body;
    size_t len;
    if (c->whole)
        c->frames_count = 0;
    c->whole = false;
    while (!c->whole && next_frame(c, c->at, &body, &len)) {
        struct dw_slice opened = open_box(c, body, len);
        struct dw_slice data = DW_SLICE(opened.data + 1, opened.len - 1);
        c->at = (size_t)(body - c->in) + len;
        if (opened.data[0] & COMMAND) {
            answer_command(c, data.data, data.len);
            continue;
        }
        if (c->frames_count == CURVE_FRAMES_MAX)
            rate_fail("too many frames");
        c->frames[c->frames_count++] = data;
        c->whole = !(opened.data[0] & MORE);
    }
    return c->whole;
}
