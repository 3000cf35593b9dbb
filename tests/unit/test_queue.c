#include "queue_data.h"

TEST(what_was_put_is_claimed_in_order_with_its_frames)
{
    struct fixture *f = *state;
    for (int i = 1; i <= 5; i++)
        assert_int_equal(put(f, i, "body"), 200);
    struct dw_queue_op *op = claim(f, 3, NOW);
    assert_int_equal(op->items_count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(op->items[i].id[0], i + 1);
        assert_int_equal(op->items[i].fence & 0xfffff, 1);
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
    assert_int_equal(second->items[0].fence & 0xfffff, 2);
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

TEST(a_clock_that_was_set_back_delays_nothing)
{
    struct fixture *f = *state;
    const dw_time back = NOW - 86400000;
    put(f, 1, "body");
    struct dw_queue_op *op = claim(f, 1, NOW);
    finish(f, DW_QUEUE_LATER, &op->items[0], true, NOW + 5000);
    dw_queue_op_free(op);
    op = claim(f, 1, back);
    assert_int_equal(op->items_count, 1);
    finish(f, DW_QUEUE_LATER, &op->items[0], true, back + f->config.queue.backoff_max_ms);
    dw_queue_op_free(op);
    op = claim(f, 1, back); /* the longest delay is one */
    assert_int_equal(op->items_count, 0);
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
    snprintf(command, sizeof command, "sqlite3 %s 'PRAGMA user_version=4'", f->path);
    assert_int_equal(system(command), 0);
    open_queue(f);
}

/* Pages are sound, but a field is not what it was: nothing of it may be read as if it were. */
TEST(a_field_that_was_damaged_is_refused_with_what_to_do)
{
    static const char *const damages[] = {
        "UPDATE items SET id = x'00'",        "UPDATE items SET id = '0123456789abcdef'",
        "UPDATE items SET attempt = zeroblob(15)", "UPDATE items SET service = x'66'",
        "UPDATE items SET bytes = -1",            "UPDATE items SET bytes = 9223372036854775807",
        "UPDATE items SET body = 7",              "UPDATE items SET state = 99",
        "UPDATE items SET attempts = 2147483647", "UPDATE items SET handle = 'x'"};
    struct fixture *f = *state;
    struct dw_queue *q;
    struct dw_error err;
    char command[1400];
    assert_int_equal(put(f, 1, "body"), 200);
    dw_queue_close(f->queue);
    for (size_t i = 0; i < DW_COUNT(damages); i++) {
        snprintf(command, sizeof command, "cp %s %s.bad && sqlite3 %s.bad \"%s\"", f->path, f->path,
                 f->path, damages[i]);
        assert_int_equal(system(command), 0);
        snprintf(command, sizeof command, "%s.bad", f->path);
        assert_int_equal(dw_queue_open_still(command, &f->config, &q, &err), DW_INVALID);
        assert_non_null(strstr(err.text, "is damaged"));
    }
    open_queue(f);
    assert_int_equal(pending(f, 1), 200);
}

static void change_file(struct fixture *f, const char *sql)
{
    char command[700];
    dw_queue_close(f->queue);
    snprintf(command, sizeof command, "sqlite3 %s \"%s\"", f->path, sql);
    assert_int_equal(system(command), 0);
    open_queue(f);
}

TEST(a_claim_takes_so_many_bytes_and_the_next_one_goes_on)
{
    enum { SIZE = 1 << 20, COUNT = 20 };
    struct fixture *f = *state;
    char *body = malloc(SIZE + 1);
    size_t taken = 0;
    memset(body, 'x', SIZE);
    body[SIZE] = 0;
    for (int n = 1; n <= COUNT; n++)
        assert_int_equal(put(f, n, body), 200);
    for (int i = 0; i < 2; i++) {
        struct dw_queue_op *op = claim(f, 2 * COUNT, NOW);
        assert_true(op->items_count > 0 && op->items_count < COUNT);
        if (i == 0) /* as full as it wanted to be: whoever claims knows that there may be more */
            assert_int_equal(op->items_count, op->n);
        taken += op->items_count;
        dw_queue_op_free(op);
    }
    assert_int_equal(taken, COUNT);
    free(body);
}

TEST(an_item_whose_body_is_damaged_is_set_apart_and_the_others_go_on)
{
    struct fixture *f = *state;
    int status;
    for (int n = 1; n <= 4; n++)
        assert_int_equal(put(f, n, "body"), 200);
    change_file(f, "UPDATE items SET body = x'00000009' WHERE seq <= 2");
    struct dw_queue_op *op = claim(f, 2, NOW); /* as many as it wants, though two are damaged */
    assert_int_equal(op->items_count, 2);
    assert_int_equal(op->items[0].id[0], 3);
    assert_int_equal(op->items[1].id[0], 4);
    for (int i = 0; i < 2; i++)
        assert_int_equal(finish(f, DW_QUEUE_DONE, &op->items[i], false, 0), 200);
    dw_queue_op_free(op);
    char *text = admin(f, "list", "dead", &status);
    assert_non_null(strstr(text, "its body is damaged"));
    free(text);
    text = admin(f, "stats", "", &status);
    assert_non_null(strstr(text, "\"ready\":0,\"leased\":0,\"delayed\":0,\"dead\":2"));
    free(text);
    op = claim(f, 2, NOW);
    assert_int_equal(op->items_count, 0);
    dw_queue_op_free(op);
}

/* ---- files of older versions ---- */

static void make_old(struct fixture *f, const char *more)
{
    char command[3000];
    dw_queue_close(f->queue);
    snprintf(command, sizeof command,
             "rm -f %s %s-wal %s-shm && sqlite3 %s < " DW_SOURCE_FOLDER
             "/tests/vectors/queue-1.sql > %s.out && sqlite3 %s '%s'",
             f->path, f->path, f->path, f->path, f->path, f->path, more);
    assert_int_equal(system(command), 0);
}

TEST(a_file_of_version_1_is_brought_up_to_date_with_all_that_waits)
{
    struct fixture *f = *state;
    int status;
    make_old(f, "");
    open_queue(f);
    for (int round = 0; round < 2; round++) {
        struct dw_queue_op *op = claim(f, 10, NOW + 10000);
        assert_int_equal(op->items_count, 3); /* ready, leased and delayed */
        assert_true(dw_slice_is(op->items[0].frames.items[1], "body 1"));
        assert_true(dw_slice_is(op->items[1].frames.items[1], "body 2"));
        assert_int_equal(op->items[1].fence, 4 + round);
        assert_int_equal(op->items[1].attempts, 4 + round);
        assert_true(dw_slice_is(op->items[2].frames.items[1], "body 3"));
        dw_queue_op_free(op);
        char *text = admin(f, "list", "dead", &status);
        assert_non_null(strstr(text, "bad signature"));
        free(text);
        assert_int_equal(pending(f, 4), 200);
        assert_int_equal(put(f, 1, "other"), 422); /* the key that was seen */
        text = admin(f, "stats", "", &status);
        assert_non_null(strstr(text, "\"items\":4"));
        assert_non_null(strstr(text, "\"open_bytes\":5"));
        free(text);
        crash(f);
    }
}

TEST(a_step_that_fails_leaves_the_file_as_it_was)
{
    struct fixture *f = *state;
    struct dw_queue *q;
    struct dw_error err;
    char command[700];
    make_old(f, "CREATE TABLE replies(x)");
    assert_int_equal(dw_queue_open_still(f->path, &f->config, &q, &err), DW_INVALID);
    assert_non_null(strstr(err.text, "already exists"));
    snprintf(command, sizeof command,
             "test \"$(sqlite3 %s 'PRAGMA user_version; SELECT count(*) FROM items; SELECT count(*) FROM "
             "pragma_table_info(\"items\")' | tr '\\n' ' ')\" = '1 4 17 '",
             f->path);
    assert_int_equal(system(command), 0);
    snprintf(command, sizeof command, "sqlite3 %s 'DROP TABLE replies'", f->path);
    assert_int_equal(system(command), 0);
    open_queue(f);
}

/* ---- requests whose reply is kept ---- */

static int ask(struct fixture *f, int n, size_t len)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ASK, NOW);
    char *bytes = calloc(1, len);
    struct dw_slice frame = DW_SLICE(bytes, len);
    memset(op->id, n, sizeof op->id);
    snprintf(op->service, sizeof op->service, "weather");
    op->frames = dw_frames_copy(&frame, 1);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    free(bytes);
    return status;
}

