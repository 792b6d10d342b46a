/* A PostgreSQL server of a test. */

#include "authsvc/t/postgres.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <libpq-fe.h>


#define POSTGRES_DEADLINE  60000        /* ms */
#define ARGS_MAX           32

static char   folder[64];
static char   bin[128];
static char   url[256];
static int    port;
static pid_t  postmaster;


static int64_t
postgres_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
postgres_fail(const char *what)
{
    fprintf(stderr, "postgres: %s; see %s/log\n", what, folder);
    abort();
}


/* Runs a program of the server's package, not as root; the child. */
static void
postgres_exec(char *const *argv)
{
    int             fd, i;
    char           *args[ARGS_MAX];
    char            path[256];
    struct passwd  *user;

    fd = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);

    if (getuid() == 0) {
        user = getpwnam("postgres");
        if (user == NULL || fchown(fd, user->pw_uid, user->pw_gid) != 0
            || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)
        {
            _exit(127);
        }
    }

    /* after the change of the user, which would undo it */
    prctl(PR_SET_PDEATHSIG, SIGINT);

    snprintf(path, sizeof(path), "%s/%s",
             strcmp(argv[0], "openssl") == 0 ? "/usr/bin" : bin, argv[0]);

    /* they look for each other where the first argument says */
    args[0] = path;
    for (i = 1; i < ARGS_MAX - 1 && argv[i] != NULL; i++) {
        args[i] = argv[i];
    }
    args[i] = NULL;

    execv(path, args);
    _exit(127);
}


static pid_t
postgres_run(char *const *argv)
{
    pid_t     pid;
    sigset_t  none;

    pid = fork();

    if (pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);
        if (chdir(folder) == 0) {
            postgres_exec(argv);
        }
        _exit(127);
    }

    return pid;
}


static void
postgres_find(void)
{
    glob_t  found;

    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0) {
        postgres_fail("not installed: scripts/deps");
    }

    snprintf(bin, sizeof(bin), "%s", found.gl_pathv[found.gl_pathc - 1]);
    *strrchr(bin, '/') = '\0';
    globfree(&found);
}


static int
postgres_free_port(void)
{
    int                 fd;
    socklen_t           len;
    struct sockaddr_in  sin;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    len = sizeof(sin);

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *) &sin, len) != 0
        || getsockname(fd, (struct sockaddr *) &sin, &len) != 0)
    {
        postgres_fail("no free port");
    }
    close(fd);

    return ntohs(sin.sin_port);
}


/* Its own authority. */
static void
postgres_certificate(void)
{
    int          status;
    pid_t        pid;
    char *const  argv[] = {
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
        "data/server.key", "-out", "data/server.crt", NULL
    };

    pid = postgres_run(argv);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        postgres_fail("openssl failed");
    }
}


void
postgres_start(void)
{
    int             fd, status;
    char            path[128];
    pid_t           pid;
    struct passwd  *user;
    char *const     argv[] = {
        "initdb", "-D", "data", "-U", "postgres", "-A", "scram-sha-256",
        "--pwfile=password", "-E", "UTF8", "--locale=C", "-N", NULL
    };

    snprintf(folder, sizeof(folder), "/tmp/authsvc-postgres.XXXXXX");
    postgres_find();

    if (mkdtemp(folder) == NULL || chmod(folder, 0755) != 0) {
        postgres_fail("no folder");
    }

    snprintf(path, sizeof(path), "%s/password", folder);
    fd = open(path, O_WRONLY | O_CREAT, 0644);
    if (write(fd, POSTGRES_PASSWORD "\n", strlen(POSTGRES_PASSWORD) + 1) < 0) {
        postgres_fail("no password file");
    }
    close(fd);

    user = getuid() == 0 ? getpwnam("postgres") : NULL;
    if (user != NULL && chown(folder, user->pw_uid, user->pw_gid) != 0) {
        postgres_fail("cannot give it the folder");
    }

    pid = postgres_run(argv);
    if (waitpid(pid, &status, 0) != pid || status != 0) {
        postgres_fail("initdb failed");
    }

    postgres_certificate();
    port = postgres_free_port();
    postgres_restart();
}


