"""`fastrbm demo`: the main job from end to end, on the digits that come with the package.

Trains the Spin-Gaussian RBM (a Hopfield model with learned patterns) and a Bernoulli-Bernoulli RBM
by contrastive divergence, samples both, and says how well and how fast that went.
"""

from dataclasses import dataclass

import numpy as np

from . import datasets, files
from .evaluation import pseudo_likelihood
from .sampling import sample
from .terminal import ProgressLine
from .training import train_cd

#: Rows that training never sees; they measure the free-energy gap.
N_HELD_OUT = 297

METRICS = ("reconstruction_error", "pseudo_likelihood", "free_energy_gap")

#: The timed sampling run: so many chains and draws, one sweep apart.
SAMPLING = {"n_chains": 1000, "n_draws": 100, "burn_in": 400}
N_SWEEPS = SAMPLING["burn_in"] + SAMPLING["n_draws"]

#: Images in one panel of the picture.
N_IMAGES = 100

TABLE = """
{:<20} {:>14} {:>17} {:>15} {:>9} {:>11}
""".strip()
HEAD = (
    ("", "reconstruction", "pseudo-likelihood", "free-energy gap", "training", "samples"),
    ("model", "error", "nats / row", "nats", "seconds", "/ second"),
)
NOTE = "(errors of -1/+1 units are 4 times those of 0/1 units; a sample is one sweep of one chain)"


@dataclass(frozen=True)
class Recipe:
    """One model of the demo: its name, the form of its data, and how it is trained.

    The learning rate falls linearly from `rate` to zero, which lets the noise of the updates die.
    """

    name: str
    values: str
    rate: float
    options: dict


RECIPES = (
    Recipe(
        "Spin-Gaussian",
        "spin",
        0.01,
        {"hidden": "gaussian", "n_hidden": 25, "k": 10, "n_epochs": 300, "batch_size": 50},
    ),
    Recipe(
        "Bernoulli-Bernoulli",
        "binary",
        0.1,
        {"hidden": "bernoulli", "n_hidden": 100, "k": 10, "n_epochs": 300, "batch_size": 50},
    ),
)


def run(picture, seed=0, n_threads=None, recipes=RECIPES):
    """Train, sample, report on standard output, and draw.

    Parameters
    ----------
    picture : str or os.PathLike
        Where the PNG goes, if matplotlib is installed.
    seed : int, default 0
        The same seed gives the same models and samples.
    n_threads : int, optional
    recipes : sequence of Recipe

    Examples
    --------
    >>> from fastrbm import demo
    >>> [recipe.name for recipe in demo.RECIPES]
    ['Spin-Gaussian', 'Bernoulli-Bernoulli']
    """
    lines, rows = [], []
    for recipe in recipes:
        train, held_out = _split(datasets.digits(values=recipe.values).data, seed)
        result = _train(recipe, train, held_out, rng=seed, n_threads=n_threads)
        draws = sample(result.model, dtype=np.int8, rng=seed, n_threads=n_threads, **SAMPLING)
        lines.append(_line(recipe.name, result, train, draws.info["seconds"]))
        rows.append((recipe.name, train, draws.visible[:, -1], result.model.weights))
    print("\n".join([*(TABLE.format(*words) for words in HEAD), *lines, NOTE]))
    _draw(picture, rows)


def _train(recipe, train, held_out, **options):
    n_epochs = recipe.options["n_epochs"]
    return train_cd(
        train,
        learning_rate=lambda epoch: recipe.rate * (1 - (epoch - 1) / n_epochs),
        validation_data=held_out,
        metrics=METRICS,
        callback=ProgressLine(recipe.name, n_epochs),
        **recipe.options,
        **options,
    )


def _split(data, seed):
    """Return training rows and held-out rows, in a random order."""
    order = np.random.default_rng(seed).permutation(len(data))
    return data[order[N_HELD_OUT:]], data[order[:N_HELD_OUT]]


def _line(name, result, train, sampling_seconds):
    history = result.history
    return TABLE.format(
        name,
        f"{history['reconstruction_error'][-1]:.4f}",
        f"{pseudo_likelihood(result.model, train):.2f}",
        f"{history['free_energy_gap'][-1]:.2f}",
        f"{history['seconds'].sum():.2f}",
        f"{SAMPLING['n_chains'] * N_SWEEPS / sampling_seconds:,.0f}",
    )


def _draw(path, rows):
    try:
        from . import picture
    except ImportError:
        print("no picture without matplotlib: python -m pip install matplotlib")
        return

    def images(pixels):
        return picture.mosaic(pixels[:N_IMAGES].reshape(-1, 8, 8))

    panels = [
        (
            name,
            [
                ("data", images(train), "gray_r"),
                (f"samples, {N_SWEEPS} sweeps from a random start", images(drawn), "gray_r"),
                ("receptive fields", images(weights.T), "diverging"),
            ],
        )
        for name, train, drawn, weights in rows
    ]
    with files.replacing(path) as file:
        picture.write_picture(file, panels)
    print(f"picture: {path}")
