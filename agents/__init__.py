"""Agents with a plastic recurrent core, for Stable-Baselines3."""

from plastic_rl.agents.a2c import PlasticA2C
from plastic_rl.agents.policies import CnnPlasticPolicy, PlasticPolicy
from plastic_rl.agents.ppo import PlasticPPO
from plastic_rl.agents.recurrent import RecurrentAgent
from plastic_rl.agents.vec_env import EpisodeMonitor, GymnasiumVecEnv

__all__ = [
    "CnnPlasticPolicy",
    "EpisodeMonitor",
    "GymnasiumVecEnv",
    "PlasticA2C",
    "PlasticPPO",
    "PlasticPolicy",
    "RecurrentAgent",
]
