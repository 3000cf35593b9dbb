/* disk_vfs.c - the files as SQLite wants them. */
#include "disk_private.h"

#include "dw/bytes.h"

#include <string.h>

bool disk_gone(const struct handle *h)
{
    return h->life != disk_life(h->folder, h->process);
}

static int h_lock(sqlite3_file *base, int lock)
{
    struct handle *h = (struct handle *)base;
    struct file *f = h->file;
    if (disk_gone(h))
        return SQLITE_IOERR_LOCK;
    if (lock <= h->lock)
        return SQLITE_OK;
    if (f->writer && f->writer != h &&
        (lock > SQLITE_LOCK_SHARED || f->writer->lock > SQLITE_LOCK_RESERVED))
        return SQLITE_BUSY;
    if (h->lock < SQLITE_LOCK_SHARED)
        f->readers++;
    if (lock > SQLITE_LOCK_SHARED)
        f->writer = h;
    h->lock = lock == SQLITE_LOCK_EXCLUSIVE && f->readers > 1 ? SQLITE_LOCK_PENDING : lock;
    return h->lock == lock ? SQLITE_OK : SQLITE_BUSY;
}

static int h_unlock(sqlite3_file *base, int lock)
{
    struct handle *h = (struct handle *)base;
    if (!disk_gone(h) && h->lock > lock) {
        if (h->file->writer == h)
            h->file->writer = NULL;
        if (lock < SQLITE_LOCK_SHARED)
            h->file->readers--;
    }
    h->lock = lock < h->lock ? lock : h->lock;
    return SQLITE_OK;
}

void disk_unlock(struct handle *h)
{
    h_unlock(&h->base, SQLITE_LOCK_NONE);
    for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
        h->file->shared[i] -= h->shared >> i & 1;
        h->file->exclusive[i] &= !(h->exclusive >> i & 1);
    }
    h->shared = h->exclusive = 0;
}

static int h_close(sqlite3_file *base)
{
    struct handle *h = (struct handle *)base;
    bool gone = disk_gone(h);
    if (!gone)
        disk_unlock(h);
    if (h->before) {
        *h->before = h->next;
        if (h->next)
            h->next->before = h->before;
        h->before = NULL;
    }
    if (!gone && h->temporary)
        disk_forget_file(h->file);
    else if (!gone)
        disk_left(h->file);
    return SQLITE_OK;
}

static int h_read(sqlite3_file *base, void *out, int len, sqlite3_int64 offset)
{
    struct handle *h = (struct handle *)base;
    if (disk_gone(h))
        return SQLITE_IOERR_READ;
    int rc = disk_judged(DISK_READ, h->file->path, offset, (size_t)len);
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
    if (disk_gone(h))
        return SQLITE_IOERR_WRITE;
    int rc = disk_judged(DISK_WRITE, h->file->path, offset, (size_t)len);
    if (rc != SQLITE_OK)
        return rc;
    disk_write(&h->file->now, offset, data, (size_t)len);
    disk_remember(h->file, offset, data, (size_t)len);
    return SQLITE_OK;
}

static int h_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct handle *h = (struct handle *)base;
    if (disk_gone(h))
        return SQLITE_IOERR_TRUNCATE;
    int rc = disk_judged(DISK_TRUNCATE, h->file->path, size, 0);
    if (rc != SQLITE_OK)
        return rc;
    disk_resize(&h->file->now, (size_t)size);
    disk_remember(h->file, size, NULL, 0);
    return SQLITE_OK;
}

static int h_sync(sqlite3_file *base, int flags)
{
    struct handle *h = (struct handle *)base;
    (void)flags;
    if (disk_gone(h))
        return SQLITE_IOERR_FSYNC;
    int rc = disk_judged(DISK_SYNC, h->file->path, 0, 0);
    if (rc == SQLITE_OK && !disk.lies)
        disk_sync(h->file);
    else if (rc != SQLITE_OK && !disk_gone(h))
        disk_sync_failed(h->file);
    return rc;
}

static int h_size(sqlite3_file *base, sqlite3_int64 *size)
{
    struct handle *h = (struct handle *)base;
    if (disk_gone(h))
        return SQLITE_IOERR_FSTAT;
    *size = (sqlite3_int64)h->file->now.len;
    return SQLITE_OK;
}

static int h_reserved(sqlite3_file *base, int *held)
{
    struct handle *h = (struct handle *)base;
    *held = !disk_gone(h) && h->file->writer != NULL;
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
    if (disk_gone(h) || region >= REGIONS_MAX)
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
    if (disk_gone(h))
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
    if (!disk_gone(h) && forget)
        disk_forget_regions(h->file);
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
    int rc = disk_judged(DISK_OPEN, path ? path : "", 0, 0);
    if (rc != SQLITE_OK)
        return rc;
    struct file *f = path ? disk_find(path) : NULL;
    if (!f && !(flags & SQLITE_OPEN_CREATE))
        return SQLITE_CANTOPEN;
    if (!f && !(f = disk_make(path ? path : "temporary")))
        return SQLITE_CANTOPEN;
    h->base.pMethods = &methods;
    h->file = f;
    h->folder = f->folder;
    h->process = disk.process;
    h->life = disk_life(h->folder, h->process);
    h->temporary = !path;
    h->next = disk.handles;
    h->before = &disk.handles;
    if (h->next)
        h->next->before = &h->next;
    disk.handles = h;
    if (out)
        *out = flags;
    return SQLITE_OK;
}

static int v_delete(sqlite3_vfs *vfs, const char *path, int sync_folder)
{
    (void)vfs, (void)sync_folder;
    int rc = disk_judged(DISK_DELETE, path, 0, 0);
    struct file *f = disk_find(path);
    if (rc != SQLITE_OK)
        return rc;
    if (!f)
        return SQLITE_IOERR_DELETE_NOENT;
    disk_forget_file(f);
    return SQLITE_OK;
}

static int v_access(sqlite3_vfs *vfs, const char *path, int flags, int *out)
{
    struct file *f = disk_find(path);
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
        out[i] = (char)disk_random();
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
