/* zap.h - our ZAP handler (RFC 27): which key may connect, and as what.  Source: broker/zap.c
 *
 * Fails closed: any mechanism but CURVE, any key not in the signed directory on this day, and any
 * key of a peer that was cut lately is refused.  The User-Id is that of connections.h.
 * A socket's domain says whom it is for: our own programs, or those of others. */
#ifndef DW_ZAP_H
#define DW_ZAP_H

#include "dw/directory.h"

#define DW_ZAP_OWN    "dengwen"
#define DW_ZAP_GUESTS "dengwen-guests"

struct dw_zap;
/* Binds the handler; must exist before the first server socket.  NULL if another handler runs. */
struct dw_zap *dw_zap_new(void *zmq, struct dw_directory_watch *directory, int64_t ban_ms);
void dw_zap_free(struct dw_zap *zap);
void *dw_zap_socket(struct dw_zap *zap);
/* Answers what is waiting. */
void dw_zap_process(struct dw_zap *zap, int64_t mono_ms, dw_time now);
/* The peer with this User-Id stays out for a while. */
void dw_zap_ban(struct dw_zap *zap, const char *user, int64_t mono_ms);

#endif
