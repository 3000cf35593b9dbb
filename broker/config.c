#include "dw/config.h"

#include "dw/bytes.h"
#include "dw/process.h"
#include "dw/result.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum kind { TEXT, NUMBER, FLAG, LIST };

struct setting {
    const char *key;
    enum kind kind;
    size_t offset;
    const char *fallback; /* items of a LIST are separated by spaces */
    int64_t min, max;
    const char *meaning;
};

#define AT(member)                     offsetof(struct dw_config, member)
#define S(key, member, fallback, help) {key, TEXT, AT(member), fallback, 0, 1024, help}
#define N(key, member, fallback, min, max, help) {key, NUMBER, AT(member), fallback, min, max, help}
#define B(key, member, fallback, help) {key, FLAG, AT(member), fallback, 0, 1, help}
#define L(key, member, fallback, help) {key, LIST, AT(member), fallback, 0, 16, help}

#define HTTP(name, member, listen_at, threads_n)                                                   \
    S(name ".listen", member.listen, listen_at, "address and port; nginx stands in front"),        \
        N(name ".threads", member.threads, threads_n, 1, 256, "requests worked on at once"),       \
        N(name ".connections", member.connections, "512", 1, 60000, "open connections"),           \
        N(name ".max_headers", member.max_headers, "64", 8, 256, "header fields of a request"),    \
        N(name ".max_body_bytes", member.max_body_bytes, "262144", 1024, 16777216,                 \
          "body of a request, files not counted"),                                                 \
        N(name ".max_fields", member.max_fields, "120", 1, 1000, "fields of a form"),              \
        N(name ".max_field_bytes", member.max_field_bytes, "65536", 64, 1048576,                   \
          "one field of a form"),                                                                  \
        N(name ".idle_seconds", member.idle_seconds, "30", 1, 3600,                                \
          "a connection that says nothing is closed"),                                             \
        N(name ".total_seconds", member.total_seconds, "600", 5, 86400,                            \
          "a request that takes longer to arrive is cut"),                                         \
        N(name ".min_bytes_per_second", member.min_bytes_per_second, "512", 0, 1000000,            \
          "a request that arrives slower, after ten seconds of grace, is cut"),                    \
        B(name ".keep_alive", member.keep_alive, "true",                                           \
          "false behind a proxy that shares connections between clients"),                         \
        L(name ".trusted_proxies", member.trusted_proxies, "",                                     \
          "addresses whose X-Forwarded-For is believed"),                                          \
        S(name ".origin", member.origin, "",                                                       \
          "public address of these pages, https://...; empty: as the request says")

