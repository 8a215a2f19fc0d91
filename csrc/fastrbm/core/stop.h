/* A poll shared by a team: the calling thread asks, all of them hear the answer. */
#ifndef FRBM_CORE_STOP_H
#define FRBM_CORE_STOP_H

#include <stdatomic.h>

#include "flush.h"
#include "poll.h"
#include "team.h"

typedef struct {
    frbm_poll_t poll;
    atomic_int stopped;
    atomic_int arrived; /* threads that have no more work */
} frbm_stop_t;

static inline frbm_stop_t frbm_stop_start(const frbm_exec_t *exec) {
    frbm_stop_t stop;
    stop.poll = frbm_poll_start(exec);
    atomic_init(&stop.stopped, 0);
    atomic_init(&stop.arrived, 0);
    return stop;
}

static inline int frbm_stop_heard(frbm_stop_t *stop) {
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

static inline int frbm_stop_asked(frbm_stop_t *stop, const frbm_team_t *team) {
    if (team->thread == 0) {
        const unsigned before = frbm_flush_pause();
        if (frbm_poll(&stop->poll) != 0) atomic_store(&stop->stopped, 1);
        frbm_flush_end(before);
    }
    return frbm_stop_heard(stop);
}

/* At the end of every thread's work: the calling thread goes on asking until all are here. */
static inline void frbm_stop_wait(frbm_stop_t *stop, const frbm_team_t *team) {
    atomic_fetch_add(&stop->arrived, 1);
    while (team->thread == 0 && atomic_load(&stop->arrived) < team->n_threads) {
        frbm_stop_asked(stop, team);
#ifdef _OPENMP
        sched_yield();
#endif
    }
}

#endif
