#include "dw/checkpoint.h"

#include "dw/bytes.h"
#include "dw/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { NAP_MS = 200, IDLE_MS = 1000, OPEN_MS = 5000 };

struct dw_checkpointer {
    sqlite3 *db;
    pthread_t thread;
    int wake;
    atomic_bool stopping;
    void (*failed)(void *arg, const char *what);
    void *arg;
};

static void nap(struct dw_checkpointer *c)
{
    struct pollfd woken = {.fd = c->wake, .events = POLLIN};
    uint64_t count;
    if (poll(&woken, 1, NAP_MS) > 0)
        (void)!read(c->wake, &count, sizeof count);
}

static void *move_forever(void *arg)
{
    struct dw_checkpointer *c = arg;
    int64_t busy_at = dw_monotonic_ms();
    int seen = -1;
    bool cut = false;
    while (!c->stopping) {
        nap(c);
        int frames = 0;
        bool idle = dw_monotonic_ms() - busy_at >= IDLE_MS;
        int rc = sqlite3_wal_checkpoint_v2(
            c->db, NULL, idle && !cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
            &frames, NULL);
        if ((rc & 0xff) == SQLITE_IOERR) {
            c->failed(c->arg, "checkpoint");
            break;
        }
        if (idle)
            cut = rc == SQLITE_OK;
        if (frames != seen) { /* somebody writes, or it was just cut */
            seen = frames;
            if (frames > 0) {
                busy_at = dw_monotonic_ms();
                cut = false;
            }
        }
    }
    return NULL;
}

/* A connection that has read nothing does not know of the log, and would find nothing to move. */
static bool find_log(struct dw_checkpointer *c)
{
    sqlite3_busy_timeout(c->db, OPEN_MS);
    bool found = sqlite3_exec(c->db, "PRAGMA schema_version", NULL, NULL, NULL) == SQLITE_OK;
    sqlite3_busy_timeout(c->db, 0); /* whoever writes goes first */
    return found;
}

struct dw_checkpointer *dw_checkpointer_start(const char *path,
                                              void (*failed)(void *arg, const char *what),
                                              void *arg)
{
    struct dw_checkpointer *c = dw_alloc(sizeof *c);
    c->failed = failed;
    c->arg = arg;
    c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake >= 0 &&
        sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK && find_log(c) &&
        pthread_create(&c->thread, NULL, move_forever, c) == 0)
        return c;
    sqlite3_close(c->db);
    if (c->wake >= 0)
        close(c->wake);
    dw_free(c);
    return NULL;
}

void dw_checkpointer_wake(struct dw_checkpointer *c)
{
    uint64_t one = 1;
    (void)!write(c->wake, &one, sizeof one);
}

void dw_checkpointer_stop(struct dw_checkpointer *c)
{
    if (!c)
        return;
    c->stopping = true;
    dw_checkpointer_wake(c);
    pthread_join(c->thread, NULL);
    sqlite3_close(c->db);
    close(c->wake);
    dw_free(c);
}
