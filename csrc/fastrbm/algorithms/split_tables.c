/* The tables of a split product, made anew for every call from the model as it is then. */
#include "split.h"

/* t_kj = scale W_kj as two doubles. */
static frbm_twofold_t coupling(const struct frbm_split_buffers *b, double scale, size_t k,
                               size_t j) {
    return frbm_twofold_product(b->weights[k * b->ldm + j], scale);
}

static void widen(const frbm_layer_t *layer, int dtype, frbm_layer_t *out,
                  double *const parameters[FRBM_MAX_PARAMETERS]) {
    *out = *layer;
    for (int p = 0; p < frbm_unit(layer->unit)->n_parameters; ++p) {
        for (size_t i = 0; i < layer->n; ++i) parameters[p][i] = frbm_parameter(layer, dtype, p, i);
        out->parameters[p] = parameters[p];
    }
}

static void read_model(const frbm_split_t *split) {
    struct frbm_split_buffers *b = split->buffers;
    const frbm_rbm_t *rbm = &split->rbm;
    widen(frbm_rbm_layer(rbm, split->side), rbm->dtype, &b->enumerated, b->parameters[0]);
    widen(frbm_rbm_layer(rbm, 1 - split->side), rbm->dtype, &b->other, b->parameters[1]);
    const size_t by_unit = split->side == FRBM_VISIBLE ? rbm->hidden.n : 1;
    const size_t by_other = split->side == FRBM_VISIBLE ? 1 : rbm->hidden.n;
    for (size_t k = 0; k < b->n; ++k)
        for (size_t j = 0; j < b->m; ++j)
            b->weights[k * b->ldm + j] =
                frbm_real_get(rbm->weights, rbm->dtype, k * by_unit + j * by_other);
}

/* Least and largest t of one unit over the rows, its constant included, and over the lanes. */
typedef struct {
    frbm_twofold_t constant, row_min, row_max, lane_min, lane_max;
} span_t;

static span_t span_of(const struct frbm_split_buffers *b, double scale, double low_scale, size_t j,
                      double bias_scale) {
    span_t s;
    memset(&s, 0, sizeof s);
    s.constant = frbm_twofold_product(b->parameters[1][0][j], bias_scale);
    for (size_t k = 0; low_scale != 0 && k < b->n; ++k)
        s.constant = frbm_twofold_add(s.constant, coupling(b, low_scale, k, j));
    s.row_min = s.row_max = s.constant;
    for (size_t k = 0; k < b->n; ++k) {
        const frbm_twofold_t t = coupling(b, scale, k, j);
        frbm_twofold_t *end = k < b->lane_bits ? (t.hi < 0 ? &s.lane_min : &s.lane_max)
                                               : (t.hi < 0 ? &s.row_min : &s.row_max);
        *end = frbm_twofold_add(*end, t);
    }
    return s;
}

static double positive(double x) { return x > 0 ? x : 0; }

/* Tables of one narrow unit in column j. */
static void add_narrow(struct frbm_split_buffers *b, double scale, size_t unit, const span_t *s,
                       double shift) {
    const size_t j = b->n_narrow++, ldu = b->ldu;
    double lanes[FRBM_SPLIT_MAX_LANES];
    b->unit[j] = (uint32_t)unit;
    b->best[j] =
        frbm_twofold_exp(frbm_twofold_add(frbm_twofold_negative(s->row_min), frbm_twofold(-shift)));
    lanes[0] = frbm_twofold_exp(frbm_twofold_add(s->lane_max, frbm_twofold(-shift)));
    for (size_t k = 0; k < b->n; ++k) {
        frbm_twofold_t t = coupling(b, scale, k, unit);
        const int is_negative = t.hi < 0;
        if (!is_negative) t = frbm_twofold_negative(t);
        const double e = frbm_twofold_exp(t);
        if (k < b->lane_bits) {
            const double at_0 = is_negative ? 1 : e, at_1 = is_negative ? e : 1;
            const size_t half = (size_t)1 << k;
            for (size_t l = 0; l < half; ++l) {
                lanes[half + l] = lanes[l] * at_1;
                lanes[l] *= at_0;
            }
        } else {
            double *factors = b->bit_factors + 2 * (k - b->lane_bits) * ldu + j;
            factors[0] = is_negative ? e : 1;
            factors[ldu] = is_negative ? 1 : e; /* u falls as t grows */
        }
    }
    /* Lanes that do not exist repeat those that do. */
    const size_t exist = ((size_t)1 << b->lane_bits) - 1;
    for (size_t l = 0; l < b->n_lanes; ++l) {
        const double y = lanes[l & exist];
        b->y[l / FRBM_FACTOR_LANES * frbm_split_stride(b) + j * FRBM_FACTOR_LANES +
             l % FRBM_FACTOR_LANES] = y > FRBM_FACTOR_TINY ? y : 0;
    }
}

