#include "zap.h"

#include "connections.h"

#include "dw/broker.h"
#include "dw/log.h"
#include "dw/mdp.h"
#include "dw/process.h"
#include "dw/wire.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

enum { BANS_MAX = 64, FRAMES_MAX = 16 };

struct ban {
    char user[DW_USER_TEXT];
    int64_t until;
};

struct dw_zap {
    void *socket;
    struct dw_directory_watch *directory;
    int64_t ban_ms;
    struct ban bans[BANS_MAX]; /* the oldest gives way */
    size_t next_ban;
};

struct dw_zap *dw_zap_new(void *zmq, struct dw_directory_watch *directory, int64_t ban_ms)
{
    struct dw_zap *zap = dw_alloc(sizeof *zap);
    zap->socket = zmq_socket(zmq, ZMQ_ROUTER);
    zap->directory = directory;
    zap->ban_ms = ban_ms;
    if (!zap->socket || zmq_bind(zap->socket, "inproc://zeromq.zap.01") != 0) {
        dw_zap_free(zap);
        return NULL;
    }
    return zap;
}

void dw_zap_free(struct dw_zap *zap)
{
    if (!zap)
        return;
    if (zap->socket)
        zmq_close(zap->socket);
    dw_free(zap);
}

void *dw_zap_socket(struct dw_zap *zap)
{
    return zap->socket;
}

void dw_zap_ban(struct dw_zap *zap, const char *user, int64_t mono_ms)
{
    struct ban *ban = &zap->bans[zap->next_ban++ % BANS_MAX];
    snprintf(ban->user, sizeof ban->user, "%s", user);
    ban->until = mono_ms + zap->ban_ms;
}

static bool is_banned(const struct dw_zap *zap, const char *user, int64_t mono_ms)
{
    for (size_t i = 0; i < BANS_MAX; i++)
        if (zap->bans[i].until > mono_ms && strcmp(zap->bans[i].user, user) == 0)
            return true;
    return false;
}

/* Frames of a request behind the routing id and the empty frame:
 * version, request id, domain, address, identity, mechanism, credentials* */
static const char *decide(struct dw_zap *zap, const struct dw_slice *f, size_t count,
                          int64_t mono_ms, dw_time now, char user[DW_USER_TEXT])
{
    if (count != 7 || !dw_slice_is(f[0], "1.0") || !dw_slice_is(f[5], "CURVE") ||
        f[6].len != DW_KEY_LEN)
        return "CURVE with a key of the directory is required";
    struct dw_directory *dir = dw_directory_take(zap->directory);
    const struct dw_program *p = dw_directory_by_curve(dir, f[6].data, dw_day_of(now));
    bool guest = p && dw_is_guest(p->role);
    if (p)
        dw_connection_user(p, user);
    dw_directory_give(zap->directory, dir);
    if (!p)
        return "unknown key";
    if (!dw_slice_is(f[2], guest ? DW_ZAP_GUESTS : DW_ZAP_OWN))
        return guest ? "a program of others has an address of its own here (broker.guests)"
                     : "our own programs have another address";
    return is_banned(zap, user, mono_ms) ? "cut for breaking the protocol" : NULL;
}

void dw_zap_process(struct dw_zap *zap, int64_t mono_ms, dw_time now)
{
    struct dw_frames in;
    while (dw_wire_recv(zap->socket, FRAMES_MAX, &in)) {
        /* routing id, "", then the request; libzmq itself is the only client */
        char user[DW_USER_TEXT] = "";
        const char *refusal = "malformed request";
        if (in.count > 2)
            refusal = decide(zap, in.items + 2, in.count - 2, mono_ms, now, user);
        if (refusal) {
            (*dw_metric_named("dengwen_broker_keys_refused_total"))++;
            dw_log(DW_WARN, "broker.key-refused", "%s", refusal);
        }
        if (in.count >= 4) {
            struct dw_slice out[] = {in.items[0],
                                     in.items[1],
                                     dw_slice_of("1.0"),
                                     in.items[3],
                                     dw_slice_of(refusal ? "400" : "200"),
                                     dw_slice_of(refusal ? refusal : "OK"),
                                     dw_slice_of(refusal ? "" : user),
                                     DW_SLICE("", 0)};
            dw_wire_send(zap->socket, out, DW_COUNT(out));
        }
        dw_frames_free(&in);
    }
}
