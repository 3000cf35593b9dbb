/* dengwen-run: starts, watches and ends all parts of one machine.
 *
 * supervisor.c decides; this file forks, waits and passes on.  Parts talk to it as they would to
 * systemd: READY=1 to NOTIFY_SOCKET, believed by the process id that the kernel attaches.
 * Nothing survives it: every part asks the kernel to be killed with its parent. */
#include "programs.h"
#include "supervisor.h"

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/log.h"
#include "dw/process.h"
#include "dw/result.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TICK_MS = 1000, DATAGRAM_MAX = 65536, BURST = 64 };

struct child {
    pid_t pid; /* 0 when it does not run */
    char *path;
    char status[160]; /* its own words, for the log */
};

struct loop {
    struct dw_process process;
    struct dw_supervisor supervisor;
    struct child children[DW_PARTS];
    int notify_fd;
    char *notify_path;
    bool over, shown;
    int exit_code;
};

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "run.start", "%s: %s", what, why);
    exit(code);
}

/* ---- before the first part ---- */

static void lock_run_folder(struct loop *l)
{
    char *folder = dw_config_resolve(&l->process.config, l->process.config.run);
    char *path = dw_config_run(&l->process.config, "dengwen.lock");
    char owner[24] = "";
    if (!dw_make_folder(folder, 0750))
        die(DW_EXIT_CONFIG, folder, strerror(errno));
    l->process.lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->process.lock_fd < 0)
        die(DW_EXIT_CONFIG, path, strerror(errno));
    if (flock(l->process.lock_fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t len = read(l->process.lock_fd, owner, sizeof owner - 1);
        dw_log(DW_ERROR, "run.locked",
               "%s: another dengwen-run (process %.*s) works in this folder", path,
               len > 0 ? (int)strspn(owner, "0123456789") : 1, len > 0 ? owner : "?");
        exit(DW_EXIT_RETRY);
    }
    /* The number is for people; what counts is the lock, and that ends with the process. */
    if (ftruncate(l->process.lock_fd, 0) != 0 ||
        dprintf(l->process.lock_fd, "%ld\n", (long)getpid()) < 0)
        die(DW_EXIT_CONFIG, path, strerror(errno));
    dw_free(path);
    dw_free(folder);
}

static void find_programs(struct loop *l)
{
    bool missing = false;
    for (size_t i = 0; i < DW_PARTS; i++) {
        l->children[i].path = dw_program_path(dw_parts[i].program);
        if (!l->children[i].path)
            dw_log(DW_ERROR, "run.missing",
                   "dengwen-%s lies neither beside dengwen-run nor in " DW_LIBEXEC,
                   dw_parts[i].program);
        missing |= !l->children[i].path;
        dw_metric_named(dw_parts[i].restarts);
    }
    if (missing)
        exit(DW_EXIT_CONFIG);
}

static void open_notify_socket(struct loop *l)
{
    struct sockaddr_un address;
    int on = 1;
    l->notify_path = dw_config_run(&l->process.config, "supervisor.sock");
    if (!dw_unix_address(l->notify_path, &address))
        die(DW_EXIT_CONFIG, l->notify_path, "expected a path below 108 bytes: set `run` to a "
                                            "shorter one");
    unlink(l->notify_path); /* of a predecessor: the lock is ours */
    l->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->notify_fd < 0 || bind(l->notify_fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        chmod(l->notify_path, 0600) != 0 ||
        setsockopt(l->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0)
        die(DW_EXIT_CONFIG, l->notify_path, strerror(errno));
}

static void watch_children(struct loop *l)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signalfd(l->process.signal_fd, &set, 0) < 0)
        abort();
}

/* ---- one part ---- */

/* In the child, up to exec. */
static _Noreturn void become(const struct loop *l, size_t part, pid_t supervisor)
{
    char name[64];
    const char *path = l->children[part].path;
    sigset_t none;
    /* Asked too late if the supervisor died before: then our parent is another. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != supervisor)
        _exit(DW_EXIT_RETRY);
    setpgid(0, 0);
    (void)!nice(dw_parts[part].nice);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    /* The terminal belongs to the supervisor: a reader in another group would be stopped. */
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0)
        dup2(null, STDIN_FILENO);
    if (null > STDERR_FILENO)
        close(null);
    setenv("NOTIFY_SOCKET", l->notify_path, 1);
    unsetenv("WATCHDOG_USEC"); /* is between systemd and the supervisor */
    unsetenv("WATCHDOG_PID");
    snprintf(name, sizeof name, "dengwen-%s", dw_parts[part].program);
    execl(path, name, "-c", l->process.config.path, (char *)NULL);
    dw_log(DW_ERROR, "run.exec", "%s: %s", path, strerror(errno));
    _exit(DW_EXIT_CONFIG);
}

