r"""One page on the results of runs: figures, tables, verdicts, commands.

python -m experiments.report --runs=DIR --out=report.html

DIR is the folder of `experiments.reproduce`, of a sweep, of one run, or any folder with finished
runs in it: runs in one folder and of one task are compared. Its verdicts.json, published.json and
conditioning.json are shown too, and need no runs. The page starts with a question, its answer in a
sentence, and one figure; it is one file and needs no network. Files that cannot be read, and runs
that are not finished, are listed on stderr and in the page; the others stand. The folder
report_files beside it holds every figure as SVG and PNG and every table as CSV and LaTeX. Needs
the extra `plots`.
"""

import sys

from absl import flags

from plasticity.commands import install
from plasticity.experiments import cli
from plasticity.experiments.reports.collect import collect
from plasticity.experiments.run.storage import in_bucket, path_of
from plasticity.experiments.validate import ConfigError

RUNS = flags.DEFINE_string("runs", None, "folder with finished runs, at any depth")
OUT = flags.DEFINE_string("out", None, "the page; never overwritten")


def main() -> int:
    """Collects, draws, writes."""
    cli.require(runs=RUNS.value, out=OUT.value)
    try:
        from plasticity.experiments.reports.sections import write_report
    except ImportError as error:
        needs = f"a report needs the extra `plots`: {install('plots')} ({error})"
        raise ConfigError(needs) from error
    root = path_of("runs", RUNS.value)
    if in_bucket(root):
        how = f"gcloud storage cp --recursive {root} ."
        raise ConfigError(f"--runs={root} must be a local folder: {how}")
    problems: list[str] = []
    groups = collect(root, problems)
    out = cli.new_path("out", OUT.value)
    folder = out.with_name(f"{out.stem}_files")
    if folder.exists():
        why = f"needs the folder {folder}, which exists, and nothing is overwritten"
        raise ConfigError(f"--out={out} {why}: choose another name")
    write_report(root, groups, problems, out, folder)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(f"written: {out} and {folder}/")
    return 0


if __name__ == "__main__":
    cli.run(main)
