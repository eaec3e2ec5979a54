"""Pictures show what they promise: right size, not blank, right figures on the axes; errors say what is possible."""

import subprocess
import sys

import imageio.v3 as imageio
import matplotlib as mpl
import numpy as np
import pytest

import meshcell as mc
from gallery.meshes import ball, box
from meshcell.geometry.quality import angles, part_rows
from meshcell.models.model import Model
from meshcell.models.solutions import compartment_rows, values_at
from meshcell.models.species import Species
from meshcell.pictures import charts, colours, rendering, scenes
from meshcell.pictures.plotting import film, histogram, plot

mpl.use("Agg")
SIZE = (320, 240)
UM = 602.214076


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture(scope="module")
def mesh():
    return ball(4, core=0.5, names={1: "cytosol", 2: "er"})


@pytest.fixture(scope="module")
def labels():
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (20, 24, 30)], indexing="ij"))
    far = np.sqrt(((grid - np.array([10, 12, 15])[:, None, None, None]) ** 2).sum(axis=0))
    return mc.Volume((far < 9).astype(np.uint8) + (far < 4), 0.1, names={1: "cytosol", 2: "er"})


@pytest.fixture(scope="module")
def solution(mesh):
    """Ca: 1 uM + z t in the cytosol; P: 5 t per um^2 on the membrane."""
    model = Model({"cyt": "cytosol", "PM": ("cytosol", "outside")}, [Species("Ca", "cyt"), Species("P", "PM")])
    nodes = {
        "Ca": np.unique(mesh.tets[mesh.regions == 1]),
        "P": np.unique(mesh.facets[mesh.sides[:, 1] == 0]),
    }
    times = np.array([0.0, 1.0, 2.0])
    z = mesh.points[nodes["Ca"], 2]
    values = {"Ca": UM * (1.0 + times[:, None] * z), "P": 5 * times[:, None] * np.ones(len(nodes["P"]))}
    return mc.Solution(mesh, model, times, values, nodes)


