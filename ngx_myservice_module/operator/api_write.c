
/*
 * What the API changes.  Each change is a line of the error log, to which nginx
 * adds the client's address and the request.
 */

#include "operator/api.h"
#include "operator/status.h"

#include "core/session_text.h"
#include "store/moves.h"
#include "store/renew.h"
#include "store/words.h"
#include "zone/events.h"
#include "zone/operator.h"


/* ms, a year */
#define MS_API_DEADLINE_MAX  31536000000

static ngx_int_t ms_api_deadline(json_t *body, ngx_msec_t *limit);
static ngx_int_t ms_api_unknown_key(json_t *body, const char *known,
    const char *other, const char **key);
static ngx_uint_t ms_api_instance_name(ms_api_t *api, ngx_str_t *name);
static ngx_int_t ms_api_no_member(ms_api_t *api);


static const ngx_str_t  ms_api_operator = ngx_string("operator");


ngx_int_t
ms_api_drain(ms_api_t *api, json_t *body)
{
    json_t      *drain;
    u_char       text[MS_API_SHOWN];
    ngx_msec_t   limit;
    const char  *key;

    drain = json_object_get(body, "drain");

    if (ms_api_unknown_key(body, "drain", "deadline", &key) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"%s\" is not "
                              "known, only \"drain\" and \"deadline\"", key);
    }

    if (!json_is_boolean(drain)) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"drain\" must be "
                              "true or false");
    }

    if (ms_api_deadline(body, &limit) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"deadline\" must "
                              "be a text with a time of 1s to 365d such as "
                              "\"5m\" or \"1h\", not %s",
                              ms_api_shown(json_object_get(body, "deadline"),
                                           text));
    }

    if (limit && json_is_false(drain)) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"deadline\" needs "
                              "\"drain\":true");
    }

    if (ms_zone_drain(api->zone, &api->parts[3], json_is_true(drain), limit,
                      api->request->connection->log)
        != NGX_OK)
    {
        return ms_api_no_member(api);
    }

    ms_store_drain(api->zone, &api->parts[3], json_is_true(drain), limit);

    if (json_is_true(drain)) {
        ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                      "operator drains an instance, instance=\"%V\" "
                      "upstream=\"%V\" by=\"%V\"", &api->parts[3],
                      &api->parts[1], ms_api_caller(api));
        ms_events_add(api->zone, MS_EVENT_DRAINS, &api->parts[3], NULL,
                      &ms_api_operator);

    } else {
        ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                      "operator ends a drain, instance=\"%V\" "
                      "upstream=\"%V\" by=\"%V\"", &api->parts[3],
                      &api->parts[1], ms_api_caller(api));
        ms_events_add(api->zone, MS_EVENT_DRAINS_NO_MORE, &api->parts[3], NULL,
                      &ms_api_operator);
    }

    return ms_api_instance(api, NULL);
}


/* milliseconds, 0: none; as in nginx's configuration */

static ngx_int_t
ms_api_deadline(json_t *body, ngx_msec_t *limit)
{
    json_t     *value;
    ngx_int_t   n;
    ngx_str_t   text;

    *limit = 0;
    value = json_object_get(body, "deadline");

    if (value == NULL) {
        return NGX_OK;
    }

    if (!json_is_string(value)) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);
    n = ngx_parse_time(&text, 0);

    if (n == NGX_ERROR || n < 1000 || n > MS_API_DEADLINE_MAX) {
        return NGX_DECLINED;
    }

    *limit = n;

    return NGX_OK;
}


ngx_int_t
ms_api_add(ms_api_t *api, json_t *body)
{
    u_char       shown[MS_API_SHOWN];
    ngx_int_t    rc;
    ngx_str_t    text;
    ngx_addr_t   addr;
    const char  *key;

    text.data = (u_char *) json_string_value(json_object_get(body, "address"));
    text.len = text.data ? ngx_strlen(text.data) : 0;

    if (ms_api_unknown_key(body, "address", "address", &key) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"%s\" is not "
                              "known, only \"address\"", key);
    }

    if (ms_zone_address(api->request->pool, &text, &addr) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"address\" must "
                              "be an address and a port such as "
                              "\"10.0.0.5:5101\" or \"[fd00::5]:5101\", "
                              "not %s",
                              ms_api_shown(json_object_get(body, "address"),
                                           shown));
    }

    api->parts[3] = addr.name;
    rc = ms_store_add(api->zone, &addr, api->request->connection->log);

    if (rc == NGX_ERROR) {
        return ms_api_problem(api, NGX_HTTP_INSUFFICIENT_STORAGE,
                              "the zone of \"%V\" is full: make it larger, "
                              "or remove instances", &api->parts[1]);
    }

    if (rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                      "operator adds an instance, instance=\"%V\" "
                      "upstream=\"%V\" by=\"%V\"", &api->parts[3],
                      &api->parts[1], ms_api_caller(api));
    }

    return ms_api_instance(api, NULL);
}


