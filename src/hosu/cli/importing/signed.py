"""Requests that S3 clients have no call for, signed as theirs: documents as they are, and MinIO's admin API."""

from urllib.parse import quote, urlencode

from hosu.cli.faults import as_hosu_error
from hosu.cli.profiles import Profile
from hosu.lake.importing.source import SourceError

OK, NOT_FOUND = 200, 404
CONNECTIONS = 4
TIMEOUT_S = 120
_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class SignedReader:
    """Sends GETs to an endpoint; safe for threads."""

    def __init__(self, profile: Profile) -> None:
        from botocore.auth import S3SigV4Auth
        from botocore.credentials import Credentials
        from botocore.httpsession import URLLib3Session

        credentials = Credentials(profile.access_key, profile.secret_key)
        self._endpoint = profile.endpoint.rstrip("/")
        self._signer = S3SigV4Auth(credentials, "s3", profile.region)
        self._http = URLLib3Session(timeout=TIMEOUT_S, max_pool_connections=CONNECTIONS)

    def __repr__(self) -> str:
        return f"<SignedReader {self._endpoint}>"

    def get(self, path: str, query: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Return status and body of what is at a path; raises UnavailableError where nobody answers."""
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        url = self._endpoint + quote(path)
        if query:
            url += "?" + urlencode(query, quote_via=quote)
        request = AWSRequest(method="GET", url=url, headers={"x-amz-content-sha256": _EMPTY_SHA256})
        self._signer.add_auth(request)
        try:
            answer = self._http.send(request.prepare())
            return answer.status_code, bytes(answer.content)
        except BotoCoreError as error:
            raise as_hosu_error(error, "import") from error

    def document(self, path: str, query: dict[str, str] | None = None) -> bytes | None:
        """Return what is at a path, None where there is nothing; raises SourceError for any other answer."""
        status, body = self.get(path, query)
        if status == OK:
            return body
        if status == NOT_FOUND:
            return None
        raise SourceError(f"the server answers {status}{_code(body)}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _code(body: bytes) -> str:
    """Return the code of an error document, to be put behind a status."""
    _, found, rest = body.partition(b"<Code>")
    code = rest.partition(b"</Code>")[0].decode("ascii", "replace") if found else ""
    return f" {code}" if code.isalnum() else ""