static struct dw_queue_op *claim_weather(struct fixture *f, dw_time now)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_CLAIM, now);
    op->n = 10;
    snprintf(op->service, sizeof op->service, "weather");
    run_one(f, op);
    return op;
}

static int reply(struct fixture *f, const struct dw_queue_item *item, const char *a, size_t len)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_REPLY, NOW);
    char *bytes = calloc(1, len + 1);
    struct dw_slice frames[] = {dw_slice_of(a), DW_SLICE(bytes, len)};
    memcpy(op->id, item->id, sizeof op->id);
    op->fence = item->fence;
    op->frames = dw_frames_copy(frames, 2);
    run_one(f, op);
    int status = op->status;
    dw_queue_op_free(op);
    free(bytes);
    return status;
}

/* Status, and the first frame where there is one. */
static int fetch(struct fixture *f, int n, dw_time now, char first[40])
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_FETCH, now);
    memset(op->id, n, sizeof op->id);
    run_one(f, op);
    int status = op->status;
    snprintf(first, 40, "%s", op->text ? op->text : "");
    if (op->frames.count)
        snprintf(first, 40, "%.*s", (int)op->frames.items[0].len, op->frames.items[0].data);
    dw_queue_op_free(op);
    return status;
}

static void forget(struct fixture *f, int n)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_FORGET, NOW);
    memset(op->id, n, sizeof op->id);
    run_one(f, op);
    assert_int_equal(op->status, 200);
    dw_queue_op_free(op);
}

