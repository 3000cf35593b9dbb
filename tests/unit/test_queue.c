#include "unit.h"

#include "dw/queue.h"

#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char *folder;
    char path[300];
    struct dw_config config;
    struct dw_queue *queue;
};

static const dw_time NOW = 1790000000000;

static void open_queue(struct fixture *f)
{
    struct dw_error err = {0};
    enum dw_result result = dw_queue_open_still(f->path, &f->config, &f->queue, &err);
    if (result != DW_OK)
        print_message("%s\n", err.text);
    assert_int_equal(result, DW_OK);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = make_folder();
    snprintf(f->path, sizeof f->path, "%s/queue.db", f->folder);
    dw_config_defaults(&f->config);
    open_queue(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dw_queue_close(f->queue);
    dw_config_free(&f->config);
    rm_folder(f->folder);
    free(f);
    return 0;
}

/* kill -9 of the process: nothing is closed in order, the file is opened anew. */
static void crash(struct fixture *f)
{
    dw_queue_close(f->queue);
    open_queue(f);
}

static void run_one(struct fixture *f, struct dw_queue_op *op)
{
    op->next = NULL;
    dw_queue_run(f->queue, op);
}

static struct dw_item_header header(int n, const char *body)
{
    struct dw_item_header h = {.service = "filing"};
    memset(h.id, n, sizeof h.id);
    memset(h.handle, n + 100, sizeof h.handle);
    memset(h.tok, n, sizeof h.tok);
    memset(h.fp, (int)strlen(body), sizeof h.fp);
    return h;
}

static struct dw_queue_op *closing(const struct dw_item_header *h, const char *body)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLOSE, NOW);
    struct dw_slice frames[] = {dw_slice_of("header"), dw_slice_of(body)};
    op->header = *h;
    op->frames = dw_frames_copy(frames, 2);
    return op;
}

static int put(struct fixture *f, int n, const char *body)
{
    struct dw_item_header h = header(n, body);
    struct dw_queue_op *op = closing(&h, body);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    return status;
}

static int put_part(struct fixture *f, int attempt, uint32_t n, size_t len)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_PART, NOW);
    char *bytes = calloc(1, len);
    memset(op->id, attempt, sizeof op->id);
    op->n = n;
    struct dw_slice frame = DW_SLICE(bytes, len);
    op->frames = dw_frames_copy(&frame, 1);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    free(bytes);
    return status;
}

static struct dw_queue_op *claim(struct fixture *f, uint32_t n, dw_time now)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, now);
    op->n = n;
    snprintf(op->service, sizeof op->service, "filing");
    run_one(f, op);
    assert_int_equal(op->status, 200);
    return op;
}

static int finish(struct fixture *f, enum dw_queue_kind kind, const struct dw_queue_item *item,
                  bool counted, dw_time at)
{
    struct dw_queue_op *op = dw_queue_op_new(kind, NOW);
    memcpy(op->id, item->id, sizeof op->id);
    op->fence = item->fence;
    op->counted = counted;
    op->at = at;
    snprintf(op->reason, sizeof op->reason, "because");
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    return status;
}

static int pending(struct fixture *f, int n)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_PENDING, NOW);
    memset(op->id, n + 100, sizeof op->id);
    run_one(f, op);
    int status = op->status;
    if (status == 200)
        assert_int_equal(op->day, dw_day_of(NOW));
    dw_queue_op_free(op);
    return status;
}

static char *admin(struct fixture *f, const char *a, const char *b, int *status)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, NOW);
    snprintf(op->words[0], sizeof op->words[0], "%s", a);
    snprintf(op->words[1], sizeof op->words[1], "%s", b);
    run_one(f, op);
    char *text = strdup(op->text);
    *status = op->status;
    dw_queue_op_free(op);
    return text;
}

TEST(what_was_put_is_claimed_in_order_with_its_frames)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 5; i++)
        assert_int_equal(put(f, i, "body"), 200);
    struct dw_queue_op *op = claim(f, 3, NOW);
    assert_int_equal(op->items_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(op->items[i].id[0], i + 1);
        assert_int_equal(op->items[i].fence, 1);
        assert_true(dw_slice_is(op->items[i].frames.items[1], "body"));
    }
    dw_queue_op_free(op);
    op = claim(f, 10, NOW);
    assert_int_equal(op->items_count, 2);
    dw_queue_op_free(op);
}

TEST(the_same_item_again_is_accepted_and_kept_once)
{
    struct fixture *f = *state;
    for (int i = 0; i < 20; i++)
        assert_int_equal(put(f, 1, "body"), 200);
    struct dw_queue_op *op = claim(f, 10, NOW);
    assert_int_equal(op->items_count, 1);
    dw_queue_op_free(op);
}

