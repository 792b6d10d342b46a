/*
 * The keys that sign tokens change while clients call. No good token is
 * refused. A retired key is removed when its last token has expired. Tokens of
 * a key that is retired at once are refused at once.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "itests/client.h"
#include "itests/scenario.h"
#include "itests/stack.h"
#include "jwt/token.h"
#include "my_service.pb-c.h"
#include "rpc/server.h"


#define PLAYERS   3                     /* each has an instance */
#define HELD      24                    /* tokens of one */
#define RENEW     400                   /* ms between two Logins */
#define PACE      10                    /* ms between two calls */
#define KID       64
#define DEADLINE  120000                /* ms; to wait for authsvc and the
                                           instances */

/* ms until all processes know a new key: authsvc publishes it within a second,
 * instances read the keys every second, the gateway of scripts/stack every
 * 200 ms. */
#define PUBLISH   4000

/* what an instance logs then */
#define READ      "keys of tokens read again"

/* ms until a retired key is gone: the life of its tokens and the grace;
 * an authsvc that reads the change later than the grace, as it may on a busy
 * machine, keeps the key a minute longer. */
#define GONE      180000

/* ms; for this long sessions call with tokens of the old and of the new key. */
#define MIXED     1000


typedef struct {
    char     *text;
    int64_t   expires;                  /* seconds since 1970 */
} held_t;

/* A session that gets new tokens all the time, and calls with the new token
 * and with old ones that have not expired. */
typedef struct {
    pthread_t      thread;
    client_t       client;
    atomic_bool   *stop;
    held_t         held[HELD];
    uint64_t       logins;
    uint64_t       calls;
    uint64_t       refused;
    char           kids[8][KID];        /* key ids of all its tokens */
    atomic_size_t  nkids;
} player_t;


static bool rotation_start(test_t *test, player_t *players,
    atomic_bool *stop);
static void rotation_stop(test_t *test, player_t *players);
static void *player_run(void *data);
static void player_renew(player_t *player);
static void player_call(player_t *player, const char *token,
    int64_t expires);
static void player_count_kid(player_t *player, const char *token);
static bool rotation_once(test_t *test, const char *algorithm);
static void rotation_signs(test_t *test, player_t *players, size_t keys);
static bool rotation_gone(test_t *test);
static void rotation_retire_now(test_t *test, client_t *client);
static bool rotation_wait(client_t *client,
    const credentials_t *credentials, grpc_status_code code);


void
key_rotation(test_t *test)
{
    bool         ok;
    char         line[256];
    size_t       i;
    player_t     players[PLAYERS];
    atomic_bool  stop;

    static const char *const  algorithms[] = { "ES256", "RS256", "PS256" };

    if (!stack_key(test, "list", line, sizeof(line))) {
        check_skip(test, "the stack has one secret (KEYS=off) or is not known "
                   "(--stack)", "rotation of keys");
        return;
    }

    memset(players, 0, sizeof(players));
    atomic_init(&stop, false);

    ok = rotation_start(test, players, &stop);

    for (i = 0; ok && i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
        ok = rotation_once(test, algorithms[i]);
        rotation_signs(test, players, i + 2);
    }

    if (ok) {
        (void) rotation_gone(test);
    }

    atomic_store(&stop, true);
    rotation_stop(test, players);

    if (ok) {
        rotation_retire_now(test, &players[0].client);
    }

    for (i = 0; i < PLAYERS; i++) {
        client_close(&players[i].client);
    }
}


static bool
rotation_start(test_t *test, player_t *players, atomic_bool *stop)
{
    char    name[32];
    size_t  i;

    for (i = 0; i < PLAYERS; i++) {
        players[i].stop = stop;
        snprintf(name, sizeof(name), "client %zu", i + 1);

        if (client_open(&players[i].client, test, name, name + 7) != 0
            || !client_login(&players[i].client)
            || !client_echo(&players[i].client, NULL))
        {
            return false;
        }
    }

    for (i = 0; i < PLAYERS; i++) {
        if (pthread_create(&players[i].thread, NULL, player_run, &players[i])
            != 0)
        {
            abort();
        }
    }

    return true;
}


static void
rotation_stop(test_t *test, player_t *players)
{
    size_t     i, j;
    uint64_t   calls, logins;
    player_t  *player;

    calls = 0;
    logins = 0;

    for (i = 0; i < PLAYERS; i++) {
        player = &players[i];

        if (player->thread == 0) {
            continue;
        }

        pthread_join(player->thread, NULL);
        calls += player->calls;
        logins += player->logins;

        for (j = 0; j < HELD; j++) {
            free(player->held[j].text);
        }

        (void) check(test, player->refused == 0,
                     "%s: no good token is refused: got %llu",
                     player->client.name,
                     (unsigned long long) player->refused);
        (void) check(test, player->nkids == 4,
                     "%s: its tokens are of four keys: got %zu",
                     player->client.name, player->nkids);
    }

    check_note(test, "%llu calls, %llu logins", (unsigned long long) calls,
               (unsigned long long) logins);
}


static void *
player_run(void *data)
{
    size_t     i;
    int64_t    next;
    player_t  *player = data;

    next = 0;

    for (i = 0; !atomic_load(player->stop); i = (i + 1) % HELD) {

        if (rpc_now() >= next) {
            next = rpc_now() + RENEW;
            player_renew(player);
        }

        if (player->held[i].text == NULL) {
            continue;
        }

        if (player->held[i].expires - 1 <= time(NULL)) {
            free(player->held[i].text);
            player->held[i].text = NULL;
            continue;
        }

        player_call(player, player->held[i].text,
                    player->held[i].expires);
        check_pace(PACE);
    }

    return NULL;
}


/* Calls with the new token at once, before all processes may know its key. */

