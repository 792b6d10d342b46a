/*
 * The parameters of a directive, "name=value" words, by a table of them.  An
 * error names the directive, the parameter, and what is expected.
 */

#ifndef MS_CORE_VALUES_H
#define MS_CORE_VALUES_H


#include <ngx_config.h>
#include <ngx_core.h>


#define MS_VALUE_OFF  0x1               /* "off" is allowed, and stored as 0 */
#define MS_VALUE_SEC  0x2               /* whole seconds, stored as time_t */


typedef struct ms_value_s  ms_value_t;

struct ms_value_s {
    /* "interval=", "mandatory"; empty: the directive has only the value */
    ngx_str_t     name;

    /* "value" is what stands behind the name, and ends with a zero byte */
    char       *(*set)(ngx_conf_t *cf, const ms_value_t *parameter,
                       ngx_str_t *value, void *conf);
    size_t        offset;               /* in the conf */
    ngx_int_t     min;                  /* of numbers, bytes, milliseconds */
    ngx_int_t     max;                  /* 0: no limit */
    const char  **words;                /* ends with NULL */
    ngx_uint_t    flags;
};

#define ms_null_value  { ngx_null_string, NULL, 0, 0, 0, NULL, 0 }


/* sets the words of the directive from "first" on; logs what is wrong */
char *ms_values_parse(ngx_conf_t *cf, const ms_value_t *table,
    ngx_uint_t first, void *conf);

/*
 * A directive with one value: "post" of the command is its ms_value_t, without
 * a name, and the field at the command's offset is NGX_CONF_UNSET... before.
 */
char *ms_value_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* setters: ngx_msec_t, ngx_uint_t, size_t, the number of a word, 1 if it is
 * there */
char *ms_value_time(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
char *ms_value_number(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
char *ms_value_size(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
char *ms_value_word(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);
char *ms_value_flag(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, void *conf);

/* for other setters: logs what is expected, returns NGX_CONF_ERROR */
char *ms_value_invalid(ngx_conf_t *cf, const ms_value_t *parameter,
    ngx_str_t *value, const char *expected);


#endif /* MS_CORE_VALUES_H */
