/* adoption.c - which question comes after which answer, until a file that is left behind is empty.
 */
#include "dw/adopt.h"

#include "dw/process.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>

enum {
    FRAMES_MAX = DW_ADOPTION_FRAMES - 1, /* of one question, but for the word in front */
    BATCH_BYTES = 1u << 20,              /* rows that travel together */
    ROWS_MAX = FRAMES_MAX,
    TRIES = 5, /* to send the parts of one item */
};

/* Rows that travel together, and how they look on the wire. */
struct batch {
    struct dw_left rows[ROWS_MAX];
    size_t count, frames, bytes;
    struct dw_buf wire[FRAMES_MAX];
    size_t rows_end[ROWS_MAX]; /* frames up to and with that row */
};

enum step { GATHER, HERE, PART, ROWS, DONE, FAILED };

struct dw_adoption {
    struct dw_source *source;
    size_t frame_bytes;
    enum step step;
    struct batch batch;
    size_t sent; /* rows of the batch that the broker has, and the file has not */
    int tries;
    uint32_t part;
    uint8_t part_number[4];
    struct dw_buf part_bytes;
    bool held; /* a row that was read, and belongs to the next batch */
    struct dw_left row;
    struct dw_buf body;
    int64_t taken[DW_LEFT_KINDS], too_large;
    int code;
    char why[320];
};

struct dw_adoption *dw_adoption_new(struct dw_source *source, size_t frame_bytes)
{
    struct dw_adoption *a = dw_alloc(sizeof *a);
    a->source = source;
    a->frame_bytes = frame_bytes;
    dw_buf_init(&a->part_bytes, SIZE_MAX / 2);
    dw_buf_init(&a->body, SIZE_MAX / 2);
    for (int i = 0; i < FRAMES_MAX; i++)
        dw_buf_init(&a->batch.wire[i], SIZE_MAX / 2);
    return a;
}

void dw_adoption_free(struct dw_adoption *a)
{
    if (!a)
        return;
    for (int i = 0; i < FRAMES_MAX; i++)
        dw_buf_free(&a->batch.wire[i]);
    dw_buf_free(&a->part_bytes);
    dw_buf_free(&a->body);
    dw_free(a);
}

static void fail(struct dw_adoption *a, int code, const char *why)
{
    a->step = FAILED;
    a->code = code;
    snprintf(a->why, sizeof a->why, "%s", why);
}

/* ---- rows that travel together ---- */

static void add_to_batch(struct dw_adoption *a)
{
    struct batch *b = &a->batch;
    dw_buf_clear(&b->wire[b->frames]);
    dw_left_encode(&a->row, &b->wire[b->frames++]);
    for (size_t at = 0; at < a->body.len; at += a->frame_bytes) {
        size_t len = a->body.len - at < a->frame_bytes ? a->body.len - at : a->frame_bytes;
        dw_buf_clear(&b->wire[b->frames]);
        dw_buf_put(&b->wire[b->frames++], a->body.data + at, len);
    }
    b->bytes += a->body.len;
    b->rows[b->count] = a->row;
    b->rows_end[b->count++] = b->frames;
    a->held = false;
}

/* One with parts travels alone: they must be there before it. */
static bool fits(const struct dw_adoption *a)
{
    const struct batch *b = &a->batch;
    if (!b->count)
        return true;
    return b->rows[0].kind == a->row.kind && !a->row.parts && !b->rows[0].parts &&
           b->frames + 1 + a->row.body_frames <= FRAMES_MAX &&
           b->bytes + a->body.len <= BATCH_BYTES && b->count < ROWS_MAX;
}

/* The next row, which is held until it has its batch. */
static bool next_row(struct dw_adoption *a)
{
    while (!a->held && dw_source_next(a->source, &a->row, &a->body)) {
        a->row.body_frames = (uint32_t)((a->body.len + a->frame_bytes - 1) / a->frame_bytes);
        a->held = 1 + a->row.body_frames <= FRAMES_MAX;
        a->too_large += !a->held;
    }
    /* A key belongs to an item that is done, which one that stays here is not. */
    return a->held && !(a->row.kind == DW_LEFT_SEEN && a->too_large);
}

static void delete_taken(struct dw_adoption *a, size_t first, size_t count)
{
    struct dw_error err = {0};
    DW_POINT("adopt.taken");
    if (dw_source_taken(a->source, &a->batch.rows[first], count, &err) != DW_OK) {
        fail(a, DW_EXIT_DATA, err.text);
        return;
    }
    DW_POINT("adopt.deleted");
    for (size_t i = first; i < first + count; i++)
        a->taken[a->batch.rows[i].kind]++;
}

