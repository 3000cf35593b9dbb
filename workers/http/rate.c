/* rate.c - token buckets per address, in a table of fixed size that names nobody.
 *
 * A bucket is found by a keyed hash of the address and the rate's name.  The key is drawn anew
 * every hour and kept nowhere, so that the table tells nothing afterwards; all buckets are full
 * again then. */
#include "http_private.h"

#include <sodium.h>
#include <string.h>

enum { WAYS = 8, KEY_MS = 3600 * 1000, WAIT_MAX_SECONDS = 3600 };

struct bucket {
    uint64_t tag; /* 0: free */
    const struct dw_http_rate *rate;
    double tokens;
    int64_t at;
};

struct dw_http_rates {
    uint8_t key[crypto_generichash_KEYBYTES];
    int64_t key_until;
    size_t sets;
    struct bucket buckets[];
};

struct dw_http_rates *dw_http_rates_new(int64_t table_size)
{
    size_t sets = table_size > WAYS ? (size_t)table_size / WAYS : 1;
    struct dw_http_rates *rates = dw_alloc(sizeof *rates + sets * WAYS * sizeof rates->buckets[0]);
    rates->sets = sets;
    rates->key_until = INT64_MIN;
    return rates;
}

void dw_http_rates_free(struct dw_http_rates *rates)
{
    if (rates)
        dw_wipe_free(rates, sizeof *rates + rates->sets * WAYS * sizeof rates->buckets[0]);
}

static void renew_key(struct dw_http_rates *rates, int64_t now)
{
    randombytes_buf(rates->key, sizeof rates->key);
    memset(rates->buckets, 0, rates->sets * WAYS * sizeof rates->buckets[0]);
    rates->key_until = now + KEY_MS;
}

static double tokens_at(const struct bucket *bucket, int64_t now)
{
    double tokens = bucket->tokens + (double)(now - bucket->at) / 1000 * bucket->rate->per_second;
    return tokens < (double)bucket->rate->burst ? tokens : (double)bucket->rate->burst;
}

static double fullness(const struct bucket *bucket, int64_t now)
{
    if (!bucket->tag)
        return 2; /* a free one is the first choice */
    return bucket->rate->burst > 0 ? tokens_at(bucket, now) / (double)bucket->rate->burst : 0;
}

/* The bucket of this tag; else the one whose loss forgives least. */
static struct bucket *find(struct bucket *set, uint64_t tag, const struct dw_http_rate *rate,
                           int64_t now)
{
    struct bucket *fullest = set;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].tag == tag)
            return &set[i];
        if (fullness(&set[i], now) > fullness(fullest, now))
            fullest = &set[i];
    }
    *fullest = (struct bucket){.tag = tag, .rate = rate, .tokens = (double)rate->burst, .at = now};
    return fullest;
}

int64_t dw_http_rates_take(struct dw_http_rates *rates, const struct dw_http_rate *rate,
                           struct dw_http_peer peer, int64_t now_ms)
{
    static const uint8_t v4[12] = {[10] = 0xff, [11] = 0xff};
    uint64_t hash[2];
    crypto_generichash_state state;
    if (now_ms >= rates->key_until)
        renew_key(rates, now_ms);
    if (memcmp(peer.bytes, v4, sizeof v4) != 0)
        memset(peer.bytes + 8, 0, 8); /* who has one IPv6 address usually has 2^64 */
    crypto_generichash_init(&state, rates->key, sizeof rates->key, sizeof hash);
    crypto_generichash_update(&state, peer.bytes, sizeof peer.bytes);
    crypto_generichash_update(&state, (const uint8_t *)rate->name, strlen(rate->name));
    crypto_generichash_final(&state, (uint8_t *)hash, sizeof hash);

    struct bucket *set = &rates->buckets[hash[0] % rates->sets * WAYS];
    struct bucket *bucket = find(set, hash[1] ? hash[1] : 1, rate, now_ms);
    bucket->tokens = tokens_at(bucket, now_ms);
    bucket->at = now_ms;
    if (bucket->tokens >= 1) {
        bucket->tokens -= 1;
        return 0;
    }
    double missing = 1 - bucket->tokens;
    if (missing > rate->per_second * WAIT_MAX_SECONDS)
        return WAIT_MAX_SECONDS;
    int64_t seconds = (int64_t)(missing / rate->per_second);
    return seconds + ((double)seconds * rate->per_second < missing);
}
