"""Balance a pole on a cart: gymnasium's CartPole-v1, by a small policy network.

Claims are measured by playing the real environment. The search plays all episodes of all candidates in lockstep, by the same
equations of motion and gymnasium's own constants (Barto, Sutton, Anderson, IEEE SMC 13, 1983), about eighty times as fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.exact import raw_words, stream_key
from learning.task import Float32Array, Float64Array, Int64Array, Layout, ParameterBlock, TaskError
from learning.tasks.black_box import description_digest
from learning.tasks.catalogue import missing_library

try:
    import gymnasium
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv
except ModuleNotFoundError as error:
    raise TaskError(*(missing_library("cartpole") or (str(error),))) from error

ENVIRONMENT = "CartPole-v1"

STEPS_MAX = 500
"""An episode's end in CartPole-v1: a reward of 1 per step makes it the highest return."""

EPISODES = 8
"""Per generation: a policy that balances plays 500 steps in each, a tenth of a second in the real environment."""

TEST_EPISODES = 20
"""Seeds 0..19, which a generation draws with a chance of one in a hundred million each."""

EPISODE_SEED_MAX = 2**31
"""gymnasium's seeds are non-negative integers; this many fit every platform."""

OBSERVATIONS, HIDDEN, ACTIONS = 4, 32, 2

EPISODES_AT_ONCE = 1_024
"""In lockstep: the weights of as many policies, 2 MiB of float64, stay in a core's own cache."""

LIVE_SHARE_MIN = 0.75
"""Finished episodes are played on until a quarter has finished: dropping them copies all the weights of the others."""

LAYOUT: Layout = (
    ParameterBlock("hidden.weight", (HIDDEN, OBSERVATIONS), OBSERVATIONS),
    ParameterBlock("hidden.bias", (HIDDEN,), 0),
    ParameterBlock("output.weight", (ACTIONS, HIDDEN), HIDDEN),
    ParameterBlock("output.bias", (ACTIONS,), 0),
)


@dataclass(frozen=True, slots=True)
class Policies:
    """The network 4-32-2 with tanh, for several candidates at once; the candidate is the last axis of every array."""

    hidden_weight: Float64Array
    hidden_bias: Float64Array
    preference_weight: Float64Array
    preference_bias: Float64Array

    @classmethod
    def of(cls, candidates: Float32Array) -> "Policies":
        """From parameter vectors (count, 226)."""
        count = len(candidates)
        parts = np.split(candidates.astype(np.float64), np.cumsum([block.size for block in LAYOUT])[:-1], axis=1)
        output_weight = parts[2].reshape(count, ACTIONS, HIDDEN)
        return cls(
            np.ascontiguousarray(parts[0].reshape(count, HIDDEN, OBSERVATIONS).T),
            np.ascontiguousarray(parts[1].T),
            np.ascontiguousarray((output_weight[:, 1] - output_weight[:, 0]).T),
            parts[3][:, 1] - parts[3][:, 0],
        )

    def actions(self, observations: Float64Array) -> npt.NDArray[np.int64]:
        """1 (push to the right) where its output is the larger one, else 0; observations (4, count) -> (count,)."""
        weighted = [weight * observation for weight, observation in zip(self.hidden_weight, observations, strict=True)]
        hidden = np.tanh(weighted[0] + weighted[1] + weighted[2] + weighted[3] + self.hidden_bias)
        preference = (self.preference_weight * hidden).sum(axis=0) + self.preference_bias
        actions: npt.NDArray[np.int64] = (preference > 0).astype(np.int64)
        return actions

    def select(self, columns: npt.NDArray[np.int64]) -> "Policies":
        """Those of the given candidates, in the given order."""
        hidden_weight = np.ascontiguousarray(self.hidden_weight[:, :, columns])
        hidden_bias, preference_weight = self.hidden_bias[:, columns], self.preference_weight[:, columns]
        return Policies(hidden_weight, hidden_bias, preference_weight, self.preference_bias[columns])


