/* fold.c - events into counters, batch by batch.  Why each happens once stands in statistics.h. */
#include "counters.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <string.h>

enum {
    ROUNDS = 4,                       /* somebody else finishes the same batch: look again */
    BATCH_ARENA_MAX = 48 * 1024 * 1024,
    READ_MAX = 24 * 1024 * 1024,      /* of cases for a batch, or of counters for one commit */
    CELLS_OVER = 1024,                /* what the last event of a batch may add beyond its limit */
    PAUSE_MAX_MS = 3600000,           /* a longer one comes from a clock that was wrong */
};
static const char journal_key[] = "journal";

/* ---- the journal ---- */

static const struct dw_field journal_case_fields[] = {
    DW_F_FIXED(struct journal_case, id, 0),
    DW_F_I32(struct journal_case, upto, 0),
};
static const struct dw_layout journal_case_layout =
    DW_LAYOUT("case", struct journal_case, journal_case_fields);
static const struct dw_field journal_fields[] = {
    DW_F_I64(struct journal, batch, 0),
    DW_F_I64(struct journal, paused_until, DW_OPTIONAL),
    DW_F_DOCS(struct journal, cases, DW_FOLD_BATCH_MAX, &journal_case_layout, DW_OPTIONAL),
    DW_F_TEXTS(struct journal, cells, DW_FOLD_CELLS_MAX + CELLS_OVER, DW_OPTIONAL),
    DW_F_I32S(struct journal, counts, DW_FOLD_CELLS_MAX + CELLS_OVER, DW_OPTIONAL),
};
static const struct dw_layout journal_layout = DW_LAYOUT("journal", struct journal, journal_fields);

enum dw_result journal_read(struct dw_store *store, struct dw_arena *arena, struct journal *ret,
                            int64_t *version)
{
    DW_AUTO_BUF doc = {0};
    struct dw_store_case found;
    struct dw_error err;
    dw_buf_init(&doc, DW_DOC_MAX);
    *ret = (struct journal){0};
    *version = 0;
    enum dw_result result = dw_store_record(store, DW_STATISTICS, journal_key, &doc, &found);
    if (result == DW_NOT_FOUND)
        return DW_OK;
    if (result != DW_OK)
        return result;
    *version = found.version;
    if (dw_decode(&journal_layout, found.doc, arena, ret, &err) == DW_OK &&
        ret->cells_count == ret->counts_count)
        return DW_OK;
    dw_log(DW_ERROR, "statistics.journal", "the journal of statistics cannot be read");
    return DW_INVALID;
}

enum dw_result journal_write(struct dw_store *store, const struct journal *journal,
                             int64_t *version)
{
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(&journal_layout, journal, &doc);
    struct dw_store_record record = {.collection = DW_STATISTICS,
                                     .key = journal_key,
                                     .old_version = *version,
                                     .version = *version + 1,
                                     .doc = dw_buf_slice(&doc)};
    struct dw_store_step step = {.records = &record, .records_count = 1}, *steps[] = {&step};
    dw_store_apply(store, steps, 1);
    *version += step.outcome == DW_OK;
    return step.outcome;
}

bool journal_is_paused(const struct journal *journal, dw_time now)
{
    return journal->paused_until > now && journal->paused_until - now <= PAUSE_MAX_MS;
}

/* ---- finishing a batch: its counters ---- */

/* The step that adds a batch to one document; false where it has been added, or cannot be. */
static bool add_to_document(struct dw_store *store, const struct journal *journal, size_t first,
                            size_t count, const char *key, struct dw_arena *arena,
                            struct dw_store_record *record, struct dw_buf *doc,
                            enum dw_result *result)
{
    struct dw_counters old, sum;
    struct dw_counters added = {.counts = journal->counts + first,
                                .cells = dw_arena_alloc(arena, count * sizeof *added.cells),
                                .cells_count = count,
                                .counts_count = count};
    int64_t version;
    *result = added.cells ? counters_read(store, key, arena, &old, &version) : DW_INVALID;
    if (*result != DW_OK || (version && old.batch >= journal->batch))
        return false;
    for (size_t i = 0; i < count; i++)
        added.cells[i] = counters_name(journal->cells[first + i]);
    counters_merge(&old, &added, arena, &sum);
    if (!sum.cells || sum.cells_count > DW_COUNTERS_MAX) {
        dw_log(DW_ERROR, "statistics.full", "%s has more counters than a document may have", key);
        *result = DW_INVALID;
        return false;
    }
    sum.batch = journal->batch;
    *record = counters_record(key, version, &sum, doc);
    return true;
}

struct additions {
    struct dw_store_record *records;
    struct dw_buf *docs;
    struct dw_store_step *steps, **list;
    size_t count;
};

static enum dw_result prepare_additions(struct dw_store *store, const struct journal *journal,
                                        size_t *next, struct dw_arena *arena, struct additions *a)
{
    char key[DW_COUNTER_TEXT];
    enum dw_result result = DW_OK;
    while (result == DW_OK && *next < journal->cells_count && arena->used < READ_MAX) {
        size_t n = counters_group(journal->cells, journal->cells_count, *next, key);
        const char *kept = dw_arena_strndup(arena, key, strlen(key));
        if (add_to_document(store, journal, *next, n, kept, arena, &a->records[a->count],
                            &a->docs[a->count], &result))
            a->count++;
        *next += n;
    }
    return result;
}

