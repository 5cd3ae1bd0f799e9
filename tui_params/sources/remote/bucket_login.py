"""Who asks a bucket: by the environment, by a profile of ``~/.aws`` (boto3), or as nobody in particular."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

_SIGNS = {
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ),
    "gs": (
        "GOOGLE_SERVICE_ACCOUNT",
        "GOOGLE_SERVICE_ACCOUNT_PATH",
        "GOOGLE_SERVICE_ACCOUNT_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_KEY",
        "AZURE_STORAGE_ACCESS_KEY",
        "AZURE_STORAGE_SAS_KEY",
        "AZURE_STORAGE_SAS_TOKEN",
        "AZURE_STORAGE_TOKEN",
        "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET",
        "AZURE_CLIENT_ID",
        "AZURE_FEDERATED_TOKEN_FILE",
        "AZURE_USE_AZURE_CLI",
        "AZURE_STORAGE_USE_EMULATOR",
    ),
}
"""Variables of which one is set where obstore finds credentials by itself."""

_GOOGLE_FILE = "~/.config/gcloud/application_default_credentials.json"
"""What `gcloud auth application-default login` writes; obstore reads it."""

_HINTS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "log in with `gcloud auth application-default login`",
    "az": "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY",
}


class BucketLogin(msgspec.Struct, frozen=True):
    """Options for a store of obstore, whether they mean to ask as nobody, and what to do about a refusal."""

    options: dict[str, Any]
    is_anonymous: bool
    hint: str

    def __repr__(self) -> str:
        return f"BucketLogin({self.hint!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("hint", self.hint)]


def find_login(scheme: str) -> BucketLogin:
    """What this user asks with. Without any credentials requests are not signed, which is right for public buckets."""
    if any(os.environ.get(name) for name in _SIGNS[scheme]):
        return BucketLogin({}, False, "the credentials in the environment do not allow it")
    if scheme == "gs" and Path(_GOOGLE_FILE).expanduser().exists():
        return BucketLogin({}, False, "the login of gcloud does not allow it")
    hint = _HINTS[scheme]
    if scheme == "s3" and _has_profiles():
        if find_spec("boto3") is None:
            hint = "to use the profiles in ~/.aws: pip install boto3"
        elif (provider := _by_profile()) is not None:
            return BucketLogin({"credential_provider": provider}, False, "the profile in ~/.aws does not allow it")
    return BucketLogin({"skip_signature": True}, True, hint)


def may_be_in_a_cloud(scheme: str) -> bool:
    """Whether to ask the machine's own cloud who it is, which takes seconds where there is none."""
    return scheme != "s3" or os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true"


def _has_profiles() -> bool:
    places = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
    return any(Path(os.environ.get(name) or usual).expanduser().is_file() for name, usual in places)


def _by_profile() -> Any:
    """What asks boto3 for keys whenever they expire; None where the profile has none, or does not exist."""
    boto3: Any = import_module("boto3")
    exceptions: Any = import_module("botocore.exceptions")
    provider: Any = import_module("obstore.auth.boto3")
    try:
        return provider.Boto3CredentialProvider(boto3.Session())
    except (ValueError, exceptions.BotoCoreError):
        return None
