"""What a program costs, read off its text after XLA has lowered it."""
