/*
 * What a process and all its descendants have used, from /proc.
 */

#ifndef BENCH_PROC_H
#define BENCH_PROC_H


#include <stdint.h>
#include <sys/types.h>


typedef struct {
    uint64_t  cpu;                      /* ns on a core: schedstat */
    uint64_t  user;                     /* ticks of 10 ms: stat */
    uint64_t  system;
    uint64_t  memory;                   /* bytes: Pss, shared pages divided */
    unsigned  processes;
    unsigned  sockets;                  /* open ones */
} proc_use_t;


/* What is there now; nothing for processes that are gone.  Memory is counted
 * only if "memory": it costs the kernel a walk over all pages. */
void proc_use(pid_t root, int memory, proc_use_t *use);


#endif /* BENCH_PROC_H */
