/* disk_private.h - disk.c has the files and what becomes of them, disk_vfs.c what SQLite calls. */
#ifndef DW_TESTS_DISK_PRIVATE_H
#define DW_TESTS_DISK_PRIVATE_H

#include "disk.h"

#include <sqlite3.h>

enum {
    FILES_MAX = 16,
    FOLDERS_MAX = 4,
    PROCESSES_MAX = 16,
    PATH_LEN = 128,
    REGIONS_MAX = 64
};

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
    int folder;
    bool exists, durable; /* durable: it was synced since it was made */
    struct image now, synced;
    struct pending *pending, **pending_end;
    void *regions[REGIONS_MAX]; /* the shared memory beside a database */
    int readers;                /* handles with a lock, of which one may have a stronger one */
    struct handle *writer;
    uint32_t shared[SQLITE_SHM_NLOCK];
    bool exclusive[SQLITE_SHM_NLOCK];
};

struct handle {
    sqlite3_file base;
    struct handle *next, **before; /* of all that are open; before NULL: not among them */
    struct file *file;
    int folder, process;
    uint64_t life; /* of its disk and its process when it was opened */
    int lock;
    uint32_t shared, exclusive;
    bool temporary;
};

struct disk {
    struct file files[FILES_MAX];
    struct handle *handles;
    char folders[FOLDERS_MAX][PATH_LEN];
    uint64_t folder_lives[FOLDERS_MAX], process_lives[PROCESSES_MAX];
    int process; /* that opens files now */
    uint64_t random;
    bool lies;
    disk_judge *judge;
    void *arg;
};
extern struct disk disk;

uint64_t disk_random(void);
int disk_judged(enum disk_call call, const char *path, int64_t offset, size_t len);
/* They never go down, and go up with each crash of the disk, each end of the process. */
uint64_t disk_life(int folder, int process);
int disk_folder_of(const char *path);

struct file *disk_find(const char *path);
struct file *disk_make(const char *path);
void disk_forget_file(struct file *f);
void disk_forget_regions(struct file *f);
void disk_resize(struct image *image, size_t len);
void disk_write(struct image *image, int64_t offset, const void *data, size_t len);
void disk_remember(struct file *f, int64_t offset, const void *data, size_t len);
void disk_sync(struct file *f);
void disk_sync_failed(struct file *f);
void disk_left(struct file *f); /* by one who had it open */

/* ---- disk_vfs.c ---- */

bool disk_gone(const struct handle *h);
void disk_unlock(struct handle *h); /* all it holds */

#endif
