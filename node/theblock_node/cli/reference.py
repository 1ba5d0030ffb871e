"""What stands before the commands in their reference, `docs/cli.md`."""

INTRODUCTION = """\
# `tb-cli`

Made from the commands themselves (`make generate`).

## How it finds the network

The first of these that is there:

1. `--endpoint HOST:PORT` (may be repeated), with `--ca FILE` for TLS and `--tls-name NAME` where the certificates
   are not for the host;
2. `--context FILE`, or the variable `TB_CONTEXT`;
3. `./build/up/context.json`, which `make up` writes;
4. `/etc/theblock/config/config.json`: inside a member's pod, the member itself and the peers that it knows.

A context file:

```json
{
 "network": "devnet",
 "namespace": "theblock",
 "members": [
  {"name": "validators-0", "role": "validator", "resource": "validators", "host": "127.0.0.1", "grpc": 26658,
   "tls_name": "validators-0.theblock.svc"}
 ],
 "ca": "/path/ca.crt",
 "admin": {"certificate": "/path/admin.crt", "key": "/path/admin.key"},
 "funder": "/path/funder.key",
 "explorer": "http://127.0.0.1:8080",
 "metrics": {"validators-0": "http://127.0.0.1:9898/metrics"}
}
```

`ca`, `admin`, `funder` and `explorer` may be null, and `network` while
there is none yet. Administrators' calls go to the mutual port, one below `grpc`.

## Which key signs

`--key FILE` (`-` is standard input), or the variable `TB_KEY`, or the context's `funder`, and then it says so. A key
file holds the hex of a 32-byte Ed25519 seed; `tb-cli keys generate FILE` makes one that only its owner reads. Secrets
are never arguments.

## How values are written

| value | written |
|---|---|
| amount | nBLOCK as a whole number, or BLOCK as in `1.5BLOCK`; 1 BLOCK is 1 000 000 000 nBLOCK |
| bytes | hex, or `@FILE` for the bytes of a file (`@-`: standard input) |
| a record, a list of records | JSON, or `@FILE` for the JSON in a file; its form is in `docs/spec/<call>.schema.json` |
| a list | the option repeated |

`--output json` prints one JSON document (`events`: one a line) with amounts as strings. `--wait none|committed|final`
says how long a command that sends a transaction waits; `final` is the default. `--dry-run` signs and prints the
envelope, which `tb-cli tx submit` sends.

## Exit codes

| code | meaning |
|---:|---|
| 0 | done |
| 1 | refused by the chain or by a member; the code, `domain.reason`, stands in the line (`docs/spec/refusals.md`) |
| 2 | used wrongly: an option, a value, a file, no network known |
| 3 | nobody answered in time |
| 130 | interrupted |

An error is one line on standard error: what failed, why, and what to do.

## Commands

The network options stand under `tb-cli`, the signing options under `tb-cli tx send`.
"""
