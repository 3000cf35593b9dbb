/* case_private.h - what the case_*.c files share. */
#ifndef DW_CASE_PRIVATE_H
#define DW_CASE_PRIVATE_H

#include "dw/case.h"

/* A copy of an array with room for one more, which is zeroed and returned; *items and *count are
 * brought up to date.  Arenas have no realloc, and cases are small. */
void *dw_append(struct dw_arena *arena, void *items_ptr, size_t *count, size_t size);

/* What an event follows from, once decoded: one of the two, or neither for the system's own. */
struct dw_said {
    const struct dw_sealed_filing *filing;
    const struct dw_command *command;
};
/* Brings the projection up to date with an event: state, body, transfer, roots, grants, clocks.
 * Used when the event is made and when it is replayed. */
void dw_case_apply(const struct dw_domain *domain, struct dw_case *c, const struct dw_event *event,
                   const struct dw_said *said, struct dw_arena *arena);

/* Completes the event (seq, hash of the one before, hash, signature), applies and appends it. */
struct dw_event *dw_case_add_event(const struct dw_domain *domain, struct dw_case *c,
                                   struct dw_event *event, const struct dw_said *said,
                                   struct dw_arena *arena);
/* Bytes under hash and signature. */
void dw_event_signed_bytes(const struct dw_event *event, struct dw_buf *out);

/* A notice for the event just added; template "" makes none. */
void dw_case_add_notice(const struct dw_domain *domain, struct dw_case *c, const char *template,
                        dw_time now, struct dw_arena *arena);

/* Step id of what the system does by itself: the same cause gives the same step. */
void dw_system_step(uint8_t step[16], const struct dw_case *c, const char *what, int32_t a,
                    int32_t b);

/* The newest epoch of a kind of root key; 0 for none. */
int32_t dw_case_epoch(const struct dw_case *c, enum dw_root_kind kind);
const struct dw_root_ref *dw_case_root(const struct dw_case *c, int32_t kind, int32_t epoch);

#endif
