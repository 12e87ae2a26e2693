"""What the tests send reaches the processes that they start, however the tests themselves were started."""

import subprocess
import sys

from tests.node.real_peers import ROOT

PROGRAM = """
import contextlib, signal, subprocess, sys
from tests.node.real_peers import hearing_interrupts

print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
for context in (contextlib.nullcontext(), hearing_interrupts()):
    with context:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    child.send_signal(signal.SIGINT)
    child.communicate(b"\\n", timeout=60)
    print(child.returncode)
print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""


def test_a_child_hears_an_interrupt_though_the_tests_are_the_background_job_of_a_script() -> None:
    script = f'"{sys.executable}" -c "$0" & wait $!'
    told = subprocess.run(["sh", "-c", script, PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout.split() == ["True", "0", "-2", "True"]
