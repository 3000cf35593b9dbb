/* page.c - the two small questions of text that both portals ask. */
#include "dw/http.h"

#include <string.h>

enum { KEY_CHARS_MIN = 22, KEY_CHARS_MAX = 64 };

static bool is_base64url(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

/* A UUID is one of these too: 36 hexadecimal digits and dashes. */
bool dw_http_is_key(const char *text)
{
    size_t len = 0;
    if (!text)
        return false;
    while (len <= KEY_CHARS_MAX && is_base64url(text[len]))
        len++;
    return text[len] == 0 && len >= KEY_CHARS_MIN && len <= KEY_CHARS_MAX;
}

void dw_html_text(struct dw_buf *out, const char *text)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"},
    };
    while (*text) {
        size_t plain = strcspn(text, "&<>\"'");
        dw_buf_put(out, text, plain);
        text += plain;
        for (size_t i = 0; *text && i < DW_COUNT(entities); i++)
            if (*text == entities[i].c)
                dw_buf_str(out, entities[i].entity);
        text += *text != 0;
    }
}
