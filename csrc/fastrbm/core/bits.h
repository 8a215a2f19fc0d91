/* Rows of bits: unit i of a row is bit i % 64 of word i / 64; padding bits are zero. */
#ifndef FRBM_CORE_BITS_H
#define FRBM_CORE_BITS_H

#include <stddef.h>
#include <stdint.h>

static inline size_t frbm_bit_words(size_t n) { return (n + 63) / 64; }

/* The bits of a word that stand for the first n units. */
static inline uint64_t frbm_bit_mask(size_t n) {
    return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

static inline unsigned frbm_popcount(uint64_t x) {
#if defined(__GNUC__) || defined(__clang__)
    return (unsigned)__builtin_popcountll(x);
#else
    unsigned n = 0;
    for (; x; x &= x - 1) ++n;
    return n;
#endif
}

/* out[j] bit r = in[r] bit j, for columns j in [first, first + 64 n_words) of n_rows rows, where
 * first = 64 first_word. in: in_stride words a row; out: row j - first of out_stride words. */
void frbm_bits_transpose(const uint64_t *in, size_t in_stride, size_t n_rows, size_t n_cols,
                         size_t first_word, size_t n_words, uint64_t *out, size_t out_stride);

#endif
