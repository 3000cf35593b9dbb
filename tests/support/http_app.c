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
#include <time.h>

struct app app;

enum { FILES_MAX = 32, CONSUMED_PER_MS = 20000 };

static void sleep_ms(long ms)
{
    struct timespec ts = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

/* ---- an upload: hashes its files, and consumes them slowly where a window is set ---- */

struct file {
    char field[64], name[300], type[64];
    long len;
    crypto_generichash_state hash;
    char hex[65];
};

struct upload {
    struct dw_http_request *request;
    struct file files[FILES_MAX];
    size_t count;
    pthread_t consumer;
    pthread_mutex_t lock;
    long pending;
    bool paused, over;
};

static void *consume(void *arg)
{
    struct upload *u = arg;
    pthread_mutex_lock(&u->lock);
    while (!u->over) {
        if (!app.stuck)
            u->pending = u->pending > CONSUMED_PER_MS ? u->pending - CONSUMED_PER_MS : 0;
        if (u->paused && u->pending < app.window / 2 && !app.stuck) {
            u->paused = false;
            dw_http_resume(u->request);
        }
        pthread_mutex_unlock(&u->lock);
        sleep_ms(1);
        pthread_mutex_lock(&u->lock);
    }
    pthread_mutex_unlock(&u->lock);
    return NULL;
}

static void *upload_begin(void *arg, struct dw_http_request *request)
{
    struct upload *u = dw_alloc(sizeof *u);
    assert_ptr_equal(arg, &app);
    u->request = request;
    pthread_mutex_init(&u->lock, NULL);
    app.uploads++;
    app.uploads_seen++;
    if (app.window)
        pthread_create(&u->consumer, NULL, consume, u);
    return u;
}

static int upload_file_begin(void *arg, const char *field, const char *filename, const char *type)
{
    struct upload *u = arg;
    if (u->count == FILES_MAX) {
        dw_http_refuse(u->request, field, "too many files");
        return 413;
    }
    struct file *file = &u->files[u->count++];
    snprintf(file->field, sizeof file->field, "%s", field);
    snprintf(file->name, sizeof file->name, "%s", filename);
    snprintf(file->type, sizeof file->type, "%s", type);
    crypto_generichash_init(&file->hash, NULL, 0, 32);
    return app.refuse_field && strcmp(field, app.refuse_field) == 0 ? 415 : 0;
}

static int upload_file_data(void *arg, const void *data, size_t len)
{
    struct upload *u = arg;
    struct file *file = &u->files[u->count - 1];
    file->len += (long)len;
    crypto_generichash_update(&file->hash, data, len);
    if (app.max_file_bytes && file->len > app.max_file_bytes) {
        dw_http_refuse(u->request, file->field, "the file is too large");
        return 413;
    }
    pthread_mutex_lock(&u->lock);
    u->pending += (long)len;
    if (app.window && u->pending > app.pending_max)
        app.pending_max = u->pending;
    pthread_mutex_unlock(&u->lock);
    return 0;
}

static int upload_file_end(void *arg)
{
    struct upload *u = arg;
    struct file *file = &u->files[u->count - 1];
    uint8_t hash[32];
    crypto_generichash_final(&file->hash, hash, sizeof hash);
    dw_hex(file->hex, hash, sizeof hash);
    app.files_seen++;
    return 0;
}

static bool upload_wants_pause(void *arg)
{
    struct upload *u = arg;
    pthread_mutex_lock(&u->lock);
    u->paused = app.window && u->pending >= app.window;
    bool paused = u->paused;
    pthread_mutex_unlock(&u->lock);
    if (app.hasty)
        dw_http_resume(u->request);
    return paused || app.hasty;
}

static void upload_end(void *arg)
{
    struct upload *u = arg;
    pthread_mutex_lock(&u->lock);
    u->over = true;
    pthread_mutex_unlock(&u->lock);
    if (app.window)
        pthread_join(u->consumer, NULL);
    pthread_mutex_destroy(&u->lock);
    dw_free(u);
    app.uploads--;
}

static const struct dw_http_upload upload = {upload_begin,    upload_file_begin,  upload_file_data,
                                             upload_file_end, upload_wants_pause, upload_end};

/* ---- routes ---- */

static void say(struct dw_http_request *request, const char *html)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1000);
    dw_buf_str(&out, html);
    app.served++;
    dw_http_html(request, 200, &out);
}

