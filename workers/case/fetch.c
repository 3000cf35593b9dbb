/* fetch.c - file chunks on their way from the queue into the store.
 *
 * A thread of its own asks the broker for one chunk after the other, so that large filings do not
 * hold up small ones.  Chunks are stored as they come (nobody can see an object that no case names);
 * when the last one is stored and the hash of each file is right, the filing goes back to the main
 * thread to become a case.  Meanwhile the worker's heartbeats keep the lease. */
#include "casework.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CALL_MS = 10000 };

struct fetcher {
    struct casework *cw;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct pending *waiting, **waiting_end;
    struct pending *done, **done_end;
    bool stopping;
    int fd;
};

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

static void fetch_all(struct casework *cw, struct filing_job *job)
{
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

static void *run(void *arg)
{
    struct fetcher *f = arg;
    pthread_mutex_lock(&f->lock);
    for (;;) {
        while (!f->waiting && !f->stopping)
            pthread_cond_wait(&f->more, &f->lock);
        if (f->stopping)
            break;
        struct pending *p = f->waiting;
        f->waiting = p->next;
        if (!f->waiting)
            f->waiting_end = &f->waiting;
        pthread_mutex_unlock(&f->lock);
        fetch_all(f->cw, p->job);
        p->next = NULL;
        uint64_t one = 1;
        pthread_mutex_lock(&f->lock);
        *f->done_end = p;
        f->done_end = &p->next;
        (void)!write(f->fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

struct fetcher *cw_fetcher_new(struct casework *cw)
{
    struct fetcher *f = dw_alloc(sizeof *f);
    f->cw = cw;
    f->waiting_end = &f->waiting;
    f->done_end = &f->done;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f->fd < 0 || pthread_create(&f->thread, NULL, run, f) != 0) {
        dw_free(f);
        return NULL;
    }
    return f;
}

/* What was not fetched is not lost: its lease ends and it is delivered again. */
void cw_fetcher_free(struct fetcher *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    struct pending *lists[] = {f->waiting, f->done};
    for (size_t i = 0; i < DW_COUNT(lists); i++)
        for (struct pending *p = lists[i], *next; p; p = next) {
            next = p->next;
            p->worker = NULL; /* nobody to answer any more */
            p->commit = false;
            p->status = 300;
            cw_finish(f->cw, p);
        }
    close(f->fd);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->more);
    dw_free(f);
}

int cw_fetcher_fd(const struct fetcher *f)
{
    return f->fd;
}

void cw_fetch(struct fetcher *f, struct pending *p)
{
    p->next = NULL;
    pthread_mutex_lock(&f->lock);
    *f->waiting_end = p;
    f->waiting_end = &p->next;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
}

struct pending *cw_fetched(struct fetcher *f)
{
    uint64_t count;
    (void)!read(f->fd, &count, sizeof count);
    pthread_mutex_lock(&f->lock);
    struct pending *p = f->done;
    if (p) {
        f->done = p->next;
        if (!f->done)
            f->done_end = &f->done;
    }
    pthread_mutex_unlock(&f->lock);
    return p;
}
