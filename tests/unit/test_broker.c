/* The broker's core without sockets and threads: peers are names, queue operations run at once on a
 * real queue file, time is a number. */
#include "unit.h"

#include "dw/broker.h"
#include "dw/process.h"

enum { MAX_SENT = 200 };

struct sent {
    char to[32];
    struct dw_frames frames;
};

struct fixture {
    char *folder;
    struct dw_config config;
    struct dw_queue *queue;
    struct dw_broker *broker;
    int64_t mono;
    dw_time now;
    struct sent sent[MAX_SENT];
    size_t count;
    char cut[32];
    char gone[32]; /* whose connection is closed */
    uint64_t connection;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char path[300];
    struct dw_error err;
    f->folder = make_folder();
    snprintf(path, sizeof path, "%s/queue.db", f->folder);
    dw_config_defaults(&f->config);
    assert_int_equal(dw_queue_open_still(path, &f->config, &f->queue, &err), DW_OK);
    f->broker = dw_broker_new(&f->config, 1);
    f->mono = 1000;
    f->now = 1790000000000;
    *state = f;
    return 0;
}

static void forget_sent(struct fixture *f)
{
    for (size_t i = 0; i < f->count; i++)
        dw_frames_free(&f->sent[i].frames);
    f->count = 0;
    f->cut[0] = 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    forget_sent(f);
    dw_broker_free(f->broker);
    dw_queue_close(f->queue);
    dw_config_free(&f->config);
    rm_folder(f->folder);
    free(f);
    return 0;
}

static void act(struct fixture *f)
{
    struct dw_act *acts;
    while ((acts = dw_broker_acts(f->broker))) {
        for (struct dw_act *a = acts, *next; a; a = next) {
            next = a->next;
            if (a->kind == DW_ACT_SEND && *f->gone && a->to.id_len == strlen(f->gone) &&
                memcmp(a->to.id, f->gone, a->to.id_len) == 0) {
                dw_broker_unsent(f->broker, f->now, &a->to, a->frames.items, a->frames.count);
            } else if (a->kind == DW_ACT_SEND) {
                assert_true(f->count < MAX_SENT);
                struct sent *s = &f->sent[f->count++];
                snprintf(s->to, sizeof s->to, "%.*s", a->to.id_len, a->to.id);
                s->frames = a->frames;
                a->frames = (struct dw_frames){0};
            } else if (a->kind == DW_ACT_CUT) {
                snprintf(f->cut, sizeof f->cut, "%.*s", a->to.id_len, a->to.id);
            } else {
                struct dw_queue_op *op = a->op;
                a->op = NULL;
                dw_queue_run(f->queue, op);
                dw_broker_finished(f->broker, f->mono, f->now, op);
            }
            dw_act_free(a);
        }
    }
}

static struct dw_peer peer(const char *name, const char *role)
{
    struct dw_peer p = {.id_len = (uint8_t)strlen(name)};
    memcpy(p.id, name, strlen(name));
    snprintf(p.role, sizeof p.role, "%s", role);
    return p;
}

static void say_slices(struct fixture *f, const char *name, const char *role,
                       const struct dw_slice *frames, size_t count)
{
    struct dw_peer from = peer(name, role);
    from.connection = f->connection;
    dw_broker_message(f->broker, f->mono, f->now, &from, frames, count);
    act(f);
}

/* Frames are given as texts, ended by NULL. */
static void say(struct fixture *f, const char *name, const char *role, ...)
{
    struct dw_slice frames[20];
    size_t count = 0;
    va_list args;
    const char *text;
    va_start(args, role);
    while ((text = va_arg(args, const char *)))
        frames[count++] = dw_slice_of(text);
    va_end(args);
    say_slices(f, name, role, frames, count);
}

static void tick(struct fixture *f, int64_t ms)
{
    f->mono += ms;
    f->now += ms;
    dw_broker_tick(f->broker, f->mono, f->now);
    act(f);
}

static const struct sent *last_to(struct fixture *f, const char *name)
{
    for (size_t i = f->count; i-- > 0;)
        if (strcmp(f->sent[i].to, name) == 0)
            return &f->sent[i];
    return NULL;
}

static bool frame_is(const struct sent *s, size_t i, const char *text)
{
    return s && i < s->frames.count && dw_slice_is(s->frames.items[i], text);
}

static void ready(struct fixture *f, const char *name, const char *service, const char *credit)
{
    say(f, name, "case", "", "MDPW01", "\1", service, credit, NULL);
}

static void put_filing(struct fixture *f, uint8_t n)
{
    struct dw_item_header h = {.service = "filing"};
    struct dw_buf b;
    memset(h.id, n, sizeof h.id);
    memset(h.handle, n, sizeof h.handle);
    memset(h.tok, n, sizeof h.tok);
    dw_buf_init(&b, 1000);
    dw_item_header_encode(&h, &b);
    struct dw_slice frames[] = {dw_slice_of(""),         dw_slice_of("MDPC01"),
                                dw_slice_of("queue.put"), dw_slice_of("call-001"),
                                dw_slice_of("close"),    dw_buf_slice(&b),
                                dw_slice_of("sealed")};
    say_slices(f, "web1", "web", frames, 7);
    dw_buf_free(&b);
}

/* "" MDPW01 02 address "" header sealed */
static bool is_delivery(const struct sent *s, uint8_t n)
{
    return s && s->frames.count == 7 && s->frames.items[2].data[0] == DW_MDP_REQUEST &&
           s->frames.items[3].len == DW_LEASE_LEN && s->frames.items[3].data[0] == n;
}

static void reply_lease(struct fixture *f, const char *worker, struct dw_slice lease,
                        const char *status, const char *reason)
{
    struct dw_slice frames[] = {dw_slice_of(""),  dw_slice_of("MDPW01"), dw_slice_of("\3"), lease,
                                dw_slice_of(""), dw_slice_of(status),   dw_slice_of(reason)};
    say_slices(f, worker, "case", frames, 7);
}

TEST(a_request_reaches_a_worker_and_its_reply_comes_back)
{
    struct fixture *f = *state;
    ready(f, "w1", "case.public", "4");
    assert_true(last_to(f, "w1")->frames.items[2].data[0] == DW_MDP_HEARTBEAT);
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "status", NULL);
    const struct sent *s = last_to(f, "w1");
    assert_true(s->frames.items[2].data[0] == DW_MDP_REQUEST);
    assert_true(frame_is(s, 5, "call-001") && frame_is(s, 6, "status"));
    struct dw_slice frames[] = {dw_slice_of(""), dw_slice_of("MDPW01"), dw_slice_of("\3"),
                                s->frames.items[3], dw_slice_of(""), dw_slice_of("call-001"),
                                dw_slice_of("200")};
    say_slices(f, "w1", "case", frames, 7);
    s = last_to(f, "web1");
    assert_true(frame_is(s, 1, "MDPC01") && frame_is(s, 2, "case.public") &&
                frame_is(s, 3, "call-001") && frame_is(s, 4, "200"));
}

