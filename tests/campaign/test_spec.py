"""Specs: every fault is told at once, with its line, in words; and a sound one becomes its campaign."""

import pathlib
import textwrap

import numpy as np
import pytest

from sensijax.campaign import Campaign, design, load_spec, sweep
from sensijax.core import CampaignError
from sensijax.perturb import image

MODEL = """
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from sensijax.perturb import Perturbation

NUMBER = 3
READY = sj.Dataset(np.full((6, 12, 12, 1), 0.5, np.float32), np.arange(6) % 3, name="ready")


def load(classes=3, pixels=144):
    return sj.Model(lambda w, x: x.reshape(len(x), -1).astype(w.dtype) @ w, jnp.ones((pixels, classes)), name="linear")


def data(n=6, high=0.5, low=0.5, channels=1, last=2, shape=(12, 12), dtype="float32"):
    x = np.full((n, *shape, channels) if channels else (n, *shape), low, dtype)
    x[0] = high
    return sj.Dataset(x, np.append(np.arange(n - 1) % 3, last), name="constant")


def raises():
    weights = {}
    return weights["absent"]


def wrong():
    return "a string"


class Unsound(Perturbation):
    factor: float

    @classmethod
    def at(cls, severity):
        raise RuntimeError("no table")

    def apply(self, key, x):
        return x


class Foreign:
    @classmethod
    def at(cls, severity):
        return cls()
"""

SOUND = """\
schema = 1
[campaign]
name = "tiny"
[model]
load = "model:load"
[data]
load = "model:data"
[[stage]]
name = "noise"
kind = "gaussian_noise"
severity = [0, 1]
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def write(folder, text):
    path = folder / "campaign.toml"
    path.write_text(textwrap.dedent(text))
    return path


def faults_of(folder, text):
    """The faults of a spec as (line, path, came; right); the file's name is checked on the way."""
    path = write(folder, text)
    with pytest.raises(CampaignError) as caught:
        load_spec(path)
    found = []
    for fault in caught.value.faults:
        file, _, line = fault.location.rpartition(":")
        assert file == str(path)
        found.append((int(line), fault.path, f"{fault.came}; {fault.right}"))
    assert len({(line, where) for line, where, _ in found}) == len(found), "a fault is reported twice"
    assert [line for line, *_ in found] == sorted(line for line, *_ in found)
    return found


def only_fault(folder, old, new, text=SOUND):
    assert text.count(old) == 1
    (fault,) = faults_of(folder, text.replace(old, new))
    return fault


# --- sound ones ------------------------------------------------------------------------------------------------------


def test_a_sound_spec_becomes_its_campaign(folder):
    spec = load_spec(
        write(
            folder,
            SOUND
            + """\
        [[stage]]
        name = "fog"
        kind = "fog"
        severity = { linspace = [0, 5, 11] }
        size = 32
        [[stage]]
        name = "std"
        kind = "gaussian_noise"
        std = [0.0, 0.1]
        [[stage]]
        name = "blurred-jpeg"
        chain = ["gaussian_blur", "jpeg"]
        severity = [0, 2]
        size = 32
        [design]
        kind = "pairs"
        at = { noise = 1, fog = 2.25, std = 0.1, blurred-jpeg = 2 }
        [run]
        out = "elsewhere"
        micro_batch = 16
        """,
        )
    )
    campaign = spec.campaign
    assert list(campaign.stages) == ["noise", "fog", "std", "blurred-jpeg"]
    assert campaign.stages["fog"].values == tuple(np.linspace(0, 5, 11))
    assert campaign.stages["fog"].options == {"size": 32} and campaign.stages["std"].axis == "std"
    assert campaign.stages["blurred-jpeg"].kind == "GaussianBlur>>JPEG"
    assert campaign.scenarios[-1].name == "std@0.1+blurred-jpeg@2"
    assert (spec.out, spec.micro_batch) == (folder / "elsewhere", 16)


