/* intakes.c - parts, then the filing, until it is acknowledged. */
#include "sim.h"

#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MS = 3000, /* an intake waits so long */
    PAUSE_MS = 9000,  /* of somebody who uploads */
};

static void send_part(struct sim *s, struct peer *p)
{
    char bytes[PART_BYTES];
    uint8_t n[4];
    put_u32(n, (uint32_t)p->part);
    size_t len = part_bytes(p->filing, (uint32_t)p->part, bytes);
    struct dw_slice body[] = {dw_slice_of("part"), DW_SLICE(p->attempt, DW_ID_LEN), DW_SLICE(n, 4),
                              DW_SLICE(bytes, len)};
    peer_ask(s, p, &p->lines[0].conn, "queue.put", p->call, body,
             DW_COUNT(body));
}

static void send_close(struct sim *s, struct peer *p)
{
    struct dw_item_header h = {.parts = parts_of(p->filing), .klass = (uint8_t)p->filing % 2};
    char text[40];
    filing_id(p->filing, DW_BUG("new-id-on-retry") ? p->tries : 0, h.id);
    if (h.parts)
        memcpy(h.attempt, p->attempt, DW_ID_LEN);
    memset(h.handle, 0x70 + key_of(p->filing), DW_ID_LEN);
    memset(h.tok, 0x50 + p->filing, DW_ID_LEN);
    memset(h.fp, 0x60 + p->filing, DW_FP_LEN);
    snprintf(h.service, sizeof h.service, "filing");
    snprintf(text, sizeof text, "filing %d", p->filing);
    DW_AUTO_BUF header = {0};
    dw_buf_init(&header, 1000);
    dw_item_header_encode(&h, &header);
    struct dw_slice body[] = {dw_slice_of("close"), dw_buf_slice(&header), dw_slice_of(text)};
    peer_ask(s, p, &p->lines[0].conn, "queue.put", p->call, body,
             DW_COUNT(body));
}

static void acknowledge(struct sim *s, struct peer *p)
{
    sim_note(s, "filing %d is acknowledged", p->filing);
    s->filings[p->filing].acked = true;
}

static void send_next(struct sim *s, struct peer *p)
{
    p->call = ++s->last_call;
    p->deadline = s->mono + ANSWER_MS;
    if ((uint32_t)p->part < parts_of(p->filing)) {
        send_part(s, p);
        return;
    }
    send_close(s, p);
    if (DW_BUG("receipt-before-answer"))
        acknowledge(s, p);
}

static void begin_attempt(struct sim *s, struct peer *p)
{
    p->tries++;
    p->part = 0;
    p->wait_until = p->pause_until = 0;
    random_bytes(s, p->attempt, DW_ID_LEN);
    sim_note(s, "intake %d sends filing %d, try %u", p->n, p->filing, p->tries);
    send_next(s, p);
}

/* The answer was lost, or never given: a new attempt, or the same closing part again. */
static void try_again(struct sim *s, struct peer *p)
{
    bool closing = (uint32_t)p->part >= parts_of(p->filing);
    if (closing && sim_random(s, 2))
        send_next(s, p);
    else
        begin_attempt(s, p);
}

static void next_filing(struct sim *s, struct peer *p)
{
    acknowledge(s, p);
    if (!p->again && sim_random(s, 4) == 0) { /* somebody presses the button again */
        p->again = true;
        p->wait_until = s->mono + (int64_t)sim_random(s, 3000);
        return;
    }
    p->again = false;
    p->tries = 0;
    p->filing += INTAKES;
    p->call = 0;
    p->wait_until = s->mono + 1 + (int64_t)sim_random(s, 2500);
}

/* After a part, and perhaps after whoever uploads it has paused. */
static void go_on(struct sim *s, struct peer *p)
{
    p->pause_until = 0;
    send_next(s, p);
}

void intake_timer(struct sim *s, struct peer *p)
{
    if (p->filing >= FILINGS)
        return;
    if (p->wait_until && s->mono >= p->wait_until)
        begin_attempt(s, p);
    else if (!p->wait_until && p->pause_until && s->mono >= p->pause_until)
        go_on(s, p);
    else if (!p->wait_until && s->mono >= p->deadline)
        try_again(s, p);
}

void intake_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    if (p->filing >= FILINGS || p->wait_until || m->body_count < 2 ||
        number_of(&m->body[0]) != p->call)
        return; /* of a call given up before */
    int status = dw_status_parse(m->body[1]);
    bool closing = (uint32_t)p->part >= parts_of(p->filing);
    if (status == 200 && closing) {
        next_filing(s, p);
    } else if (status == 200) {
        p->part++;
        p->call = 0;
        p->pause_until = s->mono + (sim_random(s, 6) ? 0 : (int64_t)sim_random(s, PAUSE_MS));
        p->deadline = p->pause_until + ANSWER_MS;
        if (p->pause_until <= s->mono)
            go_on(s, p);
    } else if (status == 503) {
        p->wait_until = s->mono + 100 + (int64_t)sim_random(s, 5000);
    } else if (status == 409) {
        p->wait_until = s->mono + 1; /* parts are missing: from the first again */
    } else {
        check_fail(s, "an intake that keeps to the protocol is answered 200, 409 or 503");
    }
}

