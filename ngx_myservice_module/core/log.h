/*
 * Log lines that clients can cause. Each worker writes a few lines of a reason
 * per second, then one line with the number of lines left out.
 */

#ifndef MS_CORE_LOG_H
#define MS_CORE_LOG_H


#include <ngx_config.h>
#include <ngx_core.h>


/* lines of a reason, per second and worker */
#define MS_LOG_LINES  10


typedef struct ms_log_reason_s
                                            ms_log_reason_t;

/* zeroed, and static */

struct ms_log_reason_s {
    const char       *text;                       /* text of the lines */
    ngx_uint_t        level;
    ngx_msec_t        since;                      /* of the current second */
    ngx_uint_t        lines;
    ngx_uint_t        left_out;
    ms_log_reason_t  *next;                       /* the next reason that
                                                     left out lines */
};


/*
 * ngx_log_error(), bounded for each place in the code that has it: the format
 * names the reason.
 */
#define ms_log_error(level, log, err, ...)                                    \
    do {                                                                      \
        static ms_log_reason_t  ms_log_here;                                  \
                                                                              \
        ms_log_reason(&ms_log_here, ms_log_format(__VA_ARGS__, 0), level,     \
                      log, err, __VA_ARGS__);                                 \
    } while (0)

#define ms_log_format(format, ...)  format

/* the same for reasons that share a place; "text" tells them apart */
#define ms_log_reason(reason, text, level, log, err, ...)                     \
    do {                                                                      \
        if ((log)->log_level >= level                                         \
            && ms_log_allowed(reason, text, level))                           \
        {                                                                     \
            ngx_log_error(level, log, err, __VA_ARGS__);                      \
        }                                                                     \
    } while (0)

ngx_uint_t ms_log_allowed(ms_log_reason_t *reason, const char *text,
    ngx_uint_t level);


#endif /* MS_CORE_LOG_H */
