"""Windows run by regions give what full runs give, whatever the network does."""

import copy
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from incremental_nets import KINDS, Kinds, truth
from torch import nn

from saliscope.core.target import CallableTarget, LogitTarget, choose
from saliscope.core.windows import Windows
from saliscope.model.incremental import drops as drops_module
from saliscope.model.incremental.trace import traced
from saliscope.model.network import Network
from saliscope.perturb.window import starts
from saliscope.testing.networks import AFTER, SmallNet, image, seeded

LABELS = ("first", "second", "third")
TARGET = LogitTarget((0, 1, 2), LABELS)


def by_regions(net, x, window, stride, *, target=TARGET, engine="exact", changed=None, output=None, **fields):
    """Return drops (n, K) by regions and the truth, the notes and the counts."""
    size = [window] * (x.ndim - 2) if isinstance(window, int) else list(window)
    step = [stride] * (x.ndim - 2) if isinstance(stride, int) else list(stride)
    begins = [starts(n, w, s) for n, w, s in zip(x.shape[2:], size, step, strict=True)]
    without = x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    count = int(np.prod([len(b) for b in begins]))
    asked = list(range(count)) if changed is None else changed
    with Network(net, LABELS, output=output).opened() as model:
        found = model.window_drops(x, without, target, Windows(size, begins, asked, engine, **fields))
        notes, counts = model.take_notes(), model.counts
        pick = (lambda o: o) if output is None else (lambda o: o[output])
        changed_outputs, whole = truth(net, x, without, begins, size, asked, pick)
        right = target.scores(whole) - target.scores(changed_outputs)
    return found, right, notes, counts


