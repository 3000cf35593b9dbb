/* Many, slow and vanishing clients, and a server that stops under them. */
#include "http_app.h"
#include "http_client.h"

#include "dw/clock.h"
#include "dw/process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"
#define POST(path, length)                                                                         \
    "POST " path " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"                   \
    "Content-Length: " length "\r\n\r\n"

static void check_alive(void)
{
    AUTO_REPLY reply = client_ask(app.port, GET("/page"));
    assert_int_equal(reply.status, 200);
}

static bool metric_becomes(const char *name, int64_t value)
{
    int64_t until = dw_monotonic_ms() + 60000;
    while (*dw_metric_named(name) != value && dw_monotonic_ms() < until)
        usleep(2000);
    return *dw_metric_named(name) == value;
}

/* ---- slow ones ---- */

struct slow {
    const char *name;
    const char *first;      /* sent at once */
    size_t len;             /* then so many bytes */
    int every_ms;           /* again and again */
    int64_t from_ms, to_ms; /* when it should be cut */
    int64_t cut_ms;         /* when it was */
};

static bool is_open(int fd, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 0;
}

static void *be_slow(void *arg)
{
    static char bytes[4096];
    struct slow *slow = arg;
    int64_t start = dw_monotonic_ms();
    int fd = client_connect(app.port);
    bool open = client_say(fd, slow->first);
    while (open && dw_monotonic_ms() - start < 30000)
        open = is_open(fd, slow->every_ms) && client_send(fd, bytes, slow->len);
    slow->cut_ms = dw_monotonic_ms() - start;
    close(fd);
    return NULL;
}

/* Slow on the average only if our own pause is held against it. */
static void *be_paused(void *arg)
{
    static char bytes[3000];
    int *status = arg;
    int fd = client_connect(app.port);
    client_say(fd, "POST /files HTTP/1.1\r\nHost: test\r\nContent-Length: 5320\r\n"
                   "Content-Type: multipart/form-data; boundary=XX\r\n\r\n"
                   "--XX\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n");
    client_send(fd, bytes, 3000);
    usleep(9500000);
    app.stuck = false;
    for (int i = 0; i < 15; i++) {
        usleep(100000);
        client_send(fd, bytes, 150);
    }
    client_say(fd, "\r\n--XX--\r\n");
    AUTO_REPLY reply = client_read(fd, false);
    *status = reply.status;
    close(fd);
    return NULL;
}

/* All at the same time: 2 s for a head or silence, 13 s in all, 1000 bytes a second after 10 s. */
static void each_way_of_being_slow_ends_in_time(void **state)
{
    static struct slow all[] = {
        {"says nothing", "", 0, 100, 1900, 7000},
        {"says little of a head", "GET", 0, 100, 1900, 7000},
        {"address byte by byte", "GET /", 1, 100, 1900, 7000},
        {"head byte by byte", "GET / HTTP/1.1\r\nX: ", 1, 100, 1900, 7000},
        {"body stops", POST("/json", "100"), 0, 100, 1900, 7000},
        {"body byte by byte", POST("/json", "9000"), 1, 100, 9900, 15000},
        {"refused body byte by byte", POST("/nowhere", "50000000"), 1, 100, 9900, 15000},
        {"body without end", POST("/json", "60000000"), 4096, 100, 12900, 18000},
    };
    pthread_t threads[DW_COUNT(all)], paused;
    int status = 0;
    struct dw_http_limits limits = app_limits();
    limits.idle_seconds = 2;
    limits.total_seconds = 13;
    limits.min_bytes_per_second = 1000;
    app_start(limits);
    app.window = 1000;
    app.stuck = true;
    pthread_create(&paused, NULL, be_paused, &status);
    for (size_t i = 0; i < DW_COUNT(all); i++)
        pthread_create(&threads[i], NULL, be_slow, &all[i]);
    for (size_t i = 0; i < DW_COUNT(all); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < DW_COUNT(all); i++)
        if (all[i].cut_ms < all[i].from_ms || all[i].cut_ms > all[i].to_ms)
            fail_msg("%s: cut after %lld ms", all[i].name, (long long)all[i].cut_ms);
    pthread_join(paused, NULL);
    assert_int_equal(status, 200);
    check_alive();
    app_stop();
}

