#include "pace.h"

frbm_pace_t frbm_pace_start(int n_threads) {
    const frbm_pace_t pace = {n_threads, n_threads, 0, 0, 0, FRBM_PACE_FIRST};
    return pace;
}

/* So many threads for a while; the time after this one is longer. */
static void stay(frbm_pace_t *pace, int n_threads) {
    pace->n_threads = n_threads;
    pace->left = pace->pieces;
    if (pace->pieces < FRBM_PACE_MOST) pace->pieces *= 2;
}

void frbm_pace_done(frbm_pace_t *pace, double work, double seconds, double waited) {
    const double rate = work / (seconds > 1e-9 ? seconds : 1e-9);
    if (pace->most == 1) return;
    if (pace->n_threads == 1) {
        pace->alone = rate;
        if (rate < pace->together)
            stay(pace, pace->most);
        else if (pace->left == 0)
            stay(pace, 1); /* the trial was worth it */
        else if (--pace->left == 0)
            pace->n_threads = pace->most;
        return;
    }
    pace->together = rate;
    if (waited <= 0.5 * (pace->most - 1) * seconds) { /* as it should be */
        pace->left = 0;
        pace->pieces = FRBM_PACE_FIRST;
    } else if (pace->left > 0) {
        --pace->left; /* slow, but one thread was slower */
    } else if (rate < pace->alone) {
        stay(pace, 1);
    } else {
        pace->n_threads = 1; /* a trial */
    }
}
