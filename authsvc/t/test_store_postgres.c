/*
 * What a store in PostgreSQL does that one in a file does not.
 */

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <libpq-fe.h>

#include "authsvc/store/store.h"
#include "authsvc/t/postgres.h"
#include "authsvc/t/stores.h"
#include "authsvc/t/suite.h"


static char  error[512];


/* What is wrong with a URL is said without it. */
START_TEST(test_urls)
{
    size_t    i;
    store_t  *store;

    static const char *const  bad[] = {
        "postgresql://bob:geheim-42@[::1/x",
        "postgresql://bob:geheim-42@host/x?geheim-42",
        "postgres://bob@host/x?password=geheim-42&unknown=geheim-42",
        "mysql://bob:geheim-42@host/x"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(store_open(bad[i], true, error, sizeof(error)) == NULL,
                      "%s", bad[i]);
        ck_assert_msg(strstr(error, "geheim") == NULL, "%s", error);
        ck_assert_uint_gt(strlen(error), 0);
    }

    /* nothing is there yet, and nothing needs to be */
    store = store_open("postgresql://bob:geheim-42@127.0.0.1:1/x?password="
                       "geheim-42", true, error, sizeof(error));
    ck_assert_ptr_nonnull(store);
    ck_assert_str_eq(store_name(store), "postgresql://bob@127.0.0.1:1/x");
    ck_assert_int_eq(store_check(store), STORE_DOWN);
    ck_assert_ptr_null(strstr(store_error(store), "geheim"));
    ck_assert_ptr_nonnull(strstr(store_error(store), "refused"));
    store_close(store);
}
END_TEST


START_TEST(test_no_tables)
{
    store_t       *store;
    store_user_t   user;

    store = store_open(stores_location, false, error, sizeof(error));
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_FAILED);
    ck_assert_str_eq(store_error(store), "has no tables of authsvc");
    store_close(store);

    stores_sql("CREATE TABLE users (name text)");
    store = stores_open();
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_FAILED);
    ck_assert_str_eq(store_error(store), "relation \"users\" already exists");
    store_close(store);
    ck_assert_int_eq(stores_number("SELECT count(*) FROM pg_tables"
                                   " WHERE tablename = 'authsvc_schema'"), 0);
}
END_TEST


/* The server waits for something for ever: a failure, not a hanging login. */
START_TEST(test_lock)
{
    PGconn        *conn;
    store_t       *store;
    store_user_t   user;

    store = stores_open();
    ck_assert_int_eq(store_add(store, "bob", "h", "r"), STORE_OK);

    conn = PQconnectdb(stores_location);
    PQclear(PQexec(conn, "BEGIN; LOCK TABLE users"));
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_FAILED);
    ck_assert_ptr_nonnull(strstr(store_error(store), "statement timeout"));
    PQfinish(conn);

    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    store_close(store);
}
END_TEST


/* A name that the database's encoding has no letters for is nobody's. */
START_TEST(test_encoding)
{
    store_t       *store;
    store_user_t   user;

    postgres_sql(stores_location, "CREATE DATABASE latin ENCODING 'LATIN1'"
                                  " TEMPLATE template0");
    strcpy(strrchr(stores_location, '/') + 1, "latin");

    store = stores_open();
    ck_assert_int_eq(store_add(store, "J\xc3\xb6rg", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_find(store, "J\xc3\xb6rg", &user), STORE_OK);
    ck_assert_int_eq(store_find(store, "\xe2\x82\xac", &user),
                     STORE_MISSING);
    store_close(store);
    postgres_sql(stores_location, "SELECT 1");
}
END_TEST


/* A failed transaction cannot be committed, even if nobody saw it fail. */
START_TEST(test_commit)
{
    store_t       *store;
    store_user_t   user;

    store = stores_open();
    ck_assert_int_eq(store_add(store, "old", "h", "r"), STORE_OK);

    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "new", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_add(store, "old", "h", "r"), STORE_EXISTS);
    ck_assert_int_eq(store_commit(store), STORE_FAILED);
    ck_assert_str_eq(store_error(store), "the transaction was rolled back");
    store_rollback(store);

    /* and does not hinder the next one */
    ck_assert_int_eq(store_find(store, "new", &user), STORE_MISSING);
    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "new", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_commit(store), STORE_OK);
    ck_assert_int_eq(store_find(store, "new", &user), STORE_OK);
    store_close(store);
}
END_TEST


/* TLS is libpq's and the URL's business. */
START_TEST(test_tls)
{
    char         url[512];
    size_t       i;
    store_t     *store;

    const struct {
        const char  *options;
        const char  *ca;
        const char  *error;             /* NULL: good */
    } cases[] = {
        { "sslmode=verify-full", postgres_ca(), NULL },
        { "sslmode=verify-full", "/etc/ssl/certs/ca-certificates.crt",
          "certificate verify failed" },
        { "sslmode=verify-full", "/nonexistent", "does not exist" },
        { "sslmode=require&sslcert=/nonexistent", postgres_ca(), NULL }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(url, sizeof(url), "%s?%s&sslrootcert=%s", stores_location,
                 cases[i].options, cases[i].ca);
        store = store_open(url, true, error, sizeof(error));
        ck_assert_msg(store != NULL, "%s", error);
        ck_assert_int_eq(store_check(store),
                         cases[i].error == NULL ? STORE_OK : STORE_DOWN);
        if (cases[i].error != NULL) {
            ck_assert_msg(strstr(store_error(store), cases[i].error) != NULL,
                          "%s", store_error(store));
        }
        store_close(store);
    }
}
END_TEST


int
main(void)
{
    int      rc;
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("store_postgres");
    tcase = tcase_create("store_postgres");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, stores_postgres, stores_teardown);
    tcase_add_test(tcase, test_urls);
    tcase_add_test(tcase, test_no_tables);
    tcase_add_test(tcase, test_lock);
    tcase_add_test(tcase, test_encoding);
    tcase_add_test(tcase, test_commit);
    tcase_add_test(tcase, test_tls);
    suite_add_tcase(suite, tcase);

    postgres_start();

    rc = suite_run(suite);
    postgres_stop();

    return rc;
}
