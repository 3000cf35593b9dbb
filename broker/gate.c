#include "dw/gate.h"

void dw_gate_init(struct dw_gate *gate, int64_t at_once, int64_t may_wait)
{
    *gate = (struct dw_gate){.at_once = at_once, .may_wait = may_wait};
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->free, NULL);
}

void dw_gate_end(struct dw_gate *gate)
{
    pthread_cond_destroy(&gate->free);
    pthread_mutex_destroy(&gate->lock);
}

bool dw_gate_enter(struct dw_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    bool open = gate->inside < gate->at_once || gate->waiting < gate->may_wait;
    if (open) {
        gate->waiting++;
        while (gate->inside >= gate->at_once)
            pthread_cond_wait(&gate->free, &gate->lock);
        gate->waiting--;
        gate->inside++;
    }
    pthread_mutex_unlock(&gate->lock);
    return open;
}

void dw_gate_leave(struct dw_gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->inside--;
    pthread_cond_signal(&gate->free);
    pthread_mutex_unlock(&gate->lock);
}