/* A look at documents of the batch from `next` on, and one commit for those that want it. */
static enum dw_result add_some(struct dw_store *store, const struct journal *journal, size_t *next)
{
    struct additions a = {.count = 0};
    DW_AUTO_ARENA arena = {0};
    size_t room = journal->cells_count + 1;
    dw_arena_init(&arena, BATCH_ARENA_MAX);
    a.records = dw_alloc(room * sizeof *a.records);
    a.docs = dw_alloc(room * sizeof *a.docs);
    a.steps = dw_alloc(room * sizeof *a.steps);
    a.list = dw_alloc(room * sizeof *a.list);
    enum dw_result result = prepare_additions(store, journal, next, &arena, &a);
    for (size_t i = 0; i < a.count; i++) {
        a.steps[i] = (struct dw_store_step){.records = &a.records[i], .records_count = 1};
        a.list[i] = &a.steps[i];
    }
    if (result == DW_OK)
        dw_store_apply(store, a.list, a.count);
    for (size_t i = 0; i < a.count; i++) {
        if (result == DW_OK)
            result = a.steps[i].outcome;
        dw_buf_free(&a.docs[i]);
    }
    dw_free(a.records);
    dw_free(a.docs);
    dw_free(a.steps);
    dw_free(a.list);
    return result;
}

static enum dw_result add_once(struct dw_store *store, const struct journal *journal)
{
    enum dw_result result = DW_OK;
    for (size_t next = 0; result == DW_OK && next < journal->cells_count;)
        result = add_some(store, journal, &next);
    return result;
}

/* ---- finishing a batch: its cases ---- */

struct mark {
    struct dw_store_step step;
    struct dw_case c;
    struct dw_buf doc;
};

static void prepare_mark(struct mark *m, struct dw_case *c, int32_t upto, struct dw_arena *arena)
{
    m->c = *c;
    m->c.folded = upto;
    m->c.version++;
    dw_buf_init(&m->doc, DW_DOC_MAX);
    dw_case_encode(&m->c, arena, &m->doc);
    m->step = (struct dw_store_step){.with_case = true,
                                     .old_version = c->version,
                                     .version = m->c.version,
                                     .doc = dw_buf_slice(&m->doc),
                                     .ix = &m->c.ix};
    memcpy(m->step.case_id, c->id, sizeof m->step.case_id);
}

static enum dw_result load_case(struct dw_store *store, const uint8_t id[16],
                                struct dw_arena *arena, struct dw_case *ret)
{
    struct dw_store_case found;
    struct dw_error err;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX + 1);
    enum dw_result result = dw_store_case(store, id, &doc, &found);
    return result == DW_OK ? dw_case_decode(found.doc, arena, ret, &err) : result;
}

/* One look at all cases of the batch, and one commit for those that want it. */
static enum dw_result mark_once(struct dw_store *store, const struct journal *journal,
                                struct dw_case *const *loaded)
{
    DW_AUTO_ARENA arena = {0};
    struct mark *marks = dw_alloc((journal->cases_count + 1) * sizeof *marks);
    struct dw_store_step **list = dw_alloc((journal->cases_count + 1) * sizeof *list);
    size_t count = 0;
    enum dw_result result = DW_OK;
    dw_arena_init(&arena, BATCH_ARENA_MAX);
    for (size_t i = 0; result == DW_OK && i < journal->cases_count; i++) {
        struct dw_case read, *c = loaded ? loaded[i] : &read;
        if (!loaded)
            result = load_case(store, journal->cases[i].id, &arena, c);
        if (result != DW_OK || (!loaded && c->folded >= journal->cases[i].upto))
            continue;
        prepare_mark(&marks[count], c, journal->cases[i].upto, &arena);
        list[count] = &marks[count].step;
        count++;
    }
    dw_store_apply(store, list, count);
    for (size_t i = 0; i < count; i++) {
        if (result == DW_OK)
            result = marks[i].step.outcome;
        dw_buf_free(&marks[i].doc);
    }
    dw_free(list);
    dw_free(marks);
    return result;
}

enum dw_result journal_finish(struct dw_store *store, const struct journal *journal,
                              struct dw_case *const *loaded)
{
    enum dw_result result = DW_CONFLICT;
    for (int i = 0; i < ROUNDS && (result == DW_CONFLICT || result == DW_UNCERTAIN); i++)
        result = add_once(store, journal);
    if (result != DW_OK)
        return result;
    DW_POINT("statistics.counted");
    result = mark_once(store, journal, loaded);
    for (int i = 1; i < ROUNDS && (result == DW_CONFLICT || result == DW_UNCERTAIN); i++)
        result = mark_once(store, journal, NULL);
    DW_POINT("statistics.marked");
    return result;
}

/* ---- the next batch ---- */

struct batch {
    struct journal journal;
    struct dw_case **cases; /* as they were read */
    struct journal nothing; /* cases that only stand in the index: nothing of them counts */
    struct dw_case **idle;
    struct dw_arena arena;
    struct dw_tally tally;
};