static void gather(struct dw_adoption *a)
{
    struct batch *b = &a->batch;
    b->count = b->frames = b->bytes = 0;
    a->sent = 0;
    a->tries = 0;
    while (next_row(a) && fits(a))
        add_to_batch(a);
    if (!b->count)
        a->step = DONE;
    else
        a->step = b->rows[0].parts ? HERE : ROWS;
    if (b->count && DW_BUG("adopt-deletes-first"))
        delete_taken(a, 0, b->count);
}

/* ---- answers ---- */

static void take_part(struct dw_adoption *a, uint32_t n)
{
    const struct dw_left *row = &a->batch.rows[a->sent];
    a->step = n < row->parts ? PART : ROWS;
    a->part = n;
    for (int i = 0; i < 4; i++)
        a->part_number[i] = (uint8_t)(n >> (24 - 8 * i));
    if (a->step == PART && !dw_source_part(a->source, row->attempt, n, &a->part_bytes))
        fail(a, DW_EXIT_DATA, "a part of an item is missing in the file");
}

static void rows_answered(struct dw_adoption *a, int status, uint32_t number)
{
    struct batch *b = &a->batch;
    if (status == 409 && ++a->tries < TRIES) {
        a->step = b->rows[a->sent].parts ? HERE : ROWS; /* it forgot the parts meanwhile */
        return;
    }
    if (status != 200 || !number || number > b->count - a->sent) {
        fail(a, DW_EXIT_NO, "the broker refused a row");
        return;
    }
    /* What the broker has on disk goes out of the file. */
    if (!DW_BUG("adopt-deletes-first"))
        delete_taken(a, a->sent, number);
    a->sent += number;
    if (a->step != FAILED && a->sent == b->count)
        a->step = GATHER;
}

void dw_adoption_answered(struct dw_adoption *a, int status, uint32_t number)
{
    if (status == 503)
        return;
    if (a->step == HERE && status == 200) {
        a->step = ROWS;
    } else if (a->step == HERE) {
        take_part(a, 0);
    } else if (a->step == PART && status == 200) {
        DW_POINT("adopt.part");
        take_part(a, a->part + 1);
    } else if (a->step == PART) {
        fail(a, DW_EXIT_NO, "the broker refused a part");
    } else if (a->step == ROWS) {
        rows_answered(a, status, number);
    }
}

/* ---- questions ---- */

static size_t ask_rows(const struct dw_adoption *a, struct dw_slice *payload)
{
    size_t n = 0;
    payload[n++] = dw_slice_of("rows");
    for (size_t i = a->sent ? a->batch.rows_end[a->sent - 1] : 0; i < a->batch.frames; i++)
        payload[n++] = dw_buf_slice(&a->batch.wire[i]);
    return n;
}

enum dw_adoption_state dw_adoption_question(struct dw_adoption *a,
                                            struct dw_slice payload[DW_ADOPTION_FRAMES],
                                            size_t *count)
{
    if (a->step == GATHER)
        gather(a);
    const struct dw_left *row = &a->batch.rows[a->sent];
    *count = 0;
    switch (a->step) {
    case HERE:
        payload[(*count)++] = dw_slice_of("here");
        payload[(*count)++] = DW_SLICE(row->id, DW_ID_LEN);
        return DW_ADOPTION_ASKS;
    case PART:
        payload[(*count)++] = dw_slice_of("part");
        payload[(*count)++] = DW_SLICE(row->attempt, DW_ID_LEN);
        payload[(*count)++] = DW_SLICE(a->part_number, sizeof a->part_number);
        payload[(*count)++] = dw_buf_slice(&a->part_bytes);
        return DW_ADOPTION_ASKS;
    case ROWS:
        *count = ask_rows(a, payload);
        return DW_ADOPTION_ASKS;
    case DONE:
        return DW_ADOPTION_DONE;
    default:
        return DW_ADOPTION_FAILED;
    }
}

/* ---- what came of it ---- */

int64_t dw_adoption_taken(const struct dw_adoption *a, enum dw_left_kind kind)
{
    return a->taken[kind];
}

int64_t dw_adoption_too_large(const struct dw_adoption *a)
{
    return a->too_large;
}

int dw_adoption_code(const struct dw_adoption *a, const char **why)
{
    *why = a->why;
    return a->code;
}
