"""What is measured: one row of the comparison, its name and its arithmetic.

A name is made of its fields, `method/sizes/batch or chains/pair/density`, such as
`cd1/784x500/b100/bb/mnist` or `gibbs/784x500/c1000/sg/half`, so that shell patterns choose rows.
"""

import dataclasses
import fnmatch
import itertools

#: Layers of a pair, visible and hidden.
PAIRS = {"bb": ("bernoulli", "bernoulli"), "sg": ("spin", "gaussian")}

#: Share of units that are on: "mnist" is MNIST itself where it is given and has the size.
DENSITIES = {"mnist": 0.13, "half": 0.5}

#: Rows of the data set that an epoch is counted in.
EPOCH_ROWS = 60_000

#: What both sides train with; scikit-learn and rbms know neither momentum nor decay.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.05, 0.5, 1e-4


@dataclasses.dataclass(frozen=True)
class Task:
    """A row of the comparison.

    Attributes
    ----------
    method : {"cd", "pcd", "gibbs"}
    k : int
        Sweeps of an update; 1 for "gibbs".
    n_visible, n_hidden : int
    size : int
        Rows of a mini-batch, or chains of "gibbs".
    pair : {"bb", "sg"}
    density : {"mnist", "half"}
    learning_rate, momentum, weight_decay : float
        The last two are 0 where a peer has neither.
    """

    method: str
    k: int
    n_visible: int
    n_hidden: int
    size: int
    pair: str = "bb"
    density: str = "mnist"
    learning_rate: float = LEARNING_RATE
    momentum: float = MOMENTUM
    weight_decay: float = WEIGHT_DECAY

    @property
    def name(self):
        """str: Unique among tasks of one learning rate, momentum and decay."""
        method = "gibbs" if self.method == "gibbs" else f"{self.method}{self.k}"
        size = f"{'c' if self.method == 'gibbs' else 'b'}{self.size}"
        return f"{method}/{self.n_visible}x{self.n_hidden}/{size}/{self.pair}/{self.density}"

    @property
    def layers(self):
        """(str, str): Names of the visible and the hidden layer."""
        return PAIRS[self.pair]

    @property
    def persistent(self):
        """bool: Chains go on from update to update."""
        return self.method == "pcd"

    @property
    def plain(self):
        """Task: The same without momentum and decay, for peers that have neither."""
        return dataclasses.replace(self, momentum=0.0, weight_decay=0.0)

    @property
    def unit_flops(self):
        """int: Dense operations of one data row of training, or of one sweep of all chains.

        A product with the weights is 2 N p; CD-k makes 2 k + 1 of them and two outer products.
        PCD-k is counted alike: chains keep the hidden states of their last update.
        """
        product = 2 * self.n_visible * self.n_hidden
        if self.method == "gibbs":
            return 2 * product * self.size
        return product * (2 * self.k + 3)

    @property
    def unit_updates(self):
        """int: Units drawn in one sweep of all chains ("gibbs")."""
        return self.size * (self.n_visible + self.n_hidden)


def grid():
    """All tasks, those of 784 visible units first."""
    training = [
        Task(method, k, 784, n_hidden, batch, pair, density)
        for (method, k), n_hidden, batch, pair, density in itertools.product(
            (("cd", 1), ("pcd", 1), ("cd", 10)), (500, 64, 10), (100, 10, 500), PAIRS, DENSITIES
        )
    ]
    small = [
        Task(method, k, 20, 10, 10, pair, density)
        for (method, k), pair, density in itertools.product(
            (("cd", 1), ("pcd", 1), ("cd", 10)), PAIRS, DENSITIES
        )
    ]
    sampling = [
        Task("gibbs", 1, 784, n_hidden, chains, pair, density)
        for n_hidden, chains, pair, density in itertools.product(
            (500, 64, 10), (1, 100, 1000, 10_000), PAIRS, DENSITIES
        )
    ]
    sampling += [
        Task("gibbs", 1, *sizes, chains, pair, "half")
        for sizes, chains, pair in itertools.product(
            ((64, 32), (20, 10)), (1, 100, 1000, 10_000), PAIRS
        )
    ]
    return training + small + sampling


def chosen(names, patterns):
    """Return the names that one of the patterns matches, in the order of `names`.

    A pattern is a name, a shell pattern over the whole name, or a part of a name between slashes
    (`784x500`, `cd1/784x500`). A ValueError for a pattern that chooses nothing.
    """
    found = set()
    for pattern in patterns:
        matches = {
            name
            for name in names
            if fnmatch.fnmatchcase(name, pattern) or f"/{pattern}/" in f"/{name}/"
        }
        if not matches:
            raise ValueError(f"no row is named {pattern!r}; --list shows them")
        found |= matches
    return [name for name in names if name in found]
