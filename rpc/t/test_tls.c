/*
 * TLS of servers and clients with certificates of scripts/dev-certs: who is
 * let in, what happens when files change, what is said about bad ones.
 */

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "rpc/core.h"
#include "rpc/log.h"
#include "rpc/t/fixture.h"
#include "rpc/t/lasted.h"
#include "rpc/tls.h"


#define PATIENCE  60000         /* ms; the server looks once a second */
#define TIMEOUT   5000


/* of the test */
static char        directory[64];
static fixture_t   fixture;
static rpc_tls_t  *server_tls;
static char       *paths[4096];
static size_t      npaths;


/* Lives as long as the test, as the names of a server's files must. */

static const char *
path_of(const char *name)
{
    char  *path;

    ck_assert_int_gt(asprintf(&path, "%s/%s", directory, name), 0);
    ck_assert_uint_lt(npaths, sizeof(paths) / sizeof(paths[0]));

    return paths[npaths++] = path;
}


static void
run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


static void
run(const char *fmt, ...)
{
    char     command[1024];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(command, sizeof(command), fmt, args);
    va_end(args);

    ck_assert_msg(system(command) == 0, "failed: %s", command);
}


/* Two authorities, a/ and b/; the server's files are in use/. */

static void
setup(void)
{
    strcpy(directory, "/tmp/test_tls.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));

    run("scripts/dev-certs %s", path_of("a"));
    run("scripts/dev-certs %s", path_of("b"));
    run("cp -r %s %s", path_of("a"), path_of("use"));
}


static void
teardown(void)
{
    run("rm -r %s", directory);

    while (npaths > 0) {
        free(paths[--npaths]);
    }
}


static void
echo(rpc_call_t *call, const ProtobufCMessage *message, void *data)
{
    MyService__EchoResponse  response = MY_SERVICE__ECHO_RESPONSE__INIT;

    (void) message;
    (void) data;

    rpc_call_reply(call, &response.base);
}


static void
server_start(const char *client_ca)
{
    char             error[512];
    rpc_tls_files_t  files;

    files.cert = path_of("use/server.crt");
    files.key = path_of("use/server.key");
    files.ca = client_ca;

    server_tls = rpc_tls_create(&files, RPC_TLS_SERVER, error, sizeof(error));
    ck_assert_msg(server_tls != NULL, "%s", error);

    fixture.server = rpc_server_create(NULL);
    ck_assert_ptr_nonnull(fixture.server);
    ck_assert_int_eq(rpc_server_unary(fixture.server,
                                      &my_service__my_service_api__descriptor,
                                      "MyServiceEcho", echo, NULL), 0);

    fixture.port = rpc_server_listen(fixture.server, "127.0.0.1:0",
                                     rpc_tls_server(server_tls));
    ck_assert_int_gt(fixture.port, 0);
    ck_assert_int_eq(rpc_server_start(fixture.server), 0);
}


static void
server_stop(void)
{
    ck_assert_int_eq(rpc_server_stop(fixture.server, 5000), 0);
    rpc_server_free(fixture.server);
    rpc_tls_free(server_tls);
}


/* A client that trusts "ca" and shows "cert"; both are a or b, or NULL. */

static rpc_client_t *
client_open(const char *ca, const char *cert, const char *server_name)
{
    char             target[64], error[512], name[3][32];
    rpc_tls_t       *tls;
    rpc_client_t    *client;
    rpc_tls_files_t  files = { NULL, NULL, NULL };

    snprintf(name[0], sizeof(name[0]), "%s/ca.crt", ca);
    files.ca = path_of(name[0]);

    if (cert != NULL) {
        snprintf(name[1], sizeof(name[1]), "%s/client.crt", cert);
        snprintf(name[2], sizeof(name[2]), "%s/client.key", cert);
        files.cert = path_of(name[1]);
        files.key = path_of(name[2]);
    }

    tls = rpc_tls_create(&files, RPC_TLS_CLIENT, error, sizeof(error));
    ck_assert_msg(tls != NULL, "%s", error);

    snprintf(target, sizeof(target), "127.0.0.1:%d", fixture.port);
    client = rpc_client_create_tls(target, tls, server_name);
    ck_assert_ptr_nonnull(client);

    rpc_tls_free(tls);

    return client;
}


static grpc_status_code
call(rpc_client_t *client)
{
    grpc_status_code          code;
    rpc_result_t              result;
    MyService__EchoResponse  *response;

    fixture.client = client;
    response = fixture_echo(&fixture, "v", TIMEOUT, &result);

    if (response != NULL) {
        fixture_response_free(response);
    }

    code = result.code;
    rpc_result_free(&result);

    return code;
}


/* On a connection of its own. */

static grpc_status_code
try(const char *ca, const char *cert, const char *server_name)
{
    rpc_client_t      *client;
    grpc_status_code   code;

    client = client_open(ca, cert, server_name);
    code = call(client);
    rpc_client_free(client);

    return code;
}


static void
await(const char *ca, const char *cert)
{
    int64_t  end;

    end = rpc_now() + PATIENCE;

    while (try(ca, cert, NULL) != GRPC_STATUS_OK) {
        ck_assert_msg(rpc_now() < end, "no success with %s", ca);
        usleep(20000);
    }
}


START_TEST(tls_server)
{
    char           target[64];
    rpc_client_t  *client;

    server_start(NULL);

    ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);

    /* a certificate nobody asks for does no harm */
    ck_assert_int_eq(try("a", "b", NULL), GRPC_STATUS_OK);

    /* names of the certificate */
    ck_assert_int_eq(try("a", NULL, "myservice"), GRPC_STATUS_OK);
    ck_assert_int_eq(try("a", NULL, "other"), GRPC_STATUS_UNAVAILABLE);

    ck_assert_int_eq(try("b", NULL, NULL), GRPC_STATUS_UNAVAILABLE);

    snprintf(target, sizeof(target), "127.0.0.1:%d", fixture.port);
    client = rpc_client_create(target, NULL);
    ck_assert_int_eq(call(client), GRPC_STATUS_UNAVAILABLE);
    rpc_client_free(client);

    server_stop();
}
END_TEST


