import subprocess
import sys

HEAVY = {"torch", "pygame", "numba", "stable_baselines3", "matplotlib", "scipy"}


def modules_after(code):
    """Return the top-level modules that a fresh interpreter has loaded after running ``code``."""
    script = code + "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_envs_is_light():
    loaded = modules_after("import plastic_rl.envs")
    assert "gymnasium" in loaded
    assert not HEAVY & loaded


def test_stepping_an_env_is_light():
    loaded = modules_after(
        "import gymnasium as gym\n"
        "env = gym.make('plastic_rl:PlasticRL/RandomMaze-v0', render_mode='ansi')\n"
        "env.reset(seed=0); env.step(1); env.render()\n"
        "env = gym.make_vec('PlasticRL/GridMaze-v0', num_envs=3); env.reset(seed=0); env.step([0, 1, 2])\n"
        "env.oracle_return(); env.close()\n"
        "env = gym.make('PlasticRL/CueAction-v0', render_mode='ansi'); env.reset(seed=0); env.step(1); env.render()\n"
        "env = gym.make_vec('PlasticRL/CueReward-v0', num_envs=3); env.reset(seed=0); env.step([0, 1, 0])\n"
        "env.oracle_return()"
    )
    assert not HEAVY & loaded


def test_the_first_picture_loads_pygame_silently():
    loaded = modules_after(
        "import gymnasium as gym\n"
        "env = gym.make('plastic_rl:PlasticRL/GridMaze-v0', render_mode='rgb_array')\n"
        "env.reset(seed=0); env.render()"
    )
    assert "pygame" in loaded
    # The greeting that pygame prints would be among the words.
    assert not {"pygame-ce", "Hello"} & loaded
