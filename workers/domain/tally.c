/* tally.c - sums by text: cells in a row, and an index of hashes into them. */
#include "dw/statistics.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 64 };

static uint64_t hash_of(const char *key)
{
    uint64_t h = 14695981039346656037u;
    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot of the key, or the empty one where it belongs. */
static uint32_t *slot_of(const struct dw_tally *t, const char *key)
{
    size_t mask = 2 * t->room - 1;
    size_t i = (size_t)hash_of(key) & mask;
    while (t->slots[i] && strcmp(t->cells[t->slots[i] - 1].key, key) != 0)
        i = (i + 1) & mask;
    return &t->slots[i];
}

static void index_cells(struct dw_tally *t)
{
    memset(t->slots, 0, 2 * t->room * sizeof *t->slots);
    for (size_t i = 0; i < t->count; i++)
        *slot_of(t, t->cells[i].key) = (uint32_t)i + 1;
}

static void grow(struct dw_tally *t)
{
    t->room = t->room ? 2 * t->room : ROOM_FIRST;
    t->cells = dw_realloc(t->cells, t->room * sizeof *t->cells);
    t->slots = dw_realloc(t->slots, 2 * t->room * sizeof *t->slots);
    index_cells(t);
}

void dw_tally_add(struct dw_tally *t, const char *key, int64_t n)
{
    if (t->count == t->room)
        grow(t);
    uint32_t *slot = slot_of(t, key);
    if (!*slot) {
        t->cells[t->count] = (struct dw_tally_cell){dw_strdup(key), 0};
        *slot = (uint32_t)++t->count;
    }
    t->cells[*slot - 1].n += n;
}

static int by_key(const void *a, const void *b)
{
    return strcmp(((const struct dw_tally_cell *)a)->key, ((const struct dw_tally_cell *)b)->key);
}

void dw_tally_sort(struct dw_tally *t)
{
    size_t kept = 0;
    if (!t->count)
        return;
    for (size_t i = 0; i < t->count; i++) {
        if (t->cells[i].n)
            t->cells[kept++] = t->cells[i];
        else
            dw_free(t->cells[i].key);
    }
    t->count = kept;
    qsort(t->cells, t->count, sizeof *t->cells, by_key);
    index_cells(t);
}

void dw_tally_free(struct dw_tally *t)
{
    for (size_t i = 0; i < t->count; i++)
        dw_free(t->cells[i].key);
    dw_free(t->cells);
    dw_free(t->slots);
    *t = (struct dw_tally){0};
}
