/* dengwen-keyd: the pepper of receipts and the keys of blind indexes.
 *
 * No network, no broker, no store: it links neither.  One loop over a few unix connections; a
 * question is one packet, its answer is one packet. */
#include "dw/bytes.h"
#include "dw/clock.h"
#include "dw/keyd.h"
#include "dw/log.h"
#include "dw/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PEPPER_LEN = 32, INDEX_KEY_LEN = 32, QUESTION_MAX = 128, TURN_MS = 500 };
enum { ANSWER_OK = 0, ANSWER_BUSY = 1, ANSWER_MALFORMED = 2 };

struct keyd {
    struct dw_process process;
    uint8_t *pepper, *index_key; /* locked */
    int listener;
    int *connections;
    size_t connections_count;
    double tokens;
    int64_t tokens_at;
    dw_metric *receipts, *indexes, *busy, *malformed, *strangers;
};

static uint8_t *load_secret(const struct keyd *k, const char *name, size_t len)
{
    DW_AUTO_BUF path = {0};
    size_t file_len;
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/%s", k->process.state, name);
    char *text = (char *)dw_read_file(dw_buf_text(&path), 1024, true, &file_len);
    uint8_t *secret = sodium_malloc(len);
    if (!text || !secret) {
        dw_log(DW_ERROR, "keyd.secret", "%s: %s", dw_buf_text(&path),
               !text ? strerror(errno) : "no locked memory");
        exit(DW_EXIT_CONFIG);
    }
    text[strcspn(text, "\r\n")] = 0;
    if (!dw_unbase64(secret, len, text)) {
        dw_log(DW_ERROR, "keyd.secret", "%s: expected %zu bytes in base64url", dw_buf_text(&path),
               len);
        exit(DW_EXIT_CONFIG);
    }
    dw_wipe_free(text, file_len);
    return secret;
}

