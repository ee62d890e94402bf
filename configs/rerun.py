"""The settings of an earlier run, from its config.json: --config=configs/rerun.py:runs/mias/config.json"""

import json

from configs import default


def get_config(path: str):
    with open(path, encoding="utf-8") as file:
        saved = json.load(file)
    config = default.get_config()

    def fill(target, values):
        for name, value in values.items():
            if isinstance(value, dict):
                fill(target[name], value)
            else:
                target[name] = tuple(value) if isinstance(value, list) else value

    fill(config, saved)
    return config