static void who_does_not_read_is_cut(void **state)
{
    struct dw_http_limits limits = app_limits();
    limits.idle_seconds = 1;
    app_start(limits);
    int fd = client_connect(app.port);
    client_say(fd, GET("/big"));
    assert_true(metric_becomes("test_connections", 1));
    assert_true(metric_becomes("test_connections", 0));
    close(fd);
    check_alive();
    app_stop();
}

/* ---- many ---- */

static void ask_all(const int *fds, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(client_say(fds[i], GET("/page")));
    for (int i = 0; i < count; i++) {
        AUTO_REPLY reply = client_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        assert_string_equal(dw_buf_text(&reply.body), "<p>hello");
    }
}

static void many_connections_are_all_answered_quickly(void **state)
{
    static const int counts[] = {127, 128, 129, 256, 300};
    app_start(app_limits());
    for (size_t c = 0; c < DW_COUNT(counts); c++) {
        int fds[300];
        for (int i = 0; i < counts[c]; i++)
            fds[i] = client_connect(app.port);
        int64_t start = dw_monotonic_ms();
        for (int round = 0; round < 5; round++)
            ask_all(fds, counts[c]);
        int64_t took = dw_monotonic_ms() - start;
        print_message("%d connections, 5 requests each: %lld ms\n", counts[c], (long long)took);
        assert_true(took < 5000);
        for (int i = 0; i < counts[c]; i++)
            close(fds[i]);
        assert_true(metric_becomes("test_connections", 0));
    }
    app_stop();
}

static void one_connection_too_many_waits_its_turn(void **state)
{
    struct dw_http_limits limits = app_limits();
    limits.connections = 3;
    app_start(limits);
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(app.port);
        client_say(fds[i], GET("/page"));
    }
    for (int i = 0; i < 3; i++) {
        AUTO_REPLY reply = client_read(fds[i], false);
        assert_int_equal(reply.status, 200);
    }
    assert_true(is_open(fds[3], 200));
    close(fds[0]);
    AUTO_REPLY reply = client_read(fds[3], false);
    assert_int_equal(reply.status, 200);
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    app_stop();
}

static void more_requests_than_threads_wait_for_one(void **state)
{
    int fds[50];
    app_start(app_limits());
    app.held = true;
    for (size_t i = 0; i < DW_COUNT(fds); i++) {
        fds[i] = client_connect(app.port);
        client_say(fds[i], GET("/hold"));
    }
    assert_true(app_waits_for(&app.holding, 4));
    assert_true(metric_becomes("test_in_work", DW_COUNT(fds)));
    AUTO_REPLY refusal = client_ask(app.port, GET("/nowhere")); /* needs none of the threads */
    assert_int_equal(refusal.status, 404);
    app.held = false;
    for (size_t i = 0; i < DW_COUNT(fds); i++) {
        AUTO_REPLY reply = client_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        close(fds[i]);
    }
    assert_true(metric_becomes("test_in_work", 0));
    app_stop();
}

/* ---- gone ---- */

