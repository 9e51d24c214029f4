"""Corrections: what stands in the ERP and the new version in, how the one becomes the other out. Pure.

The first line that holds decides. "Owes" is what a payable (employee, supplier, card) of the new version comes to.

    withdrawn, and a payment is live                        block ACC-351   recover it first
    same accounts, sides, dimensions, amounts, posting day  none            a changed title is no correction
    an earlier reversal was refused and is not settled      block ACC-355
    another fiscal year, and nobody has accepted that       block ACC-353
    more was paid than the new version owes                 block ACC-351   recover the difference first
    nothing stands: somebody reversed it in the ERP         blue
    less input tax than was declared                        block ACC-352   the seller's red invoice is needed
    pending tax becomes input tax, all else is equal        additive        certification: Dr input tax, Cr pending tax
    the ERP cannot reverse, and something becomes less      block ACC-354
    paid, or the ERP cannot reverse                         additive        block where a voucher cannot say the difference
    withdrawn                                               red
    otherwise                                               red_and_blue

A seller's red invoice in the new version stands as tax transferred out, beside the input tax it belongs to: that is not
less input tax. The posting day is another one only where the new version states it, and the old one's period is open: a
later approval moves nothing. What somebody reversed by hand is not reversed again, but its payments and its year still count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Literal, NamedTuple

from contracts.voucher import LINES_MAX, Role, Voucher, VoucherLine

Kind = Literal["none", "additive", "red_and_blue", "red", "blue", "block"]

_ZERO = Decimal(0)
_NOTHING: Mapping[Role, Decimal] = MappingProxyType({})
_PAYEES: Mapping[str, tuple[str, str]] = {
    "employee_payable": ("the employee", "an employee receivable"),
    "supplier_payable": ("the supplier", "a supplier receivable"),
    "card_clearing": ("the card company", "a receivable from the card company"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about the posted voucher besides its lines.

    paid              live payments per payable role, in the voucher's currency
    period_closed     the period of the posted voucher
    tax_closed        its input tax was declared; None: where its period is closed
    same_year         the correction's day lies in the fiscal year of the posted voucher
    year_accepted     a person decided that it may lie in another
    reversible        the ERP can take a voucher back
    reversal_rejected an earlier reversal of it was refused and is not settled
    reversed_by_hand  somebody took it back in the ERP
    moved             the new version states a posting day, stands on another than the posted voucher, whose period is open
    """

    paid: Mapping[Role, Decimal] = field(default_factory=dict)
    period_closed: bool = False
    tax_closed: bool | None = None
    same_year: bool = True
    year_accepted: bool = False
    reversible: bool = True
    reversal_rejected: bool = False
    reversed_by_hand: bool = False
    moved: bool = False

    @property
    def is_paid(self) -> bool:
        """Whether a payment is live."""
        return any(amount > _ZERO for amount in self.paid.values())

    @property
    def tax_declared(self) -> bool:
        """Whether less input tax would contradict a tax return."""
        return self.period_closed if self.tax_closed is None else self.tax_closed


@dataclass(frozen=True, slots=True)
class Correction:
    """What to do, and in one sentence why. `code` names what a person must decide (block), `difference` has the lines of
    the additional voucher (additive). `in_place`: what is reversed is reversed on its own day, else on the day of the
    new version."""

    kind: Kind
    reason: str
    code: str | None = None
    difference: tuple[VoucherLine, ...] | None = None
    in_place: bool = False


