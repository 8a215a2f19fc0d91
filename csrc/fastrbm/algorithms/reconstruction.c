/*
 * Reconstruction error of a row: the mean over units of (v - E[v|h])^2, h drawn given v. A cheap
 * sign of life of training, not a likelihood.
 */
#include "fastrbm/core/workspace.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/conditional.h"

/* Rows that one thread works on at a time. */
#define BLOCK_ROWS 64

typedef struct {
    void *visible, *hidden, *means, *scratch;
} buffers_t;

static size_t take_thread(const frbm_rbm_t *rbm, frbm_workspace_t *w, buffers_t *b) {
    const size_t before = w->used;
    b->visible = frbm_workspace_take(w, BLOCK_ROWS * frbm_states_stride(&rbm->visible, rbm->dtype));
    b->hidden = frbm_workspace_take(w, BLOCK_ROWS * frbm_states_stride(&rbm->hidden, rbm->dtype));
    b->means = frbm_workspace_take(w, frbm_matrix_size(BLOCK_ROWS, rbm->visible.n, rbm->dtype));
    b->scratch = frbm_workspace_take(w, BLOCK_ROWS * FRBM_TILE * frbm_real_size(rbm->dtype));
    return w->used - before;
}

/* Mean square of the difference of a row from its reconstruction. */
static double mean_square(const frbm_array_t *v, size_t row, const void *means, int dtype) {
    enum { UNITS = 64, LANES = 8 }; /* sums of LANES partial sums, which vectorise */
    double states[UNITS], sums[LANES] = {0}, sum = 0;
    for (size_t first = 0; first < v->n_cols; first += UNITS) {
        const size_t left = v->n_cols - first, n = left < UNITS ? left : UNITS;
        frbm_array_load_part(v, row, first, n, FRBM_FLOAT64, states);
        for (size_t i = 0; i < n; ++i) {
            const double d = states[i] - frbm_real_get(means, dtype, first + i);
            sums[i % LANES] += d * d;
        }
    }
    for (size_t l = 0; l < LANES; ++l) sum += sums[l];
    return sum / (double)v->n_cols;
}

size_t frbm_reconstruction_workspace_size(const frbm_rbm_t *rbm, int n_threads) {
    frbm_workspace_t w = frbm_workspace(NULL);
    buffers_t b;
    frbm_workspace_take(&w, frbm_matrix_size(rbm->hidden.n, rbm->visible.n, rbm->dtype));
    for (int t = 0; t < (n_threads < 1 ? 1 : n_threads); ++t) take_thread(rbm, &w, &b);
    return frbm_workspace_size(&w);
}

int frbm_reconstruction_error(const frbm_rbm_t *rbm, const frbm_array_t *v, void *workspace,
                              size_t size, const frbm_exec_t *exec, const frbm_rng_t *rng,
                              double *out, frbm_where_t *where) {
    int rc = frbm_rbm_check(rbm);
    if (rc == FRBM_OK && (exec == NULL || rng == NULL || out == NULL)) rc = FRBM_ERROR_ARGUMENT;
    if (rc == FRBM_OK) rc = frbm_array_check(v, rbm->visible.n);
    if (rc < 0) return rc;
    const size_t n = rbm->visible.n, real = frbm_real_size(rbm->dtype);
    for (size_t r = 0; r < v->n_rows; ++r) {
        rc = frbm_states_check_row(&rbm->visible, rbm->dtype, v, r, where);
        if (rc < 0) return rc;
    }
    const int n_threads = frbm_team_size(exec->n_threads, 2.0 * (double)v->n_rows * (double)n *
                                                              (double)rbm->hidden.n);
    if (workspace == NULL || size < frbm_reconstruction_workspace_size(rbm, n_threads))
        return FRBM_ERROR_WORKSPACE;

    frbm_workspace_t w = frbm_workspace(workspace), measure = frbm_workspace(NULL);
    buffers_t unused;
    void *weights_t = frbm_workspace_take(&w, frbm_matrix_size(rbm->hidden.n, n, rbm->dtype));
    const size_t thread_bytes = take_thread(rbm, &measure, &unused);
    frbm_weights_transpose(rbm, weights_t);
    const frbm_conditional_t up = frbm_hidden_given_visible(rbm, exec->kernels, NULL);
    const frbm_conditional_t down = frbm_visible_given_hidden(rbm, exec->kernels, weights_t);
    const size_t n_blocks = (v->n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
#endif
    for (size_t block = 0; block < n_blocks; ++block) {
        const frbm_team_t alone = frbm_team_alone();
        frbm_workspace_t mine = {w.base,
                                 w.used + (size_t)frbm_team_here(NULL).thread * thread_bytes};
        buffers_t b;
        take_thread(rbm, &mine, &b);
        const size_t row = block * BLOCK_ROWS, left = v->n_rows - row;
        const size_t rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        const frbm_stream_t stream =
            frbm_stream(rng->key, rng->step, FRBM_PURPOSE_METRIC, rng->first_chain + (uint32_t)row);
        /* Cannot fail: the rows were checked above. */
        (void)frbm_states_load(&rbm->visible, rbm->dtype, v, row, rows, b.visible, NULL);
        const frbm_conditional_job_t draw = {
            .source = frbm_states_operand(&rbm->visible, rbm->dtype, b.visible),
            .n_rows = rows,
            .beta = 1,
            .stream = &stream,
            .states = b.hidden,
            .stride = frbm_states_stride(&rbm->hidden, rbm->dtype)};
        frbm_conditional_run(&up, &draw, &alone, b.scratch);
        const frbm_conditional_job_t mean = {
            .source = frbm_states_operand(&rbm->hidden, rbm->dtype, b.hidden),
            .n_rows = rows,
            .beta = 1,
            .means = b.means,
            .ldmeans = frbm_padded(n),
            .factor = 1};
        frbm_conditional_run(&down, &mean, &alone, b.scratch);
        for (size_t r = 0; r < rows; ++r)
            out[row + r] = mean_square(
                v, row + r, (const char *)b.means + r * frbm_padded(n) * real, rbm->dtype);
    }
    return FRBM_OK;
}
