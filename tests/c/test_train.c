/* Training from C: exact workspaces, all kinds of data and options, threads, stops, divergence. */
#include "fastrbm/algorithms/train.h"
#include "model.h"

enum { ROWS = 333, N = 70, P = 33 };

static int stop_at_once(void *context) {
    (void)context;
    return 1;
}

static frbm_data_t make_data(const frbm_rbm_t *rbm, int probabilities, void **memory) {
    float *values = (float *)block(ROWS * N * sizeof *values);
    frbm_data_t data;
    memset(&data, 0, sizeof data);
    for (size_t i = 0; i < ROWS * N; ++i) {
        const double u = uniform();
        values[i] = (float)(rbm->visible.unit == FRBM_GAUSSIAN || probabilities ? u
                            : rbm->visible.unit == FRBM_SPIN                    ? 2 * (u < 0.4) - 1
                                                                                : u < 0.4);
    }
    const frbm_array_t array = {values, FRBM_FLOAT32, ROWS, N, N * sizeof(float), sizeof(float)};
    data.n_rows = ROWS;
    if (rbm->visible.unit == FRBM_GAUSSIAN || probabilities) {
        data.values = array;
        *memory = values;
        return data;
    }
    uint64_t *bits = (uint64_t *)block(frbm_data_packed_size(rbm, ROWS));
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    CHECK(frbm_data_pack(rbm, &array, &exec, bits, NULL) == FRBM_OK);
    data.packed = 1;
    data.bits = bits;
    free(values);
    *memory = bits;
    return data;
}

/* A source of moments that knows how often it was asked, and what it then answers. */
typedef struct {
    int calls, last, rc;
    float weight; /* of the model in the last call */
} source_t;

static int moments(void *context, const frbm_rbm_t *rbm, const frbm_exec_t *exec, double *products,
                   double *visible, double *hidden) {
    source_t *source = (source_t *)context;
    CHECK(exec != NULL);
    source->weight = ((const float *)rbm->weights)[0];
    for (size_t i = 0; i < N * P; ++i) products[i] = 0.01 * (double)(i % 7);
    for (size_t i = 0; i < N; ++i) visible[i] = 0.3;
    for (size_t j = 0; j < P; ++j) hidden[j] = 0.4;
    return ++source->calls == source->last ? source->rc : FRBM_OK;
}

/* Two epochs; the trained weights are left in the model. */
static void train(const frbm_rbm_t *rbm, const frbm_data_t *data,
                  const frbm_train_options_t *options, int threads) {
    const size_t size = frbm_train_workspace_size(rbm, data, options, threads);
    void *workspace = block(size);
    frbm_train_t t;
    frbm_exec_t exec;
    frbm_rng_t rng;
    frbm_exec_init(&exec);
    exec.n_threads = threads;
    frbm_rng_init(&rng, 5, 0);
    CHECK(frbm_train_init(&t, rbm, data, options, threads, workspace, size - 1) ==
          FRBM_ERROR_WORKSPACE);
    CHECK(frbm_train_init(&t, rbm, data, options, threads, workspace, size) == FRBM_OK);
    if (options->persistent) CHECK(frbm_train_start_chains(&t, &rng) == FRBM_OK);
    for (uint64_t epoch = 1; epoch <= 2; ++epoch)
        CHECK(frbm_train_epoch(&t, epoch, 0.01, &exec, 5) == FRBM_OK);
    CHECK(t.n_updates == 2 * ((ROWS + options->batch_size - 1) / options->batch_size));
    CHECK(isfinite(t.step_norm_sum));
    float *chains = (float *)block(t.last_chains * N * sizeof *chains);
    CHECK(frbm_train_store_chains(&t, chains, FRBM_FLOAT32, N * sizeof(float), sizeof(float)) ==
          FRBM_OK);
    CHECK((t.last_chains == 0) == (options->moments != NULL));
    free(chains);
    free(workspace);
}

