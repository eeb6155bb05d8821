r"""When a trained network writes, what its fast weights store, and how much it depends on them.

python -m experiments.analysis --run=WORKDIR

Writes WORKDIR/analysis.json, from test episodes; for each seed:

  rates, sizes   {layer: [T]}, means over episodes of eta and of the write ||eta alpha delta||;
                 the same of the untrained network under `untrained`
  spectra        {layer: {"slow", "fast"}}: singular values; fast ones after the last step, mean
  gates          [T], mean of sigmoid(g): the learned part of a rate, without eta0 and the clip
  metrics        scalars: means over the episode `eta`, `write`, `gate`, and at each event as in
                 `eta_EVENT`; the gating by events `gating_index` of eta, `gating_index_size`,
                 `gating_index_gate`; all of these also with `_untrained`; `fast_to_slow_LAYER`,
                 ratio of norms; `decoded_T`, share of the symbols that a linear map decodes from
                 the fast weights after T steps; and the headline metric under interventions:
                 `METRIC_silent_LAYER`, `METRIC_silent_EVENT` (no writes there),
                 `METRIC_silent_after` (none after the last informative step), `METRIC_held`
                 (every step writes at the mean rate)
"""

import functools
import json
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import build, cli
from experiments.probing.probe import Probe
from experiments.probing.stored import ANALYSIS, read_analysis
from experiments.run.evaluate import trained_parameters
from experiments.run.result import read_result
from experiments.run.storage import WorkdirError, check_folder, is_there, path_of, write_json
from experiments.run.workdir import Workdir
from experiments.validate import ConfigError
from plasticity.rules import RULES
from plasticity.types import PyTree

RUN = flags.DEFINE_string("run", None, "workdir of a finished run of a plastic network")


def analyse(config: ConfigDict, params: PyTree) -> list[dict[str, Any]]:
    """A record per seed; see the top of this file."""
    probe, records = Probe(config), []
    for which, number in enumerate(probe.seeds.numbers):
        seed, own = jnp.int32(number), probe.seeds.pick(params, which)
        first = probe.learner.init(seed, probe.hyper).params
        traces, metrics, held = probe.observe(own, seed)
        traces_before, before, _ = probe.observe(first, seed)
        before |= probe.decodings(first, seed)
        metrics |= probe.decodings(own, seed) | probe.interventions(own, seed, held)
        metrics |= {f"{name}_untrained": value for name, value in before.items()}
        spectra = {}
        for name, fast in traces.pop("fast").items():
            layer = functools.reduce(operator.getitem, name.split("/"), own.slow["params"])
            slow = np.linalg.svd(np.asarray(layer["kernel"]), compute_uv=False)
            spectra[name] = {"slow": slow, "fast": fast}
            metrics[f"fast_to_slow_{name}"] = float(np.linalg.norm(fast) / np.linalg.norm(slow))
        traces_before.pop("fast")
        record = {"seed": number, "metrics": metrics, "spectra": spectra}
        records.append(record | {"untrained": traces_before} | traces)
    return records


def analysis_of(workdir: Workdir) -> dict[str, Any]:
    """analysis.json of a finished run; made if it is missing.

    Raises:
      ConfigError: the network is not plastic. WorkdirError: the run is not finished, or a file of
      it is damaged.
    """
    config = ConfigDict(workdir.load_config())
    path = workdir.path / ANALYSIS
    if not is_there(workdir.result):
        raise WorkdirError(
            f"{workdir.path} is not finished, for it has no result.json: repeat its command"
        )
    steps = read_result(workdir.result, config.train.steps)["steps"]
    if is_there(path):
        return read_analysis(path, steps)
    config = workdir.trained_config()
    if RULES[config.rule.name]().static:
        raise ConfigError(
            f"{workdir.path} holds a static network (model.name={config.model.name!r}, "
            f"rule.name={config.rule.name!r}): an analysis needs a plastic one"
        )
    if not workdir.saved_steps():
        raise WorkdirError(f"{workdir.checkpoints} holds no checkpoint with trained parameters")
    check_folder("run", workdir.path)
    step, params = trained_parameters(config, workdir)
    found = {"step": step, "events": build.make_task(config).events}
    write_json(path, jax.tree.map(_plain, found | {"seeds": analyse(config, params)}))
    return read_analysis(path, steps)


def _plain(value: Any) -> Any:
    """A leaf for JSON, with five significant digits; null where it is not finite."""
    if isinstance(value, str | int):
        return value
    rounded = np.vectorize(lambda x: float(f"{x:.5g}") if np.isfinite(x) else None, otypes=[object])
    return rounded(value).tolist()


def main() -> int:
    """Analyses, and prints the scalars."""
    cli.require(run=RUN.value)
    workdir = Workdir(str(path_of("run", RUN.value)))
    if not is_there(workdir.config):
        raise ConfigError(f"--run={RUN.value} is no run: it has no config.json")
    for record in analysis_of(workdir)["seeds"]:
        print(json.dumps({"seed": record["seed"]} | record["metrics"], indent=2))
    print(f"all of it: {workdir.path / ANALYSIS}")
    return 0


if __name__ == "__main__":
    cli.run(main)
