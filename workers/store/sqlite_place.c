/* sqlite_place.c - where the row of an id lies.
 *
 * Rows of cases and objects are appended: numbers follow one another, so that a commit fills the last
 * page instead of touching one page, and splitting it, for each of its rows.  That order would tell
 * whoever has the file when a case came, within its day.  So once a day they are moved: the number of a
 * row becomes its place, and they are taken in the order of places, so that pages tell no more.  A copy,
 * and so a backup, is written in that order too.
 *
 * The table `places` finds the number: a place is made of the id, its first forty bits and then a hash
 * of the rest.  Our own programs give the objects of a case the first bytes of its id
 * (dw_object_id), so what is filed together is found on one page.  Two ids with one place are told
 * apart by trying the next one; nothing is ever deleted, so a search may stop at an empty place. */
#include "sqlite_private.h"

#include <string.h>

enum { PREFIX = 5, HASH_BITS = 22, PROBES_MAX = 64, LOOKED_AT = 4096, MOVED = 32 };

static uint64_t read_u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

int64_t sqlite_place_first(bool object, const uint8_t id[16], int32_t part)
{
    uint64_t v = 0, hash;
    for (int i = 0; i < PREFIX; i++)
        v = v << 8 | id[i];
    hash = read_u64(id + PREFIX) * 0x9e3779b97f4a7c15u;
    hash = (hash ^ hash >> 32 ^ read_u64(id + 8)) * 0xd6e8feb86659fd93u;
    hash += (uint64_t)(uint32_t)part * 0x9e3779b97f4a7c15u; /* spreads the chunks of a file */
    return (int64_t)((v << HASH_BITS | hash >> (64 - HASH_BITS)) << 1 | object);
}

int64_t sqlite_place_next(int64_t slot)
{
    return (int64_t)(((uint64_t)slot + 2) & INT64_MAX);
}

static bool is_row_of(sqlite3_stmt *row, enum sqlite_statement which, const uint8_t id[16],
                      int32_t part)
{
    return sqlite3_column_bytes(row, 0) == 16 && memcmp(sqlite3_column_blob(row, 0), id, 16) == 0 &&
           (which != Q_OBJECT || sqlite3_column_int(row, 1) == part);
}

bool sqlite_find(struct sqlite *s, enum sqlite_statement which, const uint8_t id[16], int32_t part,
                 struct sqlite_found *ret)
{
    ret->slot = sqlite_place_first(which == Q_OBJECT, id, part);
    for (int i = 0; i < PROBES_MAX; i++, ret->slot = sqlite_place_next(ret->slot)) {
        ret->row = sqlite_use(s, which);
        sqlite3_bind_int64(ret->row, 1, ret->slot);
        if (!sqlite_step_row(s, ret->row))
            return false;
        ret->n = sqlite3_column_int64(ret->row, 3);
        if (is_row_of(ret->row, which, id, part))
            return true;
        sqlite3_reset(ret->row);
    }
    s->failed = true; /* so many in a row: not by chance */
    return false;
}

/* Inside a transaction nobody else adds rows.  What a step took and gave back stays unused. */
int64_t sqlite_next(struct sqlite *s, bool object)
{
    int64_t *next = object ? &s->next_object : &s->next_case;
    if (!*next) {
        sqlite3_stmt *st = sqlite_use(s, object ? Q_LAST_OBJECT : Q_LAST_CASE);
        sqlite3_bind_int64(st, 1, (int64_t)1 << SQLITE_NUMBERS);
        *next = 1;
        if (sqlite_step_row(s, st))
            *next += sqlite3_column_int64(st, 0);
        sqlite3_reset(st);
    }
    return (*next)++;
}

void sqlite_place(struct sqlite *s, int64_t slot, int64_t n)
{
    sqlite3_stmt *st = sqlite_use(s, Q_PLACE_INSERT);
    sqlite3_bind_int64(st, 1, slot);
    sqlite3_bind_int64(st, 2, n);
    sqlite_run(s, st);
}

/* ---- once a day ---- */

struct resident {
    int64_t slot, n;
};

/* The next rows that are not in their places; true when there are no more behind them. */
static bool next_residents(struct sqlite *s, int64_t *at, struct resident *ret, size_t *count)
{
    sqlite3_stmt *st = sqlite_use(s, Q_PLACES);
    sqlite3_bind_int64(st, 1, *at);
    *count = 0;
    for (int looked = 0; looked < LOOKED_AT && *count < MOVED; looked++) {
        if (!sqlite_step_row(s, st))
            return !s->failed;
        struct resident r = {sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1)};
        *at = r.slot;
        /* A place that looks like a number stays one: one of eight million. */
        if (r.n >> SQLITE_NUMBERS == 0 && r.slot >> SQLITE_NUMBERS)
            ret[(*count)++] = r;
    }
    sqlite3_reset(st);
    return false;
}

/* A row of before version 3 may have that number already; then it stays where it is. */
static void move_in(struct sqlite *s, const struct resident *r)
{
    sqlite3_stmt *st = sqlite_use(s, r->slot & 1 ? Q_OBJECT_MOVE : Q_CASE_MOVE);
    sqlite3_bind_int64(st, 1, r->n);
    sqlite3_bind_int64(st, 2, r->slot);
    sqlite_run(s, st);
    if (s->failed || !sqlite3_changes(s->db))
        return;
    st = sqlite_use(s, Q_PLACE_UPDATE);
    sqlite3_bind_int64(st, 1, r->slot);
    sqlite3_bind_int64(st, 2, r->slot);
    sqlite_run(s, st);
}

enum dw_result sqlite_tidy(void *self, int64_t *at)
{
    struct sqlite *s = self;
    struct resident residents[MOVED];
    int64_t next = *at;
    size_t count = 0;
    bool last = false;
    pthread_mutex_lock(&s->lock);
    s->failed = s->broken;
    if (!s->failed)
        sqlite_run(s, sqlite_use(s, Q_BEGIN));
    if (!s->failed)
        last = next_residents(s, &next, residents, &count);
    for (size_t i = 0; i < count && !s->failed; i++)
        move_in(s, &residents[i]);
    if (!s->failed)
        sqlite_run(s, sqlite_use(s, Q_COMMIT));
    bool good = !s->failed;
    if (good)
        *at = last ? 0 : next;
    else if (!s->broken && !sqlite3_get_autocommit(s->db))
        sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    pthread_mutex_unlock(&s->lock);
    return good ? DW_OK : DW_RETRY;
}
