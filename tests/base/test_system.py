"""What the machine grants, read from made-up /proc and /sys trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from myscheduler.base.errors import UsageError
from myscheduler.base.system import cpu_count, memory_limit, memory_share

GIB = 2**30


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))


def tree(root: Path, cgroup: str, **files: str) -> str:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


def test_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5})
    assert cpu_count(str(tmp_path)) == 2


def test_without_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cpu_count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000\n", 2), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 64), ("", 64), ("junk", 64)],
)
def test_cpu_quota_of_cgroup_v2(tmp_path: Path, quota: str, expected: int) -> None:
    assert cpu_count(tree(tmp_path, "0::/\n", cpu_DOT_max=quota)) == expected


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "0::/user/job\n",
        user__job__cpu_DOT_max="max 100000",
        user__cpu_DOT_max="300000 100000",
        user__job__memory_DOT_max=str(GIB),
        user__memory_DOT_max=str(GIB // 4),
        other__memory_DOT_max="1",
    )
    assert cpu_count(root) == 3
    assert memory_limit(root) == GIB // 4


def test_cgroup_v1(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        "4:memory:/job\n3:cpu,cpuacct:/job\n",
        memory__job__memory_DOT_limit_in_bytes=str(GIB // 2),
        memory__memory_DOT_limit_in_bytes="9223372036854771712",
        cpu__job__cpu_DOT_cfs_quota_us="250000",
        cpu__job__cpu_DOT_cfs_period_us="100000",
        cpu__cpu_DOT_cfs_quota_us="-1",
        cpu__cpu_DOT_cfs_period_us="100000",
    )
    assert cpu_count(root) == 3
    assert memory_limit(root) == GIB // 2


def test_no_limit_is_the_machine(tmp_path: Path) -> None:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_limit(str(tmp_path)) == physical
    assert memory_limit(tree(tmp_path, "0::/\n", memory_DOT_max="max\n")) == physical


@pytest.mark.parametrize(("limit", "expected"), [(None, 0), (0, 0), ("2 GiB", 2 * GIB), (5000, 5000)])
def test_a_workers_memory_as_it_is_said(limit: float | str | None, expected: int) -> None:
    assert memory_share(limit, nthreads=3) == expected


def test_a_workers_memory_as_a_part() -> None:
    whole, threads = memory_limit(), cpu_count()
    assert memory_share(0.5, nthreads=1) == whole // 2
    assert memory_share("auto", nthreads=1) == whole // threads
    assert memory_share("auto", nthreads=5 * threads) == whole


def test_what_is_no_amount_of_memory_is_refused() -> None:
    with pytest.raises(UsageError, match="'plenty'"):
        memory_share("plenty", nthreads=1)
