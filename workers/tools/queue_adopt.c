#include "queue_adopt.h"

#include "progress.h"

#include "dw/adopt.h"
#include "dw/log.h"
#include "dw/process.h"
#include "dw/testing.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    FRAMES_MAX = 56,         /* of one call, with the words in front */
    BATCH_BYTES = 1u << 20,  /* rows that travel together */
    ROWS_MAX = FRAMES_MAX,
    TRIES = 5,               /* to send the parts of one item */
};

/* Rows that wait to be sent together, and how they look on the wire. */
struct batch {
    struct dw_left rows[ROWS_MAX];
    size_t count, frames, bytes;
    struct dw_buf wire[FRAMES_MAX];
    size_t rows_end[ROWS_MAX]; /* frames up to and with that row */
};

struct adoption {
    struct admin *admin;
    struct dw_source *source;
    struct progress progress;
    int64_t taken[DW_LEFT_KINDS], total[DW_LEFT_KINDS];
    int64_t too_large;
    struct batch batch;
    int code; /* once it is not 0, nothing goes on */
};

static const char *const names[DW_LEFT_KINDS] = {
    [DW_LEFT_ITEM] = "items", [DW_LEFT_REPLY] = "kept replies", [DW_LEFT_SEEN] = "keys seen"};

static void stop(struct adoption *a, int code, const char *what)
{
    if (!a->code)
        fprintf(stderr, "\nqueue adopt: %s\n", what);
    a->code = code;
}

/* Status of the answer, and its number where it has one; waits as long as there is no room. */
static int ask(struct adoption *a, const struct dw_slice *payload, size_t count, uint32_t *number)
{
    for (bool told = false; !a->code;) {
        struct dw_bus_answer answer;
        if (admin_call(a->admin, "queue.adopt", payload, count, &answer) != DW_OK) {
            stop(a, DW_EXIT_AWAY, "the broker does not answer; run it again to go on");
            break;
        }
        int status = answer.status, seconds = 1;
        if (answer.payload_count && answer.payload[0].len == 4 && status == 200 && number) {
            struct dw_reader r = {.rest = answer.payload[0]};
            *number = dw_read_u32(&r);
        }
        char text[16] = "";
        if (status == 503 && answer.payload_count)
            dw_printable(text, sizeof text, answer.payload[0].data, answer.payload[0].len);
        dw_bus_answer_free(&answer);
        if (status != 503)
            return status;
        if (sscanf(text, "%d", &seconds) != 1 || seconds < 1)
            seconds = 1;
        if (!told)
            fprintf(stderr, "\nthe broker has no room; this waits until it has\n");
        told = true;
        sleep((unsigned)seconds);
    }
    return 0;
}

/* ---- parts ---- */

static void number_frame(uint32_t n, uint8_t out[4])
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(n >> (24 - 8 * i));
}

/* Of an item the broker does not have yet: its parts, before it. */
static void send_parts(struct adoption *a, const struct dw_left *row)
{
    struct dw_slice here[] = {dw_slice_of("here"), DW_SLICE(row->id, DW_ID_LEN)};
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, SIZE_MAX / 2);
    if (!row->parts || ask(a, here, 2, NULL) == 200)
        return;
    for (uint32_t n = 0; n < row->parts && !a->code; n++) {
        uint8_t number[4];
        number_frame(n, number);
        if (!dw_source_part(a->source, row->attempt, n, &bytes)) {
            stop(a, DW_EXIT_DATA, "a part of an item is missing in the file");
            return;
        }
        struct dw_slice part[] = {dw_slice_of("part"), DW_SLICE(row->attempt, DW_ID_LEN),
                                  DW_SLICE(number, 4), dw_buf_slice(&bytes)};
        if (ask(a, part, 4, NULL) != 200)
            stop(a, DW_EXIT_NO, "the broker refused a part");
        DW_POINT("adopt.part");
    }
}

/* ---- rows ---- */

static void add_to_batch(struct batch *b, const struct dw_left *row, const struct dw_buf *body,
                         size_t frame_bytes)
{
    dw_buf_clear(&b->wire[b->frames]);
    dw_left_encode(row, &b->wire[b->frames++]);
    for (size_t at = 0; at < body->len; at += frame_bytes) {
        size_t len = body->len - at < frame_bytes ? body->len - at : frame_bytes;
        dw_buf_clear(&b->wire[b->frames]);
        dw_buf_put(&b->wire[b->frames++], body->data + at, len);
    }
    b->bytes += body->len;
    b->rows[b->count] = *row;
    b->rows_end[b->count++] = b->frames;
}

