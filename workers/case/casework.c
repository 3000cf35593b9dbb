/* casework.c - requests, changes, and the commit that many of them share. */
#include "casework.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

void cw_refuse(struct pending *p, int status, const char *field, const char *text)
{
    p->status = status;
    if (text)
        dw_error_set(&p->error, field, "%s", text);
    p->commit = false;
}

void cw_refuse_result(struct pending *p, enum dw_result result)
{
    static const char *const words[] = {
        [DW_NOT_FOUND] = "not found",
        [DW_RETRY] = "the store is away; try again",
        [DW_UNCERTAIN] = "it may or may not have happened: look, then try again",
    };
    if (result == DW_RETRY && p->in_doubt)
        result = DW_UNCERTAIN;
    cw_refuse(p, dw_result_status(result), "", words[result] ? words[result] : dw_result_name(result));
}

void cw_answer(struct pending *p, const struct dw_layout *layout, const void *in)
{
    p->status = 200;
    dw_buf_clear(&p->answer);
    dw_encode(layout, in, &p->answer);
}

void cw_done(struct pending *p, int32_t version, const char *state, bool already)
{
    struct dw_done done = {version, state, already};
    cw_answer(p, &dw_done_layout, &done);
}

bool cw_decode(struct pending *p, const struct dw_slice *body, size_t count, size_t i,
               const struct dw_layout *layout, void *ret)
{
    if (i < count && dw_decode(layout, body[i], &p->arena, ret, &p->error) == DW_OK)
        return true;
    cw_refuse(p, 422, "request", i < count ? NULL : "a frame is missing");
    return false;
}

/* ---- changes ---- */

struct change *cw_change(struct pending *p, const struct dw_case *c, int64_t old_version)
{
    struct change *change = NULL;
    struct change *grown = dw_arena_alloc(&p->arena, (p->changes_count + 1) * sizeof *grown);
    if (!grown)
        abort();
    if (p->changes_count)
        memcpy(grown, p->changes, p->changes_count * sizeof *grown);
    p->changes = grown;
    change = &grown[p->changes_count++];
    *change = (struct change){.c = *c};
    dw_buf_init(&change->doc, DW_DOC_MAX);
    change->step.old_version = old_version;
    change->step.outcome = DW_RETRY; /* until the store says otherwise: it may never be asked */
    p->commit = true;
    return change;
}

void cw_seal_change(struct pending *p, struct change *change)
{
    dw_buf_clear(&change->doc);
    dw_case_encode(&change->c, &p->arena, &change->doc);
    change->step.with_case = true;
    memcpy(change->step.case_id, change->c.id, 16);
    change->step.version = change->c.version;
    change->step.doc = dw_buf_slice(&change->doc);
    if (change->doc.overflow)
        cw_refuse(p, 422, "case", "the case has grown to its limit");
}

bool cw_put_record(struct pending *p, const char *collection, const char *key,
                   int64_t old_version, const struct dw_layout *layout, const void *in)
{
    if (p->records_count == DW_COUNT(p->records))
        return false;
    if (!p->changes_count) /* a step without a case */
        cw_change(p, &(struct dw_case){0}, 0);
    struct dw_buf *doc = &p->record_docs[p->records_count];
    dw_buf_init(doc, DW_DOC_MAX);
    dw_encode(layout, in, doc);
    p->records[p->records_count++] =
        (struct dw_store_record){.collection = collection,
                                 .key = dw_arena_strndup(&p->arena, key, strlen(key)),
                                 .old_version = old_version,
                                 .version = old_version + 1,
                                 .doc = dw_buf_slice(doc)};
    p->commit = true;
    return true;
}

void cw_add_command(struct pending *p, struct dw_case *c, int64_t old_version,
                    const struct dw_command *command, const struct dw_slice *objects)
{
    struct change *change = cw_change(p, c, old_version);
    struct dw_store_object *list =
        dw_arena_alloc(&p->arena, (command->objects_count + 1) * sizeof *list);
    for (size_t i = 0; i < command->objects_count; i++) {
        memcpy(list[i].id, command->objects[i].id, 16);
        list[i].part = 0;
        list[i].bytes = objects[i];
    }
    change->step.objects = list;
    change->step.objects_count = command->objects_count;
    cw_seal_change(p, change);
}

