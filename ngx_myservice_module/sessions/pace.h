/*
 * How soon a broken stream is resumed, and when it is given up. Each resume
 * costs the instance a call: without a pace, an instance that always breaks
 * off would be called without end. Times are milliseconds of one clock.
 */

#ifndef MS_SESSIONS_PACE_H
#define MS_SESSIONS_PACE_H


#include <stdint.h>


#define MS_PACE_FIRST    50             /* doubles ... */
#define MS_PACE_LONGEST  2000           /* ... up to this */
#define MS_PACE_QUIET    10000          /* then it begins again, at once */
#define MS_PACE_ROW      8              /* without a message in between */
#define MS_PACE_MINUTE   30             /* with or without */

#define MS_PACE_TOO_MANY   (-1)         /* in a row */
#define MS_PACE_TOO_OFTEN  (-2)         /* in a minute */


/* zeroed before the first */
typedef struct {
    uint64_t  last;                     /* resume */
    uint64_t  minute;                   /* begin of the one that is counted */
    uint32_t  delay;                    /* 0: none so far */
    uint32_t  row;
    uint32_t  count;
} ms_pace_t;


/* The stream broke off: how long to wait, from the half of the delay to all of
 * it by "random"; or that it is not resumed any more. */
int32_t ms_pace_next(ms_pace_t *pace, uint64_t now, uint32_t random);

/* a message came */
void ms_pace_progress(ms_pace_t *pace);


#endif /* MS_SESSIONS_PACE_H */
