"""Layer 5: claims settled: each one's study trained as far as it is owed, recorded, and read by its rule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from nas.claims.binding import bind, serves
from nas.claims.deciding import decide
from nas.claims.files import load_claims
from nas.measuring.of_record import effects_of
from nas.measuring.power import MODES
from nas.measuring.readings import cells_of, layers_at, table_of
from nas.paths import store_folder
from nas.registry import Registry, discover
from nas.study.crew.crew import Crew
from nas.study.crew.engines import open_engine
from nas.study.crew.room import workers_per_gpu
from nas.study.driving import drive
from nas.study.ledger.storage import default_storage, open_storage
from nas.study.sharing import SHARED, Library, take_over
from nas.study.study import Study
from nas.tracking.place import store_uri
from nas.tracking.tracker import Tracker
from nas.values.claims import Claim, Finding
from nas.values.records import StudyRecord

Watcher = Callable[[Mapping[str, Any], Study], None]


@dataclass(frozen=True)
class Settled:
    """One claim after its run: what it stated, what was found, the record it was found in, and how long this run took."""

    claim: Claim
    finding: Finding
    record: StudyRecord
    seconds: float


def settle(
    names: Sequence[str] = (),
    *,
    folders: Sequence[str | Path] = (),
    mode: str | None = None,
    data: str | None = None,
    store: Path | None = None,
    storage: str | None = None,
    plugins: Sequence[str | Path] = (),
    workers: int | None = None,
    engine: str = "local",
    watch: Callable[[Claim], Watcher | None] = lambda _claim: None,
) -> Iterator[Settled]:
    """Train what claims owe and decide them, one after another; go on where an earlier run stopped.

    A training that another study of the ledger has made already is taken over. What each claim came to is kept in the store.

    Args:
        names: the claims; all there are by default.
        folders: further folders with claim files.
        mode: `smoke`, `standard` or `publication`; by default each file's own replicates.
        data: a data set, a name or YAML, to test the claims on in place of their own; claims of tasks that it is not for keep theirs.
        store: the folder of the results; `./mlflow` by default.
        storage: the ledger's database; SQLite in the store by default.
        plugins: folders with further plugins.
        workers: worker processes; one a core, or one a GPU where there are several, by default.
        engine: where they run: `local`, on this machine, or `ray`, on a Ray cluster.
        watch: is asked, for each claim, for a watcher of its study's events.

    Raises:
        UserError: a claim, a plugin or an argument is wrong; every claim is checked before the first is run.
        StudyError: trainings keep failing, or the ledger cannot be reached. What is finished is kept.
    """
    store = store_folder(store)
    store.mkdir(parents=True, exist_ok=True)
    registry, url = discover(plugins), storage or default_storage(store)
    replicates = MODES[mode] if mode else None
    bound = [(claim, bind(claim, registry, data=data, replicates=replicates)) for claim in load_claims(names, folders)]
    library = Library(open_storage(url))
    folders_of_plugins = [str(Path(folder).resolve()) for folder in plugins]
    with ExitStack() as until_done:
        place = until_done.enter_context(open_engine(engine, url))
        sizes = {workers or space.search.workers or place.num_workers(partial(workers_per_gpu, space)) for _, space in bound}
        crew = until_done.enter_context(Crew(url, capacity=max(sizes, default=1), plugins=folders_of_plugins, engine=place))
        for claim, space in bound:
            started = time.perf_counter()
            study = Study.open(space, url, plugins=plugins)
            take_over(study, library)
            watcher = watch(claim)
            for event in drive(study, phases=("measure",), workers=workers, crew=crew, engine=place):
                if watcher:
                    watcher(event, study)
            record = study.record()
            finding = find(claim, record, mode=mode or "", data=data if data and serves(data, space) else "")
            _keep(finding, store)
            tracker = Tracker(store_uri(store), store / "artifacts")
            tracker.sync(record, effects=effects_of(record), finished=study.is_idle, note=_note(finding))
            yield Settled(claim, finding, record, time.perf_counter() - started)


def find(claim: Claim, record: StudyRecord, *, mode: str = "", data: str = "") -> Finding:
    """Decide a claim by a record, and say what was trained for it."""
    decision = decide(claim, record)
    plan = record.plan
    assert plan is not None, "a claim's study has a measured design"
    table = table_of(record)
    epochs = sorted({t.outcome.num_epochs for t in table.values() if t.outcome})
    layers = list(dict.fromkeys(str(count) for count in layers_at(table, cells_of(plan)) if count))
    return Finding(
        claim=claim.name,
        verdict=decision.verdict,
        reason=decision.reason,
        supporting=decision.supporting,
        contradicting=decision.contradicting,
        replicates=len({key[0] for key in table}),
        depth="/".join(layers) if layers else "–",
        budget=f"{'–'.join(str(count) for count in dict.fromkeys((epochs[0], epochs[-1])))} epochs" if epochs else "–",
        trainings=len(table),
        shared=sum(t.worker.startswith(SHARED) for t in table.values()),
        failed=sum(t.state == "failed" for t in table.values()),
        seconds=sum(t.outcome.duration_s for t in table.values() if t.outcome and not t.worker.startswith(SHARED)),
        study=record.title,
        data=data,
        mode=mode,
        claim_key=claim.key,
    )


def findings(store: Path | None = None) -> dict[str, Finding]:
    """Return what was found last of each claim that was run in a store, by name."""
    folder = store_folder(store) / "claims"
    return {file.stem: Finding.from_dict(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))}


def settled(
    *, folders: Sequence[str | Path] = (), store: Path | None = None, storage: str | None = None, plugins: Sequence[str | Path] = ()
) -> tuple[Settled, ...]:
    """Return every claim that was run in a store, decided anew from its records; nothing is trained."""
    store = store_folder(store)
    url, known = storage or default_storage(store), findings(store)
    found = []
    for claim in load_claims((), folders):
        if claim.name in known:
            before = known[claim.name]
            record = Study.reopen(before.study, url, plugins=plugins).record()
            found.append(Settled(claim, find(claim, record, mode=before.mode, data=before.data), record, before.seconds))
    return tuple(found)


def check(claims: Sequence[Claim], registry: Registry) -> None:
    """Raise SpaceError for a claim whose study or rule does not fit."""
    for claim in claims:
        bind(claim, registry)


def _keep(finding: Finding, store: Path) -> None:
    folder = store / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{finding.claim}.json").write_text(json.dumps(finding.to_dict(), indent=2) + "\n", encoding="utf-8")


def _note(finding: Finding) -> str:
    return f"The claim `{finding.claim}`: {finding.verdict}. `nas claims report` shows it beside the others."
