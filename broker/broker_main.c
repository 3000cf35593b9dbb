/* dengwen-broker: sockets, the queue's file and the clock around the pure core.
 *
 * One ROUTER per bound address, each CURVE with our ZAP handler.  Before the first peer is served
 * the broker proves to itself that a stranger's key is refused. */
#include "dw/broker.h"
#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"
#include "dw/wire.h"

#include "connections.h"
#include "flow.h"
#include "zap.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum {
    ZAP_ENFORCE_DOMAIN = 93, /* draft in Debian's header, present in the library: fail closed */
    SOCKETS_MAX = DW_BROKER_ADDRESSES_MAX + 1,
    BURST = 200, /* messages read from one socket before the others get their turn */
    DRAIN_MS = 2000,
    PROOF_MS = 10000, /* a machine may be slow; a stranger who gets in is seen at once */
};

struct loop {
    struct dw_process process;
    struct dw_directory_watch *directory;
    void *zmq;
    struct dw_zap *zap;
    struct dw_connections *connections;
    dw_day checked_on; /* day of the last look at all keys */
    void *sockets[SOCKETS_MAX];
    int fds[SOCKETS_MAX];         /* readable when something may have come; see turn() */
    bool ask_again[SOCKETS_MAX];  /* something may have come, and the descriptor does not tell */
    int zap_fd;
    size_t sockets_count;
    size_t read[SOCKETS_MAX]; /* messages, while it is looked for one that has no end */
    bool drained[SOCKETS_MAX];
    struct dw_queue *queue;
    bool queue_stopped; /* what the core still wants of it is for the next start */
    struct dw_broker *broker;
    dw_metric *unroutable;
};

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "broker.start", "%s: %s", what, why);
    exit(code);
}

static void set_int(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof value) != 0)
        die(DW_EXIT_CONFIG, "socket option", zmq_strerror(zmq_errno()));
}

static void *bind_router(struct loop *l, const char *endpoint, const char *domain,
                         const struct dw_curve *own)
{
    const struct dw_config *c = &l->process.config;
    void *s = zmq_socket(l->zmq, ZMQ_ROUTER);
    set_int(s, ZMQ_CURVE_SERVER, 1);
    if (zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, own->secret, DW_KEY_LEN) != 0)
        die(DW_EXIT_CONFIG, "curve", zmq_strerror(zmq_errno()));
    zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, domain, strlen(domain));
    set_int(s, ZAP_ENFORCE_DOMAIN, 1);
    set_int(s, ZMQ_ROUTER_MANDATORY, 1);
    set_int(s, ZMQ_ROUTER_HANDOVER, 0);
    set_int(s, ZMQ_LINGER, 2000);
    set_int(s, ZMQ_SNDHWM, (int)c->broker.high_water);
    set_int(s, ZMQ_RCVHWM, (int)c->broker.high_water);
    set_int(s, ZMQ_HANDSHAKE_IVL, (int)c->broker.handshake_ms);
    set_int(s, ZMQ_HEARTBEAT_IVL, 5000);
    set_int(s, ZMQ_HEARTBEAT_TIMEOUT, 15000);
    zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &c->broker.max_frame_bytes, sizeof(int64_t));
    if (zmq_bind(s, endpoint) != 0)
        die(DW_EXIT_AWAY, endpoint, zmq_strerror(zmq_errno()));
    return s;
}

static int fd_of(void *socket)
{
    int fd = -1;
    size_t len = sizeof fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &len) != 0)
        die(DW_EXIT_CONFIG, "socket descriptor", zmq_strerror(zmq_errno()));
    return fd;
}

static void bind_all(struct loop *l, const struct dw_texts *endpoints, const char *domain,
                     const struct dw_curve *own)
{
    for (size_t i = 0; i < endpoints->count; i++)
        l->sockets[l->sockets_count++] = bind_router(l, endpoints->items[i], domain, own);
}

/* Connects with a key nobody knows, at a door that nobody else knows.  If that gets in, the build
 * of libzmq does not enforce ZAP; if its bytes were not counted, it talks to the network in another
 * way than flow.h thinks.  Either way the broker must not run. */
