/*
 * One update of contrastive divergence (Hinton 2002; persistent: Tieleman 2008):
 *
 *     gradient = <v E[h|v]>_batch - <v_k E[h|v_k]>_chains,
 *     velocity = momentum velocity + gradient - weight_decay W,   W += learning_rate velocity,
 *
 * and the same for the layers' parameters, without decay. With a source of moments the model term is
 * <v h> as it says, and there are no chains; all else is the same code. Work between two barriers is shared out by
 * tiles or units; every number is made by one thread in a fixed order, so that none depends on the
 * number of threads.
 */
#include <math.h>
#include <string.h>

#include "step.h"

/* Probabilities in place of states: the log-weight of 0/1 units is linear in the state. */
static void probability_gradient(const frbm_step_t *u, size_t begin, size_t end) {
    const int dtype = u->b->work.dtype;
    double *sums = u->b->gradient[FRBM_VISIBLE];
    for (size_t r = 0; r < u->n_rows; ++r) {
        const char *row = (const char *)u->data + r * frbm_padded(u->shape.n) * u->shape.real;
        for (size_t i = begin; i < end; ++i)
            sums[i] += u->data_factor * frbm_real_get(row, dtype, i);
    }
}

/* gradient[side][k n + i] of the layers' parameters, this thread's share of the units. */
static void layer_gradients(const frbm_step_t *u) {
    struct frbm_train_buffers *b = u->b;
    const frbm_rbm_t *work = &b->work;
    const frbm_kernels_t *kernels = u->exec->kernels;
    const int samples = u->t->options.samples && u->n_chains > 0;

    const frbm_layer_t *layer = &work->visible;
    const frbm_unit_t *unit = frbm_unit(layer->unit);
    const int discrete = frbm_unit_is_discrete(unit);
    const size_t stride = frbm_padded(layer->n) * u->shape.real;
    double *sums = b->gradient[FRBM_VISIBLE];
    size_t begin = u->units[FRBM_VISIBLE].begin, end = u->units[FRBM_VISIBLE].end;
    for (int k = 0; k < unit->n_learned; ++k)
        memset(sums + (size_t)k * layer->n + begin, 0, (end - begin) * sizeof *sums);
    if (discrete && !u->t->data.packed)
        probability_gradient(u, begin, end);
    else
        unit->state_gradient(layer, work->dtype, kernels, begin, end,
                             discrete ? (void *)b->data.states_t : u->data, u->n_rows, stride,
                             u->data_factor, sums);
    if (u->n_chains > 0)
        unit->state_gradient(layer, work->dtype, kernels, begin, end,
                             discrete ? (void *)b->model.states_t : b->model.states, u->n_chains,
                             stride, u->model_factor, sums);

    layer = &work->hidden;
    unit = frbm_unit(layer->unit);
    sums = b->gradient[FRBM_HIDDEN];
    begin = u->units[FRBM_HIDDEN].begin;
    end = u->units[FRBM_HIDDEN].end;
    const size_t learned = (size_t)unit->n_learned * layer->n;
    for (size_t k = 0; k < learned; k += layer->n)
        for (size_t l = k + begin; l < k + end; ++l) {
            sums[l] = 0;
            for (size_t c = 0; c < frbm_row_chunks(u->n_rows); ++c)
                sums[l] += b->data.gradient_h[c * learned + l];
            for (size_t c = 0; !samples && c < frbm_row_chunks(u->n_chains); ++c)
                sums[l] += b->model.gradient_h[c * learned + l];
        }
    if (samples)
        unit->state_gradient(layer, work->dtype, kernels, begin, end,
                             b->hidden_t == NULL ? b->hidden : (void *)b->hidden_t, u->n_chains,
                             u->shape.ldp * u->shape.real, u->model_factor, sums);

    for (int side = FRBM_VISIBLE; u->exact && side <= FRBM_HIDDEN; ++side) {
        layer = frbm_rbm_layer(work, side);
        begin = u->units[side].begin;
        end = u->units[side].end;
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k)
            for (size_t i = begin; i < end; ++i)
                b->gradient[side][(size_t)k * layer->n + i] -=
                    b->moments[side][(size_t)k * layer->n + i];
    }
}

