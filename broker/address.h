/* address.h - "127.0.0.1:8080" and "[::1]:8080" as socket addresses.  Source: address.c */
#ifndef DW_ADDRESS_H
#define DW_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Numbers only: a name would have to be looked up.  Port 0 lets the kernel choose. */
bool dw_address_parse(const char *text, struct sockaddr_storage *ret);

#endif
