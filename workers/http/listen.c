/* listen.c - the address a server listens at. */
#include "http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t parse_address(const char *text, union address *ret)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN + 2];
    size_t len = colon ? (size_t)(colon - text) : 0;
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    long port = digits >= 1 && digits <= 5 && !colon[1 + digits] ? atol(colon + 1) : -1;
    *ret = (union address){.v6 = {0}};
    if (port < 0 || port > 65535 || len == 0 || len >= sizeof host)
        return 0;
    memcpy(host, text, len);
    host[len] = 0;
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        ret->v6.sin6_family = AF_INET6;
        ret->v6.sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) == 1 ? sizeof ret->v6 : 0;
    }
    ret->v4.sin_family = AF_INET;
    ret->v4.sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1 ? sizeof ret->v4 : 0;
}

int dw_http_listen(const char *address, int *ret_port, struct dw_error *err)
{
    union address at;
    int on = 1;
    socklen_t len = parse_address(address, &at);
    if (len == 0) {
        dw_error_set(err, "listen", "%s: expected ip:port or [ip]:port", address);
        return -1;
    }
    /* Non-blocking: a client may be gone between poll() and accept(). */
    int fd = socket(at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd >= 0 && at.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (fd < 0 || bind(fd, &at.any, len) != 0 || listen(fd, SOMAXCONN) != 0 ||
        getsockname(fd, &at.any, &len) != 0) {
        dw_error_set(err, "listen", "%s: %s", address, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *ret_port = ntohs(at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port);
    return fd;
}