TEST(the_same_key_with_another_payload_is_refused_even_after_the_item_is_done)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, 1, "body"), 200);
    struct dw_item_header other = header(1, "another body");
    memset(other.id, 9, sizeof other.id); /* another payload gives another filing id */
    struct dw_queue_op *op = closing(&other, "another body");
    run_one(f, op);
    assert_int_equal(op->status, 422);
    dw_queue_op_free(op);
    op = claim(f, 1, NOW);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &op->items[0], false, 0), 200);
    dw_queue_op_free(op);
    crash(f);
    op = closing(&other, "another body");
    run_one(f, op);
    assert_int_equal(op->status, 422);
    dw_queue_op_free(op);
}

TEST(pending_finds_an_item_until_it_is_done)
{
    struct fixture *f = *state;
    assert_int_equal(pending(f, 1), 404);
    put(f, 1, "body");
    assert_int_equal(pending(f, 1), 200);
    struct dw_queue_op *op = claim(f, 1, NOW);
    assert_int_equal(pending(f, 1), 200);
    finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
    assert_int_equal(pending(f, 1), 404);
    dw_queue_op_free(op);
}

TEST(a_stale_fence_finishes_nothing)
{
    struct fixture *f = *state;
    put(f, 1, "body");
    struct dw_queue_op *first = claim(f, 1, NOW);
    crash(f); /* the lease is void, the fence is kept */
    struct dw_queue_op *second = claim(f, 1, NOW);
    assert_int_equal(second->items[0].fence, 2);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &first->items[0], false, 0), 409);
    assert_int_equal(finish(f, DW_QUEUE_LATER, &first->items[0], true, NOW), 409);
    assert_int_equal(pending(f, 1), 200);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &second->items[0], false, 0), 200);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &second->items[0], false, 0), 409);
    dw_queue_op_free(first);
    dw_queue_op_free(second);
}

TEST(a_delayed_item_comes_back_at_its_time)
{
    struct fixture *f = *state;
    put(f, 1, "body");
    struct dw_queue_op *op = claim(f, 1, NOW);
    finish(f, DW_QUEUE_LATER, &op->items[0], true, NOW + 5000);
    dw_queue_op_free(op);
    op = claim(f, 1, NOW + 4999);
    assert_int_equal(op->items_count, 0);
    assert_true(op->next_at == NOW + 5000);
    dw_queue_op_free(op);
    op = claim(f, 1, NOW + 5000);
    assert_int_equal(op->items_count, 1);
    assert_int_equal(op->items[0].attempts, 2);
    dw_queue_op_free(op);
}

TEST(counted_attempts_end_in_a_dead_letter_and_uncounted_ones_do_not)
{
    struct fixture *f = *state;
    int status;
    put(f, 1, "body");
    for (int i = 0; i < 50; i++) {
        struct dw_queue_op *op = claim(f, 1, NOW);
        assert_int_equal(op->items_count, 1);
        finish(f, DW_QUEUE_LATER, &op->items[0], false, NOW);
        dw_queue_op_free(op);
    }
    for (int i = 0; i < f->config.queue.max_attempts; i++) {
        struct dw_queue_op *op = claim(f, 1, NOW);
        assert_int_equal(op->items_count, 1);
        finish(f, DW_QUEUE_LATER, &op->items[0], true, NOW);
        dw_queue_op_free(op);
    }
    struct dw_queue_op *op = claim(f, 1, NOW);
    assert_int_equal(op->items_count, 0);
    dw_queue_op_free(op);
    char *text = admin(f, "list", "dead", &status);
    assert_int_equal(status, 200);
    assert_non_null(strstr(text, "because"));
    free(text);
    assert_int_equal(pending(f, 1), 200); /* dead, but not forgotten */
}

TEST(dead_letters_can_be_shown_revived_and_dropped)
{
    struct fixture *f = *state;
    int status;
    char id[33];
    put(f, 1, "body");
    struct dw_queue_op *op = claim(f, 1, NOW);
    dw_hex(id, op->items[0].id, 16);
    free(admin(f, "drop", id, &status));
    assert_int_equal(status, 409); /* somebody has it in hand */
    finish(f, DW_QUEUE_DEAD, &op->items[0], false, 0);
    dw_queue_op_free(op);
    char *text = admin(f, "show", id, &status);
    assert_int_equal(status, 200);
    assert_non_null(strstr(text, "\"state\":\"dead\""));
    free(text);
    free(admin(f, "retry", id, &status));
    assert_int_equal(status, 200);
    op = claim(f, 1, NOW);
    assert_int_equal(op->items_count, 1);
    finish(f, DW_QUEUE_DEAD, &op->items[0], false, 0);
    dw_queue_op_free(op);
    free(admin(f, "drop", id, &status));
    assert_int_equal(status, 200);
    free(admin(f, "show", id, &status));
    assert_int_equal(status, 404);
    free(admin(f, "show", "xyz", &status));
    assert_int_equal(status, 422);
    free(admin(f, "dance", "", &status));
    assert_int_equal(status, 404);
}

