#include "unit.h"

#include "dw/config.h"
#include "dw/process.h"
#include "keymaking.h"

#include <sodium.h>
#include <unistd.h>

struct fixture {
    char *folder;
    struct dw_config config;
    struct dw_signer root;
    struct dw_site site;
    dw_day today;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct dw_error err;
    char text[64], path[300];
    uint8_t seed[32] = {1};
    assert_true(sodium_init() >= 0);
    f->folder = make_folder();
    f->today = dw_day_of(dw_now());
    dw_config_defaults(&f->config);
    f->config.folder = dw_strdup(f->folder);
    snprintf(path, sizeof path, "%s/admin", f->folder);
    dw_make_folder(path, 0700);
    dw_signer_init(&f->root, seed);
    assert_true(dw_site_make(path, &f->root, f->today + 100));
    snprintf(path, sizeof path, "%s/keys", f->folder);
    dw_make_folder(path, 0755);
    snprintf(path, sizeof path, "%s/keys/root.pub", f->folder);
    dw_base64(text, sizeof text, f->root.public, 32);
    assert_true(dw_write_file(path, text, strlen(text), 0644));
    assert_int_equal(dw_site_load(&f->config, &f->site, &err), DW_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    dw_signer_free(&f->root);
    dw_site_free(&f->site);
    dw_config_free(&f->config);
    rm_folder(f->folder);
    free(f);
    return 0;
}

static struct dw_directory *draft(struct fixture *f)
{
    struct dw_directory *d = dw_directory_draft();
    struct dw_program *p = dw_draft_program(d, "web", "web");
    memset(p->curve, 1, 32);
    memset(p->sign, 2, 32);
    p->from = f->today;
    p->until = f->today + 10;
    for (int i = 1; i <= 2; i++) {
        struct dw_public_key *k = dw_draft_key(d, DW_TO_BODY, "500108", i);
        memset(k->key, i, 32);
        k->from = f->today + (i - 1) * 5;
        k->until = f->today + 10;
    }
    return d;
}

static void publish(struct fixture *f, struct dw_directory *d)
{
    struct dw_error err;
    assert_int_equal(dw_directory_publish(&f->config, &f->site, d, &err), DW_OK);
}

static uint8_t *read_published(struct fixture *f, size_t *len)
{
    char path[300];
    snprintf(path, sizeof path, "%s/keys/directory", f->folder);
    return dw_read_file(path, 1 << 20, false, len);
}

TEST(what_was_signed_is_read_back)
{
    struct fixture *f = *state;
    struct dw_directory *d = draft(f), *got;
    struct dw_error err;
    size_t len;
    publish(f, d);
    uint8_t *file = read_published(f, &len);
    assert_int_equal(dw_directory_parse(DW_SLICE(file, len), f->root.public, f->today, 0, &got,
                                        &err),
                     DW_OK);
    assert_int_equal(got->serial, 1);
    const struct dw_program *p = dw_directory_by_name(got, "web", f->today);
    assert_non_null(p);
    assert_ptr_equal(dw_directory_by_curve(got, p->curve, f->today), p);
    assert_ptr_equal(dw_directory_by_signer(got, p->signer, f->today), p);
    assert_null(dw_directory_by_name(got, "web", f->today + 11));
    assert_null(dw_directory_by_name(got, "web", f->today - 1));
    assert_int_equal(dw_directory_current(got, DW_TO_BODY, "500108", f->today)->epoch, 1);
    assert_int_equal(dw_directory_current(got, DW_TO_BODY, "500108", f->today + 5)->epoch, 2);
    assert_null(dw_directory_current(got, DW_TO_BODY, "500103", f->today));
    assert_null(dw_directory_epoch(got, DW_TO_BODY, "500108", 2, f->today));
    dw_directory_free(got);
    dw_free(file);
    dw_directory_free(d);
}

TEST(every_changed_byte_is_noticed)
{
    struct fixture *f = *state;
    struct dw_directory *d = draft(f), *got;
    struct dw_error err;
    size_t len;
    publish(f, d);
    uint8_t *file = read_published(f, &len);
    for (size_t i = 0; i < len; i++) {
        file[i] ^= 1;
        assert_int_equal(dw_directory_parse(DW_SLICE(file, len), f->root.public, f->today, 0, &got,
                                            &err),
                         DW_INVALID);
        file[i] ^= 1;
    }
    for (size_t n = 0; n < len; n += 7)
        assert_int_equal(dw_directory_parse(DW_SLICE(file, n), f->root.public, f->today, 0, &got,
                                            &err),
                         DW_INVALID);
    dw_free(file);
    dw_directory_free(d);
}

TEST(another_root_an_ended_site_key_and_an_older_serial_are_refused)
{
    struct fixture *f = *state;
    struct dw_directory *d = draft(f), *got;
    struct dw_error err;
    size_t len;
    publish(f, d);
    uint8_t *file = read_published(f, &len);
    assert_int_equal(dw_directory_parse(DW_SLICE(file, len), f->site.signer.public, f->today, 0,
                                        &got, &err),
                     DW_INVALID);
    assert_int_equal(dw_directory_parse(DW_SLICE(file, len), f->root.public, f->today + 101, 0,
                                        &got, &err),
                     DW_INVALID);
    assert_non_null(strstr(err.text, "key renew"));
    assert_int_equal(dw_directory_parse(DW_SLICE(file, len), f->root.public, f->today, 2, &got,
                                        &err),
                     DW_INVALID);
    assert_non_null(strstr(err.text, "older"));
    dw_free(file);
    dw_directory_free(d);
}

TEST(a_running_program_takes_a_new_directory_and_keeps_the_old_when_the_new_is_bad)
{
    struct fixture *f = *state;
    struct dw_directory *d = draft(f);
    struct dw_directory_watch *watch;
    struct dw_error err;
    char path[300];
    publish(f, d);
    assert_int_equal(dw_directory_watch_new(&f->config, &watch, &err), DW_OK);
    struct dw_directory *held = dw_directory_take(watch);
    usleep(20000);
    d->serial = 1;
    publish(f, d);
    assert_true(dw_directory_watch_tick(watch));
    struct dw_directory *now = dw_directory_take(watch);
    assert_int_equal(held->serial, 1); /* still whole for whoever holds it */
    assert_int_equal(now->serial, 2);
    dw_directory_give(watch, held);
    dw_directory_give(watch, now);
    usleep(20000);
    snprintf(path, sizeof path, "%s/keys/directory", f->folder);
    assert_true(dw_write_file(path, "rubbish", 7, 0644));
    assert_false(dw_directory_watch_tick(watch));
    now = dw_directory_take(watch);
    assert_int_equal(now->serial, 2);
    dw_directory_give(watch, now);
    dw_directory_watch_free(watch);
    dw_directory_free(d);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(what_was_signed_is_read_back), T(every_changed_byte_is_noticed),
    T(another_root_an_ended_site_key_and_an_older_serial_are_refused),
    T(a_running_program_takes_a_new_directory_and_keeps_the_old_when_the_new_is_bad))
