/*
 * An update of a small model from few rows: both layers of at most FRBM_SMALL_UNITS two-state units, at most
 * FRBM_SMALL_ROWS rows and chains. It is a microsecond or two of one thread, of which the general way
 * (phases.c, update.c) would spend half on its shares, strides and calls. Here it is one straight run over
 * kernels_small.inc, with the same bits as result.
 */
#include "step.h"

int frbm_train_is_small(const frbm_train_t *t, const frbm_exec_t *exec) {
    const frbm_train_options_t *o = &t->options;
    const frbm_rbm_t *rbm = &t->rbm;
    const size_t batch = o->batch_size < t->data.n_rows ? o->batch_size : t->data.n_rows;
    return exec->kernels->real[rbm->dtype].small_run != NULL && t->data.packed &&
           t->buffers->check_interval > 1 && /* else it is polled between its sweeps */
           o->moments == NULL && !o->samples && o->max_norm == 0 &&
           !(o->frozen & FRBM_FREEZE_WEIGHTS) && rbm->visible.n <= FRBM_SMALL_UNITS &&
           rbm->hidden.n <= FRBM_SMALL_UNITS && batch <= FRBM_SMALL_ROWS &&
           (!o->persistent || o->n_chains <= FRBM_SMALL_ROWS) &&
           frbm_unit_is_discrete(frbm_unit(rbm->hidden.unit));
}

/* A layer given the other, with its tables. */
static frbm_small_t prepare(const frbm_step_t *u, int side, void *tables) {
    const frbm_rbm_t *work = &u->b->work;
    const frbm_layer_t *layer = frbm_rbm_layer(work, side), *source = frbm_rbm_layer(work, !side);
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const frbm_small_t small = {.n = layer->n,
                                .n_source = source->n,
                                .scale = unit->high - unit->low,
                                .low = unit->low,
                                .high = unit->high,
                                .is_signed = frbm_unit(source->unit)->storage == FRBM_STORE_SIGNS,
                                .bias = layer->parameters[0],
                                .couplings = side == FRBM_HIDDEN ? u->b->weights : u->b->weights_t,
                                .tables = tables};
    u->exec->kernels->real[work->dtype].small_prepare(&small);
    return small;
}

/* Means of the hidden units of the data, and of the chains at their end. */
static void run_phases(const frbm_step_t *u) {
    struct frbm_train_buffers *b = u->b;
    const frbm_real_kernels_t *k = &u->exec->kernels->real[b->work.dtype];
    uint64_t *hidden = (uint64_t *)b->hidden, *chains = (uint64_t *)b->model.states;
    const int from_data = frbm_step_from_data(u);
    char *tables = (char *)u->scratch;
    const frbm_small_t up = prepare(u, FRBM_HIDDEN, tables),
                       down = prepare(u, FRBM_VISIBLE, tables + FRBM_SMALL_BYTES(u->shape.real));
    frbm_draw_t draw = {frbm_step_stream(u, u->sweep, FRBM_PURPOSE_TRAIN_HIDDEN), 0, 0};
    k->small_run(&up, (const uint64_t *)u->data, u->n_rows, u->data_factor, b->data.means,
                 from_data ? &draw : NULL, hidden);
    for (size_t s = 0; s < u->t->options.k; ++s) {
        draw.stream = frbm_step_stream(u, u->sweep + s, FRBM_PURPOSE_TRAIN_HIDDEN);
        if (s > 0 || !from_data) k->small_run(&up, chains, u->n_chains, 0, NULL, &draw, hidden);
        draw.stream = frbm_step_stream(u, u->sweep + s, FRBM_PURPOSE_TRAIN_VISIBLE);
        k->small_run(&down, hidden, u->n_chains, 0, NULL, &draw, chains);
    }
    k->small_run(&up, chains, u->n_chains, u->model_factor, b->model.means, NULL, NULL);
}

/* Gradients of the biases. */
static void bias_gradients(const frbm_step_t *u, uint32_t ones[2][FRBM_SMALL_UNITS]) {
    struct frbm_train_buffers *b = u->b;
    const frbm_real_kernels_t *k = &u->exec->kernels->real[b->work.dtype];
    const frbm_unit_t *unit = frbm_unit(b->work.visible.unit);
    const double rows = (double)u->n_rows, chains = (double)u->n_chains;
    double *visible = b->gradient[FRBM_VISIBLE], *hidden = b->gradient[FRBM_HIDDEN];
    double sums[2][FRBM_SMALL_UNITS];
    for (size_t i = 0; i < u->shape.n; ++i)
        visible[i] = u->data_factor * frbm_sum_of_states(unit, (double)ones[0][i], rows) +
                     u->model_factor * frbm_sum_of_states(unit, (double)ones[1][i], chains);
    for (size_t j = 0; j < u->shape.ldp; ++j) sums[0][j] = sums[1][j] = 0;
    k->sum_rows(u->n_rows, u->shape.ldp, b->data.means, u->shape.ldp, sums[0]);
    k->sum_rows(u->n_chains, u->shape.ldp, b->model.means, u->shape.ldp, sums[1]);
    for (size_t j = 0; j < u->shape.p; ++j) hidden[j] = sums[0][j] + sums[1][j];
}

void frbm_step_small(const frbm_step_t *u) {
    struct frbm_train_buffers *b = u->b;
    const frbm_train_options_t *o = &u->t->options;
    const frbm_real_kernels_t *k = &u->exec->kernels->real[b->work.dtype];
    const size_t ldp = u->shape.ldp, ldn = frbm_padded(u->shape.n);
    const frbm_update_t how = {o->momentum, o->weight_decay, u->learning_rate, 1};
    uint32_t ones[2][FRBM_SMALL_UNITS];
    run_phases(u);
    const frbm_small_gradient_t g = {
        .n = u->shape.n,
        .p = u->shape.p,
        .is_signed = frbm_unit(b->work.visible.unit)->storage == FRBM_STORE_SIGNS,
        .states = {(const uint64_t *)u->data, (const uint64_t *)b->model.states},
        .means = {b->data.means, b->model.means},
        .n_rows = {u->n_rows, u->n_chains},
        .tables = u->scratch};
    void *tile = (char *)u->scratch + 2 * FRBM_SMALL_BYTES(u->shape.real);
    k->small_gradient(&g, tile, ones);
    bias_gradients(u, ones);
    frbm_step_layers(u, 1);
    b->tile_norms[0] = k->update(u->shape.n, u->shape.p, tile, &how, b->weights, ldp, b->velocity,
                                 ldp, b->weights_t, ldn);
}
