"""Documents and pictures: bytes in, text and pixels of each page out. Parsers run in processes of their own."""
