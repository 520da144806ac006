import re

import pytest
from markupsafe import Markup

from theodolite.reports import plots, svg
from theodolite.reports.contents import contents
from theodolite.reports.folder import load


def circles(drawing, kind):
    """x positions of the circles of one class."""
    return [float(x) for x in re.findall(rf'<circle cx="([\d.]+)"[^>]*class="{kind}"', str(drawing))]


def test_elements_are_escaped():
    assert svg.tag("text", "a<b", x=1.5, class_="k", text_anchor="end", fill='"') == Markup(
        '<text x="1.5" class="k" text-anchor="end" fill="&#34;">a&lt;b</text>'
    )


@pytest.mark.parametrize(("rough", "nice"), [(0.11, 0.2), (0.5, 0.5), (3, 5), (7, 10), (0, 1), (float("nan"), 1)])
def test_nice_steps(rough, nice):
    assert svg.nice_step(rough) == pytest.approx(nice)


def test_axis_places_values_and_clips_what_lies_far_outside():
    axis = svg.Axis(0, 100, 20, 220)
    assert axis(50) == 120
    assert axis(1000) == pytest.approx(224)
    assert axis.ticks(4) == [0, 50, 100]
    assert svg.Axis(3, 3, 0, 10)(3) == 5


@pytest.mark.parametrize(
    ("values", "zero", "low", "high"),
    [
        ([2, 8], True, 0, 9),
        ([2, 8], False, 1, 9),
        ([-3, 5], False, -4, 6),
        ([], True, 0, 1.1),
        ([4, 4], False, 2.8, 5.2),
        ([0, 6], False, 0, 7),
    ],
)
def test_limits_hold_everything_and_room_never_crosses_zero(values, zero, low, high):
    found = svg.limits(values, zero)
    assert found == pytest.approx((low, high))


def test_the_rule_puts_the_marks_where_the_numbers_are(run):
    family = contents(load(run))["key_numbers"][0]
    drawing = plots.scale(family, "s", 760)
    assert circles(drawing, "before-dot") == pytest.approx([14 + 0.20 * 732], abs=0.01)
    assert circles(drawing, "after-dot") == pytest.approx([14 + 0.44 * 732], abs=0.01)
    assert "before 20 % (95 % interval 12 to 28)" in drawing


def test_the_change_is_pale_where_chance_could_make_it(run):
    family = contents(load(run))["key_numbers"][0]
    assert "unsure" not in plots.scale(family, "s", 760)
    family["difference"] |= {"low": -0.05, "high": 0.5}
    assert "shift unsure" in plots.scale(family, "s", 760)


@pytest.mark.parametrize("width", [335, 760])
def test_every_drawing_stays_inside_its_frame(run, width):
    page = contents(load(run))
    drawn = [
        plots.scale(page["key_numbers"][0], "a", width),
        plots.strips(page["key_numbers"], "b", width),
        plots.dumbbells(page["by_constraint"]["rows"], "c", width),
        plots.frontier(page["frontier"], "d", width),
        *(plots.panel(p, f"p{i}") for i, p in enumerate(page["training"]["panels"])),
    ]
    for drawing in map(str, drawn):
        _, _, w, h = map(float, re.search(r'viewBox="([^"]+)"', drawing)[1].split())
        xs = [float(v) for v in re.findall(r'(?:x|x1|x2|cx)="(-?[\d.]+)"', drawing)]
        ys = [float(v) for v in re.findall(r'(?:y|y1|y2|cy)="(-?[\d.]+)"', drawing)]
        assert 0 <= min(xs) <= max(xs) <= w
        assert 0 <= min(ys) <= max(ys) <= h


def test_rows_that_are_undefined_are_drawn_without_marks():
    empty = dict.fromkeys(("before", "before_low", "before_high", "after", "after_low", "after_high"))
    row = {"constraint": "never", "shown": "undefined", "span": "", "detectable": False, **empty}
    assert "<circle" not in plots.dumbbells([row], "d", 760)


def test_labels_at_the_end_of_curves_are_pushed_apart():
    assert plots._apart([50, 52, 20], 12) == [50, 62, 20]
    assert [plots._short(v) for v in (0.6931, -131.2, 0.00015, 0)] == ["0.693", "−131", "1.5e−4", "0.00"]
