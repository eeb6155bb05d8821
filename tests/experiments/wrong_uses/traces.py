"""Wrong uses of `experiments.check_numerics`: no trace in the file, a check that cannot fail."""

import io
import pathlib
import zipfile

import numpy as np

from tests.conftest import GOLDEN
from tests.experiments.wrong_uses.case import Case

TRANSFORMER = GOLDEN / "chaudhary2025_hebbian_regression.npz"
RNN = GOLDEN / "duan2023_rnn_gradient.npz"
SITE = GOLDEN / "assoc_gated_delta.npz"


def _file(content: bytes):
    return lambda tmp: (tmp / "t.npz").write_bytes(content)


def _arrays(**arrays):
    return lambda tmp: np.savez(tmp / "t.npz", **arrays)


def changed(source: pathlib.Path, change):
    """Writes t.npz: the trace with some arrays replaced, or left out where they become None."""

    def setup(tmp: pathlib.Path) -> None:
        arrays = dict(np.load(source))
        arrays |= change(arrays)
        np.savez(tmp / "t.npz", **{name: a for name, a in arrays.items() if a is not None})

    return setup


def _without_names(tmp: pathlib.Path) -> None:
    with zipfile.ZipFile(tmp / "t.npz", "w") as archive:
        archive.writestr("input.npy", b"\x93NUMPY")


def _npy(array: np.ndarray) -> bytes:
    raw = io.BytesIO()
    np.save(raw, array, allow_pickle=True)
    return raw.getvalue()


def _refused(says: str, setup) -> Case:
    return Case("check_numerics", ("--trace={tmp}/t.npz",), says, setup=setup)


CUT = TRANSFORMER.read_bytes()[:5000]
TOLERANCE = r"--tolerance=\S+ should be a positive, finite number"
CASES = [
    *(
        Case("check_numerics", (f"--trace={RNN}", f"--tolerance={value}"), TOLERANCE)
        for value in ("nan", "inf", "-inf", "-1", "0")
    ),
    Case("check_numerics", (f"--trace={RNN}", "--tolerance=abc"), "--tolerance"),
    Case("check_numerics", (f"--trace={RNN}", "--engine=dens"), "--engine"),
    Case("check_numerics", (f"--trace={RNN}", "--chunk=0"), "--chunk"),
    Case("check_numerics", (f"--trace={RNN}", "--dtype=float16"), "--dtype"),
    Case("check_numerics", (), "--trace is missing"),
    Case("check_numerics", ("--trace={tmp}/no.npz",), "cannot be read: No such file"),
    Case("check_numerics", ("--trace={tmp}",), "cannot be read: Is a directory"),
    Case("check_numerics", ("--trace=/dev/null",), "not a .npz file of arrays, or damaged"),
    Case("check_numerics", ("--trace=README.md",), "not a .npz file of arrays, or damaged"),
    _refused("not a .npz file of arrays, or damaged", _file(b"")),
    _refused("not a .npz file of arrays, or damaged", _file(bytes(5000))),
    _refused("not a .npz file of arrays, or damaged", _file(CUT)),
    _refused("not a .npz file of arrays, or damaged", _file(_npy(np.zeros(3)))),
    _refused("not a .npz file of arrays, or damaged", _file(_npy(np.array([{}])))),
    _refused("not a .npz file of arrays, or damaged", _arrays(input=np.array([{}]))),
    _refused("not a .npz file of arrays, or damaged", _without_names),
    _refused("no known format: it has no array num_heads or cell or variant", _arrays()),
    _refused("lacks the array 'eta0'", changed(TRANSFORMER, lambda a: {"eta0": None})),
    _refused("rule='heb' is not one of", changed(RNN, lambda a: {"rule": np.array("heb")})),
    _refused(
        "variant='mash' is not one of", changed(SITE, lambda a: {"variant": np.array("mash")})
    ),
    _refused("'input/k' should hold", changed(SITE, lambda a: {"input/k": a["input/k"] * np.inf})),
    _refused(
        "'cotangent/output/o' should",
        changed(SITE, lambda a: {"cotangent/output/o": np.array("1")}),
    ),
    _refused("finite numbers", changed(RNN, lambda a: {"loss_mean": np.array(np.nan)})),
    _refused(
        "'trace/lr' should hold", changed(RNN, lambda a: {"trace/lr": a["trace/lr"] + np.inf})
    ),
    _refused("'trace/lr' should hold", changed(RNN, lambda a: {"trace/lr": np.array("0.1")})),
    _refused("'input' should hold", changed(RNN, lambda a: {"input": a["input"][:, :0]})),
]
