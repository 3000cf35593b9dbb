/* connections.h - whose connection is whose, so that a key that was taken out is cut.
 * Source: connections.c
 *
 * A key is looked at when its program connects.  This table looks again: who spoke on which file
 * descriptor, and is the key still in the directory?  A descriptor that was closed and used again
 * is another connection, by its number (flow.h). */
#ifndef DW_CONNECTIONS_H
#define DW_CONNECTIONS_H

#include "dw/directory.h"

enum { DW_USER_TEXT = 160 };

/* User-Id of a program: role/name/beginning of its key, so that a new key of the same name is
 * another user. */
void dw_connection_user(const struct dw_program *program, char ret[DW_USER_TEXT]);

struct dw_connections;
struct dw_connections *dw_connections_new(void);
void dw_connections_free(struct dw_connections *all);
/* This user spoke on it.  False: the user was taken out, and what it says does not count. */
bool dw_connections_heard(struct dw_connections *all, int fd, const char *user);
/* Who has spoken on it; NULL when nobody has. */
const char *dw_connections_user(const struct dw_connections *all, int fd);
/* A number that no other connection and no other user has had; 0 when nobody has spoken on it. */
uint64_t dw_connections_number(const struct dw_connections *all, int fd);
/* After a change of the directory or of the day: ends the connections of those who are no longer in
 * it, and tells how many that were. */
size_t dw_connections_check(struct dw_connections *all, const struct dw_directory *dir, dw_day day);

#endif
