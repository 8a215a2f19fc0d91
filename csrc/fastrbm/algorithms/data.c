/*
 * Training data: packing, and the largest eigenvalue of <v v^T>, the mean over rows,
 * which bounds the stable learning rate where hidden units are unbounded. Power iteration: the
 * Rayleigh quotient converges from below, with the square of the ratio of the two largest
 * eigenvalues.
 */
#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/poll.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/states.h"

#define TOLERANCE 1e-6
#define MAX_ROUNDS 200

size_t frbm_data_packed_size(const frbm_rbm_t *rbm, size_t n_rows) {
    return n_rows * frbm_bit_words(rbm->visible.n) * sizeof(uint64_t);
}

int frbm_data_pack(const frbm_rbm_t *rbm, const frbm_array_t *array, uint64_t *bits,
                   frbm_where_t *where) {
    int rc = frbm_rbm_check_shape(rbm);
    if (rc == FRBM_OK) rc = frbm_array_check(array, rbm->visible.n);
    if (rc < 0) return rc;
    if (!frbm_unit_is_discrete(frbm_unit(rbm->visible.unit))) return FRBM_ERROR_UNIT;
    return frbm_states_load(&rbm->visible, rbm->dtype, array, 0, array->n_rows, bits, where);
}

static void load_row(const frbm_rbm_t *rbm, const frbm_data_t *data, size_t row, double *v) {
    const frbm_unit_t *unit = frbm_unit(rbm->visible.unit);
    if (data->packed)
        frbm_array_unpack_row(data->bits + row * frbm_bit_words(rbm->visible.n), rbm->visible.n,
                              unit->low, unit->high, FRBM_FLOAT64, v, sizeof(double));
    else
        frbm_array_load_row(&data->values, row, FRBM_FLOAT64, v);
}

int frbm_data_leading_eigenvalue(const frbm_rbm_t *rbm, const frbm_data_t *data, size_t max_rows,
                                 double *buffer, const frbm_exec_t *exec, double *out) {
    if (rbm == NULL || data == NULL || buffer == NULL || exec == NULL || out == NULL ||
        data->n_rows == 0 || max_rows == 0)
        return FRBM_ERROR_ARGUMENT;
    const int rc = frbm_rbm_check_shape(rbm);
    if (rc < 0) return rc;
    if (data->packed ? data->bits == NULL : data->values.n_rows != data->n_rows)
        return FRBM_ERROR_ARGUMENT;
    const size_t n = rbm->visible.n;
    const size_t rows = data->n_rows < max_rows ? data->n_rows : max_rows;
    double *x = buffer, *y = buffer + n, *v = buffer + 2 * n, quotient = 0;
    /* No direction is favoured by symmetry, and none is orthogonal to all of it but by chance. */
    for (size_t i = 0; i < n; ++i) x[i] = 1 + 0.5 * sin((double)(i + 1));
    frbm_poll_t poll = frbm_poll_start(exec);
    for (int round = 0; round < MAX_ROUNDS; ++round) {
        double norm = 0, last = quotient;
        for (size_t i = 0; i < n; ++i) norm += x[i] * x[i];
        norm = sqrt(norm);
        if (!(norm > 0)) break; /* all rows are zero */
        for (size_t i = 0; i < n; ++i) x[i] /= norm;
        memset(y, 0, n * sizeof *y);
        for (size_t r = 0; r < rows; ++r) {
            double dot = 0;
            load_row(rbm, data, (size_t)((double)r * (double)data->n_rows / (double)rows), v);
            for (size_t i = 0; i < n; ++i) dot += v[i] * x[i];
            for (size_t i = 0; i < n; ++i) y[i] += dot * v[i];
        }
        if (frbm_poll(&poll)) return FRBM_STOPPED;
        quotient = 0;
        for (size_t i = 0; i < n; ++i) quotient += x[i] * y[i];
        quotient /= (double)rows;
        memcpy(x, y, n * sizeof *x);
        if (!(quotient > 0) || fabs(quotient - last) <= TOLERANCE * quotient) break;
    }
    *out = quotient;
    return FRBM_OK;
}
