/* queue_rabbitmq.c - publishers of RabbitMQ with confirms, as fast as they are confirmed.
 *
 *   bench_rabbitmq -p PORT -q classic|quorum [-c CLIENTS] [-s SECONDS] [-b BYTES]
 *
 * Each client is a thread with a connection of its own, one persistent message on its way to the one
 * durable queue, which is made before and deleted after. */
#include "rate.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIENTS_MAX = 256, BYTES_MAX = 65536, CHANNEL = 1, FRAME_MAX = 131072, PERSISTENT = 2 };

static struct load {
    int port, clients;
    double seconds;
    size_t bytes;
    const char *type;
    char queue[64], body[BYTES_MAX];
    int64_t until;
    pthread_barrier_t start;
    atomic_long accepted, refused;
} load;

struct client {
    pthread_t thread;
    amqp_connection_state_t connection;
    struct rate rate;
};

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

static void publish(struct client *self, const amqp_basic_properties_t *properties)
{
    amqp_frame_t frame;
    int64_t asked = rate_now_us();
    if (amqp_basic_publish(self->connection, CHANNEL, amqp_empty_bytes,
                           amqp_cstring_bytes(load.queue), 0, 0, properties,
                           (amqp_bytes_t){.len = load.bytes, .bytes = load.body}) != AMQP_STATUS_OK)
        rate_fail("publish");
    do {
        if (amqp_simple_wait_frame(self->connection, &frame) != AMQP_STATUS_OK)
            rate_fail("no answer any more");
    } while (frame.frame_type != AMQP_FRAME_METHOD);
    if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
        load.accepted++;
        rate_add(&self->rate, rate_now_us() - asked);
    } else if (frame.payload.method.id == AMQP_BASIC_NACK_METHOD) {
        load.refused++;
    } else {
        rate_fail("neither confirmed nor refused");
    }
    amqp_maybe_release_buffers(self->connection);
}

static void *run(void *arg)
{
    struct client *self = arg;
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
                                          .delivery_mode = PERSISTENT};
    self->connection = connect_to_it();
    amqp_confirm_select(self->connection, CHANNEL);
    check(amqp_get_rpc_reply(self->connection), "confirms");
    pthread_barrier_wait(&load.start); /* all are connected */
    pthread_barrier_wait(&load.start); /* the time runs */
    while (rate_now_us() < load.until)
        publish(self, &properties);
    return NULL;
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
    static struct client all[CLIENTS_MAX];
    struct rate rate = {0};
    read_options(argc, argv);
    memset(load.body, 'x', load.bytes);
    snprintf(load.queue, sizeof load.queue, "bench-%s-%d", load.type, (int)getpid());
    amqp_connection_state_t own = connect_to_it();
    declare(own);
    pthread_barrier_init(&load.start, NULL, (unsigned)load.clients + 1);
    for (int i = 0; i < load.clients; i++)
        if (pthread_create(&all[i].thread, NULL, run, &all[i]) != 0)
            rate_fail("thread");
    pthread_barrier_wait(&load.start);
    int64_t began = rate_now_us();
    load.until = began + (int64_t)(load.seconds * 1e6);
    pthread_barrier_wait(&load.start);
    for (int i = 0; i < load.clients; i++) {
        pthread_join(all[i].thread, NULL);
        rate_take(&rate, &all[i].rate);
    }
    double seconds = (double)(rate_now_us() - began) / 1e6;
    printf("{\"clients\": %d, \"seconds\": %.3f, \"accepted\": %ld, \"refused\": %ld, "
           "\"generator_cpu_seconds\": %.3f, ",
           load.clients, seconds, load.accepted, load.refused, rate_cpu_seconds());
    rate_print(&rate, seconds);
    printf("}\n");
    for (int i = 0; i < load.clients; i++)
        leave(all[i].connection);
    amqp_queue_delete(own, CHANNEL, amqp_cstring_bytes(load.queue), 0, 0);
    leave(own);
    free(rate.samples);
    return 0;
}
