/* Walking through a store and copying it, from and to every driver. */
#include "drivers.h"

#include "dw/copy.h"

#include <sys/stat.h>

enum { CASES = 260, RECORDS = 7, ENTRIES = 9 };

/* ---- a store with something of everything ---- */

struct made {
    struct dw_store_step step;
    struct dw_case_index ix;
    struct dw_store_object objects[2];
    const char *bodies[1];
    struct dw_buf doc;
    char reference[16];
};

static void number_id(uint8_t id[16], int n)
{
    uint64_t seed = (uint64_t)n;
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)test_random(&seed);
}

/* Any document will do. */
static void put_doc(struct dw_buf *doc, int n)
{
    static const char *bodies[] = {"500108"};
    char text[16];
    snprintf(text, sizeof text, "n%d", n);
    struct dw_case_index any = {.bodies = bodies, .bodies_count = 1, .reference = text, .state = "x",
                                .kind = "x", .against = "x", .district = "x", .assignee = "",
                                .body = "x", .due_rule = ""};
    dw_buf_init(doc, DW_DOC_MAX);
    dw_encode(&dw_case_index_layout, &any, doc);
}

static void make_case(struct made *m, int n, int version)
{
    *m = (struct made){0};
    snprintf(m->reference, sizeof m->reference, "CQ26-%09d", n);
    put_doc(&m->doc, n * 10 + version);
    m->bodies[0] = "500108";
    m->ix = (struct dw_case_index){.bodies = m->bodies, .bodies_count = 1, .reference = m->reference,
                                   .state = "received", .kind = "report", .against = "hospital",
                                   .district = "500108", .day = 20781, .open = true, .assignee = "",
                                   .body = "500108", .due = 20790 + n, .due_rule = "D08",
                                   .revision = version, .timer = n % 3 ? 0 : 1000 + n,
                                   .notice = n % 4 ? 0 : 2000 + n, .fold = n % 5 == 0};
    for (int i = 0; i < 2; i++) {
        number_id(m->objects[i].id, 10000 + n);
        m->objects[i].part = i;
        m->objects[i].bytes = dw_buf_slice(&m->doc);
    }
    m->objects[1].bytes.len = n % 2 ? m->doc.len : 0; /* one may be empty */
    m->step = (struct dw_store_step){.objects = m->objects, .objects_count = version == 1 ? 2 : 0,
                                     .with_receipt = version == 1,
                                     .reference = version == 1 ? m->reference : NULL,
                                     .with_case = true, .old_version = version - 1,
                                     .version = version, .doc = dw_buf_slice(&m->doc), .ix = &m->ix};
    number_id(m->step.case_id, n);
    number_id(m->step.handle, 20000 + n);
}

static void apply_one(struct dw_store *store, struct dw_store_step *step)
{
    struct dw_store_step *steps[] = {step};
    dw_store_apply(store, steps, 1);
    assert_int_equal(step->outcome, DW_OK);
}

static void put_cases(struct dw_store *store, int from, int count, int version)
{
    struct made *m = calloc((size_t)count, sizeof *m);
    struct dw_store_step **steps = calloc((size_t)count, sizeof *steps);
    for (int i = 0; i < count; i++) {
        make_case(&m[i], from + i, version);
        steps[i] = &m[i].step;
    }
    dw_store_apply(store, steps, (size_t)count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(steps[i]->outcome, DW_OK);
        dw_buf_free(&m[i].doc);
    }
    free(steps);
    free(m);
}

static void put_record(struct dw_store *store, const char *collection, const char *key, int n)
{
    DW_AUTO_BUF doc = {0};
    put_doc(&doc, n);
    struct dw_store_record record = {.collection = collection, .key = key, .version = n,
                                     .doc = dw_buf_slice(&doc)};
    struct dw_store_step step = {.records = &record, .records_count = 1};
    apply_one(store, &step);
}

static void put_entry(struct dw_store *store, const char *chain, int n)
{
    DW_AUTO_BUF doc = {0};
    put_doc(&doc, n);
    struct dw_store_audit entry = {chain, n, dw_buf_slice(&doc)};
    struct dw_store_step step = {.audit = &entry, .audit_count = 1};
    apply_one(store, &step);
}

