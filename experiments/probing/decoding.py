"""Linear decoding: can what was shown be read off a state by a linear map?"""

import numpy as np

# Ridge penalties that are tried, as shares of the mean squared length of a state.
PENALTIES = 10.0 ** np.arange(-4, 3)


def decoded(states: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Share of labels that ridge regression, learned on the first half, gets right on the second.

    Each column of labels is decoded by itself; the penalty is chosen by leaving one out.

    Args:
      states: [N, F].
      labels: [N, L], integers below `classes`.
      classes: how many there are.
    """
    half = len(states) // 2
    states = (states - states[:half].mean(0)).astype(np.float64)
    targets = np.eye(classes)[labels].reshape(len(labels), -1)  # [N, L * classes]
    middle = targets[:half].mean(0)
    answers = middle + _ridge(states[:half], targets[:half] - middle, states[half:])
    found = answers.reshape(*labels[half:].shape, classes).argmax(-1)
    return float((found == labels[half:]).mean())


def _ridge(states: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Answers to the `asked` states, by the dual form: states may be longer than there are many."""
    values, vectors = np.linalg.eigh(states @ states.T)
    scale = max(values.mean(), np.finfo(np.float64).tiny)

    def weights_and_error(penalty: float) -> tuple[np.ndarray, float]:
        inverse = (vectors / (np.maximum(values, 0) + penalty * scale)) @ vectors.T
        weights = inverse @ targets
        left_out = weights / np.diag(inverse)[:, None]  # residual of a point that was left out
        return weights, float((left_out**2).mean())

    tried = [weights_and_error(penalty) for penalty in PENALTIES]
    weights, _ = min(tried, key=lambda pair: pair[1])
    return asked @ states.T @ weights
