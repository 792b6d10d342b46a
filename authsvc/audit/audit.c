/*
 * Makes the lines of audit.h, keeps them in a buffer, and writes them from a
 * thread, whole lines in chunks that a pipe takes at once.
 */

#include "authsvc/audit/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <jansson.h>

#include "authsvc/core/limits.h"
#include "rpc/log.h"


#define AUDIT_BUFFER    (256 * 1024)    /* bytes that may wait */
#define AUDIT_SESSION   256
#define AUDIT_PATIENCE  1000            /* ms for a full pipe */

struct audit_s {
    const char       *path;             /* NULL: standard output */
    pthread_t         thread;

    /* of the thread */
    int               fd;
    bool              torn;             /* the last line has no end */

    pthread_mutex_t   mutex;            /* for all below */
    pthread_cond_t    cond;
    size_t            lost;             /* lines; the file does not say so */
    bool              failing;          /* the log said so */
    bool              reopen;
    bool              stopping;
    size_t            len;
    char              text[AUDIT_BUFFER];
};


/* Cut after "max" bytes, not within a character. */
static void
audit_member(json_t *line, const char *name, const char *value, size_t max)
{
    size_t  len;

    if (value == NULL) {
        return;
    }

    len = strnlen(value, max + 1);

    if (len <= max) {
        (void) json_object_set_new(line, name, json_stringn(value, len));
        return;
    }

    while (--len > 0 && (value[len] & 0xc0) == 0x80) { /* void */ }

    (void) json_object_set_new(line, name,
                               json_sprintf("%.*s...", (int) len, value));
}


static json_t *
audit_begin(const struct timespec *now, const char *event)
{
    char       when[32];
    size_t     n;
    json_t    *line;
    struct tm  tm;

    gmtime_r(&now->tv_sec, &tm);
    n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when + n, sizeof(when) - n, ".%03ldZ", now->tv_nsec / 1000000);

    line = json_object();
    audit_member(line, "time", when, sizeof(when));
    audit_member(line, "event", event, 16);

    return line;
}


/* ASCII only, so that no terminal takes a name for a command; jansson leaves
 * DEL as it is. */
static size_t
audit_end(json_t *line, char out[AUDIT_LINE])
{
    char    text[AUDIT_LINE];
    size_t  i, n, len;

    len = json_dumpb(line, text, sizeof(text),
                     JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(line);

    if (len == 0 || len > sizeof(text)) {
        return 0;
    }

    for (i = 0, n = 0; i < len && n < AUDIT_LINE - 6; i++) {
        if (text[i] == 0x7f) {
            memcpy(out + n, "\\u007f", 6);
            n += 6;

        } else {
            out[n++] = text[i];
        }
    }

    out[n] = '\n';

    return i == len ? n + 1 : 0;
}


/* It fits: at most 128 + 256 + 64 bytes of others become six each.  A command
 * has no session, but as long a detail. */
size_t
audit_line(const audit_event_t *event, const struct timespec *now,
    char out[AUDIT_LINE])
{
    json_t  *line;

    line = audit_begin(now, event->command != NULL ? "command" : "login");
    audit_member(line, "command", event->command, 32);
    audit_member(line, "by", event->by, 64);
    audit_member(line, "outcome", event->outcome, 16);
    audit_member(line, "reason", event->reason, 32);
    audit_member(line, "user", event->user, LIMIT_USERNAME);
    audit_member(line, "session", event->session, AUDIT_SESSION);
    audit_member(line, "address", event->address, 64);
    audit_member(line, "role", event->role, LIMIT_ROLE);
    audit_member(line, "kid", event->kid, 64);
    audit_member(line, "jti", event->jti, 64);
    audit_member(line, "detail", event->detail, 256);

    return audit_end(line, out);
}


static size_t
audit_line_lost(size_t lost, char out[AUDIT_LINE])
{
    char             count[32];
    json_t          *line;
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(count, sizeof(count), "%zu", lost);
    line = audit_begin(&now, "lost");
    audit_member(line, "lines", count, sizeof(count));

    return audit_end(line, out);
}


int
audit_usage(const audit_options_t *options, char *error, size_t size)
{
    if (options->format == NULL || strcmp(options->format, "json") == 0) {
        return 0;
    }

    snprintf(error, size, "--audit-format: bad value \"%.16s\": the audit log "
             "has JSON lines only, remove the option", options->format);

    return -1;
}


/* A file, a FIFO or a terminal.  Does not wait for the reader of a FIFO. */
static int
audit_file(const char *path)
{
    int          fd;
    struct stat  st;

    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC
                    | O_NOCTTY, 0600);

    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISBLK(st.st_mode)) {
        close(fd);
        errno = EBADFD;
        return -1;
    }

    return fd;
}


