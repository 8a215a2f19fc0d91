/*
 * States one by one: inputs of the other layer as products of bits and weights, then the unit's
 * cgf. For layers that do not factor, and for the log-weights of given states.
 */
#include "split_moments.h"

/* inputs[r][j] = sum_i x_i W[i][first + j] of the states numbered in states. */
static void inputs_of(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      const uint64_t *states, size_t n, size_t first, size_t lanes,
                      double *inputs) {
    kernels->real[FRBM_FLOAT64].product_bits(
        states, 1, frbm_unit(b->enumerated.unit)->storage == FRBM_STORE_SIGNS, n, b->n,
        b->weights + first, b->ldm, lanes, 0, inputs);
}

/* sum_i a_i(x_i) */
static double log_weight_of(const struct frbm_split_buffers *b, uint64_t state) {
    const frbm_unit_t *unit = frbm_unit(b->enumerated.unit);
    double x[FRBM_SPLIT_MAX_UNITS], w[FRBM_SPLIT_MAX_UNITS], sum = 0;
    for (size_t i = 0; i < b->n; ++i) x[i] = state >> i & 1 ? unit->high : unit->low;
    unit->log_weight(&b->enumerated, FRBM_FLOAT64, 0, b->n, x, w);
    for (size_t i = 0; i < b->n; ++i) sum += w[i];
    return sum;
}

void frbm_split_log_weights_of(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, uint64_t first, size_t n, double *scratch,
                               double *out) {
    uint64_t states[FRBM_SPLIT_STATES];
    double cgf[FRBM_TILE];
    for (size_t r = 0; r < n; ++r) {
        states[r] = first + r;
        out[r] = beta * log_weight_of(b, states[r]);
    }
    for (size_t j0 = 0; j0 < b->m; j0 += FRBM_TILE) {
        const size_t lanes = b->m - j0 < FRBM_TILE ? b->m - j0 : FRBM_TILE;
        inputs_of(b, kernels, states, n, j0, lanes, scratch);
        for (size_t r = 0; r < n; ++r) {
            double sum = 0;
            frbm_unit(b->other.unit)
                ->cgf(&b->other, FRBM_FLOAT64, kernels, j0, lanes, scratch + r * FRBM_TILE, beta,
                      cgf);
            for (size_t j = 0; j < lanes; ++j) sum += cgf[j];
            out[r] += sum;
        }
    }
}

/* What a unit's cgf can be at inputs from -reach to reach, and how steep: it is convex, so its
 * slope at the ends is bounded by chords that leave the interval. */
static void bound_cgf(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      double beta, size_t j, double reach, double *size, double *slope) {
    static const double at[5] = {-3, -1, 0, 1, 3};
    double y[5];
    for (int k = 0; k < 5; ++k) {
        const double x = at[k] * (reach + 1);
        frbm_unit(b->other.unit)->cgf(&b->other, FRBM_FLOAT64, kernels, j, 1, &x, beta, &y[k]);
    }
    *slope = fmax(fabs(y[4] - y[3]), fabs(y[1] - y[0])) / (2 * (reach + 1));
    /* convex: at most the larger end, at least the tangent's fall from the middle */
    *size = fmax(fmax(fabs(y[1]), fabs(y[3])), fabs(y[2]) + *slope * (reach + 1));
}

double frbm_split_states_error(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, double *largest) {
    const double steps = (double)b->n + 4;
    double error = 0, size = 0;
    for (size_t j = 0; j < b->m; ++j) {
        double reach = 0, bound, slope;
        for (size_t i = 0; i < b->n; ++i) reach += fabs(b->weights[i * b->ldm + j]);
        const double field = reach + fabs(b->parameters[1][0][j]);
        bound_cgf(b, kernels, beta, j, reach, &bound, &slope);
        /* of the input, of the field, and of the cgf itself */
        error += slope * steps * field + 8 * bound;
        size += bound;
    }
    for (size_t i = 0; i < b->n; ++i) size += beta * fabs(b->parameters[0][0][i]);
    *largest = size;
    /* of the sums over units: within a tile, and over tiles */
    error += size * (FRBM_TILE + (double)(b->m / FRBM_TILE) + (double)b->n + 4);
    return (error + FRBM_SPLIT_STATES + 8) * 0x1p-53;
}

