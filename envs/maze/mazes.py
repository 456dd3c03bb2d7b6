"""The maze environments: single and batched, with pillars (GridMaze) and with random walls (RandomMaze)."""

from plastic_rl.envs.maze.base import MazeEnv, MazeVectorEnv
from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig
from plastic_rl.envs.maze.dynamics import Action

__all__ = ["Action", "GridMaze", "GridMazeVector", "RandomMaze", "RandomMazeVector"]


class GridMaze(MazeEnv):
    """A maze of pillars with a hidden goal, which an agent must find anew in every lifetime, and then again.

    ## Description
    The maze is a square with a wall around it and a pillar at every even row and column, except at the
    centre. Each lifetime has a goal cell that the agent cannot see. When the agent reaches it, it is rewarded
    and put on a random free cell, from which it can look for the goal again. The walls are the same in every
    lifetime and the goal is not, so an agent can do well only if it learns within the lifetime where the goal
    is. Plastic connections or a recurrent state make this possible.

    ## Action Space
    `Discrete(4)`, see :class:`Action`: 0 up, 1 right, 2 down, 3 left. An agent that moves into a
    wall stays where it is.

    ## Observation Space
    `Box` of `view * view + 6` float32:

    | index (v = view * view) | meaning | range |
    | --- | --- | --- |
    | 0 to v - 1 | the cells around the agent, row by row: 1 wall, 0 free; outside the maze is wall | 0, 1 |
    | v to v + 3 | the previous action, one-hot; zeros at first | 0, 1 |
    | v + 4 | the previous reward; 0 at first | -wall_penalty to reward |
    | v + 5 | the elapsed share of the lifetime | 0 to 1 |

    The agent is in the middle of the view. It observes neither the goal nor its own position.

    ## Rewards
    `reward` for reaching the goal, `-wall_penalty` for moving into a wall, otherwise 0.

    ## Starting State
    The agent is at the centre. The goal is drawn uniformly from the free cells other than the centre, or, with
    `goal="periphery"`, from those of the outermost ring. `reset(seed=s)` names a whole stream of lifetimes: the
    following calls of `reset()` give the next ones. What the agent does in a lifetime does not change the next
    one, so all agents that are tested with the same seed face the same goals.

    ## Episode End
    `terminated` is True after `lifetime` steps; `truncated` is never True. The horizon is part of the task: the
    time left decides what is worth trying, and the agent observes the elapsed time. By Gymnasium's definition
    the end is therefore a terminal state and not a time limit from outside: nothing follows it, and there is
    nothing to bootstrap from.

    ## Arguments
    All by keyword; :class:`MazeConfig` has their defaults and checks them.
    - `size`: side of the maze in cells, outer wall included; odd, at least 5.
    - `lifetime`: steps in a lifetime, from 1 to a billion.
    - `reward`: reward for reaching the goal, above 0.
    - `wall_penalty`: cost of moving into a wall, at least 0.
    - `view`: side in cells of the square that the agent sees; odd.
    - `goal`: where goals are drawn, "anywhere" or "periphery".
    - `teleport`: where the agent goes within the step in which it reaches the goal: "random" (any free cell other
      than the goal, uniformly) or "center".
    - `render_mode`: "human" (a window), "rgb_array", "ansi" or None.

    A value out of its range is a ValueError, an unknown argument a TypeError.

    ## Info
    - `goal`: row and column of the goal (int64, shape (2,)); for people and tests, not for agents.
    - `position`: row and column of the agent (int64, shape (2,)).
    - `hits`: number of times that the goal was reached in this lifetime (int).

    ## Source
    Miconi, Stanley, Clune, "Differentiable plasticity: training plastic neural networks with
    backpropagation", ICML 2018 (arXiv 1804.02464), section 4.5. With `size=13, lifetime=200,
    wall_penalty=0.0` it is the maze of Miconi et al., "Backpropamine", ICLR 2019.
    """

    settings_type = MazeConfig


class GridMazeVector(MazeVectorEnv):
    """Many :class:`GridMaze` side by side, stepped together by the same code.

    After `reset(seed=s)`, maze i does step by step what a `GridMaze` does after `reset(seed=s + i)`.

    ## Arguments
    Those of :class:`GridMaze`, and
    - `num_envs`: number of mazes; the only argument that may be given by position.
    - `autoreset_mode`: what happens at the end of a lifetime, see Gymnasium's `AutoresetMode`. "SameStep" (the
      default) begins the next lifetime within the last step; the last observation and info are then in
      `info["final_obs"]` and `info["final_info"]`. "NextStep" begins it in the next step. "Disabled" leaves it to
      `reset(options={"reset_mask": mask})`.
    - `render_mode`: "rgb_array", "ansi" or None; `render()` returns a tuple with one picture per maze.

    ## Info
    `goal` and `position` (shape (num_envs, 2)) and `hits` (shape (num_envs,)). As in all of Gymnasium's vector
    environments, each has a mask of the mazes that it is valid for: `_goal`, `_position`, `_hits`.
    """

    settings_type = MazeConfig


class RandomMaze(MazeEnv):
    """A maze with a hidden goal and random walls, both drawn anew in every lifetime.

    ## Description
    The task is that of :class:`GridMaze`, but the walls form corridors. The cells with odd row and column are
    rooms. A random tree of doors joins them, so that exactly one path leads from any room to any other: the
    minimum spanning tree of random weights, as the randomised Kruskal algorithm finds it. Then a share `openness`
    of the walls that are left between rooms, chosen at random, is removed. All free cells can be reached. The
    number of free cells depends only on `size` and `openness`.

    ## Action Space
    As for :class:`GridMaze`.

    ## Observation Space
    As for :class:`GridMaze`.

    ## Rewards
    As for :class:`GridMaze`.

    ## Starting State
    The agent is at the centre if that is a room (size 7, 11, 15, ...), otherwise in the room up and left of it.
    Walls and goal are drawn anew; the goal as for :class:`GridMaze`.

    ## Episode End
    As for :class:`GridMaze`: `terminated` after `lifetime` steps.

    ## Arguments
    Those of :class:`GridMaze`, and
    - `openness`: share of the walls of the perfect maze that is removed, from 0 (a perfect maze) to 1 (only
      pillars remain). :class:`RandomMazeConfig` has its default.

    `teleport="center"` puts the agent back where it started.

    ## Info
    As for :class:`GridMaze`.

    ## Source
    The task is that of :class:`GridMaze`; the layout is this package's own.
    """

    settings_type = RandomMazeConfig


class RandomMazeVector(MazeVectorEnv):
    """Many :class:`RandomMaze` side by side, stepped together by the same code.

    Arguments, seeds and infos are as for :class:`GridMazeVector`, with `openness` as for
    :class:`RandomMaze`.
    """

    settings_type = RandomMazeConfig
