"""Work is counted as often as it is done, and what is sent by whom it is sent to."""

import jax
import jax.numpy as jnp
import pytest

from plasticity.experiments.lowered import execution_of, total, work_of


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


def test_products_in_loops_count_as_often_as_they_run():
    a = jnp.ones((24, 16))

    def powers(a):
        def once(left, _):
            inner, _ = jax.lax.scan(lambda m, _: (jnp.tanh(m @ a.T @ a), None), left, length=3)
            return inner, None

        return jax.lax.scan(once, a, length=5)[0]

    work = work_of(compiled(powers, a))
    assert work["products"] == 5 * 3 * 2 * (2 * 24 * 24 * 16)
    assert work["moved_bytes"] == 5 * 3 * 2 * 4 * (2 * 24 * 16 + 24 * 24)


def test_a_loop_of_unknown_length_is_refused():
    text = compiled(lambda n: jax.lax.while_loop(lambda i: i * i < n, lambda i: i + 1, 0), 7)
    with pytest.raises(ValueError, match="has no known length"):
        work_of(text)
    with pytest.raises(ValueError, match="no ENTRY"):
        work_of("HloModule nothing")


def test_what_is_sent(program_with_devices):
    program_with_devices(4, "tests.experiments.test_hlo", "check_what_is_sent")


def check_what_is_sent():
    """A sum over two devices in a loop, a gathering of all four outside of it."""
    mesh = jax.make_mesh((2, 2), ("data", "model"))
    spec = jax.P("data", "model")

    def share(x):
        def once(x, _):
            return jnp.tanh(jax.lax.psum(x, "model")), None

        x, _ = jax.lax.scan(once, x, length=7)
        return jax.lax.all_gather(x, ("data", "model"))

    mapped = jax.shard_map(share, mesh=mesh, in_specs=spec, out_specs=jax.P(), check_vma=False)
    x = jax.device_put(jnp.ones((6, 10)), jax.NamedSharding(mesh, spec))
    sent = work_of(compiled(mapped, x))
    share_bytes = 3 * 5 * 4
    near, all_ = ("all-reduce", 2, 2), ("all-gather", 4, 4)
    assert sent == {near: 7 * share_bytes, all_: 4 * share_bytes}
    far = jax.shard_map(
        lambda x: jax.lax.psum(x, "data"), mesh=mesh, in_specs=spec, out_specs=jax.P(None, "model")
    )
    assert work_of(compiled(far, x)) == {("all-reduce", 2, 3): share_bytes}


def test_sums():
    a, b = {"products": 1.0, ("all-reduce", 2, 2): 3.0}, {"products": 2.0, "moved_bytes": 5.0}
    assert total((2, a), (-1, b)) == {
        "products": 0.0,
        ("all-reduce", 2, 2): 6.0,
        "moved_bytes": -5.0,
    }


@pytest.mark.parametrize(
    ("written", "extent"),
    [
        ("replica_groups={{0,4},{1,5}}", (2, 5)),
        ("replica_groups=[2,4]<=[8]", (4, 4)),
        ("replica_groups=[4,2]<=[2,4]T(1,0)", (2, 5)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'a'}", (4, 4)),
        ("replica_groups=mesh['a'=4,'b'=2], device_ids=([2,4]T(1,0)) {'b'}", (2, 5)),
        ("replica_groups=mesh['a'=2,'b'=4] {'a','b'}", (8, 8)),
        ("source_target_pairs={{0,1},{1,3}}", (2, 3)),
    ],
)
def test_who_takes_part(written, extent):
    text = f"ENTRY %main (x: f32[2]) -> f32[2] {{\n  %y = f32[2] all-reduce(%x), {written}, z=1\n}}"
    assert work_of(text) == {("all-reduce", *extent): 8}