TEST(a_request_waits_for_a_worker_and_then_gives_up)
{
    struct fixture *f = *state;
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "status", NULL);
    assert_null(last_to(f, "web1"));
    tick(f, f->config.broker.request_ttl_ms + 1);
    assert_true(frame_is(last_to(f, "web1"), 3, "call-001"));
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 503);
}

TEST(no_more_requests_wait_than_the_limit)
{
    struct fixture *f = *state;
    f->config.broker.max_waiting = 3;
    for (int i = 0; i < 3; i++)
        say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    assert_null(last_to(f, "web1"));
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-002", "x", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 503);
}

TEST(large_requests_do_not_wait_in_any_number)
{
    struct fixture *f = *state;
    enum { SIZE = 1024 * 1024 };
    f->config.broker.max_waiting_bytes = 3 * SIZE + SIZE / 2;
    char *bytes = calloc(1, SIZE);
    struct dw_slice frames[] = {dw_slice_of(""), dw_slice_of("MDPC01"), dw_slice_of("case.public"),
                                dw_slice_of("call-001"), DW_SLICE(bytes, SIZE)};
    for (int round = 0; round < 2; round++) {
        forget_sent(f);
        for (int i = 0; i < 4; i++)
            say_slices(f, "web1", "web", frames, 5);
        assert_null(last_to(f, "web1")); /* the last of them goes beyond the limit */
        say_slices(f, "web1", "web", frames, 5);
        assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 503);
        tick(f, f->config.broker.request_ttl_ms + 1);
    }
    free(bytes);
}

TEST(small_requests_of_many_names_do_not_wait_in_any_number)
{
    struct fixture *f = *state;
    int refused = 0;
    f->config.broker.max_waiting_bytes = 100 * 1024;
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "name-%d", i);
        forget_sent(f);
        say(f, "c1", "client", "", "MDPC01", name, "", NULL);
        refused += f->count > 0;
    }
    assert_in_range(refused, 700, 999);
    tick(f, f->config.broker.request_ttl_ms + 1);
    forget_sent(f);
    say(f, "c1", "client", "", "MDPC01", "name-0", "", NULL);
    assert_int_equal(f->count, 0); /* it waits */
}

TEST(what_waits_for_the_disk_is_bounded)
{
    struct fixture *f = *state;
    enum { SIZE = 1024 * 1024, MOST = 3 };
    struct dw_queue_op *held[MOST + 1];
    size_t count = 0;
    f->config.broker.max_waiting_bytes = MOST * SIZE; /* the last of them goes beyond it */
    char *bytes = calloc(1, SIZE);
    struct dw_slice frames[] = {dw_slice_of(""),         dw_slice_of("MDPC01"), dw_slice_of("queue.put"),
                                dw_slice_of("call-001"), dw_slice_of("part"),   dw_slice_of("0123456789abcdef"),
                                DW_SLICE("\0\0\0", 4),  DW_SLICE(bytes, SIZE)};
    struct dw_peer web = peer("web1", "web");
    for (int i = 0; i < MOST; i++) { /* and the disk takes its time */
        dw_broker_message(f->broker, f->mono, f->now, &web, frames, DW_COUNT(frames));
        struct dw_act *a = dw_broker_acts(f->broker);
        assert_int_equal(a->kind, DW_ACT_QUEUE);
        held[count++] = a->op;
        a->op = NULL;
        dw_act_free(a);
    }
    say_slices(f, "web1", "web", frames, DW_COUNT(frames));
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 503);
    forget_sent(f);
    for (size_t i = 0; i < count; i++) {
        dw_queue_run(f->queue, held[i]);
        dw_broker_finished(f->broker, f->mono, f->now, held[i]);
    }
    act(f);
    say_slices(f, "web1", "web", frames, DW_COUNT(frames));
    assert_int_equal(f->count, MOST + 1);
    for (size_t i = 0; i < f->count; i++)
        assert_true(frame_is(&f->sent[i], 4, "200"));
    free(bytes);
}

TEST(replies_are_read_for_few_at_once)
{
    struct fixture *f = *state;
    enum { MOST = 8, FOR_ONE = 2 };
    f->config.broker.max_fetches = MOST;
    struct dw_slice frames[] = {dw_slice_of(""), dw_slice_of("MDPC01"), dw_slice_of("titanic.reply"),
                                dw_slice_of("0123456789abcdef0123456789abcdef")};
    struct dw_act *held[MOST];
    for (int round = 0; round < 2; round++) {
        size_t count = 0;
        for (uint64_t client = 1; client <= MOST / FOR_ONE + 1; client++) {
            struct dw_peer from = peer("one", "client");
            from.connection = client;
            for (int i = 0; i <= FOR_ONE; i++) {
                dw_broker_message(f->broker, f->mono, f->now, &from, frames, DW_COUNT(frames));
                struct dw_act *a = dw_broker_acts(f->broker);
                bool may = i < FOR_ONE && client <= MOST / FOR_ONE;
                assert_int_equal(a->kind, may ? DW_ACT_QUEUE : DW_ACT_SEND);
                if (may)
                    held[count++] = a;
                else
                    assert_true(dw_slice_is(a->frames.items[3], "300 not now"));
                if (!may)
                    dw_act_free(a);
            }
        }
        assert_int_equal(count, MOST);
        for (size_t i = 0; i < count; i++) { /* then others may, and the same again */
            dw_queue_run(f->queue, held[i]->op);
            dw_broker_finished(f->broker, f->mono, f->now, held[i]->op);
            held[i]->op = NULL;
            dw_act_free(held[i]);
        }
        act(f);
        forget_sent(f);
    }
}

TEST(names_that_nobody_serves_are_forgotten)
{
    struct fixture *f = *state;
    dw_metric *services = dw_metric_named("dengwen_broker_services");
    long before = *services;
    ready(f, "w1", "case.public", "1");
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "name-%d", i);
        say(f, "c1", "client", "", "MDPC01", name, "call-001", "x", NULL);
    }
    assert_int_equal(*services - before, 51);
    tick(f, 1);
    assert_int_equal(*services - before, 51); /* somebody waits there */
    tick(f, f->config.broker.request_ttl_ms + 1);
    tick(f, 1);
    assert_int_equal(*services - before, 0); /* the worker fell silent meanwhile */
    ready(f, "w1", "case.public", "1");
    tick(f, 1);
    assert_int_equal(*services - before, 1);
}

