"""What Linli runs on: pinned by hash, under accepted licences, listed in a bill of materials."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest
from cyclonedx.output.json import JsonV1Dot6
from packaging.requirements import Requirement

from tools import audit
from tools.audit import advisories
from tools.licences import Package, is_accepted, package
from tools.sbom import bill_of, locked_hashes

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.txt").read_text(encoding="utf-8")
FIELDS = ("Name", "Version", "License", "License-Expression", "Classifier")


def installed() -> list[Package]:
    """The packages of requirements.txt that this machine needs."""
    lines = re.findall(r"^[a-z0-9].*==[^\\\n]*", LOCK, re.MULTILINE | re.IGNORECASE)
    needed = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    found = [importlib.metadata.distribution(one.name) for one in needed]
    return [package({field: one.metadata.get_all(field, []) for field in FIELDS}) for one in found]


def test_every_package_comes_under_an_accepted_licence() -> None:
    packages = installed()
    assert len(packages) > 40
    assert {one.name: one.licence for one in packages if not is_accepted(one.licence)} == {}


@pytest.mark.parametrize(
    ("licence", "accepted"),
    [
        ("MIT", True),
        ("MPL-2.0 AND (Apache-2.0 OR MIT)", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND LGPL-3.0-or-later", False),
        ("MIT AND (GPL-2.0-only OR AGPL-3.0-only)", False),
        ("unknown", False),
    ],
)
def test_control_a_licence_that_asks_for_more_is_seen(licence: str, accepted: bool) -> None:
    assert is_accepted(licence) is accepted


def test_every_package_of_the_locks_has_its_hash() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lock = (ROOT / name).read_text(encoding="utf-8")
        hashes = locked_hashes(lock)
        assert (
            len(hashes) >= len(re.findall(r"^[a-z0-9].*==", lock, re.MULTILINE | re.IGNORECASE)) - 2
        )  # two markers each
        assert [package for package, values in hashes.items() if not values] == []


def test_the_images_install_nothing_but_what_the_lock_pins() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip install[^&\n]*", dockerfile)
    assert installs
    assert [one for one in installs if "--require-hashes" not in one] == []
    assert not re.search(r"apt-get|curl|wget|ADD http", dockerfile)


def test_a_bill_of_materials_has_every_package_with_version_licence_and_hashes() -> None:
    python = [
        {field: one.metadata.get_all(field, []) for field in FIELDS}
        for one in map(importlib.metadata.distribution, ("fastapi", "orjson"))
    ]
    contents = {"python": python, "debian": [["libc6", "2.41-12", "amd64"]]}
    bill = json.loads(JsonV1Dot6(bill_of("linli", contents, LOCK)).output_as_string())
    components = {one["name"]: one for one in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert components.keys() == {"fastapi", "orjson", "libc6"}
    assert components["fastapi"]["purl"] == f"pkg:pypi/fastapi@{importlib.metadata.version('fastapi')}"
    assert components["fastapi"]["hashes"]
    assert components["orjson"]["licenses"][0]["expression"].startswith("MPL-2.0")
    assert components["libc6"]["purl"].startswith("pkg:deb/debian/libc6@")


def test_an_advisory_is_told_unless_it_is_waived(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2"]}
    report = {"dependencies": [{"name": "leaky", "version": "1", "vulns": [found]}, {"name": "sound", "version": "1"}]}
    assert advisories(report) == ["leaky 1: PYSEC-1, mended in ['2']"]
    monkeypatch.setattr(audit, "WAIVED", {"CVE-1": "not the part that we use"})
    assert advisories(report) == []
