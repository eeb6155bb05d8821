"""The cost of a program, read from its text after XLA has lowered it."""
