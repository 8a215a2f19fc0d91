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

#endif