/* The model term of a tile of the gradient into scratch, from a source of moments. */
static void moments_tile(const frbm_step_t *u, size_t row, size_t n_rows, size_t first,
                         size_t lanes) {
    for (size_t r = 0; r < n_rows; ++r) {
        const double *products = u->b->products + (row + r) * u->shape.p + first;
        if (u->b->work.dtype == FRBM_FLOAT32) {
            float *out = (float *)u->scratch + r * FRBM_TILE;
            for (size_t j = 0; j < FRBM_TILE; ++j) out[j] = j < lanes ? (float)-products[j] : 0;
        } else {
            double *out = (double *)u->scratch + r * FRBM_TILE;
            for (size_t j = 0; j < FRBM_TILE; ++j) out[j] = j < lanes ? -products[j] : 0;
        }
    }
}

/* A tile of the weights: units first .. first + lanes of the hidden layer, of which `readable` may be read. */
typedef struct {
    size_t row, n_rows, first, lanes, readable;
} place_t;

/* By hidden units first: a thread's share of the weights is then that of its hidden units, which stay in its
 * cache until they are read again. */
static place_t tile_at(const frbm_step_t *u, size_t tile) {
    const frbm_train_shape_t *s = &u->shape;
    const size_t row = tile % s->row_tiles * s->tile_rows, first = tile / s->row_tiles * FRBM_TILE;
    const place_t at = {row, s->n - row < s->tile_rows ? s->n - row : s->tile_rows, first,
                        s->p - first < FRBM_TILE ? s->p - first : FRBM_TILE,
                        s->ldp - first < FRBM_TILE ? s->ldp - first : FRBM_TILE};
    return at;
}

/* A tile of the gradient of W into scratch. */
static void gradient_tile(const frbm_step_t *u, const place_t *at) {
    const struct frbm_train_buffers *b = u->b;
    const frbm_rbm_t *work = &b->work;
    const size_t n = u->shape.n, real = u->shape.real;
    if (u->exact) moments_tile(u, at->row, at->n_rows, at->first, at->lanes);

    const frbm_phase_t *phases[2] = {&b->data, &b->model};
    const void *states[2] = {u->data, b->model.states};
    const size_t depths[2] = {u->n_rows, u->n_chains};
    for (int side = 0; side < 2 && depths[side] > 0; ++side) {
        const int reals = !frbm_unit_is_discrete(frbm_unit(work->visible.unit)) ||
                          (side == 0 && !u->t->data.packed);
        const size_t words = frbm_bit_words(depths[side]);
        frbm_operand_t a = {frbm_unit(work->visible.unit)->storage,
                            phases[side]->states_t + at->row * words, words, 0};
        if (reals) {
            const frbm_operand_t columns = {
                FRBM_STORE_REALS, (const char *)states[side] + at->row * real, 1, frbm_padded(n)};
            a = columns;
        }
        frbm_multiply(u->exec->kernels, work->dtype, a, at->n_rows, depths[side],
                      (const char *)phases[side]->means + at->first * real, u->shape.ldp,
                      at->readable, side > 0 || u->exact, u->scratch);
    }
}

