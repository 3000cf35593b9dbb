#include "careful_store.h"

#include "store_reads.h"

enum { TRIES = 5 };

struct careful {
    struct dw_store *inner;
};

static struct dw_store *inner_of(void *self)
{
    return ((struct careful *)self)->inner;
}

#define READ(name, arguments, ...)                                                                 \
    static enum dw_result name arguments                                                           \
    {                                                                                              \
        struct dw_store *inner = inner_of(self);                                                   \
        enum dw_result result = DW_RETRY;                                                          \
        for (int i = 0; i < TRIES && result == DW_RETRY; i++)                                      \
            result = inner->driver->name(inner->self, ##__VA_ARGS__);                              \
        return result;                                                                             \
    }
STORE_READS(READ)

/* ---- writing ---- */

static void count_entry(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    (void)key, (void)version, (void)doc;
    ++*(int64_t *)arg;
}

/* What a step changes, as a number that each change of it changes: the version of its case, or of its
 * last record, or whether its last audit entry is there.  Side documents alone are the same again. */
static int64_t look(void *self, const struct dw_store_step *step)
{
    int64_t found = 0;
    DW_AUTO_BUF buf = {0};
    dw_buf_init(&buf, DW_DOC_MAX);
    if (step->with_case) {
        get_case(self, step->case_id, &buf, &found);
    } else if (step->records_count) {
        const struct dw_store_record *last = &step->records[step->records_count - 1];
        get_record(self, last->collection, last->key, &buf, &found);
    } else if (step->audit_count) {
        const struct dw_store_audit *last = &step->audit[step->audit_count - 1];
        audit_read(self, last->chain, last->seq, 1, count_entry, &found);
    }
    return found;
}

static bool is_settled(const struct dw_store_step *step)
{
    return step->outcome != DW_RETRY && step->outcome != DW_UNCERTAIN;
}

static void settle(void *self, struct dw_store_step *step, int64_t before)
{
    for (int i = 0; i < TRIES && !is_settled(step); i++) {
        if (step->outcome == DW_UNCERTAIN && look(self, step) != before) {
            step->outcome = DW_OK;
            return;
        }
        dw_store_apply(inner_of(self), &step, 1);
    }
}

static void apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    int64_t *before = dw_alloc(count * sizeof *before);
    for (size_t i = 0; i < count; i++)
        before[i] = look(self, steps[i]);
    dw_store_apply(inner_of(self), steps, count);
    for (size_t i = 0; i < count; i++) {
        bool needed = steps[i]->needs_first;
        if (needed && steps[0]->outcome != DW_OK) {
            steps[i]->outcome = DW_RETRY; /* it was left out */
            continue;
        }
        steps[i]->needs_first = false; /* it is asked for alone now */
        settle(self, steps[i], before[i]);
        steps[i]->needs_first = needed;
    }
    dw_free(before);
}

static void close_both(void *self)
{
    dw_store_close(inner_of(self));
    dw_free(self);
}

static const struct dw_store_driver careful = {
    .scheme = "careful:", .close = close_both, .apply = apply, STORE_READS(STORE_READ_MEMBER)};

struct dw_store *careful_store(struct dw_store *inner)
{
    struct careful *c = dw_alloc(sizeof *c);
    *c = (struct careful){inner};
    struct dw_store *store = dw_alloc(sizeof *store);
    *store = (struct dw_store){&careful, c};
    return store;
}

struct dw_store *careful_store_unwrap(struct dw_store *store)
{
    struct dw_store *inner = ((struct careful *)store->self)->inner;
    dw_free(store->self);
    dw_free(store);
    return inner;
}