static const struct setting settings[] = {
    S("name.zh", name_zh, "医疗保障基金投诉举报平台", "name of the portal, Chinese"),
    S("name.en", name_en, "Medical insurance complaints and reports", "name of the portal, English"),
    S("state", state, "state", "state of all processes, one 0700 folder each"),
    S("run", run, "run", "sockets"),
    S("data", data, "",
      "rules, calendars, bodies, catalogue, templates; empty: the installed ones"),
    S("log_level", log_level, "info", "error, warn, info or debug"),
    S("clock_file", clock_file, "",
      "tests and drills only: a file with seconds to add to the clock"),
    B("demo", demo, "false", "demonstration: known passwords, no rate limits"),

    S("keys.root", keys.root, "keys/root.pub", "public root key, pinned"),
    S("keys.directory", keys.directory, "keys/directory", "the signed directory of keys"),
    S("keys.admin", keys.admin, "admin", "site key and key of the administrator's commands"),
    S("keys.offline", keys.offline, "offline", "root and escrow private keys until carried away"),

    L("broker.bind", broker.bind, "tcp://127.0.0.1:5570",
      "addresses beside the sockets in run/; empty for none"),
    L("broker.guests", broker.guests, "",
      "addresses for programs of others (dengwen key add); empty for none"),
    L("broker.connect", broker.connect, "",
      "NAME=tcp://HOST:PORT of brokers of other machines, tried when the own one is away; case workers "
      "serve all; NAME is broker where all have the same key"),
    N("broker.heartbeat_ms", broker.heartbeat_ms, "1000", 50, 60000, "between heartbeats"),
    N("broker.liveness", broker.liveness, "4", 2, 20, "missed heartbeats that make a peer gone"),
    N("broker.max_frame_bytes", broker.max_frame_bytes, "262144", 262144, 16777216, "one frame"),
    N("broker.max_frames", broker.max_frames, "64", 64, 1024, "frames of one message"),
    N("broker.high_water", broker.high_water, "1000", 10, 100000, "messages waiting per peer"),
    N("broker.max_unread_bytes", broker.max_unread_bytes, "67108864", 1048576, INT64_MAX,
      "bytes in the hands of one worker, or waiting for a peer that does not read: then it is cut"),
    N("broker.max_connections", broker.max_connections, "10000", 16, 1000000,
      "open connections, also of those who have not shown a key yet"),
    N("broker.handshake_ms", broker.handshake_ms, "2000", 100, 30000, "CURVE handshake"),
    N("broker.request_ttl_ms", broker.request_ttl_ms, "10000", 100, 600000,
      "a request that no worker took is answered 503"),
    N("broker.max_waiting", broker.max_waiting, "1000", 1, 100000, "requests waiting per service"),
    N("broker.max_waiting_bytes", broker.max_waiting_bytes, "67108864", 1048576, INT64_MAX,
      "bytes of all requests that wait, and again of all that waits for the disk"),
    N("broker.max_joined_bytes", broker.max_joined_bytes, "67108864", 65536, INT64_MAX,
      "bytes kept of replies that come in parts, for those who take one piece"),
    N("broker.max_fetches", broker.max_fetches, "16", 4, 256,
      "replies kept for programs of others that are read at once; a quarter of them for one"),
    N("broker.ban_seconds", broker.ban_seconds, "30", 1, 86400,
      "a peer that broke the protocol stays out"),

    N("queue.max_items", queue.max_items, "1000000", 1, 1000000000, "filings waiting"),
    N("queue.max_bytes", queue.max_bytes, "4294967296", 1048576, INT64_MAX, "bytes waiting"),
    N("queue.min_free_bytes", queue.min_free_bytes, "67108864", 0, INT64_MAX,
      "free disk below which nothing more is accepted"),
    N("queue.reserve_bytes", queue.reserve_bytes, "33554432", 0, 1073741824,
      "kept on the disk, so that a full one can still be emptied"),
    N("queue.open_share_percent", queue.open_share_percent, "25", 1, 100,
      "share of max_bytes that unfinished uploads may hold"),
    N("queue.open_ttl_seconds", queue.open_ttl_seconds, "900", 1, 86400,
      "an unfinished upload is forgotten"),
    N("queue.lease_seconds", queue.lease_seconds, "30", 1, 3600, "a worker's hold on an item"),
    N("queue.max_attempts", queue.max_attempts, "12", 1, 1000, "then it is a dead letter"),
    N("queue.backoff_ms", queue.backoff_ms, "500", 1, 3600000, "before the second attempt; doubles"),
    N("queue.backoff_max_ms", queue.backoff_max_ms, "300000", 1, 86400000, "longest backoff"),
    N("queue.seen_hours", queue.seen_hours, "48", 1, 8760,
      "how long a reused Idempotency-Key is told from a new one"),
    N("queue.seen_max", queue.seen_max, "1000000", 100, 100000000, "how many of them"),
    N("queue.batch_max", queue.batch_max, "1000", 1, 100000, "operations in one commit"),
    N("queue.guest_share_percent", queue.guest_share_percent, "25", 0, 100,
      "share of max_items and max_bytes for items and replies of other people's programs"),
    N("queue.guest_hours", queue.guest_hours, "168", 1, 8760,
      "until a request kept for another program, or its reply, is forgotten"),
    N("queue.slow_percent", queue.slow_percent, "80", 1, 100,
      "of its limits, from which bulk work is told to wait"),
    N("queue.retry_min_seconds", queue.retry_min_seconds, "2", 1, 3600,
      "the shortest time a sender is told to wait"),
    N("queue.retry_max_seconds", queue.retry_max_seconds, "120", 1, 86400,
      "the longest, and what is told while nothing leaves the queue"),

    HTTP("web", web.http, "127.0.0.1:8080", "24"),
    N("web.max_files", web.max_files, "10", 0, 100, "files of a filing"),
    N("web.max_file_bytes", web.max_file_bytes, "20971520", 1024, 1073741824, "one file"),
    N("web.max_files_bytes", web.max_files_bytes, "52428800", 1024, 4294967296, "all files"),
    N("web.upload_window", web.upload_window, "8", 1, 256, "file chunks on the way to the queue"),
    S("web.receipt_after", web.receipt_after, "queue",
      "queue: the receipt is shown when the broker's disk has the filing; store: when the store has it "
      "too, for more than one machine"),
    N("web.stretches", web.stretches, "0", 0, 256,
      "memory-hard steps of receipts at once, 8 MiB each; 0: one on each core"),
    N("web.call_timeout_ms", web.call_timeout_ms, "5000", 100, 60000, "an answer from inside"),
    N("web.filings_per_hour", web.filings_per_hour, "20", 1, 1000000000, "per address"),
    N("web.filings_burst", web.filings_burst, "10", 1, 1000000000, "per address, at once"),
    N("web.lookups_per_minute", web.lookups_per_minute, "30", 1, 1000000000, "per address"),
    N("web.lookups_burst", web.lookups_burst, "30", 1, 1000000000, "per address, at once"),
    N("web.messages_per_hour", web.messages_per_hour, "30", 1, 1000000000, "per address"),
    N("web.messages_burst", web.messages_burst, "10", 1, 1000000000, "per address, at once"),
    N("web.table_size", web.table_size, "65536", 64, 16777216, "addresses remembered (hashed)"),

    HTTP("desk", desk.http, "127.0.0.1:8081", "8"),
    N("desk.sessions", desk.sessions, "200", 1, 10000, "members logged in at once"),
    N("desk.idle_minutes", desk.idle_minutes, "30", 1, 1440, "session ends without use"),
    N("desk.hours", desk.hours, "8", 1, 24, "session ends in any case"),
    N("desk.kdf_parallel", desk.kdf_parallel, "2", 1, 16, "passwords checked at once"),
    N("desk.kdf_waiting", desk.kdf_waiting, "8", 0, 1000, "more wait, then 503"),
    N("desk.kdf_memory_mib", desk.kdf_memory_mib, "256", 8, 4096, "Argon2id memory, new passwords"),
    N("desk.kdf_operations", desk.kdf_operations, "3", 1, 100, "Argon2id passes, new passwords"),
    N("desk.call_timeout_ms", desk.call_timeout_ms, "10000", 100, 60000, "an answer from inside"),
    N("desk.logins_per_minute", desk.logins_per_minute, "10", 1, 1000000000, "per address"),
    N("desk.logins_burst", desk.logins_burst, "10", 1, 1000000000, "per address, at once"),

    N("keyd.per_second", keyd.per_second, "400", 1, 1000000000, "questions answered"),
    N("keyd.burst", keyd.burst, "800", 1, 1000000000, "questions at once"),
    N("keyd.connections", keyd.connections, "64", 1, 1024, "open connections"),
    L("keyd.users", keyd.users, "", "system users that may ask, beside its own"),

    S("store.uri", store.uri, "sqlite:state/case/cases.db",
      "sqlite:FILE, or mongodb://[USER@]HOST[,HOST...]/DATABASE?replicaSet=NAME"),
    N("store.busy_ms", store.busy_ms, "5000", 0, 60000, "SQLite: wait for a locked database"),
    N("store.cache_mib", store.cache_mib, "768", 1, 65536, "SQLite: memory for pages"),
    S("store.password_file", store.password_file, "", "MongoDB: first line is the password of the user in store.uri; or credential:NAME"),
    N("store.select_ms", store.select_ms, "3000", 100, 60000,
      "MongoDB: until a server that takes writes is found, or a connection of the pool is free"),
    N("store.socket_ms", store.socket_ms, "10000", 100, 600000, "MongoDB: an answer"),
    N("store.wtimeout_ms", store.wtimeout_ms, "5000", 100, 600000,
      "MongoDB: until a majority has a write in its journals"),
    N("store.pool", store.pool, "16", 2, 1000, "MongoDB: connections"),
    B("store.init", store.init, "true", "MongoDB: make missing collections and indexes at start"),
    B("store.allow_standalone", store.allow_standalone, "false",
      "MongoDB: accept a server that is no member of a replica set, the only copy"),

    S("case.chain", cases.chain, "staff",
      "audit chain of this case worker: of several at one store, each needs its own"),
    N("case.credit", cases.credit, "256", 1, 1024, "requests in hand at once"),
    N("case.checks", cases.checks, "0", 0, 64,
      "filings whose signatures are verified at once; 0: one on each core"),
    N("case.tick_ms", cases.tick_ms, "500", 10, 60000, "between looks at the timers"),
    N("case.batch_max", cases.batch_max, "64", 1, 1000, "steps in one commit"),
    N("case.max_events", cases.max_events, "2000", 10, 100000, "events of one case"),
    N("case.messages_per_day", cases.messages_per_day, "20", 1, 10000,
      "messages of one receipt in a day"),
    N("case.max_page", cases.max_page, "200", 1, 1000, "rows of one page of a worklist"),
    N("case.fold_ms", cases.fold_ms, "1000", 10, 3600000, "between looks for events to be counted"),
    N("case.fold_batch", cases.fold_batch, "256", 1, 1000, "cases counted at once"),
    N("case.statistics_months", cases.statistics_months, "24", 1, 120, "months of one answer"),
    N("case.login_failures", cases.login_failures, "5", 1, 100, "wrong passwords, then waiting"),
    N("case.login_wait_seconds", cases.login_wait_seconds, "60", 1, 86400,
      "the wait; doubles with each further failure"),
    N("case.clock_skew_seconds", cases.clock_skew_seconds, "120", 5, 3600,
      "age of a member's signed request"),

    S("notify.name_zh", notify.name_zh, "重庆医保",
      "who a notice says it is from: nothing that tells what the portal is for"),
    S("notify.name_en", notify.name_en, "Chongqing Medical Insurance", "the same in English"),
    S("notify.smtp_url", notify.smtp_url, "", "smtp://host:25; empty: no e-mail leaves"),
    S("notify.smtp_from", notify.smtp_from, "noreply@localhost", "sender address"),
    S("notify.smtp_user", notify.smtp_user, "", "empty: no login"),
    S("notify.smtp_password_file", notify.smtp_password_file, "", "first line is the password; or credential:NAME"),
    B("notify.smtp_tls", notify.smtp_tls, "true", "refuse to send without TLS"),
    S("notify.sms_driver", notify.sms_driver, "none", "none or kannel"),
    S("notify.sms_url", notify.sms_url, "http://127.0.0.1:13013/cgi-bin/sendsms",
      "Kannel's smsbox; the text travels in the URL: loopback only"),
    S("notify.sms_user", notify.sms_user, "", "user at the gateway"),
    S("notify.sms_password_file", notify.sms_password_file, "", "first line is the password; or credential:NAME"),
    S("notify.sms_from", notify.sms_from, "12393", "sender shown"),
    N("notify.delay_min_minutes", notify.delay_min_minutes, "30", 0, 10080,
      "notices of anonymous filings leave after a random delay: at least"),
    N("notify.delay_max_minutes", notify.delay_max_minutes, "90", 0, 10080, "and at most"),
    N("notify.attempts", notify.attempts, "8", 1, 100, "then it is given up, loudly"),
    N("notify.backoff_seconds", notify.backoff_seconds, "60", 1, 86400, "doubles"),
    N("notify.backoff_max_seconds", notify.backoff_max_seconds, "14400", 1, 604800, "longest"),
    N("notify.timeout_seconds", notify.timeout_seconds, "20", 1, 600, "one conversation"),
    N("notify.claim", notify.claim, "10", 1, 1000, "notices taken at once"),
    N("notify.lease_seconds", notify.lease_seconds, "120", 5, 3600, "hold on a claimed notice"),

    S("ops.listen", ops.listen, "127.0.0.1:9180", "/livez, /readyz, /metrics"),
    N("ops.stale_seconds", ops.stale_seconds, "10", 1, 3600, "a silent process is not ready"),

    N("supervisor.ready_seconds", supervisor.ready_seconds, "30", 1, 600,
      "a part that is not ready by then is restarted"),
    N("supervisor.stop_seconds", supervisor.stop_seconds, "15", 1, 600,
      "a part that has not ended by then is killed"),
    N("supervisor.restart_max_seconds", supervisor.restart_max_seconds, "30", 1, 3600,
      "longest wait before a part is started again"),
};

