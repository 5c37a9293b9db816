#!/usr/bin/env python3
"""A second implementation of the escrow formats, to check docs/vectors/escrow.json and ceremony.json.

Python 3.11 or later, standard library only. It is written from docs/formats/{capsule,share,
partial,ceremony}.md and the papers and RFCs they cite, shares no code with the Rust crate, and is slow and
not constant-time: a checker, never a tool. Exits non-zero if any vector disagrees.
"""

import base64
import hashlib
import json
import struct
import sys
from pathlib import Path

import mlkem

# ---------------------------------------------------------------- ristretto255 (RFC 9496)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def negative(x):
    return x % P & 1


def absolute(x):
    return -x % P if negative(x) else x % P


def sqrt_ratio(u, v):
    """Section 4.2: (was square, the non-negative root)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    correct, flipped, flipped_i = check == u % P, check == -u % P, check == -u * SQRT_M1 % P
    if flipped or flipped_i:
        r = r * SQRT_M1 % P
    return correct or flipped, absolute(r)


A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
# The specification prints the negative one of the two roots.
SQRT_AD_MINUS_ONE = -sqrt_ratio(-D - 1, 1)[1] % P
assert SQRT_AD_MINUS_ONE == int(
    "25063068953384623474111414158702152701244531502492656460079210482610430750235"
)


class Point:
    """An Edwards point in extended coordinates, compared as a ristretto255 element."""

    def __init__(self, x, y, z=1, t=None):
        self.x, self.y, self.z = x % P, y % P, z % P
        self.t = x * y % P if t is None else t % P

    def __add__(self, o):
        a = (self.y - self.x) * (o.y - o.x) % P
        b = (self.y + self.x) * (o.y + o.x) % P
        c = 2 * D * self.t * o.t % P
        d = 2 * self.z * o.z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f, g * h, f * g, e * h)

    def __neg__(self):
        return Point(-self.x, self.y, self.z, -self.t)

    def __sub__(self, o):
        return self + -o

    def __rmul__(self, scalar):
        total, power, scalar = IDENTITY, self, scalar % L
        while scalar:
            if scalar & 1:
                total = total + power
            power, scalar = power + power, scalar >> 1
        return total

    def __eq__(self, o):
        return (self.x * o.y - self.y * o.x) % P == 0 or (self.y * o.y - self.x * o.x) % P == 0

    def encode(self):
        """Section 4.3.2."""
        u1 = (self.z + self.y) * (self.z - self.y) % P
        u2 = self.x * self.y % P
        _, invsqrt = sqrt_ratio(1, u1 * u2 * u2)
        den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
        z_inv = den1 * den2 * self.t % P
        if negative(self.t * z_inv):
            x, y = self.y * SQRT_M1 % P, self.x * SQRT_M1 % P
            den_inv = den1 * A_MINUS_D % P
        else:
            x, y, den_inv = self.x, self.y, den2
        if negative(x * z_inv):
            y = -y
        return absolute(den_inv * (self.z - y)).to_bytes(32, "little")


IDENTITY = Point(0, 1)


def decode_point(data):
    """Section 4.3.1; returns (point, None) or (None, why it was refused)."""
    s = int.from_bytes(data, "little")
    if s >= P:
        return None, "not canonical"
    if negative(s):
        return None, "negative"
    ss = s * s % P
    u1, u2 = (1 - ss) % P, (1 + ss) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, invsqrt = sqrt_ratio(1, v * u2 * u2)
    den_x = invsqrt * u2 % P
    x = absolute(2 * s * den_x)
    y = u1 * invsqrt * den_x * v % P
    if not square:
        return None, "not square"
    if negative(x * y):
        return None, "xy negative"
    if y == 0:
        return None, "y is zero"
    return Point(x, y), None


def element(data):
    point, _ = decode_point(data)
    return None if point is None or point == IDENTITY else point


def one_way_map(data):
    """Section 4.3.4: 64 bytes to an element."""
    return sum((elligator(data[i : i + 32]) for i in (0, 32)), IDENTITY)


def elligator(half):
    one_minus_d_sq, d_minus_one_sq = (1 - D * D) % P, (D - 1) ** 2 % P
    t = int.from_bytes(half, "little") % 2**255 % P
    r = SQRT_M1 * t * t % P
    u = (r + 1) * one_minus_d_sq % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * d_minus_one_sq - v) % P
    w0, w1 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P
    w2, w3 = (1 - s * s) % P, (1 + s * s) % P
    return Point(w0 * w3, w2 * w1, w1 * w3, w0 * w2)


BASE = decode_point(
    bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
)[0]
SECOND = one_way_map(hashlib.sha512(b"seawall 2026-11 tdh2 second generator v1").digest())


def scalar(data):
    """The canonical scalar, or None."""
    n = int.from_bytes(data, "little")
    return n if n < L else None


def lagrange(indices, at):
    out = []
    for i in indices:
        n = d = 1
        for j in indices:
            if i != j:
                n, d = n * (at - j) % L, d * (i - j) % L
        out.append(n * pow(d, L - 2, L) % L)
    return out


def interpolate(points, at):
    weights = lagrange([i for i, _ in points], at)
    return sum((w * p for w, (_, p) in zip(weights, points)), IDENTITY)


# ---------------------------------------------------------------- BLAKE3 (derive_key and XOF)

B3_IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)
B3_PERM = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64
M32 = 2**32 - 1


def b3_compress(cv, block, counter, length, flags):
    v = [*cv, *B3_IV[:4], counter & M32, counter >> 32, length, flags]
    m = list(struct.unpack("<16I", block.ljust(64, b"\0")))

    def mix(a, b, c, d, x, y):
        for word, r1, r2 in ((x, 16, 12), (y, 8, 7)):
            v[a] = (v[a] + v[b] + word) & M32
            v[d] ^= v[a]
            v[d] = (v[d] >> r1 | v[d] << 32 - r1) & M32
            v[c] = (v[c] + v[d]) & M32
            v[b] ^= v[c]
            v[b] = (v[b] >> r2 | v[b] << 32 - r2) & M32

    for _ in range(7):
        for i in range(4):
            mix(i, i + 4, i + 8, i + 12, m[2 * i], m[2 * i + 1])
        for i in range(4):
            mix(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12, m[8 + 2 * i], m[9 + 2 * i])
        m = [m[i] for i in B3_PERM]
    return [v[i] ^ v[i + 8] for i in range(8)] + [v[i + 8] ^ cv[i] for i in range(8)]


def b3_node(data, key, flags, index):
    """The last compression of a subtree, as arguments, so that the root can be extended."""
    if len(data) <= 1024:
        cv = key
        blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
        for n, block in enumerate(blocks):
            f = flags | (CHUNK_START if n == 0 else 0)
            if n == len(blocks) - 1:
                return cv, block, index, len(block), f | CHUNK_END
            cv = b3_compress(cv, block, index, 64, f)[:8]
    left = 1024 * 2 ** ((len(data) - 1) // 1024).bit_length() // 2
    cvs = []
    for part, at in ((data[:left], index), (data[left:], index + left // 1024)):
        cvs += b3_compress(*b3_node(part, key, flags, at))[:8]
    return key, struct.pack("<16I", *cvs), 0, 64, flags | PARENT


def b3(data, key=B3_IV, flags=0, length=32):
    cv, block, _, size, f = b3_node(data, key, flags, 0)
    words = (b3_compress(cv, block, n, size, f | ROOT) for n in range((length + 63) // 64))
    return b"".join(struct.pack("<16I", *w) for w in words)[:length]


def derive_key(context, material, length=32):
    key = struct.unpack("<8I", b3(context.encode(), flags=CONTEXT))
    return b3(material, key, MATERIAL, length)


def hash_to_scalar(context, data):
    return int.from_bytes(derive_key(context, data, 64), "little") % L


# ---------------------------------------------------------------- AES-256-GCM-SIV (RFC 8452)


def aes_tables():
    sbox, p, q = [0] * 256, 1, 1
    while True:
        p ^= (p << 1) ^ (0x11B if p & 0x80 else 0)
        p &= 0xFF
        for shift in (1, 2, 4):
            q ^= q << shift
            q &= 0xFF
        q ^= 0x09 if q & 0x80 else 0
        x = q
        for n in range(1, 5):
            x ^= (q << n | q >> 8 - n) & 0xFF
        sbox[p] = x ^ 0x63
        if p == 1:
            sbox[0] = 0x63
            return sbox


SBOX = aes_tables()


def xtime(b):
    return (b << 1 ^ (0x1B if b & 0x80 else 0)) & 0xFF


def aes256(key):
    words, rcon = [list(key[i : i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        w = list(words[-1])
        if i % 8 == 0:
            w = [SBOX[b] for b in w[1:] + w[:1]]
            w[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            w = [SBOX[b] for b in w]
        words.append([a ^ b for a, b in zip(words[-8], w)])
    rounds = [sum(words[i : i + 4], []) for i in range(0, 60, 4)]

    def encrypt(block):
        s = [a ^ b for a, b in zip(block, rounds[0])]
        for n in range(1, 15):
            s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
            if n < 14:
                t = []
                for c in range(0, 16, 4):
                    a = s[c : c + 4]
                    whole = a[0] ^ a[1] ^ a[2] ^ a[3]
                    t += [a[i] ^ whole ^ xtime(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
                s = t
            s = [a ^ b for a, b in zip(s, rounds[n])]
        return bytes(s)

    return encrypt


def polyval(key, data):
    """POLYVAL by GHASH's rules on bit strings: dot(a, b) = a * b * x^-128 (section 3)."""
    poly = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1

    def dot(a, b):
        product = 0
        for i in range(128):
            if b >> i & 1:
                product ^= a << i
        for _ in range(128):
            if product & 1:
                product ^= poly
            product >>= 1
        return product

    h, s = int.from_bytes(key, "little"), 0
    for i in range(0, len(data), 16):
        s = dot(s ^ int.from_bytes(data[i : i + 16], "little"), h)
    return s.to_bytes(16, "little")


