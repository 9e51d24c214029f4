"""An employee's record, told by both sides: owners win, one-sided changes win, two-sided ones go to a person."""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.integration.process.world import World

_ids = itertools.count(1)


def employee(side: str, version: int, happening: str = "changed", **fields: Any) -> dict[str, Any]:
    adapter = {"oa": "feishu", "erp": "file"}[side]
    at = f"2025-04-0{version}T00:00:00Z"
    return {
        "specversion": "1.0",
        "id": f"{side}-{next(_ids)}",
        "source": f"/{side}/{adapter}/C01",
        "type": f"master.employee.{happening}.v1",
        "subject": "E017",
        "time": at,
        "sequence": str(version),
        "partitionkey": "C01/E017",
        "data": {"company": "C01", "id": "E017", "version": version, "changed_at": at, **fields},
    }


def merged(world: World) -> dict[str, Any]:
    ((values,),) = world.query("SELECT merged FROM master_records")
    found: dict[str, Any] = json.loads(values)
    return found


def test_each_side_wins_the_fields_it_owns(world: World) -> None:
    world.receive(employee("oa", 1, name="张三", department="D01", bank_account="1"))

    world.receive(employee("erp", 1, name="张三丰", department="D09", bank_account="6222"))

    assert merged(world) == {"name": "张三", "department": "D01", "bank_account": "6222"}
    assert world.letters() == []


def test_an_older_version_of_a_side_changes_nothing(world: World) -> None:
    world.receive(employee("oa", 3, name="新"))

    result = world.receive(employee("oa", 2, name="旧"))

    assert (result.superseded, merged(world)["name"]) == (1, "新")


def test_a_field_nobody_owns_changed_on_both_sides_is_parked_with_both_values(world: World) -> None:
    settings = world.runtime.settings.model_copy(update={"record_owners": {"employee": {}}})
    world.runtime.settings = settings
    world.receive(employee("oa", 1, name="张三"), employee("erp", 1, name="张三"))

    world.receive(employee("oa", 2, name="张三三"), employee("erp", 2, name="章三"))

    (letter,) = world.letters()
    assert letter.code == "SYN-305"
    assert "'张三三'" in letter.message
    assert "'章三'" in letter.message
    assert merged(world)["name"] == "张三"


def test_a_deletion_by_the_owner_counts(world: World) -> None:
    world.receive(employee("oa", 1, name="张三"))

    world.receive(employee("oa", 2, "deleted"))

    assert world.query("SELECT merged FROM master_records")[0][0] == '"deleted"'
