/* process.h - what every long-running program does first and last.  Source: broker/process.c
 *
 * dw_process_start() reads arguments and settings, makes the process undumpable and unprivileged-
 * for-good, refuses core files, blocks SIGTERM/SIGINT/SIGHUP into a signalfd, opens and locks its
 * 0700 state folder (two of a kind on one folder: the second refuses), and ends the process with the
 * exit codes of sysexits(3) where that fails.
 *
 * Readiness and counters leave as datagrams in sd_notify's form, to NOTIFY_SOCKET and to run/ops.sock:
 *   READY=1            once, for systemd and the supervisor
 *   STATUS=text        what it is doing, or why it is not ready
 *   DENGWEN=name       who is talking
 *   DENGWEN_READY=0|1  readiness now; it may be lost and found again
 *   DENGWEN_METRIC=name value    to run/ops.sock only
 *   WATCHDOG=1         with each of them: the main loop turns */
#ifndef DW_PROCESS_H
#define DW_PROCESS_H

#include "dw/config.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { /* sysexits(3) where it has one */
    DW_EXIT_DONE = 0,
    DW_EXIT_NO = 1,
    DW_EXIT_USAGE = 2,
    DW_EXIT_DATA = 65,
    DW_EXIT_AWAY = 69,
    DW_EXIT_RETRY = 75,
    DW_EXIT_CONFIG = 78,
};

struct dw_process {
    const char *name;
    struct dw_config config;
    char *state; /* its folder */
    int signal_fd;
    int lock_fd;
    bool ready;
    char status[160];
    int64_t told_at;
};

/* `does` is the first line of --help.  `own_state` false for programs that keep nothing. */
void dw_process_start(struct dw_process *self, int argc, char **argv, const char *name,
                      const char *does, bool own_state);
void dw_process_end(struct dw_process *self);

enum dw_signal { DW_SIGNAL_NONE, DW_SIGNAL_STOP, DW_SIGNAL_RELOAD };
/* Reads signal_fd without waiting.  A second stop signal ends the process at once. */
enum dw_signal dw_process_signal(struct dw_process *self);

/* Readiness as it is now; repeated every second by dw_process_tick(). */
void dw_process_ready(struct dw_process *self, bool ready, const char *status);
/* Call at least every second: tells ops readiness and counters. */
void dw_process_tick(struct dw_process *self);

/* A counter or gauge under this name; names are literals, the table is fixed and small. */
typedef _Atomic int64_t dw_metric;
dw_metric *dw_metric_named(const char *name);
/* One of several under the same name, told apart by a label: NAME{label="value"}.  The value is one of
 * a short list that we made, never what a peer said. */
dw_metric *dw_metric_labelled(const char *name, const char *label, const char *value);
struct dw_label {
    const char *name, *value;
};
dw_metric *dw_metric_with(const char *name, const struct dw_label *labels, size_t count);

/* How often which size: NAME_bucket{le="..."}, NAME_sum, NAME_count, as Prometheus has it. */
enum { DW_BUCKETS_MAX = 12 };
struct dw_histogram {
    const int64_t *bounds;
    size_t count;
    dw_metric *buckets[DW_BUCKETS_MAX + 1], *sum, *all;
};
/* The bounds rise, and stay where they are. */
void dw_histogram_init(struct dw_histogram *h, const char *name, const int64_t *bounds,
                       size_t count);
void dw_histogram_add(struct dw_histogram *h, int64_t value);

/* core files off, undumpable, no new privileges, umask 077, SIGPIPE ignored, file descriptors up to
 * the hard limit.  Part of dw_process_start(); tools that hold keys call it too. */
void dw_process_harden(void);

/* A path below run/ as a unix socket address; false when it is too long. */
struct sockaddr_un;
bool dw_unix_address(const char *path, struct sockaddr_un *ret);

/* Cores that this process may run on, at least one. */
size_t dw_cores(void);

/* Makes a folder 0700 (and its parents 0755) if missing; false with errno. */
bool dw_make_folder(const char *path, int mode);
/* Reads a whole file of at most max bytes; a secret file must not be readable by others.  Returns
 * NULL with errno (EPERM: too open, EFBIG: too long).  Free with dw_wipe_free(p, *ret_len). */
uint8_t *dw_read_file(const char *path, size_t max, bool secret, size_t *ret_len);
/* Writes to a temporary name, fsyncs, renames, fsyncs the folder. */
bool dw_write_file(const char *path, const void *data, size_t len, int mode);

#endif
