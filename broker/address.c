#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static bool parse_port(const char *text, in_port_t *ret)
{
    size_t len = strlen(text);
    if (len < 1 || len > 5 || strspn(text, "0123456789") != len || atol(text) > 65535)
        return false;
    *ret = htons((uint16_t)atol(text));
    return true;
}

bool dw_address_parse(const char *text, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (void *)ret;
    struct sockaddr_in6 *v6 = (void *)ret;
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    bool brackets = *text == '[' && colon && colon - text >= 2 && colon[-1] == ']';
    if (!colon)
        return false;
    const char *from = text + brackets;
    size_t len = (size_t)(colon - from) - brackets;
    if (len >= sizeof host)
        return false;
    memcpy(host, from, len);
    host[len] = 0;
    memset(ret, 0, sizeof *ret);
    if (brackets) {
        v6->sin6_family = AF_INET6;
        return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1 &&
               parse_port(colon + 1, &v6->sin6_port);
    }
    v4->sin_family = AF_INET;
    return inet_pton(AF_INET, host, &v4->sin_addr) == 1 && parse_port(colon + 1, &v4->sin_port);
}
