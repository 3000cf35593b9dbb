/* One contract, every driver: the same tests, under the same names, on each of them; with the word
 * "faults" each of them again and again with every call failing once. */
#include "drivers.h"

/* ---- making steps ---- */

struct made {
    struct dw_store_step step;
    struct dw_case_index ix;
    struct dw_store_object objects[2];
    const char *bodies[2];
    uint8_t bytes[100], doc[100];
    char reference[16];
};

struct small {
    const char *text;
    int32_t number;
};
static const struct dw_field small_fields[] = {DW_F_TEXT(struct small, text, 100, 0),
                                               DW_F_I32(struct small, number, 0)};
static const struct dw_layout small_layout = DW_LAYOUT("small", struct small, small_fields);

/* Documents are BSON, as all that we store. */
static struct dw_slice small_doc(uint8_t *out, size_t max, const char *text, int32_t number)
{
    struct small small = {text, number};
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, max);
    dw_encode(&small_layout, &small, &bytes);
    memcpy(out, bytes.data, bytes.len);
    return DW_SLICE(out, bytes.len);
}

static void id_of(uint8_t id[16], int n)
{
    uint64_t seed = (uint64_t)n;
    for (int i = 0; i < 16; i++)
        id[i] = (uint8_t)test_random(&seed);
}

static struct made *make(int n, int version)
{
    struct made *m = calloc(1, sizeof *m);
    snprintf(m->reference, sizeof m->reference, "CQ26-%09d", n % 1000000000);
    memset(m->bytes, n, sizeof m->bytes);
    m->bodies[0] = "500108";
    m->ix = (struct dw_case_index){.bodies = m->bodies, .bodies_count = 1, .reference = m->reference,
                                   .state = "received", .kind = "report", .against = "hospital",
                                   .district = "500108", .day = 20781, .open = true, .assignee = "",
                                   .body = "500108", .due = 20790 + n, .due_rule = "D08",
                                   .revision = version};
    id_of(m->objects[0].id, 1000 + n);
    id_of(m->objects[1].id, 1000 + n);
    m->objects[1].part = 1;
    m->objects[0].bytes = DW_SLICE(m->bytes, 50);
    m->objects[1].bytes = DW_SLICE(m->bytes, 100);
    m->step = (struct dw_store_step){.objects = m->objects, .objects_count = 2, .with_receipt = true,
                                     .reference = m->reference, .with_case = true,
                                     .old_version = version - 1, .version = version,
                                     .doc = small_doc(m->doc, sizeof m->doc, m->reference, version),
                                     .ix = &m->ix};
    id_of(m->step.handle, 2000 + n);
    id_of(m->step.case_id, n);
    return m;
}

static enum dw_result apply(struct fixture *f, struct made *m)
{
    struct dw_store_step *steps[] = {&m->step};
    dw_store_apply(f->store, steps, 1);
    return m->step.outcome;
}

static void put(struct fixture *f, int n)
{
    struct made *m = make(n, 1);
    assert_int_equal(apply(f, m), DW_OK);
    assert_false(m->step.existed);
    free(m);
}

static int64_t version_of(struct fixture *f, int n)
{
    uint8_t id[16];
    struct dw_buf buf;
    struct dw_store_case found = {0};
    id_of(id, n);
    dw_buf_init(&buf, DW_DOC_MAX);
    enum dw_result result = dw_store_case(f->store, id, &buf, &found);
    dw_buf_free(&buf);
    return result == DW_OK ? found.version : -1;
}

/* ---- the contract ---- */

