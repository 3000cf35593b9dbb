#include "driver.h"

#include <string.h>

static const struct dw_store_driver *const drivers[] = {&dw_store_sqlite, &dw_store_mongo};

/* What the driver wants to read of a URI that is its own. */
static const struct dw_store_driver *driver_of(const char *uri, const char **rest,
                                               struct dw_error *err)
{
    for (size_t i = 0; i < DW_COUNT(drivers); i++) {
        size_t len = strlen(drivers[i]->scheme);
        if (strncmp(uri, drivers[i]->scheme, len) != 0)
            continue;
        *rest = drivers[i]->whole_uri ? uri : uri + len;
        return drivers[i];
    }
    dw_error_set(err, "store.uri",
                 "store.uri: expected sqlite:FILE or mongodb://HOST/DATABASE");
    return NULL;
}

enum dw_result dw_store_open_for(const char *uri, enum dw_store_use use,
                                 const struct dw_config *config, struct dw_store **ret,
                                 struct dw_error *err)
{
    const char *rest;
    void *self;
    const struct dw_store_driver *driver = driver_of(uri, &rest, err);
    if (!driver)
        return DW_INVALID;
    enum dw_result result = driver->open(rest, use, config, &self, err);
    if (result != DW_OK)
        return result;
    struct dw_store *store = dw_alloc(sizeof *store);
    *store = (struct dw_store){driver, self};
    *ret = store;
    return DW_OK;
}

enum dw_result dw_store_open(const char *uri, const struct dw_config *config,
                             struct dw_store **ret, struct dw_error *err)
{
    return dw_store_open_for(uri, DW_STORE_SERVE, config, ret, err);
}

enum dw_result dw_store_make(const char *uri, const struct dw_config *config,
                             const struct dw_progress *progress, int *from, int *to,
                             struct dw_error *err)
{
    const char *rest;
    const struct dw_store_driver *driver = driver_of(uri, &rest, err);
    return driver ? driver->make(rest, config, progress, from, to, err) : DW_INVALID;
}

void dw_store_close(struct dw_store *store)
{
    if (!store)
        return;
    store->driver->close(store->self);
    dw_free(store);
}

enum dw_result dw_store_ping(struct dw_store *store)
{
    return store->driver->ping(store->self);
}

void dw_store_apply(struct dw_store *store, struct dw_store_step *const *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        steps[i]->outcome = DW_RETRY; /* until the driver says otherwise */
        steps[i]->existed = steps[i]->taken = false;
    }
    if (count)
        store->driver->apply(store->self, steps, count);
}

enum dw_result dw_store_case(struct dw_store *store, const uint8_t id[16], struct dw_buf *buf,
                             struct dw_store_case *ret)
{
    size_t start = buf->len;
    enum dw_result result = store->driver->get_case(store->self, id, buf, &ret->version);
    if (result == DW_OK)
        ret->doc = DW_SLICE(buf->data + start, buf->len - start);
    return result;
}

enum dw_result dw_store_id_of_handle(struct dw_store *store, const uint8_t handle[16],
                                     uint8_t id[16])
{
    return store->driver->id_of_handle(store->self, handle, id);
}

enum dw_result dw_store_id_of_reference(struct dw_store *store, const char *reference,
                                        uint8_t id[16])
{
    return store->driver->id_of_reference(store->self, reference, id);
}

enum dw_result dw_store_object(struct dw_store *store, const uint8_t id[16], int32_t part,
                               struct dw_buf *buf)
{
    return store->driver->get_object(store->self, id, part, buf);
}

enum dw_result dw_store_worklist(struct dw_store *store, const struct dw_store_query *query,
                                 struct dw_arena *arena, struct dw_store_row **ret, size_t *count)
{
    *count = 0;
    *ret = dw_arena_alloc(arena, query->limit * sizeof **ret);
    enum dw_result result =
        *ret ? store->driver->worklist(store->self, query, arena, *ret, count) : DW_INVALID;
    /* Another body's clock; these rows stand among those without one, and the next page begins behind
     * what the last row shows. */
    for (size_t i = 0; i < *count; i++) {
        struct dw_case_index *ix = &(*ret)[i].ix;
        if (strcmp(ix->body, query->body) != 0) {
            ix->due = 0;
            ix->due_rule = "";
        }
    }
    return result;
}

enum dw_result dw_store_due(struct dw_store *store, enum dw_store_due which, dw_time now,
                            size_t limit, uint8_t (*ids)[16], size_t *count)
{
    *count = 0;
    return store->driver->due(store->self, which, now, limit, ids, count);
}

enum dw_result dw_store_record(struct dw_store *store, const char *collection, const char *key,
                               struct dw_buf *buf, struct dw_store_case *ret)
{
    size_t start = buf->len;
    enum dw_result result =
        store->driver->get_record(store->self, collection, key, buf, &ret->version);
    if (result == DW_OK)
        ret->doc = DW_SLICE(buf->data + start, buf->len - start);
    return result;
}

enum dw_result dw_store_records(struct dw_store *store, const char *collection, const char *prefix,
                                dw_store_each *each, void *arg)
{
    return store->driver->records(store->self, collection, prefix, each, arg);
}

enum dw_result dw_store_audit_last(struct dw_store *store, const char *chain, int64_t *seq,
                                   struct dw_buf *buf)
{
    *seq = 0;
    return store->driver->audit_last(store->self, chain, seq, buf);
}

enum dw_result dw_store_audit_read(struct dw_store *store, const char *chain, int64_t from,
                                   size_t limit, dw_store_each *each, void *arg)
{
    return store->driver->audit_read(store->self, chain, from, limit, each, arg);
}

enum dw_result dw_store_counts(struct dw_store *store, struct dw_store_counts *ret)
{
    return store->driver->counts(store->self, ret);
}

enum dw_result dw_store_each_case(struct dw_store *store, dw_store_each *each, void *arg)
{
    return store->driver->each_case(store->self, each, arg);
}

enum dw_result dw_store_tidy(struct dw_store *store, int64_t *at)
{
    if (store->driver->tidy)
        return store->driver->tidy(store->self, at);
    *at = 0;
    return DW_OK;
}

enum dw_result dw_store_walk(struct dw_store *store, enum dw_store_table table,
                             const struct dw_store_entry *after, size_t limit,
                             dw_store_walker *walker, void *arg)
{
    return store->driver->walk(store->self, table, after, limit, walker, arg);
}
