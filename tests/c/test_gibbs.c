/* Sampling from C: workspaces of exactly the size asked, threads, continuation, bad arguments. */
#include "model.h"

static size_t state_size(int unit) { return unit == FRBM_GAUSSIAN ? sizeof(float) : 1; }

static int stop_at_once(void *context) {
    ++*(int *)context;
    return 1;
}

/* n_sweeps in calls of `step` sweeps; v and h are fresh blocks of exactly their size. */
static void run(const frbm_rbm_t *rbm, size_t chains, size_t n_sweeps, size_t step, int threads,
                const char *simd, void **v, void **h) {
    const size_t vs = chains * rbm->visible.n * state_size(rbm->visible.unit);
    const size_t hs = chains * rbm->hidden.n * state_size(rbm->hidden.unit);
    const size_t size = frbm_gibbs_workspace_size(rbm, chains);
    void *workspace = block(size);
    frbm_exec_t exec;
    frbm_rng_t rng;
    *v = block(vs);
    *h = block(hs);
    memset(*v, 0, vs);
    if (rbm->visible.unit == FRBM_SPIN) memset(*v, 1, vs);
    frbm_exec_init(&exec);
    CHECK(frbm_exec_set_simd(&exec, simd) == FRBM_OK);
    exec.n_threads = threads;
    frbm_rng_init(&rng, 42, 3);
    for (size_t done = 0; done < n_sweeps; done += step)
        CHECK(frbm_gibbs_sample(rbm, chains, step, 0.9, workspace, size, &exec, &rng, *v, *h) ==
              FRBM_OK);
    CHECK(rng.step == n_sweeps);
    free(workspace);
}

static void all_ways_agree(int visible, int hidden) {
    static const size_t sizes[][3] = {{5, 3, 2}, {130, 70, 150}, {70, 200, 5}};
    for (size_t s = 0; s < 3; ++s) {
        frbm_rbm_t rbm = make_model(visible, sizes[s][0], hidden, sizes[s][1]);
        const size_t chains = sizes[s][2];
        const size_t vs = chains * rbm.visible.n * state_size(visible);
        const size_t hs = chains * rbm.hidden.n * state_size(hidden);
        const char *best = NULL;
        for (int i = 0; frbm_simd_level(i) != NULL; ++i) best = frbm_simd_level(i);
        void *v0, *h0, *v1, *h1;
        run(&rbm, chains, 6, 6, 1, best, &v0, &h0);
        for (int threads = 1; threads <= 3; ++threads)
            for (size_t step = 1; step <= 6; step *= 3 - (step > 1)) {
                if (6 % step != 0) break;
                run(&rbm, chains, 6, step, threads, best, &v1, &h1);
                CHECK(memcmp(v0, v1, vs) == 0 && memcmp(h0, h1, hs) == 0);
                free(v1);
                free(h1);
            }
        free(v0);
        free(h0);
        free_model(&rbm);
    }
}

/* Called from a caller's own OpenMP region: every thread samples by itself. */
static void inside_a_region(void) {
    frbm_rbm_t rbm = make_model(FRBM_BERNOULLI, 70, FRBM_BERNOULLI, 200);
    void *v0, *h0;
    run(&rbm, 5, 6, 6, 1, frbm_simd_level(0), &v0, &h0);
#ifdef _OPENMP
#pragma omp parallel num_threads(3)
#endif
    {
        void *v, *h;
        run(&rbm, 5, 6, 6, 2, frbm_simd_level(0), &v, &h);
        CHECK(memcmp(v, v0, 5 * 70) == 0 && memcmp(h, h0, 5 * 200) == 0);
        free(v);
        free(h);
    }
    free(v0);
    free(h0);
    free_model(&rbm);
}