void cw_audit(struct pending *p, const char *actor, const char *verb, const char *object)
{
    p->audit = (struct dw_audit){.actor = actor, .verb = verb, .object = object};
    p->commit = true;
}

/* ---- the life of a request ---- */

static void init_results(struct pending *p)
{
    dw_arena_init(&p->arena, CW_ARENA_MAX);
    dw_buf_init(&p->answer, DW_DOC_MAX);
    dw_pack_init(&p->pack);
}

static void free_results(struct pending *p)
{
    /* The arena goes last: changes live in it. */
    for (size_t i = 0; i < p->changes_count; i++)
        dw_buf_free(&p->changes[i].doc);
    for (size_t i = 0; i < p->records_count; i++)
        dw_buf_free(&p->record_docs[i]);
    dw_buf_free(&p->answer);
    dw_pack_free(&p->pack);
    dw_arena_free(&p->arena);
}

struct pending *cw_pending_new(struct casework *cw, struct dw_worker *worker,
                               struct dw_request *take_request)
{
    (void)cw;
    struct pending *p = dw_alloc(sizeof *p);
    p->worker = worker;
    if (take_request) {
        p->request = *take_request;
        *take_request = (struct dw_request){0};
    }
    init_results(p);
    return p;
}

static void free_pending(struct pending *p)
{
    free_results(p);
    dw_request_free(&p->request);
    dw_free(p);
}

/* The call number is the first frame of a request's body and goes back as the first of the answer.
 * An item of the queue has none: there the answer is status and reason. */
static void send_answer(struct pending *p)
{
    struct dw_slice frames[2 + DW_DOC_FRAMES_MAX + DW_PACK_FRAMES_MAX], doc[DW_DOC_FRAMES_MAX];
    char status[8];
    size_t n = 0, doc_frames = dw_doc_frames(dw_buf_slice(&p->answer), doc);
    if (!p->worker)
        return;
    if (!p->job && p->status == 200 && !doc_frames)
        cw_refuse(p, 422, "answer", "it has become longer than an answer may be");
    snprintf(status, sizeof status, "%d", p->status);
    if (!p->job && p->request.body_count)
        frames[n++] = p->request.body[0];
    frames[n++] = dw_slice_of(status);
    if (p->job) {
        frames[n++] = dw_slice_of(p->error.text);
    } else if (p->status == 200) {
        for (size_t i = 0; i < doc_frames; i++)
            frames[n++] = doc[i];
        for (size_t i = 0; i < p->pack.count; i++)
            frames[n++] = dw_buf_slice(&p->pack.frames[i]);
    } else {
        frames[n++] = dw_slice_of(p->error.field);
        frames[n++] = dw_slice_of(p->error.text);
    }
    DW_POINT("case.before-reply");
    dw_worker_reply(p->worker, p->request.address, frames, n);
}

void cw_finish(struct casework *cw, struct pending *p)
{
    if (!p->commit || (p->status && p->status != 200 && !p->answer_anyway)) {
        if (p->status != 200)
            (*cw->m_refused)++;
        send_answer(p);
        free_pending(p);
        return;
    }
    p->next = NULL;
    *cw->batch_end = p;
    cw->batch_end = &p->next;
    cw->batch_count += p->changes_count ? p->changes_count : 1;
    if (cw->batch_count >= (size_t)cw->config->cases.batch_max)
        cw_flush(cw);
}

void cw_again(struct casework *cw, struct pending *p)
{
    free_results(p);
    p->changes = NULL;
    p->changes_count = p->records_count = 0;
    p->commit = false;
    p->status = 0;
    p->settle = NULL;
    p->audit = (struct dw_audit){0};
    init_results(p);
    p->tries++;
    p->method->handle(cw, p, p->request.body + 2, p->request.body_count - 2);
    cw_finish(cw, p);
}

/* ---- audit ---- */

