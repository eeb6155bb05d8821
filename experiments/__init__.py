"""Programs that train, evaluate and report; they share `experiments.cli`."""

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

try:
    import jax  # noqa: F401
except ValueError as error:  # JAX reads its environment variables when it is imported
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


class _OneModule(SourceFileLoader):
    """Imports `experiments.X`, as a clone has it, as the one module `plasticity.experiments.X`."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path) if name.startswith("experiments.") else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = cls(name, spec.loader.path)
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return importlib.import_module(f"plasticity.{spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: its import has run it."""


if __name__ == "experiments":
    sys.meta_path.insert(0, _OneModule)
