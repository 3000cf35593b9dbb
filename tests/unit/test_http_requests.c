/* What is sent to the server: heads that could be read in two ways, bodies of each kind, limits. */
#include "http_app.h"
#include "http_client.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

static int start(void **state)
{
    app_start(app_limits());
    return 0;
}

static int stop(void **state)
{
    app_stop();
    return 0;
}

#define HIDDEN "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"

/* Whatever follows such a head, inside its body or after it, must never be taken for a request. */
static void a_head_that_two_programs_read_differently_ends_the_connection(void **state)
{
    static const char *const abuses[] = {
        /* two lengths, in every combination */
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nContent-Length: 41\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 2, 2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: -2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: +2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 0x2\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length:\r\n\r\n{}" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length: 99999999999999999999999\r\n\r\n{}" HIDDEN,
        /* a blank before the colon hides a length from one of two */
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length : 41\r\n\r\n" HIDDEN,
        "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        "Content-Length\t: 41\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\n Content-Length: 41\r\n\r\n" HIDDEN,
        /* folding, in two shapes: as a value, and to put a name together */
        "GET /page HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\nContent-Len: 41\r\n\tgth\r\n\r\n" HIDDEN,
        /* lines ended otherwise */
        "GET /page HTTP/1.1\nHost: test\n\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\nX: a\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\n\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\nX: a\rContent-Length: 41\r\n\r\n" HIDDEN,
        /* two hosts, none, and one that is none */
        "GET /page HTTP/1.1\r\nHost: test\r\nHost: other\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test evil\r\n\r\n" HIDDEN,
        /* first lines */
        "GET  /page HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN,
        "GET /page  HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1 \r\nHost: test\r\n\r\n" HIDDEN,
        "GET /pa\tge HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN,
        "GET http://test/page HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN,
        "G\x01T /page HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\nno colon\r\n\r\n" HIDDEN,
        "GET /page HTTP/1.1\r\nHost: test\r\nX-\xe7\x94\xb2: a\r\n\r\n" HIDDEN,
        "GET /page HTTP/2.0\r\nHost: test\r\n\r\n" HIDDEN,
        "GET /page HTTP/0.9\r\nHost: test\r\n\r\n" HIDDEN,
        "GET /page\r\n\r\n" HIDDEN,
    };
    for (size_t i = 0; i < DW_COUNT(abuses); i++) {
        AUTO_REPLY reply = client_ask(app.port, abuses[i]);
        if (reply.status < 400 || reply.status > 505 || !reply.closed)
            fail_msg("%d, %s: %s", reply.status, reply.closed ? "closed" : "open", abuses[i]);
    }
    assert_int_equal(app.smuggled, 0);
}

static void a_nul_cannot_hide_anything(void **state)
{
    static const char head[] = "GET /page\0x HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN;
    static const char value[] = "GET /page HTTP/1.1\r\nHost: test\r\nX: a\0b\r\n\r\n" HIDDEN;
    static const char length[] = "POST /json HTTP/1.1\r\nHost: test\r\n"
                                 "Content-Length: 0\0"
                                 "41\r\n\r\n" HIDDEN;
    static const char method[] = "GET\0 /page HTTP/1.1\r\nHost: test\r\n\r\n" HIDDEN;
    static const struct dw_slice all[] = {{(const uint8_t *)head, sizeof head - 1},
                                          {(const uint8_t *)value, sizeof value - 1},
                                          {(const uint8_t *)length, sizeof length - 1},
                                          {(const uint8_t *)method, sizeof method - 1}};
    for (size_t i = 0; i < DW_COUNT(all); i++) {
        int fd = client_connect(app.port);
        client_send(fd, all[i].data, all[i].len);
        AUTO_REPLY reply = client_read(fd, false);
        assert_int_equal(reply.status, 400);
        assert_true(client_sees_end(fd, 2000));
        close(fd);
    }
}

