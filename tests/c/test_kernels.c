/* Every kernel of every SIMD level against plain loops, at shapes that leave remainders. */
#include "check.h"
#include "fastrbm/core/bits.h"
#include "fastrbm/core/numerics.h"
#include "fastrbm/kernels/kernels.h"
#include "reals.h"

enum { MAX_ROWS = 40, MAX_DEPTH = 530 };

static void random_reals(void *p, int dtype, size_t n) {
    for (size_t i = 0; i < n; ++i) set(p, dtype, i, 2 * uniform() - 1);
}

/* The ways of making products of bits: their results are the same, bit for bit. */
static const struct {
    const char *path;
    int wide_tables; /* of level v4 */
} ways[] = {{"auto", 0}, {"auto", 1}, {"tables", 0}, {"tables", 1}, {"rows", 0}};
enum { N_WAYS = sizeof ways / sizeof *ways };

/* Returns what was set before. */
static int set_wide_tables(int wide) {
    int before = wide;
#ifdef FRBM_HAVE_X86_LEVELS
    before = frbm_wide_tables;
    frbm_wide_tables = wide;
#endif
    return before;
}

static void products(frbm_exec_t exec, int dtype) {
    static const size_t sizes[][3] = {/* rows, depth, lanes */
                                      {1, 1, 1},    {1, 65, 64},   {5, 7, 10},    {6, 32, 16},
                                      {7, 33, 17},  {40, 150, 64}, {13, 129, 63}, {3, 64, 33},
                                      {2, 150, 32}, {20, 7, 21},   {3, 530, 35},  {30, 270, 64}};
    static const double densities[] = {0.4, 0.05, 0.9};
    const double tolerance = dtype == FRBM_FLOAT32 ? 1e-4 : 1e-13;
    const int wide = set_wide_tables(0);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
        const size_t rows = sizes[s][0], depth = sizes[s][1], lanes = sizes[s][2];
        const size_t words = frbm_bit_words(depth), ldm = lanes + 3;
        void *m = block(((depth - 1) * ldm + lanes) * size_of(dtype)); /* ends with the last lane */
        void *values = block(rows * depth * size_of(dtype));
        uint64_t *bits = (uint64_t *)block(rows * words * sizeof *bits);
        random_reals(m, dtype, (depth - 1) * ldm + lanes);
        random_reals(values, dtype, rows * depth);
        memset(bits, 0, rows * words * sizeof *bits);
        for (size_t r = 0; r < rows; ++r)
            for (size_t i = 0; i < depth; ++i)
                bits[r * words + i / 64] |= (uint64_t)(uniform() < densities[s % 3]) << (i % 64);
        for (int way = 0; way < 3 * N_WAYS; ++way) { /* bits, signs, reals, by every way */
            const int kind = way % 3;
            CHECK(frbm_exec_set_kernel(&exec, ways[way / 3].path) == FRBM_OK);
            CHECK(strcmp(frbm_exec_kernel(&exec), ways[way / 3].path) == 0);
            set_wide_tables(ways[way / 3].wide_tables);
            const frbm_real_kernels_t *k = &exec.kernels->real[dtype];
            _Alignas(64) static double tiles[3][MAX_ROWS * FRBM_TILE];
            _Alignas(64) double tile[MAX_ROWS * FRBM_TILE], single[FRBM_TILE];
            memset(tile, 0xFF, sizeof tile); /* NaN: without `add` nothing is read */
            if (kind < 2)
                k->product_bits(bits, words, kind, rows, depth, m, ldm, lanes, 0, tile);
            else
                k->product_values(values, depth, 1, rows, depth, m, ldm, lanes, 0, tile);
            for (size_t r = 0; r < rows; ++r) {
                memset(single, 0, sizeof single);
                if (kind < 2)
                    k->product_bits(bits + r * words, words, kind, 1, depth, m, ldm, lanes, 1,
                                    single);
                else
                    k->product_values((const char *)values + r * depth * size_of(dtype), depth, 1,
                                      1, depth, m, ldm, lanes, 1, single);
                for (size_t j = 0; j < lanes; ++j) {
                    double sum = 0;
                    for (size_t i = 0; i < depth; ++i) {
                        const double bit = (double)((bits[r * words + i / 64] >> (i % 64)) & 1);
                        const double a = kind == 0   ? bit
                                         : kind == 1 ? 2 * bit - 1
                                                     : get(values, dtype, r * depth + i);
                        sum += a * get(m, dtype, i * ldm + j);
                    }
                    CHECK_CLOSE(get(tile, dtype, r * FRBM_TILE + j), sum, tolerance);
                    /* One row and many rows take different paths to the same bits; adding to 0, too. */
                    CHECK(get(tile, dtype, r * FRBM_TILE + j) == get(single, dtype, j));
                }
            }
            if (way < 3) memcpy(tiles[kind], tile, sizeof tile);
            for (size_t r = 0; r < rows; ++r)
                for (size_t j = 0; j < lanes; ++j)
                    CHECK(get(tile, dtype, r * FRBM_TILE + j) ==
                          get(tiles[kind], dtype, r * FRBM_TILE + j));
            if (kind < 2)
                k->product_bits(bits, words, kind, rows, depth, m, ldm, lanes, 1, tile);
            else
                k->product_values(values, depth, 1, rows, depth, m, ldm, lanes, 1, tile);
            for (size_t r = 0; r < rows; ++r)
                for (size_t j = 0; j < lanes; ++j)
                    CHECK_CLOSE(get(tile, dtype, r * FRBM_TILE + j),
                                2 * get(tiles[kind], dtype, r * FRBM_TILE + j), tolerance);
        }
        free(m);
        free(values);
        free(bits);
    }
    set_wide_tables(wide);
}

