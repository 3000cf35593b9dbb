/* verify_limit.c - how many filings a second a case worker's cryptography alone allows.
 *
 *   bench_verify_limit [SECONDS]
 *
 * One thread does for one filing what workers/case/register.c does, with the same functions, and
 * nothing else: the intake's signatures of the filing and of its three objects are verified, the objects
 * hashed, the event signed.  One line of JSON, by CPU time. */
#include "dw/case.h"
#include "dw/envelope.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OBJECTS = 3, FILING_LEN = 3300, EVENT_LEN = 3900, DAY = 20700 };

static struct dw_signer signer;
static struct dw_buf objects[OBJECTS];
static uint8_t filing[FILING_LEN], event[EVENT_LEN], signature[DW_SIGNATURE_LEN];

static void fail(const char *why)
{
    fprintf(stderr, "bench_verify_limit: %s\n", why);
    exit(1);
}

static double cpu_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void make_filing(void)
{
    static const struct {
        enum dw_object_type type;
        size_t len;
    } all[OBJECTS] = {{DW_OBJECT_BODY, 2100}, {DW_OBJECT_IDENTITY, 20}, {DW_OBJECT_CONTACT, 60}};
    uint8_t seed[32], root[DW_ROOT_LEN];
    randombytes_buf(seed, sizeof seed);
    randombytes_buf(root, sizeof root);
    randombytes_buf(filing, sizeof filing);
    randombytes_buf(event, sizeof event);
    dw_signer_init(&signer, seed);
    for (size_t i = 0; i < OBJECTS; i++) {
        struct dw_object_header header = {
            .type = all[i].type, .epoch = 1, .sequence = (uint32_t)i, .day = DAY};
        dw_object_id(header.object_id, header.case_id);
        dw_buf_init(&objects[i], DW_OBJECT_MAX);
        if (!dw_envelope_seal(&header, root, &signer, DW_SLICE(filing, all[i].len), &objects[i]))
            fail("an object does not seal");
    }
    dw_sign(&signer, DW_LABEL_FILING, DW_SLICE(filing, FILING_LEN), signature);
}

static void one_filing(void)
{
    uint8_t hash[DW_HASH_LEN], written[DW_SIGNATURE_LEN];
    if (!dw_verify(signer.public, DW_LABEL_FILING, DW_SLICE(filing, FILING_LEN), signature))
        fail("a filing is not signed");
    for (size_t i = 0; i < OBJECTS; i++) {
        dw_hash(hash, dw_buf_slice(&objects[i]));
        if (!dw_envelope_signed_by(dw_buf_slice(&objects[i]), signer.public))
            fail("an object is not signed");
    }
    dw_hash(hash, DW_SLICE(event, EVENT_LEN));
    dw_sign(&signer, DW_LABEL_EVENT, DW_SLICE(event, EVENT_LEN), written);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    long count = 0;
    if (sodium_init() < 0 || seconds <= 0)
        fail("usage: bench_verify_limit [SECONDS]");
    make_filing();
    double began = cpu_seconds(), took;
    do {
        one_filing();
        count++;
    } while ((took = cpu_seconds() - began) < seconds);
    printf("{\"filings\": %ld, \"per_second\": %.0f, \"cpu_us\": %.0f}\n", count,
           (double)count / took, took / (double)count * 1e6);
    for (size_t i = 0; i < OBJECTS; i++)
        dw_buf_free(&objects[i]);
    dw_signer_free(&signer);
    return 0;
}
