"""A configuration as files that train and load without autopeft."""
