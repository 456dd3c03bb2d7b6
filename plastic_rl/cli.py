"""The command line: ``python train.py COMMAND``, ``plastic-rl COMMAND`` or ``python -m plastic_rl.cli COMMAND``."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from plastic_rl.config import Evaluate, MazeRun, Play, Watch
from plastic_rl.errors import UserError

Command = (
    Annotated[MazeRun, tyro.conf.subcommand("maze")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Watch, tyro.conf.subcommand("watch")]
    | Annotated[Play, tyro.conf.subcommand("play")]
)


def main(args: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake is one line on stderr and exit code 1, or 2 for a wrong call."""
    try:
        config = tyro.cli(
            Command,
            args=args,
            prog="plastic-rl",
            description="Networks that keep learning within their lifetime: train, test, watch and play mazes.",
            config=(tyro.conf.PositionalRequiredArgs, tyro.conf.OmitSubcommandPrefixes),
        )
        _run(config)
    except UserError as error:
        print(f"plastic-rl: error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(config: object) -> None:
    # Loaded here, so that --help and mistakes are answered at once.
    if isinstance(config, MazeRun):
        from plastic_rl.training import train

        train(config)
        return
    from plastic_rl import playing

    if isinstance(config, Evaluate):
        playing.evaluate(config)
    elif isinstance(config, Watch):
        playing.watch(config)
    elif isinstance(config, Play):
        playing.play(config)


if __name__ == "__main__":
    main()
