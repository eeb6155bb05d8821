"""Streams of tasks: which episodes are seen when, what is protected, which tasks there are."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity.data import DATASETS
from plasticity.data.cifar_fs import CLASSES, superclasses, tens
from plasticity.data.omniglot import by_alphabet
from plasticity.learner import RandomStream
from plasticity.outer.ewc import Protection, after_task, protected
from plasticity.outer.refresh import Refresh, with_refresh
from plasticity.outer.task_stream import TaskStream
from plasticity.sharding import Layout, replicate, shardings
from plasticity.tasks.copying import copying, permutations
from plasticity.tasks.few_shot import few_shot, groups_of, label_orders
from tests import pools
from tests.plasticity.test_learner import SEED, make

INDEX = jnp.arange(8)


def test_tasks_come_one_after_the_other_and_then_are_gone():
    stream = TaskStream(tasks=3, steps=10, batch=8)
    for step, task in ((0, 0), (9, 0), (10, 1), (29, 2), (35, 2)):
        drawn = stream.training(SEED, jnp.int32(step), INDEX)
        assert (np.asarray(drawn.which) == task).all()
        np.testing.assert_array_equal(drawn.place, INDEX)
    joint = stream._replace(joint=True).training(SEED, jnp.int32(4), INDEX)
    assert np.bincount(joint.which).tolist() == [2, 3, 3]
    np.testing.assert_array_equal(stream.evaluation(INDEX).which, INDEX % 3)


@pytest.mark.parametrize("told", [True, False])
def test_replay_takes_earlier_episodes_as_they_were(told):
    stream = TaskStream(tasks=3, steps=10, batch=8, replayed=3, told=told)
    draw = jax.jit(lambda step: stream.training(SEED, step, INDEX))
    found = [draw(jnp.int32(step)) for step in range(20, 30)]
    seen = {int(step) for drawn in found for step in drawn.step[:3]}
    assert max(seen) >= 20 if not told else max(seen) < 20
    assert {int(which) for drawn in found for which in drawn.which[:3]} >= {0, 1}
    for step, drawn in enumerate(found, 20):
        assert (np.asarray(drawn.step[3:]) == step).all()  # the rest is new
        assert (np.asarray(drawn.place[:3]) >= 3).all()  # what is replayed was new then
        np.testing.assert_array_equal(drawn.which, drawn.step // 10)
    np.testing.assert_array_equal(draw(jnp.int32(0)).step, np.zeros(8))  # there is nothing yet


def seen(stream):
    """(update drawn for, place, task) of all episodes, by update."""
    found = [stream.training(SEED, jnp.int32(step), INDEX) for step in range(24)]
    return [list(zip(*(np.asarray(a).tolist() for a in drawn), strict=True)) for drawn in found]


def test_spacing_changes_the_order_of_the_same_episodes():
    """Three tasks of eight updates, each a block of two that is seen four times."""
    massed = TaskStream(tasks=3, steps=8, batch=8, repetitions=4)
    one, other = seen(massed), seen(massed._replace(spaced=True))
    assert sorted(map(sorted, one)) == sorted(map(sorted, other))
    order = [update[0][2] for update in one], [update[0][2] for update in other]
    assert order[0] == [0] * 8 + [1] * 8 + [2] * 8
    assert order[1] == [0, 0, 1, 1] * 4 + [2] * 8
    # Of a task, every block is the first one again.
    for updates in (one, other):
        of_second = [update for update in updates if update[0][2] == 1]
        assert of_second == of_second[:2] * 4
        assert {first for update in of_second for first, _, _ in update} == {8, 9}
    once = seen(TaskStream(tasks=3, steps=8, batch=8))
    assert [update[0][:1] for update in once] == [(step,) for step in range(24)]


def test_replay_without_boundaries_takes_what_was_seen_when_tasks_take_turns():
    stream = TaskStream(
        tasks=3, steps=8, batch=8, replayed=3, told=False, repetitions=4, spaced=True
    )
    fresh = stream._replace(replayed=0)
    for step in (3, 9, 20):
        earlier = {
            (drawn.step[0].item(), drawn.which[0].item())
            for drawn in (fresh.training(SEED, jnp.int32(t), INDEX) for t in range(step))
        }
        drawn = stream.training(SEED, jnp.int32(step), INDEX)
        pairs = zip(drawn.step[:3].tolist(), drawn.which[:3].tolist(), strict=True)
        assert set(pairs) <= earlier


STREAM = {"tasks": 2, "vocabulary": 4}
SIX = {"steps": 6, "warmup": 0}


def test_a_replayed_episode_is_the_one_that_was_seen():
    replay = {"method": "replay", "share": 0.5}
    learner, _, _ = make("none", task=STREAM, train=SIX, stream=replay)
    at = jnp.int32(4)

    def episodes(step, index):
        return learner.episodes(SEED, RandomStream.TRAIN, step, index)

    drawn = learner.stream.training(SEED, at, jnp.arange(4))
    batch = episodes(at, jnp.arange(4)).inputs
    for slot in range(2):
        whole = episodes(drawn.step[slot], jnp.arange(4)).inputs
        np.testing.assert_array_equal(batch[slot], whole[drawn.place[slot]])


def test_what_is_protected_is_the_sum_over_tasks():
    """Against the penalty as it is written, with two tasks; online, one term is left."""
    w = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([0.5])}
    ends = [jax.tree.map(lambda a, s=s: s * a, w) for s in (1.0, 2.0)]
    fishers = [jax.tree.map(lambda a, s=s: a**2 + s, w) for s in (0.1, 0.2)]
    here, zero = jax.tree.map(lambda a: a - 3.0, w), jax.tree.map(jnp.zeros_like, w)
    for online in (False, True):
        settings = Protection(strength=7.0, decay=0.5, online=online)
        optimizer = protected(optax.identity(), settings)
        state = optimizer.init(w)
        for end, fisher in zip(ends, fishers, strict=True):
            state = after_task(state, end, fisher, settings)
        found, _ = optimizer.update(zero, state, here)
        for name in w:
            f, then, now = [f[name] for f in fishers], [e[name] for e in ends], here[name]
            expected = f[0] * (now - then[0]) + f[1] * (now - then[1])
            if online:
                expected = (0.5 * f[0] + f[1]) * (now - then[1])
            np.testing.assert_allclose(found[name], 7.0 * expected, rtol=1e-5)


@pytest.mark.thorough
def test_the_end_of_a_task_keeps_the_fisher_information_of_its_episodes():
    ewc = {"method": "ewc", "fisher_episodes": 3}
    learner, hyper, state = make("none", task=STREAM, train=SIX, stream=ewc)
    state = state._replace(step=jnp.int32(3))
    kept = jax.jit(learner.end_task)(state, SEED, hyper).optimizer

    @jax.jit
    def gradient(index):
        args = (SEED, jnp.int32(2), index, hyper)
        return jax.grad(lambda p: learner.loss(p, *args)[0])(state.params)

    squares = [jax.tree.map(jnp.square, gradient(jnp.array([i]))) for i in range(3)]
    expected = jax.tree.map(lambda *own: sum(own) / 3, *squares)
    for found, mean, w, pull in zip(
        *map(jax.tree.leaves, (kept.fisher, expected, state.params, kept.pull)), strict=True
    ):
        np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(pull, found * w, rtol=1e-5, atol=1e-9)
    assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(kept.fisher))


@pytest.mark.slow
def test_two_devices_keep_what_one_keeps(program_with_devices):
    program_with_devices(2, "tests.plasticity.test_task_stream", "check_devices")


def check_devices():
    """Episodes, or layers, over two devices: the same Fisher information and pull."""
    ewc = {"method": "ewc", "fisher_episodes": 4}
    learner, hyper, state = make("hebbian", task=STREAM, train=SIX, stream=ewc)
    split, found = learner.make_network(hyper).backbone.shard_by, []
    state = state._replace(step=jnp.int32(3))
    for layout in (Layout(1, 1), Layout(2, 1), Layout(1, 2)):
        mesh = layout.mesh(learner.batch)
        there = shardings(state, mesh, split)
        end_task = jax.jit(
            dataclasses.replace(learner, layout=layout).end_task, out_shardings=there
        )
        kept = end_task(jax.device_put(state, there), *replicate((SEED, hyper), mesh))
        found.append(jax.device_get(kept.optimizer))
    for one, *others in zip(*map(jax.tree.leaves, found), strict=True):
        for other in others:
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)


def test_a_random_refresh_is_as_large_as_one_along_the_gradient():
    w, key = {"a": jnp.arange(1.0, 7.0)}, jax.random.key(0)

    def gradient(params):
        return 0.0, jax.tree.map(lambda a: a**2, params)

    changes = []
    for random in (False, True):
        settings = Refresh(0.1, 0.0, random=random)
        changes.append(with_refresh(gradient, w, key, settings)[0]["a"] - w["a"])
        half = with_refresh(gradient, w, key, settings, {"a": jnp.ones(6)})[0]["a"] - w["a"]
        np.testing.assert_allclose(half, changes[-1] / 2, rtol=1e-4)
    sizes = [np.linalg.norm(change) for change in changes]
    np.testing.assert_allclose(sizes, 0.1 * np.linalg.norm(w["a"]), rtol=1e-4)
    assert not np.allclose(*changes)


def test_copying_permutes_what_enters_and_not_what_is_asked():
    orders = permutations(4, 6)
    assert [sorted(row) for row in orders] == [list(range(6))] * 4
    np.testing.assert_array_equal(orders[0], range(6))
    np.testing.assert_array_equal(orders[:, 0], range(4))  # the blank tells tasks apart
    task, alone = (copying(seq_length=2, delay=1, vocabulary=6, tasks=n) for n in (4, 1))
    for which in range(4):
        key = jax.random.key(which)
        episode, plain = task.sample(key, None, which), alone.sample(key, None)
        np.testing.assert_array_equal(episode.targets, plain.targets)
        entered = np.asarray(episode.inputs.argmax(-1))
        np.testing.assert_array_equal(entered, orders[which][plain.inputs.argmax(-1)])
    with pytest.raises(ValueError, match=r"task.tasks=7 must be at most 6"):
        copying(vocabulary=6, tasks=7)


def test_groups_are_those_of_the_data_sets():
    for groups, tasks, ways in ((superclasses(CLASSES), 20, 5), (tens(CLASSES), 10, 10)):
        assert [len(group) for group in groups] == [ways] * tasks
        assert sorted(name for group in groups for name in group) == sorted(CLASSES)
    names = [f"r/{alphabet}/character0{i}" for alphabet in "BA" for i in (2, 1)]
    assert by_alphabet(names) == [names[3:1:-1], names[1::-1]]
    for dataset, stream in (("omniglot", "alphabets"), ("cifar_fs", "superclasses")):
        assert stream in DATASETS[dataset].groups


def test_a_swap_exchanges_two_labels():
    settings = few_shot.settings(ways=5, stream="swaps", tasks=4, labels="fixed", queries=2)
    orders = label_orders(settings)
    assert [sorted(row) for row in orders] == [[0, 1, 2, 3, 4]] * 4
    assert [(a != b).sum() for a, b in itertools.pairwise(orders)] == [2, 2, 2]
    assert groups_of(settings) == [[0, 1, 2, 3, 4]] * 4


def test_fixed_labels_are_those_of_the_task_and_test_examples_are_not_trained_on(monkeypatch):
    """Features name their class and their example."""
    numbers = np.arange(pools.CLASSES * pools.PER_CLASS, dtype=np.float32)
    shape = (pools.CLASSES, 1, pools.PER_CLASS, 1)
    pools.install(monkeypatch, jnp.asarray(numbers.reshape(shape)))
    fields = {"ways": 4, "shots": 1, "queries": 2, "features": "yes"}
    task = few_shot(**fields, stream="swaps", tasks=3, labels="fixed")
    orders = label_orders(few_shot.settings(**fields, stream="swaps", tasks=3, labels="fixed"))
    examples = {}
    for split, which in (("train", 0), ("train", 2), ("validation", 1), ("test", 1)):
        for seed in range(5):
            episode = jax.jit(task.sample)(jax.random.key(seed), task.data[split], which)
            shown = np.concatenate([episode.inputs[:, 0], episode.queries[:, 0]]).astype(int)
            classes, found = np.divmod(shown, pools.PER_CLASS)
            np.testing.assert_array_equal(episode.targets, orders[which][classes])
            examples.setdefault(split, set()).update(found.tolist())
    assert not (examples["train"] & (examples["test"] | examples["validation"]))
    assert not examples["test"] & examples["validation"]


def test_typical_images_of_a_stream_are_of_training(monkeypatch):
    """All embeddings are centred by them. Here the grey of an image is its number."""
    numbers = np.arange(pools.PER_CLASS, dtype=np.uint8)[None, :, None, None, None]
    images = np.broadcast_to(numbers, (pools.CLASSES, pools.PER_CLASS, 28, 28, 1))
    pools.install(monkeypatch, jnp.asarray(images))
    fields = {"stream": "swaps", "tasks": 2, "labels": "fixed"}
    task = few_shot(ways=4, shots=1, queries=1, **fields)
    own = few_shot.settings(ways=4, queries=1, **fields).described
    grey = task.reference_images * np.asarray(own.deviation) + np.asarray(own.mean)
    found = set(np.rint(np.unique(np.asarray(grey)) * 255).tolist())
    assert found <= set(np.unique(task.data["train"].examples).tolist())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stream": "alphabets"}, "give both, as in alphabets and 2"),
        ({"tasks": 2}, "give both"),
        ({"stream": "tens", "tasks": 2}, "task.stream='tens' is unknown"),
        ({"stream": "swaps", "tasks": 2, "queries": 2}, "'random' must be 'fixed'"),
        ({"labels": "fixed"}, "'fixed' must be 'random' for task.stream=''"),
        ({"stream": "alphabets", "tasks": 2}, "more than the 4 images of a class that a stream"),
    ],
)
def test_a_stream_of_images_that_cannot_be_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        few_shot.settings(**fields)
