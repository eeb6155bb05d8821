"""Memory sites: what is read and written there, and in which form.

Axis letters are those of `plasticity.types`, which offers all names of this module.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax

from plasticity.registry import exportable

Array = jax.Array
Scalar = Array | float


class LayerShape(NamedTuple):
    """Size of one plastic layer."""

    outputs: int  # O
    inputs: int  # I


class Token(NamedTuple):
    """What a memory site offers to a rule at one step.

    `associate` takes the tokens of all T steps: every field then has the axis T in front. A rule is
    handed a token whose rate and keep are numbers.

    Attributes:
      query: [I], at which the memory is read.
      key: [I].
      value: [O].
      rate: [], or [O] if the keep of the rule's form is per output or per synapse; None: 1.
      keep: [], or the shape that the rule's form gives it, see `Form.keep`; None: 1.
      gates: {name: further inputs}, such as the momentum of `titans`; see `Site.takes`.
    """

    query: Array
    key: Array
    value: Array
    rate: Any = None  # Array | float; None is no leaf: it passes through scan and vmap
    keep: Any = None
    gates: Mapping[str, Array] = {}

    def filled(self) -> "Token":
        """The token, 1 in place of a rate or a keep that is not given."""
        rate, keep = (1.0 if a is None else a for a in (self.rate, self.keep))
        return self._replace(rate=rate, keep=keep)


class Gate(NamedTuple):
    """A number that a rule reads of a token beside query, key and value.

    Attributes:
      name: "rate", "keep", or its name in `Token.gates`.
      kind: how a memory layer makes it; a name in `plasticity.model.gates.KINDS`.
      per: how many numbers there are: one per "token" [], "input" [I] or "output" [O]. For rate
        and keep, the form of the rule decides instead.
    """

    name: str
    kind: str
    per: str = "token"


RATE, KEEP = Gate("rate", "rate"), Gate("keep", "keep")
KEEPS = ("scalar", "output", "input", "synapse")  # of a Form
ORDERS = ("read_after_write", "read_before_write", "read_before_stretch")  # of a Site
ASKS = ("query", "transposed", "freely")  # of a Site


class Form(NamedTuple):
    """The form of a rule's writes. An engine is made for one form, or refuses it.

    Attributes:
      keep: "scalar": rate and keep are []; "output": both [O]; "input": keep is [I], rate [];
        "synapse": keep is [O, I], rate [].
      terms: N outer products per write: left [N, O], right [N, I]; 1: left [O], right [I].
      momentum: whether writes have a momentum.
      bias: whether the memory at a site has a plastic bias; a feed-forward site has one by itself.
      settle: a map that is applied to the trace h [O, I] after every write; None: none. Applying it
        once after several writes must give the same as applying it after each.
      to_weights: the map from the trace h [O, I] to weights [O, I], before alpha; None: identity.
    """

    keep: str = "scalar"
    terms: int = 1
    momentum: bool = False
    bias: bool = False
    settle: Callable[[Array], Array] | None = None
    to_weights: Callable[[Array], Array] | None = None


class Write(NamedTuple):
    """An update of one memory, by one outer product or a sum of N of them.

    The trace h, of which the weights are w = alpha * h (or a map of it, see `Form`), becomes

      h <- keep * h + rate * left right^T

    With momentum, s <- momentum * s + rate * left right^T, h <- keep * h + s, s_0 = 0. A plastic
    bias is written alike, from an input that is 1; a keep per input leaves it as it is.
    """

    left: Array  # [O] or [N, O]
    right: Array  # [I] or [N, I]
    rate: Array  # [] or [O]
    keep: Array  # [], [O], [I] or [O, I]
    momentum: Array | None = None  # []; None: no momentum


class Read(Protocol):
    """Reads a memory: `read(x)`, x [I], is w x + b, [O].

    layer: which one, of a memory of several; "": the only one.
    transposed: x is [O], and w^T x, [I], is returned.
    """

    def __call__(self, x: Array, layer: str = "", *, transposed: bool = False) -> Array:
        """See the class."""


class Site(NamedTuple):
    """A rule at a memory site.

    Attributes:
      write: (token, read) -> Write. `read` reads the state before the write and before its decay. A
        rule whose error is taken at the decayed state uses keep * read(key) or read(keep * key). A
        memory of several layers, as of a rule that descends the loss of a small network, has one
        trace for each and returns {layer: Write}; `plasticity.rules.credit` gives each layer its
        credit.
      order: "read_after_write": the answer to a query contains the token's own write;
        "read_before_write": it does not; "read_before_stretch", for frozen rules: it contains no
        write of the present stretch.
      linear: each output of `left` is an affine function of that output of what `read` returned,
        and nothing else in the write depends on a read: value - read(key) is allowed,
        value / |read(key)| is not. Many steps are then computed at once. Under a form whose keep is
        not per output, the factors of what was read must be the same for all outputs:
        value - 2 read(key) is allowed, value - c * read(key) with a vector c is not. A program that
        is visibly of another kind is refused; the values of the factors are not checked.
      frozen: C: `write` reads the state before the first of every C tokens, while keeps and
        momentum act at every token; the last stretch may be shorter. 1: it reads the state before
        the token.
      tokens: (token, read) -> {layer: Token}: for a memory of several layers that reads its own
        keys, values and rates. `write` is then called with the token of one layer, and is linear in
        what it reads of that layer at the state before the token. Only the reads of `tokens` are
        frozen in a stretch, which is therefore solved at once. The order is "read_before_stretch".
        None: the token is written as it is.
      reach: (token) -> []: of a frozen rule, the factor with which a token sees what its stretch
        has written: W_start + reach (W - W_start). The last token's view becomes the state after
        the stretch. None: 1.
      writes: N: a token holds N keys, values and rates, which are written one after the other.
      prepare: what happens to a token first. It may change the number of outputs.
      layers: (shape for a value and a key) -> {layer: its shape}; "": the layer of a memory of one.
      empty: whether a memory may start at zero; otherwise its first weights are given.
      takes: the numbers that the rule reads of a token beside query, key and value. Any other one
        that is given is refused, and so is a gate that is missing. None: all are accepted.
      ignores: which of "query" and "value" the rule does not read; of a value only the length
        counts.
      answer: (prepared token, read) -> [O].
      asks: how `answer` reads: "query": once, at `token.query`; "transposed": once, of the
        transposed weights; "freely": in any way.
    """

    write: Callable[[Token, Read], Any]
    order: str = "read_after_write"
    linear: bool = True
    frozen: int = 1
    tokens: Callable[[Token, Read], dict[str, Token]] | None = None
    reach: Callable[[Token], Array] | None = None
    writes: int = 1
    prepare: Callable[[Token], Token] = lambda token: token
    layers: Callable[[LayerShape], dict[str, LayerShape]] = lambda shape: {"": shape}
    empty: bool = True
    takes: tuple[Gate, ...] | None = None
    ignores: tuple[str, ...] = ()
    answer: Callable[[Token, Read], Array] = lambda token, read: read(token.query)
    asks: str = "query"


exportable(Write)
