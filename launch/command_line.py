"""What every launcher does at its edge: flags, one-line errors, progress on the screen."""

import contextlib
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from launch import beginning

beginning.begin()  # before anything is loaded

from absl import app, flags, logging

from launch import config_file, joining
from launch.ending import GOES_ON, end, stop, target
from launch.help_text import help_lines
from launch.tables import tables
from mammojax.errors import UserError
from mammojax.runs import processes, stopping, supervised
from mammojax.settings import check_names


def say(text: str) -> None:
    """A line for the reader of the terminal; of several processes of a program the first one speaks."""
    if not processes.is_first():
        return
    from tqdm import tqdm

    tqdm.write(text, file=sys.stdout)  # above a progress bar, if there is one
    sys.stdout.flush()


def track(items: Iterable, *, total: int, description: str, initial: int = 0) -> Iterable:
    """Progress with counts and the time left, for what takes over two seconds. Between two items the program can be
    stopped: `Stopped`."""
    from tqdm import tqdm

    every = 0.5 if sys.stderr.isatty() else 10.0  # a log file needs no animation
    bar = tqdm(
        items,
        total=total,
        desc=description,
        initial=initial,
        delay=2,
        mininterval=every,
        file=sys.stderr,
        dynamic_ncols=True,
        leave=False,
        disable=not processes.is_first(),
    )
    with bar:
        stopping.check()
        for item in bar:
            yield item
            stopping.check()


def run(main: Callable, *, config: str | None = None, file_flag: str = "config") -> None:
    """Runs a launcher: main(settings, arguments), or main(arguments) without a config.

    config: the default of the flag --`file_flag`, a file of plain data, "" for none: settings is then None unless one is
    given; any field of it is a flag too. Errors that a user can mend are one line and exit code 2, said before main begins if the flags show them; others keep their traceback.
    """
    if any(a.lstrip("-") in ("help", "helpfull", "h") and a[:1] == "-" for a in sys.argv[1:]):
        with contextlib.suppress(BrokenPipeError):  # piped into head
            print("\n".join(help_lines(sys.modules["__main__"].__doc__ or "", config)), flush=True)
        os._exit(0)
    settings = []

    def parse(argv):
        argv = [argv[0], *map(_at_home, argv[1:])]
        try:
            if config is not None:
                file, values, rest = config_file.split_flags(argv[1:], file_flag)
                argv = [argv[0], *rest]
            rest = flags.FLAGS(argv)
            if config is not None:
                if not (file or config) and values:
                    raise UserError(
                        f"--config.{next(iter(values))} is a setting of --{file_flag}=FILE; give both"
                    )
                found = config_file.read_settings(file or config, values) if file or config else None
                settings.append(found)
                if found is not None:
                    check_names(found, tables())
            return rest
        except (flags.Error, UserError) as error:
            stop(str(error))

    def guarded(argv):
        logging.set_verbosity(logging.ERROR)
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # no lines of code
        try:
            together = joining.is_wanted()
        except UserError as error:
            stop(str(error))
        if together:
            joining.supervise()
        stopping.listen(
            say=lambda line: print(f"error: {line}; {GOES_ON}", file=sys.stderr, flush=True),
            relayed=supervised.RELAYED if together else None,
        )
        try:
            if together:
                joining.join()
            main(*settings, argv[1:])
        except UserError as error:
            stop(config_file.with_flags(str(error)))
        except KeyboardInterrupt:
            stop(f"interrupted; {GOES_ON}", code=130)
        except stopping.Stopped:
            stop(f"stopped as asked (SIGTERM); {GOES_ON}", code=stopping.EXIT_CODE, once=True)
        except BrokenPipeError:
            end(1)
        except Exception as error:
            line = target(error)
            if line:
                stop(line)
            if processes.count() > 1 and processes.is_loss(error):
                stop(f"another process of this program was lost; what is saved is whole; {GOES_ON}",
                      code=stopping.EXIT_CODE)  # fmt: skip
            if processes.count() > 1:
                traceback.print_exc()
                end(1)
            raise
        if processes.count() > 1:
            end(0)

    app.run(guarded, flags_parser=parse)


def _at_home(argument: str) -> str:
    """--output=~/scores.csv as it is meant: a shell leaves a ~ after the = alone. Fields of the settings know it themselves."""
    name, equals, value = argument.partition("=")
    is_flag = re.fullmatch(r"--?(?!config\.)\w+", name)
    return name + equals + os.path.expanduser(value) if is_flag else argument


def command() -> str:
    """The command that was typed, to be typed again."""
    return shlex.join(["python", "-m", f"launch.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def no_arguments(arguments: list[str]) -> None:
    """A launcher without arguments got some: most often a flag without its dashes."""
    if arguments:
        raise UserError(
            f"unexpected argument {arguments[0]!r}; settings are given as --config.<field>=<value>"
        )
