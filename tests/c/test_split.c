/* The split product: its kernels against plain loops at every level, sums and means against
 * enumeration in long double, the same bits for every number of threads and grouping of shards. */
#include "fastrbm/core/twofold.h"
#include "fastrbm/kernels/kernels.h"
#include "model.h"

enum { UNITS = 11, LDU = 16, PANELS = 3, R = FRBM_FACTOR_ROWS, L = FRBM_FACTOR_LANES };

/* --------------------------------------------------------------------------------------- kernels */

static double u[R * LDU], ku[R * LDU], y[PANELS * UNITS * L], ky[PANELS * UNITS * L],
    start[PANELS * L];

static void fill(void) {
    for (size_t i = 0; i < R * LDU; ++i) {
        u[i] = exp(4 * uniform() - 2);
        ku[i] = floor(4000 * uniform()) - 2000;
    }
    for (size_t i = 0; i < PANELS * UNITS * L; ++i) {
        y[i] = exp(4 * uniform() - 2);
        ky[i] = i % 3 ? floor(4000 * uniform()) - 2000 : ku[i % (R * LDU)] - 3;
    }
    for (size_t i = 0; i < PANELS * L; ++i) start[i] = 1 + uniform();
}

static double factor(size_t r, size_t j, size_t panel, size_t l) {
    return u[r * LDU + j] + y[(panel * UNITS + j) * L + l];
}

static void close(double got, double expected) {
    CHECK_CLOSE(got, expected, 1e-13 * fabs(expected));
}

static void sums_and_blocks(const frbm_factor_kernels_t *k) {
    double sums[R], tile[R * L], exponents[R * L];
    k->sum(UNITS, u, LDU, y, UNITS * L, PANELS, start, sums);
    for (size_t r = 0; r < R; ++r) {
        double expected = 0;
        for (size_t i = 0; i < PANELS * L; ++i) {
            double product = start[i];
            for (size_t j = 0; j < UNITS; ++j) product *= factor(r, j, i / L, i % L);
            expected += product;
        }
        close(sums[r], expected);
    }
    for (size_t i = 0; i < R * L; ++i) {
        tile[i] = start[i % L];
        exponents[i] = (double)i - 1e6;
    }
    k->block(UNITS, u, LDU, y, tile, exponents);
    for (size_t i = 0; i < R * L; ++i) {
        double product = start[i % L];
        for (size_t j = 0; j < UNITS; ++j) product *= factor(i / L, j, 0, i % L);
        CHECK(tile[i] >= 1 && tile[i] < 2);
        close(ldexp(tile[i], (int)(exponents[i] - ((double)i - 1e6))), product);
    }
}

/* The parts of u 2^ku + y 2^ky relative to the larger power, which is *k. */
static double wide_factor(size_t r, size_t j, size_t l, double *k, double *u_part) {
    const double a = ku[r * LDU + j], b = ky[j * L + l];
    *k = fmax(a, b);
    *u_part = u[r * LDU + j] * (a - *k < -1000 ? 0 : exp2(a - *k));
    return *u_part + y[j * L + l] * (b - *k < -1000 ? 0 : exp2(b - *k));
}

