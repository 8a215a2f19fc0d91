"""A run as JSON, as text, and as README's table.

The file of a run is {"machine", "settings", "missing", "calibration", "rows", "left_out"}; several
files of one machine can be read as one, the later rows instead of the earlier.
"""

import json
import pathlib
import re

from . import asked

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"

#: Rows of README's table, with the words for them.
README_ROWS = {
    "cd1/784x500/b100/bb/mnist": "CD-1, 784 x 500, batch 100",
    "cd1/784x500/b10/bb/mnist": "CD-1, 784 x 500, batch 10",
    "cd1/784x64/b100/bb/mnist": "CD-1, 784 x 64, batch 100",
    "cd1/784x64/b10/bb/mnist": "CD-1, 784 x 64, batch 10",
    "pcd1/784x500/b100/bb/mnist": "PCD-1, 784 x 500, batch 100",
    "cd10/784x500/b100/bb/mnist": "CD-10, 784 x 500, batch 100",
    "cd1/784x10/b100/sg/mnist": "CD-1, 784 x 10 Spin-Gaussian, batch 100",
    "cd1/20x10/b10/bb/half": "CD-1, 20 x 10, batch 10",
    "gibbs/784x500/c1000/bb/mnist": "Gibbs sampling, 784 x 500, 1,000 chains",
    "gibbs/64x32/c1000/bb/half": "Gibbs sampling, 64 x 32, 1,000 chains",
}
README_PEERS = ("torch", "numba", "NumPy", "scikit-learn", "rbms")


def save(run, path):
    """Write a run."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(run, indent=1) + "\n")


def load(paths):
    """Read one run, or several of one machine as one; a ValueError for different machines."""
    runs = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    whole = runs[0]
    for run in runs[1:]:
        for name in ("processor", "n_threads", "versions"):
            if run["machine"][name] != whole["machine"][name]:
                raise ValueError(f"runs of different {name}: their figures make no one table")
        rows = {row["name"]: row for row in whole["rows"] + run["rows"]}
        whole = {**run, "rows": list(rows.values()), "calibration": {
            **whole["calibration"], **run["calibration"]}}  # fmt: skip
    return whole


def time_text(row, side):
    """Seconds of an epoch of 60,000 rows, or unit updates a second."""
    figures = row["sides"][side]
    if "unit_updates_per_second" in figures:
        return f"{figures['unit_updates_per_second']:.3g} updates/s"
    seconds = figures["median"] * 60_000
    return f"{seconds:.3g} s" if seconds >= 0.01 else f"{1e3 * seconds:.3g} ms"


def row_text(row):
    """Yield the lines of a row."""
    if "sides" not in row:
        yield f"{row['name']}  ({row['what']})"
        for key, ratio in row["ratios"].items():
            yield f"    {key:<24} {_spread(ratio)}"
        return
    kernel = f", kernel {row['kernel']}" if "kernel" in row else ""
    yield f"{row['name']}  ({row['data']}; sgemm {row['sgemm_gflops']:.0f} GFLOP/s{kernel})"
    for side, figures in row["sides"].items():
        line = (
            f"    {side:<16} {time_text(row, side):>20} {figures['gflops']:8.1f} GFLOP/s"
            f" {figures['sgemm_share']:6.2f} of sgemm, {figures['n_threads']} threads"
        )
        ratio = row["ratios"].get(side)
        if ratio is not None:
            line += f"   {_spread(ratio)} of {ratio['over']}"
            line += "".join(
                f"; {text}" for text in (quality_text(ratio["quality"]), ratio["why"]) if text
            )
        yield line


def _spread(ratio):
    return f"{ratio['median']:.2f} x ({ratio['low']:.2f} to {ratio['high']:.2f})"


def quality_text(judged):
    """A verdict on quality in words; empty without one."""
    if judged is None:
        return ""
    if judged["difference"] is None:
        return "the peer diverged" if judged["holds"] else "ours diverged"
    error = "" if judged["error"] is None else f" +- {judged['error']:.3f}"
    return f"quality {judged['difference']:+.3f}{error} nats"


def head_text(run):
    """Yield lines on the machine, and on the peers that are missing or not calibrated."""
    for name, value in run["machine"].items():
        yield f"{name}: {value}"
    for name, why in run["missing"].items():
        yield f"missing peer: {name} ({why})"
    for name, verdict in run["calibration"].items():
        points = ", ".join(
            f"{p['n_hidden']}/{p['batch']} {p['ratio']:.2f}" for p in verdict["points"]
        )
        yield (
            f"calibration of {name}: {'holds' if verdict['holds'] else 'DOES NOT HOLD'}; its time"
            f" over its prototype's, by hidden/batch: {points}"
        )
    yield ""


def asked_text(run):
    """Yield what was left out, and the figures that are asked beside those measured."""
    if run["left_out"]:
        yield f"left out, for lack of time: {', '.join(run['left_out'])}"
    lines = list(asked.figures({row["name"]: row for row in run["rows"]}))
    if not lines:
        return
    yield ""
    yield "| | needed | aim | measured | holds |"
    yield "|---|---|---|---|---|"
    for what, needed, aim, measured, holds, why in lines:
        holds = ("yes" if holds else "NO") + (f", but does not count: {why}" if why else "")
        yield f"| {what} | {needed} | {aim} | {measured} | {holds} |"


def text(run):
    """Yield the lines of a whole run."""
    yield from head_text(run)
    for row in run["rows"]:
        yield from row_text(row)
    yield from asked_text(run)


def readme_table(run):
    """Return README's table: our time, and how many times longer each peer takes."""
    rows = {row["name"]: row for row in run["rows"]}
    peers = [
        peer
        for peer in README_PEERS
        if any(peer in rows[name]["ratios"] for name in README_ROWS if name in rows)
    ]
    lines = [
        "| | fastrbm | " + " | ".join(peers) + " |",
        "|---|---|" + "---|" * len(peers),
    ]
    for name, words in README_ROWS.items():
        if name not in rows:
            continue
        cells = []
        for peer in peers:
            ratio = rows[name]["ratios"].get(peer)
            # What does not count is not shown.
            cells.append(f"{ratio['median']:.1f} x" if ratio and ratio["counts"] else "")
        lines.append(f"| {words} | {time_text(rows[name], 'fastrbm')} | {' | '.join(cells)} |")
    machine = run["machine"]
    versions = ", ".join(
        f"{package} {version}" for package, version in machine["versions"].items() if version
    )
    lines += [
        "",
        f"Seconds of an epoch of 60,000 rows, or unit updates a second; a peer's column is how many"
        f" times longer it takes in the same run. {machine['processor']},"
        f" {machine['n_threads']} threads, SIMD level {machine['simd']}; {versions}.",
    ]
    return "\n".join(lines)


def write_readme(run, path):
    """Put the table between the two marker comments of a Markdown file."""
    path = pathlib.Path(path)
    before = path.read_text()
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if len(pattern.findall(before)) != 1:
        raise ValueError(f"{path} needs one line {BEGIN} and, after it, one line {END}")
    table = f"{BEGIN}\n{readme_table(run)}\n{END}"
    path.write_text(pattern.sub(lambda _: table, before))
