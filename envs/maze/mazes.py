"""The maze environments: single and batched, with pillars (GridMaze) and with random walls (RandomMaze)."""

from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig
from plastic_rl.envs.maze.dynamics import Action
from plastic_rl.envs.maze.single import MazeEnv
from plastic_rl.envs.maze.vector import MazeVectorEnv

__all__ = ["Action", "GridMaze", "GridMazeVector", "RandomMaze", "RandomMazeVector"]


class GridMaze(MazeEnv):
    """A maze of pillars in which a hidden goal must be found anew in every lifetime, and then found again.

    ## Description
    The maze is a square with a wall around it and a pillar at every even row and column, except at the
    centre. Each lifetime has a goal cell that the agent cannot see. On reaching it the agent is rewarded and
    put on a random free cell, from which it may seek the goal again. Since the walls look the same in every
    lifetime and the goal does not, an agent can do well only by learning within the lifetime where the goal
    is: that is what plastic connections or a recurrent state are for.

    ## Action Space
    `Discrete(4)`, see :class:`Action`: 0 up, 1 right, 2 down, 3 left. Moving into a wall leaves the agent
    where it is.

    ## Observation Space
    `Box` of `view * view + 6` float32:

    | index (v = view * view) | meaning | range |
    | --- | --- | --- |
    | 0 to v - 1 | the cells around the agent, row by row: 1 wall, 0 free; outside the maze is wall | 0, 1 |
    | v to v + 3 | the previous action, one-hot; zeros at first | 0, 1 |
    | v + 4 | the previous reward; 0 at first | -wall_penalty to reward |
    | v + 5 | the share of the lifetime that is over | 0 to 1 |

    The agent itself is in the middle of the view. Neither the goal nor the agent's position is observed.

    ## Rewards
    `reward` for reaching the goal, `-wall_penalty` for moving into a wall, else 0.

    ## Starting State
    The agent is at the centre. The goal is drawn uniformly from the free cells other than the centre, or
    from those of the outermost ring with `goal="periphery"`. `reset(seed=s)` names a whole stream of
    lifetimes: the calls of `reset()` after it give the next ones. What the agent does in a lifetime does not
    change the next one, so agents tested with one seed face the same goals.

    ## Episode End
    `terminated` is True after `lifetime` steps; `truncated` never is. The horizon is part of the task (how
    much is left decides what is worth trying) and the agent observes how much of it is over, so by
    Gymnasium's definition the end is a terminal state and not a time limit put on from outside: there is
    nothing after it and nothing to bootstrap from.

    ## Arguments
    - `size`: cells a side, outer wall included; odd, at least 5.
    - `lifetime`: steps in a lifetime, at least 1.
    - `reward`: what reaching the goal pays, above 0.
    - `wall_penalty`: what moving into a wall costs, at least 0.
    - `view`: cells a side of the square that the agent sees; odd.
    - `goal`: "anywhere" or "periphery".
    - `teleport`: where the agent goes after a hit, within the same step: "random" (uniformly, any free cell
      other than the goal) or "center".
    - `render_mode`: "human" (a window), "rgb_array", "ansi" or None.

    A bad argument is a ValueError.

    ## Info
    - `goal`: row and column of the goal (int64, shape (2,)); for people and tests, not for agents.
    - `position`: row and column of the agent (int64, shape (2,)).
    - `hits`: how often the goal was reached in this lifetime (int).

    ## Source
    Miconi, Stanley, Clune, "Differentiable plasticity: training plastic neural networks with
    backpropagation", ICML 2018 (arXiv 1804.02464), section 4.5. With `size=13, lifetime=200,
    wall_penalty=0.0` it is the maze of Miconi et al., "Backpropamine", ICLR 2019.
    """

    settings_type = MazeConfig


class GridMazeVector(MazeVectorEnv):
    """Many :class:`GridMaze` side by side, stepped in one go by the same code.

    Maze i of `reset(seed=s)` plays, step by step, what a `GridMaze` does after `reset(seed=s + i)`.

    ## Arguments
    Those of :class:`GridMaze`, and
    - `num_envs`: how many mazes.
    - `autoreset_mode`: what happens at a lifetime's end, see Gymnasium's `AutoresetMode`. "SameStep" (the
      default) begins the next lifetime within the last step, whose observation and info are then in
      `info["final_obs"]` and `info["final_info"]`; "NextStep" spends the next step on it; "Disabled" leaves
      it to `reset(options={"reset_mask": mask})`.
    - `render_mode`: "rgb_array", "ansi" or None; `render()` returns a tuple with one picture per maze.

    ## Info
    `goal` and `position` (shape (num_envs, 2)) and `hits` (shape (num_envs,)), each with a mask of the mazes
    that it holds for (`_goal`, `_position`, `_hits`), as Gymnasium's vector environments have it.
    """

    settings_type = MazeConfig


class RandomMaze(MazeEnv):
    """A maze whose walls, too, are drawn anew in every lifetime.

    ## Description
    As :class:`GridMaze`, but with walls that make corridors: rooms at the cells of odd row and column, joined
    by a random tree of doors (the minimum spanning tree of random weights, as the randomised Kruskal
    algorithm gives it), so that exactly one path joins any two; then a share `openness` of the walls that
    are left between rooms, chosen at random, is removed. All free cells can be reached. How many cells are
    free depends on `size` and `openness` alone.

    ## Action Space
    As for :class:`GridMaze`.

    ## Observation Space
    As for :class:`GridMaze`.

    ## Rewards
    As for :class:`GridMaze`.

    ## Starting State
    The agent is at the centre where that is a room (size 7, 11, 15, ...), and else in the room up and left of
    it. Walls and goal are drawn anew; the goal as for :class:`GridMaze`.

    ## Episode End
    As for :class:`GridMaze`: `terminated` after `lifetime` steps.

    ## Arguments
    Those of :class:`GridMaze`, and
    - `openness`: the share of the walls left by the perfect maze that is removed, from 0 (a perfect maze) to
      1 (pillars alone).

    `teleport="center"` puts the agent back where it started.

    ## Info
    As for :class:`GridMaze`.

    ## Source
    The task is that of :class:`GridMaze`; the layout is this package's own.
    """

    settings_type = RandomMazeConfig


class RandomMazeVector(MazeVectorEnv):
    """Many :class:`RandomMaze` side by side, stepped in one go by the same code.

    Arguments, seeds and infos are as for :class:`GridMazeVector`, with `openness` as for
    :class:`RandomMaze`.
    """

    settings_type = RandomMazeConfig
