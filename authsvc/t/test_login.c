/* The checks of a Login in their order, and the time that a refusal takes. */

#include <check.h>
#include <crypt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <sodium.h>

#include "authsvc/login/login.h"
#include "authsvc/login/password.h"
#include "authsvc/store/backend.h"
#include "authsvc/t/suite.h"
#include "rpc/log.h"


#define SECRET  "0123456789abcdef0123456789abcdef"

/* of "secret" */
#define BCRYPT  "$2b$05$aaaaaaaaaaaaaaaaaaaaaOjOHCcGZ1ZydhnG2lX11qSmiRJbsbsA."


/* A store of one user. */
typedef struct {
    store_t       store;
    const char   *name;
    store_user_t  user;
    bool          broken;
    int           finds;
    int           changes;
} fake_t;


static store_status_t
fake_find(store_t *store, const char *name, store_user_t *user)
{
    fake_t  *fake = (fake_t *) store;

    fake->finds++;

    if (fake->broken) {
        return STORE_FAILED;
    }

    if (strcmp(name, fake->name) != 0) {
        return STORE_MISSING;
    }

    *user = fake->user;

    return STORE_OK;
}


static store_status_t
fake_change(store_t *store, store_change_t change,
    const char *const values[3])
{
    fake_t  *fake = (fake_t *) store;

    ck_assert_int_eq(change, STORE_RENEW_HASH);
    ck_assert_str_eq(values[0], fake->name);
    ck_assert_str_eq(values[2], fake->user.hash);
    strcpy(fake->user.hash, values[1]);
    fake->changes++;

    return STORE_OK;
}


static const store_backend_t  fake_backend = {
    .find = fake_find,
    .change = fake_change
};

static issuer_t  issuer = {
    .issuer = "myservice",
    .ttl = 60
};

static fake_t  fake;


static void
setup(void)
{
    char       error[256];
    signkey_t  key = { .alg = SIGNKEY_HS256 };

    ck_assert_int_ge(sodium_init(), 0);
    log_open("test", LOG_LEVEL_ERROR);

    memset(&fake, 0, sizeof(fake));
    fake.store.backend = &fake_backend;
    fake.name = "TestUser";
    strcpy(fake.user.role, "admin");
    ck_assert_int_eq(password_hash("TestPassword", fake.user.hash), 0);

    ck_assert_int_eq(signkey_read(&key, SECRET, strlen(SECRET), error,
                                  sizeof(error)), 0);
    issuer.keys = keyring_fixed(&key);
    ck_assert_ptr_nonnull(issuer.keys);
}


static void
teardown(void)
{
    keyring_free(issuer.keys);
}


static login_status_t
run(const char *username, const char *password, login_answer_t *answer)
{
    login_request_t  request = { username, password, "s1" };

    return login_run(&fake.store, &issuer, &request, 1700000000, answer);
}


static char  longest[258];              /* filled with 's' by the test */

static const struct {
    const char      *username;
    const char      *password;
    const char      *session;
    login_status_t   status;
} checks[] = {
    { "u", "p", "s", LOGIN_OK },
    { "u", "", "s", LOGIN_OK },
    { "", "p", "s", LOGIN_NO_USERNAME },
    { "", "", "", LOGIN_NO_USERNAME },
    { "", "p", " ", LOGIN_NO_USERNAME },
    { "u", "p", "", LOGIN_NO_SESSION },
    { "u", "", "", LOGIN_NO_SESSION },
    { "u", "p", " ", LOGIN_BAD_SESSION },
    { "u", "p", "a b", LOGIN_BAD_SESSION },
    { "u", "p", "a\n", LOGIN_BAD_SESSION },
    { "u", "p", "\xc3\xa4", LOGIN_BAD_SESSION },
    { "u", "p", "!~", LOGIN_OK },
    { "u", "p", longest, LOGIN_BAD_SESSION },
    { "u", "p", longest + 1, LOGIN_OK }
};


START_TEST(test_check)
{
    login_request_t  request;

    memset(longest, 's', 257);

    request.username = checks[_i].username;
    request.password = checks[_i].password;
    request.session = checks[_i].session;
    ck_assert_int_eq(login_check(&request), checks[_i].status);
}
END_TEST


