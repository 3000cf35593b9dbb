#include "dw/checkpoint.h"

#include "dw/bytes.h"
#include "dw/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    NAP_MS = 200,
    IDLE_MS = 1000,
    OPEN_MS = 5000,
    FRAME_BYTES = 4096 + 24,
    LAID_OUT_MIN = 256 * 1024,
    LAID_OUT_MAX = 4 * 1024 * 1024,
    PIECE = 4096, /* the kernel may take what is written at once for one, and write all of it again */
};

struct dw_checkpointer {
    sqlite3 *db;
    pthread_t thread;
    int wake;
    atomic_bool stopping;
    atomic_int moved;
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

/* Zeros are no frame of a log, whoever reads them. */
static int write_zeros(sqlite3_file *log, int64_t bytes)
{
    static const uint8_t zeros[PIECE];
    sqlite3_int64 size = 0;
    int rc = log->pMethods ? log->pMethods->xFileSize(log, &size) : SQLITE_CANTOPEN;
    if (rc != SQLITE_OK || size > 0) /* somebody was faster: it is in use again */
        return SQLITE_OK;
    for (int64_t at = 0; rc == SQLITE_OK && at < bytes; at += PIECE)
        rc = log->pMethods->xWrite(log, zeros, PIECE, at);
    if (rc == SQLITE_OK)
        return log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
    log->pMethods->xTruncate(log, 0); /* the disk is full: a part of it helps nobody */
    return SQLITE_OK;
}

/* A sync of a file that grows has to write where its blocks are too, and takes twice as long.  So what
 * will be wanted of the log is laid out again; nobody writes meanwhile, or it is left. */
static int lay_out(struct dw_checkpointer *c, int64_t bytes)
{
    sqlite3_file *log = NULL;
    int rc = SQLITE_OK;
    if (sqlite3_exec(c->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        return SQLITE_OK;
    if (sqlite3_file_control(c->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK)
        rc = write_zeros(log, bytes < LAID_OUT_MIN   ? LAID_OUT_MIN
                              : bytes > LAID_OUT_MAX ? LAID_OUT_MAX
                                                     : bytes);
    sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

static void *move_forever(void *arg)
{
    struct dw_checkpointer *c = arg;
    int64_t busy_at = dw_monotonic_ms() - IDLE_MS; /* what a start finds is moved at once */
    int64_t wanted = LAID_OUT_MAX;
    int seen = -1;
    bool cut = false;
    for (; !c->stopping; nap(c)) {
        int frames = 0, moved = 0;
        bool idle = dw_monotonic_ms() - busy_at >= IDLE_MS;
        int rc = sqlite3_wal_checkpoint_v2(
            c->db, NULL, idle && !cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE,
            &frames, &moved);
        c->moved = moved;
        if (rc == SQLITE_OK && idle && !cut) {
            rc = lay_out(c, wanted);
            wanted = 0;
        }
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
                if (wanted < (int64_t)frames * FRAME_BYTES)
                    wanted = (int64_t)frames * FRAME_BYTES;
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

int dw_checkpointer_moved(const struct dw_checkpointer *c)
{
    return c->moved;
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
