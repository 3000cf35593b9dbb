#include "ops_state.h"

#include "programs.h"

#include "dw/log.h"
#include "dw/result.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_LEN = 512 };

static const char PART_READY[] = "dengwen_part_ready";

/* ---- datagrams ---- */

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < DW_OPS_NAME && !(*text >= '0' && *text <= '9') &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == len;
}

static bool is_name_of(const char *text, size_t len)
{
    char name[DW_OPS_NAME];
    if (len >= sizeof name)
        return false;
    memcpy(name, text, len);
    name[len] = 0;
    return is_name(name);
}

/* label="value"; what follows it, NULL if it is none. */
static const char *after_label(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:*+-";
    size_t name = strcspn(text, "=");
    if (!is_name_of(text, name) || strncmp(text + name, "=\"", 2) != 0)
        return NULL;
    text += name + 2;
    text += strspn(text, allowed);
    return *text == '"' ? text + 1 : NULL;
}

/* name, or name{label="value",...} */
static bool is_metric_name(const char *text)
{
    size_t name = strcspn(text, "{");
    if (strlen(text) >= DW_OPS_METRIC_NAME || !is_name_of(text, name))
        return false;
    if (!text[name])
        return true;
    text += name;
    do {
        text = after_label(text + 1);
    } while (text && *text == ',');
    return text && strcmp(text, "}") == 0;
}

static bool read_name(struct dw_ops_program *p, char *value)
{
    if (*p->name || !is_name(value))
        return false;
    memcpy(p->name, value, strlen(value) + 1);
    return true;
}

static bool read_ready(struct dw_ops_program *p, char *value)
{
    p->ready = *value == '1';
    return (*value == '0' || *value == '1') && !value[1];
}

static bool read_status(struct dw_ops_program *p, char *value)
{
    dw_printable(p->status, sizeof p->status, value, strlen(value));
    return true;
}

static bool read_metric(struct dw_ops_program *p, char *value)
{
    char *space = strchr(value, ' '), *end;
    if (!space || p->metrics_count == DW_OPS_METRICS)
        return false;
    *space = 0;
    const char *number = space + 1;
    if (!is_metric_name(value) || strncmp(value, PART_READY, strlen(PART_READY)) == 0 ||
        !(*number == '-' || (*number >= '0' && *number <= '9')))
        return false;
    for (size_t i = 0; i < p->metrics_count; i++)
        if (strcmp(p->metrics[i].name, value) == 0)
            return false;
    struct dw_ops_metric *metric = &p->metrics[p->metrics_count];
    errno = 0;
    metric->value = strtoll(number, &end, 10);
    if (errno || *end || end == number)
        return false;
    memcpy(metric->name, value, strlen(value) + 1);
    p->metrics_count++;
    return true;
}

static const struct {
    const char *key;
    bool (*read)(struct dw_ops_program *p, char *value);
} keys[] = {
    {"DENGWEN=", read_name},
    {"DENGWEN_READY=", read_ready},
    {"STATUS=", read_status},
    {"DENGWEN_METRIC=", read_metric},
};

static bool read_line(struct dw_ops_program *p, char *line)
{
    for (size_t i = 0; i < DW_COUNT(keys); i++) {
        size_t len = strlen(keys[i].key);
        if (strncmp(line, keys[i].key, len) == 0)
            return keys[i].read(p, line + len);
    }
    return strchr(line, '=') != NULL;
}

static bool parse(struct dw_ops_program *p, const char *data, size_t len)
{
    memset(p, 0, sizeof *p);
    if (len > DW_OPS_DATAGRAM || memchr(data, 0, len))
        return false;
    while (len) {
        char line[LINE_MAX_LEN];
        const char *newline = memchr(data, '\n', len);
        size_t line_len = newline ? (size_t)(newline - data) : len;
        if (line_len >= sizeof line)
            return false;
        memcpy(line, data, line_len);
        line[line_len] = 0;
        if (line_len && !read_line(p, line))
            return false;
        line_len += newline != NULL;
        data += line_len;
        len -= line_len;
    }
    return *p->name != 0;
}

static const struct dw_ops_program *find(const struct dw_ops *self, const char *name)
{
    for (size_t i = 0; i < self->count; i++)
        if (strcmp(self->programs[i].name, name) == 0)
            return &self->programs[i];
    return NULL;
}

void dw_ops_init(struct dw_ops *self, int64_t stale_ms)
{
    memset(self, 0, sizeof *self);
    self->stale_ms = stale_ms;
}

bool dw_ops_take(struct dw_ops *self, const void *data, size_t len, int64_t now)
{
    if (!len || !parse(&self->scratch, data, len))
        return false;
    struct dw_ops_program *p = (struct dw_ops_program *)find(self, self->scratch.name);
    if (!p) {
        if (self->count == DW_OPS_PROGRAMS)
            return false;
        p = &self->programs[self->count++];
    }
    *p = self->scratch;
    p->heard_at = now;
    return true;
}

/* ---- readiness ---- */

static bool is_silent(const struct dw_ops *self, const struct dw_ops_program *p, int64_t now)
{
    return now - p->heard_at > self->stale_ms;
}

