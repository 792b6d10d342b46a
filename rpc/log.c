/*
 * Log lines on standard error, one write() each.
 */

#include "rpc/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <openssl/sha.h>

#include "rpc/message.h"


#define LOG_MESSAGE  2048               /* bytes of a message, cut beyond */
#define LOG_SESSION  513                /* of a session id */
#define LOG_HEAD     1280               /* of all before them, escaped */
#define LOG_LINE     (LOG_HEAD + 6 * (LOG_MESSAGE + LOG_SESSION))


static const char *const  log_names[] = { "error", "warn", "info", "debug" };

static const char   *log_program;       /* NULL: the name it was started by */
static log_level_t   log_level = LOG_LEVEL_INFO;
static bool          log_json;
static bool          log_hash;


void
log_open(const char *program, log_level_t level)
{
    log_program = program;
    log_level = level;
}


void
log_start(const char *program, const log_options_t *options)
{
    log_open(program, (log_level_t) options->level);
    log_json = options->format == LOG_FORMAT_JSON;
    log_hash = options->hash != 0;
}


int
log_format_parse(const char *name)
{
    return strcmp(name, "text") == 0 ? LOG_FORMAT_TEXT
           : strcmp(name, "json") == 0 ? LOG_FORMAT_JSON : -1;
}


const char *
log_session_id(const char *session, char out[LOG_SESSION_ID])
{
    int            i, n;
    unsigned char  digest[SHA256_DIGEST_LENGTH];

    if (!log_hash || session == NULL || session[0] == '\0') {
        return session;
    }

    (void) SHA256((const unsigned char *) session, strlen(session), digest);

    n = sprintf(out, "sha256:");

    for (i = 0; i < 8; i++) {
        n += sprintf(out + n, "%02x", digest[i]);
    }

    return out;
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


/* A JSON string without its quotes: at most six bytes for one.  Bytes that are
 * no UTF-8 become U+FFFD. */
static size_t
log_escape_json(char *out, const char *text)
{
    bool                  valid;
    char                 *o;
    const unsigned char  *p;

    o = out;
    valid = rpc_utf8_valid((const uint8_t *) text, strlen(text));

    for (p = (const unsigned char *) text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') {
            *o++ = '\\';
            *o++ = (char) *p;

        } else if (*p < 0x20 || *p == 0x7f) {
            o += sprintf(o, "\\u%04x", *p);

        } else if (*p >= 0x80 && !valid) {
            o += sprintf(o, "\\ufffd");

        } else {
            *o++ = (char) *p;
        }
    }

    return (size_t) (o - out);
}


static size_t
log_time(char *out, size_t size)
{
    int              n;
    size_t           len;
    struct tm        tm;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);

    len = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
    n = snprintf(out + len, size - len, ".%03ldZ", now.tv_nsec / 1000000);

    return n < 0 ? len : len + (size_t) n;
}


/* "session" is NULL, or as log_session_id() has it */
static size_t
log_line_text(char *line, log_level_t level, const char *session,
    const char *text)
{
    char    *p;

    p = line + log_time(line, LOG_HEAD);
    p += sprintf(p, " %s %.128s: ", log_names[level],
                 log_program != NULL ? log_program
                                     : program_invocation_short_name);

    if (session != NULL) {
        p = stpcpy(p, "session ");
        p += log_escape(p, session);
        p = stpcpy(p, ": ");
    }

    return (size_t) (p - line) + log_escape(p, text);
}


static size_t
log_line_json(char *line, log_level_t level, const char *session,
    const char *text)
{
    char  *p, program[129];

    snprintf(program, sizeof(program), "%s",
             log_program != NULL ? log_program
                                 : program_invocation_short_name);

    p = stpcpy(line, "{\"time\":\"");
    p += log_time(p, LOG_HEAD);
    p += sprintf(p, "\",\"level\":\"%s\",\"program\":\"", log_names[level]);
    p += log_escape_json(p, program);

    if (session != NULL) {
        p = stpcpy(p, "\",\"session\":\"");
        p += log_escape_json(p, session);
    }

    p = stpcpy(p, "\",\"message\":\"");
    p += log_escape_json(p, text);
    p = stpcpy(p, "\"}");

    return (size_t) (p - line);
}


/* One write() per line, so that lines of threads and processes never mix. */
static void
log_write(log_level_t level, const char *session, const char *fmt,
    va_list args)
{
    int      saved;
    char     text[LOG_MESSAGE], id[LOG_SESSION], line[LOG_LINE];
    size_t   len, done;
    ssize_t  n;

    saved = errno;

    if (vsnprintf(text, sizeof(text), fmt, args) < 0) {
        text[0] = '\0';
    }

    if (session != NULL) {
        snprintf(id, sizeof(id), "%s", session);
        session = id;
    }

    len = log_json ? log_line_json(line, level, session, text)
                   : log_line_text(line, level, session, text);
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


void
log_session(const char *session, const char *fmt, ...)
{
    char     out[LOG_SESSION_ID];
    va_list  args;

    if (log_level < LOG_LEVEL_INFO) {
        return;
    }

    va_start(args, fmt);
    log_write(LOG_LEVEL_INFO, log_session_id(session, out), fmt, args);
    va_end(args);
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
        log_write(level, NULL, fmt, args);                                    \
        va_end(args);                                                         \
    }


LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
