/* What each command asks of the gateway. */

#include "myservicectl/commands.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <openssl/sha.h>

#include "myservicectl/show.h"


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
static api_result_t run_revocations(ctl_t *ctl, const char *argument);
static api_result_t run_unrevoke(ctl_t *ctl, const char *argument);
static api_result_t run_move(ctl_t *ctl, const char *argument);
static api_result_t run_add(ctl_t *ctl, const char *argument);
static api_result_t run_remove(ctl_t *ctl, const char *argument);


const command_t  commands[] = {
    { "status", NULL, "instances by state, decisions, the waiting line",
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
    { "revocations", NULL, "the tokens that are refused", run_revocations },
    { "unrevoke", "ID", "ends a revocation: its tokens are good again",
      run_unrevoke },
    { "move", "SESSION", "its next call goes to another instance",
      run_move },
    { "add", "ADDRESS", "adds an instance, which stays over reloads",
      run_add },
    { "remove", "ADDRESS", "removes an instance that was added", run_remove },
    { NULL, NULL, NULL, NULL }
};


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

        name = show_text(json_array_get(list, 0), "name");
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


/* Those that the gateway has, or --upstream alone, in the form of
 * "/upstreams". */
static api_result_t
upstreams(ctl_t *ctl, json_t **answer)
{
    char          *path, *name;
    json_t        *one;
    api_result_t   result;

    if (ctl->upstream == NULL) {
        return api_request(&ctl->api, "GET", "/upstreams", NULL, answer);
    }

    name = api_escape(ctl->upstream);

    if (asprintf(&path, "/upstreams/%s", name) < 0) {
        abort();
    }

    result = api_request(&ctl->api, "GET", path, NULL, &one);
    *answer = one != NULL ? json_pack("{s:[o]}", "upstreams", one) : NULL;

    free(path);
    free(name);

    return result;
}


static api_result_t
run_status(ctl_t *ctl, const char *argument)
{
    size_t         i;
    json_t        *answer, *upstream;
    api_result_t   result;

    (void) argument;

    result = upstreams(ctl, &answer);

    if (result == API_OK && ctl->json) {
        show_json(answer);

    } else if (result == API_OK) {
        json_array_foreach(json_object_get(answer, "upstreams"), i, upstream) {
            show_upstream(upstream);
        }
    }

    json_decref(answer);

    return result;
}


/* All of a list, page by page: a pool may have 100,000.  "more" is of the query;
 * "all" is the caller's to free. */
static api_result_t
run_pages(ctl_t *ctl, const char *path, const char *list, const char *more,
    json_t **all)
{
    char          *page;
    json_t        *answer, *next;
    json_int_t     after, was;
    api_result_t   result;

    *all = json_array();
    after = 0;

    do {
        if (asprintf(&page, "%s?limit=1000&after=%" JSON_INTEGER_FORMAT "%s",
                     path, after, more) < 0)
        {
            abort();
        }

        result = api_request(&ctl->api, "GET", page, NULL, &answer);
        free(page);

        json_array_extend(*all, json_object_get(answer, list));
        next = json_object_get(answer, "next");
        was = after;
        after = json_is_integer(next) ? json_integer_value(next) : 0;
        json_decref(answer);

    } while (result == API_OK && after > was);

    return result;
}


static api_result_t
run_instances(ctl_t *ctl, const char *argument)
{
    char          *path, *state, *more;
    size_t         i;
    json_t        *all, *instance;
    api_result_t   result;

    (void) argument;

    path = path_of(ctl, "instances", NULL, &result);

    if (path == NULL) {
        return result;
    }

    state = api_escape(ctl->state != NULL ? ctl->state : "");

    if (asprintf(&more, "%s%s", ctl->state != NULL ? "&state=" : "", state) < 0)
    {
        abort();
    }

    result = run_pages(ctl, path, "instances", more, &all);

    if (result == API_OK && ctl->json) {
        show_json(all);

    } else if (result == API_OK) {
        show_head();

        json_array_foreach(all, i, instance) {
            show_instance(instance);
        }
    }

    json_decref(all);
    free(more);
    free(state);
    free(path);

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
        && strcmp(show_text(answer, "session_ids"), "hash") == 0)
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

    if (ctl->upstream != NULL) {
        result = upstreams(ctl, &answer);
        json_decref(answer);

        if (result != API_OK) {
            return result;
        }
    }

    do {
        snprintf(path, sizeof(path), "/events?after=%" JSON_INTEGER_FORMAT
                 "&wait=%" PRId64 "ms", last, wait);

        result = api_request(&ctl->api, "GET", path, NULL, &answer);

        json_array_foreach(json_object_get(answer, "events"), i, event) {
            if (ctl->upstream == NULL
                || strcmp(show_text(event, "upstream"), ctl->upstream) == 0)
            {
                show_event(ctl, event);
            }
        }

        last = show_number(answer, "last");
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
        return API_USAGE;
    }

    body = ctl->jti != NULL ? json_pack("{s:s}", "jti", ctl->jti)
                            : json_pack("{s:s, s:s}", "iss", ctl->iss, "sub",
                                        ctl->sub);

    if (body == NULL) {
        snprintf(ctl->api.error, sizeof(ctl->api.error), "--jti, --iss and "
                 "--sub are UTF-8");
        return API_USAGE;
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
run_revocations(ctl_t *ctl, const char *argument)
{
    json_t        *all;
    api_result_t   result;

    (void) argument;

    result = run_pages(ctl, "/revocations", "revocations", "", &all);

    if (result == API_OK) {
        show_revocations(ctl, all);
    }

    json_decref(all);

    return result;
}


static api_result_t
run_unrevoke(ctl_t *ctl, const char *argument)
{
    char          *path, *id;
    json_t        *answer;
    api_result_t   result;

    id = api_escape(argument);

    if (asprintf(&path, "/revocations/%s", id) < 0) {
        abort();
    }

    result = api_request(&ctl->api, "DELETE", path, NULL, &answer);
    json_decref(answer);
    free(path);
    free(id);

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