static bool know_audit(struct casework *cw)
{
    if (cw->audit_known)
        return true;
    DW_AUTO_BUF last = {0};
    DW_AUTO_ARENA arena = {0};
    struct dw_audit entry;
    struct dw_error err;
    dw_buf_init(&last, DW_DOC_MAX);
    dw_arena_init(&arena, DW_DOC_MAX);
    memset(cw->audit_hash, 0, sizeof cw->audit_hash);
    if (dw_store_audit_last(cw->store, cw->config->cases.chain, &cw->audit_seq, &last) != DW_OK)
        return false;
    if (cw->audit_seq) {
        if (dw_decode(&dw_audit_layout, dw_buf_slice(&last), &arena, &entry, &err) != DW_OK)
            return false;
        memcpy(cw->audit_hash, entry.hash, sizeof cw->audit_hash);
    }
    cw->audit_known = true;
    return true;
}

static void write_entry(struct casework *cw, struct pending *p, dw_time now, struct dw_buf *doc)
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, 8192);
    p->audit.seq = ++cw->audit_seq;
    p->audit.at = now;
    memcpy(p->audit.before, cw->audit_hash, DW_HASH_LEN);
    dw_audit_signed_bytes(&p->audit, &bytes);
    dw_hash(p->audit.hash, dw_buf_slice(&bytes));
    memcpy(p->audit.writer, cw->signer.id, DW_SIGNER_LEN);
    dw_sign(&cw->signer, DW_LABEL_AUDIT, dw_buf_slice(&bytes), p->audit.signature);
    memcpy(cw->audit_hash, p->audit.hash, DW_HASH_LEN);
    dw_encode(&dw_audit_layout, &p->audit, doc);
}

/* ---- committing ---- */

static size_t count_audits(const struct pending *list)
{
    size_t count = 0;
    for (; list; list = list->next)
        count += list->audit.verb != NULL;
    return count;
}

/* All audit entries of the batch are one step, the first, and what they speak of needs it: what was
 * asked is written down with, or before, what came of it, and a request that then fails is still on
 * record. */
static struct dw_store_step *audit_step(struct casework *cw, struct pending *list, size_t count,
                                        struct dw_store_step *step, struct dw_buf **docs)
{
    struct dw_store_audit *entries = dw_alloc(count * sizeof *entries);
    dw_time now = dw_now();
    size_t n = 0;
    *docs = dw_alloc(count * sizeof **docs);
    for (struct pending *p = list; p; p = p->next) {
        if (!p->audit.verb)
            continue;
        struct dw_buf *doc = &(*docs)[n];
        dw_buf_init(doc, 8192);
        write_entry(cw, p, now, doc);
        entries[n++] = (struct dw_store_audit){cw->config->cases.chain, p->audit.seq, dw_buf_slice(doc)};
    }
    *step = (struct dw_store_step){.audit = entries, .audit_count = n};
    return step;
}

static size_t gather_steps(struct pending *list, struct dw_store_step **steps)
{
    size_t n = 0;
    for (struct pending *p = list; p; p = p->next) {
        for (size_t i = 0; i < p->changes_count; i++) {
            struct dw_store_step *step = &p->changes[i].step;
            step->ix = &p->changes[i].c.ix;
            step->needs_first = p->audit.verb != NULL;
            if (i == 0) {
                step->records = p->records;
                step->records_count = p->records_count;
            }
            steps[n++] = step;
        }
    }
    return n;
}

static void settle_usually(struct casework *cw, struct pending *p, enum dw_result outcome)
{
    if (outcome == DW_OK)
        return;
    if (outcome != DW_CONFLICT) {
        cw_refuse_result(p, outcome);
        return;
    }
    (*cw->m_conflicts)++;
    cw_refuse(p, dw_result_status(outcome), "version", "the case has changed: read it again");
}

static void finish_one(struct casework *cw, struct pending *p, enum dw_result audited)
{
    enum dw_result outcome = p->changes_count ? p->changes[0].step.outcome : DW_OK;
    p->next = NULL;
    if (audited != DW_OK && p->audit.verb)
        outcome = audited == DW_UNCERTAIN ? DW_UNCERTAIN : DW_RETRY;
    /* A store that leaves one in doubt may do so slowly: once more, then whoever asks may. */
    bool again = outcome == DW_CONFLICT || (outcome == DW_UNCERTAIN && !p->in_doubt);
    p->in_doubt |= outcome == DW_UNCERTAIN;
    if (again && p->tries_again && p->tries < CW_TRIES_MAX) {
        cw_again(cw, p);
        return;
    }
    if (p->settle) {
        p->settle(cw, p);
        return; /* it took the request */
    }
    settle_usually(cw, p, outcome);
    send_answer(p);
    free_pending(p);
}

