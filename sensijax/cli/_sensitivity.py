"""`sensijax sensitivity`: which severities of a campaign drive the damage."""

import argparse
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sensijax.cli import OK

if TYPE_CHECKING:  # importing these for good would import JAX
    from sensijax.campaign import CampaignSensitivity


def sensitivity(arguments: argparse.Namespace, out: Console, err: Console) -> int:
    """Computes Sobol indices of the campaign's severities, or reads them, and says what they are."""
    from sensijax.campaign import campaign_sensitivity, load_spec
    from sensijax.core import enable_compile_cache
    from sensijax.report import write_sensitivity_report

    enable_compile_cache()
    spec = load_spec(arguments.spec)
    d = len(arguments.stages or spec.campaign.stages)
    rows = arguments.n * (2 * d + 2 if arguments.second_order else d + 2)
    judged = rows * min(arguments.examples, len(spec.campaign.data))
    err.print(f"{rows:,} severity vectors, {judged:,} judged inputs unless they are there already", highlight=False)
    found = campaign_sensitivity(
        spec.campaign,
        arguments.out or spec.out,
        n=arguments.n,
        examples=arguments.examples,
        stages=arguments.stages,
        second_order=arguments.second_order,
        response=arguments.response,
    )
    _summary(found, out)
    if not found.computed:
        out.print("everything was there already: nothing was computed", highlight=False)
    out.print(f"numbers: {found.folder / 'sensitivity.json'}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"report:  {write_sensitivity_report(found)}", markup=False, highlight=False, soft_wrap=True)
    return OK


def _summary(found: "CampaignSensitivity", out: Console) -> None:
    from sensijax.report import strongest_pairs

    result, about = found.result, found.about
    table = Table(
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        title=escape(f"What drives the {about['response']} of {about['model']['name']} on {about['data']['name']}"),
        caption="in all (ST), by itself (S1): shares of the variance over severities, with 95 % intervals",
    )
    for name, justify in (
        ("stage", "left"),
        ("in all", "right"),
        ("95 %", "right"),
        ("by itself", "right"),
        ("95 %", "right"),
    ):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for i in sorted(range(len(result.names)), key=lambda i: -result.ST[i]):
        table.add_row(
            Text(result.names[i]),
            f"{result.ST[i]:.3f}",
            _interval(result.ST_interval[i]),
            f"{result.S1[i]:.3f}",
            _interval(result.S1_interval[i]),
        )
    out.print(table)
    if pairs := strongest_pairs(found, 5):
        table = Table(box=box.SIMPLE_HEAD, title="Strongest pairs (S2)", title_justify="left")
        for name, justify in (("first", "left"), ("second", "left"), ("share", "right"), ("95 %", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for first, second, share, low, high in pairs:
            table.add_row(Text(first), Text(second), f"{share:.3f}", _interval((low, high)))
        out.print(table)


def _interval(bounds: object) -> str:
    low, high = bounds  # type: ignore[misc]
    return f"{low:.3f} to {high:.3f}"
