/* The API in tests, and a validator for what docs/openapi.json uses of JSON
 * Schema. */

#include "api.h"

#include <stdio.h>
#include <string.h>

#include "harness.h"


const client_header_t  api_change[] = { JSON, NONE };


/* checks a value against a schema of docs/openapi.json; what it uses of JSON
 * Schema is all that there is */
static void
conform(json_t *root, json_t *schema, json_t *value, const char *where)
{
    bool         known;
    size_t       i;
    char         inner[256];
    json_t      *type, *item, *properties, *more;
    const char  *name;

    if (json_object_get(schema, "$ref") != NULL) {
        name = strrchr(json_string_value(json_object_get(schema, "$ref")),
                       '/') + 1;
        schema = json_object_get(json_object_get(json_object_get(root,
                                     "components"), "schemas"), name);
        ck_assert_msg(schema != NULL, "no schema %s", name);
    }

    type = json_object_get(schema, "type");
    known = false;

    for (i = 0; i < (json_is_array(type) ? json_array_size(type) : 1); i++) {
        name = json_string_value(json_is_array(type) ? json_array_get(type, i)
                                                     : type);
        ck_assert_ptr_nonnull(name);
        known |= (strcmp(name, "object") == 0 && json_is_object(value))
                 || (strcmp(name, "array") == 0 && json_is_array(value))
                 || (strcmp(name, "string") == 0 && json_is_string(value))
                 || (strcmp(name, "integer") == 0 && json_is_integer(value))
                 || (strcmp(name, "boolean") == 0 && json_is_boolean(value))
                 || (strcmp(name, "null") == 0 && json_is_null(value));
    }

    ck_assert_msg(known, "%s has another type", where);

    if (json_object_get(schema, "enum") != NULL) {
        known = false;
        json_array_foreach(json_object_get(schema, "enum"), i, item) {
            known |= json_equal(item, value);
        }
        ck_assert_msg(known, "%s: \"%s\" is not in the enum", where,
                      json_string_value(value));
    }

    json_array_foreach(value, i, item) {
        conform(root, json_object_get(schema, "items"), item, where);
    }

    properties = json_object_get(schema, "properties");
    more = json_object_get(schema, "additionalProperties");

    json_array_foreach(json_object_get(schema, "required"), i, item) {
        ck_assert_msg(json_object_get(value, json_string_value(item)) != NULL,
                      "%s has no \"%s\"", where, json_string_value(item));
    }

    json_object_foreach(value, name, item) {
        snprintf(inner, sizeof(inner), "%s.%s", where, name);
        type = json_object_get(properties, name);
        type = type != NULL ? type : more;
        ck_assert_msg(json_is_object(type), "%s is not documented", inner);
        conform(root, type, item, inner);
    }
}


json_t *
api_ask(const char *method, const char *path, const char *template,
    const client_header_t *more, const char *body, int status)
{
    size_t            n;
    char              lower[8], code[8];
    client_t         *client;
    client_call_t    *c;
    json_t           *answer, *root, *operation, *schema;
    client_header_t   headers[8] = { { ":method", method } };

    for (n = 0; more != NULL && more[n].name != NULL; n++) {
        headers[n + 1] = more[n];
    }

    client = client_open(harness_port(8080));
    c = client_request(client, path, headers, body,
                       body != NULL ? strlen(body) : 0, false);
    client_wait(c);
    ck_assert_msg(c->http == status, "%s %s: HTTP %d, expected %d: %.*s",
                  method, path, c->http, status, (int) c->len,
                  (char *) c->body);

    answer = c->len != 0 ? json_loadb((char *) c->body, c->len,
                                      JSON_REJECT_DUPLICATES, NULL) : NULL;
    ck_assert_msg(answer != NULL || c->len == 0, "no JSON: %.*s", (int) c->len,
                  (char *) c->body);

    root = json_load_file("docs/openapi.json", JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(root);

    if (template != NULL) {
        for (n = 0; method[n] != '\0'; n++) {
            lower[n] = (char) (method[n] | 0x20);
        }

        lower[n] = '\0';
        snprintf(code, sizeof(code), "%d", status);
        operation = json_object_get(json_object_get(json_object_get(root,
                                        "paths"), template), lower);
        ck_assert_msg(operation != NULL, "%s %s is not documented", method,
                      template);
        schema = json_object_get(json_object_get(operation, "responses"),
                                 code);
        ck_assert_msg(schema != NULL, "%s %s: %d is not documented", method,
                      template, status);
        schema = json_object_get(json_object_get(json_object_get(schema,
                                     "content"), c->type), "schema");
        ck_assert_msg((schema != NULL) == (c->len != 0), "%s %s: %d is %s",
                      method, template, status, c->type);

        if (schema != NULL) {
            conform(root, schema, answer, template);
        }

    } else if (status >= 400) {
        ck_assert_str_eq(c->type, "application/problem+json");
    }

    json_decref(root);
    client_forget(client);

    return answer;
}


const char *
api_at(int number)
{
    static char  path[128];

    snprintf(path, sizeof(path),
             "/api/1/upstreams/u/instances/127.0.0.1:%d",
             harness_port(number));

    return path;
}
