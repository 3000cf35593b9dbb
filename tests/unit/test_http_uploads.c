/* Files that arrive: whole, slowly consumed, refused, broken off. */
#include "http_app.h"
#include "http_client.h"

#include "dw/clock.h"

#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURES_MEMORY = 0 };
#else
enum { MEASURES_MEMORY = 1 };
#endif

enum { MIB = 1 << 20, READ_AHEAD = 65536 };

#define FIELD(name, value)                                                                         \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"

static void put_file(struct dw_buf *body, const char *field, const char *name, const void *data,
                     size_t len)
{
    dw_buf_printf(body,
                  "--XX\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%s\"\r\n"
                  "Content-Type: image/png\r\n\r\n",
                  field, name);
    dw_buf_put(body, data, len);
    dw_buf_str(body, "\r\n");
}

static bool send_head(int fd, size_t length, const char *more)
{
    char head[300];
    snprintf(head, sizeof head,
             "POST /files HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n"
             "Content-Type: multipart/form-data; boundary=XX\r\n%s\r\n",
             length, more);
    return client_say(fd, head);
}

/* Sends `missing` bytes less than it promised. */
static int begin_upload(const struct dw_buf *body, size_t piece, size_t missing)
{
    int fd = client_connect(app.port);
    send_head(fd, body->len, "");
    for (size_t at = 0; at < body->len - missing; at += piece) {
        size_t left = body->len - missing - at;
        if (!client_send(fd, body->data + at, left < piece ? left : piece))
            break;
    }
    return fd;
}

/* A body with one file of zeros. */
static void make_body(struct dw_buf *body, size_t len)
{
    dw_buf_init(body, 256 * (size_t)MIB);
    uint8_t *zeros = dw_alloc(len);
    put_file(body, "file", "zeros", zeros, len);
    dw_buf_str(body, "--XX--\r\n");
    dw_free(zeros);
}

static void ten_files_arrive_as_they_were_sent(void **state)
{
    static const size_t sizes[10] = {0,     1,     100,    4095,    65535,
                                     65536, 65537, 300000, MIB + 1, 5 * MIB};
    static const size_t pieces[] = {64 * (size_t)MIB, 65536, 1460, 997};
    DW_AUTO_BUF body = {0};
    char hashes[10][65];
    dw_buf_init(&body, 64 * (size_t)MIB);
    dw_buf_str(&body, FIELD("filing", "{\"a\": 1}"));
    for (int i = 0; i < 10; i++) {
        uint8_t hash[32], *data = dw_alloc(sizes[i]);
        char name[16];
        randombytes_buf(data, sizes[i]);
        for (size_t k = 0; k + 8 < sizes[i]; k += 1000) /* looks like the mark, and is none */
            memcpy(data + k, "\r\n--X\r\n", 7);
        crypto_generichash(hash, sizeof hash, data, sizes[i], NULL, 0);
        dw_hex(hashes[i], hash, sizeof hash);
        snprintf(name, sizeof name, "证据%d.png", i);
        put_file(&body, "file", name, data, sizes[i]);
        dw_free(data);
    }
    dw_buf_str(&body, FIELD("after", "x") "--XX--\r\n");
    app_start(app_limits());
    for (size_t p = 0; p < DW_COUNT(pieces); p++) {
        int fd = begin_upload(&body, pieces[p], 0);
        AUTO_REPLY reply = client_read(fd, false);
        close(fd);
        assert_int_equal(reply.status, 200);
        json_t *got = json_loads(dw_buf_text(&reply.body), 0, NULL);
        assert_int_equal(json_array_size(json_object_get(got, "fields")), 2);
        json_t *files = json_object_get(got, "files");
        assert_int_equal(json_array_size(files), 10);
        for (size_t i = 0; i < 10; i++) {
            const char *name, *hash, *type;
            int len;
            assert_int_equal(json_unpack(json_array_get(files, i), "{s:s, s:s, s:s, s:i}", "name",
                                         &name, "hash", &hash, "type", &type, "len", &len),
                             0);
            assert_string_equal(hash, hashes[i]);
            assert_int_equal(len, (int)sizes[i]);
            assert_int_equal(name[6], '0' + (int)i);
            assert_string_equal(type, "image/png");
        }
        json_decref(got);
    }
    app_stop();
}

static long memory_kib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