static void fill(struct dw_store *store)
{
    char key[20];
    put_cases(store, 1, CASES, 1);
    put_cases(store, 1, 5, 2);
    for (int i = 1; i <= RECORDS; i++) {
        snprintf(key, sizeof key, "a/%d", i);
        put_record(store, i % 2 ? "staff" : "epochs", key, i);
    }
    for (int i = 1; i <= ENTRIES; i++)
        put_entry(store, i % 2 ? "staff" : "staff/2", i);
}

static const int64_t expected[DW_TABLES] = {
    [DW_TABLE_CASES] = CASES,       [DW_TABLE_RECEIPTS] = CASES,   [DW_TABLE_REFERENCES] = CASES,
    [DW_TABLE_OBJECTS] = 2 * CASES, [DW_TABLE_RECORDS] = RECORDS, [DW_TABLE_AUDIT] = ENTRIES};

static void sums_of(struct dw_store *store, struct dw_copy_sums *sums)
{
    assert_int_equal(dw_copy_sums_of(store, NULL, sums), DW_OK);
}

static void assert_same(struct dw_store *a, struct dw_store *b)
{
    struct dw_copy_sums x, y;
    sums_of(a, &x);
    sums_of(b, &y);
    assert_null(dw_copy_difference(&x, &y));
}

/* ---- walking ---- */

struct walked {
    uint8_t ids[2 * CASES][16];
    char names[2 * CASES][40];
    int64_t numbers[2 * CASES];
    size_t count, page;
    bool stop;
};

static bool note(void *arg, const struct dw_store_entry *e)
{
    struct walked *w = arg;
    assert_true(w->count < DW_COUNT(w->ids));
    memcpy(w->ids[w->count], e->id, 16);
    snprintf(w->names[w->count], sizeof w->names[0], "%s %s", e->name, e->key);
    w->numbers[w->count++] = e->number;
    w->page++;
    return !w->stop || w->page < 2;
}

static bool same_keys(const struct walked *w, size_t i, size_t j)
{
    return memcmp(w->ids[i], w->ids[j], 16) == 0 && strcmp(w->names[i], w->names[j]) == 0 &&
           w->numbers[i] == w->numbers[j];
}

static void walk_all(struct dw_store *store, enum dw_store_table table, size_t limit, bool stop,
                     struct walked *w)
{
    struct dw_store_entry after = {.name = "", .key = ""};
    char name[40], *key = NULL;
    *w = (struct walked){.stop = stop};
    do {
        w->page = 0;
        assert_int_equal(dw_store_walk(store, table, w->count ? &after : NULL, limit, note, w), DW_OK);
        assert_true(w->page <= limit);
        if (!w->count)
            continue;
        memcpy(after.id, w->ids[w->count - 1], 16);
        snprintf(name, sizeof name, "%s", w->names[w->count - 1]);
        key = strchr(name, ' ');
        *key = 0;
        after.name = name;
        after.key = key + 1;
        after.number = w->numbers[w->count - 1];
    } while (w->page);
}

TEST(a_walk_gives_everything_once_in_pages_of_any_size)
{
    struct fixture *f = *state;
    static struct walked w;
    fill(f->store);
    for (int table = 0; table < DW_TABLES; table++) {
        static const struct {
            size_t limit;
            bool stop;
        } ways[] = {{1000, false}, {37, false}, {100, true}};
        for (size_t i = 0; i < DW_COUNT(ways); i++) {
            walk_all(f->store, (enum dw_store_table)table, ways[i].limit, ways[i].stop, &w);
            assert_int_equal(w.count, expected[table]);
            for (size_t a = 0; a < w.count; a++)
                for (size_t b = 0; b < a; b++)
                    assert_false(same_keys(&w, a, b));
        }
    }
}

TEST(sums_notice_each_change)
{
    struct fixture *f = *state;
    struct dw_copy_sums before, after;
    fill(f->store);
    sums_of(f->store, &before);
    for (int table = 0; table < DW_TABLES; table++)
        assert_int_equal(before.tables[table].count, expected[table]);
    put_cases(f->store, 9, 1, 2);
    sums_of(f->store, &after);
    assert_string_equal(dw_copy_difference(&before, &after), "cases");
    before = after;
    put_record(f->store, "staff", "new", 1);
    sums_of(f->store, &after);
    assert_string_equal(dw_copy_difference(&before, &after), "records");
    before = after;
    put_entry(f->store, "staff", 100);
    sums_of(f->store, &after);
    assert_string_equal(dw_copy_difference(&before, &after), "audit");
}

