/*
 * Log of the services: one line per call on standard error,
 *
 *     2026-11-21T01:09:58.123Z info myservice: listening on 127.0.0.1:5101
 *
 * with control characters in the message as \xNN, or a JSON object,
 *
 *     {"time":"2026-11-21T01:09:58.123Z","level":"info","program":"myservice",
 *      "session":"s-1","message":"stream started"}
 *
 * where "session" is only in lines of log_session().  Thread-safe.
 */

#ifndef RPC_LOG_H
#define RPC_LOG_H


typedef enum {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
} log_level_t;

typedef enum {
    LOG_FORMAT_TEXT = 0,
    LOG_FORMAT_JSON
} log_format_t;

/* What the options say; log_level_t and log_format_t as int. */
typedef struct {
    int  level;
    int  format;
    int  hash;                          /* of session ids: log_session_id() */
} log_options_t;

/* bytes of a session id as log_session_id() writes it */
#define LOG_SESSION_ID  24


/* The rows of the options, for options_parse(). */
#define LOG_OPTIONS(prefix, options)                                          \
    { "log-level", prefix "_LOG_LEVEL", OPTION_LOG_LEVEL, &(options)->level,  \
      "info", 0, 0, "what to log" },                                          \
    { "log-format", prefix "_LOG_FORMAT", OPTION_LOG_FORMAT,                  \
      &(options)->format, "text", 0, 0, "how a line is written" },            \
    { "log-session-hash", prefix "_LOG_SESSION_HASH", OPTION_FLAG,            \
      &(options)->hash, NULL, 0, 0, "logs have hashes of session ids" }


/* "program" is borrowed. */
void log_open(const char *program, log_level_t level);

/* The same with all that the options say. */
void log_start(const char *program, const log_options_t *options);

/* "error", "warn", "info", "debug"; -1 if it is none of these. */
int log_level_parse(const char *name);

/* "text", "json"; -1 if it is none of these. */
int log_format_parse(const char *name);

/*
 * The session id as logs have it: itself, or with log_options_t.hash "sha256:"
 * and 16 hex digits in "out", as the gateway's myservice_session_ids.  NULL and
 * an empty id stay.
 */
const char *log_session_id(const char *session, char out[LOG_SESSION_ID]);

/* A line at "info" about a session: "session s-1: stream started". */
void log_session(const char *session, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


#endif /* RPC_LOG_H */
