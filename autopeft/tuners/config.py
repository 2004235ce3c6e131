"""What the configs of our tuners have in common: which modules they adapt."""

from dataclasses import dataclass, field

from peft import PeftConfig


@dataclass
class TunerConfig(PeftConfig):  # type: ignore[misc]
    """Placement of a tuner, in PEFT's own words; a child adds its fields and its `peft_type`.

    Raises:
        ValueError: `target_modules` is missing, or `layers_to_transform` meets a regex.
    """

    target_modules: list[str] | str | None = field(
        default=None,
        metadata={"help": "Ends of module names, a regex for whole names, or 'all-linear'."},
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Modules to leave out, written as target_modules."}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "0-based indices of the layers to adapt; None is all."}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the list that holds the layers, as 'layer'."}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Modules beside the adapters to train and save whole."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.target_modules:
            raise ValueError(
                f"{self.peft_type} needs target_modules, got {self.target_modules!r}: name the "
                "modules to adapt"
            )
        # A set, as PEFT's own configs hold it: `all-linear` becomes one as well.
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            raise ValueError(
                "layers_to_transform needs a list of target_modules, got the regex "
                f"{self.target_modules!r}: put the layers into the regex"
            )
