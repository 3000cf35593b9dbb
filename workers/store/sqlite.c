/* sqlite.c - the embedded driver: one file, WAL, synchronous=FULL, secure_delete.
 *
 * Rows of cases and objects lie at a slot that is a hash of their id, not at the next free number:
 * ids are random, so neither numbers nor the order of rows tell when something arrived, and unlike in
 * a WITHOUT ROWID table the large rows do not crowd the inner pages.  Two ids with one slot are told
 * apart by trying the next one; nothing is ever deleted, so a search may stop at an empty slot.
 *
 * Steps given together share a transaction: one fsync for all of them.  After an I/O error at COMMIT
 * nobody knows what is on disk: the steps are UNCERTAIN, and the driver refuses to go on until the
 * file is opened again. */
#include "sqlite_private.h"

#include "dw/checkpoint.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

enum {
    NO_DUE = INT_MAX,
    PROBES_MAX = 16,
    NAP_MS = 20,
    LOG_PAGES = 16384, /* a commit moves the log itself when the thread cannot keep up */
};

enum statement {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_STEP, Q_STEP_UNDO, Q_STEP_DONE,
    Q_CASE, Q_CASE_INSERT, Q_CASE_UPDATE, Q_ROW,
    Q_OBJECT, Q_OBJECT_INSERT,
    Q_RECEIPT, Q_RECEIPT_INSERT, Q_REF, Q_REF_INSERT,
    Q_WORK_DELETE, Q_WORK_INSERT, Q_MINE, Q_OPEN, Q_ALL,
    Q_TIMER, Q_NOTICE, Q_FOLD,
    Q_RECORD, Q_RECORD_PUT, Q_RECORD_DELETE, Q_RECORDS,
    Q_AUDIT_INSERT, Q_AUDIT_LAST, Q_AUDIT_READ,
    Q_COUNTS, Q_EACH, Q_COUNT
};
static const char *const sql[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_STEP] = "SAVEPOINT step",
    [Q_STEP_UNDO] = "ROLLBACK TO step",
    [Q_STEP_DONE] = "RELEASE step",
    [Q_CASE] = "SELECT id, version, doc FROM cases WHERE slot = ?1",
    [Q_CASE_INSERT] = "INSERT INTO cases(slot, id, version, timer, notice, row, doc, fold)"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [Q_CASE_UPDATE] = "UPDATE cases SET version = ?3, timer = ?4, notice = ?5, row = ?6, doc = ?7,"
                      " fold = ?8 WHERE slot = ?1 AND id = ?2 AND version = ?9",
    [Q_ROW] = "SELECT id, version, row FROM cases WHERE slot = ?1",
    [Q_OBJECT] = "SELECT id, part, bytes FROM objects WHERE slot = ?1",
    [Q_OBJECT_INSERT] = "INSERT INTO objects(slot, id, part, bytes) VALUES(?1, ?2, ?3, ?4)",
    [Q_RECEIPT] = "SELECT id FROM receipts WHERE handle = ?1",
    [Q_RECEIPT_INSERT] = "INSERT INTO receipts(handle, id) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [Q_REF] = "SELECT id FROM refs WHERE reference = ?1",
    [Q_REF_INSERT] = "INSERT INTO refs(reference, id) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [Q_WORK_DELETE] = "DELETE FROM worklist WHERE id = ?1",
    [Q_WORK_INSERT] = "INSERT INTO worklist(id, body, due, open, assignee) VALUES(?1, ?2, ?3, ?4, ?5)",
    [Q_MINE] = "SELECT id FROM worklist INDEXED BY worklist_mine WHERE open = 1 AND body = ?1"
               " AND assignee = ?2 AND (due, id) > (?3, ?4) ORDER BY due, id LIMIT ?5",
    [Q_OPEN] = "SELECT id FROM worklist INDEXED BY worklist_open WHERE open = 1 AND body = ?1"
               " AND due <= ?2 AND (due, id) > (?3, ?4) ORDER BY due, id LIMIT ?5",
    [Q_ALL] = "SELECT id FROM worklist INDEXED BY worklist_all WHERE body = ?1"
              " AND (due, id) > (?3, ?4) ORDER BY due, id LIMIT ?5",
    [Q_TIMER] = "SELECT id FROM cases INDEXED BY cases_timer WHERE timer > 0 AND timer <= ?1"
                " ORDER BY timer LIMIT ?2",
    [Q_NOTICE] = "SELECT id FROM cases INDEXED BY cases_notice WHERE notice > 0 AND notice <= ?1"
                 " ORDER BY notice LIMIT ?2",
    [Q_FOLD] = "SELECT id FROM cases INDEXED BY cases_fold WHERE fold > 0 AND fold <= ?1"
               " ORDER BY fold LIMIT ?2",
    [Q_RECORD] = "SELECT version, doc FROM records WHERE collection = ?1 AND key = ?2",
    [Q_RECORD_PUT] = "INSERT OR REPLACE INTO records(collection, key, version, doc)"
                     " VALUES(?1, ?2, ?3, ?4)",
    [Q_RECORD_DELETE] = "DELETE FROM records WHERE collection = ?1 AND key = ?2",
    [Q_RECORDS] = "SELECT key, version, doc FROM records WHERE collection = ?1 AND key >= ?2"
                  " AND substr(key, 1, length(?2)) = ?2 ORDER BY key",
    [Q_AUDIT_INSERT] = "INSERT INTO audit(chain, seq, doc) VALUES(?1, ?2, ?3)",
    [Q_AUDIT_LAST] = "SELECT seq, doc FROM audit WHERE chain = ?1 ORDER BY seq DESC LIMIT 1",
    [Q_AUDIT_READ] = "SELECT chain, seq, doc FROM audit WHERE chain = ?1 AND seq >= ?2"
                     " ORDER BY seq LIMIT ?3",
    [Q_COUNTS] = "SELECT (SELECT count(*) FROM cases), (SELECT count(*) FROM objects),"
                 " (SELECT count(*) FROM receipts), (SELECT count(*) FROM refs),"
                 " (SELECT count(*) FROM audit), (SELECT count(*) FROM records)",
    [Q_EACH] = "SELECT id, version, doc FROM cases ORDER BY slot",
};

