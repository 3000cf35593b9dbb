#include "queue_adopt.h"

#include "progress.h"

#include "dw/adopt.h"
#include "dw/log.h"
#include "dw/process.h"

#include <stdio.h>
#include <unistd.h>

static const char *const names[DW_LEFT_KINDS] = {
    [DW_LEFT_ITEM] = "items", [DW_LEFT_REPLY] = "kept replies", [DW_LEFT_SEEN] = "keys seen"};

static int stop(int code, const char *what)
{
    fprintf(stderr, "\nqueue adopt: %s\n", what);
    return code;
}

/* Status of the answer, and its number where it has one; waits as long as there is no room.  0: nobody
 * answers. */
static int ask(struct admin *admin, const struct dw_slice *payload, size_t count, uint32_t *number)
{
    for (bool told = false;; told = true) {
        struct dw_bus_answer answer;
        if (admin_call(admin, "queue.adopt", payload, count, &answer) != DW_OK)
            return 0;
        int status = answer.status, seconds = 1;
        if (answer.payload_count && answer.payload[0].len == 4 && status == 200) {
            struct dw_reader r = {.rest = answer.payload[0]};
            *number = dw_read_u32(&r);
        }
        char text[16] = "";
        if (status == 503 && answer.payload_count)
            dw_printable(text, sizeof text, answer.payload[0].data, answer.payload[0].len);
        dw_bus_answer_free(&answer);
        if (status != 503)
            return status;
        if (sscanf(text, "%d", &seconds) != 1 || seconds < 1)
            seconds = 1;
        if (!told)
            fprintf(stderr, "\nthe broker has no room; this waits until it has\n");
        sleep((unsigned)seconds);
    }
}

static void tell_progress(struct progress *progress, const struct dw_adoption *a,
                          const int64_t total[DW_LEFT_KINDS])
{
    for (int k = DW_LEFT_KINDS - 1; k >= 0; k--) {
        int64_t taken = dw_adoption_taken(a, (enum dw_left_kind)k);
        if (!taken)
            continue;
        progress->progress.tell(progress, names[k], taken, total[k]);
        return;
    }
}

static void tell_counts(const struct dw_adoption *a, struct dw_source *source)
{
    printf("adopted:");
    for (int k = 0; k < DW_LEFT_KINDS; k++)
        printf("%s %lld %s", k ? "," : "",
               (long long)dw_adoption_taken(a, (enum dw_left_kind)k), names[k]);
    printf("\n");
    if (dw_adoption_too_large(a))
        printf("left in the file: %lld too large for broker.max_frame_bytes; raise it and run this "
               "again\n",
               (long long)dw_adoption_too_large(a));
    if (dw_source_unfinished(source))
        printf("left in the file: %lld unfinished uploads, which nobody was told were received\n",
               (long long)dw_source_unfinished(source));
}

static int take_over(struct admin *admin, struct dw_adoption *a, struct progress *progress,
                     const int64_t total[DW_LEFT_KINDS])
{
    struct dw_slice payload[DW_ADOPTION_FRAMES];
    enum dw_adoption_state state;
    const char *why;
    size_t count;
    while ((state = dw_adoption_question(a, payload, &count)) == DW_ADOPTION_ASKS) {
        uint32_t number = 0;
        int status = ask(admin, payload, count, &number);
        if (!status)
            return stop(DW_EXIT_AWAY, "the broker does not answer; run it again to go on");
        dw_adoption_answered(a, status, number);
        tell_progress(progress, a, total);
    }
    if (state == DW_ADOPTION_DONE)
        return dw_adoption_too_large(a) ? DW_EXIT_NO : 0;
    int code = dw_adoption_code(a, &why);
    return stop(code, why);
}

int queue_adopt(struct admin *admin, const char *file)
{
    struct dw_error err = {0};
    struct dw_source *source;
    struct progress progress;
    int64_t total[DW_LEFT_KINDS];
    if (dw_source_open(file, &admin->config, &source, &err) != DW_OK) {
        fprintf(stderr, "queue adopt: %s\n", err.text);
        return DW_EXIT_DATA;
    }
    for (int k = 0; k < DW_LEFT_KINDS; k++)
        total[k] = dw_source_count(source, (enum dw_left_kind)k);
    struct dw_adoption *a =
        dw_adoption_new(source, (size_t)admin->config.broker.max_frame_bytes);
    progress_begin(&progress);
    int code = take_over(admin, a, &progress, total);
    progress_end(&progress);
    tell_counts(a, source);
    dw_adoption_free(a);
    dw_source_close(source);
    return code;
}
