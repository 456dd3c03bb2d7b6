"""Where the packages are; everything else is in pyproject.toml.

The folders envs/ and agents/ stand at the root but are imported as plastic_rl.envs and plastic_rl.agents: a top-level
package called "envs" would break every repository that has a folder of that name. In a wheel, setuptools copies them
into place. An editable install (``pip install -e .``) gets a folder of links instead, which Python, editors and type
checkers read alike; setuptools' own import hook is invisible to the latter.
"""

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
FOLDERS = {"plastic_rl": "plastic_rl", "plastic_rl.envs": "envs", "plastic_rl.agents": "agents"}
LINKED = "build/editable"  # on sys.path in an editable install; holds plastic_rl and nothing else


def link(place: Path, target: Path) -> None:
    """Make a relative link to a folder, in place of an older one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink():
        place.unlink()
    place.symlink_to(os.path.relpath(target, place.parent), target_is_directory=True)


def links() -> bool:
    """Make the links; return False where the system does not allow any (Windows, without developer mode)."""
    try:
        for package, folder in FOLDERS.items():
            place = ROOT / package.replace(".", "/") if "." in package else ROOT / LINKED / package
            link(place, ROOT / folder)
    except OSError:
        return False
    return True


editable = "editable_wheel" in sys.argv and links()
found = [
    name
    for package, folder in FOLDERS.items()
    for name in (package, *(f"{package}.{sub}" for sub in find_packages(folder)))
]
setup(packages=list(dict.fromkeys(found)), package_dir={"": LINKED} if editable else FOLDERS)