static void feed(struct loop *l, enum dw_supervisor_event event, size_t part);

static void start_part(struct loop *l, size_t part)
{
    struct child *child = &l->children[part];
    pid_t supervisor = getpid(), pid = fork();
    if (pid == 0)
        become(l, part, supervisor);
    if (pid < 0) {
        dw_log(DW_ERROR, "run.fork", "%s: %s", dw_parts[part].name, strerror(errno));
        feed(l, DW_EVENT_DIED, part);
        return;
    }
    setpgid(pid, pid); /* whoever comes first: the group must exist before it is signalled */
    child->pid = pid;
    child->status[0] = 0;
    if (l->supervisor.parts[part].starts > 1)
        (*dw_metric_named(dw_parts[part].restarts))++;
    dw_log(DW_INFO, "run.part-started", "%s, process %ld", dw_parts[part].name, (long)pid);
}

static void kill_group(struct loop *l, size_t part)
{
    const struct child *child = &l->children[part];
    dw_log(DW_WARN, "run.part-killed", "%s: %s; its last word was: %s", dw_parts[part].name,
           l->supervisor.signals > 1 ? "second signal"
           : l->supervisor.ending    ? "did not end in time"
                                     : "was not ready in time",
           *child->status ? child->status : "(nothing)");
    if (child->pid)
        kill(-child->pid, SIGKILL);
}

static void signal_part(const struct child *child, int signal)
{
    if (child->pid) /* to process 0 would be to ourselves */
        kill(child->pid, signal);
}

static void do_act(struct loop *l, const struct dw_supervisor_act *act)
{
    switch (act->verb) {
    case DW_START:
        start_part(l, act->part);
        break;
    case DW_RELOAD:
        signal_part(&l->children[act->part], SIGHUP);
        break;
    case DW_TERM:
        dw_log(DW_INFO, "run.part-ending", "%s", dw_parts[act->part].name);
        signal_part(&l->children[act->part], SIGTERM);
        break;
    case DW_KILL:
        kill_group(l, act->part);
        break;
    case DW_EXIT:
        l->over = true;
        l->exit_code = act->code;
        break;
    }
}

static void feed(struct loop *l, enum dw_supervisor_event event, size_t part)
{
    struct dw_supervisor_act acts[DW_SUPERVISOR_ACTS];
    size_t count = dw_supervisor_step(&l->supervisor, dw_monotonic_ms(), event, part, acts);
    for (size_t i = 0; i < count; i++)
        do_act(l, &acts[i]);
}

/* ---- what happens to parts ---- */

static size_t part_of(const struct loop *l, pid_t pid)
{
    size_t i = 0;
    while (i < DW_PARTS && l->children[i].pid != pid)
        i++;
    return i;
}

static void tell_death(const struct loop *l, size_t part, int status)
{
    static const char *const was[] = {[DW_PHASE_DOWN] = "down",
                                      [DW_PHASE_STARTING] = "starting",
                                      [DW_PHASE_READY] = "ready",
                                      [DW_PHASE_ENDING] = "told to end"};
    bool expected = l->supervisor.ending;
    bool by_signal = WIFSIGNALED(status);
    dw_log(expected ? DW_INFO : DW_WARN, expected ? "run.part-ended" : "run.part-died",
           "%s: %s %d; it was %s", dw_parts[part].name, by_signal ? "signal" : "exit code",
           by_signal ? WTERMSIG(status) : WEXITSTATUS(status),
           was[l->supervisor.parts[part].phase]);
}

static void bury(struct loop *l, size_t part, int status)
{
    bool refused = WIFEXITED(status) && WEXITSTATUS(status) == DW_EXIT_CONFIG;
    bool was_ending = l->supervisor.ending;
    tell_death(l, part, status);
    l->children[part].pid = 0;
    feed(l, refused ? DW_EVENT_REFUSED : DW_EVENT_DIED, part);
    if (l->supervisor.ending && !was_ending)
        dw_log(DW_ERROR, "run.refused",
               "%s says that the configuration is wrong: ending everything. "
               "`dengwen check-config` tells more", dw_parts[part].name);
}

static void reap(struct loop *l)
{
    siginfo_t info = {0};
    int status;
    /* Looked at first and taken away after: as long as it lies there nobody else can get its
     * number, and whatever it left behind in its group is killed under the right one. */
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
        size_t part = part_of(l, info.si_pid);
        if (part < DW_PARTS)
            kill(-info.si_pid, SIGKILL);
        if (waitpid(info.si_pid, &status, 0) == info.si_pid && part < DW_PARTS)
            bury(l, part, status);
        info.si_pid = 0;
    }
}

