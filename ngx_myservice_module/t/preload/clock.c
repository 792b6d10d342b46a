/*
 * For LD_PRELOAD: the clock of a server is moved while it runs, by the seconds
 * in the file CLOCK_FILE (an int64_t).  Its monotonic clock goes on as it is.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


static const volatile int64_t  *moved;


__attribute__((constructor)) static void
clock_init(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("CLOCK_FILE");
    fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    p = fd != -1 ? mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0)
                 : MAP_FAILED;

    moved = p != MAP_FAILED ? p : NULL;
}


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    long  rc;

    rc = syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && moved != NULL
        && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    {
        ts->tv_sec += *moved;
    }

    return (int) rc;
}


int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec  ts;

    (void) zone;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    if (t != NULL) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}
