/* http_client.h - a raw HTTP client for tests: it sends what it is told, however wrong. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "dw/bytes.h"

#include <stdbool.h>

struct reply {
    int status;         /* 0: none came */
    struct dw_buf head; /* with its empty line */
    struct dw_buf body;
    bool closed; /* the connection, with or after this reply */
};

int client_connect(int port);
/* False when the server has closed. */
bool client_send(int fd, const void *data, size_t len);
bool client_say(int fd, const char *text);
/* One reply; 100s are passed over.  `to_head` for replies to HEAD, which have no body. */
struct reply client_read(int fd, bool to_head);
/* True when the server has closed, after whatever it may still have sent. */
bool client_sees_end(int fd, int timeout_ms);
/* Connects, sends, reads one reply, looks whether the connection is closed, closes. */
struct reply client_ask(int port, const char *request);
void reply_free(struct reply *reply);
/* The value of a header, "" when absent; asserts that it comes at most once. */
const char *reply_header(const struct reply *reply, const char *name);
#define AUTO_REPLY __attribute__((cleanup(reply_free))) struct reply

#endif
