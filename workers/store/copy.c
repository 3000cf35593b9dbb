#include "dw/copy.h"

#include "driver.h"

#include "dw/clock.h"
#include "dw/layout.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

enum {
    PAGE = 500,
    PAGE_BYTES = 1024 * 1024,            /* or one document */
    ARENA_MAX = 4 * DW_DOC_MAX,          /* a page, and the index of each case decoded */
    TRIES = 6,
    FIRST_WAIT_MS = 250, /* doubled each time: eight seconds in all, enough for a new primary */
    SOURCE_MAX = 4096,
    NAME_MAX_LEN = 4096,
};

const char *const dw_table_names[DW_TABLES] = {
    [DW_TABLE_CASES] = "cases",           [DW_TABLE_RECEIPTS] = "receipts",
    [DW_TABLE_REFERENCES] = "references", [DW_TABLE_OBJECTS] = "objects",
    [DW_TABLE_RECORDS] = "records",       [DW_TABLE_AUDIT] = "audit",
};

/* ---- what is kept in the target ---- */

static const char manifest_key[] = "manifest";

static const struct dw_field sum_fields[] = {
    DW_F_I64(struct dw_copy_sum, count, 0),
    DW_F_I64(struct dw_copy_sum, bytes, 0),
    DW_F_FIXED(struct dw_copy_sum, hash, 0),
};
static const struct dw_layout sum_layout = DW_LAYOUT("sum", struct dw_copy_sum, sum_fields);

struct manifest {
    int64_t made;
    struct dw_copy_sum *tables;
    size_t tables_count;
};
static const struct dw_field manifest_fields[] = {
    DW_F_I64(struct manifest, made, 0),
    DW_F_DOCS(struct manifest, tables, DW_TABLES, &sum_layout, 0),
};
static const struct dw_layout manifest_layout =
    DW_LAYOUT("manifest", struct manifest, manifest_fields);

/* How far: `table` up to the document with these keys, of which `tables` are the sums. */
struct state {
    const char *source;
    int32_t table;
    bool begun; /* something of the table is there */
    uint8_t id[16];
    const char *name, *key;
    int64_t number;
    struct dw_copy_sum *tables;
    size_t tables_count;
};
static const struct dw_field state_fields[] = {
    DW_F_TEXT(struct state, source, SOURCE_MAX, 0),
    DW_F_I32(struct state, table, 0),
    DW_F_BOOL(struct state, begun, 0),
    DW_F_FIXED(struct state, id, 0),
    DW_F_TEXT(struct state, name, NAME_MAX_LEN, 0),
    DW_F_TEXT(struct state, key, NAME_MAX_LEN, 0),
    DW_F_I64(struct state, number, 0),
    DW_F_DOCS(struct state, tables, DW_TABLES, &sum_layout, 0),
};
static const struct dw_layout state_layout = DW_LAYOUT("copy", struct state, state_fields);

/* ---- sums ---- */

/* The copy's own records are no part of what is copied. */
static bool counts(enum dw_store_table table, const struct dw_store_entry *e)
{
    return table != DW_TABLE_RECORDS || strcmp(e->name, DW_STORE_COPY) != 0;
}

static void hash_number(crypto_generichash_state *hash, uint64_t n)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(n >> (56 - 8 * i));
    crypto_generichash_update(hash, bytes, sizeof bytes);
}

/* With its length in front, so that nothing can move from one field into the next. */
static void hash_bytes(crypto_generichash_state *hash, const void *data, size_t len)
{
    hash_number(hash, len);
    if (len)
        crypto_generichash_update(hash, data, len);
}

