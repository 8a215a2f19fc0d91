"""Philox4x32-10 and the counter layout of the package.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, and
the constants of Random123's philox.h.
"""

import numpy as np

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
N_ROUNDS = 10

# What each stream of words is for. A number that changes here changes results for one seed.
PURPOSES = {
    "GIBBS_HIDDEN": 1,
    "GIBBS_VISIBLE": 2,
    "START": 3,
    "TRAIN_HIDDEN": 4,
    "TRAIN_VISIBLE": 5,
    "TRAIN_DATA": 6,
    "TRAIN_STATISTIC": 7,
    "SHUFFLE": 8,
    "CHAINS": 9,
    "WEIGHTS": 10,
    "METRIC_ROWS": 11,
    "METRIC": 12,
    "PSEUDO": 13,
    "SAMPLE_HIDDEN": 14,
    "SAMPLE_VISIBLE": 15,
    "LAYER": 16,
    "EXACT": 17,
    "EXACT_PART": 18,
}


def philox(counter, key):
    """Encrypt counters (..., 4) under one key of two 32-bit words; returns uint32 (..., 4)."""
    c0, c1, c2, c3 = (
        np.asarray(word, np.uint64) for word in np.moveaxis(np.asarray(counter), -1, 0)
    )
    k0, k1 = (int(word) for word in key)
    for _ in range(N_ROUNDS):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (product1 >> SHIFT) ^ c1 ^ np.uint64(k0),
            product1 & MASK,
            (product0 >> SHIFT) ^ c3 ^ np.uint64(k1),
            product0 & MASK,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def blocks(key, purpose, step, rows, numbers):
    """Numbered blocks of each row, uint32 (len(rows), len(numbers), 4). purpose: a name.

    Counter = (block, row, low 32 bits of the step, purpose | high bits of the step << 8).
    """
    counter = np.empty((len(rows), len(numbers), 4), np.uint64)
    counter[..., 0] = numbers
    counter[..., 1] = np.asarray(rows, np.uint64)[:, None]
    counter[..., 2] = step & 0xFFFFFFFF
    counter[..., 3] = PURPOSES[purpose] | (step >> 32) << 8
    return philox(counter, (key & 0xFFFFFFFF, key >> 32))


def words(key, purpose, step, rows, n):
    """The words of units 0..n-1 of each row, uint32 (len(rows), n): word j & 3 of block j >> 2."""
    whole = blocks(key, purpose, step, rows, np.arange(-(-n // 4)))
    return whole.reshape(len(rows), -1)[:, :n]


def bit_words(key, purpose, step, rows, n):
    """The words of two-state units 0..n-1 of each row, uint32 (len(rows), n), of two halves each.

    Unit j has half j & 1 (0 is the lower) of word j >> 1 & 3 of block j >> 3 as the upper half of
    its word, and the same place of block (j >> 3) + 2^31 as the lower half.
    """
    numbers = np.arange(-(-n // 8))
    upper, lower = (
        blocks(key, purpose, step, rows, numbers + first)[..., None] >> np.uint32([0, 16]) & 0xFFFF
        for first in (0, 2**31)
    )
    return (upper << 16 | lower).reshape(len(rows), -1)[:, :n]


def below(word_pairs, n):
    """floor(r n / 2^64) for 64-bit numbers r given as (low, high) words: (...,) of int."""
    pairs = np.asarray(word_pairs, np.uint64)
    return [(int(high) << 32 | int(low)) * n >> 64 for low, high in pairs.reshape(-1, 2)]


def permutation(key, purpose, step, n):
    """A random order of 0..n-1: Fisher-Yates from the end, 64 bits a swap."""
    order = list(range(n))
    random = words(key, purpose, step, [0], 2 * n)[0].reshape(-1, 2)
    for pair, i in zip(random, range(n, 1, -1), strict=False):
        (j,) = below(pair, i)
        order[i - 1], order[j] = order[j], order[i - 1]
    return np.array(order)
