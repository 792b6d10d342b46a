/* What each command asks of the gateway, and how it shows the answer. */

#include "myservicectl/commands.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/sha.h>


#define WAIT_POLL  200                  /* ms between two looks at a drain */
#define WAIT_MAX   30000                /* ms of one request for events */

#define CTL_SESSION_MAX  1024           /* bytes of a session id */


static api_result_t run_status(ctl_t *ctl, const char *argument);
static api_result_t run_instances(ctl_t *ctl, const char *argument);
static api_result_t run_instance(ctl_t *ctl, const char *argument);
static api_result_t run_session(ctl_t *ctl, const char *argument);
static api_result_t run_events(ctl_t *ctl, const char *argument);
static api_result_t run_drain(ctl_t *ctl, const char *argument);
static api_result_t run_undrain(ctl_t *ctl, const char *argument);
static api_result_t run_release(ctl_t *ctl, const char *argument);
static api_result_t run_revoke(ctl_t *ctl, const char *argument);
static api_result_t run_move(ctl_t *ctl, const char *argument);
static api_result_t run_add(ctl_t *ctl, const char *argument);
static api_result_t run_remove(ctl_t *ctl, const char *argument);


const command_t  commands[] = {
    { "status", NULL, "instances by state, decisions, of all upstreams",
      run_status },
    { "instances", NULL, "all instances, one a line", run_instances },
    { "instance", "ADDRESS", "one instance", run_instance },
    { "session", "SESSION", "the instance that the session has",
      run_session },
    { "events", NULL, "the last changes of instances and leases",
      run_events },
    { "drain", "ADDRESS", "the instance takes no new session", run_drain },
    { "undrain", "ADDRESS", "the instance takes sessions again",
      run_undrain },
    { "release", "SESSION", "ends the session's lease", run_release },
    { "revoke", NULL, "refuses tokens: --jti, or --iss and --sub",
      run_revoke },
    { "move", "SESSION", "its next call goes to another instance",
      run_move },
    { "add", "ADDRESS", "adds an instance, which stays over reloads",
      run_add },
    { "remove", "ADDRESS", "removes an instance that was added", run_remove },
    { NULL, NULL, NULL, NULL }
};


static const char *
text(const json_t *object, const char *name)
{
    const char  *value;

    value = json_string_value(json_object_get(object, name));

    return value != NULL ? value : "-";
}


static int64_t
number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}


/* The path of something of the upstream; the caller's to free, NULL with an
 * error if the upstream is not clear. */
static char *
path_of(ctl_t *ctl, const char *kind, const char *id, api_result_t *result)
{
    char        *path, *upstream, *escaped;
    json_t      *answer, *list;
    const char  *name;

    answer = NULL;
    name = ctl->upstream;
    *result = API_OK;

    if (name == NULL) {
        *result = api_request(&ctl->api, "GET", "/upstreams", NULL, &answer);
        list = json_object_get(answer, "upstreams");

        if (*result == API_OK && json_array_size(list) != 1) {
            snprintf(ctl->api.error, sizeof(ctl->api.error), "the gateway has "
                     "%zu upstreams with sessions: name one by --upstream",
                     json_array_size(list));
            *result = API_REFUSED;
        }

        if (*result != API_OK) {
            json_decref(answer);
            return NULL;
        }

        name = text(json_array_get(list, 0), "name");
    }

    upstream = api_escape(name);
    escaped = api_escape(id != NULL ? id : "");

    if (asprintf(&path, "/upstreams/%s/%s%s%s", upstream, kind,
                 id != NULL ? "/" : "", escaped) < 0)
    {
        abort();
    }

    free(upstream);
    free(escaped);
    json_decref(answer);

    return path;
}


static void
show_json(const json_t *answer)
{
    json_dumpf(answer, stdout, JSON_INDENT(2));
    putchar('\n');
}


/* 75000 ms as "1m15s" */
static const char *
duration(const json_t *object, const char *name, char out[32])
{
    int64_t  s;

    s = (number(object, name) + 500) / 1000;

    if (json_object_get(object, name) == NULL) {
        return "-";
    }

    if (s < 60) {
        snprintf(out, 32, "%" PRId64 "s", s);

    } else if (s < 3600) {
        snprintf(out, 32, "%" PRId64 "m%02ds", s / 60, (int) (s % 60));

    } else {
        snprintf(out, 32, "%" PRId64 "h%02dm", s / 3600,
                 (int) (s / 60 % 60));
    }

    return out;
}


