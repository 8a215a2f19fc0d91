/* Epochs of training: workspace, order of the rows, divergence checks, polls, exact moments. */
#include "train.h"

#include <math.h>
#include <string.h>

#include "fastrbm/core/pace.h"

/* Updates between two divergence checks: a function of the sizes alone. */
#define CHECK_INTERVAL 256
/* An update of more multiply-adds than this takes some tens of milliseconds: the check costs
 * nothing beside it, and the poll must not wait for its end. */
#define LONG_UPDATE 2e9
/* Multiply-adds between two looks at the clock: well below a millisecond. */
#define POLL_WORK 1e6

/* Updates of fewer multiply-adds are made by one thread, since the threads meet at least 2 k + 2 times in each. */
#define MIN_WORK_PER_UPDATE 1e5

/* Of a piece, see core/pace.h: some milliseconds. */
#define PIECE_WORK 4e8

/* Multiply-adds of an update, a draw counted as 64. */
static double update_work(const frbm_rbm_t *rbm, const frbm_train_options_t *o, size_t rows) {
    const double n = (double)rbm->visible.n, p = (double)rbm->hidden.n, k = (double)o->k;
    return (double)rows * ((3 + 2 * k) * n * p + 64 * k * (n + p));
}

/* Are updates from so many rows and chains, at most, made by slices of the visible units, see slices.c? They are where
 * the sums that slices send each other are few, in a corner of L2 or beside the weights, and where there are enough
 * slices for several threads, or so little to do in each that more threads would be of no use. */
#define MAX_SLICED_ROWS 128
#define FEW_SUMS 65536.0
#define MIN_SLICES 4
#define SHORT_SLICE 5e5 /* multiply-adds of one product */

static int has_slices(const frbm_rbm_t *rbm, const frbm_data_t *data, const frbm_train_options_t *o,
                      size_t rows) {
    const frbm_train_shape_t s = frbm_train_shape(rbm, 1);
    const double sums = (double)rows * (double)(s.row_tiles * s.lane_tiles * FRBM_TILE);
    const double slice = (double)rows * FRBM_SLICE * (double)s.p;
    return data->packed && o->moments == NULL && !o->samples && o->max_norm == 0 &&
           s.row_tiles > 1 && rows <= MAX_SLICED_ROWS &&
           (s.row_tiles >= MIN_SLICES || slice <= SHORT_SLICE) &&
           (sums <= FEW_SUMS || 8 * sums <= (double)s.n * (double)s.p) &&
           update_work(rbm, o, rows) <= LONG_UPDATE; /* else it is polled between its sweeps */
}

static size_t state_bytes(const frbm_rbm_t *rbm, int side, size_t n_rows) {
    return n_rows * frbm_states_stride(frbm_rbm_layer(rbm, side), rbm->dtype);
}

/* Bytes of a double for each learned value of a side's layer. */
static size_t learned_values(const frbm_rbm_t *rbm, int side) {
    const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
    return (size_t)frbm_unit(layer->unit)->n_learned * layer->n * sizeof(double);
}

/* Bytes of the visible states of a phase. */
static size_t phase_bytes(const frbm_rbm_t *rbm, size_t n_rows, int packed) {
    return packed ? state_bytes(rbm, FRBM_VISIBLE, n_rows)
                  : frbm_matrix_size(n_rows, rbm->visible.n, rbm->dtype);
}

static void take_phase(frbm_workspace_t *w, const frbm_rbm_t *rbm, size_t n_rows, int packed,
                       size_t size, frbm_phase_t *phase) {
    const size_t n = rbm->visible.n;
    phase->states = frbm_workspace_take(w, size);
    phase->states_t =
        packed && frbm_unit_is_discrete(frbm_unit(rbm->visible.unit))
            ? (uint64_t *)frbm_workspace_take(w, n * frbm_bit_words(n_rows) * sizeof(uint64_t))
            : NULL;
    phase->means = frbm_workspace_take(w, frbm_matrix_size(n_rows, rbm->hidden.n, rbm->dtype));
    phase->gradient_h = (double *)frbm_workspace_take(
        w, frbm_row_chunks(n_rows) * (size_t)frbm_unit(rbm->hidden.unit)->n_learned *
               rbm->hidden.n * sizeof(double));
}

