"""Limits of pressure against figures as the kernel prints them."""

from __future__ import annotations

from pathlib import Path

from paas.build.pressure import FOLDER, pressure
from paas.nouns.settings import Settings, load

_FILE = "some avg10={} avg60=2.72 avg300=1.93 total=13598096587\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=0\n"


def settings(**limits: str) -> Settings:
    return load({}, {f"PAAS_BUILDS_{name.upper()}_PRESSURE": value for name, value in limits.items()})


def kernel(folder: Path, **figures: str) -> Path:
    for name in ("cpu", "memory", "io"):
        (folder / name).write_text(_FILE.format(figures.get(name, "0.00")))
    return folder


def test_what_is_above_its_limit_is_named_memory_first(tmp_path: Path) -> None:
    limits = settings(cpu="50", memory="10", io="30")
    assert pressure(limits, kernel(tmp_path, cpu="50.00", memory="10.00", io="30.00")) is None
    found = pressure(limits, kernel(tmp_path, cpu="99.00", memory="34.41"))
    assert found is not None and str(found) == "memory pressure is 34 %, the limit 10 %"
    found = pressure(limits, kernel(tmp_path, cpu="99.00", io="30.01"))
    assert found is not None and (found.resource, found.limit) == ("io", 30)
    found = pressure(limits, kernel(tmp_path, cpu="50.01"))
    assert found is not None and found.resource == "cpu"


def test_a_limit_of_100_is_never_reached(tmp_path: Path) -> None:
    limits = settings(cpu="100", memory="100", io="100")
    assert pressure(limits, kernel(tmp_path, cpu="100.00", memory="100.00", io="100.00")) is None


def test_a_kernel_without_the_figures_holds_nothing_up(tmp_path: Path) -> None:
    assert pressure(settings(cpu="0", memory="0", io="0"), tmp_path / "missing") is None


def test_this_kernels_own_files_are_read() -> None:
    if (FOLDER / "cpu").exists():
        found = pressure(settings(cpu="0", memory="0", io="0"))
        assert found is None or 0 < found.percent <= 100
