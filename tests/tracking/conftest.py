"""The tracker's tests share a folder of parts: no package, so its path is added here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
