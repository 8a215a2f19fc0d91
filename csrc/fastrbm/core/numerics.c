#include "numerics.h"

#include <math.h>

static double ratio(const double *num, const double *den, double r) {
    double p = num[7], q = den[7];
    for (int i = 6; i >= 0; --i) {
        p = p * r + num[i];
        q = q * r + den[i];
    }
    return p / q;
}

double frbm_normal_quantile(double tail, double centre) {
    /* |u - 1/2| <= 0.425 */
    static const double a[8] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                                1.9715909503065514427e+3, 1.3731693765509461125e+4,
                                4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double b[8] = {1.0,
                                4.2313330701600911252e+1,
                                6.8718700749205790830e+2,
                                5.3941960214247511077e+3,
                                2.1213794301586595867e+4,
                                3.9307895800092710610e+4,
                                2.8729085735721942674e+4,
                                5.2264952788528545610e+3};
    /* sqrt(-log tail) <= 5 */
    static const double c[8] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                                5.76949722146069140550e0,  3.64784832476320460504e0,
                                1.27045825245236838258e0,  2.41780725177450611770e-1,
                                2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double d[8] = {1.0,
                                2.05319162663775882187e0,
                                1.67638483018380384940e0,
                                6.89767334985100004550e-1,
                                1.48103976427480074590e-1,
                                1.51986665636164571966e-2,
                                5.47593808499534494600e-4,
                                1.05075007164441684324e-9};
    double z;
    if (fabs(centre) <= 0.425) return centre * ratio(a, b, 0.180625 - centre * centre);
    /* Tails below exp(-25) = 1.4e-11 do not occur with 32-bit words (smallest: 2^-33). */
    z = ratio(c, d, sqrt(-log(tail)) - 1.6);
    return centre < 0 ? -z : z;
}

double frbm_normal_of_word(uint32_t word) {
    const uint32_t mirrored = word >> 31 ? ~word : word;
    return frbm_normal_quantile(((double)mirrored + 0.5) * 0x1p-32,
                                ((double)word + 0.5) * 0x1p-32 - 0.5);
}