TEST(a_new_case_is_found_by_id_handle_and_reference_with_its_objects)
{
    struct fixture *f = *state;
    struct made *m = make(1, 1);
    uint8_t id[16];
    struct dw_buf buf;
    struct dw_store_case found;
    assert_int_equal(apply(f, m), DW_OK);
    dw_buf_init(&buf, DW_DOC_MAX);
    assert_int_equal(dw_store_case(f->store, m->step.case_id, &buf, &found), DW_OK);
    assert_int_equal(found.version, 1);
    assert_int_equal(found.doc.len, m->step.doc.len);
    assert_memory_equal(found.doc.data, m->doc, m->step.doc.len);
    assert_int_equal(dw_store_id_of_handle(f->store, m->step.handle, id), DW_OK);
    assert_memory_equal(id, m->step.case_id, 16);
    assert_int_equal(dw_store_id_of_reference(f->store, m->reference, id), DW_OK);
    assert_memory_equal(id, m->step.case_id, 16);
    dw_buf_clear(&buf);
    assert_int_equal(dw_store_object(f->store, m->objects[1].id, 1, &buf), DW_OK);
    assert_int_equal(buf.len, 100);
    dw_buf_free(&buf);
    free(m);
}

TEST(what_was_never_put_is_not_found)
{
    struct fixture *f = *state;
    uint8_t id[16] = {1};
    struct dw_buf buf;
    struct dw_store_case found;
    dw_buf_init(&buf, DW_DOC_MAX);
    assert_int_equal(dw_store_case(f->store, id, &buf, &found), DW_NOT_FOUND);
    assert_int_equal(dw_store_id_of_handle(f->store, id, id), DW_NOT_FOUND);
    assert_int_equal(dw_store_id_of_reference(f->store, "CQ26-X", id), DW_NOT_FOUND);
    assert_int_equal(dw_store_object(f->store, id, 0, &buf), DW_NOT_FOUND);
    assert_int_equal(dw_store_record(f->store, "staff", "nobody", &buf, &found), DW_NOT_FOUND);
    dw_buf_free(&buf);
}

TEST(the_same_filing_again_finds_its_case_and_changes_nothing)
{
    struct fixture *f = *state;
    struct dw_store_counts counts;
    put(f, 1);
    for (int i = 0; i < 5; i++) {
        struct made *m = make(1, 1);
        assert_int_equal(apply(f, m), DW_OK);
        assert_true(m->step.existed);
        free(m);
    }
    assert_int_equal(dw_store_counts(f->store, &counts), DW_OK);
    assert_int_equal(counts.cases, 1);
    assert_int_equal(counts.objects, 2);
    assert_int_equal(counts.receipts, 1);
    assert_int_equal(counts.references, 1);
}

TEST(a_second_delivery_after_a_change_does_not_undo_it)
{
    struct fixture *f = *state;
    put(f, 1);
    struct made *m = make(1, 2);
    assert_int_equal(apply(f, m), DW_OK);
    free(m);
    m = make(1, 1);
    assert_int_equal(apply(f, m), DW_OK);
    assert_true(m->step.existed);
    assert_int_equal(version_of(f, 1), 2);
    free(m);
}

TEST(a_reference_of_another_case_is_a_conflict_and_nothing_of_the_case_is_there)
{
    struct fixture *f = *state;
    put(f, 1);
    struct made *m = make(2, 1);
    m->step.reference = "CQ26-000000001";
    assert_int_equal(apply(f, m), DW_CONFLICT);
    assert_true(m->step.taken);
    assert_int_equal(version_of(f, 2), -1);
    m->step.reference = m->reference; /* the next draw */
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(version_of(f, 2), 1);
    free(m);
}

TEST(a_receipt_or_object_with_other_contents_is_invalid)
{
    struct fixture *f = *state;
    put(f, 1);
    struct made *m = make(2, 1);
    id_of(m->step.handle, 2001); /* somebody else's receipt */
    assert_int_equal(apply(f, m), DW_INVALID);
    id_of(m->step.handle, 2002);
    id_of(m->objects[0].id, 1001); /* somebody else's object */
    assert_int_equal(apply(f, m), DW_INVALID);
    assert_int_equal(version_of(f, 2), -1);
    free(m);
}

