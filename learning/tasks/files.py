"""Where the user's data files lie."""

import os
from pathlib import Path

FOLDER_VARIABLE = "KUBRAT_DATA"
"""The environment variable that names the folder."""

FOLDER_DEFAULT = "data"
"""Without it: this one, in the current folder."""


def data_folder() -> Path:
    """Where the user's data files lie."""
    return Path(os.environ.get(FOLDER_VARIABLE) or FOLDER_DEFAULT)