static void *field(struct dw_config *config, const struct setting *s)
{
    return (char *)config + s->offset;
}

static const struct setting *find(const char *key)
{
    for (size_t i = 0; i < DW_COUNT(settings); i++)
        if (strcmp(settings[i].key, key) == 0)
            return &settings[i];
    return NULL;
}

static void add_text(struct dw_texts *texts, const char *item, size_t len)
{
    texts->items = dw_realloc(texts->items, (texts->count + 1) * sizeof *texts->items);
    char *copy = dw_alloc(len + 1);
    memcpy(copy, item, len);
    texts->items[texts->count++] = copy;
}

static void free_texts(struct dw_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        dw_free(texts->items[i]);
    dw_free(texts->items);
    *texts = (struct dw_texts){0};
}

/* NULL, or what was wrong. */
static const char *set_value(struct dw_config *config, const struct setting *s, const char *value,
                             char *room, size_t room_len)
{
    void *at = field(config, s);
    if (s->kind == TEXT) {
        if (strlen(value) > (size_t)s->max || !dw_text_is_clean(value, strlen(value), "")) {
            snprintf(room, room_len, "expected a text of at most %lld bytes", (long long)s->max);
            return room;
        }
        dw_free(*(char **)at);
        *(char **)at = dw_strdup(value);
    } else if (s->kind == NUMBER) {
        char *end;
        errno = 0;
        long long v = strtoll(value, &end, 10);
        if (!*value || *end || errno || v < s->min || v > s->max) {
            snprintf(room, room_len, "expected a whole number from %lld to %lld, found \"%.40s\"",
                     (long long)s->min, (long long)s->max, value);
            return room;
        }
        *(int64_t *)at = v;
    } else if (s->kind == FLAG) {
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
            snprintf(room, room_len, "expected true or false, found \"%.40s\"", value);
            return room;
        }
        *(bool *)at = value[0] == 't';
    } else {
        free_texts(at);
        for (const char *p = value; *p;) {
            size_t len = strcspn(p, " ");
            if (len)
                add_text(at, p, len);
            p += len + (p[len] == ' ');
        }
    }
    return NULL;
}

