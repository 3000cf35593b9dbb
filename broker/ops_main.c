/* dengwen-ops: collects what the processes say of themselves, and answers whoever asks how it is.
 *
 * One loop reads datagrams from run/ops.sock; libmicrohttpd answers in a thread of its own.  The
 * state between them is behind one mutex.  It keeps nothing: every process repeats itself each
 * second, so one second after a restart it knows everything again. */
#include "address.h"
#include "ops_state.h"

#include "dw/clock.h"
#include "dw/log.h"
#include "dw/process.h"
#include "dw/result.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CONNECTIONS = 32,
    IDLE_SECONDS = 10,
    TICK_MS = 500,
    BURST = 256,
    RECEIVE_BYTES = 1024 * 1024,
    ANSWER_MAX = 2 * 1024 * 1024, /* every metric of 16 programs, with long names */
};

struct ops {
    struct dw_process process;
    int socket;
    char *socket_path;
    struct MHD_Daemon *http;
    pthread_mutex_t lock;
    struct dw_ops state;
    dw_metric *datagrams, *ignored, *requests;
};

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "ops.start", "%s: %s", what, why);
    exit(code);
}

/* ---- datagrams ---- */

static void open_socket(struct ops *ops)
{
    struct sockaddr_un address;
    int room = RECEIVE_BYTES;
    char *folder = dw_config_resolve(&ops->process.config, ops->process.config.run);
    ops->socket_path = dw_config_run(&ops->process.config, "ops.sock");
    if (!dw_make_folder(folder, 0750))
        die(DW_EXIT_CONFIG, folder, strerror(errno));
    if (!dw_unix_address(ops->socket_path, &address))
        die(DW_EXIT_CONFIG, ops->socket_path, "expected a path below 108 bytes");
    unlink(ops->socket_path);
    ops->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The group may write: under systemd every process has its own user and one group. */
    if (ops->socket < 0 ||
        bind(ops->socket, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(ops->socket_path, 0660) != 0)
        die(DW_EXIT_CONFIG, ops->socket_path, strerror(errno));
    setsockopt(ops->socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    dw_free(folder);
}

static void receive(struct ops *ops)
{
    static char data[DW_OPS_DATAGRAM];
    for (int i = 0; i < BURST; i++) {
        /* With MSG_TRUNC the length is that of the datagram, not of what fitted. */
        ssize_t len = recv(ops->socket, data, sizeof data, MSG_TRUNC);
        if (len < 0)
            return;
        pthread_mutex_lock(&ops->lock);
        bool taken = (size_t)len <= sizeof data &&
                     dw_ops_take(&ops->state, data, (size_t)len, dw_monotonic_ms());
        pthread_mutex_unlock(&ops->lock);
        (*(taken ? ops->datagrams : ops->ignored))++;
    }
}

/* ---- answers; in libmicrohttpd's thread ---- */

static unsigned live(struct ops *ops, struct dw_buf *out)
{
    (void)ops;
    dw_buf_str(out, "ok\n");
    return MHD_HTTP_OK;
}

static unsigned readiness(struct ops *ops, struct dw_buf *out)
{
    return dw_ops_readiness(&ops->state, dw_monotonic_ms(), out) ? MHD_HTTP_OK
                                                                 : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned metrics(struct ops *ops, struct dw_buf *out)
{
    dw_ops_metrics(&ops->state, dw_monotonic_ms(), out);
    return out->overflow ? MHD_HTTP_INTERNAL_SERVER_ERROR : MHD_HTTP_OK;
}

static unsigned not_found(struct ops *ops, struct dw_buf *out)
{
    (void)ops;
    dw_buf_str(out, "not found: ask for /livez, /readyz or /metrics\n");
    return MHD_HTTP_NOT_FOUND;
}

static unsigned not_allowed(struct ops *ops, struct dw_buf *out)
{
    (void)ops;
    dw_buf_str(out, "only GET and HEAD\n");
    return MHD_HTTP_METHOD_NOT_ALLOWED;
}

static const char PLAIN[] = "text/plain; charset=utf-8";

struct page {
    const char *path;
    const char *type;
    unsigned (*answer)(struct ops *ops, struct dw_buf *out); /* holding the lock */
};

static const struct page pages[] = {
    {"/livez", PLAIN, live},
    {"/readyz", "application/json", readiness},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", metrics},
};
static const struct page missing = {"", PLAIN, not_found};
static const struct page wrong_method = {"", PLAIN, not_allowed};

static const struct page *page_for(const char *method, const char *path)
{
    size_t i = 0;
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return &wrong_method;
    while (i < DW_COUNT(pages) && strcmp(pages[i].path, path) != 0)
        i++;
    return i < DW_COUNT(pages) ? &pages[i] : &missing;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_len, void **request)
{
    struct ops *ops = arg;
    const struct page *page = page_for(method, path);
    (void)version, (void)upload, (void)upload_len, (void)request;
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, ANSWER_MAX);
    (*ops->requests)++;
    pthread_mutex_lock(&ops->lock);
    unsigned status = page->answer(ops, &out);
    pthread_mutex_unlock(&ops->lock);
    /* Given at the first call, before any body: a body is not read but the connection closed. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_COPY);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (page == &wrong_method)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Our paths need no %-escapes, and "%00" would end a path early. */
static size_t keep_escaped(void *arg, struct MHD_Connection *connection, char *text)
{
    (void)arg, (void)connection;
    return strlen(text);
}

static void open_http(struct ops *ops)
{
    const char *listen = ops->process.config.ops.listen;
    struct sockaddr_storage address;
    if (!dw_address_parse(listen, &address))
        die(DW_EXIT_CONFIG, "ops.listen", "expected address:port, as 127.0.0.1:9180");
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
                     (address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    ops->http = MHD_start_daemon(flags, 0, NULL, NULL, answer, ops,
                                 MHD_OPTION_SOCK_ADDR, &address,
                                 MHD_OPTION_UNESCAPE_CALLBACK, keep_escaped, NULL,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)16384,
                                 MHD_OPTION_END);
    if (!ops->http)
        die(DW_EXIT_AWAY, listen, "cannot listen there; is another program using the port?");
}

int main(int argc, char **argv)
{
    static struct ops ops = {.lock = PTHREAD_MUTEX_INITIALIZER};
    dw_process_start(&ops.process, argc, argv, "ops",
                     "collects readiness and counters, serves /livez, /readyz and /metrics", false);
    ops.datagrams = dw_metric_named("dengwen_ops_datagrams_total");
    ops.ignored = dw_metric_named("dengwen_ops_datagrams_ignored_total");
    ops.requests = dw_metric_named("dengwen_ops_requests_total");
    dw_ops_init(&ops.state, ops.process.config.ops.stale_seconds * 1000);
    open_http(&ops); /* first: a second dengwen-ops fails here and takes nobody's socket away */
    open_socket(&ops);
    dw_process_ready(&ops.process, true, "collecting");

    bool stopping = false;
    while (!stopping) {
        struct pollfd items[] = {{.fd = ops.process.signal_fd, .events = POLLIN},
                                 {.fd = ops.socket, .events = POLLIN}};
        poll(items, DW_COUNT(items), TICK_MS);
        receive(&ops);
        stopping = dw_process_signal(&ops.process) == DW_SIGNAL_STOP;
        dw_process_tick(&ops.process);
    }
    MHD_stop_daemon(ops.http);
    close(ops.socket);
    unlink(ops.socket_path);
    dw_free(ops.socket_path);
    pthread_mutex_destroy(&ops.lock);
    dw_process_end(&ops.process);
    return 0;
}
