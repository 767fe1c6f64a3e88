"""The seam to the network: what it sees is right, and it leaves no trace."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import nullcontext
from threading import Thread

import pytest
import torch
from nets import Plain, Raises, Residual, Twice, Wrapped, image, seeded
from torch import Tensor, nn
from torch.nn import functional

from saliscope.core.errors import LayerError, ModelError, OutputError
from saliscope.core.protocols import INPUT
from saliscope.core.target import LogitTarget
from saliscope.model.network import Network

TARGET = LogitTarget((0, 1, 2), ("a", "b", "c"))
BUILDERS: dict[str, Callable[[int], nn.Module]] = {
    "in-place": lambda axes: Plain(axes, nn.ReLU(inplace=True)),
    "functional": lambda axes: Plain(axes, functional.relu),
    "functional in-place": lambda axes: Plain(axes, lambda t: functional.relu(t, inplace=True)),
    "residual": Residual,
    "dict": lambda axes: Wrapped(lambda y: {"logits": y, "aux": y * 2}, axes),
    "tuple": lambda axes: Wrapped(lambda y: (y, None), axes),
}


def literal(module: Plain, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return activation and gradient of class 0 at `norm`, by plain autograd on a network without in-place parts."""
    module.eval()
    seen = module.norm(module.first(x)).detach().requires_grad_()
    inner = functional.relu(seen) + seen if isinstance(module, Residual) else functional.relu(seen)
    score = module.head(inner.mean(dim=tuple(range(2, x.ndim))))[:, 0].sum()
    return seen.detach(), torch.autograd.grad(score, seen)[0]


