/* schema.c - which version of its tables a store has, and how it comes to the one of today. */
#include "driver.h"

void dw_tell(const struct dw_progress *progress, const char *what, int64_t done, int64_t total)
{
    if (progress && progress->tell)
        progress->tell(progress->arg, what, done, total);
}

static enum dw_result newer(int version, int known, struct dw_error *err)
{
    return dw_invalid(err, "store.uri",
                      "it was written by a newer Dengwen (version %d of its tables, this one knows "
                      "%d); install that one",
                      version, known);
}

enum dw_result dw_schema_check(const struct dw_schema *schema, int version, struct dw_error *err)
{
    if (version == 0)
        return dw_invalid(err, "store.uri",
                          "there is no store of Dengwen there: run dengwen init-db, or set store.init");
    if (version < schema->count)
        return dw_invalid(err, "store.uri",
                          "it was written by an older Dengwen (version %d of its tables, this one "
                          "wants %d): make a backup, then run dengwen init-db",
                          version, schema->count);
    return version > schema->count ? newer(version, schema->count, err) : DW_OK;
}

/* The version is read again before each step: somebody else may be at it too. */
enum dw_result dw_schema_migrate(const struct dw_schema *schema, void *place,
                                 const struct dw_progress *progress, int *from,
                                 struct dw_error *err)
{
    int version;
    enum dw_result result = schema->read(place, &version, err);
    *from = version;
    while (result == DW_OK && version < schema->count) {
        const struct dw_schema_step *step = &schema->steps[version];
        dw_tell(progress, step->what, 0, 0);
        result = schema->take(place, step, version + 1, progress, err);
        if (result == DW_OK)
            result = schema->read(place, &version, err);
    }
    if (result == DW_OK && version > schema->count)
        result = newer(version, schema->count, err);
    return result;
}

enum dw_result dw_store_unfinished(struct dw_error *err)
{
    return dw_invalid(err, "store.uri",
                      "it is an unfinished copy: run the command that began it once more (dengwen "
                      "store copy, or dengwen restore), it goes on where it stopped");
}