TPU = """
%body (p: (s32[], f32[6,4])) -> (s32[], f32[6,4]) {
  %p = (s32[]{:T(128)}, f32[6,4]{1,0:T(8,128)}) parameter(0)
  %m = f32[6,4]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %w = f32[4,4]{1,0:T(4,128)} constant({...})
  %y = f32[6,4]{1,0:T(8,128)S(1)} fusion(%m, %w), kind=kOutput, calls=%fused, \
backend_config={"estimated_cycles":"1000"}
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %next = (s32[]{:T(128)}, f32[6,4]{1,0:T(8,128)}) tuple(%i, %y)
}

%fused (a: f32[6,4], b: f32[4,4]) -> f32[6,4] {
  %a = f32[6,4]{1,0:T(8,128)} parameter(0)
  %b = f32[4,4]{1,0:T(4,128)} parameter(1)
  ROOT %c = f32[6,4]{1,0:T(8,128)} convolution(%a, %b), dim_labels=bf_io->bf
}

%condition (p: (s32[], f32[6,4])) -> pred[] {
  %p = (s32[]{:T(128)}, f32[6,4]{1,0:T(8,128)}) parameter(0)
  %length = s32[]{:T(128)} constant(7)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %less = pred[]{:T(512)} compare(%i, %length), direction=LT
}

ENTRY %main (x: (s32[], f32[6,4])) -> f32[12,4] {
  %x = (s32[]{:T(128)}, f32[6,4]{1,0:T(8,128)}) parameter(0)
  %loop = (s32[]{:T(128)}, f32[6,4]{1,0:T(8,128)}) while(%x), condition=%condition, body=%body
  %z = f32[6,4]{1,0:T(8,128)} get-tuple-element(%loop), index=1
  %s = (f32[6,4]{1,0}, f32[12,4]{1,0:T(8,128)}) all-gather-start(%z), replica_groups={{0,1}}
  ROOT %d = f32[12,4]{1,0:T(8,128)} all-gather-done(%s)
}
"""


def test_a_program_for_a_tpu():
    """Products are convolutions, the length of a loop is in its condition, messages are started."""
    product, gathered = 2 * 6 * 4 * 4, 12 * 4 * 4
    assert work_of(TPU) == {
        "products": 7 * product,
        "moved_bytes": 7 * 4 * (24 + 16 + 24),
        ("all-gather", 2, 2): gathered,
    }
    execution = execution_of(TPU)
    assert (execution.operations, execution.cycles) == (7 + 1, 7 * 1000)
    assert (execution.once, execution.in_loops) == ({"all-gather": 1}, {})
    assert execution.result_bytes == 7 * 96 + 96 + 192
    assert execution.padded_bytes == 7 * 8 * 128 * 4 + 96 + 2 * 8 * 128 * 4


def test_a_message_that_a_tpu_sends_beside_other_work_counts_once():
    """It stands in the fusion of each of them: started, under way, done."""
    name = 'channel_id=53, frontend_attributes={chain_id="0"}, replica_groups={{0,1}}'
    other = name.replace("53", "54")

    def fused(i, attributes):
        return f"""
%f{i} (a: f32[6,4]) -> f32[12,4] {{
  %a = f32[6,4] parameter(0)
  ROOT %g = f32[12,4] all-gather(%a), {attributes}
}}
"""

    calls = "\n".join(f"  %y{i} = f32[12,4] fusion(%x), calls=%f{i}" for i in range(4))
    main = (
        f"\nENTRY %main (x: f32[6,4]) -> f32[12,4] {{\n  %x = f32[6,4] parameter(0)\n{calls}\n}}\n"
    )
    text = "HloModule m\n" + "".join(fused(i, name if i < 3 else other) for i in range(4)) + main
    assert execution_of(text).once == {"all-gather": 2}
    assert work_of(text) == {("all-gather", 2, 2): 2 * 12 * 4 * 4}


@pytest.mark.parametrize(
    "arguments",
    [
        ((5, 9, 9, 3), (3, 3, 3, 8), (1, 1), "SAME", (1, 1)),
        ((5, 9, 8, 3), (3, 2, 3, 8), (2, 1), "VALID", (1, 1)),
        ((2, 5, 5, 3), (3, 3, 3, 4), (1, 1), ((2, 2), (2, 2)), (2, 2)),
    ],
)
def test_convolutions_count_what_lies_on_the_image(arguments):
    """As XLA's own analysis does, without loops."""
    image, kernel, stride, padding, dilation = arguments

    def convolve(image, kernel):
        return jax.lax.conv_general_dilated(
            image, kernel, stride, padding, dilation, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    lowered = jax.jit(convolve).lower(jnp.ones(image), jnp.ones(kernel))
    assert work_of(lowered.compile().as_text())["products"] == lowered.cost_analysis()["flops"]


def test_a_call_of_cublas_is_a_product():
    text = """HloModule gpu

ENTRY %main (a: f32[8,4], b: f32[4,16]) -> f32[8,16] {
  %a = f32[8,4]{1,0} parameter(0)
  %b = f32[4,16]{1,0} parameter(1)
  %c = (f32[8,16]{1,0}, s8[4194304]{0}) custom-call(%a, %b), custom_call_target="__cublas$gemm", \
backend_config={"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"],\
"rhs_contracting_dimensions":["0"]}}}
  ROOT %r = f32[8,16]{1,0} get-tuple-element(%c), index=0
}
"""
    assert work_of(text)["products"] == 2 * 8 * 16 * 4
