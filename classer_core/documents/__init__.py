"""Expand documents and pictures into text and pixels of each page. Parsers run in processes of their own."""
