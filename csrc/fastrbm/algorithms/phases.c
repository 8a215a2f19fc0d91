/*
 * The two phases of an update: rows of the data, and Gibbs chains from them or from the update before.
 */
#include <string.h>

#include "step.h"

#if defined(__GNUC__) || defined(__clang__)
#define FRBM_PREFETCH(p) __builtin_prefetch(p)
#else
#define FRBM_PREFETCH(p) ((void)(p))
#endif

/* ------------------------------------------------------------------------------------- the batch */

/* The start of chain r where its row holds probabilities of Bernoulli units. */
static void draw_start(const frbm_train_t *t, const frbm_kernels_t *kernels, uint64_t number,
                       uint64_t key, size_t r, const void *probabilities) {
    enum { UNITS = 64 };
    uint32_t words[UNITS + FRBM_WORDS_SLACK];
    const frbm_rbm_t *work = &t->buffers->work;
    const size_t n_units = work->visible.n;
    const frbm_stream_t s = frbm_stream(key, number, FRBM_PURPOSE_TRAIN_DATA, 0);
    uint64_t *bits = (uint64_t *)t->buffers->start + r * frbm_bit_words(n_units);
    for (size_t first = 0; first < n_units; first += UNITS) {
        const size_t left = n_units - first, n = left < UNITS ? left : UNITS;
        uint64_t word = 0;
        kernels->random_words(&s, (uint32_t)r, 1, (uint32_t)first / 4, (n + 3) / 4, words);
        for (size_t i = 0; i < n; ++i) {
            const double p = frbm_real_get(probabilities, work->dtype, first + i);
            word |= (uint64_t)((double)words[i] < p * 4294967296.0) << i;
        }
        bits[first / 64] = word;
    }
}

/* This thread's slices of the rows. */
static void gather_slices(const frbm_train_t *t, const frbm_team_t *team,
                          const frbm_batch_t *batch) {
    const struct frbm_train_buffers *b = t->buffers;
    const size_t words = frbm_bit_words(b->shape.n), n = b->shape.row_tiles;
    const uint32_t *order = b->order + batch->first;
    const size_t following = t->data.n_rows - batch->first - batch->n_rows;
    for (size_t slice = frbm_team_begin(team, n); slice < frbm_team_end(team, n); ++slice) {
        uint64_t *to = frbm_slice_of(b, frbm_train_rows(t, batch->number), slice);
        const uint64_t *from = t->data.bits + slice * FRBM_SLICE_WORDS;
        const size_t size = frbm_slice_words(&b->shape, slice) * sizeof *to;
        for (size_t r = 0; r < batch->n_rows; ++r) {
            memcpy(to + r * FRBM_SLICE_WORDS, from + order[r] * words, size);
            if (r < following) FRBM_PREFETCH(from + order[r + batch->n_rows] * words);
        }
    }
}

void frbm_train_gather(const frbm_train_t *t, const frbm_team_t *team, const frbm_epoch_t *epoch,
                       const frbm_batch_t *batch, uint64_t key) {
    if (t->buffers->is_sliced) {
        gather_slices(t, team, batch);
        return;
    }
    const frbm_data_t *data = &t->data;
    const frbm_rbm_t *work = &t->buffers->work;
    const uint32_t *order = t->buffers->order + batch->first;
    const size_t words = frbm_bit_words(work->visible.n);
    const size_t stride = frbm_padded(work->visible.n) * frbm_real_size(work->dtype);
    const size_t end = frbm_team_end(team, batch->n_rows);
    void *rows = frbm_train_rows(t, batch->number);
    /* Rows are far apart: those of the mini-batch after this one are fetched meanwhile. */
    const size_t following = data->n_rows - batch->first - batch->n_rows;
    for (size_t r = frbm_team_begin(team, batch->n_rows); r < end; ++r) {
        const size_t from = order[r];
        if (data->packed) {
            const uint64_t *bits = data->bits + from * words;
            uint64_t *to = (uint64_t *)rows + r * words;
            for (size_t w = 0; w < words; ++w) to[w] = bits[w];
            if (r < following)
                for (size_t w = 0; w < words; w += 8)
                    FRBM_PREFETCH(data->bits + order[r + batch->n_rows] * words + w);
        } else {
            char *row = (char *)rows + r * stride;
            frbm_array_load_row(&data->values, from, work->dtype, row);
            if (t->buffers->start != NULL)
                draw_start(t, epoch->poll.exec->kernels, batch->number, key, r, row);
        }
    }
}

