/* dengwen-casework: start, loop, stop. */
#include "casework.h"

#include "dw/log.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { TURN_MS = 100, DUE_MAX = 64, BURST = 64, PING_MS = 1000, QUIET_MS = 100 };

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "case.start", "%s: %s", what, why);
    exit(code);
}

static uint64_t random_number(void *arg)
{
    uint64_t v;
    (void)arg;
    randombytes_buf(&v, sizeof v);
    return v;
}

static void load_domain(struct casework *cw)
{
    struct dw_error err = {0};
    struct dw_calendar *calendar;
    struct dw_rules *rules;
    struct dw_catalogue *catalogue;
    struct dw_routing *routing;
    char *data = dw_config_data_folder(cw->config);
    if (dw_calendar_load(data, &calendar, &err) != DW_OK ||
        dw_rules_load(data, &rules, &err) != DW_OK ||
        dw_catalogue_load(data, &catalogue, &err) != DW_OK ||
        dw_routing_load(data, &routing, &err) != DW_OK)
        die(DW_EXIT_CONFIG, data, err.text);
    dw_free(data);
    cw->domain = (struct dw_domain){
        .calendar = calendar,
        .rules = rules,
        .catalogue = catalogue,
        .routing = routing,
        .writer = &cw->signer,
        .notice_delay_min_ms = cw->config->notify.delay_min_minutes * 60000,
        .notice_delay_max_ms = cw->config->notify.delay_max_minutes * 60000,
        .max_events = (int32_t)cw->config->cases.max_events,
        .messages_per_day = (int32_t)cw->config->cases.messages_per_day,
        .random = random_number,
    };
}

static void free_domain(struct casework *cw)
{
    dw_calendar_free((struct dw_calendar *)cw->domain.calendar);
    dw_rules_free((struct dw_rules *)cw->domain.rules);
    dw_catalogue_free((struct dw_catalogue *)cw->domain.catalogue);
    dw_routing_free((struct dw_routing *)cw->domain.routing);
}

static void name_metrics(struct casework *cw)
{
    const struct {
        dw_metric **metric;
        const char *name;
    } names[] = {
        {&cw->m_registered, "dengwen_case_registered_total"},
        {&cw->m_commands, "dengwen_case_commands_total"},
        {&cw->m_refused, "dengwen_case_refused_total"},
        {&cw->m_commits, "dengwen_case_commits_total"},
        {&cw->m_batch, "dengwen_case_steps_total"},
        {&cw->m_dead, "dengwen_case_unverifiable_filings_total"},
        {&cw->m_later, "dengwen_case_postponed_filings_total"},
        {&cw->m_conflicts, "dengwen_case_conflicts_total"},
        {&cw->m_timers, "dengwen_case_timers_total"},
        {&cw->m_claims, "dengwen_case_notices_claimed_total"},
        {&cw->m_logins, "dengwen_case_logins_total"},
        {&cw->m_login_failures, "dengwen_case_login_failures_total"},
        {&cw->m_counted, "dengwen_case_counted_total"},
    };
    for (size_t i = 0; i < DW_COUNT(names); i++)
        *names[i].metric = dw_metric_named(names[i].name);
}

static char *state_file(const struct casework *cw, const char *name)
{
    size_t len = strlen(cw->process.state) + strlen(name) + 2;
    char *path = dw_alloc(len);
    snprintf(path, len, "%s/%s", cw->process.state, name);
    return path;
}

