"""Downloads archives and turns them into the arrays that `plasticity.data` loads."""
