/* stretch.c - the memory-hard step of receipts.
 *
 * By libargon2 and not by libsodium's function of the same result, which maps and unmaps its 8 MiB at
 * each call: that takes three times as long as the step, and threads wait for each other in it. */
#include "dw/receipt.h"

#include <argon2.h>
#include <string.h>
#include <sys/mman.h>

enum { PASSES = 1, MEMORY_BYTES = 8 * 1024 * 1024 };

void *dw_stretch_memory_new(void)
{
    void *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, MEMORY_BYTES, MADV_HUGEPAGE);
    madvise(memory, MEMORY_BYTES, MADV_DONTDUMP);
    return memory;
}

void dw_stretch_memory_free(void *memory)
{
    if (memory)
        munmap(memory, MEMORY_BYTES);
}

/* libargon2 asks for memory without saying for whom. */
static _Thread_local void *ours;

static int give_memory(uint8_t **ret, size_t bytes)
{
    *ret = bytes == MEMORY_BYTES ? ours : NULL;
    return *ret ? ARGON2_OK : ARGON2_MEMORY_ALLOCATION_ERROR;
}

static void keep_memory(uint8_t *memory, size_t bytes)
{
    (void)memory; /* which libargon2 has wiped */
    (void)bytes;
}

bool dw_receipt_stretch(uint8_t y[DW_Y_LEN], const char digits[DW_RECEIPT_DIGITS + 1],
                        const uint8_t salt[DW_SALT_LEN], void *memory)
{
    char copy[DW_RECEIPT_DIGITS];
    uint8_t salt_copy[DW_SALT_LEN];
    memcpy(copy, digits, sizeof copy);
    memcpy(salt_copy, salt, sizeof salt_copy);
    argon2_context context = {
        .out = y,
        .outlen = DW_Y_LEN,
        .pwd = (uint8_t *)copy,
        .pwdlen = sizeof copy,
        .salt = salt_copy,
        .saltlen = sizeof salt_copy,
        .t_cost = PASSES,
        .m_cost = MEMORY_BYTES / 1024,
        .lanes = 1,
        .threads = 1,
        .version = ARGON2_VERSION_13,
        .allocate_cbk = give_memory,
        .free_cbk = keep_memory,
        .flags = ARGON2_FLAG_CLEAR_PASSWORD,
    };
    ours = memory;
    bool good = argon2_ctx(&context, Argon2_id) == ARGON2_OK;
    ours = NULL;
    return good;
}
