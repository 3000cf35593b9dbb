/* smtp.c - e-mail through the site's relay, with libcurl.
 *
 * The text is a template of ours and the address was checked at intake; still nothing gets into a
 * header that could end it. */
#include "channel.h"

#include "dw/bytes.h"
#include "dw/log.h"
#include "dw/process.h"

#include <curl/curl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { LINE_BYTES = 57, WORD_BYTES = 45 };

void dw_channels_start(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void dw_channels_stop(void)
{
    curl_global_cleanup();
}

void dw_channel_password(const struct dw_config *config, const char *file, char out[256])
{
    size_t len;
    out[0] = 0;
    if (!*file)
        return;
    char *text = (char *)dw_config_secret(config, file, 255, &len);
    if (text) {
        snprintf(out, 256, "%.*s", (int)strcspn(text, "\r\n"), text);
        dw_wipe_free(text, len);
    }
}

/* ---- composing ---- */

static void base64_lines(struct dw_buf *out, const char *text)
{
    size_t len = strlen(text);
    char line[128];
    for (size_t at = 0; at < len; at += LINE_BYTES) {
        size_t n = len - at < LINE_BYTES ? len - at : LINE_BYTES;
        sodium_bin2base64(line, sizeof line, (const uint8_t *)text + at, n,
                          sodium_base64_VARIANT_ORIGINAL);
        dw_buf_printf(out, "%s\r\n", line);
    }
}

/* RFC 2047 encoded words, never splitting a character. */
static void encoded_words(struct dw_buf *out, const char *text)
{
    char word[128];
    bool first = true;
    while (*text) {
        size_t n = strlen(text) < WORD_BYTES ? strlen(text) : WORD_BYTES;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
        sodium_bin2base64(word, sizeof word, (const uint8_t *)text, n,
                          sodium_base64_VARIANT_ORIGINAL);
        dw_buf_printf(out, "%s=?UTF-8?B?%s?=", first ? "" : "\r\n ", word);
        first = false;
        text += n;
    }
}

static void header(struct dw_buf *out, const char *name, const char *value)
{
    dw_buf_printf(out, "%s: ", name);
    for (; *value; value++)
        if ((unsigned char)*value >= 0x20 && *value != 0x7f)
            dw_buf_put(out, value, 1);
    dw_buf_str(out, "\r\n");
}

void dw_email_compose(const struct dw_config *config, const struct dw_message_out *m,
                      struct dw_buf *out)
{
    char date[64], id[160];
    time_t seconds = (time_t)(m->now_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &tm);
    const char *at = strchr(config->notify.smtp_from, '@');
    snprintf(id, sizeof id, "<%s%s>", m->message_id, at ? at : "@localhost");
    header(out, "Date", date);
    header(out, "From", config->notify.smtp_from);
    header(out, "To", m->to);
    header(out, "Message-ID", id);
    dw_buf_str(out, "Subject: ");
    encoded_words(out, m->subject);
    dw_buf_str(out, "\r\n");
    header(out, "MIME-Version", "1.0");
    header(out, "Content-Type", "text/plain; charset=utf-8");
    header(out, "Content-Transfer-Encoding", "base64");
    header(out, "Auto-Submitted", "auto-generated");
    dw_buf_str(out, "\r\n");
    base64_lines(out, m->text);
}

/* ---- sending ---- */

struct reading {
    struct dw_slice rest;
};

static size_t read_some(char *to, size_t size, size_t count, void *arg)
{
    struct reading *r = arg;
    size_t n = size * count < r->rest.len ? size * count : r->rest.len;
    memcpy(to, r->rest.data, n);
    r->rest.data += n;
    r->rest.len -= n;
    return n;
}

static bool configured(const struct dw_config *config)
{
    return *config->notify.smtp_url != 0;
}

static void set_login(CURL *curl, const struct dw_config *config)
{
    char password[256];
    if (!*config->notify.smtp_user)
        return;
    dw_channel_password(config, config->notify.smtp_password_file, password);
    curl_easy_setopt(curl, CURLOPT_USERNAME, config->notify.smtp_user);
    curl_easy_setopt(curl, CURLOPT_PASSWORD, password);
    dw_wipe(password, sizeof password);
}

/* 5xx in the conversation about this message is final; at the door, in TLS or at the login it is our
 * trouble. */
static void judge(CURL *curl, CURLcode code, bool about_message, struct dw_delivery *ret)
{
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *ret = (struct dw_delivery){.accepted = code == CURLE_OK};
    ret->refused = code != CURLE_OK && about_message && status >= 550 && status < 560;
    /* After a good answer it was something else that failed: TLS, or the time. */
    if (code == CURLE_OK || (status >= 400 && status < 600))
        snprintf(ret->code, sizeof ret->code, "SMTP %ld", status);
    else
        snprintf(ret->code, sizeof ret->code, "%s", curl_easy_strerror(code));
}

static CURL *open_relay(const struct dw_config *config)
{
    CURL *curl = curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_URL, config->notify.smtp_url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)config->notify.timeout_seconds);
    /* TIMEOUT does not end the farewell, which would wait for 120 seconds. */
    curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)config->notify.timeout_seconds);
    curl_easy_setopt(curl, CURLOPT_USE_SSL,
                     (long)(config->notify.smtp_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY));
    set_login(curl, config);
    return curl;
}

static void send_email(const struct dw_config *config, const struct dw_message_out *message,
                       struct dw_delivery *ret)
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, 65536);
    dw_email_compose(config, message, &bytes);
    struct reading reading = {dw_buf_slice(&bytes)};
    CURL *curl = open_relay(config);
    struct curl_slist *to = curl_slist_append(NULL, message->to);
    curl_easy_setopt(curl, CURLOPT_MAIL_FROM, config->notify.smtp_from);
    curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
    curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, read_some);
    curl_easy_setopt(curl, CURLOPT_READDATA, &reading);
    CURLcode code = curl_easy_perform(curl);
    /* The sender and the recipient are refused with SEND_ERROR, the text after it was read. */
    judge(curl, code, code == CURLE_SEND_ERROR || reading.rest.len < bytes.len, ret);
    curl_slist_free_all(to);
    curl_easy_cleanup(curl);
}

/* Greeting, TLS and login. */
static void reach_relay(const struct dw_config *config, struct dw_delivery *ret)
{
    CURL *curl = open_relay(config);
    curl_easy_setopt(curl, CURLOPT_CONNECT_ONLY, 1L);
    judge(curl, curl_easy_perform(curl), false, ret);
    curl_easy_cleanup(curl);
}

const struct dw_channel dw_channel_email = {"email", configured, send_email, reach_relay};
