"""The benchmark program: its order of measurements, one real measurement, and what it writes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from benchmarks.chart import draw
from benchmarks.compare import Measurements, measure, parse, turns
from benchmarks.report import as_json, as_table
from benchmarks.systems import KNOWN, installed
from benchmarks.workloads import WORKLOADS


@pytest.fixture
def found() -> Measurements:
    found = Measurements(["myscheduler", "ray"], scale=1.0, repeats=3)
    for value in (1000.0, 3000.0, 2000.0):
        found.add("map", "myscheduler", {"figures": {"map": value}, "version": "1"})
        found.add("map", "ray", {"figures": {"map": value / 4}, "version": "2"})
    found.add("transfer", "ray", {"unsupported": "ray cannot"})
    return found


def test_systems_take_turns_and_each_repeat_begins_with_another() -> None:
    order = list(turns(["a", "b"], ["map", "chain"], repeats=2))
    assert [system for repeat, workload, system in order if (repeat, workload) == (0, "map")] == ["a", "b"]
    assert [system for repeat, workload, system in order if (repeat, workload) == (1, "map")] == ["b", "a"]
    assert set(Counter(order).values()) == {1}
    assert len(order) == 8


def test_one_measurement_runs_in_a_process_of_its_own() -> None:
    outcome = measure("futures", "latency", 0.1)
    figures = outcome["figures"]
    assert isinstance(figures, dict)
    assert 0 < figures["latency"] <= figures["latency_p99"]


def test_a_workload_that_a_system_cannot_express_is_reported() -> None:
    assert measure("futures", "transfer", 0.1) == {"unsupported": "futures cannot choose the worker"}


def test_a_measurement_that_fails_says_why() -> None:
    assert measure("futures", "nonsense", 0.1) == {"failed": "KeyError: 'nonsense'"}


def test_the_table_shows_medians_and_ratios(found: Measurements) -> None:
    table = as_table(found)
    assert "2,000" in table
    assert "500 (4.00x)" in table
    assert "transfer: ray cannot" in table


def test_the_json_holds_every_value(found: Measurements) -> None:
    document = json.loads(as_json(found))
    assert document["metrics"]["map"]["systems"]["ray"] == {"median": 500.0, "values": [250.0, 750.0, 500.0]}
    assert document["versions"] == {"myscheduler": "1", "ray": "2"}


def test_what_was_not_measured_again_stays(found: Measurements) -> None:
    again = Measurements(["myscheduler", "ray"], scale=1.0, repeats=1, versions={"myscheduler": "1", "ray": "2"})
    again.add("chain", "ray", {"figures": {"chain": 7.0}, "version": "2"})
    again.keep(json.loads(as_json(found)))
    assert set(again.values) == {"map", "chain"}
    assert again.values["map"]["ray"] == [250.0, 750.0, 500.0]
    assert again.missing == found.missing
    other = Measurements(["ray"], scale=0.1, repeats=1, versions={"ray": "2"})
    other.keep(json.loads(as_json(found)))
    assert other.values == {}


def test_the_chart_is_well_formed_and_names_every_system(found: Measurements) -> None:
    texts = [element.text for element in ET.fromstring(draw(found)).iter() if element.text]
    assert {"myscheduler", "ray", "2,000", "500"} <= set(texts)


def test_the_command_line_names_workloads_and_systems() -> None:
    options = parse(["--only", "map", "--systems", "futures", "--quick"])
    assert (options.only, options.systems, options.quick) == (["map"], ["futures"], True)
    assert list(WORKLOADS) == parse([]).only
    assert all(installed(name) for name in KNOWN if name in ("futures", "myscheduler"))
