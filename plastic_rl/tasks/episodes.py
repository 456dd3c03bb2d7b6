"""The tensors of a batch of episodes, for each kind of task."""

from typing import NamedTuple

from torch import Tensor


class CompletionEpisodes(NamedTuple):
    """B episodes over P items of n elements (bits or pixels) each, with Q queries at the end.

    Attributes:
        items: ``(B, P, n)``, the items to remember.
        shown: ``(T, B, n)``, what the network is shown at every step; NaN where nothing is shown.
        target: ``(Q * B, n)``, the complete items that the network is asked for; the first B belong to the first query.
        erased: ``(Q * B, n)`` booleans, true for the elements that the query does not show.
    """

    items: Tensor
    shown: Tensor
    target: Tensor
    erased: Tensor


class FewShotEpisodes(NamedTuple):
    """B episodes of S support images, shown with their labels in T steps, and Q queries.

    Attributes:
        support: ``(S, B, size, size)``, ink 1, paper 0.
        label: ``(S, B)``, the class of each support image, from 0 to way - 1.
        order: ``(T, B)``, the index of the support image that is shown at each step.
        query: ``(Q, B, size, size)``, the images to classify at the end, independently of each other.
        target: ``(B, Q)``, the class of each query.
    """

    support: Tensor
    label: Tensor
    order: Tensor
    query: Tensor
    target: Tensor