ngx_int_t
ms_api_remove(ms_api_t *api, json_t *body)
{
    ngx_int_t     rc;
    ngx_uint_t    force;
    ms_member_t   member;

    if (!ms_api_switch_argument(api, "force", &force, &rc)) {
        return rc;
    }

    if (force
        && ms_zone_member(api->zone, &api->parts[3], &member,
                          api->request->connection->log)
           == NGX_OK
        && !(member.source & ~(MS_SOURCE_OPERATOR | MS_SOURCE_SEEN))
        && member.session.len)
    {
        ms_store_release_session(api->zone, &member.session);
    }

    rc = ms_store_remove(api->zone, &api->parts[3], force,
                         api->request->connection->log);

    if (rc == NGX_DECLINED) {
        return ms_api_no_member(api);
    }

    if (rc == NGX_ABORT) {
        return ms_api_problem(api, NGX_HTTP_CONFLICT, "\"%V\" is a member by "
                              "the configuration: remove it there, or drain "
                              "it here", &api->parts[3]);
    }

    ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                  "operator removes an instance, instance=\"%V\" "
                  "upstream=\"%V\" by=\"%V\"", &api->parts[3],
                  &api->parts[1], ms_api_caller(api));

    return ms_api_done(api);
}


ngx_int_t
ms_api_release(ms_api_t *api, json_t *body)
{
    ngx_int_t          rc;
    ngx_uint_t         revoke;
    ms_session_log_t   session;

    if (!ms_api_session_id(api, &rc)) {
        return rc;
    }

    if (!ms_api_switch_argument(api, "revoke", &revoke, &rc)) {
        return rc;
    }

    if (revoke) {
        return ms_api_revoke_session(api);
    }

    ms_store_release_session(api->zone, &api->session);

    if (ms_zone_release(api->zone, &api->session,
                        api->request->connection->log)
        != NGX_OK)
    {
        return ms_api_no_session(api);
    }

    ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                  "operator ends a lease, session=\"%V\" upstream=\"%V\" "
                  "by=\"%V\"",
                  ms_session_log(&api->session, &session), &api->parts[1],
                  ms_api_caller(api));

    return ms_api_done(api);
}


ngx_int_t
ms_api_move(ms_api_t *api, json_t *body)
{
    json_t            *value;
    ngx_int_t          rc;
    u_char             text[MS_API_SHOWN];
    ngx_str_t          from;
    const char        *key;
    ms_member_t        member;
    ms_session_log_t   session;

    value = json_object_get(body, "from");

    if (ms_api_unknown_key(body, "from", "from", &key) != NGX_OK) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"%s\" is not "
                              "known, only \"from\"", key);
    }

    from.data = (u_char *) json_string_value(value);
    from.len = json_string_length(value);

    if (value && !ms_api_instance_name(api, &from)) {
        return ms_api_problem(api, NGX_HTTP_BAD_REQUEST, "\"from\" must be "
                              "the instance that the session leaves, such as "
                              "\"10.0.0.5:5101\", not %s",
                              ms_api_shown(value, text));
    }

    if (!ms_api_session_id(api, &rc)) {
        return rc;
    }

    rc = ms_zone_move(api->zone, &api->session, value ? &from : NULL, &member,
                      api->request->connection->log);

    if (rc == NGX_DECLINED) {
        return ms_api_no_session(api);
    }

    if (rc == NGX_BUSY) {
        return ms_api_problem(api, NGX_HTTP_CONFLICT, "no other instance of "
                              "\"%V\" is free: add one, or end a lease",
                              &api->parts[1]);
    }

    if (rc == NGX_AGAIN) {
        return ms_api_problem(api, NGX_HTTP_CONFLICT, "the session's first "
                              "call is not answered yet: wait, or end the "
                              "lease");
    }

    ms_store_move(api->zone, &api->session);

    if (rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, api->request->connection->log, 0,
                      "operator moves a session, session=\"%V\" "
                      "from=\"%V\" upstream=\"%V\" by=\"%V\"",
                      ms_session_log(&api->session, &session), &member.name,
                      &api->parts[1], ms_api_caller(api));
        ms_events_add(api->zone, MS_EVENT_MOVES, &member.name, &api->session,
                      &ms_api_operator);
    }

    return ms_api_send_instance(api, &member);
}


static ngx_uint_t
ms_api_instance_name(ms_api_t *api, ngx_str_t *name)
{
    ngx_addr_t  addr;

    return ms_zone_address(api->request->pool, name, &addr) == NGX_OK
           || (name->len > 5 && ngx_strncmp(name->data, "unix:", 5) == 0);
}


static ngx_int_t
ms_api_no_member(ms_api_t *api)
{
    return ms_api_problem(api, NGX_HTTP_NOT_FOUND, "\"%V\" is no member of "
                          "\"%V\"", &api->parts[3], &api->parts[1]);
}


/* NGX_DECLINED for the first key that is none of the two */

static ngx_int_t
ms_api_unknown_key(json_t *body, const char *known, const char *other,
    const char **key)
{
    json_t  *value;

    json_object_foreach(body, *key, value) {
        if (ngx_strcmp(*key, known) != 0 && ngx_strcmp(*key, other) != 0) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}
