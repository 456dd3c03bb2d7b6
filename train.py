"""Train, test and watch agents: ``python train.py maze``; ``python train.py --help`` shows the rest."""

from plastic_rl.cli import main

if __name__ == "__main__":
    main()
