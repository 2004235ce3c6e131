"""What an architecture amounts to: its allocation, what it counts, how PEFT spells it."""
