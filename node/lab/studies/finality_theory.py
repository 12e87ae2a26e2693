"""How long a part of the work needs to undo what was final, by formula.

The race. Honest peers find a block of the main chain every interval, once the difficulty has adapted to their work; the
attacker finds blocks of a branch of its own, which it keeps to itself. It wins when its branch, which leaves the main chain
below the final block, has more work than the main chain: so the main chain must have grown by `depth` + 1 blocks since it was
left. Before that the attacker may start again from the head whenever it likes.

Sources: S. Nakamoto, "Bitcoin: A peer-to-peer electronic cash system", 2008, section 11; M. Rosenfeld, "Analysis of
hashrate-based double spending", arXiv 1402.2009, 2014 (both: one attempt); W. Feller, "An introduction to probability theory
and its applications", volume 1, chapter III (the ballot theorem); A. Wald, "On cumulative sums of random variables", 1944;
L. Bahack, "Theoretical Bitcoin attacks with less than half of the computational power", arXiv 1312.7013, 2013 (the attacker
raises the difficulty of its own branch); W. Dinkelbach, "On nonlinear fractional programming", 1967.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NEGLIGIBLE = 1e-18
"""A term so small against the sum of those before it changes no digit that is shown."""

HORIZON_DEPTHS = 3
"""A branch that has not won when the main chain has grown by so many depths is as good as lost; doubling it changes nothing."""

HORIZON_BLOCKS = 100

PRECISION = 1e-9


@dataclass(frozen=True, slots=True)
class BestAttack:
    """The strategy of the shortest mean time."""

    mean_blocks: float
    """Of the main chain, until something final is undone."""
    goes_on: npt.NDArray[np.bool_]
    """[blocks of the main chain since the fork, own blocks]: whether it goes on, or starts again from the head."""


def counted_share(share: float, stale_share: float) -> float:
    """The attacker's part of the work that counts: of the honest blocks a part is stale, of its own none."""
    assert 0 < share < 1, f"share is {share}"
    assert 0 <= stale_share < 1, f"stale share is {stale_share}"
    return share / (share + (1 - share) * (1 - stale_share))


def catch_up_chance(share: float, depth: int) -> float:
    """Rosenfeld, section 4: one attempt, never given up, to overtake a block with `depth` - 1 more on top of it.

    While honest peers find `depth` blocks the attacker finds m, by the negative binomial distribution; from z = depth - m
    blocks behind it ever draws level with the chance (q / p)^z.
    """
    p, q = 1 - share, share
    if q >= p:
        return 1.0
    chance, own = 0.0, 0
    while True:
        found = math.exp(_log_choose(own + depth - 1, own) + depth * math.log(p) + own * math.log(q))
        chance += found * (q / p) ** max(0, depth - own)
        if own > depth and found <= NEGLIGIBLE * chance:
            return chance
        own += 1


def restarting_blocks(share: float, depth: int) -> float:
    """Mean blocks of the main chain until an attacker succeeds that starts again from the head whenever it falls behind.

    Its lead is a random walk: +1 with chance q, -1 with chance p, ended at -1 (it starts again), and by success: at a lead of
    1 or more once N = depth + 1 honest blocks were found. By the ballot theorem (a - n + 1) / (a + 1) of all orders of a own
    and n honest blocks never fall behind, so the N-th honest block finds it at a lead of j with the chance
        P_j = C(a + N - 1, a) (a - N + 2) / (a + 1) q^a p^N,    a = N + j;
    j >= 1 is success, j = 0 one with chance q. With P the chance of success in all, and G the mean lead that it ends with times
    P, Wald's identity gives the mean length of an attempt, ((1 - P) - G) / (p - q) blocks of both sides, of which p are honest.
    1 / P attempts are needed on average.
    """
    p, q = 1 - share, share
    assert q < p, "with half of the work every attempt may last for ever"
    needed = depth + 1
    success = gain = 0.0
    lead = 0
    while True:
        own = needed + lead
        orders = _log_choose(own + needed - 1, own) + math.log((own - needed + 2) / (own + 1))
        chance = math.exp(orders + own * math.log(q) + needed * math.log(p)) * (q if lead == 0 else 1)
        success, gain = success + chance, gain + chance * max(1, lead)
        if lead > 0 and chance * lead <= NEGLIGIBLE * gain:
            break
        lead += 1
    return p * (1 - success - gain) / ((p - q) * success) if success else math.inf


