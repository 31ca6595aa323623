"""The probes of a backbone as sections of a page, and a figure per language."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapterhub.errors import UsageError
from adapterhub.plots.figure_files import figure_bytes, new_figure
from adapterhub.probing.conclusions import depth_fits, fit_of
from adapterhub.probing.fit_settings import PROBES, Probe
from adapterhub.probing.panels import panel_of
from adapterhub.probing.result import ProbeFit, ProbeResult
from adapterhub.store.atomic import write_atomic
from recipes.quality.page import write_section
from recipes.quality.probing import LANGUAGES, PROBED_SETS, ProbedResults, ProbedSet

_MISSING, _NOTHING = "–", "nothing"
_MOST_BYTES = 120_000
_COLUMNS = 3
_PANEL = (3.4, 2.7)
"""Width and height of one panel of a figure, in inches."""

_Own = Sequence[tuple[ProbedSet, ProbeResult]]


def write_page(page: Path, found: ProbedResults) -> None:
    """Writes all sections of the page, and the figures in a folder beside it."""
    write_section(page, "probing-depths", "\n".join(_depths(found)))
    for language in LANGUAGES:
        own = _own(found, language)
        if own:
            file = page.with_suffix("") / f"{page.stem}-{language}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, _figure(own), replace=True)
            shown = file.relative_to(page.parent).as_posix()
            write_section(page, f"probing-{language}", "\n".join(_by_depth(own, language, shown)))
    write_section(page, "probing-controls", "\n".join(_controls(found)))


def _own(found: ProbedResults, language: str | None = None) -> _Own:
    return [
        (one, found.results[one.key])
        for one in PROBED_SETS
        if one.key in found.results and language in (None, one.language)
    ]


def _depths(found: ProbedResults) -> Iterator[str]:
    yield from ("## Which depth to read for what", "", _method(found), "")
    probes = [f"{probe}: most bits, from" for probe in PROBES]
    yield from _head("what", "language", "data", "bits of a label", *probes, "read")
    for one, result in _own(found):
        cells = {
            each.probe: f"depth {each.best.depth} ({_share(each.best)}), {each.enough.depth}"
            for each in result.conclusions
        }
        tuned = "\\*" if one.name in found.listed else ""
        data = f"`{one.name}`{tuned}" if one.name else "corpus"
        row = [one.title, LANGUAGES[one.language], data, f"{result.entropy:.2f}"]
        yield _row([*row, *(cells.get(probe, _MISSING) for probe in PROBES), _advice(result)])
    yield ""
    yield from (f"- {line}" for line in _sentences(found))


def _method(found: ProbedResults) -> str:
    own = _own(found)
    words, texts = found.max_rows
    minutes = sum(result.seconds for _, result in own) / 60
    return (
        f"Made by `scripts/quality DATA --probing --corpus FOLDER` on `{found.backbone.name}` "
        f"({found.backbone.fingerprint[:19]}…) in {minutes:.0f} minutes. At most {words:,} "
        f"sentences (of texts and pairs {texts:,}) train, as many choose and as many measure, "
        f"drawn by a fixed seed; those that choose and measure are halves of the validation file. "
        f"\\*: training rows of the set were in the tuning of the backbone, so that rows of the "
        f"validation file, which were not, are cut into three, of which 60 % train. Sentence order "
        f"is read from paragraphs of documents that pretraining left out. *Most bits, from*: the "
        f"depth with the most bits and their share of the label's, and the lowest depth within one "
        f"standard error of it. *Read*: the lowest of these depths for a linear probe, and the mix "
        f"where it has more by over one standard error; nothing where no depth has bits beyond two."
    )


def _advice(result: ProbeResult) -> str:
    each = next((one for one in result.conclusions if one.probe == "linear"), None)
    if each is None:
        return _MISSING
    if not each.has_found:
        return _NOTHING
    mix = each.mix
    gains = mix is not None and mix.bits > each.best.bits + (each.best.standard_error or 0.0)
    return f"depth {each.enough.depth}" + (", or the mix" if gains else "")


def _sentences(found: ProbedResults) -> Iterator[str]:
    """Yields, for each target, what both languages say."""
    for title in dict.fromkeys(one.title for one, _ in _own(found)):
        parts = []
        for one, result in _own(found):
            linear = next((c for c in result.conclusions if c.probe == "linear"), None)
            if one.title != title or linear is None:
                continue
            best = max((c.best for c in result.conclusions), key=lambda fit: fit.bits)
            more = "" if best.probe == "linear" else f"; {best.probe} {_share(best)}"
            shares = f"linear {_share(linear.enough)}, at most {_share(linear.best)}{more}"
            advice = _advice(result)
            read = "nothing to read" if advice == _NOTHING else f"read {advice}"
            parts.append(f"{LANGUAGES[one.language]}: {read} ({shares})")
        yield f"{title}: {'. '.join(parts)}."


def _by_depth(own: _Own, language: str, figure: str) -> Iterator[str]:
    name = LANGUAGES[language]
    yield from (f"## {name}, by depth", "")
    yield from (f"![Information by depth of six targets, {name}]({figure})", "")
    yield (
        "Bits of information, and their share of the bits of a label; **bold**: the most of a "
        "single depth, and what is within one standard error of it."
    )
    depths = sorted(
        {fit.depth for _, result in own for fit in result.fits if fit.depth is not None}
    )
    for probe in PROBES:
        rows = [(one, result) for one, result in own if depth_fits(result.fits, probe)]
        if rows:
            yield ""
            yield from _head(probe, *map(str, depths), "mix")
        for one, result in rows:
            yield _row([one.title, *_cells(result, probe, depths)])


def _cells(result: ProbeResult, probe: Probe, depths: Sequence[int]) -> Iterator[str]:
    each = next(one for one in result.conclusions if one.probe == probe)
    least = each.best.bits - (each.best.standard_error or 0.0)
    for depth in (*depths, None):
        fit = fit_of(result.fits, probe, depth)
        if fit is None:
            yield _MISSING
            continue
        text = f"{fit.bits:.2f} ({_share(fit)})"
        yield f"**{text}**" if depth is not None and fit.bits >= least else text


def _controls(found: ProbedResults) -> Iterator[str]:
    yield from ("## Controls", "")
    yield (
        "Bits, the most of all depths. *New*: the control task on types of words (texts, for "
        "whole texts) that no training row has, of which nothing can be known. *Known*: on types "
        "that were trained on, which is what a probe memorises. *Random*: the labels, from an "
        "encoder of random weights. *Own*: the labels, from the backbone. Controls of attention "
        "probes are at the first, the middle and the last depth."
    )
    yield ""
    kinds = ("new", "known", "random", "own")
    yield from _head("what", "language", *(f"{probe}: {', '.join(kinds)}" for probe in PROBES))
    for one, result in _own(found):
        cells = []
        for probe in PROBES:
            fits = (
                depth_fits(result.fits, probe, target="control"),
                depth_fits(result.fits, probe, target="memorised"),
                depth_fits(result.fits, probe, weights="random"),
                depth_fits(result.fits, probe),
            )
            cells.append(", ".join(map(_most, fits)) if fits[-1] else _MISSING)
        yield _row([one.title, LANGUAGES[one.language], *cells])


def _most(fits: Sequence[ProbeFit]) -> str:
    return f"{max(fit.bits for fit in fits):.2f}" if fits else _MISSING


def _share(fit: ProbeFit) -> str:
    return _MISSING if fit.coefficient is None else f"{fit.coefficient:.0%}"


def _head(*names: str) -> Iterator[str]:
    yield _row(names)
    yield _row(["---"] * len(names))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _figure(own: _Own) -> bytes:
    """Returns a PNG with a panel per target, and one legend.

    Raises:
        UsageError: It is larger than a page should load.
        MissingExtraError: matplotlib is not installed.
    """
    rows = -(-len(own) // _COLUMNS)
    figure = new_figure(_PANEL[0] * _COLUMNS, _PANEL[1] * rows)
    every = figure.subplots(rows, _COLUMNS, squeeze=False).flat
    for place, axes in enumerate(every):
        if place < len(own):
            one, result = own[place]
            panel_of(result, title=one.title, named=False).draw(axes)
        else:
            axes.set_axis_off()
    lines, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=5, fontsize=8)
    content = _with_few_colours(figure_bytes(figure))
    if len(content) > _MOST_BYTES:
        raise UsageError(f"A figure has {len(content):,} bytes; at most {_MOST_BYTES:,}.")
    return content


def _with_few_colours(png: bytes) -> bytes:
    """Returns a PNG with a palette, about a third of the size: lines need few colours."""
    from PIL import Image  # comes with matplotlib

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(128).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
