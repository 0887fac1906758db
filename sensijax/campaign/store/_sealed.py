"""JSON with a checksum of itself: a flipped bit in a number still reads as JSON, and is believed."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sensijax.core.errors import StoreError

CHECKSUM = "checksum"


def sealed(content: Mapping[str, Any], indent: int | None = None) -> bytes:
    """A JSON object with one more entry, `checksum`: the BLAKE2b digest of the others.

    Args:
      content: plain values; names are strings.
      indent: spaces for each level; None: all on one line.

    Returns:
      What to write.

    Example:
      >>> unsealed(sealed({"tiles": 12}), "campaign.json")
      {'tiles': 12}
    """
    return json.dumps({**content, CHECKSUM: _checksum(content)}, indent=indent).encode()


def unsealed(data: bytes, what: str) -> dict[str, Any]:
    """The content of what `sealed` wrote.

    Args:
      data: what was read.
      what: where it was read, for the message.

    Returns:
      The content, without the checksum.

    Raises:
      StoreError: if it is not what was written, to the last digit.
    """
    try:
        content = json.loads(data)
        intact = content.pop(CHECKSUM) == _checksum(content)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise StoreError(
            f"{what} is damaged (it does not match its checksum): run again, which writes it anew; "
            "every finished tile is kept"
        )
    return content


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
