/* rebuild.c - the counters once more, from all cases.  What makes it right beside workers that go on
 * stands in statistics.h. */
#include "counters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_ARENA_MAX = 48 * 1024 * 1024, TELL_EVERY = 1000 };

struct document {
    char *key;
    int64_t version; /* 0: it is not there */
    bool wrong;
};
struct rebuilding {
    struct dw_rebuild *r;
    struct journal journal; /* as we write it */
    int64_t version;        /* of the journal; who else writes it ends us */
    dw_time extended;       /* when it was written last */
    enum dw_result result;
    struct dw_tally tally;
    struct document *documents;
    size_t count, room;
};

/* ---- the pause ---- */

static void hold(struct rebuilding *b)
{
    b->extended = b->r->now();
    b->journal.paused_until = b->extended + b->r->pause_ms;
    if (b->result == DW_OK)
        b->result = journal_write(b->r->store, &b->journal, &b->version);
}

static void begin_pause(struct rebuilding *b)
{
    DW_AUTO_ARENA arena = {0};
    struct journal last;
    dw_arena_init(&arena, COUNTERS_ARENA_MAX);
    b->result = journal_read(b->r->store, &arena, &last, &b->version);
    if (b->result == DW_OK && journal_is_paused(&last, b->r->now()))
        b->result = DW_CONFLICT; /* another rebuild */
    if (b->result == DW_OK)
        b->result = journal_finish(b->r->store, &last, NULL);
    b->journal.batch = last.batch;
    hold(b);
}

static void end_pause(struct rebuilding *b)
{
    int64_t version = b->version;
    b->journal.paused_until = 0;
    journal_write(b->r->store, &b->journal, &version); /* if not, it ends by itself */
}

/* ---- what the cases say ---- */

static void add_case(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct rebuilding *b = arg;
    struct dw_case c;
    struct dw_error err;
    DW_AUTO_ARENA arena = {0};
    (void)key;
    (void)version;
    if (b->result != DW_OK)
        return;
    dw_arena_init(&arena, CASE_ARENA_MAX);
    if (dw_case_decode(doc, &arena, &c, &err) == DW_OK) {
        dw_statistics_events(b->r->routing, &c, 0, c.folded, &b->tally);
        b->r->behind += dw_statistics_behind(&c);
    } else {
        b->r->unreadable++;
    }
    if (++b->r->cases % TELL_EVERY == 0 && b->r->progress)
        b->r->progress(b->r->arg, b->r->cases);
    if (b->r->now() - b->extended > b->r->pause_ms / 4)
        hold(b);
}

/* ---- what the documents say ---- */

static struct document *add_document(struct rebuilding *b, const char *key)
{
    if (b->count == b->room) {
        b->room = b->room ? 2 * b->room : 64;
        b->documents = dw_realloc(b->documents, b->room * sizeof *b->documents);
    }
    struct document *d = &b->documents[b->count++];
    *d = (struct document){.key = dw_strdup(key)};
    return d;
}

static int beginning(const void *key, const void *cell)
{
    const char *text = key, *of = ((const struct dw_tally_cell *)cell)->key;
    size_t len = strlen(text);
    int order = strncmp(text, of, len);
    return order ? order : ' ' - of[len];
}

/* The cells of a document, of the sorted tally. */
static size_t cells_of(const struct rebuilding *b, const char *key, size_t *first)
{
    const struct dw_tally *t = &b->tally;
    const struct dw_tally_cell *hit =
        t->count ? bsearch(key, t->cells, t->count, sizeof *t->cells, beginning) : NULL;
    if (!hit)
        return 0;
    size_t at = (size_t)(hit - t->cells), end = at + 1;
    while (at > 0 && beginning(key, &t->cells[at - 1]) == 0)
        at--;
    while (end < t->count && beginning(key, &t->cells[end]) == 0)
        end++;
    *first = at;
    return end - at;
}

