"""Layer 4: reads claim files: which there are, and what each one states. The study inside is parsed when it is bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas.claims.rules import read_outcomes
from nas.errors import SpaceError, UserError, Where, nearest
from nas.paths import shipped
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe, read_yaml
from nas.values.architecture import key_of
from nas.values.claims import Claim, FigureSpec, Rule

KEYS = ("statement", "source", "published", "topic", "explain", "study", "rule", "figure")
REQUIRED = ("statement", "source", "study", "rule")
RULE_KEYS = ("supported_when", "contradicted_when")
FIGURE_KEYS = ("show", "names", "arms", "at", "title", "x", "y", "log", "shares", "places")


def claim_files(folders: Sequence[str | Path] = ()) -> tuple[Path, ...]:
    """Return the claim files there are: the shipped ones, those of `./claims`, those of `folders`; each name once.

    Raises UserError for a folder that is not there, and for two differing files of one name.
    """
    own = Path.cwd() / "claims"
    given = [Path(folder) for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise UserError(f"there is no folder {folder} to read claims from")
    known: dict[str, Path] = {}
    for folder in (shipped("search_spaces") / "claims", *([own] if own.is_dir() else []), *given):
        for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
            other = known.setdefault(file.stem, file)
            if other != file and other.read_bytes() != file.read_bytes():
                raise UserError(f"two claims are called '{file.stem}': {other} and {file}; rename one of the files")
    return tuple(known.values())


def load_claims(names: Sequence[str] = (), folders: Sequence[str | Path] = ()) -> tuple[Claim, ...]:
    """Read the claims called `names`, all there are by default. Raises UserError for an unknown name, SpaceError for a bad file."""
    files = {file.stem: file for file in claim_files(folders)}
    for name in names:
        if name not in files:
            raise UserError(f"'{name}' is no claim{nearest(name, files)}")
    claims = tuple(_with_study(read_claim(files[name]), files) for name in (dict.fromkeys(names) or files))
    # A topic's claims stand together, in the order in which the topics first come up.
    topics = list(dict.fromkeys(claim.topic for claim in claims))
    return tuple(sorted(claims, key=lambda claim: topics.index(claim.topic)))


def read_claim(file: Path) -> Claim:
    """Read one claim file; its name is the claim's. Raises SpaceError with file, line and what to do."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the claim {file}: {error}") from None
    return parse_claim(text, str(file))


def parse_claim(text: str, file: str) -> Claim:
    """Parse the text of a claim file; `file` gives its name. Raises SpaceError as `read_claim` does."""
    tree = read_yaml(text, file)
    if not isinstance(tree, MappingTree):
        raise SpaceError(f"a claim must be a mapping with `statement:`, `study:` and `rule:`, got {describe(tree)}", Where(file, tree.line))
    _refuse_unknown(tree, KEYS, file, "")
    for key in REQUIRED:
        if tree.get(key) is None:
            raise SpaceError(f"must be given: a claim needs {', '.join(REQUIRED)}", Where(file, tree.line, key))
    return Claim(
        name=Path(file).stem,
        file=file,
        statement=_words(tree, "statement", file),
        source=_words(tree, "source", file),
        published=_texts(tree, "published", file, ""),
        topic=_words(tree, "topic", file),
        explain=_words(tree, "explain", file),
        figures=_figures(tree.get("figure"), file),
        rule=_rule(tree, file),
        study=_study_text(tree, text, file),
        study_file=file,
        key=key_of(text),
    )


def _with_study(claim: Claim, files: Mapping[str, Path]) -> Claim:
    """Return a claim with the study of the claim that it names, where it has none of its own."""
    if "\n" in claim.study:
        return claim
    where = Where(claim.file, 0, "study")
    if claim.study not in files:
        raise SpaceError(f"'{claim.study}' is no claim whose study could be shared{nearest(claim.study, files)}", where)
    other = read_claim(files[claim.study])
    if "\n" not in other.study:
        raise SpaceError(f"'{claim.study}' shares the study of '{other.study}'; name that one", where)
    return replace(claim, study=other.study, study_file=other.file, key=key_of([claim.key, other.key]))


