#include "disk.h"

#include "dw/bytes.h"

#include <sqlite3.h>
#include <string.h>

enum { FILES_MAX = 8, PATH_LEN = 128, REGIONS_MAX = 64 };

const char *const disk_call_names[DISK_CALLS] = {"open",     "read", "write",
                                                 "truncate", "sync", "delete"};
const char *const disk_loss_names[DISK_LOSSES] = {"keeps", "drops", "tears", "reorders"};

/* A write (or, without data, a truncation to `offset`) that is not durable yet. */
struct pending {
    struct pending *next;
    int64_t offset;
    size_t len;
    uint8_t data[];
};

struct image {
    uint8_t *bytes;
    size_t len, cap;
};

struct file {
    char path[PATH_LEN];
    bool exists, durable; /* durable: it was synced since it was made */
    struct image now, synced;
    struct pending *pending, **pending_end;
    void *regions[REGIONS_MAX]; /* the shared memory beside a database */
    int lock;                   /* the strongest lock held, as of sqlite3_io_methods */
    uint32_t shared[SQLITE_SHM_NLOCK];
    bool exclusive[SQLITE_SHM_NLOCK];
};

struct handle {
    sqlite3_file base;
    struct file *file;
    uint64_t life; /* of the disk when it was opened */
    int lock;
    uint32_t shared, exclusive;
    bool temporary;
};

static struct {
    struct file files[FILES_MAX];
    uint64_t random, life;
    bool lies;
    disk_judge *judge;
    void *arg;
} disk = {.life = 1};

static uint64_t next_random(void)
{
    uint64_t z = disk.random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static int judged(enum disk_call call, const char *path, int64_t offset, size_t len)
{
    uint64_t life = disk.life;
    int rc = disk.judge ? disk.judge(disk.arg, call, path, offset, len) : SQLITE_OK;
    return life == disk.life ? rc : SQLITE_IOERR;
}

/* ---- images ---- */

static void image_resize(struct image *image, size_t len)
{
    if (len > image->cap) {
        image->cap = len * 2;
        image->bytes = dw_realloc(image->bytes, image->cap);
    }
    if (len > image->len)
        memset(image->bytes + image->len, 0, len - image->len);
    image->len = len;
}

static void image_write(struct image *image, int64_t offset, const void *data, size_t len)
{
    if ((size_t)offset + len > image->len)
        image_resize(image, (size_t)offset + len);
    if (len)
        memcpy(image->bytes + offset, data, len);
}

static void image_copy(struct image *to, const struct image *from)
{
    image_resize(to, from->len);
    if (from->len)
        memcpy(to->bytes, from->bytes, from->len);
}

static void image_free(struct image *image)
{
    dw_free(image->bytes);
    *image = (struct image){0};
}

/* ---- files ---- */

static struct file *find(const char *path)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists && strcmp(disk.files[i].path, path) == 0)
            return &disk.files[i];
    return NULL;
}

static void forget_pending(struct file *f)
{
    while (f->pending) {
        struct pending *p = f->pending;
        f->pending = p->next;
        dw_free(p);
    }
    f->pending_end = &f->pending;
}

static void forget_memory(struct file *f)
{
    for (int i = 0; i < REGIONS_MAX; i++) {
        dw_free(f->regions[i]);
        f->regions[i] = NULL;
    }
    memset(f->shared, 0, sizeof f->shared);
    memset(f->exclusive, 0, sizeof f->exclusive);
    f->lock = SQLITE_LOCK_NONE;
}

static void forget_file(struct file *f)
{
    forget_pending(f);
    forget_memory(f);
    image_free(&f->now);
    image_free(&f->synced);
    memset(f, 0, sizeof *f);
}

static struct file *make(const char *path)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &disk.files[i];
        if (f->exists)
            continue;
        memset(f, 0, sizeof *f);
        strncpy(f->path, path, sizeof f->path - 1);
        f->exists = true;
        f->pending_end = &f->pending;
        return f;
    }
    return NULL;
}