static void wide_units(const frbm_factor_kernels_t *k) {
    double tile[R * L], exponents[R * L], p[R * L];
    static double rows[UNITS * R * FRBM_FACTOR_SLOTS], columns[UNITS * L];
    memset(rows, 0, sizeof rows);
    memset(columns, 0, sizeof columns);
    for (size_t i = 0; i < R * L; ++i) {
        tile[i] = start[i % L];
        exponents[i] = 0;
        p[i] = uniform();
    }
    k->wide(UNITS, u, ku, LDU, y, ky, tile, exponents);
    k->wide_backward(UNITS, u, ku, LDU, y, ky, p, rows, columns);
    for (size_t i = 0; i < R * L; ++i) {
        double product = start[i % L], sum = 0, power, part;
        for (size_t j = 0; j < UNITS; ++j) {
            product *= wide_factor(i / L, j, i % L, &power, &part);
            sum += power;
        }
        close(ldexp(tile[i], (int)(exponents[i] - sum)), product);
    }
    for (size_t j = 0; j < UNITS; ++j) {
        double column[L] = {0};
        for (size_t r = 0; r < R; ++r) {
            double row = 0, got = 0;
            for (size_t l = 0; l < L; ++l) {
                double power, part;
                const double whole = wide_factor(r, j, l, &power, &part);
                row += p[r * L + l] * part / whole;
                column[l] += p[r * L + l] * (whole - part) / whole;
            }
            for (size_t s = 0; s < FRBM_FACTOR_SLOTS; ++s)
                got += rows[(j * R + r) * FRBM_FACTOR_SLOTS + s];
            close(got, row);
        }
        for (size_t l = 0; l < L; ++l) CHECK_CLOSE(columns[j * L + l], column[l], 1e-14);
    }
}

static void scaled_sums(const frbm_factor_kernels_t *k) {
    static const double f[R] = {1, 0.5, 1.5, 0.75}, kf[R] = {3000, -10, 2990, -1e18};
    double tile[R * L], exponents[R * L], sums[L], references[L];
    for (size_t i = 0; i < R * L; ++i) {
        tile[i] = 1 + uniform();
        exponents[i] = floor(20 * uniform()) - (i % 2 ? 5000 : 0);
    }
    for (size_t l = 0; l < L; ++l) {
        sums[l] = l % 4 ? 1 : 0;
        references[l] = l % 4 ? (double)(l * 300) : -1e18;
    }
    for (int times = 0; times < 2; ++times) k->add(tile, exponents, f, kf, sums, references);
    for (size_t l = 0; l < L; ++l) {
        double expected = l % 4 ? exp2((double)(l * 300) - references[l]) : 0;
        for (size_t r = 0; r < R; ++r) {
            const double e = exponents[r * L + l] + kf[r] - references[l];
            CHECK(e <= 0);
            expected += 2 * f[r] * tile[r * L + l] * exp2(e);
        }
        close(sums[l], expected);
    }
    double weighed[R * L];
    memcpy(weighed, tile, sizeof weighed);
    const double shifts[R] = {0, -5, -900, -1e18};
    for (size_t i = 0; i < R * L; ++i) exponents[i] = -(double)(i % 50);
    k->weigh(exponents, f, shifts, weighed);
    for (size_t i = 0; i < R * L; ++i)
        close(weighed[i], f[i / L] * tile[i] * exp2(exponents[i] + shifts[i / L]));
}

