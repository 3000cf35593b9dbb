/* server.c - start and stop. */
#include "http_private.h"

#include "dw/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Path and query are decoded by ours; libmicrohttpd would do it before the path is cut. */
static size_t keep_escaped(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg;
    (void)mhd;
    return strlen(text);
}

static void on_panic(void *arg, const char *file, unsigned line, const char *reason)
{
    (void)arg;
    (void)file;
    dw_log(DW_ERROR, "http.panic", "libmicrohttpd gave up at line %u: %s", line,
           reason ? reason : "");
    abort();
}

/* The table of metrics keeps names for ever, and so do we; a second server shares the first's. */
static dw_metric *metric(const char *prefix, const char *what)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char names[64][64];
    char name[sizeof names[0]];
    size_t i = 0;
    snprintf(name, sizeof name, "%s_%s", prefix, what);
    pthread_mutex_lock(&lock);
    while (i < DW_COUNT(names) && *names[i] && strcmp(names[i], name) != 0)
        i++;
    if (i == DW_COUNT(names))
        abort();
    memcpy(names[i], name, sizeof name);
    pthread_mutex_unlock(&lock);
    return dw_metric_named(names[i]);
}

static void name_metrics(struct dw_http *http, const char *prefix)
{
    http->metrics.requests = metric(prefix, "requests_total");
    http->metrics.errors = metric(prefix, "errors_total");
    http->metrics.refused = metric(prefix, "refused_total");
    http->metrics.rate_limited = metric(prefix, "rate_limited_total");
    http->metrics.connections = metric(prefix, "connections");
    http->metrics.in_work = metric(prefix, "in_work");
}

static bool read_proxies(struct dw_http *http, struct dw_error *err)
{
    const struct dw_texts *proxies = &http->limits->trusted_proxies;
    http->trusted = dw_alloc(proxies->count * sizeof *http->trusted);
    for (size_t i = 0; i < proxies->count; i++) {
        const char *text = proxies->items[i];
        if (!dw_http_peer_parse(text, strlen(text), &http->trusted[i])) {
            dw_error_set(err, "trusted_proxies", "%s: expected an IP address", text);
            return false;
        }
        http->trusted_count++;
    }
    return true;
}

static struct MHD_Daemon *start_daemon(struct dw_http *http)
{
    const struct dw_http_limits *limits = http->limits;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, http->listen_fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, limits->connections, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, limits->idle_seconds, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, DW_CONN_MEMORY, NULL},
        /* 0: a missing Host and a blank in the address are left to us, who answer properly */
        {MHD_OPTION_STRICT_FOR_CLIENT, 0, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)dw_http_on_uri, http},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escaped, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)dw_http_on_connection, http},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)dw_http_on_completed, http},
        {MHD_OPTION_END, 0, NULL},
    };
    MHD_set_panic_func(on_panic, NULL);
    /* Poll: its epoll loop stalls at 128 connections.  Without MHD_USE_ERROR_LOG it says nothing:
     * what it would say quotes the peer. */
    return MHD_start_daemon(MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME,
                            0, NULL, NULL, dw_http_on_request, http, MHD_OPTION_ARRAY, options,
                            MHD_OPTION_END);
}

static void init_locks(struct dw_http *http)
{
    pthread_condattr_t attr;
    pthread_mutex_init(&http->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&http->work, &attr);
    pthread_cond_init(&http->quieter, &attr);
    pthread_cond_init(&http->tick, &attr);
    pthread_condattr_destroy(&attr);
}

static void free_http(struct dw_http *http)
{
    dw_http_rates_free(http->rates);
    dw_free(http->trusted);
    pthread_cond_destroy(&http->work);
    pthread_cond_destroy(&http->quieter);
    pthread_cond_destroy(&http->tick);
    pthread_mutex_destroy(&http->lock);
    dw_free(http);
}

enum dw_result dw_http_start(const struct dw_http_limits *limits, int64_t table_size,
                             const struct dw_http_route *routes, size_t count, void *app,
                             const char *metric_prefix, struct dw_http **ret, struct dw_error *err)
{
    struct dw_http *http = dw_alloc(sizeof *http);
    *http = (struct dw_http){
        .limits = limits, .routes = routes, .routes_count = count, .app = app, .listen_fd = -1};
    json_set_alloc_funcs(dw_alloc_for_library, dw_forgetful_free);
    init_locks(http);
    name_metrics(http, metric_prefix);
    http->rates = dw_http_rates_new(table_size);
    if (read_proxies(http, err))
        http->listen_fd = dw_http_listen(limits->listen, &http->port, err);
    if (http->listen_fd < 0) {
        free_http(http);
        return DW_INVALID;
    }
    bool good = dw_http_pool_start(http) && dw_http_timers_start(http);
    if (good)
        http->daemon = start_daemon(http);
    if (!http->daemon) {
        dw_error_set(err, "listen", "%s: the HTTP server did not start", limits->listen);
        dw_http_timers_stop(http);
        dw_http_pool_stop(http);
        close(http->listen_fd);
        free_http(http);
        return DW_RETRY;
    }
    *ret = http;
    return DW_OK;
}

void dw_http_stop(struct dw_http *http, int64_t grace_ms)
{
    if (!http)
        return;
    pthread_mutex_lock(&http->lock);
    http->stopping = true;
    pthread_mutex_unlock(&http->lock);
    MHD_quiesce_daemon(http->daemon);
    shutdown(http->listen_fd, SHUT_RDWR); /* who comes now is told at once that nobody is here */
    dw_http_pool_drain(http, dw_monotonic_ms() + grace_ms);
    dw_http_timers_cut_all(http);
    dw_http_pool_stop(http);
    /* From here on nothing is suspended: libmicrohttpd would abort. */
    MHD_stop_daemon(http->daemon);
    close(http->listen_fd);
    dw_http_timers_stop(http);
    free_http(http);
}

int dw_http_port(const struct dw_http *http)
{
    return http->port;
}
