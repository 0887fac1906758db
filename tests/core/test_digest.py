"""Digests: one content, one name; two contents, two names."""

import dataclasses
import itertools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import digest, file_digest, function_digest, program_digest, struct
from sensijax.perturb import image

VALUE = {"b": (1, 2.5, None), "a": [True, "text", b"bytes"], "array": np.arange(6, dtype=np.float32).reshape(2, 3)}
PINNED = "923efa5b07d4780dfa27d7633ee27646"


def test_a_digest_is_32_hexadecimal_digits():
    assert len(digest(1)) == 32
    int(digest(1), 16)


def test_the_encoding_is_what_it_was():
    # Pinned from this encoding itself: whoever changes it orphans every stored tile.
    assert digest(VALUE) == PINNED


def test_a_digest_does_not_depend_on_the_process():
    program = (
        "import numpy as np; from sensijax.core import digest; "
        "print(digest({'b': (1, 2.5, None), 'a': [True, 'text', b'bytes'], "
        "'array': np.arange(6, dtype=np.float32).reshape(2, 3)}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "12345", "PYTHONPATH": ":".join(sys.path), "JAX_PLATFORMS": "cpu"},
    )
    assert found.stdout.strip() == PINNED


DISTINCT = [
    1,
    1.0,
    True,
    "1",
    b"1",
    None,
    "None",
    0,
    0.0,
    -0.0,
    False,
    "",
    b"",
    (),
    (1,),
    ((1,),),
    (1, 1),
    {},
    {1: 2},
    {2: 1},
    ((1, 2),),
    (1, (2,)),
    ((1,), 2),
    (1, 2),
    ("12",),
    ("1", "2"),
    ("a", "bc"),
    ("ab", "c"),
    float("nan"),
    float("inf"),
    np.float32(1),
    np.float64(1),
    np.int32(1),
    np.int64(1),
    np.uint32(1),
    np.zeros(0),
    np.zeros((0, 2)),
    np.zeros((2, 0)),
    np.zeros(6),
    np.zeros((2, 3)),
    np.zeros((3, 2)),
    np.zeros(6, np.float32),
    -np.zeros(6),
    np.zeros(6, np.complex64),
    np.zeros(6, ">f4"),
    np.array([1, 2]),
    np.array([2, 1]),
    np.array(["a", "b"]),
    np.array(["ab"]),
    np.array([True]),
    np.array([1], np.uint8),
    jnp.ones(3, jnp.bfloat16),
    jnp.ones(3, jnp.float16),
    jax.random.key(0),
    jax.random.key(1),
    jax.random.key(0, impl="rbg"),
    image.Brightness(0.5),
    image.Brightness(0.25),
    image.Pixelate(0.5),
]


def test_different_values_have_different_digests():
    names = [digest(value) for value in DISTINCT]
    same = [
        (repr(a), repr(b)) for (a, m), (b, n) in itertools.combinations(zip(DISTINCT, names, strict=True), 2) if m == n
    ]
    assert not same


def test_arguments_are_not_run_together():
    assert len({digest("a", "b"), digest("ab"), digest(("a", "b")), digest("a", ("b",)), digest("b", "a")}) == 5


def test_one_content_has_one_digest():
    assert digest({"a": 1, "b": {"x": 1, "y": 2}}) == digest({"b": {"y": 2, "x": 1}, "a": 1})
    assert digest(jnp.arange(3.0)) == digest(np.arange(3, dtype=np.float32))
    strided = np.arange(12.0).reshape(3, 4)[:, ::2]
    assert digest(strided) == digest(strided.copy()) == digest(np.asfortranarray(strided))
    assert digest(jax.random.key(7)) == digest(jax.random.key(7))


def test_keys_of_a_mapping_keep_their_types():
    assert digest({1: "a", "1": "b"}) != digest({1: "b", "1": "a"})


def test_a_dataclass_is_named_by_its_class_fields_and_values():
    @dataclasses.dataclass
    class A:
        x: int = 1

    @dataclasses.dataclass
    class B:
        x: int = 1

    @dataclasses.dataclass
    class C:
        y: int = 1

    assert digest(A()) == digest(A(1))
    assert len({digest(A()), digest(B()), digest(C()), digest(A(2))}) == 4


def test_a_pytree_class_is_named_by_its_leaves():
    @jax.tree_util.register_pytree_with_keys_class
    class Pair:
        def __init__(self, *leaves):
            self.leaves = leaves

        def tree_flatten_with_keys(self):
            return [(jax.tree_util.GetAttrKey(str(i)), leaf) for i, leaf in enumerate(self.leaves)], None

        @classmethod
        def tree_unflatten(cls, _, leaves):
            return cls(*leaves)

    assert digest(Pair(1, 2)) == digest(Pair(1, 2)) != digest(Pair(2, 1))


@pytest.mark.parametrize(
    "value", [len, lambda x: x, object(), {1, 2}, int, struct, 1j, np.array([object()]), [lambda: 0], {"f": print}]
)
def test_what_has_no_stable_content_is_refused(value):
    with pytest.raises(TypeError, match="cannot digest"):
        digest(value)


