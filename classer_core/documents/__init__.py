"""Expand documents and pictures into the text and pixels of their pages. Parsers run in sandboxed processes."""
