"""Folders of runs that were never trained, for what reads them."""

import json

import numpy as np

from plasticity.configs import copying

EVENTS = ["presentation"] * 2 + ["delay"] * 3 + ["recall"] * 2
STEPS = 60


def summary(value):
    return {"mean": value, "ci95": 0.01, "n": 100}


def make_run(folder, rule="hebbian", delay=20, value=0.5, seeds=3, analysed=False):
    """A finished run of copying, with every file that a report reads."""
    folder.mkdir(parents=True)
    config = copying.get_config(rule)
    config.task.delay, config.train.steps, config.train.num_seeds = delay, STEPS, seeds
    records = [
        {
            "seed": seed,
            "metrics": {"recall_accuracy": summary(value + shift)},
            "metrics_plasticity_off": {"recall_accuracy": summary(0.12 + shift)},
        }
        for seed, shift in enumerate(np.random.default_rng(delay).normal(0, 0.01, seeds))
    ]
    result = {"status": "complete", "main_metric": "recall_accuracy", "chance": 0.125}
    result |= {"steps": STEPS} | records[0] | ({"seeds": records} if seeds > 1 else {})
    files = {"config": config.to_dict(), "result": result}
    files["manifest"] = {"argv": ["/x/experiments/launch.py", "<b>"], "versions": {"jax": "0"}}
    if analysed:
        files["analysis"] = {"step": STEPS, "events": EVENTS, "seeds": list(map(analysis, records))}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    lines = [
        {"step": step, "split": "train", "recall_accuracy": step / 100}
        for step in (20, 40, 60)
        for _ in range(seeds)
    ]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def analysis(record):
    rates = {"fc1": [0.1 + record["seed"] / 100] * 7, "fc2": [0.05] * 6 + [None]}
    metrics = {
        "gating_index": 0.4,
        "gating_index_untrained": None,
        "recall_accuracy_silent_fc1": 0.2,
        "recall_accuracy_held": 0.5,
    }
    both = {"rates": rates, "sizes": rates}
    return {"seed": record["seed"], "metrics": metrics, "untrained": both} | both


def edit(path, change):
    """Changes the JSON value in a file."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
