/*
 * The rotation of keys under load from outside, judged by a verifier that
 * reads the published set as a gateway does.
 */

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "authsvc/keys/dir.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/key.h"
#include "authsvc/t/process.h"
#include "authsvc/t/suite.h"
#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "rpc/client.h"


#define LOGIN    "/my_service.MyServiceAPI/Login"
#define TIMEOUT  60000


static process_t  server, command;
static char       target[64];


#define GATEWAY_INTERVAL  300           /* ms */

/* A gateway that reads the set again once in a while. */
typedef struct {
    ms_keys_t   *keys;
    atomic_int   reads;
} gateway_t;


/* At any moment there is a whole set. */
static int
gateway_read(gateway_t *gateway)
{
    char        why[1024];
    ms_keys_t  *keys;

    keys = ms_keys_from_file(folder_path("jwks"), NULL, why, sizeof(why));
    if (keys == NULL) {
        fprintf(stderr, "%s\n", why);
        return -1;
    }

    ms_keys_free(gateway->keys);
    gateway->keys = keys;
    atomic_fetch_add(&gateway->reads, 1);

    return 0;
}


static ms_token_reason_t
gateway_verify(const gateway_t *gateway, const char *text)
{
    ms_token_t              token;
    ms_token_reason_t       reason;
    const ms_token_rules_t  rules = {
        .session_claim = "session_id", .issuer = "myservice", .leeway = 1
    };

    reason = ms_token_verify(gateway->keys, text, strlen(text), &rules,
                             time(NULL), &token);
    if (reason == MS_TOKEN_OK) {
        ms_token_free(&token);
    }

    return reason;
}


static char *
login(rpc_client_t *client)
{
    char                      *token;
    rpc_result_t               result;
    MyService__LoginRequest    request;
    MyService__LoginResponse  *response;

    my_service__login_request__init(&request);
    request.username = "TestUser";
    request.password = "TestPassword";
    request.session_id = "s-1";

    response = (MyService__LoginResponse *) rpc_client_unary(
        client, LOGIN, NULL, 0, TIMEOUT, &request.base,
        &my_service__login_response__descriptor, &result);
    token = response != NULL ? strdup(response->token) : NULL;

    if (response != NULL) {
        my_service__login_response__free_unpacked(response, NULL);
    }
    rpc_result_free(&result);

    return token;
}


static int64_t
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
start(const char *ttl)
{
    const char        *port;
    const char *const  add[] = {
        "user", "add", "TestUser", "--create", "--store", folder_path("s.db"),
        NULL
    };
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--keys", key_directory(), "--create-key", "--jwks-file",
        folder_path("jwks"), "--token-ttl", ttl, NULL
    };

    ck_assert_int_eq(process_run(&command, add, "TestPassword\n"), 0);
    process_start(&server, serve, "");
    port = process_expect(&server, "listening on 127.0.0.1:");
    ck_assert_ptr_nonnull(port);
    snprintf(target, sizeof(target), "127.0.0.1:%s", port);
}


static void
stop(void)
{
    ck_assert_int_eq(process_finish(&server, SIGTERM), 0);
    ck_assert_msg(strstr(server.error, "error") == NULL, "%s", server.error);
}


#define CLIENTS  3
#define HELD     16                     /* tokens of a client */
#define HOLD     3500                   /* ms; they live for 4 s */

/* A client logs in all the time and shows each token at once, which is when
 * the gateway knows least; it keeps some until they are about to expire, and
 * shows those again and again. */
typedef struct {
    pthread_t       thread;
    atomic_int     *stop;
    rpc_client_t   *client;
    gateway_t       gateway;
    int64_t         next;               /* when the set is read again */
    char           *held[HELD];
    int64_t         since[HELD];
    int             logins;
    int             checks;
    int             refused;
    char            last[1024];         /* of the refused ones */
} client_t;


static void
client_show(client_t *c, const char *token)
{
    ms_token_reason_t  reason;

    if (now_ms() >= c->next) {
        c->refused += gateway_read(&c->gateway) != 0;
        c->next = now_ms() + GATEWAY_INTERVAL;
    }

    reason = gateway_verify(&c->gateway, token);
    c->checks++;

    /* the verdict on an expired token says nothing of its key: on a busy
     * machine the client is late */
    if (reason != MS_TOKEN_OK && reason != MS_TOKEN_EXPIRED) {
        c->refused++;
        snprintf(c->last, sizeof(c->last), "%s: %.900s",
                 ms_token_reasons[reason].name, token);
    }
}


