"""The tuner that puts a `TunerLayer` around every targeted module."""

import re
from typing import Any, ClassVar

from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.layer import TunerLayer


class Tuner(BaseTuner):  # type: ignore[misc]
    """A PEFT tuner that is its layer: a child sets `tuner_layer_cls`, no more.

    The layer class must be the child's own: PEFT finds a tuner's layers by it.
    """

    tuner_layer_cls: ClassVar[type[TunerLayer]]
    # No defaults per model family: a config without target_modules is refused.
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.prefix = cls.tuner_layer_cls.prefix

    def _create_and_replace(
        self,
        peft_config: TunerConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            target.add_adapter(adapter_name, peft_config)
            return
        layer = self.tuner_layer_cls(target, current_key)
        layer.add_adapter(adapter_name, peft_config)
        self._replace_module(parent, target_name, layer, target)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        # PEFT's own asks for a weight on the way back to the base, which a block does not have.
        setattr(parent, child_name, new_module)

    def _check_merge_allowed(self) -> None:
        super()._check_merge_allowed()
        for module in self.model.modules():
            if isinstance(module, TunerLayer):
                module.check_merge()

    @classmethod
    def _remove_adapter_name_from_key(cls, key: str, adapter_name: str) -> str:
        # PEFT's own finds the name in the last two parts of the key only, an adapter may be deeper.
        container = re.escape(f".{cls.prefix}adapter")
        return re.sub(rf"({container})\.{re.escape(adapter_name)}(?=\.)", r"\1", key)
