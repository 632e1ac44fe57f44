"""How results are shown: tables for terminal, Markdown, LaTeX and HTML, and the report."""
