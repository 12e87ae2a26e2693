"""What has come to peers' doors: counted over all lives, for people and tests."""

from dataclasses import dataclass


@dataclass(slots=True)
class Doors:
    """Of one peer, or of several together."""

    came: int = 0
    """Connections that were accepted: the peers' own among them, and strangers'."""
    proven: int = 0
    """Connections, dialled or accepted, whose other side has proven a key and got a place."""
    noted: int = 0
    """What people were told: peers that were refused, dropped, or cannot be reached."""

    def __add__(self, other: "Doors") -> "Doors":
        return Doors(self.came + other.came, self.proven + other.proven, self.noted + other.noted)