/* True when it says that it is ready. */
static bool read_words(char *text, struct child *child)
{
    bool ready = false;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        /* READY=1 is said once and can be lost; DENGWEN_READY=1 is repeated every second. */
        ready |= strcmp(line, "READY=1") == 0 || strcmp(line, "DENGWEN_READY=1") == 0;
        if (strncmp(line, "STATUS=", 7) == 0)
            dw_printable(child->status, sizeof child->status, line + 7, strlen(line + 7));
    }
    return ready;
}

/* True when there may be more. */
static bool hear(struct loop *l)
{
    static char text[DATAGRAM_MAX + 1];
    char control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec room = {text, DATAGRAM_MAX};
    struct msghdr message = {.msg_iov = &room,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    ssize_t len = recvmsg(l->notify_fd, &message, MSG_CMSG_CLOEXEC);
    if (len < 0)
        return errno == EINTR;
    text[len] = 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (!c || c->cmsg_type != SCM_CREDENTIALS || message.msg_flags & MSG_TRUNC)
        return true;
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(c), sizeof sender);
    size_t part = sender.pid > 0 ? part_of(l, sender.pid) : DW_PARTS;
    if (part < DW_PARTS && read_words(text, &l->children[part]) &&
        l->supervisor.parts[part].phase == DW_PHASE_STARTING) {
        dw_log(DW_INFO, "run.part-ready", "%s", dw_parts[part].name);
        feed(l, DW_EVENT_READY, part);
    }
    return true;
}

static void take_signals(struct loop *l)
{
    struct signalfd_siginfo info;
    while (read(l->process.signal_fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            reap(l);
        else
            feed(l, info.ssi_signo == SIGHUP ? DW_EVENT_RELOAD : DW_EVENT_STOP, 0);
    }
}

/* ---- the whole ---- */

static void show_addresses(const struct loop *l)
{
    const struct dw_config *c = &l->process.config;
    const struct {
        const char *what;
        const struct dw_http_limits *http;
    } pages[] = {{"public pages", &c->web.http}, {"staff pages", &c->desk.http}};
    if (!isatty(STDOUT_FILENO))
        return;
    for (size_t i = 0; i < DW_COUNT(pages); i++) {
        bool named = *pages[i].http->origin;
        printf("%-13s %s%s/\n", pages[i].what, named ? "" : "http://",
               named ? pages[i].http->origin : pages[i].http->listen);
    }
    printf("%-13s http://%s/readyz\n", "operations", c->ops.listen);
    fflush(stdout);
}

static void tell_readiness(struct loop *l)
{
    bool ready = dw_supervisor_all_ready(&l->supervisor) && !l->supervisor.ending;
    dw_process_ready(&l->process, ready,
                     ready                  ? "ready: every part is"
                     : l->supervisor.ending ? "stopping"
                                            : "some part is not ready");
    if (ready && !l->shown)
        show_addresses(l);
    l->shown |= ready;
    dw_process_tick(&l->process);
}

static void turn(struct loop *l)
{
    struct pollfd items[] = {{.fd = l->process.signal_fd, .events = POLLIN},
                             {.fd = l->notify_fd, .events = POLLIN}};
    int64_t wait = dw_supervisor_wait(&l->supervisor, dw_monotonic_ms());
    if (wait < 0 || wait > TICK_MS)
        wait = TICK_MS;
    poll(items, DW_COUNT(items), (int)wait);
    /* Words before deaths: "ready" may be the last word of one that died. */
    for (int i = 0; i < BURST && hear(l); i++)
        ;
    take_signals(l);
    feed(l, DW_EVENT_TIME, 0);
    tell_readiness(l);
}

int main(int argc, char **argv)
{
    static struct loop l;
    dw_process_start(&l.process, argc, argv, "run",
                     "starts, watches and ends all parts of Dengwen on this machine", false);
    const struct dw_config *c = &l.process.config;
    find_programs(&l);
    lock_run_folder(&l);
    open_notify_socket(&l);
    watch_children(&l);
    dw_supervisor_init(&l.supervisor, DW_PARTS, c->supervisor.ready_seconds * 1000,
                       c->supervisor.stop_seconds * 1000, c->supervisor.restart_max_seconds * 1000);
    dw_process_ready(&l.process, false, "starting");
    feed(&l, DW_EVENT_TIME, 0);
    while (!l.over)
        turn(&l);
    dw_log(DW_INFO, "run.over", "all parts have ended");
    close(l.notify_fd);
    unlink(l.notify_path);
    dw_free(l.notify_path);
    for (size_t i = 0; i < DW_PARTS; i++)
        dw_free(l.children[i].path);
    dw_process_end(&l.process);
    return l.exit_code;
}
