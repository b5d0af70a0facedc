"""docs/method.md: every test that it names for a known answer is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.split("## Known answers")[1].split("\n## ")[0].splitlines() if line.startswith("| ")][1:]


def named_in(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_known_answer_names_a_test_that_is_there() -> None:
    assert len(ROWS) >= 20
    for row in ROWS:
        named = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", row)
        assert named, row
        for file, name in named:
            assert name in named_in(file) if name else named_in(file), row