TEST(a_worker_gets_no_more_than_its_credit)
{
    struct fixture *f = *state;
    ready(f, "w1", "case.public", "2");
    forget_sent(f);
    for (int i = 0; i < 5; i++)
        say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    assert_int_equal(f->count, 2);
}

TEST(a_worker_gets_no_more_bytes_than_one_peer_may_have_whatever_its_credit)
{
    struct fixture *f = *state;
    enum { SIZE = 1024 * 1024 };
    f->config.broker.max_unread_bytes = 2 * SIZE;
    char *bytes = calloc(1, SIZE);
    struct dw_slice frames[] = {dw_slice_of(""), dw_slice_of("MDPC01"), dw_slice_of("case.public"),
                                dw_slice_of("call-001"), DW_SLICE(bytes, SIZE)};
    ready(f, "w1", "case.public", "99999");
    forget_sent(f);
    for (int i = 0; i < 5; i++)
        say_slices(f, "web1", "web", frames, DW_COUNT(frames));
    assert_int_equal(f->count, 2); /* both to the worker */
    struct dw_mdp_message m;
    const char *why;
    dw_mdp_parse(f->sent[0].frames.items, f->sent[0].frames.count, &m, &why);
    struct dw_slice reply[] = {DW_SLICE("", 0), dw_slice_of("MDPW01"),   dw_slice_of("\3"), m.address,
                               DW_SLICE("", 0), dw_slice_of("call-001"), dw_slice_of("200")};
    say_slices(f, "w1", "case", reply, DW_COUNT(reply));
    assert_int_equal(f->count, 4); /* the reply, and the next one */
    free(bytes);
}

