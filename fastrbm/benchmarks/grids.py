"""The sizes that `fastrbm bench complexity` runs, its rounds and its time.

One size varies at a time. The sizes of an exact method end where a call takes a second or so, and
begin below what is fitted, so that the picture shows what a call costs at the least.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Grid:
    """The sizes of a run, its rounds, and the seconds it may take by default.

    Examples
    --------
    >>> from fastrbm.benchmarks.grids import FULL, QUICK
    >>> QUICK.max_seconds < FULL.max_seconds
    True
    """

    n_rounds: int
    max_seconds: float
    log_z: dict  # method -> N
    update: dict  # method -> N
    cd_update: dict  # variable -> its values
    cd_epoch: dict
    cd_epochs: dict


#: What stays fixed while one size varies. In k a size begins where the two or three products that
#: every update makes, whatever k, are few beside its sweeps.
BASE = {
    "cd_update": {"k": 8, "B": 128, "N": 512, "p": 256},
    "cd_epoch": {"k": 8, "M": 2000, "N": 512, "p": 256},
    "cd_epochs": {"k": 8, "M": 200, "N": 256, "p": 64},
}

FULL = Grid(
    n_rounds=7,
    max_seconds=540,
    log_z={
        "naive": (8, 10, 12, 14, *range(15, 22)),
        "split": (8, 12, 16, *range(18, 28)),
        "pairwise": (8, 12, 16, 20, *range(23, 37)),
    },
    update={
        "naive": (*range(4, 14, 2), *range(14, 20)),
        "split": (*range(4, 18, 2), *range(18, 24)),
        "pairwise": (*range(4, 24, 2), *range(24, 32)),
        "cd": (*range(4, 34, 2), 64, 128, 256, 512, 1024),
    },
    cd_update={
        "k": (16, 32, 64, 128, 256),
        "B": (64, 128, 256, 512, 1024, 2048),
        "N": (128, 256, 512, 1024, 2048),
        "p": (64, 128, 256, 512, 1024),
    },
    cd_epoch={
        "k": (16, 32, 64, 128, 256),
        "M": (500, 1000, 2000, 4000, 8000),
        "N": (128, 256, 512, 1024, 2048),
        "p": (64, 128, 256, 512, 1024),
    },
    cd_epochs={
        "k": (16, 32, 64, 128, 256),
        "M": (200, 400, 800, 1600, 3200),
        "N": (128, 256, 512, 1024, 2048),
        "p": (32, 64, 128, 256),
    },
)

QUICK = Grid(
    n_rounds=2,
    max_seconds=60,
    log_z={
        "naive": (10, 14, 15, 16, 17),
        "split": (10, 15, 19, 20, 21, 22),
        "pairwise": (12, 18, 24, 25, 26, 27),
    },
    update={
        "naive": (4, 8, 12, 13, 14, 15, 16),
        "split": (4, 8, 12, 16, 18, 19, 20),
        "pairwise": (4, 8, 12, 16, 20, 22, 23, 24, 25),
        "cd": (4, 8, 12, 16, 20, 22, 24, 64, 256),
    },
    cd_update={
        "k": (8, 16, 32, 64),
        "B": (64, 128, 256, 512),
        "N": (128, 256, 512, 1024),
        "p": (64, 128, 256, 512),
    },
    cd_epoch={
        "k": (4, 8, 16, 32),
        "M": (500, 1000, 2000, 4000),
        "N": (128, 256, 512, 1024),
        "p": (64, 128, 256, 512),
    },
    cd_epochs={
        "k": (4, 8, 16, 32),
        "M": (100, 200, 400, 800),
        "N": (128, 256, 512),
        "p": (16, 32, 64, 128),
    },
)

#: Each experiment's share of the time.
SHARES = {"log_z": 0.25, "update": 0.25, "cd_update": 0.1, "cd_epoch": 0.15, "cd_epochs": 0.25}
