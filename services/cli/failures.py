"""What goes wrong in a command is told in one line on standard error: what, and what to do about it."""

import sys
from typing import Any, Final

import httpx
import typer
from typer._click.exceptions import NoArgsIsHelpError, UsageError  # typer keeps its click to itself
from typer.core import TyperGroup

from services.cli.api import UnexpectedAnswer

WRONG_USE: Final = 2
FAILED: Final = 1


class Commands(TyperGroup):
    """Commands whose failures are one line. A mistake of ours is still a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for. Raises typer.Exit: 2 for a wrong use or a wrong place, 1 for what failed on the way."""
        try:
            return super().invoke(ctx)
        except NoArgsIsHelpError:
            raise
        except UsageError as error:
            raise told(_command(ctx, error), _what(error), WRONG_USE) from error
        except (UnexpectedAnswer, TimeoutError) as error:
            raise told(_command(ctx), str(error), FAILED) from error
        except httpx.TransportError as error:
            raise told(_command(ctx), _unreached(error), FAILED) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise told(_command(ctx), f"{error.filename}: {error.strerror}", FAILED) from error


def told(command: str, what: str, code: int) -> typer.Exit:
    """Say ``what`` went wrong in ``command``; the exit to raise."""
    print(f"{command}: {' '.join(what.split())}", file=sys.stderr)
    return typer.Exit(code)


def _command(ctx: Any, error: UsageError | None = None) -> str:
    """``jishi clock advance``, as far as it is known."""
    path = error.ctx.command_path if error is not None and error.ctx is not None else ""
    named = path.removeprefix(str(ctx.command_path)).strip() or str(ctx.invoked_subcommand or "")
    return f"jishi {named}".strip()


def _what(error: UsageError) -> str:
    """The message; with a hint where it is the command line that is wrong, and not what it meets."""
    if error.ctx is None or (isinstance(error, typer.BadParameter) and error.param is None):
        return error.message
    return f"{error.format_message().rstrip('.')}; see `{_command(error.ctx.find_root(), error)} --help`"


def _unreached(error: httpx.TransportError) -> str:
    try:
        url = error.request.url
    except RuntimeError:
        return f"the stack does not answer ({error}); is it running?"
    return f"nothing answers at {url.scheme}://{url.netloc.decode()}; is the stack running? `jishi up` starts it"