void dw_config_defaults(struct dw_config *ret)
{
    char room[160];
    *ret = (struct dw_config){0};
    for (size_t i = 0; i < DW_COUNT(settings); i++)
        if (set_value(ret, &settings[i], settings[i].fallback, room, sizeof room))
            abort(); /* the table contradicts itself */
}

bool dw_config_set(struct dw_config *config, const char *key, const char *value)
{
    char room[160];
    const struct setting *s = find(key);
    return s && !set_value(config, s, value, room, sizeof room);
}

void dw_config_free(struct dw_config *config)
{
    for (size_t i = 0; i < DW_COUNT(settings); i++) {
        void *at = field(config, &settings[i]);
        if (settings[i].kind == TEXT)
            dw_free(*(char **)at);
        else if (settings[i].kind == LIST)
            free_texts(at);
    }
    dw_free(config->path);
    dw_free(config->folder);
    dw_free(config->lines);
    *config = (struct dw_config){0};
}

/* ---- reading ---- */

struct reading {
    struct dw_config *config;
    yaml_document_t *doc;
    const char *file;
    dw_config_problem *problem;
    void *arg;
    bool seen[DW_COUNT(settings)];
    int problems;
};

static void complain(struct reading *r, size_t line, const char *key, const char *problem)
{
    if (!line)
        line = (size_t)dw_config_line(r->config, key);
    r->problem(r->arg, r->file, (int)line, key, problem);
    r->problems++;
}

