/* curve.h - a DEALER over CURVE on a plain socket.  Source: tests/bench/curve.c
 *
 * What a load generator needs of ZMTP 3.1 and no more: it costs one write and one read for each
 * message, as the drivers do that speak to the peers.  libzmq would take a thread of its own, and wake
 * it and be woken for each. */
#ifndef DW_BENCH_CURVE_H
#define DW_BENCH_CURVE_H

#include "dw/wire.h"

enum { CURVE_FRAMES_MAX = 16, CURVE_BYTES_MAX = 131072 };

struct curve {
    int fd;
    uint64_t number; /* of what is sent: its nonce */
    uint8_t key[32];
    uint8_t in[CURVE_BYTES_MAX];
    size_t in_len, at; /* so much has come, so much of it is opened */
    struct dw_slice frames[CURVE_FRAMES_MAX]; /* of the message that comes; they lie in `in` */
    size_t frames_count;
    bool whole;
};

/* Connected to tcp://HOST:PORT, hands shaken.  Ends the program when it is refused. */
struct curve *curve_open(const struct dw_broker_address *to, const struct dw_curve *own);
void curve_close(struct curve *c);
/* Waits for room, should there be none. */
void curve_send(struct curve *c, const struct dw_slice *frames, size_t count);
/* Reads what has come.  False when the other side has gone. */
bool curve_read(struct curve *c);
/* The next whole message of what was read; its frames are good until curve_next() or curve_read(). */
bool curve_next(struct curve *c);

#endif