/* ---- copying ---- */

/* Another store of the same driver. */
static struct dw_store *another(struct fixture *f, const char *name, enum dw_store_use use,
                                enum dw_result expected_result)
{
    char folder[320], uri[600];
    struct dw_store *store = NULL;
    struct dw_error err = {0};
    snprintf(folder, sizeof folder, "%s/%s", f->folder, name);
    mkdir(folder, 0700);
    if (f->driver->place == AT_SERVER)
        server_uri(uri, sizeof uri, folder);
    else if (f->driver->place == ON_DISK)
        snprintf(uri, sizeof uri, "sqlite:%s/cases.db", folder);
    else
        snprintf(uri, sizeof uri, "sqlite::memory:");
    enum dw_result result = dw_store_open_for(uri, use, &f->config, &store, &err);
    if (result != expected_result)
        fail_msg("%s: %s", uri, err.text);
    if (result != DW_OK)
        assert_non_null(strstr(err.text, "unfinished copy"));
    return store;
}

static struct dw_store *in_memory(struct fixture *f)
{
    struct dw_store *store;
    struct dw_error err = {0};
    assert_int_equal(dw_store_open_for("sqlite::memory:", DW_STORE_FILL, &f->config, &store, &err),
                     DW_OK);
    return store;
}

static void copy(struct dw_store *from, struct dw_store *to)
{
    struct dw_copy_sums sums, found;
    struct dw_error err = {0};
    if (dw_copy(from, to, "here", NULL, &sums, &err) != DW_OK)
        fail_msg("%s: %s", err.field, err.text);
    sums_of(from, &found);
    assert_null(dw_copy_difference(&sums, &found));
    assert_int_equal(dw_copy_finish(to, NULL), DW_OK);
    assert_same(from, to);
}

static void assert_serves(struct dw_store *store)
{
    struct dw_store_query q = {.list = DW_LIST_ALL, .body = "500108", .limit = 1000};
    struct dw_store_row *rows;
    uint8_t ids[CASES][16], id[16], handle[16];
    size_t count;
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, 1 << 22);
    assert_int_equal(dw_store_worklist(store, &q, &arena, &rows, &count), DW_OK);
    assert_int_equal(count, CASES);
    assert_int_equal(dw_store_due(store, DW_DUE_TIMER, 5000, CASES, ids, &count), DW_OK);
    assert_int_equal(count, CASES / 3);
    assert_int_equal(dw_store_due(store, DW_DUE_NOTICE, 5000, CASES, ids, &count), DW_OK);
    assert_int_equal(count, CASES / 4);
    assert_int_equal(dw_store_due(store, DW_DUE_FOLD, 1, CASES, ids, &count), DW_OK);
    assert_int_equal(count, CASES / 5);
    number_id(handle, 20003);
    assert_int_equal(dw_store_id_of_handle(store, handle, id), DW_OK);
}

TEST(a_copy_there_and_back_is_the_same_and_serves)
{
    struct fixture *f = *state;
    fill(f->store);
    struct dw_store *memory = in_memory(f), *back = another(f, "back", DW_STORE_FILL, DW_OK);
    copy(f->store, memory);
    assert_serves(memory);
    copy(memory, back);
    assert_serves(back);
    assert_same(f->store, back);
    dw_store_close(memory);
    dw_store_close(back);
}

TEST(an_occupied_target_and_a_copy_of_something_else_are_refused)
{
    struct fixture *f = *state;
    struct dw_copy_sums sums;
    struct dw_error err = {0};
    struct dw_store *from = in_memory(f);
    put_record(from, "staff", "li", 1);
    put_entry(f->store, "staff", 1);
    assert_int_equal(dw_copy(from, f->store, "here", NULL, &sums, &err), DW_CONFLICT);
    assert_non_null(strstr(err.text, "holds audit"));
    struct dw_store *to = another(f, "to", DW_STORE_FILL, DW_OK);
    assert_int_equal(dw_copy(from, to, "here", NULL, &sums, &err), DW_OK);
    assert_int_equal(dw_copy(from, to, "elsewhere", NULL, &sums, &err), DW_CONFLICT);
    assert_non_null(strstr(err.text, "here"));
    assert_int_equal(dw_copy(from, to, "here", NULL, &sums, &err), DW_OK);
    assert_int_equal(dw_copy_finish(to, NULL), DW_OK);
    assert_int_equal(dw_copy(from, to, "here", NULL, &sums, &err), DW_CONFLICT);
    dw_store_close(to);
    dw_store_close(from);
}