def test_what_is_left_out_has_its_default(folder):
    spec = load_spec(write(folder, SOUND.replace('[campaign]\nname = "tiny"\n', "")))
    campaign = spec.campaign
    assert (campaign.name, campaign.seeds, campaign.tolerance, campaign.design) == (
        "campaign",
        (0,),
        0.05,
        design.isolated(),
    )
    assert (spec.out, spec.micro_batch) == (folder / "runs" / "campaign", None)
    assert [s.name for s in campaign.scenarios] == ["clean", "noise@1"]


def test_a_spec_names_the_same_campaign_as_python_does(folder):
    from_spec = load_spec(write(folder, SOUND)).campaign
    by_hand = Campaign(from_spec.model, from_spec.data, {"noise": sweep(image.GaussianNoise, severity=[0, 1])})
    assert [by_hand.settings_digest(s) for s in by_hand.scenarios] == [
        from_spec.settings_digest(s) for s in from_spec.scenarios
    ]


def test_arguments_limits_and_values_that_are_no_functions(folder):
    text = SOUND.replace('"model:load"', '"model:load"\nargs = { classes = 4 }').replace(
        '"model:data"', '"model:READY"\nlimit = 4'
    )
    campaign = load_spec(write(folder, text)).campaign
    assert (
        campaign.model.params.shape == (144, 4)
        and campaign.data.name == "ready"
        and campaign.data.ids.tolist() == [0, 1, 2, 3]
    )


def test_dotted_keys_and_inline_tables_are_toml_too(folder):
    text = (
        'schema = 1\ncampaign.tolerance = 3\nmodel = { load = "model:load" }\ndata.load = "model:data"\n'
        + SOUND[SOUND.index("[[stage]]") :]
    )
    assert [(line, path) for line, path, _ in faults_of(folder, text)] == [(2, "campaign.tolerance")]
    assert load_spec(write(folder, text.replace("tolerance = 3", "tolerance = 0.1"))).campaign.tolerance == 0.1


def test_a_module_of_the_same_name_beside_another_spec_is_not_mistaken_for_this_one(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "model.py").write_text(MODEL)
    (tmp_path / "b" / "model.py").write_text(MODEL.replace('name="linear"', 'name="other"'))
    assert load_spec(write(tmp_path / "a", SOUND)).campaign.model.name == "linear"
    assert load_spec(write(tmp_path / "b", SOUND)).campaign.model.name == "other"
    assert [path for _, path, _ in faults_of(tmp_path / "c", SOUND)] == ["model.load", "data.load"]
    assert load_spec(write(tmp_path / "a", SOUND)).campaign.model.name == "linear"


# --- everything at once ----------------------------------------------------------------------------------------------


def test_every_fault_of_a_bad_spec_is_told_at_once_with_its_line(folder):
    found = faults_of(
        folder,
        """\
        schema = 2
        oops = 1
        [campaign]
        name = ""
        seed = 3
        seeds = 0
        tolerance = 2
        [model]
        load = "model:laod"
        [data]
        load = "model:raises"
        limit = 0
        [design]
        kind = "pairs"
        at = 9
        [run]
        micro_bacth = 3
        [[stage]]
        name = "noise"
        kind = "gausian_noise"
        severity = [0, 1]
        [[stage]]
        name = "fog"
        kind = "fog"
        severity = [0, nan, -1, 7, inf]
        [[stage]]
        name = "blur"
        kind = "gaussian_blur"
        chain = ["fog", "jpeg"]
        [[stage]]
        name = "bright"
        kind = "brightness"
        severity = [1, 2]
        size = 31
        [[stage]]
        name = "contrast"
        kind = "contrast"
        severity = [0, 2, 2]
        sise = 32
        [[stage]]
        name = "contrast"
        kind = "contrast"
        severity = [0, 2]
        [[stage]]
        kind = "contrast"
        severity = [0, "one"]
        """,
    )
    assert [(line, path) for line, path, _ in found] == [
        (1, "schema"),
        (2, "oops"),
        (4, "campaign.name"),
        (5, "campaign.seed"),
        (6, "campaign.seeds"),
        (7, "campaign.tolerance"),
        (9, "model.load"),
        (11, "data.load"),
        (12, "data.limit"),
        (15, "design.at"),
        (17, "run.micro_bacth"),
        (20, "stage.noise.kind"),
        (25, "stage.fog.severity[1]"),
        (25, "stage.fog.severity[2]"),
        (25, "stage.fog.severity[3]"),
        (25, "stage.fog.severity[4]"),
        (26, "stage.blur"),
        (34, "stage.bright.size"),
        (38, "stage.contrast.severity"),
        (39, "stage.contrast.sise"),
        (41, "stage.contrast.name"),
        (44, "stage[6].name"),
        (46, "stage[6].severity"),
    ]
    words = {path: text for _, path, text in found}
    assert words["campaign.seed"] == "an unknown key; did you mean 'seeds'?"
    assert words["model.load"] == "'model:laod'; a name in model; did you mean 'load'?"
    assert words["run.micro_bacth"].endswith("did you mean 'micro_batch'?")
    assert words["stage.noise.kind"].startswith("'gausian_noise'; did you mean 'gaussian_noise'?")
    assert words["stage.contrast.sise"].endswith("did you mean 'size'?")