def correct(posted: Sequence[Voucher], new: Voucher | None, facts: Facts) -> Correction:
    """How the live vouchers of a document become its new version, or go where it was withdrawn (`new` is None).

    Never raises. Nothing is reversed while a payment is live; no payable is lowered below what was paid.
    """
    standing = () if facts.reversed_by_hand else tuple(posted)
    overpaid = _overpaid(posted, new, facts)
    if new is None and overpaid:
        return _block("ACC-351", overpaid)
    same = _same(standing, new)
    if same and not facts.moved:
        return Correction("none", "what stands in the ERP says the same" if standing else "nothing stands in the ERP")
    if standing and facts.reversal_rejected:
        return _block("ACC-355", "an earlier reversal was refused and is not settled")
    if not facts.same_year and not facts.year_accepted:
        return _block("ACC-353", "the posted voucher belongs to another fiscal year than its correction")
    if overpaid:
        return _block("ACC-351", overpaid)
    if not standing:
        return Correction("blue", "nothing stands in the ERP: it is posted anew")
    if facts.tax_declared and (less := _tax_less(standing, new)):
        return _block("ACC-352", f"input tax of {less:f} was declared and would be taken back without a red invoice")
    added = None if new is None else difference(standing, new)
    if added and _certifies(added):
        return Correction("additive", "pending tax was certified as input tax", difference=added)
    if not facts.reversible and not (added and _only_adds(standing, added)):
        return _block("ACC-354", "the ERP cannot take a voucher back, and the change is no mere addition")
    if facts.is_paid and not added:
        return _block(
            "ACC-351", "a payment is live, and no additional voucher can say the change: take the payment back"
        )
    if facts.is_paid or not facts.reversible:
        why = "a payment is live" if facts.is_paid else "the ERP cannot take a voucher back"
        return Correction("additive", f"{why}: the difference is posted beside it", difference=added)
    if new is None:
        return Correction("red", "withdrawn: what was posted is reversed")
    if same:
        reason = (
            "another posting day: what was posted is reversed on its day, and the new version is posted on the other"
        )
        return Correction("red_and_blue", reason, in_place=True)
    return Correction("red_and_blue", "changed: what was posted is reversed, and the new version is posted")


def _block(code: str, reason: str) -> Correction:
    return Correction("block", reason, code)


def difference(posted: Sequence[Voucher], new: Voucher) -> tuple[VoucherLine, ...] | None:
    """The lines that, beside what is posted, make the new version: a debit where an account's balance grows, a credit where
    it falls. Balanced, every amount above zero. None where no voucher says it: other currencies, or an amount in foreign
    currency that does not move with its value."""
    if any(voucher.currency != new.currency for voucher in posted):
        return None
    before, after = _nets(posted), _nets([new])
    templates = _templates([new, *posted])
    rates = _rates([new, *posted])
    lines: list[VoucherLine] = []
    for key, template in templates.items():
        old, now = before.get(key, _NIL), after.get(key, _NIL)
        amount, in_currency = now.amount - old.amount, now.in_currency - old.in_currency
        if not amount and not in_currency:
            continue
        if key.currency is not None and amount * in_currency <= _ZERO:
            return None
        lines.append(
            VoucherLine(
                "debit" if amount > _ZERO else "credit",
                key.account,
                abs(amount),
                key.role,
                template.dimensions,
                template.memo,
                template.rule,
                currency=key.currency,
                amount_in_currency=None if key.currency is None else abs(in_currency),
                rate=rates[key],
                origin_period=template.origin_period,
            )
        )
    if len(lines) > LINES_MAX:
        return None
    return tuple(sorted(lines, key=lambda line: line.side == "credit"))


class _Key(NamedTuple):
    """What the ERP tells balances apart by, and the role we see in it."""

    account: str
    dimensions: frozenset[tuple[str, str]]
    currency: str | None
    role: Role


class _Net(NamedTuple):
    """Debits less credits."""

    amount: Decimal
    in_currency: Decimal


_NIL = _Net(_ZERO, _ZERO)


def _key(line: VoucherLine) -> _Key:
    return _Key(line.account, frozenset(line.dimensions.items()), line.currency, line.role)


def _nets(vouchers: Iterable[Voucher]) -> dict[_Key, _Net]:
    nets: dict[_Key, _Net] = {}
    for line in _lines(vouchers):
        key, net = _key(line), nets.get(_key(line), _NIL)
        foreign = _ZERO if line.currency is None or line.amount_in_currency is None else line.amount_in_currency
        sign = 1 if line.side == "debit" else -1
        nets[key] = _Net(net.amount + sign * line.amount, net.in_currency + sign * foreign)
    return nets


