#include "dw/checkpoint.h"

#include "dw/bytes.h"
#include "dw/clock.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

enum { NAP_MS = 200, IDLE_MS = 1000 };

struct dw_checkpointer {
    sqlite3 *db;
    pthread_t thread;
    atomic_bool stopping;
    void (*failed)(void *arg, const char *what);
    void *arg;
};

static void *move_forever(void *arg)
{
    struct dw_checkpointer *c = arg;
    int64_t busy_at = dw_monotonic_ms();
    int seen = -1;
    bool cut = false;
    while (!c->stopping) {
        usleep(NAP_MS * 1000);
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

struct dw_checkpointer *dw_checkpointer_start(const char *path,
                                              void (*failed)(void *arg, const char *what),
                                              void *arg)
{
    struct dw_checkpointer *c = dw_alloc(sizeof *c);
    c->failed = failed;
    c->arg = arg;
    if (sqlite3_open_v2(path, &c->db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        pthread_create(&c->thread, NULL, move_forever, c) == 0)
        return c;
    sqlite3_close(c->db);
    dw_free(c);
    return NULL;
}

void dw_checkpointer_stop(struct dw_checkpointer *c)
{
    if (!c)
        return;
    c->stopping = true;
    pthread_join(c->thread, NULL);
    sqlite3_close(c->db);
    dw_free(c);
}
