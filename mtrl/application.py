"""The Typer application: one command a file, in `mtrl/commands`."""

import typer

from mtrl.commands.check import check
from mtrl.commands.dataset import dataset
from mtrl.commands.deploy_local import deploy_local
from mtrl.commands.evaluate import evaluate
from mtrl.commands.probe import probe
from mtrl.commands.rehearse import rehearse
from mtrl.commands.service import service

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Get an agent into SageMaker multi-turn RL training: rehearse on a laptop, serve on AWS.",
)
app.command()(rehearse)
app.command()(evaluate)
app.command()(check)
app.command()(service)
app.command()(probe)
app.command()(deploy_local)
app.add_typer(dataset, name="dataset")
