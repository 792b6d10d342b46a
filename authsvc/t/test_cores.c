/* How many cores a control group leaves. */

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "authsvc/serve/cores.h"
#include "authsvc/t/folder.h"
#include "authsvc/t/suite.h"


/* The files of a machine: path and content. */
typedef struct {
    const char  *cgroup;                /* /proc/self/cgroup */
    struct {
        const char  *name;
        const char  *text;
    } files[4];
    int          cores;
} machine_t;


static const machine_t  machines[] = {
    /* none, or none that limits */
    { NULL, { { NULL, NULL } }, 0 },
    { "", { { NULL, NULL } }, 0 },
    { "0::/\n", { { NULL, NULL } }, 0 },
    { "0::/a\n", { { "a/cpu.max", "max 100000\n" } }, 0 },
    { "4:cpu,cpuacct:/\n0::/\n",
      { { "cpu/cpu.cfs_quota_us", "-1\n" },
        { "cpu/cpu.cfs_period_us", "100000\n" } }, 0 },

    /* version 2: in a container, and below a slice */
    { "0::/\n", { { "cpu.max", "200000 100000\n" } }, 2 },
    { "0::/s/a\n", { { "s/a/cpu.max", "150000 100000\n" } }, 2 },
    { "0::/s/a\n", { { "s/a/cpu.max", "max 100000\n" },
                     { "s/cpu.max", "50000 100000\n" } }, 1 },
    { "0::/s/a\n", { { "s/a/cpu.max", "300000 100000\n" },
                     { "s/cpu.max", "800000 100000\n" } }, 3 },
    { "0::/\n", { { "cpu.max", "1000 100000\n" } }, 1 },

    /* the path is the host's, the files are the container's */
    { "0::/docker/c0ffee\n", { { "cpu.max", "400000 100000\n" } }, 4 },
    { "0::/../a\n", { { "cpu.max", "400000 100000\n" } }, 4 },

    /* version 1, and both */
    { "9:memory:/m\n4:cpu,cpuacct:/docker/c0ffee\n0::/\n",
      { { "cpu,cpuacct/cpu.cfs_quota_us", "200000\n" },
        { "cpu,cpuacct/cpu.cfs_period_us", "100000\n" } }, 2 },
    { "1:cpu:/a/b\n",
      { { "cpu/a/cpu.cfs_quota_us", "250000\n" },
        { "cpu/a/cpu.cfs_period_us", "50000\n" } }, 5 },
    { "3:cpuset:/a\n2:cpuacct,cpu:/a\n",
      { { "cpu/a/cpu.cfs_quota_us", "100000\n" },
        { "cpu/a/cpu.cfs_period_us", "100000\n" } }, 1 },
    { "4:cpuacct:/a\n5:cpuset:/a\n",
      { { "cpu/a/cpu.cfs_quota_us", "100000\n" },
        { "cpu/a/cpu.cfs_period_us", "100000\n" } }, 0 },
    { "4:cpu:/a\n0::/a\n",
      { { "cpu/a/cpu.cfs_quota_us", "300000\n" },
        { "cpu/a/cpu.cfs_period_us", "100000\n" },
        { "unified/a/cpu.max", "200000 100000\n" } }, 2 },

    /* what is none of these limits nothing */
    { "0::/\n", { { "cpu.max", "0 100000\n" } }, 0 },
    { "0::/\n", { { "cpu.max", "100000 0\n" } }, 0 },
    { "0::/\n", { { "cpu.max", "x\n" } }, 0 },
    { "0::/\n", { { "cpu.max", "99999999999999999 1\n" } }, 0 },
    { "4\n4:cpu\n::\n", { { NULL, NULL } }, 0 }
};


static void
put(const char *path, const char *text)
{
    char         name[256];
    const char  *slash;

    for (slash = strchr(path, '/'); slash != NULL;
         slash = strchr(slash + 1, '/'))
    {
        snprintf(name, sizeof(name), "%.*s", (int) (slash - path), path);
        (void) mkdir(folder_path(name), 0700);
    }

    folder_write(path, text, strlen(text), 0600);
}


START_TEST(test_quota)
{
    char              path[256];
    size_t            i;
    const machine_t  *m;

    m = &machines[_i];

    if (m->cgroup != NULL) {
        put("proc/self/cgroup", m->cgroup);
    }

    for (i = 0; i < 4 && m->files[i].name != NULL; i++) {
        snprintf(path, sizeof(path), "sys/fs/cgroup/%s", m->files[i].name);
        put(path, m->files[i].text);
    }

    ck_assert_int_eq(cores_quota(folder_path("")), m->cores);
}
END_TEST


/* The process is a test's own: what it does to itself is no other's. */
START_TEST(test_usable)
{
    int        n;
    cpu_set_t  set, one;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    ck_assert_int_eq(cores_usable(folder_path("")), CPU_COUNT(&set));
    ck_assert_int_ge(cores_usable(""), 1);

    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "409500000 100000\n");
    ck_assert_int_eq(cores_usable(folder_path("")), CPU_COUNT(&set));
    put("sys/fs/cgroup/cpu.max", "100000 100000\n");
    ck_assert_int_eq(cores_usable(folder_path("")), 1);
    put("sys/fs/cgroup/cpu.max", "max 100000\n");

    for (n = 0; !CPU_ISSET(n, &set); n++) { /* void */ }

    CPU_ZERO(&one);
    CPU_SET(n, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_int_eq(cores_usable(folder_path("")), 1);
}
END_TEST


static void
setup(void)
{
    folder_create();
}


static void
teardown(void)
{
    folder_remove();
}


int
main(void)
{
    Suite  *suite;
    TCase  *tcase;

    suite = suite_create("cores");
    tcase = tcase_create("cores");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_quota, 0,
                        sizeof(machines) / sizeof(machines[0]));
    tcase_add_test(tcase, test_usable);
    suite_add_tcase(suite, tcase);

    return suite_run(suite);
}
