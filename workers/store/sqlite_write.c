/* sqlite_write.c - steps, and the transaction that they share.
 *
 * After an I/O error at COMMIT nobody knows what is on disk: the steps are UNCERTAIN, and the driver
 * refuses to go on until the file is opened again. */
#include "sqlite_private.h"

#include "dw/testing.h"

#include <string.h>

/* ---- what goes before the case ---- */

static enum dw_result put_object(struct sqlite *s, const struct dw_store_object *o)
{
    struct sqlite_found found;
    if (sqlite_find(s, Q_OBJECT, o->id, o->part, &found)) {
        bool same = (size_t)sqlite3_column_bytes(found.row, 2) == o->bytes.len &&
                    (!o->bytes.len || memcmp(sqlite3_column_blob(found.row, 2), o->bytes.data,
                                             o->bytes.len) == 0);
        sqlite3_reset(found.row);
        return same ? DW_OK : DW_INVALID;
    }
    if (s->failed)
        return DW_RETRY;
    int64_t n = sqlite_next(s, true);
    sqlite3_stmt *st = sqlite_use(s, Q_OBJECT_INSERT);
    sqlite3_bind_int64(st, 1, n);
    sqlite_blob(st, 2, o->id, 16);
    sqlite3_bind_int(st, 3, o->part);
    sqlite_blob(st, 4, o->bytes.data, o->bytes.len);
    sqlite_run(s, st);
    sqlite_place(s, found.slot, n);
    return DW_OK;
}

/* Insert if absent, else compare: OK when it is ours, whoever wrote it. */
static bool is_ours(struct sqlite *s, enum sqlite_statement insert, enum sqlite_statement read, bool is_text,
                    const void *key, size_t key_len, const uint8_t id[16])
{
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *st = sqlite_use(s, i ? read : insert);
        if (is_text)
            sqlite3_bind_text(st, 1, key, (int)key_len, SQLITE_STATIC);
        else
            sqlite_blob(st, 1, key, key_len);
        if (i == 0)
            sqlite_blob(st, 2, id, 16);
        if (i == 0) {
            sqlite_run(s, st);
        } else if (sqlite_step_row(s, st)) {
            bool same = sqlite3_column_bytes(st, 0) == 16 &&
                        memcmp(sqlite3_column_blob(st, 0), id, 16) == 0;
            sqlite3_reset(st);
            return same;
        }
    }
    return false;
}

/* ---- worklists ---- */

/* A body that is not the responsible one has no due day of its own yet, and nobody assigned. */
static bool is_own(const struct dw_case_index *ix, size_t i)
{
    return strcmp(ix->bodies[i], ix->body) == 0;
}

/* Adds the case to the lists of its bodies, or takes it out of those it was put into. */
static void change_lists(struct sqlite *s, const uint8_t id[16], const struct dw_case_index *ix,
                         bool add)
{
    for (size_t i = 0; i < ix->bodies_count; i++) {
        int32_t due = is_own(ix, i) && ix->due ? ix->due : SQLITE_NO_DUE;
        sqlite3_stmt *st = sqlite_use(s, add ? Q_WORK_INSERT : Q_WORK_DELETE);
        sqlite_text(st, 1, ix->bodies[i]);
        sqlite3_bind_int(st, 2, ix->open);
        sqlite3_bind_int(st, 3, due);
        sqlite_blob(st, 4, id, 16);
        sqlite_run(s, st);
        if (!ix->open)
            continue;
        st = sqlite_use(s, add ? Q_MINE_INSERT : Q_MINE_DELETE);
        sqlite_text(st, 1, ix->bodies[i]);
        sqlite_text(st, 2, is_own(ix, i) ? ix->assignee : "");
        sqlite3_bind_int(st, 3, due);
        sqlite_blob(st, 4, id, 16);
        sqlite_run(s, st);
    }
}

static bool same_lists(const struct dw_case_index *a, const struct dw_case_index *b)
{
    if (a->open != b->open || a->due != b->due || strcmp(a->body, b->body) != 0 ||
        strcmp(a->assignee, b->assignee) != 0 || a->bodies_count != b->bodies_count)
        return false;
    for (size_t i = 0; i < a->bodies_count; i++)
        if (strcmp(a->bodies[i], b->bodies[i]) != 0)
            return false;
    return true;
}