START_TEST(test_messages)
{
    ck_assert_str_eq(login_messages[LOGIN_NO_USERNAME],
                     "username is required");
    ck_assert_str_eq(login_messages[LOGIN_NO_SESSION],
                     "session_id is required");
    ck_assert_str_eq(login_messages[LOGIN_BAD_SESSION],
                     "session_id is invalid");
    ck_assert_str_eq(login_messages[LOGIN_DENIED],
                     "invalid username or password");
    ck_assert_str_eq(login_messages[LOGIN_STORE], "failed to get user");
    ck_assert_str_eq(login_messages[LOGIN_SIGN], "failed to create token");
}
END_TEST


START_TEST(test_good)
{
    login_answer_t  answer;

    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_OK);
    ck_assert_str_eq(answer.role, "admin");
    ck_assert_int_eq(answer.token.expires, 1700000060);
    ck_assert_ptr_nonnull(answer.token.text);
    ck_assert_int_eq(fake.changes, 0);
    free(answer.token.text);
}
END_TEST


static char  endless[5000];             /* filled with 'p' by the test */

static const struct {
    const char  *username;
    const char  *password;
    int          finds;                 /* how often the store was asked */
} denied[] = {
    { "TestUser", "testPassword", 1 },
    { "TestUser", "TestPassword ", 1 },
    { "TestUser", "TestPasswor", 1 },
    { "TestUser", "", 1 },
    { "TestUser", endless, 1 },
    { "testUser", "TestPassword", 1 },
    { "nobody", "", 1 },
    { "nobody", endless, 1 },
    { "Test\nUser", "TestPassword", 0 },
    { "Test\xc2\x85User", "TestPassword", 0 },
    { "Test\xffUser", "TestPassword", 0 },
    { endless, "TestPassword", 0 }
};


START_TEST(test_denied)
{
    login_answer_t  answer;

    memset(endless, 'p', sizeof(endless) - 1);

    ck_assert_int_eq(run(denied[_i].username, denied[_i].password, &answer),
                     LOGIN_DENIED);
    ck_assert_ptr_null(answer.token.text);
    ck_assert_int_eq(fake.finds, denied[_i].finds);
    ck_assert_int_eq(fake.changes, 0);

    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_OK);
    free(answer.token.text);
}
END_TEST


START_TEST(test_store_failure)
{
    login_answer_t  answer;

    fake.broken = true;
    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_STORE);
    ck_assert_int_eq(run("nobody", "TestPassword", &answer), LOGIN_STORE);
}
END_TEST


START_TEST(test_sign_failure)
{
    issuer_t         bad;
    login_answer_t   answer;
    login_request_t  request = { "TestUser", "TestPassword", "s1" };

    bad = issuer;
    bad.issuer = "\xff";
    ck_assert_int_eq(login_run(&fake.store, &bad, &request, 1, &answer),
                     LOGIN_SIGN);
    ck_assert_ptr_null(answer.token.text);
}
END_TEST


/* A hash of other costs is renewed by a good login, and only then. */
START_TEST(test_rehash)
{
    login_answer_t  answer;

    ck_assert_int_eq(crypto_pwhash_str(fake.user.hash, "TestPassword", 12, 1,
                                       8192 * 1024), 0);
    ck_assert(password_outdated(fake.user.hash));

    ck_assert_int_eq(run("TestUser", "wrong", &answer), LOGIN_DENIED);
    ck_assert_int_eq(fake.changes, 0);

    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_OK);
    free(answer.token.text);
    ck_assert_int_eq(fake.changes, 1);
    ck_assert(!password_outdated(fake.user.hash));

    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_OK);
    free(answer.token.text);
    ck_assert_int_eq(fake.changes, 1);
}
END_TEST


/* One from elsewhere is checked as it is, and becomes one of ours. */
START_TEST(test_bcrypt)
{
    login_answer_t  answer;

    strcpy(fake.user.hash, BCRYPT);
    ck_assert_int_eq(password_kind(BCRYPT), PASSWORD_BCRYPT);

    ck_assert_int_eq(run("TestUser", "wrong", &answer), LOGIN_DENIED);
    ck_assert_int_eq(run("TestUser", "", &answer), LOGIN_DENIED);
    ck_assert_int_eq(fake.changes, 0);

    ck_assert_int_eq(run("TestUser", "secret", &answer), LOGIN_OK);
    free(answer.token.text);
    ck_assert_int_eq(fake.changes, 1);
    ck_assert_int_eq(password_kind(fake.user.hash), PASSWORD_ARGON2);
    ck_assert(!password_outdated(fake.user.hash));

    ck_assert_int_eq(run("TestUser", "secret", &answer), LOGIN_OK);
    free(answer.token.text);
    ck_assert_int_eq(fake.changes, 1);
}
END_TEST