TEST(an_unfinished_copy_is_no_store)
{
    struct fixture *f = *state;
    struct dw_copy_sums sums, kept;
    struct dw_error err = {0};
    if (f->driver->place == IN_MEMORY)
        return; /* gone when it is closed */
    fill(f->store);
    struct dw_store *to = another(f, "to", DW_STORE_FILL, DW_OK);
    assert_int_equal(dw_copy(f->store, to, "here", NULL, &sums, &err), DW_OK);
    dw_store_close(to);
    another(f, "to", DW_STORE_SERVE, DW_INVALID);
    another(f, "to", DW_STORE_LOOK, DW_INVALID);
    to = another(f, "to", DW_STORE_FILL, DW_OK);
    assert_int_equal(dw_copy_kept_sums(to, &kept), DW_NOT_FOUND);
    sums.made = 7;
    assert_int_equal(dw_copy_finish(to, &sums), DW_OK);
    assert_int_equal(dw_copy_finish(to, &sums), DW_OK); /* whose answer was lost */
    dw_store_close(to);
    to = another(f, "to", DW_STORE_LOOK, DW_OK);
    assert_int_equal(dw_copy_kept_sums(to, &kept), DW_OK);
    assert_int_equal(kept.made, 7);
    assert_null(dw_copy_difference(&sums, &kept));
    assert_same(f->store, to); /* what it says about itself does not count */
    dw_store_close(to);
    dw_store_close(another(f, "to", DW_STORE_SERVE, DW_OK));
}

TEST(a_store_that_is_only_looked_at_is_not_written)
{
    struct fixture *f = *state;
    if (f->driver->place != ON_DISK)
        return; /* only a file can hold still */
    struct dw_store *store = another(f, "x", DW_STORE_SERVE, DW_OK);
    put_cases(store, 1, 3, 1);
    struct dw_store *look = another(f, "x", DW_STORE_LOOK, DW_OK);
    struct dw_copy_sums before, after;
    sums_of(look, &before);
    put_cases(store, 4, 3, 1);
    sums_of(look, &after);
    assert_null(dw_copy_difference(&before, &after));
    assert_int_equal(after.tables[DW_TABLE_CASES].count, 3);
    struct made m;
    make_case(&m, 50, 1);
    struct dw_store_step *steps[] = {&m.step};
    dw_store_apply(look, steps, 1);
    assert_int_equal(m.step.outcome, DW_RETRY);
    dw_buf_free(&m.doc);
    dw_store_close(look);
    look = another(f, "x", DW_STORE_LOOK, DW_OK);
    sums_of(look, &after);
    assert_int_equal(after.tables[DW_TABLE_CASES].count, 6);
    dw_store_close(look);
    dw_store_close(store);
}

TEST(a_fault_at_any_write_of_a_copy_changes_nothing)
{
    struct fixture *f = *state;
    struct dw_store *from = in_memory(f);
    put_cases(from, 1, 3, 1);
    put_record(from, "staff", "li", 4);
    put_entry(from, "staff", 1);
    for (int fault = FAULT_BEFORE; fault <= FAULT_AFTER; fault++) {
        bool struck = true;
        int n = 1;
        for (; struck; n++) {
            char name[20];
            snprintf(name, sizeof name, "%d-%d", fault, n);
            struct dw_store *to = fault_store(another(f, name, DW_STORE_FILL, DW_OK),
                                              (enum fault)fault, n);
            copy(from, to);
            struck = fault_store_struck(to);
            dw_store_close(to);
        }
        assert_true(n > 15); /* a page and a record of how far for each table, and more */
    }
    dw_store_close(from);
}

int main(void)
{
#define T(name) {#name, name}
    static const struct promise all[] = {
        T(a_walk_gives_everything_once_in_pages_of_any_size),
        T(sums_notice_each_change),
        T(a_copy_there_and_back_is_the_same_and_serves),
        T(an_occupied_target_and_a_copy_of_something_else_are_refused),
        T(an_unfinished_copy_is_no_store),
        T(a_store_that_is_only_looked_at_is_not_written),
        T(a_fault_at_any_write_of_a_copy_changes_nothing)};
    return run_on_every_driver(all, DW_COUNT(all));
}