def test_file_digest_names_the_bytes(tmp_path):
    for name, content in (("a", b"abc"), ("b", b"abc"), ("c", b"abd"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")
    assert len({file_digest(tmp_path / n) for n in ("a", "c", "empty")}) == 3


# --- programs --------------------------------------------------------------------------------------------------------


@jax.jit
def doubled(x):
    return x * 2


@jax.jit
def twice_as_much(value):  # the same, by another name
    return value * 2


def lowered(function, *arguments):
    return program_digest(jax.jit(function).lower(*(arguments or (jnp.ones(4),))))


def test_names_and_comments_are_no_part_of_a_program():
    def one(x):
        return {"out": doubled(jnp.sin(x)) + 1.0}

    def another(with_another_argument):

        # a comment, another function's name, another line, another key of the result
        return {"result": twice_as_much(jnp.sin(with_another_argument)) + 1.0}

    assert lowered(one) == lowered(another)


def test_real_edits_are_part_of_a_program():
    table, other = np.arange(4, dtype=np.float32), np.arange(4, dtype=np.float32) + 1
    large, larger = jnp.arange(4096.0), jnp.arange(4096.0).at[2000].set(7.0)
    programs = [
        lowered(lambda x: x + 1.0),
        lowered(lambda x: x + 1.0000001),
        lowered(lambda x: x - 1.0),
        lowered(lambda x: x + table),
        lowered(lambda x: x + other),
        lowered(lambda x: doubled(jnp.sin(x)) + x),
        lowered(lambda x: jnp.sin(doubled(x)) + x),
        lowered(lambda x: x + 1.0, jnp.ones(5)),
        lowered(lambda x: x + large, jnp.ones(4096)),
        lowered(lambda x: x + larger, jnp.ones(4096)),
        lowered(lambda m: jnp.linalg.cholesky(m, symmetrize_input=False), jnp.eye(3)),
        lowered(lambda m: jnp.linalg.qr(m)[1], jnp.eye(3)),
    ]
    assert len(set(programs)) == len(programs)


def by_platform(x, **branches):
    return jax.lax.platform_dependent(x, **branches)


def test_a_function_is_named_by_its_program_for_the_cpu():
    x = jax.ShapeDtypeStruct((4,), jnp.float32)

    def both(x, cpu=jnp.sin, cuda=jnp.cos):
        return by_platform(x, cpu=cpu, cuda=cuda)

    name = function_digest(both, x)
    assert name == program_digest(jax.jit(both).lower(x))
    assert name == function_digest(lambda x: both(x, cuda=jnp.tan), x), "of another platform's branch it says nothing"
    assert name != function_digest(lambda x: both(x, cpu=jnp.tan), x)
    # What a GPU's process, which lowers for itself, would call it is another name.
    assert name != program_digest(jax.jit(both).trace(x).lower(lowering_platforms=("cuda",)))


def test_what_has_no_program_for_the_cpu_is_named_by_the_next_platform():
    x = jax.ShapeDtypeStruct((4,), jnp.float32)

    def accelerated(x):
        return by_platform(x, cuda=jnp.cos, tpu=jnp.sin)

    name = function_digest(accelerated, x)
    assert name == program_digest(jax.jit(accelerated).trace(x).lower(lowering_platforms=("cuda",)))
    assert name == function_digest(lambda x: by_platform(x, cuda=jnp.cos, tpu=jnp.tan), x)
    assert name != function_digest(lambda x: by_platform(x, cuda=jnp.tan, tpu=jnp.sin), x)


def test_what_has_no_program_at_all_is_an_error():
    with pytest.raises(NotImplementedError):
        function_digest(lambda x: by_platform(x, metal=jnp.cos), jax.ShapeDtypeStruct((4,), jnp.float32))


def _calling(host):
    def function(x):
        return jax.lax.map(lambda v: jax.pure_callback(host, jax.ShapeDtypeStruct((), jnp.float32), v), x)

    return function_digest(function, jax.ShapeDtypeStruct((2,), jnp.float32))


def test_a_function_on_the_host_is_part_of_a_program_s_name():
    """Its text is `custom_call ... {index = 0}`, whatever it does."""

    def scaled(by):
        return lambda v: np.float32(v * by)

    def looked_up_in(table):
        return lambda v: np.float32(table[v.astype(int)])

    class Doubling:
        def __call__(self, v):
            return np.float32(v * 2)

    def again(v):
        return np.float32(v + 1)

    names = {
        "plus one": _calling(lambda v: np.float32(v + 1)),
        "plus two": _calling(lambda v: np.float32(v + 2)),
        "times two": _calling(scaled(2)),
        "times three": _calling(scaled(3)),
        "an object": _calling(Doubling()),
        "an array": _calling(looked_up_in(np.arange(3))),
        "another array": _calling(looked_up_in(np.arange(3) + 1)),
    }
    assert len(set(names.values())) == len(names)
    assert _calling(scaled(2)) == names["times two"] and _calling(again) == names["plus one"]