/* The factor that brings the norm of the gradient of all that moves down to max_norm. */
static double clip_factor(const frbm_step_t *u) {
    const frbm_train_options_t *o = &u->t->options;
    struct frbm_train_buffers *b = u->b;
    const size_t n_tiles = u->shape.row_tiles * u->shape.lane_tiles;
    double sum = 0;
    if (!(o->max_norm > 0)) return 1;
    if (!(o->frozen & FRBM_FREEZE_WEIGHTS)) {
        for (size_t t = frbm_team_begin(u->team, n_tiles); t < frbm_team_end(u->team, n_tiles);
             ++t) {
            const place_t at = tile_at(u, t);
            gradient_tile(u, &at);
            b->tile_norms[t] =
                u->exec->kernels->real[b->work.dtype].square_norm(at.n_rows, at.lanes, u->scratch);
        }
    }
    frbm_team_barrier(u->team); /* the layers' gradients are whole here too */
    if (!(o->frozen & FRBM_FREEZE_WEIGHTS))
        for (size_t t = 0; t < n_tiles; ++t) sum += b->tile_norms[t];
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&b->work, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k) {
            const double *g = b->gradient[side] + (size_t)k * layer->n;
            if (frbm_is_frozen(o, side, k)) continue;
            for (size_t l = 0; l < layer->n; ++l) sum += g[l] * g[l];
        }
    }
    frbm_team_barrier(u->team); /* tile_norms are written again below */
    return sum > o->max_norm * o->max_norm ? o->max_norm / sqrt(sum) : 1;
}

#define STEP(T)                                                                                    \
    {                                                                                              \
        T *velocity = (T *)b->velocities[side][k], *parameter = (T *)b->parameters[side][k];       \
        for (size_t i = begin; i < end; ++i) {                                                     \
            velocity[i] = (T)((double)velocity[i] * momentum + clip * gradient[i]);                \
            parameter[i] += rate * velocity[i];                                                    \
        }                                                                                          \
    }

void frbm_step_layers(const frbm_step_t *u, double clip) {
    struct frbm_train_buffers *b = u->b;
    const double momentum = u->t->options.momentum;
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&b->work, side);
        const size_t begin = u->units[side].begin, end = u->units[side].end;
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k) {
            const double *gradient = b->gradient[side] + (size_t)k * layer->n;
            if (frbm_is_frozen(&u->t->options, side, k)) continue;
            if (b->work.dtype == FRBM_FLOAT32) {
                const float rate = (float)u->learning_rate;
                STEP(float)
            } else {
                const double rate = u->learning_rate;
                STEP(double)
            }
        }
    }
}

/* Are there so few rows that the gradient and the update are one pass? */
static int has_few_rows(const frbm_step_t *u) {
    const size_t groups = (u->n_rows + 3) / 4 + (u->n_chains + 3) / 4;
    return u->exec->kernels->real[u->b->work.dtype].update_few != NULL && u->t->data.packed &&
           u->n_chains > 0 && frbm_few_bytes(groups, u->shape.real) <= FRBM_FEW_BYTES;
}

/* What such a pass needs for the hidden units of a tile, and all visible ones; the tables go into scratch. */
static frbm_few_t few_of(const frbm_step_t *u, const place_t *at) {
    const struct frbm_train_buffers *b = u->b;
    const frbm_phase_t *phases[2] = {&b->data, &b->model};
    const size_t depths[2] = {u->n_rows, u->n_chains}, real = u->shape.real;
    const int is_signed = frbm_unit(b->work.visible.unit)->storage == FRBM_STORE_SIGNS;
    char *tables = (char *)u->scratch;
    frbm_few_t few = {
        .bits = {b->data.states_t, b->model.states_t}, .is_signed = is_signed, .tables = tables};
    for (int side = 0; side < 2; ++side) {
        few.n_groups[side] = (depths[side] + 3) / 4;
        u->exec->kernels->real[b->work.dtype].few_tables(
            (const char *)phases[side]->means + at->first * real, u->shape.ldp, depths[side],
            at->readable, is_signed, tables);
        tables += frbm_few_bytes(few.n_groups[side], real);
    }
    return few;
}

/* The step of a tile, whose gradient or tables are made, a strip of the transpose at a time; returns the sum of its
 * squares. */
