/* doctor_machine.c - is this machine one on which "durable" and "today" mean what they say? */
#include "doctor.h"

#include "dw/clock.h"
#include "dw/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

enum {
    FSYNCS = 15,
    SLOW_US = 30000, /* a filing waits for one of these */
    FILES_NEEDED = 4096,
    MIB = 1024 * 1024,
};

/* ---- clock ---- */

void look_at_clock(struct doctor *d)
{
    struct timex kernel = {0};
    char day[DW_DAY_TEXT];
    dw_day_format(dw_day_of(dw_now()), day);
    if (*d->config->clock_file)
        found(d, CARE, "clock", "take the setting clock_file out: it is for tests and drills",
              "it is %s in Shanghai, as clock_file shifts it", day);
    else if (adjtimex(&kernel) == TIME_ERROR || kernel.status & STA_UNSYNC)
        found(d, CARE, "clock", "let chrony or systemd-timesyncd keep the time: legal due dates are "
                                "counted from it",
              "it is %s in Shanghai, but the kernel says nobody sets the clock", day);
    else
        found(d, FINE, "clock", "", "it is %s in Shanghai, and the clock is kept right", day);
}

/* ---- disks ---- */

static int by_size(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

/* Median time of writing a page and having it on the disk, in microseconds; -1 with errno. */
static long time_fsync(const char *folder)
{
    char path[4096], page[4096] = "";
    long took[FSYNCS];
    snprintf(path, sizeof path, "%s/doctor-XXXXXX", folder);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -1;
    unlink(path);
    for (int i = 0; i < FSYNCS; i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        if (pwrite(fd, page, sizeof page, (off_t)i * (off_t)sizeof page) < 0 || fsync(fd) != 0) {
            close(fd);
            return -1;
        }
        clock_gettime(CLOCK_MONOTONIC, &after);
        took[i] = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
    }
    close(fd);
    qsort(took, FSYNCS, sizeof *took, by_size);
    return took[FSYNCS / 2];
}

/* File systems that forget, or that promise more than they keep. */
static const char *doubtful(const char *folder)
{
    static const struct {
        unsigned magic;
        const char *name;
    } known[] = {{0x01021994, "tmpfs: all is gone when the machine ends"},
                 {0x858458f6, "ramfs: all is gone when the machine ends"},
                 {0x6969, "NFS: its locks and its fsync are not to be relied on"},
                 {0xff534d42, "CIFS: its locks and its fsync are not to be relied on"},
                 {0xfe534d42, "SMB: its locks and its fsync are not to be relied on"},
                 {0x794c7630, "overlayfs: the layer of a container, gone with it unless it is a "
                              "volume"}};
    struct statfs fs;
    if (statfs(folder, &fs) == 0)
        for (size_t i = 0; i < DW_COUNT(known); i++)
            if ((unsigned)fs.f_type == known[i].magic)
                return known[i].name;
    return NULL;
}

static void look_at_room(struct doctor *d, const char *name, const char *folder)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0)
        return;
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
    int64_t least = d->config->queue.min_free_bytes;
    if (room < least)
        found(d, WRONG, name, "make room now: filings are refused",
              "%lld MiB are free, queue.min_free_bytes is %lld MiB", (long long)(room / MIB),
              (long long)(least / MIB));
    else if (room < 4 * least || room < d->config->queue.max_bytes)
        found(d, CARE, name, "make room, or lower queue.max_bytes",
              "%lld MiB are free, the queue may take %lld MiB", (long long)(room / MIB),
              (long long)(d->config->queue.max_bytes / MIB));
}

static void look_at_disk(struct doctor *d, const char *part)
{
    char name[48];
    char *folder = dw_config_state(d->config, part);
    snprintf(name, sizeof name, "disk of %s", part);
    long us = time_fsync(folder);
    const char *doubt = doubtful(folder);
    if (us < 0)
        found(d, WRONG, name, "look at the folder and its rights; run me as the user of the parts",
              "%s: %s", folder, strerror(errno));
    else if (doubt)
        found(d, CARE, name, "put `state` on a local disk", "%s is on %s", folder, doubt);
    else if (us > SLOW_US)
        found(d, CARE, name, "a disk with a protected write cache answers in less than 1 ms",
              "fsync takes %ld.%ld ms", us / 1000, us % 1000 / 100);
    else
        found(d, FINE, name, "", "fsync takes %ld.%02ld ms", us / 1000, us % 1000 / 10);
    look_at_room(d, name, folder);
    dw_free(folder);
}

void look_at_disks(struct doctor *d)
{
    look_at_disk(d, "broker");
    look_at_disk(d, "case");
}

/* ---- limits ---- */

void look_at_limits(struct doctor *d)
{
    struct rlimit files, memory;
    FILE *swaps = fopen("/proc/swaps", "re");
    char line[256];
    int swapping = -1; /* without the heading */
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < FILES_NEEDED)
        found(d, CARE, "open files", "raise it: LimitNOFILE= of systemd, or ulimit -Hn",
              "at most %llu, and connections are files", (unsigned long long)files.rlim_max);
    else
        found(d, FINE, "open files", "", "up to %llu", (unsigned long long)files.rlim_max);

    /* A locked page or three for each key in hand; sodium puts guard pages around each. */
    uint64_t wanted = (uint64_t)d->config->desk.sessions * 16 * 4096 + 8 * MIB;
    getrlimit(RLIMIT_MEMLOCK, &memory);
    if (memory.rlim_cur != RLIM_INFINITY && memory.rlim_cur < wanted && geteuid() != 0)
        found(d, CARE, "locked memory", "raise it: LimitMEMLOCK= of systemd, or ulimit -l",
              "%llu KiB, and %lld sessions may want %llu: keys could be swapped out",
              (unsigned long long)memory.rlim_cur / 1024, (long long)d->config->desk.sessions,
              (unsigned long long)wanted / 1024);
    else
        found(d, FINE, "locked memory", "", "enough for %lld sessions",
              (long long)d->config->desk.sessions);

    while (swaps && fgets(line, sizeof line, swaps))
        swapping++;
    if (swaps)
        fclose(swaps);
    if (swapping > 0)
        found(d, CARE, "swap", "switch it off, or encrypt it with a key made at each start",
              "this machine swaps: what reporters write could be left on the disk");
    else
        found(d, FINE, "swap", "", "none");
}