static void listen_on_socket(struct keyd *k)
{
    struct sockaddr_un address;
    char *run = dw_config_run(&k->process.config, "");
    char *path = dw_config_run(&k->process.config, "keyd.sock");
    k->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = dw_make_folder(run, 0750) && dw_unix_address(path, &address) && k->listener >= 0;
    if (good)
        unlink(path); /* our state folder is locked: no other keyd listens here */
    good = good && bind(k->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
           chmod(path, 0660) == 0 && listen(k->listener, 16) == 0;
    if (!good) {
        dw_log(DW_ERROR, "keyd.listen", "%s: %s", path, strerror(errno));
        exit(DW_EXIT_CONFIG);
    }
    dw_free(run);
    dw_free(path);
}

/* Our own uid, and those of the programs named in the settings. */
static bool is_known(const struct keyd *k, int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return false;
    if (peer.uid == geteuid())
        return true;
    for (size_t i = 0; i < k->process.config.keyd.users.count; i++) {
        const struct passwd *user = getpwnam(k->process.config.keyd.users.items[i]);
        if (user && user->pw_uid == peer.uid)
            return true;
    }
    return false;
}

static void accept_connections(struct keyd *k)
{
    int fd;
    while ((fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        bool known = is_known(k, fd);
        if (!known) {
            /* Counted all, told the first, the second, the fourth, ...: whoever comes uninvited may
             * come often. */
            int64_t n = ++*k->strangers;
            if ((n & (n - 1)) == 0)
                dw_log(DW_WARN, "keyd.stranger",
                       "a process of another user was turned away (so far: %lld)", (long long)n);
        }
        if (!known || k->connections_count >= (size_t)k->process.config.keyd.connections)
            close(fd);
        else
            k->connections[k->connections_count++] = fd;
    }
}

static bool take_token(struct keyd *k)
{
    int64_t now = dw_monotonic_ms();
    const struct dw_config *c = &k->process.config;
    k->tokens += (double)(now - k->tokens_at) / 1000.0 * (double)c->keyd.per_second;
    k->tokens_at = now;
    if (k->tokens > (double)c->keyd.burst)
        k->tokens = (double)c->keyd.burst;
    if (k->tokens < 1)
        return false;
    k->tokens -= 1;
    return true;
}

static size_t answer_receipt(struct keyd *k, const uint8_t *question, size_t len, uint8_t *answer)
{
    if (len != 32)
        return 0;
    crypto_generichash(answer, 32, question, len, k->pepper, PEPPER_LEN);
    (*k->receipts)++;
    return 32;
}

static size_t answer_index(struct keyd *k, const uint8_t *question, size_t len, uint8_t *answer)
{
    uint8_t hash[32];
    if (len < 2 || len > 1 + DW_INDEX_VALUE_MAX || question[0] != DW_INDEX_PROVIDER)
        return 0;
    /* The field is part of what is hashed: one value gives another index in another field. */
    crypto_generichash(hash, sizeof hash, question, len, k->index_key, INDEX_KEY_LEN);
    memcpy(answer, hash, DW_INDEX_LEN);
    (*k->indexes)++;
    return DW_INDEX_LEN;
}

static size_t answer(struct keyd *k, const uint8_t *question, size_t len, uint8_t *out)
{
    static const struct {
        char letter;
        size_t (*work)(struct keyd *, const uint8_t *, size_t, uint8_t *);
    } kinds[] = {{'R', answer_receipt}, {'I', answer_index}};
    out[0] = ANSWER_MALFORMED;
    if (!take_token(k)) {
        (*k->busy)++;
        out[0] = ANSWER_BUSY;
        return 1;
    }
    for (size_t i = 0; len >= 2 && question[0] == 1 && i < DW_COUNT(kinds); i++) {
        if (kinds[i].letter != (char)question[1])
            continue;
        size_t n = kinds[i].work(k, question + 2, len - 2, out + 1);
        if (n) {
            out[0] = ANSWER_OK;
            return n + 1;
        }
    }
    (*k->malformed)++;
    return 1;
}

/* False when the connection is over. */
static bool serve(struct keyd *k, int fd)
{
    uint8_t question[QUESTION_MAX], out[64];
    ssize_t n = recv(fd, question, sizeof question, MSG_TRUNC);
    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    size_t len = (size_t)n > sizeof question ? 0 : (size_t)n;
    size_t out_len = answer(k, question, len, out);
    bool sent = send(fd, out, out_len, MSG_NOSIGNAL) == (ssize_t)out_len;
    sodium_memzero(question, sizeof question);
    sodium_memzero(out, sizeof out);
    return sent;
}

static void turn(struct keyd *k)
{
    struct pollfd fds[2 + 1024];
    fds[0] = (struct pollfd){.fd = k->process.signal_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = k->listener, .events = POLLIN};
    size_t count = k->connections_count, kept = 0;
    for (size_t i = 0; i < count; i++)
        fds[2 + i] = (struct pollfd){.fd = k->connections[i], .events = POLLIN};
    if (poll(fds, 2 + count, TURN_MS) <= 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (fds[2 + i].revents && !serve(k, fds[2 + i].fd))
            close(fds[2 + i].fd);
        else
            k->connections[kept++] = fds[2 + i].fd;
    }
    k->connections_count = kept;
    if (fds[1].revents)
        accept_connections(k);
}

int main(int argc, char **argv)
{
    struct keyd k = {0};
    dw_process_start(&k.process, argc, argv, "keyd",
                     "holds the pepper of receipts and the keys of blind indexes", true);
    k.pepper = load_secret(&k, "pepper.key", PEPPER_LEN);
    k.index_key = load_secret(&k, "index.key", INDEX_KEY_LEN);
    k.connections = dw_alloc((size_t)k.process.config.keyd.connections * sizeof *k.connections);
    k.tokens = (double)k.process.config.keyd.burst;
    k.tokens_at = dw_monotonic_ms();
    k.receipts = dw_metric_named("dengwen_keyd_receipts_total");
    k.indexes = dw_metric_named("dengwen_keyd_indexes_total");
    k.busy = dw_metric_named("dengwen_keyd_busy_total");
    k.malformed = dw_metric_named("dengwen_keyd_malformed_total");
    k.strangers = dw_metric_named("dengwen_keyd_strangers_total");
    listen_on_socket(&k);
    dw_process_ready(&k.process, true, "answering");
    while (dw_process_signal(&k.process) != DW_SIGNAL_STOP) {
        turn(&k);
        dw_process_tick(&k.process);
    }
    dw_process_ready(&k.process, false, "stopping");
    for (size_t i = 0; i < k.connections_count; i++)
        close(k.connections[i]);
    close(k.listener);
    dw_free(k.connections);
    sodium_free(k.pepper);
    sodium_free(k.index_key);
    dw_process_end(&k.process);
    return 0;
}
