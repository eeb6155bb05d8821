"""Claims of Nested Learning about formal languages, which the preset `nested` tests."""

from plasticity.configs.claims import TWENTIETH, Claim, Comparison, Side
from plasticity.configs.nested import COUNTERS, MODULO, NETS, PARTS

BEHROUZ = "Behrouz et al. 2025"
LONGER = {"parity": 40}  # the longest strings of the test; 100 in the other languages
METRICS = {"parity": "accuracy", "shuffle2": "step_accuracy"}
LEVELS = {"model.levels": ""}  # of the nets that have none


def _side(language: str, net: str) -> Side:
    fields = LEVELS | {"model.mixer": "attention"} | (NETS | PARTS)[net]
    fields |= {"task.test_longest": LONGER.get(language, 100)}
    return Side(fields, METRICS.get(language, "string_accuracy"))


def _more(language: str, a: str, b: str, margin: float = 0.0) -> Comparison:
    sides = _side(language, a), _side(language, b)
    return Comparison(language, *sides, margin=margin, matters=TWENTIETH)


def nested_claims() -> list[Claim]:
    """All of them, on strings longer than in training."""
    counting = [
        Claim(
            f"hope/{language}",
            f"Hope tracks a state beyond the lengths of training where a Transformer, linear "
            f"attention and DeltaNet do not: {language}",
            BEHROUZ,
            [_more(language, "hope", net) for net in NETS if net != "hope"],
        )
        for language in MODULO
    ]
    counters = [
        Claim(
            f"hope/{language}",
            f"A Transformer, linear attention and DeltaNet answer as well as Hope: {language}",
            BEHROUZ,
            [_more(language, net, "hope", TWENTIETH) for net in NETS if net != "hope"],
        )
        for language in COUNTERS
    ]
    parts = [
        Claim(
            f"hope without/{part}, {language}",
            f"{text} tracks the state as well as Hope: {language}",
            "ours, on nested learning",
            [_more(language, part, "hope", TWENTIETH)],
        )
        for language in MODULO
        for part, text in (
            ("memory", "Self-modifying memory without levels"),
            ("decay", "Delta gradient descent with rates in (0, 2)"),
        )
    ]
    return [*counting, *counters, *parts]