static void take_all(struct frbm_train_buffers *b, frbm_workspace_t *w, const frbm_rbm_t *rbm,
                     const frbm_data_t *data, const frbm_train_options_t *o, int n_threads) {
    const size_t batch = o->batch_size < data->n_rows ? o->batch_size : data->n_rows;
    const size_t chains = frbm_train_chains(o, batch);
    const size_t most = batch > chains ? batch : chains;
    const int is_sliced = has_slices(rbm, data, o, most);
    const frbm_train_shape_t s = frbm_train_shape(rbm, is_sliced);
    const int discrete = frbm_unit_is_discrete(frbm_unit(rbm->visible.unit));
    const int hidden_bits = frbm_unit_is_discrete(frbm_unit(rbm->hidden.unit));
    b->n_threads = n_threads;
    b->weights = frbm_workspace_take(w, frbm_matrix_size(s.n, s.p, rbm->dtype));
    b->velocity = frbm_workspace_take(w, frbm_matrix_size(s.n, s.p, rbm->dtype));
    b->weights_t = frbm_workspace_take(w, frbm_matrix_size(s.p, s.n, rbm->dtype));
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
        const int n_learned = frbm_unit(layer->unit)->n_learned;
        for (int k = 0; k < n_learned; ++k) {
            b->parameters[side][k] = frbm_workspace_take(w, layer->n * s.real);
            b->velocities[side][k] = frbm_workspace_take(w, layer->n * s.real);
        }
        b->gradient[side] =
            (double *)frbm_workspace_take(w, (size_t)n_learned * layer->n * sizeof(double));
    }
    b->order = (uint32_t *)frbm_workspace_take(w, data->n_rows * sizeof(uint32_t));
    const size_t sliced = s.row_tiles * most * FRBM_SLICE_WORDS * sizeof(uint64_t);
    b->batch_bytes = is_sliced ? sliced : phase_bytes(rbm, batch, data->packed);
    b->chain_bytes = is_sliced ? sliced : phase_bytes(rbm, chains, discrete);
    take_phase(w, rbm, batch, data->packed, 2 * b->batch_bytes, &b->data);
    take_phase(w, rbm, chains, discrete, b->chain_bytes, &b->model);
    if (o->moments != NULL) {
        b->products = (double *)frbm_workspace_take(w, s.n * s.p * sizeof(double));
        for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side)
            b->moments[side] = (double *)frbm_workspace_take(w, learned_values(rbm, side));
    }
    b->start = discrete && !data->packed && !o->persistent && o->moments == NULL
                   ? frbm_workspace_take(w, state_bytes(rbm, FRBM_VISIBLE, batch))
                   : NULL;
    b->hidden = frbm_workspace_take(w, state_bytes(rbm, FRBM_HIDDEN, chains));
    b->hidden_t =
        o->samples && hidden_bits
            ? (uint64_t *)frbm_workspace_take(w, s.p * frbm_bit_words(chains) * sizeof(uint64_t))
            : NULL;
    b->good_chains = frbm_workspace_take(w, b->chain_bytes);
    b->shape = s;
    b->is_sliced = is_sliced;
    b->sliced_rows = most;
    for (int of_chains = 0; is_sliced && of_chains < 2; ++of_chains) {
        const size_t sums = s.lane_tiles * most * FRBM_TILE * s.real;
        b->partials[of_chains] = frbm_workspace_take(w, s.row_tiles * sums);
        b->inputs[of_chains] = frbm_workspace_take(w, sums);
    }
    b->tile_norms = (double *)frbm_workspace_take(w, s.row_tiles * s.lane_tiles * sizeof(double));
    b->thread_scratch = frbm_conditional_scratch(rbm->dtype);
    const size_t small = 2 * FRBM_SMALL_BYTES(s.real) +
                         FRBM_SMALL_UNITS * FRBM_TILE * s.real; /* tables, and a tile */
    if (b->thread_scratch < small) b->thread_scratch = small;
    b->scratch = (char *)frbm_workspace_take(w, (size_t)n_threads * b->thread_scratch);
}