static void page(void *arg, struct dw_http_request *request)
{
    say(request, "<p>hello");
}

static void smuggled(void *arg, struct dw_http_request *request)
{
    app.smuggled++;
    say(request, "<p>gotcha");
}

static void style(void *arg, struct dw_http_request *request)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1000);
    dw_buf_str(&out, "p{}");
    dw_http_set_header(request, "cache-control", "max-age=60");
    dw_http_set_header(request, "Set-Cookie", "a=1");
    dw_http_set_header(request, "X-Test", "one");
    dw_http_set_header(request, "X-Test", "two");
    dw_http_set_header(request, "X-Bad", "a\r\nX-Injected: 1");
    dw_http_set_header(request, "X-Bad", "a\x01");
    dw_http_bytes(request, 200, "text/css", &out);
}

static void file(void *arg, struct dw_http_request *request)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1000);
    dw_buf_put(&out, "\0\1\2", 3);
    dw_http_file(request, "证据 \"1\"/x.pdf", "application/pdf", &out);
}

static void no_content(void *arg, struct dw_http_request *request)
{
    dw_http_empty(request, 204);
}

static void moved(void *arg, struct dw_http_request *request)
{
    dw_http_redirect(request, "/page?lang=en");
}

static void moved_away(void *arg, struct dw_http_request *request)
{
    dw_http_redirect(request, "//evil.example/");
}

static void no_answer(void *arg, struct dw_http_request *request)
{
}

static void two_answers(void *arg, struct dw_http_request *request)
{
    say(request, "<p>first");
    say(request, "<p>second");
}

static void too_long(void *arg, struct dw_http_request *request)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 3);
    dw_buf_str(&out, "four");
    dw_http_html(request, 200, &out);
}

static void refused(void *arg, struct dw_http_request *request)
{
    dw_http_refuse(request, "against.name", "it is missing");
    dw_http_problem(request, 422, NULL, NULL);
}

static void several(void *arg, struct dw_http_request *request)
{
    json_t *errors = json_array();
    json_array_append_new(errors, json_pack("{s:s, s:s}", "field", "a", "detail", "b"));
    dw_http_problems(request, 422, "two things are wrong", errors);
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

static void echo_address(void *arg, struct dw_http_request *request)
{
    app.served++;
    dw_http_json(request, 200,
                 json_pack("{s:s, s:o, s:o, s:o, s:o}", "method", dw_http_method(request), "id",
                           text_or_null(dw_http_param(request, 0)), "n",
                           text_or_null(dw_http_param(request, 1)), "q",
                           text_or_null(dw_http_query(request, "q")), "agent",
                           text_or_null(dw_http_header(request, "user-agent"))));
}

static void echo_body(void *arg, struct dw_http_request *request)
{
    struct upload *u = dw_http_upload_of(request);
    struct dw_slice body = dw_http_body(request);
    json_t *fields = json_array(), *files = json_array();
    app.served++;
    for (size_t i = 0; i < dw_http_fields(request); i++)
        json_array_append_new(fields, json_pack("[s, s]", dw_http_field_name(request, i),
                                                dw_http_field_value(request, i)));
    for (size_t i = 0; u && i < u->count; i++)
        json_array_append_new(files,
                              json_pack("{s:s, s:s, s:s, s:i, s:s}", "field", u->files[i].field,
                                        "name", u->files[i].name, "type", u->files[i].type, "len",
                                        (int)u->files[i].len, "hash", u->files[i].hex));
    dw_http_json(request, 200,
                 json_pack("{s:b, s:i, s:o, s:o, s:o}", "form", dw_http_is_form(request), "length",
                           (int)body.len, "second_a", text_or_null(dw_http_field(request, "a", 1)),
                           "fields", fields, "files", files));
}

static void hold(void *arg, struct dw_http_request *request)
{
    app.holding++;
    while (app.held)
        sleep_ms(1);
    app.holding--;
    say(request, "<p>held");
}

static void big(void *arg, struct dw_http_request *request)
{
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 64 << 20);
    dw_buf_zeros(&out, 32 << 20);
    dw_http_bytes(request, 200, "application/octet-stream", &out);
}

static const struct dw_http_rate three = {"three", 0.01, 3};