TEST(roles_may_only_what_the_table_says)
{
    static const struct {
        const char *role, *service;
        bool call, serve;
    } cases[] = {
        {"web", "queue.put", true, false},      {"web", "case.public", true, false},
        {"web", "case.desk", false, false},     {"web", "case.admin", false, false},
        {"web", "filing", false, false},        {"desk", "case.desk", true, false},
        {"desk", "queue.put", false, false},    {"desk", "case.public", false, false},
        {"notify", "case.notify", true, false}, {"notify", "case.desk", false, false},
        {"case", "filing", false, true},        {"case", "case.anything", false, true},
        {"case", "queue.part", true, false},    {"case", "queue.put", false, false},
        {"admin", "queue.admin", true, false},  {"admin", "case.admin", true, false},
        {"admin", "case.desk", false, false},   {"client", "echo", true, false},
        {"client", "case.public", false, false}, {"client", "queue.put", true, false},
        {"worker:echo", "echo", false, true},   {"worker:echo", "other", false, false},
        {"client", "titanic.request", true, false}, {"web", "titanic.request", false, false},
        {"worker:echo", "titanic.reply", false, false}, {"worker:titanic.close", "titanic.close", false, false},
        {"worker:filing", "filing", false, false}, {"worker:mmi.x", "mmi.x", true, false},
        {"nobody", "queue.put", false, false},  {"nobody", "mmi.service", false, false},
        {"web", "mmi.service", true, false},    {"", "echo", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dw_slice service = dw_slice_of(cases[i].service);
        assert_int_equal(dw_may_call(cases[i].role, service), cases[i].call);
        assert_int_equal(dw_may_serve(cases[i].role, service), cases[i].serve);
    }
}

TEST(who_asks_for_what_it_may_not_or_breaks_the_protocol_is_cut)
{
    struct fixture *f = *state;
    say(f, "web1", "web", "", "MDPC01", "case.admin", "call-001", "x", NULL);
    assert_string_equal(f->cut, "web1");
    f->cut[0] = 0;
    say(f, "w9", "web", "", "MDPW01", "\1", "case.public", NULL);
    assert_string_equal(f->cut, "w9");
    f->cut[0] = 0;
    say(f, "w1", "case", "nonsense", NULL);
    assert_string_equal(f->cut, "w1");
}

/* A routing id is what a peer says of itself.  Who connects with that of a worker gets none of its work
 * and cannot answer for it. */
TEST(a_routing_id_alone_makes_nobody_a_worker)
{
    struct fixture *f = *state;
    struct dw_mdp_message m;
    const char *why;
    ready(f, "w1", "case.public", "2");
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    const struct sent *given = last_to(f, "w1");
    assert_int_equal(dw_mdp_parse(given->frames.items, given->frames.count, &m, &why), DW_OK);
    char address[9] = "";
    memcpy(address, m.address.data, m.address.len);
    forget_sent(f);
    f->connection = 2; /* and the other one is gone, or libzmq would not let it in */
    struct dw_slice reply[] = {DW_SLICE("", 0),      dw_slice_of("MDPW01"), dw_slice_of("\3"),
                               DW_SLICE(address, 8), DW_SLICE("", 0),       dw_slice_of("call-001"),
                               dw_slice_of("200")};
    say_slices(f, "w1", "case", reply, DW_COUNT(reply));
    assert_true(frame_is(last_to(f, "w1"), 2, "\5")); /* DISCONNECT */
    assert_true(frame_is(last_to(f, "web1"), 4, "504 the worker is gone"));
    forget_sent(f);
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-002", "x", NULL);
    assert_null(last_to(f, "w1"));
    ready(f, "w1", "case.public", "2");
    assert_non_null(last_to(f, "w1"));
}

static int64_t refused(const char *role, const char *service)
{
    const struct dw_label labels[] = {{"role", role}, {"service", service}};
    return *dw_metric_with("dengwen_broker_refused_total", labels, 2);
}

/* In words of ours only: a peer that makes names up does not make counters. */
TEST(refusals_are_counted_by_role_and_service)
{
    static const char *const roles[] = {"web", "worker:web", "worker:x", "ops2", ""};
    static const char *const role_words[] = {"web", "worker", "worker", "other", "other"};
    static const char *const services[] = {"case.desk", "case.made-up", "titanic.up", "made-up"};
    static const char *const words[] = {"case.desk", "case.*", "titanic.*", "other"};
    struct fixture *f = *state;
    for (size_t i = 0; i < DW_COUNT(roles); i++) {
        for (size_t j = 0; j < DW_COUNT(services); j++) {
            int64_t before = refused(role_words[i], words[j]);
            say(f, "a", roles[i], "", "MDPC01", services[j], "call-001", "x", NULL);
            say(f, "b", roles[i], "", "MDPW01", "\1", services[j], NULL);
            assert_int_equal(refused(role_words[i], words[j]), before + 2);
        }
    }
}

TEST(there_is_room_for_every_counter_of_refusals)
{
    static const char *const roles[] = {"web", "phone", "email", "desk", "notify", "admin", "ops",
                                        "case", "client", "worker:x", "x"};
    static const char *const services[] = {
        "queue.put", "queue.pending", "queue.part", "queue.admin", "case.public", "case.desk",
        "case.notify", "case.admin", "case.x", "filing", "titanic.x", "x"};
    struct fixture *f = *state;
    for (size_t i = 0; i < DW_COUNT(roles); i++)
        for (size_t j = 0; j < DW_COUNT(services); j++)
            say(f, "b", roles[i], "", "MDPW01", "\1", services[j], NULL);
}

static void ready2(struct fixture *f, const char *name, const char *service, const char *credit)
{
    say(f, name, "case", "MDPW02", "\1", service, credit, NULL);
}

/* The last message to a worker is a request; its answer, with one frame of body, in that command. */
static void respond(struct fixture *f, const char *worker, const char *version, const char *command,
                    const char *body)
{
    const struct sent *s = NULL;
    struct dw_mdp_message m;
    const char *why;
    for (size_t i = f->count; i-- > 0 && !s;)
        if (strcmp(f->sent[i].to, worker) == 0 &&
            dw_mdp_parse(f->sent[i].frames.items, f->sent[i].frames.count, &m, &why) == DW_OK &&
            m.command == DW_MDP_REQUEST)
            s = &f->sent[i];
    assert_non_null(s);
    struct dw_slice frames[] = {dw_slice_of(""), dw_slice_of(version), dw_slice_of(command),
                                m.address, dw_slice_of(""), dw_slice_of(body)};
    bool second = strcmp(version, "MDPW02") == 0;
    say_slices(f, worker, "case", frames + second, 6 - second);
}

static bool frames_are(const struct sent *s, const char *const *texts, size_t count)
{
    if (!s || s->frames.count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!frame_is(s, i, texts[i]))
            return false;
    return true;
}
#define SAID(f, to, ...)                                                                           \
    frames_are(last_to(f, to), (const char *const[]){__VA_ARGS__},                                 \
               sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

TEST(a_client_and_a_worker_of_the_second_version)
{
    struct fixture *f = *state;
    ready2(f, "w1", "case.public", NULL);
    assert_true(SAID(f, "w1", "MDPW02", "\5"));
    say(f, "c1", "web", "MDPC02", "\1", "case.public", "a", "", "b", NULL);
    const struct sent *s = last_to(f, "w1");
    assert_int_equal(s->frames.count, 7);
    assert_true(frame_is(s, 0, "MDPW02") && frame_is(s, 1, "\2") && s->frames.items[2].len == 8);
    assert_true(frame_is(s, 3, "") && frame_is(s, 4, "a") && frame_is(s, 5, "") && frame_is(s, 6, "b"));
    respond(f, "w1", "MDPW02", "\3", "one");
    assert_true(SAID(f, "c1", "MDPC02", "\2", "case.public", "one"));
    respond(f, "w1", "MDPW02", "\3", "two");
    assert_true(SAID(f, "c1", "MDPC02", "\2", "case.public", "two"));
    respond(f, "w1", "MDPW02", "\4", "three");
    assert_true(SAID(f, "c1", "MDPC02", "\3", "case.public", "three"));
    size_t before = f->count; /* after FINAL the client is sent nothing more */
    respond(f, "w1", "MDPW02", "\3", "four");
    respond(f, "w1", "MDPW02", "\4", "five");
    assert_int_equal(f->count, before);
    say(f, "c1", "web", "MDPC02", "\1", "mmi.service", "case.public", NULL);
    assert_true(SAID(f, "c1", "MDPC02", "\3", "mmi.service", "200"));
    say(f, "w1", "case", "MDPW02", "\6", NULL);
    say(f, "c1", "web", "MDPC02", "\1", "mmi.service", "case.public", NULL);
    assert_true(SAID(f, "c1", "MDPC02", "\3", "mmi.service", "404"));
}

TEST(a_worker_of_either_version_serves_a_client_of_either)
{
    static const struct {
        const char *name, *final;
    } versions[] = {{"MDPW01", "\3"}, {"MDPW02", "\4"}};
    struct fixture *f = *state;
    for (int worker = 0; worker < 2; worker++) {
        (worker ? ready2 : ready)(f, "w1", "case.public", "2");
        say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
        respond(f, "w1", versions[worker].name, versions[worker].final, "yes");
        assert_true(SAID(f, "c1", "", "MDPC01", "case.public", "yes"));
        say(f, "c2", "web", "MDPC02", "\1", "case.public", "call-001", "x", NULL);
        respond(f, "w1", versions[worker].name, versions[worker].final, "no");
        assert_true(SAID(f, "c2", "MDPC02", "\3", "case.public", "no"));
        say(f, "c2", "web", "MDPC02", "\1", "case.public", "call-001", "x", NULL);
        tick(f, f->config.broker.heartbeat_ms * f->config.broker.liveness + 1);
        assert_true(SAID(f, "c2", "MDPC02", "\3", "case.public", "call-001",
                         "504 the worker is gone"));
    }
}

TEST(parts_wait_for_the_last_where_a_client_takes_one_piece)
{
    struct fixture *f = *state;
    ready2(f, "w1", "case.public", "1");
    say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    respond(f, "w1", "MDPW02", "\3", "one");
    respond(f, "w1", "MDPW02", "\3", "two");
    assert_null(last_to(f, "c1"));
    respond(f, "w1", "MDPW02", "\4", "three");
    assert_true(SAID(f, "c1", "", "MDPC01", "case.public", "one", "two", "three"));
}

TEST(parts_are_kept_within_bounds)
{
    struct fixture *f = *state;
    char large[1001] = {0};
    memset(large, 'x', 1000);
    f->config.broker.max_joined_bytes = 2500;
    f->config.broker.max_frames = 16;
    ready2(f, "w1", "case.public", "2");
    for (int round = 0; round < 3; round++) { /* nothing is left of the round before */
        say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
        respond(f, "w1", "MDPW02", "\3", large);
        respond(f, "w1", "MDPW02", "\3", large);
        respond(f, "w1", "MDPW02", "\4", "end");
        assert_int_equal(last_to(f, "c1")->frames.count, 6);
        say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
        for (int i = 0; i < 10; i++)
            respond(f, "w1", "MDPW02", "\3", large);
        respond(f, "w1", "MDPW02", "\4", "end");
        assert_true(frame_is(last_to(f, "c1"), 3, "call-001"));
        assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[4]), 502);
        say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
        for (int i = 0; i < 16; i++)
            respond(f, "w1", "MDPW02", "\3", "");
        respond(f, "w1", "MDPW02", "\4", "");
        assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[4]), 502);
    }
    /* A worker that leaves in the middle takes its parts along. */
    say(f, "c1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    respond(f, "w1", "MDPW02", "\3", large);
    say(f, "w1", "case", "MDPW02", "\6", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[4]), 504);
}

