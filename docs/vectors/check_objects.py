#!/usr/bin/env python3
"""A second implementation of sealed objects and of the chunker, to check docs/vectors/object.json
and docs/vectors/chunker.json.

Python 3.11 or later, standard library only (a `zstandard` module is used if there is one). It is
written from docs/formats/object.md and docs/formats/page.md and shares no code with the Rust
crates; BLAKE3 and AES-256-GCM-SIV come from check_escrow.py beside it. It is slow and not
constant-time: a checker, never a tool. Exits non-zero if any vector disagrees.

The chunker's stream of 8 MiB is not encrypted position by position, which would take most of an
hour here. Checked instead: every claimed boundary passes the threshold, positions that must not
pass (a sample drawn from a fixed seed, and the neighbours of every boundary) do not, and all
lengths keep their bounds.
"""

import json
import random
import struct
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from check_escrow import (  # noqa: E402
    B3_IV,
    CHUNK_END,
    CHUNK_START,
    ROOT,
    SBOX,
    GcmSiv,
    b3,
    b3_compress,
    derive_key,
    xtime,
)

KEYED = 16
HERE = Path(__file__).parent

try:
    import zstandard
except ImportError:
    zstandard = None

# ---------------------------------------------------------------- BLAKE3, what is missing


def keyed_hash(key, data):
    return b3(data, struct.unpack("<8I", key), KEYED)


class Stream:
    """BLAKE3's extendable output for one short input, any part of it."""

    def __init__(self, seed):
        assert len(seed) <= 64
        self.seed, self.blocks = seed, {}

    def block(self, n):
        if n not in self.blocks:
            flags = CHUNK_START | CHUNK_END | ROOT
            words = b3_compress(B3_IV, self.seed, n, len(self.seed), flags)
            self.blocks[n] = struct.pack("<16I", *words)
        return self.blocks[n]

    def read(self, start, end):
        first, last = start // 64, (end - 1) // 64
        data = b"".join(self.block(n) for n in range(first, last + 1))
        return data[start - 64 * first : end - 64 * first]


# ---------------------------------------------------------------- AES-128 (FIPS 197)


def aes128(key):
    words, rcon = [list(key[i : i + 4]) for i in range(0, 16, 4)], 1
    for i in range(4, 44):
        w = list(words[-1])
        if i % 4 == 0:
            w = [SBOX[b] for b in w[1:] + w[:1]]
            w[0] ^= rcon
            rcon = xtime(rcon)
        words.append([a ^ b for a, b in zip(words[-4], w)])
    rounds = [sum(words[i : i + 4], []) for i in range(0, 44, 4)]

    def encrypt(block):
        s = [a ^ b for a, b in zip(block, rounds[0])]
        for n in range(1, 11):
            s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if n < 10:
                t = []
                for c in range(0, 16, 4):
                    a = s[c : c + 4]
                    whole = a[0] ^ a[1] ^ a[2] ^ a[3]
                    t += [a[i] ^ whole ^ xtime(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
                s = t
            s = [a ^ b for a, b in zip(s, rounds[n])]
        return bytes(s)

    return encrypt


# FIPS 197, appendix B.
assert (
    aes128(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))(
        bytes.fromhex("3243f6a8885a308d313198a2e0370734")
    ).hex()
    == "3925841d02dc09fbdc118597196a0b32"
)

# ---------------------------------------------------------------- sealed objects

SUITE, FORMAT = 1, 1
HEADER, TAG, INNER = 33, 16, 5


def padme(length):
    length = max(length, 64)
    exponent = length.bit_length() - 1
    low_bits = exponent - exponent.bit_length()
    mask = (1 << low_bits) - 1
    return (length + mask) & ~mask


class Domain:
    def __init__(self, tenant_secret, set_name):
        scope = b"\0" if set_name is None else b"\1" + set_name.encode()
        self.secret = derive_key("seawall 2026-11 dedup domain v1", tenant_secret + scope)

    def key_and_index(self, kind, class_number, plain):
        header = struct.pack("<BBHBQ", kind, class_number, FORMAT, 1, len(plain))
        h = keyed_hash(self.secret, header + plain)
        key = derive_key("seawall 2026-11 object key v1", h)
        return key, derive_key("seawall 2026-11 object index v1", h)


def open_object(sealed, key, kind, class_number, plain_length):
    """(plain or None where zstd cannot be undone here, codec); raises ValueError if refused."""

    def demand(condition, what):
        if not condition:
            raise ValueError(what)

    demand(HEADER + TAG + INNER <= len(sealed) <= 16 << 20, "length")
    demand(sealed[0] == SUITE, "suite")
    commitment = derive_key("seawall 2026-11 object key commitment v1", key)
    demand(sealed[1:HEADER] == commitment, "commitment")
    aad = struct.pack("<BBH", kind, class_number, FORMAT)
    inner = GcmSiv(key).open(sealed[HEADER:], aad)
    demand(inner is not None, "tag")
    codec, length = struct.unpack_from("<BI", inner)
    demand(length <= len(inner) - INNER, "body length")
    body, padding = inner[INNER : INNER + length], inner[INNER + length :]
    demand(len(inner) == padme(INNER + length), "padded length")
    demand(not any(padding), "padding")
    if codec == 0:
        plain = body
    elif codec == 1 and zstandard is not None:
        plain = zstandard.ZstdDecompressor().decompress(body, max_output_size=plain_length)
    elif codec == 1:
        demand(body[:4] == b"\x28\xb5\x2f\xfd", "zstd magic")
        return None, codec
    else:
        raise ValueError("codec")
    demand(len(plain) == plain_length, "plain length")
    return plain, codec


def check_object(vector, skipped):
    plain, sealed = bytes.fromhex(vector["plain"]), bytes.fromhex(vector["object"])
    kind, class_number = vector["kind"], vector["class"]
    domain = Domain(bytes.fromhex(vector["tenant_secret"]), vector["set"])
    key, index = domain.key_and_index(kind, class_number, plain)
    assert key.hex() == vector["key"], "key"
    assert index.hex() == vector["index"], "index"
    assert b3(sealed).hex() == vector["id"], "id"
    opened, codec = open_object(sealed, key, kind, class_number, len(plain))
    if opened is None:
        skipped.append(vector["id"][:12])
    else:
        assert opened == plain, "plain"
    if codec == 0:
        # An uncompressed object can be made here too, byte for byte.
        body = struct.pack("<BI", 0, len(plain)) + plain
        inner = body.ljust(padme(len(body)), b"\0")
        commitment = derive_key("seawall 2026-11 object key commitment v1", key)
        aad = struct.pack("<BBH", kind, class_number, FORMAT)
        made = bytes([SUITE]) + commitment + GcmSiv(key).seal(inner, aad)
        assert made == sealed, "sealing again"
    return refusals(sealed, key, kind, class_number, len(plain))


def refusals(sealed, key, kind, class_number, plain_length):
    """Everything that must not open."""

    def flipped(at):
        return sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]

    other = bytes([key[0] ^ 1]) + key[1:]
    cases = [(flipped(at), key, kind, class_number) for at in (0, 1, 32, 33, len(sealed) - 1)]
    cases += [
        (sealed[:-1], key, kind, class_number),
        (sealed + b"\0", key, kind, class_number),
        (sealed, other, kind, class_number),
        (sealed, key, kind + 1, class_number),
        (sealed, key, kind, class_number + 1),
    ]
    for n, (data, k, kd, cl) in enumerate(cases):
        try:
            open_object(data, k, kd, cl, plain_length)
        except ValueError:
            continue
        raise AssertionError(f"case {n} opened")
    return len(cases)