/* "n" bytes that differ from place to place. */
static void
long_password(char *out, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        out[i] = (char) ('a' + i % 23);
    }

    out[n] = '\0';
}


/* As programs make it whose bcrypt takes any length. */
static void
bcrypt_of(const char *password, char kind, char *hash)
{
    char                seen[72 + 1];
    char                salt[] = "$2_$04$abcdefghijklmnopqrstuu";
    struct crypt_data  *data;

    salt[2] = kind;
    snprintf(seen, sizeof(seen), "%.72s", password);
    data = calloc(1, sizeof(struct crypt_data));
    ck_assert_ptr_nonnull(crypt_rn(seen, salt, data,
                                   sizeof(struct crypt_data)));
    strcpy(hash, data->output);
    ck_assert_int_eq(password_kind(hash), PASSWORD_BCRYPT);
    free(data);
}


static login_status_t
login_with(const char *password)
{
    login_answer_t  answer;
    login_status_t  status;

    status = run("TestUser", password, &answer);
    free(answer.token.text);

    return status;
}


static const size_t  long_lengths[] = {
    71, 72, 73, 80, 255, 256, 511, 512, 600, LIMIT_PASSWORD
};


/* bcrypt sees 72 bytes: what agrees in these alone never becomes the hash, and
 * the true password stays good. */
START_TEST(test_bcrypt_long)
{
    char        truth[LIMIT_PASSWORD + 1], other[LIMIT_PASSWORD + 1];
    char        hash[STORE_HASH + 1];
    size_t      i, j, n;
    const char  kinds[] = "aby";

    n = long_lengths[_i];
    long_password(truth, n);

    for (i = 0; i < strlen(kinds); i++) {
        bcrypt_of(truth, kinds[i], hash);
        strcpy(fake.user.hash, hash);
        fake.changes = 0;

        /* another tail, none, a longer one */
        for (j = 0; j < sizeof(long_lengths) / sizeof(long_lengths[0]); j++) {
            long_password(other, long_lengths[j]);
            other[long_lengths[j] - 1] = '#';
            (void) login_with(other);
            ck_assert_int_eq(fake.changes, 0);
        }

        for (j = 72; n >= 72 && j <= LIMIT_PASSWORD; j += 10) {
            long_password(other, j);
            (void) login_with(other);
            ck_assert_int_eq(fake.changes, 0);
        }

        ck_assert_str_eq(fake.user.hash, hash);
        ck_assert_int_eq(login_with(truth), LOGIN_OK);

        /* all of it was seen */
        ck_assert_int_eq(fake.changes, n < 72 ? 1 : 0);
        ck_assert_int_eq(login_with(truth), LOGIN_OK);
    }
}
END_TEST


START_TEST(test_password)
{
    char  hash[PASSWORD_HASH];

    ck_assert_int_eq(password_hash("p", hash), 0);
    ck_assert_mem_eq(hash, "$argon2id$v=19$m=19456,t=2,p=1", 30);
    ck_assert_int_eq(password_check(hash, "p"), PASSWORD_RIGHT);
    ck_assert_int_eq(password_check(hash, "P"), PASSWORD_WRONG);
    ck_assert_int_eq(password_check(NULL, "p"), PASSWORD_WRONG);
    ck_assert_int_eq(password_check("not a hash", "p"), PASSWORD_WRONG);

    /* an empty password is wrong even where it was stored */
    ck_assert_int_eq(password_hash("", hash), 0);
    ck_assert_int_eq(password_check(hash, ""), PASSWORD_WRONG);
}
END_TEST


/* Those of others have other salts and more lanes. */
START_TEST(test_elsewhere)
{
    size_t  i;

    static const char *const  hashes[] = {
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ"
            "$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ"
            "$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"
    };

    for (i = 0; i < sizeof(hashes) / sizeof(hashes[0]); i++) {
        ck_assert_int_eq(password_kind(hashes[i]), PASSWORD_ARGON2);
        ck_assert_int_eq(password_check(hashes[i], "password"),
                         PASSWORD_RIGHT);
        ck_assert_int_eq(password_check(hashes[i], "Password"),
                         PASSWORD_WRONG);
    }
}
END_TEST


