"""The flags --config=FILE and --config.FIELD=VALUE: from what was typed to checked `Settings`."""

import inspect
import re
import runpy
import traceback
from collections.abc import Mapping
from pathlib import Path

from mammojax.errors import UserError
from mammojax.settings import Settings, fields_from, with_overrides
from mammojax.settings.leaves import leaves

CHECKOUT = Path(__file__).resolve().parents[1]


def split_flags(
    arguments: list[str], file_flag: str = "config"
) -> tuple[str | None, dict[str, str], list[str]]:
    """(the last --`file_flag`, values of --config.FIELD by field, all other arguments); the last of equal flags counts.

    Raises UserError for a flag without its value.
    """
    file, values, rest = None, {}, []
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":  # what follows is no flag
            rest += [argument, *remaining]
            break
        match = re.fullmatch(rf"--?(?:{file_flag}|config\.([^=]+))(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
            continue
        path, value = match.groups()
        if value is None:
            switch = path in leaves() and leaves()[path].kind is bool
            value = "true" if switch else next(remaining, None)
        if value is None or (match[2] is None and value.startswith("--")):
            raise UserError(f"{argument} has no value; give {argument}=VALUE")
        if path is None:
            file = value
        else:
            values[path] = value
    return file, values, rest


def read_settings(file: str, values: Mapping[str, str]) -> Settings:
    """The settings of a config file (`FILE.py` or `FILE.py:ARGUMENT`) with the values of flags in place; all checked."""
    try:
        settings = fields_from(_mapping(file))
    except UserError as error:
        raise UserError(f"--config={file}: {error}") from None
    return with_overrides(settings, values)


def _mapping(file: str) -> Mapping:
    """What the `get_config` of a file gives, as plain data."""
    name, _, argument = (file, "", "") if _found(file) else file.partition(":")
    path = _found(name)
    if path is None:
        known = ", ".join(sorted(p.stem for p in (CHECKOUT / "configs").glob("[a-z]*.py")))
        what = "is a folder" if name and Path(name).is_dir() else "is absent"
        raise UserError(f"{name or 'it'} {what}; give a file such as those of configs/ ({known})")
    if path.suffix != ".py":
        hint = (
            f"; settings of a run are read with --config=configs/rerun.py:{name}"
            if path.suffix == ".json"
            else ""
        )
        raise UserError(f"expected a Python file with get_config(){hint}")
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        if get_config is None:
            raise UserError("it has no get_config(); see configs/default.py")
        arguments = [argument] if argument else []
        takes = inspect.signature(get_config).parameters
        if len(arguments) != len(takes):
            raise UserError(
                f"give it an argument: --config={name}:ARGUMENT" if takes else "it takes no argument"
            )
        found = get_config(*arguments)
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{_place(error, path)}{type(error).__name__}: {error}") from None
    found = found.to_dict() if hasattr(found, "to_dict") else found
    if not isinstance(found, Mapping):
        raise UserError(
            f"get_config() gives {type(found).__name__}; expected the config, see configs/default.py"
        )
    return found


def _found(name: str) -> Path | None:
    """The file of that name in the working directory or, second, in the checkout."""
    return next((path for path in (Path(name), CHECKOUT / name) if path.is_file()), None) if name else None


def _place(error: BaseException, path: Path) -> str:
    """`line N: ` of the config file where the error was raised, if it can be told."""
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"line {lines[-1]}: " if lines else ""


def with_flags(text: str) -> str:
    """The text with every setting as the flag that is typed: the core names fields (data.folder.csv), no flags. What an arm
    overrides (auc:loss.margin=1,loss.policy=fifo) is left as it is written."""

    def flag(match: re.Match) -> str:
        return f"--config.{match[0]}" if match[0] in leaves() else match[0]

    return re.sub(r"(?<![\w./:,-])[a-z]+(?:\.[a-z_]+)+", flag, text)
