
/* Counts log lines of a reason, so that a client cannot fill the log. */

#include "core/log.h"

#include <ngx_event.h>


#define MS_LOG_SECOND  1000


static void ms_log_summary(ngx_event_t *ev);


/* of this worker */

static ngx_event_t                       ms_log_event;
static ngx_connection_t                  ms_log_connection;
static ms_log_reason_t  *ms_log_reasons;


ngx_uint_t
ms_log_allowed(ms_log_reason_t *reason, const char *text, ngx_uint_t level)
{
    ngx_event_t  *ev;

    if (ngx_current_msec - reason->since >= MS_LOG_SECOND
        && reason->left_out == 0)
    {
        reason->since = ngx_current_msec;
        reason->lines = 0;
    }

    if (reason->lines < MS_LOG_LINES) {
        reason->lines++;
        return 1;
    }

    reason->text = text;
    reason->level = level;

    if (reason->left_out++ == 0) {
        reason->next = ms_log_reasons;
        ms_log_reasons = reason;
    }

    ev = &ms_log_event;

    if (!ev->timer_set) {
        ev->handler = ms_log_summary;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;

        /* debug messages about timers show a connection */
        ev->data = &ms_log_connection;

        ngx_add_timer(ev, MS_LOG_SECOND);
    }

    return 0;
}


static void
ms_log_summary(ngx_event_t *ev)
{
    ms_log_reason_t  *reason;

    while (ms_log_reasons) {

        reason = ms_log_reasons;
        ms_log_reasons = reason->next;

        ngx_log_error(reason->level, ngx_cycle->log, 0,
                      "%ui more lines like \"%s\" are left out",
                      reason->left_out, reason->text);

        reason->left_out = 0;
        reason->lines = 0;
        reason->since = ngx_current_msec;
    }
}