TEST(what_is_valid_but_unexpected_is_answered_with_disconnect)
{
    struct fixture *f = *state;
    static const struct {
        const char *registers, *frames[6];
    } cases[] = {
        {"MDPW01", {"", "MDPW01", "\1", "filing"}},       {"MDPW02", {"MDPW02", "\1", "filing"}},
        {"MDPW01", {"", "MDPW01", "\2", "a", "", "b"}},   {"MDPW02", {"MDPW02", "\2", "a", "", "b"}},
        {"MDPW01", {"MDPW02", "\5"}},                      {"MDPW02", {"", "MDPW01", "\4"}},
        {NULL, {"", "MDPW01", "\4"}},                      {NULL, {"MDPW02", "\5"}},
        {NULL, {"", "MDPW01", "\3", "a", "", "b"}},       {NULL, {"MDPW02", "\3", "a", "", "b"}},
        {NULL, {"", "MDPW01", "\2", "a", "", "b"}},       {NULL, {"MDPW02", "\4", "a", "", "b"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct dw_slice frames[6];
        size_t count = 0;
        while (count < 6 && cases[i].frames[count]) {
            frames[count] = dw_slice_of(cases[i].frames[count]);
            count++;
        }
        if (cases[i].registers)
            (strcmp(cases[i].registers, "MDPW02") == 0 ? ready2 : ready)(f, "w1", "filing", "1");
        forget_sent(f);
        say_slices(f, "w1", "case", frames, count);
        bool second = cases[i].registers ? strcmp(cases[i].registers, "MDPW02") == 0
                                         : *cases[i].frames[0] != 0;
        assert_true(second ? SAID(f, "w1", "MDPW02", "\6") : SAID(f, "w1", "", "MDPW01", "\5"));
        assert_int_equal(f->count, 1);
        assert_string_equal(f->cut, "");
        tick(f, f->config.broker.heartbeat_ms + 1); /* and no further commands */
        assert_int_equal(f->count, 1);
        put_filing(f, (uint8_t)(i + 1));
        assert_null(is_delivery(last_to(f, "w1"), (uint8_t)(i + 1)) ? f : NULL);
    }
    say(f, "c1", "web", "MDPC02", "\2", "case.public", "x", NULL);
    assert_string_equal(f->cut, "c1"); /* a client has no DISCONNECT */
    forget_sent(f);
    say(f, "c1", "web", "MDPC02", "\3", "case.public", "x", NULL);
    assert_string_equal(f->cut, "c1");
}

/* ---- RFC 9 ---- */

static void guest_ready(struct fixture *f, const char *name, const char *credit)
{
    say(f, name, "worker:echo", "MDPW02", "\1", "echo", credit, NULL);
}

/* A request for `echo`; the UUID it got. */
static const char *ask_echo(struct fixture *f, const char *a, const char *b)
{
    static char uuid[33];
    say(f, "c1", "client", "", "MDPC01", "titanic.request", "echo", a, b, NULL);
    const struct sent *s = last_to(f, "c1");
    assert_int_equal(s->frames.count, 5);
    assert_true(frame_is(s, 1, "MDPC01") && frame_is(s, 2, "titanic.request") && frame_is(s, 3, "200"));
    assert_int_equal(s->frames.items[4].len, 32);
    snprintf(uuid, sizeof uuid, "%.32s", s->frames.items[4].data);
    uint8_t id[16];
    assert_true(dw_unhex(id, sizeof id, uuid));
    return uuid;
}

static int titanic(struct fixture *f, const char *service, const char *uuid)
{
    say(f, "c1", "client", "MDPC02", "\1", service, uuid, NULL);
    const struct sent *s = last_to(f, "c1");
    assert_true(frame_is(s, 0, "MDPC02") && frame_is(s, 1, "\3") && frame_is(s, 2, service));
    int status = dw_status_parse(s->frames.items[3]);
    assert_true(status == 200 || s->frames.count == 4);
    return status;
}

TEST(titanic_keeps_a_request_and_its_reply)
{
    struct fixture *f = *state;
    char first[33];
    snprintf(first, sizeof first, "%s", ask_echo(f, "one", "two"));
    assert_int_equal(titanic(f, "titanic.reply", first), 300);
    guest_ready(f, "w1", "1");
    const struct sent *s = last_to(f, "w1"); /* the worker sees what it would see of any client */
    assert_int_equal(s->frames.count, 6);
    assert_true(frame_is(s, 0, "MDPW02") && frame_is(s, 1, "\2") && frame_is(s, 4, "one") && frame_is(s, 5, "two"));
    assert_int_equal(titanic(f, "titanic.reply", first), 300);
    respond(f, "w1", "MDPW02", "\3", "400"); /* no status to the broker: it is the reply */
    respond(f, "w1", "MDPW02", "\4", "four");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(titanic(f, "titanic.reply", first), 200);
        assert_true(SAID(f, "c1", "MDPC02", "\3", "titanic.reply", "200", "400", "four"));
    }
    const char *second = ask_echo(f, "three", NULL); /* while the worker waits */
    assert_string_not_equal(second, first);
    respond(f, "w1", "MDPW02", "\4", "");
    assert_int_equal(titanic(f, "titanic.reply", second), 200);
    assert_true(SAID(f, "c1", "MDPC02", "\3", "titanic.reply", "200", ""));
    assert_int_equal(titanic(f, "titanic.close", first), 200);
    assert_int_equal(titanic(f, "titanic.reply", first), 400);
    assert_int_equal(titanic(f, "titanic.close", first), 200);
    assert_int_equal(titanic(f, "titanic.reply", second), 200);
    for (char *c = first; *c; c++)
        *c = (char)(*c >= 'a' ? *c - 32 : *c);
    assert_int_equal(titanic(f, "titanic.close", first), 200); /* of either case */
}

TEST(a_full_queue_tells_a_time_and_still_answers_questions)
{
    struct fixture *f = *state;
    char uuid[33], handle[17] = {0};
    guest_ready(f, "w1", "1");
    snprintf(uuid, sizeof uuid, "%s", ask_echo(f, "one", NULL));
    put_filing(f, 1);
    f->config.queue.max_items = 2;
    f->config.queue.guest_share_percent = 100;
    put_filing(f, 2);
    const struct sent *s = last_to(f, "web1");
    assert_true(frame_is(s, 4, "503") && frame_is(s, 5, "120") && s->frames.count == 6);
    say(f, "c1", "client", "", "MDPC01", "titanic.request", "echo", "two", NULL);
    assert_true(frame_is(last_to(f, "c1"), 3, "500 no room now; again in 120 seconds"));
    memset(handle, 1, 16);
    say(f, "web1", "web", "", "MDPC01", "queue.pending", "call-001", handle, NULL);
    assert_true(frame_is(last_to(f, "web1"), 4, "200"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "queue.put", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "200"));
    say(f, "a1", "admin", "", "MDPC01", "queue.admin", "call-001", "stats", NULL);
    assert_true(frame_is(last_to(f, "a1"), 4, "200"));
    assert_int_equal(titanic(f, "titanic.reply", uuid), 300);
    respond(f, "w1", "MDPW02", "\4", "done"); /* what was accepted goes on */
    assert_int_equal(titanic(f, "titanic.reply", uuid), 200);
    assert_int_equal(titanic(f, "titanic.close", uuid), 200);
    put_filing(f, 2);
    assert_true(frame_is(last_to(f, "web1"), 4, "200"));
    say(f, "c1", "client", "", "MDPC01", "titanic.request", "echo", "two", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[3]), 500);
}

