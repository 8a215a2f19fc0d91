/*
 * Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011. Its output is a pure function of key and counter:
 *
 *     counter = (block, row, step low, purpose | step high << 8),    key = (low, high)
 *
 * row is the global id of a chain, or the row of an array; step counts sweeps, updates or epochs
 * (56 bits); block b holds the words of units 4b .. 4b + 3, or half words of two-state units 8b .. 8b + 7
 * (frbm_draw_bit). No two uses may share a purpose unless
 * their steps or rows differ: this list is the whole allocation (docs/random_numbers.md shows it).
 */
#ifndef FRBM_CORE_RNG_H
#define FRBM_CORE_RNG_H

#include <stdint.h>

#include "fastrbm.h"

enum frbm_purpose {
    FRBM_PURPOSE_GIBBS_HIDDEN = 1,    /* h given v in sampling; step: sweep */
    FRBM_PURPOSE_GIBBS_VISIBLE = 2,   /* v given h in sampling; step: sweep */
    FRBM_PURPOSE_START = 3,           /* chains that start from the visible biases */
    FRBM_PURPOSE_TRAIN_HIDDEN = 4,    /* h given v in training; step: sweep of the whole run */
    FRBM_PURPOSE_TRAIN_VISIBLE = 5,   /* v given h in training; step: sweep of the whole run */
    FRBM_PURPOSE_TRAIN_DATA = 6,      /* v drawn from a row of probabilities; step: update */
    FRBM_PURPOSE_TRAIN_STATISTIC = 7, /* h of the model term, statistics="samples"; step: update */
    FRBM_PURPOSE_SHUFFLE = 8,         /* order of the rows; step: epoch */
    FRBM_PURPOSE_CHAINS = 9,          /* data rows that persistent chains start from */
    FRBM_PURPOSE_WEIGHTS = 10,        /* initial weights */
    FRBM_PURPOSE_METRIC_ROWS = 11,    /* the rows that metrics are measured on */
    FRBM_PURPOSE_METRIC = 12,         /* hidden units of the reconstruction error; step: epoch */
    FRBM_PURPOSE_PSEUDO = 13,         /* the random unit of a pseudo-likelihood; step: epoch */
    FRBM_PURPOSE_SAMPLE_HIDDEN = 14,  /* rbm.sample_hidden */
    FRBM_PURPOSE_SAMPLE_VISIBLE = 15, /* rbm.sample_visible */
    FRBM_PURPOSE_LAYER = 16,          /* layer.sample */
    FRBM_PURPOSE_EXACT = 17,          /* exact_sample: the states of what is enumerated */
    FRBM_PURPOSE_EXACT_PART = 18      /* exact_sample: keys of a model's independent parts */
};

typedef struct {
    uint32_t c[4];
} frbm_philox_block;

static inline frbm_philox_block frbm_philox(frbm_philox_block x, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * x.c[0];
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * x.c[2];
        const frbm_philox_block y = {{(uint32_t)(p1 >> 32) ^ x.c[1] ^ k0, (uint32_t)p1,
                                      (uint32_t)(p0 >> 32) ^ x.c[3] ^ k1, (uint32_t)p0}};
        x = y;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return x;
}

/* The stream of one use: everything of the counter but block and row. */
typedef struct {
    uint32_t key[2];
    uint32_t step, purpose; /* words 2 and 3 of the counter */
    uint32_t first_row;
} frbm_stream_t;

static inline frbm_stream_t frbm_stream(uint64_t key, uint64_t step, enum frbm_purpose purpose,
                                        uint32_t first_row) {
    const frbm_stream_t s = {{(uint32_t)key, (uint32_t)(key >> 32)},
                             (uint32_t)step,
                             (uint32_t)purpose | (uint32_t)(step >> 32) << 8,
                             first_row};
    return s;
}

static inline frbm_philox_block frbm_stream_block(const frbm_stream_t *s, uint32_t row,
                                                  uint32_t block) {
    const frbm_philox_block counter = {{block, s->first_row + row, s->step, s->purpose}};
    return frbm_philox(counter, s->key[0], s->key[1]);
}

/* floor(r n / 2^64) for a 64-bit r and n < 2^32: uniform to 2^-32 relative. */
static inline uint32_t frbm_below(uint32_t low, uint32_t high, uint32_t n) {
    return (uint32_t)(((uint64_t)high * n + (((uint64_t)low * n) >> 32)) >> 32);
}

/* A uniform index below n for one (row, block 0) of a stream. */
uint32_t frbm_stream_index(const frbm_stream_t *s, uint32_t row, uint32_t n);

/* Words of units 0 .. n - 1 of a row. */
void frbm_stream_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words);

/*
 * The draw of a two-state unit with log-odds z. Its word is made of two halves, as the upper one nearly always
 * decides: eight units share a block, unit 8 b + i taking half i % 2 of word i / 2 of block b for its upper
 * half, and of block b + 2^31 for its lower half. The unit is high where
 *
 *     word < floor(2^32 sigmoid(z)) for z < 0,     not (2^32 - 1 - word < floor(2^32 sigmoid(-z))) for z >= 0,
 *
 * so that the rarer state has its small probability to 2^-32, and 0 if that is 0.
 */
#define FRBM_LOWER_HALVES 0x80000000u

/* Half of a word: i of the eight units of a block. */
static inline uint32_t frbm_half(const frbm_philox_block *block, uint32_t i) {
    return block->c[i / 2] >> 16 * (i % 2) & 0xFFFFu;
}

/* The draw, the upper half of the word being given. */
int frbm_draw_bit(const frbm_stream_t *s, uint32_t row, uint32_t unit, uint32_t upper, double z);

/* The whole words of units 0 .. n - 1 of a row, upper halves first. */
void frbm_stream_bit_words(const frbm_stream_t *s, uint32_t row, size_t n, uint32_t *words);

/* n standard normals by inversion, from the words of row 0; dtype FRBM_FLOAT32 or FRBM_FLOAT64. */
void frbm_stream_normals(const frbm_stream_t *s, size_t n, int dtype, void *out);

/* Words of blocks first_block .. first_block + n_blocks of consecutive rows, n_rows x 4 n_blocks. Such a function may
 * overwrite FRBM_WORDS_SLACK words after them, since whole vectors are stored; the kernels have faster ones,
 * for n_rows n_blocks^2 < 2^32. */
#define FRBM_WORDS_SLACK 64
typedef void frbm_blocks_t(const frbm_stream_t *s, uint32_t first_row, size_t n_rows,
                           uint32_t first_block, size_t n_blocks, uint32_t *words);
frbm_blocks_t frbm_stream_blocks;

/* A uniformly random order of 0 .. n - 1 (Fisher-Yates, from the end). */
void frbm_stream_permutation(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                             uint32_t *order);

/* The same as far as the last n_chosen <= n of them: different numbers in random order. */
void frbm_stream_choice(const frbm_stream_t *s, frbm_blocks_t *blocks, uint32_t n,
                        uint32_t n_chosen, uint32_t *order);

#endif