/* A word below it is a high unit: 2^32 p, from the rarer state's whole number. */
static double threshold_of(double z, double *rarer) {
    *rarer = floor(4294967296.0 / (1 + exp(fabs(z))));
    return z < 0 ? *rarer : 4294967296.0 - *rarer;
}

/* Two-state draws follow from words and fields as documented: every one for a scale that is a power of
 * two, since log-odds are then rounded as here, and else all but those within `slack` of a threshold. */
static void two_state(const frbm_kernels_t *kernels, int dtype, double scale, double slack) {
    enum { ROWS = 40, LANES = 61, STEPS = 1000 };
    static double z[ROWS][LANES], thresholds[ROWS][LANES], rarer[ROWS][LANES];
    _Alignas(64) double x[ROWS * FRBM_TILE];
    void *bias = block(LANES * size_of(dtype));
    void *means = block(ROWS * LANES * size_of(dtype));
    uint64_t out[ROWS], keep[ROWS], before[ROWS];
    unsigned n_close = 0, n_tied[2] = {0, 0};
    memset(x, 0, sizeof x);
    random_reals(x, dtype, ROWS * FRBM_TILE);
    random_reals(bias, dtype, LANES);
    for (size_t r = 0; r < ROWS; ++r) {
        const double sign = r % 2 ? 1 : -1, far[] = {30, 1000, 12, 6};
        for (size_t j = 0; j < 4; ++j) set(x, dtype, r * FRBM_TILE + j, sign * far[j]);
        set(x, dtype, r * FRBM_TILE + 4, -get(bias, dtype, 4));
        for (size_t j = 0; j < LANES; ++j) {
            z[r][j] = scale * (get(bias, dtype, j) + get(x, dtype, r * FRBM_TILE + j));
            if (dtype == FRBM_FLOAT32) z[r][j] = (double)(float)z[r][j];
            thresholds[r][j] = threshold_of(z[r][j], &rarer[r][j]);
        }
    }
    for (uint64_t step = 0; step < STEPS; ++step) {
        const frbm_draw_t draw = {frbm_stream(7, step, FRBM_PURPOSE_LAYER, 11), 64, 5};
        const frbm_bits_out_t to = {out, 1, step % 4 == 0 ? keep : NULL, 1};
        for (size_t r = 0; r < ROWS; ++r) {
            out[r] = before[r] = (uint64_t)(uniform() * 1e18);
            keep[r] = (uint64_t)(uniform() * 1e18);
        }
        kernels->real[dtype].two_state_sample(ROWS, LANES, x, bias, scale, &draw, &to);
        for (size_t r = 0; r < ROWS; ++r) {
            const uint64_t kept = to.keep == NULL ? 0 : keep[r];
            uint32_t words[64 + LANES];
            frbm_stream_bit_words(&draw.stream, (uint32_t)(5 + r), 64 + LANES, words);
            CHECK((out[r] & kept) == (before[r] & kept));
            CHECK((out[r] & ~kept & ~frbm_bit_mask(LANES)) == 0);
            for (size_t j = 0; j < LANES; ++j) {
                const double word = words[64 + j], threshold = thresholds[r][j];
                const int bit = (int)(out[r] >> j) & 1;
                if ((kept >> j) & 1) continue;
                if (fabs(word - threshold) < slack * (rarer[r][j] + 1)) continue;
                CHECK(bit == (word < threshold));
                n_close += fabs(floor(word / 65536) - threshold / 65536) <= 4;
                if (floor(word / 65536) == floor(threshold / 65536)) ++n_tied[bit];
            }
        }
    }
    /* Upper halves that do not decide were among them, and went either way. */
    CHECK(n_close > 100 && n_tied[0] > 5 && n_tied[1] > 5);
    kernels->real[dtype].two_state_mean(ROWS, LANES, x, bias, scale, -1, 1, 0.5, means, LANES);
    for (size_t r = 0; r < ROWS; ++r)
        for (size_t j = 0; j < LANES; ++j)
            CHECK_CLOSE(get(means, dtype, r * LANES + j), 0.5 * tanh(z[r][j] / 2),
                        dtype == FRBM_FLOAT32 ? 3e-7 : 1e-15);
    free(bias);
    free(means);
}

