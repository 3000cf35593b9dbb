/* disk.h - a disk in memory that can lose power: a VFS of SQLite for simulators and crash tests.
 *
 * What is written lies apart until it is synced.  When the power goes, of that is left what a real disk
 * may keep: nothing, or any of its sectors of 512 bytes.  When only processes end it can still be read,
 * and is no more durable than before.  What was open fails from then on, as a process would be gone.
 *
 * Each folder is a disk of its own, and files are opened by processes, which have numbers.
 *
 * It becomes SQLite's default VFS, so the code under test is opened as it stands.  One thread. */
#ifndef DW_TESTS_DISK_H
#define DW_TESTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DISK_SECTOR = 512 };

enum disk_call {
    DISK_OPEN,
    DISK_READ,
    DISK_WRITE,
    DISK_TRUNCATE,
    DISK_SYNC,
    DISK_DELETE,
    DISK_CALLS
};
extern const char *const disk_call_names[DISK_CALLS];

/* What becomes of that which was not synced. */
enum disk_loss {
    DISK_KEEPS,    /* only the processes were killed: nothing, for now */
    DISK_DROPS,    /* nothing */
    DISK_TEARS,    /* all before some sector, in the order of writing */
    DISK_REORDERS, /* any sectors */
    DISK_LOSSES
};
extern const char *const disk_loss_names[DISK_LOSSES];

void disk_install(void);
/* No files, no faults; everything random from now on follows from the seed. */
void disk_reset(uint64_t seed);
/* Sync returns before anything is durable, as a disk that lies. */
void disk_lies(bool lies);

/* Asked before each call: SQLITE_OK, or the error it ends with.  It may crash the disk. */
typedef int disk_judge(void *arg, enum disk_call call, const char *path, int64_t offset,
                       size_t len);
void disk_use_judge(disk_judge *judge, void *arg);

void disk_crash(enum disk_loss loss);
/* Only the disk where that file lies. */
void disk_crash_of(const char *path, enum disk_loss loss);
/* Who opens files from now on; 0 at first.  And the end of one of them: others go on. */
void disk_use_process(int process);
void disk_kill(int process);

/* The bytes of a file as they would be read now; NULL when there is none. */
const uint8_t *disk_file(const char *path, size_t *len);
void disk_set_file(const char *path, const void *data, size_t len);

#endif