static void all_threads_agree(int visible, int hidden, int probabilities,
                              frbm_train_options_t options) {
    frbm_rbm_t rbm = make_model(visible, N, hidden, P);
    float *weights = (float *)(uintptr_t)rbm.weights;
    float *bias = (float *)(uintptr_t)rbm.visible.parameters[0];
    float *hidden_bias = (float *)(uintptr_t)rbm.hidden.parameters[0];
    float start[N * P + N + P], trained[N * P];
    void *memory;
    memcpy(start, weights, N * P * sizeof *start);
    memcpy(start + N * P, bias, N * sizeof *start);
    memcpy(start + N * P + N, hidden_bias, P * sizeof *start);
    const frbm_data_t data = make_data(&rbm, probabilities, &memory);
    for (int threads = 1; threads <= 3; ++threads) {
        memcpy(weights, start, N * P * sizeof *start);
        memcpy(bias, start + N * P, N * sizeof *start);
        memcpy(hidden_bias, start + N * P + N, P * sizeof *start);
        train(&rbm, &data, &options, threads);
        CHECK(memcmp(weights, start, sizeof trained) != 0);
        if (threads == 1) memcpy(trained, weights, sizeof trained);
        CHECK(memcmp(weights, trained, sizeof trained) == 0);
    }
    free(memory);
    free_model(&rbm);
}

static void stops_and_divergence(void) {
    frbm_rbm_t rbm = make_model(FRBM_SPIN, N, FRBM_GAUSSIAN, P);
    void *memory;
    const frbm_data_t data = make_data(&rbm, 0, &memory);
    const frbm_train_options_t options = {.k = 1, .batch_size = 10, .momentum = 0.5};
    const size_t size = frbm_train_workspace_size(&rbm, &data, &options, 1);
    void *workspace = block(size);
    frbm_train_t t;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    CHECK(frbm_train_init(&t, &rbm, &data, &options, 1, workspace, size) == FRBM_OK);
    CHECK(frbm_train_epoch(&t, 1, NAN, &exec, 1) == FRBM_ERROR_ARGUMENT);
    float good[N * P];
    memcpy(good, rbm.weights, sizeof good);
    CHECK(frbm_train_epoch(&t, 1, 1e30, &exec, 1) == FRBM_ERROR_DIVERGED);
    CHECK(memcmp(good, rbm.weights, sizeof good) == 0); /* the last good state is the start, */
    CHECK(frbm_train_epoch(&t, 2, 1e-6, &exec, 1) == FRBM_OK); /* and training can go on */
    CHECK(memcmp(good, rbm.weights, sizeof good) != 0);
    exec.poll = stop_at_once;
    CHECK(frbm_train_init(&t, &rbm, &data, &options, 1, workspace, size) == FRBM_OK);
    const int rc = frbm_train_epoch(&t, 1, 1e-6, &exec, 1);
    CHECK(rc == FRBM_OK || rc == FRBM_STOPPED); /* a short epoch may end before the first poll */
    CHECK(frbm_rbm_check(&rbm) == FRBM_OK);
    frbm_train_options_t bad = options;
    bad.k = 0;
    CHECK(frbm_train_init(&t, &rbm, &data, &bad, 1, workspace, size) == FRBM_ERROR_ARGUMENT);
    bad = options;
    bad.momentum = 1;
    CHECK(frbm_train_init(&t, &rbm, &data, &bad, 1, workspace, size) == FRBM_ERROR_ARGUMENT);
    free(workspace);
    free(memory);
    free_model(&rbm);
}

