"""Another contact key: what the older ones sealed is sealed again with the first, at each start and every hour.

To rotate: put a new key behind the old one in `LINLI_CONTACT_KEY` and start every copy of members anew; then exchange
the two, and start them anew once more. When the log says `contacts_resealed` with `resealed` and `left` at 0, and
`KEEP_CHALLENGES` has passed, take the old key out. In that order no copy meets what it cannot read.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy import select, update

from chassis.db import Database
from services.members.models import Contact
from services.members.vault import Unreadable, Vault

BATCH_MAX = 200

log = structlog.get_logger(__name__)


async def reseal_contacts(db: Database, vault: Vault) -> None:
    """Seal with the first key whatever is not; nothing to do where there is only one."""
    if not vault.rotating:
        return
    resealed, left, after = 0, 0, UUID(int=0)
    while True:
        async with db.transaction() as session:
            page = select(Contact.person_id, Contact.phone_sealed).where(Contact.person_id > after)
            locked = page.order_by(Contact.person_id).limit(BATCH_MAX).with_for_update()
            rows = (await session.execute(locked)).all()
            for person_id, sealed in rows:
                try:
                    anew = vault.resealed(sealed, person_id)
                except Unreadable:
                    left += 1
                    continue
                if anew is not None:
                    mine = update(Contact).where(Contact.person_id == person_id)
                    await session.execute(mine.values(phone_sealed=anew))
                    resealed += 1
        if len(rows) < BATCH_MAX:
            break
        after = rows[-1].person_id
    log.info("contacts_resealed", resealed=resealed, left=left)
