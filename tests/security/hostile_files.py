"""Files that try to run something, read memory, take it all, or never end. Each is written by a function; its name says how."""

from __future__ import annotations

import bz2
import collections
import io
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import joblib
import numpy as np
import torch
from hostile_bytes import (
    LFS,
    Evil,
    array,
    called,
    deep_storages,
    dtype,
    header,
    many,
    named,
    objects,
    plain,
    raw,
    sparse,
    tensor,
    torch_zip,
    whole,
    zipped,
)
from PIL import Image


def pickles(trace: Path) -> Iterator[tuple[str, bytes]]:
    """By name; the suffix says what is to read it."""
    evil = Evil(trace)
    for protocol in range(6):
        yield f"protocol_{protocol}.pkl", pickle.dumps({"a": evil}, protocol)
    body = pickle.dumps(evil, 2)[2:-1]
    command = f"touch '{trace}'"
    yield "inst.pkl", b"(S'" + command.replace("'", "").encode() + b"'\nios\nsystem\n."
    yield "obj.pkl", b"(" + named("os.system") + plain(command) + b"o."
    yield "newobj.pkl", whole(named("subprocess.Popen") + many(plain(command)) + b"\x81")
    yield "newobj_ex.pkl", b"\x80\x04" + named("subprocess.Popen") + many(plain(command)) + plain({"shell": True}) + b"\x92."
    yield "stack_global.pkl", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940\x8c\x02os\x8c\x06system\x93" + many(plain(command)) + b"R."
    yield "dotted_name.pkl", b"\x80\x04\x8c\x05numpy\x8c\x0eos.path.exists\x93."
    yield "getattr.pkl", whole(called("builtins.getattr", named("numpy.ndarray"), plain("tofile")))
    yield "extension.pkl", b"\x80\x02\x82\x01."
    yield "persistent.pkl", whole(plain("x") + b"Q")
    yield "persistent_text.pkl", b"Pabc\n."
    yield "lambda.pkl", whole(called("types.FunctionType", plain(1)))
    for name, compress in {"plain": 0, "zlib": 3, "lzma": ("lzma", 3), "bz2": ("bz2", 3)}.items():
        stream = io.BytesIO()
        joblib.dump({"a": np.arange(3), "b": np.array([evil], object)}, stream, compress=compress)
        yield f"joblib_{name}.pkl", stream.getvalue()
    for modern in (True, False):
        stream = io.BytesIO()
        torch.save({"a": torch.ones(3), "b": evil}, stream, _use_new_zipfile_serialization=modern)
        yield f"torch_{'zip' if modern else 'legacy'}.pt", stream.getvalue()
    yield "pickled.npy", objects("()", pickle.dumps(evil))
    yield "pickled.npz", zipped(**{"a.npy": objects("()", pickle.dumps(evil))})
    address = called("numpy.ndarray", plain((1,)), dtype("O"), raw(b"A" * 8))
    yield "address.pkl", whole(address)
    yield "address.pt", torch_zip(address)
    yield "address.npy", objects("()", whole(address))
    state = [plain(3), plain("|"), b"N", b"N", b"N", plain(-1), plain(-1), plain(0)]
    yield "crafted_dtype.pkl", whole(called("numpy._core.multiarray.scalar", dtype("O", many(*state)), raw(b"A" * 8)))
    yield "object_scalar.pkl", whole(called("numpy._core.multiarray.scalar", dtype("O"), raw(b"A" * 8)))
    flags = [plain(3), plain("<"), b"N", b"N", b"N", plain(800), plain(1), plain(63)]
    yield "dtype_of_other_size.pkl", whole(called("numpy._core.multiarray.scalar", dtype("f8", *flags), raw(b"A" * 800)))
    yield (
        "buffer_of_objects.pkl",
        whole(called("numpy._core.numeric._frombuffer", plain(bytearray(b"A" * 8)), dtype("O"), plain((1,)), plain("C"))),
    )
    yield "bytes_for_objects.pkl", whole(array((1,), dtype("O"), raw(b"A" * 8)))
    yield "objects_for_bytes.pkl", whole(array((2,), dtype("f8"), plain([{}, {}])))
    yield "fewer_objects.pkl", whole(array((9,), dtype("O"), plain([1])))
    yield "larger_shape.pkl", whole(array((1 << 40,), dtype("f8"), raw(b"A" * 8)))
    yield "overflowing_shape.pkl", whole(array((1 << 32, 1 << 32), dtype("f8"), raw(b"")))
    yield "negative_shape.pkl", whole(array((-1,), dtype("f8"), raw(b"A" * 8)))
    yield "no_bytes_each.pkl", whole(array((1 << 50,), dtype("V0"), raw(b"")))
    yield "poison_array.pkl", whole(named("numpy.ndarray") + plain({"__init__": 1}) + b"b")
    yield "poison_name.pkl", whole(named("collections.OrderedDict") + plain({"fromkeys": 1}) + b"b")
    yield "poison_list.pkl", whole(plain([]) + plain({"append": 1}) + b"b")
    yield "poison_slots.pkl", whole(array((1,), dtype("f8"), raw(b"A" * 8)) + many(b"N", plain({"shape": (1 << 40,)})) + b"b")
    yield "state_twice.pkl", whole(array((1,), dtype("f8"), raw(b"A" * 8)) + many(*[plain(1)] * 5) + b"b")
    yield "no_state.pkl", whole(called("numpy._core.multiarray._reconstruct", named("numpy.ndarray"), plain((0,)), raw(b"b")))
    yield "bytearray_of_a_number.pkl", whole(called("builtins.bytearray", plain(1 << 40)))
    yield "bytes_of_a_number.pkl", whole(called("builtins.bytes", plain(1 << 40)))
    yield "long_string.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"."
    yield "long_number.pkl", b"\x80\x02\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000 + b"."
    yield "many_digits.pkl", b"I" + b"9" * 4000 + b"\n."
    yield "deep.pkl", b"]" * 100_000 + b"a" * 99_999 + b"."
    yield "deep_key.pkl", b"\x80\x02}" + b")" + b"\x85" * 200_000 + b"Ns."
    yield "deep_member.pkl", b"\x80\x04\x8f(" + b")" + b"\x85" * 200_000 + b"\x90."
    yield "deep_keys_of_storages.pt", deep_storages()
    laughing = b"]q\x00" + b"".join(b"](" + b"h%c" % n * 30 + b"eq%c" % (n + 1) for n in range(40))
    made = called("numpy._core.multiarray._reconstruct", named("numpy.ndarray"), plain((0,)), raw(b"b"))
    yield "laughing_shape.pkl", whole(laughing + b"0" + made + many(plain(1), b"h\x28", dtype("f8"), plain(False), raw(b"")) + b"b")
    yield "itself.pkl", b"\x80\x02]q\x00h\x00a."
    yield "laughs.pkl", b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % n * 30 + b"eq%c" % (n + 1) for n in range(40)) + b"."
    yield "same_array_often.pkl", whole(raw(b"A" * 100_000) + b"q\x010](" + array((12_500,), dtype("f8"), b"h\x01") * 2000 + b"e")
    yield "far_memo.pkl", b"\x80\x02Nr\xff\xff\xff\x7f" + b"h\x05."
    yield "no_end.pkl", b"\x80\x02" + b"N" * 1000
    yield "empty_stack.pkl", b"\x80\x020."
    yield "no_mark.pkl", b"\x80\x02t."
    yield "keys_of_one_hash.pkl", pickle.dumps({n * sys.hash_info.modulus: n for n in range(30_000)}, 2)
    yield "tuples_of_one_hash.pkl", pickle.dumps({tuple(-1 - (n >> bit & 1) for bit in range(15)): n for n in range(1 << 15)}, 2)
    yield "keys_that_are_arrays.pkl", whole(plain({}) + array((1,), dtype("f8"), raw(b"A" * 8)) + plain(1) + b"s")
    yield "reduce_a_list.pkl", whole(plain([]) + b")R")
    yield "list_in_place_of_a_name.pkl", b"\x80\x04" + plain([]) + plain([]) + b"\x93."
    yield "sparse_outside.pkl", whole(b"}" + plain("a") + sparse((2, 2), [0, 900], [0, 1, 2]) + b"s")
    yield "sparse_huge.pkl", whole(b"}" + plain("a") + sparse((1 << 30, 1 << 30), [0], [0, 1]) + b"s")
    yield "sparse_pointers.pkl", whole(b"}" + plain("a") + sparse((2, 2), [0, 1], [0, 50, 2]) + b"s")
    yield "tensor_outside.pt", torch_zip(tensor(4, 0, (1 << 20,), (1,)), **{"0": bytes(16)})
    yield "tensor_far_stride.pt", torch_zip(tensor(4, 0, (2, 2), (1, 1 << 40)), **{"0": bytes(16)})
    yield "tensor_negative.pt", torch_zip(tensor(4, -4, (2,), (1,)), **{"0": bytes(16)})
    yield "tensor_repeated.pt", torch_zip(tensor(4, 0, (1 << 40,), (0,)), **{"0": bytes(16)})
    yield "storage_huge.pt", torch_zip(tensor(1 << 50, 0, (2,), (1,)), **{"0": bytes(16)})
    yield "storage_short.pt", torch_zip(tensor(4, 0, (4,), (1,)), **{"0": bytes(8)})
    yield "storage_missing.pt", torch_zip(tensor(4, 0, (4,), (1,)))
    yield "no_torch.pt", zipped(a=b"")
    yield "nested_code.pkl", whole(called("torch.storage._load_from_bytes", raw(pickle.dumps(evil, 2))))
    yield "code_behind.pkl", plain(1) + b"." + body + b"."
    yield "compressed_bomb.pkl", zlib.compress(bytes(300 << 20), 1)
    yield "bz2_bomb.pkl", bz2.compress(bytes(300 << 20), 1)
    yield "compressed_half.pkl", zlib.compress(pickle.dumps([1] * 10_000))[:-20]


