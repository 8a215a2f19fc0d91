/*
 * The statistics of an update from few rows, by slices of the visible units.
 *
 * Ten rows of states are a kilobyte, the weights are hundreds. So a thread keeps the weights of its visible units,
 * their velocity, their transpose and their states to itself, and what the threads send each other are sums:
 * every slice of FRBM_SLICE units adds up its part of the hidden units' inputs by itself; then each thread adds the
 * parts of its rows, in order of the slices, and draws. All numbers are the same for every number of threads. Where
 * the cores take a hundred nanoseconds to hand over a line of memory that was written, two threads that share
 * weights need twice as long for 784 x 64 and ten rows as one thread alone; with slices they need two thirds
 * of it (docs/benchmarks.md).
 *
 * Threads meet 3 + 2 k times in an update. Sums over slices are rounded otherwise than sums over all units (phases.c).
 */
#include "step.h"

enum { OF_DATA, OF_CHAINS };

/* Bytes of the tiles of all hidden units. */
static size_t all_tiles(const frbm_step_t *u) {
    return u->shape.lane_tiles * u->b->sliced_rows * FRBM_TILE * u->shape.real;
}

/* Tile `tile` of the inputs, or of the part of a slice; rows of FRBM_TILE. */
static char *tile_of(const frbm_step_t *u, void *tiles, size_t tile) {
    return (char *)tiles + tile * u->b->sliced_rows * FRBM_TILE * u->shape.real;
}

/* The visible states' part of the hidden inputs, from this thread's slices. */
static void add_slices(const frbm_step_t *u, int which, const void *states, size_t n_rows) {
    const struct frbm_train_buffers *b = u->b;
    const frbm_train_shape_t *s = &u->shape;
    const int storage = frbm_unit(b->work.visible.unit)->storage;
    const frbm_units_t own = frbm_step_own_slices(u);
    for (size_t slice = own.begin; slice < own.end; ++slice) {
        const size_t row = slice * FRBM_SLICE;
        const frbm_operand_t a = {storage, frbm_slice_of(b, states, slice), FRBM_SLICE_WORDS, 0};
        char *tiles = (char *)b->partials[which] + slice * all_tiles(u);
        for (size_t tile = 0; tile < s->lane_tiles; ++tile) {
            const size_t first = tile * FRBM_TILE, width = frbm_strip_width(s->ldp, first);
            frbm_multiply(u->exec->kernels, b->work.dtype, a, n_rows,
                          s->n - row < FRBM_SLICE ? s->n - row : FRBM_SLICE,
                          (const char *)b->weights +
                              frbm_strip_at(s->n, s->ldp, row, first) * s->real,
                          width, width, 0, tile_of(u, tiles, tile));
        }
    }
}

/* This thread's rows: the inputs of the hidden units and, where they are asked for, means and draws. */
static void add_rows(const frbm_step_t *u, int which, size_t n_rows, frbm_phase_t *means,
                     double factor, const frbm_stream_t *stream) {
    const struct frbm_train_buffers *b = u->b;
    const frbm_train_shape_t *s = &u->shape;
    const frbm_layer_t *layer = &b->work.hidden;
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const int dtype = b->work.dtype;
    const size_t begin = frbm_team_begin(u->team, n_rows), end = frbm_team_end(u->team, n_rows);
    const size_t stride = frbm_states_stride(layer, dtype), row = begin * FRBM_TILE * s->real;
    for (size_t tile = 0; tile < s->lane_tiles && begin < end; ++tile) {
        const size_t first = tile * FRBM_TILE;
        char *inputs = tile_of(u, b->inputs[which], tile) + row;
        const frbm_tile_t part = {first, s->p - first < FRBM_TILE ? s->p - first : FRBM_TILE,
                                  end - begin, inputs};
        u->exec->kernels->real[dtype].sum_tiles(s->row_tiles, (end - begin) * FRBM_TILE,
                                                tile_of(u, b->partials[which], tile) + row,
                                                all_tiles(u) / s->real, inputs);
        if (means != NULL)
            unit->mean(layer, dtype, u->exec->kernels, &part, 1, factor,
                       (char *)means->means + (begin * s->ldp + first) * s->real, s->ldp);
        if (stream != NULL) {
            const frbm_draw_t draw = {*stream, (uint32_t)first, (uint32_t)begin};
            const frbm_target_t target = {(char *)b->hidden + begin * stride +
                                              frbm_states_offset(layer, dtype, first),
                                          stride, NULL, 0, 0};
            unit->sample(layer, dtype, u->exec->kernels, &part, 1, &draw, &target);
        }
    }
}

/* The chains' visible units, this thread's slices. */
static void draw_visible(const frbm_step_t *u, uint64_t sweep) {
    const frbm_rbm_t *work = &u->b->work;
    const frbm_units_t own = frbm_step_own_slices(u);
    const frbm_conditional_t down =
        frbm_visible_given_hidden(work, u->exec->kernels, u->b->weights_t);
    const frbm_stream_t stream = frbm_step_stream(u, sweep, FRBM_PURPOSE_TRAIN_VISIBLE);
    frbm_conditional_job_t job = {.source =
                                      frbm_states_operand(&work->hidden, work->dtype, u->b->hidden),
                                  .n_rows = u->n_chains,
                                  .beta = 1,
                                  .stream = &stream,
                                  .stride = FRBM_SLICE_WORDS * sizeof(uint64_t)};
    for (size_t slice = own.begin; slice < own.end; ++slice) {
        const size_t first = slice * FRBM_SLICE;
        job.states = frbm_slice_of(u->b, u->b->model.states, slice);
        frbm_conditional_units(&down, &job, first,
                               u->shape.n - first < FRBM_SLICE ? u->shape.n : first + FRBM_SLICE,
                               u->scratch);
    }
}

