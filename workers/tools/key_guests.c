#include "key_guests.h"
#include "keymaking.h"

#include "dw/broker.h"
#include "dw/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

enum { NAME_MAX_LEN = 40, Z85_TEXT = 41, FILE_TEXT_MAX = 8192 };

static void stop(int code, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
static void stop(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("key: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

/* What is needed to sign a directory with a change in it. */
struct change {
    struct dw_site site;
    struct dw_directory *draft;
};

static void change_begin(struct admin *admin, struct change *c)
{
    struct dw_error err = {0};
    if (dw_site_load(&admin->config, &c->site, &err) != DW_OK ||
        dw_directory_reopen(&admin->config, &c->draft, &err) != DW_OK)
        stop(DW_EXIT_CONFIG, "%s", err.text);
}

static void change_sign(struct admin *admin, struct change *c)
{
    struct dw_error err = {0};
    if (dw_directory_publish(&admin->config, &c->site, c->draft, &err) != DW_OK)
        stop(DW_EXIT_NO, "%s", err.text);
    dw_directory_free(c->draft);
    dw_site_free(&c->site);
}

static struct dw_program *find(struct dw_directory *draft, const char *name)
{
    for (size_t i = 0; i < draft->programs_count; i++)
        if (strcmp(draft->programs[i].name, name) == 0)
            return &draft->programs[i];
    return NULL;
}

/* ---- adding ---- */

static void check_names(struct dw_directory *draft, const char *role, const char *name)
{
    size_t len = strlen(name);
    if (!len || len > NAME_MAX_LEN ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != len || *name == '-')
        stop(DW_EXIT_USAGE, "NAME: expected 1 to %d of a-z, 0-9 and -, found \"%.80s\"",
             NAME_MAX_LEN, name);
    if (find(draft, name))
        stop(DW_EXIT_USAGE,
             "NAME: \"%s\" has a key already; expected another name, or "
             "`dengwen key revoke %s` before",
             name, name);
    const char *service = role && strncmp(role, "worker:", 7) == 0 ? role + 7 : NULL;
    if (!role || (!service && strcmp(role, "client") != 0))
        stop(DW_EXIT_USAGE, "--role: expected client or worker:SERVICE");
    if (service &&
        (!dw_mdp_service_name(dw_slice_of(service)) || !dw_may_serve(role, dw_slice_of(service))))
        stop(DW_EXIT_USAGE,
             "--role: expected worker: and a service of 1 to %d of a-z, 0-9 and . _ - "
             "that is none of ours (queue. case. mmi. titanic. filing)",
             DW_SERVICE_MAX);
}

static const struct dw_program *broker_of(const struct dw_directory *dir)
{
    for (size_t i = 0; i < dir->programs_count; i++)
        if (strcmp(dir->programs[i].role, "broker") == 0)
            return &dir->programs[i];
    stop(DW_EXIT_CONFIG, "the directory names no broker");
}

/* What the other side needs, and nothing else; all of it in one file that nobody else can read. */
static bool write_file(const char *path, const struct admin *admin, const char *public,
                       const char *secret)
{
    char broker[Z85_TEXT];
    DW_AUTO_BUF text = {0};
    dw_buf_init(&text, FILE_TEXT_MAX);
    dw_buf_printf(
        &text,
        "# A program's key for the broker: CURVE, Z85 as ZeroMQ takes it. Keep it secret.\n"
        "public: '%s'\nsecret: '%s'\nbroker: '%s'\nendpoints:",
        public, secret, zmq_z85_encode(broker, broker_of(admin->dir)->curve, DW_KEY_LEN));
    const struct dw_texts *at = &admin->config.broker.guests;
    for (size_t i = 0; i < at->count; i++)
        dw_buf_printf(&text, "\n  - %s", at->items[i]);
    dw_buf_str(&text, at->count ? "\n" : " []\n");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool good = fd >= 0 && !text.overflow && write(fd, text.data, text.len) == (ssize_t)text.len &&
                fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    sodium_memzero(text.data, text.len);
    errno = why;
    return good;
}

void key_add(struct admin *admin, const char *role, const char *name)
{
    struct change c;
    char public[Z85_TEXT], secret[Z85_TEXT], path[NAME_MAX_LEN + 8], until[DW_DAY_TEXT];
    change_begin(admin, &c);
    check_names(c.draft, role, name);
    if (zmq_curve_keypair(public, secret) != 0)
        stop(DW_EXIT_NO, "this libzmq has no CURVE");
    snprintf(path, sizeof path, "%s.yaml", name);
    bool written = write_file(path, admin, public, secret);
    sodium_memzero(secret, sizeof secret);
    if (!written)
        stop(DW_EXIT_NO, "%s: %s; expected a new file that can be written", path, strerror(errno));
    struct dw_program *p = dw_draft_program(c.draft, name, role);
    zmq_z85_decode(p->curve, public);
    p->from = dw_day_of(dw_now());
    p->until = c.site.until;
    change_sign(admin, &c);
    printf("%s: key of %s as %s, valid until %s\n", path, name, role,
           dw_day_format(c.site.until, until));
    if (!admin->config.broker.guests.count)
        fprintf(stderr, "broker.guests is empty: no address for it yet\n");
}

/* ---- taking out ---- */

void key_revoke(struct admin *admin, const char *name)
{
    struct change c;
    change_begin(admin, &c);
    struct dw_program *p = find(c.draft, name);
    if (!p)
        stop(DW_EXIT_NO, "no program \"%.80s\"; `dengwen key list` names them", name);
    if (!dw_is_guest(p->role))
        stop(DW_EXIT_NO,
             "%s is a part of Dengwen and would stop working; expected a program that "
             "`dengwen key add` entered",
             name);
    size_t at = (size_t)(p - c.draft->programs);
    memmove(p, p + 1, (--c.draft->programs_count - at) * sizeof *p);
    change_sign(admin, &c);
    printf("%s has no key any more; the broker ends its connections\n", name);
}
