"""Networks whose use of a shortcut is known: trained on drawn images in which the shortcut goes with the label.

    python recipes/phantom_networks.py [--out DIR] [--only REGEX] [--evaluate-only] [--list]

Every member is trained in the same way on the same anatomies: `contamination` per cent of the cases with a finding
carry the shortcut, none of the others do (sun2023); for "clean" members it stands in half of all cases, whatever the
label. Beside them stand untrained members and members trained on shuffled labels. Measured on cases that were never
trained on: AUC as trained, AUC where the shortcut stands in half of all cases whatever the label, and the true share
of each element in the score, by leaving it out (Shapley values over all renderings). A member whose card is in DIR
already is passed over.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from phantom_members import GUIDED, LINES, TEMPLATE, WIDTHS, Member, described, members
from torch import Tensor, nn
from training import Floats, add_numbers, auc, measured, train

from saliscope.core.target import LogitTarget
from saliscope.model.card import Card, find
from saliscope.model.load import build, load
from saliscope.model.network import Network
from saliscope.model.shipped import shipped
from saliscope.model.weights import file_digest
from saliscope.phantom.catalogue import phantom_set
from saliscope.phantom.effects.counterfactual import CohortEffects, cohort_effects
from saliscope.phantom.sets import PhantomSet

TRAINING_SEED, TEST_SEED = 1, 2
EFFECT_CASES = 60
BATCH, RATE = 32, 1e-2
#: How much the outlines count beside the labels, and how much more a cell with a finding counts than one without.
GUIDE, MOST = 1.0, 20.0


def drawn(member: Member, part: str) -> PhantomSet:
    """Return the set of a member, as trained: "training" or "test"."""
    line = LINES[member.line]
    count, seed = (line.training, TRAINING_SEED) if part == "training" else (line.test, TEST_SEED)
    share, background = member.shares
    return phantom_set(
        scene=line.scene, finding=line.finding, shortcut=member.shortcut, contamination=share, background=background,
        count=count, seed=seed, size=line.shape[-1],
    )  # fmt: skip


@dataclass(frozen=True)
class Rendered:
    """Views (n, 1, *S) of all cases without and with the shortcut, masks of the findings, and the labels (n,)."""

    without: Tensor
    tagged: Tensor
    masks: Tensor
    labels: Tensor

    def views(self, tagged: Tensor) -> Tensor:
        """Return the views in which `tagged` (n,) says where the shortcut stands."""
        return torch.where(tagged.reshape(-1, *[1] * (self.without.ndim - 1)), self.tagged, self.without)


@cache
def rendered(line: str, shortcut: str, part: str, card: Card) -> Rendered:
    """Return every case of a part twice: the shortcut is the only difference."""
    cases = replace(drawn(Member(line, "plain", shortcut, 100, 0), part), background=1.0)
    names = {e.name for e in cases.shortcut}
    without, tagged, masks, labels = [], [], [], []
    for case in cases:
        keep = [e.name for e in case.elements if e.name not in names]
        without.append(card.view(case.render(keep)).tensor)
        tagged.append(card.view(case.render()).tensor)
        masks.append(torch.from_numpy(case.truth["required"].mask.copy()))
        labels.append(case.label)
    return Rendered(torch.cat(without), torch.cat(tagged), torch.stack(masks)[:, None], torch.tensor(labels))


def tags(cases: PhantomSet) -> Tensor:
    """Return which cases (n,) carry the shortcut."""
    names = {e.name for e in cases.shortcut}
    return torch.tensor([any(e.name in names for e in case.elements) for case in cases])


class Guided(nn.Module):
    """A network with a second head, in training only: which cells of the last spatial layer hold a finding.

    A lesion of a few elements is a needle in a haystack: by labels alone these networks do not find it in so few
    images. What decides is learnt by the first head, from the labels and nothing else.
    """

    def __init__(self, net: nn.Module, dimensions: int) -> None:
        super().__init__()
        conv: type[nn.Module] = nn.Conv2d if dimensions == 2 else nn.Conv3d
        head = net.get_submodule("head")
        assert isinstance(head, nn.Linear)
        self.net, self.guide = net, conv(head.in_features, 1, 1)
        self.spatial = "blocks" if hasattr(net, "blocks") else "features"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (N, 1) and finding logits (N, 1, *S') of x (N, C, *S)."""
        found = self.net.get_submodule(self.spatial)(x)
        return self.net.get_submodule("head")(found.flatten(2).mean(2)), self.guide(found)

    @torch.no_grad()
    def cells(self, masks: Tensor, x: Tensor) -> Tensor:
        """Return which cells (N, 1, *S') hold a part of a mask (N, 1, *S), for views like x."""
        size = self(x)[1].shape[2:]
        pool = nn.functional.adaptive_max_pool2d if len(size) == 2 else nn.functional.adaptive_max_pool3d
        return pool(masks.float(), size)


def trained(member: Member, card: Card) -> nn.Module:
    """Return the network of a member."""
    torch.manual_seed(1000 + member.seed)
    net = build(card.architecture, card.arguments)
    if member.labels == "untrained":
        return net.eval()
    data = rendered(member.line, member.shortcut, "training", card)
    views, labels = data.views(tags(drawn(member, "training"))), data.labels.float()
    if member.labels == "shuffled":
        labels = labels[torch.from_numpy(np.random.default_rng(member.seed).permutation(len(labels)))]

    guided = Guided(net, dimensions=views.ndim - 2)
    truth = guided.cells(data.masks, views[:1])
    rare = torch.tensor(min(MOST, float((1 - truth.mean()) / truth.mean())))
    weight = GUIDE if member.labels in ("true", "clean") else 0.0

    def loss(module: nn.Module, batch: Tensor) -> Tensor:
        x = views[batch]
        said, guess = module(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)
        whether = nn.functional.binary_cross_entropy_with_logits(said[:, 0], labels[batch])
        where = nn.functional.binary_cross_entropy_with_logits(guess, truth[batch], pos_weight=rare)
        return whether + weight * where

    size = BATCH if views.ndim == 4 else BATCH // 2
    numbers = np.arange(len(labels))
    epochs = LINES[member.line].epochs[member.net]
    return train(guided, numbers, loss, epochs=epochs, size=size, rate=RATE, seed=member.seed).get_submodule("net")


