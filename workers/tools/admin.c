#include "admin.h"

#include "dw/log.h"
#include "dw/process.h"
#include "dw/services.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { CALL_MS = 10000, ARENA_MAX = 64 * 1024 * 1024, QUEUE_WORDS_MAX = 3 };

void admin_begin(struct admin *admin, const struct tool_options *options)
{
    struct dw_error err = {0};
    *admin = (struct admin){0};
    dw_process_harden();
    dw_log_open("dengwen", DW_WARN);
    dw_arena_init(&admin->arena, ARENA_MAX);
    if (!dw_config_load(dw_config_path(options->config), &admin->config, dw_config_problem_print,
                        NULL))
        exit(DW_EXIT_CONFIG);
    if (dw_directory_watch_new(&admin->config, &admin->watch, &err) != DW_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(DW_EXIT_CONFIG);
    }
    admin->dir = dw_directory_take(admin->watch);
}

void admin_end(struct admin *admin)
{
    dw_bus_free(admin->bus);
    dw_directory_give(admin->watch, admin->dir);
    dw_directory_watch_free(admin->watch);
    dw_config_free(&admin->config);
    dw_arena_free(&admin->arena);
}

static bool try_connect(struct admin *admin, struct dw_error *err)
{
    DW_AUTO_BUF path = {0};
    if (admin->bus)
        return true;
    dw_buf_init(&path, 4096);
    dw_buf_printf(&path, "%s/curve.key", admin->config.keys.admin);
    char *key = dw_config_resolve(&admin->config, dw_buf_text(&path));
    enum dw_result result = dw_bus_new(&admin->config, admin->dir, key, &admin->bus, err);
    dw_free(key);
    return result == DW_OK;
}

static void connect(struct admin *admin)
{
    struct dw_error err = {0};
    if (!try_connect(admin, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(DW_EXIT_CONFIG);
    }
}

static void call(struct admin *admin, const char *service, const struct dw_slice *payload,
                 size_t count, struct dw_bus_answer *ret)
{
    connect(admin);
    if (dw_bus_call(admin->bus, 0, service, payload, count, CALL_MS, ret) == DW_OK)
        return;
    fprintf(stderr, "the broker or the case worker does not answer; is `dengwen run` running?\n");
    exit(DW_EXIT_AWAY);
}

enum dw_result admin_call(struct admin *admin, const char *service, const struct dw_slice *payload,
                          size_t count, struct dw_bus_answer *ret)
{
    connect(admin);
    return dw_bus_call(admin->bus, 0, service, payload, count, CALL_MS, ret);
}

static void print_frame(const struct dw_bus_answer *answer, size_t i)
{
    if (i < answer->payload_count)
        fprintf(stderr, "%.*s", (int)answer->payload[i].len, (const char *)answer->payload[i].data);
}

void admin_ask(struct admin *admin, const char *method, const struct dw_layout *layout,
               const void *in, const struct dw_layout *answer_layout, void *ret)
{
    struct dw_bus_answer answer;
    struct dw_error err = {0};
    DW_AUTO_BUF doc = {0};
    dw_buf_init(&doc, DW_DOC_MAX);
    if (layout)
        dw_encode(layout, in, &doc);
    struct dw_slice payload[] = {dw_slice_of(method), dw_buf_slice(&doc)};
    call(admin, "case.admin", payload, layout ? 2 : 1, &answer);
    if (answer.status != 200) {
        print_frame(&answer, 0);
        fprintf(stderr, ": ");
        print_frame(&answer, 1);
        fprintf(stderr, "\n");
        exit(answer.status == 503 || answer.status == 504 ? DW_EXIT_RETRY : DW_EXIT_NO);
    }
    struct dw_unpack objects;
    struct dw_slice read;
    if (!dw_unpack_begin(&objects, answer.payload, answer.payload_count, &admin->arena, &read) ||
        dw_decode(answer_layout, read, &admin->arena, ret, &err) != DW_OK) {
        fprintf(stderr, "the answer cannot be read: %s\n", err.text);
        exit(DW_EXIT_DATA);
    }
    dw_bus_answer_free(&answer);
}

static size_t slices_of(const char *const *words, size_t count,
                        struct dw_slice ret[QUEUE_WORDS_MAX])
{
    size_t n = 0;
    for (; n < count && n < QUEUE_WORDS_MAX; n++)
        ret[n] = dw_slice_of(words[n]);
    return n;
}

static char *first_text(struct dw_bus_answer *answer)
{
    struct dw_slice text = answer->payload_count ? answer->payload[0] : dw_slice_of("");
    char *copy = dw_alloc(text.len + 1); /* a frame ends without a zero */
    memcpy(copy, text.data, text.len);
    return copy;
}

char *admin_ask_queue(struct admin *admin, const char *const *words, size_t count)
{
    struct dw_slice payload[QUEUE_WORDS_MAX];
    struct dw_bus_answer answer;
    call(admin, "queue.admin", payload, slices_of(words, count, payload), &answer);
    if (answer.status != 200) {
        print_frame(&answer, 0);
        fprintf(stderr, "\n");
        exit(answer.status == 503 ? DW_EXIT_RETRY : DW_EXIT_NO);
    }
    char *text = first_text(&answer);
    dw_bus_answer_free(&answer);
    return text;
}

char *admin_try_queue(struct admin *admin, const char *const *words, size_t count)
{
    struct dw_slice payload[QUEUE_WORDS_MAX];
    struct dw_bus_answer answer;
    struct dw_error err;
    char *text = NULL;
    count = slices_of(words, count, payload);
    if (!try_connect(admin, &err) ||
        dw_bus_call(admin->bus, 0, "queue.admin", payload, count, CALL_MS, &answer) != DW_OK)
        return NULL;
    if (answer.status == 200)
        text = first_text(&answer);
    dw_bus_answer_free(&answer);
    return text;
}

bool admin_read_secret(const char *prompt, char *out, size_t len)
{
    struct termios kept, quiet;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &kept) == 0;
    if (terminal) {
        fprintf(stderr, "%s: ", prompt);
        quiet = kept;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    }
    bool got = fgets(out, (int)len, stdin) != NULL;
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &kept);
        fputc('\n', stderr);
    }
    if (got)
        out[strcspn(out, "\r\n")] = 0;
    return got && *out;
}
