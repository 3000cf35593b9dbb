#include "dw/putting.h"

#include "dw/log.h"
#include "dw/testing.h"

#include <stdio.h>

void dw_putting_begin(struct dw_putting *p, size_t brokers, size_t first, bool parts)
{
    *p = (struct dw_putting){.brokers = brokers,
                             .first = first,
                             .left = parts ? 1 : brokers,
                             .status = 503,
                             .retry_seconds = DW_PUT_AGAIN_SECONDS};
}

bool dw_putting_next(const struct dw_putting *p, size_t *broker)
{
    if (!p->left || p->status != 503)
        return false;
    *broker = p->first;
    return true;
}

int dw_put_again_seconds(struct dw_slice said)
{
    char text[12] = "";
    int seconds;
    if (said.len)
        dw_printable(text, sizeof text, said.data, said.len);
    return sscanf(text, "%d", &seconds) == 1 && seconds > 0 ? seconds : DW_PUT_AGAIN_SECONDS;
}

void dw_putting_answered(struct dw_putting *p, enum dw_result result, int status,
                         struct dw_slice said)
{
    p->left--;
    p->first = (p->first + 1) % p->brokers;
    p->retry_seconds = DW_PUT_AGAIN_SECONDS;
    if (result == DW_UNCERTAIN && DW_BUG("silence-is-yes")) {
        p->status = 202;
    } else if (result != DW_OK) {
        p->why = result == DW_RETRY ? "no broker takes filings" : "the broker did not answer";
    } else if (status == 200) {
        p->status = 202;
    } else if (status == 422) {
        p->status = 422;
    } else if (status == 503) {
        p->why = "the queue is full";
        p->retry_seconds = dw_put_again_seconds(said);
    } else {
        p->why = "the broker refused the filing";
    }
}
