/*
 * A flip of a two-state visible unit moves the input of hidden unit j by +-w_j, w_j = (high - low) W_ij, and its cgf,
 * with states l and h and p = sigmoid((h - l) (bias + x)), q = 1 - p, by
 *
 *     l w_j + log(q_j + p_j y_j),    y_j = exp((h - l) w_j),        for a flip upwards,
 *     -h w_j + log(q_j y_j + p_j)                                   for one downwards.
 *
 * So the log-odds of a flip hold the logarithm of a product over the hidden units: a fused multiply-add and a
 * multiplication a unit where the difference of two cgfs takes some fifty operations, and nothing cancels, since all
 * terms are positive. The y of the weights are made once for a block of rows, the p and q of a row once for all
 * flips.
 */
#include "flips.h"

#include <math.h>
#include <string.h>

#include "fastrbm/core/workspace.h"

#define LN2 0.69314718055994530942

typedef struct {
    size_t ld;     /* of p and q: the hidden units, padded */
    double *p, *q; /* rows of hidden units, in whole FRBM_FACTOR_ROWS */
    double *x;     /* inputs of FRBM_WIDE_ROWS rows of a tile */
    double *y;     /* FRBM_FACTOR_LANES visible units for each hidden unit */
    double *bias;  /* of the hidden units */
} buffers_t;

static buffers_t take(const frbm_rbm_t *rbm, frbm_workspace_t *w) {
    const size_t ld = frbm_padded(rbm->hidden.n), real = sizeof(double);
    buffers_t b = {.ld = ld};
    b.p = (double *)frbm_workspace_take(w, FRBM_FLIP_ROWS * ld * real);
    b.q = (double *)frbm_workspace_take(w, FRBM_FLIP_ROWS * ld * real);
    b.x = (double *)frbm_workspace_take(w, FRBM_WIDE_ROWS * FRBM_TILE * real);
    b.y = (double *)frbm_workspace_take(w, ld * FRBM_FACTOR_LANES * real);
    b.bias = (double *)frbm_workspace_take(w, ld * real);
    return b;
}

size_t frbm_flips_bytes(const frbm_rbm_t *rbm) {
    frbm_workspace_t w = frbm_workspace(NULL);
    take(rbm, &w);
    return w.used;
}

static double width_of(const frbm_layer_t *layer) {
    return frbm_unit(layer->unit)->high - frbm_unit(layer->unit)->low;
}

int frbm_flips_fit(const frbm_rbm_t *rbm) {
    if (!frbm_unit_is_discrete(frbm_unit(rbm->visible.unit)) ||
        !frbm_unit_is_discrete(frbm_unit(rbm->hidden.unit)))
        return 0;
    const double most = FRBM_MIX_POWER * LN2 / (width_of(&rbm->visible) * width_of(&rbm->hidden));
    int fits = 1;
    for (size_t i = 0; i < rbm->visible.n * rbm->hidden.n; ++i)
        fits &= fabs(frbm_real_get(rbm->weights, rbm->dtype, i)) <= most;
    return fits;
}

/* p and q of the rows; rows up to a whole number of FRBM_FACTOR_ROWS are there, with some p and q. */
static void odds_of_rows(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                         const frbm_array_t *v, size_t row, size_t n_rows, const buffers_t *b) {
    const size_t p = rbm->hidden.n;
    const double scale = width_of(&rbm->hidden);
    const frbm_real_kernels_t *k = &kernels->real[FRBM_FLOAT64];
    for (size_t j = 0; j < p; ++j) b->bias[j] = frbm_parameter(&rbm->hidden, rbm->dtype, 0, j);
    for (size_t r = 0; r < n_rows; r += FRBM_WIDE_ROWS)
        for (size_t first = 0; first < p; first += FRBM_TILE) {
            const size_t rows = n_rows - r < FRBM_WIDE_ROWS ? n_rows - r : FRBM_WIDE_ROWS;
            const size_t lanes = p - first < FRBM_TILE ? p - first : FRBM_TILE;
            frbm_wide_inputs(rbm, kernels, v, row + r, rows, first, lanes, b->x);
            k->two_state_mean(rows, lanes, b->x, b->bias + first, scale, 0, 1, 1,
                              b->p + r * b->ld + first, b->ld);
            k->two_state_mean(rows, lanes, b->x, b->bias + first, scale, 1, 0, 1,
                              b->q + r * b->ld + first, b->ld);
        }
    for (size_t r = n_rows; r % FRBM_FACTOR_ROWS != 0; ++r)
        for (size_t j = 0; j < p; ++j) {
            b->p[r * b->ld + j] = 0;
            b->q[r * b->ld + j] = 1;
        }
}

