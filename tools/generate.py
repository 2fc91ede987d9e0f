"""Write, or with `--check` compare, what is generated from the code.

docs/openapi.json     the door: every service's routes merged, with the owner of each; the gateway's routing table
docs/asyncapi.json    the bus: every fact, who tells it and who listens
docs/events.md        the same for readers, with a picture
contracts/golden/     one example a fact and version; made when missing, never changed
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.services import SERVICES
from tools import asyncapi, events_page, golden, openapi

ROOT = Path(__file__).parent.parent


def documents() -> Mapping[Path, str]:
    """Every generated document by its path."""
    return {
        ROOT / "docs" / "openapi.json": _json(openapi.merged(SERVICES)),
        ROOT / "docs" / "asyncapi.json": _json(asyncapi.document(SERVICES)),
        ROOT / "docs" / "events.md": events_page.page(SERVICES),
        **{ROOT / "contracts" / "golden" / name: _json(example) for name, example in golden.missing().items()},
    }


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=False) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is out of date")
    checking = parser.parse_args().check
    stale = [
        path for path, text in documents().items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        print(f"{'out of date' if checking else 'written'}: {path.relative_to(ROOT)}")
        if not checking:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(documents()[path], encoding="utf-8")
    if checking and stale:
        print("run `make generate` and commit the result")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