static void
show_head(void)
{
    printf("%-24s %-10s %-12s %-8s %-8s %-8s %s\n", "INSTANCE", "STATE",
           "HEALTH", "LEASE", "IDLE", "LEFT", "SESSION");
}


static void
show_instance(const json_t *i)
{
    char  age[32], idle[32], left[32], state[32];

    snprintf(state, sizeof(state), "%s%s", text(i, "state"),
             json_is_true(json_object_get(i, "drain")) ? "*" : "");

    printf("%-24s %-10s %-12s %-8s %-8s %-8s %s\n", text(i, "address"), state,
           text(i, "health"), duration(i, "age_ms", age),
           duration(i, "idle_ms", idle), duration(i, "remaining_ms", left),
           text(i, "session"));
}


/* the newest first, equal ones together: "2 failing, 6 serving" */
static void
show_checks(const json_t *checks)
{
    size_t   n, same;
    json_t  *check;

    for (n = 0; n < json_array_size(checks); n += same) {
        check = json_array_get(checks, n);

        for (same = 1; json_equal(json_array_get(checks, n + same), check);
             same++)
        {
            /* void */
        }

        printf("%s%zu %s", n == 0 ? ", checks: " : ", ", same,
               json_string_value(check));
    }
}


/* what a table has no room for */
static void
show_details(const json_t *i)
{
    char  since[32];

    printf("  in this state for %s, source %s", duration(i, "since_ms", since),
           text(i, "source"));
    show_checks(json_object_get(i, "checks"));
    putchar('\n');

    if (json_object_get(i, "last_error") != NULL) {
        printf("  last error %s: %s\n", text(i, "last_error_at"),
               text(i, "last_error"));
    }
}


static void
show_one(const ctl_t *ctl, const json_t *answer)
{
    if (ctl->json) {
        show_json(answer);

    } else {
        show_head();
        show_instance(answer);
        show_details(answer);
    }
}


static api_result_t
run_status(ctl_t *ctl, const char *argument)
{
    size_t         i;
    json_t        *answer, *upstream, *value;
    const char    *name;
    api_result_t   result;

    (void) argument;

    result = api_request(&ctl->api, "GET", "/upstreams", NULL, &answer);

    if (result == API_OK && ctl->json) {
        show_json(answer);

    } else if (result == API_OK) {
        json_array_foreach(json_object_get(answer, "upstreams"), i, upstream) {
            printf("%s: %" PRId64 " instances, room for %" PRId64 "\n ",
                   text(upstream, "name"), number(upstream, "members"),
                   number(upstream, "capacity"));

            json_object_foreach(json_object_get(upstream, "states"), name,
                                value)
            {
                printf(" %s=%" JSON_INTEGER_FORMAT, name,
                       json_integer_value(value));
            }

            printf("\n ");

            json_object_foreach(json_object_get(upstream, "decisions"), name,
                                value)
            {
                printf(" %s=%" JSON_INTEGER_FORMAT, name,
                       json_integer_value(value));
            }

            putchar('\n');
        }
    }

    json_decref(answer);

    return result;
}


/* Page by page: a pool may have 100,000. */
static api_result_t
run_instances(ctl_t *ctl, const char *argument)
{
    char          *base, *path, *state;
    size_t         i;
    json_t        *answer, *all, *instance, *next;
    json_int_t     after, was;
    api_result_t   result;

    (void) argument;

    base = path_of(ctl, "instances", NULL, &result);

    if (base == NULL) {
        return result;
    }

    all = json_array();
    state = api_escape(ctl->state != NULL ? ctl->state : "");
    after = 0;

    do {
        if (asprintf(&path, "%s?limit=1000&after=%" JSON_INTEGER_FORMAT
                     "%s%s", base, after, ctl->state != NULL ? "&state=" : "",
                     state) < 0)
        {
            abort();
        }

        result = api_request(&ctl->api, "GET", path, NULL, &answer);
        free(path);

        json_array_extend(all, json_object_get(answer, "instances"));
        next = json_object_get(answer, "next");
        was = after;
        after = json_is_integer(next) ? json_integer_value(next) : 0;
        json_decref(answer);

    } while (result == API_OK && after > was);

    if (result == API_OK && ctl->json) {
        show_json(all);

    } else if (result == API_OK) {
        show_head();

        json_array_foreach(all, i, instance) {
            show_instance(instance);
        }
    }

    json_decref(all);
    free(state);
    free(base);

    return result;
}


