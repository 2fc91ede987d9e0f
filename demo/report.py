"""How the story ends: the leaderboard, the star's points with their reasons, and whether all is as it should be."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD as PLAIN
from rich.console import Console
from rich.table import Column, Table

from demo.afterwards import leaderboard
from demo.client import Thing
from demo.script import COMMUNITY, POINTS_A_PARTICIPATION, STAR
from demo.stage import Stage

STAR_PARTICIPATIONS = 25
STAR_BALANCE = 250
PADDING = (0, 1, 0, 0)  # so that the projects' names fit in 80 columns
EXPLAINED_BY = ("event_type", "event_id", "rule", "rule_version", "arithmetic")


async def tell_end(stage: Stage, console: Console) -> list[str]:
    """Print leaderboard and points; returns what differs from the story, a sentence each."""
    star = stage.account(STAR)
    board = await leaderboard(stage)
    account: Thing = await star.get("/me/points", asset="points", limit=100)
    community = next(area for area in stage.script.areas if area["key"] == COMMUNITY)
    console.print(_board_table(board, f"{community['name']} ({community['name_en']}): leaderboard {board['season']}"))
    console.print(_points_table(account, f"{stage.people[STAR]['display_name']}: why {account['balance']} points"))
    for rule, text in sorted({(_rule(entry["reason"]), entry["reason"]["text"]) for entry in account["entries"]}):
        console.print(f"{rule}: {text}")
    console.print(
        f"{len(account['entries'])} participations × {POINTS_A_PARTICIPATION} = {account['balance']} points, "
        f"rank {board['me']['rank'] if board['me'] else '–'}; positive energy {account['positive_energy']}"
    )
    return [*_differences_of_star(board, account), *_differences_of_board(stage, board)]


def _board_table(board: Thing, title: str) -> Table:
    table = Table(
        Column("Rank", justify="right"),
        "Name",
        Column("Points", justify="right"),
        title=title,
        box=PLAIN,
        padding=PADDING,
    )
    for item in board["items"]:
        table.add_row(str(item["rank"]), board["names"].get(item["subject_id"], "?"), str(item["score"]))
    return table


def _points_table(account: Thing, title: str) -> Table:
    table = Table(Column("", justify="right"), "Took part in", title=title, box=PLAIN, padding=PADDING)
    for header in ("Arithmetic", "By rule", "For"):
        table.add_column(header, no_wrap=True)
    for number, entry in enumerate(reversed(account["entries"]), 1):
        reason = entry["reason"]
        fact = str(reason["event_type"]).removeprefix("linli.orders.").rpartition(".")[0]
        table.add_row(str(number), entry["title"], reason["arithmetic"], _rule(reason), fact)
    return table


def _rule(reason: Thing) -> str:
    return f"{reason['rule']} v{reason['rule_version']}"


def _differences_of_star(board: Thing, account: Thing) -> list[str]:
    found = []
    if account["balance"] != STAR_BALANCE:
        found.append(f"The star's balance is {account['balance']}, not {STAR_BALANCE}.")
    if board["me"] is None or board["me"]["rank"] != 1:
        found.append(f"The star's place is {board['me']}, not rank 1.")
    if len(account["entries"]) != STAR_PARTICIPATIONS or account["next_cursor"] is not None:
        found.append(f"The star has {len(account['entries'])} entries or more, not {STAR_PARTICIPATIONS}.")
    for entry in account["entries"]:
        missing = [name for name in EXPLAINED_BY if entry["reason"].get(name) is None]
        if missing or entry["amount"] != POINTS_A_PARTICIPATION:
            found.append(f"The entry of {entry['at']} has {entry['amount']} points and lacks {missing}.")
    return found


def _differences_of_board(stage: Stage, board: Thing) -> list[str]:
    scores = {item["subject_id"]: item["score"] for item in board["items"]}
    return [
        f"{stage.people[person]['display_name']} has {score} points on the board, not {points}."
        for person, points in stage.script.scores().items()
        if (score := scores.get(stage.ids[person], 0)) != points
    ]
