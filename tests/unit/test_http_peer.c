/* Who asks, how often, how slowly; and what both portals ask of a text. */
#include "http_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* ---- peer.c ---- */

static struct dw_http_peer peer(const char *text)
{
    struct dw_http_peer ret = {0};
    if (!dw_http_peer_parse(text, strlen(text), &ret))
        fail_msg("%s", text);
    return ret;
}

static void addresses_are_parsed(void **state)
{
    static const char *const bad[] = {"",         "x",         "1.2.3",          "1.2.3.4.5",
                                      "1.2.3.4:", "1.2.3.4:x", "[::1",           "[::1]x",
                                      "[::1]:",   "::g",       "1.2.3.4:123456", " "};
    struct dw_http_peer ret;
    for (size_t i = 0; i < DW_COUNT(bad); i++)
        assert_false(dw_http_peer_parse(bad[i], strlen(bad[i]), &ret));
    assert_memory_equal(peer("1.2.3.4").bytes, peer("1.2.3.4:80").bytes, 16);
    assert_memory_equal(peer("1.2.3.4").bytes, peer("::ffff:1.2.3.4").bytes, 16);
    assert_memory_equal(peer("2001:db8::1").bytes, peer("[2001:db8::1]:443").bytes, 16);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x01020304)};
    assert_true(dw_http_peer_of((struct sockaddr *)&v4, &ret));
    assert_memory_equal(ret.bytes, peer("1.2.3.4").bytes, 16);
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    assert_true(dw_http_peer_of((struct sockaddr *)&v6, &ret));
    assert_memory_equal(ret.bytes, peer("::1").bytes, 16);
    struct sockaddr un = {.sa_family = AF_UNIX};
    assert_false(dw_http_peer_of(&un, &ret));
}

static void only_what_trusted_proxies_add_is_believed(void **state)
{
    static const struct {
        const char *peer, *first, *second, *who;
    } cases[] = {
        {"9.9.9.9", "1.1.1.1", NULL, "9.9.9.9"},
        {"10.0.0.1", NULL, NULL, "10.0.0.1"},
        {"10.0.0.1", "1.1.1.1", NULL, "1.1.1.1"},
        {"10.0.0.1", "6.6.6.6, 1.1.1.1", NULL, "1.1.1.1"},
        {"10.0.0.1", "6.6.6.6,1.1.1.1 ,\t10.0.0.2", NULL, "1.1.1.1"},
        {"10.0.0.1", "6.6.6.6", "1.1.1.1", "1.1.1.1"},
        {"10.0.0.1", "1.1.1.1", "10.0.0.2", "1.1.1.1"},
        {"10.0.0.1", "10.0.0.2", NULL, "10.0.0.2"},
        {"10.0.0.1", "1.1.1.1, rubbish", NULL, "10.0.0.1"},
        {"10.0.0.1", "1.1.1.1, ", NULL, "10.0.0.1"},
        {"10.0.0.1", "rubbish, 1.1.1.1", NULL, "1.1.1.1"},
        {"10.0.0.1", "", NULL, "10.0.0.1"},
        {"10.0.0.1", "[2001:db8::7]:5000", NULL, "2001:db8::7"},
    };
    struct dw_http_peer trusted[] = {peer("10.0.0.1"), peer("10.0.0.2")};
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        struct dw_http_head_line lines[2];
        struct dw_http_head head = {.lines = lines};
        if (cases[i].first)
            lines[head.count++] =
                (struct dw_http_head_line){"X-Forwarded-For", cases[i].first, 15, 0};
        if (cases[i].second)
            lines[head.count++] =
                (struct dw_http_head_line){"x-forwarded-for", cases[i].second, 15, 0};
        struct dw_http_peer who = dw_http_peer_behind(peer(cases[i].peer), &head, trusted, 2);
        if (memcmp(who.bytes, peer(cases[i].who).bytes, 16) != 0)
            fail_msg("%s from %s", cases[i].first, cases[i].peer);
    }
}