static const char *
audit_strerror(int error)
{
    return error == EBADFD ? "a block device"
           : error == ENXIO ? "a FIFO that no program reads, or a socket"
           : strerror(error);
}


/* Without a new file the thread keeps the old one. */
static void
audit_open_again(audit_t *audit)
{
    int  fd;

    if (audit->path == NULL) {
        return;
    }

    fd = audit_file(audit->path);

    if (fd < 0) {
        log_error("cannot open the audit log again: %s, file=\"%s\" (authsvc "
                  "writes to the old file)", audit_strerror(errno),
                  audit->path);
        return;
    }

    close(audit->fd);
    audit->fd = fd;
    log_info("opened the audit log again, file=\"%s\"", audit->path);
}


/* Up to AUDIT_LINE bytes do not block after poll().  Returns how many were
 * written; fewer than "len" with errno, also when a pipe stays full. */
static size_t
audit_put(audit_t *audit, const char *data, size_t len)
{
    ssize_t        n;
    struct pollfd  pfd = { audit->fd, POLLOUT, 0 };

    n = poll(&pfd, 1, AUDIT_PATIENCE);

    if (n == 0) {
        errno = ETIMEDOUT;
        return 0;
    }

    n = n > 0 ? write(audit->fd, data, len) : -1;

    if (n <= 0) {
        return 0;
    }

    audit->torn = data[n - 1] != '\n';
    errno = ENOSPC;

    return (size_t) n;
}


/* A cut line gets its end first, then comes how many were lost.  "*lost"
 * becomes what the file does not say yet. */
static int
audit_put_lines(audit_t *audit, const char *data, size_t len, size_t *lost)
{
    char    line[AUDIT_LINE];
    size_t  i, n;

    i = 0;
    n = *lost > 0 ? audit_line_lost(*lost, line) : 0;

    if ((!audit->torn || audit_put(audit, "\n", 1) == 1)
        && (n == 0 || audit_put(audit, line, n) == n))
    {
        *lost = n > 0 ? 0 : *lost;
        i = audit_put(audit, data, len);
    }

    if (i == len) {
        return 0;
    }

    for ( /* void */ ; i < len; i++) {
        *lost += data[i] == '\n';
    }

    return -1;
}


/* As many whole lines as a pipe takes at once. */
static size_t
audit_take_locked(audit_t *audit, char out[AUDIT_LINE])
{
    size_t  n;

    n = audit->len;

    if (n > AUDIT_LINE) {
        n = (size_t) ((char *) memrchr(audit->text, '\n', AUDIT_LINE)
                      - audit->text) + 1;
    }

    memcpy(out, audit->text, n);
    audit->len -= n;
    memmove(audit->text, audit->text + n, audit->len);

    return n;
}