def state(module: nn.Module) -> tuple[object, ...]:
    return (
        [m.training for m in module.modules()],
        [p.requires_grad for p in module.parameters()],
        [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        [len(m._forward_hooks) + len(m._backward_hooks) + len(m._forward_pre_hooks) for m in module.modules()],
        {k: v.clone() for k, v in module.state_dict().items()},
    )


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", BUILDERS)
def test_what_is_seen_is_the_layer_named_and_nothing_later(name: str, axes: int) -> None:
    module, x = seeded(BUILDERS[name](axes)), image(axes, n=2)
    activation, gradient = literal(module, x)
    assert activation.min() < 0  # so that an in-place ReLU would show
    with Network(module).opened() as model:
        probed = model.probe(x, ["norm"])
        gradients = list(probed.gradients(TARGET.scores(probed.output)))
    torch.testing.assert_close(probed.activations["norm"].detach(), activation, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradients[0]["norm"], gradient, rtol=0, atol=1e-12)
    assert len(gradients) == 3


def test_several_layers_and_the_input_in_one_run_equal_each_alone() -> None:
    module, x = seeded(Plain()), image(2)
    names = [INPUT, "first", "norm"]
    with Network(module).opened() as model:
        together = model.probe(x, names)
        joint = next(together.gradients(TARGET.scores(together.output)))
        for name in names:
            alone = model.probe(x, [name])
            single = next(alone.gradients(TARGET.scores(alone.output)))
            torch.testing.assert_close(single[name], joint[name], rtol=0, atol=1e-14)
        assert model.counts.forward_samples == 4


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("build", [Plain, Residual, Twice, Raises])
def test_nothing_is_left_behind(build: type[Plain], axes: int) -> None:
    module, x = seeded(build(axes)), image(axes)
    module.train()
    module.norm.eval()
    module.head.weight.requires_grad_(False)
    module.first.weight.grad = torch.ones_like(module.first.weight)
    before, kept, random = state(module), x.clone(), torch.random.get_rng_state()
    fails = pytest.raises(ModelError, match="half-way") if build is Raises else nullcontext()
    with fails, Network(module).opened() as model:
        torch.rand(3)
        probed = model.probe(x, ["first"])
        list(probed.gradients(TARGET.scores(probed.output)))
    assert same(state(module), before)
    assert torch.equal(x, kept)
    assert x.grad is None
    assert not x.requires_grad
    assert torch.equal(torch.random.get_rng_state(), random)


def test_dropout_is_off_and_training_is_on_again_after() -> None:
    module, x = seeded(Plain()).train(), image(2)
    network = Network(module)
    with network.opened() as model:
        assert torch.equal(model(x), model(x))
    assert module.drop.training


def test_a_module_with_its_own_eval_is_not_asked() -> None:
    class Stubborn(Plain):
        def eval(self) -> Stubborn:
            raise AssertionError

        def train(self, mode: bool = True) -> Stubborn:
            raise AssertionError

    with Network(seeded(Stubborn())).opened() as model:
        model(image(2))


def test_a_layer_that_runs_twice_must_be_numbered() -> None:
    module, x = seeded(Twice()), image(2)
    with Network(module).opened() as model:
        with pytest.raises(LayerError, match=r"ran 2 times.*again#0, again#1"):
            model.probe(x, ["again"])
        probed = model.probe(x, ["again#0", "again#1"])
        gradients = next(probed.gradients(TARGET.scores(probed.output)))
        with pytest.raises(LayerError, match="numbered from #0"):
            model.probe(x, ["again#2"])
    first, second = (probed.activations[f"again#{i}"] for i in (0, 1))
    torch.testing.assert_close(module.again(first), second, rtol=0, atol=1e-12)
    back = torch.autograd.grad(module.again(first), first, gradients["again#1"])[0]
    torch.testing.assert_close(back, gradients["again#0"], rtol=0, atol=1e-12)


def test_faults_are_named() -> None:
    module, x = seeded(Plain()), image(2)
    with Network(module).opened() as model:
        with pytest.raises(LayerError, match="Did you mean 'norm'"):
            model.probe(x, ["nrom"])
        probed = model.probe(x, ["norm"])
        with pytest.raises(LayerError, match="does not depend on 'norm'"):
            list(probed.gradients(torch.ones(1, 1, requires_grad=True)))
        with pytest.raises(LayerError, match="does not depend"):
            list(probed.gradients(torch.ones(1, 1)))
    with pytest.raises(ModelError, match="after it was closed"):
        model(x)
    with (
        Network(Wrapped(lambda y: {"one": y, "two": y})).opened() as model,
        pytest.raises(OutputError, match="'one', 'two'"),
    ):
        model(x.float())
    with Network(Wrapped(lambda y: {"one": y, "two": 2 * y}), output="two").opened() as model:
        model(x.float())


def test_an_alias_written_in_place_elsewhere_is_refused() -> None:
    class Keeps(nn.BatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = super().forward(x)
            return self.kept

    class Rewrites(Plain):
        def features(self, x: Tensor) -> Tensor:
            y = super().features(x)
            self.norm.kept.mul_(2)
            return y

    module = Rewrites()
    module.norm = Keeps(4)
    with Network(seeded(module)).opened() as model, pytest.raises(LayerError, match="overwritten in place"):
        model.probe(image(2), ["norm"])


def test_data_parallel_and_compiled_wrappers_are_seen_through() -> None:
    module, x = seeded(Plain()), image(2)
    with Network(module).opened() as model:
        plain = model.probe(x, ["norm"]).activations["norm"]
    for wrapped, name in [(nn.DataParallel(module), "module.norm"), (torch.compile(module), "norm")]:
        with Network(wrapped).opened() as model:
            assert torch.equal(model.probe(x, [name]).activations[name], plain)


def test_channels_last_and_batches_give_the_same() -> None:
    module, x = seeded(Plain()), image(2, n=4)
    with Network(module).opened() as model:
        one = model.probe(x[2:3], ["norm"])
        gradient = next(one.gradients(TARGET.scores(one.output)))["norm"]
        many = model.probe(x.to(memory_format=torch.channels_last), ["norm"])
        batch = next(many.gradients(TARGET.scores(many.output)))["norm"]
    torch.testing.assert_close(batch[2:3], gradient, rtol=0, atol=1e-14)


def test_no_graph_before_the_layer_and_no_parameter_gradient() -> None:
    module, x = seeded(Plain()), image(2)
    saved: list[int] = []
    with Network(module).opened() as model:

        def pack(t: Tensor) -> Tensor:
            saved.append(t.numel())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            probed = model.probe(x, ["norm"])
        # After the layer only ReLU and the linear head keep anything: nothing as large as an image.
        assert sum(saved) <= 2 * probed.activations["norm"].numel() + module.head.weight.numel() + 8
        list(probed.gradients(TARGET.scores(probed.output)))
    assert all(p.grad is None for p in module.parameters())


def test_a_thousand_runs_leave_nothing() -> None:
    module, x = seeded(Plain()), image(2)
    network = Network(module)

    def run() -> None:
        with network.opened() as model:
            probed = model.probe(x, ["norm"])
            list(probed.gradients(TARGET.scores(probed.output)))

    def living() -> int:
        gc.collect()
        return sum(isinstance(o, Tensor) for o in gc.get_objects())

    run()
    before, hooks = living(), state(module)[3]
    for _ in range(1000):
        run()
    assert living() <= before
    assert state(module)[3] == hooks


def test_predictions_of_every_kind() -> None:
    logits = torch.tensor([[0.0, 2.0]])
    soft = Network(nn.Identity(), labels=("a", "b")).predictions(logits)[0]
    assert soft.probabilities is not None
    assert sum(soft.probabilities) == pytest.approx(1)
    labels = Network(nn.Identity(), labels=("a", "b"), kind="multi-label").predictions(logits)[0]
    assert labels.probabilities == pytest.approx((0.5, 0.880797), abs=1e-5)
    binary = Network(nn.Identity(), labels=("no", "yes"), kind="binary").predictions(torch.tensor([[2.0]]))[0]
    assert binary.logits == (-2.0, 2.0)
    assert binary.probabilities == pytest.approx((0.119203, 0.880797), abs=1e-5)
    value = Network(nn.Identity(), kind="regression").predictions(torch.tensor([[7.5]]))[0]
    assert (value.logits, value.probabilities) == ((7.5,), None)
    maps = torch.zeros(1, 2, 4, 4)
    maps[0, 1, :1] = 3
    mask = Network(nn.Identity(), labels=("background", "brain"), kind="segmentation").predictions(maps)[0]
    assert mask.probabilities == pytest.approx((0.75, 0.25))
    assert mask.logits == pytest.approx((0.0, 3.0))
    with pytest.raises(OutputError, match="2 labels"):
        Network(nn.Identity(), labels=("a", "b")).predictions(torch.zeros(1, 3))


def test_threads_that_open_one_network_take_turns() -> None:
    module, x = seeded(Plain()).train(), image(2)
    with Network(module).opened() as model:
        right = model(x)
    wrong: list[bool] = []

    def run() -> None:
        for _ in range(10):
            with Network(module).opened() as model:
                wrong.append(not torch.equal(model(x), right))

    threads = [Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 40
    assert not any(wrong)
    assert all(m.training for m in module.modules())
    assert all(p.requires_grad for p in module.parameters())
