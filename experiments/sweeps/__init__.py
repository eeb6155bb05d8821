"""Many runs: points, the workers that take them in turn, and what becomes of them."""
