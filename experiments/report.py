r"""One page that tells what runs came to: figures, tables, verdicts, commands.

python -m experiments.report --runs=DIR --out=report.html

DIR is the folder of `experiments.reproduce`, of a sweep, or any folder with finished runs in it:
runs whose folders stand in one folder are compared. The page is one file and needs no network.
Beside it, in the folder report_files, lie every figure as SVG and PNG and every table as CSV and
LaTeX. Needs the extra `plots`.
"""

from absl import flags

from experiments import cli
from experiments.reports.collect import collect
from experiments.reports.sections import write_report
from experiments.run.storage import in_bucket, path_of
from experiments.validate import ConfigError

RUNS = flags.DEFINE_string("runs", None, "folder with finished runs, at any depth")
OUT = flags.DEFINE_string("out", None, "the page; never overwritten")


def main() -> int:
    """Collects, draws, writes."""
    cli.require(runs=RUNS.value)
    out = cli.new_path("out", OUT.value)
    folder = cli.new_path("out", str(out.with_name(f"{out.stem}_files")))
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError("a report needs the extra `plots`: pip install '.[plots]'") from error
    root = path_of("runs", RUNS.value)
    if in_bucket(root):
        raise ConfigError(
            f"--runs={root} must be a local folder: gcloud storage cp --recursive {root} ."
        )
    groups = collect(root)
    write_report(root, groups, out, folder)
    print(f"written: {out} and {folder}/")
    return 0


if __name__ == "__main__":
    cli.run(main)
