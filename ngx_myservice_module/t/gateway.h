/*
 * The module in the real nginx binary.  A test writes a whole configuration,
 * with addresses 127.0.0.1:8080 to 127.0.0.1:8119, which gateway.c replaces by
 * free ports, and these words:
 *
 *     %%GLOBALS%%       load_module, pid, error_log, daemon off
 *     %%GLOBALS_HTTP%%  access_log, temporary paths
 *     %%DIR%%           the directory of the test
 *     %%PORT_8081%%     the free port for 127.0.0.1:8081, alone
 *
 * A test fails when the error log has an [alert], an [emerg] or a line of a
 * sanitizer, or when a log has a token.
 *
 * From the environment: NGINX_BINARY names another nginx that has the module
 * compiled in, NGINX_HTTP has directives for all %%GLOBALS_HTTP%%,
 * NGINX_KEEPALIVE stands in place of every "keepalive 16;" of an upstream,
 * NGINX_DEBUG turns the debug log on.
 */

#ifndef MODULE_T_GATEWAY_H
#define MODULE_T_GATEWAY_H


#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>


/* Whether calls of "keepalive 16;" have connections of their own: not with
 * NGINX_KEEPALIVE. */
bool gateway_keeps(void);

/* The user of the workers where tests run as root, instead of root. */
void gateway_user(const char *name);

/* Starts nginx and waits until it listens and has all of its workers. */
void gateway_start(const char *conf);

/* Runs nginx -t; returns its exit code and what it wrote, static. */
int gateway_test(const char *conf, const char **output);

/* Reloads with another configuration (NULL: with the current one) and waits
 * until new workers have taken over; old workers may still serve the calls in
 * flight. */
void gateway_reload(const char *conf);

/* The same for a configuration that nginx must refuse; waits for "text" in the
 * error log. */
void gateway_reload_refused(const char *conf, const char *text);

/* SIGTERM, and waits for the end. */
void gateway_stop(void);

/* Process ids of the workers; returns how many. */
size_t gateway_workers(pid_t *pids, size_t max);

/* Waits until there are "n" workers: those of an old cycle are gone. */
void gateway_await_workers(size_t n);

/* SIGKILL to any "n" of the workers; waits until the master has started others.
 * What nginx logs of that is allowed. */
void gateway_kill_workers(size_t n);

/* How many system calls of the workers have written so far ("syscw" of
 * proc(5)). */
unsigned long gateway_writes(void);

/* The resident memory of the workers, in bytes. */
unsigned long gateway_memory(void);

/* Stops or continues the workers: all bytes sent to stopped workers arrive at
 * once. */
void gateway_freeze(bool freeze);

/* The error log has the text. */
bool gateway_logged(const char *text);

/* Waits until the access log has the text: nginx writes a line after the end of
 * the call. */
void gateway_await_access(const char *text);

/* Fails the test for lines that must not be in its logs; every test ends with
 * it. */
void gateway_check_logs(void);

/* This test expects an [alert] or [emerg] line with "text". */
void gateway_allow(const char *text);


#endif /* MODULE_T_GATEWAY_H */