static void add_wide(struct frbm_split_buffers *b, double scale, size_t unit, const span_t *s) {
    const size_t j = b->n_wide++, exist = ((size_t)1 << b->lane_bits) - 1;
    frbm_scaled_t lanes[FRBM_SPLIT_MAX_LANES] = {{1, 0}};
    const frbm_scaled_t base = frbm_twofold_exp_scaled(frbm_twofold_negative(s->constant));
    b->wide_unit[j] = (uint32_t)unit;
    b->wide_u[j] = base.mantissa;
    b->wide_ku[j] = base.exponent;
    for (size_t k = 0; k < b->n; ++k) {
        const frbm_twofold_t t = coupling(b, scale, k, unit);
        if (k < b->lane_bits) {
            const frbm_scaled_t e = frbm_twofold_exp_scaled(t);
            const size_t half = (size_t)1 << k;
            for (size_t l = 0; l < half; ++l) {
                lanes[half + l].mantissa = lanes[l].mantissa * e.mantissa;
                lanes[half + l].exponent = lanes[l].exponent + e.exponent;
            }
        } else {
            const frbm_scaled_t e = frbm_twofold_exp_scaled(frbm_twofold_negative(t));
            b->wide_bits[(k - b->lane_bits) * b->ldu + j] = e.mantissa;
            b->wide_kbits[(k - b->lane_bits) * b->ldu + j] = e.exponent;
        }
    }
    for (size_t l = 0; l < b->n_lanes; ++l) {
        const size_t at = l / FRBM_FACTOR_LANES * frbm_split_wide_stride(b) +
                          j * FRBM_FACTOR_LANES + l % FRBM_FACTOR_LANES;
        b->wide_y[at] = lanes[l & exist].mantissa;
        b->wide_ky[at] = lanes[l & exist].exponent;
    }
}

/* The factors of the lanes alone, as mantissas and exponents and as plain numbers. */
static void make_start(struct frbm_split_buffers *b) {
    double least = 0, most = 0;
    b->start[0] = 1;
    b->start_exponents[0] = 0;
    for (size_t k = 0; k < b->lane_bits; ++k) {
        const size_t half = (size_t)1 << k;
        for (size_t l = 0; l < half; ++l) {
            b->start[half + l] = b->start[l] * b->linear[k].mantissa;
            b->start_exponents[half + l] = b->start_exponents[l] + b->linear[k].exponent;
        }
        if (b->linear[k].exponent < 0)
            least += b->linear[k].exponent;
        else
            most += b->linear[k].exponent;
    }
    b->direct_shift = rint((least + most) / 2);
    for (size_t l = 0; l < b->n_lanes; ++l) {
        if (l >= (size_t)1 << b->lane_bits) {
            b->start[l] = 1;
            b->start_exponents[l] = FRBM_SPLIT_NOTHING;
        }
        const double k = b->start_exponents[l] - b->direct_shift;
        b->direct[l] = k > 1000 ? 0 : b->start[l] * frbm_power_of_two(k);
    }
}

size_t frbm_split_cut(const struct frbm_split_buffers *b, size_t n_columns, size_t most,
                      double range, uint32_t *blocks) {
    size_t n_blocks = 0, begin = 0;
    double sum = 0;
    for (size_t j = 0; j < n_columns; ++j) {
        const double width = j < b->n_narrow ? b->half_width[j] : 0;
        if (j > begin && (sum + width > range || j - begin == most)) {
            blocks[n_blocks++] = (uint32_t)j;
            begin = j;
            sum = 0;
        }
        sum += width;
    }
    if (n_columns > 0) blocks[n_blocks++] = (uint32_t)n_columns;
    return n_blocks;
}

/* The column after the narrow units, whose factor is 1 everywhere, and the padding after it. */
static void end_columns(struct frbm_split_buffers *b) {
    const size_t j = b->n_narrow;
    for (size_t p = 0; p < b->n_panels; ++p)
        for (size_t l = 0; l < FRBM_FACTOR_LANES; ++l)
            b->y[p * frbm_split_stride(b) + j * FRBM_FACTOR_LANES + l] = 1;
    for (size_t i = j; i < frbm_split_columns(j); ++i) {
        b->best[i] = 0;
        for (size_t k = 0; k < 2 * b->row_bits; ++k) b->bit_factors[k * b->ldu + i] = 1;
    }
    for (size_t r = 0; r < FRBM_FACTOR_ROWS; ++r)
        for (size_t i = 0; i < frbm_split_columns(j); ++i) {
            double factor = 1;
            for (size_t k = 0; k < 2 && k < b->row_bits; ++k)
                factor *= b->bit_factors[(2 * k + (r >> k & 1)) * b->ldu + i];
            b->low_factors[r * b->ldu + i] = factor;
        }
}

