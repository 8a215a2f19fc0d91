#include "share.h"

/* At the end of every thread's work: the calling thread goes on asking until all are here. */
static void wait_for_all(frbm_stop_t *stop, const frbm_team_t *team, atomic_int *arrived) {
    atomic_fetch_add(arrived, 1);
    while (team->thread == 0 && atomic_load(arrived) < team->n_threads) {
        frbm_stop_asked(stop, team);
#ifdef _OPENMP
        sched_yield();
#endif
    }
}

int frbm_share(const frbm_exec_t *exec, int n_threads, uint64_t n, frbm_piece_t piece,
               void *context) {
    frbm_stop_t stop = frbm_stop_start(exec);
    atomic_ullong next = 0;
    atomic_int arrived = 0;
    (void)n_threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
#endif
    {
        const frbm_team_t team = frbm_team_here(NULL);
        uint64_t number;
        while (!frbm_stop_asked(&stop, &team) && (number = atomic_fetch_add(&next, 1)) < n)
            piece(context, number, &team, &stop);
        wait_for_all(&stop, &team, &arrived);
    }
    return atomic_load(&stop.stopped) ? FRBM_STOPPED : FRBM_OK;
}
