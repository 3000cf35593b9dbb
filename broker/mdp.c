#include "dw/mdp.h"

#include <string.h>

struct dw_frames dw_frames_copy(const struct dw_slice *items, size_t count)
{
    struct dw_frames frames = {.count = count};
    for (size_t i = 0; i < count; i++)
        frames.bytes += items[i].len;
    /* One block: the table, then the bytes. */
    frames.items = dw_alloc(count * sizeof *items + frames.bytes);
    uint8_t *at = (uint8_t *)(frames.items + count);
    for (size_t i = 0; i < count; i++) {
        if (items[i].len)
            memcpy(at, items[i].data, items[i].len);
        frames.items[i] = (struct dw_slice){at, items[i].len};
        at += items[i].len;
    }
    return frames;
}

void dw_frames_free(struct dw_frames *frames)
{
    dw_wipe_free(frames->items, frames->count * sizeof *frames->items + frames->bytes);
    *frames = (struct dw_frames){0};
}

bool dw_mdp_service_name(struct dw_slice name)
{
    if (name.len < 1 || name.len > DW_SERVICE_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static enum dw_result bad(const char **why, const char *text)
{
    *why = text;
    return DW_INVALID;
}

static bool parse_credit(struct dw_slice frame, uint32_t *ret)
{
    uint32_t v = 0;
    if (frame.len < 1 || frame.len > 5)
        return false;
    for (size_t i = 0; i < frame.len; i++) {
        if (frame.data[i] < '0' || frame.data[i] > '9')
            return false;
        v = v * 10 + (uint32_t)(frame.data[i] - '0');
    }
    *ret = v;
    return v >= 1;
}

/* clang-format off */
const struct dw_mdp_row dw_mdp_table[] = {
    {"MDPC01", "REQUEST",    1, false, 0, DW_MDP_REQUEST,    DW_MDP_TO_BROKER, DW_MDP_SERVICE_BODY},
    {"MDPC01", "REPLY",      1, false, 0, DW_MDP_REPLY,      DW_MDP_TO_PEER,   DW_MDP_SERVICE_BODY},
    {"MDPW01", "READY",      1, true,  1, DW_MDP_READY,      DW_MDP_TO_BROKER, DW_MDP_SERVICE_CREDIT},
    {"MDPW01", "REQUEST",    1, true,  2, DW_MDP_REQUEST,    DW_MDP_TO_PEER,   DW_MDP_ADDRESS_BODY},
    {"MDPW01", "REPLY",      1, true,  3, DW_MDP_REPLY,      DW_MDP_TO_BROKER, DW_MDP_ADDRESS_BODY},
    {"MDPW01", "HEARTBEAT",  1, true,  4, DW_MDP_HEARTBEAT,  DW_MDP_TO_BROKER | DW_MDP_TO_PEER, DW_MDP_NOTHING},
    {"MDPW01", "DISCONNECT", 1, true,  5, DW_MDP_DISCONNECT, DW_MDP_TO_BROKER | DW_MDP_TO_PEER, DW_MDP_NOTHING},
    {"MDPC02", "REQUEST",    2, false, 1, DW_MDP_REQUEST,    DW_MDP_TO_BROKER, DW_MDP_SERVICE_BODY},
    {"MDPC02", "PARTIAL",    2, false, 2, DW_MDP_PARTIAL,    DW_MDP_TO_PEER,   DW_MDP_SERVICE_BODY},
    {"MDPC02", "FINAL",      2, false, 3, DW_MDP_REPLY,      DW_MDP_TO_PEER,   DW_MDP_SERVICE_BODY},
    {"MDPW02", "READY",      2, true,  1, DW_MDP_READY,      DW_MDP_TO_BROKER, DW_MDP_SERVICE_CREDIT},
    {"MDPW02", "REQUEST",    2, true,  2, DW_MDP_REQUEST,    DW_MDP_TO_PEER,   DW_MDP_ADDRESS_BODY},
    {"MDPW02", "PARTIAL",    2, true,  3, DW_MDP_PARTIAL,    DW_MDP_TO_BROKER, DW_MDP_ADDRESS_BODY},
    {"MDPW02", "FINAL",      2, true,  4, DW_MDP_REPLY,      DW_MDP_TO_BROKER, DW_MDP_ADDRESS_BODY},
    {"MDPW02", "HEARTBEAT",  2, true,  5, DW_MDP_HEARTBEAT,  DW_MDP_TO_BROKER | DW_MDP_TO_PEER, DW_MDP_NOTHING},
    {"MDPW02", "DISCONNECT", 2, true,  6, DW_MDP_DISCONNECT, DW_MDP_TO_BROKER | DW_MDP_TO_PEER, DW_MDP_NOTHING},
};
/* clang-format on */
const size_t dw_mdp_rows = DW_COUNT(dw_mdp_table);

/* The row a message belongs to: the first of its protocol with its command. */
static const struct dw_mdp_row *row_of(const struct dw_slice *frames, size_t count,
                                       const char **why)
{
    bool leading = count && frames[0].len == 0;
    *why = "expected the name of a protocol";
    if (count < (leading ? 2 : 1))
        return NULL;
    const struct dw_slice *at = frames + leading, *end = frames + count;
    for (size_t i = 0; i < dw_mdp_rows; i++) {
        const struct dw_mdp_row *row = &dw_mdp_table[i];
        if (!dw_slice_is(at[0], row->protocol) || leading != (row->version == 1))
            continue;
        *why = "expected a command of the protocol";
        if (!row->octet || (end - at > 1 && at[1].len == 1 && at[1].data[0] == row->octet))
            return row;
    }
    return NULL;
}

static enum dw_result parse_rest(const struct dw_mdp_row *row, const struct dw_slice *rest,
                                 size_t count, struct dw_mdp_message *ret, const char **why)
{
    switch (row->layout) {
    case DW_MDP_NOTHING:
        return count == 0 ? DW_OK : bad(why, "frames behind HEARTBEAT or DISCONNECT");
    case DW_MDP_SERVICE_CREDIT:
        if (count < 1 || count > 2 || !dw_mdp_service_name(rest[0]))
            return bad(why, "READY wants one service name and perhaps a credit");
        ret->service = rest[0];
        ret->credit = 1;
        if (count == 2 && !parse_credit(rest[1], &ret->credit))
            return bad(why, "READY: credit wants 1 to 99999 as text");
        return DW_OK;
    case DW_MDP_SERVICE_BODY:
        if (count < 2 || !dw_mdp_service_name(rest[0]))
            return bad(why, "a request wants a service name and a body");
        ret->service = rest[0];
        ret->body = rest + 1;
        ret->body_count = count - 1;
        return DW_OK;
    case DW_MDP_ADDRESS_BODY:
        if (count < 3 || rest[0].len == 0 || rest[1].len != 0)
            return bad(why, "a reply wants an address, an empty frame and a body");
        ret->address = rest[0];
        ret->body = rest + 2;
        ret->body_count = count - 2;
        return DW_OK;
    }
    return DW_INVALID;
}

enum dw_result dw_mdp_parse(const struct dw_slice *frames, size_t count,
                            struct dw_mdp_message *ret, const char **why)
{
    *ret = (struct dw_mdp_message){0};
    const struct dw_mdp_row *row = row_of(frames, count, why);
    if (!row)
        return DW_INVALID;
    size_t head = (row->version == 1) + 1u + (row->octet != 0);
    ret->version = row->version;
    ret->worker = row->worker;
    ret->command = row->command;
    ret->unexpected = !(row->ways & DW_MDP_TO_BROKER);
    return parse_rest(row, frames + head, count - head, ret, why);
}

size_t dw_mdp_head(struct dw_slice out[DW_MDP_HEAD_MAX], uint8_t version, bool worker,
                   enum dw_mdp_command command)
{
    size_t n = 0;
    for (size_t i = 0; i < dw_mdp_rows; i++) {
        const struct dw_mdp_row *row = &dw_mdp_table[i];
        if (row->version != version || row->worker != worker || row->command != command)
            continue;
        if (version == 1)
            out[n++] = DW_SLICE("", 0);
        out[n++] = dw_slice_of(row->protocol);
        if (row->octet)
            out[n++] = DW_SLICE(&row->octet, 1);
        break;
    }
    return n;
}

void dw_item_header_encode(const struct dw_item_header *h, struct dw_buf *out)
{
    size_t len = strlen(h->service);
    dw_buf_u8(out, DW_ITEM_HEADER_VERSION);
    dw_buf_u8(out, h->klass);
    dw_buf_put(out, h->id, sizeof h->id);
    dw_buf_put(out, h->attempt, sizeof h->attempt);
    dw_buf_u32(out, h->parts);
    dw_buf_put(out, h->handle, sizeof h->handle);
    dw_buf_put(out, h->tok, sizeof h->tok);
    dw_buf_put(out, h->fp, sizeof h->fp);
    dw_buf_u8(out, (uint8_t)len);
    dw_buf_put(out, h->service, len);
}

static void read_into(struct dw_reader *r, uint8_t *out, size_t len)
{
    const uint8_t *at = dw_read_bytes(r, len);
    if (at)
        memcpy(out, at, len);
}

bool dw_item_header_decode(struct dw_slice bytes, struct dw_item_header *ret)
{
    struct dw_reader r = {.rest = bytes};
    *ret = (struct dw_item_header){0};
    if (dw_read_u8(&r) != DW_ITEM_HEADER_VERSION)
        return false;
    ret->klass = dw_read_u8(&r);
    read_into(&r, ret->id, sizeof ret->id);
    read_into(&r, ret->attempt, sizeof ret->attempt);
    ret->parts = dw_read_u32(&r);
    read_into(&r, ret->handle, sizeof ret->handle);
    read_into(&r, ret->tok, sizeof ret->tok);
    read_into(&r, ret->fp, sizeof ret->fp);
    uint8_t len = dw_read_u8(&r);
    const uint8_t *name = dw_read_bytes(&r, len);
    if (r.failed || r.rest.len || ret->klass > 1 || !dw_mdp_service_name(DW_SLICE(name, len)) ||
        dw_all_zero(ret->id, sizeof ret->id) ||
        (ret->parts == 0) != dw_all_zero(ret->attempt, sizeof ret->attempt))
        return false;
    memcpy(ret->service, name, len);
    return true;
}

void dw_lease_encode(uint8_t out[DW_LEASE_LEN], const uint8_t id[DW_ID_LEN], uint64_t fence)
{
    memcpy(out, id, DW_ID_LEN);
    for (int i = 0; i < 8; i++)
        out[DW_ID_LEN + i] = (uint8_t)(fence >> (56 - 8 * i));
}

bool dw_lease_decode(struct dw_slice lease, uint8_t id[DW_ID_LEN], uint64_t *fence)
{
    struct dw_reader r = {.rest = lease};
    if (lease.len != DW_LEASE_LEN)
        return false;
    read_into(&r, id, DW_ID_LEN);
    *fence = dw_read_u64(&r);
    return true;
}

int dw_status_parse(struct dw_slice frame)
{
    int v = 0;
    if (frame.len < 3 || (frame.len > 3 && frame.data[3] != ' '))
        return -1;
    for (int i = 0; i < 3; i++) {
        if (frame.data[i] < '0' || frame.data[i] > '9')
            return -1;
        v = v * 10 + (frame.data[i] - '0');
    }
    return v;
}
