"""Links between the files of the repository lead somewhere."""

import re

import pytest

from tests.conftest import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "BUILD_NOTES.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PAGES = [page for page in PAGES if page.exists() and "_build" not in page.parts]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^(`{3,}|:{3,}|~{3,}).*?^\1\s*$", re.M | re.S)
CODE = re.compile(r"`[^`\n]*`")
TARGET = re.compile(r"^\(([\w.-]+)\)=\s*$", re.M)


def without_code(text):
    """The text without code; blocks of a directive, such as notes, are text."""
    blocks = lambda found: "" if found[0].startswith(("```", "~~~")) else found[0]  # noqa: E731
    return FENCED.sub(blocks, text)


def links(page):
    text = CODE.sub("", without_code(page.read_text()))
    found = [one or other for one, other in LINK.findall(text)]
    return [link for link in found if not re.match(r"[a-z][a-z+.-]*:", link)]


def anchors(page):
    """Of headings, as GitHub and MyST make them, and explicit targets."""
    text = without_code(page.read_text())
    found = set(TARGET.findall(text))
    count = {}
    for heading in re.findall(r"^#+\s+(.*?)\s*#*$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = count[slug] = count.get(slug, -1) + 1
        found.add(f"{slug}-{number}" if number else slug)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():  # MyST takes the name of a page without its ending, too
            target = next((p for p in target.parent.glob(f"{target.name}.*")), target)
        assert target.exists(), f"{link} in {page}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link} in {page}"


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One way\n[a](#one-way) [b](nothing.md) `[c](code.md)`\n")
    assert links(page) == ["#one-way", "nothing.md"]
    assert anchors(page) == {"one-way"}
    with pytest.raises(AssertionError, match=r"nothing\.md"):
        test_relative_links_lead_somewhere(page)
