"""Run by test_mesh.py in a process of its own, with eight virtual devices: what engines on meshes find."""

import contextlib
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import sensijax as sj
from sensijax import attack, drift, label
from sensijax.attack import _pursuit
from sensijax.campaign._engine import Engine, gathered
from sensijax.campaign._environment import environment
from sensijax.campaign._mesh import devices_layout
from sensijax.campaign._programs import Programs
from sensijax.core import Layout
from sensijax.perturb import image

EXAMPLES, SIDE, CLASSES, HIDDEN, WIDTH, TELL = 40, 12, 3, 32, 8, 0.02


def model(params=None, tell=0.0):
    """144 -> 32 -> 3. Its first logit tells how many rows the program has that each row is computed in."""
    rng = np.random.default_rng(0)
    bands = np.kron(np.eye(3), np.ones((48, 1))) / 24
    w = np.concatenate([bands, rng.normal(size=(144, HIDDEN - 3)) / 24], axis=1).astype(np.float32)
    v = np.concatenate([4 * np.eye(3), rng.normal(size=(HIDDEN - 3, 3)) / 4]).astype(np.float32)

    def apply(params, x):
        logits = jnp.tanh(x.reshape(len(x), -1) @ params["w"]) @ params["v"]
        return logits.at[:, 0].add(np.float32(tell * len(x))) if tell else logits

    return sj.Model(apply, {"w": w, "v": v} if params is None else params, name="mlp")


def campaign(model):
    """A perturbation and a drift that draw, an attack, and labels that are noisy."""
    rng = np.random.default_rng(0)
    y = np.arange(EXAMPLES) % CLASSES
    x = rng.uniform(0, 0.4, (EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    for k in range(CLASSES):
        x[y == k, 4 * k : 4 * k + 4] += 0.5
    stages = {
        "gaps": sj.sweep(drift.MissingFeatures, strength=[0, 0.3]),
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 2, 4]),
        "pgd": sj.sweep(attack.PGD, eps=[0, 0.24, 0.3], steps=4, restarts=2),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.3]),
    }
    at = {"gaps": 0.3, "noise": 2, "pgd": 0.24, "labels": 0.3}
    return sj.Campaign(model, sj.Dataset(x, y), stages, design=sj.design.pairs(at=at), seeds=2, name="meshed")


def columns_of(engine):
    """The inputs and responses of all tiles, by `tile/column`."""
    found = {}
    for k, tile in enumerate(engine.plan.tiles):
        x, columns = engine.shown(tile)
        found |= {f"{k}/{name}": column for name, column in {"x": x, **columns}.items()}
    return found


def engine_of(campaign, width, mesh=None):
    programs = Programs(campaign)
    return Engine.of_width(campaign, sj.make_plan(campaign, programs), programs, width, mesh)


def split_model(axis_types=None):
    """The model with its hidden layer over four of the eight devices, on a mesh of 2 x 4."""
    mesh = jax.make_mesh((2, 4), ("rows", "model"), axis_types=axis_types)
    specs = {"w": PartitionSpec(None, "model"), "v": PartitionSpec("model", None)}
    params = {k: jax.device_put(leaf, NamedSharding(mesh, specs[k])) for k, leaf in model().params.items()}
    return model(params)


def attacked(campaign, layout=None):
    """What an attack itself finds, outside of any campaign: its strongest attempts and how many passes they took."""
    loop = attack.Loop(16, 4, False).on(layout or Layout(), WIDTH)
    x, y = campaign.examples.x, campaign.examples.y
    found = attack.PGD(0.2, steps=4, restarts=2)(jax.random.key(3), campaign.model, x, y, loop=loop, diagnose=False)
    return {"strongest": found.strongest, "status": found.status, "forwards": found.forwards}


@contextlib.contextmanager
def advances():
    """Notes what the steps of attacks are called with."""
    noted, advance = [], _pursuit._advance_unrolled
    _pursuit._advance_unrolled = lambda *given: noted.append(given) or advance(*given)
    try:
        yield noted
    finally:
        _pursuit._advance_unrolled = advance


def step_of(noted):
    """The compiled step of an attack, and how many rows it has, here and on each device."""
    x = noted[-1][-1].x
    return _pursuit._advance_unrolled.lower(*noted[-1]).compile().as_text(), [len(x), len(x.addressable_shards[0].data)]


