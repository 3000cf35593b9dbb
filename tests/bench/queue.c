/* queue.c - clients and workers of the broker's durable queue, as fast as they are answered.
 *
 *   bench_queue put KEY [-c CLIENTS] [-s SECONDS] [-b BYTES] [-n SERVICES] [-k]
 *   bench_queue work KEY...
 *
 * put: each client is a DEALER of its own over CURVE (curve.h) with one item on its way: `queue.put` "close", a
 * header and BYTES, and waits for the 200 that says it is on disk.  -k gives each item a handle of its
 * own and a key of the sender, as our own intake does; the broker finds it by the one and remembers
 * the other.  With -n the items go to the services bench0, bench1, ..
 * in turn.  What is on its way at the end is waited for, but not counted into the rate.
 * work: serves one service for each KEY, answers 200 to every item, and prints at SIGTERM how many.
 *
 * KEY is a file of lines: endpoint, key of the broker, own secret key (both Z85), and for a worker its
 * service.  One thread that waits for all: on a machine that also runs what is measured, the generator
 * must cost next to nothing.  What it did cost is printed too. */
#include "dw/wire.h"

#include "curve.h"
#include "rate.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

enum {
    CLIENTS_MAX = 256,
    WORKERS_MAX = 64,
    BYTES_MAX = 65536,
    LINE_MAX_LEN = 256,
    PATIENCE_MS = 30000, /* no answer at all for so long: give up */
    CREDIT = 256,
    TICK_MS = 100,
};

/* ---- keys ---- */

struct key {
    struct dw_broker_address broker;
    struct dw_curve own;
    char service[DW_SERVICE_MAX + 1];
};

static bool read_line(FILE *f, char line[LINE_MAX_LEN])
{
    if (!fgets(line, LINE_MAX_LEN, f))
        return false;
    line[strcspn(line, "\r\n")] = 0;
    return *line;
}

static void read_key(const char *path, struct key *ret)
{
    char endpoint[LINE_MAX_LEN], broker[LINE_MAX_LEN], secret[LINE_MAX_LEN];
    char service[LINE_MAX_LEN] = "", public[41];
    FILE *f = fopen(path, "r");
    if (!f)
        rate_fail(path);
    ret->own.secret = dw_alloc(DW_KEY_LEN);
    if (!read_line(f, endpoint) || !read_line(f, broker) || !read_line(f, secret) ||
        !zmq_z85_decode(ret->broker.key, broker) || !zmq_z85_decode(ret->own.secret, secret) ||
        zmq_curve_public(public, secret) != 0 || !zmq_z85_decode(ret->own.public, public))
        rate_fail("a key has lines: endpoint, key of the broker, own secret key, service");
    read_line(f, service);
    snprintf(ret->service, sizeof ret->service, "%s", service);
    ret->broker.endpoint = dw_strdup(endpoint);
    fclose(f);
}

static void free_key(struct key *key)
{
    dw_wipe_free(key->own.secret, DW_KEY_LEN);
    dw_free(key->broker.endpoint);
}

/* ---- clients ---- */

struct client {
    struct curve *curve;
    int64_t asked_at; /* 0: idle */
};

static struct load {
    int clients, services;
    double seconds;
    size_t bytes;
    bool with_keys;

    struct client all[CLIENTS_MAX];
    uint64_t random, serial;
    uint8_t body[BYTES_MAX];
    int64_t began, ended;
    long on_way, accepted, refused;
    struct rate rate;
} load;

/* xorshift64*: ids must differ, not be secret. */
static uint64_t next_random(void)
{
    load.random ^= load.random >> 12;
    load.random ^= load.random << 25;
    load.random ^= load.random >> 27;
    return load.random * 0x2545f4914f6cdd1dULL;
}

static void fill(uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(next_random() >> 32);
}

static void ask(struct client *c)
{
    static const uint8_t call[DW_CALL_LEN];
    struct dw_item_header h = {.klass = 1};
    DW_AUTO_BUF header = {0};
    dw_buf_init(&header, 1024);
    fill(h.id, sizeof h.id);
    if (load.with_keys) {
        fill(h.handle, sizeof h.handle);
        fill(h.tok, sizeof h.tok);
        fill(h.fp, sizeof h.fp);
    }
    snprintf(h.service, sizeof h.service, "bench%llu",
             (unsigned long long)(load.serial++ % (uint64_t)load.services));
    dw_item_header_encode(&h, &header);
    struct dw_slice frames[] = {DW_SLICE("", 0),
                                dw_slice_of(DW_MDP_CLIENT),
                                dw_slice_of("queue.put"),
                                DW_SLICE(call, sizeof call),
                                dw_slice_of("close"),
                                DW_SLICE(header.data, header.len),
                                DW_SLICE(load.body, load.bytes)};
    c->asked_at = rate_now_us();
    curve_send(c->curve, frames, DW_COUNT(frames));
    load.on_way++;
}

/* All that has come, and what is asked then. */
static void serve_client(struct client *c)
{
    if (!curve_read(c->curve))
        rate_fail("the broker has gone");
    while (curve_next(c->curve)) {
        /* "" MDPC01 service call status .. */
        bool good = c->curve->frames_count >= 5 && dw_status_parse(c->curve->frames[4]) == 200;
        if (!c->asked_at)
            rate_fail("an answer that nobody waits for");
        load.on_way--;
        load.accepted += good;
        load.refused += !good;
        if (good && !load.ended)
            rate_add(&load.rate, rate_now_us() - c->asked_at);
        c->asked_at = 0;
        if (!load.ended)
            ask(c);
    }
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

/* Hands are shaken here: what that costs is not what is measured. */
static void open_client(struct client *c, int epoll, const struct key *key)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->curve = curve_open(&key->broker, &key->own);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->curve->fd, &event) != 0)
        rate_fail("epoll");
}

