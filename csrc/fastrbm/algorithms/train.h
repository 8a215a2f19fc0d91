/*
 * The inside of frbm_train_t. train.c runs epochs; update.c is one update by a team of threads, of the parts that
 * step.h names. How an update is made is a function of the sizes and options alone: small.c, slices.c or phases.c.
 *
 * The caller's model holds the last good state. Training works on copies: the weights and their transpose, both in
 * strips (rbm/conditional.h; each direction of sampling reads the matrix along its own units), and one
 * velocity, so that four matrices exist in all. The gradient is never stored: a tile of it is made and
 * applied at once.
 */
#ifndef FRBM_ALGORITHMS_TRAIN_H
#define FRBM_ALGORITHMS_TRAIN_H

#include "fastrbm/core/bits.h"
#include "fastrbm/core/poll.h"
#include "fastrbm/core/workspace.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/conditional.h"

/* Rows of a tile of the gradient, at most; it has FRBM_TILE lanes. */
#define FRBM_GRADIENT_ROWS 128

/* One side of the statistics of an update: the data, or the chains. */
typedef struct {
    void *states;       /* visible: stored rows, or slices; of the data, two mini-batches in turn */
    uint64_t *states_t; /* discrete: bits of unit i in row i */
    void *means;        /* E[h | v] times a factor of sign and 1 / rows, padded rows */
    double *gradient_h; /* of the hidden layer, a chunk of rows at a time */
} frbm_phase_t;

/* Visible units of a slice, see slices.c, and words of their states. */
#define FRBM_SLICE 128
#define FRBM_SLICE_WORDS (FRBM_SLICE / 64)

/* Sizes that an update needs again and again. */
typedef struct {
    size_t n, p, ldp, real;
    size_t tile_rows, row_tiles, lane_tiles; /* of the gradient; a row of tiles may be a slice */
} frbm_train_shape_t;

static inline frbm_train_shape_t frbm_train_shape(const frbm_rbm_t *rbm, int is_sliced) {
    const size_t n = rbm->visible.n, p = rbm->hidden.n;
    /* Whole strips of the transpose; so many tiles that threads have nearly equal shares. */
    const size_t tile_rows = is_sliced                     ? FRBM_SLICE
                             : n <= 4 * FRBM_GRADIENT_ROWS ? FRBM_TILE
                                                           : FRBM_GRADIENT_ROWS;
    const frbm_train_shape_t s = {n,
                                  p,
                                  frbm_padded(p),
                                  frbm_real_size(rbm->dtype),
                                  tile_rows,
                                  (n + tile_rows - 1) / tile_rows,
                                  frbm_tiles(p)};
    return s;
}

struct frbm_train_buffers {
    int n_threads;
    size_t check_interval; /* updates between two divergence checks, */
    size_t poll_interval;  /* and between two looks at the clock */
    frbm_rbm_t work;       /* layers with the working parameters */
    frbm_train_shape_t shape;
    int is_sliced;      /* are updates made by slices? Then there are, for data and chains, */
    void *partials[2];  /* sums of the hidden inputs over each slice: by slice, then by tile */
    void *inputs[2];    /* and over all: tiles of */
    size_t sliced_rows; /* so many rows: what a slice and a tile have room for */
    void *weights, *velocity;                 /* in strips */
    void *weights_t;                          /* strips of visible units */
    void *parameters[2][FRBM_MAX_PARAMETERS]; /* by side: working copies of what is learned, */
    void *velocities[2][FRBM_MAX_PARAMETERS];
    double *gradient[2]; /* and its gradient, n_learned n */
    uint32_t *order;     /* rows of the epoch */
    frbm_phase_t data, model;
    size_t batch_bytes;            /* of the states of a mini-batch, */
    size_t chain_bytes;            /* and of the chains */
    double *products, *moments[2]; /* what a source of moments says: <v h>, and by side */
    void *start;                   /* drawn start of CD chains, where data are probabilities */
    void *hidden;                  /* hidden states of the chains */
    uint64_t *hidden_t;            /* statistics="samples" */
    void *good_chains;             /* of the last good state */
    size_t good_rows;
    double most; /* larger parameters have diverged; set by the first epoch */
    uint64_t good_updates;
    double *tile_norms; /* squared norms of the steps of the gradient's tiles */
    char *scratch;      /* of all threads */
    size_t thread_scratch;
};

/* FRBM_SLICE_WORDS words a row of the states of a slice, so that no two threads write to one line of memory. */
static inline uint64_t *frbm_slice_of(const struct frbm_train_buffers *b, const void *states,
                                      size_t slice) {
    return (uint64_t *)(uintptr_t)states + slice * b->sliced_rows * FRBM_SLICE_WORDS;
}

/* Words of a row that a slice has. */
static inline size_t frbm_slice_words(const frbm_train_shape_t *s, size_t slice) {
    const size_t words = frbm_bit_words(s->n) - slice * FRBM_SLICE_WORDS;
    return words < FRBM_SLICE_WORDS ? words : FRBM_SLICE_WORDS;
}

/* Chains of an update whose mini-batch has so many rows. */
static inline size_t frbm_train_chains(const frbm_train_options_t *o, size_t batch_rows) {
    if (o->moments != NULL) return 0;
    return o->persistent ? o->n_chains : batch_rows;
}

static inline int frbm_is_frozen(const frbm_train_options_t *o, int side, int k) {
    return (o->frozen & FRBM_FREEZE(side, k)) != 0;
}

/* What the threads of an epoch share. */
typedef struct {
    frbm_barrier_t barrier;
    frbm_poll_t poll;
    int rc; /* leave the epoch when not FRBM_OK */
} frbm_epoch_t;

/* The rows order[first .. first + n_rows) of update `number`, counted since training began. */
typedef struct {
    size_t first, n_rows;
    uint64_t number;
} frbm_batch_t;

/* The rows of mini-batches are copied while the one before is still in use: two buffers in turn. */
static inline void *frbm_train_rows(const frbm_train_t *t, uint64_t number) {
    return (char *)t->buffers->data.states + number % 2 * t->buffers->batch_bytes;
}

/* Is the model small, and are there so few rows and chains that an update is one step of one thread, see small.c? */
int frbm_train_is_small(const frbm_train_t *t, const frbm_exec_t *exec);

/* Copies the rows of a mini-batch; by every thread of the team, with a barrier before they are used. */
void frbm_train_gather(const frbm_train_t *t, const frbm_team_t *team, const frbm_epoch_t *epoch,
                       const frbm_batch_t *batch, uint64_t key);

/* One update from a mini-batch whose rows are gathered, by every thread of the team; gathers those of the next
 * one, if there is one, and ends with a barrier. Returns 0, with no parameter moved, if epoch->rc is not
 * FRBM_OK after the first phase at the latest, or if the poll stopped it between two sweeps. */
int frbm_train_update(frbm_train_t *t, const frbm_team_t *team, frbm_epoch_t *epoch,
                      const frbm_batch_t *batch, const frbm_batch_t *next, double learning_rate,
                      uint64_t key);

/* The data term over rows order[0 .. n_rows) by every thread of the team; see
 * frbm_train_data_term. Returns 0 if the poll stopped it. */
int frbm_train_statistics(frbm_train_t *t, const frbm_team_t *team, frbm_epoch_t *epoch,
                          size_t n_rows, double *products, double *visible, double *hidden);

#endif