/* Counting, notices and most commands change nothing there. */
static void move_lists(struct sqlite *s, const struct dw_store_step *step,
                       const struct dw_case_index *old)
{
    if (old && same_lists(old, step->ix))
        return;
    if (old)
        change_lists(s, step->case_id, old, false);
    change_lists(s, step->case_id, step->ix, true);
}

/* ---- cases ---- */

static void bind_case(sqlite3_stmt *st, int64_t n, const struct dw_store_step *step,
                      const struct dw_buf *row)
{
    sqlite3_bind_int64(st, 1, n);
    sqlite_blob(st, 2, step->case_id, 16);
    sqlite3_bind_int64(st, 3, step->version);
    sqlite3_bind_int64(st, 4, step->ix->timer);
    sqlite3_bind_int64(st, 5, step->ix->notice);
    sqlite_blob(st, 6, row->data, row->len);
    sqlite_blob(st, 7, step->doc.data, step->doc.len);
    sqlite3_bind_int64(st, 8, step->ix->fold);
}

static void insert_case(struct sqlite *s, struct dw_store_step *step, int64_t slot)
{
    DW_AUTO_BUF row = {0};
    dw_buf_init(&row, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, step->ix, &row);
    int64_t n = sqlite_next(s, false);
    sqlite3_stmt *st = sqlite_use(s, Q_CASE_INSERT);
    bind_case(st, n, step, &row);
    sqlite_run(s, st);
    sqlite_place(s, slot, n);
}

/* `old` is the row as it was read; it says in which lists the case stands. */
static enum dw_result update_case(struct sqlite *s, struct dw_store_step *step, int64_t n,
                                  struct dw_slice old)
{
    struct dw_case_index was;
    struct dw_error err;
    DW_AUTO_ARENA arena = {0};
    DW_AUTO_BUF row = {0};
    dw_arena_init(&arena, DW_DOC_MAX);
    dw_buf_init(&row, DW_DOC_MAX);
    if (dw_decode(&dw_case_index_layout, old, &arena, &was, &err) != DW_OK)
        return DW_RETRY;
    dw_encode(&dw_case_index_layout, step->ix, &row);
    sqlite3_stmt *st = sqlite_use(s, Q_CASE_UPDATE);
    bind_case(st, n, step, &row);
    sqlite3_bind_int64(st, 9, step->old_version);
    sqlite_run(s, st);
    if (!s->failed)
        move_lists(s, step, &was);
    return DW_OK;
}

static enum dw_result put_case(struct sqlite *s, struct dw_store_step *step)
{
    struct sqlite_found found;
    DW_AUTO_BUF row = {0};
    bool there = sqlite_find(s, Q_ROW, step->case_id, 0, &found);
    int64_t version = there ? sqlite3_column_int64(found.row, 1) : 0;
    if (there) {
        dw_buf_init(&row, DW_DOC_MAX);
        dw_buf_put(&row, sqlite3_column_blob(found.row, 2),
                   (size_t)sqlite3_column_bytes(found.row, 2));
        sqlite3_reset(found.row);
    }
    if (s->failed)
        return DW_RETRY;
    if (there && step->old_version == 0 && !DW_BUG("no-uniqueness")) {
        step->existed = true;
        return DW_OK;
    }
    if (version != step->old_version && !DW_BUG("no-uniqueness"))
        return DW_CONFLICT;
    if (there && step->old_version)
        return update_case(s, step, found.n, dw_buf_slice(&row));
    if (there) { /* only the bug comes here; the lists have the case already */
        uint32_t further;
        sqlite3_randomness(sizeof further, &further);
        found.slot = (found.slot + 2 * (1 + (int64_t)further)) & INT64_MAX;
    }
    insert_case(s, step, found.slot);
    if (!s->failed && !there)
        move_lists(s, step, NULL);
    return DW_OK;
}

/* ---- the rest ---- */

