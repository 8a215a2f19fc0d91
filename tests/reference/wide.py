"""Numbers wider than float64, for oracles: np.longdouble or pairs of float64, by one interface.

`EXTENDED` is np.longdouble where its significand has at least 64 bits (x86: 64, aarch64 Linux:
113); `PAIRS` is double-double arithmetic in NumPy, with about 104 bits everywhere: Dekker, "A
floating-point technique for extending the available precision", 1971, and Knuth's two-sum.
`WIDE` is the one that oracles use here. Both offer

    array(float64 array)  exp  log  sum(a, axis)  where  concatenate  to_float  to_mpmath
    and + - * / [ ],

so that a formula is written once and runs in either.
"""

import mpmath
import numpy as np

# log 2 in three float64: the reduction of exp must not lose what the argument still has.
LN2 = (0.6931471805599453, 2.3190468138462996e-17, 5.707708438416212e-34)


def _two_sum(a, b):
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _quick_two_sum(a, b):  # |a| >= |b|
    s = a + b
    return s, b - (s - a)


def _split(a):
    t = 134217729.0 * a  # 2^27 + 1
    high = t - (t - a)
    return high, a - high


def _two_product(a, b):
    p = a * b
    (ah, al), (bh, bl) = _split(a), _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


class Pair:
    """An array of unevaluated sums high + low of float64 with |low| <= ulp(high) / 2."""

    __array_ufunc__ = None  # np.float64 * Pair is Pair.__rmul__

    def __init__(self, high, low=None):
        self.high = np.asarray(high, np.float64)
        self.low = np.zeros_like(self.high) if low is None else low

    @property
    def shape(self):
        return self.high.shape

    @property
    def T(self):
        return Pair(self.high.T, self.low.T)

    def __len__(self):
        return len(self.high)

    def __getitem__(self, key):
        return Pair(self.high[key], self.low[key])

    def __neg__(self):
        return Pair(-self.high, -self.low)

    def __abs__(self):
        sign = np.where(self.high < 0, -1.0, 1.0)
        return Pair(sign * self.high, sign * self.low)

    def __add__(self, other):
        other = _pair(other)
        s, e = _two_sum(self.high, other.high)
        t, f = _two_sum(self.low, other.low)
        s, e = _quick_two_sum(s, e + t)
        return Pair(*_quick_two_sum(s, e + f))

    def __sub__(self, other):
        return self + -_pair(other)

    def __rsub__(self, other):
        return _pair(other) + -self

    def __mul__(self, other):
        other = _pair(other)
        p, e = _two_product(self.high, other.high)
        return Pair(*_quick_two_sum(p, e + (self.high * other.low + self.low * other.high)))

    def __truediv__(self, other):
        other = _pair(other)
        first = self.high / other.high
        rest = self - other * first
        second = rest.high / other.high
        rest = rest - other * second
        return Pair(*_quick_two_sum(first, second)) + Pair(rest.high / other.high)

    def __rtruediv__(self, other):
        return _pair(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __gt__(self, other):
        return (self - other).high > 0

    def __lt__(self, other):
        return (self - other).high < 0

    def scaled(self, exponents):
        """times 2^exponents"""
        return Pair(np.ldexp(self.high, exponents), np.ldexp(self.low, exponents))


def _pair(value):
    return value if isinstance(value, Pair) else Pair(value)


class _Pairs:
    """Functions of `Pair` arrays."""

    name = "double-double"
    array = staticmethod(_pair)
    epsilon = 2.0**-100

    @staticmethod
    def to_float(a):
        return a.high + a.low

    @staticmethod
    def to_mpmath(a):
        return mpmath.mpf(float(a.high)) + mpmath.mpf(float(a.low))

    @staticmethod
    def exp(a):
        """exp(k log 2 + r) = 2^k (exp(r / 512))^512, |r| <= log(2) / 2, by Taylor."""
        gone = a.high < -740.0  # to zero, as the results are relative to the largest
        a = _Pairs.where(gone, 0.0, a)
        k = np.rint(a.high / LN2[0])
        r = a - Pair(k) * Pair(np.float64(LN2[0]), np.float64(LN2[1])) - Pair(k * LN2[2])
        r = r.scaled(-9)
        term = total = r
        for n in range(2, 11):
            term = term * r / float(n)
            total = total + term
        for _ in range(9):  # (1 + t)^2 = 1 + (2 t + t^2), without rounding the small part
            total = total + total + total * total
        with np.errstate(under="ignore"):
            return _Pairs.where(gone, 0.0, (total + 1.0).scaled(k.astype(int)))

    @classmethod
    def log(cls, a):
        """Newton's iteration on exp, twice."""
        y = Pair(np.log(a.high))
        for _ in range(2):
            y = y + (a * cls.exp(-y) - 1.0)
        return y

    @staticmethod
    def sum(a, axis=0):
        """Halve the axis until one is left: the errors of log2(n) additions."""
        a = Pair(np.moveaxis(a.high, axis, 0), np.moveaxis(a.low, axis, 0))
        while len(a) > 1:
            even = len(a) // 2
            total = a[:even] + a[even : 2 * even]
            a = _Pairs.concatenate([total, a[2 * even :]])
        return a[0] if len(a) else Pair(np.zeros(a.shape[1:]))

    @staticmethod
    def where(condition, a, b):
        a, b = _pair(a), _pair(b)
        return Pair(np.where(condition, a.high, b.high), np.where(condition, a.low, b.low))

    @staticmethod
    def concatenate(arrays, axis=0):
        high = np.concatenate([a.high for a in arrays], axis)
        return Pair(high, np.concatenate([a.low for a in arrays], axis))

    @staticmethod
    def pi():
        return Pair(np.float64(3.141592653589793), np.float64(1.2246467991473532e-16))


class _Extended:
    """Functions of np.longdouble arrays."""

    name = "longdouble"
    epsilon = float(np.finfo(np.longdouble).eps)
    exp, log = staticmethod(np.exp), staticmethod(np.log)
    sum = staticmethod(np.sum)
    where, concatenate = staticmethod(np.where), staticmethod(np.concatenate)

    @staticmethod
    def array(a):
        return np.asarray(a, np.longdouble)

    @staticmethod
    def to_float(a):
        return np.asarray(a, np.float64)

    @staticmethod
    def to_mpmath(a):
        high = float(a)
        return mpmath.mpf(high) + mpmath.mpf(float(a - high))

    @staticmethod
    def pi():
        return np.longdouble(3.141592653589793) + np.longdouble(1.2246467991473532e-16)


PAIRS = _Pairs()
HAS_EXTENDED = np.finfo(np.longdouble).nmant >= 63
EXTENDED = _Extended() if HAS_EXTENDED else None
WIDE = EXTENDED or PAIRS
