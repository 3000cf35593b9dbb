/* submit.c - from a checked filing to a durable, sealed item of the queue. */
#include "intake_private.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { GRANTS_MAX = 8, OBJECTS_MAX = 4 + DW_MANIFEST_FILES_MAX,
       STORED_NAP_MS = 5, STORED_NAP_MAX_MS = 160 };

/* Everything of one filing on its way. */
struct sealing {
    struct dw_intake *in;
    const struct dw_directory *dir;
    const struct dw_filing *filing;
    struct dw_upload *upload;
    struct dw_filing_ids ids;
    uint8_t fp[32];
    struct secrets *s;
    struct dw_route route;
    struct dw_sealed_filing doc;
    struct dw_root_ref roots[3];
    struct dw_grant grants[GRANTS_MAX];
    struct dw_object_ref objects[OBJECTS_MAX];
    struct dw_buf bytes[4]; /* of the objects that are not files */
    size_t bytes_count;
    const char *why;
};

static bool fail(struct sealing *x, const char *why)
{
    x->why = why;
    return false;
}

/* ---- identity of the filing ---- */

/* A retry has the same text and the same files; only then is it the same filing. */
static void fingerprint(struct sealing *x)
{
    DW_AUTO_BUF canonical = {0};
    dw_buf_init(&canonical, 4 * 1024 * 1024);
    dw_filing_canonical(x->filing, &canonical);
    for (size_t i = 0; x->upload && i < x->upload->manifest.files_count; i++) {
        const struct dw_file *f = &x->upload->manifest.files[i];
        dw_buf_u32(&canonical, (uint32_t)strlen(f->name));
        dw_buf_str(&canonical, f->name);
        dw_buf_u64(&canonical, (uint64_t)f->size);
        dw_buf_put(&canonical, f->hash, sizeof f->hash);
    }
    dw_receipt_fingerprint(x->fp, x->in->secret, dw_buf_slice(&canonical));
}

/* ---- where it goes ---- */

struct live {
    const struct dw_directory *dir;
    dw_day day;
};

static bool is_live(void *arg, const char *body_id)
{
    const struct live *on = arg;
    return dw_directory_current(on->dir, DW_TO_BODY, body_id, on->day) != NULL;
}

static bool find_route(struct sealing *x)
{
    struct live on = {x->dir, x->filing->facts.day};
    struct dw_route_facts facts = dw_facts_for_route(&x->filing->facts);
    struct dw_error err;
    return dw_route(x->in->routing, &facts, is_live, &on, &x->route, &err) == DW_OK ||
           fail(x, "no body with a live key may receive this");
}

/* ---- keys and grants ---- */

static void add_root(struct sealing *x, enum dw_root_kind kind, const uint8_t root[DW_ROOT_LEN])
{
    struct dw_root_ref *r = &x->roots[x->doc.roots_count++];
    r->kind = kind;
    r->epoch = 1;
    dw_root_commitment(r->commitment, root, kind, 1, x->ids.filing);
}

static bool grant_to(struct sealing *x, enum dw_root_kind kind, const uint8_t root[DW_ROOT_LEN],
                     enum dw_grantee to, const char *id)
{
    const struct dw_public_key *k = dw_directory_current(x->dir, to, id, x->filing->facts.day);
    if (!k)
        return fail(x, "a key to seal to is missing in the directory");
    dw_grant_seal(&x->grants[x->doc.grants_count++], kind, 1, x->ids.filing, root, to, k->id,
                  k->epoch, k->key);
    return true;
}

/* The custodians of the receiving body, or of the nearest superior that has some. */
static const char *custodian_body(const struct sealing *x)
{
    for (const struct dw_body *b = x->route.receiver; b;
         b = *b->superior ? dw_body_find(x->in->routing, b->superior) : NULL)
        if (dw_directory_current(x->dir, DW_TO_CUSTODIAN, b->id, x->filing->facts.day))
            return b->id;
    return NULL;
}

static bool has_person(const struct dw_filing *f)
{
    return f->identity_name || f->phone || f->email || f->id_number;
}

static bool make_grants(struct sealing *x)
{
    struct secrets *s = x->s;
    randombytes_buf(s->r, sizeof s->r);
    add_root(x, DW_ROOT_R, s->r);
    if (!grant_to(x, DW_ROOT_R, s->r, DW_TO_BODY, x->route.receiver->id) ||
        !grant_to(x, DW_ROOT_R, s->r, DW_TO_ESCROW, ""))
        return false;
    dw_grant_seal(&x->grants[x->doc.grants_count++], DW_ROOT_R, 1, x->ids.filing, s->r,
                  DW_TO_REPORTER, "", 0, s->receipt.box_public);
    if (!has_person(x->filing))
        return true;
    randombytes_buf(s->p, sizeof s->p);
    dw_root_contact(s->c, s->p);
    add_root(x, DW_ROOT_P, s->p);
    add_root(x, DW_ROOT_C, s->c);
    const char *custodian = custodian_body(x);
    return grant_to(x, DW_ROOT_P, s->p, DW_TO_ESCROW, "") &&
           grant_to(x, DW_ROOT_C, s->c, DW_TO_NOTIFIER, "") &&
           (!custodian || grant_to(x, DW_ROOT_P, s->p, DW_TO_CUSTODIAN, custodian));
}

