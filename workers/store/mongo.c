/* mongo.c - the driver for MongoDB: connections, and what errors mean.
 *
 * Writes wait for a majority and its journals; reads see what a majority has.  The library's own
 * second try of a write is off: after an error that leaves a write in doubt the caller looks, which
 * does not depend on what a server remembers of sessions. */
#include "mongo_private.h"

#include "dw/clock.h"
#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    PASSWORD_MAX = 1024,
    HEARTBEAT_MS = 1000, /* so that a new primary is seen well within store.select_ms */
    TELL_MS = 1000,
};

static pthread_once_t started = PTHREAD_ONCE_INIT;

/* What libmongoc has to say may name hosts and queries; errors reach us as values anyway. */
static void say_nothing(mongoc_log_level_t level, const char *domain, const char *message, void *arg)
{
    (void)level;
    (void)domain;
    (void)message;
    (void)arg;
}

static void start_library(void)
{
    mongoc_log_set_handler(say_nothing, NULL);
    mongoc_init();
}

/* ---- errors ---- */

enum {
    BAD_VALUE = 2, UNAUTHORIZED = 13, AUTHENTICATION_FAILED = 18, VALIDATION_FAILED = 121,
    OUT_OF_DISK = 14031,
    NOT_PRIMARY = 10107, NOT_PRIMARY_NO_SECONDARY = 13435, NOT_PRIMARY_OR_SECONDARY = 13436,
    TOO_LARGE = 10334, TOO_LARGE_2 = 17419, TOO_LARGE_3 = 17420,
};

static const struct {
    int code;
    enum dw_result result;
} server_codes[] = {
    /* refused before anything was done */
    {NOT_PRIMARY, DW_RETRY},
    {NOT_PRIMARY_NO_SECONDARY, DW_RETRY},
    {NOT_PRIMARY_OR_SECONDARY, DW_RETRY},
    {UNAUTHORIZED, DW_RETRY},
    {AUTHENTICATION_FAILED, DW_RETRY},
    {OUT_OF_DISK, DW_RETRY},
    /* and would be again */
    {VALIDATION_FAILED, DW_INVALID},
    {TOO_LARGE, DW_INVALID},
    {TOO_LARGE_2, DW_INVALID},
    {TOO_LARGE_3, DW_INVALID},
};

static bool was_not_sent(const bson_error_t *e)
{
    return e->domain == MONGOC_ERROR_SERVER_SELECTION || e->domain == MONGOC_ERROR_CLIENT ||
           (e->domain == MONGOC_ERROR_STREAM && (e->code == MONGOC_ERROR_STREAM_NAME_RESOLUTION ||
                                                 e->code == MONGOC_ERROR_STREAM_CONNECT));
}

/* Only for server errors and bulk errors: other domains number their errors as they like. */
static bool is_of_server(const bson_error_t *e)
{
    return e->domain == MONGOC_ERROR_SERVER || e->domain == MONGOC_ERROR_COMMAND ||
           e->domain == MONGOC_ERROR_COLLECTION;
}

enum dw_result mongo_outcome(const bson_error_t *e)
{
    if (was_not_sent(e))
        return DW_RETRY;
    if (e->domain == MONGOC_ERROR_BSON)
        return DW_INVALID;
    for (size_t i = 0; is_of_server(e) && i < DW_COUNT(server_codes); i++)
        if (server_codes[i].code == (int)e->code)
            return server_codes[i].result;
    return DW_UNCERTAIN;
}

