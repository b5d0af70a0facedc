"""Every sampler and pruner that a space file can name, on a real ledger, without training."""

import random
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna
import pytest

from nas.errors import SpaceError
from nas.registry import Registry
from nas.sampling import sample
from nas.space import SearchOptions, Space, parse_space
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.ledger.trials import suggest
from nas.study.searching import gaussian
from nas.study.searching.evolution import RegularizedEvolution
from nas.study.searching.gaussian import BoundedGaussianProcess
from nas.study.searching.samplers import make_pruner, make_sampler, reseed
from nas.study.study import Study
from nas.study.worker.deciding import bare_job, decide
from nas.study.worker.desk import open_desk
from nas.values.architecture import Configuration
from nas.values.outcome import Cost, Outcome

TEXT = """\
architecture:
  staged:
    widths: [4]
    depth: {int: [1, 3]}
    block: {choices: [basic, {bottleneck: {expansion: {choices: [2, 4]}}}]}
    shortcut: {choices: [none, identity]}
train: {epochs: 9, optimizer: {sgd: {lr: 0.1}}}
"""
SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "evolution", "qmc", "grid", "random")


def space_with(registry: Registry, search: str, text: str = TEXT) -> Space:
    return parse_space(f"{text}search: {{{search}}}\n", "s.yaml", registry)


def search(space: Space, folder: Path, *, trials: int, score: Callable[[dict[str, object]], float]) -> list[dict[str, object]]:
    """Run a search over a real ledger with two takers in turn; return what was decided, in order."""
    storage = open_storage(f"sqlite:///{folder / 'optuna.db'}")
    Ledger.create(storage, "s", direction="maximize", about={"phase": "search"})
    takers = [Ledger(storage, "s", sampler=make_sampler(space.search, seed, shared_seed=7)) for seed in (1, 2)]
    takers[0].ensure([Slot(f"t{i}", i, {}) for i in range(trials)])
    found = []
    for i in range(trials):
        trial = takers[i % 2].claim()
        assert trial is not None
        sampled = sample(space, lambda decision, trial=trial: suggest(trial, decision))
        found.append(dict(sampled.decisions))
        value = score(found[-1])
        outcome = Outcome("complete", value, {"val_accuracy": value}, {"train_loss": (1.0,)}, Cost(1, 1, 1), 1, 0.0, "cpu")
        takers[i % 2].finish(trial, Configuration.from_dict(sampled.configuration.to_dict()), outcome)
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_searches_a_conditional_space_from_two_workers(name: str, registry: Registry, tmp_path: Path) -> None:
    rng = random.Random(0)
    found = search(space_with(registry, f"sampler: {name}"), tmp_path, trials=24, score=lambda _: rng.random())
    blocks = {decided["architecture.staged.block"] for decided in found}
    assert blocks == {"basic", "bottleneck"}
    inner = "architecture.staged.block.bottleneck.expansion"
    assert all((inner in decided) == (decided["architecture.staged.block"] == "bottleneck") for decided in found)


