/* queue.c - operations come in, are committed together, and are reported when they are durable. */
#include "queue_private.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct dw_queue_op *dw_queue_op_new(enum dw_queue_kind kind, dw_time now)
{
    struct dw_queue_op *op = dw_alloc(sizeof *op);
    op->kind = kind;
    op->now = now;
    return op;
}

void dw_queue_op_free(struct dw_queue_op *op)
{
    if (!op)
        return;
    dw_frames_free(&op->frames);
    for (size_t i = 0; i < op->items_count; i++)
        dw_frames_free(&op->items[i].frames);
    dw_free(op->items);
    dw_free(op->text);
    dw_free(op);
}

/* ---- one transaction ---- */

static bool only_reads(const struct dw_queue_op *list)
{
    for (; list; list = list->next)
        if (list->kind != DW_QUEUE_PENDING && list->kind != DW_QUEUE_READ &&
            list->kind != DW_QUEUE_FETCH)
            return false;
    return true;
}

/* Nothing of the transaction happened, and nothing is left of what the operations found. */
static void undo(struct dw_queue *q, struct dw_queue_op *list, const struct totals *before)
{
    if (!sqlite3_get_autocommit(q->db))
        q_run(q, q_use(q, Q_ROLLBACK));
    q_index_rollback(q);
    q->totals = *before;
    for (struct dw_queue_op *op = list; op; op = op->next) {
        if (op->kind == DW_QUEUE_READ || op->kind == DW_QUEUE_FETCH)
            dw_frames_free(&op->frames);
        for (size_t i = 0; i < op->items_count; i++)
            dw_frames_free(&op->items[i].frames);
        dw_free(op->items);
        dw_free(op->text);
        op->items = NULL;
        op->items_count = 0;
        op->text = NULL;
    }
}

static void refuse_all(struct dw_queue *q, struct dw_queue_op *list)
{
    for (struct dw_queue_op *op = list; op; op = op->next)
        if (!DW_BUG("refused-as-accepted"))
            q_refuse_full(op);
    dw_log(DW_ERROR, "queue.refused", "%s; nothing was accepted",
           q->full ? "the disk is full" : "the transaction failed");
}

/* True when the whole list is durable. */
static bool commit_all(struct dw_queue *q, struct dw_queue_op *list)
{
    bool reads = only_reads(list);
    q->failed = q->full = false;
    if (!reads)
        q_run(q, q_use(q, Q_BEGIN));
    for (struct dw_queue_op *op = list; op && !q->failed; op = op->next) {
        q_do(q, op);
        if (op->kind == DW_QUEUE_CLOSE || op->kind == DW_QUEUE_ASK)
            DW_POINT("queue.inserted");
        if (op->kind == DW_QUEUE_REPLY)
            DW_POINT("queue.replied");
    }
    if (!reads && !q->failed) {
        DW_POINT("queue.before-commit");
        int64_t began = dw_monotonic_us();
        q_run(q, q_use(q, Q_COMMIT));
        dw_histogram_add(&q->commit_time, dw_monotonic_us() - began);
        DW_POINT("queue.committed");
        (*dw_metric_named("dengwen_queue_commits_total"))++;
    }
    return !q->failed;
}

void dw_queue_run(struct dw_queue *q, struct dw_queue_op *list)
{
    struct totals before = q->totals;
    int64_t count = 0;
    for (struct dw_queue_op *op = list; op; op = op->next)
        count++;
    *dw_metric_named("dengwen_queue_operations_total") += count;
    dw_histogram_add(&q->batch_size, count);
    if (commit_all(q, list)) {
        q_index_commit(q);
        q_tell(q, list ? list->now : 0);
        return;
    }
    undo(q, list, &before);
    /* Once more with the reserve given up: now new filings are refused, and the rest has room. */
    bool again = q->full && q_give_up_reserve(q);
    if (again && commit_all(q, list)) {
        q_index_commit(q);
        return;
    }
    if (again)
        undo(q, list, &before);
    refuse_all(q, list);
}

/* ---- threads ---- */

static struct dw_queue_op *take_batch(struct dw_queue *q)
{
    struct dw_queue_op *batch = q->submitted, *last = NULL;
    int64_t count = 0;
    for (struct dw_queue_op *op = batch; op && count < q->config->queue.batch_max; op = op->next) {
        last = op;
        count++;
    }
    q->submitted = last->next;
    last->next = NULL;
    if (!q->submitted)
        q->submitted_end = &q->submitted;
    return batch;
}

