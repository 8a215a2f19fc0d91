/* Means and draws of one side for a caller's states of the other: rbm.mean_hidden and its kin. */
#include <string.h>

#include "fastrbm/core/workspace.h"
#include "fastrbm/rbm/check.h"
#include "fastrbm/rbm/conditional.h"

/* Rows that one thread converts and computes at a time. */
#define BLOCK_ROWS 128

size_t frbm_rbm_conditional_workspace_size(const frbm_rbm_t *rbm, int side, size_t n_rows) {
    const int other = side == FRBM_HIDDEN ? FRBM_VISIBLE : FRBM_HIDDEN;
    frbm_workspace_t w = frbm_workspace(NULL);
    if (side == FRBM_VISIBLE)
        frbm_workspace_take(&w, frbm_matrix_size(rbm->hidden.n, rbm->visible.n, rbm->dtype));
    frbm_workspace_take(&w, n_rows * frbm_states_stride(frbm_rbm_layer(rbm, other), rbm->dtype));
    frbm_workspace_take(&w, n_rows * frbm_states_stride(frbm_rbm_layer(rbm, side), rbm->dtype));
    return frbm_workspace_size(&w);
}

int frbm_rbm_conditional(const frbm_rbm_t *rbm, int side, const frbm_array_t *given, double beta,
                         void *workspace, size_t size, const frbm_exec_t *exec, frbm_rng_t *rng,
                         void *out, int out_dtype, frbm_where_t *where) {
    int rc = frbm_rbm_check(rbm);
    if (rc == FRBM_OK &&
        (given == NULL || exec == NULL || (side != FRBM_VISIBLE && side != FRBM_HIDDEN)))
        rc = FRBM_ERROR_ARGUMENT;
    if (rc < 0) return rc;
    const frbm_layer_t *source =
        frbm_rbm_layer(rbm, side == FRBM_HIDDEN ? FRBM_VISIBLE : FRBM_HIDDEN);
    const frbm_layer_t *layer = frbm_rbm_layer(rbm, side);
    const size_t n_rows = given->n_rows, real = frbm_real_size(rbm->dtype);
    rc = frbm_array_check(given, source->n);
    if (rc == FRBM_OK && !frbm_beta_ok(frbm_unit(layer->unit), beta)) rc = FRBM_ERROR_BETA;
    if (rc == FRBM_OK && rng == NULL && out_dtype != rbm->dtype) rc = FRBM_ERROR_DTYPE;
    if (rc == FRBM_OK && !frbm_unit_can_store(frbm_unit(layer->unit), out_dtype))
        rc = FRBM_ERROR_DTYPE;
    if (rc == FRBM_OK && n_rows > 0 && out == NULL) rc = FRBM_ERROR_ARGUMENT;
    if (rc < 0) return rc;
    if (workspace == NULL || size < frbm_rbm_conditional_workspace_size(rbm, side, n_rows))
        return FRBM_ERROR_WORKSPACE;

    frbm_workspace_t w = frbm_workspace(workspace);
    void *weights_t = NULL;
    if (side == FRBM_VISIBLE) {
        weights_t =
            frbm_workspace_take(&w, frbm_matrix_size(rbm->hidden.n, rbm->visible.n, rbm->dtype));
        frbm_weights_transpose(rbm, weights_t);
    }
    const size_t source_stride = frbm_states_stride(source, rbm->dtype);
    const size_t stride = frbm_states_stride(layer, rbm->dtype);
    char *packed = (char *)frbm_workspace_take(&w, n_rows * source_stride);
    char *drawn = (char *)frbm_workspace_take(&w, n_rows * stride);
    rc = frbm_states_load(source, rbm->dtype, given, 0, n_rows, packed, where);
    if (rc < 0) return rc;

    const frbm_conditional_t c = side == FRBM_HIDDEN
                                     ? frbm_hidden_given_visible(rbm, exec->kernels, NULL)
                                     : frbm_visible_given_hidden(rbm, exec->kernels, weights_t);
    const ptrdiff_t item = (ptrdiff_t)frbm_dtype_size(out_dtype);
    const ptrdiff_t out_stride = (ptrdiff_t)layer->n * item;
    const size_t n_blocks = (n_rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const int n_threads =
        frbm_team_size(exec->n_threads, (double)n_rows * (double)source->n * (double)layer->n);
    (void)n_threads;
#ifdef _OPENMP
#pragma omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
#endif
    for (size_t b = 0; b < n_blocks; ++b) {
        _Alignas(FRBM_ALIGNMENT) char scratch[BLOCK_ROWS * FRBM_TILE * sizeof(double)];
        const frbm_team_t alone = frbm_team_alone();
        const size_t row = b * BLOCK_ROWS, left = n_rows - row;
        frbm_conditional_job_t job = {
            .source = frbm_states_operand(source, rbm->dtype, packed + row * source_stride),
            .n_rows = left < BLOCK_ROWS ? left : BLOCK_ROWS,
            .beta = beta,
            .factor = 1};
        frbm_stream_t stream;
        if (rng == NULL) {
            job.means = (char *)out + row * layer->n * real;
            job.ldmeans = layer->n;
        } else {
            stream = frbm_stream(rng->key, rng->step,
                                 side == FRBM_HIDDEN ? FRBM_PURPOSE_SAMPLE_HIDDEN
                                                     : FRBM_PURPOSE_SAMPLE_VISIBLE,
                                 rng->first_chain + (uint32_t)row);
            job.stream = &stream;
            job.states = drawn + row * stride;
            job.stride = stride;
        }
        frbm_conditional_run(&c, &job, &alone, scratch);
        if (rng != NULL)
            frbm_states_store(layer, rbm->dtype, job.n_rows, job.states,
                              (char *)out + (ptrdiff_t)row * out_stride, out_dtype, out_stride,
                              item);
    }
    if (rng != NULL) rng->step++;
    return FRBM_OK;
}
