/* follow.c - what a reporter with a receipt may read and say. */
#include "intake_private.h"

#include "dw/testing.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { EPOCHS_MAX = DW_CASE_KEYS_MAX, SAY_TRIES = 4 };

/* Root keys R by epoch, opened with the reporter's key; in locked memory. */
struct opened {
    size_t count;
    struct {
        int32_t epoch;
        uint8_t root[DW_ROOT_LEN];
    } roots[EPOCHS_MAX];
};

static const uint8_t *root_of(const struct opened *o, int32_t epoch)
{
    for (size_t i = 0; i < o->count; i++)
        if (o->roots[i].epoch == epoch)
            return o->roots[i].root;
    return NULL;
}

static struct opened *open_grants(const struct dw_status_view *view, const struct secrets *s)
{
    struct opened *o = sodium_malloc(sizeof *o);
    struct dw_error err;
    if (!o)
        return NULL;
    o->count = 0;
    for (size_t i = 0; i < view->grants_count && o->count < EPOCHS_MAX; i++) {
        const struct dw_grant *g = &view->grants[i];
        for (size_t j = 0; j < view->roots_count; j++) {
            const struct dw_root_ref *r = &view->roots[j];
            if (r->kind != g->kind || r->epoch != g->epoch || g->kind != DW_ROOT_R)
                continue;
            o->roots[o->count].epoch = g->epoch;
            if (dw_grant_open(g, view->case_id, r->commitment, s->receipt.box_public,
                              s->receipt.box_secret, o->roots[o->count].root, &err) == DW_OK)
                o->count++;
        }
    }
    return o;
}

/* ---- asking ---- */

enum dw_result ask_case(struct dw_intake *in, const struct secrets *s, struct dw_bus_answer *ret)
{
    struct dw_ask_status ask;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, 4096);
    memcpy(ask.handle, s->receipt.handle, sizeof ask.handle);
    memcpy(ask.auth, s->receipt.auth, sizeof ask.auth);
    dw_encode(&dw_ask_status_layout, &ask, &doc);
    struct dw_slice payload[] = {dw_slice_of("status"), dw_buf_slice(&doc)};
    enum dw_result result = DW_RETRY;
    size_t all = dw_bus_brokers(in->bus), first = dw_bus_first(in->bus);
    for (size_t i = 0; i < all; i++) {
        result = dw_bus_call(in->bus, (first + i) % all, "case.public", payload, 2,
                             in->config->web.call_timeout_ms, ret);
        if (result == DW_OK && (ret->status == 200 || ret->status == 404))
            break;
        if (i + 1 < all)
            dw_bus_answer_free(ret);
    }
    return result;
}

/* Is it in one of the queues?  Then it is received, and the day is known. */
static int ask_queues(struct dw_intake *in, const struct secrets *s, dw_day *day)
{
    struct dw_slice payload = DW_SLICE(s->receipt.handle, sizeof s->receipt.handle);
    int status = 404;
    for (size_t b = 0; b < dw_bus_brokers(in->bus); b++) {
        struct dw_bus_answer got;
        enum dw_result result = dw_bus_call(in->bus, b, "queue.pending", &payload, 1,
                                            in->config->web.call_timeout_ms, &got);
        if (result == DW_OK && got.status == 200 && got.payload_count == 1 &&
            got.payload[0].len == 4) {
            struct dw_reader r = {.rest = got.payload[0]};
            *day = (dw_day)dw_read_u32(&r);
            dw_bus_answer_free(&got);
            return 200;
        }
        if (result != DW_OK)
            status = 503; /* a queue that cannot be asked may hold it */
        dw_bus_answer_free(&got);
    }
    return status;
}

/* ---- opening the dialogue ---- */