static void add(struct dw_copy_sum *sum, enum dw_store_table table, const struct dw_store_entry *e)
{
    static const char label[] = "dengwen/copy/1";
    crypto_generichash_state hash;
    uint8_t one[sizeof sum->hash];
    crypto_generichash_init(&hash, NULL, 0, sizeof one);
    hash_bytes(&hash, label, sizeof label);
    hash_number(&hash, table);
    hash_bytes(&hash, e->id, sizeof e->id);
    hash_bytes(&hash, e->name, strlen(e->name));
    hash_bytes(&hash, e->key, strlen(e->key));
    hash_number(&hash, (uint64_t)e->number);
    hash_number(&hash, (uint64_t)e->version);
    hash_bytes(&hash, e->case_id, sizeof e->case_id);
    hash_bytes(&hash, e->ix.data, e->ix.len);
    hash_bytes(&hash, e->doc.data, e->doc.len);
    crypto_generichash_final(&hash, one, sizeof one);
    sodium_add(sum->hash, one, sizeof one);
    sum->count++;
    sum->bytes += (int64_t)(e->ix.len + e->doc.len);
}

const char *dw_copy_difference(const struct dw_copy_sums *a, const struct dw_copy_sums *b)
{
    for (size_t i = 0; i < DW_TABLES; i++) {
        const struct dw_copy_sum *x = &a->tables[i], *y = &b->tables[i];
        if (x->count != y->count || x->bytes != y->bytes ||
            memcmp(x->hash, y->hash, sizeof x->hash) != 0)
            return dw_table_names[i];
    }
    return NULL;
}

/* How many there are, about: for showing how far a walk has come. */
static enum dw_result totals_of(struct dw_store *store, int64_t totals[DW_TABLES])
{
    struct dw_store_counts c = {0};
    enum dw_result result = dw_store_counts(store, &c);
    totals[DW_TABLE_CASES] = c.cases;
    totals[DW_TABLE_RECEIPTS] = c.receipts;
    totals[DW_TABLE_REFERENCES] = c.references;
    totals[DW_TABLE_OBJECTS] = c.objects;
    totals[DW_TABLE_RECORDS] = c.records;
    totals[DW_TABLE_AUDIT] = c.audit;
    return result;
}

static void tell_table(const struct dw_progress *progress, int table, const struct dw_copy_sum *sum,
                       int64_t total)
{
    if (total)
        dw_tell(progress, dw_table_names[table], sum->count, total);
}

/* ---- a walk, page by page ---- */

/* Keys outlive the page. */
struct place {
    bool begun;
    struct dw_store_entry keys;
    struct dw_buf name, key;
};

static void place_init(struct place *p)
{
    dw_buf_init(&p->name, NAME_MAX_LEN + 1);
    dw_buf_init(&p->key, NAME_MAX_LEN + 1);
    p->begun = false;
}

static void place_free(struct place *p)
{
    dw_buf_free(&p->name);
    dw_buf_free(&p->key);
}

static void place_set(struct place *p, const struct dw_store_entry *e)
{
    dw_buf_clear(&p->name);
    dw_buf_clear(&p->key);
    dw_buf_str(&p->name, e->name);
    dw_buf_str(&p->key, e->key);
    p->begun = true;
    p->keys = (struct dw_store_entry){.name = dw_buf_text(&p->name), .key = dw_buf_text(&p->key),
                                      .number = e->number};
    memcpy(p->keys.id, e->id, sizeof e->id);
}

static const struct dw_store_entry *place_after(const struct place *p)
{
    return p->begun ? &p->keys : NULL;
}

struct summing {
    enum dw_store_table table;
    struct dw_copy_sum *sum;
    struct place place;
    size_t seen; /* on this page */
};

static bool sum_entry(void *arg, const struct dw_store_entry *e)
{
    struct summing *s = arg;
    if (counts(s->table, e))
        add(s->sum, s->table, e);
    place_set(&s->place, e);
    s->seen++;
    return true;
}

