/*
 * What the files of one update share: phases.c makes the statistics of the data and of the chains, or slices.c where
 * there are few rows, update.c the gradient and the step, small.c both for small models.
 */
#ifndef FRBM_ALGORITHMS_STEP_H
#define FRBM_ALGORITHMS_STEP_H

#include "train.h"

/* Units [begin, end) of a layer. */
typedef struct {
    size_t begin, end;
} frbm_units_t;

/* What the threads need to know of an update. */
typedef struct {
    frbm_train_t *t;
    struct frbm_train_buffers *b;
    const frbm_team_t *team;
    const frbm_exec_t *exec;
    frbm_train_shape_t shape;
    size_t n_rows, n_chains;
    double data_factor, model_factor; /* of the sums over rows, and over chains */
    uint64_t number;                  /* of the update, since training began, */
    uint64_t sweep;                   /* and of its first sweep */
    void *data;                       /* its rows */
    uint64_t key;
    double learning_rate;
    void *scratch;
    int exact;             /* the model term comes from a source of moments */
    frbm_units_t units[2]; /* this thread's share of each layer, of its parameters that is */
} frbm_step_t;

static inline frbm_stream_t frbm_step_stream(const frbm_step_t *u, uint64_t step,
                                             enum frbm_purpose purpose) {
    return frbm_stream(u->key, step, purpose, 0);
}

/* Do the chains start at the rows of the data? Their first hidden states then come from the inputs of the means. */
static inline int frbm_step_from_data(const frbm_step_t *u) {
    return !u->exact && !u->t->options.persistent && u->b->start == NULL;
}

/* The statistics of the data and of the chains. Returns 0 if stopped. */
int frbm_step_phases(const frbm_step_t *u, frbm_epoch_t *epoch);

/* Of the data alone: E[h | v] of the rows, and their bits by units; with draw, the first hidden states of the
 * chains. */
void frbm_positive_phase(const frbm_step_t *u, const frbm_stream_t *draw);

/* The same where updates are made by slices. Returns 0 if epoch->rc says so. */
int frbm_step_slices(const frbm_step_t *u, const frbm_epoch_t *epoch);

/* Of the data alone, and the chains' first hidden states if there are chains. */
int frbm_positive_slices(const frbm_step_t *u, const frbm_epoch_t *epoch);

/* This thread's slices. */
static inline frbm_units_t frbm_step_own_slices(const frbm_step_t *u) {
    const size_t n = u->shape.row_tiles;
    const frbm_units_t own = {frbm_team_begin(u->team, n), frbm_team_end(u->team, n)};
    return own;
}

/* This thread's share of the columns of bits, turned into rows. */
void frbm_step_transpose(const frbm_step_t *u, const frbm_layer_t *layer, const void *states,
                         size_t n_rows, uint64_t *out);

/* The step of the layers' parameters, this thread's share of the units, by their gradients times clip. */
void frbm_step_layers(const frbm_step_t *u, double clip);

/* A barrier, at which long updates are polled. They are checked one by one, so that the chains of the
 * last whole update are at hand when one is given up. Says whether it is: to all threads alike, so that none may
 * poll again before all have read the answer. */
int frbm_poll_long_update(const frbm_step_t *u, frbm_epoch_t *epoch);

/* All of an update that frbm_train_is_small, by a team of one. */
void frbm_step_small(const frbm_step_t *u);

#endif