static void gaussian(const frbm_kernels_t *kernels, int dtype) {
    enum { ROWS = 21, LANES = 35 };
    _Alignas(64) double x[ROWS * FRBM_TILE];
    void *bias = block(LANES * size_of(dtype)), *precision = block(LANES * size_of(dtype));
    void *out = block(ROWS * LANES * size_of(dtype));
    const frbm_draw_t draw = {frbm_stream(9, 1, FRBM_PURPOSE_LAYER, 0), 0, 0};
    random_reals(x, dtype, ROWS * FRBM_TILE);
    random_reals(bias, dtype, LANES);
    for (size_t j = 0; j < LANES; ++j) set(precision, dtype, j, 0.5 + uniform());
    kernels->real[dtype].gaussian_sample(ROWS, LANES, x, bias, precision, 1.5, &draw, out, LANES,
                                         NULL, 0);
    for (size_t r = 0; r < ROWS; ++r) {
        uint32_t words[LANES];
        frbm_stream_words(&draw.stream, (uint32_t)r, LANES, words);
        for (size_t j = 0; j < LANES; ++j) {
            const double p = get(precision, dtype, j);
            const double z = frbm_normal_of_word(words[j]);
            const double expected =
                (get(bias, dtype, j) + get(x, dtype, r * FRBM_TILE + j)) / p + z / sqrt(1.5 * p);
            CHECK_CLOSE(get(out, dtype, r * LANES + j), expected,
                        dtype == FRBM_FLOAT32 ? 3e-6 : 1e-14);
        }
    }
    free(bias);
    free(precision);
    free(out);
}

static void update(const frbm_kernels_t *kernels, int dtype) {
    enum { ROWS = 11, LANES = 21, LD = 32 };
    _Alignas(64) double g[ROWS * FRBM_TILE], w[ROWS * LD], v[ROWS * LD], before_w[ROWS * LD],
        before_v[ROWS * LD], w_t[LANES * ROWS];
    const frbm_update_t u = {0.5, 0.01, 0.1, 0.25};
    memset(g, 0, sizeof g);
    memset(w, 0, sizeof w);
    memset(v, 0, sizeof v);
    for (size_t r = 0; r < ROWS; ++r)
        for (size_t j = 0; j < LANES; ++j) {
            set(g, dtype, r * FRBM_TILE + j, uniform());
            set(w, dtype, r * LD + j, uniform());
            set(v, dtype, r * LD + j, uniform());
        }
    memcpy(before_w, w, sizeof w);
    memcpy(before_v, v, sizeof v);
    const double norm = kernels->real[dtype].update(ROWS, LANES, g, &u, w, LD, v, LD, w_t, ROWS);
    double sum = 0;
    const double tolerance = dtype == FRBM_FLOAT32 ? 1e-6 : 1e-15;
    for (size_t r = 0; r < ROWS; ++r)
        for (size_t j = 0; j < LD; ++j) {
            const double velocity = 0.5 * get(before_v, dtype, r * LD + j) +
                                    0.25 * (j < FRBM_TILE ? get(g, dtype, r * FRBM_TILE + j) : 0) -
                                    0.01 * get(before_w, dtype, r * LD + j);
            CHECK_CLOSE(get(v, dtype, r * LD + j), velocity, tolerance);
            CHECK_CLOSE(get(w, dtype, r * LD + j),
                        get(before_w, dtype, r * LD + j) + 0.1 * velocity, tolerance);
            if (j < LANES) CHECK(get(w_t, dtype, j * ROWS + r) == get(w, dtype, r * LD + j));
            sum += 0.01 * velocity * velocity;
        }
    CHECK_CLOSE(norm, sum, 100 * tolerance);
}

