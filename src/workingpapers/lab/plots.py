"""Plots of a run: the standard verdict plot, and whatever a claim adds. Kept as Vega-Lite, rendered once to SVG and PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workingpapers.papers._facts import ClaimFacts

from . import read
from .report import arms_table
from .store import FileRow, RunRow, Store

SIGNS = {"holds": "●", "partly": "◐", "fails": "✕", "inconclusive": "○", "untested": "–"}
THEMES: dict[str, dict[str, str]] = {
    "light": {"paper": "#ffffff", "ink": "#1c1b19", "soft": "#5f5b53", "rule": "#dedacf", "holds": "#1d7a46", "partly": "#8a6a00",
              "fails": "#b3261e", "inconclusive": "#5f5b53", "untested": "#5f5b53"},
    "dark": {"paper": "#1d1d1a", "ink": "#eceae3", "soft": "#a8a397", "rule": "#34332e", "holds": "#6fd39b", "partly": "#e0bd55",
             "fails": "#ff8f86", "inconclusive": "#a8a397", "untested": "#a8a397"},
}
PALETTES = {"light": ["#1f4fa3", "#b3561e", "#2b7a78", "#7a3e9d", "#5f5b53", "#a3781f", "#b3264f"],
            "dark": ["#8fb4ff", "#ffb07a", "#74d3c9", "#cfa3ef", "#a8a397", "#e6c068", "#ff8fb0"]}
WIDTH = 520
VEGA_LITE = "6.4"


def draw_run(store: Store, run_pk: int, facts: ClaimFacts | None, own: Sequence[Mapping[str, Any]]) -> list[str]:
    """Draw the verdict plot and the claim's own plots of a run; replaces what was drawn before. Returns what went wrong, a line a plot."""
    with store.reading() as session:
        row = session.get_one(RunRow, run_pk)
        run = read.run(session, row.run_id)
        assert run is not None
        specs = [("verdict", "Arms with their intervals, and the checks against their thresholds", verdict_spec(run, facts))]
        run_id = run.run_id
    specs += [(str(p["plot"]), str(p["title"]), dict(p["spec"])) for p in own]
    files, failed = [], []
    folder = store.settings.artefacts / run_id
    folder.mkdir(parents=True, exist_ok=True)
    for order, (name, title, spec) in enumerate(specs):
        if not spec:
            continue
        paths = {}
        try:
            drawn = {theme: render(spec, theme) for theme in THEMES}
        except ValueError as error:
            failed.append(f"the plot {name} failed: {' '.join(str(error).split())[:300]}")
            continue
        for theme, kinds in drawn.items():
            for kind, content in kinds.items():
                path = folder / f"{_slug(name)}.{theme}.{kind}"
                path.write_bytes(content)
                paths[f"{theme}.{kind}"] = f"{run_id}/{path.name}"
        files.append(FileRow(run_pk=run_pk, name=_slug(name), title=title, spec=spec, paths=paths, order=order))
    with store.writing() as session:
        row = session.get_one(RunRow, run_pk)
        row.files.clear()
        session.flush()
        row.files.extend(files)
    return failed


def render(spec: Mapping[str, Any], theme: str) -> dict[str, bytes]:
    """A Vega-Lite specification as SVG, and as PNG in the light theme (for mail)."""
    import vl_convert

    themed = {**spec, "config": _merged(config(theme), spec.get("config") or {})}
    out = {"svg": vl_convert.vegalite_to_svg(themed, vl_version=VEGA_LITE).encode()}
    if theme == "light":
        out["png"] = vl_convert.vegalite_to_png(themed, vl_version=VEGA_LITE, scale=2)
    return out


def config(theme: str) -> dict[str, Any]:
    """Vega-Lite's configuration in the look of the site."""
    c = THEMES[theme]
    axis = {"labelColor": c["soft"], "titleColor": c["soft"], "gridColor": c["rule"], "domainColor": c["rule"], "tickColor": c["rule"],
            "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal", "labelLimit": 240}
    return {"background": c["paper"], "font": "sans-serif", "view": {"stroke": None}, "axis": axis,
            "legend": {"labelColor": c["ink"], "titleColor": c["soft"], "labelLimit": 300},
            "title": {"color": c["ink"], "fontSize": 13, "fontWeight": 600, "anchor": "start", "subtitleColor": c["soft"]},
            "header": {"labelColor": c["ink"], "titleColor": c["soft"]}, "text": {"color": c["ink"]},
            "rule": {"color": c["ink"]}, "range": {"category": PALETTES[theme]}, "mark": {"color": PALETTES[theme][0]}}


def verdict_spec(run: RunRow, facts: ClaimFacts | None) -> dict[str, Any]:
    """The standard plot: the headline metric of every arm with its interval; below it each check on its own scale.

    Empty when nothing was measured.
    """
    headline = next((c.body for c in run.checks if c.is_headline), None)
    if headline is None:
        return {}
    panels = [p for p in (_arms_panel(run, headline["metric"], facts), *(_check_panel(c.body, facts) for c in run.checks[:12])) if p]
    if not panels:
        return {}
    word = run.verdict or "inconclusive"
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "vconcat": panels, "spacing": 18,
            "title": {"text": f"{SIGNS[word]} {word} here, at {run.scale} scale", "subtitle": facts.short if facts else run.claim_id}}


