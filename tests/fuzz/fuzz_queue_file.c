/* The queue's file, whatever it holds: opened or refused, and what is opened can be worked with, or
 * ends the process as it does when a disk is damaged.  Two bytes say how much of the end is its
 * log. */
#include "fuzz.h"

#include "../support/disk.h"
#include "../support/ending.h"
#include "queue_private.h"

#include <stdio.h>

static const char *const PATH = "/no-such-folder/queue.db"; /* only the disk in memory has it */
static const dw_time NOW = 1790000000000;

static struct dw_config config;
static struct dw_queue *queue;
static struct dw_queue_op *running;

static void submit(struct dw_queue_op *op)
{
    running = op;
    dw_queue_run(queue, op);
    must(op->status >= 200 && op->status <= 599);
    must(op->items_count <= 8);
}

static void done(void)
{
    dw_queue_op_free(running);
    running = NULL;
}

static void admin(const char *word, const char *more)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, NOW);
    snprintf(op->words[0], sizeof op->words[0], "%s", word);
    snprintf(op->words[1], sizeof op->words[1], "%s", more);
    submit(op);
    done();
}

static void put(void)
{
    struct dw_item_header h = {.id = {7}, .handle = {7}, .service = "filing"};
    DW_AUTO_BUF header = {0};
    dw_buf_init(&header, 1024);
    dw_item_header_encode(&h, &header);
    struct dw_slice frames[] = {dw_buf_slice(&header), dw_slice_of("sealed")};
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLOSE, NOW);
    op->header = h;
    op->frames = dw_frames_copy(frames, 2);
    submit(op);
    done();
}

/* The first of what is handed out is read, finished and asked for. */
static void claim(const char *service)
{
    static const enum dw_queue_kind kinds[] = {DW_QUEUE_READ, DW_QUEUE_DONE, DW_QUEUE_FETCH,
                                               DW_QUEUE_FORGET};
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, NOW);
    uint8_t id[DW_ID_LEN] = {0};
    uint64_t fence = 0;
    snprintf(op->service, sizeof op->service, "%s", service);
    op->n = 8;
    submit(op);
    if (op->items_count) {
        memcpy(id, op->items[0].id, sizeof id);
        fence = op->items[0].fence;
    }
    done();
    for (size_t i = 0; i < DW_COUNT(kinds); i++) {
        op = dw_queue_op_new(kinds[i], NOW);
        memcpy(op->id, id, sizeof id);
        op->fence = fence;
        submit(op);
        done();
    }
}

static void open_and_use(void *arg)
{
    struct dw_error err = {0};
    (void)arg;
    if (dw_queue_open_still(PATH, &config, &queue, &err) != DW_OK) {
        must(err.text[0] != 0);
        return;
    }
    admin("stats", "");
    admin("list", "");
    put();
    claim("filing");
    claim("weather");
    struct dw_queue_op *sweep = dw_queue_op_new(DW_QUEUE_SWEEP, NOW + 1000000000);
    submit(sweep);
    done();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char log[64];
    if (len < 2)
        return 0;
    size_t log_len = (size_t)data[0] << 8 | data[1];
    data += 2, len -= 2;
    log_len = log_len < len ? log_len : len;
    if (!config.queue.max_items) {
        dw_config_defaults(&config);
        config.queue.reserve_bytes = 0; /* a real file */
        disk_install();
    }
    disk_reset(1);
    disk_set_file(PATH, data, len - log_len);
    if (log_len) {
        snprintf(log, sizeof log, "%s-wal", PATH);
        disk_set_file(log, data + len - log_len, log_len);
    }
    queue = NULL;
    int code = ending_of(open_and_use, NULL);
    must(code == 0 || code == 70);
    if (running)
        done();
    if (queue)
        q_close_file(queue);
    return 0;
}