/* The gradient of the hidden layer's parameters, this thread's share of its units, from the means of all rows: a chunk
 * of them at a time, as in frbm_conditional_run. */
static void hidden_gradient(const frbm_step_t *u, int which, size_t n_rows, frbm_phase_t *phase,
                            double factor) {
    const frbm_train_shape_t *s = &u->shape;
    const frbm_layer_t *layer = &u->b->work.hidden;
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const size_t begin = u->units[FRBM_HIDDEN].begin, end = u->units[FRBM_HIDDEN].end;
    double *sums = phase->gradient_h;
    for (size_t r = 0; r < n_rows; r += FRBM_ROW_CHUNK) {
        const size_t rows = n_rows - r < FRBM_ROW_CHUNK ? n_rows - r : FRBM_ROW_CHUNK;
        for (int k = 0; k < unit->n_learned; ++k)
            for (size_t j = begin; j < end; ++j) sums[(size_t)k * s->p + j] = 0;
        for (size_t first = begin, next; first < end; first = next) {
            next = (first / FRBM_TILE + 1) * FRBM_TILE < end ? (first / FRBM_TILE + 1) * FRBM_TILE
                                                             : end;
            const char *inputs = tile_of(u, u->b->inputs[which], first / FRBM_TILE);
            const frbm_tile_t part = {first, next - first, rows,
                                      inputs + (r * FRBM_TILE + first % FRBM_TILE) * s->real};
            unit->input_gradient(layer, u->b->work.dtype, u->exec->kernels, &part, 1, factor,
                                 (const char *)phase->means + (r * s->ldp + first) * s->real,
                                 s->ldp, sums);
        }
        sums += (size_t)unit->n_learned * s->p;
    }
}

/* This thread's visible states, unit by unit. */
static void turn(const frbm_step_t *u, const void *states, size_t n_rows, uint64_t *out) {
    const frbm_units_t own = frbm_step_own_slices(u);
    const size_t stride = frbm_bit_words(n_rows);
    for (size_t slice = own.begin; slice < own.end; ++slice) {
        const size_t first = slice * FRBM_SLICE;
        u->exec->kernels->transpose_bits(
            frbm_slice_of(u->b, states, slice), FRBM_SLICE_WORDS, n_rows,
            u->shape.n - first < FRBM_SLICE ? u->shape.n - first : FRBM_SLICE, 0,
            frbm_slice_words(&u->shape, slice), out + first * stride, stride);
    }
}

/* Until the second barrier nothing is written that one thread reads after the update before, for all: parameters,
 * chains, norms. */
int frbm_positive_slices(const frbm_step_t *u, const frbm_epoch_t *epoch) {
    struct frbm_train_buffers *b = u->b;
    const int has_chains = u->n_chains > 0, from_data = frbm_step_from_data(u);
    const frbm_stream_t draw = frbm_step_stream(u, u->sweep, FRBM_PURPOSE_TRAIN_HIDDEN);
    add_slices(u, OF_DATA, u->data, u->n_rows);
    if (has_chains && !from_data) add_slices(u, OF_CHAINS, b->model.states, u->n_chains);
    turn(u, u->data, u->n_rows, b->data.states_t);
    frbm_team_barrier(u->team);
    if (epoch->rc != FRBM_OK) return 0;
    add_rows(u, OF_DATA, u->n_rows, &b->data, u->data_factor,
             has_chains && from_data ? &draw : NULL);
    if (has_chains && !from_data) add_rows(u, OF_CHAINS, u->n_chains, NULL, 0, &draw);
    frbm_team_barrier(u->team);
    hidden_gradient(u, OF_DATA, u->n_rows, &b->data, u->data_factor);
    return 1;
}

int frbm_step_slices(const frbm_step_t *u, const frbm_epoch_t *epoch) {
    struct frbm_train_buffers *b = u->b;
    const size_t k = u->t->options.k;
    if (!frbm_positive_slices(u, epoch)) return 0;
    for (size_t s = 1; s <= k; ++s) {
        const frbm_stream_t draw = frbm_step_stream(u, u->sweep + s, FRBM_PURPOSE_TRAIN_HIDDEN);
        draw_visible(u, u->sweep + s - 1);
        add_slices(u, OF_CHAINS, b->model.states, u->n_chains);
        frbm_team_barrier(u->team);
        add_rows(u, OF_CHAINS, u->n_chains, s < k ? NULL : &b->model, u->model_factor,
                 s < k ? &draw : NULL);
        frbm_team_barrier(u->team);
    }
    turn(u, b->model.states, u->n_chains, b->model.states_t);
    hidden_gradient(u, OF_CHAINS, u->n_chains, &b->model, u->model_factor);
    return 1;
}