def best_attack(share: float, depth: int, half_life_blocks: int | None) -> BestAttack:
    """The attacker that gives up exactly when starting again is better: optimal stopping, solved backwards.

    `half_life_blocks`: of the difficulty, for an attacker that dates its blocks as early as the rules allow. Each then counts
    as an interval ahead of its schedule, and makes the next 2^(1 / half-life) times as hard, and as heavy. The mean work is the
    same, but it comes in fewer, larger pieces, so that luck has more of a part in it. None: all blocks weigh the same.

    Of all strategies the one with the largest (chance of success) / (mean time) of an attempt; found by Dinkelbach's method: at
    a price of time, go on as long as what can still be gained is worth it; what was gained a time is the next price.
    """
    odds = share / (1 - share)
    needed = depth + 1
    horizon = HORIZON_DEPTHS * needed + HORIZON_BLOCKS
    weights = _weights(horizon, half_life_blocks)
    price = 0.0
    while True:
        chance, blocks, goes_on = _attempt(odds / weights, needed, horizon, price, _reached(weights))
        if chance / blocks <= price * (1 + PRECISION):
            return BestAttack(blocks / chance if chance else math.inf, goes_on)
        price = chance / blocks


def _weights(horizon: int, half_life_blocks: int | None) -> Floats:
    """Of the attacker's blocks, in blocks of the main chain: as many as overtake everything within the horizon."""
    if half_life_blocks is None:
        return np.ones(horizon + 2)
    growth = 2.0 ** (1 / half_life_blocks)
    count = math.ceil(math.log(1 + (horizon + 1) * (growth - 1)) / math.log(growth))
    weights: Floats = np.power(growth, np.arange(count + 1, dtype=np.float64))
    return weights


def _reached(weights: Floats) -> Floats:
    """Work of the branch after so many own blocks."""
    return np.concatenate([[0.0], np.cumsum(weights)])


def _attempt(
    rates: Floats, needed: int, horizon: int, price: float, reached: Floats
) -> tuple[float, float, npt.NDArray[np.bool_]]:
    """Chance and mean length of the best attempt at a price of time, and where it goes on.

    States (honest blocks n, own blocks k) with n + k alike depend only on those with one block more, so they are done together.
    """
    most = len(rates)
    goes_on = np.zeros((horizon + 1, most + 1), dtype=bool)
    worth, chance, blocks = np.zeros(most + 2), np.zeros(most + 2), np.zeros(most + 2)
    own_rates = np.append(rates, rates[-1])
    pause = 1 / (1 + own_rates)
    for total in range(horizon + most, -1, -1):
        k = np.arange(max(0, total - horizon), min(most, total) + 1)
        n = total - k
        rate, wait = own_rates[k], pause[k]
        next_chance = wait * (rate * chance[k + 1] + chance[k])
        next_blocks = wait * (1 + rate * blocks[k + 1] + blocks[k])
        next_worth = wait * (rate * worth[k + 1] + worth[k] - price)
        has_overtaken = reached[k] > n
        is_won = (has_overtaken & (n >= needed)) | (k == most)
        is_lost = ~is_won & (n == horizon)
        is_on = ~is_won & ~is_lost & ((next_worth > 0) | (total == 0))
        rest = np.maximum(0.0, needed - n)
        goes_on[n, k] = is_on | is_won
        chance[k] = np.where(is_won, 1.0, np.where(is_on, next_chance, 0.0))
        blocks[k] = np.where(is_won, rest, np.where(is_on, next_blocks, 0.0))
        worth[k] = np.where(is_won, 1.0 - price * rest, np.where(is_on, next_worth, 0.0))
    return float(chance[0]), float(blocks[0]), goes_on


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)
