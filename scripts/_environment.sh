# Sourced by the scripts beside it: `use_environment core|dev` sets $root and $python.
#
# $root is the project's folder, $python the interpreter of $root/.venv, which is made on the
# first call and left as it is on later ones. The interpreter that makes it is $PYTHON where
# that is set, else the first of python3 and python3.13 … python3.10 that is 3.10 or newer.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)

find_python() {
    local name
    for name in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
        # Run it: a name on the path may be a shim for a version that is not installed.
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            printf '%s\n' "$name"
            return 0
        fi
    done
    echo "adapterhub needs Python 3.10 or newer; none was found on the path." >&2
    echo "Install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

use_environment() {
    local maker
    maker=$(find_python) || exit 2
    "$maker" "$root/scripts/_environment.py" "$1" || exit $?
    python="$root/.venv/bin/python"
}