START_TEST(tls_mutual)
{
    server_start(path_of("a/ca.crt"));

    ck_assert_int_eq(try("a", "a", NULL), GRPC_STATUS_OK);
    ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_UNAVAILABLE);
    ck_assert_int_eq(try("a", "b", NULL), GRPC_STATUS_UNAVAILABLE);
    ck_assert_int_eq(try("a", "a", NULL), GRPC_STATUS_OK);

    server_stop();
}
END_TEST


/* An open connection goes on, a new one meets the new certificate. */
START_TEST(tls_reload)
{
    rpc_client_t  *client;

    server_start(NULL);

    client = client_open("a", NULL, NULL);
    ck_assert_int_eq(call(client), GRPC_STATUS_OK);

    /* by renaming, as certbot and Kubernetes do */
    run("cp -r %s %s", path_of("b"), path_of("new"));
    run("mv %s/server.* %s/", path_of("new"), path_of("use"));

    await("b", NULL);
    ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_UNAVAILABLE);
    ck_assert_int_eq(call(client), GRPC_STATUS_OK);

    rpc_client_free(client);
    server_stop();
}
END_TEST


START_TEST(tls_reload_client_ca)
{
    server_start(path_of("use/ca.crt"));

    ck_assert_int_eq(try("a", "a", NULL), GRPC_STATUS_OK);
    ck_assert_int_eq(try("a", "b", NULL), GRPC_STATUS_UNAVAILABLE);

    /* written in place */
    run("cat %s > %s", path_of("b/ca.crt"), path_of("use/ca.crt"));

    await("a", "b");
    ck_assert_int_eq(try("a", "a", NULL), GRPC_STATUS_UNAVAILABLE);

    server_stop();
}
END_TEST


/* The log goes to a file from here on. */

static void
log_capture(void)
{
    int  fd;

    fd = open(path_of("log"), O_CREAT|O_WRONLY|O_APPEND, 0600);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    close(fd);

    log_open("test", LOG_LEVEL_INFO);
}


static unsigned
log_count(const char *text)
{
    char       line[2048];
    FILE      *file;
    unsigned   n;

    n = 0;
    file = fopen(path_of("log"), "r");
    ck_assert_ptr_nonnull(file);

    while (fgets(line, sizeof(line), file) != NULL) {
        n += strstr(line, text) != NULL;
    }

    fclose(file);

    return n;
}


