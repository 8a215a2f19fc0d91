"""Who plays in which task."""

import dataclasses
import importlib
import importlib.metadata

import fastrbm


@dataclasses.dataclass(frozen=True)
class Peer:
    """A peer: its module here, its package, and what it can do."""

    name: str
    module: str
    package: str | None
    as_is: bool = False  # no momentum and no decay: fastrbm then trains without them too
    methods: tuple = ("cd", "pcd", "gibbs")
    pairs: tuple = ("bb", "sg")
    most_weights: int = 10**9
    note: str = ""

    @property
    def version(self):
        """str or None: Of its package; None where it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None

    def load(self):
        """Return its module; an ImportError where its package is missing."""
        return importlib.import_module(f".{self.module}", __package__)

    def plays(self, task):
        """Whether it can do this task."""
        return (
            task.method in self.methods
            and task.pair in self.pairs
            and task.n_visible * task.n_hidden <= self.most_weights
            and not (task.k > 1 and self.name == "scikit-learn")
        )


PEERS = {
    peer.name: peer
    for peer in (
        Peer("torch", "by_torch", "torch"),
        Peer("numba", "by_numba", "numba"),
        Peer("numba, plain", "by_numba_plain", "numba", methods=("cd", "pcd"), most_weights=4096),
        Peer("NumPy", "by_numpy", "numpy"),
        Peer("scikit-learn", "by_sklearn", "scikit-learn", as_is=True, pairs=("bb",),
             note="knows PCD-1 only, and is set beside our CD-1 as well"),
        Peer("rbms", "by_rbms", "rbms", as_is=True, pairs=("bb",),
             note="centres gradients and divides them by their norm"),
    )
}  # fmt: skip


def installed(names=None):
    """Return ({name: Peer} that can be imported, {name: why not})."""
    present, missing = {}, {}
    for name, peer in PEERS.items():
        if names and name not in names:
            continue
        try:
            peer.load()
        except ImportError as error:
            missing[name] = str(error)
        else:
            present[name] = peer
    return present, missing


def describe():
    """Return the versions of fastrbm and of every peer's package, None where missing."""
    return {"fastrbm": fastrbm.__version__, **{p.package: p.version for p in PEERS.values()}}
