#include "energy.h"

#include <string.h>

#include "fastrbm/core/team.h"

void frbm_wide_inputs(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                      const frbm_array_t *visible, size_t row, size_t n_rows, size_t first,
                      size_t lanes, double *inputs) {
    enum { DEPTH = 32 }; /* visible units at a time: both blocks stay on the stack and in L1 */
    double weights[DEPTH * FRBM_TILE], states[FRBM_WIDE_ROWS * DEPTH];
    const size_t padded = frbm_padded(lanes); /* whole vectors, the last of them with zeros */
    for (size_t i0 = 0; i0 < rbm->visible.n; i0 += DEPTH) {
        const size_t depth = rbm->visible.n - i0 < DEPTH ? rbm->visible.n - i0 : DEPTH;
        for (size_t r = 0; r < n_rows; ++r)
            frbm_array_load_part(visible, row + r, i0, depth, FRBM_FLOAT64, states + r * DEPTH);
        for (size_t i = 0; i < depth; ++i) {
            const size_t at = (i0 + i) * rbm->hidden.n + first;
            double *to = weights + i * FRBM_TILE;
            if (rbm->dtype == FRBM_FLOAT32)
                for (size_t j = 0; j < lanes; ++j) to[j] = ((const float *)rbm->weights)[at + j];
            else
                memcpy(to, (const double *)rbm->weights + at, lanes * sizeof *to);
            for (size_t j = lanes; j < padded; ++j) to[j] = 0;
        }
        kernels->real[FRBM_FLOAT64].product_values(states, DEPTH, 1, n_rows, depth, weights,
                                                   FRBM_TILE, padded, i0 > 0, inputs);
    }
}

double frbm_row_log_weight(const frbm_layer_t *layer, int dtype, const frbm_array_t *states,
                           size_t row) {
    double s[FRBM_TILE], w[FRBM_TILE], sum = 0;
    for (size_t first = 0; first < layer->n; first += FRBM_TILE) {
        const size_t lanes = layer->n - first < FRBM_TILE ? layer->n - first : FRBM_TILE;
        frbm_array_load_part(states, row, first, lanes, FRBM_FLOAT64, s);
        frbm_unit(layer->unit)->log_weight(layer, dtype, first, lanes, s, w);
        for (size_t j = 0; j < lanes; ++j) sum += w[j];
    }
    return sum;
}

/* One block of rows. Without hidden states: the free energy at beta; with them: the energy. */
static void energies_of_block(const frbm_rbm_t *rbm, const frbm_kernels_t *kernels,
                              const frbm_array_t *v, const frbm_array_t *h, double beta, size_t row,
                              size_t n_rows, double *energies) {
    double x[FRBM_WIDE_ROWS * FRBM_TILE], y[FRBM_TILE];
    for (size_t r = 0; r < n_rows; ++r) {
        energies[row + r] = -beta * frbm_row_log_weight(&rbm->visible, rbm->dtype, v, row + r);
        if (h != NULL)
            energies[row + r] -= beta * frbm_row_log_weight(&rbm->hidden, rbm->dtype, h, row + r);
    }
    for (size_t first = 0; first < rbm->hidden.n; first += FRBM_TILE) {
        const size_t left = rbm->hidden.n - first, lanes = left < FRBM_TILE ? left : FRBM_TILE;
        frbm_wide_inputs(rbm, kernels, v, row, n_rows, first, lanes, x);
        for (size_t r = 0; r < n_rows; ++r) {
            const double *xr = x + r * FRBM_TILE;
            double sum = 0;
            if (h != NULL) {
                frbm_array_load_part(h, row + r, first, lanes, FRBM_FLOAT64, y);
                for (size_t j = 0; j < lanes; ++j) sum += xr[j] * y[j];
                sum *= beta;
            } else {
                frbm_unit(rbm->hidden.unit)
                    ->cgf(&rbm->hidden, rbm->dtype, kernels, first, lanes, xr, beta, y);
                for (size_t j = 0; j < lanes; ++j) sum += y[j];
            }
            energies[row + r] -= sum;
        }
    }
}