def logits(network: Network, views: Tensor) -> Floats:
    """Return the logit of "present" (n,)."""
    with network.opened() as opened:
        found = torch.cat([opened(part) for part in views.split(64)])
    return np.asarray(found[:, 0].double().numpy(), np.float64)


def numbers(member: Member, network: Network) -> dict[str, Any]:
    """Return what is measured of a member on cases that no member was trained on."""
    card = network.card
    assert card is not None
    cases, data = drawn(member, "test"), rendered(member.line, member.shortcut, "test", card)
    truth, each = data.labels.numpy().astype(bool), np.arange(len(data.labels))
    as_trained = logits(network, data.views(tags(cases)))
    apart = logits(network, data.views(tags(cases.decorrelated())))
    both = [case for case in replace(cases, contamination=1.0) if case.label][:EFFECT_CASES]
    effects = cohort_effects(both, network, LogitTarget((1,), ("present",), "binary"))
    return {
        "data": f"{len(cases)} drawn cases, seeds {TEST_SEED} million and on; never trained on",
        "interval": "95 %, bootstrap over cases, 2000 draws",
        "auc_as_trained": measured(lambda i: auc(truth[i], as_trained[i]), each),
        "auc_shortcut_decorrelated": measured(lambda i: auc(truth[i], apart[i]), each),
        "effect_cases": len(both),
        **{f"share_{role}": value for role, value in shares(effects).items()},
    }


def shares(effects: CohortEffects) -> dict[str, dict[str, float]]:
    """Return the mean share of the effect that each role has, with its interval."""
    found = {}
    for one in effects.roles:
        ends = {k: v for k, v in (("low", one.share.low), ("high", one.share.high)) if v is not None}
        found[one.name] = {k: round(v, 4) for k, v in {"value": one.share.mean, **ends}.items()}
    return found


def written(member: Member, out: Path) -> Card:
    """Write the card of a member without weights and numbers, and return it."""
    line, words = LINES[member.line], described(member)
    dimensions = len(line.shape)
    # A volume is coarse: one more halving would leave a nodule less than a cell.
    widths = {} if dimensions == 2 else {"widths": [8, 16, 32, 32], "pools": [1, 2, 1, 1]}
    arguments = {"dimensions": dimensions, **(widths if member.net == "plain" else {})}
    text = TEMPLATE.format(
        name=member.name, architecture=WIDTHS[member.net], dimensions=dimensions, modality=line.modality,
        arguments="{ " + ", ".join(f"{k} = {v}" for k, v in arguments.items()) + " }",
        warning=f'warning = "{words["warning"]}"\n' if words["warning"] else "",
        guided=GUIDED if member.labels in ("true", "clean") else "",
        title=words["title"], description=words["description"], shape=list(line.shape),
        low=line.low, high=line.high, mean=line.mean, std=line.std,
    )  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "card.toml").write_text(text, encoding="utf-8")
    return Card.read(out / "card.toml")


def stored(net: nn.Module, card: Card) -> Card:
    """Write the weights of a card and their digest into it, and return it."""
    from safetensors.torch import save_file

    weights = card.path.parent / "weights.safetensors"
    save_file({k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}, weights)
    weights.chmod(0o644)
    text = card.path.read_text(encoding="utf-8")
    text = text.replace(
        'output = "binary"\n',
        f'output = "binary"\nweights = "weights.safetensors"\ndigest = "sha256:{file_digest(weights)}"\n',
    )
    card.path.write_text(text, encoding="utf-8")
    return Card.read(card.path)


def make(member: Member, out: Path) -> Card:
    """Train a member, measure it, and write its folder whole."""
    half, folder = out / f".{member.name}", out / member.name
    shutil.rmtree(half, ignore_errors=True)
    card = written(member, half)
    card = stored(trained(member, card), card)
    add_numbers(card, numbers(member, load(card)))
    shutil.rmtree(folder, ignore_errors=True)
    half.rename(folder)
    return Card.read(folder / "card.toml")


def main(words: Sequence[str] | None = None) -> None:
    """Train what is asked for and not there yet, then print the numbers of every card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out") / "phantom")
    parser.add_argument("--only", default="", help="members whose name this pattern is found in")
    parser.add_argument("--evaluate-only", action="store_true", help="recompute the numbers of the shipped weights")
    parser.add_argument("--list", action="store_true", help="print the names")
    asked = parser.parse_args(words)
    torch.set_num_threads(1)
    for member in (m for m in members() if re.search(asked.only, m.name)):
        if asked.list:
            print(member.name)
            continue
        if asked.evaluate_only:
            found = numbers(member, load(find(shipped()[member.name])))
        else:
            there = asked.out / member.name / "card.toml"
            found = dict((Card.read(there) if there.is_file() else make(member, asked.out)).performance)
        print(member.name, *(f"{k}={v['value']}" for k, v in found.items() if isinstance(v, dict)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
