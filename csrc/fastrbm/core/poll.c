#include "poll.h"

#include <time.h>

double frbm_seconds(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

frbm_poll_t frbm_poll_start(const frbm_exec_t *exec) {
    const frbm_poll_t poll = {exec, exec->poll == NULL ? 0 : frbm_seconds()};
    return poll;
}

int frbm_poll(frbm_poll_t *poll) {
    if (poll->exec->poll == NULL) return 0;
    const double now = frbm_seconds();
    /* A clock set back must not silence the poll. */
    if (now - poll->last < FRBM_POLL_SECONDS && now >= poll->last) return 0;
    poll->last = now;
    return poll->exec->poll(poll->exec->poll_context);
}
