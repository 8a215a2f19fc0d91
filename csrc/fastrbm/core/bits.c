#include "bits.h"

/* Transpose a 64 x 64 bit matrix in place by swapping blocks of 32, 16, ..., 1 (Warren, Hacker's
 * Delight, section 7-3). */
static void transpose64(uint64_t a[64]) {
    uint64_t mask = 0x00000000FFFFFFFFu;
    for (unsigned width = 32; width != 0; width >>= 1, mask ^= mask << width)
        for (unsigned k = 0; k < 64; k = (k + width + 1) & ~width) {
            const uint64_t t = ((a[k] >> width) ^ a[k + width]) & mask;
            a[k] ^= t << width;
            a[k + width] ^= t;
        }
}

void frbm_bits_transpose(const uint64_t *in, size_t in_stride, size_t n_rows, size_t n_cols,
                         size_t first_word, size_t n_words, uint64_t *out, size_t out_stride) {
    for (size_t w = first_word; w < first_word + n_words; ++w) {
        const size_t cols = n_cols - 64 * w < 64 ? n_cols - 64 * w : 64;
        for (size_t r0 = 0; r0 < n_rows; r0 += 64) {
            const size_t rows = n_rows - r0 < 64 ? n_rows - r0 : 64;
            uint64_t block[64];
            for (size_t r = 0; r < rows; ++r) block[r] = in[(r0 + r) * in_stride + w];
            for (size_t r = rows; r < 64; ++r) block[r] = 0;
            transpose64(block);
            for (size_t j = 0; j < cols; ++j)
                out[(64 * (w - first_word) + j) * out_stride + r0 / 64] = block[j];
        }
    }
}
