"""Pure data and arithmetic: no file, no terminal, no torch.

Modules that the first painted screen needs (dtypes, tensor, source, findings, tree, rows, query, text, window)
import neither numpy nor anything else that is slow to load; the arithmetic (patterns, summary, scan) does.
"""