/* A head that comes byte by byte lies in libmicrohttpd's buffer as one that comes at once. */
static void a_sound_head_is_sound_in_any_pieces(void **state)
{
    static const char request[] =
        "POST /json HTTP/1.1\r\nHost: test\r\nX:\r\nCookie: a=b; c=\"d\"\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    static const size_t pieces[] = {1, 7, 50};
    for (size_t k = 0; k < DW_COUNT(pieces); k++) {
        int fd = client_connect(app.port);
        for (size_t i = 0; i < sizeof request - 1; i += pieces[k]) {
            size_t left = sizeof request - 1 - i;
            client_send(fd, request + i, left < pieces[k] ? left : pieces[k]);
            usleep(300);
        }
        AUTO_REPLY reply = client_read(fd, false);
        assert_int_equal(reply.status, 200);
        /* and again on the same connection, where the buffer has been used before */
        client_say(fd, request);
        AUTO_REPLY again = client_read(fd, false);
        assert_int_equal(again.status, 200);
        close(fd);
    }
}

static void heads_of_every_size_are_answered(void **state)
{
    static const struct {
        size_t address, value;
        int lines, status;
    } cases[] = {
        {10, 10, 1, 200},    {4000, 10, 1, 404},    {4200, 10, 1, 414},   {10, 12000, 1, 200},
        {10, 20000, 1, 431}, {10, 40000, 1, 431},   {10, 100000, 1, 431}, {100000, 10, 1, 414},
        {10, 10, 18, 200},   {10, 10, 20, 431},     {10, 10, 500, 431},   {10, 10, 5000, 431},
        {10, 0, 500, 431},   {4000, 1000, 11, 404},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        DW_AUTO_BUF request = {0};
        dw_buf_init(&request, 1 << 20);
        dw_buf_str(&request, cases[i].address > 10 ? "GET /" : "GET /page");
        for (size_t n = 10; n < cases[i].address; n++)
            dw_buf_u8(&request, 'a');
        dw_buf_str(&request, " HTTP/1.1\r\nHost: test\r\n");
        for (int line = 0; line < cases[i].lines; line++) {
            dw_buf_str(&request, "X: ");
            for (size_t n = 0; n < cases[i].value; n++)
                dw_buf_u8(&request, 'a');
            dw_buf_str(&request, "\r\n");
        }
        dw_buf_str(&request, "\r\n");
        AUTO_REPLY reply = client_ask(app.port, dw_buf_text(&request));
        /* what is far too long may be cut while it is sent */
        bool far = request.len > 60000;
        if (reply.status != cases[i].status && !(far && reply.status == 0))
            fail_msg("case %zu: %d", i, reply.status);
        if (reply.status >= 400 && reply.status != 404)
            assert_true(reply.closed);
        if (!far)
            app_checks_headers(&reply, "");
    }
}

/* ---- bodies ---- */

static struct reply post(const char *path, const char *more, const char *type, const char *body)
{
    DW_AUTO_BUF request = {0};
    dw_buf_init(&request, 1 << 20);
    dw_buf_printf(&request, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %zu\r\n%s", path,
                  strlen(body), more);
    if (type)
        dw_buf_printf(&request, "Content-Type: %s\r\n", type);
    dw_buf_printf(&request, "\r\n%s", body);
    return client_ask(app.port, dw_buf_text(&request));
}

#define PAIRS "application/x-www-form-urlencoded"
#define MULTI "multipart/form-data; boundary=XX"
#define PART(name, value)                                                                          \
    "--XX\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define FILED(name, value)                                                                         \
    "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"" name "\"\r\n"                \
    "Content-Type: text/plain\r\n\r\n" value "\r\n"