/* A server that fails fails every call. */
static bool may_tell(void)
{
    static int64_t told;
    int64_t now = dw_monotonic_ms(), last = __atomic_load_n(&told, __ATOMIC_RELAXED);
    return now - last >= TELL_MS && __atomic_compare_exchange_n(&told, &last, now, false,
                                                                __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* What a server says of a query or a write may quote it. */
void mongo_tell(const char *doing, const bson_error_t *e)
{
    static const struct {
        uint32_t code;
        const char *what;
    } known[] = {{BAD_VALUE, "an index is missing: dengwen init-db makes it"},
                 {OUT_OF_DISK, "the server's disk is full: make room there"},
                 {UNAUTHORIZED, "the user may not do that"}};
    const char *what = was_not_sent(e)                       ? e->message
                       : is_of_server(e)                     ? "the server cannot: its log says why"
                       : e->domain == MONGOC_ERROR_WRITE_CONCERN ? "no majority had it in time"
                                                             : "no answer came";
    for (size_t i = 0; is_of_server(e) && i < DW_COUNT(known); i++)
        if (known[i].code == e->code)
            what = known[i].what;
    if (may_tell())
        dw_log(DW_WARN, "store.mongodb", "%s (%u.%u): %s", doing, e->domain, e->code, what);
}

enum dw_result mongo_read_failed(const bson_error_t *e)
{
    mongo_tell("reading", e);
    return DW_RETRY;
}

const char *mongo_why_away(const struct mongo *m, const bson_error_t *e)
{
    bool tls = mongoc_uri_get_tls(m->uri);
    if (strstr(e->message, "certificate verify failed"))
        return "the server's certificate is of another name, or of nobody whom tlsCAFile, or without "
               "it this machine, trusts";
    if (strstr(e->message, "initialize TLS"))
        return "what tlsCAFile or tlsCertificateKeyFile names cannot be used";
    if (tls)
        return "the server does not answer, or not with TLS";
    if (strstr(e->message, "Failed to read"))
        return "the server does not answer, or only with TLS (tls=true)";
    return "the server does not answer";
}

/* ---- what the library's monitors see ---- */

static struct mongo_peer *peer(struct mongo *m, const mongoc_host_list_t *host)
{
    size_t i = 0;
    while (i < DW_COUNT(m->peers) - 1 && *m->peers[i].name &&
           strcmp(m->peers[i].name, host->host_and_port) != 0)
        i++;
    snprintf(m->peers[i].name, sizeof m->peers[i].name, "%s", host->host_and_port);
    return &m->peers[i];
}

static void set_trouble(struct mongo *m, const mongoc_host_list_t *host, const bson_error_t *e)
{
    pthread_mutex_lock(&m->lock);
    struct mongo_peer *p = peer(m, host);
    bool is_new = strcmp(p->trouble, e->message) != 0;
    snprintf(p->trouble, sizeof p->trouble, "%s", e->message);
    pthread_mutex_unlock(&m->lock);
    if (is_new && *e->message)
        dw_log(DW_WARN, "store.mongodb", "%s: %s: %s", host->host_and_port, mongo_why_away(m, e),
               e->message);
}

/* They try every second: what stays the same is told once. */
static void heartbeat_failed(const mongoc_apm_server_heartbeat_failed_t *event)
{
    bson_error_t error;
    mongoc_apm_server_heartbeat_failed_get_error(event, &error);
    set_trouble(mongoc_apm_server_heartbeat_failed_get_context(event),
                mongoc_apm_server_heartbeat_failed_get_host(event), &error);
}

static void heartbeat_succeeded(const mongoc_apm_server_heartbeat_succeeded_t *event)
{
    static const bson_error_t none;
    set_trouble(mongoc_apm_server_heartbeat_succeeded_get_context(event),
                mongoc_apm_server_heartbeat_succeeded_get_host(event), &none);
}

static void tell_what_they_see(struct mongo *m)
{
    mongoc_apm_callbacks_t *callbacks = mongoc_apm_callbacks_new();
    mongoc_apm_set_server_heartbeat_failed_cb(callbacks, heartbeat_failed);
    mongoc_apm_set_server_heartbeat_succeeded_cb(callbacks, heartbeat_succeeded);
    mongoc_client_pool_set_apm_callbacks(m->pool, callbacks, m);
    mongoc_apm_callbacks_destroy(callbacks);
}

/* ---- calls ---- */

static enum dw_result prepare(struct mongo_call *call, struct dw_error *err)
{
    struct mongo *m = call->mongo;
    if (__atomic_load_n(&m->prepared, __ATOMIC_ACQUIRE))
        return DW_OK;
    enum dw_result result = mongo_prepare_schema(call, err);
    __atomic_store_n(&m->prepared, result == DW_OK, __ATOMIC_RELEASE);
    return result;
}

/* What the library's monitors saw last; asks nobody. */
static bool knows_a_primary(const struct mongo_call *call)
{
    static const char *const writable[] = {"RSPrimary", "Standalone", "Mongos", "LoadBalancer"};
    size_t count;
    bool known = false;
    mongoc_server_description_t **seen = mongoc_client_get_server_descriptions(call->client, &count);
    for (size_t i = 0; i < count; i++)
        for (size_t w = 0; w < DW_COUNT(writable); w++)
            known = known || strcmp(mongoc_server_description_type(seen[i]), writable[w]) == 0;
    mongoc_server_descriptions_destroy_all(seen, count);
    return known;
}

bool mongo_reaches(const struct mongo_call *call)
{
    struct mongo *m = call->mongo;
    bson_error_t error;
    bool known = knows_a_primary(call);
    if (!known && !__atomic_load_n(&m->missed, __ATOMIC_ACQUIRE)) {
        mongoc_server_description_t *found =
            mongoc_client_select_server(call->client, true, NULL, &error);
        known = found != NULL;
        mongoc_server_description_destroy(found);
    }
    __atomic_store_n(&m->missed, !known, __ATOMIC_RELEASE);
    return known;
}

bool mongo_begin(struct mongo *m, struct mongo_call *call)
{
    struct dw_error err = {0};
    *call = (struct mongo_call){m, mongoc_client_pool_pop(m->pool)};
    if (!call->client)
        return false;
    if (!mongo_reaches(call)) {
        mongo_end(call);
        return false;
    }
    /* A store that was away when we started is prepared by the first call that reaches it. */
    if (__atomic_load_n(&m->prepared, __ATOMIC_ACQUIRE) || prepare(call, &err) == DW_OK)
        return true;
    if (may_tell())
        dw_log(DW_WARN, "store.mongodb", "%s", err.text);
    mongo_end(call);
    return false;
}

void mongo_end(struct mongo_call *call)
{
    if (call->client)
        mongoc_client_pool_push(call->mongo->pool, call->client);
    call->client = NULL;
}

mongoc_collection_t *mongo_collection(const struct mongo_call *call, const char *name)
{
    return mongoc_client_get_collection(call->client, call->mongo->database, name);
}

/* A server whose disk failed may still say that it is there.  "isMaster" is understood by all, "hello" from
 * 3.6.21 and 4.4 on. */
static enum dw_result ping(void *self)
{
    struct mongo_call call;
    bson_error_t error;
    bson_t reply;
    if (!mongo_begin(self, &call))
        return DW_RETRY;
    bson_t *ask = BCON_NEW("isMaster", BCON_INT32(1));
    bool good = mongoc_client_command_simple(call.client, "admin", ask, NULL, &reply, &error);
    bson_iter_t at;
    good = good && bson_iter_init_find(&at, &reply, "ismaster") && bson_iter_bool(&at) &&
           mongo_can_read(&call, &error);
    bson_destroy(&reply);
    bson_destroy(ask);
    mongo_end(&call);
    return good ? DW_OK : DW_RETRY;
}

/* ---- opening ---- */

static void close_store(void *self)
{
    struct mongo *m = self;
    if (m->pool)
        mongoc_client_pool_destroy(m->pool);
    if (m->uri)
        mongoc_uri_destroy(m->uri);
    pthread_mutex_destroy(&m->lock);
    dw_free(m->database);
    dw_free(m);
}

static enum dw_result read_password(struct mongo *m, struct dw_error *err)
{
    const struct dw_config *c = m->config;
    if (mongoc_uri_get_password(m->uri) ||
        mongoc_uri_get_option_as_utf8(m->uri, MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD, NULL))
        return dw_invalid(err, "store.uri", "expected no password in it: settings are read by "
                                            "many; put it into a file, store.password_file");
    if (!*c->store.password_file)
        return DW_OK;
    if (!mongoc_uri_get_username(m->uri))
        return dw_invalid(err, "store.uri", "expected a user, as there is a store.password_file");
    char password[PASSWORD_MAX + 1];
    size_t len;
    uint8_t *bytes = dw_config_secret(c, c->store.password_file, PASSWORD_MAX, &len);
    if (!bytes)
        return dw_invalid(err, "store.password_file",
                          "expected a file that only its owner may read, of at most %d bytes, or "
                          "credential:NAME of the service manager",
                          PASSWORD_MAX);
    memcpy(password, bytes, len);
    dw_wipe(bytes, len);
    dw_free(bytes);
    password[len] = 0;
    password[strcspn(password, "\r\n")] = 0;
    bool good = mongoc_uri_set_password(m->uri, password);
    dw_wipe(password, sizeof password);
    return good ? DW_OK : dw_invalid(err, "store.password_file", "expected a password in UTF-8");
}

/* The library would say so only by never reaching a server. */
static enum dw_result check_files(const struct mongo *m, struct dw_error *err)
{
    static const char *const options[] = {MONGOC_URI_TLSCAFILE, MONGOC_URI_TLSCERTIFICATEKEYFILE};
    for (size_t i = 0; i < DW_COUNT(options); i++) {
        const char *file = mongoc_uri_get_option_as_utf8(m->uri, options[i], NULL);
        if (file && access(file, R_OK) != 0)
            return dw_invalid(err, "store.uri", "%s: %s cannot be read", options[i], file);
    }
    return DW_OK;
}

/* Encrypted to whoever answers is not protected. */
static enum dw_result check_trust(const struct mongo *m, struct dw_error *err)
{
    static const char *const options[] = {MONGOC_URI_TLSINSECURE, MONGOC_URI_TLSALLOWINVALIDCERTIFICATES,
                                          MONGOC_URI_TLSALLOWINVALIDHOSTNAMES};
    for (size_t i = 0; i < DW_COUNT(options); i++)
        if (mongoc_uri_get_option_as_bool(m->uri, options[i], false))
            return dw_invalid(err, "store.uri", "%s: expected a server that proves who it is: name its "
                              "authority by tlsCAFile instead", options[i]);
    return DW_OK;
}

static enum dw_result read_uri(struct mongo *m, const char *uri, struct dw_error *err)
{
    bson_error_t error;
    m->uri = mongoc_uri_new_with_error(uri, &error);
    if (!m->uri) /* its message quotes the URI */
        return dw_invalid(err, "store.uri",
                          "expected mongodb://[USER@]HOST[,HOST...]/DATABASE?OPTION=VALUE&...");
    const char *database = mongoc_uri_get_database(m->uri);
    if (!database || !*database)
        return dw_invalid(err, "store.uri", "expected a database: mongodb://.../DATABASE");
    m->database = dw_strdup(database);
    enum dw_result result = check_files(m, err);
    if (result == DW_OK)
        result = check_trust(m, err);
    return result == DW_OK ? read_password(m, err) : result;
}

static bool set_limits(struct mongo *m)
{
    const struct dw_config *c = m->config;
    mongoc_write_concern_t *w = mongoc_write_concern_new();
    mongoc_read_concern_t *r = mongoc_read_concern_new();
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_write_concern_set_wmajority(w, (int32_t)c->store.wtimeout_ms);
    if (DW_BUG("one-is-enough"))
        mongoc_write_concern_set_w(w, 1);
    mongoc_write_concern_set_journal(w, true);
    mongoc_read_concern_set_level(r, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    mongoc_uri_set_write_concern(m->uri, w);
    mongoc_uri_set_read_concern(m->uri, r);
    mongoc_uri_set_read_prefs_t(m->uri, primary); /* others may not have yet what was just written */
    mongoc_write_concern_destroy(w);
    mongoc_read_concern_destroy(r);
    mongoc_read_prefs_destroy(primary);
    return mongoc_uri_set_appname(m->uri, "dengwen") &&
           mongoc_uri_set_option_as_bool(m->uri, MONGOC_URI_RETRYWRITES, false) &&
           mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                          (int32_t)c->store.select_ms) &&
           mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_CONNECTTIMEOUTMS,
                                          (int32_t)c->store.select_ms) &&
           mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                          (int32_t)c->store.socket_ms) &&
           mongoc_uri_set_option_as_int32(
               m->uri, MONGOC_URI_HEARTBEATFREQUENCYMS,
               mongoc_uri_get_option_as_int32(m->uri, MONGOC_URI_HEARTBEATFREQUENCYMS,
                                              HEARTBEAT_MS)) &&
           mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_WAITQUEUETIMEOUTMS,
                                          (int32_t)c->store.select_ms) &&
           mongoc_uri_set_option_as_int32(m->uri, MONGOC_URI_MAXPOOLSIZE,
                                          (int32_t)c->store.pool);
}

