/* checkpoint.h - moves the log of a SQLite database into its file.  Source: broker/checkpoint.c
 *
 * A thread with a connection of its own does it beside the commits, so that none of them has to.  When
 * nothing has been written for a second the log is cut to nothing: what was deleted does not linger in
 * it.  Then zeros are written where the next one will be, as much as the last one had, between 256 KiB
 * and 4 MiB: a commit that makes no file longer is durable in half the time. */
#ifndef DW_CHECKPOINT_H
#define DW_CHECKPOINT_H

struct dw_checkpointer;

/* `failed` is called from the thread when the disk does; the thread ends then.  NULL when no thread
 * can be made or the file cannot be opened. */
struct dw_checkpointer *dw_checkpointer_start(const char *path,
                                              void (*failed)(void *arg, const char *what),
                                              void *arg);
/* The log has grown: it is moved now.  Otherwise it is some times a second. */
void dw_checkpointer_wake(struct dw_checkpointer *c);
/* How many frames of the log were in the file after its last turn. */
int dw_checkpointer_moved(const struct dw_checkpointer *c);
void dw_checkpointer_stop(struct dw_checkpointer *c);

#endif
