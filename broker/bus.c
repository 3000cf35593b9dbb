/* bus.c - one thread owns the sockets to the brokers; any thread may call through it.
 *
 * A call is queued by its caller, sent by the bus thread, and answered, refused or timed out there.
 * While no connection stands, libzmq refuses the send (ZMQ_IMMEDIATE) and the call stays "nothing
 * happened" for a short while, in which a restarted broker is usually back. */
#include "dw/wire.h"

#include "dw/log.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

enum { UNSENT_MS = 1500, POLL_MS = 20, IDLE_MS = 200, BROKERS_MAX = 16 };

struct call {
    struct call *next;
    size_t broker;
    uint64_t id;
    struct dw_frames frames; /* complete MDP request */
    bool sent;
    int64_t give_up_at, unsent_until;
    dw_bus_answered *answered;
    void *arg;
};

struct dw_bus {
    pthread_t thread;
    pthread_mutex_t lock;
    struct call *incoming, **incoming_end;
    bool stopping;
    int wake;
    atomic_size_t first; /* of those that any will do for */

    /* The thread's own. */
    void *zmq;
    void *sockets[BROKERS_MAX];
    size_t brokers;
    size_t max_frames;
    struct call *calls;
    uint64_t last_id;
};

void dw_bus_answer_free(struct dw_bus_answer *answer)
{
    dw_frames_free(&answer->frames);
    *answer = (struct dw_bus_answer){0};
}

size_t dw_bus_brokers(const struct dw_bus *bus)
{
    return bus->brokers;
}

static void finish(struct call *call, enum dw_result result, struct dw_bus_answer *answer)
{
    struct dw_bus_answer none = {0};
    call->answered(call->arg, result, answer ? answer : &none);
    dw_frames_free(&call->frames);
    dw_free(call);
}

static void take_incoming(struct dw_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    struct call *call = bus->incoming;
    bus->incoming = NULL;
    bus->incoming_end = &bus->incoming;
    pthread_mutex_unlock(&bus->lock);
    while (call) {
        struct call *next = call->next;
        call->id = ++bus->last_id;
        /* The call number is the fourth frame; the copy is ours to fill. */
        uint8_t *number = (uint8_t *)call->frames.items[3].data;
        for (int i = 0; i < DW_CALL_LEN; i++)
            number[i] = (uint8_t)(call->id >> (56 - 8 * i));
        call->next = bus->calls;
        bus->calls = call;
        call = next;
    }
}

static void receive(struct dw_bus *bus, size_t broker)
{
    struct dw_frames frames;
    while (dw_wire_recv(bus->sockets[broker], bus->max_frames, &frames)) {
        /* "" MDPC01 service call status payload* */
        struct dw_bus_answer answer = {.frames = frames};
        uint64_t id = 0;
        bool good = frames.count >= 5 && frames.items[0].len == 0 &&
                    dw_slice_is(frames.items[1], DW_MDP_CLIENT) &&
                    frames.items[3].len == DW_CALL_LEN;
        if (good) {
            for (int i = 0; i < DW_CALL_LEN; i++)
                id = id << 8 | frames.items[3].data[i];
            answer.status = dw_status_parse(frames.items[4]);
            answer.payload = frames.items + 5;
            answer.payload_count = frames.count - 5;
        }
        struct call **at = &bus->calls;
        while (*at && (!good || (*at)->id != id || (*at)->broker != broker))
            at = &(*at)->next;
        struct call *call = *at;
        if (!call) { /* too late: its caller has been told "uncertain" */
            dw_frames_free(&frames);
            continue;
        }
        *at = call->next;
        finish(call, DW_OK, &answer);
    }
}

/* Sends what can be sent and ends what has waited too long. True while something is unsent. */
static bool drive_calls(struct dw_bus *bus)
{
    bool unsent = false;
    int64_t now = dw_monotonic_ms();
    for (struct call **at = &bus->calls; *at;) {
        struct call *call = *at;
        if (!call->sent)
            call->sent = dw_wire_send(bus->sockets[call->broker], call->frames.items,
                                      call->frames.count);
        bool over = now >= call->give_up_at || (!call->sent && now >= call->unsent_until);
        unsent |= !call->sent && !over;
        if (over) {
            *at = call->next;
            finish(call, call->sent ? DW_UNCERTAIN : DW_RETRY, NULL);
        } else {
            at = &call->next;
        }
    }
    return unsent;
}

static void *run(void *arg)
{
    struct dw_bus *bus = arg;
    zmq_pollitem_t items[BROKERS_MAX + 1] = {{.fd = bus->wake, .events = ZMQ_POLLIN}};
    bool stopping = false, unsent = false;
    for (size_t i = 0; i < bus->brokers; i++)
        items[i + 1] = (zmq_pollitem_t){.socket = bus->sockets[i], .events = ZMQ_POLLIN};
    while (!stopping) {
        zmq_poll(items, (int)bus->brokers + 1, unsent ? POLL_MS : IDLE_MS);
        uint64_t count;
        if (items[0].revents & ZMQ_POLLIN)
            (void)!read(bus->wake, &count, sizeof count);
        pthread_mutex_lock(&bus->lock);
        stopping = bus->stopping;
        pthread_mutex_unlock(&bus->lock);
        take_incoming(bus);
        for (size_t i = 0; i < bus->brokers; i++)
            receive(bus, i);
        unsent = drive_calls(bus);
    }
    while (bus->calls) {
        struct call *call = bus->calls;
        bus->calls = call->next;
        finish(call, call->sent ? DW_UNCERTAIN : DW_RETRY, NULL);
    }
    for (size_t i = 0; i < bus->brokers; i++)
        zmq_close(bus->sockets[i]);
    return NULL;
}