def proposals(
    space: Space, folder: Path, registry: Registry, *, trials: int, workers: int, killed_in: Sequence[int] = (),
    killed_deciding: Sequence[int] = (),
) -> list[dict[str, object]]:  # fmt: skip
    """Return what so many workers, one after the other, decide, each an equal part of the trials.

    Some die in the midst of a trial, others behind its first decision.
    """
    url = f"sqlite:///{folder / f'{workers}.db'}"
    study, found = Study.open(space, url), list[dict[str, object]]()
    study.search.ensure(study.search_slots(ahead=0))
    for i in range(trials):
        if i % (trials // workers) == 0:
            desk = open_desk(open_storage(url), study.search.name, registry, (), None)
        sampled, trial = None, None
        if i in killed_deciding and (trial := desk.claim()):
            suggest(trial, space.placed[0].decision)
            assert desk.ledger.release(trial._trial_id, {})
            desk = open_desk(open_storage(url), study.search.name, registry, (), None)
        while sampled is None:  # one that breaks the constraint is drawn anew, at the end of the queue
            trial = desk.claim()
            assert trial is not None
            sampled, cost = decide(desk, trial, registry)
        assert trial is not None
        if i in killed_in:
            assert desk.ledger.release(trial._trial_id, {})
            desk = open_desk(open_storage(url), study.search.name, registry, (), None)
            trial, number = desk.claim(), trial.number
            assert trial is not None
            assert trial.number == number
            sampled, cost = decide(desk, trial, registry)
            assert sampled is not None
        found.append(dict(sampled.decisions))
        score = random.Random(str(found[-1])).random()
        desk.ledger.finish(trial, sampled.configuration, Outcome("complete", score, {}, {}, cost, 1, 1.0, "cpu"))
    return found


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_search_proposes_the_same_each_time_whichever_worker_asks_and_whether_one_dies(
    name: str, registry: Registry, tmp_path: Path
) -> None:
    text = TEXT + "constraints: [num_layers <= 9]\n"
    space = space_with(registry, f"sampler: {name}, trials: 24", text)
    once = proposals(space, tmp_path, registry, trials=24, workers=1)
    deciding = () if name == "qmc" else (1, 7, 13, 17)  # the ledger has counted a Sobol point when its first decision is made
    again = proposals(space, tmp_path, registry, trials=24, workers=3, killed_in=(3, 11, 21), killed_deciding=deciding)
    assert once == again
    assert len({str(decided) for decided in once}) > 4


def test_another_seed_of_the_space_is_another_search(registry: Registry, tmp_path: Path) -> None:
    found = []
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        space = space_with(registry, "trials: 6", f"{TEXT}seed: {seed}\n")
        found.append(proposals(space, tmp_path / str(seed), registry, trials=6, workers=1))
    assert found[0] != found[1]


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_sampler_that_is_sure_of_what_breaks_a_constraint_gets_past_it(name: str, registry: Registry, tmp_path: Path) -> None:
    space = space_with(registry, f"sampler: {name}, trials: 24", TEXT + "constraints: [num_layers <= 9]\n")
    proposals(space, tmp_path, registry, trials=24, workers=1)
    ledger = Study.open(space, f"sqlite:///{tmp_path / '1.db'}").search
    assert 0 < ledger.about["num_invalid"] < 24 * 5


def test_grid_takes_every_combination_once_before_any_comes_again(registry: Registry, tmp_path: Path) -> None:
    found = search(space_with(registry, "sampler: grid"), tmp_path, trials=20, score=lambda _: 0.5)
    seen = [tuple(sorted(decided.items())) for decided in found]
    assert len(set(seen[:18])) == 18  # 3 depths x (basic + bottleneck with 2 expansions) x 2 shortcuts
    assert set(seen[18:]) <= set(seen[:18])


def test_evolution_changes_one_decision_of_a_good_parent(registry: Registry, tmp_path: Path) -> None:
    text = "architecture: {staged: {widths: [4], depth: {int: [1, 30]}, shortcut: {choices: [none, identity]}}}\n"
    space = space_with(registry, "sampler: evolution", text)
    found = search(space, tmp_path, trials=45, score=lambda decided: float(str(decided["architecture.staged.depth"])))
    depths = [int(str(decided["architecture.staged.depth"])) for decided in found]
    assert sum(depths[30:]) / 15 > sum(depths[:20]) / 20 + 3
    for i, decided in enumerate(found[21:], start=21):
        aged = found[i - 20 : i]
        assert any(sum(decided[path] != other[path] for path in decided) <= 1 for other in aged)


def test_evolution_forgets_what_is_older_than_its_population() -> None:
    study = optuna.create_study(direction="maximize", sampler=RegularizedEvolution(0, population=5, sample=5))
    values = [100.0, *[1.0] * 5]
    for number, value in enumerate(values):
        study.add_trial(optuna.create_trial(params={"x": number}, distributions={"x": optuna.distributions.IntDistribution(0, 999),
                                                                                 }, value=value))  # fmt: skip
    parents = set()
    for _ in range(20):
        trial = study.ask()
        parents.add(study.sampler._parent.get("x"))  # type: ignore[attr-defined]
        trial.suggest_int("y", 0, 3)
    assert 0 not in parents


BETWEEN = {"x": optuna.distributions.FloatDistribution(0, 1)}
ONE_OR_TWO = pytest.mark.parametrize("directions", [["maximize"], ["minimize", "minimize"]], ids=["one", "two"])


def told(directions: list[str], scores: list[float], at: Callable[[float], float] = lambda score: score) -> optuna.Study:
    """Return a study of a Gaussian process whose trials came to these scores."""
    study = optuna.create_study(directions=directions, sampler=BoundedGaussianProcess(seed=0))
    for score in scores:
        values = [score] if len(directions) == 1 else [score, 1 - score] if score > 0.5 else [score + 1, 2.0]  # of two, these are the front
        study.add_trial(optuna.create_trial(params={"x": at(score)}, distributions=BETWEEN, values=values))
    return study


@ONE_OR_TWO
def test_the_gaussian_process_is_fitted_to_the_best_and_the_latest_trials(directions: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [random.Random(i).random() for i in range(60)]
    study, asked = told(directions, scores), list[int]()
    fits = optuna.samplers._gp.sampler.gp
    real = fits.fit_kernel_params
    for module in (fits, gaussian.gp):  # Optuna's sampler has names of its own
        monkeypatch.setattr(module, "fit_kernel_params", lambda X, *a, **k: asked.append(len(X)) or real(X, *a, **k))
    study.ask(BETWEEN)
    for limit in ("MOST_FITTED", "FEW", "REFIT_EVERY"):
        monkeypatch.setattr(gaussian, limit, 20)
    study.ask(BETWEEN)
    assert asked == [60] * len(directions) + [20] * len(directions)
    fitted = gaussian.best_and_latest(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]), study.directions)
    assert [t.number for t in fitted[10:]] == list(range(50, 60))
    kept = [t.number for t in fitted[:10]]
    if len(directions) == 1:
        assert kept == sorted(sorted(range(50), key=lambda number: scores[number])[-10:])
    else:
        assert all(scores[number] > 0.5 for number in kept)


