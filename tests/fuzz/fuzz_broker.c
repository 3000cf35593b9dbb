/* The core of the broker and its queue: any messages of peers of any role, in any order, with the
 * queue answering sooner or later.
 *
 * Checked after each step: what is done is in proportion to what came; nobody is told anything who
 * has said nothing; the broker's books are right; the queue refuses or does, and never ends the
 * process. */
#include "fuzz.h"

#include "../support/disk.h"
#include "../support/ending.h"
#include "core_private.h"
#include "queue_private.h"

#include <stdio.h>

static const char *const PATH = "/no-such-folder/queue.db"; /* only the disk in memory has it */
static const char *const roles[] = {"web",    "case",     "admin", "desk", "worker:weather",
                                    "client", "worker:x", "nobody"};
enum { PEERS = DW_COUNT(roles), STEPS = 200, FOR_MESSAGE = 6, FOR_ITEM = 4 };
static const dw_time NOW = 1790000000000;

struct last {
    uint8_t address[64], id[DW_ID_LEN];
    size_t address_len;
    struct dw_frames sent; /* the last message to this peer */
};

static struct world {
    struct dw_config config;
    struct dw_broker *broker;
    struct dw_queue *queue;
    struct dw_queue_op *submitted, **submitted_end;
    int64_t mono;
    size_t allowed; /* acts */
    struct last last[PEERS];
    uint8_t from;
} world;

static uint8_t *empty_queue;
static size_t empty_len;

static void open_queue(struct world *w)
{
    struct dw_error err;
    must(dw_queue_open_still(PATH, &w->config, &w->queue, &err) == DW_OK);
}

static void set_up(struct world *w)
{
    size_t len;
    disk_install();
    disk_reset(1);
    dw_config_defaults(&w->config);
    w->config.queue.reserve_bytes = 0; /* a real file */
    w->config.queue.max_items = 20;
    w->config.queue.seen_max = 10;
    w->config.queue.max_attempts = 3;
    w->config.broker.max_waiting = 4;
    w->config.broker.max_waiting_bytes = 4096;
    w->config.broker.max_joined_bytes = 2048;
    w->config.broker.max_frames = 16;
    open_queue(w);
    q_close_file(w->queue);
    const uint8_t *file = disk_file(PATH, &len);
    empty_queue = malloc(len);
    memcpy(empty_queue, file, empty_len = len);
}

static struct dw_peer peer(uint8_t n)
{
    struct dw_peer p = {.socket = n & 1, .id_len = 5, .id = {0, n, n, n, n}};
    snprintf(p.role, sizeof p.role, "%s", roles[n]);
    return p;
}

/* 0: the address of the last request to this worker; 1: the same with a bit flipped, by a byte that
 * follows; 2: the header of an item, by a byte; 3: the id that titanic.request gave; 4: many bytes;
 * else a word. */
static const void *special(void *arg, int number, struct dw_reader *r, size_t *len)
{
    static const char *const words[] = {
        "",        "MDPC01",    "MDPW01",          "MDPC02",        "MDPW02", "filing",
        "weather", "queue.put", "titanic.request", "titanic.reply", "close"};
    static struct dw_buf header;
    static uint8_t many[700];
    struct world *w = arg;
    struct last *last = &w->last[w->from];
    if (number < 2) {
        if (number == 1 && last->address_len)
            last->address[dw_read_u8(r) % last->address_len] ^= 1;
        *len = last->address_len;
        return last->address;
    }
    if (number == 2) {
        uint8_t n = dw_read_u8(r);
        struct dw_item_header h = {.klass = n & 1, .parts = n >> 6};
        memset(h.id, 1 + (n & 15), sizeof h.id);
        memset(h.handle, 1 + (n & 15), sizeof h.handle);
        memset(h.tok, n >> 2 & 3, sizeof h.tok);
        memset(h.attempt, h.parts ? 9 : 0, sizeof h.attempt);
        snprintf(h.service, sizeof h.service, "%s",
                 roles[w->from][0] == 'c' ? "weather" : "filing");
        dw_buf_free(&header);
        dw_buf_init(&header, 1024);
        dw_item_header_encode(&h, &header);
        *len = header.len;
        return header.data;
    }
    if (number == 3) {
        *len = DW_ID_LEN;
        return last->id;
    }
    if (number == 4) {
        *len = (size_t)dw_read_u8(r) * 2;
        return many;
    }
    const char *word = words[(size_t)(number - 5) % DW_COUNT(words)];
    *len = strlen(word);
    return word;
}

/* ---- what the broker wants done ---- */

static void remember(struct world *w, struct dw_act *a)
{
    struct dw_mdp_message m;
    const char *why;
    uint8_t n = a->to.id[1];
    struct dw_peer p = peer(n);
    must(n < PEERS && a->to.id_len == p.id_len && strcmp(a->to.role, p.role) == 0);
    struct last *last = &w->last[n];
    dw_frames_free(&last->sent);
    last->sent = a->frames;
    a->frames = (struct dw_frames){0};
    const struct dw_frames *f = &last->sent;
    must(f->count > 0);
    /* 200 and an id: what titanic.request says */
    if (f->items[f->count - 1].len == DW_ID_LEN)
        memcpy(last->id, f->items[f->count - 1].data, DW_ID_LEN);
    if (dw_mdp_parse(f->items, f->count, &m, &why) == DW_OK && m.worker &&
        m.command == DW_MDP_REQUEST && m.address.len <= sizeof last->address) {
        memcpy(last->address, m.address.data, m.address.len);
        last->address_len = m.address.len;
    }
}