static void remember(struct file *f, int64_t offset, const void *data, size_t len)
{
    struct pending *p = dw_alloc(sizeof *p + len);
    p->offset = offset;
    p->len = data ? len : 0;
    if (data)
        memcpy(p->data, data, len);
    *f->pending_end = p;
    f->pending_end = &p->next;
}

static void apply(struct file *f, const struct pending *p, size_t from, size_t to)
{
    if (p->len)
        image_write(&f->synced, p->offset + (int64_t)from, p->data + from, to - from);
    else
        image_resize(&f->synced, (size_t)p->offset);
}

static void sync_all(struct file *f)
{
    for (struct pending *p = f->pending; p; p = p->next)
        apply(f, p, 0, p->len);
    forget_pending(f);
    f->durable = true;
}

/* The end of the sector that holds `at`, or of the write. */
static size_t sector_end(const struct pending *p, size_t at)
{
    size_t end = at + DISK_SECTOR - ((size_t)p->offset + at) % DISK_SECTOR;
    return end < p->len ? end : p->len;
}

static void crash_file(struct file *f, enum disk_loss loss)
{
    uint64_t all = 0, keep;
    unsigned odds =
        1 + (unsigned)(next_random() % 3); /* of four: how much is on the disk already */
    for (const struct pending *p = f->pending; p; p = p->next)
        all += 1 + p->len / DISK_SECTOR;
    keep = loss == DISK_TEARS ? next_random() % (all + 1) : 0;
    for (const struct pending *p = f->pending; p; p = p->next) {
        size_t at = 0;
        do {
            size_t end = p->len ? sector_end(p, at) : 0;
            bool stays = loss == DISK_KEEPS || (loss == DISK_TEARS && keep > 0) ||
                         (loss == DISK_REORDERS && next_random() % 4 < odds);
            keep -= keep > 0;
            if (stays)
                apply(f, p, at, end);
            at = end;
        } while (at < p->len);
    }
    forget_pending(f);
    if (!f->durable && loss != DISK_KEEPS && (loss == DISK_DROPS || next_random() % 2)) {
        forget_file(f);
        return;
    }
    f->durable = true;
    image_copy(&f->now, &f->synced);
}

void disk_crash(enum disk_loss loss)
{
    disk.life++;
    for (int i = 0; i < FILES_MAX; i++) {
        if (!disk.files[i].exists)
            continue;
        forget_memory(&disk.files[i]);
        crash_file(&disk.files[i], loss);
    }
}

const uint8_t *disk_file(const char *path, size_t *len)
{
    struct file *f = find(path);
    *len = f ? f->now.len : 0;
    return f ? f->now.bytes : NULL;
}

void disk_set_file(const char *path, const void *data, size_t len)
{
    struct file *f = find(path);
    if (f)
        forget_file(f);
    f = make(path);
    image_write(&f->now, 0, data, len);
    image_copy(&f->synced, &f->now);
    f->durable = true;
}

/* ---- what SQLite calls ---- */

static bool gone(const struct handle *h)
{
    return h->life != disk.life;
}

static int h_close(sqlite3_file *base)
{
    struct handle *h = (struct handle *)base;
    if (h->temporary && !gone(h))
        forget_file(h->file);
    return SQLITE_OK;
}

static int h_read(sqlite3_file *base, void *out, int len, sqlite3_int64 offset)
{
    struct handle *h = (struct handle *)base;
    if (gone(h))
        return SQLITE_IOERR_READ;
    int rc = judged(DISK_READ, h->file->path, offset, (size_t)len);
    if (rc != SQLITE_OK)
        return rc;
    size_t have = (size_t)offset < h->file->now.len ? h->file->now.len - (size_t)offset : 0;
    if (have >= (size_t)len) {
        memcpy(out, h->file->now.bytes + offset, (size_t)len);
        return SQLITE_OK;
    }
    memset(out, 0, (size_t)len);
    if (have)
        memcpy(out, h->file->now.bytes + offset, have);
    return SQLITE_IOERR_SHORT_READ;
}

