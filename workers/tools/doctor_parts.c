/* doctor_parts.c - what runs, what waits, and who can be told. */
#include "doctor.h"

#include "channel.h"

#include "dw/bytes.h"
#include "dw/process.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MAX = 65536, TIMEOUT_SECONDS = 5, OLD_SECONDS = 600 };

/* ---- parts ---- */

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
    dw_buf_put(arg, data, size * count);
    return size * count;
}

static json_t *ask_ops(const struct dw_config *config)
{
    DW_AUTO_BUF answer = {0};
    char url[160];
    dw_buf_init(&answer, ANSWER_MAX);
    snprintf(url, sizeof url, "http://%s/readyz", config->ops.listen);
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    return code == CURLE_OK ? json_loadb((const char *)answer.data, answer.len, 0, NULL) : NULL;
}

void look_at_parts(struct doctor *d)
{
    json_t *said = ask_ops(d->config), *part;
    const char *name;
    if (!said) {
        found(d, WRONG, "parts", "dengwen run, or systemctl start dengwen.target",
              "nothing answers at %s: Dengwen is not running", d->config->ops.listen);
        return;
    }
    json_object_foreach(json_object_get(said, "parts"), name, part)
    {
        const char *reason = json_string_value(json_object_get(part, "reason"));
        if (json_is_true(json_object_get(part, "ready")))
            found(d, FINE, name, "", "ready");
        else
            found(d, WRONG, name, "its log tells more", "%s", reason ? reason : "not ready");
    }
    json_decref(said);
}

/* ---- queue ---- */

void look_at_queue(struct doctor *d)
{
    const char *const words[] = {"stats"};
    char *text = admin_try_queue(d->admin, words, 1);
    json_t *stats = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (!stats) {
        found(d, WRONG, "queue", "see that the broker runs and that keys/directory is current",
              "the broker does not answer");
        return;
    }
    long long dead = json_integer_value(json_object_get(stats, "dead"));
    long long items = json_integer_value(json_object_get(stats, "items"));
    long long oldest = json_integer_value(json_object_get(stats, "oldest_seconds"));
    long long bytes = json_integer_value(json_object_get(stats, "bytes"));
    json_decref(stats);
    if (dead)
        found(d, WRONG, "dead letters",
              "`dengwen queue list dead` says why; mend that, then `dengwen queue retry ID`: each is "
              "a reporter who waits",
              "%lld filings could not be verified, or failed too often", dead);
    else
        found(d, FINE, "dead letters", "", "none");
    if (bytes > d->config->queue.max_bytes / 2)
        found(d, WRONG, "queue", "see why nobody takes them", "more than half full: %lld filings",
              items);
    else if (items > dead && oldest > OLD_SECONDS)
        found(d, CARE, "queue", "see why nobody takes them: the case worker or its store",
              "%lld filings wait, the oldest for %lld minutes", items - dead, oldest / 60);
    else
        found(d, FINE, "queue", "", "%lld filings wait", items - dead);
}

/* ---- store ---- */

/* Whether it can be reached is for readyz: only the case worker has its password. */
void look_at_store(struct doctor *d)
{
    if (d->config->store.allow_standalone)
        found(d, CARE, "store", "make the server a replica set, one member is enough, and take the "
                                "setting store.allow_standalone out",
              "a server that is no replica set is allowed: its disk would be the only copy");
    else
        found(d, FINE, "store", "", "only a replica set, or a file, is allowed");
}

/* ---- providers ---- */

void look_at_providers(struct doctor *d)
{
    static const struct {
        const struct dw_channel *channel;
        const char *what, *todo;
    } ways[] = {{&dw_channel_email, "e-mail", "set notify.smtp_url"},
                {&dw_channel_sms, "SMS", "set notify.sms_driver and notify.sms_url"}};
    for (size_t i = 0; i < DW_COUNT(ways); i++) {
        struct dw_delivery reached;
        if (!ways[i].channel->configured(d->config)) {
            found(d, CARE, ways[i].what, ways[i].todo,
                  "none leaves: reporters read their notices with the receipt only");
            continue;
        }
        ways[i].channel->reach(d->config, &reached);
        if (reached.accepted)
            found(d, FINE, ways[i].what, "", "the provider can be reached");
        else
            found(d, WRONG, ways[i].what, "see the provider and the settings under notify:",
                  "the provider cannot be reached: %s; notices wait and are tried again",
                  reached.code);
    }
}
