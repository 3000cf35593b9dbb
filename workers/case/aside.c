/* aside.c - threads beside the main one, for what takes long and needs nobody else. */
#include "casework.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

struct line {
    struct pending *first, **end;
};

struct aside {
    struct casework *cw;
    cw_aside_work *work;
    pthread_t threads[THREADS_MAX];
    size_t threads_count;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct line waiting, done;
    bool stopping;
    int fd; /* counts up when one is done */
};

static void line_put(struct line *line, struct pending *p)
{
    p->next = NULL;
    *line->end = p;
    line->end = &p->next;
}

static struct pending *line_take(struct line *line)
{
    struct pending *p = line->first;
    if (p) {
        line->first = p->next;
        if (!line->first)
            line->end = &line->first;
    }
    return p;
}

static void *run(void *arg)
{
    struct aside *a = arg;
    const uint64_t one = 1;
    pthread_mutex_lock(&a->lock);
    while (!a->stopping) {
        struct pending *p = line_take(&a->waiting);
        if (!p) {
            pthread_cond_wait(&a->more, &a->lock);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        a->work(a->cw, p);
        pthread_mutex_lock(&a->lock);
        line_put(&a->done, p);
        (void)!write(a->fd, &one, sizeof one);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

struct aside *cw_aside_new(struct casework *cw, size_t threads, cw_aside_work *work)
{
    struct aside *a = dw_alloc(sizeof *a);
    a->cw = cw;
    a->work = work;
    a->waiting.end = &a->waiting.first;
    a->done.end = &a->done.first;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->more, NULL);
    a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    while (a->fd >= 0 && a->threads_count < threads && a->threads_count < THREADS_MAX &&
           pthread_create(&a->threads[a->threads_count], NULL, run, a) == 0)
        a->threads_count++;
    if (a->threads_count == 0) {
        cw_aside_free(a);
        return NULL;
    }
    return a;
}

void cw_aside_free(struct aside *a)
{
    struct pending *p;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    pthread_cond_broadcast(&a->more);
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < a->threads_count; i++)
        pthread_join(a->threads[i], NULL);
    while ((p = line_take(&a->done)) || (p = line_take(&a->waiting))) {
        p->worker = NULL; /* nobody to answer any more */
        p->commit = false;
        p->status = 300;
        cw_finish(a->cw, p);
    }
    if (a->fd >= 0)
        close(a->fd);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->more);
    dw_free(a);
}

int cw_aside_fd(const struct aside *a)
{
    return a->fd;
}

void cw_aside_put(struct aside *a, struct pending *p)
{
    pthread_mutex_lock(&a->lock);
    line_put(&a->waiting, p);
    pthread_cond_signal(&a->more);
    pthread_mutex_unlock(&a->lock);
}

struct pending *cw_aside_take(struct aside *a)
{
    uint64_t count;
    (void)!read(a->fd, &count, sizeof count);
    pthread_mutex_lock(&a->lock);
    struct pending *p = line_take(&a->done);
    pthread_mutex_unlock(&a->lock);
    return p;
}