static const struct dw_http_route routes[] = {
    {"GET", "/page", DW_HTTP_NO_BODY, .handle = page},
    {"GET", "/smuggled", DW_HTTP_NO_BODY, .handle = smuggled},
    {"GET", "/style", DW_HTTP_NO_BODY, .handle = style},
    {"GET", "/file", DW_HTTP_NO_BODY, .handle = file},
    {"GET", "/no-content", DW_HTTP_NO_BODY, .handle = no_content},
    {"GET", "/moved", DW_HTTP_NO_BODY, .handle = moved},
    {"GET", "/moved-away", DW_HTTP_NO_BODY, .handle = moved_away},
    {"GET", "/no-answer", DW_HTTP_NO_BODY, .handle = no_answer},
    {"GET", "/two-answers", DW_HTTP_NO_BODY, .handle = two_answers},
    {"GET", "/too-long", DW_HTTP_NO_BODY, .handle = too_long},
    {"GET", "/refused", DW_HTTP_NO_BODY, .handle = refused},
    {"GET", "/several", DW_HTTP_NO_BODY, .handle = several},
    {"GET", "/items/:id/parts/:n", DW_HTTP_NO_BODY, .handle = echo_address},
    {"POST", "/json", DW_HTTP_JSON, .handle = echo_body},
    {"POST", "/form", DW_HTTP_FORM, .same_origin = true, .handle = echo_body},
    {"POST", "/files", DW_HTTP_MULTIPART, .upload = &upload, .handle = echo_body},
    {"GET", "/big", DW_HTTP_NO_BODY, .handle = big},
    {"GET", "/hold", DW_HTTP_NO_BODY, .handle = hold},
    {"POST", "/hold", DW_HTTP_JSON, .handle = hold},
    {"GET", "/three", DW_HTTP_NO_BODY, .rate = &three, .handle = page},
    {"POST", "/three", DW_HTTP_JSON, .rate = &three, .handle = page},
};

/* ---- start and stop ---- */

struct dw_http_limits app_limits(void)
{
    return (struct dw_http_limits){
        .listen = (char *)"127.0.0.1:0",
        .threads = 4,
        .connections = 300,
        .max_headers = 20,
        .max_body_bytes = 10000,
        .max_fields = 5,
        .max_field_bytes = 2000,
        .idle_seconds = 10,
        .total_seconds = 30,
        .min_bytes_per_second = 100,
        .keep_alive = true,
        .origin = (char *)"",
    };
}

void app_start(struct dw_http_limits limits)
{
    struct dw_error err = {""};
    memset(&app, 0, sizeof app);
    app.limits = limits;
    if (sodium_init() < 0 ||
        dw_http_start(&app.limits, 1024, routes, DW_COUNT(routes), &app, "test", &app.http, &err))
        fail_msg("%s: %s", err.field, err.text);
    app.port = dw_http_port(app.http);
    assert_true(app.port > 0);
}

void app_stop(void)
{
    dw_http_stop(app.http, 20000);
    app.http = NULL;
    assert_int_equal(app.smuggled, 0);
    assert_int_equal(app.uploads, 0);
}

bool app_waits_for(atomic_int *value, int wanted)
{
    int64_t until = dw_monotonic_ms() + 60000;
    while (*value != wanted && dw_monotonic_ms() < until)
        sleep_ms(2);
    return *value == wanted;
}

void app_checks_headers(const struct reply *reply, const char *policy_has)
{
    assert_string_equal(reply_header(reply, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(reply_header(reply, "Referrer-Policy"), "no-referrer");
    assert_string_equal(reply_header(reply, "Cross-Origin-Opener-Policy"), "same-origin");
    assert_string_equal(reply_header(reply, "Cross-Origin-Resource-Policy"), "same-origin");
    assert_string_equal(reply_header(reply, "X-Frame-Options"), "DENY");
    assert_non_null(strstr(reply_header(reply, "Permissions-Policy"), "camera=()"));
    assert_non_null(strstr(reply_header(reply, "Content-Security-Policy"), "default-src 'none'"));
    assert_non_null(
        strstr(reply_header(reply, "Content-Security-Policy"), "frame-ancestors 'none'"));
    assert_non_null(strstr(reply_header(reply, "Content-Security-Policy"), policy_has));
}
