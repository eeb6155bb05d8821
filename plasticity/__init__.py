"""Fast-weight networks. The calls for notebooks are imported on their first use."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name not in ("Run", "open_run", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from plasticity.experiments import notebook

    return getattr(notebook, name)
