"""The house: imports go one way between rooms, no circle inside a room, no import hidden in a function."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import meshcell

HOME = Path(meshcell.__file__).parent
# Room -> the rooms that it may import, in the order of the data. A new room is a new row.
ROOMS = {
    "core": (),
    "geometry": ("core",),
    "formats": ("core",),
    "models": ("core", "geometry"),
    "labels": ("core", "geometry"),
    "imaging": ("core", "geometry"),
    "surfaces": ("core", "geometry", "labels"),
    "phantoms": ("core", "geometry", "formats"),
    "meshing": ("core", "geometry", "labels", "surfaces"),
    "solving": ("core", "geometry", "models"),
    "adaptivity": ("core", "geometry", "models", "solving"),
    "analysis": ("core", "geometry", "labels", "models", "surfaces"),
    "io": ("core", "formats", "models", "phantoms"),
    "studies": (
        *("core", "geometry", "formats", "models", "labels", "imaging", "surfaces"),
        *("phantoms", "meshing", "solving", "adaptivity", "analysis"),
    ),
    "pictures": ("core", "geometry", "models", "surfaces", "analysis", "phantoms"),
    "jobs": ("core", "models", "solving", "analysis", "io"),
}
SKIN = ("__init__", "cli", "demo", "first_use")
# Files whose functions may import from meshcell: the command line answers --help at once, a recipe makes its sample,
# and kernels are recorded from their import on.
DOORS = ("cli.py", "demo.py", "first_use.py", "phantoms/crowds/recipes.py")


def name_of(path):
    """Dotted name of a file below the package, a sub-package's face by the name of its folder."""
    parts = path.relative_to(HOME).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = {name_of(path): path for path in sorted(HOME.rglob("*.py"))}


def imports_of(path):
    """Yield (name of a file of ours, whether a function imports it); faces that are passed through are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports by dots; write the whole name"
            names = [f"{node.module}.{item.name}" for item in node.names]
        elif isinstance(node, ast.Import):
            names = [item.name for item in node.names]
        else:
            continue
        for name in names:
            found = target_of(name)
            if found:
                yield found, id(node) in inside


def target_of(name):
    """Return which of our files an imported name comes from."""
    parts = name.split(".")
    if parts[0] != "meshcell":
        return None
    for length in range(len(parts), 1, -1):
        if ".".join(parts[1:length]) in FILES:
            return ".".join(parts[1:length])
    return "__init__"


def room_of(name):
    return name.split(".")[0]


@pytest.mark.parametrize("name", FILES)
def test_imports_go_one_way(name):
    if name in SKIN:
        return
    room = room_of(name)
    assert room in ROOMS, f"{name} lies in no room; give it one, or add a row to ROOMS"
    for target, _ in imports_of(FILES[name]):
        assert room_of(target) in (room, *ROOMS[room]), f"{name} may not import {target}"


def test_rooms_stand_on_those_before_them():
    order = list(ROOMS)
    for room, below in ROOMS.items():
        late = [other for other in below if order.index(other) >= order.index(room)]
        assert not late or room in ("adaptivity",), f"{room} stands on {late}"
    graphlib.TopologicalSorter(ROOMS).prepare()


def test_no_circle_of_files():
    rooms = {name: path for name, path in FILES.items() if name not in SKIN}
    graph = {
        name: {target for target, hidden in imports_of(path) if not hidden} - {name} for name, path in rooms.items()
    }
    graphlib.TopologicalSorter(graph).prepare()


def test_functions_import_nothing_of_ours():
    hidden = [
        f"{path.relative_to(HOME)} imports {target} in a function"
        for path in FILES.values()
        if path.relative_to(HOME).as_posix() not in DOORS
        for target, in_function in imports_of(path)
        if in_function
    ]
    assert not hidden, "\n".join(hidden)


def test_files_and_rooms_stay_small():
    long = {name: n for name, path in FILES.items() if (n := path.read_text(encoding="utf-8").count("\n")) > 500}
    assert not long
    full = {
        folder.relative_to(HOME).as_posix(): n
        for folder in HOME.rglob("*/")
        if (n := len([path for path in folder.glob("*.py") if path.name != "__init__.py"])) > 20
    }
    assert not full


@pytest.mark.parametrize(("misspelt", "meant"), [("tetrahedralise", "tetrahedralize"), ("Specie", "Species")])
def test_misspelt_public_names_get_a_hint(misspelt, meant):
    with pytest.raises(AttributeError, match=f"has no attribute '{misspelt}'; did you mean '{meant}'"):
        getattr(meshcell, misspelt)


def test_what_faces_list_is_there():
    assert isinstance(meshcell.__version__, str)
    assert set(ROOMS) <= set(meshcell.__all__)
    for room in ROOMS:
        face = getattr(meshcell, room)
        for name in face.__all__:
            assert getattr(face, name) is not None


def test_faces_look_into_their_own_rooms_alone():
    """Stubs are read by lazy-loader: what they import is imported when a name is used."""
    for path in HOME.rglob("__init__.pyi"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1, f"{path.relative_to(HOME)}:{node.lineno} looks beyond its room"


def test_no_file_is_imported_by_its_text():
    """An arrow would be hidden so; engines come from the solver's table."""
    for name, path in FILES.items():
        assert not re.search(r"(import_module|__import__)\(\s*f?[\"']meshcell", path.read_text(encoding="utf-8")), name