TEST(titanic_answers_nonsense_with_its_own_codes)
{
    struct fixture *f = *state;
    static const char *const names[] = {"titanic.reply", "titanic.close"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(titanic(f, names[i], ""), 400);
        assert_int_equal(titanic(f, names[i], "x"), 400);
        assert_int_equal(titanic(f, names[i], "0123456789abcdef0123456789abcdeg"), 400);
        assert_int_equal(titanic(f, names[i], "0123456789abcdef0123456789abcdef0"), 400);
    }
    assert_int_equal(titanic(f, "titanic.reply", "0123456789abcdef0123456789abcdef"), 400);
    assert_int_equal(titanic(f, "titanic.close", "0123456789abcdef0123456789abcdef"), 200);
    assert_int_equal(titanic(f, "titanic.request", "echo"), 400); /* no body */
    static const char *const bad[] = {"", "Echo", "mmi.service", "queue.put", "titanic.request"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        say(f, "c1", "client", "", "MDPC01", "titanic.request", bad[i], "x", NULL);
        assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[3]), 400);
    }
    f->config.queue.guest_share_percent = 0;
    say(f, "c1", "client", "", "MDPC01", "titanic.request", "echo", "x", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "c1")->frames.items[3]), 500);
    assert_string_equal(f->cut, "");
}

TEST(titanic_is_no_way_round_the_table_of_roles)
{
    struct fixture *f = *state;
    static const char *const forbidden[] = {"case.desk", "filing", "case.admin"};
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        f->cut[0] = 0;
        say(f, "c1", "client", "", "MDPC01", "titanic.request", forbidden[i], "x", NULL);
        assert_string_equal(f->cut, "c1");
    }
    f->cut[0] = 0;
    say(f, "w1", "worker:echo", "", "MDPC01", "titanic.request", "echo", "x", NULL);
    assert_string_equal(f->cut, "w1");
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, f->now);
    snprintf(op->words[0], sizeof op->words[0], "list");
    dw_queue_run(f->queue, op);
    assert_string_equal(op->text, "[]");
    dw_queue_op_free(op);
}

TEST(a_request_outlives_its_workers_and_the_broker)
{
    struct fixture *f = *state;
    char uuid[33];
    snprintf(uuid, sizeof uuid, "%s", ask_echo(f, "one", NULL));
    guest_ready(f, "w1", "1");
    respond(f, "w1", "MDPW02", "\3", "half");
    say(f, "w1", "worker:echo", "MDPW02", "\6", NULL); /* it leaves in the middle of its reply */
    dw_broker_free(f->broker);
    f->broker = dw_broker_new(&f->config, 2);
    forget_sent(f);
    guest_ready(f, "w2", "1");
    for (int i = 0; i < 20 && last_to(f, "w2")->frames.count == 2; i++) { /* heartbeats */
        say(f, "w2", "worker:echo", "MDPW02", "\5", NULL);
        tick(f, f->config.queue.backoff_ms);
    }
    respond(f, "w2", "MDPW02", "\4", "whole");
    assert_int_equal(titanic(f, "titanic.reply", uuid), 200);
    assert_true(SAID(f, "c1", "MDPC02", "\3", "titanic.reply", "200", "whole"));
}

TEST(a_reply_that_cannot_be_kept_is_told)
{
    struct fixture *f = *state;
    char large[1001] = {0};
    memset(large, 'x', 1000);
    f->config.broker.max_joined_bytes = 2500;
    const char *uuid = ask_echo(f, "one", NULL);
    guest_ready(f, "w1", "1");
    for (int i = 0; i < 3; i++)
        respond(f, "w1", "MDPW02", "\3", large);
    respond(f, "w1", "MDPW02", "\4", large);
    assert_int_equal(titanic(f, "titanic.reply", uuid), 500);
    assert_int_equal(titanic(f, "titanic.close", uuid), 200);
    assert_int_equal(titanic(f, "titanic.reply", uuid), 400);
}

TEST(calls_and_items_share_a_worker_s_credit)
{
    struct fixture *f = *state;
    ask_echo(f, "kept", NULL);
    guest_ready(f, "w1", "1");
    say(f, "c2", "client", "", "MDPC01", "echo", "live", NULL);
    assert_true(frame_is(last_to(f, "w1"), 4, "kept"));
    respond(f, "w1", "MDPW02", "\4", "1");
    assert_true(frame_is(last_to(f, "w1"), 4, "live"));
    respond(f, "w1", "MDPW02", "\4", "2");
    assert_true(SAID(f, "c2", "", "MDPC01", "echo", "2"));
}

static int put_item(struct fixture *f, const char *role, const char *service, uint8_t n,
                    uint8_t fp, uint32_t parts)
{
    struct dw_item_header h = {.parts = parts, .klass = 1};
    struct dw_buf b;
    snprintf(h.service, sizeof h.service, "%s", service);
    memset(h.id, n, sizeof h.id);
    memset(h.handle, n, sizeof h.handle);
    memset(h.tok, n, sizeof h.tok);
    memset(h.fp, fp, sizeof h.fp);
    memset(h.attempt, parts ? 7 : 0, sizeof h.attempt);
    dw_buf_init(&b, 1000);
    dw_item_header_encode(&h, &b);
    struct dw_slice frames[] = {dw_slice_of("MDPC02"),   dw_slice_of("\1"), dw_slice_of("queue.put"),
                                dw_slice_of("call-001"), dw_slice_of("close"),  dw_buf_slice(&b),
                                dw_slice_of("work")};
    say_slices(f, "p1", role, frames, 7);
    dw_buf_free(&b);
    return dw_status_parse(last_to(f, "p1")->frames.items[4]);
}