def pad16(data):
    return data + bytes(-len(data) % 16)


class GcmSiv:
    """With the all-zero nonce, the only one these formats use."""

    def __init__(self, key):
        nonce, outer = bytes(12), aes256(key)
        parts = [outer(struct.pack("<I", n) + nonce)[:8] for n in range(6)]
        self.auth, self.enc = b"".join(parts[:2]), aes256(b"".join(parts[2:]))

    def tag(self, plain, aad):
        lengths = struct.pack("<QQ", len(aad) * 8, len(plain) * 8)
        s = bytearray(polyval(self.auth, pad16(aad) + pad16(plain) + lengths))
        s[15] &= 0x7F
        return self.enc(bytes(s))

    def stream(self, tag, data):
        head, tail = int.from_bytes(tag[:4], "little"), tag[4:15] + bytes([tag[15] | 0x80])
        out = b""
        for n in range(0, len(data), 16):
            block = self.enc(struct.pack("<I", (head + n // 16) & M32) + tail)
            out += bytes(a ^ b for a, b in zip(data[n : n + 16], block))
        return out

    def seal(self, plain, aad):
        tag = self.tag(plain, aad)
        return self.stream(tag, plain) + tag

    def open(self, sealed, aad):
        tag = sealed[-16:]
        plain = self.stream(tag, sealed[:-16])
        return plain if self.tag(plain, aad) == tag else None


# ---------------------------------------------------------------- AES-256-GCM (NIST SP 800-38D)


def ghash(key, data):
    """Section 6.4: bits of a block are numbered from the left."""
    reduce, h, y = 0xE1 << 120, int.from_bytes(key, "big"), 0
    for i in range(0, len(data), 16):
        x, z, v = y ^ int.from_bytes(data[i : i + 16], "big"), 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (reduce if v & 1 else 0)
        y = z
    return y.to_bytes(16, "big")


def open_gcm(key, iv, sealed, aad):
    cipher, body = aes256(key), sealed[:-16]
    lengths = struct.pack(">QQ", len(aad) * 8, len(body) * 8)
    tag = xor(ghash(cipher(bytes(16)), pad16(aad) + pad16(body) + lengths), cipher(iv + b"\0\0\0\1"))
    blocks = range((len(body) + 15) // 16)
    stream = b"".join(cipher(iv + struct.pack(">I", n + 2)) for n in blocks)
    return bytes(a ^ b for a, b in zip(body, stream)) if tag == sealed[-16:] else None


# ---------------------------------------------------------------- Argon2id (RFC 9106), one lane

M64 = 2**64 - 1


def argon2id(password, salt, m_kib, passes, length=32):
    """Section 3.2 with p = 1, no secret and no associated data."""

    def le32(n):
        return struct.pack("<I", n)

    def h_prime(data, size):
        if size <= 64:
            return hashlib.blake2b(le32(size) + data, digest_size=size).digest()
        v = hashlib.blake2b(le32(size) + data).digest()
        out = v[:32]
        while size - len(out) > 64:
            v = hashlib.blake2b(v).digest()
            out += v[:32]
        return out + hashlib.blake2b(v, digest_size=size - len(out)).digest()

    def permute(v):
        def mix(a, b, c, d):
            for r1, r2 in ((32, 24), (16, 63)):
                for x, y, z, r in ((a, b, d, r1), (c, d, b, r2)):
                    v[x] = v[x] + v[y] + 2 * (v[x] & M32) * (v[y] & M32) & M64
                    w = v[z] ^ v[x]
                    v[z] = (w >> r | w << 64 - r) & M64

        for i in range(4):
            mix(i, i + 4, i + 8, i + 12)
        for i in range(4):
            mix(i, (i + 1) % 4 + 4, (i + 2) % 4 + 8, (i + 3) % 4 + 12)
        return v

    def compress(x, y):
        r = [a ^ b for a, b in zip(x, y)]
        q = list(r)
        for row in range(0, 128, 16):
            q[row : row + 16] = permute(q[row : row + 16])
        for col in range(0, 16, 2):
            at = [16 * n + col + k for n in range(8) for k in (0, 1)]
            for i, word in zip(at, permute([q[i] for i in at])):
                q[i] = word
        return [a ^ b for a, b in zip(q, r)]

    h0 = hashlib.blake2b(
        b"".join(map(le32, (1, length, m_kib, passes, 0x13, 2)))
        + le32(len(password)) + password + le32(len(salt)) + salt + le32(0) + le32(0)
    ).digest()
    columns = m_kib // 4 * 4
    quarter = columns // 4
    memory = [None] * columns
    for i in (0, 1):
        memory[i] = list(struct.unpack("<128Q", h_prime(h0 + le32(i) + le32(0), 1024)))
    zero = [0] * 128
    for t in range(passes):
        for part in range(4):
            independent = t == 0 and part < 2
            addresses = []
            for n in range(quarter):
                i = part * quarter + n
                if independent and n % 128 == 0:
                    words = [t, 0, part, columns, passes, 2, n // 128 + 1] + [0] * 121
                    addresses = compress(zero, compress(zero, words))
                if t == 0 and i < 2:
                    continue
                j = addresses[n % 128] if independent else memory[i - 1][0]
                j1 = j & M32
                area = (i if t == 0 else columns - quarter + n) - 1
                back = area - 1 - (area * (j1 * j1 >> 32) >> 32)
                start = 0 if t == 0 or part == 3 else (part + 1) * quarter
                new = compress(memory[i - 1], memory[(start + back) % columns])
                memory[i] = new if t == 0 else [a ^ b for a, b in zip(new, memory[i])]
    return h_prime(struct.pack("<128Q", *memory[-1]), length)


# ---------------------------------------------------------------- groups, capsules, partials


class Refused(Exception):
    """The code of the vector file says why."""


def var(data):
    return struct.pack("<I", len(data)) + data


def group_of(g):
    """Checks a group as docs/formats/capsule.md asks; (threshold, key bytes, members, id)."""
    name = g["class"]
    if not 1 <= len(name) <= 64 or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise Refused("class")
    k, members = g["threshold"], sorted((m["index"], m["share"]) for m in g["members"])
    if not 1 <= len(members) <= 255:
        raise Refused("members")
    if not 1 <= k <= len(members):
        raise Refused("threshold")
    indices = [i for i, _ in members]
    if indices[0] == 0:
        raise Refused("zero-index")
    if len(set(indices)) != len(indices):
        raise Refused("duplicate-index")
    key_bytes = bytes.fromhex(g["key"])
    key = element(key_bytes)
    if key is None:
        raise Refused("key")
    points = [(i, element(bytes.fromhex(h))) for i, h in members]
    if any(p is None for _, p in points):
        raise Refused("share")
    if interpolate(points[:k], 0) != key:
        raise Refused("wrong-key")
    if k > 1 and interpolate(points[: k - 1], 0) == key:
        raise Refused("low-degree")
    if any(interpolate(points[:k], i) != p for i, p in points[k:]):
        raise Refused("off-polynomial")
    ident = derive_key("seawall 2026-11 escrow group v1", key_bytes + var(name.encode()))
    return {"k": k, "key": key_bytes, "point": key, "members": dict(points), "id": ident}


def label_of(f):
    fixed = bytes.fromhex(f["fleet"] + f["group"] + f["node"])
    rest = struct.pack("<Q", f["sequence"]) + bytes.fromhex(f["manifest_core"] + f["pq_digest"])
    data = bytes([f["suite"]]) + fixed + var(f["origin"].encode()) + rest
    return derive_key("seawall 2026-11 capsule label v1", data)


class Reader:
    def __init__(self, data):
        self.data = data
        if not data:
            raise Refused("malformed")

    def take(self, n):
        if n > len(self.data):
            raise Refused("malformed")
        out, self.data = self.data[:n], self.data[n:]
        return out

    def point(self):
        data = self.take(32)
        point = element(data)
        if point is None:
            raise Refused("malformed")
        return data, point

    def scalar(self):
        n = scalar(self.take(32))
        if n is None:
            raise Refused("malformed")
        return n

    def var(self, least, most):
        n = int.from_bytes(self.take(4), "little")
        if not least <= n <= most:
            raise Refused("malformed")
        return self.take(n)

    def end(self):
        if self.data:
            raise Refused("malformed")


def decode_capsule(data):
    r = Reader(data)
    suite = r.take(1)
    if suite not in (b"\x01", b"\x02", b"\x03"):
        raise Refused("suite")
    c = {"suite": suite, "group": r.take(32), "label": r.take(32)}
    (c["u"], c["U"]), (c["v"], c["V"]) = r.point(), r.point()
    c["e"], c["f"] = r.scalar(), r.scalar()
    c["masked"], c["commitment"] = r.take(32), r.take(32)
    c["sealed"] = r.var(16, 4096 + 16)
    c["half"] = r.var(0, 0 if suite == b"\x01" else 36 + 16 * 1170)
    r.end()
    if suite != b"\x01":
        decode_dealing(c["half"])
    return c


def capsule_challenge(c, group, w, w_bar):
    transcript = (
        c["suite"] + group["key"] + c["group"] + c["label"] + c["masked"] + c["commitment"]
        + var(c["sealed"]) + var(c["half"]) + c["u"] + w.encode() + c["v"] + w_bar.encode()
    )
    return hash_to_scalar("seawall 2026-11 capsule proof v1", transcript)


def check_capsule(data, group, label):
    c = decode_capsule(data)
    if c["group"] != group["id"]:
        raise Refused("other-group")
    if c["label"] != label:
        raise Refused("other-label")
    w, w_bar = c["f"] * BASE - c["e"] * c["U"], c["f"] * SECOND - c["e"] * c["V"]
    if capsule_challenge(c, group, w, w_bar) != c["e"]:
        raise Refused("proof")
    return c


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def commit(key, label):
    return derive_key("seawall 2026-11 capsule commitment v1", key + label)


def payload_cipher(key):
    return GcmSiv(derive_key("seawall 2026-11 capsule payload key v1", key))


def mask(shared):
    return derive_key("seawall 2026-11 capsule mask v1", shared.encode())


def seal_capsule(group, label, payload, key, r, s, half=b"", dealt=None, suite=1):
    c = {"suite": bytes([suite]), "group": group["id"], "label": label}
    c["u"], c["v"], c["half"] = (r * BASE).encode(), (r * SECOND).encode(), half
    k_s = snapshot_key(key, dealt, label)
    c["masked"], c["commitment"] = xor(key, mask(r * group["point"])), commit(k_s, label)
    c["sealed"] = payload_cipher(k_s).seal(payload, label)
    e = capsule_challenge(c, group, s * BASE, s * SECOND)
    f = (s + r * e) % L
    return (
        c["suite"] + group["id"] + label + c["u"] + c["v"] + e.to_bytes(32, "little")
        + f.to_bytes(32, "little") + c["masked"] + c["commitment"] + var(c["sealed"]) + var(half)
    )


def snapshot_key(key, dealt, label):
    if dealt is None:
        return key
    return derive_key("seawall 2026-11 capsule key v2", key + dealt.to_bytes(32, "little") + label)


def decode_partial(data):
    r = Reader(data)
    suite = r.take(1)
    if suite not in (b"\x01", b"\x02", b"\x03"):
        raise Refused("suite")
    p = {"suite": suite, "group": r.take(32), "label": r.take(32), "shares": []}
    p["index"] = int.from_bytes(r.take(2), "little")
    if p["index"] == 0:
        raise Refused("malformed")
    p["epoch"] = int.from_bytes(r.take(4), "little")
    p["u"], p["U"] = r.point()
    p["e"], p["f"] = r.scalar(), r.scalar()
    for _ in range(int.from_bytes(r.take(2), "little") if suite != b"\x01" else 0):
        share = r.take(32), int.from_bytes(r.take(2), "little"), r.scalar()
        if share[1] == 0 or len(p["shares"]) == 256:
            raise Refused("malformed")
        p["shares"].append(share)
    r.end()
    return p


def partial_challenge(p, capsule, group, a, b):
    transcript = (
        p["suite"] + group["key"] + p["group"] + p["label"] + struct.pack("<HI", p["index"], p["epoch"])
        + group["members"][p["index"]].encode() + capsule["u"] + p["u"] + a.encode() + b.encode()
    )
    return hash_to_scalar("seawall 2026-11 partial proof v1", transcript)


def verify_partial(data, capsule, group):
    p = decode_partial(data)
    if p["group"] != group["id"] or capsule["group"] != group["id"]:
        raise Refused("other-group")
    if p["suite"] != capsule["suite"]:
        raise Refused("other-suite")
    if p["label"] != capsule["label"]:
        raise Refused("other-label")
    share = group["members"].get(p["index"])
    if share is None:
        raise Refused("unknown-custodian")
    a, b = p["f"] * capsule["U"] - p["e"] * p["U"], p["f"] * BASE - p["e"] * share
    if partial_challenge(p, capsule, group, a, b) != p["e"]:
        raise Refused("proof")
    return p


def make_partial(capsule, group, index, x, epoch, fresh):
    tail = struct.pack("<HI", index, epoch)
    secret = x.to_bytes(32, "little") + fresh + capsule["u"] + capsule["label"] + tail
    s = hash_to_scalar("seawall 2026-11 partial nonce v1", secret)
    p = {"group": group["id"], "label": capsule["label"], "index": index, "epoch": epoch}
    p["suite"] = capsule["suite"]
    p["u"] = (x * capsule["U"]).encode()
    e = partial_challenge(p, capsule, group, s * capsule["U"], s * BASE)
    f = (s + x * e) % L
    head = b"\x01" + p["group"] + p["label"] + tail + p["u"]
    return head + e.to_bytes(32, "little") + f.to_bytes(32, "little")


def combine(capsule, group, partials):
    """What TDH2 carries."""
    if len({p["epoch"] for p in partials}) > 1:
        raise Refused("mixed-epochs")
    distinct = sorted({p["index"]: p["U"] for p in partials}.items())
    if len(distinct) < group["k"]:
        raise Refused("not-enough")
    return xor(capsule["masked"], mask(interpolate(distinct[: group["k"]], 0)))


def open_with(capsule, key):
    if commit(key, capsule["label"]) != capsule["commitment"]:
        raise Refused("commitment")
    payload = payload_cipher(key).open(capsule["sealed"], capsule["label"])
    if payload is None:
        raise Refused("payload")
    return payload


def open_capsule(capsule, group, partials):
    return open_with(capsule, combine(capsule, group, partials))


# ---------------------------------------------------------------- the post-quantum half


def le(n):
    return struct.pack("<H", n)


def le_scalar(n):
    return n.to_bytes(32, "little")


def recipients_digest(to):
    keys = b"".join(le(i) + key for i, key in to["keys"])
    head = le(to["threshold"]) + le(len(to["keys"]))
    return derive_key("seawall 2026-11 pq recipients v1", head + keys)


class Bound(bytes):
    """A context whose parcels authenticate their commitments: that of a capsule of suite 3."""


def half_context(fields, capsule):
    """What the post-quantum half of a capsule is bound to, by the suite that the capsule claims."""
    core = label_of({**fields, "suite": capsule["suite"][0], "pq_digest": "00" * 32})
    if capsule["suite"] != b"\x03":
        return core
    return Bound(derive_key("seawall 2026-11 pq binding v1", core + capsule["u"] + capsule["v"]))


def associated_data(context, recipients, index, commitment):
    covered = commitment if isinstance(context, Bound) else b""
    return context + recipients + le(index) + covered


def share_commitment(context, index, value):
    data = context + le(index) + le_scalar(value)
    return derive_key("seawall 2026-11 pq share commitment v1", data)


def wrap_cipher(shared):
    return GcmSiv(derive_key("seawall 2026-11 pq wrap key v1", shared))


def deal(secret, context, to):
    """The dealing of a secret: nothing in it is random."""
    digest = recipients_digest(to)
    data = le_scalar(secret) + context + digest
    seed = derive_key("seawall 2026-11 pq dealing seed v1", data)
    coefficients = [secret] + [
        hash_to_scalar("seawall 2026-11 pq coefficient v1", seed + le(power))
        for power in range(1, to["threshold"])
    ]
    out = digest + le(to["threshold"]) + le(len(to["keys"]))
    for i, key in to["keys"]:
        share = sum(c * i**n for n, c in enumerate(coefficients)) % L
        m = derive_key("seawall 2026-11 pq encapsulation v1", seed + le(i))
        c, shared = mlkem.encapsulate(key, m)
        commitment = share_commitment(context, i, share)
        data = associated_data(context, digest, i, commitment)
        out += le(i) + commitment + c + wrap_cipher(shared).seal(le_scalar(share), data)
    return out


def decode_dealing(data):
    r = Reader(data)
    d = {"recipients": r.take(32), "parcels": {}}
    d["threshold"], count = (int.from_bytes(r.take(2), "little") for _ in range(2))
    last = 0
    for _ in range(count):
        index = int.from_bytes(r.take(2), "little")
        if index <= last:
            raise Refused("malformed")
        last = index
        d["parcels"][index] = r.take(32), r.take(1088), r.take(48)
    r.end()
    if not 1 <= d["threshold"] <= count <= 16:
        raise Refused("malformed")
    return d


def dealing_digest(context, data):
    return derive_key("seawall 2026-11 pq dealing v1", context + data)


def is_for(dealing, to):
    same = dealing["recipients"] == recipients_digest(to)
    same = same and dealing["threshold"] == to["threshold"]
    return same and list(dealing["parcels"]) == [i for i, _ in to["keys"]]


def open_parcel(data, context, index, secret):
    dealing = decode_dealing(data)
    commitment, c, wrapped = dealing["parcels"][index]
    seed = derive_key("seawall 2026-11 custodian kem seed v1", secret, 64)
    cipher = wrap_cipher(mlkem.decapsulate(seed, c))
    data = associated_data(context, dealing["recipients"], index, commitment)
    plain = cipher.open(wrapped, data)
    if plain is None:
        raise Refused("sealed")
    value = scalar(plain)
    if value is None or share_commitment(context, index, value) != commitment:
        raise Refused("committed")
    return value


def convicts(data, context, index, shared):
    dealing = decode_dealing(data)
    commitment, _, wrapped = dealing["parcels"][index]
    data = associated_data(context, dealing["recipients"], index, commitment)
    plain = wrap_cipher(shared).open(wrapped, data)
    if plain is None:
        return False
    value = scalar(plain)
    return value is None or share_commitment(context, index, value) != commitment


def interpolate_scalars(shares):
    weights = lagrange([i for i, _ in shares], 0)
    return sum(w * value for w, (_, value) in zip(weights, shares)) % L


def hand_over_context(parent, dealer):
    return derive_key("seawall 2026-11 pq hand-over v1", parent + le(dealer))


class Recovery:
    """Shares and hand-overs at hand; `named` fills with those who dealt wrongly."""

    def __init__(self, shares, hand_overs):
        self.shares, self.hand_overs, self.named = shares, hand_overs, []

    def recover(self, data, context):
        dealing, digest = decode_dealing(data), dealing_digest(context, data)
        good = {}

        def commits(index, value):
            parcel = dealing["parcels"].get(index)
            return parcel is not None and parcel[0] == share_commitment(context, index, value)

        for of, index, value in self.shares:
            if of == digest and commits(index, value):
                good[index] = value
        for parent, dealer, child, to in self.hand_overs:
            if parent != digest:
                continue
            inner = hand_over_context(parent, dealer)
            value = self.recover(child, inner)
            if value is None:
                continue
            if commits(dealer, value):
                self.judge(dealer, child, inner, to, value)
                good.setdefault(dealer, value)
            else:
                self.name(dealer, child, inner, list(decode_dealing(child)["parcels"]))
        if len(good) < dealing["threshold"]:
            return None
        return interpolate_scalars(sorted(good.items())[: dealing["threshold"]])

    def judge(self, dealer, data, context, to, secret):
        honest, found = (decode_dealing(d)["parcels"] for d in (deal(secret, context, to), data))
        wrong = [i for i in found if found[i] != honest.get(i)]
        if wrong:
            self.name(dealer, data, context, wrong)

    def name(self, dealer, data, context, custodians):
        digest = dealing_digest(context, data).hex()
        self.named.append({"dealer": dealer, "dealing": digest, "custodians": custodians})


def open_quantum(capsule, group, context, to, partials, hand_overs):
    key = combine(capsule, group, partials)
    recovery = Recovery([share for p in partials for share in p["shares"]], hand_overs)
    secret = recovery.recover(capsule["half"], context)
    if secret is None:
        raise Refused("not-enough-shares")
    k_s = snapshot_key(key, secret, capsule["label"])
    if commit(k_s, capsule["label"]) != capsule["commitment"]:
        raise Refused("commitment")
    recovery.judge(0, capsule["half"], context, to, secret)
    return open_with(capsule, k_s).hex(), recovery.named


# ---------------------------------------------------------------- share files


def open_share_file(text, secret):
    """`secret`: the passphrase of version 1, the token's key of version 2."""
    f = json.loads(text)
    sealed = base64.b64decode(f["sealed"], validate=True)
    aad = (
        var(f["format"].encode())
        + bytes.fromhex(f["fleet"].removeprefix("fleet:") + f["group"].removeprefix("group:"))
        + var(f["class"].encode())
        + struct.pack("<HHHI", f["index"], f["threshold"], f["members"], f["share_epoch"])
        + var(f["custodian"].encode()) + var(f["signing_key"].encode())
    )
    if f["format"] == "seawall-share/1":
        kdf, wrong = f["kdf"], "wrong-passphrase"
        salt = base64.b64decode(kdf["salt"], validate=True)
        assert kdf["algorithm"] == "argon2id" and kdf["p"] == 1
        cost = struct.pack("<III", kdf["m_kib"], kdf["t"], kdf["p"])
        aad += var(kdf["algorithm"].encode()) + cost + salt
    else:
        token, wrong = f["token"], "mismatch"
        iv = base64.b64decode(token["iv"], validate=True)
        assert f["format"] == "seawall-share/2" and token["mechanism"] == "pkcs11:aes-256-gcm"
        for field in ("mechanism", "label", "serial"):
            aad += var(token[field].encode())
        aad += bytes.fromhex(token["key"]) + iv
    if derive_key("seawall 2026-11 share file checksum v1", aad + sealed).hex() != f["checksum"]:
        raise Refused("damaged")
    if f["format"] == "seawall-share/1":
        plain = GcmSiv(argon2id(secret, salt, kdf["m_kib"], kdf["t"])).open(sealed, aad)
    else:
        plain = open_gcm(secret, iv, sealed, aad)
    if plain is None:
        raise Refused(wrong)
    return plain


# ---------------------------------------------------------------- the check

WHY_BAD = ["not canonical"] * 4 + ["negative"] * 8 + ["not square"] * 8 + ["xy negative"] * 8
WHY_BAD += ["y is zero"]


class Tally:
    def __init__(self):
        self.agreed, self.failed = 0, []

    def expect(self, what, expected, compute):
        try:
            found = compute()
        except Refused as refusal:
            found = str(refusal)
        if found == expected:
            self.agreed += 1
        else:
            self.failed.append(f"{what}: expected {expected!r}, found {found!r}")


def check_groups(v, tally):
    groups = {}
    for g in v["groups"]:
        name, group = g["name"], group_of(g)
        groups[name] = group
        tally.expect(f"group {name} id", g["id"], lambda: group["id"].hex())
        coefficients = [scalar(bytes.fromhex(c)) for c in g["coefficients"]]
        for m in g["members"]:
            x = sum(c * m["index"] ** n for n, c in enumerate(coefficients)) % L
            tally.expect(f"{name} scalar", m["scalar"], lambda: x.to_bytes(32, "little").hex())
            tally.expect(f"{name} share", m["share"], lambda: (x * BASE).encode().hex())
        tally.expect(f"{name} key", g["key"], lambda: (coefficients[0] * BASE).encode().hex())
    for g in v["groups_refused"]:
        tally.expect(f"group refused: {g['name']}", g["expected"], lambda: group_of(g))
    return groups


def check_capsules(v, groups, tally):
    capsules = {}
    for c in v["capsules"]:
        name, group, label = c["name"], groups[c["group"]], bytes.fromhex(c["label"])
        tally.expect(f"label of {name}", c["label"], lambda: label_of(c["label_fields"]).hex())
        key, payload = bytes.fromhex(c["k_s"]), bytes.fromhex(c["payload"])
        r, s = (scalar(bytes.fromhex(c[n])) for n in ("r", "s"))
        sealed = lambda: seal_capsule(group, label, payload, key, r, s).hex()
        tally.expect(f"capsule {name}", c["capsule"], sealed)
        capsules[name] = check_capsule(bytes.fromhex(c["capsule"]), group, label)
    for c in v["capsules_refused"]:
        data, label = bytes.fromhex(c["capsule"]), bytes.fromhex(c["label"])
        refused = lambda: check_capsule(data, groups[c["group"]], label)
        tally.expect(f"capsule refused: {c['name']}", c["expected"], refused)
    return capsules


def check_partials(v, groups, capsules, tally):
    by_name = {c["name"]: c["group"] for c in v["capsules"]}
    scalars = {
        (g["name"], m["index"]): scalar(bytes.fromhex(m["scalar"]))
        for g in v["groups"]
        for m in g["members"]
    }
    for p in v["partials"]:
        capsule, name, index = capsules[p["capsule"]], by_name[p["capsule"]], p["index"]
        x, fresh = scalars[name, index], bytes.fromhex(p["fresh"])
        make = lambda: make_partial(capsule, groups[name], index, x, p["share_epoch"], fresh).hex()
        tally.expect(f"partial {index} of {p['capsule']}", p["partial"], make)
        verify_partial(bytes.fromhex(p["partial"]), capsule, groups[name])
    for p in v["partials_refused"]:
        data, group = bytes.fromhex(p["partial"]), groups[p["group"]]
        refused = lambda: verify_partial(data, capsules[p["capsule"]], group)
        tally.expect(f"partial refused: {p['name']}", p["expected"], refused)
    for o in v["openings"]:
        group = groups[o["group"]]
        capsule = check_capsule(bytes.fromhex(o["capsule"]), group, bytes.fromhex(o["label"]))
        partials = [verify_partial(bytes.fromhex(p), capsule, group) for p in o["partials"]]
        opened = lambda: open_capsule(capsule, group, partials).hex()
        tally.expect(f"opening: {o['name']}", o["expected"], opened)


def places_of(v, of):
    """Index and number of the key of each custodian of a capsule."""
    capsule = next(c for c in v["capsules"] if c["name"] == of["capsule_of"])
    return capsule["recipients"]["keys"]


def check_quantum(v, groups, tally):
    keys = [bytes.fromhex(k["public"]) for k in v["keys"]]
    for k in v["keys"]:
        secret = bytes.fromhex(k["secret"])
        seed = derive_key("seawall 2026-11 custodian kem seed v1", secret, 64)
        tally.expect("kem key", k["public"], lambda: mlkem.keys(seed[:32])[0].hex())

    def recipients(to):
        places = [(i, keys[n]) for i, n in to["keys"]]
        return {"threshold": to["threshold"], "keys": places}

    scenes = {}
    for c in v["capsules"]:
        name, group, fields = c["name"], groups[c["group"]], c["label_fields"]
        to, label = recipients(c["recipients"]), bytes.fromhex(c["label"])
        core = label_of({**fields, "pq_digest": "00" * 32})
        tally.expect(f"core label of {name}", c["core_label"], lambda: core.hex())
        data = bytes.fromhex(c["capsule"])
        capsule = decode_capsule(data)
        half, context = capsule["half"], half_context(fields, capsule)
        tally.expect(f"context of {name}", c.get("context", c["core_label"]), context.hex)
        digest = lambda: dealing_digest(context, half).hex()
        tally.expect(f"digest of {name}", fields["pq_digest"], digest)
        tally.expect(f"label of {name}", c["label"], lambda: label_of(fields).hex())
        dealt, r, s = (scalar(bytes.fromhex(c[n])) for n in ("dealt_secret", "r", "s"))
        if "misdealt" not in name:
            tally.expect(f"dealing of {name}", half.hex(), lambda: deal(dealt, context, to).hex())
        secret, payload = bytes.fromhex(c["tdh2_secret"]), bytes.fromhex(c["payload"])
        parts = payload, secret, r, s, half, dealt, fields["suite"]
        sealed = lambda: seal_capsule(group, label, *parts).hex()
        tally.expect(f"capsule {name}", c["capsule"], sealed)
        capsule = check_capsule(data, group, label)
        scenes[name] = capsule, group, context, to, fields

    def check_half(c):
        _, group, _, _, fields = scenes[c["capsule_of"]]
        capsule = decode_capsule(bytes.fromhex(c["capsule"]))
        context = half_context(fields, capsule)
        digest = dealing_digest(context, capsule["half"]) if capsule["half"] else bytes(32)
        of = {**fields, "suite": capsule["suite"][0], "pq_digest": digest.hex()}
        check_capsule(bytes.fromhex(c["capsule"]), group, label_of(of))
        if not capsule["half"]:
            raise Refused("downgraded")
        if not is_for(decode_dealing(capsule["half"]), recipients(c["recipients"])):
            raise Refused("other-recipients")

    for c in v["capsules_refused"]:
        tally.expect(f"refused: {c['name']}", c["expected"], lambda: check_half(c))
    for of in v["shares"]:
        capsule, _, context, _, _ = scenes[of["capsule_of"]]
        for s in of["shares"]:
            secret = bytes.fromhex(v["keys"][s["key"]]["secret"])
            opened = lambda: open_parcel(capsule["half"], context, s["index"], secret)
            share = lambda: le_scalar(opened()).hex()
            tally.expect(f"share {s['index']} of {of['capsule_of']}", s["expected"], share)
    for c in v["convictions"]:
        capsule, _, context, _, _ = scenes[c["capsule_of"]]
        shown = bytes.fromhex(c["evidence"])
        judged = lambda: convicts(capsule["half"], context, c["custodian"], shown)
        name = f"conviction by {c['custodian']} over {c['capsule_of']}"
        tally.expect(name, c["convicts"], judged)
        if c["convicts"]:
            place = next(n for i, n in places_of(v, c) if i == c["custodian"])
            seed = derive_key(
                "seawall 2026-11 custodian kem seed v1",
                bytes.fromhex(v["keys"][place]["secret"]),
                64,
            )
            parcel = decode_dealing(capsule["half"])["parcels"][c["custodian"]]
            own = lambda: mlkem.decapsulate(seed, parcel[1]).hex()
            tally.expect(f"{name}: what it decapsulates", c["evidence"], own)
    for o in v["openings"]:
        capsule, group, context, to, _ = scenes[o["capsule_of"]]
        partials = [verify_partial(bytes.fromhex(p), capsule, group) for p in o["partials"]]
        hand_overs = []
        for h in o["hand_overs"]:
            data = bytes.fromhex(h["bytes"])
            dealer = int.from_bytes(data[32:34], "little")
            assert is_for(decode_dealing(data[34:]), recipients(h["recipients"]))
            hand_overs.append((data[:32], dealer, data[34:], recipients(h["recipients"])))
        opened = lambda: open_quantum(capsule, group, context, to, partials, hand_overs)
        failed = len(o["expected"]) % 2 or set(o["expected"]) - set("0123456789abcdef")
        expected = o["expected"] if failed else (o["expected"], o["misdealt"])
        tally.expect(f"opening: {o['name']}", expected, opened)


# ---------------------------------------------------------------- ceremonies


def by_index(group, read):
    return {int(i): read(x) for i, x in group.items()}


def number(text):
    return scalar(bytes.fromhex(text))


def points(texts):
    return [element(bytes.fromhex(t)) for t in texts]


def at(committed, x):
    """A committed polynomial's value, lowest term first."""
    return sum((pow(x, j, L) * p for j, p in enumerate(committed)), IDENTITY)


def check_resharing(name, r, own, tally):
    old = by_index(own["shares"], number)
    refresh = name == "refresh"
    published = by_index(r["published"], points)
    weights = dict(zip(r["dealers"], lagrange(r["dealers"], 0)))
    for i, committed in published.items():
        if refresh:
            committed.insert(0, IDENTITY)
        constant = IDENTITY if refresh else weights[i] * (old[i] * BASE)
        tally.expect(f"{name}: constant of {i}", True, lambda: committed[0] == constant)
        tally.expect(f"{name}: degree of {i}", r["threshold"], lambda: len(committed))
    shares = by_index(r["shares"], number)
    for to, values in by_index(r["values"], lambda x: by_index(x, number)).items():
        for i, value in values.items():
            right = lambda: value * BASE == at(published[i], to)
            tally.expect(f"{name}: value of {i} for {to}", True, right)
        whole = lambda: (sum(values.values()) + (old[to] if refresh else 0)) % L
        tally.expect(f"{name}: share {to}", shares[to], whole)
    quorum = [(i, x * BASE) for i, x in list(shares.items())[-r["threshold"] :]]
    tally.expect(f"{name}: key", own["key"], lambda: interpolate(quorum, 0).encode().hex())
    mixed = [(i, old[i] * BASE) for i in (1,)] + quorum[1:]
    tally.expect(f"{name}: mixed", False, lambda: interpolate(mixed, 0).encode().hex() == own["key"])


def check_repair(r, own, tally):
    old = by_index(own["shares"], number)
    published = by_index(r["published"], points)
    sums = by_index(r["sums"], number)
    for i, weight in zip(r["helpers"], lagrange(r["helpers"], r["repaired"])):
        whole = lambda: sum(published[i], IDENTITY) == weight * (old[i] * BASE)
        tally.expect(f"repair: pieces of {i}", True, whole)
    for to, values in by_index(r["values"], lambda x: by_index(x, number)).items():
        place = r["helpers"].index(to)
        for i, value in values.items():
            right = lambda: value * BASE == published[i][place]
            tally.expect(f"repair: piece of {i} for {to}", True, right)
        tally.expect(f"repair: sum of {to}", sums[to], lambda: sum(values.values()) % L)
    tally.expect("repair: share", old[r["repaired"]], lambda: sum(sums.values()) % L)


def check_sharing(name, case, tally):
    """Somebody else's key generation: its commitments lead to its shares and key."""
    people = by_index(case["participants"], lambda p: p)
    committed = [points(p["commitments"]) for p in people.values()]
    value = lambda x: sum((at(c, x) for c in committed), IDENTITY).encode().hex()
    tally.expect(f"{name}: key", case["key"], lambda: value(0))
    for i, p in people.items():
        tally.expect(f"{name}: verification share {i}", p["verification_share"], lambda: value(i))
        mine = lambda: (number(p["share"]) * BASE).encode().hex()
        tally.expect(f"{name}: share {i}", p["verification_share"], mine)


def check_ceremonies(tally):
    v = json.loads(Path(__file__).with_name("ceremony.json").read_text(encoding="utf-8"))
    own = v["own"]
    for name in ("refresh", "reshare"):
        check_resharing(name, own[name], own, tally)
    check_repair(own["repair"], own, tally)
    check_sharing("frost", v["frost_dkg"], tally)
    for n, case in enumerate(v["cocktail_dkg"]["cases"]):
        check_sharing(f"cocktail {n}", case, tally)


def main():
    v = json.loads(Path(__file__).with_name("escrow.json").read_text(encoding="utf-8"))
    assert v["format"] == "seawall-escrow-vectors/1", "another format of vectors"
    tally = Tally()
    tally.expect("second generator", v["second_generator"], lambda: SECOND.encode().hex())
    for text, why in zip(v["bad_points"], WHY_BAD, strict=True):
        tally.expect(f"bad point {text}", why, lambda: decode_point(bytes.fromhex(text))[1])
    groups = check_groups(v, tally)
    capsules = check_capsules(v, groups, tally)
    check_partials(v, groups, capsules, tally)
    check_quantum(v["post_quantum"], groups, tally)
    check_quantum(v["post_quantum_bound"], groups, tally)
    f = v["share_file"]
    passphrase = f["passphrase"].encode()
    inside = f["scalar"] + f["signing_seed"]
    tally.expect("share file", inside, lambda: open_share_file(f["text"], passphrase).hex())
    wrong = lambda: open_share_file(f["text"], passphrase + b" ").hex()
    tally.expect("share file, wrong passphrase", "wrong-passphrase", wrong)
    damaged = lambda: open_share_file(f["text"].replace('"index": 4', '"index": 5'), passphrase)
    tally.expect("share file, damaged", "damaged", damaged)
    f = v["share_file_wrapped"]
    key, inside = bytes.fromhex(f["wrapping_key"]), f["scalar"] + f["signing_seed"]
    tally.expect("wrapped share file", inside, lambda: open_share_file(f["text"], key).hex())
    other = lambda: open_share_file(f["text"], key[::-1]).hex()
    tally.expect("wrapped share file, other key", "mismatch", other)
    moved = lambda: open_share_file(f["text"].replace("Zoë's token", "Zoë's stick"), key)
    tally.expect("wrapped share file, damaged", "damaged", moved)
    check_ceremonies(tally)
    for line in tally.failed:
        print(line, file=sys.stderr)
    if tally.failed:
        print(f"{len(tally.failed)} of {len(tally.failed) + tally.agreed} vectors DISAGREE")
        return 1
    print(f"{tally.agreed} vectors, all agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