/* ---- one statement at a time ---- */

static sqlite3_stmt *use(struct sqlite *s, enum statement which)
{
    sqlite3_stmt *st = s->statements[which];
    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return st;
}

static void blob(sqlite3_stmt *st, int at, const void *data, size_t len)
{
    sqlite3_bind_blob64(st, at, data ? data : "", len, SQLITE_STATIC);
}

static void text(sqlite3_stmt *st, int at, const char *value)
{
    sqlite3_bind_text(st, at, value ? value : "", -1, SQLITE_STATIC);
}

bool sqlite_step_row(struct sqlite *s, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW)
        return true;
    if (rc != SQLITE_DONE) {
        s->failed = true;
        s->broken |= (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CORRUPT ||
                     (rc & 0xff) == SQLITE_NOTADB;
        dw_log(DW_ERROR, "store.sqlite", "%s", sqlite3_errmsg(s->db));
    }
    sqlite3_reset(st);
    return false;
}

static void run(struct sqlite *s, sqlite3_stmt *st)
{
    while (sqlite_step_row(s, st))
        ;
}

enum dw_result sqlite_begin_read(struct sqlite *s)
{
    pthread_mutex_lock(&s->lock);
    s->failed = false;
    return s->broken ? DW_RETRY : DW_OK;
}

enum dw_result sqlite_end_read(struct sqlite *s, enum dw_result result)
{
    if (s->failed)
        result = DW_RETRY;
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* ---- slots ---- */

static int64_t slot_of(const uint8_t id[16], int32_t part)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | id[i];
    v += (uint64_t)(uint32_t)part * 0x9e3779b97f4a7c15u; /* spreads the chunks of a file */
    return (int64_t)(v & INT64_MAX);
}

/* The slot of the id, or of the first empty one; leaves the statement on the row when found. */
static bool find_slot(struct sqlite *s, enum statement which, const uint8_t id[16], int32_t part,
                      int64_t *slot, sqlite3_stmt **ret)
{
    for (int i = 0; i < PROBES_MAX; i++) {
        *slot = (int64_t)(((uint64_t)slot_of(id, part) + (uint64_t)i) & INT64_MAX);
        sqlite3_stmt *st = use(s, which);
        sqlite3_bind_int64(st, 1, *slot);
        if (!sqlite_step_row(s, st))
            return false;
        *ret = st;
        if (sqlite3_column_bytes(st, 0) == 16 && memcmp(sqlite3_column_blob(st, 0), id, 16) == 0 &&
            (which != Q_OBJECT || sqlite3_column_int(st, 1) == part))
            return true;
        sqlite3_reset(st);
    }
    s->failed = true; /* sixteen equal 63-bit hashes: not by chance */
    return false;
}