/* What the broker has on disk goes out of the file. */
static void delete_taken(struct adoption *a, size_t first, size_t count)
{
    struct dw_error err = {0};
    DW_POINT("adopt.taken");
    if (dw_source_taken(a->source, &a->batch.rows[first], count, &err) != DW_OK) {
        stop(a, DW_EXIT_DATA, err.text);
        return;
    }
    DW_POINT("adopt.deleted");
    for (size_t i = first; i < first + count; i++) {
        enum dw_left_kind kind = a->batch.rows[i].kind;
        a->taken[kind]++;
        a->progress.progress.tell(&a->progress, names[kind], a->taken[kind], a->total[kind]);
    }
}

static void send_batch(struct adoption *a)
{
    struct batch *b = &a->batch;
    int tries = 0;
    for (size_t sent = 0; sent < b->count && !a->code;) {
        struct dw_slice payload[1 + FRAMES_MAX] = {dw_slice_of("rows")};
        size_t first = sent ? b->rows_end[sent - 1] : 0, n = 1;
        uint32_t taken = 0;
        if (b->rows[sent].parts)
            send_parts(a, &b->rows[sent]);
        for (size_t i = first; i < b->frames; i++)
            payload[n++] = dw_buf_slice(&b->wire[i]);
        int status = ask(a, payload, n, &taken);
        if (status == 409 && ++tries < TRIES)
            continue; /* it forgot the parts meanwhile */
        if (status != 200 || !taken || taken > b->count - sent)
            stop(a, DW_EXIT_NO, "the broker refused a row");
        else
            delete_taken(a, sent, taken);
        sent += taken;
    }
    b->count = b->frames = b->bytes = 0;
}

/* One with parts travels alone: they must be there before it. */
static void take_row(struct adoption *a, struct dw_left *row, const struct dw_buf *body)
{
    struct batch *b = &a->batch;
    size_t frame_bytes = (size_t)a->admin->config.broker.max_frame_bytes;
    row->body_frames = (uint32_t)((body->len + frame_bytes - 1) / frame_bytes);
    if (1 + row->body_frames > FRAMES_MAX) {
        a->too_large++;
        return;
    }
    if (row->parts || b->frames + 1 + row->body_frames > FRAMES_MAX ||
        b->bytes + body->len > BATCH_BYTES || b->count == ROWS_MAX)
        send_batch(a);
    if (a->code)
        return;
    add_to_batch(b, row, body, frame_bytes);
    if (row->parts)
        send_batch(a);
}

static void tell_counts(struct adoption *a)
{
    printf("adopted:");
    for (int k = 0; k < DW_LEFT_KINDS; k++)
        printf("%s %lld %s", k ? "," : "", (long long)a->taken[k], names[k]);
    printf("\n");
    if (a->too_large)
        printf("left in the file: %lld too large for broker.max_frame_bytes; raise it and run this "
               "again\n",
               (long long)a->too_large);
    if (dw_source_unfinished(a->source))
        printf("left in the file: %lld unfinished uploads, which nobody was told were received\n",
               (long long)dw_source_unfinished(a->source));
}

int queue_adopt(struct admin *admin, const char *file)
{
    static struct adoption a;
    struct dw_error err = {0};
    struct dw_left row;
    DW_AUTO_BUF body = {0};
    a = (struct adoption){.admin = admin};
    if (dw_source_open(file, &admin->config, &a.source, &err) != DW_OK) {
        fprintf(stderr, "queue adopt: %s\n", err.text);
        return DW_EXIT_DATA;
    }
    dw_buf_init(&body, SIZE_MAX / 2);
    for (int i = 0; i < FRAMES_MAX; i++)
        dw_buf_init(&a.batch.wire[i], SIZE_MAX / 2);
    for (int k = 0; k < DW_LEFT_KINDS; k++)
        a.total[k] = dw_source_count(a.source, (enum dw_left_kind)k);
    progress_begin(&a.progress);
    while (!a.code && dw_source_next(a.source, &row, &body)) {
        /* A key belongs to an item that is done, which one that stays here is not. */
        if (row.kind == DW_LEFT_SEEN && a.too_large)
            break;
        if (a.batch.count && a.batch.rows[0].kind != row.kind)
            send_batch(&a);
        take_row(&a, &row, &body);
    }
    if (!a.code)
        send_batch(&a);
    progress_end(&a.progress);
    tell_counts(&a);
    for (int i = 0; i < FRAMES_MAX; i++)
        dw_buf_free(&a.batch.wire[i]);
    dw_source_close(a.source);
    return a.code ? a.code : a.too_large ? DW_EXIT_NO : 0;
}