enum dw_result dw_copy_sums_of(struct dw_store *store, const struct dw_progress *progress,
                               struct dw_copy_sums *ret)
{
    int64_t totals[DW_TABLES];
    *ret = (struct dw_copy_sums){0};
    enum dw_result result = totals_of(store, totals);
    for (int table = 0; table < DW_TABLES && result == DW_OK; table++) {
        struct summing s = {.table = (enum dw_store_table)table, .sum = &ret->tables[table]};
        place_init(&s.place);
        do {
            tell_table(progress, table, s.sum, totals[table]);
            s.seen = 0;
            result = dw_store_walk(store, s.table, place_after(&s.place), PAGE, sum_entry, &s);
        } while (result == DW_OK && s.seen);
        tell_table(progress, table, s.sum, s.sum->count);
        place_free(&s.place);
    }
    return result;
}

/* ---- one page from here to there ---- */

struct copying {
    struct dw_store *from, *to;
    const char *source;
    const struct dw_progress *progress;
    struct dw_error *err;
    int64_t totals[DW_TABLES];

    int64_t version; /* of the record that says how far */
    int table;
    struct place place;
    struct dw_copy_sums *sums;

    /* the page */
    struct dw_arena arena;
    struct dw_store_step steps[PAGE], *waiting[PAGE];
    size_t seen, count, bytes;
    bool unreadable;
};

static struct dw_slice keep(struct dw_arena *arena, struct dw_slice s)
{
    return DW_SLICE(s.len ? dw_arena_memdup(arena, s.data, s.len) : NULL, s.len);
}

static const char *keep_text(struct dw_arena *arena, const char *text)
{
    return dw_arena_strndup(arena, text, strlen(text));
}

static bool step_case(struct copying *c, const struct dw_store_entry *e, struct dw_store_step *step)
{
    struct dw_error err;
    struct dw_case_index *ix = dw_arena_alloc(&c->arena, sizeof *ix);
    step->with_case = true;
    step->version = e->version;
    step->doc = keep(&c->arena, e->doc);
    step->ix = ix;
    memcpy(step->case_id, e->id, sizeof e->id);
    return ix && step->doc.data &&
           dw_decode(&dw_case_index_layout, e->ix, &c->arena, ix, &err) == DW_OK;
}

static bool step_receipt(struct copying *c, const struct dw_store_entry *e,
                         struct dw_store_step *step)
{
    (void)c;
    step->with_receipt = true;
    memcpy(step->handle, e->id, sizeof e->id);
    memcpy(step->case_id, e->case_id, sizeof e->case_id);
    return true;
}

static bool step_reference(struct copying *c, const struct dw_store_entry *e,
                           struct dw_store_step *step)
{
    step->reference = keep_text(&c->arena, e->name);
    memcpy(step->case_id, e->case_id, sizeof e->case_id);
    return step->reference;
}

static bool step_object(struct copying *c, const struct dw_store_entry *e,
                        struct dw_store_step *step)
{
    struct dw_store_object *object = dw_arena_alloc(&c->arena, sizeof *object);
    if (!object)
        return false;
    *object = (struct dw_store_object){.part = (int32_t)e->number, .bytes = keep(&c->arena, e->doc)};
    memcpy(object->id, e->id, sizeof e->id);
    step->objects = object;
    step->objects_count = 1;
    return !e->doc.len || object->bytes.data;
}

static bool step_record(struct copying *c, const struct dw_store_entry *e,
                        struct dw_store_step *step)
{
    struct dw_store_record *record = dw_arena_alloc(&c->arena, sizeof *record);
    if (!record)
        return false;
    *record = (struct dw_store_record){.collection = keep_text(&c->arena, e->name),
                                       .key = keep_text(&c->arena, e->key),
                                       .version = e->version,
                                       .doc = keep(&c->arena, e->doc)};
    step->records = record;
    step->records_count = 1;
    return record->collection && record->key && record->doc.data;
}

static bool step_audit(struct copying *c, const struct dw_store_entry *e, struct dw_store_step *step)
{
    struct dw_store_audit *entry = dw_arena_alloc(&c->arena, sizeof *entry);
    if (!entry)
        return false;
    *entry = (struct dw_store_audit){.chain = keep_text(&c->arena, e->name),
                                     .seq = e->number,
                                     .doc = keep(&c->arena, e->doc)};
    step->audit = entry;
    step->audit_count = 1;
    return entry->chain && entry->doc.data;
}