static void a_slow_consumer_slows_the_client_down(void **state)
{
    DW_AUTO_BUF body = {0};
    make_body(&body, 40 * (size_t)MIB);
    app_start(app_limits());
    app.window = 256 * 1024;
    long before = memory_kib();
    int64_t start = dw_monotonic_ms();
    int fd = begin_upload(&body, MIB, 0);
    AUTO_REPLY reply = client_read(fd, false);
    int64_t took = dw_monotonic_ms() - start;
    assert_int_equal(reply.status, 200);
    assert_int_equal(app.files_seen, 1);
    assert_true(took > 1500); /* 20 MB/s at most */
    assert_true(app.pending_max >= app.window);
    assert_true(app.pending_max < app.window + READ_AHEAD);
    print_message("40 MiB in %lld ms, at most %ld bytes in hand, memory grew by %ld KiB\n",
                  (long long)took, (long)app.pending_max, memory_kib() - before);
    if (MEASURES_MEMORY)
        assert_true(memory_kib() - before < 4096);
    close(fd);
    app_stop();
}

/* A window of one byte: every piece pauses, and is resumed at once or even before it pauses. */
static void *upload_tightly(void *arg)
{
    const struct dw_buf *body = arg;
    int fd = begin_upload(body, 3000, 0);
    AUTO_REPLY reply = client_read(fd, false);
    close(fd);
    return reply.status == 200 ? arg : NULL;
}

static void no_resume_is_lost(void **state)
{
    pthread_t threads[8];
    DW_AUTO_BUF body = {0};
    make_body(&body, 2 * (size_t)MIB);
    app_start(app_limits());
    app.window = 2;
    for (size_t i = 0; i < DW_COUNT(threads); i++)
        pthread_create(&threads[i], NULL, upload_tightly, &body);
    for (size_t i = 0; i < DW_COUNT(threads); i++) {
        void *good;
        pthread_join(threads[i], &good);
        assert_non_null(good);
    }
    assert_int_equal(app.files_seen, DW_COUNT(threads));
    app_stop();
}

static void a_resume_before_its_pause_prevents_it(void **state)
{
    DW_AUTO_BUF body = {0};
    make_body(&body, MIB);
    app_start(app_limits());
    app.hasty = true;
    assert_non_null(upload_tightly(&body));
    app_stop();
}

static void a_refused_file_is_read_to_its_end_and_answered(void **state)
{
    static const struct {
        int max_bytes;
        const char *field;
        int status;
        const char *has;
    } cases[] = {
        {500000, NULL, 413, "\"detail\":\"the file is too large\",\"field\":\"file\""},
        {0, "file", 415, "\"field\":\"file\""},
    };
    DW_AUTO_BUF body = {0};
    make_body(&body, 20 * (size_t)MIB);
    app_start(app_limits());
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        app.max_file_bytes = cases[i].max_bytes;
        app.refuse_field = cases[i].field;
        int fd = begin_upload(&body, MIB, 0);
        AUTO_REPLY reply = client_read(fd, false);
        assert_int_equal(reply.status, cases[i].status);
        assert_non_null(strstr(dw_buf_text(&reply.body), cases[i].has));
        app_checks_headers(&reply, "");
        client_say(fd, "GET /page HTTP/1.1\r\nHost: test\r\n\r\n");
        AUTO_REPLY next = client_read(fd, false);
        assert_int_equal(next.status, 200);
        close(fd);
    }
    assert_int_equal(app.files_seen, 0);
    assert_int_equal(app.uploads_seen, 2);
    app_stop();
}

static void one_that_would_take_too_long_to_drain_is_cut(void **state)
{
    static char zeros[MIB];
    app_start(app_limits());
    app.max_file_bytes = 1000;
    int fd = client_connect(app.port);
    send_head(fd, 1000 * (size_t)MIB, "");
    client_say(fd, "--XX\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n");
    int sent = 0;
    while (sent < 100 && client_send(fd, zeros, sizeof zeros))
        sent++;
    assert_true(sent < 20);
    close(fd);
    assert_true(app_waits_for(&app.uploads, 0));
    app_stop();
}

