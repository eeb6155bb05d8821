"""Many runs: the points of a sweep or a study, the workers that train them, and their tables."""
