/* Requests to the gateway's API, by libcurl. */

#include "myservicectl/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>

#include "version.h"


/* bytes of an answer: a page of 1000 instances has half a megabyte */
#define API_ANSWER_MAX  (16 * 1024 * 1024)


typedef struct {
    char    *text;
    size_t   len;
} api_answer_t;


static void *
api_alive(void *p)
{
    if (p == NULL) {
        fprintf(stderr, "myservicectl: out of memory\n");
        exit(EXIT_FAILURE);
    }

    return p;
}


static size_t
api_take(char *data, size_t size, size_t n, void *user)
{
    size_t         len;
    api_answer_t  *answer = user;

    len = size * n;

    if (len > API_ANSWER_MAX - answer->len) {
        return 0;
    }

    answer->text = api_alive(realloc(answer->text, answer->len + len + 1));
    memcpy(answer->text + answer->len, data, len);
    answer->len += len;
    answer->text[answer->len] = '\0';

    return len;
}


static void
api_set(CURL *curl, const api_t *api, const char *method,
    struct curl_slist *headers)
{
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long) api->timeout);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "myservicectl/" MS_VERSION);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);

    /* ".." can be what an operator takes for an address */
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);

    /* an operator means this gateway, whatever http_proxy says */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");

    if (api->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, api->ca);
    }

    if (api->cert != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, api->cert);
        curl_easy_setopt(curl, CURLOPT_SSLKEY,
                         api->key != NULL ? api->key : api->cert);
    }
}


/* What the gateway answered. */
static api_result_t
api_read(api_t *api, const api_answer_t *answer, long status, json_t **json)
{
    const char  *detail;

    *json = answer->len != 0
            ? json_loadb(answer->text, answer->len, 0, NULL) : NULL;

    if (status >= 200 && status < 300
        && (*json != NULL || answer->len == 0))
    {
        return API_OK;
    }

    detail = json_string_value(json_object_get(*json, "detail"));

    if (detail != NULL) {
        snprintf(api->error, sizeof(api->error), "%s", detail);

    } else {
        snprintf(api->error, sizeof(api->error), "%s: status %ld is no answer "
                 "of the API; --api must be the location that has "
                 "myservice_api", api->url, status);
    }

    json_decref(*json);
    *json = NULL;

    return detail == NULL ? API_UNREACHABLE
           : status == 404 ? API_NOT_FOUND : API_REFUSED;
}


api_result_t
api_request(api_t *api, const char *method, const char *path,
    const json_t *body, json_t **answer)
{
    CURL               *curl;
    char               *url, *text, reason[CURL_ERROR_SIZE];
    long                status;
    size_t              len;
    CURLcode            rc;
    api_answer_t        taken;
    api_result_t        result;
    struct curl_slist  *headers;

    memset(&taken, 0, sizeof(taken));
    *answer = NULL;
    reason[0] = '\0';
    status = 0;
    text = body != NULL ? api_alive(json_dumps(body, JSON_COMPACT)) : NULL;
    curl = api_alive(curl_easy_init());
    headers = api_alive(curl_slist_append(NULL,
                                          "Content-Type: application/json"));

    /* the location ends with "/" in nginx.conf */
    len = strlen(api->url);

    while (len != 0 && api->url[len - 1] == '/') {
        len--;
    }

    url = api_alive(malloc(len + strlen(path) + sizeof("/1")));
    sprintf(url, "%.*s/1%s", (int) len, api->url, path);

    api_set(curl, api, method, headers);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, api_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &taken);

    if (text != NULL) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
    }

    rc = curl_easy_perform(curl);

    if (rc == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        result = api_read(api, &taken, status, answer);

    } else {
        snprintf(api->error, sizeof(api->error), "%s: %s", api->url,
                 reason[0] != '\0' ? reason : curl_easy_strerror(rc));
        result = API_UNREACHABLE;
    }

    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(taken.text);
    free(text);
    free(url);

    return result;
}


char *
api_escape(const char *text)
{
    char    *escaped, *p;
    size_t   i;

    escaped = api_alive(malloc(3 * strlen(text) + 1));
    p = escaped;

    for (i = 0; text[i] != '\0'; i++) {
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                   "0123456789-._~:", text[i]) != NULL)
        {
            *p++ = text[i];

        } else {
            p += sprintf(p, "%%%02X", (unsigned char) text[i]);
        }
    }

    *p = '\0';

    return escaped;
}