enum dw_result dw_bus_new(const struct dw_config *config, const struct dw_directory *dir,
                          const char *key_path, struct dw_bus **ret, struct dw_error *err)
{
    struct dw_curve curve;
    struct dw_broker_address *addresses;
    size_t count;
    if (dw_curve_load(&curve, key_path, err) != DW_OK)
        return DW_INVALID;
    if (dw_broker_addresses(config, dir, &addresses, &count, err) != DW_OK) {
        dw_curve_free(&curve);
        return DW_INVALID;
    }
    struct dw_bus *bus = dw_alloc(sizeof *bus);
    bus->zmq = zmq_ctx_new();
    bus->max_frames = (size_t)config->broker.max_frames;
    bus->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bus->incoming_end = &bus->incoming;
    pthread_mutex_init(&bus->lock, NULL);
    for (size_t i = 0; i < count && i < BROKERS_MAX; i++) {
        bus->sockets[i] = dw_wire_dealer(bus->zmq, &addresses[i], &curve, config);
        if (!bus->sockets[i]) {
            dw_error_set(err, "broker", "cannot use %s: %s", addresses[i].endpoint,
                         zmq_strerror(zmq_errno()));
            break;
        }
        bus->brokers++;
    }
    bool good = bus->brokers == count && bus->wake >= 0;
    dw_broker_addresses_free(addresses, count);
    dw_curve_free(&curve); /* libzmq has its copy */
    if (!good || pthread_create(&bus->thread, NULL, run, bus) != 0) {
        for (size_t i = 0; i < bus->brokers; i++)
            zmq_close(bus->sockets[i]);
        zmq_ctx_term(bus->zmq);
        close(bus->wake);
        dw_free(bus);
        return DW_INVALID;
    }
    *ret = bus;
    return DW_OK;
}

static void wake(struct dw_bus *bus)
{
    uint64_t one = 1;
    (void)!write(bus->wake, &one, sizeof one);
}

void dw_bus_free(struct dw_bus *bus)
{
    if (!bus)
        return;
    pthread_mutex_lock(&bus->lock);
    bus->stopping = true;
    pthread_mutex_unlock(&bus->lock);
    wake(bus);
    pthread_join(bus->thread, NULL);
    zmq_ctx_term(bus->zmq);
    close(bus->wake);
    pthread_mutex_destroy(&bus->lock);
    dw_free(bus);
}

void dw_bus_send(struct dw_bus *bus, size_t broker, const char *service,
                 const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                 dw_bus_answered *answered, void *arg)
{
    static const uint8_t number[DW_CALL_LEN];
    struct dw_slice frames[4 + 64];
    int64_t now = dw_monotonic_ms();
    assert(count <= 64 && broker < bus->brokers);
    frames[0] = DW_SLICE("", 0);
    frames[1] = dw_slice_of(DW_MDP_CLIENT);
    frames[2] = dw_slice_of(service);
    frames[3] = DW_SLICE(number, sizeof number);
    for (size_t i = 0; i < count; i++)
        frames[4 + i] = payload[i];
    struct call *call = dw_alloc(sizeof *call);
    *call = (struct call){.broker = broker,
                          .frames = dw_frames_copy(frames, 4 + count),
                          .give_up_at = now + timeout_ms,
                          .unsent_until = now + UNSENT_MS,
                          .answered = answered,
                          .arg = arg};
    pthread_mutex_lock(&bus->lock);
    *bus->incoming_end = call;
    bus->incoming_end = &call->next;
    pthread_mutex_unlock(&bus->lock);
    wake(bus);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
    enum dw_result result;
    struct dw_bus_answer *answer;
};

static void wake_waiting(void *arg, enum dw_result result, struct dw_bus_answer *answer)
{
    struct waiting *w = arg;
    pthread_mutex_lock(&w->lock);
    w->result = result;
    *w->answer = *answer;
    w->is_done = true;
    pthread_cond_signal(&w->done);
    pthread_mutex_unlock(&w->lock);
}

enum dw_result dw_bus_call(struct dw_bus *bus, size_t broker, const char *service,
                           const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                           struct dw_bus_answer *ret)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER,
                        .done = PTHREAD_COND_INITIALIZER,
                        .answer = ret};
    *ret = (struct dw_bus_answer){0};
    dw_bus_send(bus, broker, service, payload, count, timeout_ms, wake_waiting, &w);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.done, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.done);
    return w.result;
}

size_t dw_bus_first(const struct dw_bus *bus)
{
    return atomic_load(&bus->first);
}

enum dw_result dw_bus_call_any(struct dw_bus *bus, bool harmless, const char *service,
                               const struct dw_slice *payload, size_t count, int64_t timeout_ms,
                               struct dw_bus_answer *ret)
{
    enum dw_result result = DW_RETRY;
    size_t first = dw_bus_first(bus);
    for (size_t i = 0; i < bus->brokers; i++) {
        size_t broker = (first + i) % bus->brokers;
        result = dw_bus_call(bus, broker, service, payload, count, timeout_ms, ret);
        if (result == DW_OK && broker != first)
            atomic_store(&bus->first, broker);
        if (result != DW_RETRY && !(harmless && result == DW_UNCERTAIN))
            break;
    }
    return result;
}