static void act(struct world *w)
{
    size_t count = 0;
    for (struct dw_act *a = dw_broker_acts(w->broker), *next; a; a = next) {
        next = a->next;
        count++;
        if (a->kind == DW_ACT_QUEUE) {
            a->op->next = NULL;
            *w->submitted_end = a->op;
            w->submitted_end = &a->op->next;
            a->op = NULL;
        } else {
            must(a->kind != DW_ACT_CUT || a->why);
            if (a->kind == DW_ACT_SEND)
                remember(w, a);
        }
        dw_act_free(a);
    }
    must(count <= w->allowed);
    w->allowed -= count;
}

static void run_queue(struct world *w)
{
    struct dw_queue_op *list = w->submitted;
    w->submitted = NULL;
    w->submitted_end = &w->submitted;
    if (!list)
        return;
    if (!w->queue)
        open_queue(w);
    dw_queue_run(w->queue, list);
    while (list) {
        struct dw_queue_op *next = list->next;
        must(list->status >= 200 && list->status <= 599);
        w->allowed += FOR_MESSAGE + list->items_count * FOR_ITEM;
        dw_broker_finished(w->broker, w->mono, NOW + w->mono, list);
        list = next;
    }
}

/* ---- the books ---- */

static void check_books(const struct world *w)
{
    const struct dw_broker *b = w->broker;
    int64_t waiting = 0, workers = 0, leases = 0;
    size_t joined = 0;
    for (const struct service *s = b->services; s; s = s->next) {
        int64_t own = 0;
        for (const struct request *r = s->waiting; r; r = r->next)
            own++;
        must(own == s->waiting_count && dw_mdp_service_name(dw_slice_of(s->name)));
        waiting += own;
    }
    for (const struct worker *at = b->workers; at; at = at->next, workers++) {
        uint32_t in_hand = 0;
        for (const struct request *r = at->requests; r; r = r->next, in_hand++)
            joined += r->parts.frames.bytes;
        for (const struct lease *l = at->leases; l; l = l->next, in_hand++, leases++)
            joined += l->parts.frames.bytes;
        must(in_hand == at->in_hand && in_hand <= at->credit);
        must(dw_may_serve(at->peer.role, dw_slice_of(at->service->name)));
    }
    must(joined == b->joined_bytes && joined <= (size_t)w->config.broker.max_joined_bytes);
    must(workers <= PEERS && *b->m_waiting == waiting && *b->m_workers == workers &&
         *b->m_leases == leases);
    must(waiting * (int64_t)sizeof(struct request) <= 2 * w->config.broker.max_waiting_bytes);
}

/* ---- steps ---- */

static void message(struct world *w, struct dw_reader *r)
{
    struct fuzz_message m;
    uint8_t shape = dw_read_u8(r);
    w->from = shape % PEERS;
    struct dw_peer p = peer(w->from);
    fuzz_message_read(&m, r, shape / PEERS % 16, special, w);
    w->allowed += FOR_MESSAGE;
    dw_broker_message(w->broker, w->mono, NOW + w->mono, &p, m.frames, m.count);
    fuzz_message_free(&m);
}

static void step(struct world *w, struct dw_reader *r)
{
    uint8_t kind = dw_read_u8(r);
    if (kind < 200) {
        message(w, r);
    } else if (kind < 220) {
        run_queue(w);
    } else if (kind < 240) { /* a heartbeat for each worker, a claim for each service */
        size_t services = 0;
        for (const struct service *s = w->broker->services; s; s = s->next)
            services++;
        w->mono += (kind - 219) * 250;
        w->allowed += PEERS + services + 1;
        dw_broker_tick(w->broker, w->mono, NOW + w->mono);
    } else if (kind < 255) {
        struct dw_peer to = peer(kind % PEERS);
        const struct dw_frames *sent = &w->last[kind % PEERS].sent;
        w->allowed += FOR_MESSAGE;
        if (sent->count)
            dw_broker_unsent(w->broker, NOW + w->mono, &to, sent->items, sent->count);
    } else {
        w->allowed += PEERS;
        dw_broker_drain(w->broker, w->mono);
    }
    act(w);
    check_books(w);
}

static void clean_up(struct world *w)
{
    run_queue(w);
    act(w);
    while (w->submitted) {
        struct dw_queue_op *op = w->submitted;
        w->submitted = op->next;
        dw_free(op->context);
        dw_queue_op_free(op);
    }
    for (size_t i = 0; i < PEERS; i++)
        dw_frames_free(&w->last[i].sent);
    dw_broker_free(w->broker);
    if (w->queue)
        q_close_file(w->queue);
}

static void run(void *arg)
{
    struct world *w = &world;
    struct dw_reader *r = arg;
    *w = (struct world){.config = w->config, .mono = 1000};
    w->submitted_end = &w->submitted;
    disk_reset(1);
    disk_set_file(PATH, empty_queue, empty_len);
    w->broker = dw_broker_new(&w->config, 1);
    *w->broker->m_waiting = *w->broker->m_workers = *w->broker->m_leases = 0;
    for (int i = 0; i < STEPS && r->rest.len; i++)
        step(w, r);
    clean_up(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_reader r = {.rest = DW_SLICE(data, len)};
    if (!empty_queue)
        set_up(&world);
    must(ending_of(run, &r) == 0);
    return 0;
}