static const struct {
    bool (*step)(struct copying *c, const struct dw_store_entry *entry, struct dw_store_step *step);
    bool conflict_is_there; /* an insert that finds its document says CONFLICT */
} tables[DW_TABLES] = {
    [DW_TABLE_CASES] = {step_case, false},      [DW_TABLE_RECEIPTS] = {step_receipt, false},
    [DW_TABLE_REFERENCES] = {step_reference, false}, [DW_TABLE_OBJECTS] = {step_object, false},
    [DW_TABLE_RECORDS] = {step_record, true},   [DW_TABLE_AUDIT] = {step_audit, true},
};

static bool take_entry(void *arg, const struct dw_store_entry *e)
{
    struct copying *c = arg;
    enum dw_store_table table = (enum dw_store_table)c->table;
    c->seen++;
    if (counts(table, e)) {
        struct dw_store_step *step = &c->steps[c->count];
        *step = (struct dw_store_step){0};
        if (!tables[table].step(c, e, step)) {
            c->unreadable = true;
            return false;
        }
        c->waiting[c->count++] = step;
        c->bytes += e->ix.len + e->doc.len;
        add(&c->sums->tables[table], table, e);
    }
    place_set(&c->place, e);
    return c->bytes < PAGE_BYTES;
}

static void wait_before(int tries)
{
    if (tries == 0)
        return;
    int ms = FIRST_WAIT_MS << (tries - 1);
    struct timespec t = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

/* Steps that are neither done nor refused stay, to be tried again.  What was there already is taken for
 * ours: the sums at the end tell whether it is. */
static enum dw_result put_waiting(struct copying *c, size_t *count)
{
    size_t left = 0;
    dw_store_apply(c->to, c->waiting, *count);
    for (size_t i = 0; i < *count; i++) {
        enum dw_result outcome = c->waiting[i]->outcome;
        if (outcome == DW_RETRY || outcome == DW_UNCERTAIN)
            c->waiting[left++] = c->waiting[i];
        else if (outcome != DW_OK &&
                 !(outcome == DW_CONFLICT && tables[c->table].conflict_is_there))
            return dw_invalid(c->err, "target", "one of its %s is there with other contents",
                              dw_table_names[c->table]);
    }
    *count = left;
    return DW_OK;
}

static enum dw_result cannot_write(struct copying *c)
{
    dw_error_set(c->err, "target", "cannot be written just now");
    return DW_RETRY;
}

static enum dw_result put_page(struct copying *c)
{
    size_t count = c->count;
    enum dw_result result = DW_OK;
    for (int tries = 0; count && result == DW_OK && tries < TRIES; tries++) {
        wait_before(tries);
        result = put_waiting(c, &count);
    }
    return result == DW_OK && count ? cannot_write(c) : result;
}

/* ---- how far ---- */

static enum dw_result put_record(struct dw_store *store, const struct dw_store_record *record)
{
    struct dw_store_step step = {.records = record, .records_count = 1};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(store, steps, 1);
    return step.outcome;
}

static bool same_bytes(struct dw_slice a, struct dw_slice b)
{
    return a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0);
}

/* Puts a record of ours until it is there or certainly is not: after a doubt, its version tells. */
static enum dw_result put_surely(struct dw_store *store, const struct dw_store_record *record)
{
    enum dw_result result = DW_RETRY;
    for (int tries = 0; result == DW_RETRY && tries < TRIES; tries++) {
        wait_before(tries);
        result = put_record(store, record);
        if (result != DW_CONFLICT && result != DW_UNCERTAIN)
            continue;
        DW_AUTO_BUF doc = {0};
        struct dw_store_case found = {0};
        dw_buf_init(&doc, DW_DOC_MAX);
        enum dw_result seen =
            dw_store_record(store, record->collection, record->key, &doc, &found);
        if (seen != DW_OK && seen != DW_NOT_FOUND)
            result = DW_RETRY;
        else if (found.version == record->version && same_bytes(found.doc, record->doc))
            result = DW_OK;
        else if (found.version == record->old_version)
            result = DW_RETRY;
        else
            result = DW_CONFLICT;
    }
    return result;
}

