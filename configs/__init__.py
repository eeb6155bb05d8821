"""Configs. --config takes the name of one of these, or the path of a config file."""

NAMES = (
    "copying", "cue_reward", "regression", "omniglot", "cifar_fs", "duan", "paper", "encoder",
    "large", "mqar", "parity", "modular", "aa_star", "abab_star", "anbn", "anbncn",
    "shuffle2", "permutations", "n_parity", "delayed_match", "working_memory",
    "needle", "rewriting", "mad", "fast_mapping", "what_and_when", "stream", "classify",
)  # fmt: skip
