"""Every worked number of the accounting rules is a golden case or a named test; one that is taken away is missed here."""

from __future__ import annotations

from importlib import import_module

import pytest

from connector.translate.testing import run
from tests.unit.translate.notation import cases

# The rule, its worked number -> titles of cases under tests/cases, or tests by their module.
CASES = {
    ("Case A", "1 000.00 + 507.34 + 300.00 + 105.66 = 1 500.00 + 413.00"): (
        "Case A: hotel, rail and a client meal against an advance of 1 500.00",
    ),
    ("Case B", "red voucher of A, blue voucher with 260.00, payable 373.00"): (
        "Case B: the meal is 260.00 after March was closed: a red voucher of everything, and a blue one",
        "Case B: where the 413.00 were paid already, a person decides",
    ),
    ("Case C", "50 = 24 + 26"): ("Case C: 50.00 for a day is 24.00 tax-free and 26.00 taxable",),
    ("1 balanced", "1 913.00 = 1 913.00"): ("Case A: hotel, rail and a client meal against an advance of 1 500.00",),
    ("3 hotel", "1 060.00: 1 000.00 + 60.00"): ("A certified special invoice splits into net and input tax",),
    ("3 rail", "553.00: 507.34 + 45.66"): ("A rail ticket has 9 % inside",),
    ("3 air", "1 000 + 60 + 50: tax 87.52, cost 1 022.48"): (
        "An air ticket has 9 % inside fare and fuel, never inside the airport fee",
    ),
    ("3 coach", "103.00: 3.00"): ("A coach ticket has 3 % inside",),
    ("4 kept in the cost", "meals, gifts, foreign tickets"): (
        "Meals, gifts and welfare keep their tax in the cost, whatever the invoice",
        "The tax of an ordinary invoice stays in the cost",
    ),
    ("4 partly", "55.00 incl. 6.32: 48.68 + 3.16 + 3.16"): ("Half of the VAT of 55.00 incl. 6.32 may be deducted",),
    ("5 pending", "60.00 pending"): ("A special invoice that is not certified yet waits on the pending account",),
    ("5 certified", "Dr input tax 60.00 Cr pending 60.00"): (
        "Certification moves the tax from pending to input tax, beside what stands",
    ),
    ("6 per invoice", "3 x 35.00: 12.09, not 12.08"): (
        "Three invoices of 35.00 with 13 % inside keep 4.03 each: 12.09, where their sum would carry 12.08",
    ),
    ("7 residue", "712.33 vs 712.34: 0.01"): (
        "Three foreign lines are rounded one by one",
        "Where the OA converted the sum instead, the cent stands on its own line",
        "More than a cent for each converted line is no rounding",
    ),
    ("8 60/40", "507.34: 304.40 + 202.94"): ("60/40 by the largest remainder; the tax is not shared out",),
    ("8 in three", "333.34 + 333.33 + 333.33"): ("1 000.00 in three: the cent goes to the first",),
    ("8 in seven", "100.00"): ("100.00 in seven makes 100.00, not 100.03",),
    ("9 pinned rate", "712.34"): ("A foreign line is booked at the rate pinned in the event",),
    ("10 paid", "3 550.00"): ("An advance in dollars is paid: 500.00 at 7.10",),
    ("10 spent", "3 432.00 = 3 408.00 + 24.00"): (
        "Of it 480.00 are spent at 7.15: the advance falls at 7.10, the difference is a gain",
    ),
    ("10 returned", "142.40 = 142.00 + 0.40"): ("The other 20.00 come back at 7.12: the advance ends at nothing",),
    ("11 payable", "413.00"): ("An advance smaller than the claim leaves a payable",),
    ("11 receivable", "87.00"): ("An advance larger than the claim leaves a receivable: 87.00 is to be returned",),
    ("12 card", "56.10"): (
        "What the company card paid is owed to the card company",
        "The card paid 56.10 for a car, all of it business",
    ),
    ("12 supplier and personal part", ""): (
        "What the supplier is paid directly is a supplier payable",
        "The personal part of a card line is owed by the employee",
    ),
    ("15 three days", "03-28 / 04-03 / 04-03"): (
        "Three days stay apart: expense 03-28, approval 04-03, posting 04-03",
    ),
    ("16 closed period", "2025-04-03, origin 2025-03"): (
        "An expense of March that is booked in April keeps its origin",
        "A cost that was accrued in March is taken from where it was accrued, its tax is of April",
    ),
    ("17 red letter", "-1 000.00, -507.34, -300.00, -105.66; -1 500.00, -413.00"): (
        "A reversal has the same accounts on the same sides with negative amounts",
    ),
    ("18 red invoice", "Cr 6.00, Cr 100.00, Dr 106.00"): (
        "A seller's red invoice alone: the employee owes 106.00, the tax of 6.00 is transferred out",
    ),
    ("19 dimensions", "a required one is missing"): (
        "A missing project is named at its line, and each line that lacks it",
    ),
    ("20 missing mapping", "training, D07"): (
        "A category without an account waits for its row and falls into no other account",
        "Everything that is missing is named at once",
    ),
    ("21 part use", "600.00 and 460.00 of 1 060.00, not 1.00 more"): (
        "One invoice claimed in two parts gives its tax to both, to the cent",
        "One cent more than the invoice is refused",
    ),
}

