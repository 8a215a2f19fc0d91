"""fastrbm beside its peers, in one process, on the same threads, in turn.

    python bench/peers.py --list                             # names of the rows
    python bench/peers.py --data MNIST.npz                   # the rows that figures are asked of
    python bench/peers.py --rows 'cd1/784x64/*' pcd1/20x10   # by pattern, or by parts of a name
    python bench/peers.py --quality --rows all               # train for quality, time nothing
    python bench/peers.py --prototypes DIR ...               # calibrate the peers first
    python bench/peers.py --from RUN.json --readme README.md # write the table

Prints rows with ratios, their spread and shares of the machine's own sgemm; the whole run is kept
as JSON. What a ratio needs in order to count: bench/compare/calibration.py and quality.py.
"""

import argparse
import pathlib
import sys
import time

import mnist
from compare import asked, calibration, contest, inside, measure, quality, results
from compare.data import Data
from compare.machine_state import describe
from compare.task import EPOCH_ROWS, chosen, grid

import fastrbm

RESULTS = pathlib.Path(__file__).parent / "results"


def say(text):
    print(text, file=sys.stderr, flush=True)


def show(lines):
    print("\n".join(lines), flush=True)


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--data", metavar="NPZ", help="MNIST; by default FASTRBM_MNIST")
    add("--rows", nargs="+", default=["asked"], help="names, patterns, 'asked' or 'all'")
    add("--list", action="store_true", help="print the names of the rows and stop")
    add("--peers", nargs="+", choices=contest.PEERS, help="by default all that are installed")
    add("--prototypes", metavar="DIR", help="programs that the peers are calibrated against")
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.5, help="of a timed piece (default 0.5)")
    add("--max-seconds", type=float, help="begin no row after so long")
    add("--n-threads", type=int, default=fastrbm.show_config(mode="dicts")["n_threads"])
    add("--n-rows", type=int, default=EPOCH_ROWS, help="training rows, fewer for a trial")
    add("--quality", action="store_true", help="train instead of timing; kept for later runs")
    add("--seeds", type=int, default=quality.N_SEEDS)
    add("--kept", metavar="JSON", default=RESULTS / "quality.json", help="where quality is kept")
    add("--output", metavar="JSON", help="by default bench/results/peers-<date>.json")
    add(
        "--from",
        metavar="JSON",
        nargs="+",
        dest="runs",
        help="measure nothing, read these runs, judged by the quality that is known now",
    )
    add("--readme", metavar="FILE", help="write the table between its two marker comments")
    return parser.parse_args(argv)


def load_mnist(path):
    try:
        return mnist.load(path)
    except FileNotFoundError as error:
        say(f"{error}\nwithout it, rows named mnist run on independent bits of density 0.13")
        return None


def train(tasks, data, peers, arguments):
    """Measure quality, keep it, and print what it comes to."""
    kept = quality.Kept(arguments.kept)
    began = time.perf_counter()
    for task in tasks.values():
        if arguments.max_seconds and time.perf_counter() - began > arguments.max_seconds:
            say("time is up; the next run goes on from here")
            break
        if task.method == "gibbs":
            continue
        task = measure.settings_of(task, data)
        for name, (their_task, _) in measure.sides(task, peers).items():
            mine, theirs = (
                kept.measure(
                    their_task, side, data.train(task), data.test(task), arguments.n_threads,
                    arguments.seeds,
                )
                for side in ("fastrbm", name)
            )  # fmt: skip
            judged = quality.verdict(mine, theirs)
            word = {True: "holds", False: "DOES NOT HOLD", None: "needs more seeds"}
            print(f"{task.name}: ours minus {name}'s {results.quality_text(judged)}: "
                  f"{word[judged['holds']]}", flush=True)  # fmt: skip


def run(tasks, insides, data, peers, missing, arguments):
    """Time everything; returns the run, which is also kept as JSON after every row."""
    machine = describe(arguments.n_threads)
    path = arguments.output or RESULTS / f"peers-{machine['date'].replace(':', '')}.json"
    calibrated = {}
    if arguments.prototypes:
        calibrated = calibration.calibrate(arguments.prototypes, peers, arguments.n_threads, say)
    whole = {
        "machine": machine, "missing": missing, "calibration": calibrated, "rows": [],
        "left_out": [],
        "settings": {"rounds": arguments.rounds, "seconds": arguments.seconds,
                     "n_rows": arguments.n_rows},
    }  # fmt: skip
    show(results.head_text(whole))
    timing = arguments.n_threads, arguments.rounds, arguments.seconds
    kept = quality.Kept(arguments.kept)
    began = time.perf_counter()
    for name in [*tasks, *insides]:
        if arguments.max_seconds and time.perf_counter() - began > arguments.max_seconds:
            whole["left_out"].append(name)
            continue
        say(f"measuring {name}")
        if name in tasks:
            row = measure.measure(
                tasks[name], data, peers, *timing, kept=kept, calibration=calibrated
            )
        else:
            row = insides[name](data, *timing)
        whole["rows"].append(row)
        results.save(whole, path)
        show(results.row_text(row))
    show(results.asked_text(whole))
    say(f"kept in {path}")
    return whole


def main(argv=None):
    arguments = parse(argv)
    if arguments.runs:
        whole = measure.judge_again(results.load(arguments.runs), quality.Kept(arguments.kept))
        if arguments.output:
            results.save(whole, arguments.output)
        show(results.text(whole))
    else:
        tasks = {task.name: task for task in grid()}
        names = [*tasks, *inside.ROWS]
        if arguments.list:
            print("\n".join(names))
            return 0
        patterns = [
            name
            for pattern in arguments.rows
            for name in {"asked": asked.ROWS, "all": names}.get(pattern, [pattern])
        ]
        names = chosen(names, patterns)
        tasks = {name: tasks[name] for name in names if name in tasks}
        insides = {name: inside.ROWS[name] for name in names if name in inside.ROWS}
        peers, missing = contest.installed(arguments.peers)
        for name, why in missing.items():
            say(f"missing peer: {name} ({why})")
        data = Data(load_mnist(arguments.data), arguments.n_rows)
        if arguments.quality:
            train(tasks, data, peers, arguments)
            return 0
        whole = run(tasks, insides, data, peers, missing, arguments)
    if arguments.readme:
        results.write_readme(whole, arguments.readme)
    return 0


if __name__ == "__main__":
    sys.exit(main())
