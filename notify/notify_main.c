/* dengwen-notify: start, loop, stop. */
#include "notifier.h"

#include "dw/log.h"

#include <jansson.h>
#include <poll.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { WAIT_MS = 500 };

static void die(int code, const char *what, const char *why)
{
    dw_log(DW_ERROR, "notify.start", "%s: %s", what, why);
    exit(code);
}

static void start(struct notifier *n)
{
    struct dw_error err = {0};
    DW_AUTO_BUF path = {0};
    DW_AUTO_BUF address = {0};
    json_set_alloc_funcs(dw_alloc_for_library, dw_forgetful_free);
    dw_channels_start();
    if (dw_directory_watch_new(n->config, &n->directory, &err) != DW_OK ||
        notifier_load_months(n, &err) != DW_OK)
        die(DW_EXIT_CONFIG, err.field, err.text);
    char *data = dw_config_data_folder(n->config);
    if (dw_templates_load(data, &n->templates, &err) != DW_OK)
        die(DW_EXIT_CONFIG, data, err.text);
    dw_free(data);
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/curve.key", n->process.state);
    struct dw_directory *dir = dw_directory_take(n->directory);
    if (dw_bus_new(n->config, dir, dw_buf_text(&path), &n->bus, &err) != DW_OK)
        die(DW_EXIT_CONFIG, "broker", err.text);
    dw_directory_give(n->directory, dir);
    dw_buf_init(&address, 2048);
    if (*n->config->web.http.origin)
        dw_buf_printf(&address, "%s/follow", n->config->web.http.origin);
    else
        dw_buf_printf(&address, "http://%s/follow", n->config->web.http.listen);
    n->address = dw_strdup(dw_buf_text(&address));
    n->m_sent = dw_metric_named("dengwen_notify_accepted_total");
    n->m_failed = dw_metric_named("dengwen_notify_failed_total");
    n->m_given_up = dw_metric_named("dengwen_notify_given_up_total");
    n->m_unopened = dw_metric_named("dengwen_notify_unopened_total");
}

static void stop(struct notifier *n)
{
    dw_process_ready(&n->process, false, "stopping");
    dw_bus_free(n->bus);
    dw_directory_watch_free(n->directory);
    dw_templates_free(n->templates);
    for (size_t i = 0; i < n->months_count; i++)
        sodium_free(n->months[i].secret);
    dw_free(n->address);
    dw_channels_stop();
    dw_process_end(&n->process);
}

int main(int argc, char **argv)
{
    static struct notifier n;
    dw_process_start(&n.process, argc, argv, "notify",
                     "tells reporters by SMS and e-mail that there is news", true);
    n.config = &n.process.config;
    start(&n);
    struct pollfd signals = {.fd = n.process.signal_fd, .events = POLLIN};
    while (dw_process_signal(&n.process) != DW_SIGNAL_STOP) {
        int count = notifier_work(&n);
        dw_directory_watch_tick(n.directory);
        dw_process_ready(&n.process, count >= 0,
                         count >= 0 ? "delivering" : "the case worker does not answer");
        dw_process_tick(&n.process);
        /* A full claim means there is more. */
        if (count < (int)n.config->notify.claim)
            poll(&signals, 1, count < 0 ? WAIT_MS / 10 : WAIT_MS);
    }
    stop(&n);
    return 0;
}