static void put(const struct key *key)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    load.random = (uint64_t)rate_now_us() ^ (uint64_t)getpid() << 40;
    fill(load.body, load.bytes);
    for (int i = 0; i < load.clients; i++)
        open_client(&load.all[i], epoll, key);
    load.began = rate_now_us();
    int64_t until = load.began + (int64_t)(load.seconds * 1e6);
    for (int i = 0; i < load.clients; i++)
        ask(&load.all[i]);
    while (!load.ended) {
        turn(epoll);
        if (rate_now_us() >= until)
            load.ended = rate_now_us();
    }
    while (load.on_way > 0)
        turn(epoll);
    printf("{\"clients\": %d, \"began_us\": %lld, \"seconds\": %.3f, \"accepted\": %ld, "
           "\"refused\": %ld, \"generator_cpu_seconds\": %.3f, ",
           load.clients, (long long)load.began, (double)(load.ended - load.began) / 1e6,
           load.accepted, load.refused, rate_cpu_seconds());
    rate_print(&load.rate, (double)(load.ended - load.began) / 1e6);
    printf("}\n");
    for (int i = 0; i < load.clients; i++)
        curve_close(load.all[i].curve);
    close(epoll);
    free(load.rate.samples);
}

/* ---- workers ---- */

static volatile sig_atomic_t stopping;

static void stop(int signal)
{
    (void)signal;
    stopping = 1;
}

static long serve(struct dw_worker *worker)
{
    static const struct dw_slice done[] = {{(const uint8_t *)"200", 3}};
    struct dw_request request;
    long count = 0;
    while (dw_worker_recv(worker, dw_monotonic_ms(), &request)) {
        if (!dw_worker_reply(worker, request.address, done, DW_COUNT(done)))
            rate_fail("libzmq does not take a reply");
        dw_request_free(&request);
        count++;
    }
    return count;
}

static void work(struct key *keys, int count, const struct dw_config *config)
{
    struct dw_worker *workers[WORKERS_MAX];
    zmq_pollitem_t items[WORKERS_MAX];
    void *zmq = zmq_ctx_new();
    int64_t first = 0, last = 0, ticked = 0;
    long done = 0;
    for (int i = 0; i < count; i++)
        workers[i] = dw_worker_new(zmq, &keys[i].broker, &keys[i].own, config, keys[i].service,
                                   CREDIT);
    while (!stopping) {
        for (int i = 0; i < count; i++)
            items[i] = (zmq_pollitem_t){.socket = dw_worker_socket(workers[i]),
                                        .events = ZMQ_POLLIN};
        zmq_poll(items, count, TICK_MS);
        for (int i = 0; i < count; i++) {
            long more = items[i].revents ? serve(workers[i]) : 0;
            last = more ? rate_now_us() : last;
            first = first ? first : last;
            done += more;
        }
        if (dw_monotonic_ms() - ticked < TICK_MS)
            continue;
        ticked = dw_monotonic_ms();
        for (int i = 0; i < count; i++)
            dw_worker_tick(workers[i], ticked);
    }
    printf("{\"done\": %ld, \"first_us\": %lld, \"last_us\": %lld, \"cpu_seconds\": %.3f}\n", done,
           (long long)first, (long long)last, rate_cpu_seconds());
    for (int i = 0; i < count; i++)
        dw_worker_free(workers[i]);
    zmq_ctx_term(zmq);
}

/* ---- options ---- */

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: bench_queue put KEY [-c CLIENTS] [-s SECONDS] [-b BYTES] "
                    "[-n SERVICES] [-k]\n       bench_queue work KEY...\n");
    exit(2);
}

static void read_options(int argc, char **argv)
{
    int option;
    load.clients = load.services = 1;
    load.seconds = 5;
    load.bytes = 1024;
    while ((option = getopt(argc, argv, "c:s:b:n:k")) != -1) {
        if (option == 'c')
            load.clients = atoi(optarg);
        else if (option == 's')
            load.seconds = atof(optarg);
        else if (option == 'b')
            load.bytes = strtoul(optarg, NULL, 10);
        else if (option == 'n')
            load.services = atoi(optarg);
        else if (option == 'k')
            load.with_keys = true;
        else
            usage();
    }
    if (load.clients < 1 || load.clients > CLIENTS_MAX || load.services < 1 ||
        load.seconds <= 0 || load.bytes < 1 || load.bytes > BYTES_MAX)
        usage();
}

int main(int argc, char **argv)
{
    static struct key keys[WORKERS_MAX];
    struct dw_config config;
    read_options(argc, argv);
    int words = argc - optind, count = words - 1;
    if (count < 1 || count > WORKERS_MAX)
        usage();
    for (int i = 0; i < count; i++)
        read_key(argv[optind + 1 + i], &keys[i]);
    dw_config_defaults(&config);
    errno = 0;
    if (strcmp(argv[optind], "put") == 0) {
        put(&keys[0]);
    } else if (strcmp(argv[optind], "work") == 0) {
        signal(SIGTERM, stop);
        work(keys, count, &config);
    } else {
        usage();
    }
    for (int i = 0; i < count; i++)
        free_key(&keys[i]);
    dw_config_free(&config);
    return 0;
}
