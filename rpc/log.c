/*
 * Log lines on standard error, one write() each.
 */

#include "rpc/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define LOG_MESSAGE  2048               /* bytes of a message, cut beyond */
#define LOG_HEAD     256


static const char *const  log_names[] = { "error", "warn", "info", "debug" };

static const char   *log_program;       /* NULL: the name it was started by */
static log_level_t   log_level = LOG_LEVEL_INFO;


void
log_open(const char *program, log_level_t level)
{
    log_program = program;
    log_level = level;
}


int
log_level_parse(const char *name)
{
    size_t  i;

    for (i = 0; i < sizeof(log_names) / sizeof(log_names[0]); i++) {
        if (strcmp(name, log_names[i]) == 0) {
            return (int) i;
        }
    }

    return -1;
}


static size_t
log_escape(char *out, const char *text)
{
    size_t               n;
    const unsigned char  *p;
    static const char    hex[] = "0123456789abcdef";

    n = 0;

    for (p = (const unsigned char *) text; *p != '\0'; p++) {
        if (*p >= 0x20 && *p != 0x7f) {
            out[n++] = (char) *p;
            continue;
        }

        out[n++] = '\\';
        out[n++] = 'x';
        out[n++] = hex[*p >> 4];
        out[n++] = hex[*p & 15];
    }

    return n;
}


static size_t
log_head(char *out, size_t size, log_level_t level)
{
    int              n;
    size_t           len;
    struct tm        tm;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    len = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    n = snprintf(out + len, size - len, ".%03ldZ %s %.128s: ",
                 now.tv_nsec / 1000000, log_names[level],
                 log_program != NULL ? log_program
                                     : program_invocation_short_name);

    return n < 0 ? len : len + (size_t) n;
}


/* One write() per line, so that lines of threads and processes never mix. */
static void
log_write(log_level_t level, const char *fmt, va_list args)
{
    int      saved;
    char     text[LOG_MESSAGE], line[LOG_HEAD + 4 * LOG_MESSAGE + 1];
    size_t   len, done;
    ssize_t  n;

    saved = errno;

    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }

    len = log_head(line, LOG_HEAD, level);
    len += log_escape(line + len, text);
    line[len++] = '\n';

    for (done = 0; done < len; done += (size_t) n) {
        n = write(STDERR_FILENO, line + done, len - done);
        if (n < 0 && errno == EINTR) {
            n = 0;
        }
        if (n < 0) {
            break;
        }
    }

    errno = saved;
}


#define LOG_FUNCTION(name, level)                                             \
    void                                                                      \
    name(const char *fmt, ...)                                                \
    {                                                                         \
        va_list  args;                                                        \
                                                                              \
        if (log_level < level) {                                              \
            return;                                                           \
        }                                                                     \
                                                                              \
        va_start(args, fmt);                                                  \
        log_write(level, fmt, args);                                          \
        va_end(args);                                                         \
    }


LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
