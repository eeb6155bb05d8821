"""Fast mapping, against a reader that keeps a dictionary of the words of an episode."""

import jax
import numpy as np
import pytest

from plasticity.tasks.fast_mapping import fast_mapping

SIZES = {"pairs": 2, "test_pairs": 3, "shapes": 3, "colours": 2, "words": 4}


def read(row):
    """(shape, colour, word, question); None: it is not shown."""
    parts = np.split(row, np.cumsum([SIZES["shapes"], SIZES["colours"], SIZES["words"]]))
    assert all(part.sum() in (0, 1) for part in parts)
    return [int(part.argmax()) if part.any() else None for part in parts]


@pytest.mark.parametrize("training", [False, True])
def test_who_remembers_the_words_answers_all(training):
    task = fast_mapping(**SIZES)
    task = task.trained_on if training else task
    keys = jax.random.split(jax.random.key(0), 200)
    episodes = jax.tree.map(np.asarray, jax.jit(jax.vmap(task.sample))(keys))
    sizes = set()
    for i in range(200):
        inputs, targets, weights, queries = (a[i] for a in episodes)
        shown = [read(row) for row in inputs if row.any()]
        objects = {(shape, colour): word for shape, colour, word, _ in shown}
        words = {word: of for of, word in objects.items()}
        assert len(objects) == len(words) == len(shown)
        sizes.add(len(shown))
        asked = []
        for row, target, weight in zip(
            queries, targets[task.steps :], weights[task.steps :], strict=True
        ):
            if not weight:
                continue
            shape, colour, word, question = read(row)
            of = words[word] if word is not None else (shape, colour)
            asked.append((question, of))
            answer = (5 + objects[of], of[0], 3 + of[1])[question]
            assert target == answer
        assert {*asked} == {(q, of) for q in range(3) for of in objects}
        assert len(asked) == 3 * len(shown)
    assert sizes == ({1, 2} if training else {3})


def test_chance_and_metrics():
    task = fast_mapping(**SIZES)
    assert task.chance == pytest.approx((1 / 3 + 1 / 2 + 1 / 4) / 3)
    episode = task.sample(jax.random.key(1))
    answers = np.array(jax.nn.one_hot(episode.targets, task.outputs))
    found = task.metrics(answers, episode)
    assert all(value == 1 for value in found.values())
    answers[3:6] = -answers[3:6]  # the names
    found = task.metrics(answers, episode)
    assert found["name_accuracy"] == 0
    assert found["shape_accuracy"] == found["colour_accuracy"] == 1
    assert found["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": 2}, "task.words=2 must be at least 3"),
        ({"shapes": 1, "colours": 2}, "make 2 different objects, and an episode has up to 3"),
    ],
)
def test_wrong_sizes(changes, message):
    with pytest.raises(ValueError, match=message):
        fast_mapping(**SIZES | changes)
