"""The script that teaches a shell to complete `tb-cli`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_TB_CLI_COMPLETE"
_HOW = {
    "bash": 'eval "$(tb-cli completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(tb-cli completion zsh)" in ~/.zshrc',
    "fish": "tb-cli completion fish > ~/.config/fish/completions/tb-cli.fish",
}


@click.command(epilog="\b\n" + "\n".join(f"{shell}: {how}" for shell, how in _HOW.items()))
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    made = get_completion_class(shell)
    assert made is not None, "click knows these three"
    root = click.get_current_context().find_root().command
    click.echo(made(root, {}, "tb-cli", VARIABLE).source())
