/* crypto_limit.c - how many filings a second the cryptography alone allows.
 *
 *   bench_crypto_limit [-t THREADS] [-s SECONDS]
 *
 * Each thread does for one filing what workers/intake/submit.c does, with the same functions, and
 * nothing else: no HTTP, no JSON, no keyd's socket (its one hash is done here), no broker, no disk.
 * The filing has an identity, phone and e-mail, and a report of some 600 Chinese characters. */
#include "dw/case.h"
#include "dw/envelope.h"
#include "dw/receipt.h"

#include <getopt.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Plain lengths as such a filing has them; what counts is their size bucket. */
enum {
    CANONICAL_LEN = 2200,
    BODY_LEN = 2100,
    IDENTITY_LEN = 20,
    CONTACT_LEN = 60,
    DOCUMENT_LEN = 2500, /* of the sealed filing: facts, roots, grants, objects, without contents */
    THREADS_MAX = 64,
    DAY = 20700,
    GRANTS = 6,
    OBJECTS = 3,
};

enum part { RECEIPT, GRANTING, SEALING, SIGNING, PARTS };
static const char *const part_names[PARTS] = {"receipt", "grants", "objects", "signature"};

/* What all filings share: the keys of the directory and the secrets of intake and keyd. */
static struct {
    uint8_t body[DW_KEY_LEN], escrow[DW_KEY_LEN], notifier[DW_KEY_LEN], custodian[DW_KEY_LEN];
    uint8_t salt[DW_SALT_LEN], pepper[32], intake[DW_INTAKE_SECRET_LEN];
    struct dw_signer signer;
    atomic_bool over;
} shared;

struct worker {
    pthread_t thread;
    uint32_t number;
    long filings;
    void *memory; /* of the memory-hard step */
    double part_seconds[PARTS];
    uint8_t text[CANONICAL_LEN];
};

struct filing {
    struct dw_filing_ids ids;
    struct dw_receipt_keys receipt;
    uint8_t r[DW_ROOT_LEN], p[DW_ROOT_LEN], c[DW_ROOT_LEN];
    uint8_t commitments[3][DW_HASH_LEN];
    struct dw_grant grants[GRANTS];
    uint8_t hashes[OBJECTS][DW_HASH_LEN];
    uint8_t signature[DW_SIGNATURE_LEN];
};

static void fail(const char *why)
{
    fprintf(stderr, "bench_crypto_limit: %s\n", why);
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- one filing ---- */

static void make_receipt(struct worker *w, struct filing *f)
{
    uint8_t fp[32], y[DW_Y_LEN], asked[32], h[32];
    char key[40];
    snprintf(key, sizeof key, "%08x-%027ld", (unsigned)w->number, w->filings);
    dw_receipt_fingerprint(fp, shared.intake, DW_SLICE(w->text, CANONICAL_LEN));
    dw_receipt_derive(&f->ids, shared.intake, key, fp);
    if (!dw_receipt_stretch(y, f->ids.receipt, shared.salt, w->memory))
        fail("the memory-hard step failed");
    dw_receipt_question(asked, y);
    crypto_generichash(h, sizeof h, asked, sizeof asked, shared.pepper, sizeof shared.pepper);
    dw_receipt_keys(&f->receipt, y, h);
}

static void make_grants(struct filing *f)
{
    const uint8_t *id = f->ids.filing;
    randombytes_buf(f->r, sizeof f->r);
    randombytes_buf(f->p, sizeof f->p);
    dw_root_contact(f->c, f->p);
    dw_root_commitment(f->commitments[0], f->r, DW_ROOT_R, 1, id);
    dw_root_commitment(f->commitments[1], f->p, DW_ROOT_P, 1, id);
    dw_root_commitment(f->commitments[2], f->c, DW_ROOT_C, 1, id);
    const struct {
        enum dw_root_kind kind;
        const uint8_t *root;
        enum dw_grantee to;
        const char *id;
        const uint8_t *key;
    } all[GRANTS] = {
        {DW_ROOT_R, f->r, DW_TO_BODY, "500108", shared.body},
        {DW_ROOT_R, f->r, DW_TO_ESCROW, "", shared.escrow},
        {DW_ROOT_R, f->r, DW_TO_REPORTER, "", f->receipt.box_public},
        {DW_ROOT_P, f->p, DW_TO_ESCROW, "", shared.escrow},
        {DW_ROOT_C, f->c, DW_TO_NOTIFIER, "", shared.notifier},
        {DW_ROOT_P, f->p, DW_TO_CUSTODIAN, "500108", shared.custodian},
    };
    for (size_t i = 0; i < GRANTS; i++)
        dw_grant_seal(&f->grants[i], all[i].kind, 1, id, all[i].root, all[i].to, all[i].id, 1,
                      all[i].key);
}

static void seal_objects(struct worker *w, struct filing *f)
{
    const struct {
        enum dw_object_type type;
        const uint8_t *root;
        size_t len;
    } all[OBJECTS] = {{DW_OBJECT_BODY, f->r, BODY_LEN},
                      {DW_OBJECT_IDENTITY, f->p, IDENTITY_LEN},
                      {DW_OBJECT_CONTACT, f->c, CONTACT_LEN}};
    for (size_t i = 0; i < OBJECTS; i++) {
        DW_AUTO_BUF out = {0};
        struct dw_object_header header = {
            .type = all[i].type, .epoch = 1, .sequence = (uint32_t)i, .day = DAY};
        dw_buf_init(&out, DW_OBJECT_MAX);
        memcpy(header.case_id, f->ids.filing, 16);
        randombytes_buf(header.object_id, 16);
        if (!dw_envelope_seal(&header, all[i].root, &shared.signer,
                              DW_SLICE(w->text, all[i].len), &out))
            fail("an object does not seal");
        dw_hash(f->hashes[i], dw_buf_slice(&out));
    }
}

static void sign_document(struct worker *w, struct filing *f)
{
    uint8_t document[DOCUMENT_LEN];
    memcpy(document, w->text, CANONICAL_LEN);
    memcpy(document + CANONICAL_LEN, f->hashes, sizeof f->hashes);
    memset(document + CANONICAL_LEN + sizeof f->hashes, 0,
           sizeof document - CANONICAL_LEN - sizeof f->hashes);
    dw_sign(&shared.signer, DW_LABEL_FILING, DW_SLICE(document, sizeof document), f->signature);
}

static void one_filing(struct worker *w)
{
    struct filing f;
    double at[PARTS + 1];
    memcpy(w->text, &w->filings, sizeof w->filings); /* no two payloads are the same */
    at[RECEIPT] = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    make_receipt(w, &f);
    at[GRANTING] = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    make_grants(&f);
    at[SEALING] = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    seal_objects(w, &f);
    at[SIGNING] = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    sign_document(w, &f);
    at[PARTS] = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < PARTS; i++)
        w->part_seconds[i] += at[i + 1] - at[i];
    sodium_memzero(&f, sizeof f);
    w->filings++;
}