static const uint8_t *signer_key(const struct dw_directory *dir, const struct dw_status_view *view,
                                 const struct dw_line *line)
{
    uint8_t signer[DW_SIGNER_LEN];
    if (strcmp(line->actor, "reporter") == 0) {
        const struct dw_program *p = dw_directory_by_signer(dir, line->signer, line->object_day);
        return p ? p->sign : NULL;
    }
    for (size_t i = 0; i < view->writers_count; i++) {
        const struct dw_member *m = &view->writers[i];
        dw_signer_id(signer, m->sign_public);
        if (strcmp(m->user, line->actor) == 0 && memcmp(signer, line->signer, sizeof signer) == 0 &&
            dw_member_verify(m, dir->site))
            return m->sign_public;
    }
    return NULL;
}

static const char *open_text(const struct dw_directory *dir, struct dw_followed *f,
                             const struct opened *roots, const struct dw_line *line,
                             const struct dw_object_ref *ref, struct dw_slice bytes)
{
    struct dw_object_header expected = {.type = DW_OBJECT_MESSAGE,
                                        .epoch = (uint32_t)ref->epoch,
                                        .sequence = (uint32_t)ref->sequence,
                                        .day = line->object_day};
    struct dw_error err;
    DW_AUTO_BUF plain = {0};
    const uint8_t *root = root_of(roots, ref->epoch);
    const uint8_t *key = signer_key(dir, &f->view, line);
    memcpy(expected.case_id, f->view.case_id, 16);
    memcpy(expected.object_id, ref->id, 16);
    dw_buf_init(&plain, DW_OBJECT_MAX);
    if (!root || !key || !bytes.len ||
        dw_envelope_open(bytes, &expected, root, key, &plain, &err) != DW_OK ||
        !dw_text_is_clean((const char *)plain.data, plain.len, "\n\r\t"))
        return NULL;
    return dw_arena_strndup(&f->arena, (const char *)plain.data, plain.len);
}

static void open_messages(const struct dw_directory *dir, struct dw_followed *f,
                          const struct opened *roots, struct dw_unpack *objects)
{
    size_t most = 0;
    for (size_t i = 0; i < f->view.lines_count; i++)
        most += f->view.lines[i].objects_count;
    f->messages = dw_arena_alloc(&f->arena, (most + 1) * sizeof *f->messages);
    for (size_t i = 0; i < f->view.lines_count; i++) {
        const struct dw_line *line = &f->view.lines[i];
        for (size_t j = 0; j < line->objects_count; j++) {
            struct dw_slice bytes = {0};
            dw_unpack_next(objects, &bytes);
            struct dw_message *m = &f->messages[f->messages_count++];
            m->from_reporter = strcmp(line->actor, "reporter") == 0;
            m->kind = line->kind;
            m->day = line->day;
            m->text = open_text(dir, f, roots, line, &line->objects[j], bytes);
        }
    }
}

static bool read_view(struct dw_followed *f, const struct dw_bus_answer *got,
                      struct dw_unpack *objects)
{
    struct dw_error err;
    struct dw_slice doc;
    return dw_unpack_begin(objects, got->payload, got->payload_count, &f->arena, &doc) &&
           dw_decode(&dw_status_view_layout, doc, &f->arena, &f->view, &err) == DW_OK;
}

/* Asks the store, then the queues, then the store once more: between the first two answers the
 * filing may have moved from one to the other. */
static int find(struct dw_intake *in, const struct secrets *s, struct dw_followed *f,
                struct dw_bus_answer *got, struct dw_unpack *objects)
{
    for (int i = 0; i < 2; i++) {
        enum dw_result result = ask_case(in, s, got);
        if (result == DW_OK && got->status == 200)
            return read_view(f, got, objects) ? 200 : 503;
        bool missing = result == DW_OK && got->status == 404;
        dw_bus_answer_free(got);
        int queued = ask_queues(in, s, &f->day);
        if (queued == 200) {
            f->pending = true;
            return 200;
        }
        if (!missing || queued == 503)
            return 503;
    }
    return 404;
}

