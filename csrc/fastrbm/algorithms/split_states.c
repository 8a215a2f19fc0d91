/*
 * States one by one: inputs of the other layer as products of bits and weights, then the unit's
 * cgf. For layers that do not factor, and for the log-weights of given states.
 */
#include "split.h"

/* inputs[r][j] = sum_i x_i W[i][first + j] of the states numbered in states. */
static void inputs_of(const struct frbm_split_buffers *b, const frbm_kernels_t *kernels,
                      const uint64_t *states, size_t n, size_t first, size_t lanes,
                      double *inputs) {
    memset(inputs, 0, n * FRBM_TILE * sizeof *inputs);
    kernels->real[FRBM_FLOAT64].product_bits(
        states, 1, frbm_unit(b->enumerated.unit)->storage == FRBM_STORE_SIGNS, n, b->n,
        b->weights + first, b->ldm, lanes, inputs);
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

frbm_partial_t frbm_split_states_sum(const frbm_split_t *split, const frbm_kernels_t *kernels,
                                     double beta, uint64_t index, double *scratch,
                                     frbm_poll_t *poll, atomic_int *stop) {
    const struct frbm_split_buffers *b = split->buffers;
    const uint64_t per_shard = ((uint64_t)1 << b->n) / split->n_shards;
    double *log_weights = scratch + FRBM_SPLIT_STATES * FRBM_TILE;
    frbm_running_t total = {0, 0};
    frbm_partial_t partial = {index, -INFINITY, 0, 0};
    for (uint64_t s = 0; s < per_shard; s += FRBM_SPLIT_STATES) {
        const size_t n =
            per_shard - s < FRBM_SPLIT_STATES ? (size_t)(per_shard - s) : FRBM_SPLIT_STATES;
        double most = partial.exponent, sum = 0;
        if (poll != NULL && frbm_poll(poll)) atomic_store(stop, 1);
        if (atomic_load_explicit(stop, memory_order_relaxed)) break;
        frbm_split_log_weights_of(b, kernels, beta, index * per_shard + s, n, scratch, log_weights);
        for (size_t r = 0; r < n; ++r) most = fmax(most, log_weights[r]);
        if (most > partial.exponent) {
            const double scale = exp(partial.exponent - most);
            total.sum *= scale;
            total.rest *= scale;
            partial.exponent = most;
        }
        for (size_t r = 0; r < n; ++r) sum += exp(log_weights[r] - most);
        frbm_running_add(&total, sum);
    }
    partial.mantissa = total.sum + total.rest;
    return partial;
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

    const int threads = exec->n_threads < split->n_threads ? exec->n_threads : split->n_threads;
    const int n_threads = frbm_team_size(threads, (double)n * (double)b->m * (double)b->n);
    const uint64_t n_blocks = (n + FRBM_SPLIT_STATES - 1) / FRBM_SPLIT_STATES;
    frbm_poll_t poll = frbm_poll_start(exec);
    atomic_int stop = 0;
    atomic_ullong next = 0;
    (void)n_threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
#endif
    {
        const frbm_team_t team = frbm_team_here(NULL);
        double *scratch = b->scratch + (size_t)team.thread * b->thread_scratch;
        uint64_t i;
        while (!atomic_load_explicit(&stop, memory_order_relaxed) &&
               (i = atomic_fetch_add(&next, 1)) < n_blocks) {
            const uint64_t at = i * FRBM_SPLIT_STATES;
            if (team.thread == 0 && frbm_poll(&poll)) atomic_store(&stop, 1);
            frbm_split_log_weights_of(b, exec->kernels, beta, first + at,
                                      n - at < FRBM_SPLIT_STATES ? (size_t)(n - at)
                                                                 : FRBM_SPLIT_STATES,
                                      scratch, out + at);
        }
    }
    return atomic_load(&stop) ? FRBM_STOPPED : FRBM_OK;
}