def _lines(vouchers: Iterable[Voucher]) -> Iterable[VoucherLine]:
    return (line for voucher in vouchers for line in voucher.lines)


def _templates(vouchers: Iterable[Voucher]) -> dict[_Key, VoucherLine]:
    """The first line of each key, which lends the difference its memo and rule."""
    templates: dict[_Key, VoucherLine] = {}
    for line in _lines(vouchers):
        templates.setdefault(_key(line), line)
    return templates


def _rates(vouchers: Iterable[Voucher]) -> dict[_Key, Decimal | None]:
    """The rate of each key; None where its lines have several: a difference between two rates has none."""
    rates: dict[_Key, Decimal | None] = {}
    for line in _lines(vouchers):
        key = _key(line)
        rates[key] = line.rate if rates.get(key, line.rate) == line.rate else None
    return rates


def _same(standing: Sequence[Voucher], new: Voucher | None) -> bool:
    """Whether the ERP could tell them apart: it knows accounts, dimensions and amounts, and none of our roles."""
    wanted = [] if new is None else [new]
    if len({voucher.currency for voucher in (*standing, *wanted)}) > 1:
        return False
    return _seen_by_erp(standing) == _seen_by_erp(wanted)


def _seen_by_erp(vouchers: Iterable[Voucher]) -> dict[_Key, _Net]:
    nets: dict[_Key, _Net] = {}
    for key, net in _nets(vouchers).items():
        bare = key._replace(role="expense")
        sum_ = nets.get(bare, _NIL)
        nets[bare] = _Net(sum_.amount + net.amount, sum_.in_currency + net.in_currency)
    return {key: net for key, net in nets.items() if any(net)}


def _certifies(added: Sequence[VoucherLine]) -> bool:
    return {(line.side, line.role) for line in added} == {("debit", "input_tax"), ("credit", "pending_tax")}


def _only_adds(standing: Sequence[Voucher], added: Iterable[VoucherLine]) -> bool:
    """Whether every balance that stands becomes more, or stays."""
    nets = _nets(standing)
    return all(nets.get(_key(line), _NIL).amount * (1 if line.side == "debit" else -1) >= _ZERO for line in added)


def _overpaid(posted: Sequence[Voucher], new: Voucher | None, facts: Facts) -> str:
    """What was paid beyond what the new version owes, as a sentence; empty where nothing was."""
    if not facts.is_paid:
        return ""
    if posted and new is not None and posted[0].currency != new.currency:
        return f"paid in {posted[0].currency}, and the new version is in {new.currency}: take the payment back first"
    said = []
    for role, paid in facts.paid.items():
        owed = -_of_role([] if new is None else [new], role)
        if paid > max(owed, _ZERO):
            payee, receivable = _PAYEES.get(role, ("the payee", "a receivable"))
            now, more = f"{owed:f}" if owed else "nothing", paid - owed
            said.append(
                f"{paid:f} was paid to {payee} and {now} is owed now:"
                f" recover {more:f} first or book {receivable} of {more:f}"
            )
    return "; ".join(said)


def _tax_less(standing: Sequence[Voucher], new: Voucher | None) -> Decimal:
    """How much input tax would be taken back without a red invoice of the seller."""
    wanted = [] if new is None else [new]
    deducted = _of_role(standing, "input_tax") - _of_role(wanted, "input_tax")
    left = deducted + _of_role(standing, "tax_transfer_out") - _of_role(wanted, "tax_transfer_out")
    return max(min(deducted, left), _ZERO)


def _of_role(vouchers: Iterable[Voucher], role: Role) -> Decimal:
    """Debits less credits of a role."""
    return sum(
        (line.amount if line.side == "debit" else -line.amount for line in _lines(vouchers) if line.role == role), _ZERO
    )
