/* intakes.c - parts, then the filing, until it is acknowledged.  The ids of a filing and what is
 * made of each answer are the product's, dw/receipt.h and dw/putting.h.  That somebody whose filing
 * was not taken presses the button again, and uploads anew, is the model. */
#include "sim.h"

#include "dw/receipt.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MS = 3000, /* an intake waits so long */
    PAUSE_MS = 9000,  /* of somebody who uploads */
};

/* ---- ids ---- */

static void derive(int filing, const char *key, struct dw_filing_ids *ids, uint8_t fp[DW_FP_LEN])
{
    static const uint8_t secret[DW_INTAKE_SECRET_LEN] = {1};
    char text[40];
    snprintf(text, sizeof text, "filing %d", filing);
    dw_receipt_fingerprint(fp, secret, dw_slice_of(text));
    dw_receipt_derive(ids, secret, key, fp);
}

void filing_id(int filing, uint8_t id[DW_ID_LEN])
{
    static struct dw_filing_ids ids[FILINGS];
    static bool made[FILINGS];
    uint8_t fp[DW_FP_LEN];
    char key[40];
    snprintf(key, sizeof key, "filing %d", filing);
    if (!made[filing])
        derive(filing, key, &ids[filing], fp);
    made[filing] = true;
    memcpy(id, ids[filing].filing, DW_ID_LEN);
}

/* Others than that exist only where an intake is wrong on purpose. */
int filing_of(const struct sim *s, const uint8_t id[DW_ID_LEN])
{
    for (int i = 0; i < FILINGS; i++) {
        uint8_t own[DW_ID_LEN];
        filing_id(i, own);
        if (memcmp(own, id, DW_ID_LEN) == 0 || memcmp(s->filings[i].other, id, DW_ID_LEN) == 0)
            return i;
    }
    return -1;
}

static void fill_header(struct sim *s, struct peer *p, struct dw_item_header *h)
{
    struct filing *f = &s->filings[p->filing];
    struct dw_filing_ids ids;
    char key[40];
    snprintf(key, sizeof key, "filing %d", p->filing);
    if (DW_BUG("new-id-on-retry") && p->tries > 1)
        snprintf(key, sizeof key, "filing %d, try %u", p->filing, p->tries);
    *h = (struct dw_item_header){.parts = parts_of(p->filing), .klass = (uint8_t)p->filing % 2};
    derive(p->filing, key, &ids, h->fp);
    memcpy(h->id, ids.filing, DW_ID_LEN);
    memcpy(h->tok, ids.tok, DW_ID_LEN);
    memcpy(f->other, ids.filing, DW_ID_LEN);
    if (h->parts)
        memcpy(h->attempt, p->attempt, DW_ID_LEN);
    memset(h->handle, 0x70 + key_of(p->filing), DW_ID_LEN);
    snprintf(h->service, sizeof h->service, "filing");
}

/* ---- one question after the other ---- */

static void send_part(struct sim *s, struct peer *p)
{
    char bytes[PART_BYTES];
    uint8_t n[4];
    put_u32(n, (uint32_t)p->part);
    size_t len = part_bytes(p->filing, (uint32_t)p->part, bytes);
    struct dw_slice body[] = {dw_slice_of("part"), DW_SLICE(p->attempt, DW_ID_LEN), DW_SLICE(n, 4),
                              DW_SLICE(bytes, len)};
    peer_ask(s, p, &p->lines[p->broker].conn, "queue.put", p->call, body, DW_COUNT(body));
}

static void send_close(struct sim *s, struct peer *p, size_t broker)
{
    struct dw_item_header h;
    char text[40];
    DW_AUTO_BUF header = {0};
    fill_header(s, p, &h);
    snprintf(text, sizeof text, "filing %d", p->filing);
    dw_buf_init(&header, 1000);
    dw_item_header_encode(&h, &header);
    struct dw_slice body[] = {dw_slice_of("close"), dw_buf_slice(&header), dw_slice_of(text)};
    peer_ask(s, p, &p->lines[broker].conn, "queue.put", p->call, body, DW_COUNT(body));
}

