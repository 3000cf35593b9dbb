/* queue_rabbitmq.c - publishers of RabbitMQ with confirms, as fast as they are confirmed.
 *
 *   bench_rabbitmq -p PORT -q classic|quorum [-c CLIENTS] [-s SECONDS] [-b BYTES]
 *
 * Each client is a connection of its own with one persistent message on its way to the one durable
 * queue, which is made before and deleted after.  One thread waits for all, as in queue.c: what the
 * generator costs, the server does not have. */
#include "rate.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, BYTES_MAX = 65536, CHANNEL = 1, FRAME_MAX = 131072, PERSISTENT = 2,
       PATIENCE_MS = 30000 };

struct client {
    amqp_connection_state_t connection;
    int64_t asked_at; /* 0: idle */
};

static struct load {
    int port, clients;
    double seconds;
    size_t bytes;
    const char *type;
    char queue[64], body[BYTES_MAX];
    struct client all[CLIENTS_MAX];
    int64_t ended;
    long on_way, accepted, refused;
    struct rate rate;
} load;

static void check(amqp_rpc_reply_t reply, const char *what)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        rate_fail(what);
}

static amqp_connection_state_t connect_to_it(void)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(c);
    if (!socket || amqp_socket_open(socket, "127.0.0.1", load.port) != AMQP_STATUS_OK)
        rate_fail("connect");
    check(amqp_login(c, "/", 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
    amqp_channel_open(c, CHANNEL);
    check(amqp_get_rpc_reply(c), "channel");
    return c;
}

static void leave(amqp_connection_state_t c)
{
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
}

static void declare(amqp_connection_state_t c)
{
    amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-queue-type"),
                                .value = {.kind = AMQP_FIELD_KIND_UTF8,
                                          .value.bytes = amqp_cstring_bytes(load.type)}};
    amqp_table_t arguments = {.num_entries = 1, .entries = &entry};
    amqp_queue_declare(c, CHANNEL, amqp_cstring_bytes(load.queue), 0, 1, 0, 0, arguments);
    check(amqp_get_rpc_reply(c), "the queue is not made");
}

static void publish(struct client *c)
{
    static const amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                                       .delivery_mode = PERSISTENT};
    c->asked_at = rate_now_us();
    if (amqp_basic_publish(c->connection, CHANNEL, amqp_empty_bytes,
                           amqp_cstring_bytes(load.queue), 0, 0, &properties,
                           (amqp_bytes_t){.len = load.bytes, .bytes = load.body}) != AMQP_STATUS_OK)
        rate_fail("publish");
    load.on_way++;
}

static void take_answer(struct client *c, const amqp_frame_t *frame)
{
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return;
    bool good = frame->payload.method.id == AMQP_BASIC_ACK_METHOD;
    if (!c->asked_at || (!good && frame->payload.method.id != AMQP_BASIC_NACK_METHOD))
        rate_fail("neither confirmed nor refused");
    load.on_way--;
    load.accepted += good;
    load.refused += !good;
    if (good && !load.ended)
        rate_add(&load.rate, rate_now_us() - c->asked_at);
    c->asked_at = 0;
    amqp_maybe_release_buffers(c->connection);
    if (!load.ended)
        publish(c);
}

/* The library keeps what it has read beyond the first frame: that wakes nobody. */
static void serve_client(struct client *c)
{
    static const struct timeval at_once;
    amqp_frame_t frame;
    do {
        int status = amqp_simple_wait_frame_noblock(c->connection, &frame, &at_once);
        if (status == AMQP_STATUS_OK)
            take_answer(c, &frame);
        else if (status != AMQP_STATUS_TIMEOUT)
            rate_fail("no answer any more");
    } while (amqp_frames_enqueued(c->connection) || amqp_data_in_buffer(c->connection));
}

static void turn(int epoll)
{
    struct epoll_event events[CLIENTS_MAX];
    int ready = epoll_wait(epoll, events, CLIENTS_MAX, PATIENCE_MS);
    if (ready == 0)
        rate_fail("no answer any more");
    for (int i = 0; i < ready; i++)
        serve_client(events[i].data.ptr);
}

static void open_client(struct client *c, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->connection = connect_to_it();
    amqp_confirm_select(c->connection, CHANNEL);
    check(amqp_get_rpc_reply(c->connection), "confirms");
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, amqp_get_sockfd(c->connection), &event) != 0)
        rate_fail("epoll");
}

/* What is on its way at the end is waited for, but not counted into the rate. */
static double run(int epoll)
{
    int64_t began = rate_now_us(), until = began + (int64_t)(load.seconds * 1e6);
    for (int i = 0; i < load.clients; i++)
        publish(&load.all[i]);
    while (!load.ended) {
        turn(epoll);
        if (rate_now_us() >= until)
            load.ended = rate_now_us();
    }
    while (load.on_way > 0)
        turn(epoll);
    return (double)(load.ended - began) / 1e6;
}

static void read_options(int argc, char **argv)
{
    int option;
    load.clients = 1;
    load.seconds = 5;
    load.bytes = 1024;
    while ((option = getopt(argc, argv, "p:q:c:s:b:")) != -1) {
        if (option == 'p')
            load.port = atoi(optarg);
        else if (option == 'q')
            load.type = optarg;
        else if (option == 'c')
            load.clients = atoi(optarg);
        else if (option == 's')
            load.seconds = atof(optarg);
        else if (option == 'b')
            load.bytes = strtoul(optarg, NULL, 10);
    }
    if (optind == argc && load.port > 0 && load.type && load.clients > 0 &&
        load.clients <= CLIENTS_MAX && load.seconds > 0 && load.bytes > 0 &&
        load.bytes <= BYTES_MAX)
        return;
    fprintf(stderr, "usage: bench_rabbitmq -p PORT -q classic|quorum [-c CLIENTS] [-s SECONDS] "
                    "[-b BYTES]\n");
    exit(2);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    memset(load.body, 'x', load.bytes);
    snprintf(load.queue, sizeof load.queue, "bench-%s-%d", load.type, (int)getpid());
    amqp_connection_state_t own = connect_to_it();
    declare(own);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < load.clients; i++)
        open_client(&load.all[i], epoll);
    double seconds = run(epoll);
    printf("{\"clients\": %d, \"seconds\": %.3f, \"accepted\": %ld, \"refused\": %ld, "
           "\"generator_cpu_seconds\": %.3f, ",
           load.clients, seconds, load.accepted, load.refused, rate_cpu_seconds());
    rate_print(&load.rate, seconds);
    printf("}\n");
    for (int i = 0; i < load.clients; i++)
        leave(load.all[i].connection);
    amqp_queue_delete(own, CHANNEL, amqp_cstring_bytes(load.queue), 0, 0);
    leave(own);
    close(epoll);
    free(load.rate.samples);
    return 0;
}
