/*
 * Training data: what they hold, packing, and the largest eigenvalue of <v v^T>, the mean over rows,
 * which bounds the stable learning rate where hidden units are unbounded. Power iteration: the
 * Rayleigh quotient converges from below, with the square of the ratio of the two largest
 * eigenvalues.
 */
#include "data.h"

#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/share.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/states.h"

#define TOLERANCE 1e-6
#define MAX_ROUNDS 200

size_t frbm_data_packed_size(const frbm_rbm_t *rbm, size_t n_rows) {
    return n_rows * frbm_bit_words(rbm->visible.n) * sizeof(uint64_t);
}

/* ------------------------------------------------------------------------------ passes over all rows */

/* Rows are taken in blocks, each by one thread; what they give is put together in their order. */
#define BLOCKS 64
#define MIN_BLOCK_ROWS 64

/* What a pass does to the rows [begin, end); block: which one this is. */
typedef struct pass pass_t;
struct pass {
    const frbm_array_t *array;
    size_t block_rows;
    void (*rows)(pass_t *pass, size_t block, size_t begin, size_t end);

    frbm_scan_t scans[BLOCKS];
    double *sums; /* BLOCKS n_cols, or NULL */

    const frbm_rbm_t *rbm;
    uint64_t *bits;
    int status[BLOCKS];
    frbm_where_t where[BLOCKS];
};

static void run_block(void *context, uint64_t number, const frbm_team_t *team, frbm_stop_t *stop) {
    pass_t *pass = (pass_t *)context;
    const size_t begin = (size_t)number * pass->block_rows, end = begin + pass->block_rows;
    (void)team, (void)stop;
    pass->rows(pass, (size_t)number, begin, end < pass->array->n_rows ? end : pass->array->n_rows);
}

/* FRBM_OK or FRBM_STOPPED; *n_blocks blocks were made. */
static int run_pass(pass_t *pass, const frbm_exec_t *exec, size_t *n_blocks) {
    const size_t n_rows = pass->array->n_rows;
    pass->block_rows = (n_rows + BLOCKS - 1) / BLOCKS;
    if (pass->block_rows < MIN_BLOCK_ROWS) pass->block_rows = MIN_BLOCK_ROWS;
    *n_blocks = (n_rows + pass->block_rows - 1) / pass->block_rows;
    const int n_threads =
        frbm_team_size(exec->n_threads, (double)n_rows * (double)pass->array->n_cols);
    return frbm_share(exec, n_threads, *n_blocks, run_block, pass);
}

/* Bytes of rows that are read twice in a row: they stay in the cache. */
#define READ_TWICE 65536

static void scan_rows(pass_t *pass, size_t block, size_t begin, size_t end) {
    const frbm_array_t *array = pass->array;
    const size_t row_bytes = array->n_cols * frbm_dtype_size(array->dtype);
    const size_t step = row_bytes < READ_TWICE ? READ_TWICE / (row_bytes + 1) + 1 : 1;
    double *sums = pass->sums == NULL ? NULL : pass->sums + block * array->n_cols;
    frbm_scan_start(&pass->scans[block]);
    if (sums != NULL) memset(sums, 0, array->n_cols * sizeof *sums);
    for (size_t r = begin; r < end; r += step) {
        const size_t last = end - r < step ? end : r + step;
        frbm_array_scan(array, r, last, &pass->scans[block]);
        if (sums != NULL) frbm_array_add_rows(array, r, last, sums);
    }
}

size_t frbm_data_sums_size(size_t n_cols) { return BLOCKS * n_cols * sizeof(double); }

int frbm_data_scan(const frbm_array_t *array, const frbm_exec_t *exec, double *workspace,
                   frbm_scan_t *scan, double *sums) {
    pass_t pass = {.array = array, .rows = scan_rows, .sums = sums == NULL ? NULL : workspace};
    size_t n_blocks;
    const int rc = run_pass(&pass, exec, &n_blocks);
    frbm_scan_start(scan);
    if (sums != NULL) memset(sums, 0, array->n_cols * sizeof *sums);
    for (size_t b = 0; rc == FRBM_OK && b < n_blocks; ++b) {
        frbm_scan_merge(&pass.scans[b], scan);
        for (size_t i = 0; sums != NULL && i < array->n_cols; ++i)
            sums[i] += workspace[b * array->n_cols + i];
    }
    return rc;
}

static void pack_rows(pass_t *pass, size_t block, size_t begin, size_t end) {
    const frbm_layer_t *layer = &pass->rbm->visible;
    pass->status[block] =
        frbm_states_load(layer, pass->rbm->dtype, pass->array, begin, end - begin,
                         pass->bits + begin * frbm_bit_words(layer->n), &pass->where[block]);
}

int frbm_data_pack(const frbm_rbm_t *rbm, const frbm_array_t *array, const frbm_exec_t *exec,
                   uint64_t *bits, frbm_where_t *where) {
    int rc = frbm_rbm_check_shape(rbm);
    if (rc == FRBM_OK && (exec == NULL || bits == NULL)) rc = FRBM_ERROR_ARGUMENT;
    if (rc == FRBM_OK) rc = frbm_array_check(array, rbm->visible.n);
    if (rc < 0) return rc;
    if (!frbm_unit_is_discrete(frbm_unit(rbm->visible.unit))) return FRBM_ERROR_UNIT;
    pass_t pass = {.array = array, .rows = pack_rows, .rbm = rbm, .bits = bits};
    size_t n_blocks;
    rc = run_pass(&pass, exec, &n_blocks);
    for (size_t b = 0; rc == FRBM_OK && b < n_blocks; ++b) {
        rc = pass.status[b];
        if (rc < 0 && where != NULL) *where = pass.where[b];
    }
    return rc;
}

/* -------------------------------------------------------------------------------------- eigenvalue */

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
