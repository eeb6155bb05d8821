"""What programs import, for the server that they are forked from: see tests/programs.py."""

import importlib
import pkgutil

import scipy.stats  # noqa: F401

from plasticity import experiments

for package in pkgutil.iter_modules(experiments.__path__, "plasticity.experiments."):
    if package.ispkg:  # a module that is not in a package is a program, or imported by these
        path = importlib.import_module(package.name).__path__
        for module in pkgutil.iter_modules(path, f"{package.name}."):
            importlib.import_module(module.name)