static void a_form_that_breaks_off_is_no_form(void **state)
{
    DW_AUTO_BUF body = {0};
    make_body(&body, 100000);
    app_start(app_limits());
    /* The length is right and the last mark is missing. */
    body.len -= strlen("\r\n--XX--\r\n");
    int fd = begin_upload(&body, MIB, 0);
    AUTO_REPLY reply = client_read(fd, false);
    assert_int_equal(reply.status, 400);
    assert_non_null(strstr(dw_buf_text(&reply.body), "too early"));
    close(fd);
    assert_int_equal(app.served, 0);
    assert_int_equal(app.files_seen, 0);
    assert_true(app_waits_for(&app.uploads, 0));
    app_stop();
}

static void a_client_that_leaves_ends_its_upload(void **state)
{
    static const size_t missing[] = {1, 9, 50000, 99999};
    DW_AUTO_BUF body = {0};
    make_body(&body, 100000);
    app_start(app_limits());
    for (size_t i = 0; i < DW_COUNT(missing); i++) {
        int fd = begin_upload(&body, 10000, missing[i]);
        assert_true(app_waits_for(&app.uploads_seen, (int)i + 1));
        close(fd);
        assert_true(app_waits_for(&app.uploads, 0));
    }
    assert_int_equal(app.served, 0);
    app_stop();
}

static void a_client_that_leaves_while_paused_is_noticed_after_it(void **state)
{
    DW_AUTO_BUF body = {0};
    make_body(&body, MIB);
    app_start(app_limits());
    app.window = 1000;
    app.stuck = true;
    int fd = begin_upload(&body, 10000, MIB / 2);
    assert_true(app_waits_for(&app.uploads_seen, 1));
    usleep(50000);
    close(fd);
    usleep(100000);
    assert_int_equal(app.uploads, 1);
    app.stuck = false;
    assert_true(app_waits_for(&app.uploads, 0));
    app_stop();
}

static void an_upload_that_nobody_reads_on_is_cut(void **state)
{
    struct dw_http_limits limits = app_limits();
    limits.total_seconds = 1;
    DW_AUTO_BUF body = {0};
    make_body(&body, MIB);
    app_start(limits);
    app.window = 1000;
    app.stuck = true;
    int fd = begin_upload(&body, 10000, MIB / 2);
    assert_true(app_waits_for(&app.uploads_seen, 1));
    assert_true(app_waits_for(&app.uploads, 0));
    assert_true(client_sees_end(fd, 1000));
    assert_true(app.pending_max < app.window + READ_AHEAD); /* nor told the rest of it */
    close(fd);
    app_stop();
}

static void a_stop_ends_uploads_paused_or_not(void **state)
{
    DW_AUTO_BUF body = {0};
    make_body(&body, MIB);
    for (int i = 0; i < 10; i++) {
        app_start(app_limits());
        app.window = 1000;
        app.stuck = i % 2;
        int fd = begin_upload(&body, 10000, MIB / 2);
        assert_true(app_waits_for(&app.uploads_seen, 1));
        usleep(i * 1000);
        int64_t start = dw_monotonic_ms();
        app_stop();
        assert_true(dw_monotonic_ms() - start < 1000);
        close(fd);
    }
}

static void leave_is_given_before_files_are_sent(void **state)
{
    DW_AUTO_BUF body = {0};
    char leave[25];
    make_body(&body, 1000);
    app_start(app_limits());
    int fd = client_connect(app.port);
    send_head(fd, body.len, "Expect: 100-continue\r\n");
    assert_int_equal(read(fd, leave, sizeof leave), 25);
    client_send(fd, body.data, body.len);
    AUTO_REPLY reply = client_read(fd, false);
    assert_int_equal(reply.status, 200);
    close(fd);
    app_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_files_arrive_as_they_were_sent),
        cmocka_unit_test(a_slow_consumer_slows_the_client_down),
        cmocka_unit_test(no_resume_is_lost),
        cmocka_unit_test(a_resume_before_its_pause_prevents_it),
        cmocka_unit_test(a_refused_file_is_read_to_its_end_and_answered),
        cmocka_unit_test(one_that_would_take_too_long_to_drain_is_cut),
        cmocka_unit_test(a_form_that_breaks_off_is_no_form),
        cmocka_unit_test(a_client_that_leaves_ends_its_upload),
        cmocka_unit_test(a_client_that_leaves_while_paused_is_noticed_after_it),
        cmocka_unit_test(an_upload_that_nobody_reads_on_is_cut),
        cmocka_unit_test(a_stop_ends_uploads_paused_or_not),
        cmocka_unit_test(leave_is_given_before_files_are_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
