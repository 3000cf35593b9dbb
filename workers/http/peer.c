/* peer.c - whose request it is, and whose page it comes from. */
#include "http_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

bool dw_http_peer_of(const struct sockaddr *address, struct dw_http_peer *ret)
{
    if (address && address->sa_family == AF_INET) {
        memcpy(ret->bytes, v4_prefix, sizeof v4_prefix);
        memcpy(ret->bytes + sizeof v4_prefix, &((const struct sockaddr_in *)address)->sin_addr, 4);
        return true;
    }
    if (address && address->sa_family == AF_INET6) {
        memcpy(ret->bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
        return true;
    }
    *ret = (struct dw_http_peer){0};
    return false;
}

static bool is_port(const char *text)
{
    size_t len = strlen(text);
    return len >= 1 && len <= 5 && strspn(text, "0123456789") == len;
}

bool dw_http_peer_parse(const char *text, size_t len, struct dw_http_peer *ret)
{
    char copy[INET6_ADDRSTRLEN + 8], *from = copy;
    struct in_addr v4;
    if (len >= sizeof copy || memchr(text, 0, len))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (*copy == '[') { /* [2001:db8::1] or [2001:db8::1]:443 */
        char *end = strchr(copy, ']');
        if (!end || (end[1] && (end[1] != ':' || !is_port(end + 2))))
            return false;
        *end = 0;
        return inet_pton(AF_INET6, from + 1, ret->bytes) == 1;
    }
    char *colon = strchr(copy, ':');
    if (colon && !strchr(colon + 1, ':') && is_port(colon + 1)) /* 192.0.2.1:443 */
        *colon = 0;
    if (inet_pton(AF_INET, copy, &v4) == 1) {
        memcpy(ret->bytes, v4_prefix, sizeof v4_prefix);
        memcpy(ret->bytes + sizeof v4_prefix, &v4, 4);
        return true;
    }
    return inet_pton(AF_INET6, copy, ret->bytes) == 1;
}

static bool is_one_of(struct dw_http_peer peer, const struct dw_http_peer *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (memcmp(list[i].bytes, peer.bytes, sizeof peer.bytes) == 0)
            return true;
    return false;
}

/* Takes the last entry off the first *len characters of a list. */
static bool last_entry(const char *list, size_t *len, struct dw_http_peer *ret)
{
    size_t end = *len, from;
    while (end > 0 && (list[end - 1] == ' ' || list[end - 1] == '\t'))
        end--;
    for (from = end; from > 0 && list[from - 1] != ','; from--)
        ;
    *len = from > 0 ? from - 1 : 0;
    while (from < end && (list[from] == ' ' || list[from] == '\t'))
        from++;
    return dw_http_peer_parse(list + from, end - from, ret);
}

struct dw_http_peer dw_http_peer_behind(struct dw_http_peer peer, const struct dw_http_head *head,
                                        const struct dw_http_peer *trusted, size_t count)
{
    struct dw_http_peer found = peer;
    if (!is_one_of(peer, trusted, count))
        return peer;
    for (size_t i = head->count; i-- > 0;) { /* several such fields are one list */
        if (strcasecmp(head->lines[i].name, "X-Forwarded-For") != 0)
            continue;
        const char *list = head->lines[i].value;
        for (size_t len = strlen(list); len > 0;) {
            struct dw_http_peer next;
            if (!last_entry(list, &len, &next))
                return peer;
            found = next;
            if (!is_one_of(found, trusted, count))
                return found;
        }
    }
    return found;
}

/* Sec-Fetch-Site comes from the browser and cannot be set by a page; older browsers send Origin.
 * Programs send neither, and have nothing that a foreign page could make them use. */
bool dw_http_same_origin(const struct dw_http_head *head, const char *configured)
{
    const char *site = dw_http_head_value(head, "Sec-Fetch-Site");
    const char *origin = dw_http_head_value(head, "Origin");
    const char *host = dw_http_head_value(head, "Host");
    if (site)
        return strcmp(site, "same-origin") == 0 || strcmp(site, "none") == 0;
    if (!origin)
        return true;
    if (*configured)
        return strcasecmp(origin, configured) == 0;
    for (size_t secure = 0; host && secure < 2; secure++) {
        const char *scheme = secure ? "https://" : "http://";
        size_t len = strlen(scheme);
        if (strncasecmp(origin, scheme, len) == 0 && strcasecmp(origin + len, host) == 0)
            return true;
    }
    return false;
}
