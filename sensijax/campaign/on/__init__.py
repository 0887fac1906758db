"""Placements: where the tiles of a campaign are computed.

    sj.run(campaign, store="runs/fog")                                       # all devices of this process
    sj.run(campaign, store="runs/fog", on=sj.on.mesh(4))                     # four of them
    sj.run(campaign, store="s3://bucket/fog", on=sj.on.ray(address="auto"))  # a Ray cluster; extra `ray`
    sj.run(campaign, store="/shared/fog", on=sj.on.processes())              # one process of many, dealt by rank

A tile is a pure function of its address, and its part is named by the digest of its bytes: whoever computes it, and
however often, the folder ends up the same.
"""

from sensijax.campaign.on._launch import local_processes as local_processes
from sensijax.campaign.on._mesh import mesh as mesh
from sensijax.campaign.on._placement import Placement as Placement
from sensijax.campaign.on._processes import processes as processes
from sensijax.campaign.on._ray import ray as ray
