/* mongo_private.h - what the files of the MongoDB driver share.
 *
 * mongo.c connects, mongo_schema.c makes collections and indexes, mongo_write.c does steps,
 * mongo_read.c answers questions. */
#ifndef DW_STORE_MONGO_PRIVATE_H
#define DW_STORE_MONGO_PRIVATE_H

#include "driver.h"

#include <limits.h>
#include <mongoc/mongoc.h>
#include <pthread.h>

enum { MONGO_NO_DUE = INT_MAX, MONGO_OBJECT_KEY = 20 };

/* One server, and why it cannot be reached; "" when it can. */
struct mongo_peer {
    char name[320], trouble[512];
};

struct mongo {
    const struct dw_config *config;
    enum dw_store_use use;
    mongoc_uri_t *uri;
    mongoc_client_pool_t *pool;
    char *database;
    bool prepared; /* the server was seen, and its schema is ours */
    bool missed;   /* the last wait for a primary was in vain, and none was seen since */
    pthread_mutex_t lock;
    struct mongo_peer peers[8]; /* more of them share the last */
};

/* One client for one call; NULL: none is free, nothing was sent. */
struct mongo_call {
    struct mongo *mongo;
    mongoc_client_t *client;
};
bool mongo_begin(struct mongo *m, struct mongo_call *call);
/* An election, or one broken connection, is waited out.  A server that did not come in that time fails
 * every call at once until it is seen again: who calls also has a heartbeat to keep, and many who wait
 * for an answer.  Also for who asks again and again within one call. */
bool mongo_reaches(const struct mongo_call *call);
void mongo_end(struct mongo_call *call);
mongoc_collection_t *mongo_collection(const struct mongo_call *call, const char *name);

/* What an error says about a write: RETRY when it certainly did not happen, UNCERTAIN when it may
 * have, INVALID when it never can. */
enum dw_result mongo_outcome(const bson_error_t *error);
/* The same for a read: RETRY. */
enum dw_result mongo_read_failed(const bson_error_t *error);
/* Writes down what went wrong, at most once a second. */
void mongo_tell(const char *doing, const bson_error_t *error);

/* What an error of not reaching the server means, for who has to do something about it. */
const char *mongo_why_away(const struct mongo *m, const bson_error_t *error);

/* ---- mongo_schema.c ---- */

/* An empty place becomes a store, where that is wanted; what is there must be ours, of this version,
 * finished, and on a server that keeps what it acknowledges.  RETRY: the server is away. */
enum dw_result mongo_prepare_schema(struct mongo_call *call, struct dw_error *err);
/* Reads one small document. */
bool mongo_can_read(struct mongo_call *call, bson_error_t *error);
/* Makes what is missing, migrates what is older. */
enum dw_result mongo_make_schema(struct mongo_call *call, const struct dw_progress *progress,
                                 int *from, struct dw_error *err);

/* Every index a query uses, by name: queries say which one they mean. */
extern const char mongo_cases_all[], mongo_cases_open[], mongo_cases_mine[], mongo_cases_others[],
    mongo_cases_others_open[], mongo_cases_timer[], mongo_cases_notice[], mongo_cases_fold[],
    mongo_by_id[];

/* ---- mongo_write.c, mongo_read.c ---- */

void mongo_apply(void *self, struct dw_store_step *const *steps, size_t count);

void mongo_append_id(bson_t *doc, const char *name, const uint8_t id[16]);
void mongo_object_key(uint8_t key[MONGO_OBJECT_KEY], const uint8_t id[16], int32_t part);
/* "staff/li", "staff/00000000000000000012" */
void mongo_record_key(struct dw_buf *out, const char *collection, const char *key);
void mongo_audit_key(char out[128], const char *chain, int64_t seq);

enum dw_result mongo_get_case(void *self, const uint8_t id[16], struct dw_buf *buf,
                              int64_t *version);
enum dw_result mongo_id_of_handle(void *self, const uint8_t handle[16], uint8_t id[16]);
enum dw_result mongo_id_of_reference(void *self, const char *reference, uint8_t id[16]);
enum dw_result mongo_get_object(void *self, const uint8_t id[16], int32_t part,
                                struct dw_buf *buf);
enum dw_result mongo_worklist(void *self, const struct dw_store_query *query,
                              struct dw_arena *arena, struct dw_store_row *rows, size_t *count);
enum dw_result mongo_due(void *self, enum dw_store_due which, dw_time now, size_t limit,
                         uint8_t (*ids)[16], size_t *count);
enum dw_result mongo_get_record(void *self, const char *collection, const char *key,
                                struct dw_buf *buf, int64_t *version);
enum dw_result mongo_records(void *self, const char *collection, const char *prefix,
                             dw_store_each *each, void *arg);
enum dw_result mongo_audit_last(void *self, const char *chain, int64_t *seq, struct dw_buf *buf);
enum dw_result mongo_audit_read(void *self, const char *chain, int64_t from, size_t limit,
                                dw_store_each *each, void *arg);
enum dw_result mongo_counts(void *self, struct dw_store_counts *ret);
enum dw_result mongo_each_case(void *self, dw_store_each *each, void *arg);
enum dw_result mongo_walk(void *self, enum dw_store_table table, const struct dw_store_entry *after,
                          size_t limit, dw_store_walker *walker, void *arg);

#endif