static void bad_arguments(void) {
    frbm_rbm_t rbm = make_model(FRBM_BERNOULLI, 5, FRBM_GAUSSIAN, 3);
    const size_t size = frbm_gibbs_workspace_size(&rbm, 2);
    void *workspace = block(size);
    signed char v[10] = {0};
    float h[6];
    double energies[2];
    frbm_exec_t exec;
    frbm_rng_t rng;
    frbm_exec_init(&exec);
    frbm_rng_init(&rng, 1, 0);
    CHECK(frbm_gibbs_sample(&rbm, 2, 1, 1, workspace, size - 1, &exec, &rng, v, h) ==
          FRBM_ERROR_WORKSPACE);
    CHECK(frbm_gibbs_sample(&rbm, 2, 1, 1, NULL, size, &exec, &rng, v, h) == FRBM_ERROR_WORKSPACE);
    CHECK(frbm_gibbs_sample(&rbm, 2, 1, 0, workspace, size, &exec, &rng, v, h) == FRBM_ERROR_BETA);
    CHECK(frbm_gibbs_sample(&rbm, 2, 1, NAN, workspace, size, &exec, &rng, v, h) ==
          FRBM_ERROR_BETA);
    CHECK(frbm_gibbs_sample(&rbm, 0, 1, 1, workspace, size, &exec, &rng, v, h) ==
          FRBM_ERROR_ARGUMENT);
    v[7] = 2;
    CHECK(frbm_gibbs_sample(&rbm, 2, 1, 1, workspace, size, &exec, &rng, v, h) == FRBM_ERROR_STATE);
    CHECK(frbm_rbm_free_energy(&rbm, 2, v, 1, &exec, energies) == FRBM_ERROR_STATE);
    v[7] = 0;
    int polls = 0;
    exec.poll = stop_at_once;
    exec.poll_context = &polls;
    /* A poll that always says stop ends a long call soon, with whole sweeps done. */
    CHECK(frbm_gibbs_sample(&rbm, 2, 100000000, 1, workspace, size, &exec, &rng, v, h) ==
          FRBM_STOPPED);
    CHECK(polls == 1 && rng.step > 0 && rng.step < 100000000);
    free(workspace);
    free_model(&rbm);
}

/* F(v) against the sum over all hidden states, and E against its definition. */
static void energies(void) {
    enum { N = 6, P = 4 };
    frbm_rbm_t rbm = make_model(FRBM_SPIN, N, FRBM_BERNOULLI, P);
    const float *w = (const float *)rbm.weights;
    const float *a = (const float *)rbm.visible.parameters[0];
    const float *b = (const float *)rbm.hidden.parameters[0];
    signed char v[N] = {1, -1, -1, 1, 1, -1}, h[P];
    double free_energy, energy, sum = 0;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    CHECK(frbm_rbm_free_energy(&rbm, 1, v, 0.7, &exec, &free_energy) == FRBM_OK);
    for (int state = 0; state < 1 << P; ++state) {
        double expected = 0;
        for (int j = 0; j < P; ++j) h[j] = (signed char)(state >> j & 1);
        for (int i = 0; i < N; ++i) expected -= (double)a[i] * v[i];
        for (int j = 0; j < P; ++j) expected -= (double)b[j] * h[j];
        for (int i = 0; i < N; ++i)
            for (int j = 0; j < P; ++j) expected -= (double)w[i * P + j] * v[i] * h[j];
        CHECK(frbm_rbm_energy(&rbm, 1, v, h, &exec, &energy) == FRBM_OK);
        CHECK_CLOSE(energy, expected, 1e-13);
        sum += exp(-0.7 * expected);
    }
    CHECK_CLOSE(free_energy, -log(sum), 1e-13);
    free_model(&rbm);
}

int main(void) {
    for (int visible = FRBM_BERNOULLI; visible <= FRBM_GAUSSIAN; ++visible)
        for (int hidden = FRBM_BERNOULLI; hidden <= FRBM_GAUSSIAN; ++hidden)
            all_ways_agree(visible, hidden);
    inside_a_region();
    bad_arguments();
    energies();
    return 0;
}