/* Returns the sum of all |exponents| that occur: an upper bound of any log-weight's size. */
static double make_factors(struct frbm_split_buffers *b, double beta) {
    const frbm_unit_t *x = frbm_unit(b->enumerated.unit), *y = frbm_unit(b->other.unit);
    const double bias_scale = beta * (y->high - y->low), scale = bias_scale * (x->high - x->low);
    const double low_scale = bias_scale * x->low, share = y->low / (y->high - y->low);
    const double negligible = FRBM_SPLIT_NEGLIGIBLE / (double)b->m, limit = log(negligible);
    const double steps = (double)(b->lane_bits > b->row_bits ? b->lane_bits : b->row_bits) + 5;
    frbm_twofold_t linear[FRBM_SPLIT_MAX_UNITS];
    double size = 0;

    b->constant = frbm_twofold(0);
    for (size_t k = 0; k < b->n; ++k) {
        const double bias = b->parameters[0][0][k];
        linear[k] = frbm_twofold_product(bias, beta * (x->high - x->low));
        if (x->low != 0)
            b->constant = frbm_twofold_add(b->constant, frbm_twofold_product(bias, beta * x->low));
    }
    b->n_narrow = b->n_wide = 0;
    b->error = b->width = 0;
    for (size_t j = 0; j < b->m; ++j) {
        const span_t s = span_of(b, scale, low_scale, j, bias_scale);
        const double least = s.row_min.hi + s.lane_min.hi, most = s.row_max.hi + s.lane_max.hi;
        /* how often t_j is in the linear exponents: of lanes and constant, and of rows */
        double lane_share = share, row_share = share;
        frbm_twofold_t constant = frbm_twofold_times(s.constant, share);
        size += fabs(s.constant.hi) + (most - least);
        if (most <= limit) {
            b->kind[j] = FRBM_SPLIT_OFF;
        } else if (least >= -limit) {
            b->kind[j] = FRBM_SPLIT_ON;
            lane_share = row_share = share + 1;
            constant = frbm_twofold_times(s.constant, share + 1);
        } else if (most - least <= negligible) {
            const double t = s.constant.hi;
            b->kind[j] = FRBM_SPLIT_CONSTANT;
            b->constant_mean[j] = 1 / (1 + exp(-t));
            constant = frbm_twofold_add(constant, frbm_twofold(positive(t) + log1p(exp(-fabs(t)))));
            b->error += 2 * 0x1p-53 * (positive(t) + 1);
        } else {
            /* log(u + y) without the shift lies in [floor, ceiling] */
            const double floor = -s.row_max.hi + positive(s.row_max.hi + s.lane_min.hi);
            const double ceiling =
                -s.row_min.hi + positive(s.row_min.hi + s.lane_max.hi) + 0.6931471805599453;
            const double half = (ceiling - floor) / 2, shift = (ceiling + floor) / 2;
            b->kind[j] = FRBM_SPLIT_ACTIVE;
            row_share = share + 1;
            constant = frbm_twofold_times(s.constant, share + 1);
            if (half <= FRBM_SPLIT_REACH) {
                constant = frbm_twofold_add(constant, frbm_twofold(shift));
                b->half_width[b->n_narrow] = half;
                b->width += half;
                add_narrow(b, scale, j, &s, shift);
            } else {
                add_wide(b, scale, j, &s);
            }
            b->error += steps * 0x1p-53;
        }
        b->error += negligible;
        b->constant = frbm_twofold_add(b->constant, constant);
        for (size_t k = 0; k < b->n; ++k) {
            const double times = k < b->lane_bits ? lane_share : row_share;
            if (times != 0)
                linear[k] = frbm_twofold_add(
                    linear[k], frbm_twofold_product(b->weights[k * b->ldm + j], scale * times));
        }
    }
    for (size_t k = 0; k < b->n; ++k) {
        b->linear[k] = frbm_twofold_exp_scaled(linear[k]);
        b->reach[k] = fabs(linear[k].hi);
        size += b->reach[k];
    }
    return size + fabs(b->constant.hi);
}

int frbm_split_prepare(frbm_split_t *split, double beta, const frbm_kernels_t *kernels) {
    struct frbm_split_buffers *b = split->buffers;
    const int rc = frbm_rbm_check(&split->rbm);
    if (rc < 0) return rc;
    if (frbm_rbm_check_beta(&split->rbm, beta) < 0) return FRBM_ERROR_BETA;
    read_model(split);
    if (!b->is_factored) {
        double largest;
        b->error = frbm_split_states_error(b, kernels, beta, &largest);
        return largest <= FRBM_SPLIT_LARGEST ? FRBM_OK : FRBM_ERROR_RANGE;
    }
    if (!(make_factors(b, beta) <= FRBM_SPLIT_LARGEST)) return FRBM_ERROR_RANGE;
    end_columns(b);
    make_start(b);
    double lanes = 0;
    for (size_t k = 0; k < b->lane_bits; ++k) lanes += b->reach[k];
    b->is_direct = b->n_wide == 0 && b->width + lanes / 2 <= FRBM_SPLIT_RANGE;
    b->n_blocks = frbm_split_cut(b, b->n_narrow, b->m, FRBM_SPLIT_RANGE, b->blocks);
    b->error += (double)(b->n + FRBM_SPLIT_SUM_STEPS) * 0x1p-53;
    return FRBM_OK;
}
