"""What authsvc counts. Labels are outcomes and names of limits, never anything a person typed."""

from prometheus_client import Counter, Gauge, Histogram

LOGINS = Counter("precis_auth_logins", "Log-ins by outcome.", ["outcome"])
REGISTRATIONS = Counter("precis_auth_registrations", "Registrations by outcome.", ["outcome"])
REFRESHES = Counter("precis_auth_refreshes", "Refreshes by outcome.", ["outcome"])
LIMITED = Counter("precis_auth_limited", "Requests refused by a rate limit.", ["limit"])
HASHES_PENDING = Gauge("precis_auth_hashes_pending", "Password hashes running or waiting for a thread.")
HASHES_SHED = Counter("precis_auth_hashes_shed", "Requests refused because the hash threads were busy.")
HASH_SECONDS = Histogram(
    "precis_auth_hash_seconds", "Time of one password hash.", buckets=(0.01, 0.03, 0.1, 0.3, 1, 3)
)
CANARY = Gauge(
    "precis_auth_canary", "1: PostgREST refuses forged tokens and takes ours; 0: not; -1: not known."
)
