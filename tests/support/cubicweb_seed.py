# ruff: noqa: F821
"""Fills an empty cubicweb-expense: employees with a token each, the accounts they name. Run by `cubicweb-ctl shell`, which
gives `create_entity`, `find` and `commit`. Prints the tokens by login as one line of JSON.
"""

import json

NAMES = {17: ("三", "张"), 1: ("四", "李"), 2: ("五", "王"), 3: ("六", "赵")}
PAID_BY = {"employee": "224101", "company_card": "224102", "supplier": "220201"}
PAID_FOR = {"travel": "660201", "office": "660202", "entertainment": "660206"}

tokens = {}


def give_token(login, person):
    """Lets a person sign requests."""
    tokens[login] = create_entity("AuthToken", id=login, enabled=True, token_for_user=person).token


give_token("connector", find("CWUser", login="admin").one())
users = find("CWGroup", name="users").one()
for number in range(1, 21):
    login = f"E{number:03}"
    first, last = NAMES.get(number, (f"{number:02}", "员工"))
    person = create_entity(
        "CWUser", login=login, upassword=f"{login}-pw-1", firstname=first, surname=last, in_group=users
    )
    give_token(login, person)
for label, account in PAID_BY.items():
    create_entity("PaidByAccount", label=label, account=account)
for label, account in PAID_FOR.items():
    create_entity("PaidForAccount", label=label, account=account)
commit()
print(json.dumps(tokens))
