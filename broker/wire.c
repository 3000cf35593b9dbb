#include "dw/wire.h"

#include "dw/process.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

uint8_t *dw_secret_load(const char *path, size_t len, struct dw_error *err)
{
    size_t file_len;
    char *text = (char *)dw_read_file(path, 1024, true, &file_len);
    if (!text) {
        dw_error_set(err, "key", "%s: %s", path,
                     errno == EPERM ? "others may read it; expected mode 0600" : strerror(errno));
        return NULL;
    }
    text[strcspn(text, "\r\n")] = 0;
    uint8_t *secret = sodium_malloc(len);
    if (!secret) {
        dw_error_set(err, "key", "no locked memory for keys: raise the limit `ulimit -l`");
    } else if (!dw_unbase64(secret, len, text)) {
        sodium_free(secret);
        secret = NULL;
        dw_error_set(err, "key", "%s: expected %zu bytes in base64url", path, len);
    }
    dw_wipe_free(text, file_len);
    return secret;
}

enum dw_result dw_curve_load(struct dw_curve *ret, const char *path, struct dw_error *err)
{
    ret->secret = dw_secret_load(path, DW_KEY_LEN, err);
    if (!ret->secret)
        return DW_INVALID;
    crypto_scalarmult_base(ret->public, ret->secret);
    return DW_OK;
}

void dw_curve_free(struct dw_curve *self)
{
    sodium_free(self->secret);
    self->secret = NULL;
}

static enum dw_result add_broker(const struct dw_directory *dir, const char *name, char *endpoint,
                                 struct dw_broker_address *ret, struct dw_error *err)
{
    const struct dw_program *p = dw_directory_by_name(dir, name, dw_day_of(dw_now()));
    ret->endpoint = endpoint;
    if (!p || strcmp(p->role, "broker") != 0)
        return dw_invalid(err, "broker.connect", "no broker named %.60s in the directory", name);
    memcpy(ret->key, p->curve, DW_KEY_LEN);
    return DW_OK;
}

enum dw_result dw_broker_addresses(const struct dw_config *config, const struct dw_directory *dir,
                                   struct dw_broker_address **ret, size_t *ret_count,
                                   struct dw_error *err)
{
    size_t count = 1 + config->broker.connect.count;
    struct dw_broker_address *list = dw_alloc(count * sizeof *list);
    DW_AUTO_BUF own = {0};
    dw_buf_init(&own, 4096);
    char *path = dw_config_run(config, "broker.sock");
    dw_buf_printf(&own, "ipc://%s", path);
    dw_free(path);
    enum dw_result result = add_broker(dir, "broker", dw_strdup(dw_buf_text(&own)), &list[0], err);
    for (size_t i = 1; result == DW_OK && i < count; i++) {
        const char *item = config->broker.connect.items[i - 1];
        const char *equals = strchr(item, '=');
        char name[64];
        if (!equals || (size_t)(equals - item) >= sizeof name) {
            result = dw_invalid(err, "broker.connect", "expected NAME=tcp://host:port");
            break;
        }
        snprintf(name, sizeof name, "%.*s", (int)(equals - item), item);
        result = add_broker(dir, name, dw_strdup(equals + 1), &list[i], err);
    }
    if (result != DW_OK) {
        dw_broker_addresses_free(list, count);
        return result;
    }
    *ret = list;
    *ret_count = count;
    return DW_OK;
}

void dw_broker_addresses_free(struct dw_broker_address *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        dw_free(list[i].endpoint);
    dw_free(list);
}

static void set_int(void *socket, int option, int value)
{
    zmq_setsockopt(socket, option, &value, sizeof value);
}

void *dw_wire_dealer(void *zmq, const struct dw_broker_address *to, const struct dw_curve *own,
                     const struct dw_config *config)
{
    void *socket = zmq_socket(zmq, ZMQ_DEALER);
    int64_t max = config->broker.max_frame_bytes;
    if (!socket)
        return NULL;
    set_int(socket, ZMQ_LINGER, 0); /* whoever needs certainty waits for the answer */
    set_int(socket, ZMQ_IMMEDIATE, 1);
    set_int(socket, ZMQ_SNDHWM, (int)config->broker.high_water);
    set_int(socket, ZMQ_RCVHWM, (int)config->broker.high_water);
    set_int(socket, ZMQ_RECONNECT_IVL, 20);
    set_int(socket, ZMQ_RECONNECT_IVL_MAX, 1000);
    set_int(socket, ZMQ_HANDSHAKE_IVL, (int)config->broker.handshake_ms);
    set_int(socket, ZMQ_HEARTBEAT_IVL, 5000);
    zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max, sizeof max);
    zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, to->key, DW_KEY_LEN);
    zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, own->public, DW_KEY_LEN);
    if (zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, own->secret, DW_KEY_LEN) != 0 ||
        zmq_connect(socket, to->endpoint) != 0) {
        zmq_close(socket);
        return NULL;
    }
    return socket;
}

bool dw_wire_send(void *socket, const struct dw_slice *frames, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int more = i + 1 < count ? ZMQ_SNDMORE : 0;
        /* Only the first frame can be refused: libzmq takes a message whole. */
        if (zmq_send(socket, frames[i].data, frames[i].len, ZMQ_DONTWAIT | more) < 0)
            return false;
    }
    return true;
}

bool dw_wire_recv(void *socket, size_t max_frames, struct dw_frames *ret)
{
    struct dw_slice slices[1024];
    zmq_msg_t messages[1024];
    size_t count = 0;
    bool more = true, too_many = false;
    if (max_frames > DW_COUNT(slices))
        max_frames = DW_COUNT(slices);
    while (more) {
        zmq_msg_t extra, *m = count < max_frames ? &messages[count] : &extra;
        zmq_msg_init(m);
        if (zmq_msg_recv(m, socket, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(m);
            break;
        }
        more = zmq_msg_more(m);
        if (m == &extra) {
            too_many = true;
            zmq_msg_close(m);
            continue;
        }
        slices[count++] = DW_SLICE(zmq_msg_data(m), zmq_msg_size(m));
    }
    if (count)
        *ret = too_many ? (struct dw_frames){0} : dw_frames_copy(slices, count);
    for (size_t i = 0; i < count; i++)
        zmq_msg_close(&messages[i]);
    return count > 0;
}
