"""The figure of what each trial decided: where its lines pass, which of many are drawn, what its caption says."""

import random
import re
from dataclasses import replace

from nas.report.parallel import parallel
from nas.report.reading import names_of
from nas.report.values import Figure
from nas.values.domains import Choices, Domain, FloatRange, IntRange, Scalar
from nas.values.outcome import Cost, Outcome
from nas.values.records import Importance, State, StudyRecord, TrainingRecord

BLOCK, EXPANSION, DEPTH, RATE = "a.block", "a.block.bottleneck.expansion", "a.depth", "train.lr"
DOMAINS: dict[str, Domain] = {
    BLOCK: Choices(("plain", "bottleneck", "basic")),
    EXPANSION: Choices((2, 4)),
    DEPTH: IntRange(1, 40),
    RATE: FloatRange(0.01, 1.0, log=True),
}


def trial(number: int, score: float, state: State = "complete", **decided: Scalar) -> TrainingRecord:
    paths = {"block": BLOCK, "expansion": EXPANSION, "depth": DEPTH, "rate": RATE}
    decisions = tuple((paths.get(name, name), value) for name, value in decided.items())
    outcome = Outcome("complete", score, {}, {}, Cost(1, 1, 1), 1, 1.0, "cpu")
    return TrainingRecord(number, "search", state, decisions, outcome=outcome)


def study(*trials: TrainingRecord, domains: dict[str, Domain] | None = None) -> StudyRecord:
    known = DOMAINS if domains is None else domains
    return StudyRecord("s", "k", "s.yaml", "", "val_accuracy", "maximize", trials, (), len(trials), None, {}, {}, domains=known)


THREE = study(
    trial(0, 0.5, block="plain", depth=1, rate=0.01),
    trial(1, 0.9, block="bottleneck", expansion=4, depth=20, rate=0.1),
    trial(2, 0.7, block="basic", depth=40, rate=1.0),
    trial(3, 0.1, "failed", block="plain", depth=3, rate=0.5),
)


def drawn(record: StudyRecord) -> Figure:
    figure = parallel(record, names_of(record))
    assert figure is not None
    return figure


def heights(figure: Figure, number: int) -> list[float]:
    """Return where a trial's line passes each axis, 0 at the bottom of the plot and 1 at its top."""
    found = re.search(rf'data-line="{number}"[^>]* d="M([^"]+)"', str(figure.panels[0].chart))
    assert found
    return [1 - float(point.split()[1]) / 330 for point in found[1].split("L")]


def test_a_line_passes_its_values_in_the_order_of_the_space_file() -> None:
    block = [heights(drawn(THREE), number)[0] for number in (0, 1, 2)]
    assert block[0] > block[1] > block[2], "the file's first label is at the top"


def test_a_logarithmic_range_has_its_geometric_middle_in_the_middle() -> None:
    low, middle, high = (heights(drawn(THREE), number)[3] for number in (0, 1, 2))
    assert abs((low + high) / 2 - middle) < 0.002


def test_a_decision_that_a_trial_does_not_have_is_passed_below_the_axis() -> None:
    figure = drawn(THREE)
    absent, there = heights(figure, 0)[1], heights(figure, 1)[1]
    assert absent < heights(figure, 0)[3] < there
    assert "does not have at the dash below" in figure.caption


def test_a_trial_without_a_score_ends_below_the_axis_of_scores() -> None:
    figure = drawn(THREE)
    ends = {number: heights(figure, number)[-1] for number in range(4)}
    assert ends[1] > ends[2] > ends[0] > ends[3]


def test_a_line_tells_the_trial_and_its_marks_light_it() -> None:
    chart = str(drawn(THREE).panels[0].chart)
    assert 'data-said="trial 1 · complete · 90.0%' in chart
    assert "expansion  4" in chart
    assert chart.count('data-of="1"') == 5


def test_the_caption_says_in_what_the_best_are_alike() -> None:
    trials = [
        trial(i, i / 100, block="basic" if i > 30 else "plain", depth=i % 7 + 1, rate=0.02 if i > 30 else 0.5 + i / 100) for i in range(40)
    ]
    caption = drawn(study(*trials)).caption
    assert "The best 5 all have block basic" in caption
    assert "no effect" in caption


def test_of_ten_thousand_trials_the_best_and_a_sample_are_drawn_and_that_is_said() -> None:
    rng = random.Random(0)
    trials = [
        trial(i, rng.random(), block=rng.choice(("plain", "basic")), depth=rng.randint(1, 40), rate=rng.uniform(0.01, 1))
        for i in range(10_000)
    ]
    record = study(*trials)
    figure = drawn(record)
    chart = str(figure.panels[0].chart)
    assert chart.count("data-line=") == 150
    assert all(f'data-line="{t.number}"' in chart for t in record.best(40))
    assert "150 of 10,000 trials are drawn" in figure.caption
    assert len(chart) < 150_000


def test_of_many_decisions_those_that_matter_most_have_an_axis() -> None:
    rng = random.Random(0)
    paths = {f"d{i}": rng.choice for i in range(14)}
    trials = [trial(n, rng.random(), **{path: choose((1, 2, 3)) for path, choose in paths.items()}) for n in range(30)]
    record = replace(study(*trials, domains={}), importances=tuple(Importance(f"d{i}", 0.1, i / 100) for i in range(14)))
    figure = drawn(record)
    assert ">d13<" in str(figure.panels[0].chart)
    assert ">d3<" not in str(figure.panels[0].chart)
    assert "4 decisions that seemed to matter least are left out" in figure.caption


def test_one_decision_that_varies_makes_no_figure() -> None:
    record = study(*(trial(i, i / 10, depth=i + 1) for i in range(5)))
    assert parallel(record, names_of(record)) is None