/* ------------------------------------------------------------------------------------ the chains */

/* The data as the left operand of a product: packed as the layer is, or reals. */
static frbm_operand_t data_operand(const frbm_step_t *u) {
    const frbm_operand_t reals = {FRBM_STORE_REALS, u->data, frbm_padded(u->shape.n), 1};
    return u->t->data.packed ? frbm_states_operand(&u->b->work.visible, u->b->work.dtype, u->data)
                             : reals;
}

static void draw_hidden(const frbm_step_t *u, const void *visible, uint64_t sweep,
                        enum frbm_purpose purpose) {
    const frbm_rbm_t *work = &u->b->work;
    const frbm_conditional_t up = frbm_hidden_given_visible(work, u->exec->kernels, u->b->weights);
    const frbm_stream_t stream = frbm_step_stream(u, sweep, purpose);
    const frbm_conditional_job_t job = {
        .source = frbm_states_operand(&work->visible, work->dtype, visible),
        .n_rows = u->n_chains,
        .beta = 1,
        .stream = &stream,
        .states = u->b->hidden,
        .stride = frbm_states_stride(&work->hidden, work->dtype)};
    frbm_conditional_run(&up, &job, u->team, u->scratch);
}

static void draw_visible(const frbm_step_t *u, uint64_t sweep) {
    const frbm_rbm_t *work = &u->b->work;
    const frbm_conditional_t down =
        frbm_visible_given_hidden(work, u->exec->kernels, u->b->weights_t);
    const frbm_stream_t stream = frbm_step_stream(u, sweep, FRBM_PURPOSE_TRAIN_VISIBLE);
    const frbm_conditional_job_t job = {
        .source = frbm_states_operand(&work->hidden, work->dtype, u->b->hidden),
        .n_rows = u->n_chains,
        .beta = 1,
        .stream = &stream,
        .states = u->b->model.states,
        .stride = frbm_states_stride(&work->visible, work->dtype)};
    frbm_conditional_run(&down, &job, u->team, u->scratch);
}

/* factor E[h | v] of a phase and, with draw, the first hidden states of the chains from the same
 * inputs. */
static void hidden_means(const frbm_step_t *u, frbm_phase_t *phase, frbm_operand_t source,
                         size_t n_rows, double factor, const frbm_stream_t *draw) {
    const frbm_rbm_t *work = &u->b->work;
    const frbm_conditional_t up = frbm_hidden_given_visible(work, u->exec->kernels, u->b->weights);
    const frbm_conditional_job_t job = {.source = source,
                                        .n_rows = n_rows,
                                        .beta = 1,
                                        .means = phase->means,
                                        .ldmeans = u->shape.ldp,
                                        .factor = factor,
                                        .gradient = phase->gradient_h,
                                        .stream = draw,
                                        .states = draw == NULL ? NULL : u->b->hidden,
                                        .stride = frbm_states_stride(&work->hidden, work->dtype)};
    frbm_conditional_run(&up, &job, u->team, u->scratch);
}

/* statistics="samples": factor h in place of factor E[h | v], of the chains. */
static void hidden_samples(const frbm_step_t *u) {
    const frbm_layer_t *hidden = &u->b->work.hidden;
    const int dtype = u->b->work.dtype;
    const size_t stride = frbm_states_stride(hidden, dtype);
    for (size_t r = frbm_team_begin(u->team, u->n_chains); r < frbm_team_end(u->team, u->n_chains);
         ++r) {
        char *row = (char *)u->b->model.means + r * u->shape.ldp * u->shape.real;
        frbm_states_store(hidden, dtype, 1, (const char *)u->b->hidden + r * stride, row, dtype, 0,
                          (ptrdiff_t)u->shape.real);
        for (size_t j = 0; j < u->shape.p; ++j)
            if (dtype == FRBM_FLOAT32)
                ((float *)(void *)row)[j] *= (float)u->model_factor;
            else
                ((double *)(void *)row)[j] *= u->model_factor;
    }
}