size_t frbm_train_workspace_size(const frbm_rbm_t *rbm, const frbm_data_t *data,
                                 const frbm_train_options_t *options, int n_threads) {
    struct frbm_train_buffers b;
    frbm_workspace_t w = frbm_workspace(NULL);
    frbm_workspace_take(&w, sizeof b);
    take_all(&b, &w, rbm, data, options, n_threads < 1 ? 1 : n_threads);
    return frbm_workspace_size(&w);
}

static int check_options(const frbm_data_t *data, const frbm_train_options_t *o) {
    const int negative = o->moments == NULL ? o->k >= 1 && (!o->persistent || o->n_chains >= 1)
                                            : o->k == 0 && !o->persistent && !o->samples;
    const int ok = negative && o->batch_size >= 1 && o->n_chains < UINT32_MAX && o->momentum >= 0 &&
                   o->momentum < 1 && o->weight_decay >= 0 && o->max_norm >= 0 &&
                   isfinite(o->weight_decay) && isfinite(o->max_norm) && data->n_rows >= 1 &&
                   data->n_rows < UINT32_MAX;
    return ok ? FRBM_OK : FRBM_ERROR_ARGUMENT;
}

int frbm_train_init(frbm_train_t *train, const frbm_rbm_t *rbm, const frbm_data_t *data,
                    const frbm_train_options_t *options, int n_threads, void *workspace,
                    size_t size) {
    int rc = frbm_rbm_check(rbm);
    if (rc < 0) return rc;
    if (train == NULL || data == NULL || options == NULL) return FRBM_ERROR_ARGUMENT;
    rc = check_options(data, options);
    if (rc < 0) return rc;
    const int discrete = frbm_unit_is_discrete(frbm_unit(rbm->visible.unit));
    /* Values of discrete units are probabilities of the state 1, which only 0/1 units have. */
    if (data->packed ? !discrete || data->bits == NULL
                     : frbm_unit(rbm->visible.unit)->storage == FRBM_STORE_SIGNS ||
                           frbm_array_check(&data->values, rbm->visible.n) < 0 ||
                           data->values.n_rows != data->n_rows)
        return FRBM_ERROR_ARGUMENT;
    if (n_threads < 1) n_threads = 1;
    if (workspace == NULL || size < frbm_train_workspace_size(rbm, data, options, n_threads))
        return FRBM_ERROR_WORKSPACE;

    memset(workspace, 0, size);
    frbm_workspace_t w = frbm_workspace(workspace);
    struct frbm_train_buffers *b = (struct frbm_train_buffers *)frbm_workspace_take(&w, sizeof *b);
    take_all(b, &w, rbm, data, options, n_threads);
    const size_t batch = options->batch_size < data->n_rows ? options->batch_size : data->n_rows;
    const double work = update_work(rbm, options, batch);
    /* A source reads the model that the check publishes, and nobody knows how long it takes. */
    const int exact = options->moments != NULL;
    b->check_interval = exact || work > LONG_UPDATE ? 1 : CHECK_INTERVAL;
    b->poll_interval = exact || work > POLL_WORK ? 1 : (size_t)(POLL_WORK / work);
    b->work = *rbm;
    frbm_layer_t *layers[2] = {&b->work.visible, &b->work.hidden};
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side)
        for (int k = 0; k < frbm_unit(layers[side]->unit)->n_learned; ++k)
            layers[side]->parameters[k] = b->parameters[side][k];

    memset(train, 0, sizeof *train);
    train->rbm = *rbm;
    train->data = *data;
    train->options = *options;
    train->buffers = b;
    if (options->persistent) train->last_chains = options->n_chains;
    return FRBM_OK;
}

/* ------------------------------------------------------------------------------------ chains */

/* Where the rows of the chains are put before an epoch: where they stay, or where they wait for copy_to_slices, which is
 * free outside of an epoch. */
static void *chain_rows(const frbm_train_t *t) {
    return t->buffers->is_sliced ? t->buffers->good_chains : t->buffers->model.states;
}