/* The gradient of few rows and its update in one pass: the bits of two products and an update. */
static void few(const frbm_kernels_t *kernels, int dtype, size_t lanes, int is_signed) {
    enum { ROWS = 27, DATA = 10, MODEL = 6 };
    const size_t depths[2] = {DATA, MODEL}, size = size_of(dtype);
    const frbm_real_kernels_t *k = &kernels->real[dtype];
    const frbm_update_t u = {0.5, 0.01, 0.1, 0.25};
    _Alignas(64) static double m[2][DATA * FRBM_TILE], tile[ROWS * FRBM_TILE],
        w[2][ROWS * FRBM_TILE], v[2][ROWS * FRBM_TILE], w_t[2][FRBM_TILE * ROWS],
        tables[FRBM_FEW_BYTES];
    uint64_t bits[2][ROWS];
    memset(m, 0, sizeof m);
    memset(w, 0, sizeof w);
    memset(v, 0, sizeof v);
    memset(w_t, 0, sizeof w_t);
    for (int side = 0; side < 2; ++side) {
        for (size_t i = 0; i < depths[side]; ++i)
            random_reals((char *)m[side] + i * FRBM_TILE * size, dtype, lanes);
        for (size_t r = 0; r < ROWS; ++r) {
            bits[side][r] = 0;
            for (size_t i = 0; i < depths[side] && r % 5 > 0; ++i)
                bits[side][r] |= (uint64_t)(uniform() < 0.4) << i;
        }
    }
    for (size_t r = 0; r < ROWS; ++r) {
        random_reals((char *)w[0] + r * FRBM_TILE * size, dtype, lanes);
        random_reals((char *)v[0] + r * FRBM_TILE * size, dtype, lanes);
    }
    memcpy(w[1], w[0], sizeof w[0]);
    memcpy(v[1], v[0], sizeof v[0]);

    memset(tile, 0, sizeof tile);
    for (int side = 0; side < 2; ++side)
        k->product_bits(bits[side], 1, is_signed, ROWS, depths[side], m[side], FRBM_TILE, lanes,
                        side, tile);
    const double norm =
        k->update(ROWS, lanes, tile, &u, w[0], FRBM_TILE, v[0], FRBM_TILE, w_t[0], ROWS);

    const frbm_few_t how = {{bits[0], bits[1]}, {3, 2}, is_signed, tables};
    k->few_tables(m[0], FRBM_TILE, DATA, lanes, is_signed, tables);
    k->few_tables(m[1], FRBM_TILE, MODEL, lanes, is_signed,
                  (char *)tables + frbm_few_bytes(3, size));
    CHECK(norm ==
          k->update_few(ROWS, lanes, &how, &u, w[1], FRBM_TILE, v[1], FRBM_TILE, w_t[1], ROWS));
    for (size_t r = 0; r < ROWS; ++r)
        for (size_t j = 0; j < lanes; ++j) {
            CHECK(get(w[0], dtype, r * FRBM_TILE + j) == get(w[1], dtype, r * FRBM_TILE + j));
            CHECK(get(v[0], dtype, r * FRBM_TILE + j) == get(v[1], dtype, r * FRBM_TILE + j));
            CHECK(get(w_t[0], dtype, j * ROWS + r) == get(w_t[1], dtype, j * ROWS + r));
        }
}

static void softplus(const frbm_kernels_t *kernels) {
    double x[1003], y[1003];
    for (int i = 0; i < 1000; ++i) x[i] = (i - 500) * 0.1;
    x[1000] = 1e5;
    x[1001] = -1e5;
    x[1002] = 0;
    kernels->softplus(1003, x, y);
    for (int i = 0; i < 1003; ++i) {
        const double expected = fmax(x[i], 0) + log1p(exp(-fabs(x[i])));
        CHECK_CLOSE(y[i], expected, 4e-16 * fmax(expected, 1));
    }
}

