"""Turns: what a process that works among others, and talks to none of them, computes next. Pure: no clock, no store.

Every process deals the same plan into the same shares and begins with its own. What others have finished it sees in the
store. Whoever is through with his share helps those who are not: from the far end of their shares, which they reach
last; so that all finish together, and a process that died or never came is made up for. The first few tiles that a
share lacks are taken to be in their owner's hands. They are taken over once nothing has moved there for `patience`
seconds of the observer's own clock. A tile computed twice is harmless: there are no leases, and nobody has to be told.
"""

from collections.abc import Hashable, Iterable, Sequence

HELD = 3  # tiles in a worker's hands at most: on their way to the device, on it, on their way to the store
SPARING = 20  # times what a look took, until the next one
BUSIER = 5  # times as long again while there is work


def dealt(groups: Sequence[Hashable], costs: Sequence[float], size: int) -> tuple[tuple[int, ...], ...]:
    """Deals tiles to processes: equal costs, and few programs for each.

    Tiles of one group, which run the same programs, lie side by side; that line is cut into `size` pieces. Dealing them
    out in turn would be as even, but every process would compile every program.

    Args:
      groups: of each tile, in the order of the plan, what it runs.
      costs: of each tile; in any unit, > 0.
      size: how many processes there are.

    Returns:
      For each process the places of its tiles in the plan, ascending: within a share it is kept to the plan's order,
      which goes through the examples once.

    Example:
      >>> dealt(["clean", "fog", "noise", "fog"], [1, 1, 1, 1], 2)
      ((0, 1), (2, 3))
    """
    first = {group: place for place, group in reversed(list(enumerate(groups)))}
    line = sorted(range(len(groups)), key=lambda place: (first[groups[place]], place))
    shares: list[list[int]] = [[] for _ in range(size)]
    total, before = sum(costs), 0.0
    for place in line:
        middle = before + costs[place] / 2
        shares[min(size - 1, int(size * middle / total))].append(place)
        before += costs[place]
    return tuple(tuple(sorted(share)) for share in shares)


