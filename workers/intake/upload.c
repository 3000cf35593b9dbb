/* upload.c - files sealed chunk by chunk and sent to the queue while they arrive.
 *
 * Nothing of a file is on disk in clear, and no more than a few chunks are in memory: when too many
 * are on their way the sender is made to wait.  The parts belong to a random attempt; they become
 * part of a filing only when it is closed, and are forgotten when it never is. */
#include "intake_private.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

struct dw_upload *dw_upload_new(struct dw_intake *intake, void (*more)(void *arg), void *arg)
{
    struct dw_upload *u = dw_alloc(sizeof *u);
    u->intake = intake;
    u->broker = dw_bus_first(intake->bus);
    pthread_mutex_init(&u->lock, NULL);
    u->more = more;
    u->arg = arg;
    u->users = 1;
    randombytes_buf(u->attempt, sizeof u->attempt);
    u->manifest.files = sodium_malloc(DW_MANIFEST_FILES_MAX * sizeof *u->manifest.files);
    u->refs = dw_alloc(DW_MANIFEST_FILES_MAX * sizeof *u->refs);
    if (!u->manifest.files)
        u->failed = true;
    return u;
}

/* With the lock held; frees when nobody is left. */
static void leave(struct dw_upload *u)
{
    bool last = --u->users == 0;
    pthread_mutex_unlock(&u->lock);
    if (!last)
        return;
    dw_file_writer_free(u->writer);
    sodium_free(u->manifest.files);
    dw_free(u->refs);
    for (size_t i = 0; i < DW_MANIFEST_FILES_MAX; i++) {
        if (u->names[i])
            dw_wipe_free(u->names[i], strlen(u->names[i]));
        dw_free(u->types[i]);
    }
    pthread_mutex_destroy(&u->lock);
    dw_free(u);
}

void dw_upload_free(struct dw_upload *u)
{
    if (!u)
        return;
    pthread_mutex_lock(&u->lock);
    u->more = NULL;
    leave(u);
}

static void chunk_answered(void *arg, enum dw_result result, struct dw_bus_answer *answer)
{
    struct dw_upload *u = arg;
    bool good = result == DW_OK && answer->status == 200;
    int retry = answer->status == 503 ? retry_seconds_of(answer) : 5;
    dw_bus_answer_free(answer);
    pthread_mutex_lock(&u->lock);
    if (!good && !u->failed) {
        u->failed = true;
        u->retry_seconds = retry;
    }
    u->on_way--;
    if (u->more)
        u->more(u->arg); /* under the lock: dw_upload_free() must not return meanwhile */
    leave(u);
}

static void send_chunk(void *arg, uint32_t n, struct dw_slice sealed)
{
    struct dw_upload *u = arg;
    (void)n; /* parts are numbered through all files */
    uint32_t part = u->parts++;
    uint8_t number[4] = {(uint8_t)(part >> 24), (uint8_t)(part >> 16), (uint8_t)(part >> 8),
                         (uint8_t)part};
    struct dw_slice payload[] = {dw_slice_of("part"), DW_SLICE(u->attempt, sizeof u->attempt),
                                 DW_SLICE(number, sizeof number), sealed};
    pthread_mutex_lock(&u->lock);
    bool failed = u->failed;
    if (!failed) {
        u->users++;
        u->on_way++;
    }
    pthread_mutex_unlock(&u->lock);
    if (!failed) /* after a failure the rest need not travel */
        dw_bus_send(u->intake->bus, u->broker, "queue.put", payload, DW_COUNT(payload),
                    u->intake->config->web.call_timeout_ms, chunk_answered, u);
}

bool dw_upload_begin(struct dw_upload *u, const char *name, const char *type)
{
    size_t i = u->manifest.files_count;
    if (i >= DW_MANIFEST_FILES_MAX || u->writer || u->failed)
        return false;
    u->writer = dw_file_writer_new();
    u->names[i] = dw_strdup(name);
    u->types[i] = dw_strdup(type);
    return u->writer != NULL;
}

void dw_upload_data(struct dw_upload *u, const void *data, size_t len)
{
    u->size += (int64_t)len;
    dw_file_writer_put(u->writer, data, len, send_chunk, u);
}

void dw_upload_end_file(struct dw_upload *u)
{
    size_t i = u->manifest.files_count++;
    struct dw_file *file = &u->manifest.files[i];
    struct dw_object_ref *ref = &u->refs[i];
    *ref = (struct dw_object_ref){.type = DW_OBJECT_FILE, .epoch = 1};
    dw_file_writer_end(u->writer, send_chunk, u, file, ref->hash, &ref->size);
    file->name = u->names[i];
    file->type = u->types[i];
    memcpy(ref->id, file->id, sizeof ref->id);
    ref->chunks = file->chunks;
    dw_file_writer_free(u->writer);
    u->writer = NULL;
}

size_t dw_upload_files(const struct dw_upload *u)
{
    return u->manifest.files_count + (u->writer != NULL);
}

int64_t dw_upload_file_size(const struct dw_upload *u)
{
    int64_t done = 0;
    for (size_t i = 0; i < u->manifest.files_count; i++)
        done += u->manifest.files[i].size;
    return u->size - done;
}

int64_t dw_upload_size(const struct dw_upload *u)
{
    return u->size;
}

bool dw_upload_is_full(struct dw_upload *u)
{
    pthread_mutex_lock(&u->lock);
    bool full = !u->failed && u->on_way >= u->intake->config->web.upload_window;
    pthread_mutex_unlock(&u->lock);
    return full;
}

bool upload_settled(struct dw_upload *u, int64_t timeout_ms)
{
    int64_t until = dw_monotonic_ms() + timeout_ms;
    struct timespec nap = {.tv_nsec = 1000000};
    for (;;) {
        pthread_mutex_lock(&u->lock);
        bool settled = u->on_way == 0, failed = u->failed;
        pthread_mutex_unlock(&u->lock);
        if (settled || failed || dw_monotonic_ms() > until)
            return settled && !failed;
        nanosleep(&nap, NULL); /* the chunks on their way are few */
    }
}
