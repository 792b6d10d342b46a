/*
 * Every kind of store does the same: the tests above the line "SQLite" run
 * once for each.  What only PostgreSQL does is in test_store_postgres.c.
 */

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <sqlite3.h>

#include "authsvc/store/store.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/postgres.h"
#include "authsvc/t/stores.h"
#include "authsvc/t/suite.h"
#include "rpc/server.h"


static char  error[512];


START_TEST(test_users)
{
    store_t       *store;
    store_user_t   user;

    store = stores_open();

    ck_assert_int_eq(store_find(store, "bob", &user), STORE_MISSING);
    ck_assert_int_eq(store_add(store, "bob", "h1", "user"), STORE_OK);
    ck_assert_int_eq(store_add(store, "bob", "h2", "admin"), STORE_EXISTS);

    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    ck_assert_str_eq(user.hash, "h1");
    ck_assert_str_eq(user.role, "user");
    ck_assert_int_eq(store_find(store, "Bob", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "bob ", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "' OR 1 --", &user), STORE_MISSING);

    ck_assert_int_eq(store_set_role(store, "bob", "admin"), STORE_OK);
    ck_assert_int_eq(store_set_role(store, "eve", "admin"), STORE_MISSING);
    ck_assert_int_eq(store_set_hash(store, "bob", "h2"), STORE_OK);
    ck_assert_int_eq(store_set_hash(store, "eve", "h2"), STORE_MISSING);
    ck_assert_int_eq(store_renew_hash(store, "bob", "h1", "h3"), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    ck_assert_str_eq(user.hash, "h2");
    ck_assert_str_eq(user.role, "admin");
    ck_assert_int_eq(store_renew_hash(store, "bob", "h2", "h3"), STORE_OK);
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    ck_assert_str_eq(user.hash, "h3");

    ck_assert_int_eq(store_delete(store, "bob"), STORE_OK);
    ck_assert_int_eq(store_delete(store, "bob"), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_MISSING);

    store_close(store);
    store_close(NULL);
}
END_TEST


static void
append(const char *name, const char *role, void *data)
{
    char  *text = data;

    sprintf(text + strlen(text), "%s=%s;", name, role);
}


START_TEST(test_list)
{
    char      text[256] = "";
    store_t  *store;

    store = stores_open();
    ck_assert_int_eq(store_list(store, append, text), STORE_OK);
    ck_assert_str_eq(text, "");

    ck_assert_int_eq(store_add(store, "b", "h", "r1"), STORE_OK);
    ck_assert_int_eq(store_add(store, "\xc3\xa4", "h", "r2"), STORE_OK);
    ck_assert_int_eq(store_add(store, "a", "h", "r3"), STORE_OK);
    ck_assert_int_eq(store_list(store, append, text), STORE_OK);
    ck_assert_str_eq(text, "a=r3;b=r1;\xc3\xa4=r2;");
    store_close(store);
}
END_TEST


/* What one connection changes, another one sees at once. */
START_TEST(test_two_connections)
{
    store_t       *one, *two;
    store_user_t   user;

    one = stores_open();
    two = stores_open();

    ck_assert_int_eq(store_find(two, "bob", &user), STORE_MISSING);
    ck_assert_int_eq(store_add(one, "bob", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_find(two, "bob", &user), STORE_OK);
    ck_assert_int_eq(store_delete(two, "bob"), STORE_OK);
    ck_assert_int_eq(store_find(one, "bob", &user), STORE_MISSING);

    store_close(one);
    store_close(two);
}
END_TEST


START_TEST(test_failures)
{
    char           role[100], text[256];
    store_t       *store;
    store_user_t   user;

    store = stores_open();

    memset(role, 'r', sizeof(role));
    role[LIMIT_ROLE] = '\0';
    ck_assert_int_eq(store_add(store, "fits", "h", role), STORE_OK);
    ck_assert_int_eq(store_find(store, "fits", &user), STORE_OK);
    ck_assert_str_eq(user.role, role);

    role[LIMIT_ROLE] = 'r';
    role[LIMIT_ROLE + 1] = '\0';
    ck_assert_int_eq(store_add(store, "long", "h", role), STORE_OK);
    ck_assert_int_eq(store_find(store, "long", &user), STORE_FAILED);
    ck_assert_str_eq(store_error(store), "a value of the user is too long");

    stores_sql("DROP TABLE users");
    ck_assert_int_eq(store_find(store, "fits", &user), STORE_FAILED);
    ck_assert_str_eq(store_error(store), stores_kind == STORES_POSTGRES
                     ? "relation \"users\" does not exist"
                     : "no such table: users");
    ck_assert_int_eq(store_add(store, "a", "h", "r"), STORE_FAILED);
    ck_assert_int_eq(store_delete(store, "a"), STORE_FAILED);
    ck_assert_int_eq(store_list(store, append, text), STORE_FAILED);
    store_close(store);
}
END_TEST


/* Many programs that start at once agree on one new store. */
START_TEST(test_race)
{
    int       i, status;
    char      name[16];
    pid_t     pids[8];
    store_t  *store;

    for (i = 0; i < 8; i++) {
        pids[i] = fork();

        if (pids[i] == 0) {
            store = store_open(stores_location, true, error, sizeof(error));
            if (store == NULL) {
                fprintf(stderr, "%s\n", error);
                _exit(1);
            }

            snprintf(name, sizeof(name), "user%d", i);
            status = store_add(store, name, "h", "r");
            if (status != STORE_OK) {
                fprintf(stderr, "%s\n", store_error(store));
            }
            store_close(store);
            _exit(status);
        }
    }

    for (i = 0; i < 8; i++) {
        ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
        ck_assert_int_eq(status, 0);
    }
}
END_TEST


START_TEST(test_transaction)
{
    store_t       *store, *other;
    store_user_t   user;

    store = stores_open();
    other = stores_open();
    ck_assert_int_eq(store_add(store, "old", "h", "r"), STORE_OK);

    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "a", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_delete(store, "old"), STORE_OK);
    ck_assert_int_eq(store_find(store, "a", &user), STORE_OK);
    ck_assert_int_eq(store_find(other, "a", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(other, "old", &user), STORE_OK);
    store_rollback(store);
    ck_assert_int_eq(store_find(store, "a", &user), STORE_MISSING);
    ck_assert_int_eq(store_find(store, "old", &user), STORE_OK);

    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "a", "h", "r"), STORE_OK);
    ck_assert_int_eq(store_set_role(store, "a", "s"), STORE_OK);
    ck_assert_int_eq(store_commit(store), STORE_OK);
    ck_assert_int_eq(store_find(other, "a", &user), STORE_OK);
    ck_assert_str_eq(user.role, "s");

    /* one that was not finished is none */
    ck_assert_int_eq(store_begin(store), STORE_OK);
    ck_assert_int_eq(store_add(store, "b", "h", "r"), STORE_OK);
    store_close(store);
    ck_assert_int_eq(store_find(other, "b", &user), STORE_MISSING);
    store_close(other);
}
END_TEST


