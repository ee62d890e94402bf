"""The settings of an earlier run, from its config.json: the same table once more, to the bit on a CPU.

As long as that run took, or seconds in its own folder. Every field must be there: a record of another version of mammojax
is refused, since fields that it lacks would take today's defaults in silence.

python -m launch.crossval --config=configs/rerun.py:runs/mias/config.json --config.run=runs/again
"""

import json

from configs import default
from mammojax.errors import UserError
from mammojax.settings import defaults


def get_config(path: str):
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give the config.json of a run") from None
    except ValueError as error:
        raise UserError(f"{path} is no JSON ({error}); give the config.json of a run") from None
    lacking = sorted(_fields(defaults()) - _fields(saved))
    if lacking:
        raise UserError(
            f"{path} lacks {', '.join(lacking[:3])}{' and others' * (len(lacking) > 3)}; it is no config.json of this "
            "version of mammojax, give the settings in a file such as configs/mias.py"
        )
    config = default.get_config()
    config.update(saved)
    return config


def _fields(values, prefix: str = "") -> set[str]:
    if not isinstance(values, dict) or prefix == "arms.":
        return {prefix.rstrip(".")}
    return set().union(*(_fields(item, f"{prefix}{name}.") for name, item in values.items()))