TEST(other_programs_put_items_with_a_key_of_their_own)
{
    struct fixture *f = *state;
    assert_int_equal(put_item(f, "client", "echo", 1, 1, 0), 200);
    assert_int_equal(put_item(f, "client", "echo", 1, 1, 0), 200); /* again, and kept once */
    assert_int_equal(put_item(f, "client", "echo", 1, 2, 0), 422);
    assert_int_equal(put_item(f, "client", "filing", 2, 1, 0), 400);
    assert_int_equal(put_item(f, "client", "case.desk", 2, 1, 0), 400);
    assert_int_equal(put_item(f, "client", "titanic.request", 2, 1, 0), 400);
    assert_int_equal(put_item(f, "client", "echo", 2, 1, 1), 400); /* parts are not for them */
    assert_int_equal(put_item(f, "web", "echo", 2, 1, 0), 400);
    guest_ready(f, "w1", "4");
    const struct sent *s = last_to(f, "w1");
    assert_int_equal(s->frames.count, 6); /* header and body; the answer is a status */
    assert_true(frame_is(s, 5, "work"));
    respond(f, "w1", "MDPW02", "\4", "200");
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, f->now);
    snprintf(op->words[0], sizeof op->words[0], "list");
    dw_queue_run(f->queue, op);
    assert_string_equal(op->text, "[]");
    dw_queue_op_free(op);
}

/* ---- filings ---- */

TEST(a_filing_is_accepted_delivered_and_done)
{
    struct fixture *f = *state;
    put_filing(f, 1);
    assert_true(frame_is(last_to(f, "web1"), 4, "200"));
    ready(f, "w1", "filing", "4");
    const struct sent *s = last_to(f, "w1");
    assert_true(is_delivery(s, 1));
    reply_lease(f, "w1", s->frames.items[3], "200", "");
    forget_sent(f);
    ready(f, "w2", "filing", "4");
    tick(f, 500);
    assert_false(is_delivery(last_to(f, "w2"), 1));
}

TEST(a_silent_worker_loses_its_items_to_another)
{
    struct fixture *f = *state;
    ready(f, "w1", "filing", "1");
    put_filing(f, 1);
    struct dw_slice stale = last_to(f, "w1")->frames.items[3];
    uint8_t lease[DW_LEASE_LEN];
    memcpy(lease, stale.data, sizeof lease);
    tick(f, f->config.broker.heartbeat_ms * f->config.broker.liveness + 1);
    ready(f, "w2", "filing", "1");
    tick(f, f->config.queue.backoff_ms + 1);
    const struct sent *s = last_to(f, "w2");
    assert_true(is_delivery(s, 1));
    assert_true(memcmp(s->frames.items[3].data, lease, sizeof lease) != 0); /* a new fence */
    /* The first one wakes up: its answer counts for nothing, and it is told to register again. */
    forget_sent(f);
    reply_lease(f, "w1", DW_SLICE(lease, sizeof lease), "200", "");
    assert_true(last_to(f, "w1")->frames.items[2].data[0] == DW_MDP_DISCONNECT);
}

TEST(heartbeats_keep_a_worker_and_its_leases)
{
    struct fixture *f = *state;
    ready(f, "w1", "filing", "1");
    put_filing(f, 1);
    for (int i = 0; i < 40; i++) {
        tick(f, f->config.broker.heartbeat_ms);
        say(f, "w1", "case", "", "MDPW01", "\4", NULL);
    }
    forget_sent(f);
    ready(f, "w2", "filing", "1");
    tick(f, f->config.queue.backoff_max_ms);
    assert_false(is_delivery(last_to(f, "w2"), 1));
}

TEST(not_now_costs_no_attempt_and_never_is_a_dead_letter)
{
    struct fixture *f = *state;
    ready(f, "w1", "filing", "1");
    put_filing(f, 1);
    for (int i = 0; i < 30; i++) {
        const struct sent *s = last_to(f, "w1");
        assert_true(is_delivery(s, 1));
        reply_lease(f, "w1", s->frames.items[3], "300", "the store is away");
        forget_sent(f);
        for (int j = 0; j < 400 && !is_delivery(last_to(f, "w1"), 1); j++) {
            forget_sent(f);
            tick(f, f->config.broker.heartbeat_ms);
            say(f, "w1", "case", "", "MDPW01", "\4", NULL);
        }
    }
    reply_lease(f, "w1", last_to(f, "w1")->frames.items[3], "422", "bad \"signature\"");
    forget_sent(f);
    say(f, "admin1", "admin", "", "MDPC01", "queue.admin", "call-001", "list", "dead", NULL);
    const struct sent *s = last_to(f, "admin1");
    assert_true(frame_is(s, 4, "200"));
    static const char told[] = "bad 'signature'"; /* a frame ends without a NUL */
    assert_non_null(memmem(s->frames.items[5].data, s->frames.items[5].len, told, strlen(told)));
}

TEST(a_dead_letter_that_is_revived_goes_out_at_once)
{
    struct fixture *f = *state;
    ready(f, "w1", "filing", "1");
    put_filing(f, 1);
    reply_lease(f, "w1", last_to(f, "w1")->frames.items[3], "422", "bad");
    forget_sent(f);
    say(f, "admin1", "admin", "", "MDPC01", "queue.admin", "call-001", "retry",
        "01010101010101010101010101010101", NULL);
    assert_true(frame_is(last_to(f, "admin1"), 4, "200"));
    assert_true(is_delivery(last_to(f, "w1"), 1));
}

TEST(a_worker_that_leaves_with_a_call_in_hand_leaves_its_fate_unknown)
{
    struct fixture *f = *state;
    ready(f, "w1", "case.public", "1");
    say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    say(f, "w1", "case", "", "MDPW01", "\5", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 504);
}

TEST(what_could_not_be_sent_goes_to_the_next_worker)
{
    struct fixture *f = *state;
    ready(f, "W1", "case.public", "4");
    snprintf(f->gone, sizeof f->gone, "W1");
    say(f, "C", "web", "", "MDPC01", "case.public", "1", "status", NULL);
    assert_null(last_to(f, "C")); /* it waits, and is not of unknown fate */
    ready(f, "W2", "case.public", "4");
    tick(f, 250);
    assert_true(frame_is(last_to(f, "W2"), 6, "status"));
    assert_null(last_to(f, "C"));
}

