#include "dw/registering.h"

#include "dw/testing.h"

static const char away[] = "the store is away";

static enum dw_registering_next answer(struct dw_registering *r, int status, const char *why)
{
    r->status = status;
    r->why = why;
    return DW_REGISTERING_ANSWER;
}

enum dw_registering_next dw_registering_begin(struct dw_registering *r, uint32_t parts,
                                              const char *wrong)
{
    *r = (struct dw_registering){.parts = parts, .status = 200, .why = ""};
    return wrong ? answer(r, 422, wrong) : DW_REGISTERING_LOOK;
}

enum dw_registering_next dw_registering_looked(struct dw_registering *r, enum dw_result found)
{
    if (found == DW_OK && !DW_BUG("no-uniqueness"))
        return answer(r, 200, ""); /* delivered before */
    if (found == DW_RETRY)
        return answer(r, 300, away);
    return r->parts ? DW_REGISTERING_FETCH : DW_REGISTERING_WRITE;
}

bool dw_registering_stored(struct dw_registering *r, enum dw_result outcome)
{
    if (outcome == DW_INVALID)
        answer(r, 422, "a chunk exists with other contents");
    else if (outcome != DW_OK)
        answer(r, 300, away);
    return outcome == DW_OK;
}

void dw_registering_no_part(struct dw_registering *r)
{
    answer(r, 300, "a chunk could not be fetched");
}

void dw_registering_other_file(struct dw_registering *r)
{
    answer(r, 422, "a file is not the one the filing names");
}

enum dw_registering_next dw_registering_fetched(const struct dw_registering *r)
{
    return r->status == 200 ? DW_REGISTERING_WRITE : DW_REGISTERING_ANSWER;
}

enum dw_registering_next dw_registering_written(struct dw_registering *r,
                                                const struct dw_store_step *step)
{
    if (step->outcome == DW_CONFLICT && step->taken && r->reference_n < DW_REFERENCES_TRIED) {
        r->reference_n++; /* somebody else's: draw the next */
        return DW_REGISTERING_WRITE;
    }
    if (step->outcome == DW_INVALID)
        return answer(r, 422, "an object or a receipt exists with other contents");
    if (step->outcome != DW_OK && !(step->outcome == DW_UNCERTAIN && DW_BUG("uncertain-is-done")))
        return answer(r, 300, away); /* after UNCERTAIN the next delivery finds the case, or not */
    r->made = !step->existed;
    return answer(r, 200, "");
}
