"""The cue tasks, single and batched: which cue is the target (CueReward), which action each asks for (CueAction)."""

from plastic_rl.envs.cues.base import CueEnv, CueVectorEnv
from plastic_rl.envs.cues.config import CueActionConfig, CueRewardConfig

__all__ = ["CueAction", "CueActionVector", "CueReward", "CueRewardVector"]


class CueReward(CueEnv):
    """Find out by trial and error which of some new cues is the target, and then say whether it was shown.

    ## Description
    Each lifetime has `cues` random cues, and one of them, unknown to the agent, is the target. The lifetime is a
    sequence of trials. In each trial the agent sees two of the cues and then a go signal, and answers whether the
    target was one of the two. It is rewarded if it was right. Cues and target are new in every lifetime, so an agent
    can do well only if it learns within the lifetime which cue is the target, from rewards alone, and remembers it.

    A trial has these steps:

    | observation | steps | the action that answers it |
    | --- | --- | --- |
    | blank | 1 | has no effect |
    | `shown` different cues, one a step, in random order | `shown` | has no effect |
    | blank, shuffled among the cues | 0 to `blanks` | has no effect |
    | go | 1 | is the agent's answer; this `step()` returns the reward |
    | blank, with the reward as the previous reward | 1 | has no effect |

    With the defaults it has 5 to 8 steps, 6.5 on average, and a lifetime has about 18 trials. The last trial
    is cut off where the lifetime ends. The target is among the cues of each trial with probability 1/2; the other cues
    are drawn uniformly. With 4 cues and 2 shown, this makes all pairs equally likely.

    ## Action Space
    `Discrete(2)`: 0 "the target was not shown", 1 "it was shown". Actions at other observations than go neither change
    nor cost anything, but are observed as the previous action.

    ## Observation Space
    `Box` of `bits + 6` float32 (b = bits):

    | index | meaning | range |
    | --- | --- | --- |
    | 0 to b - 1 | the cue that is shown: its bits, -1 or 1 (0 or 1 if one-hot); zeros where none is | -1 to 1 |
    | b | 1 at the go step, otherwise 0 | 0, 1 |
    | b + 1 | always 1, a bias | 1 |
    | b + 2 | the elapsed share of the lifetime | 0 to 1 |
    | b + 3 | the previous reward; 0 at first | -1, 0, 1 |
    | b + 4, b + 5 | the previous action, one-hot; zeros at first | 0, 1 |

    ## Rewards
    1 for a right answer and -1 for a wrong one, from the `step()` that answers the go signal; otherwise 0.

    ## Starting State
    The cues are drawn uniformly from all sets of different cues, and the target uniformly from the cues.
    `reset(seed=s)` names a whole stream of lifetimes: the following calls of `reset()` give the next ones. No action
    changes what is shown later, in this lifetime or the next one, so all agents that are tested with the same seed
    face the same trials.

    ## Episode End
    `terminated` is True after `lifetime` steps; `truncated` is never True, as in :class:`GridMaze`: the horizon is part
    of the task, and nothing follows it.

    ## Arguments
    All by keyword; :class:`CueRewardConfig` has their defaults and checks them.
    - `cues`: different cues in a lifetime, 2 to 32.
    - `bits`: length of a cue, 1 to 32.
    - `code`: "random" (bits of +-1, drawn in each lifetime) or "one-hot" (the same cues in every lifetime, so that only
      the target is new).
    - `lifetime`: steps in a lifetime, from 1 to 100,000.
    - `shown`: cues that are shown in a trial, fewer than `cues`.
    - `blanks`: most blank steps among the cues of a trial, 0 to 100; in each trial their number is drawn uniformly.
    - `render_mode`: "human" (a window), "rgb_array", "ansi" or None.

    `CueRewardConfig.easy()` has the settings of a small version for tests, in which one of two cues is shown.
    A value out of its range is a ValueError, an unknown argument a TypeError.

    ## Info
    For people and tests, not for agents; all are ints.
    - `trial`: number of the trial that the observation belongs to, from 1.
    - `answers`: answers given in this lifetime.
    - `hits`: right answers in this lifetime.
    - `cue`: number of the cue that the observation shows, -1 for none.
    - `right_action`: the right answer of this trial.
    - `target`: number of the target cue.

    ## Source
    Miconi, Rawal, Clune, Stanley, "Backpropamine: training self-modifying neural networks with differentiable
    neuromodulated plasticity", ICLR 2019 (arXiv 2002.10585), task 1. A lifetime has 120 steps as in the authors' code;
    the paper says 200.
    """

    settings_type = CueRewardConfig


