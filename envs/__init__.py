"""Environments: mazes whose goal an agent must learn anew in each lifetime, and wrappers for other tasks.

Importing this package needs numpy and Gymnasium only; pygame is loaded when a picture is drawn.
"""

from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig
from plastic_rl.envs.maze.mazes import Action, GridMaze, GridMazeVector, RandomMaze, RandomMazeVector
from plastic_rl.envs.maze.oracle import OracleAgent
from plastic_rl.envs.maze.pictures import MazeState, draw_maze, draw_view, maze_text
from plastic_rl.envs.wrappers import PreviousActionReward, PreviousActionRewardVector

__all__ = [
    "Action",
    "GridMaze",
    "GridMazeVector",
    "MazeConfig",
    "MazeState",
    "OracleAgent",
    "PreviousActionReward",
    "PreviousActionRewardVector",
    "RandomMaze",
    "RandomMazeConfig",
    "RandomMazeVector",
    "draw_maze",
    "draw_view",
    "maze_text",
]
