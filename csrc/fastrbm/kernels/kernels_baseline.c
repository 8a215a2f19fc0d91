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
typedef uint32_t vu32 __attribute__((vector_size(VBYTES)));
typedef float vf32_raw __attribute__((vector_size(VBYTES)));
typedef double vf64_raw __attribute__((vector_size(VBYTES)));

static inline void mul_hi_lo_baseline(vu32 a, uint32_t m, vu32 *hi, vu32 *lo) {
#if defined(__SSE2__)
    const __m128i x = (__m128i)a, factor = _mm_set1_epi64x(m), low = _mm_set1_epi64x(0xFFFFFFFF);
    const __m128i even = _mm_mul_epu32(x, factor);
    const __m128i odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), factor);
    *lo = (vu32)_mm_or_si128(_mm_and_si128(even, low), _mm_slli_epi64(odd, 32));
    *hi = (vu32)_mm_or_si128(_mm_srli_epi64(even, 32), _mm_andnot_si128(low, odd));
#else
    for (int i = 0; i < 4; ++i) {
        const uint64_t product = (uint64_t)m * a[i];
        (*hi)[i] = (uint32_t)(product >> 32);
        (*lo)[i] = (uint32_t)product;
    }
#endif
}

static inline void transpose4_baseline(vu32 *a, vu32 *b, vu32 *c, vu32 *d) {
    const vu32 x = *a, y = *b, z = *c, w = *d;
    *a = (vu32){x[0], y[0], z[0], w[0]};
    *b = (vu32){x[1], y[1], z[1], w[1]};
    *c = (vu32){x[2], y[2], z[2], w[2]};
    *d = (vu32){x[3], y[3], z[3], w[3]};
}

static inline uint32_t less_mask_baseline(vu32 a, vu32 b) {
    uint32_t mask = 0;
    for (int i = 0; i < 4; ++i) mask |= (uint32_t)(a[i] < b[i]) << i;
    return mask;
}

static inline uint32_t sign_mask_f32_baseline(vf32_raw x) {
    uint32_t mask = 0;
    for (int i = 0; i < 4; ++i) mask |= ((vu32)x)[i] >> 31 << i;
    return mask;
}
static inline uint32_t sign_mask_f64_baseline(vf64_raw x) {
    uint32_t mask = 0;
    for (int i = 0; i < 2; ++i) mask |= (uint32_t)(signbit(x[i]) != 0) << i;
    return mask;
}

static inline vf32_raw fma_f32_baseline(vf32_raw a, vf32_raw b, vf32_raw c) { return a * b + c; }
static inline vf64_raw fma_f64_baseline(vf64_raw a, vf64_raw b, vf64_raw c) { return a * b + c; }

static inline void store_thresholds_f32_baseline(vf32_raw t, uint32_t *out) {
    for (int i = 0; i < 4; ++i) out[i] = (uint32_t)t[i];
}
static inline void store_thresholds_f64_baseline(vf64_raw t, uint32_t *out) {
    for (int i = 0; i < 2; ++i) out[i] = (uint32_t)t[i];
}

#include "fallback.inc"
#include "kernels_body.inc"