static void prove_strangers_are_refused(struct loop *l, const struct dw_curve *own)
{
    struct dw_curve stranger = {.secret = dw_alloc(DW_KEY_LEN)};
    char public_text[41], secret_text[41];
    char *path = dw_config_run(&l->process.config, "proof.sock");
    DW_AUTO_BUF endpoint = {0};
    dw_buf_init(&endpoint, 4096);
    dw_buf_printf(&endpoint, "ipc://%s", path);
    dw_free(path);
    void *door = bind_router(l, dw_buf_text(&endpoint), DW_ZAP_OWN, own);
    struct dw_broker_address to = {.endpoint = (char *)dw_buf_text(&endpoint)};
    zmq_curve_keypair(public_text, secret_text);
    zmq_z85_decode(stranger.public, public_text);
    zmq_z85_decode(stranger.secret, secret_text);
    memcpy(to.key, own->public, DW_KEY_LEN);
    void *socket = dw_wire_dealer(l->zmq, &to, &stranger, &l->process.config);
    int64_t until = dw_monotonic_ms() + PROOF_MS;
    bool got_in = false, asked = false;
    long refused_before = atomic_load(dw_metric_named("dengwen_broker_keys_refused_total"));
    struct dw_slice hello[] = {DW_SLICE("", 0), dw_slice_of(DW_MDP_CLIENT),
                               dw_slice_of("mmi.service"), dw_slice_of("mmi.service")};
    while (!got_in && !asked && dw_monotonic_ms() < until) {
        struct dw_frames in;
        zmq_pollitem_t items[] = {{.socket = dw_zap_socket(l->zap), .events = ZMQ_POLLIN},
                                  {.socket = door, .events = ZMQ_POLLIN}};
        dw_wire_send(socket, hello, DW_COUNT(hello)); /* ZMQ_IMMEDIATE: refused until connected */
        zmq_poll(items, 2, 10);
        dw_zap_process(l->zap, dw_monotonic_ms(), dw_now());
        asked = atomic_load(dw_metric_named("dengwen_broker_keys_refused_total")) > refused_before;
        if (dw_wire_recv(door, 16, &in)) {
            dw_frames_free(&in);
            got_in = true;
        }
    }
    zmq_close(socket);
    zmq_close(door);
    dw_wipe_free(stranger.secret, DW_KEY_LEN);
    if (got_in || !asked)
        die(DW_EXIT_CONFIG, "zap",
            "a stranger's key was not refused: this libzmq does not enforce "
            "the ZAP handler");
    if (!dw_flow_seen())
        die(DW_EXIT_CONFIG, "flow",
            "bytes that came in were not counted: this libzmq does not use recv()");
    dw_log(DW_INFO, "broker.proved", "that refusal was our own test: strangers stay out");
}

static void open_sockets(struct loop *l)
{
    struct dw_error err = {0};
    struct dw_curve own;
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/curve.key", l->process.state);
    if (dw_curve_load(&own, dw_buf_text(&path), &err) != DW_OK)
        die(DW_EXIT_CONFIG, "keys", err.text);
    const struct dw_config *config = &l->process.config;
    dw_flow_open((size_t)config->broker.max_connections,
                 config->broker.max_frames * config->broker.max_frame_bytes,
                 config->broker.max_unread_bytes);
    l->zmq = zmq_ctx_new();
    zmq_ctx_set(l->zmq, ZMQ_MAX_SOCKETS, 4096);
    l->zap = dw_zap_new(l->zmq, l->directory, config->broker.ban_seconds * 1000);
    if (!l->zap)
        die(DW_EXIT_CONFIG, "zap", zmq_strerror(zmq_errno()));

    char *run = dw_config_run(config, "");
    char *socket_path = dw_config_run(config, "broker.sock");
    if (!dw_make_folder(run, 0750))
        die(DW_EXIT_CONFIG, run, strerror(errno));
    dw_free(run);
    prove_strangers_are_refused(l, &own);
    DW_AUTO_BUF endpoint = {0};
    dw_buf_init(&endpoint, 4096);
    dw_buf_printf(&endpoint, "ipc://%s", socket_path);
    l->sockets[l->sockets_count++] = bind_router(l, dw_buf_text(&endpoint), DW_ZAP_OWN, &own);
    chmod(socket_path, 0660);
    dw_free(socket_path);
    bind_all(l, &config->broker.bind, DW_ZAP_OWN, &own);
    bind_all(l, &config->broker.guests, DW_ZAP_GUESTS, &own);
    for (size_t i = 0; i < l->sockets_count; i++) {
        l->fds[i] = fd_of(l->sockets[i]);
        l->ask_again[i] = true;
    }
    l->zap_fd = fd_of(dw_zap_socket(l->zap));
    dw_curve_free(&own);
}