static void exponentials(const frbm_kernels_t *kernels) {
    double x[1003], y[1003];
    for (int i = 0; i < 1003; ++i) x[i] = 700 * sin(i);
    x[0] = 0;
    kernels->exponentials(1003, x, y);
    for (int i = 0; i < 1003; ++i) CHECK_CLOSE(y[i], exp(x[i]), 4e-16 * exp(x[i]));
    kernels->exponentials(1003, x, x); /* in place */
    CHECK(memcmp(x, y, sizeof x) == 0);
}

/* Products of q + p y whose factors, and sums of whose logarithms, are as large as is allowed. */
static void mix(const frbm_kernels_t *kernels) {
    enum { UNITS = 131, LD = 136 };
    static double p[FRBM_FACTOR_ROWS * LD], q[FRBM_FACTOR_ROWS * LD], y[UNITS * FRBM_FACTOR_LANES],
        tile[FRBM_FACTOR_TILE], exponents[FRBM_FACTOR_TILE];
    for (size_t n = 1; n <= UNITS; n += n < 34 ? 1 : 97) {
        for (size_t i = 0; i < FRBM_FACTOR_ROWS * LD; ++i) {
            const double z = 80 * uniform() - 40;
            p[i] = 1 / (1 + exp(-z));
            q[i] = 1 / (1 + exp(z));
        }
        for (size_t i = 0; i < n * FRBM_FACTOR_LANES;
             ++i) /* of a lane all large, all small, or both */
            y[i] = exp2(i % 3 == 0   ? FRBM_MIX_POWER
                        : i % 3 == 1 ? -FRBM_MIX_POWER
                                     : FRBM_MIX_POWER * (2 * uniform() - 1));
        for (size_t i = 0; i < FRBM_FACTOR_TILE; ++i) {
            tile[i] = 1 + uniform();
            exponents[i] = (double)(i % 7);
        }
        double start[FRBM_FACTOR_TILE];
        memcpy(start, tile, sizeof start);
        kernels->factors.mix(n, p, q, LD, y, tile, exponents);
        for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r)
            for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l) {
                const size_t at = r * FRBM_FACTOR_LANES + l;
                double expected = log2(start[at]) + (double)(at % 7);
                for (size_t j = 0; j < n; ++j)
                    expected += log2(q[r * LD + j] + p[r * LD + j] * y[j * FRBM_FACTOR_LANES + l]);
                CHECK(tile[at] >= 1 && tile[at] < 2);
                CHECK_CLOSE(log2(tile[at]) + exponents[at], expected, 1e-15 * (double)n * 100);
            }
    }
}

int main(void) {
    for (int level = 0; frbm_simd_level(level) != NULL; ++level) {
        frbm_exec_t exec;
        frbm_exec_init(&exec);
        CHECK(frbm_exec_set_simd(&exec, frbm_simd_level(level)) == FRBM_OK);
        CHECK(strcmp(frbm_exec_simd(&exec), frbm_simd_level(level)) == 0);
        for (int dtype = FRBM_FLOAT32; dtype <= FRBM_FLOAT64; ++dtype) {
            products(exec, dtype);
            two_state(exec.kernels, dtype, 2.0, 0);
            two_state(exec.kernels, dtype, 0.9, dtype == FRBM_FLOAT32 ? 3e-6 : 1e-14);
            gaussian(exec.kernels, dtype);
            update(exec.kernels, dtype);
            for (int is_signed = 0; is_signed < 2; ++is_signed) {
                few(exec.kernels, dtype, 64, is_signed);
                few(exec.kernels, dtype, 21, is_signed);
                few(exec.kernels, dtype, 10, is_signed);
            }
        }
        softplus(exec.kernels);
        exponentials(exec.kernels);
        mix(exec.kernels);
    }
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    CHECK(frbm_exec_set_simd(&exec, "v9") == FRBM_ERROR_SIMD);
    CHECK(frbm_exec_set_kernel(&exec, "dense") == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_exec_set_kernel(&exec, "rows") == FRBM_OK);
    CHECK(frbm_exec_set_simd(&exec, "baseline") == FRBM_OK); /* keeps the path */
    CHECK(strcmp(frbm_exec_kernel(&exec), "rows") == 0);
    return 0;
}
