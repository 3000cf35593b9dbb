#include "disk_private.h"

#include "dw/bytes.h"

#include <string.h>

const char *const disk_call_names[DISK_CALLS] = {"open",     "read", "write",
                                                 "truncate", "sync", "delete"};
const char *const disk_loss_names[DISK_LOSSES] = {"keeps", "drops", "tears", "reorders"};

struct disk disk;

uint64_t disk_random(void)
{
    uint64_t z = disk.random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- whose files they are ---- */

int disk_folder_of(const char *path)
{
    const char *end = strrchr(path, '/');
    size_t len = end ? (size_t)(end - path) : 0;
    for (int i = 0; i < FOLDERS_MAX; i++) {
        char *folder = disk.folders[i];
        if (i && !*folder) /* the first is of files without a folder */
            memcpy(folder, path, len);
        if (strlen(folder) == len && memcmp(folder, path, len) == 0)
            return i;
    }
    return 0;
}

uint64_t disk_life(int folder, int process)
{
    return disk.folder_lives[folder] + disk.process_lives[process];
}

void disk_use_process(int process)
{
    disk.process = process;
}

int disk_judged(enum disk_call call, const char *path, int64_t offset, size_t len)
{
    int folder = disk_folder_of(path);
    uint64_t life = disk_life(folder, disk.process);
    int rc = disk.judge ? disk.judge(disk.arg, call, path, offset, len) : SQLITE_OK;
    return life == disk_life(folder, disk.process) ? rc : SQLITE_IOERR;
}

/* ---- images ---- */

void disk_resize(struct image *image, size_t len)
{
    if (len > image->cap) {
        image->cap = len * 2;
        image->bytes = dw_realloc(image->bytes, image->cap);
    }
    if (len > image->len)
        memset(image->bytes + image->len, 0, len - image->len);
    image->len = len;
}

void disk_write(struct image *image, int64_t offset, const void *data, size_t len)
{
    if ((size_t)offset + len > image->len)
        disk_resize(image, (size_t)offset + len);
    if (len)
        memcpy(image->bytes + offset, data, len);
}

static void image_copy(struct image *to, const struct image *from)
{
    disk_resize(to, from->len);
    if (from->len)
        memcpy(to->bytes, from->bytes, from->len);
}

static void image_free(struct image *image)
{
    dw_free(image->bytes);
    *image = (struct image){0};
}

/* ---- files ---- */

struct file *disk_find(const char *path)
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

void disk_forget_regions(struct file *f)
{
    for (int i = 0; i < REGIONS_MAX; i++) {
        dw_free(f->regions[i]);
        f->regions[i] = NULL;
    }
}

/* Nobody has it open any more. */
static void forget_memory(struct file *f)
{
    disk_forget_regions(f);
    memset(f->shared, 0, sizeof f->shared);
    memset(f->exclusive, 0, sizeof f->exclusive);
    f->readers = 0;
    f->writer = NULL;
}

void disk_forget_file(struct file *f)
{
    forget_pending(f);
    forget_memory(f);
    image_free(&f->now);
    image_free(&f->synced);
    memset(f, 0, sizeof *f);
}

struct file *disk_make(const char *path)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &disk.files[i];
        if (f->exists)
            continue;
        memset(f, 0, sizeof *f);
        strncpy(f->path, path, sizeof f->path - 1);
        f->folder = disk_folder_of(path);
        f->exists = true;
        f->pending_end = &f->pending;
        return f;
    }
    return NULL;
}

void disk_remember(struct file *f, int64_t offset, const void *data, size_t len)
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
        disk_write(&f->synced, p->offset + (int64_t)from, p->data + from, to - from);
    else
        disk_resize(&f->synced, (size_t)p->offset);
}

void disk_sync(struct file *f)
{
    for (struct pending *p = f->pending; p; p = p->next)
        apply(f, p, 0, p->len);
    forget_pending(f);
    f->durable = true;
}

/* The system has told of it once; what it could not write may never be written, and can be read as
 * long as the machine runs. */
void disk_sync_failed(struct file *f)
{
    if (disk_random() % 2)
        forget_pending(f);
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
        1 + (unsigned)(disk_random() % 3); /* of four: how much is on the disk already */
    for (const struct pending *p = f->pending; p; p = p->next)
        all += 1 + p->len / DISK_SECTOR;
    keep = loss == DISK_TEARS ? disk_random() % (all + 1) : 0;
    for (const struct pending *p = f->pending; p; p = p->next) {
        size_t at = 0;
        do {
            size_t end = p->len ? sector_end(p, at) : 0;
            bool stays = (loss == DISK_TEARS && keep > 0) ||
                         (loss == DISK_REORDERS && disk_random() % 4 < odds);
            keep -= keep > 0;
            if (stays)
                apply(f, p, at, end);
            at = end;
        } while (at < p->len);
    }
    forget_pending(f);
    if (!f->durable && (loss == DISK_DROPS || disk_random() % 2)) {
        disk_forget_file(f);
        return;
    }
    f->durable = true;
    image_copy(&f->now, &f->synced);
}

/* What is beside a database lives as long as somebody has it open: the next one reads the log anew.
 */
void disk_left(struct file *f)
{
    for (struct handle *h = disk.handles; h; h = h->next)
        if (h->file == f && !disk_gone(h))
            return;
    forget_memory(f);
}

static void crash_folder(int folder, enum disk_loss loss)
{
    disk.folder_lives[folder]++;
    for (int i = 0; i < FILES_MAX; i++) {
        struct file *f = &disk.files[i];
        if (!f->exists || f->folder != folder)
            continue;
        forget_memory(f);
        if (loss != DISK_KEEPS)
            crash_file(f, loss);
    }
}

void disk_crash(enum disk_loss loss)
{
    for (int i = 0; i < FOLDERS_MAX; i++)
        crash_folder(i, loss);
}

void disk_crash_of(const char *path, enum disk_loss loss)
{
    crash_folder(disk_folder_of(path), loss);
}

void disk_kill(int process)
{
    for (struct handle *h = disk.handles; h; h = h->next)
        if (h->process == process && !disk_gone(h))
            disk_unlock(h);
    disk.process_lives[process]++;
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists)
            disk_left(&disk.files[i]);
}

const uint8_t *disk_file(const char *path, size_t *len)
{
    struct file *f = disk_find(path);
    *len = f ? f->now.len : 0;
    return f ? f->now.bytes : NULL;
}

void disk_set_file(const char *path, const void *data, size_t len)
{
    struct file *f = disk_find(path);
    if (f)
        disk_forget_file(f);
    f = disk_make(path);
    disk_write(&f->now, 0, data, len);
    image_copy(&f->synced, &f->now);
    f->durable = true;
}

void disk_reset(uint64_t seed)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (disk.files[i].exists)
            disk_forget_file(&disk.files[i]);
    while (disk.handles) { /* of connections that nobody closed */
        disk.handles->before = NULL;
        disk.handles = disk.handles->next;
    }
    for (int i = 0; i < FOLDERS_MAX; i++)
        disk.folder_lives[i]++;
    for (int i = 0; i < PROCESSES_MAX; i++)
        disk.process_lives[i]++;
    memset(disk.folders, 0, sizeof disk.folders);
    disk.process = 0;
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