def _rule(tree: MappingTree, file: str) -> Rule:
    inner = tree.get("rule")
    if not isinstance(inner, MappingTree):
        message = f"must be a mapping of {' and '.join(RULE_KEYS)}, got {describe(inner)}" if inner else "must be given"
        raise SpaceError(message, Where(file, inner.line if inner else tree.line, "rule"))
    _refuse_unknown(inner, RULE_KEYS, file, "rule.")
    sides = []
    for key in RULE_KEYS:
        side = inner.get(key)
        if side is None:
            raise SpaceError(
                "must be given: a rule says what supports the claim and what contradicts it", Where(file, inner.line, f"rule.{key}")
            )
        sides.append(read_outcomes(side, file, f"rule.{key}"))
    return Rule(*sides)


def _figures(tree: Tree | None, file: str) -> tuple[FigureSpec, ...]:
    if tree is None:
        return ()
    found = []
    for item in tree.items if isinstance(tree, SequenceTree) else (tree,):
        if not isinstance(item, MappingTree):
            raise SpaceError(f"must be a mapping with `show:`, or a list of such, got {describe(item)}", Where(file, item.line, "figure"))
        _refuse_unknown(item, FIGURE_KEYS, file, "figure.")
        if not (show := _texts(item, "show", file, "figure.")):
            raise SpaceError("must be given: a metric, or a probe's series", Where(file, item.line, "figure.show"))
        at, title, x, y = (_words(item, key, file, "figure.") for key in ("at", "title", "x", "y"))
        log, shares = (_flag(item, key, file, "figure.") for key in ("log", "shares"))
        arms, names, places = (_texts(item, key, file, "figure.") for key in ("arms", "names", "places"))
        if names and len(names) != len(show):
            raise SpaceError(f"must name each of `show`: {len(show)}, got {len(names)}", Where(file, item.line, "figure.names"))
        found.append(FigureSpec(show, arms, at, title, x, y, log, shares, names, places, item.line))
    return tuple(found)


def _study_text(tree: MappingTree, text: str, file: str) -> str:
    """Cut out the block of `study:` as a space file of its own, every line where it stands in the claim's file."""
    entry = next(entry for entry in tree if entry.key == "study")
    inner = entry.value
    if isinstance(inner, ScalarTree) and inner.text:
        return inner.text  # the name of the claim whose study it is
    first = next(iter(inner), None) if isinstance(inner, MappingTree) else None
    if first is None or first.line <= entry.line:
        raise SpaceError("must be the sections of a space file, indented below it, each on its own lines", Where(file, entry.line, "study"))
    after = [other.line for other in tree if other.line > entry.line]
    lines = text.splitlines()[entry.line : min(after) - 1 if after else None]
    indent = next(len(line) - len(line.lstrip()) for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return "\n" * entry.line + "\n".join(line[indent:] for line in lines).rstrip() + "\n"


def _words(tree: MappingTree, key: str, file: str, path: str = "") -> str:
    """Return a text; '' where it is not given."""
    inner = tree.get(key)
    if inner is None:
        return ""
    if not isinstance(inner, ScalarTree) or not inner.text:
        raise SpaceError(f"must be text, got {describe(inner)}", Where(file, inner.line, f"{path}{key}"))
    return " ".join(inner.text.split())


def _flag(tree: MappingTree, key: str, file: str, path: str) -> bool:
    text = _words(tree, key, file, path) or "false"
    if text not in ("true", "false"):
        raise SpaceError(f"must be true or false, got '{text}'", Where(file, tree.line, f"{path}{key}"))
    return text == "true"


def _texts(tree: MappingTree, key: str, file: str, path: str) -> tuple[str, ...]:
    """Return a list of texts, or a single one as a list; () where it is not given."""
    inner = tree.get(key)
    if not isinstance(inner, SequenceTree):
        return (_words(tree, key, file, path),) if inner is not None else ()
    for item in inner.items:
        if not isinstance(item, ScalarTree) or not item.text:
            raise SpaceError(f"must be text or a list of texts, got {describe(item)} in it", Where(file, item.line, f"{path}{key}"))
    return tuple(" ".join(item.text.split()) for item in inner.items if isinstance(item, ScalarTree))


def _refuse_unknown(tree: MappingTree, known: Sequence[str], file: str, path: str) -> None:
    entry: Entry
    for entry in tree:
        if entry.key not in known:
            raise SpaceError(f"unknown key{nearest(entry.key, known)}", Where(file, entry.line, f"{path}{entry.key}"))