static void connect_workers(struct casework *cw)
{
    static const struct {
        const char *service;
        const struct cw_method *methods;
        const size_t *count;
    } services[] = {{"filing", NULL, NULL},
                    {"case.public", cw_public_methods, &cw_public_methods_count},
                    {"case.desk", cw_desk_methods, &cw_desk_methods_count},
                    {"case.notify", cw_notify_methods, &cw_notify_methods_count},
                    {"case.admin", cw_admin_methods, &cw_admin_methods_count}};
    struct dw_error err = {0};
    struct dw_broker_address *brokers;
    struct dw_curve curve;
    size_t count;
    char *key = state_file(cw, "curve.key");
    struct dw_directory *dir = dw_directory_take(cw->directory);
    if (dw_curve_load(&curve, key, &err) != DW_OK ||
        dw_broker_addresses(cw->config, dir, &brokers, &count, &err) != DW_OK ||
        dw_bus_new(cw->config, dir, key, &cw->bus, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "broker", err.text);
    dw_directory_give(cw->directory, dir);
    dw_free(key);
    cw->zmq = zmq_ctx_new();
    for (size_t b = 0; b < count; b++)
        for (size_t s = 0; s < DW_COUNT(services) && cw->workers_count < CW_WORKERS_MAX; s++) {
            size_t i = cw->workers_count++;
            cw->workers[i].worker =
                dw_worker_new(cw->zmq, &brokers[b], &curve, cw->config, services[s].service,
                              (uint32_t)cw->config->cases.credit);
            cw->workers[i].broker = b;
            cw->workers[i].service = services[s].service;
            cw->workers[i].methods = services[s].methods;
            cw->workers[i].methods_count = services[s].count ? *services[s].count : 0;
        }
    dw_broker_addresses_free(brokers, count);
    /* The workers keep using the secret when they reconnect: it stays until the process ends. */
}

/* ---- requests ---- */

/* body: call number, method, then what the method wants */
static void dispatch(struct casework *cw, size_t i, struct dw_request *request)
{
    struct pending *p = cw_pending_new(cw, cw->workers[i].worker, request);
    if (!cw->workers[i].methods) {
        cw_filing(cw, p);
        return;
    }
    for (size_t m = 0; p->request.body_count >= 2 && m < cw->workers[i].methods_count; m++)
        if (dw_slice_is(p->request.body[1], cw->workers[i].methods[m].name))
            p->method = &cw->workers[i].methods[m];
    if (p->method)
        p->method->handle(cw, p, p->request.body + 2, p->request.body_count - 2);
    else
        cw_refuse(p, 404, "method", "no such method");
    cw_finish(cw, p);
}

static int take_requests(struct casework *cw, size_t i)
{
    struct dw_request request;
    int n = 0;
    for (; n < BURST && dw_worker_recv(cw->workers[i].worker, dw_monotonic_ms(), &request); n++)
        dispatch(cw, i, &request);
    return n;
}

/* ---- clocks ---- */

void cw_tick(struct casework *cw)
{
    uint8_t ids[DUE_MAX][16];
    size_t count;
    dw_time now = dw_now();
    if (dw_store_due(cw->store, DW_DUE_TIMER, now, DUE_MAX, ids, &count) != DW_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        struct pending *p = cw_pending_new(cw, NULL, NULL);
        struct dw_case c;
        if (cw_load(cw, p, ids[i], &c) == DW_OK) {
            int64_t old_version = c.version;
            if (dw_case_tick(&cw->domain, &c, now, &p->arena)) {
                (*cw->m_timers)++;
                cw_seal_change(p, cw_change(p, &c, old_version));
                p->status = 200;
            }
        }
        /* A conflict is no loss: the next tick finds the clock still untold. */
        cw_finish(cw, p);
    }
}

/* ---- the loop ---- */

static bool all_registered(const struct casework *cw)
{
    for (size_t i = 0; i < cw->workers_count; i++)
        if (cw->workers[i].broker == 0 && !dw_worker_registered(cw->workers[i].worker))
            return false;
    return true;
}

static void watch_store(struct casework *cw)
{
    enum dw_result result = dw_store_ping(cw->store);
    if (result == DW_UNCERTAIN) {
        dw_log(DW_ERROR, "case.store", "an I/O error in the store: ending, the next start recovers");
        exit(70);
    }
    cw->store_away = result != DW_OK;
    bool registered = all_registered(cw);
    dw_process_ready(&cw->process, registered && !cw->store_away,
                     cw->store_away ? "the store is away"
                     : registered   ? "serving"
                                    : "not registered at the broker");
}

/* True when anybody wanted something. */
static bool turn(struct casework *cw, bool wait)
{
    int requests = 0;
    enum { BEFORE_WORKERS = 3 };
    zmq_pollitem_t items[BEFORE_WORKERS + CW_WORKERS_MAX] = {
        {.fd = cw->process.signal_fd, .events = ZMQ_POLLIN},
        {.fd = cw_aside_fd(cw->checking), .events = ZMQ_POLLIN},
        {.fd = cw_aside_fd(cw->fetching), .events = ZMQ_POLLIN},
    };
    size_t n = BEFORE_WORKERS;
    for (size_t i = 0; i < cw->workers_count; i++)
        items[n++] = (zmq_pollitem_t){.socket = dw_worker_socket(cw->workers[i].worker),
                                      .events = ZMQ_POLLIN};
    zmq_poll(items, (int)n, !wait ? 0 : cw->process.ready ? TURN_MS : TURN_MS / 5);
    /* Before what came is judged: it may be sealed to keys that were signed a moment ago. */
    dw_directory_watch_tick(cw->directory);
    for (size_t i = 0; i < cw->workers_count; i++)
        if (items[BEFORE_WORKERS + i].revents & ZMQ_POLLIN)
            requests += take_requests(cw, i);
    for (struct pending *p; (p = cw_aside_take(cw->checking));)
        cw_filing_checked(cw, p);
    for (struct pending *p; (p = cw_aside_take(cw->fetching));)
        cw_filing_fetched(cw, p);
    cw_flush(cw);
    for (size_t i = 0; i < cw->workers_count; i++)
        dw_worker_tick(cw->workers[i].worker, dw_monotonic_ms());
    return requests > 0;
}

/* ---- counting ---- */

struct counting {
    int64_t busy_at, ended_at, took_ms;
    bool more; /* to be counted */
};

/* It can wait, and has commits of its own: while requests come it leaves them three quarters of the
 * time. */
static void count_sometimes(struct casework *cw, struct counting *c, bool busy)
{
    int64_t began = dw_monotonic_ms();
    int64_t rest = cw->config->cases.fold_ms;
    if (busy)
        c->busy_at = began;
    if (c->more)
        rest = began - c->busy_at < QUIET_MS ? 3 * c->took_ms : 0;
    if (began - c->ended_at < rest)
        return;
    c->more = cw_count(cw);
    c->ended_at = dw_monotonic_ms();
    c->took_ms = c->ended_at - began;
}

/* ---- tidying ---- */

struct tidying {
    dw_day begun, done; /* a run over midnight leaves the next day to do */
    int64_t at, ended_at, rest_ms;
};

/* Once a day, a little at a time, while nobody wants anything. */
static void tidy_sometimes(struct casework *cw, struct tidying *t, bool busy)
{
    int64_t began = dw_monotonic_ms();
    dw_day today = dw_day_of(dw_now());
    if (busy || t->done == today || began - t->ended_at < t->rest_ms)
        return;
    if (t->at == 0)
        t->begun = today;
    bool good = dw_store_tidy(cw->store, &t->at) == DW_OK;
    if (good && t->at == 0)
        t->done = t->begun;
    t->ended_at = dw_monotonic_ms();
    t->rest_ms = good ? 3 * (t->ended_at - began) : PING_MS;
}

static void stop(struct casework *cw)
{
    dw_process_ready(&cw->process, false, "stopping");
    cw_flush(cw);
    cw_aside_free(cw->checking);
    cw_aside_free(cw->fetching);
    cw_flush(cw);
    for (size_t i = 0; i < cw->workers_count; i++) {
        dw_worker_leave(cw->workers[i].worker);
        dw_worker_free(cw->workers[i].worker);
    }
    dw_bus_free(cw->bus);
    zmq_ctx_term(cw->zmq);
    dw_store_close(cw->store);
    free_domain(cw);
    dw_signer_free(&cw->signer);
    dw_directory_watch_free(cw->directory);
    dw_free(cw->throttles);
    dw_process_end(&cw->process);
}

int main(int argc, char **argv)
{
    static struct casework cw;
    struct dw_error err = {0};
    dw_process_start(&cw.process, argc, argv, "case",
                     "keeps the cases: domain rules, clocks, notices; the only one at the store",
                     true);
    cw.config = &cw.process.config;
    cw.batch_end = &cw.batch;
    cw.throttles = dw_alloc(CW_THROTTLES * sizeof *cw.throttles);
    name_metrics(&cw);
    if (dw_directory_watch_new(cw.config, &cw.directory, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "directory", err.text);
    char *sign = state_file(&cw, "sign.key");
    if (dw_signer_load(&cw.signer, sign, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "keys", err.text);
    dw_free(sign);
    load_domain(&cw);
    enum dw_result opened = dw_store_open(cw.config->store.uri, cw.config, &cw.store, &err);
    if (opened != DW_OK)
        die(opened == DW_INVALID ? DW_EXIT_CONFIG : DW_EXIT_AWAY, "store", err.text);
    cw.fold = (struct dw_fold){.store = cw.store,
                               .routing = cw.domain.routing,
                               .cases_max = (size_t)cw.config->cases.fold_batch};
    connect_workers(&cw);
    cw.checking = cw_aside_new(
        &cw, cw.config->cases.checks ? (size_t)cw.config->cases.checks : dw_cores(), cw_check);
    cw.fetching = cw_aside_new(&cw, 1, cw_fetch);
    if (!cw.checking || !cw.fetching)
        die(DW_EXIT_RETRY, "threads", "cannot be made");

    int64_t ticked = 0, pinged = 0;
    struct counting counting = {0};
    struct tidying tidying = {0};
    while (dw_process_signal(&cw.process) != DW_SIGNAL_STOP) {
        bool busy = turn(&cw, !counting.more);
        int64_t now = dw_monotonic_ms();
        if (now - pinged >= PING_MS || !cw.process.ready) {
            pinged = now;
            watch_store(&cw);
        }
        if (now - ticked >= cw.config->cases.tick_ms) {
            ticked = now;
            cw_tick(&cw);
        }
        count_sometimes(&cw, &counting, busy);
        tidy_sometimes(&cw, &tidying, busy);
        dw_process_tick(&cw.process);
    }
    stop(&cw);
    return 0;
}
