/* config.h - the settings of all programs: one annotated dengwen.yaml.  Source: broker/config.c
 *
 * Read once, into this struct; nothing looks a key up later.  The table in config.c gives each key
 * its type, default, range and meaning; dw_config_write() prints the annotated file from it.
 * Relative paths are relative to the folder of the file. */
#ifndef DW_CONFIG_H
#define DW_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct dw_texts {
    char **items;
    size_t count;
};

struct dw_http_limits {
    char *listen;
    int64_t threads, connections;
    int64_t max_headers, max_body_bytes, max_fields, max_field_bytes;
    int64_t idle_seconds, total_seconds, min_bytes_per_second;
    bool keep_alive;
    struct dw_texts trusted_proxies;
    char *origin;
};

/* The longest delivery of one notice, in notify.timeout_seconds: an SMS, an e-mail, and the farewell
 * to a mail server that says nothing. */
enum { DW_NOTIFY_CONVERSATIONS = 3 };

enum { DW_BROKER_ADDRESSES_MAX = 16 };

struct dw_config {
    char *path;   /* absolute path of the file */
    char *folder; /* its folder */
    int *lines;   /* see dw_config_line() */

    char *name_zh, *name_en;
    char *state, *run, *data;
    char *clock_file;
    char *log_level;
    bool demo;

    struct {
        char *root, *directory, *offline, *admin;
    } keys;

    struct {
        struct dw_texts bind, guests, connect;
        int64_t heartbeat_ms, liveness;
        int64_t max_frame_bytes, max_frames, high_water, handshake_ms;
        int64_t request_ttl_ms, max_waiting, max_waiting_bytes, max_joined_bytes;
        int64_t max_unread_bytes, max_connections, max_fetches, ban_seconds;
    } broker;

    struct {
        int64_t max_items, max_bytes, min_free_bytes, reserve_bytes, open_share_percent;
        int64_t open_ttl_seconds;
        int64_t lease_seconds, max_attempts, backoff_ms, backoff_max_ms;
        int64_t seen_hours, seen_max, batch_max;
        int64_t guest_share_percent, guest_hours;
        int64_t slow_percent, retry_min_seconds, retry_max_seconds;
    } queue;

    struct {
        struct dw_http_limits http;
        int64_t max_files, max_file_bytes, max_files_bytes, upload_window;
        char *receipt_after;
        int64_t stretches, call_timeout_ms;
        int64_t filings_per_hour, filings_burst, lookups_per_minute, lookups_burst;
        int64_t messages_per_hour, messages_burst;
        int64_t table_size;
    } web;

    struct {
        struct dw_http_limits http;
        int64_t sessions, idle_minutes, hours, kdf_parallel, kdf_waiting;
        int64_t kdf_memory_mib, kdf_operations;
        int64_t call_timeout_ms;
        int64_t logins_per_minute, logins_burst;
    } desk;

    struct {
        int64_t per_second, burst, connections;
        struct dw_texts users;
    } keyd;

    struct {
        char *uri, *password_file;
        int64_t busy_ms, cache_mib, select_ms, socket_ms, wtimeout_ms, pool;
        bool init, allow_standalone;
    } store;

    struct {
        char *chain;
        int64_t credit, checks, tick_ms, batch_max;
        int64_t max_events, messages_per_day, max_page;
        int64_t fold_ms, fold_batch, statistics_months;
        int64_t login_failures, login_wait_seconds, clock_skew_seconds;
    } cases;

    struct {
        char *name_zh, *name_en;
        char *smtp_url, *smtp_from, *smtp_user, *smtp_password_file;
        bool smtp_tls;
        char *sms_driver, *sms_url, *sms_user, *sms_password_file, *sms_from;
        int64_t delay_min_minutes, delay_max_minutes;
        int64_t attempts, backoff_seconds, backoff_max_seconds, timeout_seconds, claim, lease_seconds;
    } notify;

    struct {
        char *listen;
        int64_t stale_seconds;
    } ops;

    struct {
        int64_t ready_seconds, stop_seconds, restart_max_seconds;
    } supervisor;
};

/* One problem: where, which key, and what was wrong and expected. */
typedef void dw_config_problem(void *arg, const char *file, int line, const char *key,
                               const char *problem);
/* Prints "file:line: key: problem" on standard error; arg is unused. */
void dw_config_problem_print(void *arg, const char *file, int line, const char *key,
                             const char *problem);

/* All problems of one reading are reported; true when there was none. */
bool dw_config_load(const char *path, struct dw_config *ret, dw_config_problem *problem, void *arg);
void dw_config_free(struct dw_config *config);
/* Line at which the file sets the key; 0 where it does not. */
int dw_config_line(const struct dw_config *config, const char *key);

/* `-c FILE`, else DENGWEN_CONFIG, else /etc/dengwen/dengwen.yaml. */
const char *dw_config_path(const char *option);

/* The settings of a new installation: every default. */
void dw_config_defaults(struct dw_config *ret);
/* Sets one key as the file would; false for an unknown key or a bad value. */
bool dw_config_set(struct dw_config *config, const char *key, const char *value);
/* The annotated file; a key whose value is the default is written as a comment. */
void dw_config_write(const struct dw_config *config, FILE *out);

/* folder-relative path made absolute; caller frees. */
char *dw_config_resolve(const struct dw_config *config, const char *path);
/* What a setting ..._file names: a file that only its owner may read, or "credential:NAME", which the
 * service manager put into $CREDENTIALS_DIRECTORY.  NULL with errno as dw_read_file(). */
uint8_t *dw_config_secret(const struct dw_config *config, const char *value, size_t max,
                          size_t *ret_len);
#define DW_CREDENTIAL "credential:"
/* The folder with rules, calendars, bodies, catalogue and templates: the setting `data`, else
 * ../share/dengwen beside the executable, else the installed one.  Caller frees. */
char *dw_config_data_folder(const struct dw_config *config);
/* state/NAME and run/NAME; caller frees. */
char *dw_config_state(const struct dw_config *config, const char *name);
char *dw_config_run(const struct dw_config *config, const char *name);

#endif