/* The store as version 1 made it; its users stay. */
START_TEST(test_migration)
{
    int            before;
    store_t       *store;
    store_user_t   user;

    static const char *const  one[STORES_KINDS] = {
        [STORES_SQLITE] = "CREATE TABLE users ("
            "    name TEXT NOT NULL PRIMARY KEY,"
            "    hash TEXT NOT NULL,"
            "    role TEXT NOT NULL,"
            "    created INTEGER NOT NULL DEFAULT (unixepoch())"
            ") STRICT, WITHOUT ROWID;"
            "PRAGMA application_id = 0x6d736175;"
            "PRAGMA user_version = 1;"
            "INSERT INTO users VALUES ('bob', 'h1', 'admin', 1000)",
        [STORES_POSTGRES] = "CREATE TABLE users ("
            "    name text COLLATE \"C\" NOT NULL PRIMARY KEY,"
            "    hash text NOT NULL,"
            "    role text NOT NULL,"
            "    created bigint NOT NULL"
            "        DEFAULT extract(epoch FROM now())::bigint);"
            "CREATE TABLE authsvc_schema ("
            "    version integer NOT NULL PRIMARY KEY,"
            "    since timestamptz NOT NULL DEFAULT now());"
            "INSERT INTO authsvc_schema VALUES (1);"
            "INSERT INTO users VALUES ('bob', 'h1', 'admin', 1000)"
    };

    stores_sql(one[stores_kind]);

    store = store_open(stores_location, false, error, sizeof(error));
    ck_assert_msg(store != NULL, "%s", error);
    ck_assert_int_eq(store_check(store), STORE_OK);
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    ck_assert_str_eq(user.hash, "h1");
    ck_assert_str_eq(user.role, "admin");
    before = stores_number("SELECT changed FROM users");
    ck_assert_int_eq(before, 1000);
    ck_assert_int_eq(stores_number("SELECT created FROM users"), 1000);

    /* a renewed hash is no new password */
    ck_assert_int_eq(store_renew_hash(store, "bob", "h1", "h2"), STORE_OK);
    ck_assert_int_eq(stores_number("SELECT changed FROM users"), before);
    stores_sql("UPDATE users SET changed = 5");
    ck_assert_int_eq(store_set_hash(store, "bob", "h3"), STORE_OK);
    ck_assert_int_gt(stores_number("SELECT changed FROM users"), 5);
    store_close(store);

    /* each migration once */
    store = stores_open();
    ck_assert_int_eq(store_check(store), STORE_OK);
    store_close(store);
    ck_assert_int_eq(stores_number(stores_kind == STORES_POSTGRES
                                   ? "SELECT count(*) FROM authsvc_schema"
                                   : "PRAGMA user_version"), 3);
}
END_TEST


