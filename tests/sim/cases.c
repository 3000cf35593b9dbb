/* cases.c - the case store: a SQLite file which each worker that takes filings has open.
 *
 * What a case consists of is as the contract wants it: a text and the chunks of a file as objects,
 * the receipt's handle, a reference, the case itself.  References are drawn from so few that some
 * are taken. The thread that moves the log is replaced by calls at times that follow from the seed.
 */
#include "sim.h"

#include "dw/checkpoint.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

enum { REFERENCES = 12, DOC_LEN = 2 + DW_ID_LEN, TEXT_LEN = 40, LOOK_MS = 1000, MOVES = 6 };

const char *const cases_path = "/no-such-folder-2/cases.db";
static const char uri[] = "sqlite:/no-such-folder-2/cases.db";

/* ---- the thread that moves the log, without a thread ---- */

struct dw_checkpointer {
    sqlite3 *db;
    void (*failed)(void *arg, const char *what);
    void *arg;
};

static struct dw_checkpointer *last_started;

struct dw_checkpointer *__wrap_dw_checkpointer_start(const char *path,
                                                     void (*failed)(void *arg, const char *what),
                                                     void *arg);
struct dw_checkpointer *__wrap_dw_checkpointer_start(const char *path,
                                                     void (*failed)(void *arg, const char *what),
                                                     void *arg)
{
    struct dw_checkpointer *c = dw_alloc(sizeof *c);
    *c = (struct dw_checkpointer){.failed = failed, .arg = arg};
    if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_exec(c->db, "PRAGMA schema_version", NULL, NULL, NULL) == SQLITE_OK)
        return last_started = c;
    sqlite3_close(c->db);
    dw_free(c);
    return NULL;
}

void __wrap_dw_checkpointer_stop(struct dw_checkpointer *c);
void __wrap_dw_checkpointer_stop(struct dw_checkpointer *c)
{
    if (!c)
        return;
    sqlite3_close(c->db);
    dw_free(c);
}

static void move_log(struct sim *s, struct dw_checkpointer *c)
{
    int how = sim_random(s, 3) ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE;
    int rc = sqlite3_wal_checkpoint_v2(c->db, NULL, how, NULL, NULL);
    if ((rc & 0xff) == SQLITE_IOERR)
        c->failed(c->arg, "checkpoint");
}

/* ---- processes that have it open ---- */

static void begin_use(struct sim *s, struct peer *p)
{
    s->at_store = p;
    disk_use_process(1 + p->n);
}

bool cases_open(struct sim *s, struct peer *p)
{
    struct dw_error err;
    begin_use(s, p);
    if (dw_store_open(uri, &s->config, &p->store, &err) != DW_OK) {
        sim_note(s, "worker %d: %s", p->n, err.text);
        p->store = NULL;
        return false;
    }
    p->moves = last_started;
    p->look_at = s->mono + (int64_t)sim_random(s, LOOK_MS);
    return true;
}

void cases_close(struct sim *s, struct peer *p)
{
    begin_use(s, p);
    dw_store_close(p->store);
    p->store = NULL;
    p->moves = NULL;
}

bool cases_look_after(struct sim *s, struct peer *p)
{
    if (s->mono < p->look_at)
        return true;
    begin_use(s, p);
    p->look_at = s->mono + 1 + (int64_t)sim_random(s, LOOK_MS);
    if (sim_random(s, MOVES) == 0) /* it has a disk that others use too */
        move_log(s, p->moves);
    return p->died || dw_store_ping(p->store) != DW_UNCERTAIN;
}

/* A store of a moment ago: making its tables takes longer than a seed. */
void cases_lay_down(struct sim *s)
{
    static uint8_t *made;
    static size_t len;
    if (!made) {
        struct peer *p = &s->peers[INTAKES];
        if (!cases_open(s, p))
            check_fail(s, "a store can be made");
        cases_close(s, p);
        const uint8_t *bytes = disk_file(cases_path, &len);
        made = dw_alloc(len);
        memcpy(made, bytes, len);
    }
    if (s->seed % 16)
        disk_set_file(cases_path, made, len);
}

/* ---- what a case consists of ---- */

static void text_id(int filing, uint8_t id[16])
{
    memset(id, 0xa0 + filing, 16);
}

/* Whoever sends a filing again seals its files anew. */
static void file_id(const uint8_t attempt[DW_ID_LEN], uint8_t id[16])
{
    memcpy(id, attempt, 16);
    id[15] ^= 0xff;
}

static void handle_of(int filing, uint8_t handle[16])
{
    memset(handle, 0x90 + filing, 16);
}

static size_t text_of(int filing, char text[TEXT_LEN])
{
    return (size_t)snprintf(text, TEXT_LEN, "text of filing %d", filing);
}

struct made {
    struct dw_store_step step;
    struct dw_store_object text;
    struct dw_case_index ix;
    const char *body;
    char reference[16], bytes[TEXT_LEN];
    uint8_t doc[DOC_LEN];
};

