"""``ropeleak models``: the architectures that come with ropeleak."""

from typing import Annotated, Literal

import typer


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the published models that are known by name."""
    from rich.table import Table

    from ropeleak import catalog
    from ropeleak.describe import keys_words, rope_words

    from ._report import print_json, show

    stacks = {name: catalog.load(name) for name in catalog.names()}
    rows = [
        {
            "name": name,
            "blocks": stack.n_blocks,
            "d_model": stack.d_model,
            "heads": stack.n_heads,
            "keys": keys_words(stack),
            "rope": "; ".join(
                dict.fromkeys(rope_words(a.rope, brief=True) for a in stack.attention)
            ),
            "norm": f"{stack.norm.kind} {stack.norm.placement}",
        }
        for name, stack in stacks.items()
    ]
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    numeric = ("blocks", "d_model", "heads")
    for name in rows[0]:
        side: Literal["left", "right"] = "right" if name in numeric else "left"
        table.add_column(name, justify=side, no_wrap=name != "norm")
    for row in rows:
        cells = {**row, "keys": str(row["keys"]).replace(" x ", " ")}
        table.add_row(*(str(cell).replace("; ", "\n") for cell in cells.values()))
    show([table])
