/* A running authsvc and its client. */

#include "authsvc/t/server.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "authsvc/t/folder.h"


process_t  server_process;
char       server_target[64];


void
server_setup(void)
{
    folder_create();
}


void
server_teardown(void)
{
    folder_remove();
}


void
server_start(const char *a, const char *b, const char *c, const char *d)
{
    const char        *port;
    static process_t   command;
    const char *const  add[] = {
        "user", "add", "TestUser", "--role", "admin", "--create", "--store",
        folder_path("s.db"), NULL
    };
    const char *const  serve[] = {
        "serve", "--listen", "127.0.0.1:0", "--store", folder_path("s.db"),
        "--key-file", folder_path("key"), a, b, c, d, NULL
    };

    ck_assert_int_eq(process_run(&command, add, "TestPassword\n"), 0);
    folder_write("key", SERVER_KEY "\n", strlen(SERVER_KEY) + 1, 0600);

    process_start(&server_process, serve, "");
    port = process_expect(&server_process, "listening on 127.0.0.1:");
    ck_assert_ptr_nonnull(port);
    snprintf(server_target, sizeof(server_target), "127.0.0.1:%s", port);
}


void
server_stop(void)
{
    ck_assert_int_eq(process_finish(&server_process, SIGTERM), 0);
    ck_assert_ptr_nonnull(strstr(server_process.error, "stopped"));
}
