"""Large bodies in a bucket: the storage of the settings, through the library that speaks S3."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.models import Agent, StoredObject
from agents.storage import StorageFailed, check_storage, keep, purge_objects, read

from .bucket import Bucket, serve

pytest.importorskip("storages.backends.s3", reason="django-storages[s3] is not installed")
pytestmark = pytest.mark.django_db

OPTIONS = {
    "bucket_name": "bodies",
    "region_name": "auto",
    "access_key": "AKIDEXAMPLE",
    "secret_key": "secret-key-of-the-bucket",
    "default_acl": None,
}


@pytest.fixture
def bucket(settings: Settings) -> Iterator[Bucket]:
    bucket = Bucket()
    server = serve(bucket)
    from botocore.config import Config

    # As in the settings, but that the bucket is in the path and a failure is told at once.
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    options: dict[str, Any] = OPTIONS | {"endpoint_url": bucket.url, "client_config": config}
    objects = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    settings.STORAGES = settings.STORAGES | {"objects": objects}
    yield bucket
    server.shutdown()
    server.server_close()


def test_a_body_is_put_read_and_removed(agent: Agent, bucket: Bucket) -> None:
    stored = keep(agent, uuid4(), b"x" * 2_000_000)
    assert bucket.files == {f"/bodies/{agent.pk}/{stored.key}": b"x" * 2_000_000}
    assert read(stored) == b"x" * 2_000_000
    assert purge_objects(timezone.now()) == 1
    assert bucket.files == {}
    assert not StoredObject.objects.exists()


def test_requests_are_signed_and_the_key_stays_here(agent: Agent, bucket: Bucket) -> None:
    keep(agent, uuid4(), b"x")
    assert bucket.asked
    for _method, _path, who in bucket.asked:
        assert "AKIDEXAMPLE" in who
        assert OPTIONS["secret_key"] not in who


def test_a_bucket_that_is_away_is_a_fault_without_a_secret(agent: Agent, bucket: Bucket) -> None:
    stored = keep(agent, uuid4(), b"x")
    bucket.away = True
    with pytest.raises(StorageFailed) as written:
        keep(agent, uuid4(), b"x")
    with pytest.raises(StorageFailed):
        read(stored)
    assert str(OPTIONS["secret_key"]) not in str(written.value)
    assert purge_objects(timezone.now()) == 0
    assert StoredObject.objects.count() == 1


def test_with_the_library_there_is_nothing_to_complain_of(settings: Settings) -> None:
    settings.OBJECTS_BUCKET = "bodies"
    assert check_storage(None) == []
