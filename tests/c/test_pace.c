/* Threads that are worth it: on machines that are simulated, in pieces of one unit of work. */
#include "check.h"
#include "fastrbm/core/pace.h"

enum { THREADS = 4 };

/* One piece by as many threads as the pace says. Together they work at `rate` and wait for the share `waiting` of
 * their time; one does 1 a second. Returns the number of threads. */
static int piece(frbm_pace_t *pace, double rate, double waiting) {
    const int n_threads = pace->n_threads;
    CHECK(n_threads == 1 || n_threads == THREADS);
    if (n_threads == 1)
        frbm_pace_done(pace, 1, 1, 0);
    else
        frbm_pace_done(pace, 1, 1 / rate, waiting * (THREADS - 1) / rate);
    return n_threads;
}

static int together(frbm_pace_t *pace, int n, double rate, double waiting) {
    int count = 0;
    for (int i = 0; i < n; ++i) count += piece(pace, rate, waiting) == THREADS;
    return count;
}

int main(void) {
    frbm_pace_t pace = frbm_pace_start(THREADS);
    CHECK(together(&pace, 1000, 3.5, 0.1) == 1000); /* a free machine: nothing is tried */

    const int tries = together(&pace, 1000, 0.1, 0.97); /* others hold the cores */
    CHECK(tries >= 5 && tries <= 20);

    CHECK(together(&pace, 2 * FRBM_PACE_MOST, 3.5, 0.1) > 0); /* they are gone */
    CHECK(together(&pace, 1000, 3.5, 0.1) == 1000);

    /* Half of the time is lost, and one thread is slower still: it is tried now and then. */
    pace = frbm_pace_start(THREADS);
    const int alone = 1000 - together(&pace, 1000, 1.9, 0.6);
    CHECK(alone >= 5 && alone <= 20);

    pace = frbm_pace_start(1);
    for (int i = 0; i < 100; ++i) {
        frbm_pace_done(&pace, 1, 1, 0);
        CHECK(pace.n_threads == 1);
    }
    return 0;
}
