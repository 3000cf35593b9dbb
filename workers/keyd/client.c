#include "dw/keyd.h"

#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/process.h"

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* After a failure nobody asks again for REST_MS: with keyd away or stuck, callers are told at once
 * instead of waiting for each other. */
enum { TIMEOUT_SECONDS = 2, ANSWER_MAX = 64, REST_MS = 250 };

struct dw_keyd {
    pthread_mutex_t lock;
    char *path;
    int fd;
    int64_t rest_until;
};

struct dw_keyd *dw_keyd_new(const struct dw_config *config)
{
    struct dw_keyd *k = dw_alloc(sizeof *k);
    pthread_mutex_init(&k->lock, NULL);
    k->path = dw_config_run(config, "keyd.sock");
    k->fd = -1;
    return k;
}

void dw_keyd_free(struct dw_keyd *k)
{
    if (!k)
        return;
    if (k->fd >= 0)
        close(k->fd);
    pthread_mutex_destroy(&k->lock);
    dw_free(k->path);
    dw_free(k);
}

static bool open_connection(struct dw_keyd *k)
{
    struct sockaddr_un to;
    struct timeval timeout = {.tv_sec = TIMEOUT_SECONDS};
    if (k->fd >= 0)
        return true;
    if (!dw_unix_address(k->path, &to))
        return false;
    k->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (k->fd < 0)
        return false;
    setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(k->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(k->fd, (struct sockaddr *)&to, sizeof to) == 0)
        return true;
    close(k->fd);
    k->fd = -1;
    return false;
}

static void close_connection(struct dw_keyd *k)
{
    close(k->fd);
    k->fd = -1;
}

/* One question and its answer; a broken connection is opened once more, for keyd may have restarted
 * since the last question. */
static enum dw_result ask(struct dw_keyd *k, const uint8_t *question, size_t len, uint8_t *answer,
                          size_t answer_len)
{
    uint8_t got[ANSWER_MAX];
    enum dw_result result = DW_RETRY;
    pthread_mutex_lock(&k->lock);
    bool resting = dw_monotonic_ms() < k->rest_until;
    for (int i = 0; i < 2 && result != DW_OK && !resting; i++) {
        if (!open_connection(k)) {
            k->rest_until = dw_monotonic_ms() + REST_MS;
            break;
        }
        ssize_t n = -1;
        if (send(k->fd, question, len, MSG_NOSIGNAL) == (ssize_t)len)
            n = recv(k->fd, got, sizeof got, 0);
        if (n <= 0) {
            close_connection(k);
            if (i > 0)
                k->rest_until = dw_monotonic_ms() + REST_MS;
            continue;
        }
        if (n != (ssize_t)answer_len + 1 || got[0] != 0)
            break; /* busy, or a question it does not understand */
        memcpy(answer, got + 1, answer_len);
        result = DW_OK;
    }
    pthread_mutex_unlock(&k->lock);
    return result;
}

enum dw_result dw_keyd_receipt(struct dw_keyd *k, const uint8_t asked[32], uint8_t h[32])
{
    uint8_t question[34] = {1, 'R'};
    memcpy(question + 2, asked, 32);
    return ask(k, question, sizeof question, h, 32);
}

enum dw_result dw_keyd_index(struct dw_keyd *k, enum dw_index_field field, const char *value,
                             uint8_t index[DW_INDEX_LEN])
{
    uint8_t question[3 + DW_INDEX_VALUE_MAX] = {1, 'I', (uint8_t)field};
    size_t len = strlen(value);
    if (len < 1 || len > DW_INDEX_VALUE_MAX)
        return DW_INVALID;
    memcpy(question + 3, value, len);
    return ask(k, question, 3 + len, index, DW_INDEX_LEN);
}
