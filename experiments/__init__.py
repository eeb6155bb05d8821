"""Programs that train, evaluate and report; they share `experiments.cli`."""

import sys

try:
    import jax  # noqa: F401
except ValueError as error:  # JAX reads its environment variables when it is imported
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