static void backward(const frbm_factor_kernels_t *k, size_t n) {
    static double prefix[(UNITS + 1) / 2 * R * L], rows[UNITS * R * FRBM_FACTOR_SLOTS],
        columns[UNITS * L];
    double tile[R * L], suffix[R * L], means[R * LDU], sums[4 * LDU];
    memset(rows, 0, sizeof rows);
    memset(columns, 0, sizeof columns);
    memset(sums, 0, sizeof sums);
    for (size_t i = 0; i < R * L; ++i) suffix[i] = uniform();
    k->prefix(n, u, LDU, y, start, 0, prefix, tile);
    k->backward(n, u, LDU, y, prefix, suffix, rows, columns);
    for (size_t i = 0; i < R * L; ++i) {
        double product = start[i % L];
        for (size_t j = 0; j < n; ++j) product *= factor(i / L, j, 0, i % L);
        close(tile[i], product);
    }
    double expected[R][UNITS];
    for (size_t j = 0; j < n; ++j) {
        double column[L] = {0};
        for (size_t r = 0; r < R; ++r) {
            expected[r][j] = 0;
            for (size_t l = 0; l < L; ++l) {
                double d = start[l] * suffix[r * L + l];
                for (size_t i = 0; i < n; ++i)
                    if (i != j) d *= factor(r, i, 0, l);
                expected[r][j] += d;
                column[l] += d;
            }
        }
        for (size_t l = 0; l < L; ++l) close(columns[j * L + l], column[l]);
    }
    /* narrow units, the column of p, then a column as wide units have it */
    const size_t p = n - 2;
    double size = 0;
    k->fold(n, p, rows, u, LDU, LDU, means, sums);
    for (size_t r = 0; r < R; ++r)
        for (size_t j = 0; j < n; ++j) size = fmax(size, (1 + u[r * LDU + j]) * expected[r][j]);
    for (size_t j = 0; j < n; ++j) {
        double m[R];
        for (size_t r = 0; r < R; ++r) {
            const double minus = j == p ? 0 : (j < p ? u[r * LDU + j] : 1) * expected[r][j];
            m[r] = expected[r][p] - minus;
            CHECK_CLOSE(means[r * LDU + j], m[r], 1e-13 * size);
        }
        CHECK_CLOSE(sums[j], m[0] + m[1] + m[2] + m[3], 1e-12 * size);
        CHECK_CLOSE(sums[LDU + j], m[1] + m[3], 1e-12 * size);
        CHECK_CLOSE(sums[2 * LDU + j], m[2] + m[3], 1e-12 * size);
        CHECK(sums[3 * LDU + j] == sums[j]);
    }
    for (size_t i = 0; i < n * R * FRBM_FACTOR_SLOTS; ++i) CHECK(rows[i] == 0);
}

static void columns_by_bit(const frbm_factor_kernels_t *k) {
    double columns[4 * UNITS * L], copy[4 * UNITS * L], ys[4 * UNITS * L], by_bit[FRBM_FACTOR_BITS];
    for (size_t i = 0; i < 4 * UNITS * L; ++i) {
        copy[i] = uniform();
        ys[i] = uniform();
    }
    for (size_t panels = 1; panels <= 4; panels *= 2)
        for (int with_y = 0; with_y < 2; ++with_y) {
            memcpy(columns, copy, sizeof columns);
            k->columns(panels, UNITS * L, with_y ? ys : NULL, columns, by_bit);
            for (size_t bit = 0; bit < FRBM_FACTOR_BITS; ++bit) {
                double expected = 0;
                for (size_t i = 0; i < panels * L; ++i) {
                    const size_t at = i / L * UNITS * L + i % L;
                    if (bit == 0 || i >> (bit - 1) & 1)
                        expected += copy[at] * (with_y ? ys[at] : 1);
                    CHECK(columns[at] == 0);
                }
                close(by_bit[bit], expected);
            }
            for (size_t i = L; i < UNITS * L; ++i) CHECK(columns[i] == copy[i]);
        }
}

static void row_products(const frbm_factor_kernels_t *k) {
    double a[16], b[16], out[16];
    for (int i = 0; i < 16; ++i) {
        a[i] = ldexp(1 + uniform(), -100 * i);
        b[i] = ldexp(1 + uniform(), i % 2 ? -10 : -300);
    }
    k->rows(16, a, b, out);
    for (int i = 0; i < 16; ++i)
        CHECK(out[i] == (a[i] * b[i] > FRBM_FACTOR_TINY ? a[i] * b[i] : 0));
}

/* --------------------------------------------------------------------------------- whole models */

typedef struct {
    long double log_z, largest; /* largest |log-weight| of the enumerated layer's states */
    long double products[20][20], visible[20], hidden[20];
} enumeration_t;

static double parameter(const frbm_layer_t *layer, int k, size_t i) {
    return (double)((const float *)layer->parameters[k])[i];
}

