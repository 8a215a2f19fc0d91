"""Roots of strictly increasing functions, many at once: Newton's method kept inside a bracket.

Each step evaluates the function and its derivative at every point, shrinks the bracket by the sign,
and takes Newton's step where it stays inside and has at least halved the bracket's half of the
time, the middle otherwise. As bisection alone halves the bracket, no function that is increasing
can defeat it; that a point fails is an error with its residual, never a silent wrong value.
"""

import numpy as np

from ..errors import ConvergenceError

#: Far more than bisection needs from the widest bracket of doubles to neighbouring numbers.
MAX_STEPS = 200


def increasing_root(function, low, high):
    """Return x with function(x) = 0 for each bracket.

    Parameters
    ----------
    function : callable
        x (n,) -> values (n,), derivatives (n,); increasing in x.
    low, high : ndarray (n,)
        function(low) <= 0 <= function(high), up to rounding.

    Returns
    -------
    ndarray (n,)

    Raises
    ------
    ConvergenceError
        If a point is not found in 200 steps, with the largest residual.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.flows.roots import increasing_root
    >>> increasing_root(lambda x: (x**3 - 8, 3 * x**2), np.zeros(1), np.full(1, 5.0))
    array([2.])
    """
    low, high = low.copy(), high.copy()
    x = low + (high - low) / 2
    epsilon = np.finfo(x.dtype).eps
    width = high - low
    for step in range(MAX_STEPS):
        value, slope = function(x)
        low, high = np.where(value <= 0, x, low), np.where(value >= 0, x, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = x - value / slope
        # Every third step bisects where Newton has not: the bracket shrinks without fail.
        inside = (newton >= low) & (newton <= high)
        if step % 3 == 2:
            inside &= high - low <= width / 2
            width = high - low
        following = np.where(inside, newton, low + (high - low) / 2)
        moved = np.abs(following - x)
        x = following
        if (moved <= 2 * epsilon * np.maximum(np.abs(x), epsilon)).all():
            if np.isfinite(value).all():
                return x
            break
        if (high - low <= 2 * epsilon * np.abs(x)).all():
            return x
    value, slope = function(x)
    # Rounding of a value leaves this much of the point open; it is as good as it gets.
    scale = np.maximum(np.abs(x), 1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        off = ~(np.abs(value) <= 64 * epsilon * np.maximum(np.abs(slope) * scale, scale))
    if off.any():
        worst = float(np.abs(value[off]).max())
        raise ConvergenceError(
            f"the inverse did not converge in {MAX_STEPS} steps for {int(off.sum())} of {len(x)} "
            f"rows: largest residual {worst:.3g}",
            residual=worst,
        )
    return x