START_TEST(tls_broken)
{
    int      i;
    int64_t  end, since;

    static const char  *breaks[] = {
        "cat b/server.key > use/server.key",  /* not its key */
        "head -c 300 a/server.crt > use/server.crt",
        "rm use/server.key && mkfifo use/server.key",
        "truncate -s 0 use/server.crt"
    };

    log_capture();
    server_start(NULL);

    ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);

    for (i = 0; i < 4; i++) {
        run("cd %s && %s", directory, breaks[i]);

        end = rpc_now() + PATIENCE;

        while (log_count(" error ") == (unsigned) i) {
            ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);
            ck_assert_msg(rpc_now() < end, "nothing in the log");
            usleep(20000);
        }

        /* for longer than the server waits between two looks */
        for (since = rpc_now(); rpc_now() < since + 1200; usleep(50000)) {
            ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);
        }

        ck_assert_uint_eq(log_count(" error "), (unsigned) i + 1);
        run("cp --remove-destination %s/server.* %s/", path_of("a"),
            path_of("use"));

        end = rpc_now() + PATIENCE;

        while (log_count("have changed") != (unsigned) i + 1) {
            ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);
            ck_assert_msg(rpc_now() < end, "the good files are not taken");
            usleep(20000);
        }
    }

    server_stop();
}
END_TEST


/* The core logs the server name that a client asks for. */

START_TEST(tls_server_name)
{
    int        event;
    size_t     i;
    char       line[128];
    eventfd_t  times;

    static const char  *names[] = { "accept4", "Failed accept4: x" };

    unsetenv("GRPC_VERBOSITY");
    log_capture();
    server_start(NULL);

    event = eventfd(0, EFD_NONBLOCK);
    ck_assert_int_ne(event, -1);
    rpc_core_log(event);

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        run("openssl s_client -connect 127.0.0.1:%d -alpn h2 "
            "-servername '%s' </dev/null >%s 2>&1", fixture.port, names[i],
            path_of("s_client"));

        snprintf(line, sizeof(line), "grpc: No match found for server name: "
                 "%s.", names[i]);
        ck_assert_uint_gt(log_count(line), 0);
        ck_assert(!rpc_core_accept_failed());
        ck_assert_int_eq(eventfd_read(event, &times), -1);
        ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);
    }

    server_stop();
    close(event);
}
END_TEST


static int
tcp_connect(void)
{
    int                 fd;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) fixture.port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *) &sin, sizeof(sin)), 0);

    return fd;
}


/* Somebody connects and says nothing, or begins to. */
START_TEST(tls_stop_in_handshake)
{
    int      fds[8], i;
    int64_t  since;

    server_start(NULL);

    for (i = 0; i < 8; i++) {
        fds[i] = tcp_connect();
        ck_assert_int_eq(write(fds[i], "\x16\x03", (size_t) (i % 3)), i % 3);
    }

    ck_assert_int_eq(try("a", NULL, NULL), GRPC_STATUS_OK);

    since = rpc_now();
    server_stop();
    lasted_within(since, 2000);

    for (i = 0; i < 8; i++) {
        close(fds[i]);
    }
}
END_TEST


