"""What a run was made with: the machine, the versions, the revision of the checkout."""

import datetime
import functools
import pathlib
import subprocess

from fastrbm.benchmarks import machine

from . import contest


@functools.cache
def revision():
    """The checkout's commit, with a `+` where files were changed; None outside of one."""
    here = pathlib.Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", *words], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (
                ("rev-parse", "--short=12", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")


def describe(n_threads):
    """Return a dict that goes with every result."""
    return {
        **machine.describe(),
        "n_threads": n_threads,
        "versions": contest.describe(),
        "revision": revision(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
