/* gate.h - so many threads at once inside, so many waiting.  Source: broker/gate.c
 *
 * For work that takes much memory each time, as password hashes do. */
#ifndef DW_GATE_H
#define DW_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct dw_gate {
    pthread_mutex_t lock;
    pthread_cond_t free;
    int64_t at_once, may_wait, inside, waiting;
};

void dw_gate_init(struct dw_gate *gate, int64_t at_once, int64_t may_wait);
void dw_gate_end(struct dw_gate *gate);

/* Waits for a place.  False at once when enough are waiting; then nothing must be left. */
bool dw_gate_enter(struct dw_gate *gate);
void dw_gate_leave(struct dw_gate *gate);

#endif
