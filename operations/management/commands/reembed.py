"""`manage.py reembed`: build a new embedding generation without downtime."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from memories.models import Job
from operations import jobs
from operations.management.watch_job import watch
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = (
        "Embed all memories again while searches keep using the current vectors, compare the results, and switch to "
        "the new vectors. If a server or worker is running, it does the work; otherwise, this command does. If the "
        "command is interrupted, run it again with --watch."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--provider", default="", help="wordllama, openai, onnx or hashing; default: the current provider"
        )
        parser.add_argument("--model", default="", help="name of the provider's model, or the path to a model folder")
        parser.add_argument("--dimension", type=int, default=0, help="number of dimensions of each vector")
        parser.add_argument(
            "--from-stored-vectors",
            action="store_true",
            help="only recreate a lost index from the vectors in the database",
        )
        other = parser.add_mutually_exclusive_group()
        other.add_argument("--watch", action="store_true", help="follow the running job instead of starting one")
        other.add_argument("--cancel", action="store_true", help="cancel the running job and discard its vectors")

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_as_one_line():
            job = watch(self._job(options), self.stdout)
        if job.state == Job.State.FAILED:
            if options["cancel"]:
                self.stdout.write("The new generation was cancelled; nothing has changed.")
                return
            raise CommandError(job.error)
        self._tell(job)

    def _job(self, options: dict[str, Any]) -> Job:
        if options["cancel"]:
            return jobs.cancel_rebuild(operator())
        if options["watch"]:
            return jobs.latest(operator(), Job.Kind.REBUILD)
        return jobs.start_rebuild(
            operator(),
            options["provider"],
            options["model"],
            options["dimension"],
            from_stored_vectors=options["from_stored_vectors"],
        )

    def _tell(self, job: Job) -> None:
        found = job.data.get("comparison") or {}
        if found.get("questions"):
            self.stdout.write(
                f"{found['questions']} questions, first {found['k']} results: the memory itself was found for "
                f"{found['known_item_old']:.0%} (old) and {found['known_item_new']:.0%} (new); "
                f"{found['agreement']:.0%} of the results are the same."
            )
        self.stdout.write(self.style.SUCCESS(f"The new generation is active and contains {job.total:,} memories."))
        if job.data.get("provider"):
            self.stdout.write(
                f"Before you restart the server, set SOMA_EMBEDDING_PROVIDER={job.data['provider']} "
                f"SOMA_EMBEDDING_MODEL={job.data['model']} SOMA_EMBEDDING_DIMENSION={job.data['dimension']}"
            )
