"""Pictures of a maze: pure functions from a state to an array or to text."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from plastic_rl.envs.drawing import (
    AMBER,
    BLUE,
    FAINT,
    FLOOR,
    GRID,
    OVERSAMPLING,
    PALE_AMBER,
    PAPER,
    RED,
    TARGET_WIDTH,
    Color,
    Frame,
    as_frame,
    draw_figures,
    draw_text,
    load_pygame,
    margins,
)
from plastic_rl.envs.maze.walls import Walls
from plastic_rl.envs.protocols import Shown
from plastic_rl.text import tenths

__all__ = ["MazeState", "draw_maze", "draw_view", "maze_text"]

Cell = tuple[int, int]

AGENT, GOAL, VIEW, VIEW_FLOOR = BLUE, RED, AMBER, PALE_AMBER
WALL: Color = (52, 64, 84)
_FOG: Color = (198, 205, 216)

# Lines and corners stop growing with the cells at this size (pixels), or small mazes would look clumsy.
_LARGE_CELL = 48
# Shades of the fading trail. Few of its cells change between two pictures, which keeps animations small.
_FADING = 8


@dataclass(frozen=True, eq=False)
class MazeState:
    """Everything that a picture of a maze shows.

    Attributes:
        walls: True for a wall, shape (size, size).
        agent: row and column of the agent.
        goal: row and column of the goal, or None to leave it out.
        view: side in cells of the square that the agent sees.
        trail: the recent path, oldest cell first, in runs; between two runs the agent was teleported.
        step: steps taken in this lifetime.
        lifetime: steps in a lifetime.
        total_reward: sum of this lifetime's rewards.
        hits: how often the goal was reached in this lifetime.
    """

    walls: Walls
    agent: Cell
    goal: Cell | None
    view: int
    trail: tuple[tuple[Cell, ...], ...]
    step: int
    lifetime: int
    total_reward: float
    hits: int

    @property
    def score(self) -> str:
        """How often the goal was reached, in words."""
        return f"hits {self.hits}"

    @property
    def misses(self) -> int:
        """None: nothing can go wrong."""
        return 0

    @property
    def outcomes(self) -> tuple[str, str]:
        """What a hit is called."""
        return "goal reached", ""

    @property
    def actions(self) -> tuple[str, ...]:
        """The moves."""
        return "up", "right", "down", "left"

    @property
    def prompt(self) -> str:
        """What to tell a person who plays."""
        reached = len(self.trail) > 1 and len(self.trail[-1]) == 1
        return "you reached it, and are somewhere else now" if reached else "find the hidden goal"

    @property
    def awaits_action(self) -> bool:
        """Whether the next action matters; every move does."""
        return True

    def picture(self, shown: Shown = "everything", width: int = TARGET_WIDTH) -> Frame:
        """Draw the maze: the field of view alone, the whole maze without its goal, or everything."""
        cell = max(4, round(width / len(self.walls)))
        if shown == "observed":
            return draw_view(self, cell)
        return draw_maze(self if shown == "everything" else replace(self, goal=None), cell)

    def text(self) -> str:
        """Return the maze as text."""
        return maze_text(self)


def maze_text(state: MazeState) -> str:
    """Return the maze as text, two characters a cell: ``@`` the agent, ``?`` the goal it cannot see."""
    cells = np.where(state.walls, "██", "  ")
    for run in state.trail:
        for cell in run:
            cells[cell] = "· "
    if state.goal is not None:
        cells[state.goal] = "? "
    cells[state.agent] = "@ "
    lines = ["".join(row).rstrip() for row in cells]
    lines.append(
        f"step {state.step}/{state.lifetime}   return {tenths(state.total_reward)}   {state.score}"
        "   (@ agent, ? goal, which the agent cannot see)"
    )
    return "\n".join(lines) + "\n"


def draw_maze(state: MazeState, cell_size: int | None = None) -> Frame:
    """Draw the maze, with a strip of numbers and a legend under it.

    Args:
        state: what to show.
        cell_size: side of a cell in pixels; by default the maze is about 480 pixels wide.

    Returns:
        RGB picture, uint8 of shape (height, width, 3).

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is missing.
    """
    side = _side(state, cell_size)
    return _framed(state, _draw_grid(load_pygame(), state, side), side, _SIGNS)


def draw_view(state: MazeState, cell_size: int | None = None) -> Frame:
    """Draw only what the agent sees: its field of view, surrounded by fog, always in the middle of the picture.

    The picture shows neither the goal nor the agent's position, so a person who plays by it has the agent's task. The
    arguments and the size of the picture are those of :func:`draw_maze`.
    """
    pygame, side, span = load_pygame(), _side(state, cell_size), state.view + 2
    around = np.pad(state.walls, state.view, constant_values=True)
    top, left = (place + state.view - state.view // 2 for place in state.agent)
    # Surrounded by walls: a rounded corner would show what is next to it.
    walls = np.pad(around[top : top + state.view, left : left + state.view], 1, constant_values=True)
    middle = (span // 2, span // 2)
    grid = _draw_grid(pygame, replace(state, walls=walls, agent=middle, goal=None, trail=()), side, fog=True)
    return _framed(state, grid, side, _VIEW_SIGNS)


def _side(state: MazeState, cell_size: int | None) -> int:
    size = len(state.walls)
    return size * (max(4, round(TARGET_WIDTH / size)) if cell_size is None else cell_size)


def _framed(state: MazeState, grid: Any, side: int, signs: "Signs") -> Frame:
    """Put the strip under the grid, and margins around both."""
    pygame = load_pygame()
    margin, strip = margins(side)
    width, height = side + 2 * margin, side + 3 * margin + strip
    # Video encoders want even sizes.
    canvas = pygame.Surface((width + width % 2, height + height % 2))
    canvas.fill(PAPER)
    canvas.blit(grid, (margin, margin))
    _draw_strip(pygame, canvas, state, pygame.Rect(margin, side + 2 * margin, side, strip), signs)
    return as_frame(canvas)


def _draw_grid(pygame: ModuleType, state: MazeState, side: int, fog: bool = False) -> Any:
    """Return a surface, ``side`` pixels wide, with the cells and what is on them; with fog, only those in view."""
    size = len(state.walls)
    cell = OVERSAMPLING * -(-side // size)
    extent = (size * cell, size * cell)
    surface = pygame.Surface(extent)
    surface.fill(PAPER)
    inset = cell // 2
    pygame.draw.rect(surface, FLOOR, (inset, inset, extent[0] - cell, extent[1] - cell))
    line = max(1, cell // 30)
    for k in range(1, size):
        pygame.draw.line(surface, GRID, (k * cell, 0), (k * cell, extent[1]), line)
        pygame.draw.line(surface, GRID, (0, k * cell), (extent[0], k * cell), line)
    field = _field_of_view(pygame, state, cell).clip(surface.get_rect())
    stroke = min(cell, OVERSAMPLING * _LARGE_CELL)
    corner = 0 if fog else round(0.16 * stroke)
    pygame.draw.rect(surface, VIEW_FLOOR, field, border_radius=corner)
    _draw_walls(pygame, surface, state.walls, cell)
    if fog:
        _draw_fog(pygame, surface, field)
    pygame.draw.rect(surface, VIEW, field, max(1, stroke // 16), border_radius=corner)
    _draw_trail(pygame, surface, state, cell)
    if state.goal is not None:
        _draw_goal(pygame, surface, _centre(state.goal, cell), cell)
    _draw_agent(pygame, surface, _centre(state.agent, cell), cell)
    return pygame.transform.smoothscale(surface, (side, side))


def _draw_fog(pygame: ModuleType, surface: Any, field: Any) -> None:
    """Cover everything except the field of view."""
    kept, radius = surface.subsurface(field).copy(), round(0.22 * OVERSAMPLING * _LARGE_CELL)
    surface.fill(PAPER)
    pygame.draw.rect(surface, _FOG, surface.get_rect(), border_radius=radius)
    surface.blit(kept, field)


def _draw_walls(pygame: ModuleType, surface: Any, walls: Walls, cell: int) -> None:
    """Draw the walls as solid blocks whose free corners are rounded."""
    solid = np.pad(walls, 1)
    radius = round(0.22 * min(cell, OVERSAMPLING * _LARGE_CELL))
    for row, column in np.argwhere(walls):
        above, below = solid[row, column + 1], solid[row + 2, column + 1]
        left, right = solid[row + 1, column], solid[row + 1, column + 2]
        pygame.draw.rect(
            surface,
            WALL,
            (column * cell, row * cell, cell, cell),
            border_top_left_radius=0 if above or left else radius,
            border_top_right_radius=0 if above or right else radius,
            border_bottom_left_radius=0 if below or left else radius,
            border_bottom_right_radius=0 if below or right else radius,
        )


def _field_of_view(pygame: ModuleType, state: MazeState, cell: int) -> Any:
    """Return the square of cells that the agent sees."""
    top, left = (place - state.view // 2 for place in state.agent)
    return pygame.Rect(left * cell, top * cell, state.view * cell, state.view * cell)


def _draw_trail(pygame: ModuleType, surface: Any, state: MazeState, cell: int) -> None:
    """Draw the recent path, fading with age, with a gap wherever the agent was teleported."""
    length = sum(len(run) for run in state.trail)
    if not length:
        return
    width = max(1, round(0.13 * cell))
    rows, columns = zip(*(place for run in state.trail for place in run), strict=True)
    top, left = min(rows) * cell, min(columns) * cell
    extent = ((max(columns) + 1) * cell - left, (max(rows) + 1) * cell - top)
    overlay = pygame.Surface(extent, pygame.SRCALPHA)
    age = length
    for run in state.trail:
        before: Cell | None = None
        for place in run:
            age -= 1
            # Drawing on a transparent surface replaces what is there, so crossings do not add up.
            color = (*AGENT, round(190 * (1.0 - round(_FADING * age / length) / _FADING) ** 1.5) + 10)
            x, y = _centre(place, cell)
            here = (x - left, y - top)
            if before is not None:
                pygame.draw.line(overlay, color, before, here, width)
            pygame.draw.circle(overlay, color, here, width / 2)
            before = here
    surface.blit(overlay, (left, top))


def _draw_goal(pygame: ModuleType, surface: Any, centre: Cell, cell: int) -> None:
    """Draw the goal, which the agent cannot see, as a dashed ring with a faint inside."""
    radius = round(0.34 * cell)
    inside = pygame.Surface((2 * radius, 2 * radius), pygame.SRCALPHA)
    pygame.draw.circle(inside, (*GOAL, 45), (radius, radius), radius)
    surface.blit(inside, (centre[0] - radius, centre[1] - radius))
    for dash in _dashes(centre, radius, max(1.5, 0.075 * cell)):
        pygame.draw.polygon(surface, GOAL, dash)


def _dashes(centre: Cell, radius: float, width: float, count: int = 9) -> Iterator[list[tuple[float, float]]]:
    """Yield the dashes of a ring as polygons."""
    share = 0.58
    for dash in range(count):
        angles = (dash + np.linspace(0.0, share, 12)) * 2 * np.pi / count
        rim = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        outline = np.concatenate([rim * (radius + width / 2), rim[::-1] * (radius - width / 2)])
        yield [(float(x), float(y)) for x, y in outline + centre]


def _draw_agent(pygame: ModuleType, surface: Any, centre: Cell, cell: int) -> None:
    pygame.draw.circle(surface, FLOOR, centre, round(0.36 * cell))
    pygame.draw.circle(surface, AGENT, centre, round(0.29 * cell))


def _centre(place: Cell, cell: int) -> Cell:
    """Return x and y of a cell's centre."""
    return place[1] * cell + cell // 2, place[0] * cell + cell // 2