def _arms_panel(run: RunRow, metric: str, facts: ClaimFacts | None) -> dict[str, Any]:
    rows = []
    for arm, metrics in arms_table(run).items():
        found = metrics.get(metric)
        if found is None or found["mean"] is None:
            continue
        lo, hi = found["interval"] or (found["mean"], found["mean"])
        rows.append({"arm": arm, "mean": found["mean"], "lo": lo, "hi": hi})
    if not rows:
        return {}
    described = facts.metric_facts(metric) if facts else None
    title = metric
    if described:
        title = (described.title or metric) + (f" ({described.unit})" if described.unit else "")
        title += f", {described.better} is better" if described.better != "equal" else ""
    values = [r["lo"] for r in rows] + [r["hi"] for r in rows]
    wide = min(values) > 0 and max(values) / min(values) > 50
    scale = {"type": "log"} if wide else {"zero": False}
    y = {"field": "arm", "type": "nominal", "title": None, "sort": None, "axis": {"ticks": False, "domain": False, "grid": True}}
    tips = [{"field": f, "type": "quantitative", "format": ".4g"} for f in ("mean", "lo", "hi")]
    return {"width": WIDTH, "height": {"step": 22}, "data": {"values": rows}, "encoding": {"y": y, "tooltip": tips}, "layer": [
        {"mark": {"type": "rule", "strokeWidth": 5, "opacity": 0.4, "strokeCap": "round"},
         "encoding": {"x": {"field": "lo", "type": "quantitative", "scale": scale, "title": title}, "x2": {"field": "hi"}}},
        {"mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
         "encoding": {"x": {"field": "mean", "type": "quantitative", "scale": scale, "title": title}}}]}


def _check_panel(check: Mapping[str, Any], facts: ClaimFacts | None) -> dict[str, Any]:
    """Threshold tick, interval and point, the paper's own figure as a hollow diamond on the headline; better to the right."""
    estimate, interval, threshold = check["estimate"], check["interval"], check["threshold"]
    if estimate is None or interval is None or threshold is None:
        return {}
    log = check["scale"] == "log" and estimate > 0
    reported = facts.reported.value if facts and facts.reported and check["headline"] else None
    bands = threshold if isinstance(threshold, list | tuple) else [threshold]
    marks = [*bands, *interval, estimate, *([reported] if reported is not None else [])]
    if not all(map(math.isfinite, marks)):
        return {}
    scale: dict[str, Any] = {"type": "log" if log and min(marks) > 0 else "linear", "zero": False, "nice": False, "padding": 14,
                             "reverse": check["better"] == "lower"}
    side = "better to the right" if check["better"] != "inside" else "better between the ticks"
    x = {"type": "quantitative", "scale": scale, "title": None, "axis": {"tickCount": 5, "grid": False}}
    word, kind = check["verdict"], THEMES["light"][check["verdict"]]
    text = f"{SIGNS[word]} {check['name']}: {estimate:.4g} [{interval[0]:.4g}, {interval[1]:.4g}]"
    layers: list[dict[str, Any]] = [
        {"data": {"values": [{"t": t} for t in bands]}, "mark": {"type": "tick", "thickness": 1.6, "size": 22, "color": "#8a857a"},
         "encoding": {"x": {**x, "field": "t"}}},
        {"data": {"values": [{"lo": interval[0], "hi": interval[1]}]},
         "mark": {"type": "rule", "strokeWidth": 6, "opacity": 0.42, "strokeCap": "round", "color": kind},
         "encoding": {"x": {**x, "field": "lo"}, "x2": {"field": "hi"}}},
        {"data": {"values": [{"e": estimate}]}, "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "color": kind},
         "encoding": {"x": {**x, "field": "e"}}}]
    if reported is not None:
        layers.append({"data": {"values": [{"r": reported}]},
                       "mark": {"type": "point", "shape": "diamond", "filled": False, "size": 90, "strokeWidth": 1.5, "color": "#8a857a"},
                       "encoding": {"x": {**x, "field": "r"}}})
    said = [] if check["name"] == check["rule"] else [check["rule"]]
    subtitle = ", ".join([*said, side, *(["hollow diamond: the paper"] if reported is not None else [])])
    return {"width": WIDTH, "height": 30, "layer": layers,
            "title": {"text": text, "subtitle": subtitle, "fontSize": 11, "subtitleFontSize": 10}}


def _merged(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(base)
    for key, value in over.items():
        out[key] = _merged(out[key], value) if isinstance(out.get(key), dict) and isinstance(value, Mapping) else value
    return out


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in name.lower())[:60] or "plot"