def agree(found, right, tolerance=1e-9):
    assert found is not None
    assert found.shape == right.shape
    assert right.abs().max() > 0
    assert (found - right).abs().max() <= tolerance * right.abs().max()


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_regions_give_what_full_runs_give(kind, axes):
    x = image(axes)[:1].repeat(1, 1, *([2, 2] if axes == 2 else [1, 2, 1]))
    target = TARGET if kind != "segmenting" else choose([0, 1, 2], LABELS, "segmentation")
    output = "out" if kind == "segmenting" else None
    net = Kinds(axes, kind)
    if kind == "segmenting":
        target = target.held(lambda: net(x)["out"])
    found, right, notes, _ = by_regions(net, x, 4, (5, 3) if axes == 2 else 3, target=target, output=output)
    agree(found, right)
    assert "ran by regions" in notes[0]


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("after", AFTER)
def test_the_contract_networks_run_by_regions(after, axes):
    found, right, _, _ = by_regions(SmallNet(axes, after), image(axes, batch=1), 3, 2)
    agree(found, right)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_regions_give_what_full_runs_give_for_any_window(data):
    axes = data.draw(st.sampled_from([2, 2, 3]))
    kind = data.draw(st.sampled_from(KINDS[:11]))
    size = [data.draw(st.integers(9, 17 if axes == 2 else 11)) for _ in range(axes)]
    window = [data.draw(st.integers(1, n)) for n in size]
    stride = [data.draw(st.integers(max(1, w // 2), w)) for w in window]
    x = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    begins = [starts(n, w, s) for n, w, s in zip(size, window, stride, strict=True)]
    count = int(np.prod([len(b) for b in begins]))
    changed = sorted(data.draw(st.permutations(range(count)))[:12]) if count > 12 else None
    memory = data.draw(st.sampled_from([1024.0, 0.2]))
    found, right, _, _ = by_regions(Kinds(axes, kind), x, window, stride, changed=changed, memory_mb=memory)
    if found is not None and right.abs().max() > 1e-12:
        agree(found, right, 1e-8)
    assert found is not None or memory < 1


@pytest.mark.parametrize(
    ("name", "axes"), [("DenseNet121", 2), ("DenseNet121", 3), ("resnet18", 2), ("resnet18", 3), ("resnet50", 2)]
)
def test_monai_networks_are_traced_and_agree(name, axes):
    nets = pytest.importorskip("monai.networks.nets")
    size = (40, 72) if axes == 2 else (32, 34, 32) if name == "DenseNet121" else (14, 16, 12)
    if name == "DenseNet121":
        net = nets.DenseNet121(spatial_dims=axes, in_channels=1, out_channels=3)
    else:
        net = getattr(nets, name)(spatial_dims=axes, n_input_channels=1, num_classes=3)
    x = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    some = [0, 5] if axes == 3 else [0, 5, 11, 17]
    found, right, notes, counts = by_regions(
        net.double().eval(), x, 8 if size[0] > 20 else 3, 6 if size[0] > 20 else 3, changed=some
    )
    agree(found, right, 1e-8)
    assert counts.incremental_windows == 2 * len(some)
    assert "ran by regions" in notes[0]


def test_float32_agrees_to_single_precision():
    net, x = Kinds(2, "growing").float(), image(2, batch=1).float()
    found, right, _, _ = by_regions(net, x, 3, 2)
    agree(found, right, 1e-4)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("memory_mb", [1024, 0.05])
def test_memory_changes_no_value(memory_mb):
    net, x = Kinds(2, "plain"), image(2, batch=1)
    found, right, _, _ = by_regions(net, x, 4, 2, memory_mb=memory_mb)
    agree(found, right)


def test_maps_that_do_not_fit_run_in_full():
    found, _, notes, counts = by_regions(Kinds(2, "plain"), image(2, batch=1), 4, 2, memory_mb=1e-4)
    assert found is None
    assert "do not fit" in notes[0]
    assert counts.incremental_windows == 0


def test_windows_are_counted_apart_from_full_runs():
    x = image(2, batch=1)
    _, right, _, counts = by_regions(Kinds(2, "plain"), x, 4, 2)
    assert counts.forward_samples == 4 + 1, "the windows that are checked, and the image"
    assert counts.incremental_windows == len(right) + 4


def test_the_network_is_left_as_it_was():
    net = Kinds(2, "overwriting")
    before = copy.deepcopy(net.state_dict())
    by_regions(net, image(2, batch=1), 4, 2)
    assert net.act.inplace
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


class Refuses(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1).double()

    def forward(self, x):
        y = self.conv(x)
        if y.mean() > 0:
            y = y * 2
        return y.mean((2, 3))


class Writes(Refuses):
    def forward(self, x):
        y = self.conv(x)
        y[:, 0] = 1
        return y.mean((2, 3))


@pytest.mark.parametrize(("net", "reason"), [(Refuses(), "cannot be traced"), (Writes(), "cannot be traced")])
def test_networks_that_no_graph_holds_run_in_full_with_the_reason(net, reason):
    found, _, notes, counts = by_regions(net, image(2, batch=1), 4, 2)
    assert found is None
    assert "ran in full" in notes[0]
    assert reason in notes[0]
    assert counts.incremental_windows == 0


def test_a_network_with_hooks_runs_in_full():
    net = Kinds(2, "plain")
    net.second.register_forward_hook(lambda _module, _inputs, output: output * 2)
    found, _, notes, _ = by_regions(net, image(2, batch=1), 4, 2)
    assert found is None
    assert "second has hooks" in notes[0]


def test_what_mixes_the_whole_map_does_not_pay():
    net = nn.Sequential(nn.GroupNorm(1, 2), nn.Conv2d(2, 3, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found, _, notes, _ = by_regions(net.double(), image(2, batch=1), 2, 2, engine="auto")
    assert found is None
    assert "would need 100 % of the operations" in notes[0]


@pytest.mark.parametrize("engine", ["exact", "approximate"])
def test_wrong_regions_are_found_and_full_runs_asked_for(monkeypatch, engine):
    """A graph that computes something else than the network is seen on the windows that are run both ways."""
    graph = traced(Kinds(2, "plain"))
    monkeypatch.setattr(drops_module, "traced", lambda _module: graph)
    other = Kinds(2, "plain")
    with torch.no_grad():
        other.second.weight.mul_(1.001)
    found, _, notes, _ = by_regions(other, image(2, batch=1), 4, 2, engine=engine)
    assert found is None
    assert "by regions the drops differ by" in notes[0]


def test_a_target_that_is_a_function_of_the_output_is_asked():
    target = CallableTarget(lambda output: output[:, 0] * output[:, 1])
    found, right, _, _ = by_regions(Kinds(2, "plain"), image(2, batch=1), 4, 2, target=target)
    agree(found, right)


def deep(layers=9):
    conv = [nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(layers)]
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), *conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    seeded(net)
    return net.double().eval()


def test_approximate_regions_are_certified_on_exact_windows():
    x = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, right, notes, counts = by_regions(deep(), x, 8, 4, engine="approximate", fidelity=0.9)
    assert "cut to" in notes[0]
    assert "Pearson correlation with the exact drops is" in notes[0]
    assert not torch.allclose(found, right, rtol=1e-6), "nothing was cut"
    for k in range(3):
        assert np.corrcoef(found[:, k], right[:, k])[0, 1] > 0.85
    assert counts.forward_samples == 5


def test_the_bound_of_a_certificate_is_fishers_and_seldom_above_the_truth():
    assert drops_module._bound(1.0, 32, -1.645) == 1
    z = 0.5 * np.log((1 + 0.99) / (1 - 0.99))
    assert drops_module._bound(0.99, 32, -1.645) == pytest.approx(np.tanh(z - 1.645 / 29**0.5))
    generator = np.random.default_rng(0)
    above = 0
    for _ in range(400):
        one, noise = generator.standard_normal((2, 32))
        found = np.corrcoef(0.9 * one + 0.19**0.5 * noise, one)[0, 1]
        above += drops_module._bound(found, 32, -1.645) > 0.9
    assert 0.02 < above / 400 < 0.09


def test_the_lower_bound_of_the_correlation_decides(monkeypatch):
    monkeypatch.setattr(drops_module, "SURE", 50.0)
    x = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, right, notes, _ = by_regions(deep(), x, 8, 4, engine="approximate", fidelity=0.9)
    agree(found, right)
    assert "cutting them was refused" in notes[0]


def test_cuts_that_save_little_are_not_tried(monkeypatch):
    monkeypatch.setattr(drops_module, "WORTH", 0.0)
    x = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, right, notes, counts = by_regions(deep(), x, 8, 4, engine="approximate", fidelity=0.9)
    agree(found, right)
    assert "would save little" in notes[0]
    assert counts.incremental_windows == len(right), "a window that was certified runs once"


def test_a_certificate_that_cannot_be_had_gives_exact_drops(monkeypatch):
    monkeypatch.setattr(drops_module, "CAPS", (0.25,))
    x = torch.randn(1, 2, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found, right, notes, _ = by_regions(deep(), x, 8, 4, engine="approximate", fidelity=1.0)
    agree(found, right)
    assert "cutting them was refused" in notes[0]
    assert "when cut to 25 %" in notes[0]


def test_scales_of_either_sign_fold_through_a_rectifier():
    norm, conv = nn.BatchNorm2d(2), nn.Conv2d(2, 3, 1)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.7, -1.3]))
        norm.bias.copy_(torch.tensor([0.2, 0.4]))
    net = nn.Sequential(nn.Conv2d(2, 2, 3), nn.MaxPool2d(2), norm, nn.ReLU(True), conv, nn.AvgPool2d(2), nn.Flatten())
    net = net.double().eval()
    x = torch.randn(1, 2, 11, 11, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    graph = traced(net)
    with torch.no_grad():
        *_, (step, output) = graph.values(x)
        assert step is graph.output
        assert (output - net(x)).abs().max() <= 1e-12
    assert len(graph.steps) < 9, "the norm is not folded"
    found, right, _, _ = by_regions(net, x, 3, 2)
    agree(found, right)


class Waits(nn.Module):
    """A network that is shared by threads: its forward lets another thread run before it goes on."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))
        self.conv = nn.Conv2d(1, 1, 3).double()
        self.between = lambda: None

    def __deepcopy__(self, memo):
        other = Waits()
        other.scale, other.conv, other.between = self.scale, self.conv, self.between
        return other

    def forward(self, x):
        self.between()
        return self.conv(x * self.scale).mean((2, 3))


def test_a_network_that_another_thread_runs_while_one_is_traced_gives_tensors():
    """torch.fx takes the place of `nn.Module.__call__` and `__getattr__` in the whole process."""
    net, x = Waits(), image(2, batch=1)[:, :1]
    expected, got = net(x), []

    def run():
        net.between = lambda: None
        got.append(net(x))

    def meanwhile():
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()

    net.between = meanwhile
    graph = traced(net)
    assert torch.equal(got[0], expected)
    *_, (_, output) = graph.values(x)
    assert torch.equal(output, expected)