static void another_site_is_told_apart(void **state)
{
    static const struct {
        const char *site, *origin, *host, *configured;
        bool same;
    } cases[] = {
        {NULL, NULL, "a", "", true},
        {"same-origin", NULL, "a", "", true},
        {"none", NULL, "a", "", true},
        {"same-site", NULL, "a", "", false},
        {"cross-site", "http://a", "a", "", false},
        {NULL, "http://a", "a", "", true},
        {NULL, "HTTPS://A:1", "a:1", "", true},
        {NULL, "http://a", "b", "", false},
        {NULL, "null", "a", "", false},
        {NULL, "a", "a", "", false},
        {NULL, "http://a", NULL, "", false},
        {NULL, "https://a", "b", "https://a", true},
        {NULL, "http://a", "a", "https://a", false},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++) {
        const char *names[] = {"Sec-Fetch-Site", "Origin", "Host"};
        const char *values[] = {cases[i].site, cases[i].origin, cases[i].host};
        struct dw_http_head_line lines[3];
        struct dw_http_head head = {.lines = lines};
        for (size_t k = 0; k < 3; k++)
            if (values[k])
                lines[head.count++] =
                    (struct dw_http_head_line){names[k], values[k], strlen(names[k]), 0};
        assert_int_equal(dw_http_same_origin(&head, cases[i].configured), cases[i].same);
    }
}

/* ---- rate.c ---- */

static const struct dw_http_rate slow = {"slow", 0.5, 3}, fast = {"fast", 10, 5};

static void a_bucket_empties_and_fills(void **state)
{
    struct dw_http_rates *rates = dw_http_rates_new(64);
    struct dw_http_peer a = peer("1.2.3.4"), b = peer("1.2.3.5");
    for (int i = 0; i < 3; i++)
        assert_int_equal(dw_http_rates_take(rates, &slow, a, 1000), 0);
    assert_int_equal(dw_http_rates_take(rates, &slow, a, 1000), 2);
    assert_int_equal(dw_http_rates_take(rates, &slow, a, 2000), 1);
    assert_int_equal(dw_http_rates_take(rates, &slow, b, 2000), 0);
    assert_int_equal(dw_http_rates_take(rates, &fast, a, 2000), 0);
    assert_int_equal(dw_http_rates_take(rates, &slow, a, 3000), 0);
    assert_int_equal(dw_http_rates_take(rates, &slow, a, 3000), 2);
    for (int i = 0; i < 3; i++) /* never more than the burst */
        assert_int_equal(dw_http_rates_take(rates, &slow, a, 1000000), 0);
    assert_int_equal(dw_http_rates_take(rates, &slow, a, 1000000), 2);
    static const struct dw_http_rate once = {"once", 0, 1};
    assert_int_equal(dw_http_rates_take(rates, &once, a, 1000000), 0);
    assert_int_equal(dw_http_rates_take(rates, &once, a, 1000000), 3600);
    dw_http_rates_free(rates);
}

static void one_network_of_ipv6_is_one_address(void **state)
{
    struct dw_http_rates *rates = dw_http_rates_new(64);
    for (int i = 0; i < 3; i++)
        assert_int_equal(dw_http_rates_take(rates, &slow, peer("2001:db8:1:2::1"), 0), 0);
    assert_int_equal(dw_http_rates_take(rates, &slow, peer("2001:db8:1:2:ffff::2"), 0), 2);
    assert_int_equal(dw_http_rates_take(rates, &slow, peer("2001:db8:1:3::1"), 0), 0);
    dw_http_rates_free(rates);
}

static void the_key_is_renewed_every_hour(void **state)
{
    struct dw_http_rates *rates = dw_http_rates_new(64);
    static const struct dw_http_rate once = {"once", 0, 1};
    assert_int_equal(dw_http_rates_take(rates, &once, peer("1.2.3.4"), 5), 0);
    assert_int_equal(dw_http_rates_take(rates, &once, peer("1.2.3.4"), 3600 * 1000 + 4), 3600);
    assert_int_equal(dw_http_rates_take(rates, &once, peer("1.2.3.4"), 3600 * 1000 + 5), 0);
    dw_http_rates_free(rates);
}

