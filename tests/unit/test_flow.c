/* Bytes counted below libzmq, on real sockets: this program has the same accept, recv and send. */
#include "unit.h"

#include "flow.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MESSAGE = 100000, UNREAD = 50000, BATCH = 1024 * 1024, CONNECTIONS = 8 };

struct fixture {
    char *folder;
    struct sockaddr_un at;
    int door, mine, theirs;
    int endless[4];
    size_t count;
};

static void connect_once(struct fixture *f)
{
    f->theirs = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(f->theirs, (struct sockaddr *)&f->at, sizeof f->at), 0);
    f->mine = accept(f->door, NULL, NULL);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->folder = make_folder();
    f->at.sun_family = AF_UNIX;
    snprintf(f->at.sun_path, sizeof f->at.sun_path, "%.80s/door", f->folder);
    f->door = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(f->door, (struct sockaddr *)&f->at, sizeof f->at), 0);
    assert_int_equal(listen(f->door, 1000), 0);
    dw_flow_open(CONNECTIONS, MESSAGE, UNREAD);
    connect_once(f);
    assert_true(f->mine >= 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->mine);
    close(f->theirs);
    close(f->door);
    dw_flow_close();
    rm_folder(f->folder);
    free(f);
    return 0;
}

/* They say so many bytes, and we read them. */
static void come_in(struct fixture *f, size_t bytes)
{
    static char data[10000];
    while (bytes) {
        ssize_t n = write(f->theirs, data, bytes < sizeof data ? bytes : sizeof data);
        assert_true(n > 0);
        bytes -= (size_t)n;
        for (ssize_t got = 0; got < n;)
            got += recv(f->mine, data, sizeof data, 0);
    }
}

static bool alarmed(void)
{
    struct pollfd p = {.fd = dw_flow_fd(), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void note(void *arg, int fd)
{
    struct fixture *f = arg;
    f->endless[f->count++] = fd;
}

TEST(a_message_of_the_full_size_is_none_without_end)
{
    struct fixture *f = *state;
    int64_t before = dw_flow_seen();
    come_in(f, MESSAGE);
    assert_int_equal(dw_flow_seen() - before, MESSAGE);
    assert_false(alarmed());
}

TEST(who_brings_more_without_a_message_is_named_once)
{
    struct fixture *f = *state;
    come_in(f, MESSAGE + BATCH + 1);
    assert_true(alarmed());
    dw_flow_begin();
    assert_true(dw_flow_begun());
    assert_false(alarmed());
    dw_flow_end(note, f);
    assert_false(dw_flow_begun());
    assert_int_equal(f->count, 1);
    assert_int_equal(f->endless[0], f->mine);
    dw_flow_begin();
    dw_flow_end(note, f);
    assert_int_equal(f->count, 1);
}

TEST(who_had_a_message_to_be_read_is_not)
{
    struct fixture *f = *state;
    come_in(f, MESSAGE + BATCH + 1); /* many whole ones, and we were slow */
    dw_flow_begin();
    dw_flow_delivered(f->mine);
    dw_flow_end(note, f);
    assert_int_equal(f->count, 0);
    for (int i = 0; i < 20; i++) {
        come_in(f, MESSAGE);
        dw_flow_delivered(f->mine);
    }
    assert_false(alarmed());
}

TEST(what_comes_after_the_beginning_counts_next_time)
{
    struct fixture *f = *state;
    come_in(f, MESSAGE);
    dw_flow_begin();
    come_in(f, BATCH + 1);
    dw_flow_end(note, f);
    assert_int_equal(f->count, 0);
    dw_flow_begin();
    dw_flow_end(note, f);
    assert_int_equal(f->count, 1);
}

TEST(a_descriptor_that_is_used_again_is_another_connection)
{
    struct fixture *f = *state;
    uint64_t first = dw_flow_connection(f->mine);
    int before = f->mine;
    come_in(f, MESSAGE + BATCH + 1);
    assert_false(dw_flow_queued(f->mine, 2 * MESSAGE + UNREAD + 1));
    close(f->theirs);
    close(f->mine);
    connect_once(f); /* the lowest two that are free, in some order */
    assert_true(f->mine == before || f->theirs == before);
    assert_true(first && dw_flow_connection(f->mine) && dw_flow_connection(f->mine) != first);
    dw_flow_begin();
    dw_flow_end(note, f);
    assert_true(f->count == 0 || f->endless[0] != f->mine);
    assert_true(dw_flow_queued(f->mine, 2 * MESSAGE + UNREAD));
    assert_int_equal(dw_flow_connection(-1), 0);
    assert_int_equal(dw_flow_connection(f->door), 0);
}

TEST(too_much_waits_for_who_does_not_read)
{
    struct fixture *f = *state;
    char data[1000] = "";
    assert_true(dw_flow_queued(f->mine, UNREAD));
    assert_true(dw_flow_queued(f->mine, 2 * MESSAGE));
    assert_false(dw_flow_queued(f->mine, 1));
    for (int i = 0; i < 10; i++) /* and when it reads, others may follow */
        assert_int_equal(send(f->mine, data, sizeof data, 0), sizeof data);
    assert_true(dw_flow_queued(f->mine, 9998));
    assert_false(dw_flow_queued(f->mine, 2));
}

TEST(one_connection_too_many_ends_at_once)
{
    struct fixture *f = *state;
    int ends[400], count = 0, last = f->mine;
    while (last >= 0 && count < 400) {
        connect_once(f);
        last = f->mine;
        ends[count++] = f->theirs;
        if (last >= 0)
            ends[count++] = last;
    }
    assert_int_equal(errno, ECONNABORTED);
    char one;
    assert_int_equal(read(f->theirs, &one, 1), 0);
    assert_true(count >= CONNECTIONS);
    for (int i = 0; i < count; i++)
        close(ends[i]);
    connect_once(f);
    assert_true(f->mine >= 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_message_of_the_full_size_is_none_without_end),
    T(who_brings_more_without_a_message_is_named_once), T(who_had_a_message_to_be_read_is_not),
    T(what_comes_after_the_beginning_counts_next_time),
    T(a_descriptor_that_is_used_again_is_another_connection),
    T(too_much_waits_for_who_does_not_read), T(one_connection_too_many_ends_at_once))
