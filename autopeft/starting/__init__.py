"""A first space file for a model and data: what can be seen of them, and what is written for it."""

from autopeft.starting.data import see_data
from autopeft.starting.guess import columns_for, kind_for
from autopeft.starting.model import see_lengths, see_model
from autopeft.starting.seen import Ask, Column, SeenData, SeenModel
from autopeft.starting.text import Settings, space_text

__all__ = [
    "Ask",
    "Column",
    "SeenData",
    "SeenModel",
    "Settings",
    "columns_for",
    "kind_for",
    "see_data",
    "see_lengths",
    "see_model",
    "space_text",
]
