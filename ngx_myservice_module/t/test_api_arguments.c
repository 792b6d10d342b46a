/*
 * What the API refuses in arguments and bodies: 400 with a text that repeats it.
 */

#include <stdio.h>
#include <string.h>
#include <jansson.h>

#include "api.h"
#include "fake.h"
#include "gateway.h"
#include "harness.h"


#define U  "/api/1/upstreams/u"


static void
refused(const char *method, const char *path, const char *template,
    const char *body, const char *text)
{
    json_t      *answer;
    const char  *detail;

    answer = api_ask(method, path, template,
                     strcmp(method, "GET") == 0 ? NULL : api_change, body, 400);
    detail = json_string_value(json_object_get(answer, "detail"));
    ck_assert_msg(detail != NULL && strstr(detail, text) != NULL,
                  "%s %s %s: \"%s\", expected \"%s\"", method, path,
                  body != NULL ? body : "", detail != NULL ? detail : "", text);
    json_decref(answer);
}


START_TEST(arguments_unknown)
{
    size_t  i;

    static const struct {
        const char  *method;
        const char  *path;
        const char  *template;
        const char  *body;
        const char  *text;
    } cases[] = {
        { "GET", "/api/1/?foo=1", "/", NULL, "\"foo\" is not known here" },
        { "GET", "/api/1/upstreams?limit=1", "/upstreams", NULL, "\"limit\"" },
        { "GET", U "?a", "/upstreams/{upstream}", NULL, "\"a\"" },
        { "GET", U "/instances?stat=free", INSTANCES, NULL,
          "\"stat\" is not known here, only \"state\", \"limit\", \"after\"" },
        { "GET", U "/instances?limit=1&&limit=2", INSTANCES, NULL,
          "\"limit\" stands twice" },
        { "GET", U "/instances?limit", INSTANCES, NULL,
          "\"limit\" has no value" },
        { "GET", U "/instances?limit=x", INSTANCES, NULL, "not \"x\"" },
        { "GET", U "/instances?after=-1", INSTANCES, NULL, "not \"-1\"" },
        { "GET", U "/instances?state=fre", INSTANCES, NULL, "not \"fre\"" },
        { "GET", "/api/1/events?wait=61s", "/events", NULL, "not \"61s\"" },
        { "GET", "/api/1/events?after=x", "/events", NULL, "not \"x\"" },
        { "GET", "/api/1/events?last=1", "/events", NULL, "\"last\"" },
        { "GET", U "/sessions/a?session=b", SESSION, NULL, "\"session\"" },
        { "GET", U "/instances/127.0.0.1:1?force=1", INSTANCE, NULL,
          "\"force\"" },
        { "DELETE", U "/instances/127.0.0.1:1?force=yes", INSTANCE, NULL,
          "\"force\" must be 1, or left out, not \"yes\"" },
        { "DELETE", U "/instances/127.0.0.1:1?force=2", INSTANCE, NULL,
          "not \"2\"" },
        { "DELETE", U "/instances/127.0.0.1:1?force", INSTANCE, NULL,
          "\"force\" has no value" },
        { "DELETE", U "/instances/127.0.0.1:1?forced=1", INSTANCE, NULL,
          "\"forced\" is not known here, only \"force\"" },
        { "DELETE", U "/sessions/a?revoke=true", SESSION, NULL,
          "\"revoke\" must be 1, or left out, not \"true\"" },
        { "DELETE", U "/sessions?session=a&force=1", SESSIONS, NULL,
          "\"force\" is not known here, only \"session\", \"revoke\"" },
        { "POST", U "/sessions/a/move?from=x", MOVE, "{}", "\"from\"" },
        { "POST", U "/instances?address=127.0.0.1:1", INSTANCES, "{}",
          "\"address\"" },
    };

    gateway_start(WRITE);

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        refused(cases[i].method, cases[i].path, cases[i].template,
                cases[i].body, cases[i].text);
    }

    /* nothing between two "&" is no argument */

    json_decref(api_ask("GET", U "/instances?&limit=1&", INSTANCES, NULL, NULL,
                        200));
    json_decref(api_ask("GET", U "/instances?", INSTANCES, NULL, NULL, 200));
}
END_TEST


START_TEST(arguments_body)
{
    size_t  i;
    char    path[128];

    static const struct {
        const char  *body;
        const char  *text;
    } drains[] = {
        { "{\"drain\":true,\"deadline\":\"2y\"}",
          "a time of 1s to 365d such as \"5m\" or \"1h\", not \"2y\"" },
        { "{\"drain\":true,\"deadline\":\"99999999999999999d\"}",
          "not \"99999999999999999d\"" },
        { "{\"drain\":true,\"deadline\":\"366d\"}", "not \"366d\"" },
        { "{\"drain\":true,\"deadline\":5}", "not 5" },
        { "{\"drain\":false,\"deadline\":\"5m\"}",
          "\"deadline\" needs \"drain\":true" },
    }, adds[] = {
        { "{}", "not nothing" },
        { "{\"address\":\"here\"}", "not \"here\"" },
        { "{\"address\":\"10.0.0.1\"}", "not \"10.0.0.1\"" },
        { "{\"address\":["
          "\"0123456789012345678901234567890123456789012345678901234567890\","
          "\"0123456789012345678901234567890123456789012345678901234567890\"]}",
          "0123456789012345678901234567890123456789012345678901234567890" },
    };

    gateway_start(WRITE);
    snprintf(path, sizeof(path), "%s", api_at(8081));

    for (i = 0; i < sizeof(drains) / sizeof(drains[0]); i++) {
        refused("PATCH", path, INSTANCE, drains[i].body, drains[i].text);
    }

    json_decref(api_ask("PATCH", path, INSTANCE, api_change,
                        "{\"drain\":true,\"deadline\":\"365d\"}", 200));

    for (i = 0; i < sizeof(adds) / sizeof(adds[0]); i++) {
        refused("POST", U "/instances", INSTANCES, adds[i].body,
                adds[i].text);
    }
}
END_TEST


/* also of a session that leaves already, whatever its instance is */
START_TEST(arguments_from)
{
    (void) fake_start(8081, "one", fake_ok);
    (void) fake_start(8082, "two", fake_ok);
    gateway_start(WRITE);

    client_assert(echo_once("a"), 0, "");
    refused("POST", U "/sessions/a/move", MOVE, "{\"from\":\"x\"}",
            "\"from\" must be the instance that the session leaves");
    json_decref(api_ask("POST", U "/sessions/a/move", MOVE, api_change, "{}",
                        200));
    refused("POST", U "/sessions/a/move", MOVE, "{\"from\":\"x\"}",
            "not \"x\"");
    refused("POST", U "/sessions/a/move", MOVE, "{\"from\":\"\"}", "not \"\"");
    json_decref(api_ask("POST", U "/sessions/a/move", MOVE, api_change,
                        "{\"from\":\"10.0.0.1:1\"}", 200));
}
END_TEST


int
main(void)
{
    Suite  *suite;

    suite = suite_create("api_arguments");
    harness_add(suite, arguments_unknown);
    harness_add(suite, arguments_body);
    harness_add(suite, arguments_from);

    return harness_run(suite, "test_api_arguments");
}