/* All states of the two-state layer `side`; means of the other layer in closed form. */
static enumeration_t enumerate(const frbm_rbm_t *rbm, int side, double beta) {
    const frbm_layer_t *x = side == FRBM_VISIBLE ? &rbm->visible : &rbm->hidden;
    const frbm_layer_t *h = side == FRBM_VISIBLE ? &rbm->hidden : &rbm->visible;
    const float *w = (const float *)rbm->weights;
    enumeration_t e;
    memset(&e, 0, sizeof e);
    long double most = -INFINITY, total = 0, means[20];
    for (int pass = 0; pass < 2; ++pass)
        for (size_t s = 0; s < (size_t)1 << x->n; ++s) {
            long double log_weight = 0, state[20];
            for (size_t i = 0; i < x->n; ++i) {
                state[i] = s >> i & 1 ? 1 : (x->unit == FRBM_SPIN ? -1 : 0);
                log_weight += beta * state[i] * parameter(x, 0, i);
            }
            for (size_t j = 0; j < h->n; ++j) {
                long double f = parameter(h, 0, j);
                for (size_t i = 0; i < x->n; ++i)
                    f += state[i] *
                         w[side == FRBM_VISIBLE ? i * rbm->hidden.n + j : j * rbm->hidden.n + i];
                if (h->unit == FRBM_GAUSSIAN) {
                    const long double gamma = parameter(h, 1, j);
                    log_weight +=
                        beta * f * f / (2 * gamma) +
                        0.5L * logl(6.28318530717958647692528676655900577L / (beta * gamma));
                    means[j] = f / gamma;
                } else {
                    const long double low = h->unit == FRBM_SPIN ? -1 : 0;
                    const long double t = beta * (1 - low) * f;
                    log_weight += beta * low * f + (t > 0 ? t : 0) + log1pl(expl(-fabsl(t)));
                    means[j] = low + (1 - low) / (1 + expl(-t));
                }
            }
            if (fabsl(log_weight) > e.largest) e.largest = fabsl(log_weight);
            if (pass == 0) {
                if (log_weight > most) most = log_weight;
                continue;
            }
            const long double p = expl(log_weight - most);
            total += p;
            long double *of_x = side == FRBM_VISIBLE ? e.visible : e.hidden;
            long double *of_h = side == FRBM_VISIBLE ? e.hidden : e.visible;
            for (size_t i = 0; i < x->n; ++i) of_x[i] += p * state[i];
            for (size_t j = 0; j < h->n; ++j) {
                of_h[j] += p * means[j];
                for (size_t i = 0; i < x->n; ++i)
                    *(side == FRBM_VISIBLE ? &e.products[i][j] : &e.products[j][i]) +=
                        p * state[i] * means[j];
            }
        }
    e.log_z = most + logl(total);
    for (size_t i = 0; i < 20; ++i) {
        e.visible[i] /= total;
        e.hidden[i] /= total;
        for (size_t j = 0; j < 20; ++j) e.products[i][j] /= total;
    }
    return e;
}

static double merged(const frbm_partial_t *partials, size_t n) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; ++i) most = fmax(most, partials[i].exponent);
    for (size_t i = 0; i < n; ++i) sum += partials[i].mantissa * exp(partials[i].exponent - most);
    return most + log(sum);
}

static void scale_model(frbm_rbm_t *rbm, float by) {
    float *w = (float *)(uintptr_t)rbm->weights;
    for (size_t i = 0; i < rbm->visible.n * rbm->hidden.n; ++i) w[i] *= by;
}

