"""Random numbers of exact draws: uniforms for inverse CDFs, normals, conditionals, keys of parts.

Draw r of a call uses words 2 r and 2 r + 1 of its key and purpose, so that it does not depend on
how many are drawn.
"""

import numpy as np

from ..._lib import core

_PURPOSE = core.purposes()


def uniforms(key, n):
    """Return n uniforms in [0, 1) of 53 bits each.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.draws import uniforms
    >>> u = uniforms(7, 1000)
    >>> bool((u[:10] == uniforms(7, 10)).all()), bool(abs(u.mean() - 0.5) < 0.05)
    (True, True)
    """
    words = core.uniform_bits(key, _PURPOSE["EXACT"], 0, 0, 2 * n).astype(np.uint64)
    return ((words[0::2] << np.uint64(21)) ^ (words[1::2] >> np.uint64(11))) * 2.0**-53


def normals(key, shape):
    """Return standard normals of this shape."""
    n = int(np.prod(shape))
    return core.normals(key, _PURPOSE["EXACT"], n, np.dtype(np.float64)).reshape(shape)


def words(key, row, n):
    """Return n random words of 32 bits of one row, for what is drawn given a state."""
    return core.uniform_bits(key, _PURPOSE["EXACT"], 1, row, n)


def part_key(key, part):
    """Return the key of an independent part of a model.

    Examples
    --------
    >>> from fastrbm.evaluation.exact.draws import part_key
    >>> part_key(7, 0) != part_key(7, 1)
    True
    """
    counter = (part, 0, 0, _PURPOSE["EXACT_PART"])
    low, high, _, _ = core.philox(counter, (key & 0xFFFFFFFF, key >> 32))
    return high << 32 | low


def conditional(problem, side, given, key, executor):
    """Return a draw of one side (0 visible, 1 hidden) given rows of the other, float64."""
    layer = problem.second if side else problem.first
    out = np.empty((len(given), layer.n))
    if out.size:
        name = "hidden" if side else "visible"
        problem.rbm._core.sample(executor, name, given, problem.beta, key, out)
    return out