static void a_full_table_forgets_who_asked_least(void **state)
{
    struct dw_http_rates *rates = dw_http_rates_new(8); /* one set */
    char text[16];
    static const struct dw_http_rate rate = {"rate", 0.001, 10};
    for (int i = 0; i < 10; i++)
        assert_int_equal(dw_http_rates_take(rates, &rate, peer("6.6.6.6"), 0), 0);
    for (int i = 0; i < 1000; i++) { /* each asks once, and pushes another such out */
        snprintf(text, sizeof text, "1.2.%d.%d", i / 250, i % 250);
        assert_int_equal(dw_http_rates_take(rates, &rate, peer(text), 0), 0);
    }
    assert_true(dw_http_rates_take(rates, &rate, peer("6.6.6.6"), 0) > 0);
    dw_http_rates_free(rates);
}

/* ---- timers.c ---- */

static void a_connection_is_over_when_its_phase_says_so(void **state)
{
    static const struct dw_http_limits limits = {
        .idle_seconds = 5, .total_seconds = 60, .min_bytes_per_second = 100};
    static const struct {
        struct dw_http_conn conn;
        int64_t now;
        bool over;
    } cases[] = {
        {{.phase = DW_WAITING, .phase_since = 1000}, 6000, false},
        {{.phase = DW_WAITING, .phase_since = 1000}, 6001, true},
        {{.phase = DW_ARRIVING, .began = 1000}, 11000, false},
        {{.phase = DW_ARRIVING, .began = 1000}, 11001, true},
        {{.phase = DW_ARRIVING, .began = 1000, .bytes = 2000}, 21000, false},
        {{.phase = DW_ARRIVING, .began = 1000, .bytes = 1999}, 21000, true},
        {{.phase = DW_ARRIVING, .began = 1000, .bytes = 2000, .paused_ms = 5000}, 26000, false},
        {{.phase = DW_ARRIVING, .began = 0, .bytes = 1 << 20}, 60000, false},
        {{.phase = DW_ARRIVING, .began = 0, .bytes = 1 << 20}, 60001, true},
        {{.phase = DW_PAUSED, .began = 0}, 60000, false},
        {{.phase = DW_PAUSED, .began = 0}, 60001, true},
        {{.phase = DW_WORKING, .began = 0}, 1 << 30, false},
        {{.phase = DW_SENDING, .phase_since = 1000}, 61000, false},
        {{.phase = DW_SENDING, .phase_since = 1000}, 61001, true},
    };
    for (size_t i = 0; i < DW_COUNT(cases); i++)
        assert_int_equal(dw_http_conn_is_over(&cases[i].conn, &limits, cases[i].now),
                         cases[i].over);
}

/* ---- page.c ---- */

static void keys_and_html(void **state)
{
    assert_true(dw_http_is_key("0f8fad5b-d9cb-469f-a165-70867728950e"));
    assert_true(dw_http_is_key("abcdefghijklmnopqrs_-T"));
    assert_true(dw_http_is_key("1234567890123456789012345678901234567890123456789012345678901234"));
    assert_false(dw_http_is_key(NULL));
    assert_false(dw_http_is_key(""));
    assert_false(dw_http_is_key("abcdefghijklmnopqrstu"));
    assert_false(dw_http_is_key("abcdefghijklmnopqrstu="));
    assert_false(
        dw_http_is_key("12345678901234567890123456789012345678901234567890123456789012345"));
    assert_false(dw_http_is_key("abcdefghijklmnopqrstuv wx"));
    DW_AUTO_BUF out = {0};
    dw_buf_init(&out, 1000);
    dw_html_text(&out, "");
    dw_html_text(&out, "<a href=\"x\">'&' 甲</a>");
    assert_string_equal(dw_buf_text(&out),
                        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39; 甲&lt;/a&gt;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_parsed),
        cmocka_unit_test(only_what_trusted_proxies_add_is_believed),
        cmocka_unit_test(another_site_is_told_apart),
        cmocka_unit_test(a_bucket_empties_and_fills),
        cmocka_unit_test(one_network_of_ipv6_is_one_address),
        cmocka_unit_test(the_key_is_renewed_every_hour),
        cmocka_unit_test(a_full_table_forgets_who_asked_least),
        cmocka_unit_test(a_connection_is_over_when_its_phase_says_so),
        cmocka_unit_test(keys_and_html),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
