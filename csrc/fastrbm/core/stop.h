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
} frbm_stop_t;

static inline frbm_stop_t frbm_stop_start(const frbm_exec_t *exec) {
    frbm_stop_t stop;
    stop.poll = frbm_poll_start(exec);
    atomic_init(&stop.stopped, 0);
    return stop;
}

static inline int frbm_stop_asked(frbm_stop_t *stop, const frbm_team_t *team) {
    if (team->thread == 0) {
        const unsigned before = frbm_flush_pause();
        if (frbm_poll(&stop->poll) != 0) atomic_store(&stop->stopped, 1);
        frbm_flush_end(before);
    }
    return atomic_load_explicit(&stop->stopped, memory_order_relaxed);
}

#endif