static void *room_for(struct batch *b, size_t count, size_t size)
{
    return dw_arena_alloc(&b->arena, (count + 1) * size);
}

/* Up to which event the case counts in this batch: to its end, unless the batch is full before. */
static int32_t add_case(const struct dw_fold *fold, struct batch *b, const struct dw_case *c)
{
    struct dw_standing standing = {0};
    for (size_t i = 0; i < c->events_count; i++) {
        bool counted = (int32_t)i < c->folded;
        dw_statistics_event(fold->routing, &c->facts, &standing, &c->events[i],
                            counted ? NULL : &b->tally);
        if (!counted && b->tally.count >= DW_FOLD_CELLS_MAX)
            return (int32_t)i + 1;
    }
    return (int32_t)c->events_count;
}

static void put_case(struct journal *journal, struct dw_case **list, struct dw_case *c,
                     int32_t upto)
{
    list[journal->cases_count] = c;
    struct journal_case *entry = &journal->cases[journal->cases_count++];
    memcpy(entry->id, c->id, sizeof entry->id);
    entry->upto = upto;
}

static enum dw_result gather(const struct dw_fold *fold, struct batch *b,
                             uint8_t (*ids)[16], size_t count)
{
    b->cases = room_for(b, count, sizeof *b->cases);
    b->idle = room_for(b, count, sizeof *b->idle);
    b->journal.cases = room_for(b, count, sizeof *b->journal.cases);
    b->nothing.cases = room_for(b, count, sizeof *b->nothing.cases);
    for (size_t i = 0; i < count; i++) {
        if (b->arena.used > READ_MAX || b->tally.count >= DW_FOLD_CELLS_MAX)
            break;
        struct dw_case *c = room_for(b, 1, sizeof *c);
        enum dw_result result = c ? load_case(fold->store, ids[i], &b->arena, c) : DW_RETRY;
        if (result == DW_RETRY)
            return result;
        if (result != DW_OK)
            dw_log(DW_ERROR, "statistics.unreadable", "a case cannot be read, and is not counted");
        else if (dw_statistics_behind(c))
            put_case(&b->journal, b->cases, c, add_case(fold, b, c));
        else
            put_case(&b->nothing, b->idle, c, c->folded);
    }
    return DW_OK;
}

static bool list_cells(struct batch *b)
{
    dw_tally_sort(&b->tally);
    size_t count = b->tally.count;
    b->journal.cells = room_for(b, count, sizeof *b->journal.cells);
    b->journal.counts = room_for(b, count, sizeof *b->journal.counts);
    if (!b->journal.cells || !b->journal.counts)
        return false;
    for (size_t i = 0; i < count; i++) {
        b->journal.cells[i] = b->tally.cells[i].key;
        b->journal.counts[i] = (int32_t)b->tally.cells[i].n;
    }
    b->journal.cells_count = b->journal.counts_count = count;
    return true;
}

static enum dw_result count_batch(struct dw_fold *fold, struct batch *b, uint8_t (*ids)[16],
                                  size_t count, size_t *cases)
{
    enum dw_result result = gather(fold, b, ids, count);
    if (result != DW_OK)
        return result;
    if (b->nothing.cases_count) {
        result = mark_once(fold->store, &b->nothing, b->idle);
        if (result != DW_OK)
            return result;
    }
    if (!b->journal.cases_count)
        return DW_OK;
    if (!list_cells(b))
        return DW_INVALID;
    b->journal.batch++;
    int64_t version = fold->finished;
    result = journal_write(fold->store, &b->journal, &version);
    DW_POINT("statistics.journaled");
    if (result == DW_OK)
        result = journal_finish(fold->store, &b->journal, b->cases);
    if (result == DW_OK) {
        fold->finished = version;
        *cases = b->journal.cases_count;
    }
    return result;
}

enum dw_result dw_fold_step(struct dw_fold *fold, dw_time now, size_t *cases)
{
    uint8_t ids[DW_FOLD_BATCH_MAX][16];
    size_t count, limit = fold->cases_max < DW_FOLD_BATCH_MAX ? fold->cases_max : DW_FOLD_BATCH_MAX;
    struct journal last;
    struct batch b = {.cases = NULL};
    int64_t version;
    *cases = 0;
    /* A batch that somebody left unfinished has a case that is not marked, which is found here. */
    enum dw_result result = dw_store_due(fold->store, DW_DUE_FOLD, now, limit, ids, &count);
    if (result != DW_OK || !count)
        return result;
    dw_arena_init(&b.arena, BATCH_ARENA_MAX);
    result = journal_read(fold->store, &b.arena, &last, &version);
    if (result == DW_OK && !journal_is_paused(&last, now)) {
        if (version != fold->finished)
            result = journal_finish(fold->store, &last, NULL);
        if (result == DW_OK) {
            fold->finished = version;
            b.journal.batch = last.batch;
            result = count_batch(fold, &b, ids, count, cases);
        }
    }
    dw_tally_free(&b.tally);
    dw_arena_free(&b.arena);
    return result;
}
