"""Randomness enters fastrbm here: any SPEC 7 `rng` becomes one 64-bit Philox key.

The key is drawn once per call, before anything else. Every number the call draws is then a pure
function of (key, counter), which is what makes results independent of threads and of batching.
"""

from numpy.random import Generator, default_rng

from ._lib import core


def key(rng=None):
    """Draw the 64-bit key of one call from `rng`.

    Parameters
    ----------
    rng : None, int, SeedSequence, BitGenerator or Generator
        None draws fresh entropy, an int repeats, a Generator advances (SPEC 7).

    Returns
    -------
    int
        ``default_rng(rng).integers(2**64, dtype=uint64)``, at least 0 and below 2**64.

    Raises
    ------
    TypeError, ValueError
        If `rng` is none of these, or a negative integer.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.random import key
    >>> key(7) == key(7) == int(np.random.default_rng(7).integers(2**64, dtype=np.uint64))
    True
    >>> generator = np.random.default_rng(7)
    >>> key(generator) == key(generator)
    False
    """
    if not isinstance(rng, Generator):
        try:
            rng = default_rng(rng)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(
                f"rng must be None, a non-negative int, a SeedSequence, a BitGenerator or a "
                f"Generator, got {rng!r}"
            ) from None
    return core.key_from_generator(rng.bit_generator)
