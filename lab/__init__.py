"""The lab: a bare server to practise on and an offline bundle to install it from, made from package registries alone."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / ".ansible/collections"))  # the collection's own way of getting the server's wheels
