/*
 * The inside of the three-panel product. pairwise.c cuts the state space and sums it up;
 * pairwise_block.c multiplies the panels of one block; pairwise_moments.c makes moments of it.
 */
#ifndef FRBM_ALGORITHMS_PAIRWISE_H
#define FRBM_ALGORITHMS_PAIRWISE_H

#include "fastrbm/core/array.h"
#include "fastrbm/core/share.h"
#include "fastrbm/core/team.h"
#include "fastrbm/core/workspace.h"
#include "fastrbm/kernels/kernels.h"

enum { FRBM_GROUP_A, FRBM_GROUP_B, FRBM_GROUP_C };

/* States of the inner index in a block, at most: the length of one float32 sum. */
#define FRBM_BLOCK_BITS 8
/* States of A and of B in a shard, at most: what fits the caches, and makes panels cheap. */
#define FRBM_ROWS_BITS 9
#define FRBM_COLUMNS_BITS 10

static inline size_t frbm_states_of(unsigned bits) { return (size_t)1 << bits; }

/* Rows of lanes that so many states take. */
static inline size_t frbm_strips(unsigned bits) {
    return (frbm_states_of(bits) + FRBM_TILE - 1) / FRBM_TILE;
}

/* One thread's scratch. A strip is rows of FRBM_TILE lanes: a row for each state of one group, a
 * lane for each of FRBM_TILE states of another. */
typedef struct {
    void *h;                      /* strips C x A, one for each FRBM_TILE states of A */
    void *g;                      /* strip C x B */
    double *f;                    /* strip A x B */
    void *tile;                   /* FRBM_TILE states of A x B */
    double *hi;                   /* tables of half the bits each */
    double *lo;                   /* (doubles, and the panels' type after them) */
    double *scale;                /* of the rows of a strip, in both types as well */
    double *k_shift;              /* of each state of A */
    double *log_strip;            /* a strip of log-weights */
    const frbm_workspace_t *rest; /* what the thread has beyond this */
    const frbm_team_t *team;
    frbm_stop_t *stop;
} frbm_pairwise_scratch_t;

frbm_pairwise_scratch_t frbm_pairwise_scratch(const frbm_pairwise_t *plan, frbm_workspace_t *w);

/* A block of a shard: its states of A, B and C. */
typedef struct {
    uint64_t first[3];
    unsigned block_bits; /* of C */
} frbm_pairwise_block_t;

/* FRBM_TILE states of B of a block, as the visitor sees them. */
typedef struct {
    uint64_t first_b;
    size_t lanes;
    const double *exponents; /* by lane */
    const double *f;         /* weights A x lanes, if they were asked for */
    const double *dots;      /* their sums over A */
    const double *lost;      /* bounds of what is lost, by lane */
} frbm_pairwise_strip_t;

typedef void (*frbm_pairwise_visit_t)(void *context, const frbm_pairwise_strip_t *strip);

/* Every strip of a block in turn. */
void frbm_pairwise_visit(const frbm_pairwise_t *plan, const frbm_kernels_t *kernels,
                         const frbm_pairwise_block_t *block, const frbm_pairwise_powers_t *powers,
                         int keep_weights, const frbm_pairwise_scratch_t *scratch,
                         frbm_pairwise_visit_t visit, void *context);

/* log_strip[a][lane] = the log-weight of panel A for the states of a block and FRBM_TILE states of
 * B from first_b on. */
void frbm_pairwise_log_panel(const frbm_pairwise_t *plan, uint64_t first_a, uint64_t first_b,
                             const frbm_pairwise_scratch_t *scratch);

/* Blocks of a shard, in turn. */
static inline size_t frbm_pairwise_n_blocks(const frbm_pairwise_t *plan, unsigned block_bits) {
    return frbm_states_of(plan->tile_bits[FRBM_GROUP_C] - block_bits);
}
frbm_pairwise_block_t frbm_pairwise_block(const frbm_pairwise_t *plan, uint64_t index,
                                          unsigned block_bits, size_t block);

int frbm_pairwise_check(const frbm_pairwise_t *plan);

/* Add to a partial result: mantissa exp(exponent), of which lost exp(exponent) may be missing. */
void frbm_pairwise_join(frbm_partial_t *sum, double exponent, double mantissa, double lost);

/* Add a strip's lanes to a partial result. */
void frbm_pairwise_add(frbm_partial_t *sum, const frbm_pairwise_strip_t *strip);

/* Run `one` for the numbers [0, n) by the team, each number by one thread with scratch_size bytes of
 * its own from w on; polls after each, and wherever `one` asks. */
typedef void (*frbm_pairwise_one_t)(void *context, size_t number,
                                    const frbm_pairwise_scratch_t *scratch);
int frbm_pairwise_for_each(const frbm_pairwise_t *plan, size_t n, double work,
                           const frbm_workspace_t *w, size_t scratch_size, const frbm_exec_t *exec,
                           frbm_pairwise_one_t one, void *context);

#endif