void cw_flush(struct casework *cw)
{
    struct pending *list = cw->batch;
    size_t audits = count_audits(list), n = 0;
    struct dw_store_step audit = {0};
    struct dw_buf *docs = NULL;
    if (!list)
        return;
    struct dw_store_step **steps = dw_alloc((cw->batch_count + 1) * sizeof *steps);
    cw->batch = NULL;
    cw->batch_end = &cw->batch;
    (*cw->m_batch) += (int64_t)cw->batch_count;
    cw->batch_count = 0;
    enum dw_result audited = DW_OK;
    if (audits && !know_audit(cw))
        audited = DW_RETRY;
    else if (audits)
        steps[n++] = audit_step(cw, list, audits, &audit, &docs);
    if (audited == DW_OK) {
        n += gather_steps(list, steps + n);
        dw_store_apply(cw->store, steps, n);
        (*cw->m_commits)++;
        if (audits)
            audited = audit.outcome;
    }
    if (audited == DW_CONFLICT)
        dw_log(DW_ERROR, "case.chain", "another case worker writes the audit chain %s: give each its "
                                       "own, case.chain", cw->config->cases.chain);
    if (audited != DW_OK)
        cw->audit_known = false;
    for (size_t i = 0; i < audits && docs; i++)
        dw_buf_free(&docs[i]);
    dw_free(docs);
    dw_free((void *)audit.audit);
    dw_free(steps);
    DW_POINT("case.committed");
    for (struct pending *p = list, *next; p; p = next) {
        next = p->next;
        finish_one(cw, p, audited);
    }
}

/* ---- reading ---- */

enum dw_result cw_load(struct casework *cw, struct pending *p, const uint8_t id[16],
                       struct dw_case *ret)
{
    struct dw_store_case found;
    struct dw_error err = {0};
    DW_AUTO_BUF doc = {0};
    for (struct pending *other = cw->batch; other; other = other->next)
        for (size_t i = 0; i < other->changes_count; i++)
            if (memcmp(other->changes[i].c.id, id, 16) == 0) {
                cw_flush(cw);
                return cw_load(cw, p, id, ret);
            }
    dw_buf_init(&doc, DW_DOC_MAX + 1);
    enum dw_result result = dw_store_case(cw->store, id, &doc, &found);
    if (result != DW_OK)
        return result;
    if (dw_case_decode(found.doc, &p->arena, ret, &err) != DW_OK) {
        dw_log(DW_ERROR, "case.unreadable", "%s", err.text);
        return DW_RETRY;
    }
    return DW_OK;
}

bool cw_seal_is_of(const uint8_t seal[DW_SEAL_LEN], const uint8_t signer[DW_SIGNER_LEN],
                   const uint8_t sign[DW_KEY_LEN], const char *label, struct dw_slice said)
{
    return memcmp(seal, signer, DW_SIGNER_LEN) == 0 &&
           dw_verify(sign, label, said, seal + DW_SIGNER_LEN);
}

bool cw_check_object(const struct dw_object_ref *ref, struct dw_slice bytes,
                     const uint8_t case_id[16], dw_day day, const uint8_t sign[DW_KEY_LEN],
                     struct dw_error *err)
{
    struct dw_object_header header;
    uint8_t hash[DW_HASH_LEN], signer[DW_SIGNER_LEN];
    dw_hash(hash, bytes);
    bool same = (int64_t)bytes.len == ref->size && memcmp(hash, ref->hash, DW_HASH_LEN) == 0 &&
                dw_envelope_header(bytes, &header, signer) && (int32_t)header.type == ref->type &&
                memcmp(header.case_id, case_id, 16) == 0 &&
                memcmp(header.object_id, ref->id, 16) == 0 &&
                (int32_t)header.epoch == ref->epoch && (int32_t)header.sequence == ref->sequence &&
                header.day == day;
    if (!same)
        dw_error_set(err, "objects", "an object is not the one it was named as");
    else if (!(same = dw_envelope_signed_by(bytes, sign)))
        dw_error_set(err, "objects", "an object is not signed by who says it");
    return same;
}

