/*
 * The stores that a test runs against: SQLite, and PostgreSQL where it is
 * wanted.
 */

#include "authsvc/t/stores.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sqlite3.h>

#include "authsvc/t/folder.h"
#include "authsvc/t/postgres.h"


stores_kind_t  stores_kind;
char           stores_location[256];


void
stores_sqlite(void)
{
    stores_kind = STORES_SQLITE;
    folder_create();
    snprintf(stores_location, sizeof(stores_location), "%s",
             folder_path("s.db"));
}


void
stores_postgres(void)
{
    char  name[32];

    stores_kind = STORES_POSTGRES;
    folder_create();
    snprintf(name, sizeof(name), "test%d", (int) getpid());
    snprintf(stores_location, sizeof(stores_location), "%s",
             postgres_database(name));
}


void
stores_teardown(void)
{
    folder_remove();
}


store_t *
stores_open(void)
{
    char      error[512];
    store_t  *store;

    store = store_open(stores_location, true, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);

    return store;
}


void
stores_sql(const char *text)
{
    sqlite3  *db;

    if (stores_kind == STORES_POSTGRES) {
        postgres_sql(stores_location, text);
        return;
    }

    ck_assert_int_eq(sqlite3_open(stores_location, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}


int
stores_number(const char *text)
{
    int            n;
    sqlite3       *db;
    sqlite3_stmt  *stmt;

    if (stores_kind == STORES_POSTGRES) {
        return atoi(postgres_value(stores_location, text));
    }

    ck_assert_int_eq(sqlite3_open(stores_location, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, text, -1, &stmt, NULL),
                     SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    n = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);

    return n;
}
