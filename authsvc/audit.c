#include "authsvc/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "authsvc/limits.h"
#include "rpc/log.h"


#define AUDIT_BUFFER    (256 * 1024)    /* bytes that may wait */
#define AUDIT_SESSION   256
#define AUDIT_TIME      32
#define AUDIT_PATIENCE  1000            /* ms for a full pipe */

typedef struct {
    char    *text;
    size_t   len;
} audit_buffer_t;

struct audit_s {
    audit_format_t    format;
    const char       *path;             /* NULL: standard output */
    pthread_t         thread;

    pthread_mutex_t   mutex;
    pthread_cond_t    cond;

    /* under the mutex */
    audit_buffer_t    filling;
    size_t            lost;             /* lines, not yet said in the file */
    bool              reopen;
    bool              stopping;

    /* of the thread */
    audit_buffer_t    writing;
    int               fd;
    bool              failing;          /* was logged */
    bool              torn;             /* the last line has no end */
};

typedef struct {
    audit_format_t   format;
    char            *out;
    size_t           len;
} audit_text_t;


/* The caller knows that it fits. */
static void
audit_put(audit_text_t *text, const char *s)
{
    size_t  n;

    n = strlen(s);
    memcpy(text->out + text->len, s, n);
    text->len += n;
}


static void
audit_unicode(audit_text_t *text, uint32_t c)
{
    char  escape[16];

    if (c >= 0x10000) {
        c -= 0x10000;
        snprintf(escape, sizeof(escape), "\\u%04x\\u%04x",
                 (unsigned) (0xd800 + (c >> 10)),
                 (unsigned) (0xdc00 + (c & 0x3ff)));

    } else {
        snprintf(escape, sizeof(escape), "\\u%04x", (unsigned) c);
    }

    audit_put(text, escape);
}


/* One character of valid UTF-8; a byte that is none counts as U+FFFD. */
static uint32_t
audit_decode(const unsigned char *p, size_t left, size_t *used)
{
    size_t    i, n;
    uint32_t  c;

    n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc2 ? 2 : 1;
    *used = 1;

    if (*p < 0x80) {
        return *p;
    }

    if (n == 1 || n > left) {
        return 0xfffd;
    }

    c = *p & (0xff >> (n + 1));

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0xfffd;
        }
        c = c << 6 | (p[i] & 0x3f);
    }

    *used = n;

    return c > 0x10ffff ? 0xfffd : c;
}


/* Printable ASCII that nobody takes for the end of the string. */
static void
audit_escape(audit_text_t *text, const char *s, size_t max)
{
    char                  escape[8];
    size_t                i, len, used;
    uint32_t              c;
    const unsigned char  *p;

    p = (const unsigned char *) s;
    len = strnlen(s, max + 1);
    audit_put(text, "\"");

    for (i = 0; i < len && i < max; i += used) {
        c = audit_decode(p + i, len - i, &used);

        if (c == '"' || c == '\\') {
            snprintf(escape, sizeof(escape), "\\%c", (int) c);
            audit_put(text, escape);

        } else if (c >= 0x20 && c < 0x7f) {
            text->out[text->len++] = (char) c;

        } else if (text->format == AUDIT_JSON) {
            audit_unicode(text, c);

        } else {
            used = 1;
            snprintf(escape, sizeof(escape), "\\x%02x", p[i]);
            audit_put(text, escape);
        }
    }

    audit_put(text, len > max ? "...\"" : "\"");
}


static void
audit_member(audit_text_t *text, const char *name, const char *value,
    size_t max)
{
    if (value == NULL) {
        return;
    }

    audit_put(text, text->format == AUDIT_JSON ? ",\"" : " ");
    audit_put(text, name);
    audit_put(text, text->format == AUDIT_JSON ? "\":" : "=");
    audit_escape(text, value, max);
}


static void
audit_time(const struct timespec *now, char out[AUDIT_TIME])
{
    size_t     n;
    struct tm  tm;

    gmtime_r(&now->tv_sec, &tm);
    n = strftime(out, AUDIT_TIME, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, AUDIT_TIME - n, ".%03ldZ", now->tv_nsec / 1000000);
}


