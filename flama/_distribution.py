"""The name of this package's distribution; importing it fails if a distribution with the same files is installed."""

import os
import sys
import typing as t

__all__ = ["NAME"]

NAME: t.Final = "flama-data"


def _check_no_conflict() -> None:
    """Check that the distribution ``flama`` isn't installed: it is another project's, imported as ``flama`` too.

    :raises ImportError: it is installed.
    """
    # Listing the folders takes 0.4 ms; importing importlib.metadata takes 20 ms.
    for folder in sys.path:
        try:
            names = os.listdir(folder or os.curdir)  # noqa: PTH208 - pathlib takes longer than the rest
        except OSError:  # an archive, or nothing
            continue
        for name in names:
            if _is_conflicting(name):
                raise ImportError(
                    f"The distributions flama ({name} in {folder or os.curdir}) and {NAME} are installed in one "
                    f"environment. They are different projects whose files overwrite one another. Run "
                    f"'pip uninstall flama {NAME}', then 'pip install {NAME}', or use an environment for each"
                )


def _is_conflicting(name: str) -> bool:
    return name.lower().startswith(("flama-", "flama.")) and name.endswith((".dist-info", ".egg-info"))


# The __init__.py here is that of the last installation, so every package that only this distribution has imports this.
_check_no_conflict()
