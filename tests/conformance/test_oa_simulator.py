"""The simulated OA keeps what every OA adapter promises, in memory and in a folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from connector.settings import System
from connector.testing.oa_conformance import OaConformance, OaRig
from connector.testing.oa_simulator import SimulatorOa, tell_story


class Simulated(OaConformance):
    @pytest.fixture
    def options(self) -> dict[str, str]:
        return {"name": uuid.uuid4().hex}

    @pytest.fixture
    def oa(self, options: dict[str, str]) -> Iterator[OaRig]:
        system = System(adapter="simulator", company="C01", options={**options, "strict": "yes"})
        oa = SimulatorOa(system)

        def approve() -> str:
            (sent,) = tell_story(
                1, seed=uuid.uuid4().int, broken=0, changed=0, withdrawn=0, repeated=0, prefix=uuid.uuid4().hex[:8]
            ).sent
            oa.offer(sent.body)
            return sent.number

        def withdraw(number: str) -> None:
            story = tell_story(1, broken=0, changed=0, withdrawn=1, repeated=0, shuffled=False)
            oa.offer(story.sent[-1].body.replace(story.sent[-1].number.encode(), number.encode()))

        with OaRig(
            make=lambda: SimulatorOa(system),
            approve=approve,
            withdraw=withdraw,
            statuses=lambda number: [f"{status.state} {status.erp_number}" for status in oa.statuses(number)],
        ) as rig:
            yield rig


class TestInMemory(Simulated):
    features = SimulatorOa.features


class TestInAFolder(Simulated):
    features = SimulatorOa.features

    @pytest.fixture
    def options(self, tmp_path: Path) -> dict[str, str]:
        return {"path": str(tmp_path)}