bool sqlite_slot(struct sqlite *s, enum dw_store_table table, const uint8_t id[16], int32_t part,
                 int64_t *slot)
{
    sqlite3_stmt *st;
    if (!find_slot(s, table == DW_TABLE_OBJECTS ? Q_OBJECT : Q_ROW, id, part, slot, &st))
        return false;
    sqlite3_reset(st);
    return true;
}

/* ---- writing ---- */

static enum dw_result put_object(struct sqlite *s, const struct dw_store_object *o)
{
    int64_t slot;
    sqlite3_stmt *st;
    if (find_slot(s, Q_OBJECT, o->id, o->part, &slot, &st)) {
        bool same = (size_t)sqlite3_column_bytes(st, 2) == o->bytes.len &&
                    (!o->bytes.len ||
                     memcmp(sqlite3_column_blob(st, 2), o->bytes.data, o->bytes.len) == 0);
        sqlite3_reset(st);
        return same ? DW_OK : DW_INVALID;
    }
    if (s->failed)
        return DW_RETRY;
    st = use(s, Q_OBJECT_INSERT);
    sqlite3_bind_int64(st, 1, slot);
    blob(st, 2, o->id, 16);
    sqlite3_bind_int(st, 3, o->part);
    blob(st, 4, o->bytes.data, o->bytes.len);
    run(s, st);
    return DW_OK;
}

/* Insert if absent, else compare: OK when it is ours, whoever wrote it. */
static bool is_ours(struct sqlite *s, enum statement insert, enum statement read, bool is_text,
                    const void *key, size_t key_len, const uint8_t id[16])
{
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *st = use(s, i ? read : insert);
        if (is_text)
            sqlite3_bind_text(st, 1, key, (int)key_len, SQLITE_STATIC);
        else
            blob(st, 1, key, key_len);
        if (i == 0)
            blob(st, 2, id, 16);
        if (i == 0) {
            run(s, st);
        } else if (sqlite_step_row(s, st)) {
            bool same = sqlite3_column_bytes(st, 0) == 16 &&
                        memcmp(sqlite3_column_blob(st, 0), id, 16) == 0;
            sqlite3_reset(st);
            return same;
        }
    }
    return false;
}

static void write_worklist(struct sqlite *s, const struct dw_store_step *step)
{
    const struct dw_case_index *ix = step->ix;
    sqlite3_stmt *st = use(s, Q_WORK_DELETE);
    blob(st, 1, step->case_id, 16);
    run(s, st);
    for (size_t i = 0; i < ix->bodies_count; i++) {
        /* A body that is not the responsible one has no due day of its own yet. */
        bool own = strcmp(ix->bodies[i], ix->body) == 0;
        st = use(s, Q_WORK_INSERT);
        blob(st, 1, step->case_id, 16);
        text(st, 2, ix->bodies[i]);
        sqlite3_bind_int(st, 3, own && ix->due ? ix->due : NO_DUE);
        sqlite3_bind_int(st, 4, ix->open);
        text(st, 5, own ? ix->assignee : "");
        run(s, st);
    }
}

static enum dw_result put_case(struct sqlite *s, struct dw_store_step *step)
{
    int64_t slot;
    sqlite3_stmt *st;
    bool there = find_slot(s, Q_ROW, step->case_id, 0, &slot, &st);
    int64_t version = there ? sqlite3_column_int64(st, 1) : 0;
    if (there)
        sqlite3_reset(st);
    if (s->failed)
        return DW_RETRY;
    if (there && step->old_version == 0 && !DW_BUG("no-uniqueness")) {
        step->existed = true;
        return DW_OK;
    }
    if (version != step->old_version && !DW_BUG("no-uniqueness"))
        return DW_CONFLICT;
    DW_AUTO_BUF row = {0};
    dw_buf_init(&row, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, step->ix, &row);
    if (DW_BUG("no-uniqueness") && there && step->old_version == 0) {
        sqlite3_randomness(sizeof slot, &slot);
        slot &= INT64_MAX;
    }
    st = use(s, step->old_version ? Q_CASE_UPDATE : Q_CASE_INSERT);
    sqlite3_bind_int64(st, 1, slot);
    blob(st, 2, step->case_id, 16);
    sqlite3_bind_int64(st, 3, step->version);
    sqlite3_bind_int64(st, 4, step->ix->timer);
    sqlite3_bind_int64(st, 5, step->ix->notice);
    blob(st, 6, row.data, row.len);
    blob(st, 7, step->doc.data, step->doc.len);
    sqlite3_bind_int64(st, 8, step->ix->fold);
    if (step->old_version)
        sqlite3_bind_int64(st, 9, step->old_version);
    run(s, st);
    if (!s->failed)
        write_worklist(s, step);
    return DW_OK;
}

