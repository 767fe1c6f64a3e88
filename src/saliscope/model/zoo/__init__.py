"""Architectures of our own, by kebab-case name, and the cards (with weights) that the package ships."""

from __future__ import annotations

from collections.abc import Mapping

#: "module:Class" of each architecture that a card may name without further permission.
ARCHITECTURES: Mapping[str, str] = {
    "plain-net": "saliscope.model.zoo.plain_net:PlainNet",
    "dense-net": "saliscope.model.zoo.dense_net:DenseNet",
    "residual-net": "saliscope.model.zoo.residual_net:ResidualNet",
    "mesh-net": "saliscope.model.zoo.mesh_net:MeshNet",
    "spot-finder": "saliscope.model.zoo.spot_finder:SpotFinder",
    "u-net": "saliscope.model.zoo.u_net:UNet",
}
