/* Kernels for any machine: vectors of 16 bytes, SSE2 on x86-64. The body is kernels_body.inc; here is what it needs of the level. */
#include <math.h>
#include <string.h>

#include "fastrbm/core/bits.h"
#include "fastrbm/core/numerics.h"
#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define FN(name) name##_baseline
#define LEVEL_NAME "baseline"
#define VBYTES 16
#define ROW_BLOCK 2
#define ENTRIES 1
#define vu32 vu32_baseline
#define vu64 vu64_baseline
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));
typedef uint64_t vu64 __attribute__((vector_size(VBYTES)));
typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline vu64 mul_wide_baseline(vu64 a, uint32_t m) {
#if defined(__SSE2__)
    return (vu64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(m));
#else
    return (a & 0xFFFFFFFFu) * m;
#endif
}

static inline void interleave_baseline(vu64 a, vu64 b, vu64 out[2]) {
    out[0] = (vu64){a[0], b[0]};
    out[1] = (vu64){a[1], b[1]};
}

static inline void transpose4_baseline(vu32 *a, vu32 *b, vu32 *c, vu32 *d) {
    const vu32 x = *a, y = *b, z = *c, w = *d;
    *a = (vu32){x[0], y[0], z[0], w[0]};
    *b = (vu32){x[1], y[1], z[1], w[1]};
    *c = (vu32){x[2], y[2], z[2], w[2]};
    *d = (vu32){x[3], y[3], z[3], w[3]};
}

static inline uint32_t sign_mask_f32_baseline(vf32_raw x) {
    uint32_t mask = 0;
    for (int i = 0; i < 4; ++i) mask |= ((vu32)x)[i] >> 31 << i;
    return mask;
}

static inline vf32_raw fma_f32_baseline(vf32_raw a, vf32_raw b, vf32_raw c) { return a * b + c; }
static inline vf64_raw fma_f64_baseline(vf64_raw a, vf64_raw b, vf64_raw c) { return a * b + c; }

typedef uint16_t vu16_baseline __attribute__((vector_size(VBYTES)));

static inline uint16_t narrow_one(double t) { return (uint16_t)(t < 65535 ? (int32_t)t : 65535); }
static inline vu16_baseline narrow_f32_baseline(const vf32_raw t[2]) {
    vu16_baseline out;
    for (int i = 0; i < 8; ++i) out[i] = narrow_one((double)t[i / 4][i % 4]);
    return out;
}
static inline vu16_baseline narrow_f64_baseline(const vf64_raw t[4]) {
    vu16_baseline out;
    for (int i = 0; i < 8; ++i) out[i] = narrow_one(t[i / 2][i % 2]);
    return out;
}

static inline vu16_baseline subtract_to_zero_baseline(vu16_baseline a, vu16_baseline b) {
#if defined(__SSE2__)
    return (vu16_baseline)_mm_subs_epu16((__m128i)a, (__m128i)b);
#else
    return (a - b) & (vu16_baseline)(a > b);
#endif
}
static inline uint64_t zeros_baseline(vu16_baseline a, vu16_baseline b) {
#if defined(__SSE2__)
    const __m128i zero = _mm_setzero_si128();
    return (uint32_t)_mm_movemask_epi8(
        _mm_packs_epi16(_mm_cmpeq_epi16((__m128i)a, zero), _mm_cmpeq_epi16((__m128i)b, zero)));
#else
    uint64_t mask = 0;
    for (int i = 0; i < 8; ++i)
        mask |= (uint64_t)(a[i] == 0) << i | (uint64_t)(b[i] == 0) << (i + 8);
    return mask;
#endif
}

#include "fallback.inc"
#include "kernels_body.inc"
