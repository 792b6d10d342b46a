
/*
 * The parameters of a directive.  A setter is called with what stands behind
 * "name=", parses it, and stores it in the conf.
 */

#include "core/values.h"


/* bytes of what an error says is expected */
#define MS_VALUE_TEXT  256


static ngx_uint_t ms_value_unset(ngx_command_t *cmd, void *conf);
static ngx_uint_t ms_value_is(const ms_value_t *parameter, ngx_str_t *word);
static u_char *ms_value_time_text(u_char *p, ngx_int_t ms);
static u_char *ms_value_size_text(u_char *p, ngx_int_t size);
static ngx_uint_t ms_value_off(const ms_value_t *parameter, ngx_str_t *value);


char *
ms_value_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t   *value;
    ms_value_t   parameter;

    if (!ms_value_unset(cmd, conf)) {
        return "is duplicate";
    }

    value = cf->args->elts;

    parameter = *(const ms_value_t *) cmd->post;
    parameter.offset = cmd->offset;

    return parameter.set(cf, &parameter, &value[1], conf);
}


/* all bits of NGX_CONF_UNSET, _UINT, _SIZE and _MSEC are set */

static ngx_uint_t
ms_value_unset(ngx_command_t *cmd, void *conf)
{
    return *(ngx_int_t *) ((u_char *) conf + cmd->offset) == NGX_CONF_UNSET;
}


char *
ms_values_parse(ngx_conf_t *cf, const ms_value_t *table, ngx_uint_t first,
    void *conf)
{
    char        *rv;
    u_char       text[MS_VALUE_TEXT], *p;
    uint64_t     seen;
    ngx_str_t   *word, value;
    ngx_uint_t   i, n;

    seen = 0;
    word = cf->args->elts;

    for (i = first; i < cf->args->nelts; i++) {
        p = text;

        for (n = 0; table[n].set && !ms_value_is(&table[n], &word[i]); n++) {
            p = ngx_slprintf(p, text + sizeof(text), "%s\"%V\"",
                             n ? ", " : "", &table[n].name);
        }

        if (table[n].set == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\": invalid parameter \"%V\", expected "
                               "one of %*s", word, &word[i],
                               (size_t) (p - text), text);
            return NGX_CONF_ERROR;
        }

        if (seen & ((uint64_t) 1 << n)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\": duplicate parameter \"%V\"", word,
                               &word[i]);
            return NGX_CONF_ERROR;
        }

        seen |= (uint64_t) 1 << n;

        value.data = word[i].data + table[n].name.len;
        value.len = word[i].len - table[n].name.len;

        rv = table[n].set(cf, &table[n], &value, conf);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static ngx_uint_t
ms_value_is(const ms_value_t *parameter, ngx_str_t *word)
{
    const ngx_str_t  *name;

    name = &parameter->name;

    return name->len == 0
           || (ngx_strncmp(word->data, name->data, name->len) == 0
               && (name->data[name->len - 1] == '='
                   || word->len == name->len));
}


char *
ms_value_time(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    void       *field;
    u_char      text[MS_VALUE_TEXT], *p;
    ngx_int_t   time, unit;

    field = (u_char *) conf + parameter->offset;
    unit = parameter->flags & MS_VALUE_SEC ? 1000 : 1;

    if (ms_value_off(parameter, value)) {
        time = 0;

    } else {
        time = ngx_parse_time(value, unit == 1000);

        if (time == NGX_ERROR || time < parameter->min / unit
            || (parameter->max && time > parameter->max / unit))
        {
            p = ngx_sprintf(text, "a time of %s",
                            parameter->max ? "" : "at least ");
            p = ms_value_time_text(p, parameter->min);

            if (parameter->max) {
                p = ngx_cpymem(p, " to ", 4);
                p = ms_value_time_text(p, parameter->max);
            }

            *p = '\0';

            return ms_value_invalid(cf, parameter, value, (char *) text);
        }
    }

    if (unit == 1000) {
        *(time_t *) field = time;

    } else {
        *(ngx_msec_t *) field = time;
    }

    return NGX_CONF_OK;
}


static u_char *
ms_value_time_text(u_char *p, ngx_int_t ms)
{
    if (ms >= 86400000 && ms % 86400000 == 0) {
        return ngx_sprintf(p, "%id", ms / 86400000);
    }

    if (ms % 1000 == 0) {
        return ngx_sprintf(p, "%is", ms / 1000);
    }

    return ngx_sprintf(p, "%ims", ms);
}


char *
ms_value_number(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    u_char     text[MS_VALUE_TEXT];
    ngx_int_t  n;

    if (ms_value_off(parameter, value)) {
        n = 0;

    } else {
        n = ngx_atoi(value->data, value->len);

        if (n < parameter->min || n > parameter->max) {
            ngx_sprintf(text, "%i-%i%Z", parameter->min, parameter->max);
            return ms_value_invalid(cf, parameter, value, (char *) text);
        }
    }

    *(ngx_uint_t *) ((u_char *) conf + parameter->offset) = n;

    return NGX_CONF_OK;
}


char *
ms_value_size(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    u_char   text[MS_VALUE_TEXT], *p;
    ssize_t  size;

    size = ngx_parse_size(value);

    if (size < parameter->min || size > parameter->max) {
        p = ngx_sprintf(text, "a size of ");
        p = ms_value_size_text(p, parameter->min);
        p = ngx_cpymem(p, " to ", 4);
        p = ms_value_size_text(p, parameter->max);
        *p = '\0';

        return ms_value_invalid(cf, parameter, value, (char *) text);
    }

    *(size_t *) ((u_char *) conf + parameter->offset) = size;

    return NGX_CONF_OK;
}


static u_char *
ms_value_size_text(u_char *p, ngx_int_t size)
{
    if (size && size % 1048576 == 0) {
        return ngx_sprintf(p, "%im", size / 1048576);
    }

    if (size && size % 1024 == 0) {
        return ngx_sprintf(p, "%ik", size / 1024);
    }

    return ngx_sprintf(p, "%i", size);
}


char *
ms_value_word(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    u_char       text[MS_VALUE_TEXT], *p;
    ngx_uint_t   i;

    p = text;

    for (i = 0; parameter->words[i]; i++) {

        if (ngx_strcmp(value->data, parameter->words[i]) == 0) {
            *(ngx_uint_t *) ((u_char *) conf + parameter->offset) = i;
            return NGX_CONF_OK;
        }

        p = ngx_slprintf(p, text + sizeof(text) - 1, "%s\"%s\"",
                         i ? " or " : "", parameter->words[i]);
    }

    *p = '\0';

    return ms_value_invalid(cf, parameter, value, (char *) text);
}


char *
ms_value_flag(ngx_conf_t *cf, const ms_value_t *parameter, ngx_str_t *value,
    void *conf)
{
    *(ngx_uint_t *) ((u_char *) conf + parameter->offset) = 1;

    return NGX_CONF_OK;
}


char *
ms_value_invalid(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, const char *expected)
{
    ngx_str_t  *directive;

    directive = cf->args->elts;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\": invalid \"%V%V\", expected %s%s",
                       directive, &parameter->name, value,
                       parameter->flags & MS_VALUE_OFF ? "\"off\" or " : "",
                       expected);

    return NGX_CONF_ERROR;
}


static ngx_uint_t
ms_value_off(const ms_value_t *parameter, ngx_str_t *value)
{
    return (parameter->flags & MS_VALUE_OFF)
           && ngx_strcmp(value->data, "off") == 0;
}