void dw_intake_follow(struct dw_intake *in, const char digits[DW_RECEIPT_DIGITS + 1],
                      struct dw_followed *ret)
{
    struct dw_bus_answer got = {0};
    struct dw_unpack objects;
    *ret = (struct dw_followed){.status = 503};
    dw_arena_init(&ret->arena, INTAKE_ARENA_MAX);
    struct secrets *s = secrets_new();
    struct dw_directory *dir = dw_directory_take(in->directory);
    if (s && open_receipt(in, dir, digits, s) == DW_OK)
        ret->status = find(in, s, ret, &got, &objects);
    if (ret->status == 200 && !ret->pending) {
        struct opened *roots = open_grants(&ret->view, s);
        ret->day = ret->view.facts.day;
        if (roots)
            open_messages(dir, ret, roots, &objects);
        else
            ret->status = 503;
        sodium_free(roots);
    }
    dw_bus_answer_free(&got);
    dw_directory_give(in->directory, dir);
    secrets_free(s);
}

void dw_followed_free(struct dw_followed *f)
{
    dw_arena_free(&f->arena);
}

/* ---- saying something ---- */

static void hash_of(struct dw_intake *in, uint8_t out[16], const char *label, const void *a,
                    size_t a_len, const char *b)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, in->secret, DW_INTAKE_SECRET_LEN, 16);
    crypto_generichash_update(&state, (const uint8_t *)label, strlen(label) + 1);
    crypto_generichash_update(&state, a, a_len);
    crypto_generichash_update(&state, (const uint8_t *)b, strlen(b));
    crypto_generichash_final(&state, out, 16);
}

struct saying {
    struct dw_intake *in;
    struct secrets *s;
    struct dw_status_view view;
    struct opened *roots;
    struct dw_command command;
    struct dw_object_ref object;
    struct dw_buf bytes;
};

static bool seal_text(struct saying *x, const char *text)
{
    int32_t epoch = 0;
    for (size_t i = 0; i < x->view.roots_count; i++)
        if (x->view.roots[i].kind == DW_ROOT_R && x->view.roots[i].epoch > epoch)
            epoch = x->view.roots[i].epoch;
    const uint8_t *root = root_of(x->roots, epoch);
    struct dw_object_header header = {.type = DW_OBJECT_MESSAGE,
                                      .epoch = (uint32_t)epoch,
                                      .sequence = (uint32_t)x->view.version,
                                      .day = x->command.day};
    memcpy(header.case_id, x->view.case_id, 16);
    dw_object_id(header.object_id, header.case_id);
    if (!root ||
        !dw_envelope_seal(&header, root, &x->in->signer, dw_slice_of(text), &x->bytes))
        return false;
    x->object = (struct dw_object_ref){.type = DW_OBJECT_MESSAGE, .epoch = epoch,
                                       .sequence = x->view.version,
                                       .size = (int64_t)x->bytes.len};
    memcpy(x->object.id, header.object_id, 16);
    dw_hash(x->object.hash, dw_buf_slice(&x->bytes));
    x->command.objects = &x->object;
    x->command.objects_count = 1;
    return true;
}

static void make_command(struct saying *x, const char *name, const char *text, const char *key)
{
    x->command = (struct dw_command){
        .version = 1, .name = name, .actor = "reporter", .day = dw_day_of(dw_now())};
    memcpy(x->command.case_id, x->view.case_id, 16);
    hash_of(x->in, x->command.step, "dengwen/step/1", x->s->receipt.handle, 16, key);
    hash_of(x->in, x->command.payload, name, x->s->receipt.handle, 16, text);
}

