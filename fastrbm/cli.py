"""The command line: fastrbm demo | info | train | sample | logz | bench, or `python -m fastrbm`.

Results go to standard output, messages to standard error. Exit codes: 0 done, 1 training diverged,
2 wrong usage or bad input (one line says what), 130 interrupted. Files are replaced atomically.
"""

import argparse
import contextlib
import inspect
import json
import os
import sys

import numpy as np

import fastrbm

from . import demo, files, shard_files, validation
from .errors import DivergenceError, Interrupted
from .evaluation import Shards, log_partition
from .model import RBM
from .sampling import sample
from .terminal import ProgressLine
from .training import train_cd
from .training.metrics import METRICS

#: How an .npy file starts.
NPY_MAGIC = b"\x93NUMPY"

EXAMPLES = {
    "fastrbm": """\
example:
  fastrbm demo
  fastrbm train digits.npy -o model.npz --n-hidden 100 --n-epochs 50
  fastrbm sample model.npz -o samples.npy --n-chains 1000
""",
    "demo": "example:\n  fastrbm demo --picture digits.png\n",
    "info": "example:\n  fastrbm info\n",
    "train": """\
example:
  fastrbm train digits.npy -o model.npz --n-hidden 100 --k 5 --n-epochs 50 --seed 1
  fastrbm train mnist.npz --key train_images --threshold 128 -o model.npz --persistent

The model is an .npz that `fastrbm sample` and fastrbm.RBM.load read. Options that are left out have
the defaults of fastrbm.train_cd.
""",
    "sample": """\
example:
  fastrbm sample model.npz -o samples.npy --n-chains 1000 --n-draws 5 --thin 20 --seed 1

An .npy holds the visible states (n_chains, n_draws, n_visible); an .npz holds the arrays `visible`
and `hidden`. Options that are left out have the defaults of fastrbm.sample.
""",
    "logz": """\
example:
  fastrbm logz model.npz
  fastrbm logz model.npz --method pairwise --dtype float32 --max-seconds 3600 --progress --json
  fastrbm logz model.npz --shards 1/2 --partials part1.npz
  fastrbm logz model.npz --shards 2/2 --partials part2.npz
  fastrbm logz model.npz --merge part1.npz part2.npz

Prints log Z in nats, a bound on its error, the method and why it was chosen. What would take more
time or memory than allowed is refused before it starts, with an estimate. Parts may run at any time
on any machine; merged in any order they have the bits of one run. Options that are left out have
the defaults of fastrbm.log_partition.
""",
    "bench": """\
example:
  fastrbm bench complexity --quick --output measured

complexity times exact log Z, exact training and CD-k over their sizes, fits the exponents, and
writes complexity.json (every time, and the machine), complexity.md (tables) and complexity.png
(with matplotlib). It takes up to 9 minutes, with --quick one, and wants the machine for itself.
""",
}


def main(argv=None):
    """Run one command.

    Parameters
    ----------
    argv : list of str, optional
        The arguments after the program's name; by default those of the process.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        From argparse: code 0 after --help, 2 after wrong usage.

    Examples
    --------
    >>> import os, tempfile
    >>> from fastrbm import datasets
    >>> from fastrbm.cli import main
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data, model = os.path.join(folder, "data.npy"), os.path.join(folder, "model.npz")
    ...     np.save(data, datasets.digits().data)
    ...     code = main(["train", data, "-o", model, "--n-epochs", "2", "--quiet"])
    >>> code
    0
    """
    arguments = vars(_parser().parse_args(argv))
    command = arguments.pop("command")
    try:
        return COMMANDS[command](**arguments)
    except KeyboardInterrupt:
        return _complain(command, "interrupted", 130)
    except (ValueError, TypeError, OSError, MemoryError, ImportError) as error:
        return _complain(command, error, 2)


def _complain(command, error, code):
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"fastrbm {command}: {message}", file=sys.stderr)
    return code


# -------------------------------------------------------------------------------- the commands


def _demo(picture, seed, n_threads=None):
    files.check_writable(picture)
    demo.run(picture, seed=seed, n_threads=n_threads)
    return 0


def _info():
    fastrbm.show_config()
    return 0