static enum dw_result put_record(struct sqlite *s, const struct dw_store_record *r)
{
    sqlite3_stmt *st = use(s, Q_RECORD);
    text(st, 1, r->collection);
    text(st, 2, r->key);
    int64_t version = 0;
    if (sqlite_step_row(s, st))
        version = sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    if (version != r->old_version)
        return DW_CONFLICT;
    st = use(s, r->doc.len ? Q_RECORD_PUT : Q_RECORD_DELETE);
    text(st, 1, r->collection);
    text(st, 2, r->key);
    if (r->doc.len) {
        sqlite3_bind_int64(st, 3, r->version);
        blob(st, 4, r->doc.data, r->doc.len);
    }
    run(s, st);
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
        sqlite3_stmt *st = use(s, Q_AUDIT_INSERT);
        text(st, 1, step->audit[i].chain);
        sqlite3_bind_int64(st, 2, step->audit[i].seq);
        blob(st, 3, step->audit[i].doc.data, step->audit[i].doc.len);
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
    run(s, use(s, Q_STEP));
    enum dw_result result = do_step(s, step);
    if (s->failed)
        return DW_RETRY; /* the whole transaction goes */
    if (result != DW_OK)
        run(s, use(s, Q_STEP_UNDO));
    run(s, use(s, Q_STEP_DONE));
    return result;
}

static void apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    struct sqlite *s = self;
    pthread_mutex_lock(&s->lock);
    s->failed = s->broken;
    if (!s->failed)
        run(s, use(s, Q_BEGIN));
    for (size_t i = 0; i < count && !s->failed; i++)
        if (!steps[i]->needs_first || steps[0]->outcome == DW_OK)
            steps[i]->outcome = do_step_whole(s, steps[i]);
    if (!s->failed) {
        DW_POINT("store.before-commit");
        run(s, use(s, Q_COMMIT));
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

/* ---- reading ---- */

static enum dw_result get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                               int64_t *version)
{
    struct sqlite *s = self;
    sqlite3_stmt *st;
    int64_t slot;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        result = DW_NOT_FOUND;
        if (find_slot(s, Q_CASE, id, 0, &slot, &st)) {
            *version = sqlite3_column_int64(st, 1);
            dw_buf_put(buf, sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2));
            sqlite3_reset(st);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static enum dw_result id_of(struct sqlite *s, enum statement which, const void *key, size_t len,
                            uint8_t id[16])
{
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, which);
        if (which == Q_REF)
            sqlite3_bind_text(st, 1, key, (int)len, SQLITE_STATIC);
        else
            blob(st, 1, key, len);
        result = DW_NOT_FOUND;
        if (sqlite_step_row(s, st)) {
            memcpy(id, sqlite3_column_blob(st, 0), 16);
            sqlite3_reset(st);
            result = DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static enum dw_result id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16])
{
    return id_of(self, Q_RECEIPT, handle, 16, id);
}

static enum dw_result id_of_reference(void *self, const char *reference, uint8_t id[16])
{
    return id_of(self, Q_REF, reference, strlen(reference), id);
}