def test_a_bad_stage_does_not_hide_faults_of_the_data_or_the_model(folder):
    text = (
        SOUND.replace("[0, 1]", "[0, 1, 9]").replace('"model:data"', '"model:data"\nargs = { low = -1.0, last = 7 }')
        + """\
        [[stage]]
        name = "colour"
        kind = "saturate"
        severity = [0, 1]
        """
    )
    assert [path for _, path, _ in faults_of(folder, text)] == [
        "data.x",
        "data.y",
        "stage.noise.severity[2]",
        "stage.colour",
    ]


# --- one by one ------------------------------------------------------------------------------------------------------

STAGE = 'kind = "gaussian_noise"\nseverity = [0, 1]'
BY_THEMSELVES = {
    # keys and types
    "schema missing": ("schema = 1\n", "", 1, "schema", "missing; schema = 1 on the first line"),
    "schema 2": ("schema = 1", "schema = 2", 1, "schema", "2; 1, the only one"),
    "schema text": ("schema = 1", 'schema = "1"', 1, "schema", "'1'; 1"),
    "unknown top": ("schema = 1", "schema = 1\nstages = 3", 2, "stages", "did you mean 'stage'?"),
    "unknown campaign": (
        'name = "tiny"',
        'tolerence = 0.1\nname = "tiny"',
        3,
        "campaign.tolerence",
        "did you mean 'tolerance'?",
    ),
    "unknown model": ("[data]", "arg = 1\n[data]", 6, "model.arg", "did you mean 'args'?"),
    "unknown data": ("[[stage]]", "limits = 1\n[[stage]]", 8, "data.limits", "did you mean 'limit'?"),
    "unknown run": ("[[stage]]", '[run]\noutt = "x"\n[[stage]]', 9, "run.outt", "did you mean 'out'?"),
    "unknown stage": (STAGE, f"{STAGE}\nseverities = [0]", 12, "stage.noise.severities", "did you mean 'severity'?"),
    "unknown design": (
        "[[stage]]",
        '[design]\nkind = "isolated"\nat = 3\n[[stage]]',
        10,
        "design.at",
        "an unknown key; known: kind",
    ),
    "campaign no table": ('[campaign]\nname = "tiny"', "campaign = 3", 2, "campaign", "3; a table: [campaign]"),
    "run no table": ("schema = 1", "schema = 1\nrun = 3", 2, "run", "3; a table: [run]"),
    "name empty": ('"tiny"', '""', 3, "campaign.name", "''; a non-empty name"),
    "name number": ('"tiny"', "3", 3, "campaign.name", "3; a non-empty name"),
    "seeds 0": ('"tiny"', '"tiny"\nseeds = 0', 4, "campaign.seeds", "0; at least 1"),
    "seeds negative": (
        '"tiny"',
        '"tiny"\nseeds = [0, -1]',
        4,
        "campaign.seeds",
        "[0, -1]; a number of seeds, or distinct integers",
    ),
    "seeds twice": ('"tiny"', '"tiny"\nseeds = [1, 1]', 4, "campaign.seeds", "[1, 1]; at least one seed, none twice"),
    "seeds none": ('"tiny"', '"tiny"\nseeds = []', 4, "campaign.seeds", "[]; at least one seed"),
    "seeds fraction": ('"tiny"', '"tiny"\nseeds = [1.5]', 4, "campaign.seeds", "[1.5]; a number of seeds"),
    "seeds text": ('"tiny"', '"tiny"\nseeds = "3"', 4, "campaign.seeds", "'3'; a number of seeds"),
    "seeds bool": ('"tiny"', '"tiny"\nseeds = true', 4, "campaign.seeds", "True; a number of seeds"),
    "tolerance 2": ('"tiny"', '"tiny"\ntolerance = 2', 4, "campaign.tolerance", "2; a fraction in (0, 1)"),
    "tolerance nan": ('"tiny"', '"tiny"\ntolerance = nan', 4, "campaign.tolerance", "nan; a fraction in (0, 1)"),
    "tolerance text": ('"tiny"', '"tiny"\ntolerance = "0.1"', 4, "campaign.tolerance", "'0.1'; a fraction in (0, 1)"),
    "out number": ("[[stage]]", "[run]\nout = 3\n[[stage]]", 9, "run.out", "3; a string"),
    "micro-batch 0": ("[[stage]]", "[run]\nmicro_batch = 0\n[[stage]]", 9, "run.micro_batch", "0; at least 1"),
    # model and data
    "no module": ("model:load", "nosuch:load", 5, "model.load", "there is no nosuch.py in"),
    "no colon": ("model:load", "model", 5, "model.load", "'model'; module:name"),
    "no attribute": ("model:load", "model:lod", 5, "model.load", "did you mean 'load'?"),
    "load missing": ('load = "model:load"\n', "", 4, "model.load", 'missing; "module:function"'),
    "load number": ('"model:load"', "3", 5, "model.load", "3; a string"),
    "model missing": ('[model]\nload = "model:load"\n', "", 1, "model", "missing; a table [model]"),
    "args no table": ('"model:load"', '"model:load"\nargs = 3', 6, "model.args", "3; a table: [model.args]"),
    "args unknown": (
        '"model:load"',
        '"model:load"\nargs = { size = 3 }',
        5,
        "model.load",
        "unexpected keyword argument 'size'",
    ),
    "load raises": (
        "model:data",
        "model:raises",
        7,
        "data.load",
        "model:raises fails: KeyError: 'absent' (model.py, line 24); a function",
    ),
    "load is a number": (
        "model:data",
        "model:NUMBER",
        7,
        "data.load",
        "model:NUMBER is of type int; a function that returns a sensijax.Dataset",
    ),
    "wrong type": (
        "model:data",
        "model:wrong",
        7,
        "data.load",
        "model:wrong returns a str; a function that returns a sensijax.Dataset",
    ),
    "swapped": ("model:data", "model:load", 7, "data.load", "model:load returns a Model"),
    "no examples": ('"model:data"', '"model:data"\nargs = { n = 0 }', 7, "data.load", "model:data fails"),
    "limit 0": ('"model:data"', '"model:data"\nlimit = 0', 8, "data.limit", "0; at least 1"),
    "limit bool": ('"model:data"', '"model:data"\nlimit = true', 8, "data.limit", "True; an integer"),
    "bytes": (
        '"model:data"',
        '"model:data"\nargs = { high = 255.0 }',
        7,
        "data.x",
        "values from 0.5 to 255; stage 'noise' works on image values in [0, 1]; bytes? divide by 255",
    ),
    "negative": ('"model:data"', '"model:data"\nargs = { low = -0.5 }', 7, "data.x", "values from -0.5 to 0.5"),
    "integers": (
        '"model:data"',
        '"model:data"\nargs = { dtype = "uint8", high = 200 }',
        7,
        "data.x",
        "examples uint8[12, 12, 1]; float32 in [0, 1]",
    ),
    "no channels": (
        '"model:data"',
        '"model:data"\nargs = { channels = 0 }',
        7,
        "data.x",
        "examples float32[12, 12]; one image [H, W, C]; add a channel axis",
    ),
    "label": (
        '"model:data"',
        '"model:data"\nargs = { last = 3 }',
        7,
        "data.y",
        "labels from 0 to 3; in [0, 3): the model has 3 classes",
    ),
    "negative label": ('"model:data"', '"model:data"\nargs = { last = -1 }', 7, "data.y", "labels from -1 to 2"),
    "shapes": (
        '"model:load"',
        '"model:load"\nargs = { pixels = 100 }',
        5,
        "model",
        "'linear' fails on a batch float32[2, 12, 12, 1]",
    ),
    "one class": (
        '"model:load"',
        '"model:load"\nargs = { classes = 1 }',
        5,
        "model",
        "outputs of shape [B, 1]; logits [B, K] with K >= 2",
    ),
    # stages
    "no stages": (SOUND[SOUND.index("[[stage]]") :], "", 1, "stage", "missing; at least one [[stage]]"),
    "single brackets": ("[[stage]]", "[stage]", 8, "stage", "in double brackets"),
    "empty list": (SOUND, "stage = []\n" + SOUND[: SOUND.index("[[stage]]")], 1, "stage", "[]; at least one [[stage]]"),
    "stage without name": ('name = "noise"\n', "", 8, "stage[0].name", "missing; a name of its own"),
    "name of the baseline": ('"noise"', '"clean"', 8, "stage.clean", "'clean' is taken"),
    "name with a space": ('"noise"', '"my noise"', 8, "stage.my noise", "a name of letters, digits"),
    "name with an at": ('"noise"', '"noise@3"', 8, "stage.noise@3", "a name of letters, digits"),
    "unknown kind": (
        '"gaussian_noise"',
        '"fogg"',
        10,
        "stage.noise.kind",
        "'fogg'; did you mean 'fog'? (or module:Class for your own)",
    ),
    "kind empty": ('"gaussian_noise"', '""', 10, "stage.noise.kind", "''; known: aperture_blur"),
    "kind number": ('"gaussian_noise"', "3", 10, "stage.noise.kind", "3; a string"),
    "own kind absent": ('"gaussian_noise"', '"model:Unsond"', 10, "stage.noise.kind", "did you mean 'Unsound'?"),
    "own kind no class": (
        '"gaussian_noise"',
        '"model:NUMBER"',
        10,
        "stage.noise.kind",
        "model:NUMBER is of type int; a class of perturbation",
    ),
    "own kind fails": (
        '"gaussian_noise"',
        '"model:Unsound"',
        8,
        "stage.noise",
        "Unsound fails: RuntimeError: no table",
    ),
    "own kind foreign": (
        '"gaussian_noise"',
        '"model:Foreign"',
        8,
        "stage.noise",
        "a class derived from sensijax.perturb.Perturbation",
    ),
    "neither": ('kind = "gaussian_noise"\n', "", 8, "stage.noise", "neither kind nor chain; exactly one"),
    "both": (STAGE, f'{STAGE}\nchain = ["fog", "jpeg"]', 8, "stage.noise", "both kind and chain; exactly one"),
    "chain of one": ('kind = "gaussian_noise"', 'chain = ["fog"]', 10, "stage.noise.chain", "['fog']; at least 2"),
    "chain unknown": (
        'kind = "gaussian_noise"',
        'chain = ["fog", "jpg"]',
        10,
        "stage.noise.chain",
        "'jpg'; did you mean 'jpeg'?",
    ),
    "chain text": ('kind = "gaussian_noise"', 'chain = "fog"', 10, "stage.noise.chain", "'fog'; a list"),
    "no severity": ("severity = [0, 1]\n", "", 8, "stage.noise", "nothing to sweep; exactly one list"),
    "one severity": ("[0, 1]", "1", 8, "stage.noise", "nothing to sweep; exactly one list"),
    "two axes": (
        "[0, 1]",
        "[0, 1]\nstd = [0, 0.1]",
        8,
        "stage.noise",
        "2 lists to sweep: severity, std; exactly one list",
    ),
    "no value": ("[0, 1]", "[]", 11, "stage.noise.severity", "no value"),
    "text": ("[0, 1]", '["0", "1"]', 11, "stage.noise.severity", "['0', '1']; numbers"),
    "mixed": ("[0, 1]", '[0, "1"]', 11, "stage.noise.severity", "[0, '1']; numbers"),
    "bools": ("[0, 1]", "[false, true]", 11, "stage.noise.severity", "numbers"),
    "ragged": ("[0, 1]", "[[0], [1, 2]]", 11, "stage.noise.severity", "[[0], [1, 2]]; a list of numbers, or"),
    "nested": ("[0, 1]", "[[0, 1]]", 11, "stage.noise.severity", "[[0, 1]]; a list of numbers, or"),
    "nan": ("[0, 1]", "[0, nan]", 11, "stage.noise.severity[1]", "nan; a finite number, 0 or more"),
    "infinite": ("[0, 1]", "[0, inf]", 11, "stage.noise.severity[1]", "inf; a finite number"),
    "negative severity": ("[0, 1]", "[0, -1]", 11, "stage.noise.severity[1]", "-1; a finite number, 0 or more"),
    "above the scale": ("[0, 1]", "[0, 5.5]", 11, "stage.noise.severity[1]", "5.5; a severity lies in [0, 5]"),
    "on several lines": ("[0, 1]", "[\n  0,\n  7,\n]", 11, "stage.noise.severity[1]", "7; a severity lies in [0, 5]"),
    "twice": ("[0, 1]", "[0, 1, 1]", 11, "stage.noise.severity", "1 more than once; every setting once"),
    "no zero": (
        "[0, 1]",
        "[1, 2]",
        11,
        "stage.noise.severity",
        "no clean baseline; add the setting of no perturbation",
    ),
    "wrong size": (
        "[0, 1]",
        "[0, 1, 2]\nsize = 31",
        12,
        "stage.noise.size",
        "31; one of the published scales: 32, 224",
    ),
    "size text": ("[0, 1]", '[0, 1, 2]\nsize = "32"', 12, "stage.noise.size", "one of the published scales"),
    "fixed parameter beside severity": (
        "[0, 1]",
        "[0, 1]\nstd = 0.5",
        12,
        "stage.noise.std",
        "an unknown option; known: size",
    ),
    "grey": ('"gaussian_noise"', '"saturate"', 8, "stage.noise", "Saturate on examples float32[12, 12, 1]; 3 channels"),
    **{
        f"linspace {form}": (
            "[0, 1]",
            form,
            11,
            "stage.noise.severity",
            "a list of numbers, or {linspace = [start, stop, count]}",
        )
        for form in (
            "{ linspace = [0, 5] }",
            "{ linspace = [0, 5, 1.5] }",
            '{ linspace = [0, "a", 3] }',
            "{ linspace = [0, 5, 0] }",
            "{ linspace = 3 }",
            "{ arange = [0, 5, 1] }",
            "{ linspace = [0, 5, true] }",
            "{}",
        )
    },
    # designs
    **{
        f"design {form}": ("[[stage]]", f"[design]\n{form}\n[[stage]]", line, path, words)
        for form, line, path, words in (
            ('kind = "pair"', 9, "design.kind", "'pair'; did you mean 'pairs'?"),
            ("at = 3", 8, "design.kind", "missing; known: fractional, full_factorial, isolated, pairs, sample, staged"),
            ("kind = 3", 9, "design.kind", "'3'; known: fractional, full_factorial"),
            ('kind = "pairs"', 8, "design.at", "missing; the setting of both members of a pair"),
            ('kind = "pairs"\nat = 9', 10, "design.at", "9 for noise; a severity lies in [0, 5]"),
            ('kind = "pairs"\nat = nan', 10, "design.at", "nan for noise; a severity lies in [0, 5]"),
            ('kind = "pairs"\nat = "3"', 10, "design.at", "'3'; a number, or one for each stage by name"),
            ('kind = "pairs"\nat = [3]', 10, "design.at", "[3]; a number, or one for each stage by name"),
            ('kind = "pairs"\nat = { nose = 3 }', 10, "design.at", "no setting for noise"),
            ('kind = "pairs"\nat = { noise = 3, fog = 3 }', 10, "design.at", "a setting for 'fog', which is no stage"),
            ('kind = "pairs"\nat = { noise = "3" }', 10, "design.at", "'3'; a number"),
            ('kind = "pairs"\nat = 3\nn = 8', 11, "design.n", "an unknown key; known: among, at, kind"),
            ('kind = "sample"', 8, "design.n", "missing; the number of points, a power of two"),
            ('kind = "sample"\nn = 6', 10, "design.n", "6; a power of two"),
            ('kind = "sample"\nn = 0', 10, "design.n", "0; a power of two"),
            ('kind = "sample"\nn = 8.0', 10, "design.n", "8.0; an integer"),
            ('kind = "sample"\nn = 1073741824', 10, "design.n", "at most 524,288 points"),
            ('kind = "sample"\nn = 8\nseed = -1', 11, "design.seed", "-1; an integer, 0 or more"),
            ('kind = "full_factorial"\nlimit = 1', 10, "design.limit", "1 for 2 combinations"),
        )
    },
    "design no table": ("schema = 1", 'schema = 1\ndesign = "pairs"', 2, "design", "'pairs'; a table: [design]"),
}