TEST(only_the_version_that_was_read_is_replaced)
{
    struct fixture *f = *state;
    put(f, 1);
    struct made *m = make(1, 2);
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(apply(f, m), DW_CONFLICT); /* the same again: it is at 2 now */
    free(m);
    m = make(1, 5);
    assert_int_equal(apply(f, m), DW_CONFLICT);
    assert_int_equal(version_of(f, 1), 2);
    free(m);
    m = make(9, 2); /* replacing what is not there */
    assert_int_equal(apply(f, m), DW_CONFLICT);
    assert_int_equal(version_of(f, 9), -1);
    free(m);
}

TEST(steps_of_one_call_fail_and_succeed_by_themselves)
{
    struct fixture *f = *state;
    put(f, 2);
    struct made *a = make(1, 1), *b = make(2, 7), *c = make(3, 1);
    struct dw_store_step *steps[] = {&a->step, &b->step, &c->step};
    dw_store_apply(f->store, steps, 3);
    assert_int_equal(a->step.outcome, DW_OK);
    assert_int_equal(b->step.outcome, DW_CONFLICT);
    assert_int_equal(c->step.outcome, DW_OK);
    assert_int_equal(version_of(f, 1), 1);
    assert_int_equal(version_of(f, 2), 1);
    assert_int_equal(version_of(f, 3), 1);
    free(a);
    free(b);
    free(c);
}

static size_t list(struct fixture *f, enum dw_worklist which, const char *body, const char *user,
                   dw_day today, dw_day soon, size_t page, char out[][16], size_t max)
{
    struct dw_store_query q = {.list = which, .body = body, .user = user, .today = today,
                               .soon = soon, .limit = page};
    size_t total = 0, n;
    do {
        struct dw_arena arena;
        struct dw_store_row *rows;
        dw_arena_init(&arena, 1 << 20);
        assert_int_equal(dw_store_worklist(f->store, &q, &arena, &rows, &n), DW_OK);
        assert_true(n <= page);
        for (size_t i = 0; i < n; i++) {
            assert_true(total < max);
            snprintf(out[total++], 16, "%s", rows[i].ix.reference);
            q.after = true;
            q.after_due = rows[i].ix.due;
            memcpy(q.after_id, rows[i].id, 16);
        }
        dw_arena_free(&arena);
    } while (n == page);
    return total;
}

TEST(a_case_that_comes_twice_in_one_call_is_there_once)
{
    struct fixture *f = *state;
    struct made *a = make(1, 1), *b = make(1, 1);
    struct dw_store_step *steps[] = {&a->step, &b->step};
    char rows[10][16];
    dw_store_apply(f->store, steps, 2);
    assert_int_equal(a->step.outcome, DW_OK);
    assert_int_equal(b->step.outcome, DW_OK);
    assert_int_equal(version_of(f, 1), 1);
    assert_int_equal(list(f, DW_LIST_ALL, "500108", NULL, 0, 0, 5, rows, 10), 1);
    free(a);
    free(b);
}

TEST(worklists_show_the_right_cases_in_order_of_due_days_page_by_page)
{
    struct fixture *f = *state;
    char rows[60][16];
    for (int n = 1; n <= 40; n++) {
        struct made *m = make(n, 1);
        m->ix.due = n % 10 == 0 ? 0 : 20800 - n; /* some have none */
        m->ix.assignee = n % 3 == 0 ? "li" : "";
        m->ix.open = n % 7 != 0;
        m->ix.state = m->ix.open ? "received" : "closed";
        m->ix.body = m->bodies[0] = n > 30 ? "500103" : "500108";
        assert_int_equal(apply(f, m), DW_OK);
        free(m);
    }
    size_t n = list(f, DW_LIST_ALL, "500108", NULL, 0, 0, 7, rows, 60);
    assert_int_equal(n, 30);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i], rows[j]);
    assert_string_equal(rows[0], "CQ26-000000029");
    assert_int_equal(list(f, DW_LIST_ALL, "500103", NULL, 0, 0, 7, rows, 60), 10);
    assert_int_equal(list(f, DW_LIST_ALL, "500000", NULL, 0, 0, 7, rows, 60), 0);
    n = list(f, DW_LIST_MINE, "500108", "li", 0, 0, 4, rows, 60);
    assert_int_equal(n, 9); /* 3, 6, ..., 30 without 21 */
    n = list(f, DW_LIST_UNASSIGNED, "500108", NULL, 0, 0, 4, rows, 60);
    assert_int_equal(n, 17); /* 20 not of li, without 7, 14, 28 */
    /* today 20780, soon 20783: due 20780..20783 are 20, 19, 18, 17; 20 has none */
    n = list(f, DW_LIST_DUE, "500108", NULL, 20780, 20783, 2, rows, 60);
    assert_int_equal(n, 3);
    assert_string_equal(rows[0], "CQ26-000000019");
    n = list(f, DW_LIST_OVERDUE, "500108", NULL, 20780, 20783, 2, rows, 60);
    assert_int_equal(n, 7); /* 22..29 without 28 */
    assert_string_equal(rows[0], "CQ26-000000029");
}

