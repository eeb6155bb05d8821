"""Layers that the devices of a row share: what each computes, and the few messages that they need.

Inside `jax.shard_map` along the axis `MODEL`, a value is of one of three kinds:

  whole    the same on every device, and so is its cotangent
  own      a device's part of a vector; its cotangent is that of this part
  partial  a term of a sum over the devices; its cotangent is the same on every device

Four operators lead from one kind to another. Each is the adjoint of another one and is written with
it, so that derivatives of any order exist:

  enter    whole -> whole, of which partial and own values are made; backward `leave`
  leave    partial -> whole, the sum over the devices; backward `enter`
  gather   own -> whole, the parts of all devices; backward `row`
  row      whole -> own; backward `gather`

(`jax.shard_map` without check_vma takes psum for its own adjoint. The gradient would then count
every device.) A network of two layers, fc1 split by its outputs and fc2 by its inputs, sends one
sum forward (fc2) and one backward (the input of fc1), as in Shoeybi et al. 2019 (arXiv 1909.08053).
So does attention whose heads are split: the map to queries, keys and values is the first layer, the
map of what was mixed the second.

The kernel that makes queries, keys and values has three stacks of columns, each with all heads. So
the columns of one device's heads are not contiguous, and the kernel is split by rows instead. Once
per run of a batch the devices exchange rows for the columns of their heads (`Share.by_heads`).

A rule stays a function of whole activities. They are gathered for all layers in one message, every
device computes the same writes, and takes its part of each; backward, that is one sum. The cost of
a write is that of vectors.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.flatten_util
from jax import lax

from plasticity.program import leaves_read
from plasticity.types import (
    Activity,
    Array,
    Form,
    LayerShape,
    Plasticity,
    PyTree,
    Rule,
    Write,
)

MODEL = "model"  # the axis of the mesh along which devices share layers

# Which axis of the parameters of a layer lies along `MODEL`, by the side that is split.
SPLIT = {
    "outputs": {"kernel": 1, "bias": 0, "alpha": 0, "alpha_out": 0, "beta": 0},
    "inputs": {"kernel": 0, "alpha": 1, "alpha_in": 0},
    "heads": {"kernel": 0},  # as it is stored
}
STACKS = 3  # of columns of a layer that is split by heads: queries, keys, values
# The same of a write. A keep lies along the outputs or the inputs, as `Form.keep` says.
_SPLIT_WRITE = {"outputs": ("left", "rate"), "inputs": ("right",)}
_SPLIT_ACTIVITY = {"outputs": ("post", "activation", "credit", "recall"), "inputs": ("pre",)}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def enter(axis: str, tree: PyTree) -> PyTree:
    """The tree, unchanged; backward, the devices' cotangents are summed, in one message."""
    del axis
    return tree


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def leave(axis: str, tree: PyTree) -> PyTree:
    """The sums over the devices, in one message; backward, the cotangent is unchanged."""
    vector, separate = jax.flatten_util.ravel_pytree(tree)
    return separate(lax.psum(vector, axis))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def gather(axis: str, vector: Array) -> Array:
    """[N] -> [devices, N]: the vectors of all devices; backward, each device takes its own row."""
    return lax.all_gather(vector, axis)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def row(axis: str, rows: Array) -> Array:
    """[devices, N] -> [N]: a device's own row; backward, the rows of all devices are gathered."""
    return lax.dynamic_index_in_dim(rows, lax.axis_index(axis), keepdims=False)


def _adjoint_of(one: jax.custom_vjp, other: Callable) -> None:
    one.defvjp(lambda axis, x: (one(axis, x), None), lambda axis, _, bar: (other(axis, bar),))


for _one, _other in ((enter, leave), (leave, enter), (gather, row), (row, gather)):
    _adjoint_of(_one, _other)


