"""What a study is. Imports nothing but the standard library and NumPy."""
