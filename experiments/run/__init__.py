"""One run: its folder, checkpoints, metrics, seeds, signals, and the processes that share it."""
