/* flow.h - how much comes in and goes out on each connection.  Source: flow.c
 *
 * libzmq keeps a message until its last frame is there, however many there are and however long
 * that takes, and what a peer does not read by number of messages, however large.  No option of it
 * bounds these in bytes, and no event tells of them.  So they are counted below it: this program
 * defines the four functions by which libzmq talks to a connection (accept, accept4, recv, send),
 * and the dynamic linker gives it ours.  dw_flow_seen() tells at the start whether it does.
 *
 * Of all but dw_flow_open() only the thread that reads the sockets may make use. */
#ifndef DW_FLOW_H
#define DW_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before the first thread.  `connections` at once; `message` bytes of one message at most; `unread`
 * bytes that may wait for one peer. */
void dw_flow_open(size_t connections, int64_t message, int64_t unread);
void dw_flow_close(void);
/* Is readable when a connection has brought more than one message may have, and none was delivered:
 * then what waits is to be read, between begin and end. */
int dw_flow_fd(void);

/* Bytes that came in, on all connections. */
int64_t dw_flow_seen(void);
/* A number for the connection that is on this descriptor now, which no other has had. */
uint64_t dw_flow_connection(int fd);

/* A whole message of this connection was read. */
void dw_flow_delivered(int fd);
/* So many bytes were given to libzmq for it.  False: too much waits for a peer that does not read.
 */
bool dw_flow_queued(int fd, size_t bytes);

/* Begin notes what has come so far.  When after it nothing was left to be read, or so many messages
 * were read that each connection had its turn, end tells whose bytes are no message. */
void dw_flow_begin(void);
bool dw_flow_begun(void);
size_t dw_flow_turns(void); /* as many as there may be connections */
typedef void dw_flow_endless(void *arg, int fd);
void dw_flow_end(dw_flow_endless *endless, void *arg);

#endif