static enum dw_result prepare_pool(const char *uri, enum dw_store_use use,
                                   const struct dw_config *config, struct mongo **ret,
                                   struct dw_error *err)
{
    struct mongo *m = dw_alloc(sizeof *m);
    bson_error_t error;
    pthread_once(&started, start_library);
    pthread_mutex_init(&m->lock, NULL);
    m->config = config;
    m->use = use;
    *ret = m;
    enum dw_result result = read_uri(m, uri, err);
    if (result == DW_OK && !set_limits(m))
        result = dw_invalid(err, "store.uri", "options that contradict each other");
    if (result == DW_OK && !(m->pool = mongoc_client_pool_new_with_error(m->uri, &error)))
        result = dw_invalid(err, "store.uri", "%s", error.message);
    if (result == DW_OK)
        mongoc_client_pool_set_error_api(m->pool, MONGOC_ERROR_API_VERSION_2);
    return result;
}

static enum dw_result open_store(const char *uri, enum dw_store_use use,
                                 const struct dw_config *config, void **ret, struct dw_error *err)
{
    struct mongo *m;
    enum dw_result result = prepare_pool(uri, use, config, &m, err);
    if (result == DW_OK) {
        if (use == DW_STORE_SERVE)
            tell_what_they_see(m);
        struct mongo_call call = {m, mongoc_client_pool_pop(m->pool)};
        result = call.client ? prepare(&call, err) : DW_RETRY;
        mongo_end(&call);
    }
    m->missed = result == DW_RETRY;
    if (m->missed && use == DW_STORE_SERVE) { /* it comes later */
        dw_log(DW_WARN, "store.mongodb", "%s", err->text);
        result = DW_OK;
    }
    if (result == DW_OK)
        *ret = m;
    else
        close_store(m);
    return result;
}