/* False, with the reason. */
static bool is_ready(const struct dw_ops *self, const struct dw_ops_program *p, int64_t now,
                     char *reason, size_t len)
{
    if (!p)
        snprintf(reason, len, "never heard of");
    else if (is_silent(self, p, now))
        snprintf(reason, len, "silent for %" PRId64 " seconds", (now - p->heard_at) / 1000);
    else if (!p->ready)
        snprintf(reason, len, "%s", *p->status ? p->status : "not ready");
    return p && p->ready && !is_silent(self, p, now);
}

bool dw_ops_readiness(const struct dw_ops *self, int64_t now, struct dw_buf *out)
{
    json_t *parts = json_object();
    bool all = true;
    for (size_t i = 0; i < DW_PARTS; i++) {
        char reason[192] = "";
        if (strcmp(dw_parts[i].name, "ops") == 0)
            continue; /* it is the one who answers */
        bool ready = is_ready(self, find(self, dw_parts[i].name), now, reason, sizeof reason);
        json_t *part = json_pack("{s:b}", "ready", ready);
        if (!ready)
            json_object_set_new(part, "reason", json_string(reason));
        json_object_set_new(parts, dw_parts[i].name, part);
        all &= ready;
    }
    json_t *whole = json_pack("{s:b, s:o}", "ready", all, "parts", parts);
    char *text = json_dumps(whole, JSON_COMPACT);
    dw_buf_str(out, text ? text : "{}");
    dw_buf_u8(out, '\n');
    free(text);
    json_decref(whole);
    return all;
}

/* ---- metrics ---- */

struct sample {
    const struct dw_ops_program *program;
    const struct dw_ops_metric *metric;
};

static size_t base_len(const char *name)
{
    return strcspn(name, "{");
}

static int by_base_then_program(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    size_t x_len = base_len(x->metric->name), y_len = base_len(y->metric->name);
    int order = strncmp(x->metric->name, y->metric->name, x_len < y_len ? x_len : y_len);
    if (!order)
        order = x_len < y_len ? -1 : x_len > y_len;
    if (!order)
        order = strcmp(x->program->name, y->program->name);
    /* Buckets of a histogram rise, as the program told them. */
    return order ? order : x->metric < y->metric ? -1 : x->metric > y->metric;
}

static bool ends_with(const char *name, size_t len, const char *end)
{
    size_t end_len = strlen(end);
    return len > end_len && strncmp(name + len - end_len, end, end_len) == 0;
}

/* Length of the name that has a type: all samples of a histogram share one. */
static size_t family_len(const char *name)
{
    static const char *const parts[] = {"_bucket", "_count", "_sum"};
    size_t len = base_len(name);
    for (size_t i = 0; i < DW_COUNT(parts); i++)
        if (ends_with(name, len, parts[i]))
            return len - strlen(parts[i]);
    return len;
}

static void put_type(const char *name, struct dw_buf *out)
{
    size_t len = family_len(name);
    const char *type = name[len] && name[len] != '{'                  ? "histogram"
                       : ends_with(name, base_len(name), "_total") ? "counter"
                                                                     : "gauge";
    dw_buf_printf(out, "# TYPE %.*s %s\n", (int)len, name, type);
}

static bool same_family(const char *a, const char *b)
{
    size_t len = family_len(a);
    return len == family_len(b) && strncmp(a, b, len) == 0;
}

static void put_sample(const struct sample *s, struct dw_buf *out)
{
    const char *name = s->metric->name;
    size_t len = base_len(name);
    size_t labels = name[len] ? strlen(name + len) - 2 : 0;
    dw_buf_printf(out, "%.*s{program=\"%s\"%s%.*s} %" PRId64 "\n", (int)len, name, s->program->name,
                  labels ? "," : "", (int)labels, name[len] ? name + len + 1 : "", s->metric->value);
}

static void put_part_ready(const struct dw_ops *self, int64_t now, struct dw_buf *out)
{
    char unused[192];
    dw_buf_printf(out, "# TYPE %s gauge\n", PART_READY);
    for (size_t i = 0; i < self->count; i++)
        dw_buf_printf(out, "%s{program=\"%s\"} %d\n", PART_READY, self->programs[i].name,
                      is_ready(self, &self->programs[i], now, unused, sizeof unused));
    for (size_t i = 0; i < DW_PARTS; i++)
        if (!find(self, dw_parts[i].name))
            dw_buf_printf(out, "%s{program=\"%s\"} 0\n", PART_READY, dw_parts[i].name);
}

void dw_ops_metrics(const struct dw_ops *self, int64_t now, struct dw_buf *out)
{
    struct sample *samples = dw_alloc((self->count + 1) * DW_OPS_METRICS * sizeof *samples);
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++) {
        const struct dw_ops_program *p = &self->programs[i];
        for (size_t j = 0; j < p->metrics_count && !is_silent(self, p, now); j++)
            samples[count++] = (struct sample){p, &p->metrics[j]};
    }
    /* All samples of one name must stand together, whoever sent them. */
    qsort(samples, count, sizeof *samples, by_base_then_program);
    put_part_ready(self, now, out);
    for (size_t i = 0; i < count; i++) {
        const char *name = samples[i].metric->name;
        if (i == 0 || !same_family(name, samples[i - 1].metric->name))
            put_type(name, out);
        put_sample(&samples[i], out);
    }
    dw_free(samples);
}
