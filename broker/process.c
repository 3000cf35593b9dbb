#include "dw/process.h"

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/layout.h"
#include "dw/log.h"
#include "dw/result.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { METRICS_MAX = 384, METRIC_TEXT = 120, TELL_EVERY_MS = 1000,
       LOCK_WAIT_MS = 2000, LOCK_NAP_MS = 20 };

static struct {
    pthread_mutex_t lock;
    size_t count;
    struct {
        char name[METRIC_TEXT];
        dw_metric value;
    } items[METRICS_MAX];
} metrics = {.lock = PTHREAD_MUTEX_INITIALIZER};

dw_metric *dw_metric_named(const char *name)
{
    pthread_mutex_lock(&metrics.lock);
    size_t i = 0;
    while (i < metrics.count && strcmp(metrics.items[i].name, name) != 0)
        i++;
    if (i == METRICS_MAX)
        abort(); /* names are ours: this is our own mistake */
    if (i == metrics.count) {
        snprintf(metrics.items[i].name, METRIC_TEXT, "%s", name);
        metrics.count++;
    }
    pthread_mutex_unlock(&metrics.lock);
    return &metrics.items[i].value;
}

__attribute__((format(printf, 2, 3))) static void write_name(char text[static METRIC_TEXT],
                                                             const char *format, ...)
{
    va_list values;
    va_start(values, format);
    int len = vsnprintf(text, METRIC_TEXT, format, values);
    va_end(values);
    if (len < 0 || len >= METRIC_TEXT)
        abort(); /* as above */
}

dw_metric *dw_metric_with(const char *name, const struct dw_label *labels, size_t count)
{
    char text[METRIC_TEXT], so_far[METRIC_TEXT];
    write_name(text, "%s", name);
    for (size_t i = 0; i < count; i++) {
        memcpy(so_far, text, sizeof so_far);
        write_name(text, "%s%s%s=\"%s\"", so_far, i ? "," : "{", labels[i].name, labels[i].value);
    }
    memcpy(so_far, text, sizeof so_far);
    write_name(text, "%s}", so_far);
    return dw_metric_named(text);
}

dw_metric *dw_metric_labelled(const char *name, const char *label, const char *value)
{
    return dw_metric_with(name, &(struct dw_label){label, value}, 1);
}

void dw_histogram_init(struct dw_histogram *h, const char *name, const int64_t *bounds,
                       size_t count)
{
    char text[METRIC_TEXT], bound[24];
    *h = (struct dw_histogram){.bounds = bounds, .count = count};
    write_name(text, "%s_bucket", name);
    for (size_t i = 0; i < count; i++) {
        snprintf(bound, sizeof bound, "%lld", (long long)bounds[i]);
        h->buckets[i] = dw_metric_labelled(text, "le", bound);
    }
    h->buckets[count] = dw_metric_labelled(text, "le", "+Inf");
    write_name(text, "%s_sum", name);
    h->sum = dw_metric_named(text);
    write_name(text, "%s_count", name);
    h->all = dw_metric_named(text);
}

void dw_histogram_add(struct dw_histogram *h, int64_t value)
{
    for (size_t i = 0; i < h->count; i++)
        if (value <= h->bounds[i])
            (*h->buckets[i])++;
    (*h->buckets[h->count])++;
    *h->sum += value;
    (*h->all)++;
}

void dw_process_harden(void)
{
    struct rlimit none = {0, 0}, files;
    setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0)
        abort();
    dw_layout_forget();
}