/* ---- what readers are shown ---- */

static bool reporter_sees(const struct dw_event *e)
{
    static const char *const seen[] = {"registered", "accepted",  "refused",  "transferred",
                                       "received",   "returned",  "asked",    "replied",
                                       "decided",    "closed",    "message",  "withdrawn",
                                       "handed_over"};
    for (size_t i = 0; i < DW_COUNT(seen); i++)
        if (strcmp(seen[i], e->kind) == 0)
            return true;
    return false;
}

static bool shown(const struct dw_object_ref *o, bool for_reporter)
{
    if (!for_reporter)
        return o->type != DW_OBJECT_IDENTITY && o->type != DW_OBJECT_CONTACT;
    return o->type == DW_OBJECT_MESSAGE;
}

static void fill_line(struct pending *p, const struct dw_event *e, bool for_reporter,
                      struct dw_line *line)
{
    *line = (struct dw_line){.seq = e->seq,
                             .kind = e->kind,
                             .actor = e->actor,
                             .state = e->state,
                             .to = e->to,
                             .reason = e->reason,
                             .outcome = e->outcome,
                             .at = e->at,
                             .day = e->day,
                             .object_day = e->day};
    memcpy(line->signer, e->said_by, DW_SIGNER_LEN);
    line->objects = dw_arena_alloc(&p->arena, (e->objects_count + 1) * sizeof *line->objects);
    for (size_t i = 0; i < e->objects_count; i++)
        if (shown(&e->objects[i], for_reporter))
            line->objects[line->objects_count++] = e->objects[i];
}

void cw_lines(struct pending *p, const struct dw_case *c, bool for_reporter,
              struct dw_line **ret, size_t *count)
{
    struct dw_line *lines = dw_arena_alloc(&p->arena, (c->events_count + 1) * sizeof *lines);
    *count = 0;
    for (size_t i = 0; i < c->events_count; i++)
        if (!for_reporter || reporter_sees(&c->events[i]))
            fill_line(p, &c->events[i], for_reporter, &lines[(*count)++]);
    *ret = lines;
}

void cw_writers(struct casework *cw, struct pending *p, const struct dw_line *lines, size_t count,
                struct dw_member **ret, size_t *ret_count)
{
    struct dw_member *writers = dw_arena_alloc(&p->arena, (count + 1) * sizeof *writers);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < n && strcmp(writers[j].user, lines[i].actor) != 0)
            j++;
        if (j < n || !lines[i].objects_count)
            continue;
        int64_t version;
        if (cw_member(cw, p, lines[i].actor, &writers[n], &version) == DW_OK)
            n++;
    }
    *ret = writers;
    *ret_count = n;
}

static size_t bytes_of(const struct dw_line *line)
{
    size_t bytes = 0;
    for (size_t i = 0; i < line->objects_count; i++)
        if (line->objects[i].type != DW_OBJECT_FILE)
            bytes += (size_t)line->objects[i].size;
    return bytes;
}

/* What came first is the report; of what came later the newest is wanted most.  From which line on all
 * have room beside the first. */
static size_t newest_with_room(const struct dw_line *lines, size_t count)
{
    size_t from = count, bytes = count ? bytes_of(&lines[0]) : 0;
    while (from > 1 && (bytes += bytes_of(&lines[from - 1])) <= DW_PACKED_MAX)
        from--;
    return from;
}

void cw_pack_objects(struct casework *cw, struct pending *p, const struct dw_line *lines,
                     size_t count)
{
    size_t newest = newest_with_room(lines, count);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < lines[i].objects_count; j++) {
            DW_AUTO_BUF bytes = {0};
            const struct dw_object_ref *o = &lines[i].objects[j];
            dw_buf_init(&bytes, DW_OBJECT_MAX);
            if (o->type == DW_OBJECT_FILE || (i > 0 && i < newest) ||
                dw_store_object(cw->store, o->id, 0, &bytes) != DW_OK)
                dw_buf_clear(&bytes);
            dw_pack_put(&p->pack, dw_buf_slice(&bytes));
        }
    }
}
