"""Files of plots: refused before any work, whole, and nothing of the caller's is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapterhub.errors import MissingExtraError, UsageError
from adapterhub.plots.figure_files import check_plot, new_figure, save_figure

BEGINNINGS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF", ".PNG": b"\x89PNG"}


@pytest.mark.parametrize(
    "name", ["plot.jpg", "plot", "absent/plot.png", "folder.png", ".png", f"{300 * 'a'}.png"]
)
def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match=r"A plot cannot be written to"):
        check_plot(tmp_path / name)
    with pytest.raises(UsageError, match="expected a path"):
        check_plot(3)  # type: ignore[arg-type]


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"adapterhub\[plot\]"):
        check_plot("plot.png")


@pytest.mark.slow
def test_a_figure_is_written_in_each_format_beside_the_users_own(tmp_path: Path) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    backend, settings, own = mpl.get_backend(), dict(mpl.rcParams), plt.figure()
    for ending, beginning in BEGINNINGS.items():
        file = save_figure(new_figure(1, 1), tmp_path / f"plot{ending}")
        assert file.read_bytes().startswith(beginning)
    assert (mpl.get_backend(), dict(mpl.rcParams)) == (backend, settings)
    assert plt.get_fignums() == [own.number]
    plt.close(own)
    assert {file.name for file in tmp_path.iterdir()} == {f"plot{one}" for one in BEGINNINGS}


def test_a_figure_of_hundreds_of_tasks_has_as_many_pixels_as_can_be_drawn() -> None:
    assert new_figure(5, 700).bbox.height < 2**16


@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_leaves_the_earlier_file(tmp_path: Path) -> None:
    file = tmp_path / "plot.png"
    file.write_bytes(b"before")
    figure = new_figure(1, 1)
    figure.subplots().set_title("$\\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        save_figure(figure, file)
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("plot.png", b"before")]