static void copy_to_slices(const frbm_train_t *t) {
    const struct frbm_train_buffers *b = t->buffers;
    const size_t words = frbm_bit_words(b->shape.n);
    for (size_t slice = 0; b->is_sliced && slice < b->shape.row_tiles; ++slice)
        for (size_t c = 0; c < t->options.n_chains; ++c)
            memcpy(frbm_slice_of(b, b->model.states, slice) + c * FRBM_SLICE_WORDS,
                   (const uint64_t *)b->good_chains + c * words + slice * FRBM_SLICE_WORDS,
                   frbm_slice_words(&b->shape, slice) * sizeof(uint64_t));
}

int frbm_train_start_chains(frbm_train_t *train, const frbm_rng_t *rng) {
    if (train == NULL || rng == NULL || !train->options.persistent) return FRBM_ERROR_ARGUMENT;
    const frbm_layer_t *layer = &train->rbm.visible;
    const size_t stride = frbm_states_stride(layer, train->rbm.dtype);
    const frbm_stream_t rows = frbm_stream(rng->key, 0, FRBM_PURPOSE_CHAINS, 0);
    const frbm_stream_t draws = frbm_stream(rng->key, 1, FRBM_PURPOSE_CHAINS, 0);
    for (size_t c = 0; c < train->options.n_chains; ++c) {
        char *chain = (char *)chain_rows(train) + c * stride;
        const size_t row = frbm_stream_index(&rows, (uint32_t)c, (uint32_t)train->data.n_rows);
        if (train->data.packed) {
            memcpy(chain, (const char *)train->data.bits + row * stride, stride);
        } else if (!frbm_unit_is_discrete(frbm_unit(layer->unit))) {
            frbm_array_load_row(&train->data.values, row, train->rbm.dtype, chain);
        } else { /* probabilities: one draw a unit */
            uint64_t *bits = (uint64_t *)(void *)chain;
            memset(bits, 0, stride);
            for (size_t i = 0; i < layer->n; ++i) {
                const frbm_philox_block words =
                    frbm_stream_block(&draws, (uint32_t)c, (uint32_t)(i / 4));
                const double p = frbm_array_get(&train->data.values, row, i);
                bits[i / 64] |= (uint64_t)((double)words.c[i % 4] < p * 4294967296.0) << (i % 64);
            }
        }
    }
    copy_to_slices(train);
    return FRBM_OK;
}

int frbm_train_load_chains(frbm_train_t *train, const frbm_array_t *visible, frbm_where_t *where) {
    if (train == NULL || visible == NULL || !train->options.persistent) return FRBM_ERROR_ARGUMENT;
    const int rc = frbm_array_check(visible, train->rbm.visible.n);
    if (rc < 0) return rc;
    if (visible->n_rows != train->options.n_chains) return FRBM_ERROR_ARGUMENT;
    const int loaded = frbm_states_load(&train->rbm.visible, train->rbm.dtype, visible, 0,
                                        visible->n_rows, chain_rows(train), where);
    if (loaded == FRBM_OK) copy_to_slices(train);
    return loaded;
}

int frbm_train_store_chains(const frbm_train_t *train, void *out, int out_dtype,
                            ptrdiff_t row_stride, ptrdiff_t col_stride) {
    if (train == NULL || out == NULL) return FRBM_ERROR_ARGUMENT;
    if (!frbm_unit_can_store(frbm_unit(train->rbm.visible.unit), out_dtype))
        return FRBM_ERROR_DTYPE;
    const struct frbm_train_buffers *b = train->buffers;
    const int dtype = train->rbm.dtype;
    frbm_layer_t layer = train->rbm.visible;
    if (!b->is_sliced)
        frbm_states_store(&layer, dtype, train->last_chains, b->model.states, out, out_dtype,
                          row_stride, col_stride);
    for (size_t slice = 0; b->is_sliced && slice < b->shape.row_tiles; ++slice) {
        const size_t first = slice * FRBM_SLICE, left = b->shape.n - first;
        layer.n = left < FRBM_SLICE ? left : FRBM_SLICE;
        for (size_t c = 0; c < train->last_chains; ++c)
            frbm_states_store(
                &layer, dtype, 1, frbm_slice_of(b, b->model.states, slice) + c * FRBM_SLICE_WORDS,
                (char *)out + (ptrdiff_t)c * row_stride + (ptrdiff_t)first * col_stride, out_dtype,
                row_stride, col_stride);
    }
    return FRBM_OK;
}

