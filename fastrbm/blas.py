"""BLAS held to one thread where threads of our own do the work."""

import contextlib
import threading

_lock = threading.Lock()
_users = 0
_limit = None


@contextlib.contextmanager
def one_blas_thread():
    """Hold BLAS to one thread: its team must not take turns with ours, nor change the bits.

    Counted, so that the first of several concurrent runs sets the limit and the last lifts it.

    Yields
    ------
    int
        The threads that BLAS had before.

    Examples
    --------
    >>> from fastrbm.blas import one_blas_thread
    >>> with one_blas_thread() as n_threads:
    ...     n_threads >= 1
    True
    """
    global _users, _limit
    with _lock:
        if _users == 0:
            from threadpoolctl import threadpool_limits

            _limit = threadpool_limits(1, user_api="blas")
        _users += 1
        n_threads = _limit.get_original_num_threads().get("blas") or 1
    try:
        yield n_threads
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()
