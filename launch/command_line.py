"""What every launcher does at its edge: flags, one-line errors, progress on the screen."""

import contextlib
import difflib
import os
import sys
from collections.abc import Callable, Iterable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no notes of the runtime between a program's own lines

from absl import app, flags, logging
from ml_collections import config_flags

from mammojax.errors import UserError


def say(text: str) -> None:
    """A line for the reader of the terminal."""
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)  # above a progress bar, if there is one
    sys.stdout.flush()


def track(items: Iterable, *, total: int, description: str, initial: int = 0) -> Iterable:
    """Progress with counts and the time left, for what takes over two seconds."""
    from tqdm import tqdm

    every = 0.5 if sys.stderr.isatty() else 10.0  # a log file needs no animation
    return tqdm(
        items,
        total=total,
        desc=description,
        initial=initial,
        delay=2,
        mininterval=every,
        file=sys.stderr,
        dynamic_ncols=True,
        leave=False,
    )


def run(main: Callable, *, config: str | None = None) -> None:
    """Runs a launcher: main(config, arguments), or main(arguments) without a config.

    config: the default of the flag --config, a file of plain data; any field of it is a flag too. Errors that a user
    can mend are one line and exit code 2; others keep their traceback.
    """
    chosen = None
    if config is not None:
        # A default would be read, with all --config.<field> flags, where it is defined: errors there cannot be caught.
        named = [a for a in sys.argv[1:] if a.startswith("--config=")]
        rest = [a for a in sys.argv[1:] if a not in named]
        sys.argv[1:] = [*(named or [f"--config={config}"]), *rest]  # the file first, whatever the order typed
        chosen = config_flags.DEFINE_config_file(
            "config", None, "settings, a file of plain data; see configs/"
        )
    document = sys.modules["__main__"].__doc__ or ""
    if any(a in ("--help", "-help", "-h", "--helpfull") for a in sys.argv[1:]):
        with contextlib.suppress(BrokenPipeError):  # piped into head
            print(_help(document, config is not None), flush=True)
        os._exit(0)

    def parse(argv):
        try:
            rest = flags.FLAGS(argv)
            if chosen is not None:
                _check(chosen.value)
            return rest
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, ImportError) as error:
            _stop(_flag_error(error))

    def guarded(argv):
        logging.set_verbosity(logging.ERROR)
        try:
            main(*([] if chosen is None else [chosen.value]), argv[1:])
        except UserError as error:
            _stop(str(error))
        except KeyboardInterrupt:
            _stop("interrupted; the same command goes on where it was", code=130)
        except BrokenPipeError:
            sys.exit(1)

    app.run(guarded, flags_parser=parse)


def no_arguments(arguments: list[str]) -> None:
    """A launcher without arguments got some: most often a flag without its dashes."""
    if arguments:
        raise UserError(
            f"unexpected argument {arguments[0]!r}; settings are given as --config.<field>=<value>"
        )


def _stop(text: str, code: int = 2) -> None:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    sys.exit(code)


def _fields(value, prefix: str = "") -> dict[str, object]:
    found = {}
    for name, item in value.items():
        found.update(_fields(item, f"{prefix}{name}.") if hasattr(item, "items") else {prefix + name: item})
    return found


def _check(value) -> None:
    """Tuples are not checked by config_flags: their elements must be of the default's type."""
    from configs import default

    expected = _fields(default.get_config())
    for name, item in _fields(value).items():
        if isinstance(item, tuple) and name in expected:
            kind = type(expected[name][0])
            if not item or not all(isinstance(x, kind) for x in item):
                raise ValueError(
                    f"--config.{name}={item!r}: expected a tuple of {kind.__name__}, such as {expected[name]!r}"
                )


def _flag_error(error: Exception) -> str:
    text = str(error).strip()
    wanted = [a for a in sys.argv[1:] if a.startswith("--config.")]
    if isinstance(error, (AttributeError, KeyError)) and wanted:
        from configs import default

        known = _fields(default.get_config())
        for argument in wanted:
            name = argument.removeprefix("--config.").partition("=")[0]
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.4)
                hint = f"did you mean {near[0]}?" if near else "see configs/default.py for the fields"
                return f"unknown field --config.{name}; {hint}"
    if isinstance(error, (OSError, ImportError)):
        return f"--config cannot be read: {text}; give a file of configs/"
    return text.splitlines()[0] if text else type(error).__name__


def _help(document: str, with_fields: bool) -> str:
    lines = [document.strip(), ""]
    own = [
        f
        for f in flags.FLAGS.get_key_flags_for_module(sys.modules["__main__"])
        if f.name not in ("config", "help")
    ]
    if own:
        lines.append("Flags:")
        lines += [f"  --{f.name}={f.default_as_str or ''}\n      {f.help}" for f in own]
        lines.append("")
    if with_fields:
        from configs import default

        lines.append(
            "Fields of --config, each a flag, with their defaults (explained in configs/default.py):"
        )
        lines += [f"  --config.{name}={item!r}" for name, item in _fields(default.get_config()).items()]
    return "\n".join(lines)