static const char *scalar(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool is_group(const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i < DW_COUNT(settings); i++)
        if (strncmp(settings[i].key, key, len) == 0 && settings[i].key[len] == '.')
            return true;
    return false;
}

static void read_list(struct reading *r, const struct setting *s, const yaml_node_t *node)
{
    struct dw_texts *texts = field(r->config, s);
    free_texts(texts);
    for (yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top; item++) {
        yaml_node_t *child = yaml_document_get_node(r->doc, *item);
        if (child->type != YAML_SCALAR_NODE || !*scalar(child) || strchr(scalar(child), ' ') ||
            texts->count >= (size_t)s->max) {
            complain(r, child->start_mark.line + 1, s->key,
                     "expected a list of at most 16 texts without spaces");
            return;
        }
        add_text(texts, scalar(child), strlen(scalar(child)));
    }
}

static void read_setting(struct reading *r, const struct setting *s, const yaml_node_t *key,
                         const yaml_node_t *value)
{
    char room[200];
    size_t line = key->start_mark.line + 1;
    if (r->seen[s - settings]) {
        complain(r, line, s->key, "the key stands here a second time");
        return;
    }
    r->seen[s - settings] = true;
    r->config->lines[s - settings] = (int)line;
    if (s->kind == LIST && value->type == YAML_SEQUENCE_NODE) {
        read_list(r, s, value);
    } else if (value->type != YAML_SCALAR_NODE || s->kind == LIST) {
        complain(r, line, s->key,
                 s->kind == LIST ? "expected a list: [a, b]" : "expected a single value");
    } else {
        const char *wrong = set_value(r->config, s, scalar(value), room, sizeof room);
        if (wrong)
            complain(r, line, s->key, wrong);
    }
}