def _train(data, output, key, threshold, model, validation, validation_key, history, seed, quiet,
           **options):  # fmt: skip
    for path in filter(None, (output, history)):
        files.check_writable(path)
        if os.path.realpath(path) == os.path.realpath(data):
            raise ValueError(f"{path!r} would overwrite the data: choose another name")
    if history is not None and os.path.realpath(history) == os.path.realpath(output):
        raise ValueError(f"--history would overwrite the model {output!r}: choose another name")
    rows = _read_rows(data, key, threshold)
    if validation is not None:
        options["validation_data"] = _read_rows(validation, validation_key, threshold)
        # Rows to validate on are given to see the gap.
        options.setdefault("metrics", ("reconstruction_error", "free_energy_gap"))
    if model is not None:
        options["model"] = RBM.load(model)
    if not quiet:
        n_epochs = options.get("n_epochs", _defaults(train_cd)["n_epochs"])
        options["callback"] = ProgressLine(os.path.basename(output), n_epochs)
    code, complaint = 0, None
    try:
        result = train_cd(rows, rng=seed, **options)
    except (DivergenceError, Interrupted) as error:
        result, complaint = error.result, f"{error}; wrote the last good state to {output}"
        code = 1 if isinstance(error, DivergenceError) else 130
    result.model.save(output)
    if history is not None:
        with files.replacing(history) as file:
            np.savez(file, **result.history)
    if complaint:
        return _complain("train", complaint, code)
    if not quiet:
        print(f"{output}: {result.model!r}{_last_metrics(result.history)}")
    return 0


def _sample(model, output, init, init_key, clamp, clamp_key, seed, quiet, **options):
    files.check_writable(output)
    if not output.endswith((".npy", ".npz")):
        raise ValueError(f"the output must end in .npy or .npz, got {output!r}")
    rbm = RBM.load(model)
    if init is not None:
        options["init"] = _read_rows(init, init_key)
    if clamp is not None:
        options["clamp"] = _read_rows(clamp, clamp_key).astype(bool)
    result = sample(rbm, rng=seed, **options)
    with files.replacing(output) as file:
        if output.endswith(".npy"):
            np.save(file, result.visible)
        else:
            np.savez(file, visible=result.visible, hidden=result.hidden)
    if not quiet:
        print(f"{output}: {result!r}")
    return 0


def _logz(model, as_json, shards, partials, merge, **options):
    if (shards is None) != (partials is None):
        raise ValueError("--shards and --partials go together: which part to run, and its file")
    if shards is not None and merge is not None:
        raise ValueError("--shards runs a part and --merge puts all parts together: one at a time")
    rbm = RBM.load(model)
    if shards is not None:
        return _run_shards(rbm, shards, partials, **options)
    result = log_partition(rbm, **options) if merge is None else _merged(rbm, merge, **options)
    shown = {
        "log_partition": result.value,
        "error": result.error,
        "method": result.method,
        "reason": result.reason,
        "n_states": int(result.n_states),
        "seconds": result.seconds,
    }
    if as_json:
        print(json.dumps({"model": model, **shown, "info": result.info}, default=str))
        return 0
    shown |= {"error": f"{result.error:.1e}", "seconds": f"{result.seconds:.3g}"}
    width = max(map(len, shown)) + 2
    for name, value in shown.items():
        print(f"{name:<{width}}{value}")
    return 0


def _shards(rbm, max_bytes=None, **options):
    """The model's shards, what identifies their sum, and the options of running them."""
    if max_bytes is not None:
        raise ValueError("--max-bytes does not go with --shards or --merge, which take little")
    defaults = _defaults(log_partition)
    chosen = {name: options.pop(name, defaults[name]) for name in ("method", "dtype", "beta")}
    shards = Shards(rbm, **chosen)
    return shards, shard_files.identity(rbm, shards, chosen["dtype"], chosen["beta"]), options


def _run_shards(rbm, words, path, **options):
    """Run one part of the shards, or what is left of it, into its file."""
    files.check_writable(path)
    shards, of, options = _shards(rbm, **options)
    options.setdefault("max_seconds", _defaults(log_partition)["max_seconds"])
    wanted = shard_files.part(words, shards.n_shards)
    done = np.zeros(0, shards.dtype)
    if os.path.exists(path):
        done = shard_files.load(path, of, shards.dtype)
    complaint = None
    try:
        found = shards.run(np.setdiff1d(wanted, done["index"].astype(np.int64)), **options)
    except Interrupted as error:
        found, complaint = error.result, error
    if found is not None:
        done = np.concatenate([done, found])
        shard_files.save(path, of, done)
    if complaint is not None:
        kept = f"; {path} holds the {len(done)} shards that were done" if len(done) else ""
        return _complain("logz", f"{complaint}{kept}", 130)
    print(f"{path}: {len(done)} of {shards.n_shards} shards of {shards.method}")
    return 0


