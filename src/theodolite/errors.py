"""Every error a user can meet, as a tree. Each message is a letter: what was wrong, what we saw, what to do.

TheodoliteError
├── UsageError (ValueError)         an argument or option that cannot be meant
│   ├── ConfigError                 a recipe or config: key, file and line
│   └── UnknownName (LookupError)   a name that no part has; says the nearest
├── DataError (ValueError)          a file or row that cannot be read or used
├── ModelError (RuntimeError)       a model that cannot be found, loaded or used as asked
├── ServerError (ConnectionError)   a remote sampler or judge that stopped answering
├── StorageError (OSError)          a folder that cannot be written, a disk that is full
└── CheckFailed (RuntimeError)      a truth checked at run time did not hold; the run stops
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TheodoliteError(Exception):
    """Base of everything this package raises on purpose. The command line prints it and exits with 2."""


class UsageError(TheodoliteError, ValueError):
    pass


class ConfigError(UsageError):
    pass


class UnknownName(UsageError, LookupError):
    pass


class DataError(TheodoliteError, ValueError):
    pass


class ModelError(TheodoliteError, RuntimeError):
    pass


class ServerError(TheodoliteError, ConnectionError):
    pass


class StorageError(TheodoliteError, OSError):
    pass


class CheckFailed(TheodoliteError, RuntimeError):
    pass


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'beta'?"`, or an empty string where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