class Turns:
    """Decides for one process what it computes next.

    Args:
      shares: the tiles of each process, in the order in which it computes them.
      rank: which process this is.
      missing: the tiles that were not in the store at first.

    Attributes:
      missing: the tiles that are not in the store as far as is known, those in hand among them.
      helped, took_over: how many tiles of others it took early, and how many because they seemed given up.
    """

    def __init__(self, shares: Sequence[Sequence[str]], rank: int, missing: Iterable[str]):
        self.rank = rank
        self.missing = set(missing)
        self.helped = self.took_over = 0
        self._shares = [[tile for tile in share if tile in self.missing] for share in shares]
        self._owner = {tile: owner for owner, share in enumerate(self._shares) for tile in share}
        self._in_hand: set[str] = set()
        self._still: dict[int, tuple[tuple[str, ...], float]] = {}  # what each has in hand, and since when

    @property
    def done(self) -> bool:
        """Whether everything is in the store."""
        return not self.missing

    @property
    def busy(self) -> bool:
        """Whether this process has something in hand."""
        return bool(self._in_hand)

    @property
    def working(self) -> bool:
        """Whether so much of its own share is left that no helper can have come near."""
        return len(self._shares[self.rank]) > 2 * HELD

    def owner(self, tile: str) -> int:
        """In whose share a tile is."""
        return self._owner[tile]

    def finished(self, tile: str) -> None:
        """A tile of this process is in the store."""
        self._in_hand.discard(tile)
        if tile in self.missing:
            self.missing.discard(tile)
            owner = self._owner[tile]
            self._shares[owner].remove(tile)
            if owner in self._still:  # that it moved shows no life of its owner
                self._still[owner] = tuple(self._shares[owner][:HELD]), self._still[owner][1]

    def seen(self, present: set[str]) -> list[str]:
        """Takes note of what is in the store.

        Args:
          present: the tiles that were found there.

        Returns:
          Those that others have put there since the last look; not those that this process has in hand.
        """
        found = [tile for share in self._shares for tile in share if tile in present and tile not in self._in_hand]
        if found:
            self.missing.difference_update(found)
            self._shares = [[tile for tile in share if tile in self.missing] for share in self._shares]
        return found

    def next(self, now: float, patience: float) -> str | None:
        """The next tile; it counts as in hand until it is `finished`.

        Args:
          now: seconds of a clock that does not run backwards.
          patience: after so many seconds without a move, what another has in hand is taken over.

        Returns:
          None if there is nothing to do but to wait and look.
        """
        self._watch(now)
        tile = self._own()
        if tile is None and not self._in_hand:  # one at a time: the less is in hand, the less is done twice
            tile = self._help() or self._take_over(now, patience)
        if tile is not None:
            self._in_hand.add(tile)
        return tile

    # --- how ---------------------------------------------------------------------------------------------------------

    def _watch(self, now: float) -> None:
        for rank, share in enumerate(self._shares):
            held = tuple(share[:HELD])
            if rank not in self._still or self._still[rank][0] != held:
                self._still[rank] = held, now

    def _own(self) -> str | None:
        return next((tile for tile in self._shares[self.rank] if tile not in self._in_hand), None)

    def _helpers(self) -> list[int]:
        """Those who are through with their shares, or as good as: this one, and whoever lacks nothing."""
        return [rank for rank, share in enumerate(self._shares) if rank == self.rank or not share]

    def _help(self) -> str | None:
        """A tile that its owner will not reach soon.

        The helpers are spread over the owners. What an owner lacks is cut into equal pieces, one for the owner and one
        for each helper; owners go forwards through theirs, helpers backwards.
        """
        helpers = self._helpers()
        place = helpers.index(self.rank)
        owners = [rank for rank, share in enumerate(self._shares) if rank != self.rank and len(share) > HELD]
        for k in range(len(owners)):
            nth = (place + k) % len(owners)
            share = self._shares[owners[nth]]
            with_me = len(range(nth, len(helpers), len(owners)))  # helpers at this owner
            mine = place // len(owners)
            end = len(share) * (min(mine, with_me - 1) + 2) // (with_me + 1)
            for tile in reversed(share[HELD:end]):
                if tile not in self._in_hand:
                    self.helped += 1
                    return tile
        return None

    def _take_over(self, now: float, patience: float) -> str | None:
        """A tile that seems given up. Of many survivors only as many come as there are tiles; the next ones later."""
        overdue = [
            (tile, now - since)
            for rank, (held, since) in self._still.items()
            if rank != self.rank and now - since >= patience
            for tile in held
        ]
        if not overdue:
            return None
        wave, place = divmod(self._helpers().index(self.rank), len(overdue))
        tile, waited = overdue[place]
        if waited < patience * (wave + 1):
            return None
        self.took_over += 1
        return tile


class Looks:
    """When to look at the store: seldom enough that looking costs little, often enough that nobody waits for long.

    To list 100,000 names is slow on a disk behind a network, and slower on an object store. So the pause between two
    looks is at least 20 times what the last one took, and grows while nothing new is seen. Whoever has work of his own
    looks five times less often still.

    Args:
      shortest, longest: seconds between two looks while waiting, before the look's own time counts.
    """

    def __init__(self, shortest: float = 0.2, longest: float = 10.0):
        self._shortest, self._longest = shortest, longest
        self._growing = self._pause = shortest
        self._last = float("-inf")

    def wait(self, now: float, working: bool) -> float:
        """Seconds until it is time for the next look."""
        return max(0.0, self._last + self._pause * (BUSIER if working else 1) - now)

    def looked(self, started: float, now: float, news: bool) -> None:
        """A look was taken from `started` to `now`; it did or did not show anything new."""
        self._growing = self._shortest if news else min(self._longest, 2 * self._growing)
        self._pause = max(self._growing, SPARING * (now - started))
        self._last = now