static enum dw_result send_command(struct saying *x, struct dw_bus_answer *got)
{
    struct dw_ask_command ask;
    DW_AUTO_BUF command = {0};
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&command, 65536);
    dw_buf_init(&doc, 131072);
    dw_encode(&dw_command_layout, &x->command, &command);
    ask.command = dw_buf_slice(&command);
    memcpy(ask.handle, x->s->receipt.handle, sizeof ask.handle);
    memcpy(ask.auth, x->s->receipt.auth, sizeof ask.auth);
    memcpy(ask.seal, x->in->signer.id, DW_SIGNER_LEN);
    dw_sign(&x->in->signer, DW_LABEL_COMMAND, ask.command, ask.seal + DW_SIGNER_LEN);
    dw_encode(&dw_ask_command_layout, &ask, &doc);
    struct dw_slice payload[] = {dw_slice_of("command"), dw_buf_slice(&doc),
                                 dw_buf_slice(&x->bytes)};
    return dw_bus_call(x->in->bus, 0, "case.public", payload, x->command.objects_count ? 3 : 2,
                       x->in->config->web.call_timeout_ms, got);
}

static void copy_text(char *out, size_t len, struct dw_slice from)
{
    size_t n = from.len < len - 1 ? from.len : len - 1;
    memcpy(out, from.data, n);
    out[n] = 0;
}

static void read_result(struct dw_said_result *ret, enum dw_result result, struct dw_bus_answer *got,
                        struct dw_arena *arena)
{
    struct dw_done done;
    struct dw_error err;
    ret->status = result == DW_OK ? got->status : 503;
    if (ret->status == 504) /* of unknown fate: the same key tells the next time */
        ret->status = 503;
    if (ret->status == 200 && got->payload_count >= 1 &&
        dw_decode(&dw_done_layout, got->payload[0], arena, &done, &err) == DW_OK) {
        snprintf(ret->state, sizeof ret->state, "%s", done.state ? done.state : "");
    } else if (ret->status != 200 && got->payload_count >= 2) {
        copy_text(ret->error.field, sizeof ret->error.field, got->payload[0]);
        copy_text(ret->error.text, sizeof ret->error.text, got->payload[1]);
    }
    dw_bus_answer_free(got);
}

/* Reads the case, and says it to what was read. */
static void say_to_the_case(struct saying *x, const char *command, const char *text,
                            const char *idempotency_key, struct dw_said_result *ret)
{
    struct dw_followed f = {0};
    struct dw_bus_answer got = {0};
    struct dw_unpack objects;
    dw_arena_init(&f.arena, INTAKE_ARENA_MAX);
    dw_buf_init(&x->bytes, DW_OBJECT_MAX);
    *ret = (struct dw_said_result){.status = find(x->in, x->s, &f, &got, &objects)};
    dw_bus_answer_free(&got);
    DW_POINT("intake.case-read");
    if (ret->status == 200 && f.pending) {
        ret->status = 503; /* nothing can be added before it is stored */
    } else if (ret->status == 200) {
        x->view = f.view;
        x->roots = open_grants(&f.view, x->s);
        make_command(x, command, text, idempotency_key);
        if (x->roots && (!*text || seal_text(x, text)))
            read_result(ret, send_command(x, &got), &got, &f.arena);
        else
            ret->status = 503;
        sodium_free(x->roots);
    }
    dw_buf_free(&x->bytes);
    dw_followed_free(&f);
}

void dw_intake_say(struct dw_intake *in, const char digits[DW_RECEIPT_DIGITS + 1],
                   const char *command, const char *text, const char *idempotency_key,
                   struct dw_said_result *ret)
{
    struct saying x = {.in = in, .s = secrets_new()};
    *ret = (struct dw_said_result){.status = 503};
    struct dw_directory *dir = dw_directory_take(in->directory);
    if (x.s && open_receipt(in, dir, digits, x.s) == DW_OK)
        ret->status = 409;
    dw_directory_give(in->directory, dir);
    /* A transfer between reading and saying brings a new root key: it is sealed once more, under that. */
    for (int tries = 0; ret->status == 409 && tries < SAY_TRIES; tries++)
        say_to_the_case(&x, command, text, idempotency_key, ret);
    secrets_free(x.s);
}
