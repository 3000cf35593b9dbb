/* sessions.c - keys of members who are logged in, sealed under a token that only the client has.
 *
 * The table keeps a hash of the token, never the token: whoever reads this process's memory between
 * requests finds sealed bytes.  The time of a session ends without use and ends in any case. */
#include "desk.h"

#include <sodium.h>
#include <string.h>

enum { SEALED_LEN = 24 + sizeof(struct dw_member_keys) + 16, DOC_MAX = 16384 };

struct session {
    uint8_t id[32];
    uint8_t *sealed;
    struct dw_buf member;
    int64_t used_at, opened_at, expires;
    bool open;
};

struct sessions {
    pthread_mutex_t lock;
    struct session *items;
    size_t max;
    int64_t idle_ms, longest_ms;
};

static void derive(uint8_t out[32], const char *label, const uint8_t token[DESK_TOKEN_LEN])
{
    crypto_generichash(out, 32, (const uint8_t *)label, strlen(label), token, DESK_TOKEN_LEN);
}

struct sessions *sessions_new(int64_t max, int64_t idle_ms, int64_t longest_ms)
{
    struct sessions *s = dw_alloc(sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->items = dw_alloc((size_t)max * sizeof *s->items);
    s->max = (size_t)max;
    s->idle_ms = idle_ms;
    s->longest_ms = longest_ms;
    return s;
}

static void wipe(struct session *item)
{
    dw_wipe_free(item->sealed, SEALED_LEN);
    dw_buf_free(&item->member);
    *item = (struct session){0};
}

void sessions_free(struct sessions *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->max; i++)
        wipe(&s->items[i]);
    pthread_mutex_destroy(&s->lock);
    dw_free(s->items);
    dw_free(s);
}

static bool is_over(const struct sessions *s, const struct session *item, int64_t now)
{
    return now - item->used_at > s->idle_ms || now - item->opened_at > s->longest_ms;
}

void sessions_sweep(struct sessions *s)
{
    int64_t now = dw_monotonic_ms();
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->max; i++)
        if (s->items[i].open && is_over(s, &s->items[i], now))
            wipe(&s->items[i]);
    pthread_mutex_unlock(&s->lock);
}

static void seal(struct session *item, const uint8_t token[DESK_TOKEN_LEN],
                 const struct dw_member_keys *keys)
{
    uint8_t key[32];
    derive(key, "dengwen/session-key/1", token);
    if (!item->sealed)
        item->sealed = dw_alloc(SEALED_LEN);
    randombytes_buf(item->sealed, 24);
    crypto_aead_xchacha20poly1305_ietf_encrypt(item->sealed + 24, NULL, (const uint8_t *)keys,
                                               sizeof *keys, item->id, sizeof item->id, NULL,
                                               item->sealed, key);
    sodium_memzero(key, sizeof key);
}

bool session_open(struct sessions *s, const struct dw_member *member,
                  const struct dw_member_keys *keys, char token[DW_BASE64_LEN(DESK_TOKEN_LEN)],
                  int64_t *expires)
{
    uint8_t raw[DESK_TOKEN_LEN];
    struct session *item = NULL;
    sessions_sweep(s);
    randombytes_buf(raw, sizeof raw);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->max && !item; i++)
        if (!s->items[i].open)
            item = &s->items[i];
    if (item) {
        derive(item->id, "dengwen/session-id/1", raw);
        seal(item, raw, keys);
        dw_buf_init(&item->member, DOC_MAX);
        dw_encode(&dw_member_layout, member, &item->member);
        item->used_at = item->opened_at = dw_monotonic_ms();
        item->expires = *expires = dw_now() + s->longest_ms;
        item->open = true;
    }
    pthread_mutex_unlock(&s->lock);
    dw_base64(token, DW_BASE64_LEN(DESK_TOKEN_LEN), raw, sizeof raw);
    sodium_memzero(raw, sizeof raw);
    return item != NULL;
}

/* With the lock held: the open session of this token, its raw token in `raw`. */
static struct session *find(struct sessions *s, const char *token, uint8_t raw[DESK_TOKEN_LEN])
{
    uint8_t id[32];
    if (!dw_unbase64(raw, DESK_TOKEN_LEN, token))
        return NULL;
    derive(id, "dengwen/session-id/1", raw);
    for (size_t i = 0; i < s->max; i++)
        if (s->items[i].open && sodium_memcmp(s->items[i].id, id, sizeof id) == 0)
            return is_over(s, &s->items[i], dw_monotonic_ms()) ? NULL : &s->items[i];
    return NULL;
}

bool session_use(struct sessions *s, const char *token, struct signed_in *ret)
{
    uint8_t raw[DESK_TOKEN_LEN], key[32];
    struct dw_error err;
    bool good = false;
    pthread_mutex_lock(&s->lock);
    struct session *item = find(s, token, raw);
    if (item) {
        derive(key, "dengwen/session-key/1", raw);
        good = crypto_aead_xchacha20poly1305_ietf_decrypt(
                   (uint8_t *)ret->keys, NULL, NULL, item->sealed + 24, SEALED_LEN - 24, item->id,
                   sizeof item->id, item->sealed, key) == 0 &&
               dw_decode(&dw_member_layout, dw_buf_slice(&item->member), &ret->arena, &ret->member,
                         &err) == DW_OK;
        item->used_at = dw_monotonic_ms();
        ret->expires = item->expires;
        sodium_memzero(key, sizeof key);
    }
    pthread_mutex_unlock(&s->lock);
    sodium_memzero(raw, sizeof raw);
    return good;
}

bool session_update(struct sessions *s, const char *token, const struct dw_member_keys *keys)
{
    uint8_t raw[DESK_TOKEN_LEN];
    pthread_mutex_lock(&s->lock);
    struct session *item = find(s, token, raw);
    if (item)
        seal(item, raw, keys);
    pthread_mutex_unlock(&s->lock);
    sodium_memzero(raw, sizeof raw);
    return item != NULL;
}

bool session_close(struct sessions *s, const char *token)
{
    uint8_t raw[DESK_TOKEN_LEN];
    pthread_mutex_lock(&s->lock);
    struct session *item = find(s, token, raw);
    if (item)
        wipe(item);
    pthread_mutex_unlock(&s->lock);
    sodium_memzero(raw, sizeof raw);
    return item != NULL;
}