/* ------------------------------------------------- between the caller's model and the working one */

static size_t parameter_bytes(const frbm_rbm_t *rbm, int side) {
    return frbm_rbm_layer(rbm, side)->n * frbm_real_size(rbm->dtype);
}

/* The caller's rows of weights to the strips, or back. */
static void copy_strips(const frbm_train_shape_t *s, char *rows, char *strips, int to_strips) {
    for (size_t first = 0; first < s->p; first += FRBM_TILE)
        for (size_t i = 0; i < s->n; ++i) {
            char *row = rows + (i * s->p + first) * s->real;
            char *strip = strips + frbm_strip_at(s->n, s->ldp, i, first) * s->real;
            const size_t size = (s->p - first < FRBM_TILE ? s->p - first : FRBM_TILE) * s->real;
            memcpy(to_strips ? strip : row, to_strips ? row : strip, size);
        }
}

static void load_model(frbm_train_t *t) {
    struct frbm_train_buffers *b = t->buffers;
    const frbm_train_shape_t s = t->buffers->shape;
    copy_strips(&s, (char *)(uintptr_t)t->rbm.weights, (char *)b->weights, 1);
    frbm_weights_transpose(&t->rbm, b->weights_t);
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&t->rbm, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k)
            memcpy(b->parameters[side][k], layer->parameters[k], parameter_bytes(&t->rbm, side));
    }
}

static double largest(const void *p, int dtype, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; ++i) {
        const double x = fabs(frbm_real_get(p, dtype, i));
        if (!(x <= most)) most = x; /* NaN is kept */
        if (most != most) break;
    }
    return most;
}

/* The largest working parameter; NaN if one is. */
static double largest_parameter(const frbm_train_t *t) {
    const struct frbm_train_buffers *b = t->buffers;
    const frbm_train_shape_t s = t->buffers->shape;
    double most = largest(b->weights, t->rbm.dtype, s.n * s.ldp);
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&t->rbm, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k) {
            const double x = largest(b->parameters[side][k], t->rbm.dtype, layer->n);
            if (most == most && !(x <= most)) most = x; /* NaN is kept */
        }
    }
    return most;
}

/* Parameters may grow, but not by this factor: what is multiplied so is on its way to infinity. */
#define MAX_GROWTH 1e6

static int is_good(const frbm_train_t *t) {
    const struct frbm_train_buffers *b = t->buffers;
    if (!(largest_parameter(t) <= b->most)) return 0;
    return frbm_unit_is_discrete(frbm_unit(t->rbm.visible.unit)) ||
           frbm_all_finite(b->model.states, t->rbm.dtype,
                           t->last_chains * frbm_padded(t->rbm.visible.n));
}

static void restore(frbm_train_t *t) {
    t->last_chains = t->buffers->good_rows;
    t->n_updates = t->buffers->good_updates;
    memcpy(t->buffers->model.states, t->buffers->good_chains, t->buffers->chain_bytes);
}

static void keep(frbm_train_t *t) {
    t->buffers->good_rows = t->last_chains;
    t->buffers->good_updates = t->n_updates;
    memcpy(t->buffers->good_chains, t->buffers->model.states, t->buffers->chain_bytes);
}

/* Velocities that led to infinity are of no use: training may go on from a standstill. */
static void stand_still(frbm_train_t *t) {
    struct frbm_train_buffers *b = t->buffers;
    memset(b->velocity, 0, frbm_matrix_size(t->rbm.visible.n, t->rbm.hidden.n, t->rbm.dtype));
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side)
        for (int k = 0; k < frbm_unit(frbm_rbm_layer(&t->rbm, side)->unit)->n_learned; ++k)
            memset(b->velocities[side][k], 0, parameter_bytes(&t->rbm, side));
}

/* After divergence: the last good state, and no velocity. */
static void go_back(frbm_train_t *t) {
    restore(t);
    stand_still(t);
}

