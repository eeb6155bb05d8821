"""Without the evidence no trained net beats the chance level of a task."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity.learner import Hyperparameters, Learner, RandomStream
from plasticity.memory import factored
from plasticity.model import EncoderSettings, TransformerSettings, transformer
from plasticity.network import Network
from plasticity.tasks import TASKS
from plasticity.tasks.classify import classify
from plasticity.tasks.copying import copying
from plasticity.tasks.cue_reward import cue_reward
from plasticity.tasks.fast_mapping import fast_mapping
from plasticity.tasks.few_shot import few_shot
from plasticity.tasks.formal import EQUALS, NUMBERS, modular, parity
from plasticity.tasks.mad import mad_compression, mad_copying, mad_memorisation
from plasticity.tasks.mad_recall import mad_fuzzy_recall, mad_noisy_recall, mad_recall
from plasticity.tasks.mqar import mqar
from plasticity.tasks.needle import needle
from plasticity.tasks.next_symbols import aa_star, abab_star, anbn, anbncn, shuffle2
from plasticity.tasks.permutations import permutations
from plasticity.tasks.regression import regression
from plasticity.tasks.rewriting import rewriting
from plasticity.tasks.sequences import PAD
from plasticity.tasks.time_scales import delayed_match, n_parity
from plasticity.tasks.what_and_when import what_and_when
from plasticity.tasks.working_memory import WORKING_MEMORY
from tests import pools
from tests.networks import make_rule
from tests.sample import sampled

SEED = jnp.zeros((), jnp.int32)
STEPS, FEATURES, WAYS = 150, 8, 3
STRINGS = {"test_shortest": 4, "test_longest": 8}
SHOTS = {"ways": WAYS, "shots": 2, "queries": 2, "features": "yes"}


def hide(columns):
    """Sets some columns of the inputs to zero."""

    def blind(episode, key):
        hidden = [
            None if part is None else part.at[..., columns].set(0)
            for part in (episode.inputs, episode.queries)
        ]
        return episode._replace(inputs=hidden[0], queries=hidden[1])

    return blind


def permute_labels(episode, key):
    """Permutes the labels of the support."""
    labels = slice(FEATURES, FEATURES + WAYS)
    other = jax.random.permutation(key, episode.inputs[:, labels])
    return episode._replace(inputs=episode.inputs.at[:, labels].set(other))


def hide_symbols(episode, key):
    return episode._replace(inputs=episode.inputs.at[:2].set(0))


def hide_values(episode, key):
    return episode._replace(inputs=episode.inputs.at[1:4:2].set(0))


def hide_all_but_the_length(episode, key):
    marks = (episode.inputs == PAD) | (episode.inputs == EQUALS)
    return episode._replace(inputs=jnp.where(marks, episode.inputs, NUMBERS))


def hide_shown_symbols(episode, key):
    return episode._replace(inputs=episode.inputs.at[:, 2:6].set(0))


def working_memory(name):
    sizes = {"items": 2, "test_items": 2, "interval": 1, "test_interval": 1, "symbols": 4}
    return lambda: WORKING_MEMORY[name](**sizes, **({"updates": 1} if name == "updating" else {}))


def hide_all_but_padding(episode, key):
    return episode._replace(inputs=jnp.minimum(episode.inputs, 1))


def hide_tokens(first, stop):
    """Replaces the tokens from `first` up to `stop` by one of them."""

    def blind(episode, key):
        hidden = (episode.inputs >= first) & (episode.inputs < stop)
        return episode._replace(inputs=jnp.where(hidden, first, episode.inputs))

    return blind


def hide_all(episode, key):
    return episode._replace(inputs=jnp.zeros_like(episode.inputs))


def patterns():
    """Classification of images that differ by class alone."""
    with pytest.MonkeyPatch.context() as patch:
        pools.install(patch, pools.patterns())
        return classify(labels=3, images=2)


def hide_images(episode, key):
    return episode._replace(
        inputs=episode.inputs._replace(image=jnp.zeros_like(episode.inputs.image))
    )


CASES = {
    "copying": (lambda: copying(seq_length=2, delay=1, vocabulary=5), hide_symbols),
    "cue_reward": (lambda: cue_reward(num_pairs=3, cue_dim=4), hide(4)),
    "regression": (lambda: regression(input_dim=1, k_support=4, k_query=3), hide(1)),
    "few_shot": (lambda: few_shot(**SHOTS), hide(slice(0, FEATURES))),
    "classify": (patterns, hide_images),
    "mqar": (lambda: mqar(vocabulary=8, steps=8, pairs=2), hide_values),
    "parity": (lambda: parity(test_shortest=3, test_longest=4), hide_all_but_padding),
    "modular": (lambda: modular(test_shortest=3, test_longest=5), hide_all_but_the_length),
    "aa_star": (lambda: aa_star(**STRINGS), hide_all),
    "abab_star": (lambda: abab_star(**STRINGS), hide_all),
    "anbn": (lambda: anbn(**STRINGS), hide_all),
    "anbncn": (lambda: anbncn(**STRINGS), hide_all),
    "shuffle2": (lambda: shuffle2(**STRINGS), hide_all),
    "permutations": (
        lambda: permutations(objects=3, moved=2, test_shortest=3, test_longest=3),
        hide_all_but_padding,
    ),
    "n_parity": (lambda: n_parity(largest=2), hide_all_but_padding),
    "delayed_match": (lambda: delayed_match(largest=2), hide_all_but_padding),
    **{name: (working_memory(name), hide_shown_symbols) for name in WORKING_MEMORY},
    "needle": (
        lambda: needle(vocabulary=9, test_steps=7, needles=1, distractors=0),
        hide_tokens(6, 9),
    ),
    "rewriting": (lambda: rewriting(vocabulary=8, keys=2, writes=2), hide_tokens(4, 8)),
    "mad_recall": (lambda: mad_recall(vocabulary=4, length=8), hide_tokens(2, 4)),
    "mad_noisy_recall": (
        lambda: mad_noisy_recall(vocabulary=6, length=10, noise_vocabulary=2),
        hide_tokens(2, 4),
    ),
    "mad_fuzzy_recall": (
        lambda: mad_fuzzy_recall(vocabulary=7, length=12, key_tokens=2, value_tokens=2),
        hide_tokens(3, 6),
    ),
    "mad_copying": (lambda: mad_copying(vocabulary=5, length=8, symbols=2), hide_tokens(0, 3)),
    "mad_compression": (lambda: mad_compression(vocabulary=5, length=4), hide_tokens(0, 4)),
    "mad_memorisation": (lambda: mad_memorisation(vocabulary=9, length=4), hide_tokens(0, 4)),
    "fast_mapping": (
        lambda: fast_mapping(pairs=2, test_pairs=2, shapes=2, colours=2, words=2),
        hide_all,  # but the queries
    ),
    "what_and_when": (
        lambda: what_and_when(cues=1, outcomes=2, latest=2, rounds=4, units=6),
        hide(slice(0, 8)),
    ),
    "few_shot, permuted": (lambda: few_shot(**SHOTS), permute_labels),
}


@pytest.fixture
def features(monkeypatch):
    pools.install(monkeypatch, jnp.asarray(pools.clustered_features(FEATURES)))


def after_training(task, blind, rule):
    """A compiled f(blinded): by how many standard errors the headline metric beats chance.

    Training, with or without the evidence in every episode, and the test are one program.
    """

    def sample(key, data):
        blinded, data = data
        episode = task.sample(key, data)
        without = blind(episode, jax.random.fold_in(key, 1))
        return jax.tree.map(lambda a, b: jnp.where(blinded, b, a), episode, without)

    settings = TransformerSettings(
        layers=2, heads=2, width=32, feed_forward=32, dropout=0.0, position="learned"
    )
    backbone = transformer(settings, EncoderSettings(filters=8), task.shape)
    made = make_rule(rule, alpha="per_neuron", alpha_init="uniform", alpha_scale=1.0)
    network = Network(backbone, made, factored())
    seen = task._replace(sample=sample, training=None)  # trained on the lengths of the test
    learner = Learner(seen, lambda hyper: network, 32, STEPS, 10, "cosine")
    data = task.data or dict.fromkeys(("train", "test"))

    @jax.jit
    def tested(blinded):
        def hyper(split):
            return Hyperparameters({}, 1e-2, 0.0, 1.0, (blinded, data[split]))

        def step(state, _):
            return learner.train_step(state, SEED, hyper("train"))[0], None

        state, _ = jax.lax.scan(step, learner.init(SEED, hyper("train")), length=STEPS)
        index = jnp.arange(1024)
        found = learner.evaluate(state.params, SEED, RandomStream.TEST, index, hyper("test"), True)
        return found[task.main_metric]

    def advantage(blinded):
        values = np.asarray(tested(blinded))
        gain = values.mean() - task.chance
        if "mse" in task.main_metric:
            gain = -gain
        # Constant answers may be right equally often in every episode: the deviation is then 0.
        return gain / max(values.std() / len(values) ** 0.5, 1e-3)

    return advantage


@functools.cache
def case(name):
    make, blind = CASES[name]
    return after_training(make(), blind, "hebbian" if "permuted" in name else "none")


def test_every_task_has_a_case():
    assert {name.split(",")[0] for name in CASES} == set(TASKS)


QUICK = {"mqar"}


def by_case(names):
    return pytest.mark.parametrize("name", sampled(names, QUICK.__contains__))


@pytest.mark.thorough
@by_case(CASES)
def test_no_net_beats_chance_without_the_evidence(name, features):
    assert case(name)(True) < 4


@pytest.mark.thorough
@by_case([name for name in CASES if "," not in name])
def test_the_evidence_suffices_to_beat_chance(name, features):
    """The same net, trained as long, sees all: the test above can fail."""
    assert case(name)(False) > 10


@pytest.mark.slow
def test_class_order_gives_the_labels_away(features):
    """As in the published code: without any image a net learns the order of the labels."""
    task = few_shot(**SHOTS, order="stream", shuffle=False)
    assert after_training(task, hide(slice(0, FEATURES)), "none")(True) > 100
