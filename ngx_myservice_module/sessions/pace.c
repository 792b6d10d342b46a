
/* The delays between resumes of one stream; pure. */

#include "sessions/pace.h"


int32_t
ms_pace_next(ms_pace_t *pace, uint64_t now, uint32_t random)
{
    uint32_t  half, wait;

    if (pace->row == MS_PACE_ROW) {
        return MS_PACE_TOO_MANY;
    }

    if (pace->count == 0 || now - pace->minute >= 60000) {
        pace->minute = now;
        pace->count = 0;
    }

    if (pace->count == MS_PACE_MINUTE) {
        return MS_PACE_TOO_OFTEN;
    }

    if (pace->last == 0 || now - pace->last >= MS_PACE_QUIET) {
        pace->delay = 0;
        wait = 0;

    } else {
        pace->delay = pace->delay ? 2 * pace->delay : MS_PACE_FIRST;

        if (pace->delay > MS_PACE_LONGEST) {
            pace->delay = MS_PACE_LONGEST;
        }

        half = pace->delay / 2;
        wait = half + random % (pace->delay - half + 1);
    }

    pace->row++;
    pace->count++;
    pace->last = now + wait;

    return (int32_t) wait;
}


void
ms_pace_progress(ms_pace_t *pace)
{
    pace->row = 0;
}
