/*
 * The threads of one OpenMP region, which own all parallelism here. Work is handed out in
 * contiguous shares; results never depend on the shares. Without OpenMP a team is one thread.
 *
 * The barrier is our own: an update has four or more of them, some microseconds apart, and OpenMP's
 * spins for milliseconds before it sleeps, which costs a factor of ten where a core is shared with
 * somebody else. This one spins for about a microsecond and then gives the core away.
 */
#ifndef FRBM_CORE_TEAM_H
#define FRBM_CORE_TEAM_H

#include <stdatomic.h>
#include <stddef.h>
#ifdef _OPENMP
#include <omp.h>
#include <sched.h>
#endif

#include "poll.h"

/* Shared by a team; set to zero before the region. */
typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint phase;
    atomic_ullong
        waited; /* nanoseconds of all threads, of waits that were longer than the spinning */
} frbm_barrier_t;

typedef struct {
    int thread, n_threads;
    frbm_barrier_t *barrier; /* NULL for a team of one */
} frbm_team_t;

static inline frbm_team_t frbm_team_here(frbm_barrier_t *barrier) {
#ifdef _OPENMP
    const frbm_team_t team = {omp_get_thread_num(), omp_get_num_threads(), barrier};
#else
    const frbm_team_t team = {0, 1, barrier};
#endif
    return team;
}

/* The calling thread by itself. */
static inline frbm_team_t frbm_team_alone(void) {
    const frbm_team_t team = {0, 1, NULL};
    return team;
}

#define FRBM_SPINS 500

static inline void frbm_team_barrier(const frbm_team_t *team) {
    if (team->n_threads == 1) return;
#ifdef _OPENMP
    frbm_barrier_t *b = team->barrier;
    const unsigned phase = atomic_load_explicit(&b->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) == team->n_threads - 1) {
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&b->phase, phase + 1, memory_order_release);
        return;
    }
    for (int spins = 0; spins < FRBM_SPINS; ++spins) {
        if (atomic_load_explicit(&b->phase, memory_order_acquire) != phase) return;
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#endif
    }
    const double start = frbm_seconds();
    while (atomic_load_explicit(&b->phase, memory_order_acquire) == phase) sched_yield();
    const double waited = frbm_seconds() - start;
    if (waited > 0) /* a clock may be set back */
        atomic_fetch_add_explicit(&b->waited, (unsigned long long)(1e9 * waited),
                                  memory_order_relaxed);
#endif
}

/* Seconds that the threads of a region waited; after it. */
static inline double frbm_barrier_waited(frbm_barrier_t *barrier) {
    return 1e-9 * (double)atomic_load_explicit(&barrier->waited, memory_order_relaxed);
}

/* Where the shares of so many threads end, of n pieces of work. */
static inline size_t frbm_team_bound(const frbm_team_t *team, size_t n, int threads) {
    /* Alone there is nothing to divide, and a small update would notice the divisions. */
    return team->n_threads == 1 ? n * (size_t)threads
                                : n * (size_t)threads / (size_t)team->n_threads;
}

/* The share [begin, end) of this one. */
static inline size_t frbm_team_begin(const frbm_team_t *team, size_t n) {
    return frbm_team_bound(team, n, team->thread);
}
static inline size_t frbm_team_end(const frbm_team_t *team, size_t n) {
    return frbm_team_bound(team, n, team->thread + 1);
}

/* Threads worth starting for so many multiply-adds (a region costs some microseconds). */
#define FRBM_MIN_WORK_PER_REGION 1000000.0
static inline int frbm_team_size(int n_threads, double work) {
    return n_threads > 1 && work >= FRBM_MIN_WORK_PER_REGION ? n_threads : 1;
}

#endif