static void
audit_begin(audit_text_t *text, const struct timespec *now, const char *event)
{
    char  when[AUDIT_TIME];

    audit_time(now, when);

    if (text->format == AUDIT_JSON) {
        audit_put(text, "{\"time\":\"");
        audit_put(text, when);
        audit_put(text, "\",\"event\":\"");
        audit_put(text, event);
        audit_put(text, "\"");

    } else {
        audit_put(text, when);
        audit_put(text, " ");
        audit_put(text, event);
    }
}


static void
audit_end(audit_text_t *text)
{
    audit_put(text, text->format == AUDIT_JSON ? "}\n" : "\n");
}


/* At most 128 + 256 + 64 bytes become six each; the rest is ours. */
size_t
audit_line(audit_format_t format, const audit_event_t *event,
    const struct timespec *now, char out[AUDIT_LINE])
{
    audit_text_t  text = { format, out, 0 };

    audit_begin(&text, now, "login");
    audit_member(&text, "outcome", event->outcome, 16);
    audit_member(&text, "reason", event->reason, 32);
    audit_member(&text, "user", event->user, LIMIT_USERNAME);
    audit_member(&text, "session", event->session, AUDIT_SESSION);
    audit_member(&text, "address", event->address, 64);
    audit_member(&text, "role", event->role, LIMIT_ROLE);
    audit_member(&text, "kid", event->kid, 64);
    audit_member(&text, "jti", event->jti, 64);
    audit_end(&text);

    return text.len;
}


static size_t
audit_line_lost(audit_format_t format, size_t lost, char out[AUDIT_LINE])
{
    char             count[32];
    audit_text_t     text = { format, out, 0 };
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(count, sizeof(count), "%zu", lost);

    audit_begin(&text, &now, "lost");
    audit_member(&text, "lines", count, sizeof(count));
    audit_end(&text);

    return text.len;
}


int
audit_usage(const audit_options_t *options, char *error, size_t size)
{
    if (strcmp(options->format, "text") == 0
        || strcmp(options->format, "json") == 0)
    {
        return 0;
    }

    snprintf(error, size, "--audit-format: bad value \"%.16s\": must be text "
             "or json", options->format);

    return -1;
}


static int
audit_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY,
                0600);
}


/* Once until it works again. */
static void
audit_complain(audit_t *audit)
{
    if (!audit->failing) {
        log_error("audit log \"%s\": %s; lines are lost",
                  audit->path != NULL ? audit->path : "-", strerror(errno));
    }

    audit->failing = true;
}


/* Without a new file the old one stays. */
static void
audit_open_again(audit_t *audit)
{
    int  fd;

    fd = audit->path != NULL ? audit_file(audit->path) : -1;

    if (fd >= 0) {
        close(audit->fd);
        audit->fd = fd;
        log_info("opened the audit log \"%s\" again", audit->path);

    } else if (audit->path != NULL) {
        log_error("audit log \"%s\": cannot open it again: %s; the old file "
                  "stays", audit->path, strerror(errno));
    }
}


/* Whole lines, as many as a pipe takes at once. */
static size_t
audit_chunk(const char *data, size_t len)
{
    const char  *end;

    if (len <= AUDIT_LINE) {
        return len;
    }

    end = memrchr(data, '\n', AUDIT_LINE);

    return end != NULL ? (size_t) (end - data) + 1 : AUDIT_LINE;
}


/* The bytes written: less than "len" if there is an error (errno).  A pipe that
 * is full for a second is one; what poll() allows does not block. */
static size_t
audit_flush(int fd, const char *data, size_t len)
{
    size_t         done, chunk;
    ssize_t        n;
    struct pollfd  pfd = { fd, POLLOUT, 0 };

    done = 0;

    while (done < len) {
        n = poll(&pfd, 1, AUDIT_PATIENCE);
        if (n == 0) {
            errno = ETIMEDOUT;
            return done;
        }

        if (n > 0) {
            chunk = audit_chunk(data + done, len - done);
            n = write(fd, data + done, chunk);
        }

        if (n < 0 && errno != EINTR) {
            return done;
        }

        done += n > 0 ? (size_t) n : 0;
    }

    return done;
}