const char *
postgres_ca(void)
{
    static char  path[128];

    snprintf(path, sizeof(path), "%s/data/server.crt", folder);

    return path;
}


static const char *
postgres_url(const char *database)
{
    snprintf(url, sizeof(url), "postgresql://postgres:" POSTGRES_PASSWORD
             "@127.0.0.1:%d/%s", port, database);

    return url;
}


void
postgres_restart(void)
{
    int          status;
    char         number[16];
    int64_t      end;
    char *const  argv[] = {
        "postgres", "-D", "data", "-p", number, "-k", folder, "-c",
        "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c",
        "shared_buffers=16MB", "-c", "max_connections=60", "-c", "ssl=on",
        NULL
    };

    snprintf(number, sizeof(number), "%d", port);
    postmaster = postgres_run(argv);
    end = postgres_now() + POSTGRES_DEADLINE;

    while (PQping(postgres_url("postgres")) != PQPING_OK) {
        if (waitpid(postmaster, &status, WNOHANG) != 0
            || postgres_now() > end)
        {
            postgres_fail("does not start");
        }
        usleep(20000);
    }
}


/* As if the machine had failed; its children end when they see it. */
void
postgres_kill(void)
{
    int  status;

    kill(postmaster, SIGQUIT);
    waitpid(postmaster, &status, 0);
    postmaster = 0;
}


/* The server's processes are in sessions of their own. */
static void
postgres_signal_all(int signo)
{
    int             ppid;
    DIR            *dir;
    char            path[300], line[512], *p;
    FILE           *file;
    struct dirent  *entry;

    kill(postmaster, signo);
    dir = opendir("/proc");

    while ((entry = readdir(dir)) != NULL) {
        if (atoi(entry->d_name) <= 0) {
            continue;
        }

        snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
        file = fopen(path, "r");
        if (file == NULL) {
            continue;
        }

        p = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')')
                                                    : NULL;
        fclose(file);

        if (p != NULL && sscanf(p + 1, " %*c %d", &ppid) == 1
            && ppid == postmaster)
        {
            kill(atoi(entry->d_name), signo);
        }
    }

    closedir(dir);
}


void
postgres_freeze(void)
{
    postgres_signal_all(SIGSTOP);
}


void
postgres_thaw(void)
{
    postgres_signal_all(SIGCONT);
}


void
postgres_stop(void)
{
    int    status;
    pid_t  pid;

    if (postmaster != 0) {
        postgres_kill();
    }

    pid = fork();
    if (pid == 0) {
        execl("/bin/rm", "rm", "-rf", folder, NULL);
        _exit(127);
    }
    waitpid(pid, &status, 0);
}


static PGresult *
postgres_query(const char *where, const char *sql, PGconn **conn)
{
    PGresult        *result;
    ExecStatusType   status;

    *conn = PQconnectdb(where);
    result = PQexec(*conn, sql);
    status = PQresultStatus(result);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(*conn));
        abort();
    }

    return result;
}


void
postgres_sql(const char *where, const char *sql)
{
    PGconn    *conn;
    PGresult  *result;

    result = postgres_query(where, sql, &conn);
    PQclear(result);
    PQfinish(conn);
}


const char *
postgres_value(const char *where, const char *sql)
{
    PGconn       *conn;
    PGresult     *result;
    static char   value[256];

    result = postgres_query(where, sql, &conn);
    snprintf(value, sizeof(value), "%s", PQntuples(result) > 0
             ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);

    return value;
}


const char *
postgres_database(const char *name)
{
    char  sql[128];

    snprintf(sql, sizeof(sql), "CREATE DATABASE %s", name);
    postgres_sql(postgres_url("postgres"), sql);

    return postgres_url(name);
}
