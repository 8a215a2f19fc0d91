/* Words, normals, indices and permutations from a Philox stream, one block at a time. */
#include "rng.h"

#include <math.h>
#include <string.h>

#include "numerics.h"

void frbm_rng_init(frbm_rng_t *rng, uint64_t key, uint32_t first_chain) {
    rng->key = key;
    rng->step = 0;
    rng->first_chain = first_chain;
}

uint32_t frbm_stream_index(const frbm_stream_t *s, uint32_t row, uint32_t n) {
    const frbm_philox_block words = frbm_stream_block(s, row, 0);
    return frbm_below(words.c[0], words.c[1], n);
}

void frbm_stream_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 4) {
        const frbm_philox_block block = frbm_stream_block(s, row, (uint32_t)(i / 4));
        for (size_t q = 0; q < 4 && i + q < n; ++q) words[i + q] = block.c[q];
    }
}

void frbm_stream_bit_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words) {
    for (size_t i = 0; i < n; i += 8) {
        const uint32_t b = (uint32_t)(i / 8);
        const frbm_philox_block upper = frbm_stream_block(s, row, b),
                                lower = frbm_stream_block(s, row, b | FRBM_LOWER_HALVES);
        for (uint32_t q = 0; q < 8 && i + q < n; ++q)
            words[i + q] = frbm_half(&upper, q) << 16 | frbm_half(&lower, q);
    }
}

int frbm_draw_bit(const frbm_stream_t *s, uint32_t row, uint32_t unit, uint32_t upper, double z) {
    const frbm_philox_block lower = frbm_stream_block(s, row, unit / 8 | FRBM_LOWER_HALVES);
    const uint32_t word = upper << 16 | frbm_half(&lower, unit % 8);
    const double rare = floor(4294967296.0 / (1 + exp(fabs(z))));
    return z < 0 ? (double)word < rare : !((double)(word ^ 0xFFFFFFFFu) < rare);
}

void frbm_stream_normals(const frbm_stream_t *s, size_t n, int dtype, void *out) {
    for (size_t i = 0; i < n; i += 4) {
        const frbm_philox_block block = frbm_stream_block(s, 0, (uint32_t)(i / 4));
        for (size_t q = 0; q < 4 && i + q < n; ++q) {
            const double z = frbm_normal_of_word(block.c[q]);
            if (dtype == FRBM_FLOAT32)
                ((float *)out)[i + q] = (float)z;
            else
                ((double *)out)[i + q] = z;
        }
    }
}

void frbm_stream_blocks(const frbm_stream_t *s, uint32_t first_row, size_t n_rows,
                        uint32_t first_block, size_t n_blocks, uint32_t *words) {
    for (size_t r = 0; r < n_rows; ++r)
        for (size_t b = 0; b < n_blocks; ++b, words += 4) {
            const frbm_philox_block block =
                frbm_stream_block(s, first_row + (uint32_t)r, first_block + (uint32_t)b);
            memcpy(words, block.c, sizeof block.c);
        }
}

void frbm_stream_choice(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                        uint32_t n_chosen, uint32_t *order) {
    enum { BLOCKS = 64 };
    uint32_t words[4 * BLOCKS + FRBM_WORDS_SLACK];
    for (uint32_t i = 0; i < n; ++i) order[i] = i;
    /* Each step takes 64 bits, half a block. */
    for (size_t done = 0; done < n_chosen; done += 2 * BLOCKS) {
        const size_t steps = n_chosen - done < 2 * BLOCKS ? n_chosen - done : 2 * BLOCKS;
        blocks(s, 0, 1, (uint32_t)(done / 2), (steps + 1) / 2, words);
        for (size_t q = 0; q < steps; ++q) {
            const uint32_t last = n - (uint32_t)(done + q) - 1;
            const uint32_t j = frbm_below(words[2 * q], words[2 * q + 1], last + 1);
            const uint32_t swap = order[last];
            order[last] = order[j];
            order[j] = swap;
        }
    }
}

void frbm_stream_permutation(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                             uint32_t *order) {
    frbm_stream_choice(s, blocks, n, n > 0 ? n - 1 : 0, order); /* the first has its place then */
}
