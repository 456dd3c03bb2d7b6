"""Supervised tasks: a network must learn from each episode within its lifetime, and is asked at the end."""

from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.episodes import CompletionEpisodes, FewShotEpisodes
from plastic_rl.tasks.few_shot import FewShotClassification
from plastic_rl.tasks.few_shot_network import FewShotNetwork, FewShotSettings
from plastic_rl.tasks.images import ImageCompletion
from plastic_rl.tasks.networks import completion_network
from plastic_rl.tasks.patterns import PatternCompletion

__all__ = [
    "CompletionEpisodes",
    "CoreSettings",
    "FewShotClassification",
    "FewShotEpisodes",
    "FewShotNetwork",
    "FewShotSettings",
    "ImageCompletion",
    "PatternCompletion",
    "Task",
    "completion_network",
]