static void one_model(int visible, size_t n, int hidden, size_t p, int side, float scale,
                      const frbm_exec_t *exec) {
    frbm_rbm_t rbm = make_model(visible, n, hidden, p);
    scale_model(&rbm, scale);
    const double beta = 0.75;
    const enumeration_t expected = enumerate(&rbm, side, beta);
    const size_t size = frbm_split_workspace_size(&rbm, side, 7);
    void *workspace = block(size);
    frbm_split_t split;
    CHECK(frbm_split_init(&split, &rbm, side, 7, workspace, size) == FRBM_OK);
    CHECK(split.n_shards <= 64);
    uint64_t indices[64];
    frbm_partial_t first[64], partials[64];
    static double out[1 << 13];
    const size_t n_states = (size_t)1 << (side == FRBM_VISIBLE ? n : p);
    double products[400], of_v[20], of_h[20], log_z, before[400];
    const frbm_moments_t moments = {products, of_v, of_h, NULL, NULL};
    const double limit = 1e-13 * (double)fmaxl(1, expected.largest);
    for (uint64_t i = 0; i < split.n_shards; ++i) indices[i] = i;
    for (int threads = 1; threads <= 7; threads += threads == 3 ? 4 : 1) {
        frbm_exec_t e = *exec;
        e.n_threads = threads;
        CHECK(frbm_split_run(&split, beta, split.n_shards, indices, &e, partials) == FRBM_OK);
        if (threads == 1) memcpy(first, partials, sizeof first);
        CHECK(memcmp(first, partials, split.n_shards * sizeof *first) == 0);
        const double z = merged(partials, split.n_shards);
        CHECK_CLOSE(z, expected.log_z, limit);
        CHECK_CLOSE(z, expected.log_z, split.error_bound + 4e-16 * fabs((double)expected.log_z));
        CHECK(frbm_split_moments(&split, beta, &e, &moments, &log_z) == FRBM_OK);
        CHECK_CLOSE(log_z, expected.log_z, limit);
        if (threads == 1) memcpy(before, products, sizeof before);
        CHECK(memcmp(before, products, n * p * sizeof *before) == 0);
    }
    double largest = 1;
    for (size_t j = 0; j < p; ++j) largest = fmax(largest, fabs((double)expected.hidden[j]));
    for (size_t i = 0; i < n; ++i) largest = fmax(largest, fabs((double)expected.visible[i]));
    const double slack = 10 * limit * largest;
    for (size_t i = 0; i < n; ++i) CHECK_CLOSE(of_v[i], expected.visible[i], slack);
    for (size_t j = 0; j < p; ++j) CHECK_CLOSE(of_h[j], expected.hidden[j], slack);
    for (size_t i = 0; i < n; ++i)
        for (size_t j = 0; j < p; ++j)
            CHECK_CLOSE(products[i * p + j], expected.products[i][j], slack);
    for (uint64_t i = split.n_shards; i-- > 0;) {
        CHECK(frbm_split_run(&split, beta, 1, &i, exec, partials) == FRBM_OK);
        CHECK(memcmp(&first[i], partials, sizeof *first) == 0);
    }
    CHECK(frbm_split_log_weights(&split, beta, 0, n_states, exec, out) == FRBM_OK);
    double sum = 0;
    for (size_t s = 0; s < n_states; ++s) sum += exp(out[s] - log_z);
    CHECK_CLOSE(sum, 1, 20 * limit);
    free(workspace);
    free_model(&rbm);
}

static void models(const frbm_exec_t *exec) {
    static const int others[3] = {FRBM_BERNOULLI, FRBM_SPIN, FRBM_GAUSSIAN};
    static const float scales[4] = {1e-3f, 1, 100, 30000};
    for (int x = FRBM_BERNOULLI; x <= FRBM_SPIN; ++x)
        for (int o = 0; o < 3; ++o)
            for (size_t n = 1; n <= 13; n += n < 8 ? 1 : 5)
                for (int s = 0; s < 4; ++s) {
                    const size_t m = n == 5 ? 19 : 3;
                    if (s == 3 && others[o] == FRBM_GAUSSIAN) continue;
                    one_model(x, n, others[o], m, FRBM_VISIBLE, scales[s], exec);
                    if (n < 8) one_model(others[o], m, x, n, FRBM_HIDDEN, scales[s], exec);
                }
}

/* ------------------------------------------------------------------------------------- failures */

static int stop_at_once(void *calls) { return ++*(int *)calls > 0; }

