/* http_private.h - what the sources of workers/http share.
 *
 * Who owns a request.  libmicrohttpd's thread makes it when a first line has come, fills it while
 * the rest arrives, then suspends its connection and queues it.  Now it belongs to one thread of
 * the pool, until that resumes the connection: its last touch.  libmicrohttpd's thread sends the
 * answer and frees it.  A suspended connection is neither read nor ended, so a client that goes
 * away in the meantime is noticed only after the pool is done.
 *
 * http->lock guards the list of connections with all that is in struct dw_http_conn, the queue of
 * the pool, and `stopping`.  It is taken before libmicrohttpd's own mutex, never while that is
 * held. */
#ifndef DW_HTTP_PRIVATE_H
#define DW_HTTP_PRIVATE_H

#include "dw/clock.h"
#include "dw/http.h"
#include "dw/process.h"

#include <microhttpd.h>
#include <pthread.h>
#include <sys/socket.h>

enum {
    DW_URI_MAX = 4096,
    DW_HEAD_MAX = 16384,
    /* Memory libmicrohttpd gives a connection; a head that does not fit gets its own bare answer,
     * so there is room to spare.  Above 32 KiB it is mapped, and gone when the connection is. */
    DW_CONN_MEMORY = 65536,
    DW_DRAIN_MAX = 64 << 20, /* of a refused body, read for the sake of its answer */
    DW_SEGMENTS_MAX = 16,
    DW_PARAMS_MAX = 8,
    DW_QUERY_MAX = 64,
    DW_HEADERS_SET_MAX = 16, /* by a route, for its answer */
    DW_RATE_GRACE_MS = 10000,
    DW_SWEEP_MS = 1000,
    DW_BOUNDARY_MAX = 70, /* RFC 2046 */
    DW_NAME_MAX = 256,    /* of a form's field */
};

/* ---- head.c: is this one request, and only one? ---- */

struct dw_http_head_line {
    const char *name, *value;
    size_t name_len, value_len;
};
struct dw_http_head {
    const char *method, *version;
    const char *uri;    /* as sent: a copy, libmicrohttpd parses in the original */
    const char *uri_at; /* the original's place */
    size_t bytes;       /* of the head, with its empty line */
    struct dw_http_head_line *lines;
    size_t count;
};
struct dw_http_head_problem {
    const char *field; /* of the header, or "" */
    const char *detail;
};
/* 0, or the status of a refusal after which the connection must close.  The strings lie where
 * libmicrohttpd has parsed them. */
int dw_http_head_check(const struct dw_http_head *head, int64_t max_headers,
                       struct dw_http_head_problem *ret_problem);
/* Copies what was checked, trimmed and NUL-terminated; false when out of room. */
bool dw_http_head_keep(struct dw_http_head *head, struct dw_arena *memory);
const char *dw_http_head_value(const struct dw_http_head *head, const char *name);
/* Of a checked head: 0 when there is none. */
int64_t dw_http_head_length(const struct dw_http_head *head);

/* ---- target.c: path and query ---- */

struct dw_http_target {
    char *segments[DW_SEGMENTS_MAX];
    size_t count;
    char *names[DW_QUERY_MAX], *values[DW_QUERY_MAX];
    size_t pairs;
};
bool dw_http_target_parse(const char *uri, struct dw_arena *memory, struct dw_http_target *ret);
bool dw_http_target_matches(const struct dw_http_target *target, const char *pattern,
                            const char *params[DW_PARAMS_MAX]);
/* NULL when no route has this path and method; `allow` then lists the methods of the path, "" when
 * the path is unknown. */
const struct dw_http_route *dw_http_target_find(const struct dw_http_target *target,
                                                const char *method,
                                                const struct dw_http_route *routes, size_t count,
                                                const char *params[DW_PARAMS_MAX], char allow[64]);

/* ---- peer.c: who asks, and from which site ---- */

struct dw_http_peer {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
};
bool dw_http_peer_of(const struct sockaddr *address, struct dw_http_peer *ret);
/* An address with or without port and brackets. */
bool dw_http_peer_parse(const char *text, size_t len, struct dw_http_peer *ret);
/* The last address that no trusted proxy has added. */
struct dw_http_peer dw_http_peer_behind(struct dw_http_peer peer, const struct dw_http_head *head,
                                        const struct dw_http_peer *trusted, size_t count);
bool dw_http_same_origin(const struct dw_http_head *head, const char *configured);

