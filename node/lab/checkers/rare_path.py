"""The paths that a batch of runs should take now and then.

The idea is that of Antithesis' "sometimes" assertions and of FoundationDB's coverage macros.
"""

from enum import StrEnum


class RarePath(StrEnum):
    """What a swarm should have seen, in words for people."""

    # total order
    LEADER_SKIPPED = "a leader's slot was skipped"
    DECIDED_BY_ANCHOR = "a slot was decided by a later leader's history"
    EQUIVOCATION_SEEN = "equivocation was proven"
    ROUND_FILLED = "a late member made the blocks that it had missed"
    COMMITS_FETCHED = "a member caught up by ranges of commits"
    JOINED_AT_CHECKPOINT = "a member went on from a checkpoint"
    BLOCK_LOST_BELOW_HORIZON = "a payload was sent again, as its block came too late"
    # proof of work
    REORGANISED = "a head moved to another branch"
    HEALED_WITH_BRANCHES = "a cut healed, and both sides had blocks of their own"
    BLOCK_CONTESTED = "a block was contested"
    CONTEST_LOST = "a contested block was built on, as so much work lay on it"
    # learning
    CONTRIBUTION_REFUSED = "a contribution was not as good as claimed"
    NO_CHANGE_DECIDED = "no candidate was better than no change"
    TOO_STEEP = "a gradient grew faster than the models differ"
    TOO_FREQUENT = "a gradient came too often from its author"
    COPY_SKIPPED = "a copy of another worker's gradient had no part"
    BASE_REFUSED = "a gradient named a model that is unknown, too old or used"
    # large payloads
    PAYLOAD_FROM_ANOTHER = "a payload was asked for from a second peer"
    PAYLOAD_CAME_FROM_ANOTHER = "a payload came after the first peer asked had not sent it"
    PAYLOAD_FETCHED_AGAIN = "a payload that had been forgotten was fetched once more"
    # incarnations
    RESTARTED_WITH_REPLAY = "a restart replayed its records"
    KEPT_STATE_RESTORED = "a restart went on from a kept state"
    KILLED_BEFORE_SENDING = "a peer was killed between recording its block and sending it"
    DISK_FILLED = "a peer ended, as its disk was full"
    RECORDS_LOST = "a restart lacked what an earlier incarnation had recorded"
    GUARD_HELD = "a restart from an older disk signed nothing below its guard"
    LATE_JOINER_ARRIVED = "a late joiner caught up with those who were there before"
    # blame
    PEER_REFUSED = "a faulty peer was refused"
    PEER_ACCUSED = "a faulty peer was accused"