static enum dw_result put_record(struct sqlite *s, const struct dw_store_record *r)
{
    sqlite3_stmt *st = sqlite_use(s, Q_RECORD);
    sqlite_text(st, 1, r->collection);
    sqlite_text(st, 2, r->key);
    int64_t version = 0;
    if (sqlite_step_row(s, st))
        version = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    if (version != r->old_version)
        return DW_CONFLICT;
    st = sqlite_use(s, r->doc.len ? Q_RECORD_PUT : Q_RECORD_DELETE);
    sqlite_text(st, 1, r->collection);
    sqlite_text(st, 2, r->key);
    if (r->doc.len) {
        sqlite3_bind_int64(st, 3, r->version);
        sqlite_blob(st, 4, r->doc.data, r->doc.len);
    }
    sqlite_run(s, st);
    return DW_OK;
}

static enum dw_result put_side_documents(struct sqlite *s, struct dw_store_step *step)
{
    for (size_t i = 0; i < step->objects_count && !s->failed; i++) {
        enum dw_result result = put_object(s, &step->objects[i]);
        if (result != DW_OK)
            return result;
    }
    if (step->with_receipt && !is_ours(s, Q_RECEIPT_INSERT, Q_RECEIPT, false, step->handle, 16,
                                       step->case_id))
        return DW_INVALID;
    if (step->reference && !is_ours(s, Q_REF_INSERT, Q_REF, true, step->reference,
                                    strlen(step->reference), step->case_id)) {
        step->taken = true;
        return DW_CONFLICT;
    }
    return DW_OK;
}

static enum dw_result do_step(struct sqlite *s, struct dw_store_step *step)
{
    enum dw_result result = put_side_documents(s, step);
    if (result == DW_OK && step->with_case && !s->failed) {
        DW_POINT("store.before-case");
        result = put_case(s, step);
    }
    for (size_t i = 0; result == DW_OK && i < step->records_count && !s->failed; i++)
        result = put_record(s, &step->records[i]);
    for (size_t i = 0; result == DW_OK && i < step->audit_count && !s->failed; i++) {
        sqlite3_stmt *st = sqlite_use(s, Q_AUDIT_INSERT);
        sqlite_text(st, 1, step->audit[i].chain);
        sqlite3_bind_int64(st, 2, step->audit[i].seq);
        sqlite_blob(st, 3, step->audit[i].doc.data, step->audit[i].doc.len);
        int rc = sqlite3_step(st);
        sqlite3_reset(st);
        if ((rc & 0xff) == SQLITE_CONSTRAINT)
            result = DW_CONFLICT; /* somebody else wrote this chain */
        else if (rc != SQLITE_DONE)
            s->failed = true;
    }
    return result;
}

/* A step that failed half way through takes back what it did; the others go on. */
static enum dw_result do_step_whole(struct sqlite *s, struct dw_store_step *step)
{
    sqlite_run(s, sqlite_use(s, Q_STEP));
    enum dw_result result = do_step(s, step);
    if (s->failed)
        return DW_RETRY; /* the whole transaction goes */
    if (result != DW_OK)
        sqlite_run(s, sqlite_use(s, Q_STEP_UNDO));
    sqlite_run(s, sqlite_use(s, Q_STEP_DONE));
    return result;
}

void sqlite_apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    struct sqlite *s = self;
    pthread_mutex_lock(&s->lock);
    s->failed = s->broken;
    s->next_case = s->next_object = 0;
    if (!s->failed)
        sqlite_run(s, sqlite_use(s, Q_BEGIN));
    for (size_t i = 0; i < count && !s->failed; i++)
        if (!steps[i]->needs_first || steps[0]->outcome == DW_OK)
            steps[i]->outcome = do_step_whole(s, steps[i]);
    if (!s->failed) {
        DW_POINT("store.before-commit");
        sqlite_run(s, sqlite_use(s, Q_COMMIT));
        DW_POINT("store.committed");
        if (s->failed && s->broken)
            for (size_t i = 0; i < count; i++)
                steps[i]->outcome = DW_UNCERTAIN;
    }
    if (s->failed) {
        if (!s->broken && !sqlite3_get_autocommit(s->db))
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
        for (size_t i = 0; i < count; i++) {
            if (steps[i]->outcome != DW_UNCERTAIN)
                steps[i]->outcome = DW_RETRY;
            steps[i]->existed = steps[i]->taken = false;
        }
    }
    pthread_mutex_unlock(&s->lock);
}