/* ---- objects ---- */

static bool add_object(struct sealing *x, enum dw_object_type type,
                       const uint8_t root[DW_ROOT_LEN], struct dw_slice plain)
{
    struct dw_object_header header = {
        .type = type, .epoch = 1, .sequence = (uint32_t)x->doc.objects_count,
        .day = x->filing->facts.day};
    struct dw_buf *out = &x->bytes[x->bytes_count];
    dw_buf_init(out, DW_OBJECT_MAX);
    memcpy(header.case_id, x->ids.filing, 16);
    dw_object_id(header.object_id, header.case_id);
    if (!dw_envelope_seal(&header, root, &x->in->signer, plain, out))
        return fail(x, "a text is too long to be sealed");
    x->bytes_count++;
    struct dw_object_ref *ref = &x->objects[x->doc.objects_count++];
    *ref = (struct dw_object_ref){.type = type, .epoch = 1, .sequence = (int32_t)header.sequence,
                                  .size = (int64_t)out->len};
    memcpy(ref->id, header.object_id, 16);
    dw_hash(ref->hash, dw_buf_slice(out));
    return true;
}

static bool add_json(struct sealing *x, enum dw_object_type type, const uint8_t root[DW_ROOT_LEN],
                     void (*write)(const struct dw_filing *, struct dw_buf *))
{
    DW_AUTO_BUF plain = {0};
    dw_buf_init(&plain, DW_OBJECT_MAX);
    write(x->filing, &plain);
    return !plain.len || add_object(x, type, root, dw_buf_slice(&plain));
}

static bool add_manifest(struct sealing *x)
{
    DW_AUTO_BUF plain = {0};
    if (!x->upload || !x->upload->manifest.files_count)
        return true;
    dw_buf_init(&plain, DW_OBJECT_MAX);
    dw_encode(&dw_manifest_layout, &x->upload->manifest, &plain);
    if (!add_object(x, DW_OBJECT_MANIFEST, x->s->r, dw_buf_slice(&plain)))
        return false;
    for (size_t i = 0; i < x->upload->manifest.files_count; i++) {
        struct dw_object_ref *ref = &x->objects[x->doc.objects_count++];
        *ref = x->upload->refs[i];
        ref->sequence = (int32_t)x->doc.objects_count - 1;
    }
    return true;
}

static bool make_objects(struct sealing *x)
{
    return add_json(x, DW_OBJECT_BODY, x->s->r, dw_filing_body_json) && add_manifest(x) &&
           add_json(x, DW_OBJECT_IDENTITY, x->s->p, dw_filing_identity_json) &&
           add_json(x, DW_OBJECT_CONTACT, x->s->c, dw_filing_contact_json);
}

/* ---- the document, signed, into the queue ---- */

static bool make_document(struct sealing *x, struct dw_buf *out, uint8_t seal[DW_SEAL_LEN])
{
    struct dw_sealed_filing *d = &x->doc;
    d->version = 1;
    memcpy(d->id, x->ids.filing, sizeof d->id);
    memcpy(d->handle, x->s->receipt.handle, sizeof d->handle);
    memcpy(d->auth_hash, x->s->receipt.auth_hash, sizeof d->auth_hash);
    memcpy(d->reporter, x->s->receipt.box_public, sizeof d->reporter);
    d->facts = x->filing->facts;
    d->body = x->route.receiver->id;
    d->rule = x->route.rule;
    d->roots = x->roots;
    d->grants = x->grants;
    d->objects = x->objects;
    if (x->filing->code && dw_keyd_index(x->in->keyd, DW_INDEX_PROVIDER, x->filing->code,
                                         d->provider) != DW_OK)
        return fail(x, "keyd does not answer");
    dw_encode(&dw_sealed_filing_layout, d, out);
    memcpy(seal, x->in->signer.id, DW_SIGNER_LEN);
    dw_sign(&x->in->signer, DW_LABEL_FILING, dw_buf_slice(out), seal + DW_SIGNER_LEN);
    return true;
}

/* The frame behind the status, where there is one. */
static struct dw_slice said_by(const struct dw_bus_answer *got)
{
    return got->payload_count ? got->payload[0] : DW_SLICE("", 0);
}

int retry_seconds_of(const struct dw_bus_answer *refused)
{
    return dw_put_again_seconds(said_by(refused));
}

static void answer(const struct sealing *x, const struct dw_putting *p, struct dw_submitted *ret)
{
    ret->status = p->status;
    ret->retry_seconds = p->retry_seconds;
    ret->why = p->why;
    if (p->status == 202) {
        ret->day = x->filing->facts.day;
        memcpy(ret->receipt, x->ids.receipt, sizeof ret->receipt);
    }
}