static int h_write(sqlite3_file *base, const void *data, int len, sqlite3_int64 offset)
{
    struct handle *h = (struct handle *)base;
    if (gone(h))
        return SQLITE_IOERR_WRITE;
    int rc = judged(DISK_WRITE, h->file->path, offset, (size_t)len);
    if (rc != SQLITE_OK)
        return rc;
    image_write(&h->file->now, offset, data, (size_t)len);
    remember(h->file, offset, data, (size_t)len);
    return SQLITE_OK;
}

static int h_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct handle *h = (struct handle *)base;
    if (gone(h))
        return SQLITE_IOERR_TRUNCATE;
    int rc = judged(DISK_TRUNCATE, h->file->path, size, 0);
    if (rc != SQLITE_OK)
        return rc;
    image_resize(&h->file->now, (size_t)size);
    remember(h->file, size, NULL, 0);
    return SQLITE_OK;
}

static int h_sync(sqlite3_file *base, int flags)
{
    struct handle *h = (struct handle *)base;
    (void)flags;
    if (gone(h))
        return SQLITE_IOERR_FSYNC;
    int rc = judged(DISK_SYNC, h->file->path, 0, 0);
    if (rc == SQLITE_OK && !disk.lies)
        sync_all(h->file);
    return rc;
}

static int h_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct handle *h = (struct handle *)base;
    if (gone(h))
        return SQLITE_IOERR_FSTAT;
    *size = (sqlite3_int64)h->file->now.len;
    return SQLITE_OK;
}

static int h_lock(sqlite3_file *base, int lock)
{
    struct handle *h = (struct handle *)base;
    if (gone(h))
        return SQLITE_IOERR_LOCK;
    /* Two connections of one thread meet in WAL only, where both hold a shared lock. */
    if (lock > SQLITE_LOCK_SHARED && h->file->lock > SQLITE_LOCK_SHARED && h->lock != h->file->lock)
        return SQLITE_BUSY;
    h->lock = lock;
    if (lock > h->file->lock)
        h->file->lock = lock;
    return SQLITE_OK;
}

static int h_unlock(sqlite3_file *base, int lock)
{
    struct handle *h = (struct handle *)base;
    if (!gone(h) && h->lock > SQLITE_LOCK_SHARED)
        h->file->lock = lock;
    h->lock = lock;
    return SQLITE_OK;
}

static int h_reserved(sqlite3_file *base, int *held)
{
    struct handle *h = (struct handle *)base;
    *held = !gone(h) && h->file->lock >= SQLITE_LOCK_RESERVED;
    return SQLITE_OK;
}