/* ---- threads and the result ---- */

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&shared.over))
        one_filing(w);
    return NULL;
}

static void make_keys(void)
{
    uint8_t secret[DW_KEY_LEN], seed[32];
    uint8_t *const pairs[] = {shared.body, shared.escrow, shared.notifier, shared.custodian};
    for (size_t i = 0; i < DW_COUNT(pairs); i++)
        crypto_box_keypair(pairs[i], secret);
    randombytes_buf(shared.salt, sizeof shared.salt);
    randombytes_buf(shared.pepper, sizeof shared.pepper);
    randombytes_buf(shared.intake, sizeof shared.intake);
    randombytes_buf(seed, sizeof seed);
    dw_signer_init(&shared.signer, seed);
}

static void print(const struct worker *workers, int threads, double seconds, double cpu)
{
    long filings = 0;
    double parts[PARTS] = {0};
    for (int t = 0; t < threads; t++) {
        filings += workers[t].filings;
        for (int i = 0; i < PARTS; i++)
            parts[i] += workers[t].part_seconds[i];
    }
    printf("{\"threads\": %d, \"seconds\": %.3f, \"filings\": %ld, \"per_second\": %.2f, "
           "\"cpu_ms_per_filing\": %.4f, \"parts_cpu_ms\": {",
           threads, seconds, filings, (double)filings / seconds,
           filings ? cpu * 1000 / (double)filings : 0);
    for (int i = 0; i < PARTS; i++)
        printf("%s\"%s\": %.4f", i ? ", " : "", part_names[i],
               filings ? parts[i] * 1000 / (double)filings : 0);
    printf("}}\n");
}

static void measure(int threads, double for_seconds)
{
    struct worker *workers = dw_alloc((size_t)threads * sizeof *workers);
    struct timespec nap = {(time_t)for_seconds,
                           (long)((for_seconds - (double)(time_t)for_seconds) * 1e9)};
    double began = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int t = 0; t < threads; t++) {
        workers[t].number = (uint32_t)t;
        if (!(workers[t].memory = dw_stretch_memory_new()))
            fail("no memory for the memory-hard step");
        randombytes_buf(workers[t].text, sizeof workers[t].text);
        if (pthread_create(&workers[t].thread, NULL, work, &workers[t]) != 0)
            fail("no thread");
    }
    nanosleep(&nap, NULL);
    atomic_store(&shared.over, true);
    for (int t = 0; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    print(workers, threads, seconds_of(CLOCK_MONOTONIC) - began,
          seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    for (int t = 0; t < threads; t++)
        dw_stretch_memory_free(workers[t].memory);
    dw_free(workers);
}

int main(int argc, char **argv)
{
    int threads = 2, option;
    double seconds = 3;
    while ((option = getopt(argc, argv, "t:s:")) != -1) {
        if (option == 't')
            threads = atoi(optarg);
        else if (option == 's')
            seconds = atof(optarg);
        else
            return 2;
    }
    if (optind != argc || threads < 1 || threads > THREADS_MAX || seconds <= 0) {
        fprintf(stderr, "usage: bench_crypto_limit [-t THREADS (1 to %d)] [-s SECONDS]\n",
                THREADS_MAX);
        return 2;
    }
    if (sodium_init() < 0)
        fail("libsodium does not start");
    make_keys();
    measure(threads, seconds);
    dw_signer_free(&shared.signer);
    return 0;
}