static void put(struct sealing *x, struct dw_slice document, const uint8_t seal[DW_SEAL_LEN],
                struct dw_submitted *ret)
{
    struct dw_item_header header = {.parts = x->upload ? x->upload->parts : 0};
    struct dw_slice frames[4 + 4];
    struct dw_putting putting;
    struct dw_bus_answer got;
    size_t n = 0;
    DW_AUTO_BUF coded = {0};
    dw_buf_init(&coded, 256);
    memcpy(header.id, x->ids.filing, sizeof header.id);
    if (header.parts)
        memcpy(header.attempt, x->upload->attempt, sizeof header.attempt);
    memcpy(header.handle, x->s->receipt.handle, sizeof header.handle);
    memcpy(header.tok, x->ids.tok, sizeof header.tok);
    memcpy(header.fp, x->fp, sizeof header.fp);
    snprintf(header.service, sizeof header.service, "filing");
    dw_item_header_encode(&header, &coded);
    frames[n++] = dw_slice_of("close");
    frames[n++] = dw_buf_slice(&coded);
    frames[n++] = document;
    frames[n++] = DW_SLICE(seal, DW_SEAL_LEN);
    for (size_t i = 0; i < x->bytes_count; i++)
        frames[n++] = dw_buf_slice(&x->bytes[i]);
    dw_putting_begin(&putting, dw_bus_brokers(x->in->bus),
                     x->upload ? x->upload->broker : dw_bus_first(x->in->bus), header.parts > 0);
    for (size_t broker; dw_putting_next(&putting, &broker);) {
        enum dw_result result = dw_bus_call(x->in->bus, broker, "queue.put", frames, n,
                                            x->in->config->web.call_timeout_ms, &got);
        dw_putting_answered(&putting, result, got.status, said_by(&got));
        dw_bus_answer_free(&got);
    }
    answer(x, &putting, ret);
}

/* With several machines: until the store has it too, so that no lost queue can take it along.  When that
 * takes too long the filing is kept all the same, but the receipt is not shown yet. */
static void wait_for_store(struct sealing *x, struct dw_submitted *ret)
{
    int64_t until = dw_monotonic_ms() + x->in->config->web.call_timeout_ms, nap = STORED_NAP_MS;
    for (;;) {
        struct dw_bus_answer got;
        bool stored = ask_case(x->in, x->s, &got) == DW_OK && got.status == 200;
        dw_bus_answer_free(&got);
        if (stored)
            return;
        if (dw_monotonic_ms() + nap > until)
            break;
        usleep((useconds_t)nap * 1000);
        nap = nap < STORED_NAP_MAX_MS ? nap * 2 : nap;
    }
    sodium_memzero(ret->receipt, sizeof ret->receipt);
    ret->status = 503;
    ret->retry_seconds = DW_PUT_AGAIN_SECONDS;
    ret->why = "the filing is in the queue, and not yet in the store";
}

void dw_intake_submit(struct dw_intake *in, const struct dw_filing *filing,
                      const char *idempotency_key, struct dw_upload *upload,
                      struct dw_submitted *ret)
{
    struct sealing x = {.in = in, .filing = filing, .upload = upload};
    DW_AUTO_BUF document = {0};
    uint8_t seal[DW_SEAL_LEN];
    dw_buf_init(&document, 256 * 1024);
    *ret = (struct dw_submitted){.status = 503, .retry_seconds = DW_PUT_AGAIN_SECONDS};
    if (upload && !dw_upload_files(upload))
        x.upload = NULL;
    x.s = secrets_new();
    x.dir = dw_directory_take(in->directory);
    bool good = x.s != NULL || fail(&x, "no locked memory for keys");
    if (good && x.upload && !upload_settled(x.upload, in->config->web.call_timeout_ms)) {
        good = fail(&x, "a chunk of a file was not taken by the queue");
        if (x.upload->retry_seconds)
            ret->retry_seconds = x.upload->retry_seconds;
    }
    if (good) {
        fingerprint(&x);
        dw_receipt_derive(&x.ids, in->secret, idempotency_key, x.fp);
        good = open_receipt(in, x.dir, x.ids.receipt, x.s) == DW_OK ||
               fail(&x, "keyd does not answer");
    }
    good = good && find_route(&x) && make_grants(&x) && make_objects(&x) &&
           make_document(&x, &document, seal);
    DW_POINT("intake.sealed");
    if (good)
        put(&x, dw_buf_slice(&document), seal, ret);
    else
        ret->why = x.why;
    if (ret->status == 202 && strcmp(in->config->web.receipt_after, "store") == 0)
        wait_for_store(&x, ret);
    for (size_t i = 0; i < x.bytes_count; i++)
        dw_buf_free(&x.bytes[i]);
    dw_directory_give(in->directory, (struct dw_directory *)x.dir);
    secrets_free(x.s);
    sodium_memzero(&x.ids, sizeof x.ids);
    DW_POINT("intake.answered");
}
