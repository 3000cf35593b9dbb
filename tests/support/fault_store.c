#include "fault_store.h"

#include "store_reads.h"

struct faulty {
    struct dw_store *inner;
    enum fault fault;
    int n, calls;
    bool struck;
};

static bool strikes(struct faulty *f, bool reading)
{
    bool now = reading == (f->fault == FAULT_READ) && ++f->calls == f->n;
    f->struck = f->struck || now;
    return now;
}

static void apply(void *self, struct dw_store_step *const *steps, size_t count)
{
    struct faulty *f = self;
    bool now = strikes(f, false);
    if (now && f->fault == FAULT_BEFORE)
        return; /* store.c has set every outcome to RETRY */
    f->inner->driver->apply(f->inner->self, steps, count);
    for (size_t i = 0; now && i < count; i++) {
        steps[i]->outcome = DW_UNCERTAIN;
        steps[i]->existed = steps[i]->taken = false;
    }
}

static void close_both(void *self)
{
    dw_store_close(((struct faulty *)self)->inner);
    dw_free(self);
}

#define READ(name, arguments, ...)                                                                 \
    static enum dw_result name arguments                                                           \
    {                                                                                              \
        struct dw_store *inner = ((struct faulty *)self)->inner;                                   \
        return strikes(self, true) ? DW_RETRY : inner->driver->name(inner->self, ##__VA_ARGS__);   \
    }
STORE_READS(READ)

static const struct dw_store_driver faulty = {
    .scheme = "fault:", .close = close_both, .apply = apply, STORE_READS(STORE_READ_MEMBER)};

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

struct dw_store *fault_store_unwrap(struct dw_store *store)
{
    struct dw_store *inner = ((struct faulty *)store->self)->inner;
    dw_free(store->self);
    dw_free(store);
    return inner;
}
