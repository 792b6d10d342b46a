/* Requests to the API of gateways (docs/api.md), by libcurl. */

#include "authsvc/revoke/gateways.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <curl/curl.h>
#include <jansson.h>

#include "authsvc/core/version.h"


#define GATEWAYS_URL      1024          /* bytes of one */
#define GATEWAYS_ANSWER   4096          /* bytes; of an error */
#define GATEWAYS_CONNECT  3000L         /* ms */
#define GATEWAYS_TIMEOUT  10000L        /* ms; the API waits for its file */


typedef struct {
    char    *gateway;
    char    *request;
    bool     left;
} gateways_item_t;

typedef struct {
    gateways_item_t  *items;
    size_t            n;
    bool              failed;           /* out of memory */
} gateways_list_t;

typedef struct {
    size_t  len;
    char    text[GATEWAYS_ANSWER];
} gateways_answer_t;


/* The next of "urls" without a slash at its end; false after the last. */
static bool
gateways_next(const char **urls, const char **url, size_t *len)
{
    if (**urls == '\0') {
        return false;
    }

    *url = *urls;
    *len = strcspn(*url, ",");
    *urls += *len + ((*urls)[*len] == ',');

    while (*len > 0 && (*url)[*len - 1] == '/') {
        (*len)--;
    }

    return true;
}


/* A password or a token on the way would be of use to others. */
static bool
gateways_url_good(const char *url, size_t len)
{
    size_t  i, host;

    static const char *const  local[] = { "127.0.0.1", "localhost", "[::1]" };

    if (len >= GATEWAYS_URL) {
        return false;
    }

    if (len > 8 && strncmp(url, "https://", 8) == 0) {
        return true;
    }

    /* what stands before "@" is no host */

    if (len <= 7 || strncmp(url, "http://", 7) != 0
        || memchr(url, '@', len) != NULL)
    {
        return false;
    }

    for (i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        host = strlen(local[i]);

        if (len >= 7 + host && strncmp(url + 7, local[i], host) == 0
            && (len == 7 + host || url[7 + host] == ':'
                || url[7 + host] == '/'))
        {
            return true;
        }
    }

    return false;
}


int
gateways_check(const char *urls, char *error, size_t size)
{
    size_t       len;
    const char  *url;

    while (gateways_next(&urls, &url, &len)) {
        if (!gateways_url_good(url, len)) {
            snprintf(error, size, "--gateway-api: \"%.*s\" is neither https:// "
                     "nor http:// of this machine, as "
                     "http://127.0.0.1:10080/api", len < 256 ? (int) len : 256,
                     url);
            return -1;
        }
    }

    return 0;
}


store_status_t
gateways_owe(store_t *store, const char *urls, const char *issuer,
    const char *user, int64_t before)
{
    char             gateway[GATEWAYS_URL], *text;
    size_t           len;
    json_t          *body;
    const char      *url;
    store_status_t   status;

    body = json_pack("{s:s, s:s, s:I}", "iss", issuer, "sub", user, "before",
                     (json_int_t) before);
    text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    status = text != NULL ? STORE_OK : STORE_FAILED;

    while (status == STORE_OK && gateways_next(&urls, &url, &len)) {
        snprintf(gateway, sizeof(gateway), "%.*s", (int) len, url);
        status = store_owe(store, gateway, text);
    }

    free(text);

    return status;
}


static void
gateways_collect(const char *gateway, const char *request, void *data)
{
    gateways_list_t  *list = data;
    gateways_item_t  *items;

    items = realloc(list->items, (list->n + 1) * sizeof(gateways_item_t));
    if (items == NULL) {
        list->failed = true;
        return;
    }

    list->items = items;
    items += list->n;
    items->gateway = strdup(gateway);
    items->request = strdup(request);
    items->left = true;
    list->n++;
    list->failed |= items->gateway == NULL || items->request == NULL;
}


static size_t
gateways_take(char *data, size_t size, size_t n, void *user)
{
    size_t              len;
    gateways_answer_t  *answer = user;

    /* the rest of a longer one is dropped */
    len = size * n;
    if (len > sizeof(answer->text) - answer->len) {
        len = sizeof(answer->text) - answer->len;
    }

    memcpy(answer->text + answer->len, data, len);
    answer->len += len;

    return size * n;
}