TEST(an_item_that_could_not_be_sent_has_not_been_tried)
{
    struct fixture *f = *state;
    ready(f, "W1", "filing", "4");
    snprintf(f->gone, sizeof f->gone, "W1");
    put_filing(f, 1);
    tick(f, 250);
    ready(f, "W2", "filing", "4");
    for (int i = 0; i < 20 && !is_delivery(last_to(f, "W2"), 1); i++)
        tick(f, 500);
    assert_true(is_delivery(last_to(f, "W2"), 1));
    struct dw_queue_op *op = dw_queue_op_new(DW_QUEUE_ADMIN, f->now);
    snprintf(op->words[0], sizeof op->words[0], "list");
    dw_queue_run(f->queue, op);
    assert_non_null(strstr(op->text, "\"attempts\":1"));
    dw_queue_op_free(op);
}

TEST(mmi_tells_which_services_there_are)
{
    struct fixture *f = *state;
    ready(f, "w1", "case.public", "1");
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "case.public", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "200"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "case.nothing", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "404"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "queue.put", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "200"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "titanic.request", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "200"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "mmi.service", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "200"));
    say(f, "web1", "web", "", "MDPC01", "mmi.service", "mmi.other", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "404"));
    say(f, "web1", "web", "", "MDPC01", "mmi.other", "x", NULL);
    assert_true(frame_is(last_to(f, "web1"), 3, "501"));
}

TEST(malformed_queue_calls_are_answered_and_harm_nothing)
{
    struct fixture *f = *state;
    say(f, "web1", "web", "", "MDPC01", "queue.put", "call-001", "close", "no header", "x", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 400);
    say(f, "web1", "web", "", "MDPC01", "queue.put", "call-001", "part", "short", "1", "x", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 400);
    say(f, "web1", "web", "", "MDPC01", "queue.pending", "call-001", "short", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 400);
    say(f, "web1", "web", "", "MDPC01", "queue.put", "call-001", NULL);
    assert_int_equal(dw_status_parse(last_to(f, "web1")->frames.items[4]), 400);
}

TEST(the_next_of_a_key_goes_out_when_the_one_before_is_done)
{
    struct fixture *f = *state;
    static const char *const answers[] = {"200", "422", "200"};
    ready(f, "w1", "filing", "5");
    for (uint8_t n = 1; n <= 3; n++) {
        struct dw_item_header h = {.service = "filing", .klass = n == 2};
        DW_AUTO_BUF b = {0};
        memset(h.id, n, sizeof h.id);
        memset(h.handle, 7, sizeof h.handle);
        dw_buf_init(&b, 1000);
        dw_item_header_encode(&h, &b);
        struct dw_slice frames[] = {dw_slice_of(""),          dw_slice_of("MDPC01"),
                                    dw_slice_of("queue.put"), dw_slice_of("call-001"),
                                    dw_slice_of("close"),     dw_buf_slice(&b),
                                    dw_slice_of("sealed")};
        say_slices(f, "web1", "web", frames, 7);
    }
    for (uint8_t n = 1; n <= 3; n++) {
        assert_true(is_delivery(last_to(f, "w1"), n)); /* and no other, whatever its credit */
        reply_lease(f, "w1", last_to(f, "w1")->frames.items[3], answers[n - 1], "because");
    }
}

TEST(work_is_spread_over_workers)
{
    struct fixture *f = *state;
    ready(f, "w1", "case.public", "9");
    ready(f, "w2", "case.public", "9");
    forget_sent(f);
    for (int i = 0; i < 8; i++)
        say(f, "web1", "web", "", "MDPC01", "case.public", "call-001", "x", NULL);
    int first = 0;
    for (size_t i = 0; i < f->count; i++)
        first += strcmp(f->sent[i].to, "w1") == 0;
    assert_int_equal(first, 4);
}

TEST(draining_hands_out_nothing_new_and_keeps_what_it_has)
{
    struct fixture *f = *state;
    ready(f, "w1", "filing", "4");
    dw_broker_drain(f->broker, f->mono);
    act(f);
    forget_sent(f);
    put_filing(f, 1);
    assert_true(frame_is(last_to(f, "web1"), 4, "200")); /* durable all the same */
    tick(f, 1000);
    assert_false(is_delivery(last_to(f, "w1"), 1));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
RUN(T(a_request_reaches_a_worker_and_its_reply_comes_back),
    T(a_request_waits_for_a_worker_and_then_gives_up), T(no_more_requests_wait_than_the_limit),
    T(large_requests_do_not_wait_in_any_number),
    T(small_requests_of_many_names_do_not_wait_in_any_number),
    T(what_waits_for_the_disk_is_bounded), T(replies_are_read_for_few_at_once),
    T(names_that_nobody_serves_are_forgotten),
    T(a_worker_gets_no_more_than_its_credit),
    T(a_worker_gets_no_more_bytes_than_one_peer_may_have_whatever_its_credit), T(roles_may_only_what_the_table_says),
    T(who_asks_for_what_it_may_not_or_breaks_the_protocol_is_cut),
    T(a_routing_id_alone_makes_nobody_a_worker),
    T(refusals_are_counted_by_role_and_service),
    T(there_is_room_for_every_counter_of_refusals),
    T(a_client_and_a_worker_of_the_second_version),
    T(a_worker_of_either_version_serves_a_client_of_either),
    T(parts_wait_for_the_last_where_a_client_takes_one_piece), T(parts_are_kept_within_bounds),
    T(what_is_valid_but_unexpected_is_answered_with_disconnect),
    T(titanic_keeps_a_request_and_its_reply), T(titanic_answers_nonsense_with_its_own_codes),
    T(a_full_queue_tells_a_time_and_still_answers_questions),
    T(the_next_of_a_key_goes_out_when_the_one_before_is_done),
    T(titanic_is_no_way_round_the_table_of_roles), T(a_request_outlives_its_workers_and_the_broker),
    T(a_reply_that_cannot_be_kept_is_told), T(calls_and_items_share_a_worker_s_credit),
    T(other_programs_put_items_with_a_key_of_their_own),
    T(a_filing_is_accepted_delivered_and_done), T(a_silent_worker_loses_its_items_to_another),
    T(heartbeats_keep_a_worker_and_its_leases),
    T(not_now_costs_no_attempt_and_never_is_a_dead_letter),
    T(a_dead_letter_that_is_revived_goes_out_at_once),
    T(a_worker_that_leaves_with_a_call_in_hand_leaves_its_fate_unknown),
    T(what_could_not_be_sent_goes_to_the_next_worker),
    T(an_item_that_could_not_be_sent_has_not_been_tried), T(mmi_tells_which_services_there_are), T(malformed_queue_calls_are_answered_and_harm_nothing),
    T(work_is_spread_over_workers), T(draining_hands_out_nothing_new_and_keeps_what_it_has))
