#include "programs.h"

#include "dw/bytes.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PART(name, program, nice) {name, program, nice, "dengwen_run_restarts_" name "_total"}

const struct dw_part dw_parts[DW_PARTS] = {
    PART("ops", "ops", 0),       PART("keyd", "keyd", 0),      PART("broker", "broker", 0),
    PART("case", "casework", 5), PART("notify", "notify", 10), PART("desk", "desk", 0),
    PART("web", "web", 0),
};

static char *executable_in(const char *folder, const char *program)
{
    char path[PATH_MAX];
    int len = snprintf(path, sizeof path, "%s/dengwen-%s", folder, program);
    return len > 0 && (size_t)len < sizeof path && access(path, X_OK) == 0 ? dw_strdup(path) : NULL;
}

char *dw_program_path(const char *program)
{
    char folder[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", folder, sizeof folder - 1);
    char *found = NULL;
    folder[len > 0 ? len : 0] = 0;
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = 0;
        found = executable_in(folder, program);
    }
    return found ? found : executable_in(DW_LIBEXEC, program);
}
