/*
 * Numbers as unevaluated sums of two doubles, for set-up work whose rounding must not show: about
 * 106 bits (Dekker, Numerische Mathematik 18 (1971) 224; Knuth, TAOCP 2, section 4.2.2), and
 * exponentials of any size as mantissa times a power of two.
 *
 * Sums keep their order here: no option that lets a compiler reassociate may be used.
 */
#ifndef FRBM_CORE_TWOFOLD_H
#define FRBM_CORE_TWOFOLD_H

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    double hi, lo;
} frbm_twofold_t;

static inline frbm_twofold_t frbm_twofold(double x) {
    const frbm_twofold_t t = {x, 0};
    return t;
}

static inline frbm_twofold_t frbm_twofold_normal(double hi, double lo) {
    const double sum = hi + lo;
    const frbm_twofold_t t = {sum, lo - (sum - hi)};
    return t;
}

static inline frbm_twofold_t frbm_twofold_add(frbm_twofold_t a, frbm_twofold_t b) {
    const double sum = a.hi + b.hi, part = sum - a.hi;
    const double rest = (a.hi - (sum - part)) + (b.hi - part);
    return frbm_twofold_normal(sum, rest + (a.lo + b.lo));
}

/* a times b, exactly but for underflow. */
static inline frbm_twofold_t frbm_twofold_product(double a, double b) {
    const double hi = a * b;
    const frbm_twofold_t t = {hi, fma(a, b, -hi)};
    return t;
}

static inline frbm_twofold_t frbm_twofold_times(frbm_twofold_t a, double b) {
    const frbm_twofold_t t = frbm_twofold_product(a.hi, b);
    return frbm_twofold_normal(t.hi, t.lo + a.lo * b);
}

static inline frbm_twofold_t frbm_twofold_negative(frbm_twofold_t a) {
    const frbm_twofold_t t = {-a.hi, -a.lo};
    return t;
}

static inline double frbm_twofold_exp(frbm_twofold_t a) {
    const double e = exp(a.hi);
    return e + e * a.lo;
}

/* 2^k, for integers k from -1022 to 1023; 0 below. */
static inline double frbm_power_of_two(double k) {
    const uint64_t bits = k < -1022 ? 0 : (uint64_t)((int64_t)k + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* mantissa 2^exponent: mantissas from 1/2 to 2, exponents any integer that a double holds. */
typedef struct {
    double mantissa, exponent;
} frbm_scaled_t;

/* exp(a). ln 2 comes in pieces of 32 bits, so that the first products are exact (Cody and Waite,
 * Software Manual for the Elementary Functions, 1980). */
static inline frbm_scaled_t frbm_twofold_exp_scaled(frbm_twofold_t a) {
    const double k = rint(a.hi * 1.4426950408889634074);
    double r = fma(-k, 0x1.62e42feep-1, a.hi);
    r = fma(-k, 0x1.a39ef356p-33, r);
    r = fma(-k, 0x1.93c7673007e5fp-65, r) + a.lo;
    const frbm_scaled_t s = {exp(r), k};
    return s;
}

/* k ln 2, for integers k. */
static inline frbm_twofold_t frbm_twofold_ln2_times(double k) {
    const frbm_twofold_t ln2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
    return frbm_twofold_times(ln2, k);
}

#endif
