"""Mutations of a file, drawn from a seed: of any bytes, and of what a JSON text, a safetensors header, an npy header, a
`.pt` or a zip says.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from torture.hostile import JSON_TEXTS, NAMES, VALUES, pickles, tables

_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**62, 2**63, 2**64 - 1)

#: What npy headers say of shape and type.
_SHAPES = (
    "()", "(0, 4)", "(60,)", "(2**60, 8)", "(1152921504606846976, 8)", "(60, 6, 1)", "(-1, 6)", "(60, True)",
    "(" * 2000 + ")" * 2000, "(60.0, 6)", "([60], 6)", "(360, 1)", "(10000000, 0)",
)  # fmt: skip
_KINDS = (
    "'<f4'", "'|O'", "'<f8'", "'<U1000'", "'V4'", "[('a', '<f4')]", "'<M8[ns]'", "'c8'", "'>f4'",
    "'__import__(\"os\")'", "None", "'|V0'",
)  # fmt: skip

Draw = random.Random
Mutation = Callable[[bytes, Draw], bytes]


def mutated(name: str, content: bytes, draw: Draw) -> tuple[bytes, str]:
    """The content of a file after one to three mutations, and what they were called."""
    ending = name.rsplit(".", 1)[-1]
    # What a file says is changed more often than its raw bytes: noise alone is caught at the first look.
    choices = [*BY_ENDING.get(ending, ()), *BY_ENDING.get(ending, ()), *ANY]
    done = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        mutation = draw.choice(choices)
        try:
            content = mutation(content, draw)
        except Exception:  # after an earlier mutation it is no such file any more
            content = flipped(content, draw)
        done.append(mutation.__name__.strip("_"))
    return content, ", ".join(done)


def flipped(content: bytes, draw: Draw) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 4, 32))):
        if found:
            found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def _cut(content: bytes, draw: Draw) -> bytes:
    return content[: draw.choice((0, 1, 8, draw.randrange(len(content) + 1), max(0, len(content) - 1)))]


def _longer(content: bytes, draw: Draw) -> bytes:
    return content + draw.choice((b"\0", b"\n", b"noise" * 100, content))


def _spans(content: bytes, draw: Draw) -> bytes:
    """A span is left out, doubled or moved."""
    a, b = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    span = content[a : min(b, a + 4096)]
    rest = content[:a] + content[a + len(span) :]
    at = draw.randrange(len(rest) + 1)
    return draw.choice((rest, content[:a] + span + content[a:], rest[:at] + span + rest[at:]))


def _number(content: bytes, draw: Draw) -> bytes:
    """A number that is at a border, somewhere, in either byte order."""
    size = draw.choice((2, 4, 8))
    value = draw.choice(_NUMBERS) % 2 ** (8 * size)
    at = draw.randrange(max(1, len(content) - size))
    return content[:at] + value.to_bytes(size, draw.choice(("little", "big"))) + content[at + size :]


def _start(content: bytes, draw: Draw) -> bytes:
    """As `_number`, where formats say how long things are: at the start or the end."""
    value = draw.choice(_NUMBERS).to_bytes(8, "little")
    at = draw.choice((0, 4, 8, max(0, len(content) - 8), max(0, len(content) - 22)))
    return content[:at] + value + content[at + 8 :]


ANY: tuple[Mutation, ...] = (flipped, _cut, _longer, _spans, _number, _start)


def changed_json(value: Any, draw: Draw) -> Any:
    """A JSON value with one thing in it changed, left out, added or renamed."""
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict | list):
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                walk(node[key])

    walk(value)
    if not places:
        return draw.choice(VALUES)
    node, key = draw.choice(places)
    how = draw.randrange(5)
    if how == 0:
        del node[key]
    elif how == 1 and isinstance(node, dict):
        node[draw.choice(NAMES)] = node.pop(key)
    elif how == 2 and isinstance(node, dict):
        node[draw.choice(NAMES)] = draw.choice(VALUES)
    elif how == 3 and isinstance(node[key], int | float):
        node[key] = draw.choice((-1, 1, 2)) * (node[key] + draw.choice((-1, 0, 1, 0.5, 2**31, 2**63)))
    else:
        node[key] = draw.choice(VALUES)
    return value


def _json(content: bytes, draw: Draw) -> bytes:
    if draw.random() < 0.15:
        return draw.choice(JSON_TEXTS)
    return json.dumps(changed_json(json.loads(content), draw)).encode("utf-8", "surrogatepass")


def _doubled_key(content: bytes, draw: Draw) -> bytes:
    text = json.dumps(json.loads(content))
    return (text[:-1] + f", {json.dumps(draw.choice(NAMES))}: 1" * 2 + "}").encode("utf-8", "surrogatepass")


def _json_line(content: bytes, draw: Draw) -> bytes:
    lines = content.splitlines()
    at = draw.randrange(len(lines))
    lines[at] = draw.choice((_json(lines[at], draw), b"", b"null", b"\xff\xfe", lines[at] + lines[at]))
    return b"\n".join(lines)


def _safetensors(content: bytes, draw: Draw) -> bytes:
    """The header says something else; its length is right, or not."""
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length]
    text = _doubled_key(header, draw) if draw.random() < 0.2 else _json(header, draw)
    said = len(text) if draw.random() < 0.9 else draw.choice(_NUMBERS)
    return struct.pack("<Q", said) + text + content[8 + length :]


def _not_finite(content: bytes, draw: Draw) -> bytes:
    """Values of the last tensor that are no numbers."""
    at = max(0, len(content) - 4 * draw.randrange(1, 20))
    value = draw.choice((float("nan"), float("inf"), 3e38))
    return content[:at] + struct.pack("<f", value) + content[at + 4 :]


def _npy(content: bytes, draw: Draw) -> bytes:
    length = struct.unpack("<H", content[8:10])[0]
    shape, kind = draw.choice(_SHAPES), draw.choice(_KINDS)
    which = draw.random()
    said = (
        f"{{'descr': {kind if which < 0.5 else repr('<f4')}, 'fortran_order': {draw.choice(('False', 'True', '1'))}, "
    )
    said += f"'shape': {shape if which >= 0.4 else '(60, 6)'}, }}"
    text = said.encode().ljust(-(len(said) + 10) % 64 + len(said)) + b"\n"
    version = draw.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00"))
    size = struct.pack("<H", len(text)) if version == b"\x01\x00" else struct.pack("<I", len(text))
    return content[:6] + version + size + text + content[10 + length :]


def _repacked(content: bytes, draw: Draw, change: Callable[[str, bytes], bytes], names: bool = False) -> bytes:
    """A zip whose members went through `change`; with `names` one of them is called, or marked, otherwise."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(made, "w") as out:
        members = archive.infolist()
        chosen = draw.choice(members).filename if names else None
        for member in members:
            info = zipfile.ZipInfo(member.filename)
            info.compress_type = member.compress_type
            if member.filename == chosen:
                info = zipfile.ZipInfo(draw.choice((*NAMES, member.filename)) or "x")
                info.compress_type = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
                info.external_attr = draw.choice((0, 0o120777 << 16, 0o40777 << 16, 0o60666 << 16))
            out.writestr(info, change(member.filename, archive.read(member)))
            if member.filename == chosen and draw.random() < 0.2:
                out.writestr(info, b"twice")
    return made.getvalue()