TEST(a_body_that_is_not_responsible_pages_through_what_it_may_see)
{
    struct fixture *f = *state;
    char rows[60][16];
    for (int n = 1; n <= 20; n++) {
        struct made *m = make(n, 1);
        m->ix.due = 20800 - n;
        m->bodies[1] = "500103";
        m->ix.bodies_count = 2;
        m->ix.body = m->bodies[n % 2];
        assert_int_equal(apply(f, m), DW_OK);
        free(m);
    }
    size_t n = list(f, DW_LIST_ALL, "500103", NULL, 0, 0, 3, rows, 60);
    assert_int_equal(n, 20);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(rows[i], rows[j]);
    assert_string_equal(rows[0], "CQ26-000000019"); /* the own ones first */
}

TEST(a_case_moves_between_worklists_as_it_changes)
{
    struct fixture *f = *state;
    char rows[10][16];
    put(f, 1);
    struct made *m = make(1, 2);
    m->bodies[1] = "500103";
    m->ix.bodies_count = 2;
    m->ix.assignee = "li";
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(list(f, DW_LIST_UNASSIGNED, "500108", NULL, 0, 0, 5, rows, 10), 0);
    assert_int_equal(list(f, DW_LIST_MINE, "500108", "li", 0, 0, 5, rows, 10), 1);
    assert_int_equal(list(f, DW_LIST_UNASSIGNED, "500103", NULL, 0, 0, 5, rows, 10), 1);
    free(m);
    m = make(1, 3);
    m->bodies[0] = m->ix.body = "500103";
    m->ix.open = false;
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(list(f, DW_LIST_ALL, "500108", NULL, 0, 0, 5, rows, 10), 0);
    assert_int_equal(list(f, DW_LIST_MINE, "500108", "li", 0, 0, 5, rows, 10), 0);
    assert_int_equal(list(f, DW_LIST_UNASSIGNED, "500103", NULL, 0, 0, 5, rows, 10), 0);
    assert_int_equal(list(f, DW_LIST_ALL, "500103", NULL, 0, 0, 5, rows, 10), 1);
    free(m);
}

TEST(timers_notices_and_what_is_to_be_counted_come_due_in_order)
{
    struct fixture *f = *state;
    uint8_t ids[10][16], expected[16];
    size_t count;
    for (int n = 1; n <= 6; n++) {
        struct made *m = make(n, 1);
        m->ix.timer = n <= 4 ? 10000 - n : 0;
        m->ix.notice = n >= 4 ? 500 + n : 0;
        m->ix.fold = n % 2;
        assert_int_equal(apply(f, m), DW_OK);
        free(m);
    }
    assert_int_equal(dw_store_due(f->store, DW_DUE_TIMER, 9998, 10, ids, &count), DW_OK);
    assert_int_equal(count, 3);
    id_of(expected, 4);
    assert_memory_equal(ids[0], expected, 16);
    assert_int_equal(dw_store_due(f->store, DW_DUE_TIMER, 9998, 2, ids, &count), DW_OK);
    assert_int_equal(count, 2);
    assert_int_equal(dw_store_due(f->store, DW_DUE_NOTICE, 505, 10, ids, &count), DW_OK);
    assert_int_equal(count, 2);
    assert_int_equal(dw_store_due(f->store, DW_DUE_FOLD, 9998, 10, ids, &count), DW_OK);
    assert_int_equal(count, 3);
    assert_int_equal(dw_store_due(f->store, DW_DUE_FOLD, 9998, 2, ids, &count), DW_OK);
    assert_int_equal(count, 2);
    struct made *m = make(4, 2); /* told: the timer is gone */
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(dw_store_due(f->store, DW_DUE_TIMER, 9998, 10, ids, &count), DW_OK);
    assert_int_equal(count, 2);
    free(m);
    m = make(1, 2); /* counted */
    assert_int_equal(apply(f, m), DW_OK);
    assert_int_equal(dw_store_due(f->store, DW_DUE_FOLD, 9998, 10, ids, &count), DW_OK);
    assert_int_equal(count, 2);
    free(m);
}