START_TEST(tls_usage)
{
    char    error[512];
    size_t  i;

    static const struct {
        rpc_tls_files_t  files;
        rpc_tls_role_t   role;
        const char      *want;
    } cases[] = {
        { { NULL, NULL, NULL }, RPC_TLS_SERVER, NULL },
        { { "c", "k", NULL }, RPC_TLS_SERVER, NULL },
        { { "c", "k", "a" }, RPC_TLS_SERVER, NULL },
        { { "c", NULL, NULL }, RPC_TLS_SERVER, "--tls-cert needs --tls-key" },
        { { NULL, "k", NULL }, RPC_TLS_SERVER, "--tls-key needs --tls-cert" },
        { { NULL, NULL, "a" }, RPC_TLS_SERVER,
          "--tls-client-ca needs --tls-cert" },
        { { NULL, NULL, "a" }, RPC_TLS_CLIENT, NULL },
        { { "c", NULL, "a" }, RPC_TLS_CLIENT, "--tls-cert needs --tls-key" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        error[0] = '\0';

        ck_assert_int_eq(rpc_tls_usage(&cases[i].files, cases[i].role, error,
                                       sizeof(error)),
                         cases[i].want == NULL ? 0 : -1);
        ck_assert_msg(strncmp(error, cases[i].want == NULL ? ""
                                                           : cases[i].want,
                              cases[i].want == NULL
                              ? 1 : strlen(cases[i].want)) == 0,
                      "%s", error);
    }
}
END_TEST


START_TEST(tls_bad_files)
{
    char              error[512];
    size_t            i;
    rpc_tls_t        *tls;
    rpc_tls_files_t   files;

    static const struct {
        const char  *cert;
        const char  *key;
        const char  *ca;
        const char  *option;
        const char  *why;
    } cases[] = {
        { "none", "a/server.key", NULL, "--tls-cert: ", "No such file" },
        { "a", "a/server.key", NULL, "--tls-cert: ", "Is a directory" },
        { "fifo", "a/server.key", NULL, "--tls-cert: ",
          "is not a regular file" },
        { "a/server.crt", "fifo", NULL, "--tls-key: ",
          "is not a regular file" },
        { "a/server.crt", "zero", NULL, "--tls-key: ",
          "is not a regular file" },
        { "a/server.crt", "a/server.key", "fifo", "--tls-client-ca: ",
          "is not a regular file" },
        { "a/server.key", "a/server.key", NULL, "--tls-cert: ",
          "has no certificate" },
        { "cut.crt", "a/server.key", NULL, "--tls-cert: ",
          "certificate number 2 is damaged" },
        { "large", "a/server.key", NULL, "--tls-cert: ", "larger than" },
        { "a/server.crt", "a/server.crt", NULL, "--tls-key: ",
          "has no private key" },
        { "a/server.crt", "locked.key", NULL, "--tls-key: ",
          "has a passphrase" },
        { "a/server.crt", "b/server.key", NULL, "--tls-key: ",
          "is not that of the certificate" },
        { "weak.crt", "weak.key", NULL, "--tls-key: ", "too small" },
        { "a/server.crt", "a/server.key", "none", "--tls-client-ca: ",
          "No such file" },
        { "a/server.crt", "a/server.key", "a/ca.key", "--tls-client-ca: ",
          "has no certificate" }
    };

    run("(cat %s; head -c 300 %s) > %s", path_of("a/server.crt"),
        path_of("a/ca.crt"), path_of("cut.crt"));
    run("head -c 2000000 /dev/zero > %s", path_of("large"));
    run("mkfifo %s", path_of("fifo"));
    run("ln -s /dev/zero %s", path_of("zero"));
    run("openssl pkey -in %s -aes256 -passout pass:x -out %s",
        path_of("a/server.key"), path_of("locked.key"));
    run("openssl req -x509 -newkey rsa:512 -nodes -subj /CN=x -keyout %s "
        "-out %s 2>/dev/null", path_of("weak.key"), path_of("weak.crt"));

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        files.cert = path_of(cases[i].cert);
        files.key = path_of(cases[i].key);
        files.ca = cases[i].ca != NULL ? path_of(cases[i].ca) : NULL;

        tls = rpc_tls_create(&files, RPC_TLS_SERVER, error, sizeof(error));
        ck_assert_msg(tls == NULL, "case %zu is taken", i);
        ck_assert_msg(strncmp(error, cases[i].option,
                              strlen(cases[i].option)) == 0
                      && strstr(error, cases[i].why) != NULL
                      && strchr(error, '\n') == NULL,
                      "case %zu: %s", i, error);
    }
}
END_TEST


int
main(void)
{
    int       failed;
    Suite    *suite;
    TCase    *tc;
    SRunner  *runner;

    suite = suite_create("tls");
    tc = tcase_create("tls");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, tls_server);
    tcase_add_test(tc, tls_mutual);
    tcase_add_test(tc, tls_reload);
    tcase_add_test(tc, tls_reload_client_ca);
    tcase_add_test(tc, tls_broken);
    tcase_add_test(tc, tls_server_name);
    tcase_add_test(tc, tls_stop_in_handshake);
    tcase_add_test(tc, tls_usage);
    tcase_add_test(tc, tls_bad_files);
    suite_add_tcase(suite, tc);

    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);

    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
