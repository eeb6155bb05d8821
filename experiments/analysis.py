r"""What a trained net's plasticity does: when it writes, what it stores, what it is good for.

python -m experiments.analysis --run=WORKDIR

Writes WORKDIR/analysis.json, from test episodes; for each seed:

  rates, sizes   {layer: [T]}, means over episodes of eta and of the write ||eta alpha delta||;
                 the same of the untrained net under `untrained`
  spectra        {layer: {"slow", "fast"}}: singular values; fast ones after the last step, mean
  gates          [T], mean of sigmoid(g): what of a rate is learned, without eta0 and the clip
  metrics        scalars: means over the episode `eta`, `write`, `gate`, and at each event as in
                 `eta_EVENT`; how far each is gated by events: `gating_index` of eta,
                 `gating_index_size`, `gating_index_gate`; all of these also with `_untrained`;
                 `fast_to_slow_LAYER`, ratio of norms; `decoded_T`, share of the symbols that a
                 linear map reads off the fast weights after T steps; and the main metric under
                 interventions: `METRIC_silent_LAYER`, `METRIC_silent_EVENT` (no writes there),
                 `METRIC_silent_after` (none after the last informative step), `METRIC_held`
                 (every step writes at the mean rate)
"""

import json
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments import build, cli
from experiments.probing.probe import Probe
from experiments.run.evaluate import trained_parameters
from experiments.run.storage import write_json
from experiments.run.workdir import Workdir
from experiments.validate import ConfigError, validate
from plasticity.network import Parameters
from plasticity.rules import RULES
from plasticity.types import PyTree

RUN = flags.DEFINE_string("run", None, "workdir of a trained, plastic net")
ANALYSIS = "analysis.json"  # in the workdir


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
        spectra = _spectra(own, traces.pop("fast"))
        traces_before.pop("fast")
        metrics |= {f"fast_to_slow_{name}": _ratio(both) for name, both in spectra.items()}
        records.append(
            {"seed": number, "metrics": metrics, "spectra": spectra, "untrained": traces_before}
            | traces
        )
    return records


def _spectra(params: Parameters, fast: Mapping[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    spectra = {}
    for name, values in fast.items():
        layer = params.slow["params"]
        for part in name.split("/"):
            layer = layer[part]
        slow = np.linalg.svd(np.asarray(layer["kernel"]), compute_uv=False)
        spectra[name] = {"slow": slow, "fast": values}
    return spectra


def _ratio(both: Mapping[str, np.ndarray]) -> float:
    return float(np.linalg.norm(both["fast"]) / np.linalg.norm(both["slow"]))


def analysis_of(workdir: Workdir) -> dict[str, Any]:
    """analysis.json of a trained run; made if it is not there.

    Raises:
      ConfigError: its net is not plastic. WorkdirError: there is no trained net.
    """
    path = workdir.path / ANALYSIS
    if path.exists():
        return json.loads(path.read_text())
    config = ConfigDict(workdir.load_config())
    validate(config)
    if RULES[config.rule.name]().static:
        raise ConfigError(f"--run={workdir.path} holds a net under the rule {config.rule.name!r}")
    step, params = trained_parameters(config, workdir)
    records = analyse(config, params)
    found = {"step": step, "events": build.make_task(config).events, "seeds": records}
    write_json(path, jax.tree.map(_plain, found))
    return json.loads(path.read_text())


def _plain(value: Any) -> Any:
    """As JSON knows it; to five digits, for traces are many."""
    if isinstance(value, str):
        return value
    rounded = np.vectorize(lambda x: float(f"{x:.5g}") if np.isfinite(x) else None, otypes=[object])
    return rounded(value).tolist()


def main() -> int:
    """Analyses, and prints the scalars."""
    cli.require(run=RUN.value)
    workdir = Workdir(RUN.value)
    for record in analysis_of(workdir)["seeds"]:
        print(json.dumps({"seed": record["seed"]} | record["metrics"], indent=2))
    print(f"written: {workdir.path / ANALYSIS}")
    return 0


if __name__ == "__main__":
    cli.run(main)
