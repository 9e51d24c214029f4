"""Fills an empty Tryton database: company, years, accounts, parties, users. Runs inside Tryton's own environment.

Called as `tryton_seed.py CONFIG DATABASE ACCOUNTS.json`; the passwords are those in tests/support/tryton.py.
"""

import datetime as dt
import json
import sys
from decimal import Decimal

from proteus import Model
from proteus import config as proteus_config

config_file, database, accounts_file = sys.argv[1:4]
proteus_config.set_trytond(database=database, user="admin", config_file=config_file)

# These import models of the database, so they come after the connection.
from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, get_accounts  # noqa: E402
from trytond.modules.account_invoice.tests.tools import set_fiscalyear_invoice_sequences  # noqa: E402
from trytond.modules.company.tests.tools import create_company, get_company  # noqa: E402
from trytond.modules.currency.tests.tools import get_currency  # noqa: E402

YEARS = range(2025, dt.datetime.now(dt.UTC).year + 2)  # The next one, too: midnight may pass meanwhile.
EMPLOYEES = {17: "张三", 1: "李四", 2: "王五", 3: "赵六"}
SUPPLIERS = {"S001": "上海某某酒店", "S002": "北京某某旅行社", "S003": "深圳某某文具"}


def currencies():
    """CNY as the base, USD beside it, each with a rate from the first year on."""
    first_day = dt.date(YEARS[0], 1, 1)
    for code, rate in (("CNY", Decimal(1)), ("USD", Decimal("0.14"))):
        currency = get_currency(code)
        for old in list(currency.rates):
            currency.rates.remove(old)
        currency.rates.new(date=first_day, rate=rate)
        currency.save()
    return get_currency("CNY")


def fiscal_years(company):
    """Whole calendar years with a period for each month, all open."""
    for year in YEARS:
        span = (dt.date(year, 1, 1), dt.date(year, 12, 31))
        fiscal_year = set_fiscalyear_invoice_sequences(create_fiscalyear(company, today=span))
        fiscal_year.start_date, fiscal_year.end_date = span
        fiscal_year.click("create_period")


def accounts(company):
    """The accounts of the starter book, each of a type that suits its first digit and its need of a party."""
    known = get_accounts(company)
    types = {
        "receivable": known["receivable"].type,
        "payable": known["payable"].type,
        "asset": known["cash"].type,
        "liability": known["tax"].type,
        "expense": known["expense"].type,
    }
    Account = Model.get("account.account")
    with open(accounts_file, encoding="utf-8") as file:
        wanted = json.load(file)
    for row in wanted:
        account = Account(name=row["name"], code=row["code"], company=company)
        account.type = types[row["kind"]]
        account.party_required = row["party"]
        account.reconcile = row["party"]
        account.save()


def parties(company):
    """Employees E001 to E020 and three suppliers; their numbers are the codes of their parties."""
    Party, Employee = Model.get("party.party"), Model.get("company.employee")
    for number in range(1, 21):
        party = Party(name=EMPLOYEES.get(number, f"员工{number:02}"), code=f"E{number:03}")
        party.save()
        Employee(party=party, company=company, start_date=dt.date(2020, 1, 1)).save()
    for code, name in SUPPLIERS.items():
        Party(name=name, code=code).save()


def users(company):
    """`connector` may book and pay, `accountant` may book, `limited` may do nothing, `admin` may close periods."""
    User, Group, Company = Model.get("res.user"), Model.get("res.group"), Model.get("company.company")
    groups = {group.name: group.id for group in Group.find([])}
    rights = {"connector": ["Accounting", "Payment"], "accountant": ["Accounting"], "limited": []}
    for login, names in rights.items():
        user = User(name=login, login=login)
        user.password = f"{login}-pw-1"
        for name in names:
            user.groups.append(Group(groups[name]))
        user.companies.append(Company(company.id))
        user.company = user.companies[0]
        user.save()
    (admin,) = User.find([("login", "=", "admin")])
    has = {group.id for group in admin.groups}
    for name in ("Accounting", "Accounting Administration", "Payment", "Payment Approval"):
        if groups[name] not in has:
            admin.groups.append(Group(groups[name]))
    admin.save()


def seed():
    """All of it, in the order in which one thing needs another."""
    base = currencies()
    own = Model.get("party.party")(name="示例科技有限公司", code="C01")
    own.save()
    create_company(own, base)
    company = get_company()
    fiscal_years(company)
    create_chart(company)
    accounts(company)
    parties(company)
    users(company)
    journal = Model.get("account.payment.journal")(name="手工付款", company=company, currency=base)
    journal.process_method = "manual"
    journal.save()


seed()