/* A visible unit: what its flips owe to itself, and to the sum of w_j over the hidden units. */
typedef struct {
    double up, down;
} flip_t;

static flip_t flip_of(const frbm_rbm_t *rbm, size_t i, double sum_of_w) {
    const frbm_unit_t *visible = frbm_unit(rbm->visible.unit),
                      *hidden = frbm_unit(rbm->hidden.unit);
    double low, high;
    visible->log_weight(&rbm->visible, rbm->dtype, i, 1, &visible->low, &low);
    visible->log_weight(&rbm->visible, rbm->dtype, i, 1, &visible->high, &high);
    const flip_t flip = {high - low + hidden->low * sum_of_w, low - high - hidden->high * sum_of_w};
    return flip;
}

/* scale w_j of visible unit i, stride apart, and the sum of the w_j. */
static double weights_of(const frbm_rbm_t *rbm, size_t i, double *scaled, size_t stride) {
    const size_t p = rbm->hidden.n;
    const double width = width_of(&rbm->visible), scale = width_of(&rbm->hidden);
    double sum = 0;
    if (rbm->dtype == FRBM_FLOAT32) {
        const float *weights = (const float *)rbm->weights + i * p;
        for (size_t j = 0; j < p; ++j) scaled[j * stride] = width * (double)weights[j];
    } else {
        const double *weights = (const double *)rbm->weights + i * p;
        for (size_t j = 0; j < p; ++j) scaled[j * stride] = width * weights[j];
    }
    for (size_t j = 0; j < p; ++j) {
        sum += scaled[j * stride];
        scaled[j * stride] *= scale;
    }
    return sum;
}

/* sum_i log p(v_i | v_-i) of the rows, FRBM_FACTOR_LANES units at a time. */
static void all_units(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels, const frbm_array_t *v,
                      size_t row, size_t n_rows, const buffers_t *b, double *out) {
    const size_t n = rbm->visible.n, p = rbm->hidden.n;
    const double high = frbm_unit(rbm->visible.unit)->high;
    for (size_t first = 0; first < n; first += FRBM_FACTOR_LANES) {
        const size_t lanes = n - first < FRBM_FACTOR_LANES ? n - first : FRBM_FACTOR_LANES;
        flip_t flips[FRBM_FACTOR_LANES];
        double states[FRBM_FACTOR_LANES], log_odds[FRBM_FACTOR_LANES];
        memset(b->y, 0, p * FRBM_FACTOR_LANES * sizeof *b->y);
        for (size_t l = 0; l < lanes; ++l)
            flips[l] =
                flip_of(rbm, first + l, weights_of(rbm, first + l, b->y + l, FRBM_FACTOR_LANES));
        kernels->exponentials(p * FRBM_FACTOR_LANES, b->y, b->y);
        for (size_t r = 0; r < n_rows; r += FRBM_FACTOR_ROWS) {
            double products[2][FRBM_FACTOR_TILE], exponents[2][FRBM_FACTOR_TILE] = {{0}, {0}};
            const double *pr = b->p + r * b->ld, *qr = b->q + r * b->ld;
            for (size_t i = 0; i < FRBM_FACTOR_TILE; ++i) products[0][i] = products[1][i] = 1;
            kernels->factors.mix(p, pr, qr, b->ld, b->y, products[0], exponents[0]);
            kernels->factors.mix(p, qr, pr, b->ld, b->y, products[1], exponents[1]);
            for (size_t q = 0; q < FRBM_FACTOR_ROWS && r + q < n_rows; ++q) {
                frbm_array_load_part(v, row + r + q, first, lanes, FRBM_FLOAT64, states);
                for (size_t l = 0; l < lanes; ++l) {
                    const size_t at = q * FRBM_FACTOR_LANES + l;
                    const int down = states[l] == high;
                    log_odds[l] = (down ? flips[l].down : flips[l].up) + log(products[down][at]) +
                                  LN2 * exponents[down][at];
                }
                kernels->softplus(lanes, log_odds, log_odds);
                for (size_t l = 0; l < lanes; ++l) out[row + r + q] -= log_odds[l];
            }
        }
    }
}

