/* upload.c - the files of a filing as they come out of the HTTP server.
 *
 * The first bytes of each are held until its type is known; from then on nothing but sealed chunks
 * exists.  A part named "filing" with a file name is the JSON and no evidence. */
#include "web.h"

#include "dw/testing.h"

#include <string.h>

enum { HEAD_LEN = 8192 };

struct files {
    struct web *web;
    struct dw_http_request *request;
    struct dw_upload *upload; /* NULL until the first file */
    struct dw_buf filing;
    bool in_filing, in_file, begun;
    char name[DW_FILE_NAME_MAX + 1];
    uint8_t head[HEAD_LEN];
    size_t head_len;
};

static void read_on(void *arg)
{
    dw_http_resume(arg);
}

static void *begin(void *app, struct dw_http_request *request)
{
    struct files *f = dw_alloc(sizeof *f);
    f->web = app;
    f->request = request;
    dw_buf_init(&f->filing, (size_t)f->web->config->web.http.max_body_bytes);
    return f;
}

static int refuse(struct files *f, int status, const char *field, const char *detail)
{
    dw_http_refuse(f->request, field, detail);
    return status;
}

/* The last part of a path, without anything a terminal or a file system could take amiss. */
static void keep_name(struct files *f, const char *filename)
{
    const char *base = filename;
    for (const char *p = filename; *p; p++)
        if (*p == '/' || *p == '\\')
            base = p + 1;
    size_t len = strlen(base);
    if (len > DW_FILE_NAME_MAX) { /* the ending matters more than the beginning */
        base += len - DW_FILE_NAME_MAX;
        while (((unsigned char)*base & 0xc0) == 0x80)
            base++;
        len = strlen(base);
    }
    if (len == 0 || !dw_text_is_clean(base, len, ""))
        base = "file";
    snprintf(f->name, sizeof f->name, "%s", base);
}

static int file_begin(void *upload, const char *field, const char *filename, const char *type)
{
    struct files *f = upload;
    (void)type; /* what the sender calls it does not count */
    if (strcmp(field, "filing") == 0) {
        f->in_filing = true;
        return 0;
    }
    if (strcmp(field, "file") != 0)
        return refuse(f, 400, field, "expected files in parts named \"file\"");
    if (!f->upload)
        f->upload = dw_upload_new(f->web->intake, read_on, f->request);
    if ((int64_t)dw_upload_files(f->upload) >= f->web->config->web.max_files)
        return refuse(f, 413, "file", "too many files");
    keep_name(f, filename);
    f->in_file = true;
    f->begun = false;
    f->head_len = 0;
    return 0;
}

/* The type is known: what was held goes on, sealed. */
static int begin_sealing(struct files *f)
{
    const char *type = file_types_check(f->web->types, f->name, f->head, f->head_len);
    if (!type)
        return refuse(f, 415, "file",
                      f->head_len ? "a file is of a type that is not taken, or not what its name says"
                                  : "a file is empty");
    if (!dw_upload_begin(f->upload, f->name, type)) {
        return refuse(f, 503, "file", "files cannot be taken just now");
    }
    f->begun = true;
    dw_upload_data(f->upload, f->head, f->head_len);
    return 0;
}

static int file_data(void *upload, const void *data, size_t len)
{
    struct files *f = upload;
    const struct dw_config *c = f->web->config;
    if (f->in_filing) {
        dw_buf_put(&f->filing, data, len);
        return f->filing.overflow ? refuse(f, 413, "filing", "the filing is too long") : 0;
    }
    int64_t held = f->begun ? 0 : (int64_t)f->head_len;
    int64_t in_file = (f->begun ? dw_upload_file_size(f->upload) : held) + (int64_t)len;
    if (in_file > c->web.max_file_bytes)
        return refuse(f, 413, "file", "a file is too large");
    if (dw_upload_size(f->upload) + held + (int64_t)len > c->web.max_files_bytes)
        return refuse(f, 413, "file", "the files are too large together");
    if (!f->begun) {
        size_t room = HEAD_LEN - f->head_len, n = len < room ? len : room;
        memcpy(f->head + f->head_len, data, n);
        f->head_len += n;
        if (f->head_len < HEAD_LEN)
            return 0;
        int status = begin_sealing(f);
        if (status)
            return status;
        data = (const uint8_t *)data + n;
        len -= n;
    }
    dw_upload_data(f->upload, data, len);
    DW_POINT("web.file-data");
    return 0;
}

static int file_end(void *upload)
{
    struct files *f = upload;
    if (f->in_filing) {
        f->in_filing = false;
        return 0;
    }
    int status = f->begun ? 0 : begin_sealing(f);
    if (!status)
        dw_upload_end_file(f->upload);
    f->in_file = false;
    dw_wipe(f->head, sizeof f->head);
    return status;
}

static bool wants_pause(void *upload)
{
    struct files *f = upload;
    return f->upload && dw_upload_is_full(f->upload);
}

static void end(void *upload)
{
    struct files *f = upload;
    dw_upload_free(f->upload);
    dw_buf_free(&f->filing);
    dw_wipe_free(f, sizeof *f);
}

const struct dw_http_upload web_upload = {begin, file_begin, file_data, file_end, wants_pause, end};

struct dw_upload *web_upload_files(void *upload)
{
    struct files *f = upload;
    return f ? f->upload : NULL;
}

struct dw_slice web_upload_filing(void *upload)
{
    struct files *f = upload;
    return f ? dw_buf_slice(&f->filing) : (struct dw_slice){0};
}
