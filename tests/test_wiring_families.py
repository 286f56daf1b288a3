"""One suite for every family of wirings."""

import copy
import hashlib
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import numpy as np
import pytest

from elegans.errors import InputError, WiringError
from elegans.wiring import (
    NCP,
    AutoNCP,
    BinomialNCP,
    FullyConnected,
    HeavyTailed,
    Layered,
    Overgrown,
    Random,
    Recipe,
    Wiring,
)


@dataclass(frozen=True)
class Family:
    recipe: Recipe
    seed: str  # the name of its seed
    sizes: dict  # of the layers, in the wiring's order
    digest: str  # of the wiring for 7 inputs
    counts: tuple | None = None  # synapses and sensory synapses, where they do not vary
    reaches_all: bool = True  # every neuron gets a synapse


NCP_SIZES = {"motor": 3, "command": 8, "inter": 12}
FAMILIES = [
    Family(
        NCP(
            12, 8, 3, sensory_fanout=4, inter_fanout=3, recurrent_command_synapses=6, motor_fanin=4
        ),
        "seed",
        NCP_SIZES,
        "1646411531d2a503",
    ),
    Family(AutoNCP(23, 3), "seed", {"motor": 3, "command": 8, "inter": 12}, "506edcd91d49a572"),
    Family(
        AutoNCP(6, 1, sparsity_level=1.0),
        "seed",
        {"motor": 1, "command": 2, "inter": 3},
        "cd7dd6efaae15d21",
    ),
    Family(BinomialNCP(12, 8, 3), "seed", NCP_SIZES, "00bbbb38c207281f"),
    Family(BinomialNCP(12, 8, 3, p1=0.02, p4=0.0), "seed", NCP_SIZES, "e6912a6d59eef385"),
    Family(
        FullyConnected(9, 2),
        "erev_init_seed",
        {"motor": 2, "inter": 7},
        "3bf749e75ae8d5ca",
        (81, 63),
    ),
    Family(
        FullyConnected(5, self_connections=False),
        "erev_init_seed",
        {"motor": 5},
        "7ef301f3056ad70a",
        (20, 35),
    ),
    Family(
        Random(20, 4, sparsity_level=0.9),
        "random_seed",
        {"motor": 4, "inter": 16},
        "262529a8fe7beecd",
        (40, 14),
        reaches_all=False,
    ),
    Family(
        Layered(
            layers={"first": 10, "second": 6, "motor": 2},
            density={
                ("sensory", "first"): 0.5,
                ("first", "second"): 0.25,
                ("second", "second"): 0.5,
                ("second", "motor"): 0.75,
            },
        ),
        "seed",
        {"motor": 2, "second": 6, "first": 10},
        "91b9c77b88799865",
    ),
    Family(
        HeavyTailed(40, 4, 120), "seed", {"motor": 4, "inter": 36}, "807c0213d5eb444c", (120, 7)
    ),
    Family(
        HeavyTailed(9, 9, 50, self_synapses=True), "seed", {"motor": 9}, "97b4fa4332ab1c12", (50, 7)
    ),
    Family(
        HeavyTailed(80, 4, 30, receptors=0.5),
        "seed",
        {"motor": 4, "inter": 76},
        "62cc0ac79c07c9f5",
        (30, 38),
        reaches_all=False,
    ),
    Family(Overgrown(AutoNCP(23, 3), 2.0), "seed", NCP_SIZES, "5bad9425cf64dcb9"),
]


@pytest.fixture(params=FAMILIES, ids=lambda f: repr(f.recipe)[:40])
def family(request):
    return request.param


def digest(wiring):
    content = hashlib.sha256(repr(list(wiring.layers.items())).encode())
    for synapses in (wiring.recurrent, wiring.sensory):
        for column in (synapses.source, synapses.target, synapses.polarity):
            content.update(column.astype("<i8").tobytes())
    return content.hexdigest()[:16]


def test_the_same_recipe_draws_the_same_wiring(family):
    wiring = family.recipe.build(7)
    assert isinstance(wiring, Wiring)
    assert family.recipe.build(7) == wiring
    assert copy.deepcopy(family.recipe).build(7) == wiring


def test_the_wiring_is_the_same_on_every_platform(family):
    assert digest(family.recipe.build(7)) == family.digest


def test_building_changes_nothing_in_the_recipe(family):
    before = {field.name: copy.deepcopy(getattr(family.recipe, field.name))
              for field in fields(family.recipe)}  # fmt: skip
    family.recipe.build(3)
    family.recipe.build(7)
    assert before == {name: getattr(family.recipe, name) for name in before}
    state = np.random.get_state()[1].copy()
    family.recipe.build(7)
    assert (np.random.get_state()[1] == state).all()