/* ---- rate.c: token buckets ---- */

struct dw_http_rates;
struct dw_http_rates *dw_http_rates_new(int64_t table_size);
void dw_http_rates_free(struct dw_http_rates *rates);
/* 0, or after how many seconds to try again. */
int64_t dw_http_rates_take(struct dw_http_rates *rates, const struct dw_http_rate *rate,
                           struct dw_http_peer peer, int64_t now_ms);

/* ---- form.c, multipart.c: bytes in, parts out ---- */

struct dw_http_part {
    const char *name;
    const char *filename; /* NULL for a field */
    const char *type;     /* "" when not said */
};
/* Each returns false to stop. */
struct dw_http_form_events {
    bool (*begin)(void *arg, const struct dw_http_part *part);
    bool (*data)(void *arg, const void *data, size_t len);
    bool (*end)(void *arg);
};
enum dw_http_content { DW_CONTENT_NONE, DW_CONTENT_JSON, DW_CONTENT_PAIRS, DW_CONTENT_MULTIPART };

enum dw_http_content dw_http_content_of(const char *content_type);
struct dw_http_form;
/* NULL when it is not a form, or its boundary is missing or bad. */
struct dw_http_form *dw_http_form_new(const char *content_type,
                                      const struct dw_http_form_events *events, void *arg);
void dw_http_form_free(struct dw_http_form *form);
/* False: malformed, or an event stopped it. */
bool dw_http_form_feed(struct dw_http_form *form, const void *data, size_t len);
/* False when the form has not ended where its bytes have. */
bool dw_http_form_finish(struct dw_http_form *form);

/* One "; name=value" of a header: 1 and *at past it, 0 at the end, -1 malformed.  The name comes in
 * lower case. */
int dw_http_parameter(const char **at, char *name, size_t name_len, char *value, size_t value_len);

struct dw_http_multipart;
struct dw_http_multipart *dw_http_multipart_new(const char *boundary,
                                                const struct dw_http_form_events *events,
                                                void *arg);
void dw_http_multipart_free(struct dw_http_multipart *m);
bool dw_http_multipart_feed(struct dw_http_multipart *m, const char *data, size_t len);
bool dw_http_multipart_finish(const struct dw_http_multipart *m);

/* ---- timers.c: connections, and which of them are too slow ---- */

enum dw_http_phase {
    DW_WAITING,  /* for a complete head */
    DW_ARRIVING, /* the body */
    DW_PAUSED,   /* the body, by our own wish */
    DW_WORKING,  /* in the pool */
    DW_SENDING,
};
struct dw_http_conn {
    struct dw_http_conn *prev, *next;
    struct MHD_Connection *mhd;
    int fd;
    enum dw_http_phase phase;
    int64_t phase_since;
    int64_t began;     /* the request: when its head was complete */
    int64_t paused_ms; /* of its time so far */
    int64_t bytes;     /* of its body so far */
    bool resumed;      /* dw_http_resume() came before the pause it was meant for */
    bool cut;
};
bool dw_http_conn_is_over(const struct dw_http_conn *conn, const struct dw_http_limits *limits,
                          int64_t now);
struct dw_http_conn *dw_http_conn_open(struct dw_http *http, struct MHD_Connection *mhd, int fd);
void dw_http_conn_close(struct dw_http *http, struct dw_http_conn *conn);
void dw_http_conn_enter(struct dw_http *http, struct dw_http_conn *conn, enum dw_http_phase phase);
void dw_http_conn_received(struct dw_http *http, struct dw_http_conn *conn, size_t len);
/* Before it is asked whether to pause: a resume from now on prevents that pause. */
void dw_http_conn_may_pause(struct dw_http *http, struct dw_http_conn *conn);
void dw_http_conn_pause(struct dw_http *http, struct dw_http_conn *conn);
void dw_http_conn_resume(struct dw_http *http, struct dw_http_conn *conn);
bool dw_http_timers_start(struct dw_http *http);
void dw_http_timers_stop(struct dw_http *http);
/* Shuts down every connection, and reads paused ones on so that they notice. */
void dw_http_timers_cut_all(struct dw_http *http);

/* ---- the request ---- */

