/* kannel.c - SMS through Kannel's smsbox.  The text travels in the URL: the gateway is on this
 * machine, and the text says nothing. */
#include "channel.h"

#include "dw/bytes.h"
#include "dw/log.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

enum { ANSWER_MAX = 200 };

static bool configured(const struct dw_config *config)
{
    return strcmp(config->notify.sms_driver, "kannel") == 0;
}

static size_t keep_answer(char *data, size_t size, size_t count, void *arg)
{
    struct dw_buf *answer = arg;
    size_t len = size * count, room = ANSWER_MAX - answer->len;
    dw_buf_put(answer, data, len < room ? len : room);
    return len;
}

static void add(CURL *curl, struct dw_buf *url, const char *name, const char *value)
{
    char *escaped = curl_easy_escape(curl, value, 0);
    dw_buf_printf(url, "%c%s=%s", strchr((const char *)url->data, '?') ? '&' : '?', name, escaped);
    dw_wipe(escaped, strlen(escaped));
    curl_free(escaped);
}

static void compose(CURL *curl, const struct dw_config *config, const struct dw_message_out *m,
                    struct dw_buf *url)
{
    char password[256];
    dw_channel_password(config, config->notify.sms_password_file, password);
    dw_buf_str(url, config->notify.sms_url);
    add(curl, url, "username", config->notify.sms_user);
    add(curl, url, "password", password);
    add(curl, url, "from", config->notify.sms_from);
    add(curl, url, "to", m->to);
    add(curl, url, "coding", "2");
    add(curl, url, "charset", "UTF-8");
    add(curl, url, "text", m->text);
    dw_wipe(password, sizeof password);
}

static void judge(CURL *curl, CURLcode code, const struct dw_buf *answer, struct dw_delivery *ret)
{
    long status = 0;
    char words[80];
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *ret = (struct dw_delivery){.accepted = code == CURLE_OK && status == 202};
    if (code != CURLE_OK) {
        snprintf(ret->code, sizeof ret->code, "%s", curl_easy_strerror(code));
        return;
    }
    /* 403 is a wrong password of ours; the other 4xx are about this message. */
    ret->refused = status >= 400 && status < 500 && status != 403;
    dw_printable(words, sizeof words, answer->data, answer->len);
    snprintf(ret->code, sizeof ret->code, "HTTP %ld %s", status, words);
}

static CURL *open_gateway(const struct dw_config *config, const char *url)
{
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)config->notify.timeout_seconds);
    return curl;
}

static void send_sms(const struct dw_config *config, const struct dw_message_out *message,
                     struct dw_delivery *ret)
{
    DW_AUTO_BUF url = {0};
    DW_AUTO_BUF answer = {0};
    CURL *curl = open_gateway(config, config->notify.sms_url);
    dw_buf_init(&url, 16384);
    dw_buf_init(&answer, ANSWER_MAX);
    compose(curl, config, message, &url);
    curl_easy_setopt(curl, CURLOPT_URL, dw_buf_text(&url));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    judge(curl, curl_easy_perform(curl), &answer, ret);
    curl_easy_cleanup(curl);
}

/* Kannel has no question that asks whether user and password are right without sending. */
static void reach_gateway(const struct dw_config *config, struct dw_delivery *ret)
{
    CURL *curl = open_gateway(config, config->notify.sms_url);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    CURLcode code = curl_easy_perform(curl);
    *ret = (struct dw_delivery){.accepted = code == CURLE_OK};
    snprintf(ret->code, sizeof ret->code, "%s", curl_easy_strerror(code));
    curl_easy_cleanup(curl);
}

const struct dw_channel dw_channel_sms = {"sms", configured, send_sms, reach_gateway};