struct options {
    const char *config;
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    if (key == 'c') {
        options->config = arg;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static enum dw_level level_named(const char *name)
{
    return *name == 'e' ? DW_ERROR : *name == 'w' ? DW_WARN : *name == 'd' ? DW_DEBUG : DW_INFO;
}

/* Of two that are alive the second gives up; one that was killed may take a moment to be gone. */
static bool take_lock(int fd)
{
    for (int waited = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_NAP_MS) {
        if (errno != EWOULDBLOCK || waited >= LOCK_WAIT_MS)
            return false;
        usleep(LOCK_NAP_MS * 1000);
    }
    return true;
}

static void open_state(struct dw_process *self)
{
    struct stat st;
    self->state = dw_config_state(&self->config, self->name);
    if (!dw_make_folder(self->state, 0700) || stat(self->state, &st) != 0 ||
        (st.st_mode & 077) != 0) {
        dw_log(DW_ERROR, "process.state", "%s: expected a folder of mode 0700 (%s)", self->state,
               strerror(errno));
        exit(DW_EXIT_CONFIG);
    }
    self->lock_fd = open(self->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (self->lock_fd < 0) {
        dw_log(DW_ERROR, "process.state", "%s: %s", self->state, strerror(errno));
        exit(DW_EXIT_CONFIG);
    }
    if (!take_lock(self->lock_fd)) {
        dw_log(DW_ERROR, "process.locked", "%s is in use by another dengwen-%s", self->state,
               self->name);
        exit(DW_EXIT_RETRY);
    }
}

void dw_process_start(struct dw_process *self, int argc, char **argv, const char *name,
                      const char *does, bool own_state)
{
    static const struct argp_option known[] = {
        {"config", 'c', "FILE", 0, "settings (default: DENGWEN_CONFIG, else "
                                   "/etc/dengwen/dengwen.yaml)", 0},
        {0}};
    struct argp argp = {known, parse_option, NULL, does, NULL, NULL, NULL};
    struct options options = {NULL};

    *self = (struct dw_process){.name = name, .signal_fd = -1, .lock_fd = -1};
    argp_err_exit_status = DW_EXIT_USAGE;
    argp_program_version = "dengwen " DW_VERSION;
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    dw_process_harden();
    dw_log_open(name, DW_INFO);
    if (!dw_config_load(dw_config_path(options.config), &self->config, dw_config_problem_print,
                        NULL))
        exit(DW_EXIT_CONFIG);
    dw_log_open(name, level_named(self->config.log_level));
    dw_clock_use_file(NULL);
    if (*self->config.clock_file) {
        char *path = dw_config_resolve(&self->config, self->config.clock_file);
        dw_clock_use_file(path);
        dw_free(path);
    }
    if (own_state)
        open_state(self);

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* threads made later inherit it */
    self->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (self->signal_fd < 0)
        abort();
}

void dw_process_end(struct dw_process *self)
{
    if (self->signal_fd >= 0)
        close(self->signal_fd);
    if (self->lock_fd >= 0)
        close(self->lock_fd);
    dw_free(self->state);
    dw_config_free(&self->config);
}

enum dw_signal dw_process_signal(struct dw_process *self)
{
    static int stops;
    struct signalfd_siginfo info;
    enum dw_signal got = DW_SIGNAL_NONE;
    while (read(self->signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            if (got == DW_SIGNAL_NONE)
                got = DW_SIGNAL_RELOAD;
            continue;
        }
        if (stops++ > 0) {
            dw_log(DW_WARN, "process.aborted", "second signal to stop: ending at once");
            _exit(128 + (int)info.ssi_signo);
        }
        got = DW_SIGNAL_STOP;
    }
    return got;
}

static void tell(const char *path, const struct dw_buf *message)
{
    struct sockaddr_un to;
    if (!dw_unix_address(path, &to))
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    /* Nobody listening is no reason to stop working. */
    (void)!sendto(fd, message->data, message->len, 0, (struct sockaddr *)&to, sizeof to);
    close(fd);
}

static void tell_everyone(struct dw_process *self, bool first)
{
    DW_AUTO_BUF message = {0};
    dw_buf_init(&message, 65536);
    dw_buf_printf(&message, "DENGWEN=%s\nDENGWEN_READY=%d\nDENGWEN_PID=%ld\n", self->name,
                  self->ready, (long)getpid());
    dw_buf_printf(&message, "STATUS=%s\nWATCHDOG=1\n", self->status);
    if (first)
        dw_buf_str(&message, "READY=1\n");
    /* Without the metrics: systemd ignores a message of more than 4096 bytes, READY=1 with it. */
    const char *notify = getenv("NOTIFY_SOCKET");
    if (notify && *notify)
        tell(notify, &message);
    pthread_mutex_lock(&metrics.lock);
    for (size_t i = 0; i < metrics.count; i++)
        dw_buf_printf(&message, "DENGWEN_METRIC=%s %lld\n", metrics.items[i].name,
                      (long long)atomic_load(&metrics.items[i].value));
    pthread_mutex_unlock(&metrics.lock);
    char *ops = dw_config_run(&self->config, "ops.sock");
    tell(ops, &message);
    dw_free(ops);
    self->told_at = dw_monotonic_ms();
}

void dw_process_ready(struct dw_process *self, bool ready, const char *status)
{
    bool same = self->told_at && ready == self->ready;
    if (same && strncmp(status, self->status, sizeof self->status - 1) == 0)
        return;
    if (self->told_at ? !same || !ready : ready)
        dw_log(ready ? DW_INFO : DW_WARN, ready ? "process.ready" : "process.not-ready", "%s",
               status);
    self->ready = ready;
    snprintf(self->status, sizeof self->status, "%s", status);
    tell_everyone(self, ready);
}

void dw_process_tick(struct dw_process *self)
{
    if (dw_monotonic_ms() - self->told_at >= TELL_EVERY_MS)
        tell_everyone(self, false);
}

bool dw_unix_address(const char *path, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return false;
    memcpy(ret->sun_path, path, strlen(path) + 1);
    if (*path == '@') /* systemd's notation of the abstract namespace */
        ret->sun_path[0] = 0;
    return true;
}

size_t dw_cores(void)
{
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? (size_t)CPU_COUNT(&cores) : 1;
}

bool dw_make_folder(const char *path, int mode)
{
    char *copy = dw_strdup(path);
    mode_t mask = umask(0);
    bool made = true;
    for (char *p = copy + 1; made && *p; p++) {
        if (*p != '/' || !p[1])
            continue; /* "run/" is the folder itself, not a parent */
        *p = 0;
        made = mkdir(copy, 0755) == 0 || errno == EEXIST;
        *p = '/';
    }
    made = made && (mkdir(copy, (mode_t)mode) == 0 || errno == EEXIST);
    umask(mask);
    dw_free(copy);
    return made;
}

uint8_t *dw_read_file(const char *path, size_t max, bool secret, size_t *ret_len)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    int wrong = fstat(fd, &st) != 0                ? errno
                : secret && (st.st_mode & 077) != 0 ? EPERM
                : (size_t)st.st_size > max          ? EFBIG
                                                    : 0;
    uint8_t *data = wrong ? NULL : dw_alloc((size_t)st.st_size + 1);
    size_t len = 0;
    while (data && len < (size_t)st.st_size) {
        ssize_t n = read(fd, data + len, (size_t)st.st_size - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    close(fd);
    if (data && len != (size_t)st.st_size) {
        dw_wipe_free(data, (size_t)st.st_size);
        data = NULL;
        wrong = EIO;
    }
    *ret_len = len;
    errno = wrong;
    return data;
}

static bool sync_folder_of(const char *path)
{
    char *folder = dw_strdup(path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int fd = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    dw_free(folder);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

bool dw_write_file(const char *path, const void *data, size_t len, int mode)
{
    DW_AUTO_BUF name = {0};
    dw_buf_init(&name, 4096);
    dw_buf_printf(&name, "%s.new", path);
    const char *temporary = dw_buf_text(&name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(fd, (const char *)data + done, len - done);
        if (n < 0)
            break;
        done += (size_t)n;
    }
    bool good = done == len && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0;
    close(fd);
    good = good && rename(temporary, path) == 0 && sync_folder_of(path);
    if (!good)
        unlink(temporary);
    return good;
}