frbm_running_t frbm_split_sum_states(const struct frbm_split_buffers *b,
                                     const frbm_kernels_t *kernels, double beta, uint64_t begin,
                                     uint64_t end, double *scratch, double *exponent,
                                     frbm_stop_t *stop, const frbm_team_t *team) {
    double log_weights[FRBM_SPLIT_STATES];
    frbm_running_t total = {0, 0};
    *exponent = -INFINITY;
    for (uint64_t s = begin; s < end; s += FRBM_SPLIT_STATES) {
        const size_t n = end - s < FRBM_SPLIT_STATES ? (size_t)(end - s) : FRBM_SPLIT_STATES;
        double most = *exponent, sum = 0;
        if (frbm_stop_asked(stop, team)) break;
        frbm_split_log_weights_of(b, kernels, beta, s, n, scratch, log_weights);
        for (size_t r = 0; r < n; ++r) most = fmax(most, log_weights[r]);
        if (most > *exponent) {
            const double scale = exp(*exponent - most);
            total.sum *= scale;
            total.rest *= scale;
            *exponent = most;
        }
        for (size_t r = 0; r < n; ++r) sum += exp(log_weights[r] - most);
        frbm_running_add(&total, sum);
    }
    return total;
}

/* What the passes over states keep for FRBM_SPLIT_STATES of them, in scratch. */
typedef struct {
    double *inputs, *means, *x, *weighted, *tile; /* rows of FRBM_TILE */
    double *energy, *variance;                    /* of each state, given the enumerated layer */
} block_t;

static block_t block_in(double *scratch) {
    const size_t n = FRBM_SPLIT_STATES * FRBM_TILE;
    const block_t t = {scratch,
                       scratch + n,
                       scratch + 2 * n,
                       scratch + 3 * n,
                       scratch + 4 * n,
                       scratch + 5 * n,
                       scratch + 5 * n + FRBM_SPLIT_STATES};
    return t;
}

size_t frbm_split_states_scratch(void) {
    return 5 * FRBM_SPLIT_STATES * FRBM_TILE + 2 * FRBM_SPLIT_STATES;
}

/* to[k][j] += sum_r weighted[r][k] m[r][j] for the first rows of `to`, n of them. */
static void add_product(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                        const block_t *t, size_t n, const double *m, size_t lanes, double *to,
                        size_t ld) {
    kernels->real[FRBM_FLOAT64].product_values(t->weighted, 1, FRBM_TILE, b->n, n, m, FRBM_TILE,
                                               lanes, 0, t->tile);
    for (size_t k = 0; k < b->n; ++k)
        for (size_t j = 0; j < lanes; ++j) to[k * ld + j] += t->tile[k * FRBM_TILE + j];
}

/* The units first .. first + lanes - 1 of the other layer, given n states of weights p. */
static void add_units(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      double beta, const block_t *t, size_t n, const double *p, size_t first,
                      size_t lanes, int with_products, const frbm_split_totals_t *totals) {
    const frbm_unit_t *unit = frbm_unit(b->other.unit);
    const size_t ldt = b->moments->ldt;
    const frbm_tile_t tile = {first, lanes, n, t->inputs};
    unit->mean(&b->other, FRBM_FLOAT64, kernels, &tile, beta, 1, t->means, FRBM_TILE);
    if (b->moments->with_energy)
        for (size_t r = 0; r < n; ++r) {
            double energies[FRBM_TILE], variances[FRBM_TILE];
            unit->field_energy(&b->other, FRBM_FLOAT64, first, lanes, t->inputs + r * FRBM_TILE,
                               t->means + r * FRBM_TILE, beta, energies, variances);
            for (size_t j = 0; j < lanes; ++j) {
                t->energy[r] -= energies[j];
                t->variance[r] += variances[j];
            }
        }
    if (!with_products) return;
    for (size_t r = 0; r < n; ++r)
        for (size_t j = 0; j < lanes; ++j)
            totals->products[first + j] += p[r] * t->means[r * FRBM_TILE + j];
    add_product(b, kernels, t, n, t->means, lanes, totals->products + ldt + first, ldt);
}

static void add_energies(const block_t *t, size_t n, const double *p, frbm_split_totals_t *totals) {
    for (size_t r = 0; r < n; ++r) {
        if (p[r] == 0) continue;
        const double before = totals->weight, step = t->energy[r] - totals->mean;
        totals->weight += p[r];
        totals->mean += step * (p[r] / totals->weight);
        totals->spread += step * step * (before * p[r] / totals->weight);
        totals->inner += p[r] * t->variance[r];
    }
}