static void sweep(struct fixture *f, dw_time now)
{
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_SWEEP, now);
    run_one(f, op);
    dw_queue_op_free(op);
}

static void nothing_is_left(struct fixture *f)
{
    for (int round = 0; round < 2; round++) {
        int status;
        char *text = admin(f, "stats", "", &status);
        assert_non_null(strstr(text, "\"items\":0,\"bytes\":0,"));
        assert_non_null(strstr(text, "\"guest_items\":0,\"guest_bytes\":0,"));
        free(text);
        crash(f); /* and counted anew it is the same */
    }
}

TEST(a_request_waits_is_answered_and_keeps_its_reply_until_it_is_forgotten)
{
    struct fixture *f = *state;
    char first[40];
    assert_int_equal(fetch(f, 1, NOW, first), 400);
    assert_int_equal(ask(f, 1, 100), 200);
    assert_int_equal(fetch(f, 1, NOW, first), 300);
    crash(f);
    struct dw_queue_op *op = claim_weather(f, NOW);
    assert_int_equal(op->items_count, 1);
    assert_true(op->items[0].asked);
    assert_int_equal(op->items[0].frames.count, 1);
    assert_int_equal(op->items[0].frames.items[0].len, 100);
    assert_int_equal(fetch(f, 1, NOW, first), 300);
    struct dw_queue_item stale = op->items[0];
    stale.fence--;
    assert_int_equal(reply(f, &stale, "no", 0), 409);
    assert_int_equal(reply(f, &op->items[0], "sun", 50), 200);
    assert_int_equal(reply(f, &op->items[0], "rain", 50), 409);
    dw_queue_op_free(op);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fetch(f, 1, NOW, first), 200);
        assert_string_equal(first, "sun");
        crash(f);
    }
    forget(f, 1);
    assert_int_equal(fetch(f, 1, NOW, first), 400);
    forget(f, 1);
    nothing_is_left(f);
}

TEST(a_request_can_be_forgotten_in_any_state_and_a_filing_cannot)
{
    struct fixture *f = *state;
    char first[40];
    ask(f, 1, 10);
    forget(f, 1);
    ask(f, 2, 10);
    struct dw_queue_op *op = claim_weather(f, NOW);
    forget(f, 2);
    assert_int_equal(reply(f, &op->items[0], "late", 0), 409);
    dw_queue_op_free(op);
    ask(f, 3, 10);
    op = claim_weather(f, NOW);
    finish(f, DW_QUEUE_DEAD, &op->items[0], false, 0);
    dw_queue_op_free(op);
    assert_int_equal(fetch(f, 3, NOW, first), 500);
    assert_string_equal(first, "because");
    forget(f, 3);
    nothing_is_left(f);
    put(f, 4, "body");
    assert_int_equal(fetch(f, 4, NOW, first), 400);
    forget(f, 4);
    assert_int_equal(pending(f, 4), 200);
}

