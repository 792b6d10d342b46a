/*
 * Log of the services: one line per call on standard error,
 *
 *     2026-11-21T01:09:58.123Z info myservice: listening on 127.0.0.1:5101
 *
 * Control characters in the message are written as \xNN.  Thread-safe.
 */

#ifndef RPC_LOG_H
#define RPC_LOG_H


typedef enum {
    LOG_LEVEL_ERROR = 0,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
} log_level_t;


/* "program" is borrowed. */
void log_open(const char *program, log_level_t level);

/* "error", "warn", "info", "debug"; -1 if it is none of these. */
int log_level_parse(const char *name);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


#endif /* RPC_LOG_H */
