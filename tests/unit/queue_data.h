/* queue_data.h - a queue file of its own for each test, and the operations that tests do on it. */
#ifndef DW_TESTS_QUEUE_DATA_H
#define DW_TESTS_QUEUE_DATA_H

#include "unit.h"

#include "dw/queue.h"

#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char *folder;
    char path[300];
    struct dw_config config;
    struct dw_queue *queue;
};

static const dw_time NOW = 1790000000000;

static inline void open_queue(struct fixture *f)
{
    struct dw_error err = {0};
    enum dw_result result = dw_queue_open_still(f->path, &f->config, &f->queue, &err);
    if (result != DW_OK)
        print_message("%s\n", err.text);
    assert_int_equal(result, DW_OK);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = make_folder();
    snprintf(f->path, sizeof f->path, "%s/queue.db", f->folder);
    dw_config_defaults(&f->config);
    open_queue(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    dw_queue_close(f->queue);
    dw_config_free(&f->config);
    rm_folder(f->folder);
    free(f);
    return 0;
}

/* kill -9 of the process: nothing is closed in order, the file is opened anew. */
static inline void crash(struct fixture *f)
{
    dw_queue_close(f->queue);
    open_queue(f);
}

static inline void run_one(struct fixture *f, struct dw_queue_op *op)
{
    op->next = NULL;
    dw_queue_run(f->queue, op);
}

static inline struct dw_item_header header(int n, const char *body)
{
    struct dw_item_header h = {.service = "filing"};
    memset(h.id, n, sizeof h.id);
    memset(h.handle, n + 100, sizeof h.handle);
    memset(h.tok, n, sizeof h.tok);
    memset(h.fp, (int)strlen(body), sizeof h.fp);
    return h;
}

static inline struct dw_queue_op *closing(const struct dw_item_header *h, const char *body)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLOSE, NOW);
    struct dw_slice frames[] = {dw_slice_of("header"), dw_slice_of(body)};
    op->header = *h;
    op->frames = dw_frames_copy(frames, 2);
    return op;
}

static inline int put(struct fixture *f, int n, const char *body)
{
    struct dw_item_header h = header(n, body);
    struct dw_queue_op *op = closing(&h, body);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    return status;
}

static inline int put_part(struct fixture *f, int attempt, uint32_t n, size_t len)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_PART, NOW);
    char *bytes = calloc(1, len);
    memset(op->id, attempt, sizeof op->id);
    op->n = n;
    struct dw_slice frame = DW_SLICE(bytes, len);
    op->frames = dw_frames_copy(&frame, 1);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    free(bytes);
    return status;
}

static inline struct dw_queue_op *claim(struct fixture *f, uint32_t n, dw_time now)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, now);
    op->n = n;
    snprintf(op->service, sizeof op->service, "filing");
    run_one(f, op);
    assert_int_equal(op->status, 200);
    return op;
}

static inline int finish(struct fixture *f, enum dw_queue_kind kind, const struct dw_queue_item *item,
                  bool counted, dw_time at)
{
    struct dw_queue_op *op = dw_queue_op_new(kind, NOW);
    memcpy(op->id, item->id, sizeof op->id);
    op->fence = item->fence;
    op->counted = counted;
    op->at = at;
    snprintf(op->reason, sizeof op->reason, "because");
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    return status;
}

static inline int pending(struct fixture *f, int n)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_PENDING, NOW);
    memset(op->id, n + 100, sizeof op->id);
    run_one(f, op);
    int status = op->status;
    if (status == 200)
        assert_int_equal(op->day, dw_day_of(NOW));
    dw_queue_op_free(op);
    return status;
}

static inline char *admin(struct fixture *f, const char *a, const char *b, int *status)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, NOW);
    snprintf(op->words[0], sizeof op->words[0], "%s", a);
    snprintf(op->words[1], sizeof op->words[1], "%s", b);
    run_one(f, op);
    char *text = strdup(op->text);
    *status = op->status;
    dw_queue_op_free(op);
    return text;
}

#endif
