/*
 * What a token costs: microseconds of CPU per ms_token_verify() by algorithm,
 * next to what the same signature costs in OpenSSL alone ("bare": this program,
 * "speed": the command, run in between), and next to the cache.  CPU time, so
 * that other load disturbs less; the best of several rounds.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "jwt/base64url.h"
#include "jwt/cache.h"
#include "jwt/key.h"
#include "jwt/t/signer.h"
#include "jwt/token.h"


#define ROUNDS   7
#define ROUND    30e6                   /* nanoseconds */
#define NOW      1700000000
#define ENTRIES  1024

/* makes a token of HS256 400 bytes long */
#define CLAIMS                                                                \
    "{\"sub\":\"TestUser\",\"role\":\"admin\",\"session_id\":"                \
    "\"3f0c1b52-7a4e-4d1c-9a58-0f6f3f6f5d11\",\"iss\":\"myservice\","         \
    "\"aud\":\"gateway\",\"iat\":1699999000,\"nbf\":1699999000,"              \
    "\"exp\":1700003600,\"jti\":\"b1946ac92492d2347c6235b4d2611184\","        \
    "\"pad\":\"0123456789\"}"


typedef void (*step_pt)(void *data);

typedef struct {
    ms_keys_t        *keys;
    const ms_key_t   *key;
    char             *token;
    size_t            len;
    size_t            signed_len;
    unsigned char     signature[2048];
    size_t            signature_len;
} subject_t;

typedef struct {
    ms_cache_t       *cache;
    char             *token;
    size_t            len;
} cached_t;


static const ms_token_rules_t  rules = {
    .session_claim = "session_id", .issuer = "myservice",
    .audience = "gateway"
};


static void
fail(const char *what)
{
    fprintf(stderr, "bench-jwt: %s\n", what);
    exit(1);
}


static double
nanoseconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


/* Nanoseconds per step. */
static double
measure(step_pt step, void *data)
{
    int     i, j, n;
    double  start, spent, best;

    n = 1;

    for ( ;; ) {
        start = nanoseconds();
        for (i = 0; i < n; i++) {
            step(data);
        }
        spent = nanoseconds() - start;

        if (spent > ROUND) {
            break;
        }

        n *= 2;
    }

    best = spent / n;

    for (j = 1; j < ROUNDS; j++) {
        start = nanoseconds();
        for (i = 0; i < n; i++) {
            step(data);
        }
        spent = (nanoseconds() - start) / n;
        best = spent < best ? spent : best;
    }

    return best;
}


static void
verify_step(void *data)
{
    subject_t   *s = data;
    ms_token_t   token;

    if (ms_token_verify(s->keys, s->token, s->len, &rules, NOW, &token)
        != MS_TOKEN_OK)
    {
        fail("a good token was refused");
    }

    ms_token_free(&token);
}


/* the signature alone: neither base64url nor JSON */
static void
bare_step(void *data)
{
    subject_t  *s = data;

    if (ms_key_verify(s->key, (unsigned char *) s->token, s->signed_len,
                      s->signature, s->signature_len)
        != 1)
    {
        fail("a good signature was refused");
    }
}


static void
cached_step(void *data)
{
    cached_t          *c = data;
    ms_cache_key_t     key;
    ms_cache_value_t   value;

    if (ms_cache_key(c->cache, c->token, c->len, &key) != 0
        || ms_cache_find(c->cache, &key, NOW, &value) != 1)
    {
        fail("a cached token was not found");
    }
}


static void
subject_init(subject_t *s, ms_alg_t alg)
{
    char               *text, header[64], error[256];
    EVP_PKEY           *pkey;
    const char         *dot;
    ms_keys_options_t   options = { MS_ALG_BIT(alg) };

    memset(s, 0, sizeof(subject_t));

    pkey = NULL;

    if (signer_type(ms_alg_name(alg)) == NULL) {
        s->keys = ms_keys_from_secret(SIGNER_SECRET, strlen(SIGNER_SECRET),
                                      &options, error, sizeof(error));
    } else {
        pkey = signer_key(signer_type(ms_alg_name(alg)));
        text = signer_pem(pkey);
        s->keys = ms_keys_parse(text, strlen(text), &options, error,
                                sizeof(error));
        free(text);
    }

    if (s->keys == NULL || ms_keys_select(s->keys, alg, NULL, &s->key) != 1) {
        fail(error);
    }

    snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
             ms_alg_name(alg));
    s->token = signer_token(ms_alg_name(alg), pkey, header, CLAIMS);
    s->len = strlen(s->token);
    dot = strrchr(s->token, '.');
    s->signed_len = (size_t) (dot - s->token);

    if (ms_base64url_decode(s->signature, &s->signature_len, dot + 1,
                            strlen(dot + 1))
        != 0)
    {
        fail("the signer made no signature");
    }
}