static void
audit_write_locked(audit_t *audit)
{
    int     rc, error;
    char    data[AUDIT_LINE];
    size_t  n, lost;

    lost = audit->lost;
    audit->lost = 0;
    n = audit_take_locked(audit, data);

    pthread_mutex_unlock(&audit->mutex);
    rc = audit_put_lines(audit, data, n, &lost);
    error = errno;
    pthread_mutex_lock(&audit->mutex);

    if (rc == 0 && audit->failing) {
        log_info("the audit log can be written again");
    }

    if (rc != 0 && !audit->failing) {
        log_error("cannot write the audit log: %s, file=\"%s\" (authsvc loses "
                  "lines)", strerror(error),
                  audit->path != NULL ? audit->path : "-");
    }

    audit->failing = (rc != 0);
    audit->lost += lost;
}


/* A file that fails is not tried again for the lines that are left. */
static void *
audit_thread(void *data)
{
    audit_t  *audit = data;

    pthread_mutex_lock(&audit->mutex);

    while (!audit->stopping || (audit->len > 0 && !audit->failing)) {

        if (audit->reopen) {
            audit->reopen = false;
            pthread_mutex_unlock(&audit->mutex);
            audit_open_again(audit);
            pthread_mutex_lock(&audit->mutex);

        } else if (audit->len > 0) {
            audit_write_locked(audit);

        } else {
            pthread_cond_wait(&audit->cond, &audit->mutex);
        }
    }

    pthread_mutex_unlock(&audit->mutex);

    return NULL;
}


/* Other threads handle signals. */
static int
audit_start(audit_t *audit)
{
    int       rc;
    sigset_t  all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(&audit->thread, NULL, audit_thread, audit);
    pthread_sigmask(SIG_SETMASK, &old, NULL);

    errno = rc;

    return rc == 0 ? 0 : -1;
}


static void
audit_free(audit_t *audit)
{
    if (audit->fd > STDOUT_FILENO) {
        close(audit->fd);
    }

    pthread_cond_destroy(&audit->cond);
    pthread_mutex_destroy(&audit->mutex);
    free(audit);
}


audit_t *
audit_open(const audit_options_t *options, char *error, size_t size)
{
    audit_t  *audit;

    audit = calloc(1, sizeof(audit_t));
    if (audit == NULL) {
        snprintf(error, size, "out of memory");
        return NULL;
    }

    pthread_mutex_init(&audit->mutex, NULL);
    pthread_cond_init(&audit->cond, NULL);
    audit->path = strcmp(options->path, "-") == 0 ? NULL : options->path;
    audit->fd = audit->path != NULL ? audit_file(audit->path) : STDOUT_FILENO;

    if (audit->fd < 0 || audit_start(audit) != 0) {
        snprintf(error, size, "audit log \"%s\": %s", options->path,
                 audit_strerror(errno));
        audit_free(audit);
        return NULL;
    }

    return audit;
}


void
audit_write(audit_t *audit, const audit_event_t *event)
{
    char             line[AUDIT_LINE];
    size_t           n;
    struct timespec  now;

    if (audit == NULL) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    n = audit_line(event, &now, line);

    pthread_mutex_lock(&audit->mutex);

    if (n > 0 && audit->len + n <= AUDIT_BUFFER) {
        memcpy(audit->text + audit->len, line, n);
        audit->len += n;
        pthread_cond_signal(&audit->cond);

    } else {
        audit->lost++;
    }

    pthread_mutex_unlock(&audit->mutex);
}


void
audit_reopen(audit_t *audit)
{
    if (audit == NULL) {
        return;
    }

    pthread_mutex_lock(&audit->mutex);
    audit->reopen = true;
    pthread_cond_signal(&audit->cond);
    pthread_mutex_unlock(&audit->mutex);
}


void
audit_close(audit_t *audit)
{
    if (audit == NULL) {
        return;
    }

    pthread_mutex_lock(&audit->mutex);
    audit->stopping = true;
    pthread_cond_signal(&audit->cond);
    pthread_mutex_unlock(&audit->mutex);

    pthread_join(audit->thread, NULL);
    audit_free(audit);
}