static enum dw_result write_state(struct copying *c)
{
    const struct dw_store_entry *keys = &c->place.keys;
    struct state state = {.source = c->source, .table = c->table, .begun = c->place.begun,
                          .name = "", .key = "", .tables = c->sums->tables,
                          .tables_count = DW_TABLES};
    DW_AUTO_BUF doc = {0};
    if (state.begun) {
        state.name = keys->name;
        state.key = keys->key;
        state.number = keys->number;
        memcpy(state.id, keys->id, sizeof state.id);
    }
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_encode(&state_layout, &state, &doc);
    struct dw_store_record record = {.collection = DW_STORE_COPY, .key = DW_STORE_PROGRESS,
                                     .old_version = c->version, .version = c->version + 1,
                                     .doc = dw_buf_slice(&doc)};
    enum dw_result result = put_surely(c->to, &record);
    if (result == DW_OK)
        c->version++;
    if (result == DW_CONFLICT)
        dw_error_set(c->err, "target", "somebody else copies into it");
    return result == DW_OK || result == DW_CONFLICT ? result : cannot_write(c);
}

static bool note_entry(void *arg, const struct dw_store_entry *e)
{
    (void)e;
    *(bool *)arg = true;
    return false;
}

static enum dw_result begin_new(struct copying *c)
{
    for (int table = 0; table < DW_TABLES; table++) {
        bool there = false;
        enum dw_result result =
            dw_store_walk(c->to, (enum dw_store_table)table, NULL, 1, note_entry, &there);
        if (result != DW_OK) {
            dw_error_set(c->err, "target", "cannot be read just now");
            return result;
        }
        if (there) {
            dw_error_set(c->err, "target", "it holds %s already; a copy goes into an empty store",
                         dw_table_names[table]);
            return DW_CONFLICT;
        }
    }
    return write_state(c);
}

static enum dw_result go_on(struct copying *c, const struct state *state)
{
    if (strcmp(state->source, c->source) != 0) {
        dw_error_set(c->err, "target", "it is an unfinished copy of something else: %s",
                     state->source);
        return DW_CONFLICT;
    }
    struct dw_store_entry keys = {.name = state->name, .key = state->key, .number = state->number};
    memcpy(keys.id, state->id, sizeof keys.id);
    c->table = state->table;
    if (state->begun)
        place_set(&c->place, &keys);
    memcpy(c->sums->tables, state->tables, sizeof c->sums->tables);
    return DW_OK;
}

static enum dw_result begin(struct copying *c)
{
    DW_AUTO_BUF doc = {0};
    DW_AUTO_ARENA arena = {0};
    struct dw_store_case found = {0};
    struct state state;
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_arena_init(&arena, DW_DOC_MAX);
    enum dw_result result =
        dw_store_record(c->to, DW_STORE_COPY, DW_STORE_PROGRESS, &doc, &found);
    c->version = found.version;
    if (result == DW_NOT_FOUND)
        return begin_new(c);
    if (result != DW_OK) {
        dw_error_set(c->err, "target", "cannot be read just now");
        return result;
    }
    if (dw_decode(&state_layout, found.doc, &arena, &state, c->err) != DW_OK ||
        state.tables_count != DW_TABLES || state.table < 0 || state.table > DW_TABLES)
        return dw_invalid(c->err, "target", "it is an unfinished copy of another Dengwen: begin anew");
    return go_on(c, &state);
}

/* ---- all of it ---- */