@ONE_OR_TWO
def test_the_kernel_of_many_trials_is_fitted_now_and_then_and_every_proposal_sees_all_of_them(
    directions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaussian, "FEW", 20)
    scores = [0.1 + 0.01 * i for i in range(40)]
    study, fits = told(directions, scores), list[int]()
    real = gaussian.gp.fit_kernel_params
    monkeypatch.setattr(gaussian.gp, "fit_kernel_params", lambda x, *a: fits.append(len(x)) or real(x, *a))  # type: ignore[func-returns-value]
    conditioned = list[int]()
    made = gaussian._conditioned
    monkeypatch.setattr(gaussian, "_conditioned", lambda x, *a: conditioned.append(len(x)) or made(x, *a))  # type: ignore[func-returns-value]
    for _ in range(gaussian.REFIT_EVERY + 1):
        trial = study.ask(BETWEEN)
        study.tell(trial, [trial.params["x"]] * len(directions))
    assert fits == [40] * len(directions) + [60] * len(directions)
    assert conditioned == [count for count in range(40, 61) for _ in directions]


@pytest.mark.parametrize("few", [20, 150])
@ONE_OR_TWO
def test_what_a_gaussian_process_proposes_does_not_depend_on_what_it_proposed_before(
    directions: list[str], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gaussian, "FEW", few)
    noise = random.Random(0)
    scores = [1 - (0.01 * i) ** 2 + noise.gauss(0, 0.01) for i in range(55)]  # the best lies within

    def at(score: float) -> float:
        return 0.4 + (1 if int(1000 * score) % 2 else -0.6) * max(1 - score, 0) ** 0.5

    earlier, now, same = (told(directions, scores[:count], at) for count in (25, 55, 55))
    earlier.ask(BETWEEN)
    now.sampler, same.sampler = reseed(earlier.sampler, 7), reseed(same.sampler, 7)  # the one has proposed before, the other has not
    assert now.ask(BETWEEN).params == same.ask(BETWEEN).params
    # And once more, while a trial is running.
    now.sampler, same.sampler = reseed(now.sampler, 8), reseed(BoundedGaussianProcess(seed=1), 8)
    assert now.ask(BETWEEN).params == same.ask(BETWEEN).params


