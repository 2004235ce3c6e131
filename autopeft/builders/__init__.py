"""What puts a study together, room by room; `build.py` is the door."""