void frbm_step_transpose(const frbm_step_t *u, const frbm_layer_t *layer, const void *states,
                         size_t n_rows, uint64_t *out) {
    const size_t words = frbm_bit_words(layer->n), stride = frbm_bit_words(n_rows);
    const size_t begin = frbm_team_begin(u->team, words), end = frbm_team_end(u->team, words);
    u->exec->kernels->transpose_bits((const uint64_t *)states, words, n_rows, layer->n, begin,
                                     end - begin, out + 64 * begin * stride, stride);
}

int frbm_poll_long_update(const frbm_step_t *u, frbm_epoch_t *epoch) {
    const int is_long = u->b->check_interval == 1;
    if (u->team->thread == 0 && is_long && epoch->rc == FRBM_OK && frbm_poll(&epoch->poll))
        epoch->rc = FRBM_STOPPED;
    frbm_team_barrier(u->team);
    const int rc = epoch->rc;
    if (is_long) frbm_team_barrier(u->team);
    return rc != FRBM_OK;
}

void frbm_positive_phase(const frbm_step_t *u, const frbm_stream_t *draw) {
    hidden_means(u, &u->b->data, data_operand(u), u->n_rows, u->data_factor, draw);
    if (u->t->data.packed)
        frbm_step_transpose(u, &u->b->work.visible, u->data, u->n_rows, u->b->data.states_t);
}

/* The chains, whose first hidden states are drawn, and their statistics. Returns 0 if stopped. */
static int negative_phase(const frbm_step_t *u, frbm_epoch_t *epoch) {
    struct frbm_train_buffers *b = u->b;
    const frbm_train_options_t *o = &u->t->options;
    const frbm_rbm_t *work = &b->work;
    for (size_t s = 0; s < o->k; ++s) {
        if (s > 0) {
            draw_hidden(u, b->model.states, u->sweep + s, FRBM_PURPOSE_TRAIN_HIDDEN);
            frbm_team_barrier(u->team);
        }
        draw_visible(u, u->sweep + s);
        if (frbm_poll_long_update(u, epoch)) return 0;
    }

    if (o->samples) {
        draw_hidden(u, b->model.states, u->number, FRBM_PURPOSE_TRAIN_STATISTIC);
        frbm_team_barrier(u->team);
        hidden_samples(u);
        if (b->hidden_t != NULL)
            frbm_step_transpose(u, &work->hidden, b->hidden, u->n_chains, b->hidden_t);
    } else {
        hidden_means(u, &b->model,
                     frbm_states_operand(&work->visible, work->dtype, b->model.states), u->n_chains,
                     u->model_factor, NULL);
    }
    if (frbm_unit_is_discrete(frbm_unit(work->visible.unit)))
        frbm_step_transpose(u, &work->visible, b->model.states, u->n_chains, b->model.states_t);
    return !frbm_poll_long_update(u, epoch);
}

int frbm_step_phases(const frbm_step_t *u, frbm_epoch_t *epoch) {
    const int from_data = frbm_step_from_data(u);
    const frbm_stream_t draw = frbm_step_stream(u, u->sweep, FRBM_PURPOSE_TRAIN_HIDDEN);
    frbm_positive_phase(u, from_data ? &draw : NULL);
    if (!u->exact && !from_data)
        draw_hidden(u, u->b->start == NULL ? u->b->model.states : u->b->start, u->sweep,
                    FRBM_PURPOSE_TRAIN_HIDDEN);
    if (frbm_poll_long_update(u, epoch)) return 0;
    return u->exact || negative_phase(u, epoch);
}