static int h_control(sqlite3_file *base, int op, void *arg)
{
    (void)base, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int h_sector(sqlite3_file *base)
{
    (void)base;
    return DISK_SECTOR;
}

/* What SQLite itself believes of a file on Linux. */
static int h_kind(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int h_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
    struct handle *h = (struct handle *)base;
    *out = NULL;
    if (gone(h) || region >= REGIONS_MAX)
        return SQLITE_IOERR_SHMMAP;
    if (!h->file->regions[region] && extend)
        h->file->regions[region] = dw_alloc((size_t)size);
    *out = h->file->regions[region];
    return SQLITE_OK;
}

static bool locks_are_free(const struct handle *h, int at, int n, bool exclusive)
{
    for (int i = at; i < at + n; i++) {
        bool own = h->shared >> i & 1;
        if (h->file->exclusive[i] || (exclusive && h->file->shared[i] > own))
            return false;
    }
    return true;
}

static int h_shm_lock(sqlite3_file *base, int at, int n, int flags)
{
    struct handle *h = (struct handle *)base;
    bool exclusive = flags & SQLITE_SHM_EXCLUSIVE;
    if (gone(h))
        return flags & SQLITE_SHM_UNLOCK ? SQLITE_OK : SQLITE_IOERR_SHMLOCK;
    if ((flags & SQLITE_SHM_LOCK) && !locks_are_free(h, at, n, exclusive))
        return SQLITE_BUSY;
    for (int i = at; i < at + n; i++) {
        uint32_t bit = 1u << i, *mine = exclusive ? &h->exclusive : &h->shared;
        bool have = *mine & bit, want = flags & SQLITE_SHM_LOCK;
        if (have == want)
            continue;
        *mine ^= bit;
        if (exclusive)
            h->file->exclusive[i] = want;
        else
            h->file->shared[i] += want ? 1 : -1u;
    }
    return SQLITE_OK;
}

static void h_barrier(sqlite3_file *base)
{
    (void)base;
}

static int h_unmap(sqlite3_file *base, int forget)
{
    struct handle *h = (struct handle *)base;
    if (!gone(h) && forget)
        forget_memory(h->file);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = h_close,
    .xRead = h_read,
    .xWrite = h_write,
    .xTruncate = h_truncate,
    .xSync = h_sync,
    .xFileSize = h_size,
    .xLock = h_lock,
    .xUnlock = h_unlock,
    .xCheckReservedLock = h_reserved,
    .xFileControl = h_control,
    .xSectorSize = h_sector,
    .xDeviceCharacteristics = h_kind,
    .xShmMap = h_map,
    .xShmLock = h_shm_lock,
    .xShmBarrier = h_barrier,
    .xShmUnmap = h_unmap,
};

static int v_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags, int *out)
{
    struct handle *h = (struct handle *)base;
    (void)vfs;
    memset(h, 0, sizeof *h);
    int rc = judged(DISK_OPEN, path ? path : "", 0, 0);
    if (rc != SQLITE_OK)
        return rc;
    struct file *f = path ? find(path) : NULL;
    if (!f && !(flags & SQLITE_OPEN_CREATE))
        return SQLITE_CANTOPEN;
    if (!f && !(f = make(path ? path : "temporary")))
        return SQLITE_CANTOPEN;
    h->base.pMethods = &methods;
    h->file = f;
    h->life = disk.life;
    h->temporary = !path;
    if (out)
        *out = flags;
    return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    (void)vfs, (void)sync_folder;
    int rc = judged(DISK_DELETE, path, 0, 0);
    struct file *f = find(path);
    if (rc != SQLITE_OK)
        return rc;
    if (!f)
        return SQLITE_IOERR_DELETE_NOENT;
    forget_file(f);
    return SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    struct file *f = find(path);
    (void)vfs;
    *out = f && (flags != SQLITE_ACCESS_EXISTS || f->now.len > 0);
    return SQLITE_OK;
}

static int v_full_path(sqlite3_vfs *vfs, const char *path, int len, char *out)
{
    (void)vfs;
    sqlite3_snprintf(len, out, "%s", path);
    return SQLITE_OK;
}

static int v_random(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs;
    for (int i = 0; i < len; i++)
        out[i] = (char)next_random();
    return len;
}

static int v_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

static int v_time(sqlite3_vfs *vfs, double *out)
{
    (void)vfs;
    *out = 2461000.5;
    return SQLITE_OK;
}

static int v_error(sqlite3_vfs *vfs, int len, char *out)
{
    (void)vfs, (void)len, (void)out;
    return 0;
}

void disk_install(void)
{
    static sqlite3_vfs vfs = {
        .iVersion = 1,
        .szOsFile = sizeof(struct handle),
        .mxPathname = PATH_LEN - 1,
        .zName = "disk-in-memory",
        .xOpen = v_open,
        .xDelete = v_delete,
        .xAccess = v_access,
        .xFullPathname = v_full_path,
        .xRandomness = v_random,
        .xSleep = v_sleep,
        .xCurrentTime = v_time,
        .xGetLastError = v_error,
    };
    sqlite3_vfs_register(&vfs, 1);
}

void disk_reset(uint64_t seed)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists)
            forget_file(&disk.files[i]);
    disk.life++;
    disk.random = seed;
    disk.lies = false;
    disk.judge = NULL;
    sqlite3_randomness(0, NULL); /* it draws anew from v_random */
}

void disk_lies(bool lies)
{
    disk.lies = lies;
}

void disk_use_judge(disk_judge *judge, void *arg)
{
    disk.judge = judge;
    disk.arg = arg;
}
