"""AdaLoRA's schedule on the Trainer's hook.

PEFT allocates in `update_and_allocate`, which transformers never calls: without this the ranks
stay at `init_r`, silently. It belongs after `optimizer.step()` and before `zero_grad()`, once per
optimiser step, with the number of steps done.
"""

from typing import Any

from transformers import TrainerCallback


class AdaLoraCallback(TrainerCallback):  # type: ignore[misc]
    """Calls `update_and_allocate` after every optimiser step."""

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        # The Trainer counts this step only after the hook.
        model.base_model.update_and_allocate(state.global_step + 1)


def allocator_state(model: Any) -> dict[str, dict[str, Any]]:
    """The tensors that the allocator remembers between steps, by name; PEFT does not save them."""
    allocator = model.base_model.rankallocator
    return {name: dict(getattr(allocator, name)) for name in ("ipt", "exp_avg_ipt", "exp_avg_unc")}


def restore_allocator(
    model: Any, state: dict[str, dict[str, Any]], rank_pattern: dict[str, list[bool]] | None
) -> None:
    """Put back what `allocator_state` gave, and the ranks allocated so far."""
    allocator = model.base_model.rankallocator
    for name, tensors in state.items():
        setattr(allocator, name, dict(tensors))
    if rank_pattern:
        model.peft_config[model.base_model.trainable_adapter_name].rank_pattern = rank_pattern