/*
 * Microseconds of one verification as "openssl speed" has them, or of a HMAC
 * over "len" bytes; 0 if its output is not understood.  Its tables have times
 * first and then rates: "verify/s" is the column of that name, counted from the
 * end.
 */
static double
speed(const char *name, size_t len)
{
    int     column, n;
    char    line[512], command[256], *word, *save, *words[32];
    FILE   *pipe;
    double  rate;

    if (strncmp(name, "sha", 3) == 0) {
        snprintf(command, sizeof(command), "openssl speed -seconds 1 -bytes "
                 "%zu -hmac %s 2>/dev/null", len, name);
    } else {
        snprintf(command, sizeof(command), "openssl speed -seconds 1 %s "
                 "2>/dev/null", name);
    }

    pipe = popen(command, "r");
    if (pipe == NULL) {
        return 0;
    }

    column = 1;
    rate = 0;

    while (fgets(line, sizeof(line), pipe) != NULL) {
        n = 0;
        save = NULL;

        for (word = strtok_r(line, " \n", &save); word != NULL && n < 32;
             word = strtok_r(NULL, " \n", &save))
        {
            words[n++] = word;
        }

        if (n >= 2 && strncasecmp(words[0], "hmac(", 5) == 0) {
            rate = atof(words[n - 1]) * 1000 / (double) len;

        } else if (n > 3 && strcmp(words[0], "sign") == 0) {
            for (column = 1; column < n
                 && strcmp(words[n - column], "verify/s") != 0; column++)
            {
                /* counted from the end */
            }

        } else if (n > column + 2) {
            rate = atof(words[n - column]);
        }
    }

    pclose(pipe);

    return rate > 0 ? 1e6 / rate : 0;
}


static void
bench_cache(void)
{
    size_t             i;
    char               token[8192];
    cached_t           c;
    ms_cache_key_t     key;
    ms_cache_value_t   value;

    static const size_t  sizes[] = { 200, 400, 800, 1500, 4000, 8000 };

    printf("\n%-8s %10s\n", "bytes", "cached us");

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(token, 'A', sizeof(token));
        c.cache = ms_cache_create(ENTRIES, 64);
        c.token = token;
        c.len = sizes[i];
        memset(&value, 0, sizeof(value));
        value.session = "s1";
        value.session_len = 2;
        value.expires = NOW + 1;

        if (c.cache == NULL
            || ms_cache_key(c.cache, token, c.len, &key) != 0)
        {
            fail("no cache");
        }

        ms_cache_put(c.cache, &key, NOW, &value);
        printf("%-8zu %10.2f\n", c.len, measure(cached_step, &c) / 1000);
        ms_cache_free(c.cache);
    }
}


int
main(void)
{
    int        i;
    double     whole, bare, command;
    subject_t  s;

    static const char *const  names[MS_ALGS] = {
        "sha256", "sha384", "sha512", "rsa2048", NULL, NULL, NULL, NULL,
        NULL, "ecdsap256", "ecdsap384", "ecdsap521", "ed25519"
    };

    printf("%-8s %8s %10s %10s %10s %10s\n", "alg", "bytes", "verify us",
           "bare us", "speed us", "times");

    command = 0;

    for (i = 0; i < MS_ALGS; i++) {
        subject_init(&s, i);
        bare = measure(bare_step, &s) / 1000;

        /* the command measures RSA without the hash and without PSS */
        if (names[i] != NULL) {
            command = speed(names[i], s.signed_len);
        }

        whole = measure(verify_step, &s) / 1000;

        printf("%-8s %8zu %10.2f %10.2f %10.2f %10.2f\n", ms_alg_name(i),
               s.len, whole, bare, command,
               command > 0 ? whole / command : 0);
        fflush(stdout);

        ms_keys_free(s.keys);
        free(s.token);
    }

    bench_cache();

    return 0;
}