static enum dw_result get_object(void *self, const uint8_t id[16], int32_t part,
                                 struct dw_buf *buf)
{
    struct sqlite *s = self;
    sqlite3_stmt *st;
    int64_t slot;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        result = DW_NOT_FOUND;
        if (find_slot(s, Q_OBJECT, id, part, &slot, &st)) {
            dw_buf_put(buf, sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2));
            sqlite3_reset(st);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static size_t collect_ids(struct sqlite *s, sqlite3_stmt *st, uint8_t (*ids)[16], size_t limit)
{
    size_t count = 0;
    while (count < limit && sqlite_step_row(s, st))
        memcpy(ids[count++], sqlite3_column_blob(st, 0), 16);
    sqlite3_reset(st);
    return count;
}

static sqlite3_stmt *query_of(struct sqlite *s, const struct dw_store_query *q)
{
    static const struct {
        enum statement which;
    } lists[] = {[DW_LIST_MINE] = {Q_MINE},
                 [DW_LIST_UNASSIGNED] = {Q_MINE},
                 [DW_LIST_DUE] = {Q_OPEN},
                 [DW_LIST_OVERDUE] = {Q_OPEN},
                 [DW_LIST_ALL] = {Q_ALL}};
    static const uint8_t highest[17] = {255, 255, 255, 255, 255, 255, 255, 255, 255,
                                        255, 255, 255, 255, 255, 255, 255, 255};
    sqlite3_stmt *st = use(s, lists[q->list].which);
    text(st, 1, q->body);
    if (q->list == DW_LIST_MINE || q->list == DW_LIST_UNASSIGNED)
        text(st, 2, q->list == DW_LIST_MINE ? q->user : "");
    else if (q->list != DW_LIST_ALL)
        sqlite3_bind_int(st, 2, q->list == DW_LIST_DUE ? q->soon : q->today - 1);
    if (q->after) {
        sqlite3_bind_int(st, 3, q->after_due ? q->after_due : NO_DUE);
        blob(st, 4, q->after_id, 16);
    } else { /* behind the last row of the day before the first that counts */
        sqlite3_bind_int(st, 3, q->list == DW_LIST_DUE ? q->today - 1 : -1);
        blob(st, 4, highest, sizeof highest);
    }
    sqlite3_bind_int64(st, 5, (int64_t)q->limit);
    return st;
}

static enum dw_result worklist(void *self, const struct dw_store_query *query,
                               struct dw_arena *arena, struct dw_store_row *rows, size_t *count)
{
    struct sqlite *s = self;
    struct dw_error err;
    uint8_t (*ids)[16] = dw_arena_alloc(arena, query->limit * sizeof *ids);
    enum dw_result result = sqlite_begin_read(s);
    size_t found = result == DW_OK && ids ? collect_ids(s, query_of(s, query), ids, query->limit) : 0;
    for (size_t i = 0; i < found && result == DW_OK; i++) {
        sqlite3_stmt *st;
        int64_t slot;
        if (!find_slot(s, Q_ROW, ids[i], 0, &slot, &st))
            continue;
        struct dw_store_row *row = &rows[*count];
        struct dw_slice doc =
            DW_SLICE(sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2));
        memcpy(row->id, ids[i], 16);
        row->version = sqlite3_column_int64(st, 1);
        result = dw_decode(&dw_case_index_layout, doc, arena, &row->ix, &err);
        sqlite3_reset(st);
        *count += result == DW_OK;
    }
    return sqlite_end_read(s, result);
}

static enum dw_result due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                          uint8_t (*ids)[16], size_t *count)
{
    static const enum statement which_query[] = {
        [DW_DUE_TIMER] = Q_TIMER, [DW_DUE_NOTICE] = Q_NOTICE, [DW_DUE_FOLD] = Q_FOLD};
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, which_query[which]);
        sqlite3_bind_int64(st, 1, now);
        sqlite3_bind_int64(st, 2, (int64_t)limit);
        *count = collect_ids(s, st, ids, limit);
    }
    return sqlite_end_read(s, result);
}

static enum dw_result get_record(void *self, const char *collection, const char *key,
                                 struct dw_buf *buf, int64_t *version)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_RECORD);
        text(st, 1, collection);
        text(st, 2, key);
        result = DW_NOT_FOUND;
        if (sqlite_step_row(s, st)) {
            *version = sqlite3_column_int64(st, 0);
            dw_buf_put(buf, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
            sqlite3_reset(st);
            result = buf->overflow ? DW_INVALID : DW_OK;
        }
    }
    return sqlite_end_read(s, result);
}

static struct dw_slice doc_at(sqlite3_stmt *st, int column)
{
    return DW_SLICE(sqlite3_column_blob(st, column), (size_t)sqlite3_column_bytes(st, column));
}

static enum dw_result records(void *self, const char *collection, const char *prefix,
                              dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_RECORDS);
        text(st, 1, collection);
        text(st, 2, prefix);
        while (sqlite_step_row(s, st))
            each(arg, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}

