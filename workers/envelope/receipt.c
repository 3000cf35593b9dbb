#include "dw/receipt.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { RANDOM_DIGITS = 22 };

void dw_receipt_fingerprint(uint8_t fp[32], const uint8_t secret[DW_INTAKE_SECRET_LEN],
                            struct dw_slice canonical)
{
    crypto_generichash_state state;
    static const char label[] = "dengwen/fingerprint/1";
    crypto_generichash_init(&state, secret, DW_INTAKE_SECRET_LEN, 32);
    crypto_generichash_update(&state, (const uint8_t *)label, sizeof label);
    crypto_generichash_update(&state, canonical.data, canonical.len);
    crypto_generichash_final(&state, fp, 32);
    sodium_memzero(&state, sizeof state);
}

/* The remainder of a decimal text divided by 97. */
static int mod97(const char *digits, size_t len)
{
    int rest = 0;
    for (size_t i = 0; i < len; i++)
        rest = (rest * 10 + (digits[i] - '0')) % 97;
    return rest;
}

static void add_check_digits(char digits[DW_RECEIPT_DIGITS + 1])
{
    digits[22] = digits[23] = '0';
    int check = 98 - mod97(digits, DW_RECEIPT_DIGITS);
    digits[22] = (char)('0' + check / 10);
    digits[23] = (char)('0' + check % 10);
    digits[24] = 0;
}

/* 22 digits out of 128 bits: the bias is below 2^-54. */
static void write_digits(char digits[DW_RECEIPT_DIGITS + 1], const uint8_t random[16])
{
    unsigned __int128 v = 0;
    for (int i = 0; i < 16; i++)
        v = v << 8 | random[i];
    for (int i = RANDOM_DIGITS - 1; i >= 0; i--) {
        digits[i] = (char)('0' + (int)(v % 10));
        v /= 10;
    }
    add_check_digits(digits);
}

/* Keyed BLAKE2b of label, key and fingerprint, each with its length in front. */
static void keyed(uint8_t out[64], const uint8_t secret[DW_INTAKE_SECRET_LEN], const char *label,
                  const char *key, const uint8_t *fp)
{
    crypto_generichash_state state;
    size_t len = strlen(key);
    uint8_t lens[2] = {(uint8_t)strlen(label), (uint8_t)(len > 255 ? 255 : len)};
    crypto_generichash_init(&state, secret, DW_INTAKE_SECRET_LEN, 64);
    crypto_generichash_update(&state, lens, sizeof lens);
    crypto_generichash_update(&state, (const uint8_t *)label, strlen(label));
    crypto_generichash_update(&state, (const uint8_t *)key, len);
    if (fp)
        crypto_generichash_update(&state, fp, 32);
    crypto_generichash_final(&state, out, 64);
    sodium_memzero(&state, sizeof state);
}

void dw_receipt_derive(struct dw_filing_ids *ret, const uint8_t secret[DW_INTAKE_SECRET_LEN],
                       const char *idempotency_key, const uint8_t fp[32])
{
    uint8_t out[64];
    keyed(out, secret, "dengwen/filing/1", idempotency_key, fp);
    memcpy(ret->filing, out, 16);
    write_digits(ret->receipt, out + 16);
    keyed(out, secret, "dengwen/tok/1", idempotency_key, NULL);
    memcpy(ret->tok, out, 16);
    sodium_memzero(out, sizeof out);
}

void dw_receipt_format(const char digits[DW_RECEIPT_DIGITS + 1], char out[DW_RECEIPT_TEXT])
{
    size_t n = 0;
    for (int i = 0; i < DW_RECEIPT_DIGITS; i++) {
        if (i && i % 4 == 0)
            out[n++] = '-';
        out[n++] = digits[i];
    }
    out[n] = 0;
}

/* One digit, ASCII or full-width (EF BC 90 to EF BC 99); returns its length in bytes or 0. */
static size_t read_digit(const char *p, char *digit)
{
    if (*p >= '0' && *p <= '9') {
        *digit = *p;
        return 1;
    }
    if ((uint8_t)p[0] == 0xef && (uint8_t)p[1] == 0xbc && (uint8_t)p[2] >= 0x90 &&
        (uint8_t)p[2] <= 0x99) {
        *digit = (char)('0' + ((uint8_t)p[2] - 0x90));
        return 3;
    }
    return 0;
}

/* What people put between groups: space, hyphen, and their full-width and dash forms. */
static size_t read_gap(const char *p)
{
    static const char *const gaps[] = {" ", "-", "\t", "\xe3\x80\x80", "\xef\xbc\x8d",
                                       "\xe2\x80\x93", "\xe2\x80\x94", "\xc2\xa0", "\r", "\n"};
    for (size_t i = 0; i < DW_COUNT(gaps); i++)
        if (strncmp(p, gaps[i], strlen(gaps[i])) == 0)
            return strlen(gaps[i]);
    return 0;
}

bool dw_receipt_parse(const char *text, char digits[DW_RECEIPT_DIGITS + 1])
{
    size_t count = 0, n;
    char digit;
    while (*text) {
        if ((n = read_digit(text, &digit))) {
            if (count == DW_RECEIPT_DIGITS)
                return false;
            digits[count++] = digit;
        } else if (!(n = read_gap(text))) {
            return false;
        }
        text += n;
    }
    digits[count] = 0;
    return count == DW_RECEIPT_DIGITS && mod97(digits, DW_RECEIPT_DIGITS) == 1;
}

void dw_receipt_question(uint8_t asked[32], const uint8_t y[DW_Y_LEN])
{
    crypto_generichash(asked, 32, y, DW_Y_LEN, NULL, 0);
}

void dw_receipt_auth_hash(uint8_t out[32], const uint8_t auth[32])
{
    crypto_generichash(out, 32, auth, 32, NULL, 0);
}

void dw_receipt_keys(struct dw_receipt_keys *ret, const uint8_t y[DW_Y_LEN], const uint8_t h[32])
{
    uint8_t rk[32], seed[32];
    memcpy(ret->handle, h, sizeof ret->handle);
    crypto_generichash(rk, sizeof rk, h, 32, y, DW_Y_LEN);
    crypto_kdf_derive_from_key(ret->auth, sizeof ret->auth, 1, "receipt_", rk);
    crypto_kdf_derive_from_key(seed, sizeof seed, 2, "receipt_", rk);
    crypto_box_seed_keypair(ret->box_public, ret->box_secret, seed);
    dw_receipt_auth_hash(ret->auth_hash, ret->auth);
    sodium_memzero(rk, sizeof rk);
    sodium_memzero(seed, sizeof seed);
}