@pytest.mark.parametrize("name", ["median", "asha", "hyperband"])
def test_every_pruner_ends_the_worst_of_many_and_spares_the_best(name: str, registry: Registry) -> None:
    space = space_with(registry, f"pruner: {name}")
    # Hyperband deals trials out to its brackets by the study's name.
    study = optuna.create_study(study_name="many", direction="maximize", pruner=make_pruner(space))
    order = [(i * 7) % 40 for i in range(40)]
    pruned = {quality: _is_pruned(study, quality / 40, epochs=9) for quality in order}
    assert not pruned[39]
    assert any(pruned[quality] for quality in range(10))
    assert sum(pruned[q] for q in range(20)) > sum(pruned[q] for q in range(20, 40))


def _is_pruned(study: optuna.Study, quality: float, *, epochs: int) -> bool:
    trial = study.ask()
    for epoch in range(1, epochs):
        trial.report(quality * epoch / epochs, epoch)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return True
    study.tell(trial, quality)
    return False


def test_grid_refuses_a_range_of_real_numbers(registry: Registry) -> None:
    text = TEXT.replace("lr: 0.1", "lr: {float: [0.1, 0.2]}")
    with pytest.raises(SpaceError, match=r"s\.yaml:8: search\.sampler: grid .* train\.optimizer\.sgd\.lr is a range of real numbers"):
        space_with(registry, "sampler: grid", text)


def test_cmaes_refuses_a_space_without_numbers(registry: Registry) -> None:
    with pytest.raises(SpaceError, match="cmaes searches ranges of numbers, and this space has none"):
        space_with(registry, "sampler: cmaes", TEXT.replace("{int: [1, 3]}", "1"))


def test_an_architecture_that_comes_again_is_trained_from_another_seed(registry: Registry, tmp_path: Path) -> None:
    text = "architecture: {staged: {widths: [4], depth: 1, shortcut: {choices: [none, identity]}}}\n"
    study = Study.open(space_with(registry, "trials: 5, sampler: grid", text), f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0))
    desk = open_desk(study.storage, study.search.name, registry, (), None)
    jobs = []
    while trial := desk.ledger.claim():
        sampled, cost = decide(desk, trial, registry)
        assert sampled is not None
        jobs.append(bare_job(desk, sampled.configuration, cost, trial.user_attrs["seed"]))
        desk.ledger.finish(trial, sampled.configuration, Outcome("complete", 0.5, {}, {}, cost, 1, 0.0, "cpu"))
    assert len({job.configuration.key for job in jobs}) == 2
    assert len({job.seed for job in jobs}) == 5
    assert len({job.split_seed for job in jobs}) == 1


def test_tpe_proposes_what_optunas_own_would() -> None:
    ours = make_sampler(SearchOptions(sampler="tpe"), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        theirs = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=3)

    def searched(sampler: optuna.samplers.BaseSampler) -> list[dict[str, object]]:
        study = optuna.create_study(sampler=sampler)
        for _ in range(30):
            trial = study.ask()
            kind, width = trial.suggest_categorical("kind", ["a", "b"]), trial.suggest_int("width", 1, 9)
            rate = trial.suggest_float("rate", 0.01, 1, log=True) if kind == "a" else 0.3
            study.tell(trial, abs(rate - 0.1) + width / 9)
        return [trial.params for trial in study.trials]

    assert searched(ours) == searched(theirs)