_PROCESS = "tests.integration.process"
_ACCOUNTS = f"{_PROCESS}.test_accounts_story"
# What is no voucher of one report: rule 23 (attachments) is none of the translator's and has no number.
TESTS = {
    ("2 balance evidence", "sent 1 913.00 / echoed 1 913.00"): (
        f"{_PROCESS}.test_balance_evidence:test_sent_1913_00_is_posted_where_the_erp_echoes_1913_00_and_nothing_else",
    ),
    ("9 pinned rate", "the same on replay"): (
        "tests.unit.translate.test_properties:test_compiled_again_a_report_makes_the_same_voucher",
    ),
    ("11 open balance", "what was returned counts, and nobody claims twice"): (
        f"{_ACCOUNTS}:test_what_was_given_back_cannot_be_claimed",
        f"{_ACCOUNTS}:test_a_claim_above_what_is_open_goes_to_a_person_and_nothing_is_posted",
    ),
    ("13 target document", "bill or expense document where the ERP pays from it"): (
        "tests.unit.translate.test_target:test_an_erp_is_handed_the_document_its_features_name",
    ),
    ("14 partial payment", "413.00: 200.00, 213.00, reversed 213.00"): (
        "tests.unit.test_payment:test_the_document_is_as_far_paid_as_its_live_payments_say",
        f"{_ACCOUNTS}:test_a_report_is_partly_paid_then_paid_then_open_again_by_exact_sums",
        f"{_ACCOUNTS}:test_more_is_not_paid_than_is_owed",
    ),
    ("16 policies", "HOLD, NEXT_OPEN, ACCRUE, REJECT, another fiscal year"): (
        f"{_ACCOUNTS}:test_a_report_of_a_closed_period_waits_until_it_is_opened_again",
        f"{_ACCOUNTS}:test_next_open_books_a_march_expense_in_april_and_says_where_it_belongs",
        f"{_ACCOUNTS}:test_accrue_takes_the_cost_from_where_it_was_accrued",
        f"{_ACCOUNTS}:test_reject_sends_the_report_back_to_the_oa",
        f"{_ACCOUNTS}:test_another_fiscal_year_is_for_a_person_and_goes_on_once_one_accepted",
    ),
    ("17 no reversal while paid, none of a reversal", ""): (
        f"{_PROCESS}.test_corrections_story:test_a_paid_report_is_not_withdrawn",
        "tests.unit.contracts.test_voucher:test_a_reversal_is_not_reversed",
    ),
    ("19 valid on the posting date", "project ended 03-31, voucher 04-03"): (
        f"{_ACCOUNTS}:test_a_project_that_ended_before_the_posting_day_stops_the_report",
        f"{_ACCOUNTS}:test_a_project_of_another_company_is_none_of_this_one",
    ),
    ("20 missing mapping", "moves when the row arrives"): (
        f"{_PROCESS}.test_dead_letters:test_a_category_without_a_rule_is_parked_under_the_key_it_waits_for",
    ),
    ("21 once in the group", "600.00, 460.00, 1.00"): (
        f"{_ACCOUNTS}:test_an_invoice_is_claimed_up_to_its_total_and_not_a_cent_more",
        f"{_ACCOUNTS}:test_another_company_of_the_group_cannot_claim_the_invoice_again",
        f"{_ACCOUNTS}:test_a_withdrawn_report_gives_its_invoice_back",
    ),
    ("22 budget", "reserved 1 613.00, consumed 1 507.34, released 105.66"): (
        f"{_ACCOUNTS}:test_a_budget_is_reserved_gross_consumed_net_of_tax_and_restored_on_reversal",
        "tests.unit.test_preflight:test_a_report_reserves_its_budget_gross_and_consumes_it_net_of_tax",
    ),
    ("24 reference", "the same on every attempt, unique"): (
        "tests.unit.translate.test_reference:test_a_plain_number_stays_readable",
        "tests.unit.translate.test_reference:test_different_documents_never_share_a_reference",
    ),
}
RULES = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 24}


@pytest.mark.parametrize("rule", CASES, ids=" ".join)
def test_each_worked_number_is_a_case_that_passes(rule: tuple[str, str]) -> None:
    known = {case.title: (case, book) for case, book in cases()}

    for title in CASES[rule]:
        assert title in known
        result = run(*known[title])
        assert result.passed, result.differences()


@pytest.mark.parametrize("rule", TESTS, ids=" ".join)
def test_what_is_no_voucher_has_a_test_of_its_own(rule: tuple[str, str]) -> None:
    for name in TESTS[rule]:
        module, _, test = name.partition(":")
        assert callable(getattr(import_module(module), test))


def test_no_rule_is_left_out() -> None:
    told = {rule.split()[0] for rule, _ in [*CASES, *TESTS]}

    assert told == {str(rule) for rule in RULES} | {"Case"}


def test_every_case_has_a_title_of_its_own() -> None:
    titles = [case.title for case, _ in cases()]

    assert len(titles) == len(set(titles))