static enum dw_result put_record(struct fixture *f, const char *key, int64_t old, const char *doc)
{
    uint8_t bytes[100];
    struct dw_store_record r = {.collection = "staff", .key = key, .old_version = old,
                                .version = old + 1};
    if (*doc)
        r.doc = small_doc(bytes, sizeof bytes, doc, 0);
    struct dw_store_step step = {.records = &r, .records_count = 1};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(f->store, steps, 1);
    return step.outcome;
}

static void count_each(void *arg, const char *key, int64_t version, struct dw_slice doc)
{
    char *keys = arg;
    (void)version;
    (void)doc;
    strcat(strcat(keys, key), " ");
}

TEST(records_are_guarded_by_their_version_and_listed_by_prefix)
{
    struct fixture *f = *state;
    char keys[100] = "";
    struct dw_buf buf;
    struct dw_store_case found;
    assert_int_equal(put_record(f, "b/2", 0, "two"), DW_OK);
    assert_int_equal(put_record(f, "a/1", 0, "one"), DW_OK);
    assert_int_equal(put_record(f, "b/1", 0, "one"), DW_OK);
    assert_int_equal(put_record(f, "b/1", 0, "again"), DW_CONFLICT);
    assert_int_equal(put_record(f, "b/1", 1, "changed"), DW_OK);
    assert_int_equal(put_record(f, "b/1", 1, "late"), DW_CONFLICT);
    dw_buf_init(&buf, 100);
    assert_int_equal(dw_store_record(f->store, "staff", "b/1", &buf, &found), DW_OK);
    assert_int_equal(found.version, 2);
    uint8_t expected[100];
    struct dw_slice changed = small_doc(expected, sizeof expected, "changed", 0);
    assert_int_equal(found.doc.len, changed.len);
    assert_memory_equal(found.doc.data, changed.data, changed.len);
    dw_buf_free(&buf);
    assert_int_equal(dw_store_records(f->store, "staff", "b/", count_each, keys), DW_OK);
    assert_string_equal(keys, "b/1 b/2 ");
    keys[0] = 0;
    assert_int_equal(dw_store_records(f->store, "other", "", count_each, keys), DW_OK);
    assert_string_equal(keys, "");
    assert_int_equal(put_record(f, "b/1", 2, ""), DW_OK); /* gone */
    assert_int_equal(dw_store_records(f->store, "staff", "b/", count_each, keys), DW_OK);
    assert_string_equal(keys, "b/2 ");
}

TEST(an_audit_chain_only_grows)
{
    struct fixture *f = *state;
    struct dw_buf buf;
    int64_t seq;
    dw_buf_init(&buf, 100);
    assert_int_equal(dw_store_audit_last(f->store, "staff", &seq, &buf), DW_OK);
    assert_int_equal(seq, 0);
    for (int64_t i = 1; i <= 3; i++) {
        uint8_t bytes[100];
        struct dw_store_audit entry = {"staff", i, small_doc(bytes, sizeof bytes, "entry", 0)};
        struct dw_store_step step = {.audit = &entry, .audit_count = 1};
        struct dw_store_step *steps[] = {&step};
        dw_store_apply(f->store, steps, 1);
        assert_int_equal(step.outcome, DW_OK);
        dw_store_apply(f->store, steps, 1);
        assert_int_equal(step.outcome, DW_CONFLICT);
    }
    assert_int_equal(dw_store_audit_last(f->store, "staff", &seq, &buf), DW_OK);
    assert_int_equal(seq, 3);
    dw_buf_free(&buf);
}