def containers(trace: Path) -> Iterator[tuple[str, bytes]]:
    """Zip files and `.npy`, by name."""
    good = header("'<f8'", "(2,)", bytes(16))
    yield "rows.npy", header("'<f8'", "(10000000000,)", bytes(16))
    yield "rows.npz", zipped(**{"a.npy": header("'<f8'", "(10000000000, 3)", bytes(16))})
    yield "overflowing_rows.npy", header("'<f8'", f"({1 << 62}, {1 << 62}, 0)")
    yield "truth_for_rows.npy", header("'<f8'", "(True,)", bytes(8))
    yield "code_header.npy", header("__import__('os').system('x')", "(2,)", bytes(16))
    yield "deep_header.npy", header("(" * 5000 + ")" * 5000, "(2,)")
    yield "record_of_objects.npy", header("[('a', '|O'), ('b', '<f8')]", "(1,)", b"A" * 16)
    yield "wide_record.npy", header("[('a', '<f8', (1000000, 1000000))]", "(1,)", bytes(16))
    yield "no_text.npy", header("'<U1'", "(2,)", b"\xff" * 8)
    yield "no_bytes.npy", header("'|S0'", "(1000000000000,)")
    yield "version_9.npy", b"\x93NUMPY\x09\x00" + good[8:]
    yield "cut.npy", good[:-1]
    yield "empty.npy", b""
    yield "empty.npz", b""
    yield "cut.npz", zipped(**{"a.npy": good})[:-30]
    yield "pickle_before.npz", pickle.dumps(Evil(trace)) + zipped(**{"a.npy": good})
    yield "npy_before.npz", good + zipped(**{"a.npy": good})
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", good)
        archive.writestr("b.npy", good)
    twins = stream.getvalue()
    yield "same_name.npz", twins.replace(b"b.npy", b"a.npy")
    yield "encrypted.npz", twins.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    yield "other_name_inside.npz", twins.replace(b"b.npy", b"c.npy", 1)
    yield "damaged.npz", twins.replace(bytes(16), b"\x01" * 16)
    at = twins.index(b"PK\x01\x02")
    yield "larger_than_itself.npz", twins[: at + 24] + struct.pack("<I", 0xFFFFFFF0) + twins[at + 28 :]
    yield "packed_larger.npz", twins[: at + 20] + struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0) + twins[at + 28 :]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        member.write(header("'|u1'", f"({300 << 20},)"))
        for _ in range(300):
            member.write(bytes(1 << 20))
    yield "bomb.npz", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.npy", header("'|u1'", f"({32 << 20},)", bytes(32 << 20)))
    yield "bz2_member.npz", stream.getvalue()
    for suffix in (".pkl", ".pt", ".npy", ".npz", ".ply", ".json", ".h5"):
        yield f"lfs{suffix}", LFS