static int check_states(const frbm_layer_t *layer, int dtype, const frbm_array_t *states,
                        frbm_where_t *where) {
    int rc = frbm_array_check(states, layer->n);
    for (size_t r = 0; rc == FRBM_OK && r < states->n_rows; ++r)
        rc = frbm_states_check_row(layer, dtype, states, r, where);
    return rc;
}

static void energies(const frbm_rbm_t *rbm, const frbm_array_t *v, const frbm_array_t *h,
                     double beta, const frbm_exec_t *exec, double *out) {
    const size_t n_blocks = (v->n_rows + FRBM_WIDE_ROWS - 1) / FRBM_WIDE_ROWS;
    const int n_threads = frbm_team_size(
        exec->n_threads, (double)v->n_rows * (double)rbm->visible.n * (double)rbm->hidden.n);
    (void)n_threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
#endif
    for (size_t b = 0; b < n_blocks; ++b) {
        const size_t row = b * FRBM_WIDE_ROWS, left = v->n_rows - row;
        energies_of_block(rbm, exec->kernels, v, h, beta, row,
                          left < FRBM_WIDE_ROWS ? left : FRBM_WIDE_ROWS, out);
    }
}

int frbm_rbm_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v, const frbm_array_t *h,
                       const frbm_exec_t *exec, double *out, frbm_where_t *where) {
    int rc = frbm_rbm_check(rbm);
    if (rc == FRBM_OK &&
        (h == NULL || v == NULL || h->n_rows != v->n_rows || out == NULL || exec == NULL))
        rc = FRBM_ERROR_ARGUMENT;
    if (rc == FRBM_OK) rc = check_states(&rbm->visible, rbm->dtype, v, where);
    if (rc == FRBM_OK) rc = check_states(&rbm->hidden, rbm->dtype, h, where);
    if (rc < 0) return rc;
    energies(rbm, v, h, 1, exec, out);
    return FRBM_OK;
}

int frbm_rbm_free_energy_of(const frbm_rbm_t *rbm, const frbm_array_t *v, double beta,
                            const frbm_exec_t *exec, double *out, frbm_where_t *where) {
    int rc = frbm_rbm_check(rbm);
    if (rc == FRBM_OK && (v == NULL || out == NULL || exec == NULL)) rc = FRBM_ERROR_ARGUMENT;
    if (rc == FRBM_OK) rc = frbm_rbm_check_beta(rbm, beta);
    if (rc == FRBM_OK) rc = check_states(&rbm->visible, rbm->dtype, v, where);
    if (rc < 0) return rc;
    energies(rbm, v, NULL, beta, exec, out);
    return FRBM_OK;
}

int frbm_rbm_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, const void *h,
                    const frbm_exec_t *exec, double *out) {
    const int rc = frbm_rbm_check(rbm);
    if (rc < 0) return rc;
    const frbm_array_t va = frbm_array_contiguous(v, frbm_state_dtype(&rbm->visible, rbm->dtype),
                                                  n_chains, rbm->visible.n);
    const frbm_array_t ha = frbm_array_contiguous(h, frbm_state_dtype(&rbm->hidden, rbm->dtype),
                                                  n_chains, rbm->hidden.n);
    return frbm_rbm_energy_of(rbm, &va, &ha, exec, out, NULL);
}

int frbm_rbm_free_energy(const frbm_rbm_t *rbm, size_t n_chains, const void *v, double beta,
                         const frbm_exec_t *exec, double *out) {
    const int rc = frbm_rbm_check(rbm);
    if (rc < 0) return rc;
    const frbm_array_t va = frbm_array_contiguous(v, frbm_state_dtype(&rbm->visible, rbm->dtype),
                                                  n_chains, rbm->visible.n);
    return frbm_rbm_free_energy_of(rbm, &va, beta, exec, out, NULL);
}
