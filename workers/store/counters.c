/* counters.c - counters as records of the store, and the reading of them. */
#include "counters.h"

#include <stdio.h>
#include <string.h>

static const struct dw_field counters_fields[] = {
    DW_F_I64(struct dw_counters, batch, 0),
    DW_F_TEXTS(struct dw_counters, cells, DW_COUNTERS_MAX, DW_OPTIONAL),
    DW_F_I32S(struct dw_counters, counts, DW_COUNTERS_MAX, DW_OPTIONAL),
};
const struct dw_layout dw_counters_layout =
    DW_LAYOUT("counters", struct dw_counters, counters_fields);

/* ---- documents ---- */

enum dw_result counters_decode(struct dw_slice doc, struct dw_arena *arena,
                               struct dw_counters *ret)
{
    struct dw_error err;
    if (dw_decode(&dw_counters_layout, doc, arena, ret, &err) != DW_OK ||
        ret->cells_count != ret->counts_count)
        return DW_INVALID;
    return DW_OK;
}

enum dw_result counters_read(struct dw_store *store, const char *key, struct dw_arena *arena,
                             struct dw_counters *ret, int64_t *version)
{
    DW_AUTO_BUF doc = {0};
    struct dw_store_case found;
    dw_buf_init(&doc, DW_DOC_MAX);
    *ret = (struct dw_counters){0};
    *version = 0;
    enum dw_result result = dw_store_record(store, DW_STATISTICS, key, &doc, &found);
    if (result == DW_NOT_FOUND)
        return DW_OK;
    if (result != DW_OK)
        return result;
    *version = found.version;
    return counters_decode(found.doc, arena, ret);
}

struct dw_store_record counters_record(const char *key, int64_t old_version,
                                       const struct dw_counters *counters, struct dw_buf *doc)
{
    dw_buf_init(doc, DW_DOC_MAX);
    dw_encode(&dw_counters_layout, counters, doc);
    return (struct dw_store_record){.collection = DW_STATISTICS,
                                    .key = key,
                                    .old_version = old_version,
                                    .version = old_version + 1,
                                    .doc = dw_buf_slice(doc)};
}

void counters_merge(const struct dw_counters *a, const struct dw_counters *b,
                    struct dw_arena *arena, struct dw_counters *ret)
{
    size_t room = a->cells_count + b->cells_count + 1, i = 0, j = 0;
    *ret = (struct dw_counters){.cells = dw_arena_alloc(arena, room * sizeof *ret->cells),
                                .counts = dw_arena_alloc(arena, room * sizeof *ret->counts)};
    if (!ret->cells || !ret->counts)
        return;
    while (i < a->cells_count || j < b->cells_count) {
        int order = i == a->cells_count   ? 1
                    : j == b->cells_count ? -1
                                          : strcmp(a->cells[i], b->cells[j]);
        const char *cell = order <= 0 ? a->cells[i] : b->cells[j];
        int32_t n = (order <= 0 ? a->counts[i++] : 0) + (order >= 0 ? b->counts[j++] : 0);
        if (!n)
            continue;
        ret->cells[ret->cells_count++] = cell;
        ret->counts[ret->counts_count++] = n;
    }
}

size_t counters_group(const char *const *cells, size_t count, size_t first,
                      char key[DW_COUNTER_TEXT])
{
    size_t len = strcspn(cells[first], " "), n = first;
    snprintf(key, DW_COUNTER_TEXT, "%.*s", (int)len, cells[first]);
    while (n < count && strncmp(cells[n], cells[first], len + 1) == 0)
        n++;
    return n - first;
}

const char *counters_name(const char *cell)
{
    return cell + strcspn(cell, " ") + 1;
}

/* ---- reading ---- */

static enum dw_result read_document(struct dw_store *store, const char *area, const char *month,
                                    const struct dw_statistics_query *query, struct dw_tally *tally)
{
    char key[DW_COUNTER_TEXT];
    struct dw_counters counters;
    int64_t version;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, COUNTERS_ARENA_MAX);
    snprintf(key, sizeof key, "%s/%s", area, month);
    enum dw_result result = counters_read(store, key, &arena, &counters, &version);
    for (size_t i = 0; result == DW_OK && i < counters.cells_count; i++)
        dw_statistics_select(query, counters.cells[i], counters.counts[i], tally);
    return result;
}

static enum dw_result read_months(struct dw_store *store, const char *area,
                                  const struct dw_statistics_query *query, struct dw_tally *tally)
{
    enum dw_result result = DW_OK;
    int year, month, day, last_year, last_month;
    dw_day_to_civil(query->from, &year, &month, &day);
    dw_day_to_civil(query->to, &last_year, &last_month, &day);
    while (result == DW_OK && (year < last_year || (year == last_year && month <= last_month))) {
        char name[40];
        snprintf(name, sizeof name, "%04d-%02d", year, month);
        result = read_document(store, area, name, query, tally);
        year += month == 12;
        month = month % 12 + 1;
    }
    return result;
}

enum dw_result dw_statistics_read(struct dw_store *store, const char *area,
                                  const struct dw_statistics_query *query, struct dw_arena *arena,
                                  struct dw_statistics_view *ret)
{
    DW_AUTO_TALLY tally = {0};
    uint8_t waiting[1][16];
    size_t count;
    *ret = (struct dw_statistics_view){
        .area = area, .by = query->by, .from = query->from, .to = query->to};
    enum dw_result result = dw_store_due(store, DW_DUE_FOLD, INT64_MAX, 1, waiting, &count);
    if (result != DW_OK)
        return result;
    ret->behind = count > 0;
    result = dw_statistics_is_now(query->by) ? read_document(store, area, "now", query, &tally)
                                             : read_months(store, area, query, &tally);
    if (result != DW_OK)
        return result;
    dw_tally_sort(&tally);
    ret->cells = dw_arena_alloc(arena, (tally.count + 1) * sizeof *ret->cells);
    ret->counts = dw_arena_alloc(arena, (tally.count + 1) * sizeof *ret->counts);
    if (!ret->cells || !ret->counts)
        return DW_INVALID;
    for (size_t i = 0; i < tally.count; i++) {
        ret->cells[i] = dw_arena_strndup(arena, tally.cells[i].key, strlen(tally.cells[i].key));
        ret->counts[i] = (int32_t)tally.cells[i].n;
    }
    ret->cells_count = ret->counts_count = tally.count;
    return DW_OK;
}
