#include "notifier.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { CALL_MS = 10000, ARENA_MAX = 16 * 1024 * 1024 };

/* ---- month keys ---- */

enum dw_result notifier_load_months(struct notifier *n, struct dw_error *err)
{
    DIR *folder = opendir(n->process.state);
    struct dirent *entry;
    enum dw_result result = DW_OK;
    if (!folder)
        return dw_invalid(err, "notify", "%s: %s", n->process.state, strerror(errno));
    while (result == DW_OK && (entry = readdir(folder))) {
        int month;
        char end;
        if (sscanf(entry->d_name, "month-%6d.ke%c", &month, &end) != 2 || end != 'y' ||
            n->months_count == NOTIFY_MONTHS_MAX)
            continue;
        DW_AUTO_BUF path = {0};
        dw_buf_init(&path, 4096);
        dw_buf_printf(&path, "%s/%s", n->process.state, entry->d_name);
        struct month_key *k = &n->months[n->months_count];
        k->month = month;
        k->secret = dw_secret_load(dw_buf_text(&path), DW_KEY_LEN, err);
        if (!k->secret) {
            result = DW_INVALID;
        } else {
            crypto_scalarmult_base(k->public, k->secret);
            n->months_count++;
        }
    }
    closedir(folder);
    return result;
}

static const struct month_key *month_of(const struct notifier *n, int32_t month)
{
    for (size_t i = 0; i < n->months_count; i++)
        if (n->months[i].month == month)
            return &n->months[i];
    return NULL;
}

/* ---- opening the contact ---- */

struct contact {
    json_t *json;
    const char *phone, *email;
};

static bool open_contact(struct notifier *n, const struct dw_claimed *c, struct dw_slice bytes,
                         struct contact *ret)
{
    uint8_t root[DW_ROOT_LEN];
    struct dw_error err;
    json_error_t why;
    DW_AUTO_BUF plain = {0};
    dw_buf_init(&plain, DW_OBJECT_MAX);
    struct dw_object_header expected = {.type = DW_OBJECT_CONTACT,
                                        .epoch = (uint32_t)c->contact.epoch,
                                        .sequence = (uint32_t)c->contact.sequence,
                                        .day = c->contact_day};
    memcpy(expected.case_id, c->case_id, 16);
    memcpy(expected.object_id, c->contact.id, 16);
    const struct month_key *k = month_of(n, c->grant.to_epoch);
    struct dw_directory *dir = dw_directory_take(n->directory);
    const struct dw_program *intake = dw_directory_by_signer(dir, c->signer, c->contact_day);
    bool good = k && intake && c->grant.to == DW_TO_NOTIFIER && c->grant.kind == DW_ROOT_C &&
                dw_grant_open(&c->grant, c->case_id, c->commitment, k->public, k->secret, root,
                              &err) == DW_OK &&
                dw_envelope_open(bytes, &expected, root, intake->sign, &plain, &err) == DW_OK;
    dw_directory_give(n->directory, dir);
    sodium_memzero(root, sizeof root);
    ret->json = good ? json_loadb((const char *)plain.data, plain.len, 0, &why) : NULL;
    ret->phone = json_string_value(json_object_get(ret->json, "phone"));
    ret->email = json_string_value(json_object_get(ret->json, "email"));
    return ret->json != NULL;
}

/* ---- sending ---- */

static void report(struct notifier *n, const struct dw_claimed *c, const char *channel,
                   const struct dw_delivery *d, bool final)
{
    int64_t wait = n->config->notify.backoff_seconds * 1000;
    struct dw_bus_answer answer;
    DW_AUTO_BUF doc = {0};
    for (int32_t i = 1; i < c->tries && wait < n->config->notify.backoff_max_seconds * 1000; i++)
        wait *= 2;
    if (wait > n->config->notify.backoff_max_seconds * 1000)
        wait = n->config->notify.backoff_max_seconds * 1000;
    struct dw_report r = {.fence = c->fence, .channel = channel, .accepted = d->accepted,
                          .refused = d->refused, .final = final, .code = d->code, .again_ms = wait};
    memcpy(r.case_id, c->case_id, 16);
    memcpy(r.notice, c->notice, 16);
    dw_buf_init(&doc, 4096);
    dw_encode(&dw_report_layout, &r, &doc);
    struct dw_slice payload[] = {dw_slice_of("report"), dw_buf_slice(&doc)};
    DW_POINT("notify.before-report");
    /* A lost report is no disaster: the claim runs out, and the notice goes once more. */
    if (dw_bus_call_any(n->bus, false, "case.notify", payload, 2, CALL_MS, &answer) != DW_OK ||
        answer.status != 200)
        dw_log(DW_WARN, "notify.report", "a report was not taken; the notice may go twice");
    dw_bus_answer_free(&answer);
}