def _merged(rbm, paths, progress=False, **options):
    shards, of, options = _shards(rbm, **options)
    partials = [shard_files.load(path, of, shards.dtype) for path in paths]
    return shards.merge(np.concatenate(partials), **options)


def _bench(what, output, quick, max_seconds, n_threads):
    from .benchmarks import complexity, report  # what only this command needs

    if max_seconds is not None:
        max_seconds = validation.number("max_seconds", max_seconds, 0, open_minimum=True)

    def say(text):
        print(f"{what}: {text}", file=sys.stderr, flush=True)

    result, written = complexity.run(
        output, quick=quick, max_seconds=max_seconds, n_threads=n_threads, say=say
    )
    print(report.tables(result))
    if not any(path.endswith(".png") for path in written):
        print("no picture without matplotlib: python -m pip install matplotlib")
    print(f"\nwrote {', '.join(written)}")
    return 0


COMMANDS = {
    "demo": _demo,
    "info": _info,
    "train": _train,
    "sample": _sample,
    "logz": _logz,
    "bench": _bench,
}


# ---------------------------------------------------------------------------- input and output


def _read_rows(path, key=None, threshold=None):
    """Read one array from an .npy file, or from an .npz where `key` names it."""
    with open(path, "rb") as file:
        if file.read(len(NPY_MAGIC)) == NPY_MAGIC:
            if key is not None:
                raise ValueError(f"{path!r} is an .npy file and has no key {key!r}")
            with _explained(path):
                array = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            file.seek(0)
            with _explained(path):
                archive = np.load(file, allow_pickle=False)
            key = _chosen(path, key, archive.files)
            with _explained(path):
                array = archive[key]
    return array if threshold is None else array >= threshold


def _chosen(path, key, names):
    """Return the key of the array to read: the one asked for, or the only one."""
    if key is None and len(names) == 1:
        return names[0]
    if key not in names:
        wanted = "choose an array by its key" if key is None else f"there is no {key!r}"
        raise ValueError(f"{path!r} holds {', '.join(names) or 'nothing'}: {wanted}")
    return key


