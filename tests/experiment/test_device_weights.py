"""Weights of devices, asked for by flag, reach the training and are part of a cell's key, whatever the objective."""

import dataclasses

import numpy as np

from mammojax.experiment import cells, crossval
from mammojax.experiment.predictions import read_predictions


def test_asked_for_by_flag_they_train_other_cells(own_run, tmp_path, monkeypatch):
    settings = own_run.settings
    weighted = dataclasses.replace(
        settings,
        run=str(tmp_path / "run"),
        loss=dataclasses.replace(settings.loss, weights="device"),
        data=dataclasses.replace(settings.data, prepared=str(own_run.directory / "prepared")),
        scan=dataclasses.replace(settings.scan, representations=str(own_run.directory / "representations")),
        crossval=dataclasses.replace(settings.crossval, arms=("cells_bce",)),
    )
    told = []

    def of_two_devices(labels, devices):
        """Phantoms are of one device: as if the first ten films were of another and ten times as heavy."""
        told.append(set(devices))
        return np.where(np.arange(len(labels)) < 10, 10.0, 1.0).astype(np.float32)

    monkeypatch.setattr(cells, "device_weights", of_two_devices)
    run = crossval(weighted, say=lambda line: None)
    assert told and all(devices == {"mammojax synthetic phantom"} for devices in told)
    plain = [cell for cell in own_run.cells if cell.arm.name == "cells_bce"]
    assert {cell.folder.name for cell in run.cells}.isdisjoint(cell.folder.name for cell in plain)
    for mine, other in zip(run.cells, plain):
        scores = [[float(row["score"]) for row in read_predictions(c.folder)] for c in (mine, other)]
        assert np.isfinite(scores).all() and not np.allclose(*scores)