static size_t
audit_lines(const char *data, size_t len)
{
    size_t  i, n;

    n = 0;

    for (i = 0; i < len; i++) {
        n += data[i] == '\n';
    }

    return n;
}


/* The end of a line that was cut, and how many were lost, come first. */
static size_t
audit_head(audit_t *audit, size_t lost, char out[AUDIT_LINE])
{
    size_t  n;

    n = 0;

    if (audit->torn) {
        out[n++] = '\n';
    }

    return lost > 0 ? n + audit_line_lost(audit->format, lost, out + n) : n;
}


static void
audit_flush_all(audit_t *audit, size_t lost)
{
    char             head[AUDIT_LINE];
    size_t           n, done;
    audit_buffer_t  *buffer;

    buffer = &audit->writing;
    n = audit_head(audit, lost, head);
    done = n > 0 ? audit_flush(audit->fd, head, n) : 0;

    if (done < n) {
        audit->torn = audit->torn || done > 0;
        done = 0;

    } else {
        lost = 0;
        audit->torn = false;
        done = audit_flush(audit->fd, buffer->text, buffer->len);
        audit->torn = done > 0 && buffer->text[done - 1] != '\n';
    }

    if (done == buffer->len) {
        if (audit->failing) {
            log_info("the audit log can be written again");
        }
        audit->failing = false;
        return;
    }

    audit_complain(audit);
    lost += audit_lines(buffer->text + done, buffer->len - done);

    pthread_mutex_lock(&audit->mutex);
    audit->lost += lost;
    pthread_mutex_unlock(&audit->mutex);
}


static void *
audit_thread(void *data)
{
    bool             reopen;
    size_t           lost;
    audit_t         *audit = data;
    audit_buffer_t   buffer;

    pthread_mutex_lock(&audit->mutex);

    for ( ;; ) {
        while (audit->filling.len == 0 && !audit->reopen && !audit->stopping) {
            pthread_cond_wait(&audit->cond, &audit->mutex);
        }

        if (audit->filling.len == 0 && !audit->reopen) {
            break;
        }

        buffer = audit->filling;
        audit->filling = audit->writing;
        audit->filling.len = 0;
        audit->writing = buffer;

        reopen = audit->reopen;
        audit->reopen = false;
        lost = buffer.len > 0 ? audit->lost : 0;
        audit->lost -= lost;

        pthread_mutex_unlock(&audit->mutex);

        if (reopen) {
            audit_open_again(audit);
        }

        if (buffer.len > 0) {
            audit_flush_all(audit, lost);
        }

        pthread_mutex_lock(&audit->mutex);
    }

    pthread_mutex_unlock(&audit->mutex);

    return NULL;
}


/* Signals are for other threads. */
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

    free(audit->filling.text);
    free(audit->writing.text);
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
    audit->format = strcmp(options->format, "json") == 0 ? AUDIT_JSON
                                                         : AUDIT_TEXT;
    audit->path = strcmp(options->path, "-") == 0 ? NULL : options->path;
    audit->fd = audit->path != NULL ? audit_file(audit->path) : STDOUT_FILENO;
    audit->filling.text = malloc(AUDIT_BUFFER);
    audit->writing.text = malloc(AUDIT_BUFFER);

    if (audit->fd < 0 || audit->filling.text == NULL
        || audit->writing.text == NULL || audit_start(audit) != 0)
    {
        snprintf(error, size, "audit log \"%s\": %s", options->path,
                 strerror(errno));
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
    audit_buffer_t  *buffer;
    struct timespec  now;

    if (audit == NULL) {
        return;
    }

    clock_gettime(CLOCK_REALTIME, &now);
    n = audit_line(audit->format, event, &now, line);

    pthread_mutex_lock(&audit->mutex);

    buffer = &audit->filling;

    if (buffer->len + n <= AUDIT_BUFFER) {
        memcpy(buffer->text + buffer->len, line, n);
        buffer->len += n;
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