static void bodies_are_taken_or_refused(void **state)
{
    static const struct {
        const char *path, *type, *body;
        int status;
        const char *has;
    } cases[] = {
        {"/json", "application/json", "{}", 200, "\"form\":false,\"length\":2"},
        {"/json", "Application/JSON;charset=utf-8", "{}", 200, "\"length\":2"},
        {"/json", NULL, "", 200, "\"length\":0"},
        {"/json", NULL, "{}", 415, "Content-Type"},
        {"/json", "text/plain", "{}", 415, "Content-Type"},
        {"/json", PAIRS, "a=b", 415, "Content-Type"},
        {"/page", NULL, "", 405, ""},
        {"/form", PAIRS, "a=1&b=x+y&a=2", 200,
         "\"form\":true,\"length\":0,\"second_a\":\"2\","
         "\"fields\":[[\"a\",\"1\"],[\"b\",\"x y\"],[\"a\",\"2\"]]"},
        {"/form", PAIRS, "", 200, "\"fields\":[]"},
        {"/form", PAIRS, "a=%00", 400, "\"field\":\"a\""},
        {"/form", PAIRS, "a=%0", 400, "too early"},
        {"/form", PAIRS, "=", 400, "malformed"},
        {"/form", PAIRS, "a&b&c&d&e", 200, "[\"e\",\"\"]"},
        {"/form", PAIRS, "a&b&c&d&e&f", 400, "too many fields"},
        {"/form", MULTI, PART("a", "") PART("a", "2") "--XX--\r\n", 200,
         "\"fields\":[[\"a\",\"\"],[\"a\",\"2\"]]"},
        {"/form", MULTI, FILED("x", "y") "--XX--", 400, "no files"},
        {"/form", MULTI, PART("a", "1") FILED("", "") "--XX--", 200, "\"fields\":[[\"a\",\"1\"]]"},
        {"/form", MULTI, FILED("", "bytes") "--XX--", 400, "no name"},
        {"/form", MULTI, PART("a", "1") "--XX", 400, "too early"},
        {"/form", MULTI, "", 400, "too early"},
        {"/form", "multipart/form-data", "x", 400, "boundary"},
        {"/form", "application/json", "{}", 415, "Content-Type"},
        {"/files", "application/json", "{}", 200, "\"form\":false,\"length\":2"},
        {"/files", PAIRS, "a=1", 200, "\"fields\":[[\"a\",\"1\"]]"},
        {"/files", "text/plain", "a", 415, "Content-Type"},
        {"/files", MULTI, PART("filing", "{}") FILED("n", "12345") "--XX--", 200, "\"len\":5"},
        {"/nowhere", "application/json", "{}", 404, ""},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        AUTO_REPLY reply = post(cases[i].path, "", cases[i].type, cases[i].body);
        const char *text = dw_buf_text(&reply.body);
        if (reply.status != cases[i].status || !strstr(text, cases[i].has))
            fail_msg("case %zu: %d %s", i, reply.status, text);
        assert_false(reply.closed); /* the body was read to its end */
    }
}

static void a_body_where_none_belongs_is_refused(void **state)
{
    AUTO_REPLY reply = client_ask(
        app.port, "GET /page HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello" HIDDEN);
    assert_int_equal(reply.status, 400);
    app.smuggled = 0; /* it was rightly taken for the next request */
}

