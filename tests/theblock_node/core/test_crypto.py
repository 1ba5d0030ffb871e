"""Which signatures are accepted is a rule of the chain: libsodium's, strict. Two nodes must never differ in it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_node.core import crypto

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
KEY = crypto.SigningKey.from_seed(b"\1" * 32)
MESSAGE = b"twelve blocks"
SIGNATURE = KEY.sign(MESSAGE)

IDENTITY = (1).to_bytes(32, "little")
EIGHTH = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
OTHER_EIGHTH = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")


def encoded(y: int, sign: int = 0) -> bytes:
    return (y + (sign << 255)).to_bytes(32, "little")


SMALL_ORDER = {
    "identity": IDENTITY,
    "order-2": encoded(P - 1),
    "order-4": encoded(0),
    "order-4-negative": encoded(0, 1),
    "order-8": EIGHTH,
    "order-8-negative": EIGHTH[:31] + bytes([EIGHTH[31] | 0x80]),
    "order-8-other": OTHER_EIGHTH,
    "order-8-other-negative": OTHER_EIGHTH[:31] + bytes([OTHER_EIGHTH[31] | 0x80]),
    "order-4-not-canonical": encoded(P),
    "identity-not-canonical": encoded(P + 1),
    "identity-negative": encoded(1, 1),
    "order-2-negative": encoded(P - 1, 1),
    "identity-not-canonical-negative": encoded(P + 1, 1),
}


@pytest.mark.parametrize(
    ("seed", "public_key", "message", "signature"),
    [
        pytest.param(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            id="rfc-8032-test-1",
        ),
        pytest.param(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            id="rfc-8032-test-2",
        ),
        pytest.param(
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            id="rfc-8032-test-3",
        ),
    ],
)
def test_signing_follows_rfc_8032(seed, public_key, message, signature):
    key = crypto.SigningKey.from_seed(bytes.fromhex(seed))

    assert key.public_key.hex() == public_key
    assert key.sign(bytes.fromhex(message)).hex() == signature
    assert crypto.verify(bytes.fromhex(public_key), bytes.fromhex(message), bytes.fromhex(signature))


@pytest.mark.parametrize("name", SMALL_ORDER)
def test_a_key_of_small_order_signs_nothing(name):
    """With R the identity and S zero the equation holds for half or more of all messages."""
    key = SMALL_ORDER[name]
    messages = [str(number).encode() for number in range(64)]

    assert not any(crypto.verify(key, message, IDENTITY + bytes(32)) for message in messages)
    assert not crypto.is_valid_key(key)


def test_another_library_would_accept_the_identity():
    """Why acceptance is one library's: OpenSSL takes what is refused above, for any message."""
    Ed25519PublicKey.from_public_bytes(IDENTITY).verify(IDENTITY + bytes(32), MESSAGE)


@pytest.mark.parametrize("name", SMALL_ORDER)
def test_a_commitment_of_small_order_is_refused(name):
    for scalar in (0, 1, ORDER - 1):
        assert not crypto.verify(KEY.public_key, MESSAGE, SMALL_ORDER[name] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("times", [1, 2, 7, 14])
def test_a_scalar_that_is_not_reduced_is_refused(times):
    """S plus a multiple of the order satisfies the same equation: a second id for one transaction."""
    scalar = int.from_bytes(SIGNATURE[32:], "little") + times * ORDER
    assert crypto.verify(KEY.public_key, MESSAGE, SIGNATURE)

    assert not crypto.verify(KEY.public_key, MESSAGE, SIGNATURE[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    ("key", "signature"),
    [
        pytest.param(KEY.public_key[:31], SIGNATURE, id="short-key"),
        pytest.param(KEY.public_key + b"\0", SIGNATURE, id="long-key"),
        pytest.param(KEY.public_key, SIGNATURE[:63], id="short-signature"),
        pytest.param(KEY.public_key, SIGNATURE + b"\0", id="long-signature"),
        pytest.param(KEY.public_key, b"", id="no-signature"),
        pytest.param(bytes(31) + b"\x70", SIGNATURE, id="not-on-the-curve"),
        pytest.param(b"\xff" * 32, SIGNATURE, id="above-the-field"),
        pytest.param(crypto.SigningKey.from_seed(b"\2" * 32).public_key, SIGNATURE, id="anothers-key"),
    ],
)
def test_what_is_malformed_is_false_not_an_error(key, signature):
    assert crypto.verify(key, MESSAGE, signature) is False
    assert crypto.verify_batch([(key, MESSAGE, signature)]) == [False]


@settings(max_examples=200)
@given(st.integers(0, 8 * 64 - 1))
def test_every_bit_of_a_signature_counts(bit):
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8

    assert not crypto.verify(KEY.public_key, MESSAGE, bytes(changed))


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=12))
def test_a_batch_gives_each_signature_its_own_verdict(messages):
    items = [
        (KEY.public_key, message, KEY.sign(message) if is_good else KEY.sign(message + b"!"))
        for message, is_good in messages
    ]

    assert crypto.verify_batch(items) == [is_good for _, is_good in messages]
    assert crypto.verify_batch(items) == [crypto.verify(*item) for item in items]


def test_a_key_shows_no_secret():
    seed = b"\5" * 32
    key = crypto.SigningKey.from_seed(seed)

    assert repr(key) == f"SigningKey({key.public_key.hex()})"
    with pytest.raises(ValueError, match="32 bytes"):
        crypto.SigningKey.from_seed(seed[:31])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (crypto.blake3(b""), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (crypto.blake3(b"abc"), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        (crypto.blake3_xof(b"abc", 32), "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        (crypto.sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (crypto.sha256d(b"hello"), "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"),
    ],
)
def test_hashes_are_the_published_ones(found, expected):
    assert found.hex() == expected


def test_a_keyed_hash_is_over_the_whole_and_depends_on_the_key():
    whole = crypto.blake3_keyed(b"k" * 32, [b"abcdef"])

    assert crypto.blake3_keyed(b"k" * 32, [b"abc", b"", b"def"]) == whole
    assert crypto.blake3_keyed(b"l" * 32, [b"abcdef"]) != whole
    assert len(crypto.blake3_xof(b"abc", 100)) == 100
