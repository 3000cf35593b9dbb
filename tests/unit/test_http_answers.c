/* What a client gets: each kind of answer with its headers, each refusal with its status. */
#include "http_app.h"
#include "http_client.h"

#include "dw/process.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\nHost: test\r\n\r\n"

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

static void each_kind_of_answer_has_its_type_and_headers(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *type, *body, *policy;
    } cases[] = {
        {GET("/page"), 200, "text/html; charset=utf-8", "<p>hello", "form-action 'self'"},
        {HEAD("/page"), 200, "text/html; charset=utf-8", "", "style-src 'self'"},
        {GET("/file"), 200, "application/pdf", NULL, "sandbox"},
        {GET("/no-content"), 204, "", "", ""},
        {GET("/moved"), 303, "", "", ""},
        {GET("/refused"), 422, "application/problem+json", NULL, ""},
        {GET("/nowhere"), 404, "application/problem+json", NULL, ""},
        {"PUT /page HTTP/1.1\r\nHost: test\r\n\r\n", 405, "application/problem+json", NULL, ""},
        {"GET /page HTTP/1.1\r\n\r\n", 400, "application/problem+json", NULL, ""},
        {"GET /page HTTP/1.0\r\n\r\n", 200, "text/html; charset=utf-8", "<p>hello", ""},
        {"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n", 400, "application/problem+json", NULL, ""},
        {GET("/no-answer"), 500, "application/problem+json", NULL, ""},
        {GET("/too-long"), 500, "application/problem+json", NULL, ""},
        {GET("/moved-away"), 500, "application/problem+json", NULL, ""},
        {GET("/two-answers"), 200, "text/html; charset=utf-8", "<p>first", ""},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        AUTO_REPLY reply = client_ask(app.port, cases[i].request);
        if (reply.status != cases[i].status)
            fail_msg("%s gave %d", cases[i].request, reply.status);
        assert_string_equal(reply_header(&reply, "Content-Type"), cases[i].type);
        assert_string_equal(reply_header(&reply, "Cache-Control"), "no-store");
        app_checks_headers(&reply, cases[i].policy);
        if (cases[i].body)
            assert_string_equal(dw_buf_text(&reply.body), cases[i].body);
    }
}

static void head_tells_the_length_and_nothing_else(void **state)
{
    AUTO_REPLY get = client_ask(app.port, GET("/page"));
    AUTO_REPLY head = client_ask(app.port, HEAD("/page"));
    char length[32];
    snprintf(length, sizeof length, "%s", reply_header(&get, "Content-Length"));
    assert_string_equal(length, "8");
    assert_string_equal(reply_header(&head, "Content-Length"), length);
    assert_false(head.closed);
}

static void a_file_is_named_twice(void **state)
{
    AUTO_REPLY reply = client_ask(app.port, GET("/file"));
    assert_string_equal(reply_header(&reply, "Content-Disposition"),
                        "attachment; filename=\"__ _1__x.pdf\"; "
                        "filename*=UTF-8''%E8%AF%81%E6%8D%AE%20%221%22_x.pdf");
    assert_int_equal(reply.body.len, 3);
    assert_memory_equal(reply.body.data, "\0\1\2", 3);
}

static void a_route_sets_headers_and_injects_none(void **state)
{
    AUTO_REPLY reply = client_ask(app.port, GET("/style"));
    app_checks_headers(&reply, "");
    assert_string_equal(reply_header(&reply, "Content-Type"), "text/css");
    assert_string_equal(reply_header(&reply, "Cache-Control"), "max-age=60");
    assert_string_equal(reply_header(&reply, "Set-Cookie"), "a=1");
    assert_string_equal(reply_header(&reply, "X-Test"), "two");
    assert_string_equal(reply_header(&reply, "X-Bad"), "");
    assert_string_equal(reply_header(&reply, "X-Injected"), "");
    AUTO_REPLY moved = client_ask(app.port, GET("/moved"));
    assert_string_equal(reply_header(&moved, "Location"), "/page?lang=en");
}