static void read_mapping(struct reading *r, const yaml_node_t *node, const char *prefix)
{
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = yaml_document_get_node(r->doc, pair->key);
        yaml_node_t *value = yaml_document_get_node(r->doc, pair->value);
        char path[128];
        if (key->type != YAML_SCALAR_NODE) {
            complain(r, key->start_mark.line + 1, prefix, "expected a plain key");
            continue;
        }
        snprintf(path, sizeof path, "%s%s%.60s", prefix, *prefix ? "." : "", scalar(key));
        const struct setting *s = find(path);
        if (s)
            read_setting(r, s, key, value);
        else if (is_group(path) && value->type == YAML_MAPPING_NODE)
            read_mapping(r, value, path);
        else if (is_group(path) && value->type == YAML_SCALAR_NODE && !*scalar(value))
            continue; /* a group whose keys are all commented out */
        else
            complain(r, key->start_mark.line + 1, path,
                     is_group(path) ? "expected keys below it"
                                    : "unknown key; `dengwen init` writes a file with all keys");
    }
}

static bool set_folder(struct dw_config *config, const char *path)
{
    config->path = realpath(path, NULL);
    if (!config->path)
        return false;
    config->folder = dw_strdup(config->path);
    char *slash = strrchr(config->folder, '/');
    slash[slash == config->folder] = 0;
    return true;
}

static void check_endpoints(struct reading *r, const char *key, const struct dw_texts *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (strncmp(endpoints->items[i], "tcp://", 6) != 0)
            complain(r, 0, key, "expected tcp://address:port");
}

/* Rules across keys, told all at once. */
static void check(struct reading *r)
{
    const struct dw_config *c = r->config;
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    bool known = false;
    for (size_t i = 0; i < DW_COUNT(levels); i++)
        known |= strcmp(c->log_level, levels[i]) == 0;
    if (!known)
        complain(r, 0, "log_level", "expected error, warn, info or debug");
    if ((strncmp(c->store.uri, "sqlite:", 7) != 0 || !c->store.uri[7]) &&
        strncmp(c->store.uri, "mongodb://", 10) != 0)
        complain(r, 0, "store.uri", "expected sqlite:FILE or mongodb://HOST/DATABASE");
    if (strcmp(c->web.receipt_after, "queue") != 0 && strcmp(c->web.receipt_after, "store") != 0)
        complain(r, 0, "web.receipt_after", "expected queue or store");
    if (!*c->cases.chain || strchr(c->cases.chain, '/') || strlen(c->cases.chain) > 60)
        complain(r, 0, "case.chain", "expected a name of at most 60 letters without /");
    if (c->notify.delay_max_minutes < c->notify.delay_min_minutes)
        complain(r, 0, "notify.delay_max_minutes", "expected at least notify.delay_min_minutes");
    if (strcmp(c->notify.sms_driver, "none") != 0 && strcmp(c->notify.sms_driver, "kannel") != 0)
        complain(r, 0, "notify.sms_driver", "expected none or kannel");
    if (*c->notify.smtp_url && strncmp(c->notify.smtp_url, "smtp://", 7) != 0 &&
        strncmp(c->notify.smtp_url, "smtps://", 8) != 0)
        complain(r, 0, "notify.smtp_url", "expected smtp://host:port or smtps://host:port");
    if (c->web.max_file_bytes > c->web.max_files_bytes)
        complain(r, 0, "web.max_files_bytes", "expected at least web.max_file_bytes");
    if (c->broker.heartbeat_ms * c->broker.liveness >= c->queue.lease_seconds * 1000)
        complain(r, 0, "queue.lease_seconds",
                 "expected more than broker.heartbeat_ms times broker.liveness");
    if (c->notify.lease_seconds <= DW_NOTIFY_CONVERSATIONS * c->notify.timeout_seconds)
        complain(r, 0, "notify.lease_seconds",
                 "expected more than three times notify.timeout_seconds");
    if (c->queue.retry_min_seconds > c->queue.retry_max_seconds)
        complain(r, 0, "queue.retry_min_seconds", "expected at most queue.retry_max_seconds");
    check_endpoints(r, "broker.bind", &c->broker.bind);
    check_endpoints(r, "broker.guests", &c->broker.guests);
    if (c->broker.bind.count + c->broker.guests.count > DW_BROKER_ADDRESSES_MAX)
        complain(r, 0, "broker.guests", "expected at most 16 addresses together with broker.bind");
}