# ---------------------------------------------------------------- chunker 1

MIN, NORMAL, MAX, WINDOW = 128 << 10, 512 << 10, 2 << 20, 64
P52 = 2**52 - 47
STRICT, LOOSE = 1 << 43, 1 << 47


class Chunker:
    def __init__(self, secret):
        material = derive_key("seawall 2026-11 chunker v1", secret, 24)
        self.r = int.from_bytes(material[:8], "little") % (P52 - 1) + 1
        self.encrypt = aes128(material[8:])

    def passes(self, window, length):
        """Whether a chunk of `length` bytes that ends with `window` ends there by content."""
        assert len(window) == WINDOW
        h = 0
        for byte in window:
            h = (h * self.r + byte + 1) % P52
        block = self.encrypt(h.to_bytes(8, "little") + bytes(8))
        return int.from_bytes(block[:8], "little") < (STRICT if length < NORMAL else LOOSE)


def check_chunker(vector, sample):
    chunker = Chunker(bytes.fromhex(vector["secret"]))
    stream, lengths = Stream(vector["seed"].encode()), vector["lengths"]
    assert sum(lengths) == vector["stream_bytes"], "lengths do not cover the stream"
    draw = random.Random(0)

    def passes(start, length):
        end = start + length
        return chunker.passes(stream.read(end - WINDOW, end), length)

    by_content = negatives = start = 0
    share = sample // len(lengths) + 1
    for n, length in enumerate(lengths):
        last = n == len(lengths) - 1
        assert length <= MAX and (last or length >= MIN), f"chunk {n} has {length} bytes"
        if not last and length < MAX:
            assert passes(start, length), f"boundary {n} does not pass"
            by_content += 1
        inside = range(MIN, length)
        picked = set(draw.sample(inside, min(share, len(inside))))
        picked |= {p for p in (MIN, NORMAL - 1, NORMAL, length - 1) if p in inside}
        for at in picked:
            assert not passes(start, at), f"chunk {n} should have ended at {at}"
        negatives += len(picked)
        start += length
    return by_content, negatives


def main():
    failed = 0
    skipped, refused = [], 0
    objects = json.loads((HERE / "object.json").read_text())["objects"]
    for n, vector in enumerate(objects):
        try:
            refused += check_object(vector, skipped)
        except (AssertionError, ValueError) as e:
            print(f"object {n}: {e}", file=sys.stderr)
            failed += 1
    assert len(objects) >= 4, "vectors went missing"
    print(f"object.json: {len(objects)} objects, {refused} alterations refused")
    if skipped:
        print(f"  zstd body not decompressed (no zstandard module): {' '.join(skipped)}")
    try:
        chunker = json.loads((HERE / "chunker.json").read_text())
        by_content, negatives = check_chunker(chunker, 2_000)
        print(f"chunker.json: {by_content} boundaries pass, {negatives} other positions do not")
    except AssertionError as e:
        print(f"chunker: {e}", file=sys.stderr)
        failed += 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