@pytest.mark.parametrize("case", BY_THEMSELVES)
def test_each_fault_is_told_once_on_its_line_in_words(folder, case):
    old, new, line, path, words = BY_THEMSELVES[case]
    found_line, found_path, text = only_fault(folder, old, new)
    assert (found_line, found_path) == (line, path), text
    assert words in text
    assert "Traceback" not in text and "_Table" not in text and "pydantic" not in text and "\n" not in text


def test_one_fault_of_the_data_is_told_once_for_all_stages(folder):
    text = (
        SOUND.replace('"model:data"', '"model:data"\nargs = { channels = 0 }')
        + '[[stage]]\nname = "fog"\nkind = "fog"\nseverity = [0, 1]\n'
    )
    ((_, path, words),) = faults_of(folder, text)
    assert path == "data.x" and "(stages noise, fog)" in words


def test_one_setting_above_several_scales_is_told_once(folder):
    text = SOUND + '[[stage]]\nname = "fog"\nkind = "fog"\nseverity = [0, 1]\n[design]\nkind = "pairs"\nat = 6\n'
    ((line, path, words),) = faults_of(folder, text)
    assert (line, path) == (18, "design.at") and words.startswith("6 for noise, fog;")


def test_stage_names_that_begin_alike_keep_their_lines(folder):
    text = SOUND + '[[stage]]\nname = "noise.two"\nkind = "gaussian_noise"\nseverity = [0, 9]\n'
    ((line, path, _),) = faults_of(folder, text)
    assert (line, path) == (15, "stage.noise.two.severity[1]")


