#include "dw/testing.h"

#ifdef DW_TEST_POINTS

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A specification, and how often its name came by. */
struct count {
    char seen[128];
    int passes;
};

/* "name:n" counts passes of the name; a file with other contents starts a new count. */
static bool is_nth(const char *spec, const char *name, struct count *c)
{
    size_t len = strlen(name);
    if (strncmp(spec, name, len) != 0 || spec[len] != ':')
        return false;
    if (strncmp(c->seen, spec, sizeof c->seen - 1) != 0) {
        snprintf(c->seen, sizeof c->seen, "%s", spec);
        c->passes = 0;
    }
    return ++c->passes == atoi(spec + len + 1);
}

void dw_point(const char *name)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct count of_env, of_file, of_stop;
    const char *env = getenv("DENGWEN_KILL_AT"), *path = getenv("DENGWEN_KILL_FILE");
    const char *stop = getenv("DENGWEN_STOP_AT");
    bool now = false, stops = false;
    if (!env && !path && !stop)
        return;
    pthread_mutex_lock(&lock);
    if (env)
        now = is_nth(env, name, &of_env);
    if (stop)
        stops = is_nth(stop, name, &of_stop);
    if (path) {
        char text[128] = "";
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            ssize_t n = read(fd, text, sizeof text - 1);
            close(fd);
            text[n > 0 ? n : 0] = 0;
            text[strcspn(text, "\n")] = 0;
            now |= is_nth(text, name, &of_file);
        }
    }
    pthread_mutex_unlock(&lock);
    if (now)
        kill(getpid(), SIGKILL);
    if (stops)
        kill(getpid(), SIGSTOP);
}

bool dw_bug(const char *name)
{
    const char *env = getenv("DENGWEN_BUG");
    return env && strcmp(env, name) == 0;
}

#else
typedef int dw_testing_is_off; /* a translation unit may not be empty */
#endif