TEST(what_needs_the_first_step_is_not_done_without_it)
{
    struct fixture *f = *state;
    uint8_t bytes[100];
    struct dw_store_audit entry = {"staff", 1, small_doc(bytes, sizeof bytes, "entry", 0)};
    struct dw_store_step audit = {.audit = &entry, .audit_count = 1};
    for (int n = 1; n <= 3; n += 2) {
        struct made *needs = make(n, 1), *other = make(n + 1, 1);
        struct dw_store_step *steps[] = {&audit, &needs->step, &other->step};
        bool first = n == 1; /* the second time its place is taken */
        needs->step.needs_first = true;
        dw_store_apply(f->store, steps, 3);
        assert_int_equal(audit.outcome, first ? DW_OK : DW_CONFLICT);
        assert_int_equal(needs->step.outcome, first ? DW_OK : DW_RETRY);
        assert_int_equal(other->step.outcome, DW_OK);
        assert_int_equal(version_of(f, n), first ? 1 : -1);
        assert_int_equal(version_of(f, n + 1), 1);
        free(needs);
        free(other);
    }
}

TEST(a_run_of_filings_changes_and_late_deliveries_leaves_each_once)
{
    struct fixture *f = *state;
    struct dw_store_counts counts;
    char rows[10][16];
    for (int i = 1; i <= 4; i++)
        put(f, i);
    for (int i = 1; i <= 4; i++) {
        struct made *m = make(i, 2);
        assert_int_equal(apply(f, m), DW_OK);
        free(m);
    }
    struct made *late = make(2, 1);
    assert_int_equal(apply(f, late), DW_OK);
    assert_true(late->step.existed);
    free(late);
    for (int i = 1; i <= 4; i++)
        assert_int_equal(version_of(f, i), 2);
    assert_int_equal(dw_store_counts(f->store, &counts), DW_OK);
    assert_int_equal(counts.cases, 4);
    assert_int_equal(counts.objects, 8);
    assert_int_equal(counts.receipts, 4);
    assert_int_equal(counts.references, 4);
    assert_int_equal(list(f, DW_LIST_ALL, "500108", NULL, 0, 0, 3, rows, 10), 4);
}

int main(int argc, char **argv)
{
#define T(name) {#name, name}
    static const struct promise all[] = {
        T(a_new_case_is_found_by_id_handle_and_reference_with_its_objects),
        T(what_was_never_put_is_not_found),
        T(the_same_filing_again_finds_its_case_and_changes_nothing),
        T(a_second_delivery_after_a_change_does_not_undo_it),
        T(a_reference_of_another_case_is_a_conflict_and_nothing_of_the_case_is_there),
        T(a_receipt_or_object_with_other_contents_is_invalid),
        T(only_the_version_that_was_read_is_replaced),
        T(steps_of_one_call_fail_and_succeed_by_themselves),
        T(a_case_that_comes_twice_in_one_call_is_there_once),
        T(worklists_show_the_right_cases_in_order_of_due_days_page_by_page),
        T(a_body_that_is_not_responsible_pages_through_what_it_may_see),
        T(a_case_moves_between_worklists_as_it_changes),
        T(timers_notices_and_what_is_to_be_counted_come_due_in_order),
        T(records_are_guarded_by_their_version_and_listed_by_prefix),
        T(an_audit_chain_only_grows),
        T(what_needs_the_first_step_is_not_done_without_it),
        T(a_run_of_filings_changes_and_late_deliveries_leaves_each_once)};
    if (argc > 1 && strcmp(argv[1], "faults") == 0)
        return run_on_every_driver_with_faults(all, DW_COUNT(all));
    return run_on_every_driver(all, DW_COUNT(all));
}