def shown(path, size=SIZE):
    """Read a picture; it must have the asked size, white corners, and more than one colour in its middle."""
    image = imageio.imread(path)[..., :3]
    assert image.shape == (size[1], size[0], 3)
    assert (image[2, 2] == 255).all()
    middle = image[size[1] // 4 : -size[1] // 4, size[0] // 4 : -size[0] // 4]
    assert middle.std() > 10
    return image


def share(image, colour, tolerance=0.12):
    """Share of pixels whose hue and saturation are those of a colour, whatever the light on it."""
    pixels = image.reshape(-1, 3) / 255
    keep = pixels.max(axis=1) > 0.25
    direction = np.asarray(colour) / np.max(colour)
    off = np.abs(pixels[keep] / pixels[keep].max(axis=1, keepdims=True) - direction).max(axis=1)
    return (off < tolerance).sum() / len(pixels)


# --- scenes ---


def test_a_cut_mesh_shows_its_regions_in_their_colours(mesh, tmp_path):
    plot(mesh, size=SIZE, edges=False, save=tmp_path / "mesh.png")
    image = shown(tmp_path / "mesh.png")
    # Half the radius is a quarter of the disc.
    assert share(image, colours.region_colour(1)) > 2 * share(image, colours.region_colour(2)) > 0.02


def test_whole_and_cut_differ(mesh, tmp_path):
    plot(mesh, cut=False, size=SIZE, edges=False, save=tmp_path / "whole.png")
    # Nothing of the core is seen from outside; the swatch of its legend is not there either.
    assert share(shown(tmp_path / "whole.png"), colours.region_colour(2)) == 0


def test_a_surface_is_seen_through_its_membrane(mesh, tmp_path):
    plot(mesh.surface, size=SIZE, edges=False, save=tmp_path / "glass.png")
    through = shown(tmp_path / "glass.png").astype(float)
    plot(mesh.surface, size=SIZE, edges=False, opacity=1.0, save=tmp_path / "solid.png")
    solid = imageio.imread(tmp_path / "solid.png")[..., :3].astype(float)
    middle = np.s_[SIZE[1] // 2, SIZE[0] // 2]
    # Sky blue is mostly blue; the orange core behind it is mostly red.
    assert through[middle][0] > through[middle][2]
    assert solid[middle][2] > solid[middle][0]


@pytest.mark.parametrize("options", [{"color": "quality"}, {"field": "tets"}, {"field": "points"}])
def test_fields_over_a_mesh(mesh, tmp_path, options):
    if "field" in options:
        options = {"field": mesh.volumes if options["field"] == "tets" else mesh.points[:, 0]}
    plotter = plot(mesh, size=SIZE, save=tmp_path / "field.png", **options)
    shown(tmp_path / "field.png")
    assert len(plotter.scalar_bars) == 1


def test_a_species_is_shown_in_micromolar(solution, tmp_path):
    plotter = plot(solution, "Ca", at=1.5, size=SIZE, save=tmp_path / "ca.png")
    shown(tmp_path / "ca.png")
    assert list(plotter.scalar_bars.keys()) == ["Ca (µM)"]
    # z of the ball is -1 ... 1, so that 1 + 1.5 z spans -0.5 ... 2.5 uM.
    assert plotter.scalar_bars["Ca (µM)"].GetLookupTable().GetTableRange() == pytest.approx((-0.5, 2.5), abs=1e-9)


def test_an_interface_species_is_shown_per_area(solution, tmp_path):
    plotter = plot(solution, "P", at=2.0, clim=(0, 20), size=SIZE, save=tmp_path / "p.png")
    shown(tmp_path / "p.png")
    assert list(plotter.scalar_bars.keys()) == ["P (molecules/µm²)"]
    assert plotter.scalar_bars["P (molecules/µm²)"].GetLookupTable().GetTableRange() == (0, 20)


def test_concentrations_in_the_cut_are_interpolated(mesh):
    """A linear field stays linear in the cut, to rounding of 32-bit coordinates."""
    field = mesh.points @ np.array([1.0, -2.0, 0.5]) + 3
    plane = scenes.cut_plane(mesh, ("x", 0.137))
    body = scenes.cut_body(mesh.points, mesh.tets, plane, np.stack([field, 2 * field], axis=1))
    points = np.asarray(body.points, float)
    expected = points @ np.array([1.0, -2.0, 0.5]) + 3
    np.testing.assert_allclose(body.point_data["values"], np.stack([expected, 2 * expected], axis=1), atol=1e-5)
    assert points[:, 0].max() == pytest.approx(0.137, abs=1e-6)


def test_exposed_faces_close_the_kept_part(mesh):
    """The boundary of a body has no area vector: what faces one way faces back elsewhere."""
    kept = scenes.kept_tets(mesh, scenes.cut_plane(mesh, "y"))
    faces, owners = scenes.exposed_faces(mesh, kept)
    a, b, c = (mesh.points[faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a) / 2
    assert np.abs(normals.sum(axis=0)).max() < 1e-12 * np.linalg.norm(normals, axis=1).sum()
    # Divergence theorem: outward normals enclose the kept volume.
    assert np.einsum("ij,ij->", (a + b + c) / 3, normals) / 3 == pytest.approx(mesh.volumes[kept].sum(), rel=1e-12)
    assert kept[owners].all()


def test_the_chosen_cut_meets_a_small_region():
    mesh = ball(4)
    off = mesh.points[mesh.tets].mean(axis=1)[:, 0] > 0.7
    both = mc.TetMesh(mesh.points, mesh.tets, np.where(off, 2, 1), mesh.facets, mesh.sides)
    assert scenes.best_cut(both, 0) > 0.6
    assert abs(scenes.best_cut(mesh, 0)) < 0.3


def test_a_volume_in_3d(labels, tmp_path):
    plot(labels, kind="3d", size=SIZE, save=tmp_path / "labels.png")
    red, _, blue = shown(tmp_path / "labels.png")[SIZE[1] // 2, SIZE[0] // 2].astype(int)
    # The orange core through the glass of the membrane.
    assert red > blue + 20
    far = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0)
    plot(mc.Volume(-far, 0.1), kind="3d", size=SIZE, save=tmp_path / "intensities.png")
    shown(tmp_path / "intensities.png")


def test_plotters_are_not_shown_yet(mesh):
    plotter = plot(mesh, size=SIZE)
    assert type(plotter).__name__ == "Plotter"
    assert not plotter._closed
    plotter.close()


# --- films ---


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_films(solution, tmp_path, ending):
    path = film(tmp_path / f"ca.{ending}", solution, "Ca", frames=4, size=(162, 121))
    frames = imageio.imread(path)
    assert frames.shape[:3] == (4, 120, 162)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50
    assert [file.name for file in tmp_path.iterdir()] == [f"ca.{ending}"]


@pytest.mark.parametrize(("options", "text"), [({"frames": 0}, "frames=0"), ({"fps": 0}, "fps=0")])
def test_films_need_frames(solution, tmp_path, options, text):
    with pytest.raises(ValueError, match=text):
        film(tmp_path / "a.gif", solution, "Ca", **options)


# --- charts ---


def test_slices_show_every_axis_and_region(labels, tmp_path):
    axes = plot(labels, save=tmp_path / "slices.png")
    assert imageio.imread(tmp_path / "slices.png").std() > 10
    assert len(axes) == 3
    for axis, (width, height) in zip(axes, ((2.0, 2.4), (3.0, 2.4), (2.0, 3.0)), strict=True):
        left, right, low, high = axis.images[0].get_extent()
        assert (right - left, high - low) == pytest.approx((width, height))
        painted = np.unique(axis.images[0].get_array().reshape(-1, 3), axis=0)
        expected = np.array([(1, 1, 1), colours.region_colour(1), colours.region_colour(2)])
        np.testing.assert_allclose(painted, expected[np.lexsort(expected.T[::-1])])


def test_slices_go_through_the_point(labels):
    data = np.zeros((5, 6, 7))
    data[1, 2, 3] = 1
    axes = plot(mc.Volume(data, (0.1, 0.2, 0.3)), at=(0.1, 0.4, 0.9))
    for axis, place in zip(axes, ((2, 1), (2, 3), (3, 1)), strict=True):
        found = np.asarray(axis.images[0].get_array())
        assert found[place] == 1
        assert found.sum() == 1


def test_signed_species_are_shown_in_their_own_unit():
    species = [mc.Species(name, "cyt", 1, start, signed=True) for name, start in (("V", "-65 mV"), ("v", 0.5))]
    model = mc.Model({"cyt": "box"}, species)
    values = {"V": np.full((1, 8), -65.0), "v": np.full((1, 8), 0.5)}
    mesh = box(1)
    axes = plot(mc.Solution(mesh, model, [0.0], values, dict.fromkeys(values, np.arange(8))))
    assert [axis.get_ylabel() for axis in axes] == ["V (mV)", "v"]
    assert axes[0].lines[0].get_ydata()[0] == pytest.approx(-65)


def test_curves_span_least_to_greatest(solution):
    axes = plot(solution)
    assert [axis.get_ylabel() for axis in axes] == ["Ca (µM)", "P (molecules/µm²)"]
    band = axes[0].collections[0].get_paths()[0].vertices
    # 1 + t z with z in -1 ... 1 at t = 0, 1, 2.
    assert band[:, 1].min() == pytest.approx(-1)
    assert band[:, 1].max() == pytest.approx(3)
    # The cytosol is symmetric in z, so that its mean stays at 1 uM.
    np.testing.assert_allclose(axes[0].lines[0].get_ydata(), 1, atol=1e-9)
    assert plot(solution, "P", kind="curve").get_ylabel() == "P (molecules/µm²)"


@pytest.mark.parametrize("part", ["mesh", "surface"])
def test_bars_of_the_histogram_sum_to_the_counts(mesh, tmp_path, part):
    thing = mesh if part == "mesh" else mesh.surface
    axis = histogram(thing, bins=45, save=tmp_path / "angles.png")
    assert imageio.imread(tmp_path / "angles.png").std() > 10
    elements = angles(thing)
    bars = {container.get_label(): [bar.get_height() for bar in container] for container in axis.containers}
    assert set(bars) == set(part_rows(thing))
    ends = []
    for name, rows in part_rows(thing).items():
        own = elements[rows]
        assert bars[name] == np.histogram(own, 45, (0, 180))[0].tolist()
        assert sum(bars[name]) == own.size
        ends += [own.min(), own.max()]
    assert sorted(line.get_xdata()[0] for line in axis.lines if line.get_linestyle() == "--") == sorted(ends)
    # The density curves have the scale of the bars: the same area.
    curves = [line for line in axis.lines if line.get_linestyle() == "-"]
    found = sorted(np.trapezoid(line.get_ydata(), line.get_xdata()) for line in curves)
    assert found == pytest.approx(sorted(4 * sum(heights) for heights in bars.values()), rel=0.01)


def test_one_colour_per_interface(mesh):
    axis = histogram(mesh.surface)
    assert len({container[0].get_facecolor() for container in axis.containers}) == len(axis.containers) == 2


def test_parts_of_a_histogram_into_given_axes(mesh):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(2)
    for axis, name in zip(axes, ("cytosol", "er"), strict=True):
        assert histogram(mesh, parts=[name], ax=axis) is axis
        assert [container.get_label() for container in axis.containers] == [name]
    with pytest.raises(ValueError, match="no part is called 'core'; there are 'cytosol', 'er'"):
        histogram(mesh, parts=["core"])


def test_offsets_are_red_where_a_body_grew(labels, tmp_path):
    net = mc.extract(labels)
    middle = net.points.mean(axis=0)
    images = []
    for factor in (0.95, 1.05):
        surface = mc.Surface(middle + factor * (net.points - middle), net.triangles, net.sides, net.names)
        report = mc.check(surface, against=labels)
        plot(report, size=SIZE, save=tmp_path / "offsets.png", clim=(-0.5, 0.5), edges=False, cut=False)
        # The colour bar, at the right, holds both colours.
        images.append(shown(tmp_path / "offsets.png")[:, : int(0.7 * SIZE[0])].astype(int))
    shrunk, grown = (image[..., 0] - image[..., 2] for image in images)
    assert (shrunk < -30).sum() > 10 * (shrunk > 30).sum()
    assert (grown > 30).sum() > 10 * (grown < -30).sum()


def test_bars_show_the_errors_of_a_report(labels, tmp_path):
    report = mc.check(mc.smooth(mc.extract(labels)), against=labels)
    volumes, distances = plot(report, kind="bars", save=tmp_path / "errors.svg")
    assert (tmp_path / "errors.svg").exists()
    assert sorted(bar.get_width() for bar in volumes.patches) == pytest.approx(
        sorted(100 * one.volume_error for one in report.fidelity.regions.values())
    )
    faces = report.fidelity.interfaces.values()
    assert sorted(bar.get_width() for bar in distances.patches) == pytest.approx(
        sorted([one.max_distance for one in faces] + [one.mean_distance for one in faces])
    )
    assert {text.get_text() for text in distances.get_yticklabels()} == {"er / cytosol", "cytosol / outside"}


def test_strange_interfaces_are_drawn_too(labels, tmp_path):
    surface = mc.extract(labels)
    other = mc.Volume(np.minimum(labels.data, 1), labels.spacing, labels.origin, {1: "cytosol"})
    report = mc.check(surface, against=other)
    assert np.isinf(report.fidelity.offsets).any()
    plot(report, size=SIZE, save=tmp_path / "strange.png")
    shown(tmp_path / "strange.png")
    volumes, distances = plot(report, kind="bars")
    assert "only in mesh or labels: er" in volumes.get_title(loc="left")
    assert "inf" in {text.get_text() for text in distances.texts}


def test_reports_without_a_comparison_have_no_picture(labels):
    with pytest.raises(ValueError, match=r"a report is drawn when it compares: plot\(check\(mesh, against=labels\)\)"):
        plot(mc.check(labels))
    with pytest.raises(ValueError, match="kind of a Report should be one of 'scene', 'bars'; got 'pie'"):
        plot(mc.check(labels), kind="pie")


def test_kernel_density_agrees_with_the_slow_way():
    from scipy.stats import gaussian_kde

    values = np.random.default_rng(4).normal(70, 15, 500)
    at, density = charts.kernel_density(values)
    spread = min(values.std(), np.subtract(*np.percentile(values, (75, 25))) / 1.34)
    reference = gaussian_kde(values, 0.9 * spread * 500**-0.2 / values.std(ddof=1))(at)
    # Binning moves every kernel by at most an eighth of a degree.
    np.testing.assert_allclose(density, reference, atol=0.02 * reference.max())
    assert density.sum() * 0.25 == pytest.approx(1, abs=1e-9)


def test_equal_angles_have_a_density():
    _, density = charts.kernel_density(np.full(30, 60.0))
    assert density.sum() * 0.25 == pytest.approx(1, abs=1e-9)


def test_empty_things_are_refused():
    empty = mc.Surface(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2), int))
    with pytest.raises(ValueError, match="at least one triangle"):
        histogram(empty)
    with pytest.raises(ValueError, match="nothing to draw"):
        plot(empty)


# --- colours ---


def test_region_colours_go_by_the_label():
    shades = [colours.region_colour(label) for label in range(22)]
    assert len(set(shades)) == 22
    assert all(0 <= channel <= 1 for shade in shades for channel in shade)
    few = colours.interface_colours(np.array([[2, 1], [2, 1]]))
    many = colours.interface_colours(np.array([[1, 0], [2, 1], [3, 2]]))
    assert few[2, 1] == many[2, 1] == colours.region_colour(2)
    both = colours.interface_colours(np.array([[2, 0], [2, 1]]))
    assert both[2, 0] != both[2, 1]


def test_colours_of_large_labels_stay_distinct():
    rng = np.random.default_rng(0)
    for labels in (np.arange(1, 61), np.arange(151, 211), np.arange(10**9, 10**9 + 60), rng.integers(10**7, 10**8, 12)):
        shades = np.array([colours.region_colour(int(label)) for label in labels])
        apart = np.linalg.norm(shades[:, None] - shades, axis=2)[np.triu_indices(len(labels), 1)]
        # Two of sixty differ by eight steps of 255 at least; of those drawn at random twelve do.
        assert apart.min() > 0.03
        # No white on white, no grey like the outside.
        assert np.ptp(shades, axis=1).min() > 0.1
        assert shades.mean(axis=1).max() < 0.85


def test_a_region_with_many_interfaces_does_not_turn_black():
    shades = np.array([*colours.interface_colours(np.array([[61, k] for k in range(61)])).values()])
    assert shades.max(axis=1).min() > 0.3
    assert len(np.unique(shades.round(4), axis=0)) == 61


def many_regions():
    """Return labels of 60 regions with long names, all of which touch others."""
    labels = np.arange(1, 61).reshape(5, 4, 3).repeat(4, 0).repeat(4, 1).repeat(4, 2)
    names = {label: f"mitochondrion of astrocyte {label} in the hippocampus" for label in range(1, 61)}
    return mc.Volume(labels, "32 nm", names=names)


def test_legends_of_many_long_names_stay_in_the_picture(tmp_path):
    surface = mc.extract(many_regions())
    plot(surface, save=tmp_path / "many.png", view=(0, 0, 1), size=(800, 600))
    image = shown(tmp_path / "many.png", (800, 600))
    # Nothing is cut off at the sides.
    assert (image[:, [0, 1, -2, -1]] > 250).all()
    axis = histogram(surface)
    names = [text.get_text() for text in axis.get_legend().get_texts()]
    assert len(names) == 5
    assert f"all {len(surface.interfaces)} interfaces" in names
    assert max(map(len, names)) <= 32


# --- values ---


def test_values_between_saved_times_are_linear(solution):
    z = solution.mesh.points[solution.nodes["Ca"], 2]
    np.testing.assert_allclose(values_at(solution, "Ca", 1.25), UM * (1 + 1.25 * z), atol=1e-12 * UM)
    for row, time in enumerate(solution.times):
        np.testing.assert_array_equal(values_at(solution, "Ca", time), solution.values["Ca"][row])


def test_species_are_found_in_patches(solution):
    mesh = solution.mesh
    patched = mc.TetMesh(mesh.points, mesh.tets, mesh.regions, mesh.facets, mesh.sides, mesh.names, {"psd": [1, 4]})
    model = Model({"spot": "psd"}, [Species("R", "spot")])
    nodes = np.unique(mesh.facets[[1, 4]])
    one = mc.Solution(patched, model, [0.0], {"R": np.ones((1, len(nodes)))}, {"R": nodes})
    dimension, rows = compartment_rows(one, "R")
    assert (dimension, rows.tolist()) == (2, [1, 4])


# --- errors ---


def test_unknown_species_lists_those_there_are(solution, tmp_path):
    with pytest.raises(ValueError, match="no species is called 'Mg'; there are Ca, P"):
        plot(solution, "Mg")
    with pytest.raises(ValueError, match="no species is called 'Mg'; there are Ca, P"):
        film(tmp_path / "a.gif", solution, "Mg")
    with pytest.raises(ValueError, match="say which: Ca, P"):
        plot(solution, kind="scene")


@pytest.mark.parametrize("time", [-0.1, 2.1, np.nan])
def test_times_must_have_been_simulated(solution, time):
    with pytest.raises(ValueError, match=r"between 0 and 2 s, the simulated ones; got"):
        plot(solution, "Ca", at=time)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cut": "w"}, r"cut should be .*got 'w'"),
        ({"cut": ("x",)}, r"cut should be .*got \('x',\)"),
        ({"cut": ((0, 0, 0), (0, 0, 0))}, r"cut should be"),
        ({"cut": ("x", -5)}, r"leaves nothing"),
        ({"color": "pink"}, r"color of a TetMesh should be one of 'region', 'quality'; got 'pink'"),
        ({"field": np.zeros(3)}, r"3072 tetrahedra or 729 points; got shape \(3,\)"),
        ({"view": (0, 0, 0)}, r"view should be the direction"),
        ({"size": (3, 4)}, r"at least 16; got \(3, 4\)"),
    ],
)
def test_bad_options(mesh, options, text):
    with pytest.raises(ValueError, match=text):
        plot(mesh, **options)


