/* What a request says at its head, and where it leads. */
#include "http_private.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* ---- head.c ---- */

enum { LINES_MAX = 40 };

struct parsed {
    struct dw_http_head head;
    struct dw_http_head_line lines[LINES_MAX];
    char text[32768];
};

/* As libmicrohttpd does it: in place, each line's end zeroed, each value after its blanks. */
static void parse(struct parsed *p, const char *text)
{
    memset(p, 0, sizeof *p);
    struct dw_http_head *head = &p->head;
    memcpy(p->text, text, strlen(text));
    head->lines = p->lines;
    head->bytes = strlen(text);
    char *at = p->text, *end;
    head->method = at;
    at = strchr(at, ' ');
    *at++ = 0;
    head->uri = head->uri_at = at;
    at = strchr(at, ' ');
    *at++ = 0;
    head->version = at;
    while ((end = strchr(at, '\n'))) {
        bool crlf = end > at && end[-1] == '\r';
        end[crlf ? -1 : 0] = 0;
        end[0] = 0;
        if (at != head->version && *at && head->count < LINES_MAX) {
            char *colon = strchr(at, ':');
            *colon = 0;
            char *value = colon + 1 + strspn(colon + 1, " \t");
            p->lines[head->count++] =
                (struct dw_http_head_line){at, value, (size_t)(colon - at), strlen(value)};
        }
        at = end + 1;
    }
}

static int check(const char *text)
{
    static struct parsed p;
    struct dw_http_head_problem problem;
    parse(&p, text);
    return dw_http_head_check(&p.head, 30, &problem);
}

static void a_sound_head_is_let_through(void **state)
{
    static struct parsed p;
    struct dw_http_head_problem problem;
    DW_AUTO_ARENA memory = {0};
    dw_arena_init(&memory, 65536);
    parse(&p, "POST /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nX:\r\nContent-Length:  \t12\r\n"
              "Content-Type:application/json \r\nX: two\r\n\r\n");
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 0);
    assert_true(dw_http_head_keep(&p.head, &memory));
    memset(p.text, 'x', sizeof p.text);
    assert_int_equal(dw_http_head_length(&p.head), 12);
    assert_string_equal(dw_http_head_value(&p.head, "content-type"), "application/json");
    assert_string_equal(dw_http_head_value(&p.head, "X"), "");
    assert_string_equal(p.head.method, "POST");
    assert_null(dw_http_head_value(&p.head, "Host2"));
    assert_int_equal(check("GET / HTTP/1.0\r\n\r\n"), 0);
}

static void a_head_that_can_be_read_in_two_ways_is_not(void **state)
{
    static const char *const bad[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000000\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: a\r\nidempotency-key: b\r\n\r\n",
    };
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        if (check(bad[i]) != 400)
            fail_msg("let through: %s", bad[i]);
}

static void what_was_cut_or_folded_leaves_a_gap(void **state)
{
    static struct parsed p;
    struct dw_http_head_problem problem;
    static const char text[] = "POST /a HTTP/1.1\r\nHost: a\r\nX: one\r\nY: two\r\n\r\n";
    parse(&p, text);
    p.lines[1].value_len = 1; /* a NUL was in it */
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 400);
    parse(&p, text);
    p.lines[1].name = "X"; /* it lies elsewhere: put together from two */
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 400);
    parse(&p, text);
    p.lines[1] = p.lines[2]; /* one is not told of */
    p.head.count = 2;
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 400);
    parse(&p, text);
    p.head.uri = "/"; /* a NUL was in it */
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 400);
    parse(&p, text);
    p.head.bytes++;
    assert_int_equal(dw_http_head_check(&p.head, 30, &problem), 400);
}