static void failures(void) {
    frbm_rbm_t rbm = make_model(FRBM_SPIN, 20, FRBM_GAUSSIAN, 3);
    frbm_exec_t exec;
    frbm_exec_init(&exec);
    const size_t size = frbm_split_workspace_size(&rbm, FRBM_VISIBLE, 1);
    void *workspace = block(size);
    frbm_split_t split;
    frbm_partial_t partial;
    uint64_t index = 0;
    double log_z;
    const frbm_moments_t nothing = {NULL, NULL, NULL, NULL, NULL};
    CHECK(frbm_split_workspace_size(&rbm, FRBM_HIDDEN, 1) == 0);
    CHECK(frbm_split_init(&split, &rbm, FRBM_HIDDEN, 1, workspace, size) == FRBM_ERROR_UNIT);
    CHECK(frbm_split_init(&split, &rbm, 2, 1, workspace, size) == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_split_init(&split, &rbm, FRBM_VISIBLE, 1, workspace, size - 1) ==
          FRBM_ERROR_WORKSPACE);
    CHECK(frbm_split_init(&split, &rbm, FRBM_VISIBLE, 1, workspace, size) == FRBM_OK);
    CHECK(frbm_split_run(&split, 0, 1, &index, &exec, &partial) == FRBM_ERROR_BETA);
    index = split.n_shards;
    CHECK(frbm_split_run(&split, 1, 1, &index, &exec, &partial) == FRBM_ERROR_ARGUMENT);
    CHECK(frbm_split_log_weights(&split, 1, (1u << 20) - 1, 2, &exec, &log_z) ==
          FRBM_ERROR_ARGUMENT);
    int calls = 0;
    exec.poll = stop_at_once;
    exec.poll_context = &calls;
    CHECK(frbm_split_moments(&split, 1, &exec, &nothing, &log_z) == FRBM_STOPPED);
    CHECK(calls == 1);
    exec.poll = NULL;
    scale_model(&rbm, 1e15f);
    index = 0;
    CHECK(frbm_split_run(&split, 1, 1, &index, &exec, &partial) == FRBM_ERROR_RANGE);
    free(workspace);
    free_model(&rbm);

    rbm = make_model(FRBM_BERNOULLI, 61, FRBM_SPIN, 3);
    CHECK(frbm_split_workspace_size(&rbm, FRBM_VISIBLE, 1) == 0);
    CHECK(frbm_split_workspace_size(&rbm, FRBM_HIDDEN, 1) > 0);
    free_model(&rbm);
}

static void twofold(void) {
    const frbm_twofold_t third = frbm_twofold_add(
        frbm_twofold(1), frbm_twofold_negative(frbm_twofold_times(frbm_twofold(2.0 / 3), 1)));
    CHECK(third.hi + third.lo == 1 - 2.0 / 3);
    for (int i = -60; i <= 60; ++i) {
        const double x = 1e13 * i / 61.0 + 0.1;
        const frbm_scaled_t s = frbm_twofold_exp_scaled(frbm_twofold(x));
        const frbm_twofold_t back = frbm_twofold_ln2_times(s.exponent);
        CHECK_CLOSE(log(s.mantissa), (x - back.hi) - back.lo, 1e-15);
    }
}

int main(void) {
    twofold();
    for (int level = 0; frbm_simd_level(level) != NULL; ++level) {
        frbm_exec_t exec;
        frbm_exec_init(&exec);
        CHECK(frbm_exec_set_simd(&exec, frbm_simd_level(level)) == FRBM_OK);
        fill();
        sums_and_blocks(&exec.kernels->factors);
        wide_units(&exec.kernels->factors);
        scaled_sums(&exec.kernels->factors);
        backward(&exec.kernels->factors, UNITS);
        fill();
        backward(&exec.kernels->factors, UNITS - 1);
        row_products(&exec.kernels->factors);
        columns_by_bit(&exec.kernels->factors);
        models(&exec);
    }
    failures();
    return 0;
}
