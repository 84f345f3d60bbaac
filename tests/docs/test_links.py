"""The links between the Markdown files work where the files are shown as they are, as on GitHub. Sphinx checks its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s]*)\)")
CODE: Final = re.compile(r"^(`{3,}).*?^\1$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: those in HTML, and those that GitHub makes from the headings."""
    text = page.read_text("utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {
        *re.findall(r'<a id="([^"]*)"', text),
        *(re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_text_and_a_target(page: Path) -> None:
    text = CODE.sub(lambda code: "" if "\n" in code[0] else "code", page.read_text("utf-8"))
    for title, link in LINK.findall(text):
        assert title, link
        name, _, anchor = link.partition("#")
        if not re.match(r"https?:", name):
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
