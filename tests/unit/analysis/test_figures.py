"""Pictures of reports: what is drawn is what the report holds, and wrong requests are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lvlmsal.analysis.answer_maps import plot_answer, plot_interventions, plot_layer_grid
from lvlmsal.analysis.charts import plot_aurocs, plot_bins, plot_layers
from lvlmsal.analysis.maps import plot_fusions, plot_tokens
from lvlmsal.analysis.mention_comparison import compare
from lvlmsal.model.lvlm import Lvlm
from lvlmsal.saliency.options import FUSIONS
from lvlmsal.saliency.plot import CORRECT, HALLUCINATED
from lvlmsal.saliency.report import SaliencyReport
from lvlmsal.statistics.intervals import Interval
from tests.unit.analysis.conftest import make_rows

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib")
LABELS = [None, True, None, False, None, None]


def drawn(axes: object) -> np.ndarray:
    """The last image of a panel, nan where nothing is shown."""
    return np.ma.filled(axes.get_images()[-1].get_array().astype(float), np.nan)  # type: ignore[attr-defined] # matplotlib's


def test_attention_beside_saliency(report: SaliencyReport, tmp_path: Path) -> None:
    path = tmp_path / "tokens.png"
    figure = plot_tokens(report, [1, 3], path, labels=LABELS)
    assert path.read_bytes()[:4] == b"\x89PNG"
    *panels, bar = figure.axes
    assert len(panels) == 8
    assert "share of the map" in bar.get_ylabel()
    assert [float(tick.get_text()) for tick in bar.get_yticklabels()][::5] == [0.0, 1.0]
    for line, token in enumerate((1, 3)):
        _, attention, saliency, text = panels[4 * line : 4 * line + 4]
        for axes, of in ((attention, "attention"), (saliency, "saliency")):
            expected = report.image_map(token, of=of)  # type: ignore[arg-type] # a literal
            assert drawn(axes) == pytest.approx((expected / expected.max()).numpy())
            # as wide and high as what the model saw, the middle square, whatever the grid
            assert axes.get_images()[-1].get_extent() == [0, 30, 30, 0]
        start = report.spans.context_start("after_image")
        stop = report.spans.output_start + token
        for strip, rows in enumerate((report.attention, report.rows)):
            expected = rows[token].mean(0)[start:stop]
            assert drawn(text)[strip] == pytest.approx((expected / expected.max()).numpy())
        assert len(text.get_xticklabels()) == stop - start
    ticks = panels[7].get_xticklabels()
    wrong = [tick for tick in ticks if tick.get_color() == HALLUCINATED]
    # with a sign as well, which the axis explains
    assert [tick.get_text() for tick in wrong] == [f"▲ {report.tokens[1].strip() or '␣'}"]
    assert sum("▲" in tick.get_text() for tick in ticks) == 1
    assert panels[7].get_xlabel() == "▲ names an object that is not in the image"
    assert "hallucinated" in panels[3].get_title(loc="left")
    one = plot_tokens(report, [2], layer=report.layers[0]).axes
    expected = report.image_map(2, layer=report.layers[0])
    assert drawn(one[2]) == pytest.approx((expected / expected.max()).numpy())


def test_every_layer_has_a_panel(report: SaliencyReport) -> None:
    panels = [axes for axes in plot_layer_grid(report).axes if axes.get_images()]
    assert len(panels) == 2 * len(report.layers)
    count = len(report.tokens)
    for place, layer in enumerate(report.layers):
        values = report.token_map(of="saliency", layer=layer).numpy()
        shown = drawn(panels[len(report.layers) + place])
        for row in range(count):
            assert np.isnan(shown[row, row:]).all()
            if row:
                # a token that cannot see its own column has the largest value further left
                largest = values[row].max()
                assert shown[row, :row] == pytest.approx(values[row, :row] / largest)


def test_the_magnified_view_is_a_part_of_the_whole(report: SaliencyReport) -> None:
    figure = plot_answer(report, [3, 5], labels=LABELS, window=2)
    _whole, _bar, *views = figure.axes
    values = report.token_map().numpy()
    for axes, token in zip(views, (3, 5), strict=True):
        last = drawn(axes)[-1]
        part = values[token, token - 2 : token]
        assert last == pytest.approx(part / part.max())
        assert [t.get_text() for t in axes.get_xticklabels()] == [
            ("▲ " if LABELS[at] else "") + (report.tokens[at].strip() or "␣")
            for at in range(token - 2, token)
        ]
    assert len(_whole.patches) == 2
    names = {tick.get_color() for tick in _whole.get_yticklabels()}
    assert names == {CORRECT, HALLUCINATED}
    with pytest.raises(IndexError, match=r"expected some from 1 to 5"):
        plot_answer(report, [0])


def test_two_interventions(report: SaliencyReport, tiny: Lvlm) -> None:
    edited = tiny.diagnose(
        report.images,
        report.prompt,
        report.token_ids,
        options=report.options,
        interventions=[{"name": "locore", "beta": 3.0}],
    )
    axes = plot_interventions({"plain": report, "LocoRE": edited}, labels=LABELS).axes
    seen = torch.ones(6, 6).tril(-1).bool()
    change = edited.token_map() - report.token_map()
    assert drawn(axes[2])[seen.numpy()] == pytest.approx(change[seen].numpy())
    lines = next(a for a in axes if a.get_ylabel() == "S(c)").get_lines()
    assert [line.get_ydata().tolist() for line in lines] == [report.saliency, edited.saliency]
    other = tiny.diagnose(report.images, report.prompt, [20, 31])
    with pytest.raises(ValueError, match="of different answers"):
        plot_interventions({"a": report, "b": other})
    with pytest.raises(ValueError, match="expected two reports to compare, got 1"):
        plot_interventions({"a": report})


def test_fusions_side_by_side(report: SaliencyReport) -> None:
    known = {"product": Interval(0.6, 0.5, 0.7, 9)}
    axes = plot_fusions(report, 2, labels=LABELS, aurocs=known).axes
    titles = [panel.get_title() for panel in axes[:5]]
    assert titles == ["product\nAUROC 0.600 [0.500, 0.700]", *FUSIONS[1:]]
    for panel, fusion in zip(axes[:5], FUSIONS, strict=True):
        expected = report.image_map(2, fusion=fusion)
        assert drawn(panel) == pytest.approx((expected / expected.max()).numpy())
    with pytest.raises(IndexError, match=r"no tokens \[6\]: the answer has 6"):
        plot_fusions(report, 6)


def test_without_an_image(tiny: Lvlm, tmp_path: Path) -> None:
    report = tiny.diagnose(None, "What?", [20, 31, 45])
    plot_tokens(report, [1], tmp_path / "a.png")
    plot_fusions(report, 2, tmp_path / "b.png")
    plot_answer(report, [2], tmp_path / "c.png")


def test_charts(tmp_path: Path) -> None:
    found = {"a model": compare(make_rows(90), draws=100)}
    axes = plot_aurocs(found, tmp_path / "auroc.png").axes[0]
    points = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [point.get_xdata()[0] for point in points] == [e.auroc.value for e in found["a model"]]
    panels = plot_bins(found, tmp_path / "bins.png", scores=["saliency"]).axes
    bins = found["a model"][0].bins
    heights = [patch.get_height() for patch in panels[1].patches]
    assert heights == [part.rate.value for part in bins if part.rate.n]
    layers = {"saliency": {0: Interval(0.5, 0.4, 0.6, 9), 3: Interval(0.7, 0.6, 0.8, 9)}}
    lines = plot_layers({"a model": layers}, tmp_path / "layers.png").axes[0].get_lines()
    assert lines[0].get_ydata().tolist() == [0.5, 0.7]
    empty = {"nothing": compare([], draws=100)}
    plot_aurocs(empty)
    plot_bins(empty)