/* The logarithm of the product of n factors within 2^+-FRBM_MIX_POWER. */
static double log_product(const double *factors, size_t n) {
    enum { CHAINS = 4 }; /* a multiplication waits for the one before it */
    double sum = 0;
    for (size_t j = 0; j < n; j += FRBM_MIX_UNITS) {
        const size_t end = n - j < FRBM_MIX_UNITS ? n : j + FRBM_MIX_UNITS;
        double product[CHAINS] = {1, 1, 1, 1};
        size_t i = j;
        for (; i + CHAINS <= end; i += CHAINS)
            for (size_t c = 0; c < CHAINS; ++c) product[c] *= factors[i + c];
        for (; i < end; ++i) product[i % CHAINS] *= factors[i];
        sum += log((product[0] * product[1]) * (product[2] * product[3]));
    }
    return sum;
}

/* n log p(v_i | v_-i) of one unit a row, of at most FRBM_FACTOR_LANES rows from row r of the block on. */
static void random_units(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                         const frbm_array_t *v, const frbm_stream_t *stream, size_t row, size_t r,
                         size_t n_rows, const buffers_t *b, double *out) {
    const size_t n = rbm->visible.n, p = rbm->hidden.n;
    double log_odds[FRBM_FACTOR_LANES];
    int downwards[FRBM_FACTOR_LANES];
    memset(b->y, 0, n_rows * b->ld * sizeof *b->y);
    for (size_t q = 0; q < n_rows; ++q) {
        const size_t i = frbm_stream_index(stream, (uint32_t)(row + r + q), (uint32_t)n);
        downwards[q] = frbm_array_get(v, row + r + q, i) == frbm_unit(rbm->visible.unit)->high;
        const flip_t flip = flip_of(rbm, i, weights_of(rbm, i, b->y + q * b->ld, 1));
        log_odds[q] = downwards[q] ? flip.down : flip.up;
    }
    kernels->exponentials(n_rows * b->ld, b->y, b->y);
    for (size_t q = 0; q < n_rows; ++q) {
        const size_t at = (r + q) * b->ld;
        const double *up = (downwards[q] ? b->q : b->p) + at,
                     *other = (downwards[q] ? b->p : b->q) + at;
        double *y = b->y + q * b->ld;
        for (size_t j = 0; j < p; ++j) y[j] = other[j] + up[j] * y[j];
        log_odds[q] += log_product(y, p);
    }
    kernels->softplus(n_rows, log_odds, log_odds);
    for (size_t q = 0; q < n_rows; ++q) out[row + r + q] = -(double)n * log_odds[q];
}

void frbm_flips_log_conditionals(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                                 const frbm_array_t *v, const frbm_stream_t *stream, size_t row,
                                 size_t n_rows, void *workspace, double *out) {
    frbm_workspace_t w = frbm_workspace(workspace);
    const buffers_t b = take(rbm, &w);
    odds_of_rows(rbm, kernels, v, row, n_rows, &b);
    if (stream == NULL) {
        memset(out + row, 0, n_rows * sizeof *out);
        all_units(rbm, kernels, v, row, n_rows, &b, out);
        return;
    }
    for (size_t r = 0; r < n_rows; r += FRBM_FACTOR_LANES)
        random_units(rbm, kernels, v, stream, row, r,
                     n_rows - r < FRBM_FACTOR_LANES ? n_rows - r : FRBM_FACTOR_LANES, &b, out);
}