static void send_by(struct notifier *n, const struct dw_claimed *c,
                    const struct dw_channel *channel, const char *to, const char *subject,
                    const char *text)
{
    struct dw_delivery d = {.refused = true};
    char id[33];
    DW_AUTO_BUF rendered = {0};
    dw_buf_init(&rendered, 16384);
    bool english = strcmp(c->language, "en") == 0;
    dw_template_render(text, english ? n->config->notify.name_en : n->config->notify.name_zh, n->address,
                       &rendered);
    if (!channel->configured(n->config)) {
        snprintf(d.code, sizeof d.code, "%s is not configured", channel->name);
    } else if (!to) {
        snprintf(d.code, sizeof d.code, "no address for %s", channel->name);
    } else {
        struct dw_message_out m = {.to = to,
                                   .subject = subject,
                                   .text = dw_buf_text(&rendered),
                                   .message_id = dw_hex(id, c->notice, sizeof c->notice),
                                   .now_ms = dw_now()};
        DW_POINT("notify.before-send");
        channel->send(n->config, &m, &d);
        DW_POINT("notify.sent");
    }
    bool final = d.refused || c->tries >= n->config->notify.attempts;
    (*(d.accepted ? n->m_sent : n->m_failed))++;
    if (!d.accepted && final) {
        (*n->m_given_up)++;
        dw_log(DW_ERROR, "notify.given-up", "a notice by %s was given up after %d tries: %s",
               channel->name, c->tries, d.code);
    } else if (!d.accepted) {
        dw_log(DW_WARN, "notify.failed", "%s, try %d: %s", channel->name, c->tries, d.code);
    }
    report(n, c, channel->name, &d, final);
}

static void deliver(struct notifier *n, const struct dw_claimed *c, struct dw_slice bytes)
{
    struct contact contact;
    bool english = strcmp(c->language, "en") == 0;
    const struct dw_template *t = dw_template_find(n->templates, c->template);
    if (!t || !open_contact(n, c, bytes, &contact)) {
        struct dw_delivery d = {.code = "the contact could not be opened"};
        (*n->m_unopened)++;
        dw_log(DW_ERROR, "notify.unopened", "a contact could not be opened: is a month's key "
                                            "missing in %s?", n->process.state);
        bool final = c->tries >= n->config->notify.attempts;
        if (c->sms)
            report(n, c, "sms", &d, final);
        if (c->email)
            report(n, c, "email", &d, final);
        return;
    }
    if (c->sms)
        send_by(n, c, &dw_channel_sms, contact.phone, NULL, english ? t->sms_en : t->sms_zh);
    if (c->email)
        send_by(n, c, &dw_channel_email, contact.email, english ? t->subject_en : t->subject_zh,
                english ? t->email_en : t->email_zh);
    json_decref(contact.json);
}

/* ---- claiming ---- */

int notifier_work(struct notifier *n)
{
    struct dw_ask_claim ask = {(int32_t)n->config->notify.claim};
    struct dw_claim_view view;
    struct dw_bus_answer answer;
    struct dw_error err;
    DW_AUTO_BUF doc = {0};
    DW_AUTO_ARENA arena = {0};
    dw_arena_init(&arena, ARENA_MAX);
    dw_buf_init(&doc, 1024);
    dw_encode(&dw_ask_claim_layout, &ask, &doc);
    struct dw_slice payload[] = {dw_slice_of("claim"), dw_buf_slice(&doc)};
    int64_t longest = DW_NOTIFY_CONVERSATIONS * n->config->notify.timeout_seconds * 1000;
    int64_t until = dw_monotonic_ms() + n->config->notify.lease_seconds * 1000;
    enum dw_result result =
        dw_bus_call_any(n->bus, false, "case.notify", payload, 2, CALL_MS, &answer);
    struct dw_unpack objects;
    struct dw_slice read;
    bool good = result == DW_OK && answer.status == 200 &&
                dw_unpack_begin(&objects, answer.payload, answer.payload_count, &arena, &read) &&
                dw_decode(&dw_claim_view_layout, read, &arena, &view, &err) == DW_OK;
    int count = good ? (int)view.items_count : -1;
    for (int i = 0; i < count; i++) {
        struct dw_slice bytes = {0};
        dw_unpack_next(&objects, &bytes);
        /* What cannot be sent within its claim is left: somebody else may have it by then. */
        if (dw_monotonic_ms() + longest < until)
            deliver(n, &view.items[i], bytes);
        dw_process_tick(&n->process);
    }
    dw_bus_answer_free(&answer);
    return count;
}
