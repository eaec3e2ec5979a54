"""Progress: nothing by default, a bar on a terminal, lines in a log."""

import sys
import time

import meshcell as mc
from gallery.labels import halves
from meshcell.core.progress import bar, stages


def told(capsys):
    return capsys.readouterr().err


def test_nothing_by_default(capsys):
    mc.smooth(mc.extract(halves(8)))
    assert list(bar(range(3), progress=False)) == [0, 1, 2]
    assert told(capsys) == ""


def test_lines_of_a_log_where_nobody_looks_on(capsys):
    with stages("work", ("first", "second"), progress=True) as stage:
        for name in ("first", "second", "another", "second"):
            stage(name)
    lines = told(capsys).splitlines()
    names = ["work", "work: first", "work: second", "work: another", "work: second", "work: done"]
    assert [line.rsplit(" ", 2)[0] for line in lines] == names
    assert lines[-1].split()[-2] == "2/2"


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with stages("work", ("first", "second"), progress=True) as stage:
        stage("second")
    assert "\r" in told(capsys)


def test_what_ends_soon_shows_nothing(capsys):
    for seconds in (0.0, 0.3):
        with stages("work", ("first", "second"), progress=True, delay=0.1) as stage:
            stage("first")
            time.sleep(seconds)
        lines = told(capsys).splitlines()
        assert [line.rsplit(" ", 2)[0] for line in lines] == (["work: first", "work: done"] if seconds else [])


def test_long_functions_show_their_stages(capsys):
    mc.smooth(mc.extract(halves(8)), progress=True)
    assert "smooth: relax 1/4" in told(capsys)
    mc.spine("40 nm", rng=1, progress=True)
    assert "spine: organelles 3/4" in told(capsys)
    molecules = [mc.phantoms.Macromolecule("ribosome", 0.02)]
    mc.crowd((40, 40, 20), "2 nm", macromolecules=molecules, rng=0, progress=True)
    assert "crowd: ribosome 0/1" in told(capsys)