static void make(struct made *m, const struct job *j)
{
    *m = (struct made){.body = "500108"};
    snprintf(m->reference, sizeof m->reference, "CQ26-%u",
             ((unsigned)j->filing * 5 / 2 + j->registering.reference_n) % REFERENCES);
    text_id(j->filing, m->text.id);
    m->text.bytes = DW_SLICE(m->bytes, text_of(j->filing, m->bytes));
    m->doc[0] = (uint8_t)j->filing;
    m->doc[1] = (uint8_t)parts_of(j->filing);
    memcpy(m->doc + 2, j->attempt, DW_ID_LEN);
    m->ix = (struct dw_case_index){.bodies = &m->body,
                                   .bodies_count = 1,
                                   .reference = m->reference,
                                   .state = "received",
                                   .kind = "report",
                                   .against = "",
                                   .district = "500108",
                                   .open = true,
                                   .assignee = "",
                                   .body = m->body,
                                   .due_rule = ""};
    m->step = (struct dw_store_step){.objects = &m->text,
                                     .objects_count = 1,
                                     .with_receipt = true,
                                     .reference = m->reference,
                                     .with_case = true,
                                     .version = 1,
                                     .doc = DW_SLICE(m->doc, DOC_LEN),
                                     .ix = &m->ix};
    handle_of(j->filing, m->step.handle);
    memcpy(m->step.case_id, j->id, 16);
}

/* ---- what a worker does with it ---- */

static void note_outcome(struct sim *s, const struct peer *p, const char *what,
                         const struct dw_store_step *step, int filing)
{
    s->outcomes[step->outcome]++;
    s->existed += step->existed;
    s->taken += step->taken;
    sim_note(s, "worker %d writes %s of filing %d: %s%s%s", p->n, what, filing,
             dw_result_name(step->outcome), step->existed ? ", it is there" : "",
             step->taken ? ", the reference is taken" : "");
}

enum dw_result cases_find(struct sim *s, struct peer *p, const struct job *j)
{
    struct dw_store_case found;
    DW_AUTO_BUF doc = {0};
    begin_use(s, p);
    dw_buf_init(&doc, DW_DOC_MAX + 1);
    return dw_store_case(p->store, j->id, &doc, &found);
}

enum dw_result cases_put_part(struct sim *s, struct peer *p, const struct job *j,
                              struct dw_slice bytes)
{
    struct dw_store_object part = {.part = (int32_t)j->part, .bytes = bytes};
    struct dw_store_step step = {.objects = &part, .objects_count = 1}, *steps[] = {&step};
    begin_use(s, p);
    file_id(j->attempt, part.id);
    dw_store_apply(p->store, steps, 1);
    note_outcome(s, p, "a part", &step, j->filing);
    return step.outcome;
}

void cases_write(struct sim *s, struct peer *p, struct job *const *jobs, size_t count)
{
    struct made made[BROKERS * JOBS];
    struct dw_store_step *steps[BROKERS * JOBS];
    begin_use(s, p);
    for (size_t i = 0; i < count; i++) {
        make(&made[i], jobs[i]);
        steps[i] = &made[i].step;
    }
    dw_store_apply(p->store, steps, count);
    for (size_t i = 0; i < count; i++) {
        note_outcome(s, p, "the case", steps[i], jobs[i]->filing);
        jobs[i]->next = dw_registering_written(&jobs[i]->registering, steps[i]);
    }
}

/* ---- looking at it from outside ---- */

static void count_one(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    int *counts = arg;
    (void)key, (void)version;
    if (doc.len == DOC_LEN && doc.data[0] < FILINGS)
        counts[doc.data[0]]++;
}

bool cases_count(struct sim *s, struct peer *p, int counts[FILINGS])
{
    memset(counts, 0, FILINGS * sizeof *counts);
    begin_use(s, p);
    return p->store && dw_store_each_case(p->store, count_one, counts) == DW_OK;
}

static bool has_object(struct peer *p, const uint8_t id[16], int32_t part, const void *bytes,
                       size_t len)
{
    DW_AUTO_BUF found = {0};
    dw_buf_init(&found, DW_DOC_MAX);
    return dw_store_object(p->store, id, part, &found) == DW_OK && found.len == len &&
           memcmp(found.data, bytes, len) == 0;
}

const char *cases_wrong(struct sim *s, struct peer *p, int filing)
{
    struct dw_store_case c;
    uint8_t id[16], handle[16];
    char bytes[PART_BYTES];
    DW_AUTO_BUF doc = {0};
    begin_use(s, p);
    dw_buf_init(&doc, DW_DOC_MAX);
    handle_of(filing, handle);
    if (dw_store_id_of_handle(p->store, handle, id) != DW_OK || filing_of(s, id) != filing)
        return "whoever has the receipt finds the case";
    if (dw_store_case(p->store, id, &doc, &c) != DW_OK || doc.len != DOC_LEN)
        return "a case is as it was written";
    text_id(filing, id);
    if (!has_object(p, id, 0, bytes, text_of(filing, bytes)))
        return "a case has its text";
    file_id(doc.data + 2, id);
    for (uint32_t n = 0; n < doc.data[1]; n++) {
        size_t len = part_bytes(filing, n, bytes);
        if (!has_object(p, id, (int32_t)n, bytes, len))
            return "a case has all parts of its file";
    }
    return NULL;
}
