"""The name of the distribution that this package comes in; importing it fails beside one with the same files."""

import os
import sys
import typing as t

__all__ = ["NAME"]

NAME: t.Final = "flama-data"


def _check_no_other_is_installed() -> None:
    """Check that no distribution called ``flama`` is installed: another project's, which is imported as ``flama`` too.

    :raises ImportError: one is.
    """
    # Listing the folders takes 0.4 ms; importlib.metadata takes 20 ms to be imported before it looks at anything.
    for folder in sys.path:
        try:
            names = os.listdir(folder or os.curdir)  # noqa: PTH208 - pathlib takes longer than the rest
        except OSError:  # an archive, or nothing
            continue
        for name in names:
            if _is_of_the_other(name):
                raise ImportError(
                    f"The distributions flama ({name} in {folder or os.curdir}) and {NAME} are installed in one "
                    f"environment. They are different projects whose files overwrite one another. Run "
                    f"'pip uninstall flama {NAME}', then 'pip install {NAME}', or use an environment for each"
                )


def _is_of_the_other(name: str) -> bool:
    return name.lower().startswith(("flama-", "flama.")) and name.endswith((".dist-info", ".egg-info"))


# Whichever was installed last has its __init__.py here, so each package that only this distribution has imports this.
_check_no_other_is_installed()