TEST(parts_are_invisible_until_closed_and_readable_under_the_lease)
{
    struct fixture *f = *state;
    struct dw_item_header h = header(1, "body");
    memset(h.attempt, 7, sizeof h.attempt);
    h.parts = 3;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(put_part(f, 7, i, 1000 + i), 200);
    struct dw_queue_op *op = claim(f, 1, NOW);
    assert_int_equal(op->items_count, 0);
    dw_queue_op_free(op);
    op = closing(&h, "body");
    run_one(f, op);
    assert_int_equal(op->status, 200);
    dw_queue_op_free(op);
    struct dw_queue_op *held = claim(f, 1, NOW);
    assert_int_equal(held->items_count, 1);
    for (uint32_t i = 0; i < 4; i++) {
        op = dw_queue_op_new(DW_QUEUE_READ, NOW);
        memcpy(op->id, held->items[0].id, 16);
        op->fence = held->items[0].fence;
        op->n = i;
        run_one(f, op);
        assert_int_equal(op->status, i < 3 ? 200 : 404);
        if (i < 3)
            assert_int_equal(op->frames.items[0].len, 1000 + i);
        dw_queue_op_free(op);
    }
    op = dw_queue_op_new(DW_QUEUE_READ, NOW);
    memcpy(op->id, held->items[0].id, 16);
    op->fence = held->items[0].fence + 1; /* not its lease */
    run_one(f, op);
    assert_int_equal(op->status, 404);
    dw_queue_op_free(op);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &held->items[0], false, 0), 200);
    dw_queue_op_free(held);
}

TEST(closing_with_a_missing_part_is_refused_and_forgotten)
{
    struct fixture *f = *state;
    struct dw_item_header h = header(1, "body");
    int status;
    memset(h.attempt, 7, sizeof h.attempt);
    h.parts = 3;
    put_part(f, 7, 0, 10);
    put_part(f, 7, 2, 10);
    struct dw_queue_op *op = closing(&h, "body");
    run_one(f, op);
    assert_int_equal(op->status, 409);
    dw_queue_op_free(op);
    assert_int_equal(pending(f, 1), 404);
    char *text = admin(f, "stats", "", &status);
    assert_non_null(strstr(text, "\"open_bytes\":0"));
    free(text);
}

TEST(an_unfinished_upload_expires_and_gives_its_share_back)
{
    struct fixture *f = *state;
    int status;
    put_part(f, 7, 0, 100000);
    struct dw_queue_op *op =
        dw_queue_op_new(DW_QUEUE_SWEEP, NOW + f->config.queue.open_ttl_seconds * 1000 + 1);
    run_one(f, op);
    dw_queue_op_free(op);
    char *text = admin(f, "stats", "", &status);
    assert_non_null(strstr(text, "\"open_bytes\":0"));
    free(text);
}

TEST(limits_of_items_bytes_and_open_share_are_honest_503s)
{
    struct fixture *f = *state;
    f->config.queue.max_items = 2;
    assert_int_equal(put(f, 1, "body"), 200);
    assert_int_equal(put(f, 2, "body"), 200);
    assert_int_equal(put(f, 3, "body"), 503);
    assert_int_equal(put(f, 1, "body"), 200); /* what is here already is no news */
    f->config.queue.max_items = 100;
    f->config.queue.max_bytes = 2000;
    assert_int_equal(put(f, 4, "body"), 200);
    char big[3000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_int_equal(put(f, 5, big), 503);
    f->config.queue.max_bytes = 100000;
    f->config.queue.open_share_percent = 10;
    assert_int_equal(put_part(f, 7, 0, 9000), 200);
    assert_int_equal(put_part(f, 7, 1, 9000), 503);
    f->config.queue.min_free_bytes = INT64_MAX;
    usleep(600000); /* the free space is looked at every half second */
    assert_int_equal(put(f, 6, "body"), 503);
}

TEST(everything_committed_is_there_after_a_crash)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 50; i++)
        assert_int_equal(put(f, i, "body"), 200);
    struct dw_queue_op *op = claim(f, 10, NOW);
    for (int i = 0; i < 5; i++)
        finish(f, DW_QUEUE_DONE, &op->items[i], false, 0);
    dw_queue_op_free(op);
    crash(f);
    op = claim(f, 100, NOW);
    assert_int_equal(op->items_count, 45);
    dw_queue_op_free(op);
}