static void acknowledge(struct sim *s, struct peer *p)
{
    sim_note(s, "filing %d is acknowledged", p->filing);
    s->filings[p->filing].acked = true;
}

static bool is_closing(const struct peer *p)
{
    return (uint32_t)p->part >= parts_of(p->filing);
}

static void begin_closing(struct sim *s, struct peer *p)
{
    dw_putting_begin(&p->putting, (size_t)s->brokers, p->broker, parts_of(p->filing) > 0);
}

/* What comes next; false when nobody is left to be asked. */
static bool send_next(struct sim *s, struct peer *p)
{
    size_t broker;
    p->call = ++s->last_call;
    p->deadline = s->mono + ANSWER_MS;
    if (!is_closing(p)) {
        send_part(s, p);
        return true;
    }
    if (!dw_putting_next(&p->putting, &broker))
        return false;
    send_close(s, p, broker);
    if (DW_BUG("receipt-before-answer"))
        acknowledge(s, p);
    return true;
}

static void begin_attempt(struct sim *s, struct peer *p)
{
    p->tries++;
    p->part = 0;
    p->wait_until = p->pause_until = 0;
    random_bytes(s, p->attempt, DW_ID_LEN);
    sim_note(s, "intake %d sends filing %d, try %u", p->n, p->filing, p->tries);
    begin_closing(s, p);
    send_next(s, p);
}

/* It was not taken, as far as anybody knows.  An intake looks for another broker now and then. */
static void not_taken(struct sim *s, struct peer *p, int64_t wait_ms)
{
    p->wait_until = s->mono + wait_ms;
    p->call = 0;
    if (sim_random(s, 2))
        p->broker = (p->broker + 1) % (size_t)s->brokers;
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

/* The closing part is answered, or nobody answers. */
static void closed(struct sim *s, struct peer *p, enum dw_result result, int status,
                   struct dw_slice said)
{
    dw_putting_answered(&p->putting, result, status, said);
    if (p->putting.status == 202) {
        next_filing(s, p);
    } else if (p->putting.status != 503) {
        check_fail(s, "the same filing is no other one");
    } else if (!send_next(s, p)) {
        bool lost = result == DW_UNCERTAIN;
        if (lost && sim_random(s, 2)) { /* the same part again, as other programs may do it */
            begin_closing(s, p);
            send_next(s, p);
        } else {
            not_taken(s, p, status == 409 || lost ? 1 : 100 + (int64_t)sim_random(s, 5000));
        }
    }
}

static void part_answered(struct sim *s, struct peer *p, int status)
{
    if (status != 200) {
        not_taken(s, p, 100 + (int64_t)sim_random(s, 5000));
        return;
    }
    p->part++;
    p->call = 0;
    p->pause_until = s->mono + (sim_random(s, 6) ? 0 : (int64_t)sim_random(s, PAUSE_MS));
    p->deadline = p->pause_until + ANSWER_MS;
    if (p->pause_until <= s->mono) {
        p->pause_until = 0;
        send_next(s, p);
    }
}

void intake_timer(struct sim *s, struct peer *p)
{
    if (p->filing >= FILINGS)
        return;
    if (p->wait_until && s->mono >= p->wait_until) {
        begin_attempt(s, p);
    } else if (!p->wait_until && p->pause_until && s->mono >= p->pause_until) {
        p->pause_until = 0;
        send_next(s, p);
    } else if (!p->wait_until && s->mono >= p->deadline) {
        if (is_closing(p))
            closed(s, p, DW_UNCERTAIN, 0, DW_SLICE("", 0));
        else
            not_taken(s, p, 1);
    }
}

void intake_answered(struct sim *s, struct peer *p, const struct dw_mdp_message *m)
{
    if (p->filing >= FILINGS || p->wait_until || m->body_count < 2 ||
        number_of(&m->body[0]) != p->call)
        return; /* of a call given up before */
    int status = dw_status_parse(m->body[1]);
    if (status != 200 && status != 409 && status != 503)
        check_fail(s, "an intake that keeps to the protocol is answered 200, 409 or 503");
    else if (is_closing(p))
        closed(s, p, DW_OK, status, m->body_count > 2 ? m->body[2] : DW_SLICE("", 0));
    else
        part_answered(s, p, status);
}
