"""The exceptions and warnings of fastrbm that say more than a ValueError can.

`Interrupted` and `DivergenceError` end a long run early; both carry what had been reached as
``.result``, so that hours of work survive a Ctrl-C or a learning rate that was too high.
"""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a long run; ``.result`` holds what the run had reached.

    Parameters
    ----------
    message : str
        What was interrupted, and where.
    result : object
        What the interrupted function would have returned, up to the last whole update or draw.

    Examples
    --------
    >>> from fastrbm import Interrupted
    >>> try:
    ...     raise Interrupted("stopped after 3 epochs", result="the model so far")
    ... except KeyboardInterrupt as interrupted:
    ...     print(interrupted.result)
    the model so far
    """

    def __init__(self, message="interrupted", result=None):
        super().__init__(message)
        self.result = result


class DivergenceError(ArithmeticError):
    """Training left the numbers that can be computed with; ``.result`` is the last good state.

    Parameters
    ----------
    message : str
        What was seen, and what helps against it.
    result : object
        What the training function would have returned, with the last good parameters.

    Examples
    --------
    >>> from fastrbm import DivergenceError
    >>> try:
    ...     raise DivergenceError("weights are not finite", result="the last good model")
    ... except ArithmeticError as error:
    ...     print(error.result)
    the last good model
    """

    def __init__(self, message="diverged", result=None):
        super().__init__(message)
        self.result = result


class FileFormatError(ValueError):
    """A file or a byte block is not what it should be: foreign, truncated, damaged or too new.

    Examples
    --------
    >>> import fastrbm
    >>> try:
    ...     fastrbm.RBM.from_bytes(b"not a model")
    ... except fastrbm.FileFormatError:
    ...     print("refused")
    refused
    """


class ConvergenceError(ArithmeticError):
    """A numeric inverse that did not converge: a wrong value is never returned instead.

    Parameters
    ----------
    message : str
        Where, and after how many steps.
    residual : float
        The largest of the equations' residuals.

    Examples
    --------
    >>> from fastrbm import ConvergenceError
    >>> try:
    ...     raise ConvergenceError("the inverse did not converge", residual=0.1)
    ... except ArithmeticError as error:
    ...     print(error.residual)
    0.1
    """

    def __init__(self, message="did not converge", residual=float("nan")):
        super().__init__(message)
        self.residual = residual

    def __reduce__(self):
        return type(self), (*self.args, self.residual)


class TooLarge(ValueError):
    """Exact work that would not fit in the time or the memory that was asked for.

    Parameters
    ----------
    message : str
        What would not fit, the estimates, and what would.
    method : str
        The cheapest method that applies.
    n_states : int
        States it would sum over.
    seconds, bytes : float
        What it would take, estimated from rates that were measured on one machine.

    Examples
    --------
    >>> import fastrbm
    >>> rbm = fastrbm.RBM(fastrbm.Bernoulli(400), fastrbm.Bernoulli(60), rng=0)
    >>> try:
    ...     fastrbm.log_partition(rbm, max_seconds=1)
    ... except fastrbm.TooLarge as error:
    ...     print(error.method, error.n_states == 2**60)
    split True
    """

    def __init__(self, message, method="", n_states=0, seconds=0.0, bytes=0.0):
        super().__init__(message)
        self.method, self.n_states = method, n_states
        self.seconds, self.bytes = seconds, bytes

    def __reduce__(self):
        return type(self), (*self.args, self.method, self.n_states, self.seconds, self.bytes)


class DependentPatternsWarning(UserWarning):
    """Some Hopfield patterns are linear combinations of others (see `fastrbm.hopfield`).

    Examples
    --------
    >>> import warnings, fastrbm
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = fastrbm.hopfield.from_patterns([[1, -1, 1], [-1, 1, -1]])
    >>> caught[0].category.__name__
    'DependentPatternsWarning'
    """
