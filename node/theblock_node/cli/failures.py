"""Every way in which a command can fail: one line of what, why and what to do, and an exit code.

0 done · 1 refused by the chain or by a member · 2 used wrongly · 3 nobody answered in time · 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_INTERRUPTED = 130
LINE_MAX = 600

_EXACT = {
    "accounts.insufficient_balance": "fund the account; `tb-cli accounts show` says what it has",
    "accounts.system_receiver": "pay an address of a key: hhhh:64 hex digits",
    "chain.history_pruned": "ask another member, or begin at the height that it still has",
    "energy.credit_expired": "`tb-cli energy credits` lists what can still be bought",
    "energy.price_limit": "raise --max-price-per-kwh, or wait for a better price",
    "energy.key_not_registered": "`tb-cli energy keys --provider-id ID` lists whose keys sign for it",
    "energy.nonce_replay": "leave --nonce out: the next one is taken from the chain",
    "mempool.insufficient_balance": "fund the account that signs; `tb-cli accounts show` says what it has",
    "mempool.nonce_gap": "send the transactions before it first, or build it anew",
    "mempool.full": "raise --tip, or try again when there is room",
    "rpc.admin_only": "it takes an administrator's certificate: --admin-cert and --admin-key, or a context with one",
    "rpc.members_only": "it takes a certificate of the network",
    "rpc.rate_limited": "wait a second and try again",
    "rpc.unimplemented": "this member does not serve it; ask one whose role does (`tb-cli status` lists them)",
    "snark.bad_inputs": "give a JSON object with every input of the circuit, its numbers as decimal strings",
    "snark.bad_wasm": "compile the circuit with circom 2: `circom2 CIRCUIT.circom --r1cs --wasm`",
    "snark.bundle": "make it anew with `tb-cli snark compile`, from files of one circuit",
    "snark.document_json": "give a proof.json, public.json or vk.json as snarkjs writes them",
    "snark.invalid_proof": "the proof, the inputs and the key are not of one statement",
    "snark.no_backend": "make the kernels (`python -m theblock_kernels`), and install what requirements/run.txt pins",
    "snark.self_check": "the witness is not of this key's circuit: prove with the bundle that `compile` wrote",
    "snark.unsatisfied": "the witness is not of this circuit, or was changed",
    "snark.witness_failed": "the inputs break an assertion of the circuit, in the line that is named",
    "tx.insufficient_balance": "fund the account that signs; `tb-cli accounts show` says what it has",
    "tx.fee_below_base": "the base fee has risen; send it again",
    "tx.wrong_chain": "this context belongs to another chain; check --context",
}
_BY_DOMAIN = {
    "codec": "`--help` says how each value is written",
    "snark": "`tb-cli snark inspect FILE` says what a file holds",
    "address": "an address is hhhh: and 64 hex digits; `tb-cli keys show FILE` prints a key's",
}
_BY_WORD = (
    ("unknown", "list what there is and check the id"),
    ("duplicate", "it is done already; look at its state instead of sending it again"),
    ("insufficient", "offer more, or ask for less"),
    ("unauthorized", "sign with the owner's key: --key FILE"),
    ("not_owner", "sign with the owner's key: --key FILE"),
    ("owner", "sign with the owner's key: --key FILE"),
    ("signature", "sign with the key that the chain knows"),
    ("full", "try again later"),
)
_DEFAULT = "docs/spec/refusals.md lists every refusal"
UNREACHED = "see that it runs (`make up`, `tb-cli status`), and --endpoint and --context"


@dataclass(frozen=True, slots=True)
class Failure:
    what: str
    """What failed, and its code where there is one."""
    todo: str
    code: int

    @property
    def line(self) -> str:
        text = " ".join(f"tb-cli: {self.what}; {self.todo}".split())
        return text if len(text) <= LINE_MAX else text[: LINE_MAX - 1] + "…"


def refused(code: str, message: str, facts: Mapping[str, object], *, exit_code: int = EXIT_REFUSED) -> Failure:
    """A refusal of the chain, of a member, or of our own codec."""
    shown = ", ".join(f"{name}={value}" for name, value in facts.items())
    detail = f" ({shown})" if shown else f" ({message})" if message and message != code else ""
    return Failure(f"refused: {code}{detail}", hint(code), exit_code)


def hint(code: str) -> str:
    """What to do about a refusal."""
    if code in _EXACT:
        return _EXACT[code]
    domain, _, reason = code.partition(".")
    if domain in _BY_DOMAIN:
        return _BY_DOMAIN[domain]
    return next((todo for word, todo in _BY_WORD if word in reason), _DEFAULT)


def unavailable(message: str, asked: str) -> Failure:
    """Nobody answered; ``asked`` says who was asked."""
    todo = UNREACHED
    if any(word in message for word in ("CERTIFICATE", "certificate", "Peer name", "Hostname")):
        todo = "its certificate is not of this authority or name: check --ca and --tls-name"
    elif "WRONG_VERSION_NUMBER" in message:
        todo = "it speaks without TLS: leave --ca out"
    elif "Socket closed" in message or "GOAWAY" in message:
        todo = "members speak TLS: give --ca FILE, or a --context"
    return Failure(f"nobody answered{f' at {asked}' if asked else ''}: {message[:300]}", todo, EXIT_UNAVAILABLE)


def late(what: str) -> Failure:
    return Failure(f"not done in time: {what}", "it may still happen; look again, or wait longer with --timeout",
                   EXIT_UNAVAILABLE)  # fmt: skip


def misused(what: str, todo: str) -> Failure:
    return Failure(what, todo, EXIT_USAGE)
