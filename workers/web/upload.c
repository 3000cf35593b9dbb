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
    bool page; /* of a form: refusals wait until all of it is here */
    const struct web_file_problem *problem;
    int64_t dropped; /* bytes that came after it */
    char name[DW_FILE_NAME_MAX + 1];
    uint8_t head[HEAD_LEN];
    size_t head_len;
};

enum { FIELD, FILING_TOO_LONG, TOO_MANY, TOO_LARGE, TOO_LARGE_TOGETHER, TYPE, EMPTY, NOT_NOW };
static const struct web_file_problem problems[] = {
    [FIELD] = {400, false, "expected one part named \"filing\", then files in parts named \"file\"",
               "表单有误，请重新填写。",
               "The form is broken; please start again."},
    [FILING_TOO_LONG] = {413, false, "the filing is too long", "内容太长。", "It is too long."},
    [TOO_MANY] = {413, false, "too many files", "文件太多，请减少后重新选择。",
                  "There are too many files; please choose fewer."},
    [TOO_LARGE] = {413, true, "a file is too large", "文件太大，请换一个小一些的文件。",
                   "The file is too large; please choose a smaller one."},
    [TOO_LARGE_TOGETHER] = {413, false, "the files are too large together",
                            "全部文件合计太大，请减少后重新选择。",
                            "The files are too large together; please choose fewer."},
    [TYPE] = {415, true, "a file is of a type that is not taken, or not what its name says",
              "不能接收这种文件，或者文件内容与名称不符。请换一个文件。",
              "Files of this kind are not taken, or it is not what its name says. Please choose "
              "another."},
    [EMPTY] = {415, true, "a file is empty", "文件是空的，请换一个文件。",
               "The file is empty; please choose another."},
    [NOT_NOW] = {503, false, "files cannot be taken just now", "暂时无法接收文件，请稍后再试。",
                 "Files cannot be taken just now; please try again later."},
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
    f->page = web_is_page(request);
    dw_buf_init(&f->filing, (size_t)f->web->config->web.http.max_body_bytes);
    return f;
}

static int refuse(struct files *f, const char *field, int which)
{
    f->problem = &problems[which];
    if (f->page)
        return 0;
    dw_http_refuse(f->request, field, f->problem->detail);
    return f->problem->status;
}

/* What comes after the problem, up to what good files could have been. */
static int drop(struct files *f, size_t len)
{
    f->dropped += (int64_t)len;
    return f->dropped > f->web->config->web.max_files_bytes ? f->problem->status : 0;
}

/* With U+200E, U+200F, U+2028 to U+202E or U+2066 to U+2069 a name looks as if it ended otherwise. */
static void drop_direction_marks(char *name)
{
    char *out = name;
    while (*name) {
        const unsigned char *p = (const unsigned char *)name;
        bool general = p[0] == 0xe2 && p[1] == 0x80;
        if ((general && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
            (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9))
            name += 3;
        else
            *out++ = *name++;
    }
    *out = 0;
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
    drop_direction_marks(f->name);
}

static int file_begin(void *upload, const char *field, const char *filename, const char *type)
{
    struct files *f = upload;
    (void)type; /* what the sender calls it does not count */
    if (f->problem)
        return 0;
    if (strcmp(field, "filing") == 0 && !f->page) {
        if (f->filing.len)
            return refuse(f, field, FIELD);
        f->in_filing = true;
        return 0;
    }
    if (strcmp(field, "file") != 0)
        return refuse(f, field, FIELD);
    if (!f->upload)
        f->upload = dw_upload_new(f->web->intake, read_on, f->request);
    if ((int64_t)dw_upload_files(f->upload) >= f->web->config->web.max_files)
        return refuse(f, "file", TOO_MANY);
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
        return refuse(f, "file", f->head_len ? TYPE : EMPTY);
    if (!dw_upload_begin(f->upload, f->name, type))
        return refuse(f, "file", NOT_NOW);
    f->begun = true;
    dw_upload_data(f->upload, f->head, f->head_len);
    return 0;
}

static int file_data(void *upload, const void *data, size_t len)
{
    struct files *f = upload;
    const struct dw_config *c = f->web->config;
    if (f->problem)
        return drop(f, len);
    if (f->in_filing) {
        dw_buf_put(&f->filing, data, len);
        return f->filing.overflow ? refuse(f, "filing", FILING_TOO_LONG) : 0;
    }
    int64_t held = f->begun ? 0 : (int64_t)f->head_len;
    int64_t in_file = (f->begun ? dw_upload_file_size(f->upload) : held) + (int64_t)len;
    if (in_file > c->web.max_file_bytes)
        return refuse(f, "file", TOO_LARGE);
    if (dw_upload_size(f->upload) + held + (int64_t)len > c->web.max_files_bytes)
        return refuse(f, "file", TOO_LARGE_TOGETHER);
    if (!f->begun) {
        size_t room = HEAD_LEN - f->head_len, n = len < room ? len : room;
        memcpy(f->head + f->head_len, data, n);
        f->head_len += n;
        if (f->head_len < HEAD_LEN)
            return 0;
        int status = begin_sealing(f);
        if (f->problem)
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
    int status = f->begun || f->problem ? 0 : begin_sealing(f);
    if (!f->problem)
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

const struct web_file_problem *web_upload_problem(void *upload, const char **ret_name)
{
    struct files *f = upload;
    *ret_name = f && f->problem && f->problem->of_one ? f->name : "";
    return f ? f->problem : NULL;
}

struct dw_slice web_upload_filing(void *upload)
{
    struct files *f = upload;
    return f ? dw_buf_slice(&f->filing) : (struct dw_slice){0};
}
