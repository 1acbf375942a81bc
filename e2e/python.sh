#!/bin/sh
# Prints a Python of at least 3.11 that runs and can make a virtual environment, or says what to do.
for name in python3.13 python3.12 python3.11 python3 python; do
  if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
      command -v "$name"
      exit 0
    fi
    lacking=$("$name" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
  fi
done
if [ -n "${lacking:-}" ]; then
  echo "Python is here, but cannot make virtual environments; on Debian: apt-get install $lacking" >&2
else
  echo "agentid needs Python 3.11 or newer; on Debian: apt-get install python3 python3-venv" >&2
fi
exit 1