def scenes(trace: Path) -> Iterator[tuple[str, bytes]]:
    """PLY, JSON and YAML, by name."""
    start, end = "ply\nformat ascii 1.0\n", "property float x\nproperty float y\nproperty float z\nend_header\n"
    for name, middle in {
        "many": f"element vertex {10**30}\n",
        "some": "element vertex 9\n",
        "negative": "element vertex -5\n",
        "list": "element vertex 1\nproperty list uchar int i\n",
        "digits": f"element vertex {'9' * 4000}\n",
    }.items():
        yield f"{name}.ply", f"{start}{middle}{end}1 2\n".encode()
    yield "binary.ply", f"{start}element vertex {10**12}\n{end}".replace("ascii", "binary_little_endian").encode()
    yield "no_end.ply", b"ply\n" + b"comment\n" * 100_000
    yield "one_line.ply", b"ply\n" + b"a" * 1_000_000
    yield "no_axes.ply", f"{start}element vertex 1\nend_header\n".encode()
    yield "brackets.json", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    yield "deep.json", b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"
    yield "digits.json", b'{"a": 1' + b"0" * 400 + b"}"
    yield "beyond_64_bits.json", json.dumps({"frames": [2**70]}).encode()
    yield "half_a_character.json", b'{"status": "\\ud800"}'
    yield "no_json.json", b"\xff\xfe{"
    yield "list.json", b"[1, 2]"
    yield "objects.yaml", f"a: !!python/object/apply:os.system ['touch {trace}']\n".encode()
    yield "module.yaml", b"a: !!python/module:antigravity\n"