/* Takes "token" over if a place is free; every other one passes by. */
static void
client_keep(client_t *c, char *token)
{
    int      i;
    char    *spare;
    int64_t  now;

    now = now_ms();
    spare = (c->logins & 1) == 0 ? token : NULL;

    for (i = 0; i < HELD; i++) {

        if (c->held[i] != NULL && now > c->since[i] + HOLD) {
            free(c->held[i]);
            c->held[i] = NULL;
        }

        if (c->held[i] == NULL && spare != NULL) {
            c->held[i] = spare;
            c->since[i] = now;
            spare = NULL;
            token = NULL;
        }

        if (c->held[i] != NULL) {
            client_show(c, c->held[i]);
        }
    }

    free(token);
}


static void *
client_run(void *data)
{
    int        i;
    char      *token;
    client_t  *c = data;

    while (!atomic_load(c->stop)) {

        token = login(c->client);
        if (token == NULL) {
            c->refused++;
            strcpy(c->last, "login failed");
            break;
        }

        c->logins++;
        client_show(c, token);
        client_keep(c, token);
    }

    for (i = 0; i < HELD; i++) {
        free(c->held[i]);
    }

    ms_keys_free(c->gateway.keys);

    return NULL;
}


static void
expect_state(const char *kid, const char *want, int64_t deadline)
{
    deadline += now_ms();

    while (strcmp(key_state(kid), want) != 0) {
        ck_assert_msg(now_ms() < deadline, "%s is %s, not %s", kid,
                      key_state(kid), want);
        usleep(50000);
    }
}


/* Waits until authsvc has said that a key is in a state. */
static void
expect_key(const char *kid, const char *alg, const char *what)
{
    char  line[256];

    snprintf(line, sizeof(line), "key %s (%s) is %s", kid, alg, what);
    ck_assert_ptr_nonnull(process_expect(&server, line));
}


/* Waits until every gateway has begun to read after this call. */
static void
expect_read(client_t *clients)
{
    int      i, reads[CLIENTS];
    int64_t  end;

    end = now_ms() + 180000;

    for (i = 0; i < CLIENTS; i++) {
        reads[i] = atomic_load(&clients[i].gateway.reads);
    }

    for (i = 0; i < CLIENTS; i++) {
        while (atomic_load(&clients[i].gateway.reads) < reads[i] + 2) {
            ck_assert_int_lt(now_ms(), end);
            usleep(20000);
        }
    }
}


/* Four rotations under load, over all algorithms: no token is refused before
 * it expires, and old keys go. */
START_TEST(test_rotation)
{
    int                       i, logins, checks;
    char                     *kid, *old[4];
    keydir_list_t             list;
    client_t                  clients[CLIENTS];
    atomic_int                done;
    static const char *const  algs[] = { "RS256", "PS256", "ES256", "EdDSA" };

    start("4s");
    key_load(&list);
    old[0] = strdup(keydir_find(&list, NULL)->key.kid);
    atomic_init(&done, 0);
    memset(clients, 0, sizeof(clients));

    for (i = 0; i < CLIENTS; i++) {
        clients[i].stop = &done;
        clients[i].client = rpc_client_create(target, NULL);
        ck_assert_int_eq(pthread_create(&clients[i].thread, NULL, client_run,
                                        &clients[i]), 0);
    }

    for (i = 0; i < 4; i++) {
        kid = key_output("generate", "--algorithm", algs[i], NULL);
        expect_key(kid, algs[i], "ready");
        expect_read(clients);
        ck_assert_int_eq(key_run("activate", kid, "--grace", "2s"), 0);
        expect_key(kid, algs[i], "active");

        if (i < 3) {
            old[i + 1] = kid;
        } else {
            free(kid);
        }
    }

    for (i = 0; i < 4; i++) {
        expect_state(old[i], "gone", 180000);
        free(old[i]);
    }

    atomic_store(&done, 1);
    logins = 0;
    checks = 0;

    for (i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        rpc_client_free(clients[i].client);
        ck_assert_msg(clients[i].refused == 0, "%d refused, the last: %s",
                      clients[i].refused, clients[i].last);
        logins += clients[i].logins;
        checks += clients[i].checks;
    }

    printf("rotation: %d logins, %d checks, none refused\n", logins, checks);
    ck_assert_int_gt(logins, 20);
    key_load(&list);
    ck_assert_uint_eq(list.n, 1);
    stop();
}
END_TEST


