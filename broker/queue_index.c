/* queue_index.c - where the rows are that are looked for by a random name.
 *
 * An index in the file would cost each new item a page of its own for each of its names, as random
 * names lie far apart: more than the item itself, and the more the longer the queue.  So the file
 * has the rows in the order they came, and memory has where they are, built anew when the file is
 * opened: a tag of 64 bits for each name, and the row.  Two names may have the same tag: whoever
 * looks reads the row and compares.  The tags are keyed, as others choose the names. */
#include "queue_private.h"

#include <sodium.h>
#include <string.h>

enum { ROOM_MIN = 1024 };

void q_index_open(struct dw_queue *q)
{
    randombytes_buf(q->index_key, sizeof q->index_key);
}

void q_index_close(struct dw_queue *q)
{
    for (int i = 0; i < INDEXES; i++)
        dw_free(q->indexes[i].slots);
    memset(q->indexes, 0, sizeof q->indexes);
    dw_free(q->changes);
    q->changes = NULL;
    q->changes_count = q->changes_room = 0;
}

static uint64_t tag_of(const struct dw_queue *q, const void *name, size_t len)
{
    uint8_t hash[crypto_shorthash_BYTES];
    uint64_t tag;
    crypto_shorthash(hash, name, len, q->index_key);
    memcpy(&tag, hash, sizeof tag);
    return tag;
}

/* ---- a table with open addresses; a slot without a row is free ---- */

static void put(struct index *t, uint64_t tag, int64_t row)
{
    size_t at = tag & (t->room - 1);
    while (t->slots[at].row)
        at = (at + 1) & (t->room - 1);
    t->slots[at] = (struct slot){tag, row};
    t->used++;
}

static void resize(struct index *t, size_t room)
{
    struct index old = *t;
    *t = (struct index){.slots = dw_alloc(room * sizeof *t->slots), .room = room};
    for (size_t i = 0; i < old.room; i++)
        if (old.slots[i].row)
            put(t, old.slots[i].tag, old.slots[i].row);
    dw_free(old.slots);
}

static void add(struct index *t, uint64_t tag, int64_t row)
{
    if (4 * (t->used + 1) > 3 * t->room)
        resize(t, t->room ? 2 * t->room : ROOM_MIN);
    put(t, tag, row);
}

/* Those behind the free slot that cannot be found past it move into it. */
static void close_gap(struct index *t, size_t gap)
{
    size_t mask = t->room - 1;
    for (size_t at = (gap + 1) & mask; t->slots[at].row; at = (at + 1) & mask) {
        size_t home = t->slots[at].tag & mask;
        if (((at - home) & mask) < ((at - gap) & mask))
            continue;
        t->slots[gap] = t->slots[at];
        gap = at;
    }
    t->slots[gap].row = 0;
}

static bool take(struct index *t, uint64_t tag, int64_t row)
{
    if (!t->room)
        return false;
    size_t at = tag & (t->room - 1);
    while (t->slots[at].row && (t->slots[at].tag != tag || t->slots[at].row != row))
        at = (at + 1) & (t->room - 1);
    if (!t->slots[at].row)
        return false;
    close_gap(t, at);
    t->used--;
    if (t->room > ROOM_MIN && 8 * t->used < t->room)
        resize(t, t->room / 2);
    return true;
}

/* ---- what a transaction does to it ---- */

static void note(struct dw_queue *q, struct index_change change)
{
    if (q->changes_count == q->changes_room) {
        q->changes_room = q->changes_room ? 2 * q->changes_room : ROOM_MIN;
        q->changes = dw_realloc(q->changes, q->changes_room * sizeof *q->changes);
    }
    q->changes[q->changes_count++] = change;
}

void q_index_load(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row)
{
    add(&q->indexes[which], tag_of(q, name, len), row);
}

void q_index_add(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row)
{
    uint64_t tag = tag_of(q, name, len);
    add(&q->indexes[which], tag, row);
    note(q, (struct index_change){which, true, tag, row});
}

void q_index_take(struct dw_queue *q, enum name which, const void *name, size_t len, int64_t row)
{
    uint64_t tag = tag_of(q, name, len);
    if (take(&q->indexes[which], tag, row))
        note(q, (struct index_change){which, false, tag, row});
}

void q_index_commit(struct dw_queue *q)
{
    q->changes_count = 0;
}

void q_index_rollback(struct dw_queue *q)
{
    while (q->changes_count) {
        const struct index_change *c = &q->changes[--q->changes_count];
        if (c->added)
            take(&q->indexes[c->which], c->tag, c->row);
        else
            add(&q->indexes[c->which], c->tag, c->row);
    }
}

/* ---- looking ---- */

struct index_walk q_index_walk(const struct dw_queue *q, enum name which, const void *name, size_t len)
{
    const struct index *t = &q->indexes[which];
    uint64_t tag = tag_of(q, name, len);
    return (struct index_walk){t, tag, t->room ? tag & (t->room - 1) : 0};
}

int64_t q_index_next(struct index_walk *walk)
{
    const struct index *t = walk->index;
    while (t->room && t->slots[walk->at].row) {
        const struct slot *slot = &t->slots[walk->at];
        walk->at = (walk->at + 1) & (t->room - 1);
        if (slot->tag == walk->tag)
            return slot->row;
    }
    return 0;
}

int64_t q_find(struct dw_queue *q, enum name which, const void *name, size_t len,
               const char *service, sqlite3_stmt **ret)
{
    static const enum statement compare[INDEXES] = {
        [BY_ID] = Q_IS, [BY_HANDLE] = Q_KEY, [BY_TOK] = Q_SEEN};
    struct index_walk walk = q_index_walk(q, which, name, len);
    int64_t row;
    while ((row = q_index_next(&walk)) != 0) {
        *ret = q_use(q, compare[which]);
        q_number(*ret, 1, row);
        q_blob(*ret, 2, name, len);
        if (service)
            sqlite3_bind_text(*ret, 3, service, -1, SQLITE_STATIC);
        if (q_step(q, *ret) == SQLITE_ROW)
            break;
        sqlite3_reset(*ret);
    }
    return row;
}

int64_t q_row_of(struct dw_queue *q, const uint8_t id[DW_ID_LEN])
{
    sqlite3_stmt *s;
    int64_t row = q_find(q, BY_ID, id, DW_ID_LEN, NULL, &s);
    if (row)
        sqlite3_reset(s);
    return row;
}

int64_t q_front_of(struct dw_queue *q, const uint8_t handle[DW_ID_LEN], const char *service,
                   dw_day *day)
{
    sqlite3_stmt *s;
    int64_t row = q_find(q, BY_HANDLE, handle, DW_ID_LEN, service, &s);
    if (row && day)
        *day = sqlite3_column_int(s, 0);
    if (row)
        sqlite3_reset(s);
    return row;
}