def hdf5(folder: Path) -> None:
    """Files of MegaHunter's names whose groups lead elsewhere or lie."""
    scene, people = "our_pred_world_cameras_and_structure", "our_pred_humans_smplx_params"

    def written(name: str, fill: Callable[[h5py.Group], object]) -> None:
        with h5py.File(folder / f"megahunter_{name}.h5", "w") as file:
            file.create_group(people).create_group("1")
            frame = file.create_group(scene).create_group("frame_00001")
            frame["intrinsic"] = np.eye(3)
            fill(frame)

    with h5py.File(folder / "elsewhere", "w") as file:
        file["secret"] = np.eye(4)
    written("external", lambda g: g.__setitem__("cam2world", h5py.ExternalLink("elsewhere", "/secret")))
    written("soft", lambda g: g.__setitem__("cam2world", h5py.SoftLink("/nowhere")))
    written("cycle", lambda g: g.__setitem__("cam2world", g))
    written("raw", lambda g: g.create_dataset("cam2world", (4, 4), "f8", external=[(str(folder / "elsewhere"), 0, 128)]))
    written("huge", lambda g: g.create_dataset("cam2world", (1 << 20, 1 << 20), "f8", chunks=(1, 1 << 10)))
    layout = h5py.VirtualLayout((4, 4), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "elsewhere"), "secret", (4, 4))
    written("virtual", lambda g: g.create_virtual_dataset("cam2world", layout))
    written("text", lambda g: g.__setitem__("cam2world", "text"))
    data = bytearray((folder / "megahunter_text.h5").read_bytes())
    data[200:1200] = b"\xff" * 1000
    (folder / "megahunter_damaged.h5").write_bytes(data)
    (folder / "megahunter_cut.h5").write_bytes(data[:700])


def write_all(folder: Path, trace: Path) -> None:
    """All of them."""
    for source in (pickles, containers, scenes):
        for name, data in source(trace):
            (folder / name).write_bytes(data)
    hdf5(folder)
    for suffix in (".pkl", ".pt", ".npy", ".npz", ".ply", ".json", ".h5"):
        os.mkfifo(folder / f"pipe{suffix}")
        (folder / f"folder{suffix}").mkdir()
    masks = folder / "masks"
    masks.mkdir()
    Image.fromarray(np.zeros((20_000, 20_000), bool)).save(masks / "frame_1_person_1.png")
    (masks / "frame_1_person_2.png").write_bytes(pickle.dumps(Evil(trace)))
    (masks / "frame_1_person_3.npy").write_bytes(objects("()", pickle.dumps(Evil(trace))))
    os.mkfifo(masks / "frame_1_person_4.png")
    (masks / "frame_1_person_5.png").write_bytes(LFS)
    model = folder / "model"
    model.mkdir()
    good = header("'<f8'", "(2, 3)", bytes(48))
    (model / "SMPLX_NEUTRAL.npz").write_bytes(pickle.dumps(Evil(trace)) + zipped(**{"v_template.npy": good}))
    (model / "SMPLX_MALE.npz").write_bytes(zipped(**{"v_template.npy": objects("()", pickle.dumps(Evil(trace)))}))
    (model / "SMPL_MALE.pkl").write_bytes(pickle.dumps({"v_template": Evil(trace)}))
    (model / "SMPL_FEMALE.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((2, 3)), "f": collections.OrderedDict()}))


def scene_npz(path: Path, trace: Path) -> None:
    """A scene of one instance, beside which lie members that a tracker's `np.load` would run."""
    masks = np.empty((), object)
    masks[()] = {"instance_0": np.ones((1, 3, 8, 8), bool)}
    stream = io.BytesIO()
    np.lib.format.write_array(stream, masks)
    hostile = objects("()", pickle.dumps(Evil(trace)))
    path.write_bytes(zipped(**{"sam2_masks.npy": stream.getvalue(), "extra": hostile, "a.npy.": hostile, "rgbs.NPY": hostile}))