/* One request about something with a name. */
static api_result_t
run_one(ctl_t *ctl, const char *method, const char *kind, const char *id,
    const char *query, json_t *body, json_t **answer)
{
    char          *path, *whole;
    api_result_t   result;

    *answer = NULL;
    path = path_of(ctl, kind, id, &result);

    if (path != NULL) {
        if (asprintf(&whole, "%s%s", path, query) < 0) {
            abort();
        }

        result = api_request(&ctl->api, method, whole, body, answer);
        free(whole);
    }

    free(path);
    json_decref(body);

    return result;
}


static api_result_t
run_shown(ctl_t *ctl, const char *method, const char *kind, const char *id,
    json_t *body)
{
    json_t        *answer;
    api_result_t   result;

    result = run_one(ctl, method, kind, id, "", body, &answer);

    if (result == API_OK) {
        show_one(ctl, answer);
    }

    json_decref(answer);

    return result;
}


static api_result_t
run_instance(ctl_t *ctl, const char *argument)
{
    return run_shown(ctl, "GET", "instances", argument, NULL);
}


/* The session as the gateway shows it: as a hash, if it hides ids from its own
 * log, too. */
static api_result_t
session_shown(ctl_t *ctl, const char *session, char out[CTL_SESSION_MAX])
{
    int            i, n;
    json_t        *answer;
    api_result_t   result;
    unsigned char  digest[SHA256_DIGEST_LENGTH];

    if (snprintf(out, CTL_SESSION_MAX, "%s", session) >= CTL_SESSION_MAX) {
        snprintf(ctl->api.error, sizeof(ctl->api.error), "no session has so "
                 "long an id");
        return API_NOT_FOUND;
    }

    result = api_request(&ctl->api, "GET", "/", NULL, &answer);

    if (result == API_OK && strncmp(session, "sha256:", 7) != 0
        && strcmp(text(answer, "session_ids"), "hash") == 0)
    {
        (void) SHA256((const unsigned char *) session, strlen(session),
                      digest);
        n = sprintf(out, "sha256:");

        for (i = 0; i < 8; i++) {
            n += sprintf(out + n, "%02x", digest[i]);
        }
    }

    json_decref(answer);

    return result;
}


/* A request about a session, which is not in the path: an id with "../" would
 * lead to another page of the server.  "more" is of the query. */
static api_result_t
run_on_session(ctl_t *ctl, const char *method, const char *kind,
    const char *session, const char *more, json_t *body)
{
    char           shown[CTL_SESSION_MAX];
    char          *query, *escaped;
    json_t        *answer;
    api_result_t   result;

    result = session_shown(ctl, session, shown);

    if (result != API_OK) {
        json_decref(body);
        return result;
    }

    escaped = api_escape(shown);

    if (asprintf(&query, "?session=%s%s", escaped, more) < 0) {
        abort();
    }

    result = run_one(ctl, method, kind, NULL, query, body, &answer);

    if (answer != NULL) {
        show_one(ctl, answer);
    }

    json_decref(answer);
    free(query);
    free(escaped);

    return result;
}


static api_result_t
run_session(ctl_t *ctl, const char *argument)
{
    return run_on_session(ctl, "GET", "sessions", argument, "", NULL);
}


static void
show_event(const ctl_t *ctl, const json_t *event)
{
    char  more[32];

    if (ctl->json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');

    } else {
        more[0] = '\0';

        if (json_object_get(event, "count") != NULL) {
            snprintf(more, sizeof(more), "%" PRId64 " more",
                     number(event, "count"));
        }

        printf("%s %-14s %-24s %-16s %s\n", text(event, "time"),
               text(event, "kind"),
               more[0] != '\0' ? more : text(event, "instance"),
               text(event, "reason"), text(event, "session"));
    }
}


static api_result_t
run_events(ctl_t *ctl, const char *argument)
{
    char           path[128];
    size_t         i;
    json_t        *answer, *event;
    int64_t        wait;
    json_int_t     last;
    api_result_t   result;

    (void) argument;
    last = 0;
    wait = 0;

    do {
        snprintf(path, sizeof(path), "/events?after=%" JSON_INTEGER_FORMAT
                 "&wait=%" PRId64 "ms", last, wait);

        result = api_request(&ctl->api, "GET", path, NULL, &answer);

        json_array_foreach(json_object_get(answer, "events"), i, event) {
            if (ctl->upstream == NULL
                || strcmp(text(event, "upstream"), ctl->upstream) == 0)
            {
                show_event(ctl, event);
            }
        }

        last = number(answer, "last");
        json_decref(answer);

        wait = ctl->api.timeout / 2 < WAIT_MAX ? ctl->api.timeout / 2
                                               : WAIT_MAX;

    } while (result == API_OK && ctl->follow && fflush(stdout) == 0);

    return result;
}