static void report(struct dw_queue *q, struct dw_queue_op *batch)
{
    uint64_t one = 1;
    struct dw_queue_op *last = batch;
    while (last->next)
        last = last->next;
    pthread_mutex_lock(&q->lock);
    *q->finished_end = batch;
    q->finished_end = &last->next;
    pthread_mutex_unlock(&q->lock);
    (void)!write(q->fd, &one, sizeof one);
}

#ifdef DW_TEST_POINTS
/* The deliberate bug: reports a filing or a request accepted, and only then makes it durable. */
static void report_before_commit(struct dw_queue *q, struct dw_queue_op *batch)
{
    for (struct dw_queue_op *op = batch; op; op = op->next) {
        if (op->kind != DW_QUEUE_CLOSE && op->kind != DW_QUEUE_ASK)
            continue;
        struct dw_queue_op *lie = dw_queue_op_new(op->kind, op->now);
        lie->context = op->context;
        memcpy(lie->id, op->id, DW_ID_LEN);
        lie->status = 200;
        lie->day = dw_day_of(op->now);
        op->context = NULL;
        report(q, lie);
    }
    usleep(20000);
}
#endif

static void *write_forever(void *arg)
{
    struct dw_queue *q = arg;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        while (!q->submitted && !q->stopping)
            pthread_cond_wait(&q->more, &q->lock);
        if (!q->submitted)
            break;
        struct dw_queue_op *batch = take_batch(q);
        pthread_mutex_unlock(&q->lock);
#ifdef DW_TEST_POINTS
        if (DW_BUG("ack-before-commit"))
            report_before_commit(q, batch);
#endif
        dw_queue_run(q, batch);
        report(q, batch);
        pthread_mutex_lock(&q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

static void disk_failed(void *arg, const char *what)
{
    q_io_failed(arg, what);
}

/* ---- opening, closing ---- */

enum dw_result dw_queue_open(const char *path, const struct dw_config *config,
                             struct dw_queue **ret, struct dw_error *err)
{
    struct dw_queue *q;
    enum dw_result result = dw_queue_open_still(path, config, &q, err);
    if (result != DW_OK)
        return result;
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    q->submitted_end = &q->submitted;
    q->finished_end = &q->finished;
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->more, NULL);
    if (q->fd < 0 || pthread_create(&q->writer, NULL, write_forever, q) != 0 ||
        !(q->checkpointer = dw_checkpointer_start(q->path, disk_failed, q)))
        abort(); /* no descriptor, no thread: nothing a broker could go on with */
    q->threads = true;
    *ret = q;
    return DW_OK;
}

void dw_queue_stop(struct dw_queue *q)
{
    if (!q->threads || q->stopping)
        return;
    pthread_mutex_lock(&q->lock);
    q->stopping = true;
    pthread_cond_signal(&q->more);
    pthread_mutex_unlock(&q->lock);
    pthread_join(q->writer, NULL);
    dw_checkpointer_stop(q->checkpointer);
    q->checkpointer = NULL;
}

void dw_queue_close(struct dw_queue *q)
{
    if (!q)
        return;
    if (q->threads) {
        dw_queue_stop(q);
        for (struct dw_queue_op *op = q->finished; op;) {
            struct dw_queue_op *next = op->next;
            dw_queue_op_free(op);
            op = next;
        }
        close(q->fd);
        pthread_mutex_destroy(&q->lock);
        pthread_cond_destroy(&q->more);
        sqlite3_wal_checkpoint_v2(q->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    q_close_file(q);
}

void dw_queue_submit(struct dw_queue *q, struct dw_queue_op *op)
{
    op->next = NULL;
    pthread_mutex_lock(&q->lock);
    bool first = !q->submitted;
    *q->submitted_end = op;
    q->submitted_end = &op->next;
    pthread_mutex_unlock(&q->lock);
    if (first) /* else it is awake, or about to be; with the lock it would wake only to wait for it */
        pthread_cond_signal(&q->more);
}

struct dw_queue_op *dw_queue_collect(struct dw_queue *q)
{
    uint64_t count;
    (void)!read(q->fd, &count, sizeof count);
    pthread_mutex_lock(&q->lock);
    struct dw_queue_op *list = q->finished;
    q->finished = NULL;
    q->finished_end = &q->finished;
    pthread_mutex_unlock(&q->lock);
    return list;
}

int dw_queue_fd(const struct dw_queue *q)
{
    return q->fd;
}