def _draw_strip(pygame: ModuleType, canvas: Any, state: MazeState, area: Any, signs: "Signs") -> None:
    """Draw the elapsed share of the lifetime, the numbers and the legend."""
    unit = area.width / TARGET_WIDTH
    figures = (
        (0.0, "STEP", f"{state.step} / {state.lifetime}"),
        (0.28, "RETURN", tenths(state.total_reward)),
        (0.5, "HITS", f"{state.hits}"),
    )
    draw_figures(pygame, canvas, area, state.step / state.lifetime, figures)
    _draw_legend(pygame, canvas, area.move(round(0.655 * area.width), round(17 * unit)), unit, signs)


def _draw_legend(pygame: ModuleType, canvas: Any, area: Any, unit: float, signs: "Signs") -> None:
    """Draw the signs with their meanings."""
    sign = round(14 * unit)
    for line, (name, draw) in enumerate(signs):
        big = max(1, sign * OVERSAMPLING)
        tile = pygame.Surface((big, big))
        tile.fill(PAPER)
        draw(pygame, tile, big)
        top = area.top + round(20 * unit * line)
        canvas.blit(pygame.transform.smoothscale(tile, (max(1, sign), max(1, sign))), (area.left, top))
        words = draw_text(pygame, name, 15.5 * unit, FAINT)
        canvas.blit(words, (area.left + round(1.6 * sign), top + (sign - words.get_height()) // 2))


def _sign_agent(pygame: ModuleType, tile: Any, size: int) -> None:
    pygame.draw.circle(tile, AGENT, (size // 2, size // 2), round(0.42 * size))


def _sign_goal(pygame: ModuleType, tile: Any, size: int) -> None:
    _draw_goal(pygame, tile, (size // 2, size // 2), round(1.25 * size))


def _sign_view(pygame: ModuleType, tile: Any, size: int) -> None:
    corner = size // 6
    pygame.draw.rect(tile, VIEW_FLOOR, (0, 0, size, size), border_radius=corner)
    pygame.draw.rect(tile, VIEW, (0, 0, size, size), size // 10 + 1, border_radius=corner)


Signs = tuple[tuple[str, Callable[[ModuleType, Any, int], None]], ...]
_SIGNS: Signs = (
    ("agent", _sign_agent),
    ("goal, invisible to it", _sign_goal),
    ("field of view", _sign_view),
)
_VIEW_SIGNS: Signs = (("you", _sign_agent), ("what you see", _sign_view))
