/* pool.c - the threads in which routes do their work, and the queue before them.
 *
 * The connection is suspended before its request is queued and resumed when it is done, both under
 * http->lock; in between the request belongs to the pool alone.  The queue cannot grow beyond the
 * number of connections: a suspended one counts as open, and is not read. */
#include "http_private.h"

#include "dw/log.h"

#include <time.h>

/* With the lock held.  Last touch: libmicrohttpd's thread has it back. */
static void give_back(struct dw_http *http, struct dw_http_request *request)
{
    request->stage = DW_STAGE_ANSWER;
    request->conn->phase = DW_SENDING;
    request->conn->phase_since = dw_monotonic_ms();
    atomic_fetch_sub(http->metrics.in_work, 1);
    MHD_resume_connection(request->mhd);
}

static void work_on(struct dw_http *http, struct dw_http_request *request)
{
    request->route->handle(http->app, request);
    if (request->answer.given)
        return;
    dw_log(DW_ERROR, "http.no-answer", "%s %s gave none", request->route->method,
           request->route->path);
    dw_http_problem(request, 500, "", "");
}

static void *run(void *arg)
{
    struct dw_http *http = arg;
    pthread_mutex_lock(&http->lock);
    while (true) {
        struct dw_http_request *request = http->queue;
        if (!request) {
            if (http->pool_stopping)
                break;
            pthread_cond_wait(&http->work, &http->lock);
            continue;
        }
        http->queue = request->next;
        if (!http->queue)
            http->queue_end = &http->queue;
        bool refuse = http->pool_stopping;
        pthread_mutex_unlock(&http->lock);
        if (refuse)
            dw_http_problem(request, 503, "", "the server is stopping");
        else
            work_on(http, request);
        pthread_mutex_lock(&http->lock);
        give_back(http, request);
    }
    pthread_mutex_unlock(&http->lock);
    return NULL;
}

bool dw_http_pool_take(struct dw_http *http, struct dw_http_request *request)
{
    pthread_mutex_lock(&http->lock);
    bool taken = !http->stopping;
    if (taken) {
        MHD_suspend_connection(request->mhd);
        request->stage = DW_STAGE_WORK;
        request->conn->phase = DW_WORKING;
        request->next = NULL;
        *http->queue_end = request;
        http->queue_end = &request->next;
        atomic_fetch_add(http->metrics.in_work, 1);
        pthread_cond_signal(&http->work);
    }
    pthread_mutex_unlock(&http->lock);
    return taken;
}

bool dw_http_pool_start(struct dw_http *http)
{
    http->queue_end = &http->queue;
    http->threads = dw_alloc((size_t)http->limits->threads * sizeof *http->threads);
    while (http->threads_count < (size_t)http->limits->threads) {
        if (pthread_create(&http->threads[http->threads_count], NULL, run, http) != 0)
            return false;
        http->threads_count++;
    }
    return true;
}

static bool is_busy(const struct dw_http *http)
{
    for (const struct dw_http_conn *conn = http->conns; conn; conn = conn->next)
        if (conn->phase == DW_WORKING || conn->phase == DW_SENDING)
            return true;
    return false;
}

void dw_http_pool_drain(struct dw_http *http, int64_t deadline_ms)
{
    struct timespec until = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    pthread_mutex_lock(&http->lock);
    while (is_busy(http) && dw_monotonic_ms() < deadline_ms)
        pthread_cond_timedwait(&http->quieter, &http->lock, &until);
    pthread_mutex_unlock(&http->lock);
}

void dw_http_pool_stop(struct dw_http *http)
{
    pthread_mutex_lock(&http->lock);
    http->pool_stopping = true;
    pthread_cond_broadcast(&http->work);
    pthread_mutex_unlock(&http->lock);
    for (size_t i = 0; i < http->threads_count; i++)
        pthread_join(http->threads[i], NULL);
    dw_free(http->threads);
    http->threads = NULL;
    http->threads_count = 0;
}
