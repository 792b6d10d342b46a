
/*
 * What a request says in arguments and in its body, held against what there is.
 */

#include "operator/api.h"


static ngx_int_t ms_api_argument_unknown(ms_api_t *api,
    const char *const *names, ngx_str_t *name);


/* ngx_http_arg() takes the first argument of a name and overlooks all others */

ngx_uint_t
ms_api_arguments_known(ms_api_t *api, const char *const *names, ngx_int_t *rc)
{
    u_char      *p, *last, *end, *equals;
    ngx_str_t    name;
    ngx_uint_t   i, seen;

    seen = 0;
    p = api->request->args.data;
    last = p + api->request->args.len;

    for ( /* void */ ; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, '&');
        end = end ? end : last;

        if (p == end) {
            continue;
        }

        equals = ngx_strlchr(p, end, '=');
        name.data = p;
        name.len = (equals ? equals : end) - p;

        for (i = 0; names[i]; i++) {
            if (ngx_strlen(names[i]) == name.len
                && ngx_strncasecmp(name.data, (u_char *) names[i], name.len)
                   == 0)
            {
                break;
            }
        }

        if (names[i] == NULL) {
            *rc = ms_api_argument_unknown(api, names, &name);
            return 0;
        }

        if (equals == NULL || (seen & ((ngx_uint_t) 1 << i))) {
            *rc = ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "the argument "
                                 "\"%V\" %s", &name,
                                 equals ? "stands twice" : "has no value");
            return 0;
        }

        seen |= (ngx_uint_t) 1 << i;
    }

    return 1;
}


static ngx_int_t
ms_api_argument_unknown(ms_api_t *api, const char *const *names,
    ngx_str_t *name)
{
    u_char      text[64], *p;
    ngx_uint_t  i;

    p = text;

    for (i = 0; names[i]; i++) {
        p = ngx_slprintf(p, text + sizeof(text), "%s\"%s\"",
                         i ? ", " : ", only ", names[i]);
    }

    return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "the argument \"%V\" is "
                          "not known here%*s", name, (size_t) (p - text),
                          text);
}


ngx_uint_t
ms_api_switch_argument(ms_api_t *api, const char *name, ngx_uint_t *on,
    ngx_int_t *rc)
{
    ngx_str_t  value;

    *on = ngx_http_arg(api->request, (u_char *) name, ngx_strlen(name),
                       &value)
          == NGX_OK;

    if (*on && (value.len != 1 || value.data[0] != '1')) {
        *rc = ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"%s\" must be 1, or "
                             "left out, not \"%V\"", name, &value);
        return 0;
    }

    return 1;
}


ngx_str_t *
ms_api_sent(ms_api_t *api, const char *name, ngx_str_t *value)
{
    if (ngx_http_arg(api->request, (u_char *) name, ngx_strlen(name), value)
        != NGX_OK)
    {
        ngx_str_null(value);
    }

    return value;
}


u_char *
ms_api_shown(json_t *value, u_char text[MS_API_SHOWN])
{
    size_t  n;

    n = value ? json_dumpb(value, (char *) text, MS_API_SHOWN - 1,
                           JSON_ENCODE_ANY | JSON_COMPACT)
              : 0;

    if (n == 0) {
        n = ngx_sprintf(text, "nothing") - text;

    } else if (n > MS_API_SHOWN - 1) {
        n = MS_API_SHOWN - 1;
        ngx_memcpy(text + n - 3, "...", 3);
    }

    text[n] = '\0';

    return text;
}