bool dw_config_load(const char *path, struct dw_config *ret, dw_config_problem *problem, void *arg)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    struct reading r = {.config = ret, .doc = &doc, .file = path, .problem = problem, .arg = arg};

    dw_config_defaults(ret);
    ret->lines = dw_alloc(DW_COUNT(settings) * sizeof *ret->lines);
    FILE *in = fopen(path, "re");
    if (!in || !set_folder(ret, path)) {
        char why[200];
        snprintf(why, sizeof why, "cannot be read: %s; expected a file that `dengwen init` wrote",
                 strerror(errno));
        complain(&r, 0, "", why);
        if (in)
            fclose(in);
        return false;
    }
    yaml_parser_initialize(&parser);
    yaml_parser_set_input_file(&parser, in);
    if (!yaml_parser_load(&parser, &doc)) {
        complain(&r, parser.problem_mark.line + 1, "",
                 parser.problem ? parser.problem : "not YAML");
    } else {
        yaml_node_t *root = yaml_document_get_root_node(&doc);
        if (root && root->type == YAML_MAPPING_NODE)
            read_mapping(&r, root, "");
        else if (root)
            complain(&r, 1, "", "expected keys and values");
        if (!r.problems)
            check(&r);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    fclose(in);
    return r.problems == 0;
}

int dw_config_line(const struct dw_config *config, const char *key)
{
    const struct setting *s = find(key);
    return s && config->lines ? config->lines[s - settings] : 0;
}

void dw_config_problem_print(void *arg, const char *file, int line, const char *key,
                             const char *problem)
{
    (void)arg;
    fprintf(stderr, "%s:%d: %s%s%s\n", file, line, key, *key ? ": " : "", problem);
}

const char *dw_config_path(const char *option)
{
    const char *env = getenv("DENGWEN_CONFIG");
    return option ? option : env && *env ? env : "/etc/dengwen/dengwen.yaml";
}

/* ---- writing ---- */

