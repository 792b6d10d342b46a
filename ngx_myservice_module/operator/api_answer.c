
/*
 * The path of a request to the API, and the forms of its answers.
 */

#include "operator/api.h"
#include "operator/status.h"

#include "core/grpc.h"


#define MS_API_DETAIL  512


static ngx_int_t ms_api_part(ms_api_t *api, u_char *p, u_char *last);
static const char *ms_api_title(ngx_uint_t status);


static ngx_str_t  ms_api_json = ngx_string("application/json");
static ngx_str_t  ms_api_problem_json =
    ngx_string("application/problem+json");


/*
 * nginx has decoded r->uri, merged its slashes and resolved its dots: a session
 * id can have all of these.
 */

ngx_int_t
ms_api_path(ms_api_t *api)
{
    u_char     *p, *end, *slash;
    ngx_int_t   rc;
    ngx_str_t  *uri;

    uri = &api->request->unparsed_uri;
    p = uri->data;
    end = ngx_strlchr(p, p + uri->len, '?');

    if (end == NULL) {
        end = p + uri->len;
    }

    if ((size_t) (end - p) < api->conf->prefix.len
        || ngx_strncmp(p, api->conf->prefix.data, api->conf->prefix.len) != 0)
    {
        return NGX_DECLINED;
    }

    p += api->conf->prefix.len;

    if (end - p < 2 || p[0] != '1' || p[1] != '/') {
        return NGX_DECLINED;
    }

    for (p += 2; p < end; p = slash + 1) {
        slash = ngx_strlchr(p, end, '/');

        if (slash == NULL) {
            slash = end;
        }

        rc = ms_api_part(api, p, slash);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ms_api_part(ms_api_t *api, u_char *p, u_char *last)
{
    u_char     *to, *q;
    ngx_str_t  *part;

    if (api->n == MS_API_PARTS || p == last) {
        return NGX_DECLINED;
    }

    part = &api->parts[api->n];
    part->data = ngx_pnalloc(api->request->pool, last - p);
    if (part->data == NULL) {
        return NGX_ERROR;
    }

    to = part->data;
    ngx_unescape_uri(&to, &p, last - p, 0);
    part->len = to - part->data;
    api->n++;

    /* no name has other bytes, and answers would be no JSON with them */

    for (q = part->data; q < to; q++) {
        if (*q < ' ' || *q > '~') {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_int_t
ms_api_send(ms_api_t *api, ngx_uint_t status, ngx_int_t rc)
{
    if (rc != NGX_OK || ms_page_puts(&api->page, "\n") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ms_page_send(&api->page, status, &ms_api_json);
}


ngx_int_t
ms_api_done(ms_api_t *api)
{
    ngx_http_request_t  *r;

    r = api->request;
    r->header_only = 1;
    r->headers_out.status = NGX_HTTP_NO_CONTENT;

    return ngx_http_send_header(r);
}


ngx_int_t
ms_api_problem(ms_api_t *api, ngx_uint_t status, const char *format, ...)
{
    u_char      detail[MS_API_DETAIL], head[128];
    va_list     args;
    ngx_str_t   text;
    ngx_uint_t  i;

    va_start(args, format);
    text.data = detail;
    text.len = ngx_vslprintf(detail, detail + sizeof(detail), format, args)
               - detail;
    va_end(args);

    /* what the client sent may be no UTF-8, or be cut within a character */

    for (i = 0; i < text.len; i++) {
        if (detail[i] > '~') {
            detail[i] = '?';
        }
    }

    *ngx_snprintf(head, sizeof(head) - 1,
                  "{\"title\":\"%s\",\"status\":%ui,\"detail\":",
                  ms_api_title(status), status) = '\0';

    ms_page_init(&api->page, api->request);

    if (ngx_http_discard_request_body(api->request) != NGX_OK
        || ms_page_puts(&api->page, (char *) head) != NGX_OK
        || ms_status_string(&api->page, &text) != NGX_OK
        || ms_page_puts(&api->page, "}\n") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ms_page_send(&api->page, status, &ms_api_problem_json);
}


static const char *
ms_api_title(ngx_uint_t status)
{
    switch (status) {

    case NGX_HTTP_BAD_REQUEST:
        return "Bad Request";

    case NGX_HTTP_FORBIDDEN:
        return "Forbidden";

    case NGX_HTTP_NOT_FOUND:
        return "Not Found";

    case NGX_HTTP_NOT_ALLOWED:
        return "Method Not Allowed";

    case NGX_HTTP_CONFLICT:
        return "Conflict";

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return "Content Too Large";

    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return "Unsupported Media Type";

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return "Service Unavailable";

    case 421:
        return "Misdirected Request";

    default:                            /* 507 */
        return "Insufficient Storage";
    }
}
