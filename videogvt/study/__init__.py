"""Studies: many small trainings under one protocol, what they found, and clips worth looking at."""

from collections.abc import Callable

import jax
from etils import epath
from ml_collections import ConfigDict

from videogvt.study import answers, findings, protocol, robustness


def run_study(
    config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None,
    again: bool = False, tell: Callable[[str], None] = print,
) -> None:
    """Trains the members that are not trained yet, then writes ``eval.json``, ``robustness.json`` and clips to look at.

    Args:
      config: of the study.
      workdir: its directory.
      data_dir: root of the data sets; None for the environment's.
      again: whether finished networks are measured again.
      tell: called with a line for each member that is done.

    Raises:
      ValueError: several processes want to do it together.
    """
    if jax.process_count() > 1:
        raise ValueError(f"Found {jax.process_count()} processes; a study's trainings are small and done by one. Start "
                         "it without --coordinator.")
    count = len(protocol.learning_rate_sweep(config)) + len(protocol.study_runs(config))
    for place, name in enumerate(protocol.run(config, workdir, data_dir, again), 1):
        tell(f"{place}/{count}  {name}")
    answers.write_answers(config, workdir, data_dir)
    findings.write_findings(config, workdir)
    robustness.write_showcase(config, workdir, data_dir)
    robustness.write_robustness(config, workdir, data_dir)


def plan_study(config: ConfigDict, workdir: epath.PathLike, data_dir: epath.PathLike | None) -> str:
    """A study's dry run: its number of trainings, and the cost of each row's largest network."""
    found, tried = protocol.study_runs(config), protocol.learning_rate_sweep(config)
    lines = [f"{config.name}: {len(found)} trainings in {workdir}"]
    if tried:
        lines[0] += f", after {len(tried)} that choose learning rates, on {tried[0].labels:,} labels each"
    for row in dict.fromkeys(member.row for member in found):
        part = [member for member in found if member.row == row]
        lines.append(f"\n{row}: {len(part)} trainings, {sum(member.control is not None for member in part)} of them "
                     "controls; the largest:")
        lines.append(max(part, key=lambda member: member.labels).build(workdir, data_dir).summary())
    return "\n".join(lines)