static void write_scalar(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static bool is_default(const struct dw_config *config, const struct setting *s)
{
    struct dw_config *fresh = dw_alloc(sizeof *fresh);
    dw_config_defaults(fresh);
    const void *a = (const char *)config + s->offset, *b = field(fresh, s);
    bool same = true;
    if (s->kind == TEXT) {
        same = strcmp(*(char *const *)a, *(char *const *)b) == 0;
    } else if (s->kind == NUMBER) {
        same = *(const int64_t *)a == *(const int64_t *)b;
    } else if (s->kind == FLAG) {
        same = *(const bool *)a == *(const bool *)b;
    } else {
        const struct dw_texts *x = a, *y = b;
        same = x->count == y->count;
        for (size_t i = 0; same && i < x->count; i++)
            same = strcmp(x->items[i], y->items[i]) == 0;
    }
    dw_config_free(fresh);
    dw_free(fresh);
    return same;
}

static void write_value(FILE *out, const struct dw_config *config, const struct setting *s)
{
    const void *at = (const char *)config + s->offset;
    if (s->kind == TEXT) {
        write_scalar(out, *(char *const *)at);
    } else if (s->kind == NUMBER) {
        fprintf(out, "%lld", (long long)*(const int64_t *)at);
    } else if (s->kind == FLAG) {
        fputs(*(const bool *)at ? "true" : "false", out);
    } else {
        const struct dw_texts *texts = at;
        fputc('[', out);
        for (size_t i = 0; i < texts->count; i++) {
            if (i)
                fputs(", ", out);
            write_scalar(out, texts->items[i]);
        }
        fputc(']', out);
    }
}

void dw_config_write(const struct dw_config *config, FILE *out)
{
    char group[64] = "";
    fputs("# Settings of Dengwen.  A line that begins with # shows the default.\n"
          "# Relative paths are relative to this folder.  `dengwen check-config` checks the file.\n",
          out);
    for (size_t i = 0; i < DW_COUNT(settings); i++) {
        const struct setting *s = &settings[i];
        const char *dot = strchr(s->key, '.');
        const char *name = dot ? dot + 1 : s->key;
        size_t len = dot ? (size_t)(dot - s->key) : 0;
        if (len != strlen(group) || strncmp(group, s->key, len) != 0) {
            snprintf(group, sizeof group, "%.*s", (int)len, s->key);
            fprintf(out, "\n%s%s", group, *group ? ":\n" : "");
        }
        const char *indent = *group ? "  " : "";
        fprintf(out, "%s# %s", indent, s->meaning);
        if (s->kind == NUMBER && s->max < INT64_MAX)
            fprintf(out, " (%lld to %lld)", (long long)s->min, (long long)s->max);
        fprintf(out, "\n%s%s%s: ", indent, is_default(config, s) ? "#" : "", name);
        write_value(out, config, s);
        fputc('\n', out);
    }
}

/* ---- places ---- */

static char *join(const char *folder, const char *name)
{
    size_t len = strlen(folder) + strlen(name) + 2;
    char *path = dw_alloc(len);
    snprintf(path, len, "%s/%s", folder, name);
    return path;
}

char *dw_config_resolve(const struct dw_config *config, const char *path)
{
    return *path == '/' || !config->folder ? dw_strdup(path) : join(config->folder, path);
}

uint8_t *dw_config_secret(const struct dw_config *config, const char *value, size_t max,
                          size_t *ret_len)
{
    bool given = strncmp(value, DW_CREDENTIAL, strlen(DW_CREDENTIAL)) == 0;
    const char *name = given ? value + strlen(DW_CREDENTIAL) : value;
    const char *folder = given ? getenv("CREDENTIALS_DIRECTORY") : NULL;
    if (given && (!folder || !*name || strchr(name, '/') || *name == '.')) {
        errno = ENOENT;
        return NULL;
    }
    char *path = given ? join(folder, name) : dw_config_resolve(config, value);
    /* systemd lets our user in by an access list, which looks like a permission of the group. */
    uint8_t *secret = dw_read_file(path, max, !given, ret_len);
    dw_free(path);
    return secret;
}

static char *below(const struct dw_config *config, const char *folder, const char *name)
{
    char *base = dw_config_resolve(config, folder);
    char *path = join(base, name);
    dw_free(base);
    return path;
}

char *dw_config_state(const struct dw_config *config, const char *name)
{
    return below(config, config->state, name);
}

char *dw_config_run(const struct dw_config *config, const char *name)
{
    return below(config, config->run, name);
}

char *dw_config_data_folder(const struct dw_config *config)
{
    if (*config->data)
        return dw_config_resolve(config, config->data);
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    /* bin/dengwen, libexec/dengwen/dengwen-web: the first share/dengwen on the way up is ours */
    while (len > 0) {
        exe[len] = 0;
        char *slash = strrchr(exe, '/');
        if (!slash)
            break;
        *slash = 0;
        len = slash - exe;
        char *path = join(exe, "share/dengwen");
        if (access(path, R_OK) == 0)
            return path;
        dw_free(path);
    }
    return dw_strdup(DW_DATA_FOLDER);
}