static enum dw_result audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_AUDIT_LAST);
        text(st, 1, chain);
        if (sqlite_step_row(s, st)) {
            *seq = sqlite3_column_int64(st, 0);
            dw_buf_put(buf, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
            sqlite3_reset(st);
        }
    }
    return sqlite_end_read(s, result);
}

static enum dw_result audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                 dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_AUDIT_READ);
        text(st, 1, chain);
        sqlite3_bind_int64(st, 2, from);
        sqlite3_bind_int64(st, 3, (int64_t)limit);
        while (sqlite_step_row(s, st))
            each(arg, (const char *)sqlite3_column_text(st, 0), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}

static enum dw_result counts(void *self, struct dw_store_counts *ret)
{
    struct sqlite *s = self;
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_COUNTS);
        if (sqlite_step_row(s, st))
            *ret = (struct dw_store_counts){
                sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1),
                sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3),
                sqlite3_column_int64(st, 4), sqlite3_column_int64(st, 5)};
        sqlite3_reset(st);
    }
    return sqlite_end_read(s, result);
}

static enum dw_result each_case(void *self, dw_store_each *each, void *arg)
{
    struct sqlite *s = self;
    char key[33];
    enum dw_result result = sqlite_begin_read(s);
    if (result == DW_OK) {
        sqlite3_stmt *st = use(s, Q_EACH);
        while (sqlite_step_row(s, st))
            each(arg, dw_hex(key, sqlite3_column_blob(st, 0), 16), sqlite3_column_int64(st, 1),
                 doc_at(st, 2));
    }
    return sqlite_end_read(s, result);
}

static enum dw_result ping(void *self)
{
    struct sqlite *s = self;
    pthread_mutex_lock(&s->lock);
    s->failed = false;
    enum dw_result result = s->broken ? DW_UNCERTAIN : DW_OK;
    /* A write lock proves that the file can be written now. */
    if (result == DW_OK && s->use != DW_STORE_LOOK) {
        run(s, use(s, Q_BEGIN));
        if (!sqlite3_get_autocommit(s->db))
            run(s, use(s, Q_ROLLBACK));
        result = s->broken ? DW_UNCERTAIN : s->failed ? DW_RETRY : DW_OK;
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

/* ---- opening ---- */

static const char in_memory[] = ":memory:";

static void disk_failed(void *arg, const char *what)
{
    struct sqlite *s = arg;
    dw_log(DW_ERROR, "store.sqlite", "%s: the disk failed", what);
    s->broken = true;
}

static void close_store(void *self)
{
    struct sqlite *s = self;
    dw_checkpointer_stop(s->checkpointer);
    for (int i = 0; s->statements && i < Q_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    dw_free(s->statements);
    if (s->use == DW_STORE_FILL) /* one file, that can be carried away and read where nobody may write */
        sqlite_exec(s->db, "PRAGMA journal_mode=DELETE");
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    dw_free(s->path);
    dw_free(s);
}

static enum dw_result prepare_statements(struct sqlite *s, struct dw_error *err)
{
    s->statements = dw_alloc(Q_COUNT * sizeof *s->statements);
    for (int i = 0; i < Q_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i],
                               NULL) != SQLITE_OK)
            return dw_invalid(err, "store.uri", "is damaged");
    return DW_OK;
}

static bool set_cache(struct sqlite *s, int64_t mib)
{
    char text[60];
    snprintf(text, sizeof text, "PRAGMA cache_size=-%lld;", (long long)mib * 1024);
    return sqlite_exec(s->db, text);
}

/* What a process wrote that was killed before its sync can be read, and need not be on the disk.  Whoever
 * finds a case here answers for it, so it is made durable first: a log that is moved into the file is.
 * A disk that is full has synced the log. */
static bool make_durable(struct sqlite *s, int64_t busy_ms)
{
    int rc;
    int64_t waited = 0;
    while ((rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) &
                 0xff) == SQLITE_BUSY && waited < busy_ms) {
        sqlite3_sleep(NAP_MS); /* another process is at it */
        waited += NAP_MS;
    }
    return rc == SQLITE_OK || rc == SQLITE_FULL;
}