void frbm_split_states_moments(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                               double beta, size_t piece, double log_z, int with_products,
                               double *scratch, frbm_stop_t *stop, const frbm_team_t *team) {
    const frbm_unit_t *unit = frbm_unit(b->enumerated.unit);
    const uint64_t n_states = (uint64_t)1 << b->n, end = frbm_split_piece(b, piece + 1, n_states);
    const size_t ldt = b->moments->ldt;
    frbm_split_totals_t *totals = &b->moments->totals[piece];
    const block_t t = block_in(scratch);
    memset(totals->products, 0, (b->n + 1) * ldt * sizeof(double));
    memset(totals->pairs, 0, b->n * b->n * sizeof(double));
    totals->weight = totals->mean = totals->spread = totals->inner = 0;
    for (uint64_t s = frbm_split_piece(b, piece, n_states); s < end; s += FRBM_SPLIT_STATES) {
        const size_t n = end - s < FRBM_SPLIT_STATES ? (size_t)(end - s) : FRBM_SPLIT_STATES;
        uint64_t states[FRBM_SPLIT_STATES];
        double p[FRBM_SPLIT_STATES];
        if (frbm_stop_asked(stop, team)) return;
        frbm_split_log_weights_of(b, kernels, beta, s, n, t.inputs, p);
        for (size_t r = 0; r < n; ++r) {
            states[r] = s + r;
            p[r] = exp(p[r] - log_z);
            t.energy[r] = -log_weight_of(b, states[r]);
            t.variance[r] = 0;
            totals->products[b->m] += p[r];
            for (size_t k = 0; k < b->n; ++k) {
                const double x = states[r] >> k & 1 ? unit->high : unit->low;
                t.x[r * FRBM_TILE + k] = x;
                t.weighted[r * FRBM_TILE + k] = p[r] * x;
                totals->products[(1 + k) * ldt + b->m] += p[r] * x;
            }
        }
        if (b->moments->with_pairs) add_product(b, kernels, &t, n, t.x, b->n, totals->pairs, b->n);
        for (size_t first = 0; first < b->m; first += FRBM_TILE) {
            const size_t lanes = b->m - first < FRBM_TILE ? b->m - first : FRBM_TILE;
            inputs_of(b, kernels, states, n, first, lanes, t.inputs);
            add_units(b, kernels, beta, &t, n, p, first, lanes, with_products, totals);
        }
        if (b->moments->with_energy) add_energies(&t, n, p, totals);
    }
}

/* Log-weights that a caller asks for, a block of states at a time. */
typedef struct {
    const struct frbm_split_buffers *b;
    const frbm_kernels_t *kernels;
    double beta;
    uint64_t first, n;
    double *out;
} weights_t;

static void weigh_block(void *context, uint64_t number, const frbm_team_t *team,
                        frbm_stop_t *stop) {
    const weights_t *run = (const weights_t *)context;
    const uint64_t at = number * FRBM_SPLIT_STATES, left = run->n - at;
    (void)stop;
    frbm_split_log_weights_of(run->b, run->kernels, run->beta, run->first + at,
                              left < FRBM_SPLIT_STATES ? (size_t)left : FRBM_SPLIT_STATES,
                              frbm_split_scratch(run->b, team), run->out + at);
}

int frbm_split_log_weights(frbm_split_t *split, double beta, uint64_t first, uint64_t n,
                           const frbm_exec_t *exec, double *out) {
    if (split == NULL || split->buffers == NULL || exec == NULL) return FRBM_ERROR_ARGUMENT;
    const struct frbm_split_buffers *b = split->buffers;
    const uint64_t n_states = (uint64_t)1 << b->n;
    if (first > n_states || n > n_states - first || (n > 0 && out == NULL))
        return FRBM_ERROR_ARGUMENT;
    const int rc = frbm_split_prepare(split, beta, exec->kernels);
    if (rc < 0) return rc;
    double largest;
    split->error_bound = frbm_split_states_error(b, exec->kernels, beta, &largest);
    if (!(largest <= FRBM_SPLIT_LARGEST)) return FRBM_ERROR_RANGE;

    const int n_threads =
        frbm_team_size(frbm_split_threads(split, exec, n), (double)n * (double)b->m * (double)b->n);
    weights_t run = {b, exec->kernels, beta, first, n, out};
    return frbm_share(exec, n_threads, (n + FRBM_SPLIT_STATES - 1) / FRBM_SPLIT_STATES, weigh_block,
                      &run);
}
