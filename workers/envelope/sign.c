#include "dw/envelope.h"

#include "dw/wire.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void dw_signer_init(struct dw_signer *signer, const uint8_t seed[32])
{
    signer->secret = sodium_malloc(crypto_sign_SECRETKEYBYTES);
    if (!signer->secret)
        abort(); /* no locked memory left: a crash and a restart, as for any memory */
    crypto_sign_seed_keypair(signer->public, signer->secret, seed);
    dw_signer_id(signer->id, signer->public);
}

enum dw_result dw_signer_load(struct dw_signer *signer, const char *path, struct dw_error *err)
{
    uint8_t *seed = dw_secret_load(path, 32, err);
    if (!seed)
        return DW_INVALID;
    dw_signer_init(signer, seed);
    sodium_free(seed);
    return DW_OK;
}

void dw_signer_free(struct dw_signer *signer)
{
    sodium_free(signer->secret);
    signer->secret = NULL;
}

void dw_sign(const struct dw_signer *signer, const char *label, struct dw_slice bytes,
             uint8_t signature[DW_SIGNATURE_LEN])
{
    crypto_sign_state state;
    crypto_sign_init(&state);
    crypto_sign_update(&state, (const uint8_t *)label, strlen(label) + 1);
    crypto_sign_update(&state, bytes.data, bytes.len);
    crypto_sign_final_create(&state, signature, NULL, signer->secret);
}

void dw_hash(uint8_t out[DW_HASH_LEN], struct dw_slice bytes)
{
    crypto_generichash(out, DW_HASH_LEN, bytes.data, bytes.len, NULL, 0);
}