static void hang_up(int fd, bool rudely)
{
    struct linger now = {.l_onoff = 1};
    if (rudely)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void a_client_may_leave_at_any_moment(void **state)
{
    static const char *const moments[] = {
        "",
        "GE",
        "GET /page",
        GET("/hold"),
        GET("/hold") GET("/hold"),
        POST("/hold", "2") "{}",
        POST("/json", "2"),
        POST("/json", "2") "{",
        GET("/big"),
        GET("/page"),
        GET("/nowhere"),
        "GET /page HTTP/1.1\r\n\r\n",
        POST("/nowhere", "5000") "x",
    };
    app_start(app_limits());
    for (int round = 0; round < 6; round++) {
        app.held = true;
        for (size_t i = 0; i < DW_COUNT(moments); i++) {
            int fd = client_connect(app.port);
            client_say(fd, moments[i]);
            if (round >= 2)
                usleep(3000); /* long enough to be in the pool */
            hang_up(fd, round % 2);
        }
        if (round >= 4)
            usleep(50000);
        app.held = false;
        assert_true(metric_becomes("test_connections", 0));
        assert_true(metric_becomes("test_in_work", 0));
        check_alive();
    }
    app_stop();
}

/* ---- stop ---- */

static void *release_later(void *arg)
{
    usleep(300000);
    app.held = false;
    return NULL;
}

static void a_stop_waits_for_requests_in_work(void **state)
{
    pthread_t thread;
    int fds[6];
    app_start(app_limits());
    app.held = true;
    int idle = client_connect(app.port), half = client_connect(app.port);
    client_say(half, POST("/json", "2") "{");
    for (size_t i = 0; i < DW_COUNT(fds); i++) { /* four at work, two waiting */
        fds[i] = client_connect(app.port);
        client_say(fds[i], GET("/hold"));
    }
    assert_true(app_waits_for(&app.holding, 4));
    assert_true(metric_becomes("test_in_work", 6));
    pthread_create(&thread, NULL, release_later, NULL);
    int64_t start = dw_monotonic_ms();
    app_stop();
    int64_t took = dw_monotonic_ms() - start;
    assert_true(took >= 250 && took < 8000);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < DW_COUNT(fds); i++) {
        AUTO_REPLY reply = client_read(fds[i], false);
        assert_int_equal(reply.status, 200);
        assert_true(client_sees_end(fds[i], 1000));
        close(fds[i]);
    }
    assert_true(client_sees_end(idle, 1000));
    assert_true(client_sees_end(half, 1000));
    close(idle);
    close(half);
}

static void *ask_while_it_stops(void *arg)
{
    int *statuses = arg;
    usleep(100000);
    client_say(statuses[0], GET("/page"));
    AUTO_REPLY reply = client_read(statuses[0], false);
    statuses[1] = reply.status;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)app.port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    statuses[2] = connect(fd, (struct sockaddr *)&at, sizeof at);
    close(fd);
    return NULL;
}

/* The routes end when the clients have been cut, however long that took. */
static void *release_when_cut(void *arg)
{
    client_sees_end(*(int *)arg, 30000);
    app.held = false;
    return NULL;
}

static void a_stop_takes_nothing_new_and_does_not_wait_for_ever(void **state)
{
    pthread_t thread, asker;
    app_start(app_limits());
    app.held = true;
    int fds[6];
    for (size_t i = 0; i < DW_COUNT(fds); i++) { /* two more than there are threads */
        fds[i] = client_connect(app.port);
        client_say(fds[i], GET("/hold"));
    }
    assert_true(app_waits_for(&app.holding, 4));
    assert_true(metric_becomes("test_in_work", DW_COUNT(fds)));
    int statuses[3] = {client_connect(app.port)};
    usleep(50000);
    pthread_create(&thread, NULL, release_when_cut, &fds[DW_COUNT(fds) - 1]);
    pthread_create(&asker, NULL, ask_while_it_stops, statuses);
    dw_http_stop(app.http, 1500); /* the routes take longer: clients are cut, routes waited for */
    assert_int_equal(app.holding, 0);
    assert_int_equal(app.served, 4);
    pthread_join(thread, NULL);
    pthread_join(asker, NULL);
    assert_int_equal(statuses[1], 503);
    assert_int_equal(statuses[2], -1);
    for (size_t i = 0; i < DW_COUNT(fds); i++) {
        assert_true(client_sees_end(fds[i], 1000));
        close(fds[i]);
    }
    close(statuses[0]);
}

static void a_server_can_start_and_stop_again_and_again(void **state)
{
    for (int i = 0; i < 20; i++) {
        app_start(app_limits());
        int fd = client_connect(app.port);
        client_say(fd, GET("/page"));
        if (i % 2)
            usleep(1000);
        dw_http_stop(app.http, 0);
        close(fd);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_way_of_being_slow_ends_in_time),
        cmocka_unit_test(who_does_not_read_is_cut),
        cmocka_unit_test(many_connections_are_all_answered_quickly),
        cmocka_unit_test(one_connection_too_many_waits_its_turn),
        cmocka_unit_test(more_requests_than_threads_wait_for_one),
        cmocka_unit_test(a_client_may_leave_at_any_moment),
        cmocka_unit_test(a_stop_waits_for_requests_in_work),
        cmocka_unit_test(a_stop_takes_nothing_new_and_does_not_wait_for_ever),
        cmocka_unit_test(a_server_can_start_and_stop_again_and_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