/* What cannot be checked is not wrong: nobody is held for it. */
START_TEST(test_no_memory)
{
    FILE            *file;
    unsigned long    pages;
    struct rlimit    limit;
    login_answer_t   answer;

    ck_assert_int_eq(run("TestUser", "wrong", &answer), LOGIN_DENIED);

    file = fopen("/proc/self/statm", "r");
    ck_assert_int_eq(fscanf(file, "%lu", &pages), 1);
    fclose(file);

    /* enough for all but the hash */
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = pages * (rlim_t) sysconf(_SC_PAGESIZE)
                     + 8 * 1024 * 1024;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);

    ck_assert_int_eq(run("TestUser", "wrong", &answer), LOGIN_STORE);
    ck_assert_int_eq(run("TestUser", "TestPassword", &answer), LOGIN_STORE);
    ck_assert_int_eq(run("nobody", "wrong", &answer), LOGIN_STORE);
    ck_assert_ptr_null(answer.token.text);

    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
    ck_assert_int_eq(run("TestUser", "wrong", &answer), LOGIN_DENIED);
}
END_TEST


static double
cost(const char *username, const char *password)
{
    int              i;
    double           best, t;
    login_answer_t   answer;
    struct timespec  a, b;

    best = 1e9;

    for (i = 0; i < 5; i++) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        (void) !run(username, password, &answer);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        free(answer.token.text);

        t = (double) (b.tv_sec - a.tv_sec) * 1e3
            + (double) (b.tv_nsec - a.tv_nsec) / 1e6;
        best = t < best ? t : best;
    }

    return best;
}


/* Time does not tell who is a user. */
START_TEST(test_time)
{
    size_t  i;
    double  wrong, t;

    static const char *const  others[][2] = {
        { "nobody", "TestPassword" },
        { "nobody", "" },
        { "TestUser", "" },
        { "Test\nUser", "TestPassword" }
    };

    wrong = cost("TestUser", "wrong");

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        t = cost(others[i][0], others[i][1]);
        ck_assert_double_gt(t, wrong * 0.6);
        ck_assert_double_lt(t, wrong / 0.6);
    }
}
END_TEST


START_TEST(test_limits)
{
    char  text[1100];

    memset(text, 'x', sizeof(text));

    text[LIMIT_PASSWORD + 1] = '\0';
    ck_assert(!limits_password(text));
    text[LIMIT_PASSWORD] = '\0';
    ck_assert(limits_password(text));
    ck_assert(!limits_password(""));

    text[LIMIT_USERNAME + 1] = '\0';
    ck_assert(!limits_username(text));
    text[LIMIT_USERNAME] = '\0';
    ck_assert(limits_username(text));
    ck_assert(limits_username("J\xc3\xb6rg O'Neil"));
    ck_assert(!limits_username(""));
    ck_assert(!limits_username("a\tb"));
    ck_assert(!limits_username("a\x7f"));
    ck_assert(!limits_username("a\xc2\x80"));
    ck_assert(limits_username("a\xc2\xa0"));
    ck_assert(!limits_username("\xc3"));

    text[LIMIT_ROLE + 1] = '\0';
    ck_assert(!limits_role(text));
    text[LIMIT_ROLE] = '\0';
    ck_assert(limits_role(text));
    ck_assert(!limits_role(""));
    ck_assert(!limits_role("a b"));
    ck_assert(!limits_role("\xc3\xa4"));
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("login");
    tcase = tcase_create("login");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_check, 0,
                        sizeof(checks) / sizeof(checks[0]));
    tcase_add_test(tcase, test_messages);
    tcase_add_test(tcase, test_good);
    tcase_add_loop_test(tcase, test_denied, 0,
                        sizeof(denied) / sizeof(denied[0]));
    tcase_add_test(tcase, test_store_failure);
    tcase_add_test(tcase, test_sign_failure);
    tcase_add_test(tcase, test_rehash);
    tcase_add_test(tcase, test_bcrypt);
    tcase_add_loop_test(tcase, test_bcrypt_long, 0,
                        sizeof(long_lengths) / sizeof(long_lengths[0]));
    tcase_add_test(tcase, test_password);
    tcase_add_test(tcase, test_elsewhere);
    tcase_add_test(tcase, test_no_memory);
    tcase_add_test(tcase, test_time);
    tcase_add_test(tcase, test_limits);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