# --- files -----------------------------------------------------------------------------------------------------------


def test_an_empty_file_says_what_a_spec_needs(folder):
    assert [path for _, path, _ in faults_of(folder, "")] == ["schema", "model", "data", "stage"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"schema = 1\nname = [1,\n", "valid TOML"),
        (b"schema = 1\n[campaign\n", ":2: syntax"),
        (b"schema = 1\nschema = 1\n", ":2: syntax"),
        (b"schema = \xff\n", "valid TOML"),
    ],
)
def test_invalid_toml_is_told_with_its_line(tmp_path, content, words):
    path = tmp_path / "campaign.toml"
    path.write_bytes(content)
    with pytest.raises(CampaignError) as caught:
        load_spec(path)
    (fault,) = caught.value.faults
    assert words in str(fault) and str(path) in str(fault)


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path, name):
    with pytest.raises(CampaignError) as caught:
        load_spec(tmp_path / name)
    (fault,) = caught.value.faults
    assert "sensijax init" in str(fault) and str(tmp_path) in str(fault)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sensijax as sj\nload = data = lambda: (\n", "it fails: SyntaxError"),
        ("import nosuchpackage\n", "model needs nosuchpackage, which is not installed"),
        ("\n\n1 / 0\n", "it fails: ZeroDivisionError: division by zero (model.py, line 3)"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(tmp_path, source, words):
    (tmp_path / "model.py").write_text(source)
    for line, path, text in faults_of(tmp_path, SOUND):
        assert (line, path) in ((5, "model.load"), (7, "data.load")) and words in text


def test_specs_may_be_written_in_any_language(folder):
    spec = load_spec(write(folder, SOUND.replace('"tiny"', '"Übermäßig"')))
    assert spec.campaign.name == "Übermäßig" and isinstance(spec.path, pathlib.Path)
