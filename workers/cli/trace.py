"""`oaerp trace`: a document's whole story, with times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from workers.cli.base import AsJson, app, runtime
from workers.cli.output import emit, hint, leave, note, out, table
from workers.cli.state import CONFLICT, FINDINGS, STATE
from workers.cli.texts import say, translated

if TYPE_CHECKING:
    from connector.ledger.story import Story


@app.command()
def trace(
    number: Annotated[str, typer.Argument(help="The document's number in the OA.")],
    company: Annotated[str | None, typer.Option(help="Where several companies use the number.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell a document's whole story: every event, plan, call, answer, dead letter and person, with times."""
    from connector.ledger import story

    with runtime() as opened, opened.ledger.begin() as tx:
        companies = story.companies_of(tx, number)
        if company is None and len(companies) > 1:
            note("more_companies", number=number, companies=", ".join(companies))
            leave(CONFLICT)
        told = story.tell(tx, company or companies[0], number) if companies else None
        letters, waiting = story.letters_of(tx, number), story.on_the_way(tx)
    if told is None:
        note("no_document", number=number)
        if letters:
            note("only_letters", ids=", ".join(map(str, letters)))
            hint(f"deadletters show {letters[-1]}")
        elif waiting:
            note("on_the_way", count=waiting)
        leave(FINDINGS)
    if as_json:
        emit(told.as_dict())
        return
    _show(told)
    blocked = told.document["blocked_by"]
    if blocked is not None:
        hint(f"deadletters show {blocked}")


def _show(told: Story) -> None:
    document = told.document
    lang = STATE.language
    standing = say("standing", lang, version=document["version"], state=translated(document["state"], lang))
    out(f"{document['company']}/{document['number']}  {document['source']}  {standing}")
    out()
    table(
        "",
        ("time (UTC)", "what", ""),
        [
            (f"{m.at:%Y-%m-%d %H:%M:%S.%f}"[:-3], translated(m.what, lang), translated(m.said, lang))
            for m in told.moments
        ],
    )
    for voucher in told.vouchers:
        out()
        number = f"  {voucher['erp_number']}" if voucher["erp_number"] else ""
        rows = [
            (
                line["account"],
                line["amount"] if line["side"] == "debit" else "",
                line["amount"] if line["side"] == "credit" else "",
                " ".join(line["dimensions"].values()),
                line.get("rule", ""),
            )
            for line in voucher["lines"]
        ]
        rows.append(("", voucher["total_debit"], voucher["total_credit"], "", ""))
        title = f"{voucher['reference']}  {voucher['date']}  {voucher['currency']}  {translated(voucher['state'], lang)}{number}"
        for key, word in (("reverses", "reverses"), ("reversed_by", "reversed by")):
            title += f"  {translated(word, lang)} {voucher[key]}" if voucher.get(key) else ""
        table(title, ("account", "debit", "credit", "dimensions", "rule"), rows, right=("debit", "credit"))