def _pickle(content: bytes, draw: Draw) -> bytes:
    """The pickle of a `.pt` is mutated, or is one that does harm where it is run."""
    hostile = pickles()

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return data
        return draw.choice(hostile) if draw.random() < 0.5 else draw.choice(ANY)(data, draw)

    return _repacked(content, draw, change)


def _members(content: bytes, draw: Draw) -> bytes:
    return _repacked(content, draw, lambda _, data: data, names=True)


def _bomb(content: bytes, draw: Draw) -> bytes:
    """A member becomes 16 MB of zeros, compressed to 16 kB."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        victim = draw.choice(archive.namelist())
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as out:
        for name in archive.namelist():
            out.writestr(name, bytes(1 << 24) if name == victim else archive.read(name))
    return made.getvalue()


def _raw_pickle(content: bytes, draw: Draw) -> bytes:
    """A pickle instead of a zip, as torch saved before 1.6."""
    return draw.choice(pickles())


def _other_table(content: bytes, draw: Draw) -> bytes:
    """Another table in place of this one: of other types, empty, nested, or far larger than its file."""
    return draw.choice(tables())


BY_ENDING: dict[str, tuple[Mutation, ...]] = {
    "json": (_json, _json, _json, _doubled_key),
    "jsonl": (_json_line, _json_line),
    "safetensors": (_safetensors, _safetensors, _safetensors, _not_finite),
    "npy": (_npy, _npy, _not_finite),
    "parquet": (_other_table,),
    "pt": (_pickle, _pickle, _members, _bomb, _raw_pickle),
    "zip": (_members, _members, _bomb),
}
