/* types.c - the list of file types that are taken, and libmagic's opinion of the bytes.
 *
 * An ending that is not listed, or bytes that are something else than the ending says, are refused:
 * an inspector will open this file. */
#include "web.h"

#include <magic.h>
#include <string.h>
#include <strings.h>

struct file_types {
    magic_t magic;
};

static const struct {
    const char *ending;
    const char *types[4]; /* the first one is kept */
} allowed[] = {
    {".pdf", {"application/pdf"}},
    {".jpg", {"image/jpeg"}},
    {".jpeg", {"image/jpeg"}},
    {".png", {"image/png"}},
    {".gif", {"image/gif"}},
    {".webp", {"image/webp"}},
    {".bmp", {"image/bmp", "image/x-ms-bmp"}},
    {".heic", {"image/heic", "image/heif"}},
    {".tif", {"image/tiff"}},
    {".tiff", {"image/tiff"}},
    {".txt", {"text/plain"}},
    {".csv", {"text/csv", "text/plain", "application/csv"}},
    {".doc", {"application/msword", "application/CDFV2", "application/x-ole-storage"}},
    {".xls", {"application/vnd.ms-excel", "application/CDFV2", "application/x-ole-storage"}},
    {".docx",
     {"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/zip",
      "application/octet-stream"}},
    {".xlsx",
     {"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "application/zip",
      "application/octet-stream"}},
    {".mp3", {"audio/mpeg"}},
    {".m4a", {"audio/x-m4a", "audio/mp4", "video/mp4"}},
    {".aac", {"audio/aac", "audio/x-hx-aac-adts"}},
    {".wav", {"audio/x-wav", "audio/wav"}},
    {".amr", {"audio/AMR", "audio/amr"}},
    {".ogg", {"audio/ogg", "application/ogg"}},
    {".mp4", {"video/mp4", "video/x-m4v"}},
    {".mov", {"video/quicktime", "video/mp4"}},
    {".3gp", {"video/3gpp"}},
};

struct file_types *file_types_new(void)
{
    struct file_types *t = dw_alloc(sizeof *t);
    t->magic = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS);
    if (t->magic && magic_load(t->magic, NULL) == 0)
        return t;
    file_types_free(t);
    return NULL;
}

void file_types_free(struct file_types *t)
{
    if (!t)
        return;
    if (t->magic)
        magic_close(t->magic);
    dw_free(t);
}

/* Where an office document is no more to libmagic than a zip or bytes, its first entry tells. */
static bool is_office_package(const uint8_t *head, size_t len)
{
    static const char *const first[] = {"[Content_Types].xml", "_rels/", "docProps/",
                                        "customXml/",          "word/",  "xl/"};
    enum { NAME_AT = 30 };
    if (len < NAME_AT || memcmp(head, "PK\003\004", 4) != 0)
        return false;
    for (size_t i = 0; i < DW_COUNT(first); i++) {
        size_t n = strlen(first[i]);
        if (len - NAME_AT >= n && memcmp(head + NAME_AT, first[i], n) == 0)
            return true;
    }
    return false;
}

static bool is_zip_or_bytes(const char *type)
{
    return strcmp(type, "application/zip") == 0 || strcmp(type, "application/octet-stream") == 0;
}

const char *file_types_check(struct file_types *t, const char *name, const void *head, size_t len)
{
    const char *dot = strrchr(name, '.');
    const char *found = dot && len ? magic_buffer(t->magic, head, len) : NULL;
    if (!found || (is_zip_or_bytes(found) && !is_office_package(head, len)))
        return NULL;
    for (size_t i = 0; i < DW_COUNT(allowed); i++) {
        if (strcasecmp(allowed[i].ending, dot) != 0)
            continue;
        for (size_t j = 0; j < DW_COUNT(allowed[i].types) && allowed[i].types[j]; j++)
            if (strcmp(allowed[i].types[j], found) == 0)
                return allowed[i].types[0];
    }
    return NULL;
}

const char *file_types_list(void)
{
    return ".pdf, .jpg, .jpeg, .png, .gif, .webp, .bmp, .heic, .tif, .tiff, .txt, .csv, .doc, .xls, "
           ".docx, .xlsx, .mp3, .m4a, .aac, .wav, .amr, .ogg, .mp4, .mov, .3gp";
}
