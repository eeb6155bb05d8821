"""Linear decoding: how well a linear map recovers labels from a state.

Ridge regression of 20 lines: scikit-learn would be a large dependency of `experiments.analysis`.
"""

import numpy as np

# Ridge penalties, in units of the mean eigenvalue of the Gram matrix.
PENALTIES = 10.0 ** np.arange(-4, 3)


def decoded(states: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """The accuracy of ridge regression, fitted to the first half, on the second half.

    Each column of labels is decoded separately, as one-hot targets. The penalty is the one with
    the least leave-one-out error on the first half.

    Args:
      states: [N, F].
      labels: [N, L], integers below `classes`.
      classes: their number.
    """
    half = len(states) // 2
    states = (states - states[:half].mean(0)).astype(np.float64)
    targets = np.eye(classes)[labels].reshape(len(labels), -1)  # [N, L * classes]
    middle = targets[:half].mean(0)
    answers = middle + _ridge(states[:half], targets[:half] - middle, states[half:])
    found = answers.reshape(*labels[half:].shape, classes).argmax(-1)
    return float((found == labels[half:]).mean())


def _ridge(states: np.ndarray, targets: np.ndarray, new_states: np.ndarray) -> np.ndarray:
    """Predictions for new states, in the dual form, which suits F much larger than N."""
    values, vectors = np.linalg.eigh(states @ states.T)
    scale = max(values.mean(), 1e-100)  # not 0, where all states are equal

    def fit(penalty: float) -> tuple[float, np.ndarray]:
        inverse = (vectors / (np.maximum(values, 0) + penalty * scale)) @ vectors.T
        weights = inverse @ targets
        # Leave-one-out residuals in closed form.
        return float(((weights / np.diag(inverse)[:, None]) ** 2).mean()), weights

    _, weights = min(map(fit, PENALTIES), key=lambda pair: pair[0])
    return new_states @ states.T @ weights