/* ---- messages in ---- */

struct incoming {
    zmq_msg_t messages[1024];
    struct dw_slice frames[1024];
    size_t count;
    bool too_many;
    struct dw_peer peer;
    char user[DW_USER_TEXT];
    int fd;
};

/* One whole message; false when there is none.  What a peer said about itself is not looked at: the
 * role is the User-Id of its key, which libzmq 4.3.4 keeps on the last frame only. */
static bool receive(struct loop *l, size_t socket, struct incoming *in)
{
    size_t max = (size_t)l->process.config.broker.max_frames + 1;
    bool more = true;
    in->count = 0;
    in->fd = -1;
    in->too_many = false;
    in->user[0] = in->peer.role[0] = 0;
    while (more) {
        zmq_msg_t extra;
        zmq_msg_t *m = in->count < max ? &in->messages[in->count] : &extra;
        zmq_msg_init(m);
        if (zmq_msg_recv(m, l->sockets[socket], ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(m);
            break;
        }
        more = zmq_msg_more(m);
        if (!more) {
            const char *user = zmq_msg_gets(m, "User-Id");
            snprintf(in->user, sizeof in->user, "%s", user ? user : "");
            in->fd = zmq_msg_get(m, ZMQ_SRCFD);
        }
        if (m == &extra) {
            in->too_many = true;
            zmq_msg_close(m);
        } else {
            in->frames[in->count++] = DW_SLICE(zmq_msg_data(m), zmq_msg_size(m));
        }
    }
    if (!in->count)
        return false;
    dw_flow_delivered(in->fd);
    in->peer.fd = in->fd;
    in->peer.socket = (uint8_t)socket;
    in->peer.id_len = (uint8_t)in->frames[0].len;
    memcpy(in->peer.id, in->frames[0].data, in->peer.id_len);
    snprintf(in->peer.role, sizeof in->peer.role, "%.*s", (int)strcspn(in->user, "/"), in->user);
    return true;
}

static void release(struct incoming *in)
{
    for (size_t i = 0; i < in->count; i++)
        zmq_msg_close(&in->messages[i]);
}

static void cut(struct loop *l, const struct incoming *in, const char *why)
{
    dw_log(DW_WARN, "broker.cut", "%s: %s", in->user, why);
    dw_zap_ban(l->zap, in->user, dw_monotonic_ms());
    if (in->fd >= 0)
        shutdown(in->fd, SHUT_RDWR);
}

/* It has brought more than a message may have.  Who has said nothing before has no name yet. */
static void cut_endless(void *arg, int fd)
{
    struct loop *l = arg;
    const char *user = dw_connections_user(l->connections, fd);
    dw_log(DW_WARN, "broker.cut", "%s: a message without end",
           user ? user : "who has said nothing");
    (*dw_metric_named("dengwen_broker_cut_total"))++;
    if (user)
        dw_zap_ban(l->zap, user, dw_monotonic_ms());
    shutdown(fd, SHUT_RDWR);
}

/* What waits for it is freed with its connection, and its work goes back.  It may come again. */
static void cut_unread(struct loop *l, int fd)
{
    const char *user = dw_connections_user(l->connections, fd);
    dw_log(DW_WARN, "broker.cut", "%s: does not read what it is sent", user ? user : "a peer");
    (*dw_metric_named("dengwen_broker_cut_total"))++;
    shutdown(fd, SHUT_RDWR);
}

static void send_out(struct loop *l, const struct dw_act *act)
{
    void *s = l->sockets[act->to.socket];
    l->ask_again[act->to.socket] = true;
    /* ROUTER_MANDATORY: a peer that left or does not read is an error here, not a silent loss. */
    bool sent = zmq_send(s, act->to.id, act->to.id_len, ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0 &&
                dw_wire_send(s, act->frames.items, act->frames.count);
    bool gone = !sent && zmq_errno() == EHOSTUNREACH;
    bool there = dw_connections_number(l->connections, act->to.fd) == act->to.connection;
    *l->unroutable += !sent;
    if (gone)
        dw_broker_unsent(l->broker, dw_now(), &act->to, act->frames.items, act->frames.count);
    else if (there && !(sent && dw_flow_queued(act->to.fd, act->frames.bytes)))
        cut_unread(l, act->to.fd);
}

/* `in` is the message being answered, for a peer that must be cut; NULL elsewhere. */
static void do_acts(struct loop *l, const struct incoming *in)
{
    for (struct dw_act *act = dw_broker_acts(l->broker), *next; act; act = next) {
        next = act->next;
        if (act->kind == DW_ACT_SEND) {
            DW_POINT("broker.before-send");
            send_out(l, act);
        } else if (act->kind == DW_ACT_QUEUE && !l->queue_stopped) {
            dw_queue_submit(l->queue, act->op);
            act->op = NULL;
        } else if (act->kind == DW_ACT_CUT && in) {
            cut(l, in, act->why);
        }
        dw_act_free(act);
    }
}

static void read_socket(struct loop *l, size_t socket)
{
    static struct incoming in; /* large, and there is one loop */
    l->ask_again[socket] = true;
    for (int i = 0; i < BURST; i++) {
        if (!receive(l, socket, &in)) {
            l->drained[socket] = true;
            l->ask_again[socket] = false;
            break;
        }
        l->read[socket]++;
        bool counts = dw_connections_heard(l->connections, in.fd, in.user);
        in.peer.connection = dw_connections_number(l->connections, in.fd);
        if (counts && (in.too_many || !*in.peer.role))
            cut(l, &in, in.too_many ? "too many frames" : "no role");
        else if (counts)
            dw_broker_message(l->broker, dw_monotonic_ms(), dw_now(), &in.peer, in.frames + 1,
                              in.count - 1);
        do_acts(l, &in);
        release(&in);
    }
}

/* Keys change with the directory, and end with their last day. */
static void check_keys(struct loop *l)
{
    dw_day today = dw_day_of(dw_now());
    if (!dw_directory_watch_tick(l->directory) && today == l->checked_on)
        return;
    struct dw_directory *dir = dw_directory_take(l->directory);
    (*dw_metric_named("dengwen_broker_keys_ended_total")) +=
        (long)dw_connections_check(l->connections, dir, today);
    dw_directory_give(l->directory, dir);
    l->checked_on = today;
}

static void collect_finished(struct loop *l)
{
    for (struct dw_queue_op *op = dw_queue_collect(l->queue), *next; op; op = next) {
        next = op->next;
        dw_broker_finished(l->broker, dw_monotonic_ms(), dw_now(), op);
    }
    do_acts(l, NULL);
}

/* All that had come before was read, or everybody had a turn: libzmq takes messages from its
 * connections in turn. */
static bool everybody_was_heard(const struct loop *l)
{
    for (size_t i = 0; i < l->sockets_count; i++)
        if (!l->drained[i] && l->read[i] < dw_flow_turns())
            return false;
    return true;
}

static bool has_messages(void *socket)
{
    int events = 0;
    size_t len = sizeof events;
    return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &len) == 0 && events & ZMQ_POLLIN;
}

static void begin_to_look(struct loop *l)
{
    dw_flow_begin();
    memset(l->read, 0, sizeof l->read);
    memset(l->drained, 0, sizeof l->drained);
}

/* zmq_poll() would look into every socket, twice each time; that is a good part of what a turn costs.
 * The descriptor of a socket becomes readable when something comes after a look that found nothing,
 * but sending may take that away: then the socket itself is asked. */
static void turn(struct loop *l, int64_t wait_ms)
{
    enum { SIGNAL, ZAP, QUEUE, FLOW, OTHERS };
    bool ready[SOCKETS_MAX];
    struct pollfd fds[OTHERS + SOCKETS_MAX] = {
        [SIGNAL] = {.fd = l->process.signal_fd, .events = POLLIN},
        [ZAP] = {.fd = l->zap_fd, .events = POLLIN},
        [QUEUE] = {.fd = dw_queue_fd(l->queue), .events = POLLIN},
        [FLOW] = {.fd = dw_flow_fd(), .events = POLLIN},
    };
    for (size_t i = 0; i < l->sockets_count; i++) {
        ready[i] = dw_flow_begun() || (l->ask_again[i] && has_messages(l->sockets[i]));
        l->ask_again[i] = ready[i];
        wait_ms = ready[i] ? 0 : wait_ms;
        fds[OTHERS + i] = (struct pollfd){.fd = l->fds[i], .events = POLLIN};
    }
    poll(fds, (nfds_t)(OTHERS + l->sockets_count), (int)wait_ms);
    if (fds[ZAP].revents)
        dw_zap_process(l->zap, dw_monotonic_ms(), dw_now());
    if (fds[QUEUE].revents)
        collect_finished(l);
    if (fds[FLOW].revents && !dw_flow_begun())
        begin_to_look(l);
    for (size_t i = 0; i < l->sockets_count; i++)
        if (dw_flow_begun() || ready[i] || fds[OTHERS + i].revents)
            read_socket(l, i);
    if (dw_flow_begun() && everybody_was_heard(l))
        dw_flow_end(cut_endless, l);
}

static void fill_random(void *out, size_t len)
{
    if (getrandom(out, len, 0) != (ssize_t)len)
        abort(); /* the kernel gives up to 256 bytes whole */
}

/* Workers give their work back or finish it; who has put something hears what became of it. */
static void drain(struct loop *l)
{
    dw_broker_drain(l->broker, dw_monotonic_ms());
    do_acts(l, NULL);
    for (int64_t until = dw_monotonic_ms() + DRAIN_MS; dw_monotonic_ms() < until;) {
        turn(l, 50);
        if (dw_process_signal(&l->process) == DW_SIGNAL_STOP ||
            !atomic_load(dw_metric_named("dengwen_broker_leases")))
            break;
    }
    dw_queue_stop(l->queue);
    l->queue_stopped = true;
    collect_finished(l);
}

int main(int argc, char **argv)
{
    static struct loop l;
    struct dw_error err = {0};
    dw_process_start(&l.process, argc, argv, "broker",
                     "routes messages and keeps the durable queue of sealed filings", true);
    const struct dw_config *config = &l.process.config;
    if (dw_directory_watch_new(config, &l.directory, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "directory", err.text);
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/queue.db", l.process.state);
    if (dw_queue_open(dw_buf_text(&path), config, &l.queue, &err) != DW_OK)
        die(DW_EXIT_DATA, "queue", err.text);
    l.connections = dw_connections_new();
    open_sockets(&l);
    l.broker = dw_broker_new(config, (uint64_t)dw_now() ^ (uint64_t)getpid() << 32);
    dw_broker_randomness(l.broker, fill_random);
    l.unroutable = dw_metric_named("dengwen_broker_unroutable_total");
    dw_process_ready(&l.process, true, "accepting");

    int64_t tick_ms = config->broker.heartbeat_ms / 4, ticked = 0;
    bool stopping = false;
    while (!stopping) {
        turn(&l, tick_ms);
        enum dw_signal signal = dw_process_signal(&l.process);
        stopping = signal == DW_SIGNAL_STOP;
        if (dw_monotonic_ms() - ticked < tick_ms && signal == DW_SIGNAL_NONE)
            continue;
        ticked = dw_monotonic_ms();
        check_keys(&l);
        dw_broker_tick(l.broker, ticked, dw_now());
        do_acts(&l, NULL);
        dw_process_tick(&l.process);
    }
    dw_process_ready(&l.process, false, "stopping");
    drain(&l);
    dw_queue_close(l.queue);
    dw_broker_free(l.broker);
    for (size_t i = 0; i < l.sockets_count; i++)
        zmq_close(l.sockets[i]);
    dw_zap_free(l.zap);
    dw_connections_free(l.connections);
    zmq_ctx_term(l.zmq);
    dw_flow_close();
    dw_directory_watch_free(l.directory);
    dw_process_end(&l.process);
    return 0;
}
