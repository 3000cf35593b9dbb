#include "connections.h"

#include "flow.h"

#include "dw/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { KEY_SHOWN = 8 };

struct connection {
    char *user;          /* NULL: nobody has spoken on it */
    uint64_t connection; /* of flow.h */
    uint64_t number;
    bool gone;
};

/* By file descriptor; as many as were ever open at once. */
struct dw_connections {
    struct connection *items;
    size_t room;
    uint64_t last;
};

void dw_connection_user(const struct dw_program *program, char ret[DW_USER_TEXT])
{
    char key[2 * DW_KEY_LEN + 1];
    dw_hex(key, program->curve, DW_KEY_LEN);
    snprintf(ret, DW_USER_TEXT, "%s/%s/%.*s", program->role, program->name, KEY_SHOWN, key);
}

struct dw_connections *dw_connections_new(void)
{
    return dw_alloc(sizeof(struct dw_connections));
}

void dw_connections_free(struct dw_connections *all)
{
    if (!all)
        return;
    for (size_t i = 0; i < all->room; i++)
        dw_free(all->items[i].user);
    dw_free(all->items);
    dw_free(all);
}

static void grow(struct dw_connections *all, size_t room)
{
    all->items = dw_realloc(all->items, room * sizeof *all->items);
    memset(all->items + all->room, 0, (room - all->room) * sizeof *all->items);
    all->room = room;
}

bool dw_connections_heard(struct dw_connections *all, int fd, const char *user)
{
    if (fd < 0)
        return true;
    if ((size_t)fd >= all->room)
        grow(all, 2 * ((size_t)fd + 1));
    struct connection *c = &all->items[fd];
    uint64_t connection = dw_flow_connection(fd);
    if (!c->user || c->connection != connection || strcmp(c->user, user) != 0) {
        dw_free(c->user);
        *c = (struct connection){
            .user = dw_strdup(user), .connection = connection, .number = ++all->last};
    }
    return !c->gone;
}

static const struct connection *on(const struct dw_connections *all, int fd)
{
    const struct connection *c = (size_t)fd < all->room ? &all->items[fd] : NULL;
    return c && c->user && c->connection == dw_flow_connection(fd) ? c : NULL;
}

const char *dw_connections_user(const struct dw_connections *all, int fd)
{
    const struct connection *c = on(all, fd);
    return c ? c->user : NULL;
}

uint64_t dw_connections_number(const struct dw_connections *all, int fd)
{
    const struct connection *c = on(all, fd);
    return c ? c->number : 0;
}

static bool is_in(const struct dw_directory *dir, dw_day day, const char *user)
{
    char now[DW_USER_TEXT];
    for (size_t i = 0; i < dir->programs_count; i++) {
        const struct dw_program *p = &dir->programs[i];
        dw_connection_user(p, now);
        if (strcmp(now, user) == 0)
            return p->from <= day && day <= p->until;
    }
    return false;
}

size_t dw_connections_check(struct dw_connections *all, const struct dw_directory *dir, dw_day day)
{
    size_t cut = 0;
    for (size_t fd = 0; fd < all->room; fd++) {
        struct connection *c = &all->items[fd];
        bool was_gone = c->gone;
        if (!dw_connections_user(all, (int)fd))
            continue;
        c->gone = !is_in(dir, day, c->user);
        if (!c->gone || was_gone)
            continue;
        dw_log(DW_WARN, "broker.key-ended", "%s: its key is no longer in the directory", c->user);
        shutdown((int)fd, SHUT_RDWR);
        cut++;
    }
    return cut;
}
