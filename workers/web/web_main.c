/* dengwen-web: start, routes, stop. */
#include "web.h"

#include "dw/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 1000, GRACE_MS = 5000 };

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "web.start", "%s: %s", what, why);
    exit(code);
}

static void set_rates(struct web *web)
{
    const struct dw_config *c = web->config;
    web->filings = (struct dw_http_rate){"filings", (double)c->web.filings_per_hour / 3600,
                                         c->web.filings_burst};
    web->lookups = (struct dw_http_rate){"lookups", (double)c->web.lookups_per_minute / 60,
                                         c->web.lookups_burst};
    web->messages = (struct dw_http_rate){"messages", (double)c->web.messages_per_hour / 3600,
                                          c->web.messages_burst};
}

static void start(struct web *web)
{
    struct dw_error err = {0};
    /* Routes name the rates, which are settings; they live as long as the server. */
    static struct dw_http_route routes[13];
    const struct dw_http_route all[DW_COUNT(routes)] = {
        {"GET", "/", DW_HTTP_NO_BODY, NULL, NULL, false, page_start},
        {"GET", "/file", DW_HTTP_NO_BODY, NULL, NULL, false, page_file},
        {"POST", "/file", DW_HTTP_MULTIPART, &web->filings, &web_upload, true, page_filed},
        {"GET", "/follow", DW_HTTP_NO_BODY, NULL, NULL, false, page_follow},
        {"POST", "/follow", DW_HTTP_FORM, &web->lookups, NULL, true, page_followed},
        {"GET", "/privacy", DW_HTTP_NO_BODY, NULL, NULL, false, page_privacy},
        {"GET", "/style.css", DW_HTTP_NO_BODY, NULL, NULL, false, page_style},
        {"GET", "/icon.svg", DW_HTTP_NO_BODY, NULL, NULL, false, page_icon},
        {"POST", "/api/v1/filings", DW_HTTP_MULTIPART, &web->filings, &web_upload, false,
         api_filings},
        {"POST", "/api/v1/status", DW_HTTP_JSON, &web->lookups, NULL, false, api_status},
        {"POST", "/api/v1/messages", DW_HTTP_JSON, &web->messages, NULL, false, api_messages},
        {"POST", "/api/v1/withdraw", DW_HTTP_JSON, &web->messages, NULL, false, api_withdraw},
        {"GET", "/api/v1/catalogue", DW_HTTP_NO_BODY, NULL, NULL, false, api_catalogue},
    };
    memcpy(routes, all, sizeof routes);
    if (dw_http_start(&web->config->web.http, web->config->web.table_size, routes, DW_COUNT(routes),
                      web, "dengwen_web", &web->http, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "http", err.text);
    dw_http_problem_page(web->http, page_refused);
}

int main(int argc, char **argv)
{
    static struct web web;
    struct dw_error err = {0};
    dw_process_start(&web.process, argc, argv, "web",
                     "the public portal: takes filings, seals them, serves whoever has a receipt",
                     true);
    web.config = &web.process.config;
    web.m_accepted = dw_metric_named("dengwen_web_filings_accepted_total");
    web.m_refused = dw_metric_named("dengwen_web_filings_refused_total");
    web.m_unavailable = dw_metric_named("dengwen_web_filings_unavailable_total");
    set_rates(&web);
    if (dw_intake_new(web.config, "web", &web.intake, &err) != DW_OK)
        die(DW_EXIT_CONFIG, err.field, err.text);
    char *data = dw_config_data_folder(web.config);
    if (dw_templates_load(data, &web.templates, &err) != DW_OK)
        die(DW_EXIT_CONFIG, data, err.text);
    dw_free(data);
    web.types = file_types_new();
    if (!web.types)
        die(DW_EXIT_CONFIG, "libmagic", "its database cannot be read; install libmagic-mgc");
    start(&web);

    int64_t ticked = 0;
    struct pollfd signals = {.fd = web.process.signal_fd, .events = POLLIN};
    while (dw_process_signal(&web.process) != DW_SIGNAL_STOP) {
        if (dw_monotonic_ms() - ticked >= (web.process.ready ? TICK_MS : TICK_MS / 20)) {
            const char *away = dw_intake_tick(web.intake);
            ticked = dw_monotonic_ms();
            dw_process_ready(&web.process, !away, away ? away : "serving");
        }
        dw_process_tick(&web.process);
        poll(&signals, 1, web.process.ready ? TICK_MS : TICK_MS / 20);
    }
    dw_process_ready(&web.process, false, "stopping");
    dw_http_stop(web.http, GRACE_MS);
    dw_intake_free(web.intake);
    dw_templates_free(web.templates);
    file_types_free(web.types);
    dw_process_end(&web.process);
    return 0;
}
