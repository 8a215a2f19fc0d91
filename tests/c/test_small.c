/* The kernels of small layers, every level, against the general ones: the same bits, and nothing is touched beyond
 * what is given. */
#include "check.h"
#include "fastrbm/core/bits.h"
#include "fastrbm/kernels/kernels.h"
#include "reals.h"

/* Rows of width reals, zeros after the first n. */
static void *random_rows(int dtype, size_t n_rows, size_t width, size_t n, double scale) {
    void *p = block(n_rows * width * size_of(dtype));
    for (size_t i = 0; i < n_rows * width; ++i)
        set(p, dtype, i, i % width < n ? scale * (2 * uniform() - 1) : 0);
    return p;
}

static uint64_t *random_words(size_t n_rows, size_t n) {
    uint64_t *words = (uint64_t *)block(n_rows * sizeof *words);
    for (size_t r = 0; r < n_rows; ++r) {
        words[r] = 0;
        for (size_t i = 0; i < n; ++i) words[r] |= (uint64_t)(uniform() < 0.4) << i;
    }
    return words;
}

/* One layer given the other; returns how many draws differ from the more probable state. */
static size_t layer(const frbm_kernels_t *kernels, int dtype, size_t n, size_t n_source,
                    size_t n_rows, double low, int is_signed) {
    const size_t size = size_of(dtype), width = FRBM_SMALL_WIDTH(n);
    const frbm_real_kernels_t *k = &kernels->real[dtype];
    const double factor = 1.0 / (double)n_rows, scale = 1 - low;
    void *couplings = random_rows(dtype, n_source, width, n, 2);
    void *bias = random_rows(dtype, 1, n, n, 1); /* ends with the last unit */
    uint64_t *source = random_words(n_rows, n_source);
    _Alignas(64) static double tables[FRBM_SMALL_BYTES(1)], x[FRBM_SMALL_ROWS * FRBM_TILE],
        expected[FRBM_SMALL_ROWS * FRBM_TILE];
    const frbm_small_t small = {n, n_source, scale, low, 1, is_signed, bias, couplings, tables};
    const frbm_draw_t draw = {frbm_stream(7, n * n_source, FRBM_PURPOSE_TRAIN_HIDDEN, 3), 0, 5};
    uint64_t words[3][FRBM_SMALL_ROWS];
    const frbm_bits_out_t out = {words[0], 1, NULL, 0, 0};
    void *means[2] = {block(n_rows * width * size), block(n_rows * width * size)};
    size_t different = 0;

    memset(x, 0, sizeof x); /* the sampler reads whole vectors */
    memset(tables, 0xFF, sizeof tables);
    k->product_bits(source, 1, is_signed, n_rows, n_source, couplings, width, width, 0, x);
    k->two_state_mean(n_rows, n, x, bias, scale, low, 1, factor, expected, FRBM_TILE);
    k->two_state_sample(n_rows, n, x, bias, scale, &draw, &out);

    k->small_prepare(&small);
    k->small_run(&small, source, n_rows, factor, means[0], &draw, words[1]);
    k->small_run(&small, source, n_rows, factor, means[1], NULL, NULL);
    k->small_run(&small, source, n_rows, 0, NULL, &draw, words[2]);
    for (size_t r = 0; r < n_rows; ++r) {
        CHECK(words[1][r] == words[0][r]);
        CHECK(words[2][r] == words[0][r]);
        for (size_t j = 0; j < width; ++j) {
            const double mean = j < n ? get(expected, dtype, r * FRBM_TILE + j) : 0;
            CHECK(get(means[0], dtype, r * width + j) == mean);
            CHECK(get(means[1], dtype, r * width + j) == mean);
            if (j < n) {
                const int up = 2 * mean > factor * (low + 1);
                different += up != (int)(words[0][r] >> j & 1);
            }
        }
    }
    free(couplings), free(bias), free(source), free(means[0]), free(means[1]);
    return different;
}

static void gradient(const frbm_kernels_t *kernels, int dtype, size_t n, size_t p,
                     const size_t n_rows[2], int is_signed) {
    const frbm_real_kernels_t *k = &kernels->real[dtype];
    const size_t width = FRBM_SMALL_WIDTH(p);
    _Alignas(64) static double tables[FRBM_SMALL_BYTES(1)], tile[FRBM_SMALL_UNITS * FRBM_TILE],
        expected[FRBM_SMALL_UNITS * FRBM_TILE];
    frbm_small_gradient_t g = {.n = n, .p = p, .is_signed = is_signed, .tables = tables};
    uint32_t ones[2][FRBM_SMALL_UNITS];
    uint64_t *states[2];
    void *means[2];
    for (int phase = 0; phase < 2; ++phase) {
        uint64_t columns[64];
        g.n_rows[phase] = n_rows[phase];
        g.states[phase] = states[phase] = random_words(n_rows[phase], n);
        g.means[phase] = means[phase] = random_rows(dtype, n_rows[phase], width, p, 1);
        kernels->transpose_bits(states[phase], 1, n_rows[phase], n, 0, 1, columns, 1);
        k->product_bits(columns, 1, is_signed, n, n_rows[phase], means[phase], width, width, phase,
                        expected);
    }
    memset(tables, 0xFF, sizeof tables);
    memset(tile, 0xFF, sizeof tile);
    k->small_gradient(&g, tile, ones);
    for (size_t i = 0; i < n; ++i) {
        for (size_t j = 0; j < width; ++j)
            CHECK(get(tile, dtype, i * FRBM_TILE + j) == get(expected, dtype, i * FRBM_TILE + j));
        for (int phase = 0; phase < 2; ++phase) {
            uint32_t count = 0;
            for (size_t r = 0; r < n_rows[phase]; ++r)
                count += (uint32_t)(states[phase][r] >> i & 1);
            CHECK(ones[phase][i] == count);
        }
    }
    free(states[0]), free(states[1]), free(means[0]), free(means[1]);
}

int main(void) {
    static const size_t units[] = {1, 3, 7, 8, 10, 15, 16, 17, 20, 31, 32};
    enum { SIZES = sizeof units / sizeof *units };
    for (int level = 0; frbm_simd_level(level) != NULL; ++level) {
        frbm_exec_t exec;
        size_t different = 0;
        frbm_exec_init(&exec);
        CHECK(frbm_exec_set_simd(&exec, frbm_simd_level(level)) == FRBM_OK);
        for (int dtype = FRBM_FLOAT32; dtype <= FRBM_FLOAT64; ++dtype)
            for (int is_signed = 0; is_signed < 2; ++is_signed)
                for (size_t a = 0; a < SIZES; ++a)
                    for (size_t b = 0; b < SIZES; ++b)
                        for (size_t n_rows = 1; n_rows <= FRBM_SMALL_ROWS; n_rows += 3) {
                            const size_t other = FRBM_SMALL_ROWS + 1 - n_rows;
                            const size_t rows[2] = {n_rows, other};
                            different += layer(exec.kernels, dtype, units[a], units[b], n_rows,
                                               (n_rows + a) % 2 == 0 ? -1 : 0, is_signed);
                            gradient(exec.kernels, dtype, units[a], units[b], rows, is_signed);
                        }
        CHECK(different > 1000); /* these were draws */
        CHECK(frbm_exec_set_kernel(&exec, "rows") == FRBM_OK);
        CHECK(exec.kernels->real[FRBM_FLOAT32].small_run == NULL);
    }
    return 0;
}