static bool is_right(const struct rebuilding *b, const char *key, const struct dw_counters *found)
{
    size_t first = 0, count = cells_of(b, key, &first);
    bool same = count == found->cells_count && found->batch <= b->journal.batch;
    for (size_t i = 0; same && i < count; i++)
        same = found->counts[i] == b->tally.cells[first + i].n &&
               strcmp(found->cells[i], counters_name(b->tally.cells[first + i].key)) == 0;
    return same;
}

static void compare_document(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    struct rebuilding *b = arg;
    struct dw_counters found;
    DW_AUTO_ARENA arena = {0};
    if (!strchr(key, '/')) /* the journal */
        return;
    dw_arena_init(&arena, COUNTERS_ARENA_MAX);
    struct document *d = add_document(b, key);
    d->version = version;
    d->wrong = counters_decode(doc, &arena, &found) != DW_OK || !is_right(b, key, &found);
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct document *)a)->key, ((const struct document *)b)->key);
}

/* What the cases say and no document does. */
static void find_missing(struct rebuilding *b)
{
    char key[DW_COUNTER_TEXT];
    size_t known = b->count;
    if (known)
        qsort(b->documents, known, sizeof *b->documents, by_key);
    for (size_t i = 0; i < b->tally.count;) {
        const char *cell = b->tally.cells[i].key;
        size_t first = i;
        snprintf(key, sizeof key, "%.*s", (int)strcspn(cell, " "), cell);
        i += cells_of(b, key, &first);
        struct document wanted = {.key = key};
        if (!known || !bsearch(&wanted, b->documents, known, sizeof wanted, by_key))
            add_document(b, key)->wrong = true;
    }
}

/* ---- repairing ---- */

static enum dw_result replace(struct rebuilding *b, const struct document *d)
{
    size_t first = 0, count = cells_of(b, d->key, &first);
    DW_AUTO_BUF doc = {0};
    struct dw_counters right = {.batch = b->journal.batch,
                                .cells = dw_alloc((count + 1) * sizeof *right.cells),
                                .cells_count = count,
                                .counts = dw_alloc((count + 1) * sizeof *right.counts),
                                .counts_count = count};
    for (size_t i = 0; i < count; i++) {
        right.cells[i] = counters_name(b->tally.cells[first + i].key);
        right.counts[i] = (int32_t)b->tally.cells[first + i].n;
    }
    struct dw_store_record record = counters_record(d->key, d->version, &right, &doc);
    struct dw_store_step step = {.records = &record, .records_count = 1}, *steps[] = {&step};
    dw_store_apply(b->r->store, steps, 1);
    dw_free(right.cells);
    dw_free(right.counts);
    return step.outcome;
}

static void judge(struct rebuilding *b)
{
    dw_tally_sort(&b->tally);
    if (b->result == DW_OK)
        b->result = dw_store_records(b->r->store, DW_STATISTICS, "", compare_document, b);
    if (b->result != DW_OK)
        return;
    find_missing(b);
    hold(b); /* nobody else has written it: all that was read belongs together */
    for (size_t i = 0; i < b->count && b->result == DW_OK; i++) {
        b->r->documents++;
        b->r->wrong += b->documents[i].wrong;
        if (!b->documents[i].wrong || b->r->check_only)
            continue;
        b->result = replace(b, &b->documents[i]);
        b->r->repaired += b->result == DW_OK;
    }
}

enum dw_result dw_statistics_rebuild(struct dw_rebuild *rebuild)
{
    struct rebuilding b = {.r = rebuild};
    begin_pause(&b);
    if (b.result == DW_OK) {
        enum dw_result read = dw_store_each_case(rebuild->walked, add_case, &b);
        if (b.result == DW_OK)
            b.result = read;
        judge(&b);
        end_pause(&b);
    }
    for (size_t i = 0; i < b.count; i++)
        dw_free(b.documents[i].key);
    dw_free(b.documents);
    dw_tally_free(&b.tally);
    return b.result;
}
