/* phone.c - Chinese telephone numbers, and e-mail addresses as far as they can be judged offline.
 */
#include "dw/filing.h"

#include <stdio.h>
#include <string.h>

/* A full-width form (U+FF01 to U+FF5E, as Chinese keyboards type it) is its ASCII character plus
 * 0xFEE0.  Returns the bytes used, 0 for anything that no telephone number holds. */
static size_t next_char(const char *text, char *ret)
{
    const unsigned char *t = (const unsigned char *)text;
    if (t[0] < 0x80) {
        *ret = (char)t[0];
        return 1;
    }
    if (t[0] == 0xe3 && t[1] == 0x80 && t[2] == 0x80) { /* ideographic space */
        *ret = ' ';
        return 3;
    }
    if (t[0] == 0xef && (t[1] == 0xbc || t[1] == 0xbd) && t[2] >= 0x80 && t[2] <= 0xbf) {
        int c = (t[1] - 0xbc) * 64 + t[2] - 0x80 + 0x20;
        *ret = (char)c;
        return c > 0x20 && c < 0x7f ? 3 : 0;
    }
    return 0;
}

/* Digits only, after an optional plus; spaces, hyphens, dots and brackets are dropped. */
static bool collect_digits(const char *text, char digits[24], bool *plus)
{
    size_t count = 0;
    *plus = false;
    while (*text) {
        char c;
        size_t used = next_char(text, &c);
        if (!used)
            return false;
        text += used;
        if (c >= '0' && c <= '9') {
            if (count == 20)
                return false;
            digits[count++] = c;
        } else if (c == '+' && !*plus && count == 0) {
            *plus = true;
        } else if (!strchr(" -.()", c)) {
            return false;
        }
    }
    digits[count] = 0;
    return true;
}

/* Without the country code; false where there is one and it is not 86. */
static bool strip_country(const char **digits, bool plus)
{
    if (!plus && strncmp(*digits, "00", 2) == 0) {
        *digits += 2;
        plus = true;
    }
    if (plus && strncmp(*digits, "86", 2) != 0)
        return false;
    if (plus || (strncmp(*digits, "861", 3) == 0 && strlen(*digits) == 13))
        *digits += 2;
    return true;
}

static bool is_mobile(const char *n)
{
    return strlen(n) == 11 && n[0] == '1' && n[1] >= '3';
}

/* Area code without its zero: 10 and 2x have two digits and eight behind them, 3xx to 9xx three
 * digits and seven or eight behind them. */
static bool is_landline(const char *n)
{
    size_t area = strncmp(n, "10", 2) == 0 || n[0] == '2' ? 2 : 3;
    size_t len = strlen(n);
    if (n[0] < '1' || (n[0] == '1' && n[1] != '0') || len <= area)
        return false;
    size_t local = len - area;
    bool length = area == 2 ? local == 8 : local == 7 || local == 8;
    return length && n[area] >= '2' && n[area] <= '8';
}

bool dw_phone_normalise(const char *text, char out[20])
{
    char digits[24];
    const char *n = digits;
    bool plus;
    if (!collect_digits(text, digits, &plus) || !strip_country(&n, plus))
        return false;
    bool zero = *n == '0';
    n += zero;
    /* +86 may be followed by the area code with or without its zero; at home the zero is needed. */
    bool abroad = n - digits > zero;
    bool good = (!zero && is_mobile(n)) || ((zero || abroad || plus) && is_landline(n));
    if (good)
        snprintf(out, 20, "+86%.14s", n);
    return good;
}

bool dw_phone_is_mobile(const char *e164)
{
    return strncmp(e164, "+86", 3) == 0 && is_mobile(e164 + 3);
}

/* ---- e-mail ---- */

static const char letters_and_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool is_from(const char *text, size_t len, const char *extra)
{
    for (size_t i = 0; i < len; i++)
        if (!text[i] || (!strchr(letters_and_digits, text[i]) && !strchr(extra, text[i])))
            return false;
    return len > 0;
}

/* Parts between single dots, none of them empty. */
static bool has_empty_part(const char *text, size_t len)
{
    return len == 0 || text[0] == '.' || text[len - 1] == '.' || memmem(text, len, "..", 2);
}

static bool is_label(const char *text, size_t len)
{
    return len <= 63 && is_from(text, len, "-") && text[0] != '-' && text[len - 1] != '-';
}

static bool is_domain(const char *text)
{
    size_t labels = 0;
    const char *last = text;
    while (true) {
        size_t len = strcspn(text, ".");
        if (!is_label(text, len))
            return false;
        labels++;
        last = text;
        if (!text[len])
            break;
        text += len + 1;
    }
    return labels >= 2 && strlen(last) >= 2 && strspn(last, "0123456789") < strlen(last);
}

/* Addresses in quotation marks or outside ASCII are rare and many servers refuse them. */
bool dw_email_is_plausible(const char *text)
{
    const char *at = strchr(text, '@');
    if (!at || strlen(text) > 254)
        return false;
    size_t len = (size_t)(at - text);
    return len <= 64 && is_from(text, len, "!#$%&'*+-/=?^_`{|}~.") && !has_empty_part(text, len) &&
           is_domain(at + 1);
}