static void check_problem(const char *request, const char *text)
{
    AUTO_REPLY reply = client_ask(app.port, request);
    json_t *got = json_loads(dw_buf_text(&reply.body), 0, NULL);
    json_t *want = json_loads(text, 0, NULL);
    assert_non_null(want);
    if (!json_equal(got, want))
        fail_msg("%s", dw_buf_text(&reply.body));
    json_decref(got);
    json_decref(want);
}

static void problems_are_as_the_standard_says(void **state)
{
    check_problem(GET("/refused"),
                  "{\"type\": \"about:blank\", \"title\": \"Unprocessable Content\","
                  " \"status\": 422, \"detail\": \"it is missing\", \"field\": \"against.name\"}");
    check_problem(GET("/several"),
                  "{\"type\": \"about:blank\", \"title\": \"Unprocessable Content\","
                  " \"status\": 422, \"detail\": \"two things are wrong\","
                  " \"errors\": [{\"field\": \"a\", \"detail\": \"b\"}]}");
    check_problem(GET("/nowhere"),
                  "{\"type\": \"about:blank\", \"title\": \"Not Found\", \"status\": 404,"
                  " \"detail\": \"there is nothing at this address\"}");
}

static void other_methods_are_told_which_there_are(void **state)
{
    AUTO_REPLY reply = client_ask(app.port, "DELETE /hold HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply_header(&reply, "Allow"), "GET, HEAD, POST");
    AUTO_REPLY options = client_ask(app.port, "OPTIONS /page HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_int_equal(options.status, 405);
}

static void addresses_are_decoded_for_the_route(void **state)
{
    AUTO_REPLY reply =
        client_ask(app.port, "GET /items/%E7%94%B2/parts/a%20b?x=1&q=%26+1 HTTP/1.1\r\n"
                             "Host: test\r\nUser-Agent:  me \r\n\r\n");
    assert_string_equal(dw_buf_text(&reply.body),
                        "{\"method\":\"GET\",\"id\":\"甲\",\"n\":\"a b\",\"q\":\"& 1\","
                        "\"agent\":\"me\"}\n");
    AUTO_REPLY slash = client_ask(app.port, GET("/items/a%2fb/parts/1"));
    assert_int_equal(slash.status, 400);
    AUTO_REPLY zero = client_ask(app.port, GET("/items/a%00b/parts/1"));
    assert_int_equal(zero.status, 400);
}

static void connections_stay_open_unless_told(void **state)
{
    int fd = client_connect(app.port);
    for (int i = 0; i < 3; i++) {
        client_say(fd, i == 1 ? GET("/nowhere") : GET("/page"));
        AUTO_REPLY reply = client_read(fd, false);
        assert_int_equal(reply.status, i == 1 ? 404 : 200);
        assert_string_not_equal(reply_header(&reply, "Connection"), "close");
    }
    client_say(fd, "GET /page HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    AUTO_REPLY last = client_read(fd, false);
    assert_int_equal(last.status, 200);
    assert_true(client_sees_end(fd, 2000));
    close(fd);
}

static void requests_sent_at_once_are_answered_in_order(void **state)
{
    int fd = client_connect(app.port);
    client_say(fd, GET("/page") GET("/nowhere") HEAD("/page") GET("/style"));
    static const int wanted[] = {200, 404, 200, 200};
    for (size_t i = 0; i < DW_COUNT(wanted); i++) {
        AUTO_REPLY reply = client_read(fd, i == 2);
        assert_int_equal(reply.status, wanted[i]);
    }
    close(fd);
}

static void a_rate_is_per_address_and_says_when_to_come_back(void **state)
{
    for (int i = 0; i < 3; i++) {
        AUTO_REPLY reply = client_ask(app.port, GET("/three"));
        assert_int_equal(reply.status, 200);
    }
    AUTO_REPLY reply = client_ask(app.port, GET("/three"));
    assert_int_equal(reply.status, 429);
    app_checks_headers(&reply, "");
    assert_true(atoi(reply_header(&reply, "Retry-After")) > 90);
    assert_true(atoi(reply_header(&reply, "Retry-After")) <= 100);
    AUTO_REPLY forged = client_ask(
        app.port, "GET /three HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n");
    assert_int_equal(forged.status, 429);
    AUTO_REPLY post =
        client_ask(app.port, "POST /three HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n"
                             "Content-Type: application/json\r\n\r\n{}");
    assert_int_equal(post.status, 429);
    assert_false(post.closed);
    AUTO_REPLY other = client_ask(app.port, GET("/page"));
    assert_int_equal(other.status, 200);
    assert_true(*dw_metric_named("test_rate_limited_total") >= 3);
}

static void behind_a_proxy_each_client_has_its_own_rate(void **state)
{
    char *proxies[] = {(char *)"127.0.0.1"};
    struct dw_http_limits limits = app_limits();
    limits.trusted_proxies = (struct dw_texts){proxies, 1};
    limits.keep_alive = false;
    app_stop();
    app_start(limits);
    for (int i = 0; i < 8; i++) {
        char request[200];
        snprintf(request, sizeof request,
                 "GET /three HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 9.9.9.9, 1.2.3.%d\r\n\r\n",
                 i % 2);
        AUTO_REPLY reply = client_ask(app.port, request);
        assert_int_equal(reply.status, i < 6 ? 200 : 429);
        assert_string_equal(reply_header(&reply, "Connection"), "close");
        assert_true(reply.closed);
    }
    AUTO_REPLY refusal = client_ask(app.port, GET("/nowhere"));
    assert_string_equal(reply_header(&refusal, "Connection"), "close");
    assert_true(refusal.closed);
}

static void wrong_settings_are_refused_at_the_start(void **state)
{
    static const char *const bad[] = {
        "",        "x",           "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "localhost:80",
        "[::1:80", "127.0.0.1:8x"};
    struct dw_http *http = NULL;
    struct dw_error err;
    for (size_t i = 0; i < DW_COUNT(bad); i++) {
        struct dw_http_limits limits = app_limits();
        limits.listen = (char *)bad[i];
        assert_int_equal(dw_http_start(&limits, 64, NULL, 0, NULL, "test", &http, &err),
                         DW_INVALID);
        assert_string_equal(err.field, "listen");
    }
    struct dw_http_limits limits = app_limits();
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", app.port);
    limits.listen = taken;
    assert_int_equal(dw_http_start(&limits, 64, NULL, 0, NULL, "test", &http, &err), DW_INVALID);
    char *proxies[] = {(char *)"nonsense"};
    limits = app_limits();
    limits.trusted_proxies = (struct dw_texts){proxies, 1};
    assert_int_equal(dw_http_start(&limits, 64, NULL, 0, NULL, "test", &http, &err), DW_INVALID);
    assert_string_equal(err.field, "trusted_proxies");
    limits = app_limits();
    limits.listen = (char *)"[::1]:0";
    if (dw_http_start(&limits, 64, NULL, 0, NULL, "test", &http, &err) == DW_OK)
        dw_http_stop(http, 0); /* a machine may have no IPv6 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_answer_has_its_type_and_headers),
        cmocka_unit_test(head_tells_the_length_and_nothing_else),
        cmocka_unit_test(a_file_is_named_twice),
        cmocka_unit_test(a_route_sets_headers_and_injects_none),
        cmocka_unit_test(problems_are_as_the_standard_says),
        cmocka_unit_test(other_methods_are_told_which_there_are),
        cmocka_unit_test(addresses_are_decoded_for_the_route),
        cmocka_unit_test(connections_stay_open_unless_told),
        cmocka_unit_test(requests_sent_at_once_are_answered_in_order),
        cmocka_unit_test(a_rate_is_per_address_and_says_when_to_come_back),
        cmocka_unit_test(behind_a_proxy_each_client_has_its_own_rate),
        cmocka_unit_test(wrong_settings_are_refused_at_the_start),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