def test_other_seeds_draw_other_wirings(family):
    wirings = {replace(family.recipe, **{family.seed: seed}).build(7) for seed in range(6)}
    assert len(wirings) == 6


def test_sizes_do_not_depend_on_the_input_and_motor_neurons_come_first(family):
    for input_size in (1, 7):
        wiring = family.recipe.build(input_size)
        assert wiring.input_size == input_size
        assert list(wiring.layers.items()) == list(family.sizes.items())
        assert wiring.units == family.recipe.units == sum(family.sizes.values())
        assert wiring.output_size == family.recipe.output_size == family.sizes["motor"]
        assert wiring.layer_range("motor") == range(family.sizes["motor"])


def test_counts_and_no_parallel_synapses(family):
    wiring = family.recipe.build(7)
    assert wiring.synapse_count > 0
    assert wiring.sensory_synapse_count > 0
    assert not wiring.recurrent.has_parallel
    assert not wiring.sensory.has_parallel
    if family.counts is not None:
        assert (wiring.synapse_count, wiring.sensory_synapse_count) == family.counts


def test_every_neuron_is_reached(family):
    lonely = {
        seed: np.flatnonzero(
            replace(family.recipe, **{family.seed: seed}).build(7).in_degree() == 0
        )
        for seed in range(10)
    }
    assert family.reaches_all == all(len(neurons) == 0 for neurons in lonely.values()), lonely


def test_recipes_are_values(family):
    recipe = family.recipe
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.build(7) == recipe.build(7)
    other = replace(recipe, **{family.seed: 5})
    assert other != recipe
    assert recipe != "recipe"
    with pytest.raises(FrozenInstanceError):
        setattr(recipe, family.seed, 5)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", None])
def test_seeds_are_checked_on_construction(family, seed):
    with pytest.raises(WiringError, match=f"{family.seed} must be an integer .*, got {seed!r}"):
        replace(family.recipe, **{family.seed: seed})


@pytest.mark.parametrize("input_size", [0, -3, 2.0, None])
def test_input_size_is_checked(family, input_size):
    with pytest.raises(WiringError, match=f"input_size must be .* at least 1, got {input_size!r}"):
        family.recipe.build(input_size)


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (NCP, (0, 4, 1, 1, 1, 1, 1), "inter_neurons must be an integer of at least 1, got 0"),
        (NCP, (6, 4, 1, 7, 1, 1, 1), "sensory_fanout must be an integer from 1 to the 6 inter"),
        (NCP, (6, 4, 1, 2, 0, 1, 1), "inter_fanout .* got 0; lower inter_fanout or enlarge the"),
        (NCP, (6, 4, 1, 2, 2, 1, 1.5), "motor_fanin must be an integer .* got 1.5"),
        (
            NCP,
            (6, 4, 1, 2, 2, -1, 1),
            "recurrent_command_synapses must be an integer of at least 0, got -1",
        ),
        (NCP, (6, 4, 1, 2, 2, 1, 1, 2**32), "seed must be an integer from 0 to 4294967295"),
        (AutoNCP, (6, 4), "less than units - 2, got 4 outputs of 6 units; take at least 7 units"),
        (AutoNCP, (6, 1, 0.05), "sparsity_level must be a number from 0.1 to 1, got 0.05"),
        (AutoNCP, (12, 2, "x"), "must be a number from 0.1 to 1, got 'x'; 50 % is written as 0.5"),
        (BinomialNCP, (6, 4, 1, 1.5), "p1 must be a number from 0 to 1, got 1.5; 50 % is"),
        (BinomialNCP, (3, 3, 1, "a"), "p1 must be a number from 0 to 1, got 'a'"),
        (BinomialNCP, (6, 4, 1, 0.5, float("nan")), "p2 must be a number .* got nan"),
        (FullyConnected, (3, 4), "output_dim must be at most units, got 4 outputs of 3 units"),
        (FullyConnected, (3, 0), "output_dim must be an integer of at least 1"),
        (Random, (3, 1, 1.0), "sparsity_level must be less than 1, got 1, which leaves no"),
        (Random, (3, 1, None), "sparsity_level must be a number from 0 to 1, got None"),
        (HeavyTailed, (3, 4, 2), "output_size must be at most units, got 4 outputs of 3 units"),
        (HeavyTailed, (3, 1, 7), "from 1 to 6, the number of pairs of 3 neurons, got 7; take few"),
        (HeavyTailed, (1, 1, 1), "from 1 to 0, the number of pairs of 1 neurons, got 1"),
        (HeavyTailed, (3, 1, 2.0), "synapses must be an integer from 1 to 6, .* got 2.0"),
        (HeavyTailed, (3, 1, True), "synapses must be an integer from 1 to 6, .* got True"),
        (HeavyTailed, (3, 1, 2, 2.5), "degree_spread must be a number from 0 to 2, got 2.5; it is"),
        (HeavyTailed, (3, 1, 2, "1"), "degree_spread must be a number from 0 to 2, got '1'"),
        (HeavyTailed, (3, 1, 2, 1.0, 70), "excitatory must be a number from 0 to 1, got 70"),
        (HeavyTailed, (3, 1, 2, 1.0, 0.7, -1), "receptors must be a number from 0 to 1, got -1"),
        (Layered, ({"motor": 1, "inter": 2}, {}), "layers must end with 'motor'"),
        (Layered, ({"inter": 2, "motor": 1}, {("a", "motor"): 1}), "from 'a' to 'motor'; sources"),
        (Layered, ({"inter": 2, "motor": 1}, {("inter", "sensory"): 1}), "targets are"),
        (Layered, ({"motor": 1}, {("sensory", "motor"): 2}), "density from 'sensory' to 'motor'"),
        (Layered, ({"motor": 1}, {("sensory", "motor"): "x"}), "must be a number from 0 to 1"),
        (
            Layered,
            ({"motor": 1}, {"motor": 1}),
            r"for 'motor', expected a pair .* \('sensory', 'mot",
        ),
        (Layered, ({"motor": 1}, {(1, 2, 3): 1}), r"given for \(1, 2, 3\), expected a pair"),
        (
            Layered,
            ({"motor": 1}, [("sensory", "motor")]),
            "density must be a dictionary .* got list",
        ),
        (
            Layered,
            ([("motor", 1)], {}),
            r"layers must be a dictionary .* got list; dict\(...\) makes",
        ),
        (
            Layered,
            ({"first": 5, "motor": 2}, {("sensory", "first"): 0.5}),
            r"layer 'motor' gets no input, .* add one, such as \('first', 'motor'\): 0.5, or leave",
        ),
    ],
)
def test_arguments_are_checked_on_construction(family, arguments, message):
    with pytest.raises(WiringError, match=message):
        family(*arguments)


