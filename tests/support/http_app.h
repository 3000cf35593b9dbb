/* http_app.h - a small application behind the HTTP layer, for its tests. */
#ifndef HTTP_APP_H
#define HTTP_APP_H

#include "dw/http.h"

#include <stdatomic.h>

struct app {
    struct dw_http *http;
    int port;
    struct dw_http_limits limits;

    atomic_int served;   /* requests that reached a route */
    atomic_int smuggled; /* ... and this one, hidden in another, never may */
    atomic_int holding;  /* routes at work in /hold */
    atomic_bool held;    /* while true they stay there */

    atomic_int uploads;       /* begun and not yet ended */
    atomic_int uploads_seen;  /* begun */
    atomic_int files_seen;    /* ended well */
    atomic_long pending_max;  /* bytes told and not yet consumed, the most ever */
    atomic_bool stuck;        /* pauses, and nobody resumes */
    bool hasty;               /* always resumed before the pause begins */
    long window;              /* pending bytes from which to pause; 0: never */
    int max_file_bytes;       /* then 413 */
    const char *refuse_field; /* file_begin says 415 */
};
extern struct app app;

/* Small limits, so that each can be reached. */
struct dw_http_limits app_limits(void);
void app_start(struct dw_http_limits limits);
void app_stop(void);
/* False after five seconds. */
bool app_waits_for(atomic_int *value, int wanted);
/* Each header that every answer must have, once; asserts. */
struct reply;
void app_checks_headers(const struct reply *reply, const char *policy_has);

#endif