struct dw_http_field {
    const char *name, *value;
};
struct dw_http_answer {
    bool given;
    int status;
    const char *type, *policy;
    struct dw_buf body;
    struct {
        const char *name, *value;
    } headers[DW_HEADERS_SET_MAX];
    size_t headers_count;
    struct MHD_Response *sent; /* what libmicrohttpd has of it */
};
enum dw_http_stage { DW_STAGE_HEAD, DW_STAGE_BODY, DW_STAGE_WORK, DW_STAGE_ANSWER };

struct dw_http_request {
    struct dw_http *http;
    struct dw_http_conn *conn;
    struct MHD_Connection *mhd;
    struct dw_http_request *next; /* in the queue */
    enum dw_http_stage stage;
    struct dw_arena memory; /* of head, target, fields, answer's headers */
    char *uri;              /* as sent */
    const char *uri_at;     /* where it lay */
    struct dw_http_head head;
    struct dw_http_target target;
    const char *params[DW_PARAMS_MAX];
    const struct dw_http_route *route;

    int refused; /* the status, 0 while it is not */
    char field[96], detail[320];

    int64_t length, received;
    enum dw_http_content content;
    struct dw_buf body; /* JSON */
    struct dw_http_form *form;
    struct dw_http_field *fields;
    size_t fields_count;
    struct dw_buf value; /* of the field that is arriving */
    char name[DW_NAME_MAX + 1];
    bool in_file, unnamed_file;
    size_t file_bytes, other_bytes;
    void *upload;

    struct dw_http_answer answer;
};

struct dw_http_request *dw_http_request_new(struct dw_http *http, struct MHD_Connection *mhd,
                                            const char *uri);
void dw_http_request_free(struct dw_http_request *request);
/* The first reason stays. */
void dw_http_request_refuse(struct dw_http_request *request, int status, const char *field,
                            const char *detail);

/* body.c.  Begin after the route is known; each may refuse the request. */
void dw_http_body_begin(struct dw_http_request *request);
void dw_http_body_feed(struct dw_http_request *request, const void *data, size_t len);
void dw_http_body_finish(struct dw_http_request *request);

/* answer.c: hands the answer to libmicrohttpd, in its thread. */
enum MHD_Result dw_http_answer_send(struct dw_http_request *request);
void dw_http_answer_free(struct dw_http_answer *answer);

/* ---- listen.c ---- */

/* A socket at "ip:port" or "[ip]:port", and the port it got; -1 with *err set. */
int dw_http_listen(const char *address, int *ret_port, struct dw_error *err);

/* ---- server.c, steps.c, pool.c ---- */

struct dw_http {
    const struct dw_http_limits *limits;
    const struct dw_http_route *routes;
    size_t routes_count;
    void *app;
    void (*problem_page)(void *app, struct dw_http_request *request, int status); /* or NULL */
    struct MHD_Daemon *daemon;
    int listen_fd, port;
    struct dw_http_peer *trusted;
    size_t trusted_count;
    struct dw_http_rates *rates; /* libmicrohttpd's thread only */
    struct {
        dw_metric *requests, *errors, *refused, *rate_limited, *connections, *in_work;
    } metrics;

    pthread_mutex_t lock;
    struct dw_http_conn *conns;
    pthread_cond_t quieter; /* a request was answered or is over */
    bool stopping;

    pthread_cond_t work;
    struct dw_http_request *queue, **queue_end; /* one of each connection at most */
    pthread_t *threads;
    size_t threads_count;
    bool pool_stopping;

    pthread_cond_t tick;
    pthread_t sweeper;
    bool sweeper_runs, sweeper_stopping;
};

/* steps.c: libmicrohttpd's callbacks. */
void *dw_http_on_uri(void *arg, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result dw_http_on_request(void *arg, struct MHD_Connection *mhd, const char *url,
                                   const char *method, const char *version, const char *data,
                                   size_t *len, void **context);
void dw_http_on_completed(void *arg, struct MHD_Connection *mhd, void **context,
                          enum MHD_RequestTerminationCode why);
void dw_http_on_connection(void *arg, struct MHD_Connection *mhd, void **context,
                           enum MHD_ConnectionNotificationCode what);

bool dw_http_pool_start(struct dw_http *http);
/* Until no request is in work or being answered, or that much later. */
void dw_http_pool_drain(struct dw_http *http, int64_t deadline_ms);
/* Waits for the handlers that run; refuses what is still queued. */
void dw_http_pool_stop(struct dw_http *http);
/* False when the server is stopping. */
bool dw_http_pool_take(struct dw_http *http, struct dw_http_request *request);

#endif
