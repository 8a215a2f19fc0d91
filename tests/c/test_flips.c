/* Pseudo-likelihoods by products: when they are taken, and their values where factors are the largest allowed. */
#include "fastrbm/algorithms/flips.h"
#include "model.h"

enum { N = 37, P = 70, ROWS = 70 };

/* log(1 + exp(x)) */
static double softplus(double x) { return fmax(x, 0) + log1p(exp(-fabs(x))); }

/* log of the sum over the states of a hidden unit with this field */
static double cgf(int unit, double field) {
    return unit == FRBM_SPIN ? softplus(2 * field) - field : softplus(field);
}

static double log_conditional(const frbm_rbm_t *rbm, const float *v, size_t i) {
    const float *weights = (const float *)rbm->weights;
    const float *bias = (const float *)rbm->hidden.parameters[0];
    const double other = rbm->visible.unit == FRBM_SPIN ? -v[i] : 1 - v[i];
    double d = ((const float *)rbm->visible.parameters[0])[i] * (other - v[i]);
    for (size_t j = 0; j < P; ++j) {
        double field = bias[j];
        for (size_t k = 0; k < N; ++k) field += (double)v[k] * weights[k * P + j];
        d += cgf(rbm->hidden.unit, field + (other - v[i]) * weights[i * P + j]) -
             cgf(rbm->hidden.unit, field);
    }
    return -softplus(d);
}

static void at_the_limit(int visible, int hidden) {
    frbm_rbm_t rbm = make_model(visible, N, hidden, P);
    float *weights = (float *)(uintptr_t)rbm.weights, v[ROWS * N];
    const double widths = (visible == FRBM_SPIN ? 2 : 1) * (hidden == FRBM_SPIN ? 2 : 1);
    const float most = (float)(0.999999 * FRBM_MIX_POWER * log(2) / widths);
    /* Rows of one sign, so that many factors of a unit are large, or small, together. */
    for (size_t i = 0; i < N * P; ++i) weights[i] = (i / P) % 3 == 0 ? most : -most;
    for (size_t i = 0; i < ROWS * N; ++i)
        v[i] = uniform() < 0.5 ? 1 : visible == FRBM_SPIN ? -1 : 0;
    CHECK(frbm_flips_fit(&rbm));
    const frbm_array_t array = {v, FRBM_FLOAT32, ROWS, N, N * sizeof(float), sizeof(float)};
    const size_t size = frbm_pseudo_likelihood_workspace_size(&rbm, 2);
    void *workspace = block(size);
    double all[ROWS], one[ROWS];
    frbm_exec_t exec;
    frbm_rng_t rng;
    frbm_exec_init(&exec);
    frbm_rng_init(&rng, 3, 0);
    CHECK(frbm_pseudo_likelihood(&rbm, &array, workspace, size, &exec, NULL, all, NULL) == FRBM_OK);
    CHECK(frbm_pseudo_likelihood(&rbm, &array, workspace, size, &exec, &rng, one, NULL) == FRBM_OK);
    const frbm_stream_t stream = frbm_stream(3, 0, FRBM_PURPOSE_PSEUDO, 0);
    for (size_t r = 0; r < ROWS; ++r) {
        const size_t drawn = frbm_stream_index(&stream, (uint32_t)r, N);
        double sum = 0;
        for (size_t i = 0; i < N; ++i) {
            const double x = log_conditional(&rbm, v + r * N, i);
            if (i == drawn) CHECK_CLOSE(one[r], N * x, 1e-9 * fmax(1, fabs(N * x)));
            sum += x;
        }
        CHECK_CLOSE(all[r], sum, 1e-9 * fabs(sum));
    }
    weights[N * P - 1] = 1.000002f * most;
    CHECK(!frbm_flips_fit(&rbm));
    free(workspace);
    free_model(&rbm);
}

int main(void) {
    for (int visible = FRBM_BERNOULLI; visible <= FRBM_SPIN; ++visible)
        for (int hidden = FRBM_BERNOULLI; hidden <= FRBM_SPIN; ++hidden)
            at_the_limit(visible, hidden);
    frbm_rbm_t rbm = make_model(FRBM_SPIN, N, FRBM_GAUSSIAN, P);
    CHECK(!frbm_flips_fit(&rbm));
    free_model(&rbm);
    return 0;
}
