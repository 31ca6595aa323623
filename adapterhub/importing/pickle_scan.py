"""What a pickled checkpoint would run, found without opening it.

Only what can be seen from outside is decided here: the form of the file, and the names of modules
and functions in its pickles. Whether it may be opened is torch's decision.
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from pickletools import genops
from typing import IO

_ZIP = b"PK\x03\x04"
_TENSOR_GLOBALS = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|builtins\.(set|bytearray|complex)"
    r"|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2"
    r"|torch\.serialization\._get_layout|torch\.nn\.parameter\.(Parameter|Buffer)"
    r"|torch(\.cuda|\.storage)?\.\w*Storage|torch\.(cuda\.)?\w*Tensor|torch\.(Size|device)"
    r"|torch\.(b?float|q?u?int|complex)\d\w*|torch\.(half|float|double|bool|short|int|long)"
    r"|torch\.per_(tensor|channel)_\w+"
)
"""What checkpoints of tensors name. torch has a list of its own, which decides; this one names."""
_MODULE_NAMES = {"posix": "os", "nt": "os", "__builtin__": "builtins", "copy_reg": "copyreg"}
_LEGACY_PICKLES = 5
"""Magic number, version, system, the object and the keys of its storages."""
_DAMAGE = (
    zipfile.BadZipFile,
    EOFError,
    NotImplementedError,  # a method of compression
    OSError,
    OverflowError,
    RuntimeError,  # a password
    ValueError,
)


class Refused(Exception):
    """A checkpoint that is not converted; the message says why."""


def check_pickle(path: Path) -> bool:
    """Checks the form of a pickled checkpoint and returns whether it is a zip file.

    Raises:
        Refused: It is damaged, or carries code.
    """
    with open(path, "rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
        file.seek(0)
        try:
            names = _zip_names(path) if is_zip else _legacy_names(file)
            in_tar = None if is_zip else _tar_names(path)
        except _DAMAGE as error:
            raise Refused(f"{path.name} is damaged: {error}; fetch it again") from None
    names += in_tar or []
    code = [name for name in names if not _TENSOR_GLOBALS.fullmatch(_known(name))]
    if code:
        raise carries_code(path.name, code)
    if in_tar is not None:
        # torch before 2.6 ran what such a file says, even with weights_only.
        raise Refused(
            f"{path.name} is in the tar format of torch before 0.1.10, which cannot be read safely"
        )
    return is_zip


def carries_code(file: str, names: list[str]) -> Refused:
    """Returns the error for a checkpoint that names more than what makes tensors."""
    known = dict.fromkeys(re.sub(r"[^\w.]", "?", _known(name))[:80] for name in names)
    first = ", ".join(list(known)[:3])
    return Refused(
        f"{file} carries code ({first}), which loading it would run; none of it was run. A "
        f"checkpoint holds tensors only: its owner saves it with torch.save(model.state_dict(), …)"
    )


def _zip_names(path: Path) -> list[str]:
    """Returns what the pickles in a zip file name, after a check of all its entries."""
    names: list[str] = []
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        inner = {entry.filename.partition("/")[2] for entry in entries}
        if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
            raise Refused(
                f"{path.name} is a TorchScript archive: it carries code, which is not run. Save "
                f"the weights of its model with torch.save(model.state_dict(), …)"
            )
        if "data.pkl" not in inner:
            raise Refused(f"{path.name} is a zip file without data.pkl, not what torch.save writes")
        sizes = sum(entry.file_size for entry in entries)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise Refused(f"{path.name} is compressed, as torch.save never writes it")
        if sizes > path.stat().st_size:
            raise Refused(f"{path.name} holds less than the {sizes:,} bytes that it claims")
        for entry in entries:
            if entry.CRC == 0:  # as torch writes where it was told to compute none
                del entry.CRC
            if entry.filename.endswith(".pkl"):
                names.extend(_names(BytesIO(archive.read(entry))))
            else:
                _read_through(archive, entry)
    return names


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Reads an entry, so that its checksum is compared."""
    with archive.open(entry) as stream:
        while stream.read(2**20):
            pass


def _tar_names(path: Path) -> list[str] | None:
    """Returns what the pickles in a tar file name; None if it is no tar file."""
    names: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if (stream := archive.extractfile(member)) is not None:
                    names += _legacy_names(stream)
    except tarfile.TarError:
        return None
    return names


def _legacy_names(file: IO[bytes]) -> list[str]:
    """Returns what the pickles at the beginning of a file name."""
    names: list[str] = []
    for _ in range(_LEGACY_PICKLES):
        try:
            names.extend(_names(file))
        # Not a pickle, or not to its end: torch says so.
        except (ValueError, OverflowError):
            break
    return names


def _names(stream: IO[bytes]) -> Iterator[str]:
    """Yields what a pickle names, without running it."""
    strings: deque[str] = deque(maxlen=2)
    memo: dict[object, str] = {}
    made, is_text = 0, False
    for opcode, value, _ in genops(stream):
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            yield ".".join(str(value).split(" ", 1))
        elif name == "STACK_GLOBAL":
            yield ".".join(strings) if len(strings) == 2 else "a name that it computes"
        elif "PUT" in name or name == "MEMOIZE":
            if is_text:
                memo[made if name == "MEMOIZE" else value] = strings[-1]
            made += 1
            continue
        elif "GET" in name and value in memo:
            strings.append(memo[value])
        is_text = "UNICODE" in name or "STRING" in name
        if is_text:
            strings.append(str(value))


def _known(name: str) -> str:
    """Returns a dotted name as Python 3 on any system has it."""
    module, _, rest = name.partition(".")
    return f"{_MODULE_NAMES.get(module, module)}.{rest}"
