/* dengwen-desk: start, routes, stop. */
#include "desk.h"

#include "dw/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 1000, LOOK_MS = 1000, GRACE_MS = 5000 };

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "desk.start", "%s: %s", what, why);
    exit(code);
}

/* Until the staff pages are there, a browser is told what this is. */
void page_desk(void *app, struct dw_http_request *request)
{
    (void)app;
    DW_AUTO_BUF html = {0};
    dw_buf_init(&html, 4096);
    dw_buf_str(&html,
               "<!doctype html>\n<html lang=\"zh-CN\"><head><meta charset=\"utf-8\">"
               "<title>登闻 · Dengwen</title></head><body><h1>工作人员接口</h1>"
               "<p>这里是工作人员接口(JSON),网页界面尚未提供。请使用命令行 <code>dengwen case</code>。</p>"
               "<h1 lang=\"en\">Staff interface</h1><p lang=\"en\">This is the staff API (JSON); pages "
               "are not there yet. Use <code>dengwen case</code> in a terminal.</p></body></html>\n");
    dw_http_html(request, 200, &html);
}

static void load_data(struct desk *desk)
{
    struct dw_error err = {0};
    char *data = dw_config_data_folder(desk->config);
    if (dw_calendar_load(data, &desk->calendar, &err) != DW_OK ||
        dw_rules_load(data, &desk->rules, &err) != DW_OK ||
        dw_catalogue_load(data, &desk->catalogue, &err) != DW_OK ||
        dw_routing_load(data, &desk->routing, &err) != DW_OK)
        die(DW_EXIT_CONFIG, data, err.text);
    dw_free(data);
}

static void connect(struct desk *desk)
{
    struct dw_error err = {0};
    DW_AUTO_BUF path = {0};
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/curve.key", desk->process.state);
    if (dw_directory_watch_new(desk->config, &desk->directory, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "directory", err.text);
    struct dw_directory *dir = dw_directory_take(desk->directory);
    if (dw_bus_new(desk->config, dir, dw_buf_text(&path), &desk->bus, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "broker", err.text);
    dw_directory_give(desk->directory, dir);
}

static void serve(struct desk *desk)
{
    static struct dw_http_route routes[9];
    const struct dw_http_route all[DW_COUNT(routes)] = {
        {"GET", "/", DW_HTTP_NO_BODY, NULL, NULL, false, page_desk},
        {"POST", "/api/v1/enrol", DW_HTTP_JSON, &desk->logins, NULL, true, api_enrol},
        {"POST", "/api/v1/login", DW_HTTP_JSON, &desk->logins, NULL, true, api_login},
        {"POST", "/api/v1/logout", DW_HTTP_JSON, NULL, NULL, true, api_logout},
        {"GET", "/api/v1/cases", DW_HTTP_NO_BODY, NULL, NULL, false, api_cases},
        {"GET", "/api/v1/cases/:ref", DW_HTTP_NO_BODY, NULL, NULL, false, api_case},
        {"GET", "/api/v1/cases/:ref/files/:id", DW_HTTP_NO_BODY, NULL, NULL, false, api_file},
        {"POST", "/api/v1/cases/:ref/commands", DW_HTTP_JSON, NULL, NULL, true, api_commands},
        {"GET", "/api/v1/statistics", DW_HTTP_NO_BODY, NULL, NULL, false, api_statistics},
    };
    struct dw_error err = {0};
    memcpy(routes, all, sizeof routes);
    if (dw_http_start(&desk->config->desk.http, 4096, routes, DW_COUNT(routes), desk, "dengwen_desk",
                      &desk->http, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "http", err.text);
}

/* Does somebody serve cases?  Soon or not: signals and the supervisor wait meanwhile. */
static const char *look(struct desk *desk)
{
    struct dw_ask_user nobody = {"nobody"};
    struct dw_bus_answer answer;
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, 1024);
    dw_encode(&dw_ask_user_layout, &nobody, &doc);
    struct dw_slice payload[] = {dw_slice_of("params"), dw_buf_slice(&doc)};
    dw_directory_watch_tick(desk->directory);
    bool here = dw_bus_call_any(desk->bus, true, "case.desk", payload, DW_COUNT(payload), LOOK_MS,
                            &answer) == DW_OK &&
                answer.status == 200;
    dw_bus_answer_free(&answer);
    return here ? NULL : "the case worker does not answer";
}

static void stop(struct desk *desk)
{
    dw_process_ready(&desk->process, false, "stopping");
    dw_http_stop(desk->http, GRACE_MS);
    sessions_free(desk->sessions);
    dw_bus_free(desk->bus);
    dw_directory_watch_free(desk->directory);
    dw_calendar_free(desk->calendar);
    dw_rules_free(desk->rules);
    dw_catalogue_free(desk->catalogue);
    dw_routing_free(desk->routing);
    dw_process_end(&desk->process);
}

int main(int argc, char **argv)
{
    static struct desk desk;
    dw_process_start(&desk.process, argc, argv, "desk",
                     "the staff portal: opens cases for members who are logged in", true);
    desk.config = &desk.process.config;
    dw_gate_init(&desk.kdf, desk.config->desk.kdf_parallel, desk.config->desk.kdf_waiting);
    desk.m_logins = dw_metric_named("dengwen_desk_sessions_total");
    desk.m_refused = dw_metric_named("dengwen_desk_logins_refused_total");
    desk.m_commands = dw_metric_named("dengwen_desk_commands_total");
    desk.m_opened = dw_metric_named("dengwen_desk_cases_opened_total");
    desk.logins = (struct dw_http_rate){"logins", (double)desk.config->desk.logins_per_minute / 60,
                                        desk.config->desk.logins_burst};
    load_data(&desk);
    connect(&desk);
    desk.sessions = sessions_new(desk.config->desk.sessions,
                                 desk.config->desk.idle_minutes * 60000,
                                 desk.config->desk.hours * 3600000);
    serve(&desk);

    int64_t ticked = 0;
    struct pollfd signals = {.fd = desk.process.signal_fd, .events = POLLIN};
    while (dw_process_signal(&desk.process) != DW_SIGNAL_STOP) {
        int64_t wait = desk.process.ready ? TICK_MS : TICK_MS / 20;
        if (dw_monotonic_ms() - ticked >= wait) {
            const char *away = look(&desk);
            ticked = dw_monotonic_ms();
            sessions_sweep(desk.sessions);
            dw_process_ready(&desk.process, !away, away ? away : "serving");
        }
        dw_process_tick(&desk.process);
        poll(&signals, 1, (int)wait);
    }
    stop(&desk);
    return 0;
}
