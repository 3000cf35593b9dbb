/* queue_bare.c - the least that a durable accept can cost on this machine.
 *
 *   bench_bare disk FILE SECONDS
 *   bench_bare log|sqlite FILE ENDPOINT SECRET
 *
 * disk: one writer, 1 KiB and fdatasync, nothing else.
 * log, sqlite: a ROUTER over CURVE that bench_queue speaks to as to the broker.  It takes what has
 * come, writes the last frame of each message, makes all of it durable at once, and answers.  No
 * header is read, no role checked, no service kept apart, and nothing ever leaves. */
#include "rate.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <zmq.h>

enum { BATCH_MAX = 1000, HEAD = 5 /* routing id "" MDPC01 service call */, BYTES = 1024 };

struct message {
    zmq_msg_t head[HEAD];
    zmq_msg_t last;
    int heads;
};

static sqlite3 *db;
static sqlite3_stmt *begin, *insert, *commit;
static int fd = -1;
static off_t end;

/* ---- the two engines ---- */

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK)
        rate_fail(sqlite3_errmsg(db));
    return s;
}

static void run(sqlite3_stmt *s)
{
    if (sqlite3_step(s) != SQLITE_DONE)
        rate_fail(sqlite3_errmsg(db));
    sqlite3_reset(s);
}

static void open_sqlite(const char *path)
{
    if (sqlite3_open(path, &db) != SQLITE_OK ||
        sqlite3_exec(db,
                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "CREATE TABLE m(seq INTEGER PRIMARY KEY, id BLOB UNIQUE, due INTEGER, body BLOB);"
                     "CREATE INDEX due ON m(due) WHERE due IS NOT NULL;",
                     NULL, NULL, NULL) != SQLITE_OK)
        rate_fail(sqlite3_errmsg(db));
    begin = prepare("BEGIN IMMEDIATE");
    insert = prepare("INSERT INTO m(id, due, body) VALUES(?1, 0, ?2)");
    commit = prepare("COMMIT");
}

static void write_sqlite(struct message *all, int count)
{
    uint8_t ids[BATCH_MAX][16];
    for (int i = 0; i < count; i++)
        if (getrandom(ids[i], sizeof ids[i], 0) != sizeof ids[i])
            rate_fail("getrandom");
    run(begin);
    for (int i = 0; i < count; i++) {
        sqlite3_bind_blob(insert, 1, ids[i], sizeof ids[i], SQLITE_STATIC);
        sqlite3_bind_blob64(insert, 2, zmq_msg_data(&all[i].last), zmq_msg_size(&all[i].last),
                            SQLITE_STATIC);
        run(insert);
    }
    run(commit);
}

static void open_log(const char *path)
{
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        rate_fail(path);
}

static void append(const void *data, size_t len)
{
    if (pwrite(fd, data, len, end) != (ssize_t)len)
        rate_fail("pwrite");
    end += (off_t)len;
}

static void write_log(struct message *all, int count)
{
    for (int i = 0; i < count; i++)
        append(zmq_msg_data(&all[i].last), zmq_msg_size(&all[i].last));
    if (fdatasync(fd) != 0)
        rate_fail("fdatasync");
}

/* ---- disk alone ---- */

static void measure_disk(double seconds)
{
    struct rate rate = {0};
    uint8_t row[BYTES];
    memset(row, 'x', sizeof row);
    int64_t began = rate_now_us(), until = began + (int64_t)(seconds * 1e6), now = began;
    while (now < until) {
        append(row, sizeof row);
        if (fdatasync(fd) != 0)
            rate_fail("fdatasync");
        int64_t then = rate_now_us();
        rate_add(&rate, then - now);
        now = then;
    }
    printf("{");
    rate_print(&rate, (double)(now - began) / 1e6);
    printf("}\n");
    free(rate.samples);
}

/* ---- the loop ---- */

static void *bind_router(void *zmq, const char *endpoint, const char *secret)
{
    void *s = zmq_socket(zmq, ZMQ_ROUTER);
    int on = 1, none = 0;
    zmq_setsockopt(s, ZMQ_CURVE_SERVER, &on, sizeof on);
    zmq_setsockopt(s, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_RCVHWM, &none, sizeof none);
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
    if (zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, secret, strlen(secret) + 1) != 0 ||
        zmq_bind(s, endpoint) != 0)
        rate_fail(endpoint);
    return s;
}

/* False when there is nothing. */
static bool receive(void *s, struct message *m, int flags)
{
    bool more = true;
    m->heads = 0;
    zmq_msg_init(&m->last);
    while (more) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (zmq_msg_recv(&frame, s, flags) < 0) {
            zmq_msg_close(&frame);
            return false;
        }
        more = zmq_msg_more(&frame);
        if (m->heads < HEAD) {
            zmq_msg_init(&m->head[m->heads]);
            zmq_msg_move(&m->head[m->heads++], &frame);
        } else {
            zmq_msg_move(&m->last, &frame);
        }
        zmq_msg_close(&frame);
    }
    return true;
}

static void answer(void *s, struct message *m)
{
    for (int i = 0; i < m->heads; i++)
        zmq_msg_send(&m->head[i], s, ZMQ_SNDMORE);
    zmq_send(s, "200", 3, 0);
    zmq_msg_close(&m->last);
}

/* Until a signal ends the process: what it wrote is thrown away. */
static _Noreturn void serve(void *s, void (*write_all)(struct message *, int))
{
    static struct message all[BATCH_MAX];
    for (;;) {
        int count = 0;
        while (count < BATCH_MAX && receive(s, &all[count], count ? ZMQ_DONTWAIT : 0))
            count++;
        if (count)
            write_all(all, count);
        for (int i = 0; i < count; i++)
            answer(s, &all[i]);
    }
}

int main(int argc, char **argv)
{
    bool sqlite = argc == 5 && strcmp(argv[1], "sqlite") == 0;
    if (argc == 4 && strcmp(argv[1], "disk") == 0) {
        open_log(argv[2]);
        measure_disk(atof(argv[3]));
        return 0;
    }
    if (!sqlite && !(argc == 5 && strcmp(argv[1], "log") == 0)) {
        fprintf(stderr, "usage: bench_bare disk FILE SECONDS\n"
                        "       bench_bare log|sqlite FILE ENDPOINT SECRET\n");
        return 2;
    }
    (sqlite ? open_sqlite : open_log)(argv[2]);
    void *zmq = zmq_ctx_new();
    void *s = bind_router(zmq, argv[3], argv[4]);
    errno = 0;
    serve(s, sqlite ? write_sqlite : write_log);
}
