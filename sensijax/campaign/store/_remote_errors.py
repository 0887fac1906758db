"""What a failed request to an object store means: may it pass, and what is to be done.

The clients of the stores have errors of their own; they are told apart by the code that the server sent and by the
names of their types, so that none of these packages is imported here.
"""

import errno
from collections.abc import Iterator

_TYPES_THAT_PASS = (OSError, TimeoutError, EOFError)
_MODULES_THAT_PASS = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "requests", "urllib3", "http", "fsspec", "azure")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "CredentialRetrievalError",
)
_WRONG_PROFILE = ("ProfileNotFound", "ConfigParseError", "ConfigNotFound")
_NOT_ACCEPTED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed")
_EXPIRED = (
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "TokenRefreshRequired",
    "UnauthorizedSSOTokenError",
)
_DENIED = ("AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "401", "Forbidden", "Unauthorized")
_BUSY = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "OperationAborted", "Throttling")
_UNREACHABLE = (
    "EndpointConnectionError",
    "ClientConnectorError",
    "ClientConnectorDNSError",
    "ConnectTimeoutError",
    "ConnectionRefusedError",
    "gaierror",
)
_LASTING_ERRNO = (errno.EINVAL, errno.ENOSYS, errno.ENAMETOOLONG, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def is_missing(error: BaseException) -> bool:
    """Whether there is no such object."""
    return isinstance(error, FileNotFoundError) or bool({"NoSuchKey", "404"} & _signs(error))


def no_bucket(error: BaseException) -> bool:
    """Whether not even the bucket is there."""
    return "NoSuchBucket" in _signs(error) or any("bucket does not exist" in str(e) for e in _chain(error))


def is_there(error: BaseException) -> bool:
    """Whether a conditional write found an object."""
    return isinstance(error, FileExistsError) or bool({"PreconditionFailed", "412"} & _signs(error))


def not_offered(error: BaseException) -> bool:
    """Whether the store knows no such request."""
    return isinstance(error, NotImplementedError) or bool({"NotImplemented", "501"} & _signs(error))


def is_lasting(error: BaseException) -> bool:
    """Whether sending the request again is in vain."""
    signs = _signs(error)
    if signs & {*_BUSY, "429", "500", "502", "503", "504", "ConditionalRequestConflict", "409"}:
        return False
    if signs & {*_NO_CREDENTIALS, *_WRONG_PROFILE, *_NOT_ACCEPTED, *_EXPIRED, *_DENIED, "NoSuchBucket"}:
        return True
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError, NotImplementedError)):
        return True
    if isinstance(error, OSError) and error.errno in _LASTING_ERRNO and not signs & {"BadDigest", "IncompleteBody"}:
        return True
    foreign = any(type(e).__module__.split(".")[0] in _MODULES_THAT_PASS for e in _chain(error))
    return not (isinstance(error, _TYPES_THAT_PASS) or foreign)


def explained(error: BaseException, url: str, doing: str) -> str:
    """One line: what happened, and the next step.

    Args:
      error: what a filesystem raised.
      url: the store's.
      doing: what was tried, such as "write parts/0123.parquet".
    """
    signs, scheme = _signs(error), url.split("://", 1)[0]
    bucket = url.split("://", 1)[-1].split("/", 1)[0]
    kept = "every finished tile is kept, and the same command goes on from there"
    if no_bucket(error):
        said, advice = f"there is no bucket {bucket!r}", "create it, or mend the URL"
    elif signs & {*_NO_CREDENTIALS, *_WRONG_PROFILE} or "Anonymous caller" in str(error):
        said, advice = "found no credentials", _where_credentials(scheme)
    elif signs & set(_EXPIRED):
        said, advice = "the credentials have expired", f"renew them; {kept}"
    elif signs & set(_NOT_ACCEPTED):
        said, advice = "the store does not accept the credentials", _where_credentials(scheme)
    elif isinstance(error, PermissionError) or signs & set(_DENIED):
        said = "access denied"
        advice = f"let this account list, read, write and delete objects in {bucket!r}"
    elif signs & set(_UNREACHABLE):
        endpoint = " and the endpoint (AWS_ENDPOINT_URL)" if scheme.startswith("s3") else ""
        said, advice = "cannot reach the store", f"check the network{endpoint}; {kept}"
    elif isinstance(error, TimeoutError):
        said, advice = "the store did not answer in time", f"check the network; {kept}"
    elif signs & {*_BUSY, "429", "500", "502", "503", "504"}:
        said, advice = f"the store is overloaded or failing ({_first_line(error)})", f"run again later; {kept}"
    elif isinstance(error, NotImplementedError):
        said, advice = f"{scheme}:// cannot do this", "choose a store that can be written"
    else:
        said, advice = _first_line(error), f"check the store and run again; {kept}"
    return f"{url}: {said} (tried to {doing}): {advice}"


def _where_credentials(scheme: str) -> str:
    if scheme.startswith("s3"):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run on a machine with a role"
    if scheme in ("gs", "gcs"):
        return "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
    return "give them the way fsspec expects them for this scheme"


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised from; what merely was being handled says nothing about it."""
    while error is not None:
        yield error
        error = error.__cause__


def _signs(error: BaseException) -> set[str]:
    """The server's codes and the names of the types, of an error and of what caused it."""
    signs = set()
    for one in _chain(error):
        signs |= {kind.__name__ for kind in type(one).__mro__}
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            signs.add(str(response.get("Error", {}).get("Code", "")))
            signs.add(str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")))
        for name in ("code", "status", "status_code"):
            if isinstance(value := getattr(one, name, None), (int, str)):
                signs.add(str(value))
    return signs
