/* timers.c - the list of connections, and the thread that cuts those that take too long.
 *
 * libmicrohttpd knows one limit, for silence; a client that sends a byte now and then passes it for
 * ever.  Every second this thread looks at all connections and shuts down the sockets of those that
 * are over one of ours.  libmicrohttpd then finds the end of the stream and cleans up.  A
 * connection leaves the list, under the lock, before its socket is closed: no number of a socket is
 * used late. */
#include "http_private.h"

#include <time.h>

bool dw_http_conn_is_over(const struct dw_http_conn *conn, const struct dw_http_limits *limits,
                          int64_t now)
{
    int64_t total_ms = limits->total_seconds * 1000;
    int64_t arriving = now - conn->began - conn->paused_ms;
    switch (conn->phase) {
    case DW_WAITING: /* the first byte of a head cannot be seen: it counts from the wait's start */
        return now - conn->phase_since > limits->idle_seconds * 1000;
    case DW_ARRIVING:
        return now - conn->began > total_ms ||
               (arriving > DW_RATE_GRACE_MS &&
                conn->bytes * 1000 < limits->min_bytes_per_second * arriving);
    case DW_PAUSED:
        return now - conn->began > total_ms;
    case DW_SENDING:
        return now - conn->phase_since > total_ms;
    default: /* whoever works on it has limits of his own */
        return false;
    }
}

struct dw_http_conn *dw_http_conn_open(struct dw_http *http, struct MHD_Connection *mhd, int fd)
{
    struct dw_http_conn *conn = dw_alloc(sizeof *conn);
    conn->mhd = mhd;
    conn->fd = fd;
    conn->phase_since = dw_monotonic_ms();
    pthread_mutex_lock(&http->lock);
    conn->next = http->conns;
    if (conn->next)
        conn->next->prev = conn;
    http->conns = conn;
    pthread_mutex_unlock(&http->lock);
    return conn;
}

void dw_http_conn_close(struct dw_http *http, struct dw_http_conn *conn)
{
    pthread_mutex_lock(&http->lock);
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        http->conns = conn->next;
    pthread_cond_broadcast(&http->quieter);
    pthread_mutex_unlock(&http->lock);
    dw_free(conn);
}

void dw_http_conn_enter(struct dw_http *http, struct dw_http_conn *conn, enum dw_http_phase phase)
{
    pthread_mutex_lock(&http->lock);
    conn->phase = phase;
    conn->phase_since = dw_monotonic_ms();
    if (phase == DW_ARRIVING) {
        conn->began = conn->phase_since;
        conn->paused_ms = conn->bytes = 0;
    }
    if (phase == DW_WAITING)
        pthread_cond_broadcast(&http->quieter);
    pthread_mutex_unlock(&http->lock);
}

void dw_http_conn_received(struct dw_http *http, struct dw_http_conn *conn, size_t len)
{
    pthread_mutex_lock(&http->lock);
    conn->bytes += (int64_t)len;
    pthread_mutex_unlock(&http->lock);
}

void dw_http_conn_may_pause(struct dw_http *http, struct dw_http_conn *conn)
{
    pthread_mutex_lock(&http->lock);
    conn->resumed = false;
    pthread_mutex_unlock(&http->lock);
}

void dw_http_conn_pause(struct dw_http *http, struct dw_http_conn *conn)
{
    pthread_mutex_lock(&http->lock);
    if (!conn->resumed && !conn->cut && !http->stopping) {
        MHD_suspend_connection(conn->mhd);
        conn->phase = DW_PAUSED;
        conn->phase_since = dw_monotonic_ms();
    }
    pthread_mutex_unlock(&http->lock);
}

/* The pause it ends may not have begun yet: then it does not begin. */
void dw_http_conn_resume(struct dw_http *http, struct dw_http_conn *conn)
{
    pthread_mutex_lock(&http->lock);
    if (conn->phase == DW_PAUSED) {
        conn->phase = DW_ARRIVING;
        conn->paused_ms += dw_monotonic_ms() - conn->phase_since;
        MHD_resume_connection(conn->mhd);
    } else {
        conn->resumed = true;
    }
    pthread_mutex_unlock(&http->lock);
}

/* With the lock held. */
static void cut(struct dw_http_conn *conn)
{
    if (conn->cut)
        return;
    conn->cut = true;
    shutdown(conn->fd, SHUT_RDWR);
    if (conn->phase == DW_PAUSED) {
        conn->phase = DW_ARRIVING;
        MHD_resume_connection(conn->mhd);
    }
}

void dw_http_timers_cut_all(struct dw_http *http)
{
    pthread_mutex_lock(&http->lock);
    for (struct dw_http_conn *conn = http->conns; conn; conn = conn->next)
        cut(conn);
    pthread_mutex_unlock(&http->lock);
}

static void *sweep(void *arg)
{
    struct dw_http *http = arg;
    pthread_mutex_lock(&http->lock);
    while (!http->sweeper_stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += DW_SWEEP_MS / 1000;
        pthread_cond_timedwait(&http->tick, &http->lock, &until);
        int64_t now = dw_monotonic_ms();
        for (struct dw_http_conn *conn = http->conns; conn; conn = conn->next)
            if (dw_http_conn_is_over(conn, http->limits, now))
                cut(conn);
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

bool dw_http_timers_start(struct dw_http *http)
{
    http->sweeper_runs = pthread_create(&http->sweeper, NULL, sweep, http) == 0;
    return http->sweeper_runs;
}

void dw_http_timers_stop(struct dw_http *http)
{
    if (!http->sweeper_runs)
        return;
    pthread_mutex_lock(&http->lock);
    http->sweeper_stopping = true;
    pthread_cond_signal(&http->tick);
    pthread_mutex_unlock(&http->lock);
    pthread_join(http->sweeper, NULL);
}