/* A later version is left alone. */
START_TEST(test_newer)
{
    store_t     *store;
    const char  *text;

    store = stores_open();
    ck_assert_int_eq(store_check(store), STORE_OK);
    store_close(store);

    stores_sql(stores_kind == STORES_POSTGRES
               ? "INSERT INTO authsvc_schema VALUES (4)"
               : "PRAGMA user_version = 4");

    store = store_open(stores_location, true, error, sizeof(error));
    text = error;
    if (store != NULL) {
        ck_assert_int_eq(store_check(store), STORE_FAILED);
        text = store_error(store);
    }
    ck_assert_msg(strstr(text, "has schema version 4, this program knows 3")
                  != NULL, "%s", text);
    store_close(store);
}
END_TEST


/* SQLite */

START_TEST(test_file)
{
    store_t      *store;
    struct stat   st;

    umask(0);

    ck_assert_ptr_null(store_open(folder_path("s.db"), false, error,
                                  sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "s.db\": No such file or directory"));

    store = stores_open();
    ck_assert_int_eq(store_add(store, "bob", "h", "r"), STORE_OK);
    ck_assert_int_eq(stat(folder_path("s.db"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(stat(folder_path("s.db-wal"), &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    ck_assert_int_eq(store_check(store), STORE_OK);
    store_close(store);

    store = store_open(folder_path("s.db"), false, error, sizeof(error));
    ck_assert_ptr_nonnull(store);
    store_close(store);
}
END_TEST


static void
assert_refused(const char *path, const char *reason)
{
    char  expected[512];

    ck_assert_ptr_null(store_open(path, true, error, sizeof(error)));
    snprintf(expected, sizeof(expected), "store \"%s\": %s", path, reason);
    ck_assert_str_eq(error, expected);
}


START_TEST(test_refused)
{
    char      garbage[5000];
    store_t  *store;

    assert_refused("", "not the path of a file");
    assert_refused(":memory:", "not the path of a file");
    assert_refused("/nonexistent/s.db", "No such file or directory");
    assert_refused("/tmp", "unable to open database file");

    memset(garbage, 'x', sizeof(garbage));
    folder_write("s.db", garbage, sizeof(garbage), 0600);
    assert_refused(folder_path("s.db"), "file is not a database");

    /* the positive control: an empty file becomes a store */
    folder_write("s.db", "", 0, 0600);
    store = stores_open();
    store_close(store);

    stores_sql("PRAGMA application_id = 5");
    assert_refused(folder_path("s.db"),
                   "is the SQLite file of another program");

    folder_write("s.db", "", 0, 0600);
    stores_sql("CREATE TABLE users (name TEXT)");
    assert_refused(folder_path("s.db"),
                   "is the SQLite file of another program");
}
END_TEST


START_TEST(test_damaged)
{
    int            i;
    char           name[16], garbage[4096];
    FILE          *file;
    store_t       *store;
    store_user_t   user;

    store = stores_open();
    for (i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "user%d", i);
        ck_assert_int_eq(store_add(store, name, "hash", "role"), STORE_OK);
    }
    ck_assert_int_eq(store_check(store), STORE_OK);
    store_close(store);

    file = fopen(folder_path("s.db"), "r+");
    ck_assert_int_eq(fseek(file, 4096, SEEK_SET), 0);
    memset(garbage, 0xa5, sizeof(garbage));
    ck_assert_uint_eq(fwrite(garbage, 1, sizeof(garbage), file),
                      sizeof(garbage));
    fclose(file);

    store = stores_open();
    ck_assert_int_eq(store_check(store), STORE_FAILED);
    ck_assert_uint_gt(strlen(store_error(store)), 0);
    ck_assert_ptr_null(strchr(store_error(store), '\n'));
    ck_assert_int_eq(store_find(store, "user1", &user), STORE_FAILED);
    store_close(store);
}
END_TEST


typedef struct {
    sqlite3      *db;
    atomic_bool   waiting;
} writer_t;


/* Keeps the lock for longer than a renewed hash would wait. */
static void *
writer_end(void *data)
{
    writer_t               *writer = data;
    const struct timespec   hold = { 0, 300 * 1000000 };

    while (!atomic_load(&writer->waiting)) {
        sched_yield();
    }

    nanosleep(&hold, NULL);
    ck_assert_int_eq(sqlite3_exec(writer->db, "COMMIT", NULL, NULL, NULL),
                     SQLITE_OK);

    return NULL;
}


/* A login does not wait for a writer to renew a hash; what was asked for
 * does. */
START_TEST(test_writer)
{
    int64_t        start;
    store_t       *store;
    writer_t       writer;
    pthread_t      thread;
    store_user_t   user;

    store = stores_open();
    ck_assert_int_eq(store_add(store, "bob", "old", "r"), STORE_OK);
    ck_assert_int_eq(sqlite3_open(stores_location, &writer.db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(writer.db, "BEGIN IMMEDIATE", NULL, NULL,
                                  NULL), SQLITE_OK);

    start = rpc_now();
    ck_assert_int_eq(store_renew_hash(store, "bob", "old", "new"),
                     STORE_FAILED);

    /* what was asked for waits five seconds */
    ck_assert_int_lt(rpc_now() - start, 5000);
    ck_assert_str_eq(store_error(store), "database is locked");

    atomic_init(&writer.waiting, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, writer_end, &writer), 0);
    atomic_store(&writer.waiting, true);
    ck_assert_int_eq(store_set_hash(store, "bob", "set"), STORE_OK);
    pthread_join(thread, NULL);

    ck_assert_int_eq(store_renew_hash(store, "bob", "set", "new"), STORE_OK);
    ck_assert_int_eq(store_find(store, "bob", &user), STORE_OK);
    ck_assert_str_eq(user.hash, "new");
    sqlite3_close(writer.db);
    store_close(store);
}
END_TEST


static void
add_common(Suite *suite, const char *name, void (*setup)(void))
{
    TCase  *tcase;

    tcase = tcase_create(name);
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, stores_teardown);
    tcase_add_test(tcase, test_users);
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_two_connections);
    tcase_add_test(tcase, test_failures);
    tcase_add_test(tcase, test_race);
    tcase_add_test(tcase, test_transaction);
    tcase_add_test(tcase, test_migration);
    tcase_add_test(tcase, test_newer);
    suite_add_tcase(suite, tcase);
}


int
main(void)
{
    int      rc;
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("store");
    add_common(suite, "sqlite", stores_sqlite);
    add_common(suite, "postgres", stores_postgres);

    tcase = tcase_create("sqlite only");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, stores_sqlite, stores_teardown);
    tcase_add_test(tcase, test_file);
    tcase_add_test(tcase, test_refused);
    tcase_add_test(tcase, test_damaged);
    tcase_add_test(tcase, test_writer);
    suite_add_tcase(suite, tcase);

    postgres_start();

    rc = suite_run(suite);
    postgres_stop();

    return rc;
}
