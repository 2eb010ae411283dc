"""Overviews and pictures of an acquisition are made while others are still being sharpened, and are the same."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from s2sharp.demo.synthetic import simulate
from s2sharp.engine.events import Event, UnitDone, UnitRetried, UnitSkipped
from s2sharp.engine.ledger import Ledger
from s2sharp.execution.execute import execute
from s2sharp.planning.client_plan import ClientPlan
from s2sharp.planning.make import make_plan
from s2sharp.planning.plan import Plan
from s2sharp.planning.resume import resume
from s2sharp.planning.unit_states import UnitStates

from .runs import config, records, run, shards

DATES = 3


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three dates of a few shards each."""
    folder = tmp_path_factory.mktemp("following")
    simulate(folder, cells=24, tiles=1, dates=DATES)
    return folder


def asked(archive: Path, out: Path, scheduler: str, **more: Any) -> Any:
    return config(archive, out, scheduler, publish=True, bands="B02,B03,B04,B11", **more)


def again_of(archive: Path, out: Path, scheduler: str) -> ClientPlan:
    plan = resume(asked(archive, out, scheduler))
    assert plan is not None
    return plan


def told(settings: Any) -> list[Event]:
    """What a run tells."""
    events: list[Event] = []
    execute(resume(settings) or make_plan(settings), events.append)
    return events


def whose(event: UnitDone) -> str:
    return event.record.unit.rpartition("/")[0]


@pytest.fixture(scope="module")
def undisturbed(
    archive: Path, scheduler: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Event]]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    return out, told(asked(archive, out, scheduler))


def test_what_follows_from_a_date_is_made_while_later_ones_are_sharpened(
    undisturbed: tuple[Path, list[Event]],
) -> None:
    out, events = undisturbed
    made = [(event.phase, whose(event)) for event in events if isinstance(event, UnitDone)]
    first, *_, last = Plan.read(out).asked
    end = max(i for i, (phase, _) in enumerate(made) if phase == "sharpen")
    for phase in ("overviews", "publish"):
        assert made.index((phase, first)) < end
        # Not before all that it is made of.
        for one in (first, last):
            units = [i for i, name in enumerate(made) if name == ("sharpen", one)]
            assert max(units) < made.index((phase, one))


def test_a_run_again_finds_all_of_it_and_tells_it_once(
    archive: Path,
    scheduler: str,
    undisturbed: tuple[Path, list[Event]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, events = undisturbed
    plan = again_of(archive, out, scheduler)
    listed: list[str] = []
    names = Ledger.names

    def listing(ledger: Ledger, folder: str = "", prefix: str = "") -> Iterator[str]:
        listed.append(folder or prefix)
        return names(ledger, folder, prefix)

    monkeypatch.setattr(Ledger, "names", listing)
    assert {found.state for found in UnitStates(plan).every()} == {"ok"}
    assert len(plan.asked) > 1
    assert len(listed) == 1, "a listing is a request for each thousand records"
    before = records(out)
    again = told(asked(archive, out, scheduler))
    assert records(out) == before
    skipped = Counter(event.unit for event in again if isinstance(event, UnitSkipped))
    assert skipped == Counter(event.record.unit for event in events if isinstance(event, UnitDone))
    assert set(skipped.values()) == {1}
    assert not [event for event in again if isinstance(event, (UnitDone, UnitRetried))]


class KilledError(Exception):
    pass


def test_a_run_that_ends_between_goes_on_with_what_is_left(
    archive: Path,
    scheduler: str,
    undisturbed: tuple[Path, list[Event]],
    tmp_path: Path,
) -> None:
    settings = asked(archive, tmp_path / "out", scheduler)

    def kill(event: Event) -> None:
        if event.phase == "publish":
            raise KilledError

    with pytest.raises(KilledError):
        execute(make_plan(settings), kill)
    done = records(settings.out)
    events = told(settings)
    assert {name: done[name] for name in records(settings.out) if name in done} == done
    made = [event.record.unit for event in events if isinstance(event, UnitDone)]
    assert not {name.rsplit(".", 2)[0] for name in done} & {*made}
    whole, _ = undisturbed
    assert sorted(records(settings.out)) == sorted(records(whole))
    assert shards(settings.out) == shards(whole)


def test_a_date_with_a_hole_is_published_with_it_and_made_anew_when_it_is_closed(
    archive: Path, scheduler: str, tmp_path: Path, undisturbed: tuple[Path, list[Event]]
) -> None:
    settings = asked(archive, tmp_path / "out", scheduler, retries=0, max_failures=100)
    plan = make_plan(settings)
    second = plan.asked[1]
    file = sorted((archive / "scenes").glob("*/B11.tif"))[1]
    away = file.rename(file.with_suffix(".away"))
    try:
        execute(plan)
    finally:
        away.rename(file)
    plan = again_of(archive, settings.out, scheduler)
    (picture,) = (unit for unit in plan.pictures() if plan.acquisition_id(unit) == second)
    lost = UnitStates(plan).below(picture)
    assert lost == sorted(map(plan.name, plan.units([second]))), "all of its units"
    assert plan.ledger.states().done(plan.name(picture), plan.key(picture, lost))
    _, outcome = run(settings)
    assert not outcome.failed
    assert outcome.counts["skipped"] == (DATES - 1) * len(lost)
    whole, _ = undisturbed
    assert shards(settings.out) == shards(whole)
    named = {name for name in records(settings.out) if not name.startswith(second)}
    assert named == {name for name in records(whole) if not name.startswith(second)}