def test_bad_targets(mesh, labels, tmp_path):
    with pytest.raises(ValueError, match=r"should end in \.png, .*got '\.bmp'"):
        plot(mesh, save=tmp_path / "a.bmp")
    with pytest.raises(ValueError, match=r"should end in \.gif, \.mp4; got 'no ending'"):
        film(tmp_path / "a", None, "Ca")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        plot(labels, save=tmp_path / "nowhere" / "a.png")
    with pytest.raises(TypeError, match="got list"):
        plot([1])
    with pytest.raises(ValueError, match="should lie in the volume"):
        plot(labels, at=(50, 0, 0))
    with pytest.raises(ValueError, match="kind of a Volume should be one of 'slices', '3d'"):
        plot(labels, kind="curve")


def test_without_opengl_the_error_names_the_packages(mesh, monkeypatch):
    monkeypatch.setattr(rendering, "PROBE", "import os, sys; print('no EGL', file=sys.stderr); os.abort()")
    rendering.trial_rendering.cache_clear()
    try:
        with pytest.raises(RuntimeError, match=r"exit code -6: no EGL.*libgl1 libegl1"):
            plot(mesh)
    finally:
        rendering.trial_rendering.cache_clear()


def test_importing_does_not_load_the_renderers():
    loaded = (
        "import sys, meshcell.pictures.plotting;"
        "print(*[m for m in ('pyvista', 'vtk', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.slow
def test_the_real_spine(real_spine, tmp_path):
    with np.load(real_spine) as file:
        volume = mc.Volume(file["labels"], tuple(file["spacing_um"]), tuple(file["origin_um"]), {1: "cytosol", 2: "er"})
    plot(volume, kind="3d", size=SIZE, save=tmp_path / "spine.png")
    image = imageio.imread(tmp_path / "spine.png")[..., :3]
    assert share(image, colours.region_colour(2), 0.3) > 0.005


def test_a_gif_keeps_colours_that_few_pixels_have():
    from meshcell.pictures.plotting import _few_colours

    picture = np.full((200, 300, 3), 255, np.uint8)
    picture[:, :, :2] = np.arange(200, dtype=np.uint8)[:, None, None]
    picture[3:5, 3:13] = [253, 231, 37]
    reduced = _few_colours(picture)
    assert len(np.unique(reduced.reshape(-1, 3), axis=0)) <= 256
    assert np.abs(reduced[3:5, 3:13].astype(int) - [253, 231, 37]).max() < 24