/* The working state becomes the last good one, if it is good. */
static int publish(frbm_train_t *t) {
    struct frbm_train_buffers *b = t->buffers;
    const frbm_train_shape_t s = t->buffers->shape;
    if (!is_good(t)) return FRBM_ERROR_DIVERGED;
    /* The model is the caller's own and writable: fastrbm.h says so. */
    copy_strips(&s, (char *)(uintptr_t)t->rbm.weights, (char *)b->weights, 0);
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&t->rbm, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k)
            memcpy((void *)(uintptr_t)layer->parameters[k], b->parameters[side][k],
                   parameter_bytes(&t->rbm, side));
    }
    keep(t);
    return FRBM_OK;
}

/* ------------------------------------------------------------------------------------ epochs */

/* What one thread does after an update, for all, while the others begin the next one: it only reads the working
 * state, as they do before they meet again, and there they read what is said here. */
static void after_update(frbm_train_t *t, frbm_epoch_t *epoch, size_t n_rows) {
    const frbm_train_shape_t s = t->buffers->shape;
    for (size_t i = 0; i < s.row_tiles * s.lane_tiles; ++i)
        t->step_norm_sum += t->buffers->tile_norms[i];
    t->n_updates++;
    t->epoch_updates++;
    t->last_chains = frbm_train_chains(&t->options, n_rows);
    if (t->epoch_updates % t->buffers->check_interval == 0) epoch->rc = publish(t);
    if (epoch->rc == FRBM_OK && t->epoch_updates % t->buffers->poll_interval == 0 &&
        frbm_poll(&epoch->poll))
        epoch->rc = FRBM_STOPPED;
}

/* What an epoch is asked to do. */
typedef struct {
    double learning_rate;
    uint64_t key;
    int n_threads;
} job_t;

/* The mini-batch from row `first` of the order on, of those before `end`. */
static frbm_batch_t batch_at(const frbm_train_t *t, size_t first, size_t end, uint64_t number) {
    const size_t left = end - first, most = t->options.batch_size;
    const frbm_batch_t batch = {first, left < most ? left : most, number};
    return batch;
}

/* The updates from rows [first, end) of the order. */
static void run_updates(frbm_train_t *t, const job_t *job, frbm_team_t team, frbm_epoch_t *epoch,
                        size_t first, size_t end) {
    frbm_batch_t batch = batch_at(t, first, end, t->n_updates);
    frbm_train_gather(t, &team, epoch, &batch, job->key);
    frbm_team_barrier(&team); /* from here on one thread counts the updates of t */
    while (batch.n_rows > 0) {
        const size_t done = batch.first + batch.n_rows;
        const frbm_batch_t next = batch_at(t, done, end, batch.number + 1);
        if (!frbm_train_update(t, &team, epoch, &batch, done < end ? &next : NULL,
                               job->learning_rate, job->key))
            break;
        if (team.thread == 0) after_update(t, epoch, batch.n_rows);
        batch = next;
    }
}

/* The same by so many threads, which end with the region. */
static void run_by_team(frbm_train_t *t, const job_t *job, int n_threads, frbm_epoch_t *epoch,
                        size_t first, size_t end) {
    if (n_threads == 1) {
        run_updates(t, job, frbm_team_alone(), epoch, first, end);
    } else {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
#endif
        run_updates(t, job, frbm_team_here(&epoch->barrier), epoch, first, end);
    }
}

/* All updates of an epoch, in pieces that are done by as many threads as are worth it just then. */
static void run_pieces(frbm_train_t *t, const job_t *job, frbm_epoch_t *epoch) {
    const size_t n_rows = t->data.n_rows, batch = t->options.batch_size;
    const double work = update_work(&t->rbm, &t->options, batch < n_rows ? batch : n_rows);
    const size_t updates =
        work < PIECE_WORK && job->n_threads > 1 ? (size_t)(PIECE_WORK / work) : 1;
    const size_t step = job->n_threads == 1 || updates > n_rows / batch ? n_rows : updates * batch;
    frbm_pace_t pace = frbm_pace_start(job->n_threads);
    for (size_t first = 0; first < n_rows && epoch->rc == FRBM_OK; first += step) {
        const size_t end = n_rows - first < step ? n_rows : first + step;
        const double start = frbm_seconds(), waited = frbm_barrier_waited(&epoch->barrier);
        run_by_team(t, job, pace.n_threads, epoch, first, end);
        frbm_pace_done(&pace, (double)(end - first), frbm_seconds() - start,
                       frbm_barrier_waited(&epoch->barrier) - waited);
    }
}