class CueRewardVector(CueVectorEnv):
    """Many :class:`CueReward` side by side, stepped together by the same code.

    After `reset(seed=s)`, environment i does step by step what a `CueReward` does after `reset(seed=s + i)`.

    ## Arguments
    Those of :class:`CueReward`, and `num_envs`, `autoreset_mode` and `render_mode` as for :class:`GridMazeVector`.

    ## Info
    That of :class:`CueReward`, as int64 arrays of shape (num_envs,), each with a mask of the environments that it is
    valid for: `_trial`, `_answers` and so on.
    """

    settings_type = CueRewardConfig


class CueAction(CueEnv):
    """Find out by trial and error which action each of some new cues asks for, and remember it: a load on memory.

    ## Description
    Each lifetime has `cues` random cues, and each asks for one action, unknown to the agent. In each trial the agent
    sees a cue and answers with an action; it is rewarded if that was the right one, but is never told which one would
    have been. The cue stays until it is answered, so that nothing has to be held in mind within a trial. Each cue is
    met `meetings` times. Cues and actions are new in every lifetime. A wrong answer rules out one action, and a right
    one settles a cue, so the agent has to remember as much about each of the cues. The number of `cues` sets the load
    on memory and changes nothing else: trials and meetings stay the same, and so does the best possible return per
    trial.

    A trial has `delay + 2` steps:

    | observation | steps | the action that answers it |
    | --- | --- | --- |
    | a cue | `delay` | has no effect |
    | the same cue, with the go signal | 1 | is the agent's answer; this `step()` returns the reward |
    | blank, with the reward as the previous reward and the answer as the previous action | 1 | has no effect |

    ## Action Space
    `Discrete(actions)`. Actions at other observations than go neither change nor cost anything, but are observed as the
    previous action.

    ## Observation Space
    `Box` of `bits + 4 + actions` float32 (b = bits):

    | index | meaning | range |
    | --- | --- | --- |
    | 0 to b - 1 | the cue that is shown: its bits, -1 or 1 (0 or 1 if one-hot); zeros where none is | -1 to 1 |
    | b | 1 at the go step, otherwise 0 | 0, 1 |
    | b + 1 | always 1, a bias | 1 |
    | b + 2 | the elapsed share of the lifetime | 0 to 1 |
    | b + 3 | the previous reward; 0 at first | -1, 0, 1 |
    | from b + 4 | the previous action, one-hot; zeros at first | 0, 1 |

    ## Rewards
    1 for a right answer and -1 for a wrong one, from the `step()` that answers the go signal; otherwise 0.

    ## Starting State
    The cues are drawn uniformly from all sets of different cues, and the action of each cue uniformly and independently
    of the others. The lifetime consists of `meetings` rounds; in each, every cue is met once, in random order. Seeds
    are as for :class:`CueReward`.

    ## Episode End
    `terminated` is True after `cues * meetings * (delay + 2)` steps, which is the end of the last trial; `truncated` is
    never True.

    ## Arguments
    All by keyword; :class:`CueActionConfig` has their defaults and checks them.
    - `cues`: different cues in a lifetime, 2 to 32.
    - `bits`: length of a cue, 1 to 32.
    - `code`: "random" or "one-hot", as for :class:`CueReward`.
    - `actions`: possible actions, from 2 to 1,000.
    - `meetings`: how often each cue is met, from 1 to 1,000.
    - `delay`: steps for which a cue is seen before the go signal. With 0, a cue is answered at the first sight, before
      its activity has passed through recurrent connections: too early for a network that remembers in them.
    - `render_mode`: "human" (a window), "rgb_array", "ansi" or None.

    `CueActionConfig.easy()` has the settings of a small version for tests, with two cues and two actions.
    A value out of its range is a ValueError, an unknown argument a TypeError.

    ## Info
    As for :class:`CueReward`, without `target`; `right_action` is what the cue of this trial asks for.

    ## Source
    This package's own, after the cue-reward association of Miconi et al., "Backpropamine", ICLR 2019.
    """

    settings_type = CueActionConfig


class CueActionVector(CueVectorEnv):
    """Many :class:`CueAction` side by side, stepped together by the same code.

    Arguments, seeds and infos are as for :class:`CueRewardVector`, with the settings of :class:`CueAction`.
    """

    settings_type = CueActionConfig