static int
gateways_go_on(void *data, curl_off_t a, curl_off_t b, curl_off_t c,
    curl_off_t d)
{
    const atomic_bool  *stop = data;

    (void) a;
    (void) b;
    (void) c;
    (void) d;

    return stop != NULL && atomic_load(stop);
}


static void
gateways_set(CURL *curl, const gateways_tls_t *tls,
    const atomic_bool *stop)
{
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, GATEWAYS_CONNECT);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, GATEWAYS_TIMEOUT);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "authsvc/" MS_VERSION);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, gateways_go_on);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, stop);

    if (tls->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, tls->ca);
    }

    if (tls->cert != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, tls->cert);
        curl_easy_setopt(curl, CURLOPT_SSLKEY,
                         tls->key != NULL ? tls->key : tls->cert);
    }
}


/* What the gateway says; 0 if it has acknowledged the request. */
static int
gateways_answered(const gateways_item_t *item, long status,
    const gateways_answer_t *answer, char *error, size_t size)
{
    json_t      *json;
    const char  *detail;

    if (status == 200) {
        return 0;
    }

    json = json_loadb(answer->text, answer->len, 0, NULL);
    detail = json_string_value(json_object_get(json, "detail"));

    snprintf(error, size, "%s: status %ld%s%.200s", item->gateway, status,
             detail != NULL ? ": " : ", is it the location of myservice_api?",
             detail != NULL ? detail : "");
    json_decref(json);

    return -1;
}


static int
gateways_post(const gateways_item_t *item, const gateways_tls_t *tls,
    const atomic_bool *stop, char *error, size_t size)
{
    int                 rc;
    char                url[GATEWAYS_URL + 32], reason[CURL_ERROR_SIZE];
    long                status;
    CURL               *curl;
    CURLcode            code;
    gateways_answer_t   answer;
    struct curl_slist  *headers;

    answer.len = 0;
    reason[0] = '\0';
    status = 0;
    snprintf(url, sizeof(url), "%s/1/revocations", item->gateway);
    curl = curl_easy_init();
    headers = curl_slist_append(NULL, "Content-Type: application/json");
    code = CURLE_OUT_OF_MEMORY;

    if (curl != NULL && headers != NULL) {
        gateways_set(curl, tls, stop);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, item->request);
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, gateways_take);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
        code = curl_easy_perform(curl);
    }

    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        rc = gateways_answered(item, status, &answer, error, size);

    } else {
        snprintf(error, size, "%s: %s", item->gateway,
                 reason[0] != '\0' ? reason : curl_easy_strerror(code));
        rc = -1;
    }

    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);

    return rc;
}


/* One that does not answer is asked once, not for each request. */
static bool
gateways_silent(const gateways_list_t *list, size_t i)
{
    size_t  j;

    for (j = 0; j < i; j++) {
        if (list->items[j].left
            && strcmp(list->items[j].gateway, list->items[i].gateway) == 0)
        {
            return true;
        }
    }

    return false;
}


int
gateways_send(store_t *store, const gateways_tls_t *tls,
    const atomic_bool *stop, char *error, size_t size)
{
    int               left;
    char              cause[512];
    size_t            i;
    store_status_t    status;
    gateways_list_t   list;
    gateways_item_t  *item;

    memset(&list, 0, sizeof(list));
    *error = '\0';
    left = 0;
    status = store_list_owed(store, gateways_collect, &list);

    for (i = 0; i < list.n && status == STORE_OK && !list.failed; i++) {
        item = &list.items[i];

        if (!gateways_silent(&list, i)
            && (stop == NULL || !atomic_load(stop)))
        {
            item->left = gateways_post(item, tls, stop, cause, sizeof(cause))
                         != 0;

            if (item->left && *error == '\0') {
                snprintf(error, size, "%s", cause);
            }
        }

        if (!item->left) {
            status = store_paid(store, item->gateway, item->request);
        }

        left += item->left;
    }

    if (status != STORE_OK || list.failed) {
        snprintf(error, size, "%s", list.failed ? "out of memory"
                                                : store_error(store));
        left = -1;
    }

    for (i = 0; i < list.n; i++) {
        free(list.items[i].gateway);
        free(list.items[i].request);
    }

    free(list.items);

    return left;
}