/* Threads for an update of the largest batch. */
static int update_threads(const frbm_train_t *t, const frbm_exec_t *exec) {
    const size_t n = t->data.n_rows, batch = t->options.batch_size;
    const double work = update_work(&t->rbm, &t->options, batch < n ? batch : n);
    const int n_threads =
        work < MIN_WORK_PER_UPDATE || frbm_train_is_small(t, exec) ? 1 : exec->n_threads;
    return n_threads > t->buffers->n_threads ? t->buffers->n_threads : n_threads;
}

/* Updates with moments from a source, which brings its own team: a team of ours for each update. */
static void run_exact(frbm_train_t *t, const job_t *job, frbm_epoch_t *epoch) {
    const frbm_train_options_t *o = &t->options;
    struct frbm_train_buffers *b = t->buffers;
    for (size_t first = 0; first < t->data.n_rows && epoch->rc == FRBM_OK; first += o->batch_size) {
        const frbm_batch_t batch = batch_at(t, first, t->data.n_rows, t->n_updates);
        epoch->rc = o->moments(o->moments_context, &t->rbm, epoch->poll.exec, b->products,
                               b->moments[FRBM_VISIBLE], b->moments[FRBM_HIDDEN]);
        if (epoch->rc == FRBM_OK)
            run_by_team(t, job, job->n_threads, epoch, first, first + batch.n_rows);
    }
}

int frbm_train_epoch(frbm_train_t *train, uint64_t epoch, double learning_rate,
                     const frbm_exec_t *exec, uint64_t key) {
    if (train == NULL || exec == NULL || !isfinite(learning_rate) || learning_rate < 0)
        return FRBM_ERROR_ARGUMENT;
    struct frbm_train_buffers *b = train->buffers;
    const frbm_stream_t shuffle = frbm_stream(key, epoch, FRBM_PURPOSE_SHUFFLE, 0);
    const job_t job = {learning_rate, key, update_threads(train, exec)};

    load_model(train);
    if (b->most == 0) b->most = MAX_GROWTH * (1 + largest_parameter(train));
    frbm_stream_permutation(&shuffle, exec->kernels->random_words, (uint32_t)train->data.n_rows,
                            b->order);
    train->epoch_updates = 0;
    train->step_norm_sum = 0;
    keep(train);

    frbm_epoch_t shared = {{0, 0, 0}, frbm_poll_start(exec), FRBM_OK};
    if (train->options.moments == NULL)
        run_pieces(train, &job, &shared);
    else
        run_exact(train, &job, &shared);
    /* Where every update is checked a stop may come after the chains have moved. */
    if (shared.rc == FRBM_STOPPED && b->check_interval == 1) restore(train);
    const int rc = shared.rc < 0 ? shared.rc : publish(train);
    if (rc == FRBM_ERROR_DIVERGED) go_back(train);
    return rc < 0 ? rc : shared.rc;
}

int frbm_train_data_term(frbm_train_t *train, const frbm_exec_t *exec, double *products,
                         double *visible, double *hidden) {
    if (train == NULL || exec == NULL || products == NULL || visible == NULL || hidden == NULL ||
        train->options.batch_size < train->data.n_rows)
        return FRBM_ERROR_ARGUMENT;
    const int n_threads = update_threads(train, exec);
    const size_t n = train->data.n_rows;
    frbm_epoch_t shared = {{0, 0, 0}, frbm_poll_start(exec), FRBM_OK};
    load_model(train);
    for (size_t r = 0; r < n; ++r) train->buffers->order[r] = (uint32_t)r;
    if (n_threads == 1) {
        const frbm_team_t alone = frbm_team_alone();
        frbm_train_statistics(train, &alone, &shared, n, products, visible, hidden);
    } else {
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads)
#endif
        {
            const frbm_team_t team = frbm_team_here(&shared.barrier);
            frbm_train_statistics(train, &team, &shared, n, products, visible, hidden);
        }
    }
    return shared.rc;
}