@dataclass(frozen=True, slots=True)
class Motion:
    """The equations of motion with gymnasium's constants, for many carts at once. States: (4, count) in float64."""

    gravity: float
    cart_mass: float
    pole_mass: float
    half_length: float
    force: float
    seconds: float
    position_max: float
    angle_max: float

    @classmethod
    def of(cls, cart: CartPoleEnv) -> "Motion":
        """The constants of this environment."""
        bounds = (cart.x_threshold, cart.theta_threshold_radians)
        return cls(cart.gravity, cart.masscart, cart.masspole, cart.length, cart.force_mag, cart.tau, *bounds)

    def play(self, policies: Policies, states: Float64Array) -> Float64Array:
        """Steps until each pole falls, the cart leaves or STEPS_MAX is reached: (count,)."""
        returns = np.full(states.shape[1], float(STEPS_MAX))
        live = np.arange(states.shape[1], dtype=np.int64)
        is_live = np.ones(len(live), dtype=np.bool_)
        for step in range(1, STEPS_MAX + 1):
            states = self._move(states, policies.actions(states.astype(np.float32).astype(np.float64)))
            has_fallen = is_live & ((np.abs(states[0]) > self.position_max) | (np.abs(states[2]) > self.angle_max))
            returns[live[has_fallen]] = step
            is_live &= ~has_fallen
            if is_live.mean() < LIVE_SHARE_MIN:
                kept = np.flatnonzero(is_live)
                live, states, policies, is_live = live[kept], states[:, kept], policies.select(kept), is_live[kept]
            if not len(live):
                break
        return returns

    def _move(self, states: Float64Array, actions: npt.NDArray[np.int64]) -> Float64Array:
        """One Euler step (https://coneural.org/florian/papers/05_cart_pole.pdf, equations 23 and 24, without friction)."""
        _, speed, angle, turn = states
        force = np.where(actions == 1, self.force, -self.force)
        total_mass = self.pole_mass + self.cart_mass
        leverage = self.pole_mass * self.half_length
        cosine, sine = np.cos(angle), np.sin(angle)
        push = (force + leverage * np.square(turn) * sine) / total_mass
        inertia = self.half_length * (4.0 / 3.0 - self.pole_mass * np.square(cosine) / total_mass)
        turn_rate = (self.gravity * sine - cosine * push) / inertia
        acceleration = push - leverage * turn_rate * cosine / total_mass
        rates = np.stack((speed, acceleration, turn, turn_rate))
        moved: Float64Array = states + self.seconds * rates
        return moved


class CartPoleTask:
    """The mean return over seeded episodes, 0..500. Implements `learning.task.Task`; a batch holds episode seeds."""

    name = "cartpole"
    layout = LAYOUT

    def __init__(self) -> None:
        shape = f"{OBSERVATIONS}-{HIDDEN}-{ACTIONS} tanh"
        self.data_digest = description_digest("gymnasium", ENVIRONMENT, f"{EPISODES} episodes", shape)
        self._environment = gymnasium.make(ENVIRONMENT, max_episode_steps=STEPS_MAX, disable_env_checker=True)
        assert isinstance(self._environment.unwrapped, CartPoleEnv)
        self._cart = self._environment.unwrapped
        self._motion = Motion.of(self._cart)

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Eight episode seeds."""
        words = raw_words(stream_key(b"kubrat/cartpole-episodes/1", seed), 0, EPISODES)
        return (words % np.uint64(EPISODE_SEED_MAX)).astype(np.int64)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Mean return of each candidate, (count, 226) -> (count,)."""
        states = np.stack([self._first_state(int(seed)) for seed in batch], axis=1)
        policies = Policies.of(candidates)
        chunk = max(1, EPISODES_AT_ONCE // len(batch))
        returns = np.empty((len(candidates), len(batch)))
        for first in range(0, len(candidates), chunk):
            rows = np.arange(first, min(first + chunk, len(candidates)), dtype=np.int64)
            players = policies.select(np.repeat(rows, len(batch)))
            returns[rows] = self._motion.play(players, np.tile(states, len(rows))).reshape(len(rows), -1)
        mean_return: Float64Array = returns.mean(axis=1)
        return mean_return

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Mean return in the real environment."""
        policy = Policies.of(parameters[None])
        return sum(self._episode_return(policy, int(seed)) for seed in batch) / len(batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """`mean_return` over the test episodes."""
        return {"mean_return": float(self.scores(parameters[None], np.arange(TEST_EPISODES, dtype=np.int64))[0])}

    def _first_state(self, seed: int) -> Float64Array:
        self._environment.reset(seed=seed)
        state: Float64Array = np.array(self._cart.state, dtype=np.float64)
        return state

    def _episode_return(self, policy: Policies, seed: int) -> float:
        observation, _ = self._environment.reset(seed=seed)
        total, is_over = 0.0, False
        while not is_over:
            action = int(policy.actions(observation.astype(np.float64)[:, None])[0])
            observation, reward, has_fallen, is_out_of_time, _ = self._environment.step(action)
            total += float(reward)
            is_over = has_fallen or is_out_of_time
        return total