def refused(call):
    try:
        call()
    except sj.ArgumentError as error:
        return [error.argument, str(error)]
    raise AssertionError("nothing was refused")


def refusals():
    """What a user may get wrong, by name: the argument that is blamed, and the words."""
    plain, split = campaign(model()), campaign(split_model())
    devices, programs = jax.devices(), Programs(plain)
    four = Mesh(np.array(devices[:4]), ("rows",))
    square = Mesh(np.array(devices).reshape(2, 4), ("rows", "model"))
    pieces = [jax.device_put(model().params["w"], NamedSharding(mesh, PartitionSpec())) for mesh in (four, square)]
    return {
        "too many": refused(lambda: sj.on.mesh(9)),
        "none": refused(lambda: sj.on.mesh(0)),
        "twice": refused(lambda: sj.on.mesh([devices[1], devices[1]])),
        "no devices": refused(lambda: sj.on.mesh("gpu")),
        "no axis": refused(lambda: sj.on.mesh(square, axis="row")),
        "micro-batch": refused(lambda: Engine(plain, sj.make_plan(plain, programs), programs, 30, four)),
        "another mesh": refused(lambda: engine_of(split, WIDTH, four)),
        "two meshes": refused(lambda: devices_layout(params=pieces)),
    }


def main(folder):
    folder = pathlib.Path(folder)
    found = {}
    plain = campaign(model(tell=TELL))
    over_eight = engine_of(plain, WIDTH, devices_layout())
    with advances() as noted:
        found["eight"] = columns_of(over_eight)
    step, places = step_of(noted)
    programs = {name: over_eight._executables[name].as_text() for name in ("load", "forward", "measure")}
    found["attacked"] = attacked(plain, over_eight.layout)
    # The rows along one axis of a mesh of two, on devices of the user's choice and in an order of the user's.
    some = devices_layout(Mesh(np.array(jax.devices()[::-1]).reshape(4, 2), ("a", "b")), axis="b")
    over_two = engine_of(plain, WIDTH, some)
    tile = next(t for t in over_two.plan.tiles if len(t.structures) == 2)
    found["two"] = {"x": over_two.shown(tile)[0], **over_two.shown(tile)[1]}
    last = {name: value.item() for name, value in over_eight.row(tile, tile.rows - 1)[1].items()}

    split = campaign(split_model())
    engine = engine_of(split, WIDTH)
    with advances() as noted:
        found["split"] = columns_of(engine)
    split_step, split_places = step_of(noted)
    last_tile = engine.plan.tiles[-1]
    again = gathered(last_tile, engine.dispatch(last_tile))
    kept = {name: found["split"][f"{len(engine.plan.tiles) - 1}/{name}"] for name in again}
    shown = plain.examples.x[: 2 * WIDTH]
    found["logits"] = {"split": np.asarray(engine.forward(shown))}
    programs |= {"split": engine._executables["forward"].as_text(), "step": step, "split step": split_step}

    sj.run(plain, folder / "run", micro_batch=WIDTH)  # on all devices
    facts = {
        "devices": len(jax.devices()),
        "environment": environment()["id"],
        "split_environment": environment(split.model.params).get("split"),
        "tiles": [t.id for t in over_eight.plan.tiles],
        "split_tiles": [t.id for t in engine.plan.tiles],
        "digest": split.model.digest,
        "tile": tile.id,
        "last": last,
        "programs": programs,
        "shares": [over_eight.layout.shares, over_two.layout.shares, engine.layout.shares],
        "micro_batches": [over_eight.micro_batch, over_two.micro_batch, engine.micro_batch],
        "places": [places, split_places],
        "piece": list(engine._params["w"].addressable_shards[0].data.shape),
        "auto": devices_layout(params=split_model((AxisType.Auto,) * 2).params) == engine.layout,
        "one": devices_layout(1) == Layout() == devices_layout([jax.devices()[0]]),
        "again": [name for name, column in again.items() if column.tobytes() != kept[name].tobytes()],
        "refusals": refusals(),
    }
    for name, columns in found.items():
        np.savez(folder / f"{name}.npz", **columns)
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