static enum dw_result copy_page(struct copying *c)
{
    c->seen = c->count = c->bytes = 0;
    dw_arena_init(&c->arena, ARENA_MAX);
    enum dw_result result = dw_store_walk(c->from, (enum dw_store_table)c->table,
                                          place_after(&c->place), PAGE, take_entry, c);
    if (result != DW_OK)
        dw_error_set(c->err, "source", "its %s cannot be read", dw_table_names[c->table]);
    else if (c->unreadable)
        result = dw_invalid(c->err, "source", "one of its %s is damaged", dw_table_names[c->table]);
    if (result == DW_OK)
        result = put_page(c);
    const struct dw_copy_sum *sum = &c->sums->tables[c->table];
    tell_table(c->progress, c->table, sum, c->seen ? c->totals[c->table] : sum->count);
    if (result == DW_OK && !c->seen) {
        c->table++;
        c->place.begun = false;
    }
    if (result == DW_OK)
        result = write_state(c);
    dw_arena_free(&c->arena);
    return result;
}

enum dw_result dw_copy(struct dw_store *from, struct dw_store *to, const char *source,
                       const struct dw_progress *progress, struct dw_copy_sums *ret,
                       struct dw_error *err)
{
    struct copying *c = dw_alloc(sizeof *c);
    *c = (struct copying){.from = from, .to = to, .source = source, .progress = progress,
                          .err = err, .sums = ret};
    *ret = (struct dw_copy_sums){0};
    place_init(&c->place);
    enum dw_result result = totals_of(from, c->totals);
    if (result != DW_OK)
        dw_error_set(err, "source", "cannot be read just now");
    if (result == DW_OK)
        result = begin(c);
    while (result == DW_OK && c->table < DW_TABLES)
        result = copy_page(c);
    place_free(&c->place);
    dw_free(c);
    return result;
}

static int64_t version_of(struct dw_store *store, const char *key, enum dw_result *result)
{
    DW_AUTO_BUF doc = {0};
    struct dw_store_case found = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    *result = dw_store_record(store, DW_STORE_COPY, key, &doc, &found);
    if (*result == DW_NOT_FOUND)
        *result = DW_OK;
    return found.version;
}

/* The sums first: who finds them without "progress" has a whole backup. */
enum dw_result dw_copy_finish(struct dw_store *to, const struct dw_copy_sums *sums)
{
    enum dw_result result = DW_OK;
    if (sums) {
        struct dw_copy_sums copy = *sums;
        struct manifest manifest = {copy.made, copy.tables, DW_TABLES};
        DW_AUTO_BUF doc = {0};
        dw_buf_init(&doc, DW_DOC_MAX);
        dw_encode(&manifest_layout, &manifest, &doc);
        int64_t version = version_of(to, manifest_key, &result);
        struct dw_store_record record = {.collection = DW_STORE_COPY, .key = manifest_key,
                                         .old_version = version, .version = version + 1,
                                         .doc = dw_buf_slice(&doc)};
        if (result == DW_OK)
            result = put_surely(to, &record);
    }
    if (result != DW_OK)
        return result;
    int64_t version = version_of(to, DW_STORE_PROGRESS, &result);
    struct dw_store_record gone = {.collection = DW_STORE_COPY, .key = DW_STORE_PROGRESS,
                                   .old_version = version};
    return result == DW_OK && version ? put_surely(to, &gone) : result;
}

enum dw_result dw_copy_kept_sums(struct dw_store *store, struct dw_copy_sums *ret)
{
    DW_AUTO_BUF doc = {0};
    DW_AUTO_ARENA arena = {0};
    struct dw_store_case found;
    struct manifest manifest;
    struct dw_error err;
    dw_buf_init(&doc, DW_DOC_MAX);
    dw_arena_init(&arena, DW_DOC_MAX);
    enum dw_result result = dw_store_record(store, DW_STORE_COPY, manifest_key, &doc, &found);
    if (result != DW_OK)
        return result;
    if (dw_decode(&manifest_layout, found.doc, &arena, &manifest, &err) != DW_OK ||
        manifest.tables_count != DW_TABLES)
        return DW_INVALID;
    ret->made = manifest.made;
    memcpy(ret->tables, manifest.tables, sizeof ret->tables);
    return DW_OK;
}
