"""Programs without the flags that they need."""

from tests.experiments.wrong_uses.case import Case

CASES = [
    Case("launch", (), "--config is missing"),
    Case("report", ("--out={tmp}/page.html",), "--runs is missing"),
]