/* Nothing but the connection, with what each needs.  A path of the settings is relative to them. */
static enum dw_result connect(const char *rest, enum dw_store_use use,
                              const struct dw_config *config, struct sqlite **ret,
                              struct dw_error *err)
{
    struct sqlite *s = dw_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->path = strcmp(rest, in_memory) == 0 ? dw_strdup(rest) : dw_config_resolve(config, rest);
    s->use = use;
    *ret = s;
    int how = use == DW_STORE_LOOK ? SQLITE_OPEN_READONLY
                                   : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (sqlite3_open_v2(s->path, &s->db, how | SQLITE_OPEN_FULLMUTEX, NULL) != SQLITE_OK)
        return dw_invalid(err, "store.uri", "cannot be opened");
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, (int)config->store.busy_ms);
    sqlite3_wal_autocheckpoint(s->db, LOG_PAGES);
    if (!set_cache(s, config->store.cache_mib))
        return dw_invalid(err, "store.uri", "has no memory for it");
    /* A transaction that only reads sees one moment, until it ends with the connection. */
    const char *first = use == DW_STORE_LOOK
                            ? "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; BEGIN;"
                              "SELECT count(*) FROM sqlite_schema;"
                            : "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                              "PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;"
                              "PRAGMA trusted_schema=OFF;";
    if (!sqlite_exec(s->db, first))
        return dw_invalid(err, "store.uri", "is not a database of cases, or is damaged");
    if (use != DW_STORE_LOOK && !make_durable(s, config->store.busy_ms))
        return dw_invalid(err, "store.uri", "cannot be written; look at its disk");
    return DW_OK;
}

/* What is wrong, of which file, and what SQLite says of it. */
static enum dw_result give_up(struct sqlite *s, enum dw_result result, struct dw_error *err)
{
    struct dw_error why = *err;
    int code = sqlite3_errcode(s->db);
    bool says = code != SQLITE_OK && code != SQLITE_ROW && code != SQLITE_DONE;
    dw_error_set(err, "store.uri", "%.100s: %.160s%s%.40s%s", s->path, why.text, says ? " (" : "",
                 says ? sqlite3_errmsg(s->db) : "", says ? ")" : "");
    s->use = DW_STORE_LOOK;
    close_store(s);
    return result;
}

static enum dw_result open_store(const char *rest, enum dw_store_use use,
                                 const struct dw_config *config, void **ret, struct dw_error *err)
{
    struct sqlite *s;
    int version = 0;
    enum dw_result result = connect(rest, use, config, &s, err);
    if (result == DW_OK)
        result = dw_sqlite_schema.read(s->db, &version, err);
    if (result == DW_OK && version == 0 && use != DW_STORE_LOOK) {
        result = dw_schema_migrate(&dw_sqlite_schema, s->db, NULL, &version, err);
        version = dw_sqlite_schema.count;
    }
    if (result == DW_OK)
        result = dw_schema_check(&dw_sqlite_schema, version, err);
    if (result == DW_OK)
        result = prepare_statements(s, err);
    if (result == DW_OK && use != DW_STORE_FILL && sqlite_is_unfinished(s->db))
        result = dw_store_unfinished(err);
    if (result == DW_OK && use != DW_STORE_LOOK && strcmp(s->path, in_memory) != 0 &&
        !(s->checkpointer = dw_checkpointer_start(s->path, disk_failed, s)))
        result = dw_invalid(err, "store.uri", "cannot be opened twice");
    if (result != DW_OK)
        return give_up(s, result, err);
    *ret = s;
    return DW_OK;
}

static enum dw_result make(const char *rest, const struct dw_config *config,
                           const struct dw_progress *progress, int *from, int *to,
                           struct dw_error *err)
{
    struct sqlite *s;
    *to = dw_sqlite_schema.count;
    enum dw_result result = connect(rest, DW_STORE_SERVE, config, &s, err);
    if (result == DW_OK)
        result = dw_schema_migrate(&dw_sqlite_schema, s->db, progress, from, err);
    if (result != DW_OK)
        return give_up(s, result, err);
    close_store(s);
    return DW_OK;
}

const struct dw_store_driver dw_store_sqlite = {
    .scheme = "sqlite:",
    .open = open_store,
    .make = make,
    .close = close_store,
    .ping = ping,
    .apply = apply,
    .get_case = get_case,
    .id_of_handle = id_of_handle,
    .id_of_reference = id_of_reference,
    .get_object = get_object,
    .worklist = worklist,
    .due = due,
    .get_record = get_record,
    .records = records,
    .audit_last = audit_last,
    .audit_read = audit_read,
    .counts = counts,
    .each_case = each_case,
    .walk = sqlite_walk,
};
