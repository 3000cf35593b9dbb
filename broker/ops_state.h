/* ops_state.h - what every process last said about itself.  Source: ops_state.c
 *
 * Pure: datagrams and the time go in, JSON and metrics text come out.  The form of a datagram is
 * that of dw/process.h.  A datagram is taken whole or not at all; lines whose key we do not know
 * are skipped, because sd_notify's form grows. */
#ifndef DW_OPS_STATE_H
#define DW_OPS_STATE_H

#include "dw/bytes.h"

enum {
    DW_OPS_PROGRAMS = 16,
    DW_OPS_METRICS = 384, /* of one program */
    DW_OPS_NAME = 80,     /* with its NUL */
    DW_OPS_METRIC_NAME = 120, /* with its labels and its NUL */
    DW_OPS_DATAGRAM = 65536,
};

struct dw_ops_metric {
    char name[DW_OPS_METRIC_NAME]; /* name, or name{label="value",...} */
    int64_t value;
};

struct dw_ops_program {
    char name[DW_OPS_NAME];
    char status[160];
    bool ready;
    int64_t heard_at; /* monotonic ms */
    size_t metrics_count;
    struct dw_ops_metric metrics[DW_OPS_METRICS];
};

struct dw_ops {
    int64_t stale_ms;
    size_t count;
    struct dw_ops_program programs[DW_OPS_PROGRAMS];
    struct dw_ops_program scratch; /* a datagram while it is read */
};

void dw_ops_init(struct dw_ops *self, int64_t stale_ms);

/* False for a datagram that was ignored: malformed, or from one program too many. */
bool dw_ops_take(struct dw_ops *self, const void *data, size_t len, int64_t now);

/* {"ready": ..., "parts": {NAME: {"ready": ..., "reason": ...}}} of the parts that belong to every
 * installation.  Returns whether all of them are ready. */
bool dw_ops_readiness(const struct dw_ops *self, int64_t now, struct dw_buf *out);

/* Text exposition 0.0.4.  Metrics of a program that fell silent are left out: a gauge that stands
 * still would be taken for the truth. */
void dw_ops_metrics(const struct dw_ops *self, int64_t now, struct dw_buf *out);

#endif