static double step_tile(const frbm_step_t *u, const place_t *at, const frbm_few_t *few,
                        const frbm_update_t *how) {
    struct frbm_train_buffers *b = u->b;
    const frbm_real_kernels_t *k = &u->exec->kernels->real[b->work.dtype];
    const size_t real = u->shape.real, n = u->shape.n, ldn = frbm_padded(n);
    const size_t ld = frbm_strip_width(u->shape.ldp, at->first);
    double norm = 0;
    for (size_t r = 0; r < at->n_rows; r += FRBM_TILE) {
        const size_t row = at->row + r, left = at->n_rows - r,
                     n_rows = left < FRBM_TILE ? left : FRBM_TILE;
        const size_t offset = frbm_strip_at(n, u->shape.ldp, row, at->first) * real;
        const size_t ldt = frbm_strip_width(ldn, row);
        const size_t t = frbm_strip_at(u->shape.p, ldn, at->first, row);
        char *w = (char *)b->weights + offset, *velocity = (char *)b->velocity + offset;
        char *w_t = (char *)b->weights_t + t * real;
        if (few != NULL) {
            frbm_few_t part = *few;
            for (int side = 0; side < 2; ++side) part.bits[side] += row;
            norm += k->update_few(n_rows, at->lanes, &part, how, w, ld, velocity, ld, w_t, ldt);
        } else {
            norm += k->update(n_rows, at->lanes, (char *)u->scratch + r * FRBM_TILE * real, how, w,
                              ld, velocity, ld, w_t, ldt);
        }
    }
    return norm;
}

/* How many tiles are this thread's, and tile i of them: a share of all or, by slices, its rows of tiles. */
static size_t own_tiles(const frbm_step_t *u) {
    const size_t n_tiles = u->shape.row_tiles * u->shape.lane_tiles;
    const frbm_units_t own = frbm_step_own_slices(u);
    return u->b->is_sliced ? (own.end - own.begin) * u->shape.lane_tiles
                           : frbm_team_end(u->team, n_tiles) - frbm_team_begin(u->team, n_tiles);
}
static size_t own_tile(const frbm_step_t *u, size_t i) {
    const size_t n_tiles = u->shape.row_tiles * u->shape.lane_tiles;
    const frbm_units_t own = frbm_step_own_slices(u);
    const size_t height = own.end - own.begin;
    return u->b->is_sliced ? i / height * u->shape.row_tiles + own.begin + i % height
                           : frbm_team_begin(u->team, n_tiles) + i;
}

static void step_weights(const frbm_step_t *u, double clip) {
    const frbm_update_t how = {u->t->options.momentum, u->t->options.weight_decay, u->learning_rate,
                               clip};
    if (u->t->options.frozen & FRBM_FREEZE_WEIGHTS) return;
    const int is_few = has_few_rows(u);
    const size_t n = own_tiles(u);
    size_t first = SIZE_MAX;
    frbm_few_t few = {{NULL, NULL}, {0, 0}, 0, NULL};
    for (size_t i = 0; i < n; ++i) {
        const size_t tile = own_tile(u, i);
        const place_t at = tile_at(u, tile);
        if (!is_few)
            gradient_tile(u, &at);
        else if (at.first != first) /* other hidden units */
            few = few_of(u, &at);
        first = at.first;
        u->b->tile_norms[tile] = step_tile(u, &at, is_few ? &few : NULL, &how);
    }
}