static enum dw_result make(const char *uri, const struct dw_config *config,
                           const struct dw_progress *progress, int *from, int *to,
                           struct dw_error *err)
{
    struct mongo *m;
    *to = dw_mongo_schema.count;
    enum dw_result result = prepare_pool(uri, DW_STORE_SERVE, config, &m, err);
    if (result == DW_OK) {
        struct mongo_call call = {m, mongoc_client_pool_pop(m->pool)};
        result = call.client ? mongo_make_schema(&call, progress, from, err) : DW_RETRY;
        mongo_end(&call);
    }
    close_store(m);
    return result;
}

const struct dw_store_driver dw_store_mongo = {
    .scheme = "mongodb://",
    .whole_uri = true,
    .open = open_store,
    .make = make,
    .close = close_store,
    .ping = ping,
    .apply = mongo_apply,
    .get_case = mongo_get_case,
    .id_of_handle = mongo_id_of_handle,
    .id_of_reference = mongo_id_of_reference,
    .get_object = mongo_get_object,
    .worklist = mongo_worklist,
    .due = mongo_due,
    .get_record = mongo_get_record,
    .records = mongo_records,
    .audit_last = mongo_audit_last,
    .audit_read = mongo_audit_read,
    .counts = mongo_counts,
    .each_case = mongo_each_case,
    .walk = mongo_walk,
};
