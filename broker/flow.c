/* The names below are libzmq's view of the network; see flow.h.  Their prototypes are those of
 * POSIX, which <sys/socket.h> does not have under _GNU_SOURCE. */
#undef _GNU_SOURCE
#define _DEFAULT_SOURCE

#include "flow.h"

#include "dw/bytes.h"
#include "dw/testing.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SPARE = 128,         /* descriptors for all that is no connection */
    BATCH = 1024 * 1024, /* read by libzmq and not yet looked at */
};

/* Of a descriptor, since it was accepted. */
struct counted {
    _Atomic uint64_t connection; /* 0: none */
    _Atomic int64_t in, out;
    _Atomic int64_t delivered; /* `in` when the last message was read */
    /* Of the reading thread. */
    uint64_t known; /* the connection that the next two are about */
    int64_t queued, marked;
};

static struct {
    struct counted *items;
    size_t room;
    _Atomic size_t used; /* one more than the highest descriptor there was */
    int64_t most_in, most_unread;
    _Atomic uint64_t last;
    _Atomic int64_t seen;
    atomic_bool alarmed;
    bool begun;
    int fd;
} flow = {.fd = -1};

void dw_flow_open(size_t connections, int64_t message, int64_t unread)
{
    struct rlimit files;
    size_t room = connections + SPARE;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && room + SPARE > files.rlim_cur)
        room = files.rlim_cur > 2 * SPARE ? files.rlim_cur - SPARE : SPARE;
    flow.most_in = message + BATCH;
    flow.most_unread = unread + 2 * message; /* one that goes beyond, and one that was asked for */
    flow.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (flow.fd < 0)
        abort();
    flow.items = dw_alloc(room * sizeof *flow.items);
    flow.room = room;
}

void dw_flow_close(void)
{
    flow.room = 0;
    dw_free(flow.items);
    close(flow.fd);
}

int dw_flow_fd(void)
{
    return flow.fd;
}

int64_t dw_flow_seen(void)
{
    return flow.seen;
}

/* NULL for what is no connection. */
static struct counted *counted(int fd)
{
    struct counted *c = fd >= 0 && (size_t)fd < flow.room ? &flow.items[fd] : NULL;
    return c && c->connection ? c : NULL;
}

/* ---- called by libzmq, in its thread ---- */

/* One connection too many ends at once; libzmq takes it for one that was aborted. */
static int accepted(int fd)
{
    if (fd < 0 || !flow.room)
        return fd;
    if ((size_t)fd >= flow.room) {
        close(fd);
        errno = ECONNABORTED;
        return -1;
    }
    struct counted *c = &flow.items[fd];
    c->in = c->out = c->delivered = 0;
    c->connection = ++flow.last;
    if ((size_t)fd >= flow.used)
        flow.used = (size_t)fd + 1;
    return fd;
}

static void raise_alarm(void)
{
    uint64_t one = 1;
    int error = errno;
    if (!atomic_exchange(&flow.alarmed, true))
        (void)!write(flow.fd, &one, sizeof one);
    errno = error;
}

#pragma GCC visibility push(default)

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return accepted((int)syscall(SYS_accept4, fd, address, len, 0));
}

int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    return accepted((int)syscall(SYS_accept4, fd, address, len, flags));
}

ssize_t recv(int fd, void *data, size_t len, int flags)
{
    ssize_t n = recvfrom(fd, data, len, flags, NULL, NULL);
    struct counted *c = n > 0 ? counted(fd) : NULL;
    if (!c)
        return n;
    flow.seen += n;
    c->in += n;
    if (c->in - c->delivered > flow.most_in && !DW_BUG("endless-is-not-seen"))
        raise_alarm();
    return n;
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    ssize_t n = sendto(fd, data, len, flags, NULL, 0);
    struct counted *c = n > 0 ? counted(fd) : NULL;
    if (c)
        c->out += n;
    return n;
}

#pragma GCC visibility pop

/* ---- called by the thread that reads ---- */

static struct counted *known(int fd)
{
    struct counted *c = counted(fd);
    if (c && c->known != c->connection) {
        c->known = c->connection;
        c->queued = c->marked = 0;
    }
    return c;
}

uint64_t dw_flow_connection(int fd)
{
    struct counted *c = counted(fd);
    return c ? c->connection : 0;
}

void dw_flow_delivered(int fd)
{
    struct counted *c = counted(fd);
    if (c)
        c->delivered = c->in;
}

bool dw_flow_queued(int fd, size_t bytes)
{
    struct counted *c = known(fd);
    if (!c)
        return true;
    /* What went out has more in it than what was given: names of commands, encryption, heartbeats.
     */
    int64_t out = c->out;
    if (c->queued < out)
        c->queued = out;
    c->queued += (int64_t)bytes;
    return c->queued - out <= flow.most_unread;
}

void dw_flow_begin(void)
{
    uint64_t count;
    (void)!read(flow.fd, &count, sizeof count);
    flow.alarmed = false;
    flow.begun = true;
    for (size_t fd = 0; fd < flow.used; fd++) {
        struct counted *c = known((int)fd);
        if (c)
            c->marked = c->in;
    }
}

bool dw_flow_begun(void)
{
    return flow.begun;
}

size_t dw_flow_turns(void)
{
    return flow.used;
}

void dw_flow_end(dw_flow_endless *endless, void *arg)
{
    flow.begun = false;
    for (size_t fd = 0; fd < flow.used; fd++) {
        struct counted *c = known((int)fd);
        if (!c || c->marked - c->delivered <= flow.most_in)
            continue;
        endless(arg, (int)fd);
        c->delivered = c->in; /* told once */
    }
}