TEST(requests_and_replies_expire)
{
    struct fixture *f = *state;
    char first[40];
    const dw_time end = NOW + f->config.queue.guest_hours * 3600000;
    put(f, 9, "body"); /* this does not */
    ask(f, 1, 10);
    struct dw_queue_op *op = claim_weather(f, NOW);
    reply(f, &op->items[0], "sun", 10);
    dw_queue_op_free(op);
    ask(f, 2, 10);
    sweep(f, end - 1);
    assert_int_equal(fetch(f, 1, end - 1, first), 200);
    assert_int_equal(fetch(f, 2, end - 1, first), 300);
    assert_int_equal(fetch(f, 1, end, first), 400);
    assert_int_equal(fetch(f, 2, end, first), 400);
    op = claim_weather(f, end);
    assert_int_equal(op->items_count, 0); /* nobody works on what nobody can fetch */
    dw_queue_op_free(op);
    sweep(f, end);
    assert_int_equal(fetch(f, 1, NOW, first), 400);
    assert_int_equal(fetch(f, 2, NOW, first), 400);
    op = claim(f, 1, end);
    finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
    dw_queue_op_free(op);
    nothing_is_left(f);
}

TEST(guests_have_a_share_and_keep_no_filing_out)
{
    struct fixture *f = *state;
    char first[40];
    f->config.queue.max_items = 8;
    f->config.queue.max_bytes = 400000;
    f->config.queue.guest_share_percent = 25;
    f->config.queue.slow_percent = 100;
    assert_int_equal(ask(f, 1, 10), 200);
    assert_int_equal(ask(f, 2, 10), 200);
    assert_int_equal(ask(f, 3, 10), 503); /* two of eight */
    assert_int_equal(put(f, 1 + 100, "body"), 200);
    forget(f, 2);
    assert_int_equal(ask(f, 3, 100000), 503); /* 25 percent of the bytes */
    assert_int_equal(ask(f, 3, 90000), 200);
    struct dw_queue_op *op = claim_weather(f, NOW);
    assert_int_equal(op->items_count, 2);
    assert_int_equal(reply(f, &op->items[0], "sun", 20000), 200);
    assert_int_equal(fetch(f, 1, NOW, first), 500);
    assert_string_equal(first, "no room for the reply");
    assert_int_equal(reply(f, &op->items[1], "sun", 99000), 200); /* in the place of its request */
    assert_int_equal(fetch(f, 3, NOW, first), 200);
    dw_queue_op_free(op);
    crash(f);
    int status;
    char *text = admin(f, "stats", "", &status); /* a dead request, and a reply of 3 + 99000 bytes */
    assert_non_null(strstr(text, "\"guest_items\":2,\"guest_bytes\":99013"));
    free(text);
    assert_int_equal(ask(f, 4, 10), 503); /* counted anew it is the same */
    struct dw_item_header h = header(60, "x");
    h.id[0] = 61;
    op = closing(&h, "x");
    op->guest = true;
    run_one(f, op);
    assert_int_equal(op->status, 503);
    dw_queue_op_free(op);
    forget(f, 1);
    op = closing(&h, "x");
    op->guest = true;
    run_one(f, op);
    assert_int_equal(op->status, 200);
    dw_queue_op_free(op);
    assert_int_equal(ask(f, 4, 10), 503);
}

TEST(an_item_of_a_guest_is_not_done_again_while_its_key_is_remembered)
{
    struct fixture *f = *state;
    static const bool guests[] = {true, false};
    for (int i = 0; i < 2; i++) {
        struct dw_item_header h = header(i + 1, "x");
        for (int round = 0; round < 3; round++) {
            struct dw_queue_op *op = closing(&h, "x");
            op->guest = guests[i];
            run_one(f, op);
            assert_int_equal(op->status, 200);
            assert_int_equal(op->day, dw_day_of(NOW));
            dw_queue_op_free(op);
            op = claim(f, 1, NOW);
            /* A filing comes again: only the store knows whether it has it. */
            assert_int_equal(op->items_count, round == 0 || !guests[i]);
            if (op->items_count)
                finish(f, DW_QUEUE_DONE, &op->items[0], false, 0);
            dw_queue_op_free(op);
        }
    }
}

