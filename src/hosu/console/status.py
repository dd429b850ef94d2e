"""The status page: whether the lake is fit, what is in it, and how to connect with each client."""

from datetime import UTC, datetime
from html import escape

import msgspec

from hosu._version import __version__
from hosu.objects.alerts import Alert, Severity
from hosu.objects.records import Bucket

STYLE = """
:root { color-scheme: light dark; --ink: #14323f; --soft: #5b7682; --line: #d5e1e6; --lake: #0b7285; --paper: #f7fafb; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3eff3; --soft: #93aab4; --line: #27414b; --lake: #4fc3d7; --paper: #0e1b21; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 60rem; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; } h1 small { font-weight: 400; color: var(--soft); font-size: 1rem; }
h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p.health { display: inline-block; margin: 1rem 0 0; padding: .25rem .75rem; border-radius: 1rem;
  border: 1px solid var(--lake); color: var(--lake); }
p.health.ill { border-color: #c92a2a; color: #c92a2a; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: right; padding: .35rem .5rem;
  border-bottom: 1px solid var(--line); } th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 500; }
table.alerts th, table.alerts td { text-align: left; vertical-align: top; white-space: nowrap; }
table.alerts td:nth-child(3), table.alerts td:nth-child(4) {
  white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
tr.critical td:first-child { color: #c92a2a; font-weight: 600; } tr.warning td:first-child { color: #b35c00; }
pre { background: color-mix(in srgb, var(--lake) 8%, transparent); padding: .75rem 1rem; border-radius: .5rem;
  overflow-x: auto; font-size: .875rem; } a { color: var(--lake); } p.note { color: var(--soft); }
"""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
KIB = 1024


class Status(msgspec.Struct, frozen=True):
    """What the page shows. `buckets` is None for visitors who have not signed in."""

    is_ready: bool
    endpoint: str
    buckets: list[Bucket] | None
    is_secure: bool = False
    """Whether S3 is served over TLS."""

    alerts: list[Alert] | None = None
    """Those that stand; None for visitors who have not signed in."""


def human_bytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    size, unit = float(size_bytes), 0
    while size >= KIB and unit < len(UNITS) - 1:
        size, unit = size / KIB, unit + 1
    return f"{size_bytes} B" if unit == 0 else f"{size:.1f} {UNITS[unit]}"


def render_status(status: Status) -> str:
    """Return the page's HTML."""
    health = (
        '<p class="health">● ready</p>'
        if status.is_ready
        else '<p class="health ill">● not ready: the lake cannot be written to; see the server\'s log</p>'
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>hosu</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>"
        f"<h1>hosu <small>호수 {escape(__version__)} · S3 on {escape(status.endpoint)}</small></h1>{health}"
        f"{_alerts(status.alerts)}{_buckets(status.buckets)}"
        f"{_connect(status.endpoint, is_secure=status.is_secure)}</body></html>"
    )


def _alerts(alerts: list[Alert] | None) -> str:
    if alerts is None:
        return ""
    if not alerts:
        return '<h2>Alerts</h2><p class="note">None.</p>'
    rows = "".join(
        f'<tr class="{alert.severity}"><td>{escape(alert.severity)}</td><td>{escape(alert.kind)}</td>'
        f"<td>{escape(alert.subject)}</td><td>{escape(alert.message)}</td><td>{_time(alert.first_ms)}</td>"
        f"<td>{alert.count:,}</td></tr>"
        for alert in sorted(alerts, key=lambda alert: (_WORST.index(alert.severity), -alert.last_ms))
    )
    head = "<tr><th>Severity</th><th>Kind</th><th>About</th><th>What</th><th>Since</th><th>Noticed</th></tr>"
    return f'<h2>Alerts</h2><table class="alerts"><thead>{head}</thead><tbody>{rows}</tbody></table>'


_WORST = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _buckets(buckets: list[Bucket] | None) -> str:
    title = "<h2>Buckets</h2>"
    if buckets is None:
        return (
            f'{title}<p class="note"><a href="/buckets">Sign in</a> with root\'s access key and secret to see them.</p>'
        )
    if not buckets:
        return f'{title}<p class="note">None yet. Make the first one with a client below.</p>'
    rows = "".join(
        f"<tr><td>{escape(bucket.name)}</td><td>{bucket.usage.object_count:,}</td>"
        f"<td>{human_bytes(bucket.usage.object_bytes)}</td><td>{bucket.usage.version_count:,}</td>"
        f"<td>{human_bytes(bucket.usage.version_bytes)}</td><td>{bucket.versioning.name.lower()}</td></tr>"
        for bucket in buckets
    )
    head = (
        "<tr><th>Name</th><th>Objects</th><th>Size</th><th>Old versions</th><th>Their size</th><th>Versioning</th></tr>"
    )
    return f"{title}<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _connect(endpoint: str, *, is_secure: bool) -> str:
    url = f"{'https' if is_secure else 'http'}://{endpoint}"
    allow_http = "" if is_secure else ', "aws_allow_http": "true"'
    insecure = "" if is_secure else ", secure=False"
    use_ssl = "" if is_secure else ", USE_SSL false"
    guides = {
        "hosu": f"hosu profile set lake --endpoint {url} --access-key KEY --secret-key SECRET\n"
        "hosu mb hosu://lake/images\nhosu cp photo.jpg hosu://lake/images/",
        "boto3": f'import boto3\ns3 = boto3.client("s3", endpoint_url="{url}",\n'
        '                  aws_access_key_id="KEY", aws_secret_access_key="SECRET", region_name="us-east-1")\n'
        's3.upload_file("photo.jpg", "images", "photo.jpg")',
        "minio-py": f'from minio import Minio\nclient = Minio("{endpoint}", "KEY", "SECRET"{insecure})\n'
        'client.fput_object("images", "photo.jpg", "photo.jpg")',
        "awscli": f"aws --endpoint-url {url} s3 cp photo.jpg s3://images/",
        "mc": f"mc alias set lake {url} KEY SECRET\nmc cp photo.jpg lake/images/",
        "rclone": f"rclone lsd \":s3,provider=Other,endpoint='{url}',access_key_id=KEY,secret_access_key=SECRET:\"",
        "Spark (s3a)": f"spark.hadoop.fs.s3a.endpoint {url}\nspark.hadoop.fs.s3a.access.key KEY\n"
        "spark.hadoop.fs.s3a.secret.key SECRET\nspark.hadoop.fs.s3a.path.style.access true",
        "Polars": 'pl.scan_parquet("s3://images/table.parquet", storage_options={\n'
        f'    "aws_endpoint_url": "{url}", "aws_access_key_id": "KEY", "aws_secret_access_key": "SECRET",\n'
        f'    "aws_region": "us-east-1"{allow_http}}})',
        "DuckDB": f"CREATE SECRET (TYPE s3, KEY_ID 'KEY', SECRET 'SECRET', ENDPOINT '{endpoint}',\n"
        f"               URL_STYLE 'path'{use_ssl});\nSELECT * FROM 's3://images/table.parquet';",
    }
    parts = "".join(f"<h3>{escape(name)}</h3><pre>{escape(text)}</pre>" for name, text in guides.items())
    return f"<h2>Connect</h2>{parts}"