static void a_long_head_is_refused_by_its_own_status(void **state)
{
    DW_AUTO_BUF text = {0};
    dw_buf_init(&text, 32000);
    dw_buf_str(&text, "GET /");
    while (text.len < DW_URI_MAX + 5)
        dw_buf_u8(&text, 'a');
    dw_buf_str(&text, " HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(check(dw_buf_text(&text)), 414);
    dw_buf_clear(&text);
    dw_buf_str(&text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    while (text.len < DW_HEAD_MAX)
        dw_buf_u8(&text, 'a');
    dw_buf_str(&text, "\r\n\r\n");
    assert_int_equal(check(dw_buf_text(&text)), 431);
    dw_buf_clear(&text);
    dw_buf_str(&text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 30; i++)
        dw_buf_printf(&text, "X%d: a\r\n", i);
    dw_buf_str(&text, "\r\n");
    assert_int_equal(check(dw_buf_text(&text)), 431);
}

/* ---- target.c ---- */

static void addresses_are_cut_before_they_are_decoded(void **state)
{
    static const struct {
        const char *uri, *read; /* NULL: refused */
    } cases[] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/b/", "/a/b/"},
        {"//", "//"},
        {"/%61%20b+c", "/a b+c"},
        {"/%E7%94%B2", "/甲"},
        {"/a?x=1&y=%26+%3D&z", "/a x=1 y=& = z="},
        {"/a?", "/a"},
        {"/a?&&x=a=b", "/a x=a=b"},
        {"/a%2fb", NULL},
        {"/a%00b", NULL},
        {"/a%0ab", NULL},
        {"/a%", NULL},
        {"/a%4", NULL},
        {"/a%4g", NULL},
        {"/a%ff", NULL},
        {"/a?x=%00", NULL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", NULL},
        {"", NULL},
        {"a", NULL},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        DW_AUTO_ARENA memory = {0};
        DW_AUTO_BUF read = {0};
        struct dw_http_target target;
        dw_arena_init(&memory, 65536);
        dw_buf_init(&read, 1000);
        bool good = dw_http_target_parse(cases[i].uri, &memory, &target);
        assert_int_equal(good, cases[i].read != NULL);
        if (!good)
            continue;
        for (size_t k = 0; k < target.count; k++)
            dw_buf_printf(&read, "/%s", target.segments[k]);
        for (size_t k = 0; k < target.pairs; k++)
            dw_buf_printf(&read, " %s=%s", target.names[k], target.values[k]);
        assert_string_equal(dw_buf_text(&read), cases[i].read);
    }
}

static void a_route_is_found_by_path_and_method(void **state)
{
    static const struct dw_http_route routes[] = {
        {"GET", "/", .handle = NULL},
        {"GET", "/cases/:ref/files/:id", .handle = NULL},
        {"POST", "/cases/:ref", .handle = NULL},
        {"GET", "/cases/:ref", .handle = NULL},
    };
    static const struct {
        const char *method, *uri;
        int route;
        const char *first, *second, *allow;
    } cases[] = {
        {"GET", "/", 0, NULL, NULL, ""},
        {"HEAD", "/", 0, NULL, NULL, ""},
        {"GET", "/cases/r/files/%41", 1, "r", "A", ""},
        {"POST", "/cases/x", 2, "x", NULL, ""},
        {"GET", "/cases/x", 3, "x", NULL, NULL},
        {"PUT", "/cases/x", -1, NULL, NULL, "POST, GET, HEAD"},
        {"get", "/", -1, NULL, NULL, "GET, HEAD"},
        {"GET", "/cases", -1, NULL, NULL, ""},
        {"GET", "/cases/", -1, NULL, NULL, ""},
        {"GET", "/cases/x/", -1, NULL, NULL, ""},
        {"GET", "/cases/x/files", -1, NULL, NULL, ""},
        {"GET", "/cases/x/files/y/z", -1, NULL, NULL, ""},
        {"GET", "/CASES/x", -1, NULL, NULL, ""},
        {"GET", "//", -1, NULL, NULL, ""},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        DW_AUTO_ARENA memory = {0};
        struct dw_http_target target;
        const char *params[DW_PARAMS_MAX] = {NULL};
        char allow[64];
        dw_arena_init(&memory, 65536);
        assert_true(dw_http_target_parse(cases[i].uri, &memory, &target));
        const struct dw_http_route *found =
            dw_http_target_find(&target, cases[i].method, routes, DW_COUNT(routes), params, allow);
        if (cases[i].route < 0) {
            assert_null(found);
            assert_string_equal(allow, cases[i].allow);
            continue;
        }
        assert_ptr_equal(found, &routes[cases[i].route]);
        for (int k = 0; k < 2; k++) {
            const char *want = k ? cases[i].second : cases[i].first;
            assert_int_equal(params[k] != NULL, want != NULL);
            if (want)
                assert_string_equal(params[k], want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_head_is_let_through),
        cmocka_unit_test(a_head_that_can_be_read_in_two_ways_is_not),
        cmocka_unit_test(what_was_cut_or_folded_leaves_a_gap),
        cmocka_unit_test(a_long_head_is_refused_by_its_own_status),
        cmocka_unit_test(addresses_are_cut_before_they_are_decoded),
        cmocka_unit_test(a_route_is_found_by_path_and_method),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
