"""Designs of classical conditioning, as trials of cues and reinforcement, and what they show.

A memory is the learner: the key of a trial is the vector of its cues, the value its reinforcement.
The entry of a cue is the root of its salience, and V of a cue is the answer to that cue alone. Then
the delta rule is the model of Rescorla and Wagner (1972), exactly:
V_i <- V_i + salience_i rate (reinforcement - sum of V over the cues of the trial).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity.experiments.probing.untrained import Untrained
from plasticity.site_steps import site_of
from plasticity.types import Array

CUES = "ABC"
SALIENCE = 0.5
TRIALS = 20  # of a phase


class Design(NamedTuple):
    """An experiment.

    phases: (trials that take turns, how often each is given). "AB+" is a trial with the cues A and
      B, which is reinforced; "A-" is one with A that is not.
    salience: of the cues that have another one than `SALIENCE`.
    """

    phases: tuple[tuple[str, int], ...]
    salience: Mapping[str, float] = {}

    @property
    def trials(self) -> list[str]:
        """In the order in which they are given."""
        return [trial for kinds, times in self.phases for trial in kinds.split() * times]

    @property
    def saliences(self) -> np.ndarray:
        """Of each cue."""
        return np.array([self.salience.get(cue, SALIENCE) for cue in CUES])

    @property
    def present(self) -> np.ndarray:
        """Whether a cue is present: [trials, cues], 0 or 1."""
        return np.array([[cue in trial for cue in CUES] for trial in self.trials], float)

    @property
    def reinforced(self) -> np.ndarray:
        """Whether a trial is: [trials], 0 or 1."""
        return np.array([trial.endswith("+") for trial in self.trials], float)


WEAK = {"B": 0.2}
DESIGNS = {
    "acquisition": Design((("A+", TRIALS),)),
    "extinction": Design((("A+", TRIALS), ("A-", TRIALS))),
    # As much time passes, without the cue: what is lost here is forgotten, not extinguished.
    "extinction_control": Design((("A+", TRIALS), ("C-", TRIALS))),
    "blocking": Design((("A+", TRIALS), ("AB+", TRIALS))),
    "blocking_control": Design((("C+", TRIALS), ("AB+", TRIALS))),
    "overshadowing": Design((("AB+", TRIALS),), WEAK),
    "overshadowing_control": Design((("B+", TRIALS),), WEAK),
    "conditioned_inhibition": Design((("A+ AB-", 4 * TRIALS),)),
    "overexpectation": Design((("A+ B+", 2 * TRIALS), ("AB+", TRIALS))),
    "overexpectation_control": Design((("A+ B+", 2 * TRIALS), ("A+ B+", TRIALS // 2))),
}


def drawn(seed: int) -> tuple[float, dict[str, Design]]:
    """A rate from .2 to .6, and the designs with other saliences.

    That of each cue is multiplied by a factor from .8 to 1.2, the same in all designs.
    """
    random = np.random.default_rng(seed)
    rate, factors = random.uniform(0.2, 0.6), random.uniform(0.8, 1.2, len(CUES))
    others = {name: (design.saliences * factors).tolist() for name, design in DESIGNS.items()}
    return rate, {
        name: design._replace(salience=dict(zip(CUES, others[name], strict=True)))
        for name, design in DESIGNS.items()
    }


def near_reinforcement(test: float, control: float) -> float:
    """1: V is what follows the cue, 1; 0 or less: it is no nearer to it than before."""
    return 1 - abs(1 - (test - control))


def share_lost(test: float, control: float) -> float:
    """The share of the control's V that is missing; NaN: the control has none."""
    return 1 - test / control if control else float("nan")


def below(test: float, control: float) -> float:
    """By how much V is smaller than the control's."""
    return control - test


class Effect(NamedTuple):
    """An effect is shown if its measure, of two V after the last trial, exceeds `MARGIN`.

    test, control: (design, cue).
    """

    about: str
    measure: Callable[[float, float], float]
    test: tuple[str, str]
    control: tuple[str, str]


