/* Scalar special functions in double precision. */
#ifndef FRBM_CORE_NUMERICS_H
#define FRBM_CORE_NUMERICS_H

#include <stdint.h>

#define FRBM_LOG_2PI 1.8378770664093454836

/* Inverse of the standard normal distribution function: Wichura, Algorithm AS 241 (PPND16),
 * Applied Statistics 37 (1988) 477; relative error about 1e-16. tail is min(u, 1 - u) in
 * (0, 1/2] and centre is u - 1/2, given apart so that neither loses digits. */
double frbm_normal_quantile(double tail, double centre);

/* The quantile of (word + 1/2) / 2^32. */
double frbm_normal_of_word(uint32_t word);

#endif
