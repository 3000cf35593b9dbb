/* reference.c - the short public name of a case: CQ26-7K3M9QXA with a check character behind it.
 *
 * It is drawn from a hash of the case id, so that it says nothing about when or in which order
 * cases came in, and a second delivery of a filing draws the same.  Forty bits: two cases may draw
 * the same one, and the store then asks for the next candidate. */
#include "dw/filing.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { PREFIX_LEN = 2, YEAR_LEN = 2, BODY_LEN = 8, CHECKED_LEN = YEAR_LEN + BODY_LEN, BASE = 32 };

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static int value_of(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

/* ISO/IEC 7064, hybrid system MOD 33,32, over year and body. */
static char check_character(const char *checked)
{
    int p = BASE;
    for (size_t i = 0; i < CHECKED_LEN; i++) {
        int s = (p + value_of(checked[i])) % BASE;
        p = (s ? s : BASE) * 2 % (BASE + 1);
    }
    return alphabet[(BASE + 1 - p) % BASE];
}

static void write_reference(const char *checked, char out[DW_REFERENCE_TEXT])
{
    snprintf(out, DW_REFERENCE_TEXT, "CQ%.2s-%.8s%c", checked, checked + YEAR_LEN,
             check_character(checked));
}

void dw_reference_make(const uint8_t case_id[16], dw_day day, uint32_t n,
                       char out[DW_REFERENCE_TEXT])
{
    static const char context[] = "dengwen reference 1";
    uint8_t hash[crypto_generichash_BYTES];
    uint8_t candidate[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    crypto_generichash_state state;
    char checked[CHECKED_LEN + 1];
    int year, month, day_of_month;

    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    crypto_generichash_update(&state, (const uint8_t *)context, sizeof context);
    crypto_generichash_update(&state, case_id, 16);
    crypto_generichash_update(&state, candidate, sizeof candidate);
    crypto_generichash_final(&state, hash, sizeof hash);

    dw_day_to_civil(day, &year, &month, &day_of_month);
    snprintf(checked, sizeof checked, "%02u", (unsigned)year % 100);
    for (size_t i = 0; i < BODY_LEN; i++)
        checked[YEAR_LEN + i] = alphabet[hash[i] % BASE];
    checked[CHECKED_LEN] = 0;
    write_reference(checked, out);
}

/* One typed character in the alphabet's own form; 0 for separators, -1 for anything else. */
static int tidy(char c)
{
    if (c == ' ' || c == '-')
        return 0;
    if (c >= 'a' && c <= 'z')
        c = (char)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    return value_of(c) < 0 ? -1 : c;
}

bool dw_reference_parse(const char *text, char out[DW_REFERENCE_TEXT])
{
    char tidied[PREFIX_LEN + CHECKED_LEN + 2];
    size_t len = 0;
    for (; *text; text++) {
        int c = tidy(*text);
        if (c < 0 || (c && len == PREFIX_LEN + CHECKED_LEN + 1))
            return false;
        if (c)
            tidied[len++] = (char)c;
    }
    const char *checked = tidied + PREFIX_LEN;
    if (len != PREFIX_LEN + CHECKED_LEN + 1 || memcmp(tidied, "CQ", PREFIX_LEN) != 0 ||
        checked[0] > '9' || checked[1] > '9' || checked[CHECKED_LEN] != check_character(checked))
        return false;
    write_reference(checked, out);
    return true;
}