/* Updates of a small model are a path of their own: they too end soon after a stop, and go back after divergence. */
static void small_models(void) {
    enum { MANY = 2000000, UNITS = 32 };
    frbm_rbm_t rbm = make_model(FRBM_BERNOULLI, UNITS, FRBM_SPIN, UNITS);
    uint64_t *bits = (uint64_t *)block(MANY * sizeof *bits);
    for (size_t r = 0; r < MANY; ++r) bits[r] = (uint64_t)(uniform() * 4294967296.0);
    const frbm_data_t data = {.packed = 1, .n_rows = MANY, .bits = bits};
    const frbm_train_options_t options = {.k = 1, .batch_size = 10, .momentum = 0.5};
    const size_t size = frbm_train_workspace_size(&rbm, &data, &options, 2);
    void *workspace = block(size);
    float good[UNITS * UNITS];
    frbm_train_t t;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    CHECK(frbm_train_init(&t, &rbm, &data, &options, 2, workspace, size) == FRBM_OK);
    CHECK(frbm_train_is_small(&t, &exec));
    CHECK(frbm_exec_set_kernel(&exec, "rows") == FRBM_OK && !frbm_train_is_small(&t, &exec));
    CHECK(frbm_exec_set_kernel(&exec, "auto") == FRBM_OK);
    memcpy(good, rbm.weights, sizeof good);
    CHECK(frbm_train_epoch(&t, 1, 1e30, &exec, 1) == FRBM_ERROR_DIVERGED);
    CHECK(t.n_updates == 0 && t.epoch_updates < MANY / 20);
    CHECK(memcmp(good, rbm.weights, sizeof good) == 0);
    exec.poll = stop_at_once;
    CHECK(frbm_train_epoch(&t, 2, 1e-3, &exec, 1) == FRBM_STOPPED);
    CHECK(t.n_updates == t.epoch_updates && t.n_updates > 0 && t.n_updates < MANY / 20);
    CHECK(memcmp(good, rbm.weights, sizeof good) != 0);
    CHECK(frbm_rbm_check(&rbm) == FRBM_OK);
    free(workspace);

    /* The most that is small, and more than that; an update of many sweeps has to be polled among them. */
    for (int i = 0; i < 8; ++i) {
        frbm_train_options_t o = options;
        o.batch_size = i == 1 ? FRBM_SMALL_ROWS + 1 : FRBM_SMALL_ROWS;
        o.persistent = i == 2 || i == 3;
        o.n_chains = i == 2 ? FRBM_SMALL_ROWS : i == 3 ? FRBM_SMALL_ROWS + 1 : 0;
        o.samples = i == 4;
        o.max_norm = i == 5;
        o.frozen = i == 6 ? FRBM_FREEZE_WEIGHTS : 0;
        o.k = i == 7 ? 200000 : 1;
        const size_t bytes = frbm_train_workspace_size(&rbm, &data, &o, 1);
        void *memory = block(bytes);
        CHECK(frbm_train_init(&t, &rbm, &data, &o, 1, memory, bytes) == FRBM_OK);
        CHECK(frbm_train_is_small(&t, &exec) == (i == 0 || i == 2));
        free(memory);
    }
    free(bits);
    free_model(&rbm);
}

