/*
 * The law of one layer given the other, in tiles of rows by FRBM_TILE units: inputs, then what the
 * unit type makes of them. Samplers and trainers are made of calls of frbm_conditional_run.
 */
#ifndef FRBM_RBM_CONDITIONAL_H
#define FRBM_RBM_CONDITIONAL_H

#include "fastrbm/core/team.h"
#include "states.h"

/* Gradients are summed over so many rows at a time, and the partial sums in order, so that they do
 * not depend on how rows are shared out. */
#define FRBM_ROW_CHUNK 16
/* Rows of a tile at most: its inputs and tables stay in L2. */
#define FRBM_TILE_ROWS 256

static inline size_t frbm_row_chunks(size_t n_rows) {
    return (n_rows + FRBM_ROW_CHUNK - 1) / FRBM_ROW_CHUNK;
}

static inline size_t frbm_tiles(size_t n) { return (n + FRBM_TILE - 1) / FRBM_TILE; }

/*
 * A matrix in strips: FRBM_TILE columns after each other, the rows of a strip one after the other, so that a
 * tile's rows are one piece of memory. The last strip is as wide as what is left, padded. The columns are
 * padded to `padded`; first is any column that a tile, or half of one, begins with.
 */
static inline size_t frbm_strip_width(size_t padded, size_t first) {
    const size_t left = padded - first / FRBM_TILE * FRBM_TILE;
    return left < FRBM_TILE ? left : FRBM_TILE;
}
/* The element in row `row` and column `first`. */
static inline size_t frbm_strip_at(size_t n_rows, size_t padded, size_t row, size_t first) {
    return n_rows * (first / FRBM_TILE * FRBM_TILE) + row * frbm_strip_width(padded, first) +
           first % FRBM_TILE;
}

/* Couplings: row k holds the weights of source unit k with all units of the layer. */
typedef struct {
    const frbm_layer_t *layer; /* the layer that is computed */
    int dtype;
    const frbm_kernels_t *kernels;
    size_t n_source;
    const void *couplings;
    size_t ld;     /* of rows; of strips: the padded number of columns */
    int is_padded; /* rows of couplings may be read up to frbm_padded(n) */
    int in_strips;
} frbm_conditional_t;

/* p(hidden | visible) with the weights as they are, or in strips. */
frbm_conditional_t frbm_hidden_given_visible(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                             const void *strips);
/* p(visible | hidden) with the transposed weights, in strips. */
frbm_conditional_t frbm_visible_given_hidden(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                             const void *weights_t);

/* Bytes of (rows, cols) reals in padded rows. */
size_t frbm_matrix_size(size_t n_rows, size_t n_cols, int dtype);
/* weights_t[mu][i] = weights[i][mu], in strips, the padding zero. */
void frbm_weights_transpose(const frbm_rbm_t *rbm, void *weights_t);

/* What to do with the inputs; NULL members are left out. */
typedef struct {
    frbm_operand_t source; /* states of the other layer */
    size_t n_rows;
    double beta;

    void *means; /* factor E[s], rows of ldmeans reals */
    size_t ldmeans;
    double factor;
    double *gradient; /* of factor-weighted log-weights: n_learned n doubles a chunk of rows */

    const frbm_stream_t *stream; /* draws */
    void *states;
    size_t stride; /* bytes */
    const uint64_t *keep;
    size_t keep_stride; /* words */
} frbm_conditional_job_t;

/* Bytes of scratch that each thread brings. */
size_t frbm_conditional_scratch(int dtype);

/* This thread's share of the job; no barrier inside. */
void frbm_conditional_run(const frbm_conditional_t *c, const frbm_conditional_job_t *job,
                          const frbm_team_t *team, void *scratch);
/* The units [begin, end) of all rows, at most FRBM_TILE_ROWS, by the calling thread; begin is a multiple of FRBM_TILE.
 * job->states are rows of these units alone. */
void frbm_conditional_units(const frbm_conditional_t *c, const frbm_conditional_job_t *job,
                            size_t begin, size_t end, void *scratch);

#endif
