"""Pieces of patterns, compared as they are: for patterns that stand for one question only."""


class Piece:
    """What stands between two `*`: texts at their distances from its beginning, and single wildcards elsewhere."""

    __slots__ = ("length", "texts")

    def __init__(self) -> None:
        self.length = 0
        self.texts: list[tuple[int, str]] = []

    def is_at(self, text: str, place: int) -> bool:
        """Whether the piece stands at a place, from which the text is long enough."""
        return all(text.startswith(wanted, place + distance) for distance, wanted in self.texts)

    def find(self, text: str, place: int, end: int) -> int:
        """Return the first place from `place` on where the piece stands and does not pass `end`; -1 for none."""
        if not self.texts:
            return place if place + self.length <= end else -1
        distance, longest = max(self.texts, key=lambda it: len(it[1]))
        rest = self.length - distance - len(longest)
        while (found := text.find(longest, place + distance, end - rest)) >= 0:
            place = found - distance
            if self.is_at(text, place):
                return place
            place += 1
        return -1
