r"""When a trained network writes, what its fast weights store, and how much it depends on them.

python -m experiments.analysis --run=WORKDIR

Writes WORKDIR/analysis.json, from test episodes; for each seed:

  rates, sizes   {layer: [T]}, means over episodes of eta and of the write ||eta alpha delta||;
                 the same of the untrained network under `untrained`
  spectra        {layer: {"slow", "fast"}}: singular values; fast ones after the last step, mean
  matrices       rows, of the trained network: {step, after, layer, weights, MEASURES}. weights:
                 "fast", "effective", that is slow + fast, or "slow"; step: steps done, at the start
                 of the episode and after its phases, `after` is the phase that is over. MEASURES:
                 condition_number, rank, effective_rank, energy_1 and energy_4, all 0 for weights
                 that are 0, means over episodes; see `plasticity.spectra`. Of a stream, result.json
                 has those of the slow weights after each task
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

import json

from absl import flags

from plasticity.experiments import cli
from plasticity.experiments.probing.analysis import ANALYSIS, analysis_of
from plasticity.experiments.run.storage import is_there, path_of
from plasticity.experiments.run.workdir import Workdir
from plasticity.experiments.validate import ConfigError

RUN = flags.DEFINE_string("run", None, "workdir of a finished run of a plastic network")


def main() -> int:
    """Analyses, and prints the scalars."""
    cli.require(run=RUN.value)
    workdir = Workdir(str(path_of("run", RUN.value)), "--run")
    if not is_there(workdir.config):
        raise ConfigError(f"--run={RUN.value} is no run: it has no config.json")
    for record in analysis_of(workdir)["seeds"]:
        print(json.dumps({"seed": record["seed"]} | record["metrics"], indent=2))
    print(f"all of it: {workdir.path / ANALYSIS}")
    return 0


if __name__ == "__main__":
    cli.run(main)