/* Updates by slices: stops, divergence and the data term, at sizes where slices and strips are whole or not. */
static void slices(int visible, int hidden, size_t n, size_t p, size_t batch, size_t n_chains) {
    enum { MOST = 4000 };
    frbm_rbm_t rbm = make_model(visible, n, hidden, p);
    const size_t words = frbm_bit_words(n);
    uint64_t *bits = (uint64_t *)block(MOST * words * sizeof *bits);
    for (size_t i = 0; i < MOST * words; ++i)
        bits[i] = (uint64_t)(uniform() * 18446744073709551615.0) &
                  frbm_bit_mask(n - i % words * 64 < 64 ? n - i % words * 64 : 64);
    const frbm_data_t data = {.packed = 1, .n_rows = MOST, .bits = bits},
                      few = {.packed = 1, .n_rows = batch, .bits = bits};
    frbm_train_options_t options = {.k = 2,
                                    .batch_size = batch,
                                    .persistent = n_chains > 0,
                                    .n_chains = n_chains,
                                    .momentum = 0.5,
                                    .weight_decay = 1e-3};
    const frbm_rng_t rng = {.key = 7};
    const size_t values = n * p + n + p;
    float *good = (float *)block(n * p * sizeof *good);
    double *terms[2] = {(double *)block(values * sizeof(double)),
                        (double *)block(values * sizeof(double))};
    frbm_train_t t;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    for (int threads = 1; threads <= 4; threads += 3) {
        exec.n_threads = threads;
        exec.poll = NULL;
        const size_t size = frbm_train_workspace_size(&rbm, &data, &options, threads);
        void *workspace = block(size);
        CHECK(frbm_train_init(&t, &rbm, &data, &options, threads, workspace, size) == FRBM_OK);
        CHECK(t.buffers->is_sliced);
        if (n_chains > 0) CHECK(frbm_train_start_chains(&t, &rng) == FRBM_OK);
        memcpy(good, rbm.weights, n * p * sizeof *good);
        int8_t *before = (int8_t *)block(n_chains * n + 1),
               *after = (int8_t *)block(n_chains * n + 1);
        before[0] = after[0] = 0;
        if (n_chains > 0)
            CHECK(frbm_train_store_chains(&t, before, FRBM_INT8, (ptrdiff_t)n, 1) == FRBM_OK);
        CHECK(frbm_train_epoch(&t, 1, 1e30, &exec, 1) == FRBM_ERROR_DIVERGED);
        CHECK(memcmp(good, rbm.weights, n * p * sizeof *good) == 0);
        if (n_chains > 0)
            CHECK(frbm_train_store_chains(&t, after, FRBM_INT8, (ptrdiff_t)n, 1) == FRBM_OK);
        CHECK(memcmp(before, after, n_chains * n + 1) == 0);
        free(before), free(after);
        exec.poll = stop_at_once;
        const int rc = frbm_train_epoch(&t, 2, 1e-3, &exec, 1); /* it may end before it is asked */
        CHECK(rc == FRBM_OK || rc == FRBM_STOPPED);
        exec.poll = NULL;
        CHECK(frbm_train_epoch(&t, 3, 1e-3, &exec, 1) == FRBM_OK);
        CHECK(frbm_rbm_check(&rbm) == FRBM_OK);
        CHECK(t.last_chains == (n_chains > 0 ? n_chains : MOST % batch > 0 ? MOST % batch : batch));
        int8_t *chains = (int8_t *)block(t.last_chains * n);
        CHECK(frbm_train_store_chains(&t, chains, FRBM_INT8, (ptrdiff_t)n, 1) == FRBM_OK);
        for (size_t i = 0; i < t.last_chains * n; ++i)
            CHECK(chains[i] == 1 || chains[i] == (visible == FRBM_SPIN ? -1 : 0));
        free(chains);
        free(workspace);
    }
    /* The general way, where norms are looked at. */
    for (int general = 0; general < 2; ++general) {
        options.max_norm = general ? 1e9 : 0;
        const size_t size = frbm_train_workspace_size(&rbm, &few, &options, 3);
        void *workspace = block(size);
        exec.n_threads = 3;
        CHECK(frbm_train_init(&t, &rbm, &few, &options, 3, workspace, size) == FRBM_OK);
        CHECK(t.buffers->is_sliced == !general);
        double *term = terms[general];
        CHECK(frbm_train_data_term(&t, &exec, term, term + n * p, term + n * p + n) == FRBM_OK);
        free(workspace);
    }
    for (size_t i = 0; i < values; ++i) CHECK(fabs(terms[0][i] - terms[1][i]) < 1e-4);
    free(good), free(bits), free(terms[0]), free(terms[1]);
    free_model(&rbm);
}

