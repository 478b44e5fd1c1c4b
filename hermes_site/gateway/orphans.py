"""No process of the gateway outlives its parent, however the parent ends."""

import ctypes
import multiprocessing
import os
import signal
import sys

# linux/prctl.h. "Parent" is the thread that forked, so processes are started from main threads.
PR_SET_PDEATHSIG = 1

_pid = 0  # of this process, as known before a fork: the parent as seen from the fork


def follow(parent: int) -> None:
    """Die with ``parent``, a process id, and let every process forked from here on die with us.

    The kernel sends SIGKILL, so this holds after a SIGKILL of the parent, too. Only Linux can;
    elsewhere a killed supervisor leaves its children to be stopped by hand.
    """
    global _pid
    # Python 3.14 would fork from a server process: neither our child nor with our imports.
    multiprocessing.set_start_method("fork", force=True)
    _pid = os.getpid()
    _die_with(parent)
    os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    global _pid
    parent, _pid = _pid, os.getpid()
    _die_with(parent)


def _die_with(parent: int) -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it went before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)