TEST(a_full_disk_refuses_the_batch_and_harms_nothing)
{
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip(); /* mounting wants root; CI is root */
    char command[400], path[330];
    struct dw_queue *small;
    struct dw_error err;
    snprintf(command, sizeof command, "mkdir %s/t && mount -t tmpfs -o size=600k tmpfs %s/t",
             f->folder, f->folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/t/queue.db", f->folder);
    f->config.queue.min_free_bytes = 0;
    f->config.queue.reserve_bytes = 150000;
    assert_int_equal(dw_queue_open_still(path, &f->config, &small, &err), DW_OK);
    struct dw_queue *kept = f->queue;
    f->queue = small;
    char big[20000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    int accepted = 0, refused = 0;
    for (int i = 1; i <= 60; i++) {
        int status = put(f, i, big);
        assert_true(status == 200 || status == 503);
        accepted += status == 200;
        refused += status == 503;
    }
    assert_true(accepted > 3 && refused > 3);
    dw_queue_close(small);
    assert_int_equal(dw_queue_open_still(path, &f->config, &f->queue, &err), DW_OK);
    int found = 0;
    for (int i = 1; i <= 60; i++)
        found += pending(f, i) == 200;
    assert_int_equal(found, accepted);
    /* It can be emptied, full as the disk is, and then takes more. */
    struct dw_queue_op *op = claim(f, 100, NOW);
    assert_int_equal(op->items_count, accepted);
    for (size_t i = 0; i < op->items_count; i++)
        assert_int_equal(finish(f, DW_QUEUE_DONE, &op->items[i], false, 0), 200);
    dw_queue_op_free(op);
    op = dw_queue_op_new(DW_QUEUE_SWEEP, NOW);
    run_one(f, op);
    dw_queue_op_free(op);
    dw_queue_close(f->queue);
    assert_int_equal(dw_queue_open_still(path, &f->config, &f->queue, &err), DW_OK);
    assert_int_equal(put(f, 100, big), 200);
    dw_queue_close(f->queue);
    f->queue = kept;
    snprintf(command, sizeof command, "umount %s/t", f->folder);
    assert_int_equal(system(command), 0);
}

TEST(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do)
{
    struct fixture *f = *state;
    struct dw_queue *q;
    struct dw_error err;
    char path[330], command[700];
    snprintf(path, sizeof path, "%s/other.db", f->folder);
    FILE *out = fopen(path, "w");
    fputs("this is no database at all, but long enough to have a header of one hundred bytes, which "
          "is what it takes", out);
    fclose(out);
    assert_int_equal(dw_queue_open_still(path, &f->config, &q, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "set it aside"));
    unlink(path);
    snprintf(command, sizeof command, "sqlite3 %s 'CREATE TABLE x(y)'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(dw_queue_open_still(path, &f->config, &q, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "some other SQLite file"));
    dw_queue_close(f->queue);
    snprintf(command, sizeof command, "sqlite3 %s 'PRAGMA user_version=99'", f->path);
    assert_int_equal(system(command), 0);
    assert_int_equal(dw_queue_open_still(f->path, &f->config, &q, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "newer"));
    snprintf(command, sizeof command, "sqlite3 %s 'PRAGMA user_version=1'", f->path);
    assert_int_equal(system(command), 0);
    open_queue(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(what_was_put_is_claimed_in_order_with_its_frames),
    T(the_same_item_again_is_accepted_and_kept_once),
    T(the_same_key_with_another_payload_is_refused_even_after_the_item_is_done),
    T(pending_finds_an_item_until_it_is_done), T(a_stale_fence_finishes_nothing),
    T(a_delayed_item_comes_back_at_its_time),
    T(counted_attempts_end_in_a_dead_letter_and_uncounted_ones_do_not),
    T(dead_letters_can_be_shown_revived_and_dropped),
    T(parts_are_invisible_until_closed_and_readable_under_the_lease),
    T(closing_with_a_missing_part_is_refused_and_forgotten),
    T(an_unfinished_upload_expires_and_gives_its_share_back),
    T(limits_of_items_bytes_and_open_share_are_honest_503s),
    T(everything_committed_is_there_after_a_crash),
    T(a_full_disk_refuses_the_batch_and_harms_nothing),
    T(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do))
