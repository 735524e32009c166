#!/usr/bin/python3
"""Plots cycles by cause, one stacked bar a technique, from a results database of `ringside compare`.

Writes <directory>/compare.png and compare.svg. The same database gives the same SVG, byte for byte.
"""
import argparse
import os
import sqlite3
import sys


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("database", help="results database, e.g. results.db")
    parser.add_argument("-o", "--output", default=".", metavar="DIRECTORY", help="where the plots go (default: here)")
    parser.add_argument("-c", "--comparison", type=int, help="id of the comparison (default: the last one)")
    parser.add_argument("-m", "--mode", choices=("execution", "replay"), default="execution")
    parser.add_argument("--relative", action="store_true", help="bars relative to native's cycles")
    return parser.parse_args()


def fail(message):
    sys.exit(f"plot_compare: {message}")


def rows_read(options):
    """(title, [technique], {cause: [cycles per technique]}) in the order of the registry."""
    if not os.path.exists(options.database):
        fail(f"{options.database}: no such file; make one with: ringside compare")
    try:
        db = sqlite3.connect(f"file:{options.database}?mode=ro", uri=True)
        comparison = options.comparison or db.execute("SELECT max(id) FROM comparisons").fetchone()[0]
        title = db.execute("SELECT title FROM comparisons WHERE id = ?", (comparison,)).fetchone()
        rows = db.execute(
            "SELECT technique, cause, avg(cycles) FROM v_cycles_by_cause WHERE comparison = ? AND mode = ?"
            " GROUP BY technique, cause ORDER BY min(run), position", (comparison, options.mode)).fetchall()
    except sqlite3.Error as error:
        fail(f"{options.database}: {error}; it must come from: ringside compare")
    if not title or not rows:
        fail(f"{options.database}: no {options.mode} runs in comparison {comparison}")
    techniques = list(dict.fromkeys(row[0] for row in rows))
    causes = {}
    for technique, cause, cycles in rows:
        causes.setdefault(cause, [0.0] * len(techniques))[techniques.index(technique)] = cycles
    return title[0], techniques, {cause: values for cause, values in causes.items() if any(values)}


def plot(options, title, techniques, causes):
    try:
        import matplotlib
    except ImportError:
        fail("this Python has no matplotlib: install python3-matplotlib and use /usr/bin/python3")
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "ringside"
    from matplotlib import pyplot

    scale, label = 1e6, "cycles, millions"
    if options.relative:
        if "native" not in techniques:
            fail("--relative needs a native run in the comparison")
        scale = sum(values[techniques.index("native")] for values in causes.values())
        label = "cycles, native = 1"
    figure, axes = pyplot.subplots(figsize=(1.6 * len(techniques) + 4, 5))
    bottom = [0.0] * len(techniques)
    colours = pyplot.get_cmap("tab10")
    for number, (cause, values) in enumerate(causes.items()):
        heights = [value / scale for value in values]
        axes.bar(techniques, heights, bottom=bottom, label=cause, color=colours(number % 10), width=0.6)
        bottom = [low + height for low, height in zip(bottom, heights)]
    for position, total in enumerate(bottom):
        axes.text(position, total, f"{total:.3g}", ha="center", va="bottom")
    axes.set_ylabel(label)
    axes.set_title(f"{title} ({options.mode})")
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.tight_layout()
    os.makedirs(options.output, exist_ok=True)
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        path = os.path.join(options.output, f"compare.{kind}")
        figure.savefig(path, metadata=metadata, dpi=150)
        print(path)


def main():
    options = arguments()
    plot(options, *rows_read(options))


if __name__ == "__main__":
    main()
