/* The three-panel product from C: exact buffers under a sanitizer, status codes, the poll. */
#include "check.h"
#include "fastrbm.h"

enum { N = 17 };

static double linear[N], coupling[N * N];

static void make_problem(void) {
    for (int i = 0; i < N; ++i) {
        linear[i] = uniform() - 0.5;
        for (int j = 0; j < i; ++j) coupling[i * N + j] = coupling[j * N + i] = uniform() - 0.5;
    }
}

static double log_sum(void) {
    double sum = 0;
    for (unsigned s = 0; s < 1u << N; ++s) {
        double e = 0, x[N];
        for (int i = 0; i < N; ++i) {
            x[i] = s >> i & 1u ? 1 : -1;
            e += linear[i] * x[i];
            for (int j = 0; j < i; ++j) e += coupling[i * N + j] * x[i] * x[j];
        }
        sum += exp(e);
    }
    return log(sum);
}

static int stop(void *context) {
    ++*(int *)context;
    return 1;
}

static double merge(const frbm_partial_t *partials, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += partials[i].mantissa * exp(partials[i].exponent);
    return log(sum);
}

static void run_all(int dtype, const unsigned *bits, double tolerance) {
    frbm_pairwise_t plan;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    exec.n_threads = 2;
    const size_t size = frbm_pairwise_size(N, bits);
    void *memory = block(size);
    CHECK(frbm_pairwise_init(&plan, N, -1, 1, linear, coupling, dtype, bits, memory, size - 1) ==
          FRBM_ERROR_WORKSPACE);
    CHECK(frbm_pairwise_init(&plan, N, -1, 1, linear, coupling, dtype, bits, memory, size) == 0);
    const size_t n = plan.n_shards, ws = frbm_pairwise_workspace_size(&plan, 2);
    uint64_t *indices = (uint64_t *)block(n * sizeof *indices);
    for (size_t i = 0; i < n; ++i) indices[i] = i;
    frbm_partial_t *partials = (frbm_partial_t *)block(n * sizeof *partials);
    void *workspace = block(ws);
    memset(workspace, 0xff, ws);
    const double exact = log_sum();
    for (unsigned b = 0; b <= plan.tile_bits[2]; ++b) {
        CHECK(frbm_pairwise_run(&plan, n, indices, b, NULL, workspace, ws, &exec, partials) == 0);
        CHECK_CLOSE(merge(partials, n), exact, tolerance);
    }
    CHECK(frbm_pairwise_run(&plan, n, indices, 0, NULL, workspace, ws - 1, &exec, partials) ==
          FRBM_ERROR_WORKSPACE);
    int asked = 0;
    exec.poll = stop;
    exec.poll_context = &asked;
    int rc = 0;
    for (int tries = 0; rc == 0 && tries < 1000; ++tries)
        rc = frbm_pairwise_run(&plan, n, indices, 0, NULL, workspace, ws, &exec, partials);
    /* A run may end before 50 ms have passed, or be asked when nothing is left to stop. */
    CHECK(rc == FRBM_OK || (rc == FRBM_STOPPED && asked > 0));
    exec.poll = NULL;

    const size_t n_a = (size_t)1 << plan.tile_bits[0], n_b = (size_t)1 << plan.tile_bits[1];
    double *exponents = (double *)block(n_b * sizeof(double));
    double *weights = (double *)block(n_a * n_b * sizeof(double));
    double sum = 0;
    for (size_t i = 0; i < n; ++i) {
        CHECK(frbm_pairwise_tile(&plan, i, plan.tile_bits[2], 0, workspace, ws, &exec, exponents,
                                 weights) == 0);
        for (size_t k = 0; k < n_a * n_b; ++k) sum += weights[k] * exp(exponents[k % n_b] - exact);
    }
    CHECK_CLOSE(sum, 1, tolerance);

    const size_t k = plan.bits[0] + plan.bits[1];
    const size_t ms = frbm_pairwise_moments_workspace_size(&plan, 2);
    void *room = block(ms);
    memset(room, 0xff, ms); /* NaN wherever something is read before it is written */
    double *out = (double *)block(FRBM_PAIRWISE_MOMENTS(k) * sizeof(double));
    rc = frbm_pairwise_moments(&plan, NULL, 1, room, ms, &exec, partials, out);
    CHECK(dtype == FRBM_FLOAT64 ? rc == 0 : rc == FRBM_ERROR_DTYPE);
    if (rc == 0) {
        CHECK_CLOSE(out[0], exact, tolerance);
        for (size_t i = 0; i < k; ++i) CHECK_CLOSE(out[3 + k + i * k + i], 1, tolerance);
    }
    free(room);
    free(out);
    free(weights);
    free(exponents);
    free(workspace);
    free(partials);
    free(indices);
    free(memory);
}

int main(void) {
    const unsigned cuts[][3] = {{6, 6, 5}, {0, 9, 8}, {8, 7, 2}, {9, 3, 5}, {13, 4, 0}};
    make_problem();
    run_all(FRBM_FLOAT64, NULL, 1e-12);
    for (int c = 0; c < 5; ++c) {
        run_all(FRBM_FLOAT64, cuts[c], 1e-12);
        run_all(FRBM_FLOAT32, cuts[c], 1e-5);
    }
    frbm_pairwise_t plan;
    double room[64];
    CHECK(frbm_pairwise_size(0, NULL) == 0 && frbm_pairwise_size(61, NULL) == 0);
    CHECK(frbm_pairwise_init(&plan, 0, -1, 1, linear, coupling, FRBM_FLOAT64, NULL, room,
                             sizeof room) == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_pairwise_init(&plan, 2, -1, 1, linear, coupling, FRBM_INT8, NULL, room,
                             sizeof room) == FRBM_ERROR_DTYPE);
    return 0;
}
