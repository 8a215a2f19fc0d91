"""Blocks of rows on threads, BLAS held to one thread meanwhile.

Layers are long rows of small array operations. A BLAS that splits each product waits for its other
threads at every one, which is slow where it works and very slow where another program holds a core
(30 times, measured). Here each thread takes whole blocks of rows through all layers instead. What
the blocks are follows from the problem alone and results come in their order, so that the number of
threads cannot be seen in the bits.
"""

import contextlib
import contextvars
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..blas import one_blas_thread

#: Rows of a block: a layer's work of 64 units stays in the second-level cache.
BLOCK_ROWS = 2048
#: Rows times the largest array of parameters; BLAS divides no smaller product between its threads.
#: To hold them costs a millisecond, more than many a call.
DIVIDED = 1 << 15

_current = contextvars.ContextVar("fastrbm.flows.team", default=None)


class Team:
    """So many threads, the calling one among them.

    Examples
    --------
    >>> from fastrbm.flows.team import Team
    >>> with Team(2) as team:
    ...     team.map(lambda item: item * item, [1, 2, 3])
    [1, 4, 9]
    """

    def __init__(self, n_threads):
        self.n_threads, self._pool = n_threads, None

    def map(self, function, items):
        """Return [function(item) for item in items], every n-th item on one of n threads."""
        n = min(self.n_threads, len(items))
        if n <= 1:
            return [function(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.n_threads - 1, "fastrbm-flows")

        floating = np.geterr()  # a thread begins with NumPy's own

        def share(first):
            with np.errstate(**floating):
                return [function(item) for item in items[first::n]]

        others = [self._pool.submit(share, first) for first in range(1, n)]
        try:
            shares = [share(0)]
        finally:  # whatever happens here, nobody is left at work
            outcomes = [other.exception() for other in others]
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        shares += [other.result() for other in others]
        results = [None] * len(items)
        for first, part in enumerate(shares):
            results[first::n] = part
        return results

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._pool is not None:
            self._pool.shutdown()


@contextlib.contextmanager
def team(n_blocks, module=None, n_rows=0):
    """Give the team at work, or a new one where there is none and blocks or products are divided.

    It has as many threads as BLAS has: what limits BLAS limits it too.

    Examples
    --------
    >>> from fastrbm.flows.team import team
    >>> with team(2) as outer, team(2) as inner:
    ...     outer is inner
    True
    """
    current = _current.get()
    if current is not None or (n_blocks < 2 and n_rows * _largest(module) <= DIVIDED):
        yield current or Team(1)
        return
    with one_blas_thread() as n_threads, Team(n_threads) as new:
        token = _current.set(new)
        try:
            yield new
        finally:
            _current.reset(token)


def _largest(module):
    parts = () if module is None else module.modules()
    sizes = (array.size for part in parts for array in part.own_parameters.values())
    return max(sizes, default=0)


def on_threads(work, n_rows, size=BLOCK_ROWS, module=None):
    """Run work(block) for all blocks of so many rows, and return the results in order.

    Parameters
    ----------
    work : callable
        Takes a slice.
    n_rows, size : int
        Of all blocks and of one.
    module : Module, optional
        Whose parameters the rows are multiplied with.

    Examples
    --------
    >>> from fastrbm.flows.team import on_threads
    >>> on_threads(lambda block: block.start, 5, size=2)
    [0, 2, 4]
    """
    blocks = [slice(first, first + size) for first in range(0, n_rows, size)]
    with team(len(blocks), module, n_rows) as threads:
        return threads.map(work, blocks)
