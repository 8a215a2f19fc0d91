/*
 * Log pseudo-likelihood (Besag 1975) of two-state visible units,
 *
 *     sum_i log p(v_i | v_-i),   log p(v_i | v_-i) = - log(1 + exp(L(v with i flipped) - L(v))),
 *
 * L = -beta E_eff the log-weight of a visible state, hidden units summed out. A flip of v_i moves
 * the inputs by (v_i' - v_i) W_i, so that it costs p cgfs, no matrix product; where hidden units have two states, a
 * product of p factors (flips.h). In double precision.
 */
#include <math.h>

#include "fastrbm/core/team.h"
#include "fastrbm/core/workspace.h"
#include "flips.h"

static size_t thread_bytes(const frbm_rbm_t *rbm) {
    frbm_workspace_t w = frbm_workspace(NULL);
    frbm_workspace_take(&w,
                        FRBM_WIDE_ROWS * frbm_tiles(rbm->hidden.n) * FRBM_TILE * sizeof(double));
    if (frbm_unit_is_discrete(frbm_unit(rbm->hidden.unit)) && w.used < frbm_flips_bytes(rbm))
        return frbm_flips_bytes(rbm);
    return w.used;
}

size_t frbm_pseudo_likelihood_workspace_size(const frbm_rbm_t *rbm, int n_threads) {
    return (size_t)(n_threads < 1 ? 1 : n_threads) * thread_bytes(rbm) + FRBM_ALIGNMENT;
}

/* sum over the hidden units of cgf(x + shift W_i). x: tiles of FRBM_WIDE_ROWS rows. */
static double cgf_sum(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels, const double *x,
                      double shift, size_t i) {
    double y[FRBM_TILE], sum = 0;
    for (size_t first = 0; first < rbm->hidden.n; first += FRBM_TILE) {
        const size_t left = rbm->hidden.n - first, lanes = left < FRBM_TILE ? left : FRBM_TILE;
        const double *xt = x + first * FRBM_WIDE_ROWS;
        const size_t at = i * rbm->hidden.n + first;
        if (rbm->dtype == FRBM_FLOAT32)
            for (size_t j = 0; j < lanes; ++j)
                y[j] = xt[j] + shift * (double)((const float *)rbm->weights)[at + j];
        else
            for (size_t j = 0; j < lanes; ++j)
                y[j] = xt[j] + shift * ((const double *)rbm->weights)[at + j];
        frbm_unit(rbm->hidden.unit)->cgf(&rbm->hidden, rbm->dtype, kernels, first, lanes, y, 1, y);
        for (size_t j = 0; j < lanes; ++j) sum += y[j];
    }
    return sum;
}

/* log p(v_i | all others). */
static double log_conditional(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels, const double *x,
                              double cgf_here, size_t i, double state) {
    const frbm_unit_t *unit = frbm_unit(rbm->visible.unit);
    const double other = unit->low + unit->high - state;
    double here, there;
    unit->log_weight(&rbm->visible, rbm->dtype, i, 1, &state, &here);
    unit->log_weight(&rbm->visible, rbm->dtype, i, 1, &other, &there);
    const double d = there - here + cgf_sum(rbm, kernels, x, other - state, i) - cgf_here;
    return -(d > 0 ? d + log1p(exp(-d)) : log1p(exp(d)));
}

static void rows_of_block(const frbm_rbm_t *rbm, const frbm_array_t *v,
                          const frbm_kernels_t *kernels, const frbm_stream_t *stream, size_t row,
                          size_t n_rows, double *x, double *out) {
    for (size_t first = 0; first < rbm->hidden.n; first += FRBM_TILE) {
        const size_t left = rbm->hidden.n - first;
        frbm_wide_inputs(rbm, kernels, v, row, n_rows, first, left < FRBM_TILE ? left : FRBM_TILE,
                         x + first * FRBM_WIDE_ROWS);
    }
    for (size_t r = 0; r < n_rows; ++r) {
        const size_t n = rbm->visible.n;
        const double *xr = x + r * FRBM_TILE;
        const double cgf_here = cgf_sum(rbm, kernels, xr, 0, 0);
        out[row + r] = 0;
        if (stream != NULL) {
            const size_t i = frbm_stream_index(stream, (uint32_t)(row + r), (uint32_t)n);
            out[row + r] = (double)n * log_conditional(rbm, kernels, xr, cgf_here, i,
                                                       frbm_array_get(v, row + r, i));
        } else {
            for (size_t i = 0; i < n; ++i)
                out[row + r] +=
                    log_conditional(rbm, kernels, xr, cgf_here, i, frbm_array_get(v, row + r, i));
        }
    }
}

int frbm_pseudo_likelihood(const frbm_rbm_t *rbm, const frbm_array_t *v, void *workspace,
                           size_t size, const frbm_exec_t *exec, const frbm_rng_t *rng, double *out,
                           frbm_where_t *where) {
    int rc = frbm_rbm_check(rbm);
    if (rc == FRBM_OK && (exec == NULL || out == NULL)) rc = FRBM_ERROR_ARGUMENT;
    if (rc == FRBM_OK) rc = frbm_array_check(v, rbm->visible.n);
    if (rc < 0) return rc;
    if (!frbm_unit_is_discrete(frbm_unit(rbm->visible.unit))) return FRBM_ERROR_UNIT;
    for (size_t r = 0; r < v->n_rows; ++r) {
        rc = frbm_states_check_row(&rbm->visible, rbm->dtype, v, r, where);
        if (rc < 0) return rc;
    }
    const double flip_work = rng == NULL ? 64.0 * (double)rbm->visible.n : 64.0;
    const int n_threads =
        frbm_team_size(exec->n_threads, (double)v->n_rows * (double)rbm->hidden.n *
                                            ((double)rbm->visible.n + flip_work));
    if (workspace == NULL || size < frbm_pseudo_likelihood_workspace_size(rbm, n_threads))
        return FRBM_ERROR_WORKSPACE;
    const frbm_workspace_t w = frbm_workspace(workspace);
    const int flips = frbm_flips_fit(rbm);
    const size_t rows = flips ? FRBM_FLIP_ROWS : FRBM_WIDE_ROWS;
    const size_t n_blocks = (v->n_rows + rows - 1) / rows;
    const size_t bytes = thread_bytes(rbm);
    frbm_stream_t stream;
    if (rng != NULL)
        stream = frbm_stream(rng->key, rng->step, FRBM_PURPOSE_PSEUDO, rng->first_chain);
    const frbm_stream_t *draw = rng == NULL ? NULL : &stream;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
#endif
    for (size_t b = 0; b < n_blocks; ++b) {
        const size_t row = b * rows, left = v->n_rows - row, n_rows = left < rows ? left : rows;
        void *mine = w.base + (size_t)frbm_team_here(NULL).thread * bytes;
        if (flips)
            frbm_flips_log_conditionals(rbm, exec->kernels, v, draw, row, n_rows, mine, out);
        else
            rows_of_block(rbm, v, exec->kernels, draw, row, n_rows, (double *)mine, out);
    }
    return FRBM_OK;
}
