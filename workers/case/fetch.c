/* fetch.c - file chunks on their way from the queue into the store.
 *
 * A thread of its own asks the broker for one chunk after the other, so that large filings do not
 * hold up small ones.  Chunks are stored as they come (nobody can see an object that no case names);
 * when the last one is stored and the hash of each file is right, the filing goes back to the main
 * thread to become a case.  Meanwhile the worker's heartbeats keep the lease. */
#include "casework.h"

#include <sodium.h>
#include <string.h>

enum { CALL_MS = 10000 };

/* Chunks held until they are stored together. */
struct batch {
    struct dw_bus_answer answers[CW_PARTS_PER_STEP];
    struct dw_store_object objects[CW_PARTS_PER_STEP];
    size_t count;
};

static bool store_batch(struct casework *cw, struct filing_job *job, struct batch *b)
{
    struct dw_store_step step = {.objects = b->objects, .objects_count = b->count};
    struct dw_store_step *steps[] = {&step};
    dw_store_apply(cw->store, steps, 1);
    for (size_t i = 0; i < b->count; i++)
        dw_bus_answer_free(&b->answers[i]);
    b->count = 0;
    return dw_registering_stored(&job->registering, step.outcome);
}

static bool fetch_part(struct casework *cw, struct filing_job *job, uint32_t n,
                       struct dw_bus_answer *ret)
{
    uint8_t number[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    struct dw_slice payload[] = {DW_SLICE(job->lease, DW_LEASE_LEN), DW_SLICE(number, 4)};
    enum dw_result result =
        dw_bus_call(cw->bus, job->broker, "queue.part", payload, DW_COUNT(payload), CALL_MS, ret);
    if (result == DW_OK && ret->status == 200 && ret->payload_count == 1)
        return true;
    dw_bus_answer_free(ret);
    dw_registering_no_part(&job->registering);
    return false;
}

static bool fetch_file(struct casework *cw, struct filing_job *job,
                       const struct dw_object_ref *file, uint32_t first, struct batch *b)
{
    crypto_generichash_state hash;
    uint8_t got[DW_HASH_LEN];
    int64_t size = 0;
    crypto_generichash_init(&hash, NULL, 0, sizeof got);
    for (int32_t i = 0; i < file->chunks; i++) {
        struct dw_bus_answer *answer = &b->answers[b->count];
        if (!fetch_part(cw, job, first + (uint32_t)i, answer))
            return false;
        struct dw_slice bytes = answer->payload[0];
        crypto_generichash_update(&hash, bytes.data, bytes.len);
        size += (int64_t)bytes.len;
        struct dw_store_object *o = &b->objects[b->count++];
        memcpy(o->id, file->id, 16);
        o->part = i;
        o->bytes = bytes;
        if (b->count == CW_PARTS_PER_STEP && !store_batch(cw, job, b))
            return false;
    }
    crypto_generichash_final(&hash, got, sizeof got);
    if (size == file->size && memcmp(got, file->hash, sizeof got) == 0)
        return true;
    dw_registering_other_file(&job->registering);
    return false;
}

void cw_fetch(struct casework *cw, struct pending *p)
{
    struct filing_job *job = p->job;
    struct batch b = {.count = 0};
    uint32_t next = 0;
    bool good = true;
    for (size_t i = 0; good && i < job->filing.objects_count; i++) {
        const struct dw_object_ref *o = &job->filing.objects[i];
        if (o->type != DW_OBJECT_FILE)
            continue;
        good = fetch_file(cw, job, o, next, &b);
        next += (uint32_t)o->chunks;
    }
    if (good && b.count)
        store_batch(cw, job, &b);
    for (size_t i = 0; i < b.count; i++)
        dw_bus_answer_free(&b.answers[i]);
}
