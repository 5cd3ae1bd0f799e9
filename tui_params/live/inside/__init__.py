"""What runs in the model's own process: torch and the standard library only, and nothing else of this package.

The explorer calls it directly when the model is in the same process. To look at another process, it is carried there:
``live.bundle`` makes one text of all modules here, which loads them under a private package name. The process may have
no tui-params, or another version of it, and another Python. From this follow the rules for every module here:

* It imports torch, the standard library, and its neighbours by relative imports, which work under either package name.
* It is written for Python 3.9, the oldest that the supported releases of torch run on: neither newer syntax, nor
  newer arguments such as ``dataclass(slots=True)`` and ``zip(strict=True)``.
* What it hands out is plain data (numbers, strings, tuples, dicts, bytes), so that it can cross a socket.

Why several small modules, and not one text? Attaching adds a server and hooks to the probe, and together they would be
a file too long to read. One text would save nothing: it would have to be registered as a module all the
same, and a debugger interface takes one script either way, which the bundle is. Its loader is twenty lines long.
"""
