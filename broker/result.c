#include "dw/result.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    int status;
} outcomes[] = {
    [DW_OK] = {"ok", 200},           [DW_NOT_FOUND] = {"not found", 404},
    [DW_CONFLICT] = {"conflict", 409}, [DW_INVALID] = {"invalid", 422},
    [DW_RETRY] = {"retry", 503},     [DW_UNCERTAIN] = {"uncertain", 504},
};

const char *dw_result_name(enum dw_result result)
{
    return (unsigned)result < DW_COUNT(outcomes) ? outcomes[result].name : "unknown";
}

int dw_result_status(enum dw_result result)
{
    return (unsigned)result < DW_COUNT(outcomes) ? outcomes[result].status : 500;
}

enum dw_result dw_result_of_status(int status)
{
    for (unsigned i = 0; i < DW_COUNT(outcomes); i++)
        if (outcomes[i].status == status)
            return (enum dw_result)i;
    if (status >= 200 && status < 300)
        return DW_OK;
    return status >= 400 && status < 500 ? DW_INVALID : DW_UNCERTAIN;
}

static void set(struct dw_error *err, const char *field, const char *format, va_list args)
{
    if (!err)
        return;
    snprintf(err->field, sizeof err->field, "%s", field ? field : "");
    vsnprintf(err->text, sizeof err->text, format, args);
}

void dw_error_set(struct dw_error *err, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, field, format, args);
    va_end(args);
}

enum dw_result dw_invalid(struct dw_error *err, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set(err, field, format, args);
    va_end(args);
    return DW_INVALID;
}