static int64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


/* Until the instance has no session any more. */
static api_result_t
drain_wait(ctl_t *ctl, const char *address)
{
    bool                   leased;
    json_t                *answer;
    int64_t                end;
    api_result_t           result;
    const struct timespec  pause = { 0, WAIT_POLL * 1000000L };

    end = now() + ctl->wait_time;

    for ( ;; ) {
        result = run_one(ctl, "GET", "instances", address, "", NULL, &answer);
        leased = json_object_get(answer, "session") != NULL;

        if (result == API_OK && !leased) {
            show_one(ctl, answer);
        }

        json_decref(answer);

        if (result != API_OK || !leased) {
            return result;
        }

        if (now() >= end) {
            snprintf(ctl->api.error, sizeof(ctl->api.error), "%s drains, but "
                     "still has its session after --wait-time", address);
            return API_REFUSED;
        }

        nanosleep(&pause, NULL);
    }
}


static api_result_t
run_drain(ctl_t *ctl, const char *argument)
{
    json_t        *answer, *body;
    api_result_t   result;

    body = json_pack("{s:b}", "drain", 1);

    if (ctl->deadline != NULL) {
        json_object_set_new(body, "deadline", json_string(ctl->deadline));
    }

    if (!ctl->wait) {
        return run_shown(ctl, "PATCH", "instances", argument, body);
    }

    result = run_one(ctl, "PATCH", "instances", argument, "", body, &answer);
    json_decref(answer);

    return result == API_OK ? drain_wait(ctl, argument) : result;
}


static api_result_t
run_undrain(ctl_t *ctl, const char *argument)
{
    return run_shown(ctl, "PATCH", "instances", argument,
                     json_pack("{s:b}", "drain", 0));
}


static api_result_t
run_release(ctl_t *ctl, const char *argument)
{
    return run_on_session(ctl, "DELETE", "sessions", argument,
                          ctl->revoke ? "&revoke=1" : "", NULL);
}


/* By the gateway's clock and its keep=, if there is no --until. */
static api_result_t
run_revoke(ctl_t *ctl, const char *argument)
{
    json_t        *answer, *body;
    api_result_t   result;

    (void) argument;

    if ((ctl->jti == NULL) == (ctl->iss == NULL && ctl->sub == NULL)
        || (ctl->iss == NULL) != (ctl->sub == NULL))
    {
        snprintf(ctl->api.error, sizeof(ctl->api.error), "revoke needs --jti, "
                 "or --iss and --sub");
        return API_REFUSED;
    }

    body = ctl->jti != NULL ? json_pack("{s:s}", "jti", ctl->jti)
                            : json_pack("{s:s, s:s}", "iss", ctl->iss, "sub",
                                        ctl->sub);

    if (body == NULL) {
        snprintf(ctl->api.error, sizeof(ctl->api.error), "--jti, --iss and "
                 "--sub are UTF-8");
        return API_REFUSED;
    }

    if (ctl->until != 0) {
        json_object_set_new(body, "until", json_integer(ctl->until));
    }

    result = api_request(&ctl->api, "POST", "/revocations", body, &answer);

    if (result == API_OK) {
        show_json(answer);
    }

    json_decref(body);
    json_decref(answer);

    return result;
}


static api_result_t
run_move(ctl_t *ctl, const char *argument)
{
    return run_on_session(ctl, "POST", "sessions/move", argument, "",
                          json_object());
}


static api_result_t
run_add(ctl_t *ctl, const char *argument)
{
    return run_shown(ctl, "POST", "instances", NULL,
                     json_pack("{s:s}", "address", argument));
}


static api_result_t
run_remove(ctl_t *ctl, const char *argument)
{
    json_t        *answer;
    api_result_t   result;

    result = run_one(ctl, "DELETE", "instances", argument,
                     ctl->force ? "?force=1" : "", NULL, &answer);
    json_decref(answer);

    return result;
}
