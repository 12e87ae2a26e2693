"""Balance a pole on a cart: gymnasium's CartPole-v1, by a small policy network.

Claims are measured by playing the real environment. The search plays all episodes of all candidates in lockstep, by the same
equations of motion and gymnasium's own constants (Barto, Sutton, Anderson, IEEE SMC 13, 1983), twenty times as fast.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learning.exact import raw_words, stream_key
from learning.task import Float32Array, Float64Array, Int64Array, Layout, ParameterBlock, TaskError
from learning.tasks.black_box import description_digest

try:
    import gymnasium
    from gymnasium.envs.classic_control.cartpole import CartPoleEnv
except ModuleNotFoundError as error:
    raise TaskError('task \'cartpole\' needs gymnasium, which is not installed: pip install -e ".[rl]"') from error

ENVIRONMENT = "CartPole-v1"

EPISODES = 8
"""Per generation: a policy that balances plays 500 steps in each, a tenth of a second in the real environment."""

TEST_EPISODES = 20
"""Seeds 0..19, which a generation draws with a chance of one in a hundred million each."""

EPISODE_SEED_MAX = 2**31
"""gymnasium's seeds are non-negative integers; this many fit every platform."""

OBSERVATIONS, HIDDEN, ACTIONS = 4, 32, 2

EPISODES_AT_ONCE = 2_048
"""In lockstep: 32 hidden values of each, half a megabyte, stay in a core's own cache."""


@dataclass(frozen=True, slots=True)
class Policies:
    """The same network 4-32-2 with tanh for many candidates, as arrays with the candidate first."""

    hidden_weight: Float64Array
    hidden_bias: Float64Array
    output_weight: Float64Array
    output_bias: Float64Array

    def pushes_right(self, observations: Float64Array) -> npt.NDArray[np.bool_]:
        """Whether action 1 has the larger output; one observation (4,) per candidate, shape (count, 4) -> (count,)."""
        hidden = np.tanh((self.hidden_weight * observations[:, None, :]).sum(axis=2) + self.hidden_bias)
        outputs = (self.output_weight * hidden[:, None, :]).sum(axis=2) + self.output_bias
        decisions: npt.NDArray[np.bool_] = outputs[:, 1] > outputs[:, 0]
        return decisions

    def select(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> "Policies":
        """Those of the given candidates."""
        return Policies(self.hidden_weight[rows], self.hidden_bias[rows], self.output_weight[rows], self.output_bias[rows])


LAYOUT: Layout = (
    ParameterBlock("hidden.weight", (HIDDEN, OBSERVATIONS), OBSERVATIONS),
    ParameterBlock("hidden.bias", (HIDDEN,), 0),
    ParameterBlock("output.weight", (ACTIONS, HIDDEN), HIDDEN),
    ParameterBlock("output.bias", (ACTIONS,), 0),
)


class CartPoleTask:
    """The mean return over seeded episodes, 0..500. Implements `learning.task.Task`; a batch holds episode seeds."""

    name = "cartpole"
    layout = LAYOUT

    def __init__(self) -> None:
        self.data_digest = description_digest("gymnasium", ENVIRONMENT, str(EPISODES), f"{OBSERVATIONS}-{HIDDEN}-{ACTIONS}")
        self._environment = gymnasium.make(ENVIRONMENT)
        self._motion = Motion.of(self._environment.unwrapped, self._environment.spec.max_episode_steps)

    def draw_batch(self, seed: bytes) -> Int64Array:
        """Eight episode seeds."""
        words = raw_words(stream_key(b"kubrat/cartpole-episodes/1", seed), 0, EPISODES)
        return (words % np.uint64(EPISODE_SEED_MAX)).astype(np.int64)

    def scores(self, candidates: Float32Array, batch: Int64Array) -> Float64Array:
        """Mean return of each candidate, all in lockstep."""
        starts = np.array([self._environment.reset(seed=int(seed))[0] for seed in batch])
        policies = policies_of(candidates)
        chunk = max(1, EPISODES_AT_ONCE // len(batch))
        returns = []
        for first in range(0, len(candidates), chunk):
            rows = np.arange(first, min(first + chunk, len(candidates)))
            steps = self._motion.play(policies.select(np.repeat(rows, len(batch))), self._states(batch, len(rows)))
            returns.append(steps.reshape(len(rows), len(batch)).mean(axis=1))
        del starts
        return np.concatenate(returns)

    def fitness(self, parameters: Float32Array, batch: Int64Array) -> float:
        """Mean return in the real environment."""
        policies = policies_of(parameters[None])
        return sum(self._episode(policies, int(seed)) for seed in batch) / len(batch)

    def metrics(self, parameters: Float32Array) -> Mapping[str, float]:
        """`mean_return` over the test episodes."""
        return {"mean_return": float(self.scores(parameters[None], np.arange(TEST_EPISODES, dtype=np.int64))[0])}
