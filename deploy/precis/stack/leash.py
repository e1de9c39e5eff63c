"""Becomes another program that dies with its parent: `python -I leash.py PARENT SIGNAL USER PROGRAM
[ARGUMENT...]`. Stands alone (no import of ours), since it runs before each part and must start in
milliseconds."""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, death_signal, user, *command = sys.argv[1:]
    if user != "-":
        _become(pwd.getpwnam(user))
    # After the change of user, which clears it; exec does not. Elsewhere a part may outlive a killed parent.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != int(parent):  # it died before the line above
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


def _become(account: pwd.struct_passwd) -> None:
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = "/"


if __name__ == "__main__":
    main()