static void
player_renew(player_t *player)
{
    size_t                     i;
    outcome_t                  outcome;
    MyService__LoginResponse  *response;

    outcome = login_outcome(&player->client);
    response = (MyService__LoginResponse *) outcome.response;

    if (response == NULL) {
        check_note(player->client.test, "%s: Login: %s", player->client.name,
                   outcome.message);
        player->refused++;
        outcome_free(&outcome);
        return;
    }

    player->logins++;
    player_count_kid(player, response->token);
    player_call(player, response->token, response->expires_at->seconds);

    for (i = 0; i < HELD; i++) {
        if (player->held[i].text == NULL) {
            player->held[i].text = strdup(response->token);
            player->held[i].expires = response->expires_at->seconds;
            break;
        }
    }

    outcome_free(&outcome);
}


static void
player_call(player_t *player, const char *token, int64_t expires)
{
    outcome_t      outcome;
    credentials_t  credentials;

    credentials.authorization = token;
    credentials.session = player->client.session;

    outcome = call_echo(&player->client, &credentials);
    player->calls++;

    /* a busy machine may be late with a call: its token has expired */
    if (outcome.code != GRPC_STATUS_OK && time(NULL) < expires) {
        if (player->refused++ < 3) {
            check_note(player->client.test, "%s: Echo: %s %s",
                       player->client.name, check_code_name(outcome.code),
                       outcome.message);
        }
    }

    outcome_free(&outcome);
}


static void
player_count_kid(player_t *player, const char *token)
{
    char    kid[KID];
    size_t  i;

    if (ms_token_unverified_kid(token, strlen(token), kid, sizeof(kid)) != 0) {
        return;
    }

    for (i = 0; i < player->nkids; i++) {
        if (strcmp(player->kids[i], kid) == 0) {
            return;
        }
    }

    if (player->nkids < sizeof(player->kids) / sizeof(player->kids[0])) {
        strcpy(player->kids[player->nkids++], kid);
    }
}


/* The steps of an operator. */

static bool
rotation_once(test_t *test, const char *algorithm)
{
    char     command[128], kid[KID], line[256];
    long     reads;
    int64_t  end;

    reads = stack_count(test, READ);
    snprintf(command, sizeof(command), "generate --algorithm %s", algorithm);

    if (!check(test, stack_key(test, command, kid, sizeof(kid)),
               "a new key for %s", algorithm))
    {
        return false;
    }

    check_pace(PUBLISH);

    /* the instances of a busy machine take longer */
    end = rpc_now() + check_time_left(test, DEADLINE);

    while (reads != -1 && stack_count(test, READ) < reads + PLAYERS
           && rpc_now() < end)
    {
        check_pace(100);
    }

    snprintf(command, sizeof(command), "activate %s --grace 2s", kid);

    return check(test, stack_key(test, command, line, sizeof(line)),
                 "it signs");
}


/* All sessions have a token of the newest of so many keys. */

static void
rotation_signs(test_t *test, player_t *players, size_t keys)
{
    size_t   i;
    int64_t  end;

    end = rpc_now() + check_time_left(test, DEADLINE);

    for (i = 0; i < PLAYERS; i++) {
        while (atomic_load(&players[i].nkids) < keys && rpc_now() < end) {
            check_pace(50);
        }
    }

    check_pace(MIXED);
}


/* Of four keys three are retired; the list ends with the active one. */

static bool
rotation_gone(test_t *test)
{
    bool     gone;
    char     line[256];
    int64_t  end;

    end = rpc_now() + check_time_left(test, GONE);

    do {
        check_pace(200);
        gone = stack_key(test, "list", line, sizeof(line))
               && strstr(line, "\tactive\t") != NULL;
    } while (!gone && rpc_now() < end);

    return check(test, gone, "the retired keys go when their tokens have "
                 "expired");
}


/* Also proves that this stack refuses a token of an unknown key. */

static void
rotation_retire_now(test_t *test, client_t *client)
{
    char           kid[KID], command[128], line[256], *old;
    credentials_t  credentials;

    if (!client_login(client) || !client_echo(client, client->pod)) {
        return;
    }

    if (ms_token_unverified_kid(client->token, strlen(client->token), kid,
                                sizeof(kid)) != 0)
    {
        (void) check(test, false, "the token names a key");
        return;
    }

    old = strdup(client->token);

    if (old == NULL) {
        abort();
    }

    credentials.authorization = old;
    credentials.session = client->session;

    snprintf(command, sizeof(command), "retire %s --now", kid);

    if (check(test, stack_key(test, "generate --activate", line,
                              sizeof(line))
                    && stack_key(test, command, line, sizeof(line)),
              "the key is retired at once")
        && check(test, rotation_wait(client, &credentials,
                                     GRPC_STATUS_UNAUTHENTICATED),
                 "its tokens are refused"))
    {
        (void) expect_refused(client, &credentials,
                              GRPC_STATUS_UNAUTHENTICATED,
                              "missing or invalid token", "retired key");

        /* The session and its instance stay with a new token. The instance may
         * not know the key yet. */

        (void) (client_login(client)
                && check(test, rotation_wait(client, NULL, GRPC_STATUS_OK),
                         "a new token is good")
                && client_echo(client, client->pod));
    }

    free(old);
}


static bool
rotation_wait(client_t *client, const credentials_t *credentials,
    grpc_status_code code)
{
    bool       reached;
    int64_t    end;
    outcome_t  outcome;

    end = rpc_now() + check_time_left(client->test, DEADLINE);

    do {
        check_pace(100);
        outcome = call_echo(client, credentials);
        reached = outcome.code == code;
        outcome_free(&outcome);
    } while (!reached && rpc_now() < end);

    return reached;
}