@pytest.mark.parametrize("factor", [1, 1.5, 2.0, 5, float("inf")])
@pytest.mark.parametrize(
    "recipe", [AutoNCP(23, 3), Random(9, 2, 0.8), FullyConnected(5, self_connections=False)]
)
def test_what_is_overgrown_holds_the_budget_and_no_other_blocks(recipe, factor):
    before, after = recipe.build(7), Overgrown(recipe, factor, excitatory=1.0, seed=4).build(7)
    for kind in ("recurrent", "sensory"):
        rows, more = set(getattr(before, kind)), set(getattr(after, kind))
        assert rows <= more
        assert all(p == 1 and (kind == "sensory" or j != i) for j, i, p in more - rows)

        def layers(row, kind=kind):
            own = "sensory" if kind == "sensory" else before.layer_of[row[0]]
            return own, before.layer_of[row[1]]

        assert {layers(row) for row in more} == {layers(row) for row in rows}
        for block in {layers(row) for row in rows}:
            source, target = (len(before.layer_range(str(name))) for name in block)
            inside = [row for row in rows if layers(row) == block]
            loops = sum(j == i for j, i, _ in inside) if kind == "recurrent" else 0
            most = source * target - (source - loops if block[0] == block[1] else 0)
            expected = min(most, factor * len(inside))
            assert sum(layers(row) == block for row in more) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "recipe must be one such as AutoNCP, got int"),
        ((AutoNCP(8, 2), 0.5), "factor must be a number of at least 1, got 0.5"),
        ((AutoNCP(8, 2), float("nan")), "factor must be a number of at least 1"),
        ((AutoNCP(8, 2), 2.0, 1.5), "excitatory must be a number from 0 to 1"),
    ],
)
def test_wrong_overgrowth(arguments, message):
    with pytest.raises(WiringError, match=message):
        Overgrown(*arguments)


def test_overgrowth_beyond_memory_is_refused_before_it_is_drawn():
    recipe = Overgrown(Random(10**6, 10, sparsity_level=1 - 1e-12), 1e9)
    with pytest.raises(InputError, match="take fewer neurons or fewer synapses"):
        recipe.build(1)
