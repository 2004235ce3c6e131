"""One trial on one worker."""
