/* intake_private.h - what the intake's files share. */
#ifndef DW_INTAKE_PRIVATE_H
#define DW_INTAKE_PRIVATE_H

#include "dw/gate.h"
#include "dw/intake.h"
#include "dw/keyd.h"
#include "dw/putting.h"
#include "dw/wire.h"

#include <pthread.h>
#include <stdatomic.h>

enum { INTAKE_ARENA_MAX = 64 * 1024 * 1024, STRETCHES_MAX = 256 };

struct dw_intake {
    const struct dw_config *config;
    const char *role;
    struct dw_directory_watch *directory;
    struct dw_bus *bus;
    struct dw_keyd *keyd;
    /* For the memory-hard step, as many at once as `memory` has; taken: NULL. */
    struct dw_gate stretching;
    _Atomic(void *) memory[STRETCHES_MAX];
    struct dw_signer signer;
    uint8_t *secret; /* of filing ids and receipts, locked */
    struct dw_calendar *calendar;
    struct dw_rules *rules;
    struct dw_catalogue *catalogue;
    struct dw_routing *routing;
};

/* Secrets of one request, in locked memory. */
struct secrets {
    uint8_t y[DW_Y_LEN], asked[32], h[32];
    struct dw_receipt_keys receipt;
    uint8_t r[DW_ROOT_LEN], p[DW_ROOT_LEN], c[DW_ROOT_LEN];
};
struct secrets *secrets_new(void); /* NULL: no locked memory */
void secrets_free(struct secrets *s);

/* From the digits to the receipt's keys: the memory-hard step, then keyd. */
enum dw_result open_receipt(struct dw_intake *intake, const struct dw_directory *dir,
                            const char *digits, struct secrets *s);

/* What the case worker knows of the receipt: 200 with the view of the case, 404. */
enum dw_result ask_case(struct dw_intake *intake, const struct secrets *s,
                        struct dw_bus_answer *ret);

/* What a queue that had no room said: when to come again. */
int retry_seconds_of(const struct dw_bus_answer *refused);

struct dw_upload {
    struct dw_intake *intake;
    pthread_mutex_t lock;
    void (*more)(void *arg);
    void *arg;
    int users;    /* the owner, and each chunk on its way */
    int on_way;
    bool failed;  /* a chunk was refused or lost */
    int retry_seconds;
    size_t broker;
    uint8_t attempt[DW_ID_LEN];
    uint32_t parts;
    struct dw_file_writer *writer;
    int64_t size;
    struct dw_manifest manifest;    /* keys of files: in locked memory */
    struct dw_object_ref *refs;
    char *names[DW_MANIFEST_FILES_MAX], *types[DW_MANIFEST_FILES_MAX];
};
/* Waits until nothing is on its way; false when a chunk was lost. */
bool upload_settled(struct dw_upload *upload, int64_t timeout_ms);

#endif