MARGIN = 0.1
EFFECTS = {
    "acquisition": Effect(
        "a reinforced cue comes to predict what follows it",
        near_reinforcement,
        ("acquisition", "A"),
        ("acquisition", "B"),
    ),
    "extinction": Effect(
        "the cue without reinforcement loses more than time takes",
        share_lost,
        ("extinction", "A"),
        ("extinction_control", "A"),
    ),
    "blocking": Effect(
        "B gains less beside an A that was trained before than beside one that was not",
        share_lost,
        ("blocking", "B"),
        ("blocking_control", "B"),
    ),
    "overshadowing": Effect(
        "a weak B gains less beside a stronger A than alone",
        share_lost,
        ("overshadowing", "B"),
        ("overshadowing_control", "B"),
    ),
    "conditioned_inhibition": Effect(
        "B, with which A is not reinforced, falls below a cue that was never given",
        below,
        ("conditioned_inhibition", "B"),
        ("conditioned_inhibition", "C"),
    ),
    "overexpectation": Effect(
        "A, trained apart, falls when it is reinforced together with B",
        share_lost,
        ("overexpectation", "A"),
        ("overexpectation_control", "A"),
    ),
}


class Shown(NamedTuple):
    """What the designs say about an effect."""

    shows: bool
    measure: float
    test: float  # V
    control: float


def course(learner: Untrained, keys: Array, values: Array, cues: Array) -> Array:
    """The answers to cues [Q, I] before the first trial and after each: [T + 1, Q, O].

    A rule whose gradients are frozen takes them at the first of every C trials. So the trials are
    taken C at a time, and a state within a stretch is that after a part of it.
    """
    trials, stretch = len(keys), site_of(learner.rule).frozen
    rest = -trials % stretch  # trials that are added here, and whose answers are dropped
    parts = [jnp.pad(a, ((0, rest), (0, 0))) for a in (keys, values)]
    parts = [a.reshape(-1, stretch, a.shape[-1]) for a in parts]
    lengths = jnp.arange(1, stretch + 1)

    def ask(state: Any) -> Array:
        return learner.asked(state, cues, values.shape[-1])

    def body(state: Any, part: list[Array]) -> tuple[Any, Array]:
        def after(length: Array) -> Any:
            return learner.written(*part, state, jnp.arange(stretch) < length)

        states = jax.vmap(after)(lengths)
        return jax.tree.map(lambda a: a[-1], states), jax.vmap(ask)(states)

    empty = learner.empty(keys, values)
    _, answers = jax.lax.scan(body, empty, parts)
    answers = answers.reshape(-1, *answers.shape[2:])[:trials]
    return jnp.concatenate([ask(empty)[None], answers])


def courses(learner: Untrained, designs: Mapping[str, Design]) -> dict[str, np.ndarray]:
    """V before the first trial and after each: {design: [trials + 1, cues]}."""
    lengths = {name: len(design.trials) for name, design in designs.items()}
    most = max(lengths.values())  # all designs are of one length, so that one program serves them
    scale = jnp.array([np.sqrt(design.saliences) for design in designs.values()])
    present, reinforced = (
        jnp.array([np.pad(a, [(0, most - len(a)), *[(0, 0)] * (a.ndim - 1)]) for a in arrays])
        for arrays in zip(*((d.present, d.reinforced) for d in designs.values()), strict=True)
    )

    def one(present: Array, reinforced: Array, scale: Array) -> Array:
        return course(learner, present * scale, reinforced[:, None], jnp.diag(scale))[..., 0]

    found = np.asarray(jax.jit(jax.vmap(one))(present, reinforced, scale))
    return {n: V[: lengths[n] + 1] for n, V in zip(designs, found, strict=True)}


def verdict(effect: Effect, found: Mapping[str, np.ndarray]) -> Shown:
    """Whether the courses of all designs show an effect."""
    test, control = (
        float(found[design][-1, CUES.index(cue)]) for design, cue in (effect.test, effect.control)
    )
    measure = effect.measure(test, control)
    return Shown(measure > MARGIN, measure, test, control)
