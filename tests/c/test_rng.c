/* Philox against Random123's known answers, and what is built on it. */
#include "check.h"
#include "fastrbm/core/numerics.h"
#include "fastrbm/core/rng.h"
#include "fastrbm/kernels/kernels.h"

/* Random123, tests/kat_vectors: philox4x32 with 10 rounds. */
static void known_answers(void) {
    static const struct {
        uint32_t counter[4], key[2], answer[4];
    } kat[3] = {{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
                {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
                 {0xffffffff, 0xffffffff},
                 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
                {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                 {0xa4093822, 0x299f31d0},
                 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
    for (int k = 0; k < 3; ++k) {
        frbm_philox_block x;
        memcpy(x.c, kat[k].counter, sizeof x.c);
        x = frbm_philox(x, kat[k].key[0], kat[k].key[1]);
        CHECK(memcmp(x.c, kat[k].answer, sizeof x.c) == 0);
    }
}

/* Every level makes the words of the scalar generator, whatever the shape. */
static void words_of_all_levels(void) {
    const frbm_stream_t stream =
        frbm_stream(0x0123456789abcdefu, 0x123456789au, FRBM_PURPOSE_GIBBS_HIDDEN, 77);
    enum { GUARD = 64 };
    for (int level = 0; frbm_simd_level(level) != NULL; ++level) {
        frbm_exec_t exec;
        frbm_exec_init(&exec);
        CHECK(frbm_exec_set_simd(&exec, frbm_simd_level(level)) == FRBM_OK);
        for (size_t rows = 1; rows <= 17; ++rows)
            for (size_t n = 1; n <= 96; n += n < 36 ? 1 : 4) {
                const size_t blocks = (n + 3) / 4;
                const size_t used = rows * blocks * 4 + FRBM_WORDS_SLACK, size = used + 2 * GUARD;
                uint32_t *all = (uint32_t *)block(size * sizeof *all), *words = all + GUARD;
                memset(all, 0xA5, size * sizeof *all);
                uint32_t expected[96];
                const uint32_t first =
                    (rows + n / 4) % 2 == 0 ? 5 : 0xFFFFFFFFu - 80; /* rows wrap around */
                exec.kernels->random_words(&stream, first, rows, 0, blocks, words);
                for (size_t r = 0; r < rows; ++r) {
                    frbm_stream_words(&stream, first + (uint32_t)r, n, expected);
                    CHECK(memcmp(words + 4 * blocks * r, expected, n * sizeof *words) == 0);
                }
                /* blocks after the first ones */
                exec.kernels->random_words(&stream, first, rows, 3, blocks, words);
                const frbm_philox_block last =
                    frbm_stream_block(&stream, first + (uint32_t)rows - 1, (uint32_t)blocks + 2);
                CHECK(memcmp(words + 4 * (blocks * rows - 1), last.c, sizeof last.c) == 0);
                for (size_t i = 0; i < GUARD; ++i)
                    CHECK(all[i] == 0xA5A5A5A5u && words[used + i] == 0xA5A5A5A5u);
                free(all);
            }
    }
}

/* The upper half of a word is in one block of eight units, the lower one in a block far from it. */
static void words_of_two_state_units(void) {
    enum { N = 21 };
    /* The first known answer, the low half of each word before the high one. */
    static const uint32_t halves[8] = {0xe8d5, 0x6627, 0xc58d, 0xe169,
                                       0xac4c, 0xbc57, 0xdbd8, 0x9b00};
    const frbm_stream_t zero = frbm_stream(0, 0, (enum frbm_purpose)0, 0);
    const frbm_stream_t stream =
        frbm_stream(0x0123456789abcdefu, 0x123456789au, FRBM_PURPOSE_GIBBS_HIDDEN, 77);
    uint32_t *words = (uint32_t *)block(N * sizeof *words);
    frbm_stream_bit_words(&zero, 0, 8, words);
    for (int i = 0; i < 8; ++i) CHECK(words[i] >> 16 == halves[i]);
    frbm_stream_bit_words(&stream, 5, N, words);
    for (uint32_t i = 0; i < N; ++i) {
        const uint32_t upper = frbm_stream_block(&stream, 5, i / 8).c[i % 8 / 2];
        const uint32_t lower = frbm_stream_block(&stream, 5, i / 8 + 0x80000000u).c[i % 8 / 2];
        if (i % 2 == 0)
            CHECK(words[i] == (upper << 16 | (lower & 0xffffu)));
        else
            CHECK(words[i] == ((upper & 0xffff0000u) | lower >> 16));
    }
    free(words);
}

/* A unit is high where its word is below 2^32 p, of which the rarer state's part is a whole number. */
static void draws_of_two_state_units(void) {
    static const double log_odds[] = {-1000, -30, -22, -11, -3, -0.5, -0.0, 0.0,
                                      0.5,   3,   11,  22,  30, 1000, 1e-9, -1e-9};
    for (uint32_t row = 0; row < 2000; ++row) {
        const frbm_stream_t stream = frbm_stream(3, row, FRBM_PURPOSE_LAYER, 0);
        uint32_t words[40];
        frbm_stream_bit_words(&stream, row, 40, words);
        for (size_t k = 0; k < sizeof log_odds / sizeof *log_odds; ++k) {
            const double z = log_odds[k], rarer = floor(4294967296.0 / (1 + exp(fabs(z))));
            const double threshold = z < 0 ? rarer : 4294967296.0 - rarer;
            const uint32_t unit = row % 40, lower = words[unit] & 0xffffu;
            for (uint32_t near = 0; near < 3; ++near) { /* upper halves around the threshold's */
                const uint32_t upper = ((uint32_t)(threshold / 65536) + near - 1) & 0xffffu;
                CHECK(frbm_draw_bit(&stream, row, unit, upper, z) ==
                      ((double)(upper << 16 | lower) < threshold));
            }
        }
        int last = 0; /* the state rises with the log-odds, once */
        for (double z = -25; z < 25; z += 0.25) {
            const int bit = frbm_draw_bit(&stream, row, 9, words[9] >> 16, z);
            CHECK(bit >= last);
            last = bit;
        }
        CHECK(last == 1);
    }
}

static void permutations(void) {
    enum { N = 5, TRIALS = 60000 };
    unsigned counts[N][N] = {{0}};
    for (uint32_t t = 0; t < TRIALS; ++t) {
        const frbm_stream_t stream = frbm_stream(1, t, FRBM_PURPOSE_SHUFFLE, 0);
        uint32_t order[N];
        unsigned seen = 0;
        frbm_stream_permutation(&stream, frbm_stream_blocks, N, order);
        for (int i = 0; i < N; ++i) {
            seen |= 1u << order[i];
            ++counts[i][order[i]];
        }
        CHECK(seen == (1u << N) - 1);
    }
    /* Each place holds each number TRIALS / N times; five standard deviations of a binomial. */
    for (int i = 0; i < N; ++i)
        for (int j = 0; j < N; ++j)
            CHECK_CLOSE(counts[i][j], TRIALS / N, 5 * sqrt(TRIALS / (double)N * (1 - 1.0 / N)));
}

/* The end of the permutation, from any source of the same words. */
static void choices(void) {
    enum { N = 700 };
    const frbm_stream_t stream = frbm_stream(1, 2, FRBM_PURPOSE_SHUFFLE, 0);
    uint32_t whole[N], part[N];
    frbm_stream_permutation(&stream, frbm_stream_blocks, N, whole);
    for (uint32_t n = 0; n <= N; n += n < 8 ? 1 : 173) {
        frbm_stream_choice(&stream, frbm_stream_blocks, N, n, part);
        for (uint32_t i = N - n; i < N; ++i) CHECK(part[i] == whole[i]);
    }
    for (int level = 0; frbm_simd_level(level) != NULL; ++level) {
        frbm_exec_t exec;
        frbm_exec_init(&exec);
        CHECK(frbm_exec_set_simd(&exec, frbm_simd_level(level)) == FRBM_OK);
        for (uint32_t n = 0; n <= N; n += n < 300 ? 1 : 100) {
            frbm_stream_permutation(&stream, frbm_stream_blocks, n, whole);
            frbm_stream_permutation(&stream, exec.kernels->random_words, n, part);
            CHECK(memcmp(whole, part, n * sizeof *part) == 0);
        }
    }
}

static void normals(void) {
    /* Values of the quantile function to 17 digits. */
    CHECK_CLOSE(frbm_normal_quantile(0.025, -0.475), -1.9599639845400545, 1e-14);
    CHECK_CLOSE(frbm_normal_quantile(0.4, -0.1), -0.25334710313579978, 1e-15);
    CHECK_CLOSE(frbm_normal_quantile(1e-9, 0.5 - 1e-9), 5.9978070150076869, 1e-13);
    CHECK(frbm_normal_of_word(0) == -frbm_normal_of_word(0xffffffffu));
    CHECK_CLOSE(frbm_normal_of_word(0x7fffffffu), -2.918e-10, 1e-12);
}

int main(void) {
    known_answers();
    words_of_all_levels();
    words_of_two_state_units();
    draws_of_two_state_units();
    permutations();
    choices();
    normals();
    return 0;
}