/* The positive control: a key that is retired at once takes its tokens. */
START_TEST(test_retire_now)
{
    char          *token, *kid;
    keydir_list_t  list;
    gateway_t      gateway = { NULL, 0 };
    rpc_client_t  *client;
    char           old[SIGNKEY_KID + 1], line[256];

    start("1h");
    key_load(&list);
    strcpy(old, keydir_find(&list, NULL)->key.kid);
    client = rpc_client_create(target, NULL);
    token = login(client);
    ck_assert_ptr_nonnull(token);
    ck_assert_int_eq(gateway_read(&gateway), 0);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_OK);

    kid = key_output("generate", "--activate", NULL, NULL);
    expect_key(kid, "EdDSA", "active");
    ck_assert_int_eq(gateway_read(&gateway), 0);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_OK);

    ck_assert_int_eq(key_run("retire", old, "--now", NULL), 0);
    snprintf(line, sizeof(line), "key %s is gone", old);
    ck_assert_ptr_nonnull(process_expect(&server, line));
    ck_assert_int_eq(gateway_read(&gateway), 0);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_KEY);

    free(token);
    token = login(client);
    ck_assert_ptr_nonnull(token);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_OK);

    free(token);
    free(kid);
    ms_keys_free(gateway.keys);
    rpc_client_free(client);
    stop();
}
END_TEST


/* Files that others may read, and a secret where a set is published, are
 * said. */
START_TEST(test_warnings)
{
    char  *kid, name[64];

    kid = key_output("generate", "--activate", "--algorithm", "HS256");
    snprintf(name, sizeof(name), "keys/%s.secret", kid);
    ck_assert_int_eq(chmod(folder_path(name), 0640), 0);
    ck_assert_int_eq(chmod(key_directory(), 0750), 0);
    ck_assert_int_eq(key_run("list", NULL, NULL, NULL), 0);
    ck_assert_ptr_nonnull(strstr(key_process.error, "others than the owner may "
                                 "read or change keys: mode 0750, path=\""));

    start("1h");
    ck_assert_ptr_nonnull(strstr(server.error, "change keys: mode 0750"));
    ck_assert_ptr_nonnull(process_expect(&server, "the key that signs is a "
                                         "secret"));
    ck_assert_ptr_nonnull(process_expect(&server, "change keys: mode 0640"));
    stop();
    free(kid);
}
END_TEST


/* A broken directory: authsvc goes on, says so once, and mends itself. */
START_TEST(test_broken)
{
    char          *token;
    gateway_t      gateway = { NULL, 0 };
    rpc_client_t  *client;

    start("1h");
    client = rpc_client_create(target, NULL);

    ck_assert_int_eq(rename(folder_path("keys/active"),
                            folder_path("keys/away")), 0);
    ck_assert_ptr_nonnull(process_expect(&server, "keeps the previous keys: "));
    token = login(client);
    ck_assert_ptr_nonnull(token);
    ck_assert_int_eq(gateway_read(&gateway), 0);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_OK);
    free(token);

    ck_assert_int_eq(rename(folder_path("keys/away"),
                            folder_path("keys/active")), 0);
    ck_assert_ptr_nonnull(process_expect(&server, "can be read again"));
    ck_assert_int_eq(kill(server.pid, SIGHUP), 0);
    token = login(client);
    ck_assert_ptr_nonnull(token);
    ck_assert_int_eq(gateway_read(&gateway), 0);
    ck_assert_int_eq(gateway_verify(&gateway, token), MS_TOKEN_OK);
    free(token);

    ms_keys_free(gateway.keys);
    rpc_client_free(client);
    ck_assert_int_eq(process_finish(&server, SIGTERM), 0);
}
END_TEST


static double
cpu_ms(pid_t pid)
{
    clockid_t        clock;
    struct timespec  ts;

    ck_assert_int_eq(clock_getcpuclockid(pid, &clock), 0);
    ck_assert_int_eq(clock_gettime(clock, &ts), 0);

    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}


/* LOGIN_COST=300 prints what so many logins cost with each algorithm. */
START_TEST(test_cost)
{
    int            i, n;
    char          *kid;
    double         cpu;
    int64_t        wall;
    rpc_client_t  *client;

    if (getenv("LOGIN_COST") == NULL) {
        return;
    }

    n = atoi(getenv("LOGIN_COST"));
    kid = key_output("generate", "--activate", "--algorithm",
                     signkey_algs[_i]);
    start("1h");
    client = rpc_client_create(target, NULL);
    free(login(client));

    cpu = cpu_ms(server.pid);
    wall = now_ms();

    for (i = 0; i < n; i++) {
        free(login(client));
    }

    printf("%s: %.2f ms of a core, %.2f ms until the answer\n",
           signkey_algs[_i], (cpu_ms(server.pid) - cpu) / n,
           (double) (now_ms() - wall) / n);
    free(kid);
    rpc_client_free(client);
    stop();
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("rotation");
    tcase = tcase_create("rotation");
    tcase_set_timeout(tcase, 180);
    tcase_add_checked_fixture(tcase, key_setup, key_teardown);
    tcase_add_test(tcase, test_rotation);
    tcase_add_test(tcase, test_retire_now);
    tcase_add_test(tcase, test_warnings);
    tcase_add_test(tcase, test_broken);
    tcase_add_loop_test(tcase, test_cost, 0, SIGNKEY_ALGS);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
