"""Environments with something to learn anew in each lifetime, mazes and cue tasks, and wrappers for other tasks.

Importing this package needs numpy and Gymnasium only; pygame is loaded when a picture is drawn.
"""

from plastic_rl.envs.cues.config import CueActionConfig, CueRewardConfig
from plastic_rl.envs.cues.oracle import IdealObserver
from plastic_rl.envs.cues.pictures import CueState, cue_text, draw_cues
from plastic_rl.envs.cues.tasks import CueAction, CueActionVector, CueReward, CueRewardVector
from plastic_rl.envs.maze.config import MazeConfig, RandomMazeConfig
from plastic_rl.envs.maze.mazes import Action, GridMaze, GridMazeVector, RandomMaze, RandomMazeVector
from plastic_rl.envs.maze.oracle import OracleAgent
from plastic_rl.envs.maze.pictures import MazeState, draw_maze, draw_view, maze_text
from plastic_rl.envs.wrappers import PreviousActionReward, PreviousActionRewardVector

__all__ = [
    "Action",
    "CueAction",
    "CueActionConfig",
    "CueActionVector",
    "CueReward",
    "CueRewardConfig",
    "CueRewardVector",
    "CueState",
    "GridMaze",
    "GridMazeVector",
    "IdealObserver",
    "MazeConfig",
    "MazeState",
    "OracleAgent",
    "PreviousActionReward",
    "PreviousActionRewardVector",
    "RandomMaze",
    "RandomMazeConfig",
    "RandomMazeVector",
    "cue_text",
    "draw_cues",
    "draw_maze",
    "draw_view",
    "maze_text",
]