@contextlib.contextmanager
def _explained(path):
    """Say of which file it is that NumPy could not read: damage surfaces as almost any error."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path!r} is not an .npy or .npz file of numbers: {error}") from error


def _last_metrics(history):
    known = {"epoch", "seconds", "metric_seconds", "learning_rate", "update_norm"}
    if not len(history["epoch"]):
        return ""
    values = [f"{name} {column[-1]:.4g}" for name, column in history.items() if name not in known]
    seconds = history["seconds"].sum()
    return "".join(f", {value}" for value in [*values, f"{seconds:.2f} s of training"])


# ---------------------------------------------------------------------------------- the parser


def _defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def _parser():
    parser = argparse.ArgumentParser(
        prog="fastrbm",
        description="Train, sample and measure restricted Boltzmann machines.",
        epilog=EXAMPLES["fastrbm"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fastrbm {fastrbm.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def add_command(name, help):
        return commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=EXAMPLES[name],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    _add_demo(add_command("demo", "train two models on handwritten digits and sample them"))
    add_command("info", "show version, compiler, OpenMP, SIMD level and threads")
    _add_train(add_command("train", "train a model by contrastive divergence"))
    _add_sample(add_command("sample", "draw states from a model by block Gibbs sampling"))
    _add_logz(add_command("logz", "compute log Z of a model exactly"))
    _add_bench(add_command("bench", "measure how long training takes, exact and CD-k, by size"))
    return parser


def _add_demo(parser):
    parser.add_argument(
        "--picture", default="fastrbm_demo.png", metavar="PNG", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--n-threads", type=int, help="default: all of the machine")


def _add_train(parser):
    parser.add_argument("data", help="an .npy or .npz file of rows (n_samples, n_visible)")
    parser.add_argument("-o", "--output", required=True, metavar="MODEL", help="the .npz to write")
    parser.add_argument("--key", help="the array in the data's .npz")
    parser.add_argument("--threshold", type=float, help="make data of the values: >= threshold")
    parser.add_argument("--model", metavar="MODEL", help="a saved model to start from")
    parser.add_argument("--validation", metavar="DATA", help="rows for the free-energy gap")
    parser.add_argument("--validation-key", metavar="KEY", help="the array in that .npz")
    parser.add_argument("--history", metavar="NPZ", help="write metrics of each epoch here")
    _add_common(parser)
    option = _options(parser, train_cd)
    option("--n-hidden", type=int)
    option("--visible", choices=("auto", "bernoulli", "spin", "gaussian"))
    option("--hidden", choices=("auto", "bernoulli", "spin", "gaussian"))
    option("--k", type=int, help="Gibbs sweeps of the negative phase")
    option("--persistent", action="store_true", help="keep chains from update to update (PCD)")
    option("--n-chains", type=int, help="persistent chains")
    option("--statistics", choices=("means", "samples"))
    option("--n-epochs", type=int)
    option("--batch-size", type=int)
    option("--learning-rate", type=float)
    option("--momentum", type=float)
    option("--weight-decay", type=float)
    option("--max-norm", type=float, help="largest norm of a gradient")
    option("--freeze", nargs="+", metavar="NAME", help="such as weights, visible_bias, hidden_bias")
    option("--metrics", nargs="*", metavar="NAME", help=f"of {', '.join(METRICS)}")
    option("--metrics-rows", type=int)
    option("--dtype", choices=("float32", "float64"))
    option("--n-threads", type=int)


def _add_sample(parser):
    parser.add_argument("model", help="an .npz that `fastrbm train` or RBM.save wrote")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help=".npy or .npz")
    parser.add_argument("--init", metavar="DATA", help="rows to start from, .npy or .npz")
    parser.add_argument("--init-key", metavar="KEY", help="the array in that .npz")
    parser.add_argument("--clamp", metavar="MASK", help="units that keep their value in --init")
    parser.add_argument("--clamp-key", metavar="KEY", help="the array in that .npz")
    _add_common(parser)
    option = _options(parser, sample)
    option("--n-chains", type=int)
    option("--n-draws", type=int)
    option("--burn-in", type=int, help="sweeps before the first draw")
    option("--thin", type=int, help="sweeps from draw to draw")
    option("--beta", type=float, help="inverse temperature")
    option("--dtype", choices=("float32", "float64", "int8"))
    option("--n-threads", type=int)


def _add_logz(parser):
    parser.add_argument("model", help="an .npz that `fastrbm train` or RBM.save wrote")
    parser.add_argument("--json", dest="as_json", action="store_true", help="print one JSON object")
    option = _options(parser, log_partition)
    option("--method", help="such as pairwise, split, quadrature")
    option("--dtype", choices=("float32", "float64"), help="of the products")
    option("--beta", type=float, help="inverse temperature")
    option("--max-seconds", type=float, help="refuse what would take longer")
    option("--max-bytes", type=float, help="refuse what would take more memory")
    option("--n-threads", type=int)
    option("--progress", action="store_true", help="show a bar; needs tqdm")
    parser.add_argument("--shards", metavar="K/N", help="run part K of N parts into --partials")
    parser.add_argument("--partials", metavar="FILE", help="an .npz; goes on where it was left")
    parser.add_argument(
        "--merge", nargs="+", metavar="FILE", help="log Z from the files of all parts"
    )


def _add_bench(parser):
    parser.add_argument("what", choices=("complexity",))
    parser.add_argument("--quick", action="store_true", help="few sizes, one minute")
    parser.add_argument(
        "--output", default=".", metavar="DIR", help="where the files go; default: %(default)s"
    )
    parser.add_argument("--max-seconds", type=float, help="leave out the sizes that take longer")
    parser.add_argument("--n-threads", type=int, help="default: all of the machine")


def _add_common(parser):
    parser.add_argument("--seed", type=int, help="the same seed gives the same result")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def _options(parser, function):
    """Return an add_argument for options that `function` has a default for."""
    defaults = _defaults(function)

    def option(flag, help="", **settings):
        default = defaults[flag[2:].replace("-", "_")]
        shown = f"default: {default}" if default not in (None, False, ()) else ""
        help = "; ".join(filter(None, (help, shown)))
        parser.add_argument(flag, default=argparse.SUPPRESS, help=help, **settings)

    return option
