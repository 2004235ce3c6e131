"""autopeft: multi-objective search over PEFT configurations."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_study"]

if TYPE_CHECKING:
    from autopeft.study import load_study


def __getattr__(name: str) -> Any:
    # Late, so that `import autopeft` stays instant.
    if name == "load_study":
        from autopeft.study import load_study

        return load_study
    raise AttributeError(f"module 'autopeft' has no attribute {name!r}")
