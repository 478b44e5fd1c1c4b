"""``manage.py doctor``: how everything is, and the way out where something is not well."""

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from hermes_site.doctor import examine, worst
from hermes_site.findings import Finding, Level


class Command(BaseCommand):
    """Examine, print, and end with 1 if something fails."""

    # They are one of the examinations.
    requires_system_checks = ()
    help = "Look at everything a gateway needs; exit 1 if something fails."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print a list of objects")
        parser.add_argument(
            "--clock", action="store_true", help="compare the clock with that of PUBLIC_URL"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the findings; exit 1 where one fails."""
        findings = examine(clock=options["clock"])
        if options["json"]:
            found = [asdict(finding) for finding in findings]
            self.stdout.write(json.dumps(found, ensure_ascii=False, indent=2))
        else:
            for finding in findings:
                self._print(finding)
        if worst(findings) is Level.FAIL:
            sys.exit(1)

    def _print(self, finding: Finding) -> None:
        style = {
            Level.OK: self.style.SUCCESS,
            Level.WARN: self.style.WARNING,
            Level.FAIL: self.style.ERROR,
        }[finding.level]
        word = style(f"{finding.level.value:<4}")
        self.stdout.write(f"{word}  {finding.area}: {finding.said}")
        if finding.way_out:
            self.stdout.write(f"      {finding.way_out}")
