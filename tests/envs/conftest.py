import pytest


@pytest.fixture
def no_display(monkeypatch):
    """Let windows open without a screen."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame = pytest.importorskip("pygame")
    pygame.display.quit()
    yield pygame
    pygame.display.quit()