class Share(NamedTuple):
    """How the devices of a row share the layers of a network.

    devices: how many they are.
    split: {layer: "outputs", "inputs" or "heads"}, the side of which each device has a part.
    reads: {layer: which fields of its activity the rule reads}, of plastic layers.
    """

    devices: int
    split: Mapping[str, str]
    reads: Mapping[str, Activity]
    axis: str = MODEL

    def enter(self, tree: PyTree) -> PyTree:
        """Whole values, for partial and own results."""
        return enter(self.axis, tree)

    def leave(self, tree: PyTree) -> PyTree:
        """The sums of partial values."""
        return leave(self.axis, tree)

    def own(self, array: Array, axis: int = -1) -> Array:
        """The device's part of an array that `enter` returned, or that has no gradient."""
        size = array.shape[axis] // self.devices
        start = lax.axis_index(self.axis) * size
        return lax.dynamic_slice_in_dim(array, start, size, axis % array.ndim)

    def entered(self, slow: PyTree, theta: Plasticity) -> tuple[PyTree, Plasticity]:
        """Parameters as layers and memories read them: those that are whole are made to `enter`.

        Example: fc2, whose inputs are split. A read is a partial sum, to which each device adds
        beta / devices times the trace of the bias, which is whole.
        """
        whole, synapses = {}, dict(theta.synapses)
        for layer in self.split.keys() & synapses.keys():
            axes, fields = SPLIT[self.split[layer]], synapses[layer]._asdict().items()
            found = {n: a for n, a in fields if a is not None and axes.get(n, a.ndim) >= a.ndim}
            whole[layer] = found
        leaves, structure = jax.tree.flatten_with_path(slow)
        arrays = {tuple(key.key for key in path): leaf for path, leaf in leaves}
        stacked = [("params", *n.split("/")) for n, side in self.split.items() if side == "heads"]
        biases = {path: arrays[*path, "bias"] for path in stacked}
        whole, biases = self.enter((whole, biases))
        for path, bias in biases.items():
            arrays[*path, "bias"] = self.own(bias.reshape(STACKS, -1)).reshape(-1)
            arrays[*path, "kernel"] = self.by_heads(arrays[*path, "kernel"])
        for layer, found in whole.items():
            synapses[layer] = synapses[layer]._replace(**found)
            if self.split[layer] == "inputs" and "beta" in found:
                synapses[layer] = synapses[layer]._replace(beta=found["beta"] / self.devices)
        slow = jax.tree.unflatten(structure, arrays.values())
        return slow, theta._replace(synapses=synapses)

    def by_heads(self, rows: Array) -> Array:
        """A device's rows [D / devices, 3 D] -> the columns of its heads, [D, 3 D / devices]."""
        stacks = rows.reshape(len(rows), STACKS, self.devices, -1)
        columns = jax.numpy.moveaxis(stacks, 2, 0).reshape(self.devices, len(rows), -1)
        found = lax.all_to_all(columns, self.axis, 0, 0, tiled=True)  # backward, its inverse
        return found.reshape(-1, columns.shape[-1])

    def whole(self, activities: Mapping[str, Activity]) -> dict[str, Activity]:
        """Whole activities of one step, as a rule takes them. A field that it does not read is 0.

        Args:
          activities: of all plastic layers, without their parts on other devices.
        """
        found, own = dict(activities), {}
        for layer, side in self.split.items():
            if layer not in found:
                continue
            if side == "inputs":
                # A credit is what `enter` made of a cotangent: its own cotangents are summed over
                # the devices. Here they are the same on all of them.
                credit = found[layer].credit
                once = credit / self.devices
                once += lax.stop_gradient(credit - once)
                found[layer] = found[layer]._replace(credit=once)
            for field in _SPLIT_ACTIVITY[side]:
                own[layer, field] = getattr(found[layer], field)
        for layer, field in own:
            blank = jax.numpy.zeros(own[layer, field].size * self.devices, own[layer, field].dtype)
            found[layer] = found[layer]._replace(**{field: blank})
        own = {key: a for key, a in own.items() if getattr(self.reads[key[0]], key[1])}
        if not own:
            return found
        vector, separate = jax.flatten_util.ravel_pytree(own)
        for (layer, field), rows in jax.vmap(separate)(gather(self.axis, vector)).items():
            found[layer] = found[layer]._replace(**{field: rows.reshape(-1)})
        return found

    def parts(self, form: Form, writes: Mapping[str, Write]) -> dict[str, Write]:
        """The device's part of the whole writes of one step."""
        whole = {layer: write for layer, write in writes.items() if layer in self.split}
        found = dict(writes)
        for layer, write in self.enter(whole).items():
            side = self.split[layer]
            fields = _SPLIT_WRITE[side] + (("keep",) if f"{form.keep}s" == side else ())
            # A rate or a keep may be one number where the form allows one for each output.
            cut = {n: self.own(a) for n in fields if (a := getattr(write, n)).ndim}
            found[layer] = write._replace(**cut)
        return found


def reads_of(rule: Rule, shapes: Mapping[str, LayerShape], head: int) -> dict[str, Activity] | None:
    """{layer: which fields of its activity, bool, a rule reads}; see `Share.reads`.

    None: its writes cannot be shared, because they depend on the coefficients of plasticity, its
    form has a keep per synapse or maps the whole trace, or it has an auxiliary loss.
    """
    form = rule.form
    if rule.static or rule.write is None:
        return {}
    if rule.auxiliary is not None or form.keep == "synapse":
        return None
    if form.settle is not None or form.to_weights is not None:
        return None
    theta = jax.eval_shape(lambda key: rule.init(key, shapes, head), jax.random.key(0))
    number = jax.ShapeDtypeStruct((), float)
    activities: dict[str, Any] = {}
    for layer, shape in shapes.items():
        outputs: Any = jax.ShapeDtypeStruct((shape.outputs,), float)
        pre: Any = jax.ShapeDtypeStruct((shape.inputs,), float)
        activities[layer] = Activity(pre, *[outputs] * (len(Activity._fields) - 1))
    read = leaves_read(rule.write, theta, number, activities)
    return None if any(jax.tree.leaves(read[0].synapses)) else read[2]