static void limits_of_a_body_have_their_statuses(void **state)
{
    char value[12000];
    static const struct {
        const char *path, *type, *before;
        size_t len;
        int status;
    } cases[] = {
        {"/json", "application/json", "", 10000, 200},
        {"/json", "application/json", "", 10001, 413},
        {"/form", PAIRS, "a=", 2000, 200},
        {"/form", PAIRS, "a=", 2001, 400},
        {"/form", PAIRS, "a=", 9999, 413},
        {"/form", MULTI, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n", 9999, 413},
        {"/files", MULTI, "--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n", 2001, 400},
        {"/files", MULTI, "preamble", 9000, 400},
        {"/files", MULTI, "preamble", 11000, 413},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        memset(value, 'v', sizeof value);
        memcpy(value, cases[i].before, strlen(cases[i].before));
        value[strlen(cases[i].before) + cases[i].len] = 0;
        AUTO_REPLY reply = post(cases[i].path, "", cases[i].type, value);
        if (reply.status != cases[i].status)
            fail_msg("case %zu: %d %s", i, reply.status, dw_buf_text(&reply.body));
        assert_false(reply.closed);
        app_checks_headers(&reply, "");
    }
}

static void a_client_that_waits_for_leave_is_refused_before_it_sends(void **state)
{
    int fd = client_connect(app.port);
    client_say(fd, "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                   "Content-Length: 5000000\r\nExpect: 100-Continue\r\n\r\n");
    AUTO_REPLY reply = client_read(fd, false);
    assert_int_equal(reply.status, 413);
    assert_string_equal(reply_header(&reply, "Connection"), "close");
    assert_true(client_sees_end(fd, 2000));
    close(fd);
    fd = client_connect(app.port);
    client_say(fd, "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                   "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    char leave[25];
    assert_int_equal(read(fd, leave, sizeof leave), 25);
    assert_memory_equal(leave, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    client_say(fd, "{}");
    AUTO_REPLY taken = client_read(fd, false);
    assert_int_equal(taken.status, 200);
    close(fd);
    AUTO_REPLY other =
        post("/json", "Expect: the-spanish-inquisition\r\n", "application/json", "{}");
    assert_int_equal(other.status, 200);
}

static void a_refused_body_is_drained_up_to_a_bound(void **state)
{
    static char chunk[1 << 20];
    int fd = client_connect(app.port);
    client_say(fd, "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                   "Content-Length: 33554432\r\n\r\n");
    for (int i = 0; i < 32; i++)
        assert_true(client_send(fd, chunk, sizeof chunk));
    AUTO_REPLY reply = client_read(fd, false);
    assert_int_equal(reply.status, 413);
    client_say(fd, "GET /page HTTP/1.1\r\nHost: test\r\n\r\n");
    AUTO_REPLY next = client_read(fd, false);
    assert_int_equal(next.status, 200);
    close(fd);
    fd = client_connect(app.port); /* more than the bound is answered at once and cut */
    client_say(fd, "POST /json HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
                   "Content-Length: 100000000000\r\n\r\n");
    AUTO_REPLY huge = client_read(fd, false);
    assert_int_equal(huge.status, 413);
    assert_true(client_sees_end(fd, 2000));
    close(fd);
}

static void pages_of_other_sites_may_not_post(void **state)
{
    static const struct {
        const char *more;
        int status;
    } cases[] = {
        {"", 200},
        {"Origin: http://test\r\n", 200},
        {"Origin: https://test\r\n", 200},
        {"Origin: https://evil.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {"Sec-Fetch-Site: same-site\r\n", 403},
        {"Sec-Fetch-Site: same-origin\r\nOrigin: http://test\r\n", 200},
        {"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", 400},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        AUTO_REPLY reply = post("/form", cases[i].more, PAIRS, "a=1");
        if (reply.status != cases[i].status)
            fail_msg("%s: %d", cases[i].more, reply.status);
    }
    AUTO_REPLY elsewhere =
        post("/json", "Origin: https://evil.example\r\n", "application/json", "{}");
    assert_int_equal(elsewhere.status, 200); /* where the route does not ask */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_two_programs_read_differently_ends_the_connection),
        cmocka_unit_test(a_nul_cannot_hide_anything),
        cmocka_unit_test(a_sound_head_is_sound_in_any_pieces),
        cmocka_unit_test(heads_of_every_size_are_answered),
        cmocka_unit_test(bodies_are_taken_or_refused),
        cmocka_unit_test(a_body_where_none_belongs_is_refused),
        cmocka_unit_test(limits_of_a_body_have_their_statuses),
        cmocka_unit_test(a_client_that_waits_for_leave_is_refused_before_it_sends),
        cmocka_unit_test(a_refused_body_is_drained_up_to_a_bound),
        cmocka_unit_test(pages_of_other_sites_may_not_post),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
