/* A stand-in for a part, for the supervisor's own test.  Knows nothing of our libraries.
 *
 * In PART_FOLDER: the file `log` gets one line per thing that happens to it, and the file named
 * like the part, read at the start, says what it is to do:
 *   ready (or no file)  becomes ready, ends on SIGTERM with 0
 *   by-repetition       never says READY=1, only that it is ready, as every part does each second
 *   hang                says only that it is busy, never that it is ready
 *   deaf                becomes ready and does not end on SIGTERM
 *   exit N              ends at once with that code
 *   once N              ends with that code, but only the first time
 *   parent              becomes ready, and has a child of its own that no signal ends but one */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *folder, *name;

static void note(const char *what, long number)
{
    char path[4096], line[256];
    snprintf(path, sizeof path, "%s/log", folder);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int len = snprintf(line, sizeof line, "%s %s %ld\n", what, name, number);
    if (fd < 0 || write(fd, line, (size_t)len) != len)
        _exit(99);
    close(fd);
}

static void tell(const char *text)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (!path || strlen(path) >= sizeof to.sun_path)
        _exit(98);
    memcpy(to.sun_path, path, strlen(path) + 1);
    if (sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to) < 0)
        note("deaf-supervisor", errno);
    close(fd);
}

/* What the supervisor promises to the programs it starts; a letter for each that it kept. */
static void note_surroundings(int argc, char **argv)
{
    char kept[16] = "", *end = kept;
    int on_death = 0;
    sigset_t mask;
    struct sigaction pipe_action;
    struct stat input, null;
    prctl(PR_GET_PDEATHSIG, &on_death);
    if (on_death == SIGKILL)
        *end++ = 'd';
    if (getpgrp() == getpid())
        *end++ = 'g';
    sigprocmask(SIG_SETMASK, NULL, &mask);
    int blocked = 0;
    for (int i = 1; i < 32; i++)
        blocked |= sigismember(&mask, i);
    if (!blocked)
        *end++ = 'm';
    if (sigaction(SIGPIPE, NULL, &pipe_action) == 0 && pipe_action.sa_handler == SIG_DFL)
        *end++ = 'p';
    if (fstat(0, &input) == 0 && stat("/dev/null", &null) == 0 && input.st_rdev == null.st_rdev)
        *end++ = 'i';
    if (argc == 3 && strcmp(argv[1], "-c") == 0 && argv[2][0] == '/')
        *end++ = 'c';
    /* Standard input, output and error, and nothing else of the supervisor's. */
    int extra = 0;
    for (int fd = 3; fd < 64; fd++)
        extra |= fcntl(fd, F_GETFD) >= 0;
    if (!extra)
        *end++ = 'f';
    char what[32];
    snprintf(what, sizeof what, "start:%s", kept);
    note(what, (long)getpid());
}

static void read_orders(char *orders, size_t len)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *in = fopen(path, "re");
    if (!in || !fgets(orders, (int)len, in))
        snprintf(orders, len, "ready");
    if (in)
        fclose(in);
    orders[strcspn(orders, "\n")] = 0;
}

static void have_a_child(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 1; i < 32; i++)
            signal(i, SIG_IGN);
        for (;;)
            pause();
    }
    note("grandchild", (long)pid);
}

/* Until SIGTERM, unless deaf. */
static void stay(const sigset_t *set, int deaf)
{
    int got = 0;
    while (sigwait(set, &got) == 0) {
        note(got == SIGTERM ? "term" : "hup", (long)getpid());
        if (got == SIGTERM && !deaf)
            return;
    }
}

int main(int argc, char **argv)
{
    char orders[64];
    sigset_t set;
    folder = getenv("PART_FOLDER");
    name = strrchr(argv[0], '-');
    if (!folder || !name)
        return 97;
    name++;
    note_surroundings(argc, argv);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    read_orders(orders, sizeof orders);
    if (strncmp(orders, "exit ", 5) == 0)
        return atoi(orders + 5);
    if (strncmp(orders, "once ", 5) == 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        unlink(path);
        return atoi(orders + 5);
    }
    if (strcmp(orders, "parent") == 0)
        have_a_child();
    if (strcmp(orders, "hang") != 0) /* before the supervisor knows and starts the next */
        note("ready", (long)getpid());
    if (strcmp(orders, "hang") == 0)
        tell("DENGWEN_READY=0\nSTATUS=thinking about it");
    else if (strcmp(orders, "by-repetition") == 0)
        tell("DENGWEN_READY=1\nSTATUS=said before");
    else
        tell("READY=1\nSTATUS=here");
    stay(&set, strcmp(orders, "deaf") == 0);
    note("end", (long)getpid());
    return 0;
}
