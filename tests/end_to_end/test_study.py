"""`bitsandnats study` from a folder of checkpoints to a page in a browser."""

import json
import math
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from bitsandnats.store import open_run
from tests.end_to_end.conftest import STEPS, STUDY, process, stamps
