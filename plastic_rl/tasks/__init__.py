"""Supervised tasks: episodes that a network must learn from within its lifetime, and what is asked at their end."""

from plastic_rl.modules.cores import CoreSettings
from plastic_rl.tasks.base import Task
from plastic_rl.tasks.completion import CompletionEpisodes
from plastic_rl.tasks.few_shot import FewShotClassification, FewShotEpisodes, FewShotNetwork, FewShotSettings
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