TEST(an_item_of_a_guest_that_nobody_takes_becomes_a_dead_letter)
{
    struct fixture *f = *state;
    int status;
    const dw_time end = NOW + f->config.queue.guest_hours * 3600000;
    for (int n = 1; n <= 3; n++) {
        struct dw_item_header h = header(n, "x");
        snprintf(h.service, sizeof h.service, n == 3 ? "filing" : n == 2 ? "news" : "weather");
        struct dw_queue_op *op = closing(&h, "x");
        op->guest = n != 3;
        run_one(f, op);
        assert_int_equal(op->status, 200);
        dw_queue_op_free(op);
    }
    struct dw_queue_op *op = claim_weather(f, NOW); /* this one is being worked on */
    assert_int_equal(op->items_count, 1);
    sweep(f, end - 1);
    free(admin(f, "list", "dead", &status));
    sweep(f, end);
    char *text = admin(f, "list", "dead", &status);
    assert_non_null(strstr(text, "\"service\":\"news\",\"state\":\"dead\""));
    assert_non_null(strstr(text, "nobody did it in time"));
    assert_null(strstr(text, "weather"));
    assert_null(strstr(text, "filing"));
    free(text);
    assert_int_equal(finish(f, DW_QUEUE_DONE, &op->items[0], false, 0), 200);
    dw_queue_op_free(op);
    char id[33];
    uint8_t two[16];
    memset(two, 2, sizeof two);
    free(admin(f, "retry", dw_hex(id, two, 16), &status));
    assert_int_equal(status, 200);
    op = dw_queue_op_new(DW_QUEUE_CLAIM, end + 1);
    op->n = 1;
    snprintf(op->service, sizeof op->service, "news");
    run_one(f, op);
    assert_int_equal(op->items_count, 1); /* who revived it meant it */
    dw_queue_op_free(op);
}

TEST(statutory_work_comes_before_bulk_and_each_in_its_order)
{
    struct fixture *f = *state;
    static const uint8_t classes[] = {1, 0, 1, 0, 0}, expected[] = {2, 4, 5, 1, 3};
    for (int n = 1; n <= 5; n++) {
        struct dw_item_header h = header(n, "x");
        h.klass = classes[n - 1];
        struct dw_queue_op *op = closing(&h, "x");
        run_one(f, op);
        dw_queue_op_free(op);
    }
    for (int i = 0; i < 5; i++) {
        struct dw_queue_op *op = claim(f, 1, NOW);
        assert_int_equal(op->items[0].id[0], expected[i]);
        dw_queue_op_free(op);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(what_was_put_is_claimed_in_order_with_its_frames),
    T(the_same_item_again_is_accepted_and_kept_once),
    T(the_same_key_with_another_payload_is_refused_even_after_the_item_is_done),
    T(a_claim_takes_so_many_bytes_and_the_next_one_goes_on),
    T(an_item_whose_body_is_damaged_is_set_apart_and_the_others_go_on),
    T(pending_finds_an_item_until_it_is_done), T(a_stale_fence_finishes_nothing),
    T(a_delayed_item_comes_back_at_its_time),
    T(a_clock_that_was_set_back_delays_nothing),
    T(counted_attempts_end_in_a_dead_letter_and_uncounted_ones_do_not),
    T(dead_letters_can_be_shown_revived_and_dropped),
    T(parts_are_invisible_until_closed_and_readable_under_the_lease),
    T(closing_with_a_missing_part_is_refused_and_forgotten),
    T(an_unfinished_upload_expires_and_gives_its_share_back),
    T(limits_of_items_bytes_and_open_share_are_honest_503s),
    T(everything_committed_is_there_after_a_crash),
    T(a_full_disk_refuses_the_batch_and_harms_nothing),
    T(a_foreign_damaged_or_newer_file_is_refused_with_what_to_do),
    T(a_field_that_was_damaged_is_refused_with_what_to_do),
    T(a_file_of_version_1_is_brought_up_to_date_with_all_that_waits),
    T(a_step_that_fails_leaves_the_file_as_it_was),
    T(a_request_waits_is_answered_and_keeps_its_reply_until_it_is_forgotten),
    T(a_request_can_be_forgotten_in_any_state_and_a_filing_cannot),
    T(requests_and_replies_expire),
    T(an_item_of_a_guest_is_not_done_again_while_its_key_is_remembered),
    T(an_item_of_a_guest_that_nobody_takes_becomes_a_dead_letter),
    T(statutory_work_comes_before_bulk_and_each_in_its_order), T(guests_have_a_share_and_keep_no_filing_out))
