"""The bill of materials of an image, in CycloneDX: Python's packages with licences and hashes, and Debian's.

    python -m tools.sbom IMAGE FILE

Read from the image itself, by a program that runs in it without a network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tools.licences import package

INSIDE = """
import importlib.metadata, json, subprocess
FIELDS = ("Name", "Version", "License", "License-Expression", "Classifier")
python = [
    {name: found.metadata.get_all(name, []) for name in FIELDS}
    for found in importlib.metadata.distributions()
]
query = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"]
debian = [line.split(" ") for line in subprocess.run(query, capture_output=True, text=True).stdout.splitlines()]
print(json.dumps({"python": python, "debian": debian}))
"""


def contents_of(image: str) -> dict[str, Any]:
    """What is installed in the image."""
    command = ["docker", "run", "--rm", "--interactive", "--network", "none", image, "python", "-"]
    done = subprocess.run(command, input=INSIDE, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def locked_hashes(lock: str) -> dict[tuple[str, str], list[str]]:
    """The hashes that the lock allows, by package and version."""
    entries = re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==(\S+)(.*?)(?=^\S|\Z)", lock, re.MULTILINE | re.DOTALL)
    return {(name.lower(), version): re.findall(r"sha256:(\w+)", rest) for name, version, rest in entries}


def bill_of(image: str, contents: dict[str, Any], lock: str) -> Bom:
    """The document; a component's hashes are those of the files from which it may have been installed."""
    bom = Bom(components=[*_python(contents["python"], locked_hashes(lock)), *_debian(contents["debian"])])
    bom.metadata.component = Component(name=image, type=ComponentType.CONTAINER)
    bom.register_dependency(bom.metadata.component, bom.components)
    return bom


def _python(packages: list[dict[str, list[str]]], hashes: dict[tuple[str, str], list[str]]) -> Iterator[Component]:
    for one in map(package, packages):
        files = hashes.get((one.name, one.version), ())
        yield Component(
            name=one.name,
            version=one.version,
            purl=PackageURL("pypi", None, one.name, one.version),
            licenses=[LicenseFactory().make_from_string(one.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in files],
        )


def _debian(packages: list[list[str]]) -> Iterator[Component]:
    for name, version, architecture in packages:
        purl = PackageURL("deb", "debian", name, version, {"arch": architecture})
        yield Component(name=name, version=version, purl=purl)


def main() -> int:
    image, file = sys.argv[1], Path(sys.argv[2])
    bom = bill_of(image, contents_of(image), Path("requirements.txt").read_text(encoding="utf-8"))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(JsonV1Dot6(bom).output_as_string(indent=1) + "\n", encoding="utf-8")
    print(f"{file}: {len(bom.components)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
