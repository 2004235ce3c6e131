"""PEFT tuners that PEFT does not have; importing this package makes them known to it.

A tuner of one's own is a `TunerConfig`, a `TunerLayer` and a `Tuner`, made known by `register`:
docs/own-tuner.md shows one.
"""

from autopeft.tuners.config import TunerConfig
from autopeft.tuners.layer import TunerLayer
from autopeft.tuners.merging import MergingLayer
from autopeft.tuners.paca import PacaConfig
from autopeft.tuners.parallel import ParallelAdapterConfig
from autopeft.tuners.prefix import LayerPrefixConfig
from autopeft.tuners.registration import register
from autopeft.tuners.serial import SerialAdapterConfig
from autopeft.tuners.ssf import SSFConfig
from autopeft.tuners.svfit import SVFitConfig
from autopeft.tuners.tuner import Tuner

__all__ = [
    "LayerPrefixConfig",
    "MergingLayer",
    "PacaConfig",
    "ParallelAdapterConfig",
    "SSFConfig",
    "SVFitConfig",
    "SerialAdapterConfig",
    "Tuner",
    "TunerConfig",
    "TunerLayer",
    "register",
]
