#include "fault_store.h"

#include "driver.h"

struct faulty {
    struct dw_store *inner;
    enum fault fault;
    int n, calls;
    bool struck;
};

static void apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    struct faulty *f = self;
    bool now = ++f->calls == f->n;
    if (now)
        f->struck = true;
    if (now && f->fault == FAULT_BEFORE)
        return; /* store.c has set every outcome to RETRY */
    f->inner->driver->apply(f->inner->self, steps, count);
    for (size_t i = 0; now && i < count; i++) {
        steps[i]->outcome = DW_UNCERTAIN;
        steps[i]->existed = steps[i]->taken = false;
    }
}

#define INNER(self) ((struct faulty *)(self))->inner

static void close_both(void *self)
{
    dw_store_close(INNER(self));
    dw_free(self);
}
static enum dw_result ping(void *self)
{
    return dw_store_ping(INNER(self));
}
static enum dw_result get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                               int64_t *version)
{
    return INNER(self)->driver->get_case(INNER(self)->self, id, buf, version);
}
static enum dw_result id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16])
{
    return dw_store_id_of_handle(INNER(self), handle, id);
}
static enum dw_result id_of_reference(void *self, const char *reference, uint8_t id[16])
{
    return dw_store_id_of_reference(INNER(self), reference, id);
}
static enum dw_result get_object(void *self, const uint8_t id[16], int32_t part,
                                 struct dw_buf *buf)
{
    return dw_store_object(INNER(self), id, part, buf);
}
static enum dw_result worklist(void *self, const struct dw_store_query *query,
                               struct dw_arena *arena, struct dw_store_row *rows, size_t *count)
{
    return INNER(self)->driver->worklist(INNER(self)->self, query, arena, rows, count);
}
static enum dw_result due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                          uint8_t (*ids)[16], size_t *count)
{
    return dw_store_due(INNER(self), which, now, limit, ids, count);
}
static enum dw_result get_record(void *self, const char *collection, const char *key,
                                 struct dw_buf *buf, int64_t *version)
{
    return INNER(self)->driver->get_record(INNER(self)->self, collection, key, buf, version);
}
static enum dw_result records(void *self, const char *collection, const char *prefix,
                              dw_store_each *each, void *arg)
{
    return dw_store_records(INNER(self), collection, prefix, each, arg);
}
static enum dw_result audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf)
{
    return dw_store_audit_last(INNER(self), chain, seq, buf);
}
static enum dw_result audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                 dw_store_each *each, void *arg)
{
    return dw_store_audit_read(INNER(self), chain, from, limit, each, arg);
}
static enum dw_result counts(void *self, struct dw_store_counts *ret)
{
    return dw_store_counts(INNER(self), ret);
}
static enum dw_result each_case(void *self, dw_store_each *each, void *arg)
{
    return dw_store_each_case(INNER(self), each, arg);
}
static enum dw_result walk(void *self, enum dw_store_table table, const struct dw_store_entry *after,
                           size_t limit, dw_store_walker *walker, void *arg)
{
    return dw_store_walk(INNER(self), table, after, limit, walker, arg);
}

static const struct dw_store_driver faulty = {
    .scheme = "fault:",        .close = close_both,       .ping = ping,
    .apply = apply,            .get_case = get_case,      .id_of_handle = id_of_handle,
    .id_of_reference = id_of_reference, .get_object = get_object, .worklist = worklist,
    .due = due,                .get_record = get_record,  .records = records,
    .audit_last = audit_last,  .audit_read = audit_read,  .counts = counts,
    .each_case = each_case,    .walk = walk,
};

struct dw_store *fault_store(struct dw_store *inner, enum fault fault, int n)
{
    struct faulty *f = dw_alloc(sizeof *f);
    *f = (struct faulty){.inner = inner, .fault = fault, .n = n};
    struct dw_store *store = dw_alloc(sizeof *store);
    *store = (struct dw_store){&faulty, f};
    return store;
}

bool fault_store_struck(const struct dw_store *store)
{
    return ((struct faulty *)store->self)->struck;
}
