"""`oaerp demo`: the main job in front of your eyes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workers.cli.base import AsJson, app
from workers.cli.output import emit, hint, leave, note, out, progress, table
from workers.cli.state import BUG, FINDINGS, OK, STATE
from workers.cli.texts import say, translated


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="Another seed tells another story.")] = 1, as_json: AsJson = False
) -> None:
    """Book 30 realistic reports (changes, withdrawals, duplicates, three broken on purpose) in a file ledger."""
    from contracts.voucher import to_dict
    from workers import demo as stage
    from workers.logs import configure

    configure("ERROR")
    home = STATE.home or Path("var/demo")
    STATE.home = home
    lang = STATE.language
    note("demo_start", home=home)
    try:
        with progress(100, "demo_working") as bar:
            result = stage.perform(home, lambda done, total: bar.at(done * 100 // max(total, 1)), seed=seed)
    except TimeoutError:
        note("demo_stuck", seconds=stage.DEADLINE_S)
        leave(BUG)
    if as_json:
        emit(
            {
                "agree": result.agree,
                "home": str(home),
                "expected": f"{result.expected:f}",
                "ledger": f"{result.ledger:f}",
                "erp": f"{result.erp:f}",
                "differences": list(result.differences),
                "vouchers": [{"erp_number": number, **to_dict(voucher)} for number, voucher in result.vouchers],
                "dead_letters": [{"id": r.id, "code": r.code, "message": r.message} for r in result.letters],
            }
        )
        leave(OK if result.agree else FINDINGS)
    rows = [
        (
            number,
            f"{v.date}",
            v.document.number,
            f"v{v.document.version}",
            len(v.lines),
            f"{v.total_debit:,.2f}",
            f"{v.total_credit:,.2f}",
        )
        for number, v in result.vouchers
    ]
    columns = ("ERP", "date", "report", "version", "lines", "debit", "credit")
    table(say("demo_vouchers", lang), columns, rows, right=("lines", "debit", "credit"))
    out()
    table(
        say("demo_letters", lang),
        ("id", "code", "why"),
        [(r.id, r.code, translated(r.message, lang)) for r in result.letters],
        right=("id",),
    )
    out()
    totals = [(say("demo_expected", lang), result.expected), ("ledger", result.ledger), ("ERP", result.erp)]
    table(
        say("demo_totals", lang),
        ("", "CNY"),
        [(translated(name, lang), f"{total:,.2f}") for name, total in totals],
        right=("CNY",),
    )
    for difference in result.differences:
        out(f"✗ {difference}")
    if result.agree:
        out(say("demo_agree", lang, total=f"{result.erp:,.2f}", count=len(result.vouchers)))
    else:
        out(say("demo_differ", lang))
        leave(FINDINGS)
    note("demo_next")
    hint(f"deadletters show {result.letters[0].id}")
    changed = [v for _, v in result.vouchers if v.document.version > 1][-1]
    note("demo_next_trace")
    hint(f"trace {changed.document.number}")
