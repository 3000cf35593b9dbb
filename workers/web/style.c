/* style.c - the style sheet of the plain pages, and their icon. */
#include "web.h"

#include <string.h>

static const char style[] =
    ":root{--ink:#1b1f23;--soft:#57606a;--line:#c9d1d9;--blue:#0b5cad;--red:#b3261e;"
    "--green:#1a7f37;--pale:#f4f6f8}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;color:var(--ink);background:#fff;font:1.125rem/1.6 -apple-system,\"PingFang SC\","
    "\"Microsoft YaHei\",\"Noto Sans CJK SC\",\"Noto Sans SC\",system-ui,sans-serif;"
    "overflow-wrap:anywhere}\n"
    ".width{max-width:42rem;margin:0 auto;padding:0 1rem}\n"
    "header{background:var(--blue);color:#fff}\n"
    "header .width{display:flex;gap:1rem;justify-content:space-between;align-items:center;"
    "padding-top:.75rem;padding-bottom:.75rem}\n"
    "header a{color:#fff}\n.portal{font-weight:600;text-decoration:none}\n.language{flex:none}\n"
    "main{padding-bottom:2rem}\n"
    "h1{font-size:1.75rem;line-height:1.3;margin:1.5rem 0 1rem}\n"
    "h2{font-size:1.25rem;line-height:1.3;margin:2rem 0 .75rem}\n"
    "a{color:var(--blue)}\n.lead{font-size:1.2rem}\n"
    ".hint,.optional{color:var(--soft);font-size:1rem;font-weight:400}\n.hint{margin:.25rem 0}\n"
    ".demo{background:#fff3cd;border-left:.3rem solid #b58900;padding:.5rem .75rem}\n"
    "fieldset{border:0;border-top:1px solid var(--line);margin:2rem 0 0;padding:1rem 0 0;min-width:0}\n"
    "fieldset fieldset{border-top:0;margin:1rem 0 0;padding:0}\n"
    /* floated: else it sits on the line above it and hides half of that */
    "legend{float:left;width:100%;font-weight:600;font-size:1.2rem;padding:0;"
    "margin-bottom:.5rem}\n"
    "legend+*{clear:both}\n"
    "fieldset fieldset legend{font-size:1.125rem}\n"
    ".field{margin:1rem 0}\n.field>label{display:block;font-weight:600;"
    "margin-bottom:.25rem}\n"
    "input:not([type=checkbox]):not([type=radio]),select,textarea{font:inherit;width:100%;"
    "padding:.5rem;border:2px solid var(--ink);border-radius:0;background:#fff;color:inherit}\n"
    "input[type=file]{border-style:dashed}\n"
    ".choice{display:flex;gap:.75rem;align-items:flex-start;padding:.5rem 0}\n"
    ".choice input{flex:none;width:1.5rem;height:1.5rem;margin:.15rem 0 0}\n"
    ".wrong{border-left:.3rem solid var(--red);padding-left:.75rem}\n"
    "fieldset.wrong{padding-top:.5rem}\n.flag.wrong{margin:.5rem 0}\n"
    ".problem{color:var(--red);font-weight:600;margin:.25rem 0}\n"
    ".alert{border:.25rem solid var(--red);padding:.75rem 1rem;margin:1rem 0}\n"
    ".alert h2{margin-top:0}\n.alert a{color:var(--red)}\n.alert p{margin:.25rem 0}\n"
    ".done{border-left:.3rem solid var(--green);padding:.5rem .75rem;background:#eaf6ec}\n"
    "button,.button{display:inline-block;font:inherit;font-weight:600;color:#fff;"
    "background:var(--blue);border:2px solid var(--blue);padding:.6rem 1.4rem;text-decoration:none;"
    "cursor:pointer}\n"
    ".second{color:var(--blue);background:#fff}\n"
    ".danger{background:var(--red);border-color:var(--red)}\n"
    "button:focus,a:focus,input:focus,select:focus,textarea:focus,summary:focus{"
    "outline:3px solid #ffbf47;outline-offset:2px}\n"
    ".receipt{font:600 1.5rem/1.5 ui-monospace,Menlo,Consolas,monospace;background:var(--pale);"
    "border:2px solid var(--ink);padding:1rem;text-align:center;word-spacing:.2em}\n"
    ".receipt span{display:inline-block}\n"
    ".warning{font-weight:600}\n"
    ".state{background:var(--pale);padding:1rem;margin:1rem 0}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1rem}\n"
    "dt{color:var(--soft)}\ndd{margin:0}\n"
    "ul{padding-left:1.2rem}\n.overdue{color:var(--red)}\n"
    ".message{border:1px solid var(--line);padding:.5rem 1rem;margin:1rem 0}\n"
    ".own{background:var(--pale);margin-left:2rem}\n.message p{margin:.25rem 0}\n"
    ".who,.notice{color:var(--soft);font-size:1rem}\n"
    "details{margin:.5rem 0}\nsummary{cursor:pointer;padding:.4rem 0;color:var(--blue)}\n"
    ".withdraw{margin-top:2rem}\n"
    "footer{border-top:1px solid var(--line);color:var(--soft);font-size:1rem}\n"
    ".leave{font-weight:600;color:var(--red)}\n"
    "@media(max-width:24rem){header{font-size:1rem}dl{display:block}dd{margin-bottom:.5rem}"
    ".own{margin-left:.5rem}"
    ".receipt{font-size:1.2rem;padding:.75rem .25rem}h1{font-size:1.5rem}}\n"
    "@media print{header,footer,form{display:none}}\n";

/* A drum, standing on its frame. */
static const char icon[] =
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 32 32\">"
    "<rect width=\"32\" height=\"32\" rx=\"6\" fill=\"#0b5cad\"/>"
    "<path d=\"M10 20 7 27M22 20l3 7M7 27h18\" stroke=\"#fff\" stroke-width=\"2\" fill=\"none\"/>"
    "<circle cx=\"16\" cy=\"14\" r=\"8\" fill=\"#fff\" stroke=\"#ffbf47\" stroke-width=\"3\"/>"
    "</svg>\n";

static void give(struct dw_http_request *request, const char *type, const char *text)
{
    DW_AUTO_BUF bytes = {0};
    dw_buf_init(&bytes, strlen(text) + 1);
    dw_buf_str(&bytes, text);
    dw_http_set_header(request, "Cache-Control", "public, max-age=3600");
    dw_http_bytes(request, 200, type, &bytes);
}

void page_style(void *app, struct dw_http_request *request)
{
    (void)app;
    give(request, "text/css; charset=utf-8", style);
}

void page_icon(void *app, struct dw_http_request *request)
{
    (void)app;
    give(request, "image/svg+xml", icon);
}
