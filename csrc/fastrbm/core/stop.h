/* A poll shared by a team: the calling thread asks, all of them hear the answer. */
#ifndef FRBM_CORE_STOP_H
#define FRBM_CORE_STOP_H

#include <stdatomic.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#include "poll.h"

typedef struct {
    frbm_poll_t poll;
    atomic_int stopped;
} frbm_stop_t;

static inline frbm_stop_t frbm_stop_start(const frbm_exec_t *exec) {
    frbm_stop_t stop;
    stop.poll = frbm_poll_start(exec);
    atomic_init(&stop.stopped, 0);
    return stop;
}

static inline int frbm_stop_asked(frbm_stop_t *stop) {
    int asks = 1;
#ifdef _OPENMP
    asks = omp_get_thread_num() == 0;
#endif
    if (asks && frbm_poll(&stop->poll) != 0)
        atomic_store_explicit(&stop->stopped, 1, memory_order_relaxed);
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

#endif
