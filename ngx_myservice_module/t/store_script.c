#include "store_script.h"

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "store_server.h"


redisContext  *script_store;
char           script_sha[41];


void
script_setup(const char *find, const char *by)
{
    char  *script;

    store_server_start(0, NULL);
    script_store = store_server_connect();
    script = store_server_script(find, by);
    store_server_load(script_store, script, script_sha);
    free(script);
}


const char *
script_text(redisReply *r, size_t i)
{
    static char  copy[4][128];
    static int   next;
    char        *p;

    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_gt(r->elements, i);
    ck_assert_int_eq(r->element[i]->type, REDIS_REPLY_STRING);

    p = copy[next++ % 4];
    snprintf(p, sizeof(copy[0]), "%s", r->element[i]->str);

    return p;
}


uint64_t
script_epoch(redisReply *r, const char *what, const char *instance)
{
    uint64_t  epoch;

    ck_assert_str_eq(script_text(r, 0), what);
    ck_assert_str_eq(script_text(r, 1), instance);
    epoch = strtoull(script_text(r, 2), NULL, 10);
    ck_assert_uint_gt(strtoull(script_text(r, 3), NULL, 10), 0);
    freeReplyObject(r);

    return epoch;
}


void
script_says(redisReply *r, const char *what)
{
    ck_assert_str_eq(script_text(r, 0), what);
    freeReplyObject(r);
}


void
script_await_end(const char *instance)
{
    size_t       i;
    long long    since;
    bool         valid;
    redisReply  *r;

    since = harness_now();

    for ( ;; ) {
        r = ask("list", "g1", "0", "100");
        valid = false;

        for (i = 0; i + 5 < r->element[4]->elements; i += 6) {
            valid |= strcmp(script_text(r->element[4], i), instance) == 0
                     && strcmp(script_text(r->element[4], i + 2), "0") != 0;
        }

        freeReplyObject(r);

        if (!valid) {
            return;
        }

        harness_pause(since, "the lease does not end");
    }
}


void
script_word(redisReply *r, const char *word, const char *stamp)
{
    ck_assert_int_eq(r->type, REDIS_REPLY_ARRAY);
    ck_assert_uint_eq(r->elements, 2);

    if (word == NULL) {
        ck_assert_uint_eq(r->element[1]->elements, 0);

    } else {
        ck_assert_uint_eq(r->element[1]->elements, 3);
        ck_assert_str_eq(script_text(r->element[1], 0), "a");
        ck_assert_str_eq(script_text(r->element[1], 1), word);
        ck_assert_str_eq(script_text(r->element[1], 2), stamp);
    }

    freeReplyObject(r);
}
