"""Readers of files that several benchmarks share; none of them imports torch.

Every reader checks what it reads and raises `DataError`, which names the file and the line; none
skips a bad line or fills a gap.
"""
