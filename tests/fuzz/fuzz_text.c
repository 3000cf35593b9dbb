/* Small texts that people type or programs send: receipts, references, telephones, days, addresses,
 * base64.  What is taken is in its one form, and is taken again in that form. */
#include "fuzz.h"

#include "dw/clock.h"
#include "dw/filing.h"
#include "dw/receipt.h"
#include "http_private.h"

static void receipt(const char *text)
{
    char digits[DW_RECEIPT_DIGITS + 1], shown[DW_RECEIPT_TEXT], again[DW_RECEIPT_DIGITS + 1];
    if (!dw_receipt_parse(text, digits))
        return;
    must(strspn(digits, "0123456789") == DW_RECEIPT_DIGITS && !digits[DW_RECEIPT_DIGITS]);
    dw_receipt_format(digits, shown);
    must(dw_receipt_parse(shown, again) && strcmp(digits, again) == 0);
}

static void reference(const char *text)
{
    char out[DW_REFERENCE_TEXT], again[DW_REFERENCE_TEXT];
    if (dw_reference_parse(text, out))
        must(strlen(out) == 14 && dw_reference_parse(out, again) && strcmp(out, again) == 0);
}

static void phone(const char *text)
{
    char out[20], again[20];
    dw_email_is_plausible(text);
    if (!dw_phone_normalise(text, out))
        return;
    must(strncmp(out, "+86", 3) == 0 && strspn(out + 1, "0123456789") == strlen(out) - 1);
    must(dw_phone_normalise(out, again) && strcmp(out, again) == 0);
    dw_phone_is_mobile(out);
}

static void day(const char *text)
{
    dw_day d;
    char out[DW_DAY_TEXT];
    if (dw_day_parse(text, &d))
        must(strcmp(dw_day_format(d, out), text) == 0);
}

static void bytes(const char *text)
{
    uint8_t out[64];
    char again[DW_BASE64_LEN(sizeof out)];
    long n = dw_unbase64_any(out, sizeof out, text);
    must(n >= -1 && n <= (long)sizeof out);
    if (n >= 0)
        must(strcmp(dw_base64(again, sizeof again, out, (size_t)n), text) == 0);
    dw_unhex(out, 16, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct dw_http_peer peer;
    char *text = fuzz_text(DW_SLICE(data, len));
    receipt(text);
    reference(text);
    phone(text);
    day(text);
    bytes(text);
    dw_http_peer_parse(text, strlen(text), &peer);
    if (dw_text_is_clean(text, len, "\n\t"))
        must(dw_text_chars(text, len) <= len);
    free(text);
    return 0;
}