/* With a source of moments: errors and stops of the source, and the data term by itself. */
static void sources(void) {
    frbm_rbm_t rbm = make_model(FRBM_BERNOULLI, N, FRBM_SPIN, P);
    void *memory;
    const frbm_data_t data = make_data(&rbm, 0, &memory);
    source_t source = {0, 3, FRBM_STOPPED, 0};
    frbm_train_options_t options = {
        .batch_size = 100, .momentum = 0.5, .moments = moments, .moments_context = &source};
    const size_t size = frbm_train_workspace_size(&rbm, &data, &options, 2);
    void *workspace = block(size);
    frbm_train_t t;
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    exec.n_threads = 2;
    CHECK(frbm_train_init(&t, &rbm, &data, &options, 2, workspace, size) == FRBM_OK);
    CHECK(frbm_train_epoch(&t, 1, 0.01, &exec, 1) == FRBM_STOPPED); /* before the third update */
    CHECK(source.calls == 3 && t.n_updates == 2 && t.last_chains == 0);
    CHECK(source.weight == ((const float *)rbm.weights)[0]); /* the model is that of two */
    source.last = 5;
    source.rc = FRBM_ERROR_DIVERGED;
    CHECK(frbm_train_epoch(&t, 2, 0.01, &exec, 1) == FRBM_ERROR_DIVERGED);
    CHECK(source.calls == 5 && t.n_updates == 3);
    CHECK(source.weight == ((const float *)rbm.weights)[0]);
    CHECK(frbm_train_epoch(&t, 3, 0.01, &exec, 1) == FRBM_OK);
    CHECK(source.calls == 9 && t.n_updates == 7);

    /* The data term needs a batch of all rows; a step without momentum is it less the moments. */
    double *term = (double *)block((N * P + N + P) * sizeof *term);
    CHECK(frbm_train_data_term(&t, &exec, term, term + N * P, term + N * P + N) ==
          FRBM_ERROR_ARGUMENT);
    free(workspace);
    options.batch_size = ROWS;
    options.momentum = 0;
    const size_t whole = frbm_train_workspace_size(&rbm, &data, &options, 2);
    workspace = block(whole);
    CHECK(frbm_train_init(&t, &rbm, &data, &options, 2, workspace, whole) == FRBM_OK);
    CHECK(frbm_train_data_term(&t, &exec, term, term + N * P, term + N * P + N) == FRBM_OK);
    float before[N * P];
    memcpy(before, rbm.weights, sizeof before);
    CHECK(frbm_train_epoch(&t, 1, 1.0, &exec, 1) == FRBM_OK);
    for (size_t i = 0; i < N * P; ++i) {
        const double step = (double)((const float *)rbm.weights)[i] - (double)before[i];
        CHECK(fabs(step - (term[i] - 0.01 * (double)(i % 7))) < 1e-5);
    }
    frbm_train_options_t bad = options;
    bad.k = 1;
    CHECK(frbm_train_init(&t, &rbm, &data, &bad, 2, workspace, whole) == FRBM_ERROR_ARGUMENT);
    bad = options;
    bad.persistent = 1;
    bad.n_chains = 3;
    CHECK(frbm_train_init(&t, &rbm, &data, &bad, 2, workspace, whole) == FRBM_ERROR_ARGUMENT);
    free(term);
    free(workspace);
    free(memory);
    free_model(&rbm);
}

int main(void) {
    for (int visible = FRBM_BERNOULLI; visible <= FRBM_GAUSSIAN; ++visible)
        for (int hidden = FRBM_BERNOULLI; hidden <= FRBM_GAUSSIAN; ++hidden)
            for (int samples = 0; samples < 2; ++samples) {
                const frbm_train_options_t cd = {.k = 2,
                                                 .batch_size = 40,
                                                 .samples = samples,
                                                 .momentum = 0.5,
                                                 .weight_decay = 1e-3,
                                                 .max_norm = samples ? 0.5 : 0};
                frbm_train_options_t pcd = cd;
                pcd.persistent = 1;
                pcd.n_chains = 23;
                all_threads_agree(visible, hidden, 0, cd);
                all_threads_agree(visible, hidden, 0, pcd);
                if (visible == FRBM_BERNOULLI) {
                    all_threads_agree(visible, hidden, 1, cd);
                    all_threads_agree(visible, hidden, 1, pcd);
                }
                source_t source = {0};
                frbm_train_options_t exact = cd;
                exact.k = 0;
                exact.samples = 0;
                exact.batch_size = 150;
                exact.moments = moments;
                exact.moments_context = &source;
                all_threads_agree(visible, hidden, 0, exact);
                if (visible == FRBM_BERNOULLI) all_threads_agree(visible, hidden, 1, exact);
            }
    stops_and_divergence();
    small_models();
    slices(FRBM_BERNOULLI, FRBM_BERNOULLI, 129, 1, 10, 0);
    slices(FRBM_SPIN, FRBM_GAUSSIAN, 300, 70, 16, 0);
    slices(FRBM_BERNOULLI, FRBM_SPIN, 256, 64, 50, 7);
    slices(FRBM_SPIN, FRBM_BERNOULLI, 500, 65, 3, 100);
    sources();
    return 0;
}
