"""The ``evaluate`` command: test a finished run, an agent or a network on a supervised task."""

from plastic_rl.runs.folder import named, read_config
from plastic_rl.settings import TASKS, Evaluate


def evaluate(config: Evaluate) -> None:
    """Test a run on fresh episodes, as its command has it."""
    # Loaded here: a network needs no Gymnasium agents, and the other way round.
    if config.run is not None and read_config(named(config.run))["command"] in TASKS:
        from plastic_rl.commands import supervised

        supervised.evaluate(config, named(config.run))
        return
    from plastic_rl.evaluation import agents

    agents.evaluate(config)