static frbm_step_t begin_update(frbm_train_t *t, const frbm_team_t *team, const frbm_epoch_t *epoch,
                                const frbm_batch_t *batch, size_t n_chains) {
    struct frbm_train_buffers *b = t->buffers;
    frbm_step_t u = {.t = t,
                     .b = b,
                     .team = team,
                     .exec = epoch->poll.exec,
                     .shape = b->shape,
                     .n_rows = batch->n_rows,
                     .n_chains = n_chains,
                     .data_factor = 1.0 / (double)batch->n_rows,
                     .model_factor = n_chains > 0 ? -1.0 / (double)n_chains : 0,
                     .number = batch->number,
                     .sweep = batch->number * (uint64_t)t->options.k,
                     .data = frbm_train_rows(t, batch->number),
                     .scratch = b->scratch + (size_t)team->thread * b->thread_scratch};
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const size_t n = frbm_rbm_layer(&b->work, side)->n;
        u.units[side].begin = frbm_team_begin(team, n);
        u.units[side].end = frbm_team_end(team, n);
    }
    if (b->is_sliced) {
        const frbm_units_t own = frbm_step_own_slices(&u);
        const size_t end = own.end * FRBM_SLICE;
        u.units[FRBM_VISIBLE].begin = own.begin * FRBM_SLICE;
        u.units[FRBM_VISIBLE].end = end < u.shape.n ? end : u.shape.n;
    }
    return u;
}

int frbm_train_update(frbm_train_t *t, const frbm_team_t *team, frbm_epoch_t *epoch,
                      const frbm_batch_t *batch, const frbm_batch_t *next, double learning_rate,
                      uint64_t key) {
    const frbm_train_options_t *o = &t->options;
    frbm_step_t u = begin_update(t, team, epoch, batch, frbm_train_chains(o, batch->n_rows));
    u.key = key;
    u.learning_rate = learning_rate;
    u.exact = o->moments != NULL;
    if (frbm_train_is_small(t, u.exec)) {
        if (epoch->rc != FRBM_OK) return 0;
        frbm_step_small(&u);
    } else {
        if (!(t->buffers->is_sliced ? frbm_step_slices(&u, epoch) : frbm_step_phases(&u, epoch)))
            return 0;
        layer_gradients(&u);
        const double clip = clip_factor(&u);
        frbm_step_layers(&u, clip);
        step_weights(&u, clip);
    }
    if (next != NULL) frbm_train_gather(t, team, epoch, next, key);
    frbm_team_barrier(team);
    return 1;
}

/* ------------------------------------------------------------------------------ the data term */

int frbm_train_statistics(frbm_train_t *t, const frbm_team_t *team, frbm_epoch_t *epoch,
                          size_t n_rows, double *products, double *visible, double *hidden) {
    struct frbm_train_buffers *b = t->buffers;
    double *layers[2] = {visible, hidden};
    const frbm_batch_t batch = {0, n_rows, 0};
    const frbm_step_t u = begin_update(t, team, epoch, &batch, 0);
    const size_t n_tiles = u.shape.row_tiles * u.shape.lane_tiles;

    frbm_train_gather(t, team, epoch, &batch, 0);
    frbm_team_barrier(team);
    if (!b->is_sliced)
        frbm_positive_phase(&u, NULL);
    else if (!frbm_positive_slices(&u, epoch))
        return 0;
    if (frbm_poll_long_update(&u, epoch)) return 0;

    layer_gradients(&u);
    for (int side = FRBM_VISIBLE; side <= FRBM_HIDDEN; ++side) {
        const frbm_layer_t *layer = frbm_rbm_layer(&b->work, side);
        for (int k = 0; k < frbm_unit(layer->unit)->n_learned; ++k)
            for (size_t i = u.units[side].begin; i < u.units[side].end; ++i)
                layers[side][(size_t)k * layer->n + i] =
                    b->gradient[side][(size_t)k * layer->n + i];
    }
    for (size_t tile = frbm_team_begin(team, n_tiles); tile < frbm_team_end(team, n_tiles);
         ++tile) {
        const place_t at = tile_at(&u, tile);
        gradient_tile(&u, &at);
        for (size_t r = 0; r < at.n_rows; ++r)
            for (size_t j = 0; j < at.lanes; ++j)
                products[(at.row + r) * u.shape.p + at.first + j] =
                    frbm_real_get(u.scratch, b->work.dtype, r * FRBM_TILE + j);
    }
    frbm_team_barrier(team);
    return 1;
}
